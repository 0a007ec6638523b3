"""JSON as a source: one object a line, or a list of objects in a document; numbers stay as they are written.

Lines are read one by one. A document is parsed whole with the standard parser, which takes six to eight times its size
in memory: that is why documents have limits of their own, for bytes and for values.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.config.sources import HttpSource
from pipeline.errors import Rejection
from pipeline.sources.columns import MAX_UNREADABLE_ROWS, named_columns, rows_per_chunk, select_columns, text_batch
from pipeline.sources.delivery import Chunk, Delivery
from pipeline.sources.file import File, FileStamp, file_stamp, refuse, require_unchanged, start_hash
from pipeline.sources.text import open_decompressed, scan_text

#: records that are Python objects at a time, where the source has one a line
CHUNK_ROWS = 50_000
#: keys that a message lists at most
_MAX_KEYS_SHOWN = 20

_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")
_TEXT_OF_CONSTANT = {None: "", True: "true", False: "false"}

#: one record: its line or number, and its fields as text or the reason why it has none
Record = tuple[int, "dict[str, str] | Rejection"]
#: reads all records from the beginning at each call
ReadRecords = Callable[[], Generator[Record, None, None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonLimits:
    """Bounds of a JSON source; what exceeds one is refused."""

    document_bytes: int = 256 << 20
    #: values, lists and objects of a document: each takes some 50 bytes of memory, however short its text is
    document_values: int = 40_000_000
    line_bytes: int = 16 << 20
    #: different keys of all records together
    columns: int = 100_000
    #: records that are not flat objects
    unreadable: int = MAX_UNREADABLE_ROWS


DEFAULT_LIMITS = JsonLimits()


class _RepeatingObject(list[tuple[str, Any]]):
    """The members of an object that has a key more than once."""


def _object_of(members: list[tuple[str, Any]]) -> dict[str, Any] | _RepeatingObject:
    by_key = dict(members)
    return by_key if len(by_key) == len(members) else _RepeatingObject(members)


#: keeps numbers and NaN as text, and does not hide a key that is there twice
_DECODER = json.JSONDecoder(object_pairs_hook=_object_of, parse_float=str, parse_int=str, parse_constant=str)


def json_delivery(
    file: File, recipe: Recipe, source: HttpSource, *, may_be_empty: bool, limits: JsonLimits = DEFAULT_LIMITS
) -> Delivery:
    """Scan a JSON file and return its delivery.

    Args:
        file: one object a line, or one document, as the source says.
        recipe: names the columns.
        source: the recipe's source.
        may_be_empty: accept a file that holds no records.
        limits: bounds of sizes and counts.

    Raises:
        BatchRefused: the file is not UTF-8 text, is too large, or is a web page.
    """
    content_hash = start_hash(source)
    stamp = file_stamp(file.path)
    text = scan_text(file, source, content_hash.update)
    if text.beginning.startswith("<"):
        beginning = " ".join(text.beginning.split())[:200]
        refuse(file.name, f'is not JSON, it begins with "{beginning}": an error page may have been sent', "not json")
    if source.format == "json" and text.num_bytes > limits.document_bytes:
        refuse(
            file.name,
            f"is larger than {limits.document_bytes >> 20} MiB, which one JSON document may have: ask for jsonl or csv",
            "too large",
        )
    return Delivery(
        source=file.name,
        content_hash=content_hash.hexdigest(),
        chunks=partial(_read_file, file, stamp, recipe, source, may_be_empty, limits),
        ended=text.ended or source.format == "json",
    )


def _read_file(
    file: File, stamp: FileStamp, recipe: Recipe, source: HttpSource, may_be_empty: bool, limits: JsonLimits
) -> Iterator[Chunk]:
    if source.format == "jsonl":
        read_records: ReadRecords = partial(_read_lines, file, stamp, limits.line_bytes)
    else:
        read_records = partial(_number_items, _parse_document(file, stamp, source.records, limits.document_values))
    num_records = 0
    for chunk in _collect_chunks(read_records, file, recipe, limits):
        num_records += len(chunk.line) + len(chunk.rejections)
        yield chunk
    if num_records == 0 and not may_be_empty:
        refuse(file.name, f"holds no records: expected some with {', '.join(named_columns(recipe))}", "no rows")


def _collect_chunks(read_records: ReadRecords, file: File, recipe: Recipe, limits: JsonLimits) -> Iterator[Chunk]:
    names = _find_columns(read_records, file, recipe, limits.columns)
    chunk_rows = min(CHUNK_ROWS, rows_per_chunk(len(names)))
    buffer, num_unreadable = _RecordBuffer(), 0
    for line, record in read_records():
        if isinstance(record, Rejection):
            num_unreadable += 1
            if num_unreadable > limits.unreadable:
                refuse(file.name, f"has more than {limits.unreadable:,} records that are no flat objects", "columns")
            buffer.rejections.append(record)
        else:
            buffer.records.append(record)
            buffer.lines.append(line)
        if len(buffer.records) >= chunk_rows:
            yield buffer.to_chunk(names)
            buffer = _RecordBuffer()
    yield buffer.to_chunk(names)


@dataclass(slots=True)
class _RecordBuffer:
    """Records that are collected until they fill a chunk."""

    records: list[dict[str, str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)

    def to_chunk(self, names: Sequence[str]) -> Chunk:
        return Chunk(
            columns=text_batch(names, [[record.get(name, "") for record in self.records] for name in names]),
            line=np.array(self.lines, dtype=np.int64),
            rejections=tuple(self.rejections),
        )


def _find_columns(read_records: ReadRecords, file: File, recipe: Recipe, max_columns: int) -> list[str]:
    """Return the keys to deliver; reads only until all that the recipe names are found, where it uses no others."""
    keys: dict[str, None] = {}
    names = set(named_columns(recipe))
    uses_only_named = recipe.source.layout == "long" and recipe.source.extra_columns == "ignore"
    with closing(read_records()) as records:
        for _, record in records:
            if isinstance(record, Rejection):
                continue
            keys.update(dict.fromkeys(record))
            if uses_only_named and names <= keys.keys():
                break
            if len(keys) > max_columns:
                refuse(file.name, f"has more than {max_columns:,} different keys: expected columns", "columns")
    header = list(keys)
    return [header[position] for position in select_columns(header, recipe)]


def _read_lines(file: File, stamp: FileStamp, max_bytes: int) -> Generator[Record, None, None]:
    with require_unchanged(file, stamp), open_decompressed(file) as stream:
        line_number = 0
        while line := stream.readline(max_bytes + 1):
            line_number += 1
            if len(line) > max_bytes:
                refuse(
                    file.name, f"has more than {max_bytes >> 20} MiB in line {line_number}", "too large", line_number
                )
            text = line.decode("utf-8-sig" if line_number == 1 else "utf-8").strip()
            if text:
                yield line_number, _parse_line(text, line_number)


def _parse_line(text: str, line: int) -> dict[str, str] | Rejection:
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return Rejection(line=line, text=text[:200], rule="is not JSON (is the file cut?)")
    if end < len(text):
        return Rejection(line=line, text=text[:200], rule="holds more than one JSON value: expected one object a line")
    return _flatten(value, line)


def _flatten(value: Any, line: int) -> dict[str, str] | Rejection:
    """Return the members of an object as text, or the reason why it is no record."""

    def reject(rule: str, column: str | None = None) -> Rejection:
        return Rejection(line=line, column=column, rule=rule)

    if isinstance(value, _RepeatingObject):
        return reject("is there twice in one object: expected it once", _first_repeated_key(value))
    if not isinstance(value, dict):
        return reject("is not an object: expected keys with values")
    record: dict[str, str] = {}
    for key, member in value.items():
        if isinstance(member, dict | list):
            return reject("holds an object or a list: expected a text, a number or null", key)
        record[key] = member if isinstance(member, str) else _TEXT_OF_CONSTANT[member]
    if _HALF_CHARACTER.search("".join((*record, *record.values()))):
        return reject("holds half a character: expected UTF-8")
    return record


def _first_repeated_key(members: _RepeatingObject) -> str:
    counts = Counter(key for key, _ in members)
    return next(key for key, count in counts.items() if count > 1)


def _number_items(items: Sequence[Any]) -> Generator[Record, None, None]:
    for number, item in enumerate(items, start=1):
        yield number, _flatten(item, number)


def _parse_document(file: File, stamp: FileStamp, path: str, max_values: int) -> list[Any]:
    """Return the items of the list at a path such as `data.items`; an empty path is the document itself."""
    with require_unchanged(file, stamp), open_decompressed(file) as stream:
        text = stream.read().decode("utf-8-sig")
    if sum(map(text.count, ",[{")) > max_values:
        refuse(
            file.name,
            f"has more than {max_values:,} values, which one JSON document may have: ask for jsonl or csv",
            "too large",
        )
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        shown = text[error.pos : error.pos + 40] or "the end"
        refuse(file.name, f'has "{shown}" at character {error.pos}: {error.msg}; it may be cut', "not json")
    except RecursionError:
        refuse(file.name, "has objects or lists that are nested too deeply to be read", "not json")
    return _find_list(document, [key for key in path.split(".") if key], file)


def _find_list(document: Any, path: Sequence[str], file: File) -> list[Any]:
    value = document
    for depth, key in enumerate(path):
        if not isinstance(value, dict | _RepeatingObject):
            refuse(
                file.name, f"has no object at {_show_path(path[:depth])}: expected one with the key {key}", "not json"
            )
        members = list(value.items()) if isinstance(value, dict) else value
        matches = [member for name, member in members if name == key]
        if len(matches) != 1:
            shown = ", ".join([name for name, _ in members][:_MAX_KEYS_SHOWN])
            refuse(
                file.name,
                f"has the key {_show_path(path[: depth + 1])} {len(matches)} times: expected source.records once, found {shown}",
                "not json",
            )
        value = matches[0]
    if not isinstance(value, list) or isinstance(value, _RepeatingObject):
        refuse(
            file.name,
            f"has no list at {_show_path(path)}: expected a list of records, which source.records names",
            "not json",
        )
    return value


def _show_path(path: Sequence[str]) -> str:
    return ".".join(path) or "the top"
