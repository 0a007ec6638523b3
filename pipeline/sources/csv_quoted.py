"""CSV text of any kind, read row by row in Python with the `csv` module.

It is about eight times slower than `csv_plain`, which cannot read quotes. Arrow could read them too, but it does not
tell the line of a row once a quoted field holds a newline.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import Rejection
from pipeline.sources.columns import (
    MAX_UNREADABLE_ROWS,
    find_repeated_column,
    ragged_row,
    rows_per_chunk,
    select_columns,
    text_batch,
)
from pipeline.sources.delivery import Chunk
from pipeline.sources.dialect import DEFAULT_DIALECT, Dialect
from pipeline.sources.file import File, refuse

#: characters that a field of a blank line may hold
BLANK = " \t\n\r\v\f"
#: rows that are Python lists at a time: more slow the garbage collector down
CHUNK_ROWS = 50_000


def quoted_chunks(
    file: File,
    stream: BinaryIO,
    recipe: Recipe,
    dialect: Dialect = DEFAULT_DIALECT,
    *,
    max_unreadable: int = MAX_UNREADABLE_ROWS,
) -> Iterator[Chunk]:
    """Yield the rows of a scanned text; the last chunk may hold none.

    Args:
        file: for messages.
        stream: the text from its header on.
        recipe: names the columns.
        dialect: how the text is written.
        max_unreadable: rows that may not fit the header.

    Raises:
        BatchRefused: the text cannot be split, or more than `max_unreadable` rows do not fit the header.
    """
    text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
    reader = csv.reader(
        text, delimiter=dialect.delimiter, skipinitialspace=dialect.has_blanks_before_quotes, strict=True
    )
    try:
        header = parse_header(next(fields for fields in reader if not is_blank(fields)), file, recipe)
        yield from _read_rows(reader, header, file, recipe, dialect, max_unreadable)
    except csv.Error as error:
        line = dialect.header_line - 1 + reader.line_num
        refuse(file.name, f"cannot be split into columns at line {line}: {error}; the file may be cut", "cut", line)
    finally:
        text.detach()


def _read_rows(
    reader: Any, header: Sequence[str], file: File, recipe: Recipe, dialect: Dialect, max_unreadable: int
) -> Iterator[Chunk]:
    num_skipped = dialect.header_line - 1
    positions = select_columns(header, recipe)
    chunk_rows = min(CHUNK_ROWS, rows_per_chunk(len(header)))
    buffer, num_unreadable = _RowBuffer(), 0
    for fields in reader:
        if not "".join(fields).strip(BLANK):
            continue
        line = num_skipped + reader.line_num
        if len(fields) == len(header):
            buffer.rows.append(fields)
            buffer.lines.append(line)
        else:
            num_unreadable += 1
            refuse_if_above(max_unreadable, num_unreadable, file, len(header))
            text = dialect.delimiter.join(fields)
            buffer.rejections.append(ragged_row(line, text, num_fields=len(fields), num_columns=len(header)))
        if len(buffer.rows) >= chunk_rows:
            yield buffer.to_chunk(header, positions, file, dialect)
            buffer = _RowBuffer()
    yield buffer.to_chunk(header, positions, file, dialect)


@dataclass(slots=True)
class _RowBuffer:
    """Rows that are collected until they fill a chunk."""

    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)

    def to_chunk(self, header: Sequence[str], positions: Sequence[int], file: File, dialect: Dialect) -> Chunk:
        return Chunk(
            columns=text_batch(
                [header[position] for position in positions],
                [[fields[position] for fields in self.rows] for position in positions],
            ),
            line=np.array(self.lines, dtype=np.int64),
            file=file.relative_path,
            rejections=tuple(self.rejections),
            dialect=dialect,
        )


def parse_header(fields: Sequence[str], file: File, recipe: Recipe) -> list[str]:
    """Return the names of the columns, without the spaces around them.

    Raises:
        BatchRefused: a column that the recipe uses is named twice.
    """
    header = [field.strip() for field in fields]
    repeated = find_repeated_column(header, recipe)
    if repeated is not None:
        name, count = repeated
        refuse(file.name, f'names the column "{name}" {count} times: expected it once', "column twice", 1)
    return header


def is_blank(fields: Sequence[str]) -> bool:
    """Return whether a row holds nothing but white space."""
    return not "".join(fields).strip(BLANK)


def refuse_if_above(max_unreadable: int, num_unreadable: int, file: File, num_columns: int) -> None:
    """Refuse a file of which more than `max_unreadable` rows do not have the columns of its header.

    Raises:
        BatchRefused: they are more.
    """
    if num_unreadable > max_unreadable:
        refuse(
            file.name,
            f"has more than {max_unreadable:,} rows that do not have the {num_columns} columns of its header: is the header cut?",
            "columns",
        )
