"""Files that a recipe's path names: which they are, and that they do not change while they are read."""

from __future__ import annotations

import glob
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.config.recipe import Recipe
from pipeline.config.sources import CsvSource, ParquetSource
from pipeline.errors import SourceMissing, SourceUnavailable
from pipeline.sources.environment import variable
from pipeline.sources.file import File, hint, no_such_file, packing_of

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")


@contextmanager
def files_of(recipe: Recipe, what: str) -> Iterator[tuple[File, ...]]:
    """The files of the recipe's path, sorted by name, there as long as the context is.

    Args:
        recipe: its source is one of files.
        what: what one of them is, such as "CSV file".

    Raises:
        SourceMissing: there is none, or a variable in the path is not set.
        SourceUnavailable: the place where they are does not answer.
    """
    path = named_path(recipe)
    scheme = _SCHEME.match(path)
    if scheme is None:
        yield _local_files(path, recipe, what)
        return
    _refuse_scheme(scheme[1].lower(), recipe)
    from pipeline.sources.object_store import fetched_files

    with fetched_files(path, recipe, what) as files:
        yield files


def named_path(recipe: Recipe) -> str:
    """The recipe's path with its variables.

    Raises:
        SourceMissing: one of them is not set.
    """
    source = recipe.source
    assert isinstance(source, CsvSource | ParquetSource)

    def value(match: re.Match[str]) -> str:
        found = variable(match[1])
        if not found:
            raise SourceMissing(
                f"the recipe {recipe.name} reads the file that {match[1]} names, which is not set" + hint(source)
            )
        return found

    return re.sub(r"\$\{(\w+)\}", value, source.path)


def _refuse_scheme(scheme: str, recipe: Recipe) -> None:
    advice = {"file": "write the path without file://", "http": 'use kind = "http" for an address'}
    advice["https"] = advice["http"]
    if scheme in advice:
        raise SourceMissing(
            f"source.path of the recipe {recipe.name} begins with {scheme}://: {advice[scheme]}" + hint(recipe.source)
        )


def _local_files(named: str, recipe: Recipe, what: str) -> tuple[File, ...]:
    path = _absolute(named, recipe)
    try:
        if glob.has_magic(str(path)) and not path.exists():
            return _matching(path, recipe, what)
        return (_one(path, recipe, what),)
    except ValueError as error:
        raise SourceMissing(f'"{path}" is no path: {error}{hint(recipe.source)}') from None
    except OSError as error:
        raise SourceUnavailable(f"{path} cannot be read: {error.strerror}") from None


def _absolute(named: str, recipe: Recipe) -> Path:
    try:
        expanded = Path(named).expanduser()
    except RuntimeError as error:
        raise SourceMissing(f'"{named}" is no path: {error}{hint(recipe.source)}') from None
    from_environment = getattr(recipe.source, "path", "").startswith("${")
    return expanded if from_environment else recipe.folder / expanded


def _one(path: Path, recipe: Recipe, what: str) -> File:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise no_such_file(str(path), recipe, what) from None
    if stat.S_ISDIR(mode):
        raise SourceMissing(f"{path} is a folder: expected a {what}" + hint(recipe.source))
    if not stat.S_ISREG(mode):
        raise SourceMissing(f"{path} is a device or a pipe: expected a {what}" + hint(recipe.source))
    return File(path=path, name=path.name, packing=packing_of(path.name))


def _matching(pattern: Path, recipe: Recipe, what: str) -> tuple[File, ...]:
    """The regular files of a pattern, none of them hidden; `**` stands for any folders."""
    parts = pattern.parts
    fixed = next(position for position, part in enumerate(parts) if glob.has_magic(part))
    folder = Path(*parts[:fixed])
    found = (path.relative_to(folder) for path in folder.glob("/".join(parts[fixed:])) if path.is_file())
    names = sorted({path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)})
    if not names:
        raise no_such_file(str(pattern), recipe, what)
    return tuple(File(path=folder / name, name=name, inside=name, packing=packing_of(name)) for name in names)
