"""CSV files, read strictly: what cannot be read exactly is refused, with its line."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import Counter
from pathlib import Path
from typing import NoReturn

from pipeline.errors import BatchRefused, Rejection, SourceMissing, SourceUnavailable
from pipeline.observations import Contract, RawBatch, RawRow
from pipeline.recipe import CsvSource, Recipe


def read_csv(recipe: Recipe) -> RawBatch:
    """All rows of the recipe's file.

    Raises:
        SourceMissing: there is no such file, or the variable in its path is not set.
        BatchRefused: it is no CSV file with the recipe's columns.
    """
    source = recipe.source
    assert isinstance(source, CsvSource)
    path = _path(source, recipe)
    content = _content(path, source)
    text = _text(path, content)
    rows, rejections = _rows(path, text, source, recipe.name)
    ended = text.endswith(("\n", "\r"))
    if source.final_newline and not ended:
        _refuse(
            path,
            f"ends in line {text.count(chr(10)) + 1} without a newline, which this feed always has: it may be cut; fetch it again",
            "cut",
        )
    settings = source.model_dump_json(exclude={"path", "hint", "max_rejected"})
    return RawBatch(
        source=path.name,
        content_hash=hashlib.sha256(settings.encode() + b"\0" + content).hexdigest(),
        rows=tuple(rows),
        contract=contract_of(source),
        rejections=tuple(rejections),
        ended=ended,
    )


def contract_of(source: CsvSource) -> Contract:
    """What the recipe expects of the rows."""
    return Contract(
        period=source.period,
        value=source.value,
        series=source.series,
        period_format=source.period_format,
        counted_from=source.start,
        missing=source.missing,
        duplicates=source.duplicates,
        limit=source.limit,
        max_rejected=source.max_rejected,
    )


def _path(source: CsvSource, recipe: Recipe) -> Path:
    def from_environment(match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if not value:
            raise SourceMissing(
                f"the recipe {recipe.name} reads the file that {match[1]} names, which is not set" + _hint(source)
            )
        return value

    named = re.sub(r"\$\{(\w+)\}", from_environment, source.path)
    try:
        expanded = Path(named).expanduser()
    except RuntimeError as error:
        raise SourceMissing(f'"{named}" is no path: {error}{_hint(source)}') from None
    return expanded if source.path.startswith("${") else recipe.folder / expanded


def _content(path: Path, source: CsvSource) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SourceMissing(
            f"there is no file {path}: expected a CSV file with the columns {_expected(source)}" + _hint(source)
        ) from None
    except IsADirectoryError:
        raise SourceMissing(f"{path} is a folder: expected a CSV file" + _hint(source)) from None
    except ValueError as error:
        raise SourceMissing(f'"{path}" is no path: {error}{_hint(source)}') from None
    except OSError as error:
        raise SourceUnavailable(f"{path} cannot be read: {error.strerror}") from None


def _text(path: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        offset = error.start + (len(content) - len(error.object))
        _refuse(
            path,
            f"is not UTF-8: byte {content[offset]:#04x} at offset {offset}; save it as UTF-8",
            "encoding",
        )
    if "\0" in text:
        _refuse(path, f"holds a NUL byte at offset {content.index(0)}: expected text", "encoding")
    if not text.strip():
        _refuse(path, "is empty: expected a header line and rows", "empty")
    if text.lstrip()[0] in "<{":
        beginning = " ".join(text.split())[:60].encode("unicode_escape").decode()
        _refuse(
            path,
            f'is not a CSV file, it begins with "{beginning}": expected a header line; an error page may have been saved in its place',
            "not csv",
        )
    return text


def _rows(path: Path, text: str, source: CsvSource, name: str) -> tuple[list[RawRow], list[Rejection]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, rejections = [], []
    try:
        header = [column.strip() for column in next(reader)]
        where = _columns(path, header, source)
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(header):
                rejections.append(
                    Rejection(
                        line=reader.line_num,
                        text=",".join(fields)[:200],
                        rule=f"has {len(fields)} of {len(header)} columns (is the file cut?)",
                    )
                )
                continue
            rows.append(
                RawRow(
                    line=reader.line_num,
                    period=fields[where[source.period]].strip(),
                    value=fields[where[source.value]].strip(),
                    series=fields[where[source.series]].strip() if source.series else name,
                )
            )
    except csv.Error as error:
        _refuse(
            path,
            f"cannot be split into columns at line {reader.line_num}: {error}; the file may be cut",
            "cut",
            reader.line_num,
        )
    if not rows and not rejections:
        _refuse(path, f"holds a header and no rows: expected rows with {_expected(source)}", "no rows")
    return rows, rejections


def _columns(path: Path, header: list[str], source: CsvSource) -> dict[str, int]:
    count = Counter(header)
    for column in _contract(source):
        if count[column] == 0:
            _refuse(
                path,
                f'has no column "{column}": expected {_expected(source)}, found {", ".join(header)}',
                "missing column",
                1,
            )
        if count[column] > 1:
            _refuse(path, f'names the column "{column}" {count[column]} times: expected it once', "column twice", 1)
    return {column: header.index(column) for column in _contract(source)}


def _contract(source: CsvSource) -> list[str]:
    return [column for column in (source.period, source.value, source.series) if column]


def _expected(source: CsvSource) -> str:
    return ", ".join(_contract(source))


def _hint(source: CsvSource) -> str:
    return f"; {source.hint}" if source.hint else ""


def _refuse(path: Path, what: str, rule: str, line: int | None = None) -> NoReturn:
    raise BatchRefused(f"{path.name} {what}", [Rejection(rule=rule, line=line)], source=path.name)
