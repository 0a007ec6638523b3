"""The parts of README.md that follow from the code: `make readme` writes them, a test compares."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from pipeline.config import sources
from pipeline.config.recipe import (
    BacktestSettings,
    CovariateSettings,
    GateSettings,
    ModelSettings,
    PublishSettings,
    Recipe,
    TrainingSettings,
)
from pipeline.config.settings import SETTINGS
from pipeline.config.tutorial import Tutorial

README = Path(__file__).parents[2] / "README.md"

#: by heading: the keys of one table of a recipe
TABLES: dict[str, type[BaseModel]] = {
    "": Recipe,
    "[source], whatever the kind": sources.Source,
    **{f'[source] kind = "{kind}"': table for kind, table in sources.TABLES.items()},
    "[covariates]": CovariateSettings,
    "[model]": ModelSettings,
    "[training]": TrainingSettings,
    "[backtest]": BacktestSettings,
    "[gate]": GateSettings,
    "[publish]": PublishSettings,
    "[tutorial]": Tutorial,
}


def settings_table() -> str:
    """Every setting with its default."""
    rows = [
        f"| `{name}` | {f'`{default}`' if default else ''} | {what} |" for name, (default, what) in SETTINGS.items()
    ]
    return "\n".join(["| name | default | |", "|---|---|---|", *rows])


def recipe_table() -> str:
    """Every key of a recipe with its default."""
    lines = ["| key | default | |", "|---|---|---|"]
    for heading, table in TABLES.items():
        if heading:
            lines.append(f"| **{heading}** | | |")
        shared = sources.Source.model_fields if table in sources.TABLES.values() else {}
        for key, field in table.model_fields.items():
            if field.description is None or (key in shared and field.description == shared[key].description):
                continue
            value = None if field.is_required() else field.get_default(call_default_factory=True)
            default = "" if value is None else f"`{_toml(value)}`"
            needed = "**needed**" if field.is_required() else default
            lines.append(f"| `{key}` | {needed} | {field.description} |")
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | dict):
        return "[]" if isinstance(value, tuple) else "{}"
    return f'"{value}"' if isinstance(value, str) else f"{value}"


PARTS = {"settings": settings_table, "recipe": recipe_table}


def written(text: str) -> str:
    """README with its generated parts as the code has them now."""
    for name, made in PARTS.items():
        begins, ends = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, rest = text.split(begins)
        text = before + begins + made() + "\n" + ends + rest.split(ends)[1]
    return text


if __name__ == "__main__":
    README.write_text(written(README.read_text("utf-8")), "utf-8")
