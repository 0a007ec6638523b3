"""CSV files, read strictly: what cannot be read exactly is refused, with its line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from pipeline.config.recipe import Recipe
from pipeline.config.sources import TextSource
from pipeline.sources.columns import named_columns
from pipeline.sources.csv_plain import plain_chunks
from pipeline.sources.csv_quoted import quoted_chunks
from pipeline.sources.delivery import Chunk, Delivery, FetchContext
from pipeline.sources.file import File, Stamp, hash_begun, hash_of, refuse, stamp, unchanged
from pipeline.sources.files import files_of
from pipeline.sources.text import TextScan, scan_text, unpacked


@contextmanager
def fetch_csv(recipe: Recipe, context: FetchContext) -> Iterator[Delivery]:
    """All rows of the recipe's files.

    Raises:
        SourceMissing: there is no such file, or the variable in its path is not set.
        SourceUnavailable: it cannot be read right now.
        BatchRefused: one is no CSV file.
    """
    with files_of(recipe, "CSV file") as files:
        may_be_empty = recipe.source.on_empty == "keep"
        yield delivery_of_csv(files, recipe, source=_shown(files, recipe), may_be_empty=may_be_empty)


def delivery_of_csv(files: Sequence[File], recipe: Recipe, *, source: str, may_be_empty: bool) -> Delivery:
    """What these files give, after one look through all of them.

    Raises:
        BatchRefused: one is no CSV file.
    """
    looks = [_look(file, recipe) for file in files]
    only = len(files) == 1 and files[0].inside is None
    parts = ((look.file, look.content) for look in looks)
    return Delivery(
        source=source,
        content_hash=looks[0].content.hexdigest() if only else hash_of(recipe.source, parts),
        chunks=partial(_chunks, looks, recipe, None if may_be_empty else source),
        ended=all(look.looked.ended for look in looks),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    file: File
    stamp: Stamp
    looked: TextScan
    content: hashlib._Hash


def _look(file: File, recipe: Recipe) -> _Look:
    source = recipe.source
    assert isinstance(source, TextSource)
    content = hash_begun(source)
    before = stamp(file.path)
    looked = scan_text(file, source, content.update)
    if looked.is_empty:
        refuse(file.name, "is empty: expected a header line and rows", "empty")
    if looked.beginning.startswith(("<", "{")):
        beginning = " ".join(looked.beginning.split())[:60].encode("unicode_escape").decode()
        refuse(
            file.name,
            f'is not a CSV file, it begins with "{beginning}": expected a header line; an error page may have been saved in its place',
            "not csv",
        )
    return _Look(file=file, stamp=before, looked=looked, content=content)


def _chunks(looks: Sequence[_Look], recipe: Recipe, refused: str | None) -> Iterator[Chunk]:
    """The rows; none at all are refused in the name `refused`."""
    num_rows = 0
    for look in looks:
        for chunk in _chunks_of(look, recipe):
            num_rows += len(chunk.line) + len(chunk.rejections)
            yield chunk
    if num_rows == 0 and refused is not None:
        refuse(refused, f"holds a header and no rows: expected rows with {', '.join(named_columns(recipe))}", "no rows")


def _chunks_of(look: _Look, recipe: Recipe) -> Iterator[Chunk]:
    split: Callable[[File, BinaryIO, Recipe], Iterator[Chunk]] = plain_chunks if look.looked.is_plain else quoted_chunks
    with unchanged(look.file, look.stamp), unpacked(look.file) as stream:
        yield from split(look.file, stream, recipe)


def _shown(files: Sequence[File], recipe: Recipe) -> str:
    return files[0].name if files[0].inside is None else str(getattr(recipe.source, "path", ""))
