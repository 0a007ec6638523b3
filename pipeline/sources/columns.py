"""What of a source's columns is delivered, and in pieces of which size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline.config.recipe import Recipe
from pipeline.errors import Rejection
from pipeline.sources.delivery import Chunk

#: rows of a chunk: enough to be fast, few enough to stay small
CHUNK_ROWS = 250_000
#: cells of a chunk, where a row is wide
CHUNK_CELLS = 2_000_000
#: rows of one file that may be impossible to split; more are another format, not faults
MOST_UNREADABLE = 100_000


def named_columns(recipe: Recipe) -> list[str]:
    """The columns that the recipe names, in the order of messages."""
    source = recipe.source
    named = (source.period, source.value, source.series, source.fold, *(source.columns or ()), *recipe.covariates.names)
    return list(dict.fromkeys(name for name in named if name))


def delivered(header: Sequence[str], recipe: Recipe) -> list[int]:
    """Positions of the columns to deliver: all, where another could be asked for or one is missing."""
    named = set(named_columns(recipe))
    needs_all = recipe.source.layout == "wide" or recipe.source.extra_columns == "error"
    if needs_all or not named <= set(header):
        return list(range(len(header)))
    return [position for position, name in enumerate(header) if name in named]


def named_twice(header: Sequence[str], recipe: Recipe) -> tuple[str, int] | None:
    """The first column that the recipe means and the header has more than once, and how often."""
    every_column = recipe.source.layout == "wide" and recipe.source.columns is None
    meant = set(header) if every_column else set(named_columns(recipe))
    count = Counter(name for name in header if name in meant)
    return next(((name, times) for name, times in count.items() if times > 1), None)


def rows_of_chunk(num_columns: int) -> int:
    """How many rows of that many columns make a chunk."""
    return max(1, min(CHUNK_ROWS, CHUNK_CELLS // max(1, num_columns)))


def sliced(columns: pa.RecordBatch, first_line: int, *, file: str | None = None) -> Iterator[Chunk]:
    """Chunks of rows that follow one another from `first_line` on."""
    step = rows_of_chunk(columns.num_columns)
    for start in range(0, columns.num_rows, step):
        part = columns.slice(start, step)
        line = np.arange(first_line + start, first_line + start + part.num_rows, dtype=np.int64)
        yield Chunk(columns=part, line=line, file=file)


def nothing(fields: Iterable[pa.Field]) -> Chunk:
    """A chunk without rows: it still says which columns there are."""
    columns = plain_types(pa.RecordBatch.from_pylist([], schema=pa.schema(list(fields))))
    return Chunk(columns=columns, line=np.array([], dtype=np.int64))


def plain_types(columns: pa.RecordBatch) -> pa.RecordBatch:
    """The same values without dictionaries, and with one type for text."""
    arrays = [_plain(column) for column in columns.columns]
    return pa.RecordBatch.from_arrays(arrays, names=columns.schema.names)


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    is_text = pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type)
    return column.cast(pa.string()) if is_text else column


def text_batch(names: Sequence[str], values: Sequence[Sequence[str]]) -> pa.RecordBatch:
    """Columns of text."""
    return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in values], names=list(names))


def ragged(line: int, text: str, *, found: int, expected: int) -> Rejection:
    """A row that does not have the header's columns."""
    return Rejection(line=line, text=text[:200], rule=f"has {found} of {expected} columns (is the file cut?)")
