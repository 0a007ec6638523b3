"""CSV text in which each line is a row and each comma parts two fields, split by Arrow."""

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
from pipeline.sources.columns import MOST_UNREADABLE, delivered, ragged, rows_of_chunk, text_batch
from pipeline.sources.csv_quoted import header_of, is_blank, refuse_too_many
from pipeline.sources.delivery import Chunk
from pipeline.sources.file import File

#: text that is split at once; larger ones are not faster
BLOCK_BYTES = 1 << 20


def plain_chunks(file: File, stream: BinaryIO, recipe: Recipe) -> Iterator[Chunk]:
    """The rows of a text without quotes and lone returns; the last chunk may hold none.

    Raises:
        BatchRefused: too many of its lines do not have the header's columns.
    """
    fields, header_line = _first_fields(stream)
    header = header_of(fields, file, recipe)
    where = delivered(header, recipe)
    names = [header[position] for position in where]
    unreadable = _Unreadable(header_line, len(header))
    line = header_line + 1
    for batch in _batches(stream, len(header), unreadable):
        lines = unreadable.lines_around(line, batch.num_rows)
        line = int(lines[-1]) + 1
        filled = _not_blank(batch)
        if filled is not None:
            batch, lines = batch.filter(filled), lines[filled.to_numpy(zero_copy_only=False)]
        chosen = pa.RecordBatch.from_arrays([batch.column(position) for position in where], names=names)
        refuse_too_many(file, unreadable.num, len(header))
        yield from _parts(chosen, lines, file, unreadable)
    refuse_too_many(file, unreadable.num, len(header))
    none = text_batch(names, [() for _ in where])
    yield Chunk(columns=none, line=np.array([], np.int64), file=file.inside, rejections=unreadable.taken())


class _Unreadable:
    """Lines that Arrow could not split, as it meets them."""

    def __init__(self, header_line: int, num_columns: int) -> None:
        self.header_line = header_line
        self.num_columns = num_columns
        self.num = 0
        self._lines: list[int] = []
        self._rejections: list[Rejection] = []

    def meet(self, row: Any) -> str:
        """Arrow's handler: it counts the rows behind the header from 1, blank lines too."""
        line = self.header_line + row.number
        self._lines.append(line)
        if is_blank(row.text.split(",")):
            return "skip"
        self.num += 1
        if self.num > MOST_UNREADABLE:
            return "error"
        self._rejections.append(ragged(line, row.text, found=row.actual_columns, expected=row.expected_columns))
        return "skip"

    def lines_around(self, first: int, num_rows: int) -> npt.NDArray[np.int64]:
        """The lines of rows that begin at `first`, past those that were met."""
        met = np.array(self._lines, dtype=np.int64)
        skipped, before = 0, -1
        while skipped != before:
            skipped, before = int(np.searchsorted(met, first + num_rows + skipped)), skipped
        lines = np.arange(first, first + num_rows + skipped, dtype=np.int64)
        self._lines = self._lines[skipped:]
        return np.delete(lines, met[:skipped] - first) if skipped else lines

    def taken(self) -> tuple[Rejection, ...]:
        """The rejections since the last time."""
        rejections, self._rejections = tuple(self._rejections), []
        return rejections


def _first_fields(stream: BinaryIO) -> tuple[list[str], int]:
    """The first line that is not blank, split, and its number."""
    number = 0
    while True:
        number += 1
        line = stream.readline()
        text = line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode().rstrip("\r\n")
        fields = next(csv.reader([text], strict=True), [])
        if not is_blank(fields):
            return fields, number


def _batches(stream: BinaryIO, num_columns: int, unreadable: _Unreadable) -> Iterator[pa.RecordBatch]:
    from pyarrow import csv as arrow

    names = [str(position) for position in range(num_columns)]
    try:
        reader = arrow.open_csv(
            pa.PythonFile(stream, mode="r"),
            arrow.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names),
            arrow.ParseOptions(
                quote_char=False,
                double_quote=False,
                escape_char=False,
                newlines_in_values=False,
                ignore_empty_lines=False,
                invalid_row_handler=unreadable.meet,
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
        if unreadable.num <= MOST_UNREADABLE and "Empty CSV file" not in str(error):
            raise


def _not_blank(batch: pa.RecordBatch) -> pa.BooleanArray | None:
    """Which rows hold more than spaces; none where all do."""
    blank: pa.BooleanArray | None = None
    for column in batch.columns:
        empty = pc.equal(pc.ascii_trim_whitespace(column), "")
        blank = empty if blank is None else pc.and_(blank, empty)
        if not pc.any(blank).as_py():
            return None
    return pc.invert(blank)


def _parts(
    columns: pa.RecordBatch, lines: npt.NDArray[np.int64], file: File, unreadable: _Unreadable
) -> Iterator[Chunk]:
    step = rows_of_chunk(columns.num_columns)
    for start in range(0, columns.num_rows, step):
        yield Chunk(
            columns=columns.slice(start, step),
            line=lines[start : start + step],
            file=file.inside,
            rejections=unreadable.taken(),
        )
