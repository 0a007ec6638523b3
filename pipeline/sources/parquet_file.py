"""Parquet files, piece by piece with the types that they have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline.config.recipe import Recipe
from pipeline.errors import SourceUnavailable
from pipeline.sources.columns import delivered, named_twice, nothing, plain_types, rows_of_chunk, sliced
from pipeline.sources.delivery import Chunk, Delivery, FetchContext
from pipeline.sources.file import File, Stamp, hash_begun, hash_of, refuse, stamp, unchanged
from pipeline.sources.files import files_of

BLOCK_BYTES = 1 << 20


@contextmanager
def fetch_parquet(recipe: Recipe, context: FetchContext) -> Iterator[Delivery]:
    """All rows of the recipe's files.

    Raises:
        SourceMissing: there is no such file, or the variable in its path is not set.
        SourceUnavailable: it cannot be read right now.
        BatchRefused: one is no Parquet file.
    """
    with files_of(recipe, "Parquet file") as files:
        stamps = [stamp(file.path) for file in files]
        contents = [_hash(file, recipe) for file in files]
        for file in files:
            _look(file, recipe)
        only = files[0].inside is None
        yield Delivery(
            source=files[0].name if only else str(getattr(recipe.source, "path", "")),
            content_hash=contents[0].hexdigest() if only else hash_of(recipe.source, zip(files, contents, strict=True)),
            chunks=partial(_chunks, files, stamps, recipe),
        )


def _hash(file: File, recipe: Recipe) -> hashlib._Hash:
    content = hash_begun(recipe.source)
    try:
        with file.path.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                content.update(block)
    except OSError as error:
        raise SourceUnavailable(f"{file.path} cannot be read: {error.strerror}") from None
    return content


def _look(file: File, recipe: Recipe) -> None:
    """Refuse what is no Parquet file, or says that it becomes larger than the recipe expects."""
    most = float(getattr(recipe.source, "max_gib", 4.0))
    with _open(file) as opened:
        metadata = opened.metadata
        num_bytes = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
        if num_bytes > most * 2**30:
            refuse(
                file.name,
                f"is larger than {most:g} GiB, the recipe's source.max_gib: raise it if that is right",
                "too large",
            )
        twice = named_twice(opened.schema_arrow.names, recipe)
        if twice is not None:
            refuse(file.name, f'names the column "{twice[0]}" {twice[1]} times: expected it once', "column twice")


def _open(file: File) -> Any:
    from pyarrow import parquet

    if file.path.stat().st_size == 0:
        refuse(file.name, "is empty: expected a Parquet file", "empty")
    try:
        return parquet.ParquetFile(
            file.path, buffer_size=BLOCK_BYTES, pre_buffer=False, page_checksum_verification=True
        )
    except (pa.ArrowException, OSError) as error:
        refuse(file.name, f"is no Parquet file that can be read: {_first_line(error)}; it may be cut", "not parquet")


def _chunks(files: Sequence[File], stamps: Sequence[Stamp], recipe: Recipe) -> Iterator[Chunk]:
    for file, before in zip(files, stamps, strict=True):
        with unchanged(file, before), _open(file) as opened:
            yield from _chunks_of(opened, file, recipe)


def _chunks_of(opened: Any, file: File, recipe: Recipe) -> Iterator[Chunk]:
    header = list(opened.schema_arrow.names)
    where = delivered(header, recipe)
    line = 1
    for batch in _batches(opened, file, [header[position] for position in where]):
        yield from sliced(batch, line, file=file.inside)
        line += batch.num_rows
    if line == 1:
        yield nothing(opened.schema_arrow.field(position) for position in where)


def _batches(opened: Any, file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows, piece by piece, so that no row group is in memory as a whole."""
    columns = None if len(names) == len(opened.schema_arrow.names) else list(names)
    batches = opened.iter_batches(rows_of_chunk(len(names)), columns=columns, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            refuse(file.name, f"cannot be read to its end: {_first_line(error)}; fetch it again", "not parquet")
        if batch is None:
            return
        yield plain_types(batch)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(". ") if str(error) else type(error).__name__
