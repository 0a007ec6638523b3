"""Columns of a source: which of them are delivered, and in chunks of which size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline.config.recipe import Recipe
from pipeline.errors import Rejection
from pipeline.sources.delivery import Chunk

#: rows of a chunk: more are not faster and take more memory
CHUNK_ROWS = 250_000
#: cells of a chunk, for tables with many columns
CHUNK_CELLS = 2_000_000
#: rows of one file that may be impossible to split into columns; with more, the file has another format
MAX_UNREADABLE_ROWS = 100_000


def named_columns(recipe: Recipe) -> list[str]:
    """Return the columns that the recipe names, in the order in which messages list them."""
    source = recipe.source
    names = (
        source.period,
        source.value,
        source.series,
        source.fold_column,
        source.known_at,
        source.operation,
        *(source.columns or ()),
        *recipe.covariates.names,
    )
    return list(dict.fromkeys(name for name in names if name))


def series_columns(recipe: Recipe, names: Sequence[str]) -> list[str]:
    """Return those of the delivered columns of a wide table that are series."""
    source = recipe.source
    others = (source.period, source.fold_column, source.known_at, source.operation)
    return list(source.columns or (name for name in names if name not in others))


def number_columns(recipe: Recipe, names: Sequence[str]) -> list[str]:
    """Return those of the delivered columns that hold numbers."""
    if recipe.source.layout == "wide":
        return series_columns(recipe, names)
    wanted = {recipe.source.value, *recipe.covariates.past, *recipe.covariates.future}
    return [name for name in names if name in wanted]


def select_columns(header: Sequence[str], recipe: Recipe) -> list[int]:
    """Return the positions of the columns to deliver.

    All columns are delivered where any of them may be used, or where one that the recipe names is missing:
    the message then lists them.
    """
    names = set(named_columns(recipe))
    needs_all = recipe.source.layout == "wide" or recipe.source.extra_columns == "error"
    if needs_all or not names <= set(header):
        return list(range(len(header)))
    return [position for position, name in enumerate(header) if name in names]


def find_repeated_column(header: Sequence[str], recipe: Recipe) -> tuple[str, int] | None:
    """Return the first used column that the header has more than once, and how often; None if there is none."""
    uses_all = recipe.source.layout == "wide" and recipe.source.columns is None
    used = set(header) if uses_all else set(named_columns(recipe))
    counts = Counter(name for name in header if name in used)
    return next(((name, count) for name, count in counts.items() if count > 1), None)


def rows_per_chunk(num_columns: int) -> int:
    """Return the number of rows of a full chunk with that many columns."""
    return max(1, min(CHUNK_ROWS, CHUNK_CELLS // max(1, num_columns)))


def slice_chunks(rows: pa.RecordBatch, first_line: int, *, file: str | None = None) -> Iterator[Chunk]:
    """Yield the rows in chunks; their lines count up from `first_line`."""
    step = rows_per_chunk(rows.num_columns)
    for start in range(0, rows.num_rows, step):
        part = rows.slice(start, step)
        lines = np.arange(first_line + start, first_line + start + part.num_rows, dtype=np.int64)
        yield Chunk(columns=part, line=lines, file=file)


def empty_chunk(fields: Iterable[pa.Field]) -> Chunk:
    """Return a chunk without rows: it still tells the reader which columns there are."""
    columns = simplify_types(pa.RecordBatch.from_pylist([], schema=pa.schema(list(fields))))
    return Chunk(columns=columns, line=np.array([], dtype=np.int64))


def simplify_types(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return the same values without dictionary encoding, and with the type `string` for all text."""
    columns = [_simplify_type(column) for column in rows.columns]
    return pa.RecordBatch.from_arrays(columns, names=rows.schema.names)


def _simplify_type(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    is_other_text = pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type)
    return column.cast(pa.string()) if is_other_text else column


def text_batch(names: Sequence[str], values: Sequence[Sequence[str]]) -> pa.RecordBatch:
    """Return text columns as a record batch; `values` holds one sequence for each column."""
    return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in values], names=list(names))


def ragged_row(line: int, text: str, *, num_fields: int, num_columns: int) -> Rejection:
    """Return the rejection of a row that has more or fewer fields than the header."""
    why = "is the file cut?" if num_fields < num_columns else "is a text or a decimal comma not quoted?"
    return Rejection(line=line, text=text[:200], rule=f"has {num_fields} of {num_columns} columns ({why})")
