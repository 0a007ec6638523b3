"""The wheel as a stranger installs it: one package, whose commands work in an empty folder without the clone."""

from __future__ import annotations

import csv
import os
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tests.support.wheel import CLONE, build_wheel, install_wheel

IMPORT_ALL = """
import importlib, pkgutil, sys, nextperiod
for module in pkgutil.walk_packages(nextperiod.__path__, "nextperiod."):
    if ".migrations" not in module.name and not module.name.endswith(".worker"):
        importlib.import_module(module.name)
print(sorted({name.partition(".")[0] for name in sys.modules} & {"flows", "pipeline", "sql"}))
"""

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has the wheel and, beside the dependencies, a package of somebody else named `pipeline`."""
    folder = tmp_path_factory.mktemp("environment")
    packages = install_wheel(wheel, folder)
    (packages / "pipeline").mkdir()
    (packages / "pipeline/__init__.py").write_text('raise ImportError("this is the pipeline of somebody else")\n')
    return folder


@pytest.fixture(scope="module")
def command(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """`nextperiod` in an empty folder with an empty home, with nothing set."""
    folder, home = tmp_path_factory.mktemp("person"), tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    start = "from nextperiod.flows.cli.app import main; main()"

    def run(*arguments: str, inside: str = ".") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [environment / "bin/python", "-W", "ignore", "-c", start, *arguments],
            cwd=folder / inside,
            env=kept | {"HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=500,
        )

    return run


def test_it_has_the_extras_of_the_project(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()

    extras = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [line.removeprefix("Provides-Extra: ") for line in lines if line.startswith("Provides-Extra")] == list(
        extras
    )
    for extra, needed in extras.items():
        in_wheel = [line for line in lines if line.startswith("Requires-Dist") and f"extra == '{extra}'" in line]
        assert len(in_wheel) == len(needed)


def test_it_installs_one_package_and_the_command_starts_there(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
        (scripts,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        text = archive.read(scripts).decode()

    version = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]["version"]
    assert top == {"nextperiod", f"nextperiod-{version}.dist-info"}
    assert "nextperiod = nextperiod.flows.cli.app:main" in text


def test_every_module_imports_the_others_from_the_package(environment: Path) -> None:
    done = subprocess.run(
        [environment / "bin/python", "-W", "ignore", "-c", IMPORT_ALL],
        cwd=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )

    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


@pytest.mark.tensorflow
def test_a_folder_of_an_example_trains_and_publishes(command: Command) -> None:
    started = command("init", "demo", "--from", "milk")
    ran = command("run", "milk", inside="demo")
    shown = command("show", "milk", "--csv", "milk.csv", inside="demo")

    assert started.returncode == 0, started.stderr
    assert ran.returncode == 0, ran.stderr
    assert shown.returncode == 0, shown.stderr
    assert "1976-12-01" in ran.stdout


def test_the_schedule_names_the_flow_of_the_package(command: Command, tmp_path: Path) -> None:
    command("init", str(tmp_path / "scheduled"))

    assert (tmp_path / "scheduled/compose.yaml").is_file()
    assert "entrypoint: nextperiod.flows.cycle.cycle" in (tmp_path / "scheduled/prefect.yaml").read_text()


def test_a_file_of_ones_own_is_detected(command: Command, tmp_path: Path) -> None:
    with (tmp_path / "sales.csv").open("w") as file:
        rows: list[list[Any]] = [["month", "sold"], *([f"2024-{month:02}", 10 * month] for month in range(1, 13))]
        csv.writer(file).writerows(rows)

    done = command("init", str(tmp_path / "sales"), "--from", str(tmp_path / "sales.csv"))

    assert done.returncode == 0, done.stderr
    assert 'frequency: "MS"' in done.stdout
