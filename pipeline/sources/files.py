"""Files that a recipe's path names: which they are, and that they do not change while they are read."""

from __future__ import annotations

import glob
import hashlib
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NoReturn

from pipeline.contract import CsvSource, ParquetSource, Source
from pipeline.errors import BatchRefused, Rejection, SourceMissing, SourceUnavailable
from pipeline.recipe import Recipe
from pipeline.sources.columns import named_columns
from pipeline.sources.environment import variable

Stamp = tuple[int, int, int, int]
Packing = Literal["", "gzip", "zstd"]
PACKINGS: dict[str, Packing] = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file that a source reads."""

    path: Path
    #: as messages show it
    name: str
    #: below the fixed folder of a pattern; None where the recipe names one file
    inside: str | None = None
    packing: Packing = ""


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
    from pipeline.sources.objects import fetched_files

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


def packing_of(name: str) -> Packing:
    """How a file of that name is packed."""
    return PACKINGS.get(PurePosixPath(name.lower()).suffix, "")


def no_such_file(shown: str, recipe: Recipe, what: str) -> SourceMissing:
    """That there is none, and what it should be."""
    return SourceMissing(
        f"there is no file {shown}: expected a {what} with the columns {', '.join(named_columns(recipe))}"
        + hint(recipe.source)
    )


def hint(source: Source) -> str:
    """Where to get the data, as the end of a message."""
    return f"; {source.hint}" if source.hint else ""


def stamp(path: Path) -> Stamp:
    """What changes when a file does."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def unchanged(file: File, before: Stamp) -> Iterator[None]:
    """Refuse a file that is not what it was, or does not stay so.

    Raises:
        SourceUnavailable: it was written to.
    """
    _require(file, before)
    yield
    _require(file, before)


def _require(file: File, before: Stamp) -> None:
    try:
        same = stamp(file.path) == before
    except OSError:
        same = False
    if not same:
        raise SourceUnavailable(f"{file.name} was changed while it was read: expected a file that is written once")


def hash_of(source: Source, parts: Iterable[tuple[File, hashlib._Hash]]) -> str:
    """The hash of many files: the settings, then each name with the hash of its content."""
    whole = hash_begun(source)
    for file, content in parts:
        whole.update(f"{file.inside}\0".encode() + content.digest())
    return whole.hexdigest()


def hash_begun(source: Source) -> hashlib._Hash:
    """A hash that knows the settings and waits for the content."""
    return hashlib.sha256(source.settings.encode() + b"\0")


def refuse(name: str, what: str, rule: str, line: int | None = None) -> NoReturn:
    """Refuse all of it.

    Raises:
        BatchRefused: always.
    """
    raise BatchRefused(f"{name} {what}", [Rejection(rule=rule, line=line)], source=name)


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
