"""One file that a source reads: its packing, its hash, and that it does not change meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NoReturn

from pipeline.config.recipe import Recipe
from pipeline.config.sources import Source
from pipeline.errors import BatchRefused, Rejection, SourceMissing, SourceUnavailable
from pipeline.sources.columns import named_columns

Stamp = tuple[int, int, int, int]


Packing = Literal["", "gzip", "zstd"]


PACKINGS: dict[str, Packing] = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file that a source reads."""

    path: Path
    #: as messages show it
    name: str
    #: below the fixed folder of a pattern; None where the recipe names one file
    inside: str | None = None
    packing: Packing = ""


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
