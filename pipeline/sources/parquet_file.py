"""Parquet files as a source, read part by part with the types that they have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa

from pipeline.config.recipe import Recipe
from pipeline.config.sources import ParquetSource
from pipeline.errors import SourceUnavailable
from pipeline.sources.columns import (
    empty_chunk,
    find_repeated_column,
    rows_per_chunk,
    select_columns,
    simplify_types,
    slice_chunks,
)
from pipeline.sources.delivery import Chunk, Delivery, FetchContext
from pipeline.sources.file import (
    File,
    FileStamp,
    delivery_name,
    file_stamp,
    hash_files,
    refuse,
    refuse_too_large,
    require_unchanged,
    start_hash,
)
from pipeline.sources.files import find_files

BLOCK_BYTES = 1 << 20


@contextmanager
def fetch_parquet(recipe: Recipe, source: ParquetSource, context: FetchContext) -> Iterator[Delivery]:
    """Deliver all rows of the recipe's files.

    Raises:
        SourceMissing: there is no such file, or a variable in its path is not set.
        SourceUnavailable: a file cannot be read right now.
        BatchRefused: a file is not Parquet, or is too large.
    """
    with find_files(recipe, source, "Parquet file") as files:
        stamps = [file_stamp(file.path) for file in files]
        content_hashes = [_hash_content(file, source) for file in files]
        for file in files:
            _check_metadata(file, recipe, source.max_gib)
        yield Delivery(
            source=delivery_name(files, source.path),
            content_hash=hash_files(source, files, content_hashes),
            chunks=partial(_read_files, files, stamps, recipe),
        )


def _hash_content(file: File, source: ParquetSource) -> hashlib._Hash:
    content_hash = start_hash(source)
    try:
        with file.path.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                content_hash.update(block)
    except OSError as error:
        raise SourceUnavailable(f"{file.path} cannot be read: {error.strerror}") from None
    return content_hash


def _check_metadata(file: File, recipe: Recipe, max_gib: float) -> None:
    """Refuse a file that is not Parquet, is too large when decompressed, or names a column twice."""
    with _open_parquet(file) as parquet:
        metadata = parquet.metadata
        num_bytes = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
        if num_bytes > max_gib * 2**30:
            refuse_too_large(file.name, max_gib)
        repeated = find_repeated_column(parquet.schema_arrow.names, recipe)
        if repeated is not None:
            name, count = repeated
            refuse(file.name, f'names the column "{name}" {count} times: expected it once', "column twice")


def _open_parquet(file: File) -> Any:
    from pyarrow import parquet

    if file.path.stat().st_size == 0:
        refuse(file.name, "is empty: expected a Parquet file", "empty")
    try:
        return parquet.ParquetFile(
            file.path, buffer_size=BLOCK_BYTES, pre_buffer=False, page_checksum_verification=True
        )
    except (pa.ArrowException, OSError) as error:
        refuse(file.name, f"is no Parquet file that can be read: {_first_line(error)}; it may be cut", "not parquet")


def _read_files(files: Sequence[File], stamps: Sequence[FileStamp], recipe: Recipe) -> Iterator[Chunk]:
    for file, stamp in zip(files, stamps, strict=True):
        with require_unchanged(file, stamp), _open_parquet(file) as parquet:
            yield from _read_file(parquet, file, recipe)


def _read_file(parquet: Any, file: File, recipe: Recipe) -> Iterator[Chunk]:
    header = list(parquet.schema_arrow.names)
    positions = select_columns(header, recipe)
    next_line = 1
    for batch in _read_batches(parquet, file, [header[position] for position in positions]):
        yield from slice_chunks(batch, next_line, file=file.relative_path)
        next_line += batch.num_rows
    if next_line == 1:
        yield empty_chunk(parquet.schema_arrow.field(position) for position in positions)


def _read_batches(parquet: Any, file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows in batches, so that no row group is in memory as a whole."""
    columns = None if len(names) == len(parquet.schema_arrow.names) else list(names)
    batches = parquet.iter_batches(rows_per_chunk(len(names)), columns=columns, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            refuse(file.name, f"cannot be read to its end: {_first_line(error)}; fetch it again", "not parquet")
        if batch is None:
            return
        yield simplify_types(batch)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(". ") if str(error) else type(error).__name__
