"""CSV files as a source, read strictly: what cannot be read exactly is refused, with its line.

There are two readers, chosen by a scan of the whole text: `csv_plain` for speed, `csv_quoted` for quotes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from pipeline.config.recipe import Recipe
from pipeline.config.sources import CsvSource, TextSource
from pipeline.sources.columns import named_columns
from pipeline.sources.csv_plain import plain_chunks
from pipeline.sources.csv_quoted import quoted_chunks
from pipeline.sources.delivery import Chunk, Delivery, FetchContext
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
from pipeline.sources.text import TextScan, open_decompressed, scan_text


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
    scans = [_scan(file, source) for file in files]
    return Delivery(
        source=name,
        content_hash=hash_files(source, files, [scan.content_hash for scan in scans]),
        chunks=partial(_read_files, scans, recipe, name, may_be_empty),
        ended=all(scan.text.ended for scan in scans),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _FileScan:
    file: File
    stamp: FileStamp
    text: TextScan
    content_hash: hashlib._Hash


def _scan(file: File, source: TextSource) -> _FileScan:
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
    return _FileScan(file=file, stamp=stamp, text=text, content_hash=content_hash)


def _read_files(scans: Sequence[_FileScan], recipe: Recipe, name: str, may_be_empty: bool) -> Iterator[Chunk]:
    num_rows = 0
    for scan in scans:
        read_chunks = plain_chunks if scan.text.is_plain else quoted_chunks
        with require_unchanged(scan.file, scan.stamp), open_decompressed(scan.file) as stream:
            for chunk in read_chunks(scan.file, stream, recipe):
                num_rows += len(chunk.line) + len(chunk.rejections)
                yield chunk
    if num_rows == 0 and not may_be_empty:
        refuse(name, f"holds a header and no rows: expected rows with {', '.join(named_columns(recipe))}", "no rows")
