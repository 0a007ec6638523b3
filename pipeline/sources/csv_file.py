"""CSV files as a source, read strictly: what cannot be read exactly is refused, with its line.

There are two readers, chosen by a scan of the whole text: `csv_plain` for speed, `csv_quoted` for quotes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.config.recipe import Recipe
from pipeline.config.sources import CsvSource, TextSource
from pipeline.sources.columns import named_columns, number_columns
from pipeline.sources.csv_plain import plain_chunks
from pipeline.sources.csv_quoted import quoted_chunks
from pipeline.sources.delivery import Chunk, Delivery, FetchContext
from pipeline.sources.dialect import Dialect, find_footer, find_header, has_blanks_before_quotes
from pipeline.sources.file import (
    File,
    FileStamp,
    delivery_name,
    file_stamp,
    hash_files,
    refuse,
    require_unchanged,
    start_hash,
)
from pipeline.sources.files import find_files
from pipeline.sources.number_evidence import NumberEvidence, UnclearNumbers
from pipeline.sources.number_format import NumberFormat
from pipeline.sources.text import TextScan, open_decompressed, scan_text

#: values of a file without marks that are looked at for spaces and units
FEW_VALUES = 1000

logger = logging.getLogger(__name__)


@contextmanager
def fetch_csv(recipe: Recipe, source: CsvSource, context: FetchContext) -> Iterator[Delivery]:
    """Deliver all rows of the recipe's files.

    Raises:
        SourceMissing: there is no such file, or a variable in its path is not set.
        SourceUnavailable: a file cannot be read right now.
        BatchRefused: a file is not CSV.
    """
    with find_files(recipe, source, "CSV file") as files:
        name = delivery_name(files, source.path)
        yield csv_delivery(files, recipe, source, name=name, may_be_empty=source.on_empty == "keep")


def csv_delivery(
    files: Sequence[File], recipe: Recipe, source: TextSource, *, name: str, may_be_empty: bool
) -> Delivery:
    """Scan CSV files and return their delivery.

    Args:
        files: one or more, with a header each.
        recipe: names the columns.
        source: the recipe's source.
        name: of the delivery.
        may_be_empty: accept files that hold no rows.

    Raises:
        BatchRefused: a file is not CSV.
    """
    scans = [_scan(file, recipe, source) for file in files]
    detect_numbers = cache(partial(_detect_numbers, scans, recipe, source, name))  # once, however often they are read
    return Delivery(
        source=name,
        content_hash=hash_files(source, files, [scan.content_hash for scan in scans]),
        chunks=partial(_read_files, scans, recipe, name, may_be_empty, detect_numbers),
        ended=all(scan.text.ended or scan.dialect.end is not None for scan in scans),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _FileScan:
    file: File
    stamp: FileStamp
    text: TextScan
    content_hash: hashlib._Hash
    dialect: Dialect


def _scan(file: File, recipe: Recipe, source: TextSource) -> _FileScan:
    content_hash = start_hash(source)
    stamp = file_stamp(file.path)
    text = scan_text(file, source, content_hash.update)
    if text.is_empty:
        refuse(file.name, "is empty: expected a header line and rows", "empty")
    if text.beginning.startswith(("<", "{")):
        beginning = " ".join(text.beginning.split())[:60].encode("unicode_escape").decode()
        refuse(
            file.name,
            f'is not a CSV file, it begins with "{beginning}": expected a header line; an error page may have been saved in its place',
            "not csv",
        )
    dialect = _detect_dialect(text, recipe, source)
    text.forget_content()
    return _FileScan(file=file, stamp=stamp, text=text, content_hash=content_hash, dialect=dialect)


def _detect_dialect(text: TextScan, recipe: Recipe, source: TextSource) -> Dialect:
    """Return how a text is laid out; how its numbers are written is not known yet."""
    header = find_header(text.head, named_columns(recipe), delimiter=source.delimiter, skip_rows=source.skip_rows)
    tail_start = text.num_bytes - len(text.tail)
    footer = find_footer(text.tail, tail_start, header, period=source.period, skip=source.skip_footer)
    return Dialect(
        delimiter=header.delimiter,
        encoding=text.encoding,
        header_line=header.line,
        start=header.start,
        end=footer.start if footer else None,
        num_footer_lines=footer.num_lines if footer else 0,
        has_blanks_before_quotes=has_blanks_before_quotes(text.head, header),
    )


def _read_files(
    scans: Sequence[_FileScan],
    recipe: Recipe,
    name: str,
    may_be_empty: bool,
    detect_numbers: Callable[[], NumberFormat],
) -> Iterator[Chunk]:
    num_rows = 0
    for scan in scans:
        dialect = replace(scan.dialect, numbers=detect_numbers())
        for chunk in _read_file(scan, recipe, dialect):
            num_rows += len(chunk.line) + len(chunk.rejections)
            yield chunk
    if num_rows == 0 and not may_be_empty:
        refuse(name, f"holds a header and no rows: expected rows with {', '.join(named_columns(recipe))}", "no rows")


def _read_file(scan: _FileScan, recipe: Recipe, dialect: Dialect) -> Generator[Chunk, None, None]:
    read_chunks = plain_chunks if scan.text.is_plain else quoted_chunks
    stream = open_decompressed(scan.file, encoding=dialect.encoding, start=dialect.start, end=dialect.end)
    with require_unchanged(scan.file, scan.stamp), stream as text:
        yield from read_chunks(scan.file, text, recipe, dialect)


def _detect_numbers(scans: Sequence[_FileScan], recipe: Recipe, source: TextSource, name: str) -> NumberFormat:
    """Return how the numbers of all files are written, and log what of each file is not usual.

    Raises:
        BatchRefused: it is not certain.
    """
    evidence = NumberEvidence(is_one_series=source.layout == "long" and source.series is None)
    for scan in scans:
        with closing(_read_number_columns(scan, recipe)) as columns:
            for column, column_name, lines in columns:
                evidence.add(column, column_name, lines)
                if evidence.is_settled or (_has_usual_numbers(scan) and evidence.num_values >= FEW_VALUES):
                    break
    delimiters = {scan.dialect.delimiter for scan in scans}
    try:
        numbers = evidence.decide(
            decimal=source.decimal,
            thousands=source.thousands,
            delimiter=delimiters.pop() if len(delimiters) == 1 else ";",
        )
    except UnclearNumbers as unclear:
        place = unclear.place
        where = f"line {place.line}, column {place.column}: " if place else ""
        refuse(name, f"{where}{unclear}", "number format", place.line if place else None)
    for scan in scans:
        dialect = replace(scan.dialect, numbers=numbers)
        if not dialect.is_usual:
            logger.info("%s is read with %s", scan.file.name, dialect.describe())
    return numbers


def _has_usual_numbers(scan: _FileScan) -> bool:
    """Whether no number of a text can have a mark: it holds no point, and its commas separate fields."""
    return scan.dialect.delimiter == "," and not (scan.text.has_quote or scan.text.has_point)


def _read_number_columns(
    scan: _FileScan, recipe: Recipe
) -> Generator[tuple[pa.Array, str, npt.NDArray[np.int64]], None, None]:
    """Yield the texts of the columns of numbers, with the name of the column and the line of each text."""
    with closing(_read_file(scan, recipe, scan.dialect)) as chunks:
        for chunk in chunks:
            names = chunk.columns.schema.names
            for name in number_columns(recipe, names):
                if name in names:
                    yield chunk.columns.column(name), name, chunk.line
