"""CSV text without quotes, split by Arrow: every line is a row and every delimiter separates two fields.

Arrow is fast but does not tell the line of a row, so lines are counted here: Arrow reports blank lines and lines that
do not fit the header to a handler, and the rows of a batch are the lines between them.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.recipe import Recipe
from pipeline.errors import Rejection
from pipeline.sources.columns import MAX_UNREADABLE_ROWS, ragged_row, rows_per_chunk, select_columns, text_batch
from pipeline.sources.csv_quoted import is_blank, parse_header, refuse_if_above
from pipeline.sources.delivery import Chunk
from pipeline.sources.dialect import DEFAULT_DIALECT, Dialect
from pipeline.sources.file import File

#: text that Arrow splits at a time; larger blocks are not faster
BLOCK_BYTES = 1 << 20


def plain_chunks(
    file: File,
    stream: BinaryIO,
    recipe: Recipe,
    dialect: Dialect = DEFAULT_DIALECT,
    *,
    max_unreadable: int = MAX_UNREADABLE_ROWS,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Chunk]:
    """Yield the rows of a text without quotes and lone returns; the last chunk may hold none.

    Args:
        file: for messages.
        stream: the text from its header on.
        recipe: names the columns.
        dialect: how the text is written.
        max_unreadable: rows that may not fit the header.
        block_bytes: text that is split at a time.

    Raises:
        BatchRefused: more than `max_unreadable` rows do not fit the header.
    """
    fields, header_line = _read_first_fields(stream, dialect)
    header = parse_header(fields, file, recipe)
    positions = select_columns(header, recipe)
    names = [header[position] for position in positions]
    skipped = _SkippedLines(header_line, dialect.delimiter, max_unreadable)
    next_line = header_line + 1
    for batch in _split(stream, len(header), dialect.delimiter, skipped, block_bytes):
        lines = skipped.lines_between(next_line, batch.num_rows)
        next_line = int(lines[-1]) + 1
        is_filled = _find_filled_rows(batch)
        if is_filled is not None:
            batch, lines = batch.filter(is_filled), lines[is_filled.to_numpy(zero_copy_only=False)]
        columns = pa.RecordBatch.from_arrays([batch.column(position) for position in positions], names=names)
        refuse_if_above(max_unreadable, skipped.num_unreadable, file, len(header))
        yield from _slice(columns, lines, file, dialect, skipped)
    refuse_if_above(max_unreadable, skipped.num_unreadable, file, len(header))
    no_rows = text_batch(names, [() for _ in positions])
    yield Chunk(
        columns=no_rows,
        line=np.array([], np.int64),
        file=file.relative_path,
        rejections=skipped.take_rejections(),
        dialect=dialect,
    )


class _SkippedLines:
    """Lines that Arrow cannot split into the header's columns, in the order in which it reports them."""

    def __init__(self, header_line: int, delimiter: str, max_unreadable: int) -> None:
        self.header_line = header_line
        self.delimiter = delimiter
        self.max_unreadable = max_unreadable
        self.num_unreadable = 0
        self._lines: list[int] = []
        self._rejections: list[Rejection] = []

    def report(self, row: Any) -> str:
        """Handle a line for Arrow, which counts all lines after the header from 1, blank ones too."""
        line = self.header_line + row.number
        self._lines.append(line)
        if is_blank(row.text.split(self.delimiter)):
            return "skip"
        self.num_unreadable += 1
        if self.num_unreadable > self.max_unreadable:
            return "error"
        self._rejections.append(
            ragged_row(line, row.text, num_fields=row.actual_columns, num_columns=row.expected_columns)
        )
        return "skip"

    def lines_between(self, first: int, num_rows: int) -> npt.NDArray[np.int64]:
        """Return the lines of the next rows: the first `num_rows` lines from `first` on that were not skipped."""
        skipped = np.array(self._lines, dtype=np.int64)
        candidates = np.arange(first, first + num_rows + len(skipped), dtype=np.int64)
        lines = np.setdiff1d(candidates, skipped, assume_unique=True)[:num_rows]
        self._lines = [line for line in self._lines if line > lines[-1]]
        return lines  # [num_rows]

    def take_rejections(self) -> tuple[Rejection, ...]:
        """Return the rejections since the last call."""
        rejections, self._rejections = tuple(self._rejections), []
        return rejections


def _read_first_fields(stream: BinaryIO, dialect: Dialect) -> tuple[list[str], int]:
    """Return the fields of the first line that is not blank, and its number."""
    line_number = dialect.header_line - 1
    while True:
        line_number += 1
        line = stream.readline()
        text = line.removeprefix(codecs.BOM_UTF8 if line_number == 1 else b"").decode().rstrip("\r\n")
        fields = next(csv.reader([text], delimiter=dialect.delimiter, strict=True), [])
        if not is_blank(fields):
            return fields, line_number


def _split(
    stream: BinaryIO, num_columns: int, delimiter: str, skipped: _SkippedLines, block_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows as text, block by block; the columns are named by their positions."""
    from pyarrow import csv as arrow

    names = [str(position) for position in range(num_columns)]
    try:
        reader = arrow.open_csv(
            pa.PythonFile(stream, mode="r"),
            arrow.ReadOptions(use_threads=False, block_size=block_bytes, column_names=names),
            arrow.ParseOptions(
                delimiter=delimiter,
                quote_char=False,
                double_quote=False,
                escape_char=False,
                newlines_in_values=False,
                ignore_empty_lines=False,
                invalid_row_handler=skipped.report,
            ),
            arrow.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[],
                strings_can_be_null=False,
            ),
        )
        yield from (batch for batch in reader if batch.num_rows)
    except pa.ArrowInvalid as error:
        is_too_many = skipped.num_unreadable > skipped.max_unreadable
        if not is_too_many and "Empty CSV file" not in str(error):
            raise


def _find_filled_rows(batch: pa.RecordBatch) -> pa.BooleanArray | None:
    """Return which rows hold more than white space; None if all do."""
    is_blank_row: pa.BooleanArray | None = None
    for column in batch.columns:
        is_empty = pc.equal(pc.ascii_trim_whitespace(column), "")
        is_blank_row = is_empty if is_blank_row is None else pc.and_(is_blank_row, is_empty)
        if not pc.any(is_blank_row).as_py():
            return None
    return pc.invert(is_blank_row)


def _slice(
    columns: pa.RecordBatch, lines: npt.NDArray[np.int64], file: File, dialect: Dialect, skipped: _SkippedLines
) -> Iterator[Chunk]:
    step = rows_per_chunk(columns.num_columns)
    for start in range(0, columns.num_rows, step):
        yield Chunk(
            columns=columns.slice(start, step),
            line=lines[start : start + step],
            file=file.relative_path,
            rejections=skipped.take_rejections(),
            dialect=dialect,
        )
