"""Dockerfile, compose.yaml and the scripts of the image, as far as they can be tested without Docker."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from compose_spec import PyCompose

from tests.support.containers import DEPLOYMENTS, image_environment, instructions, read_compose, stages

ROOT = DEPLOYMENTS.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
COMPOSE = read_compose(DEPLOYMENTS / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
#: of the first stage, then of the image
BUILD, IMAGE = stages()
COPIED = [
    source
    for word, rest in instructions()
    if word == "COPY" and "--from=" not in rest
    for source in [part for part in rest.split() if not part.startswith("--")][:-1]
]


@pytest.mark.parametrize("source", COPIED)
def test_what_is_copied_exists_and_reaches_docker(source: str) -> None:
    assert (ROOT / source).exists()
    assert not is_ignored(source)


@pytest.mark.parametrize(
    "path", [".git", "tests", "nextperiod.db", ".venv", "deployments/secrets", "flows/cli/__pycache__", "mlruns"]
)
def test_what_the_image_does_not_need_stays_away_from_docker(path: str) -> None:
    assert is_ignored(path)


def is_ignored(path: str) -> bool:
    """Whether .dockerignore leaves a path out: the last line that fits it, or a folder above it, counts."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = Path(path).parts
        above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        candidates = [*above, *parts] if "**/" in line else above
        if not line.startswith("#") and any(fnmatch.fnmatch(candidate, pattern) for candidate in candidates):
            ignored = not line.startswith("!")
    return ignored


def test_both_stages_start_from_one_exact_version_of_python() -> None:
    (image,) = (rest.removeprefix("PYTHON=") for word, rest in instructions() if word == "ARG")

    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", image)
    assert [stage[0] for stage in (BUILD, IMAGE)] == [("FROM", "${PYTHON} AS build"), ("FROM", "${PYTHON}")]


def test_packages_are_installed_by_their_hashes_and_none_is_compiled() -> None:
    runs = [rest for word, rest in (*BUILD, *IMAGE) if word == "RUN"]
    locked, wheel = (run.split() for run in runs if run.startswith("pip "))

    assert {"--require-hashes", "--no-deps", "--only-binary", "requirements.lock"} < set(locked)
    assert {"--no-index", "--no-deps", "dist/*.whl"} < set(wheel)
    assert [run for run in runs if re.search(r"\b(apt|apt-get|gcc|make|curl|wget)\b", run)] == []


def test_the_image_runs_as_a_user_with_a_number_of_its_own() -> None:
    assert [rest for word, rest in IMAGE if word == "USER"] == ["10001:10001"]
    assert any("useradd --uid 10001 --gid 10001" in rest for word, rest in IMAGE if word == "RUN")


def test_the_image_is_labelled_and_tagged_with_the_version() -> None:
    (label,) = (rest for word, rest in IMAGE if word == "LABEL")

    assert f'image.version="{VERSION}"' in label
    assert {service["image"] for name, service in SERVICES.items() if name != "postgres"} == {f"nextperiod:{VERSION}"}


def test_the_image_writes_to_tmp_alone() -> None:
    written = ("HOME", "MPLCONFIGDIR", "PREFECT_HOME", "PREFECT_SERVER_UI_STATIC_DIRECTORY")

    assert [image_environment()[name] for name in written] == [
        "/tmp",
        "/tmp/matplotlib",
        "/tmp/prefect",
        "/tmp/prefect-ui",
    ]


@pytest.mark.parametrize("name", ["entrypoint.sh", "schedules.sh", "databases.sh"])
def test_a_script_may_be_executed(name: str) -> None:
    assert os.access(DEPLOYMENTS / name, os.X_OK)


