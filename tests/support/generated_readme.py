"""The parts of the README files that follow from the code: `make readme` writes them, a test compares."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from typer.main import get_command

from flows.cli.app import app
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

ROOT = Path(__file__).parents[2]

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


def commands() -> dict[str, Any]:
    """The commands of the command line, by name: "run", …, "db roles"."""
    return dict(_commands(get_command(app), ()))


def _commands(group: Any, parents: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*parents, name))
        else:
            yield " ".join((*parents, name)), command


def command_reference() -> str:
    """Every command with its options, as `--help` shows them."""
    return "\n\n".join(_command_section(name, command) for name, command in commands().items())


def _command_section(name: str, command: Any) -> str:
    parameters = [parameter for parameter in command.params if parameter.name != "json"]
    rows = [
        f"| `{_parameter(parameter)}` | {'**needed**: ' if _is_needed_option(parameter) else ''}{parameter.help} |"
        for parameter in parameters
    ]
    table = ["", "| | |", "|---|---|", *rows] if rows else []
    text = "\n".join(" ".join(paragraph.split()) for paragraph in command.help.split("\n\n"))
    example = command.epilog.removeprefix("Example: ")
    return "\n".join([f"### {name}", "", text, *table, "", "```sh", example, "```"])


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    return str(parameter.opts[0]) if parameter.is_flag else f"{parameter.opts[0]} {parameter.metavar}"


def _is_needed_option(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and bool(parameter.required)


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


def view_reference() -> str:
    """Every view with its columns, from the comments that PostgreSQL shows."""
    text = (Path(str(files("sql"))) / "comments.postgresql.sql").read_text("utf-8")
    views = re.findall(r"^comment on view (\w+) is '(.*)';$", text, re.MULTILINE)
    return "\n\n".join(_view_section(view, _unquoted(comment), text) for view, comment in views)


def _view_section(view: str, comment: str, text: str) -> str:
    columns = re.findall(rf"^comment on column {view}\.(\w+) is '(.*)';$", text, re.MULTILINE)
    rows = [f"| `{column}` | {_unquoted(meaning)} |" for column, meaning in columns]
    example = f"[example](queries/examples/{view}.sql)"
    return "\n".join([f"### {view}", "", f"{comment} {example}", "", "| column | |", "|---|---|", *rows])


def _unquoted(literal: str) -> str:
    return literal.replace("''", "'")


#: by page, its generated parts by name
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "flows/README.md": {"commands": command_reference},
    "deployments/README.md": {"settings": settings_table},
    "deployments/recipes/README.md": {"recipe": recipe_table},
    "sql/README.md": {"views": view_reference},
}


def render(page: str, text: str) -> str:
    """The text of a page with its generated parts as the code has them now."""
    for name, part in PARTS[page].items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, rest = text.split(begin)
        text = before + begin + part() + "\n" + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    for page in PARTS:
        path = ROOT / page
        path.write_text(render(page, path.read_text("utf-8")), "utf-8")
