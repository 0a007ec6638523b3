"""README says what is: its generated parts, its names, its commands and its recipe for a file of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.config import sources
from pipeline.config.loader import parse_recipe, recipe_names
from pipeline.config.settings import SETTINGS
from pipeline.sources.registry import SOURCES
from tests.support.generated_readme import README, TABLES, written

CLONE = README.parent
TEXT = README.read_text("utf-8")


def test_the_generated_parts_are_as_the_code_is() -> None:
    assert written(TEXT) == TEXT, "run `make readme`"


def test_every_table_of_a_recipe_describes_its_keys() -> None:
    undescribed = [
        f"{heading or 'top'}.{key}"
        for heading, table in TABLES.items()
        for key, field in table.model_fields.items()
        if field.description is None
        and key not in ("kind", "source", "covariates", "model", "training", "backtest", "gate", "publish", "tutorial")
        and not (table in sources.TABLES.values() and key in sources.Source.model_fields)
    ]

    assert undescribed == []


def test_every_command_is_named() -> None:
    source = (CLONE / "flows/cli/app.py").read_text("utf-8")
    commands = re.findall(r"^@app\.command.*\ndef (\w+)", source, flags=re.MULTILINE)

    assert len(commands) >= 8
    assert [command for command in commands if not re.search(rf"`[^`\n]*\b{command}\b", TEXT)] == []


@pytest.mark.parametrize("name", [*SETTINGS, *recipe_names(CLONE / "deployments/recipes"), *SOURCES])
def test_every_setting_recipe_and_source_is_named(name: str) -> None:
    assert re.search(rf"\b{name}\b", TEXT)


def test_every_architecture_is_named() -> None:
    source = (CLONE / "pipeline/config/architectures.py").read_text("utf-8")
    names = re.findall(r'^    "([\w-]+)": ', source, flags=re.MULTILINE)

    assert len(names) >= 3
    assert [name for name in names if f"`{name}`" not in TEXT] == []


def test_the_recipe_for_a_file_of_ones_own_is_ten_lines_that_parse() -> None:
    recipe = re.search(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    assert recipe is not None
    lines = [line for line in recipe[1].splitlines() if line.strip()]

    assert len(lines) <= 10
    assert parse_recipe(recipe[1], where="README.md", folder=Path()).horizon == 6


def test_every_target_that_is_named_is_in_the_makefile() -> None:
    makefile = (CLONE / "Makefile").read_text("utf-8")

    for target in re.findall(r"`make ([\w-]+)`|^make ([\w-]+)", TEXT, flags=re.MULTILINE):
        assert re.search(rf"^{target[0] or target[1]}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("page", ["README.md", "deployments/README.md", "tests/benchmarks/RESULTS.md"])
def test_every_file_that_is_linked_is_there(page: str) -> None:
    links = re.findall(r"\]\(([\w./-]+)\)", (CLONE / page).read_text("utf-8"))

    assert links
    assert [link for link in links if not (CLONE / page).parent.joinpath(link).exists()] == []


def test_no_address_is_locked() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert "://" not in (CLONE / lock).read_text("utf-8")