def test_compose_yaml_is_one_that_docker_reads() -> None:
    compose = PyCompose.from_json(json.dumps(COMPOSE))

    compose.validate()

    assert set(compose.service_names()) == {"postgres", "mlflow", "prefect", "schema", "schedules", "worker"}
    with pytest.raises(ValueError, match="helthcheck"):
        PyCompose.from_json(json.dumps({"services": {"worker": {"image": "a", "helthcheck": {}}}}))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_ends_or_has_a_health_check(name: str) -> None:
    service = SERVICES[name]

    assert ("healthcheck" in service) == (service["restart"] == "unless-stopped")
    assert service["restart"] in ("no", "unless-stopped")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_until_what_it_needs_is_ready(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        is_served = "healthcheck" in SERVICES[other]
        assert wait["condition"] == ("service_healthy" if is_served else "service_completed_successfully")


@pytest.mark.parametrize("name", SERVICES)
def test_a_port_is_open_to_this_machine_alone(name: str) -> None:
    assert [port for port in SERVICES[name].get("ports", []) if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_of_one_version(name: str) -> None:
    assert re.fullmatch(r"[\w/]+:\d+\.\d[\w.-]*", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_writes_to_its_volumes_and_gains_no_rights(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"]
    assert "/tmp" in service["tmpfs"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert name == "postgres" or service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_password_comes_from_a_secret_that_the_service_is_given(name: str) -> None:
    service = SERVICES[name]
    files = {key: value for key, value in service["environment"].items() if "PASSWORD" in key}

    assert [key for key in files if not key.endswith("_FILE")] == []
    assert {value.removeprefix("/run/secrets/") for value in files.values()} == set(service.get("secrets", []))
    assert not re.search(r"://\w+:[^/@]+@", json.dumps(service)), "an address holds a password"


@pytest.mark.parametrize("name", COMPOSE["secrets"])
def test_a_secret_is_a_file_that_git_and_docker_ignore(name: str) -> None:
    assert COMPOSE["secrets"][name] == {"file": f"./secrets/{name}"}
    assert "/deployments/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert is_ignored(f"deployments/secrets/{name}")


def test_every_file_that_is_mounted_exists() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", []) if mount.startswith("./")]

    assert len(mounts) == 7
    assert [mount for mount in mounts if not (DEPLOYMENTS / mount.split(":")[0]).exists()] == []
    assert [mount for mount in mounts if not mount.endswith(":ro")] == []


def test_the_worker_has_limits() -> None:
    assert set(SERVICES["worker"]["deploy"]["resources"]["limits"]) == {"cpus", "memory"}


def enter(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of the image behind its entrypoint."""
    return subprocess.run(
        [DEPLOYMENTS / "entrypoint.sh", *command],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_password_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a $b 'c\n")

    done = enter("sh", "-c", 'printf %s "$PGPASSWORD"', PGPASSWORD_FILE=str(tmp_path / "password"))

    assert (done.returncode, done.stdout, done.stderr) == (0, "a $b 'c", "")


def test_without_a_secret_the_command_just_starts() -> None:
    assert enter("echo", "started").stdout == "started\n"


@pytest.mark.parametrize(("content", "problem"), [(None, "cannot read"), ("", "is empty"), ("\n", "is empty")])
def test_a_secret_that_is_missing_or_empty_ends_with_one_line(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)

    done = enter("echo", "started", PGPASSWORD_FILE=str(file))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert str(file) in done.stderr
    assert problem in done.stderr


@pytest.mark.parametrize("missing", ["WRITER", "CONSUMER", "MLFLOW", "PREFECT"])
def test_no_database_is_created_while_a_secret_is_missing(tmp_path: Path, missing: str) -> None:
    (tmp_path / "password").write_text("secret\n")
    files = {
        f"{name}_PASSWORD_FILE": str(tmp_path / "password") for name in ("WRITER", "CONSUMER", "MLFLOW", "PREFECT")
    }

    done = subprocess.run(
        [DEPLOYMENTS / "databases.sh"],
        env={"PATH": os.environ["PATH"], **files, f"{missing}_PASSWORD_FILE": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"databases: {tmp_path}/none is missing or empty" in done.stderr
