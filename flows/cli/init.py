"""Print the result of `nextperiod init`: a folder that runs, from an example, a file or an address."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import flows
import pipeline
from flows.cli.console import print_json, progress
from flows.context import utc_now
from pipeline.config.loader import load_recipe, recipe_names
from pipeline.config.recipe import Recipe
from pipeline.config.sources import CsvSource, IntegersSource
from pipeline.errors import InvalidArgument
from pipeline.ingest.table_detection import DetectedTable, detect_table
from pipeline.text import list_names, one_line
from pipeline.timeseries.frequency import Frequency

#: in a clone the folder of that name, in a wheel what was packed of it
_DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
_KINDS = {".parquet": "parquet", ".pq": "parquet", ".xlsx": "excel", ".xlsm": "excel"}
#: in compose.yaml: its name, and the folder of the examples' data
_PROJECT = "name: nextperiod\n"
_DATA = "    - ./data:/srv/nextperiod/data:ro\n"
#: when a cycle runs, by what the frequency's alias begins with
_CRONS = {"Y": "15 5 2 1 *", "Q": "15 5 2 1,4,7,10 *", "M": "15 5 2 * *", "W": "15 5 * * mon", "h": "5 * * * *"}
_EVERY_DAY, _EVERY_QUARTER_HOUR = "15 5 * * *", "*/15 * * * *"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Starter:
    """What a folder is written from."""

    name: str
    frequency: Frequency
    zone: str
    #: text of the recipe
    recipe: str
    #: files that are copied into the folder, by their path in it
    files: Mapping[str, Path]
    #: the file that the recipe reads where it is
    data: Path | None = None
    notes: tuple[str, ...] = ()


def print_init(folder: Path, origin: str, *, as_json: bool) -> None:
    """`nextperiod init`: write a folder with a recipe, and print what was detected."""
    _require_empty(folder)
    with progress():
        starter = _from_example(origin) if origin in example_names() else _from_data(origin)
    written = _write(folder, starter)
    if as_json:
        print_json({"folder": str(folder), "recipe": starter.name, "detected": list(starter.notes), "files": written})
        return
    for note in starter.notes:
        print(f"  {note}")
    print(f"{folder}: {', '.join(written)}\nnext: cd {folder} && nextperiod run {starter.name}")


def example_names() -> list[str]:
    """Names of the example recipes that bring their data."""
    recipes = _DEPLOYMENTS / "recipes"
    examples = [load_recipe(name, recipes) for name in recipe_names(recipes)]
    return [recipe.name for recipe in examples if isinstance(recipe.source, IntegersSource) or _data_file(recipe)]


def _data_file(recipe: Recipe) -> Path | None:
    """The file that an example reads; None if it is not among the examples."""
    path = recipe.folder / recipe.source.path if isinstance(recipe.source, CsvSource) else None
    return path if path is not None and path.is_file() else None


def _require_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InvalidArgument(f"{folder} is a file: expected the name of a new or an empty folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidArgument(f"{folder} is not empty: expected the name of a new or an empty folder")


def _from_example(name: str) -> _Starter:
    path = _DEPLOYMENTS / "recipes" / f"{name}.toml"
    recipe = load_recipe(str(path), path.parent)
    data = _data_file(recipe)
    return _Starter(
        name=name,
        frequency=recipe.grid,
        zone=recipe.source.zone or "UTC",
        recipe=path.read_text("utf-8"),
        files={f"data/{data.name}": data} if data else {},
    )


def _from_data(origin: str) -> _Starter:
    source = _source_of(origin)
    table = detect_table(source, folder=Path.cwd(), now=utc_now())
    name = _name_of(origin)
    grid = Frequency(table.frequency)
    path = str(source.get("path", ""))
    text = (
        _environment()
        .get_template("recipe.toml.jinja")
        .render(
            origin=one_line(origin),
            name=name,
            frequency=table.frequency,
            meaning=grid.meaning,
            season_length=grid.season_length,
            horizon=table.horizon,
            source={**source, **table.source},
            other_numbers=table.other_numbers,
            is_positive=table.is_positive,
        )
    )
    return _Starter(
        name=name,
        frequency=grid,
        zone=_zone(table),
        recipe=text,
        files={},
        data=Path(path) if path and "://" not in path else None,
        notes=table.notes,
    )


def _zone(table: DetectedTable) -> str:
    return str(table.source.get("zone", "UTC"))


def _source_of(origin: str) -> dict[str, Any]:
    if re.match(r"https?://", origin):
        named = {"hosts": [urlsplit(origin).hostname]} if origin.startswith("http:") else {}  # an address without TLS
        return {"kind": "http", "url": origin, **named}
    if (scheme := re.match(r"([a-z0-9]+)://", origin)) and scheme[1] not in ("s3", "gs"):
        raise InvalidArgument(
            f"{origin}: {scheme[1]}:// is not known: expected a file, http://, https://, s3:// or gs://"
        )
    path = Path(origin).expanduser()
    if not scheme and not path.is_file():
        expected = f"expected an example ({list_names(example_names())}), a file, or an address"
        raise InvalidArgument(f"there is no example and no file {origin}: {expected}")
    suffix = Path(origin.removesuffix(".gz").removesuffix(".zst")).suffix.lower()
    return {"kind": _KINDS.get(suffix, "csv"), "path": origin if scheme else str(path.resolve())}


def _name_of(origin: str) -> str:
    """The name of a recipe for a file or an address."""
    stem = re.split(r"[?#]", origin.rstrip("/"))[0].rsplit("/", 1)[-1].split(".")[0]
    name = re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")[:63]
    return name or "forecast"


def _cron(grid: Frequency) -> str:
    if grid.is_within_day:
        is_hourly = grid.alias.endswith("h")
        return _CRONS["h"] if is_hourly else _EVERY_QUARTER_HOUR
    return next((cron for begins, cron in _CRONS.items() if grid.alias.lstrip("B").startswith(begins)), _EVERY_DAY)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_DEPLOYMENTS / "starter"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["toml"] = _as_toml
    return environment


def _as_toml(value: object) -> str:
    """A text, a list of texts or a number as TOML, whose strings are those of JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _write(folder: Path, starter: _Starter) -> list[str]:
    """Write everything beside the folder first, so that an error leaves nothing; return the files."""
    values = {
        "name": starter.name,
        "folder": folder.resolve(),
        "flows": flows.__name__,
        "pipeline": pipeline.__name__,
        "cron": _cron(starter.frequency),
        "zone": starter.zone,
    }
    try:
        return _write_files(folder, starter, values)
    except OSError as error:
        raise InvalidArgument(f"{folder} cannot be written: {error.strerror}; choose another folder") from None


