"""`nextperiod run --all`: many recipes at a time, of which a broken one keeps none of the others from running."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.shell import Shell, shell_in

RECIPE = """
name = "{name}"
frequency = "MS"
horizon = 3
[source]
kind = "csv"
path = "sales.csv"
period = "month"
value = "sold"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sales.csv").write_text("month,sold\n2025-01,3\n2025-02,4\n2025-03,5\n")
    for name in ("a", "b", "d"):
        (tmp_path / f"{name}.toml").write_text(RECIPE.format(name=name))
    (tmp_path / "c.toml").write_text('name = "c"\n')
    return tmp_path


@pytest.fixture
def shell(folder: Path) -> Iterator[Shell]:
    with shell_in(folder) as shell:
        yield shell


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_broken_recipe_stops_no_other(shell: Shell, jobs: str) -> None:
    said = shell.types("run", "--all", "--jobs", jobs, "--json")

    assert said.status == 1
    facts = json.loads(said.out)
    assert [(fact["recipe"], fact["status"]) for fact in facts] == [
        ("a", "published"),
        ("b", "published"),
        ("c", "failed"),
        ("d", "published"),
    ]
    assert 'c.toml: the key "frequency" is missing' in said.err


def test_each_result_is_printed_once(shell: Shell) -> None:
    said = shell.types("run", "a", "b", "--jobs", "2")

    assert said.status == 0, said.err
    assert [line for line in said.out.splitlines() if line in ("a", "b")] == ["a", "b"]


def test_a_folder_without_recipes_is_named(shell: Shell, folder: Path) -> None:
    for path in folder.glob("*.toml"):
        path.unlink()

    said = shell.types("run", "--all")

    assert said.status == 1
    assert said.err.startswith("nextperiod: there is no recipe in ")
