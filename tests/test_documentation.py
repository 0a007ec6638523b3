"""README files say what is: generated parts, links, names, commands, and the recipe for a file of one's own."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.config import sources
from pipeline.config.architectures import ARCHITECTURES
from pipeline.config.loader import parse_recipe, recipe_names
from pipeline.config.settings import SETTINGS
from pipeline.jobs.ingest import ingest_source
from pipeline.sources.registry import SOURCES
from pipeline.storage.store import Store
from tests.support.generated_readme import PARTS, ROOT, TABLES, commands, render

README = (ROOT / "README.md").read_text("utf-8")
OPERATION = (ROOT / "deployments/README.md").read_text("utf-8")
RECIPES = (ROOT / "deployments/recipes/README.md").read_text("utf-8")
#: each has a page of its own
FOLDERS = ("deployments", "flows", "pipeline", "sql", "tests")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [
        *ROOT.glob("*.md"),
        *(path for folder in (*FOLDERS, ".github") for path in (ROOT / folder).rglob("*.md")),
    ]
)
#: keys of a recipe that name a table, or the kind of a source
_HEADINGS = ("kind", "source", "covariates", "model", "training", "backtest", "gate", "publish", "tutorial")


@pytest.mark.parametrize("page", PARTS)
def test_the_generated_parts_are_as_the_code_is(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")

    assert render(page, text) == text, "run `make readme`"


def test_the_first_page_is_short() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_repository_leads_somewhere(page: str) -> None:
    broken = [link for link in links_of((ROOT / page).read_text("utf-8")) if not leads_somewhere(page, link)]

    assert broken == []


def test_links_and_anchors_are_told_apart() -> None:
    text = "# The `map`: of it\n\n[a](b.md#c-d) [out](https://example.org) ![picture](p.png)\n\n## Twice\n\n## Twice\n"

    assert list(links_of(text)) == ["b.md#c-d", "p.png"]
    assert anchors_of(text) == {"the-map-of-it", "twice", "twice-1"}
    assert not leads_somewhere("README.md", "flows/README.md#no-such-heading")
    assert not leads_somewhere("README.md", "no/such/file.md")


def links_of(text: str) -> Iterator[str]:
    """Targets of links and pictures, without addresses elsewhere and without code."""
    for target in re.findall(r"\]\(([^()\s]+)\)", _without_code(text)):
        if "://" not in target:
            yield target


def leads_somewhere(page: str, link: str) -> bool:
    """Whether the file is there and has the anchor."""
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    return target.exists() and (not anchor or anchor in anchors_of(target.read_text("utf-8")))


def anchors_of(text: str) -> set[str]:
    """Anchors of headings as GitHub makes them: lower case, hyphens for blanks, a number for a heading that repeats."""
    anchors: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", _without_fences(text), flags=re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        anchors[anchor] = anchors.get(anchor, 0) + 1
    return {anchor if n == 0 else f"{anchor}-{n}" for anchor, count in anchors.items() for n in range(count)}


def _without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", _without_fences(text))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_that_a_page_names_exists(folder: str) -> None:
    page = ROOT / folder / "README.md"
    named = re.findall(r"`([\w./]+\.(?:py|sql|toml|yaml))`", _without_fences(page.read_text("utf-8")))

    assert [name for name in named if not ((page.parent / name).exists() or (ROOT / name).exists())] == []


def test_every_type_of_the_glossary_is_a_class() -> None:
    rows = (ROOT / "pipeline/README.md").read_text("utf-8").split("### Types")[1]
    types = re.findall(r"`([A-Z]\w+)`", rows)
    classes = {
        name
        for path in (ROOT / "pipeline").rglob("*.py")
        for name in re.findall(r"^class (\w+)", path.read_text("utf-8"), flags=re.MULTILINE)
    }

    assert len(types) > 30
    assert [name for name in types if name not in classes] == []


def test_every_table_of_a_recipe_describes_its_keys() -> None:
    undescribed = [
        f"{heading or 'top'}.{key}"
        for heading, table in TABLES.items()
        for key, field in table.model_fields.items()
        if field.description is None
        and key not in _HEADINGS
        and not (table in sources.TABLES.values() and key in sources.Source.model_fields)
    ]

    assert undescribed == []


def test_every_key_of_a_recipe_is_documented() -> None:
    keys = {key for table in TABLES.values() for key in table.model_fields if key not in _HEADINGS}

    assert [key for key in sorted(keys) if f"| `{key}` |" not in RECIPES] == []


@pytest.mark.parametrize("page", ["README.md", "flows/README.md"])
def test_every_command_is_named(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")

    assert len(commands()) >= 15
    assert [
        name for name in commands() if not re.search(rf"(`nextperiod |, `|^### ){name}\b", text, re.MULTILINE)
    ] == []


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_documented(name: str) -> None:
    assert f"| `{name}` |" in OPERATION


@pytest.mark.parametrize("name", recipe_names(ROOT / "deployments/recipes"))
def test_every_recipe_of_the_folder_is_documented(name: str) -> None:
    assert f"| `{name}` |" in RECIPES


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_is_documented(kind: str) -> None:
    table = RECIPES.split("## Kinds of source")[1].split("\n## ")[0]

    assert re.search(rf"^\|[^|]*`{kind}`[^|]*\|", table, re.MULTILINE)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_documented(name: str) -> None:
    assert re.search(rf"^\| `{name}` \| .{{4,}}", RECIPES, re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "deployments/recipes/README.md"])
def test_the_recipe_for_a_file_of_ones_own_is_ten_lines_that_parse(page: str) -> None:
    recipe = re.search(r"```toml\n(.*?)```", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)
    assert recipe is not None
    lines = [line for line in recipe[1].splitlines() if line.strip()]

    assert len(lines) <= 10
    assert parse_recipe(recipe[1], where=page, folder=Path()).horizon == 6


@pytest.mark.parametrize("page", PAGES)
def test_every_target_that_is_named_is_in_the_makefile(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")

    for target in re.findall(r"`make ([\w-]+)`|^make ([\w-]+)", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE):
        assert re.search(rf"^{target[0] or target[1]}:", makefile, flags=re.MULTILINE), target


def test_every_target_of_the_makefile_is_documented() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)
    assert phony is not None
    tests = (ROOT / "tests/README.md").read_text("utf-8")

    assert [target for target in phony[1].split() if f"`make {target}`" not in tests] == []


def test_the_changelog_has_an_entry_for_this_version_and_one_for_the_next() -> None:
    text = (ROOT / "deployments/CHANGELOG.md").read_text("utf-8")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

    unreleased, *released = re.findall(r"^## (.*)$", text, re.MULTILINE)

    assert unreleased == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d{2}-\d{2}", heading) for heading in released)
    assert released[0].startswith(f"{version} - ")


def test_no_address_is_locked() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert "://" not in (ROOT / lock).read_text("utf-8")


def test_the_messy_file_of_the_first_page_is_ingested_as_it_says(store: Store, tmp_path: Path) -> None:
    own = README.split("## Your own data")[1]
    recipe = parse_recipe(own.split("```toml\n")[1].split("```")[0], where="sales.toml", folder=tmp_path)
    rows = [f"{2022 + n // 12}-{n % 12 + 1:02d}-01,{400 + n}" for n in range(48)]
    rows[5], rows[7] = "2022-06-01,12x", "2022-08-01,"
    (tmp_path / "sales.csv").write_text("\n".join(["month,sold", *rows, "2023-07-01,7"]) + "\n")
    store.recipes.register(recipe)

    result = ingest_source(recipe, store, datetime(2026, 1, 1, tzinfo=UTC))

    counts = (
        f"{result.num_read} rows read, {result.num_new} new, {result.num_revised} revised, {result.num_same} unchanged"
    )
    assert own.split("```text\n")[1].split("\n```")[0].splitlines() == [
        f"sales.csv: {counts}, {result.num_rejected} rejected",
        result.quarantine,
    ]