def _write_files(folder: Path, starter: _Starter, values: Mapping[str, object]) -> list[str]:
    environment = _environment()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".nextperiod-init-", dir=folder.parent) as name:
        new = Path(name) / folder.name
        texts = {
            f"recipes/{starter.name}.toml": starter.recipe,
            "prefect.yaml": environment.get_template("prefect.yaml.jinja").render(values),
            "env.example": (_DEPLOYMENTS / "env.example")
            .read_text("utf-8")
            .replace("=deployments/recipes", "=recipes"),
            "compose.yaml": _compose(starter),
            "databases.sh": (_DEPLOYMENTS / "databases.sh").read_text("utf-8"),
            "README.md": environment.get_template("README.md.jinja").render(values),
        }
        for path, text in texts.items():
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_text(text, "utf-8")
        (new / "databases.sh").chmod(0o755)
        for path, file in starter.files.items():
            (new / path).parent.mkdir(exist_ok=True)
            shutil.copyfile(file, new / path)
        load_recipe(str(new / f"recipes/{starter.name}.toml"), new)
        if folder.is_dir():
            folder.rmdir()
        new.rename(folder)
    return [*texts, *starter.files]


def _compose(starter: _Starter) -> str:
    """compose.yaml for the folder: containers have a name of their own, and the data where the recipe looks for them."""
    text = (_DEPLOYMENTS / "compose.yaml").read_text("utf-8")
    text = text.replace(_PROJECT, f"name: {_as_toml(starter.name)}\n")
    if starter.files:
        return text
    path = _as_toml(str(starter.data)).replace("$", "$$")
    mount = f"    - {{type: bind, source: {path}, target: {path}, read_only: true}}\n"
    return text.replace(_DATA, mount if starter.data else "")
