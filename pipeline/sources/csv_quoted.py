"""Any CSV text, row by row in Python: slower than `csv_plain`, which leaves quotes to it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import Rejection
from pipeline.sources.columns import MOST_UNREADABLE, delivered, named_twice, ragged, rows_of_chunk, text_batch
from pipeline.sources.delivery import Chunk
from pipeline.sources.file import File, refuse

#: what a field of a blank line may hold
BLANK = " \t\n\r\v\f"
#: lists of rows slow the garbage collector down; more at once are not faster
CHUNK_ROWS = 50_000


def quoted_chunks(file: File, stream: BinaryIO, recipe: Recipe) -> Iterator[Chunk]:
    """The rows of a text that was looked through; the last chunk may hold none.

    Raises:
        BatchRefused: it cannot be split.
    """
    text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    try:
        header = header_of(next(fields for fields in reader if not is_blank(fields)), file, recipe)
        yield from _chunks(reader, header, file, recipe)
    except csv.Error as error:
        refuse(
            file.name,
            f"cannot be split into columns at line {reader.line_num}: {error}; the file may be cut",
            "cut",
            reader.line_num,
        )
    finally:
        text.detach()


def _chunks(reader: Any, header: Sequence[str], file: File, recipe: Recipe) -> Iterator[Chunk]:
    where, enough, num_unreadable = delivered(header, recipe), min(CHUNK_ROWS, rows_of_chunk(len(header))), 0
    held = _Held()
    for fields in reader:
        if not "".join(fields).strip(BLANK):
            continue
        if len(fields) == len(header):
            held.rows.append(fields)
            held.lines.append(reader.line_num)
        else:
            text = ",".join(fields)
            held.rejections.append(ragged(reader.line_num, text, found=len(fields), expected=len(header)))
            num_unreadable += 1
            refuse_too_many(file, num_unreadable, len(header))
        if len(held.rows) >= enough:
            yield held.chunk(header, where, file)
            held = _Held()
    yield held.chunk(header, where, file)


@dataclass(slots=True)
class _Held:
    """Rows that wait until they are enough for a chunk."""

    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)

    def chunk(self, header: Sequence[str], where: Sequence[int], file: File) -> Chunk:
        return Chunk(
            columns=text_batch(
                [header[position] for position in where],
                [[fields[position] for fields in self.rows] for position in where],
            ),
            line=np.array(self.lines, dtype=np.int64),
            file=file.inside,
            rejections=tuple(self.rejections),
        )


def header_of(fields: Sequence[str], file: File, recipe: Recipe) -> list[str]:
    """The names of the columns, without the spaces around them.

    Raises:
        BatchRefused: one that the recipe means is there twice.
    """
    header = [field.strip() for field in fields]
    twice = named_twice(header, recipe)
    if twice is not None:
        name, times = twice
        refuse(file.name, f'names the column "{name}" {times} times: expected it once', "column twice", 1)
    return header


def is_blank(fields: Sequence[str]) -> bool:
    """Whether a row holds nothing but spaces."""
    return not "".join(fields).strip(BLANK)


def refuse_too_many(file: File, num_unreadable: int, num_columns: int) -> None:
    """Refuse a file whose rows do not fit its header.

    Raises:
        BatchRefused: they are more than faults can be.
    """
    if num_unreadable > MOST_UNREADABLE:
        refuse(
            file.name,
            f"has more than {MOST_UNREADABLE:,} rows that do not have the {num_columns} columns of its header: is the header cut?",
            "columns",
        )
