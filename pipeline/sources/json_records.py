"""JSON as a source: one object a line, or a list of them in a document; numbers stay as they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, NoReturn

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.config.sources import HttpSource
from pipeline.errors import Rejection
from pipeline.sources.columns import MOST_UNREADABLE, delivered, named_columns, rows_of_chunk, text_batch
from pipeline.sources.delivery import Chunk, Delivery
from pipeline.sources.file import File, hash_begun, refuse, stamp, unchanged
from pipeline.sources.text import scan_text, unpacked

#: a document is one text in memory; lines and CSV have no such bound
MOST_DOCUMENT_BYTES = 256 << 20
MOST_LINE_BYTES = 16 << 20
MOST_COLUMNS = 100_000
#: records that are Python objects at a time
CHUNK_ROWS = 50_000

#: what one record is: its number or line, and its members or what is wrong with it
Record = tuple[int, "dict[str, str] | Rejection"]

_VISIBLE = re.compile(r"[^ \t\r\n]")
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")


class _Members(list[tuple[str, Any]]):
    """The members of an object in their order, also where a key is there twice."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Members, parse_float=str, parse_int=str, parse_constant=str, strict=True)


def delivery_of_json(files: Sequence[File], recipe: Recipe, *, source: str, may_be_empty: bool) -> Delivery:
    """The records of one file.

    Raises:
        BatchRefused: it is no text, or not whole.
    """
    (file,) = files
    assert isinstance(recipe.source, HttpSource)
    content = hash_begun(recipe.source)
    before = stamp(file.path)
    looked = scan_text(file, recipe.source, content.update)
    if looked.beginning.startswith("<"):
        beginning = " ".join(looked.beginning.split())[:200]
        refuse(file.name, f'is not JSON, it begins with "{beginning}": an error page may have been sent', "not json")
    if recipe.source.format == "json" and looked.num_bytes > MOST_DOCUMENT_BYTES:
        refuse(
            file.name,
            f"is larger than {MOST_DOCUMENT_BYTES >> 20} MiB, which one JSON document may have: ask for jsonl or csv",
            "too large",
        )
    records_of = _lines if recipe.source.format == "jsonl" else partial(_listed, path=recipe.source.records)

    def records() -> Generator[Record, None, None]:
        with unchanged(file, before), unpacked(file) as stream:
            yield from records_of(file, stream)

    return Delivery(
        source=source,
        content_hash=content.hexdigest(),
        chunks=partial(_chunks, records, file, recipe, may_be_empty),
        ended=looked.ended or recipe.source.format == "json",
    )


def _chunks(
    records: Callable[[], Generator[Record, None, None]], file: File, recipe: Recipe, may_be_empty: bool
) -> Iterator[Chunk]:
    names = _names(records, file, recipe)
    enough, num_records, num_unreadable = min(CHUNK_ROWS, rows_of_chunk(len(names))), 0, 0
    held = _Held()
    for line, record in records():
        num_records += 1
        if isinstance(record, Rejection):
            num_unreadable += 1
            held.rejections.append(record)
            if num_unreadable > MOST_UNREADABLE:
                refuse(file.name, f"has more than {MOST_UNREADABLE:,} records that are no flat objects", "columns")
        else:
            held.rows.append(record)
            held.lines.append(line)
        if len(held.rows) >= enough:
            yield held.chunk(names)
            held = _Held()
    if num_records == 0 and not may_be_empty:
        refuse(file.name, f"holds no records: expected some with {', '.join(named_columns(recipe))}", "no rows")
    yield held.chunk(names)


@dataclass(slots=True)
class _Held:
    """Records that wait until they are enough for a chunk."""

    rows: list[dict[str, str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)

    def chunk(self, names: Sequence[str]) -> Chunk:
        return Chunk(
            columns=text_batch(names, [[row.get(name, "") for row in self.rows] for name in names]),
            line=np.array(self.lines, dtype=np.int64),
            rejections=tuple(self.rejections),
        )


def _names(records: Callable[[], Generator[Record, None, None]], file: File, recipe: Recipe) -> list[str]:
    """The columns: those that the recipe names, or all keys of all records where it may mean others."""
    keys: dict[str, None] = {}
    only_named = recipe.source.layout == "long" and recipe.source.extra_columns == "ignore"
    with closing(records()) as found:
        for record in (record for _, record in found if not isinstance(record, Rejection)):
            keys.update(dict.fromkeys(record))
            if only_named and set(named_columns(recipe)) <= keys.keys():
                break
            if len(keys) > MOST_COLUMNS:
                refuse(file.name, f"has more than {MOST_COLUMNS:,} different keys: expected columns", "columns")
    header = list(keys)
    return [header[position] for position in delivered(header, recipe)]


def _lines(file: File, stream: BinaryIO) -> Iterator[Record]:
    number = 0
    while line := stream.readline(MOST_LINE_BYTES + 1):
        number += 1
        if len(line) > MOST_LINE_BYTES:
            refuse(file.name, f"has more than {MOST_LINE_BYTES >> 20} MiB in line {number}", "too large", number)
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        if text:
            yield number, _record_in(text, number)


def _record_in(text: str, number: int) -> dict[str, str] | Rejection:
    try:
        found, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return Rejection(line=number, text=text[:200], rule="is not JSON (is the file cut?)")
    if end < len(text):
        return Rejection(
            line=number, text=text[:200], rule="holds more than one JSON value: expected one object a line"
        )
    return _flat(found, number)


def _flat(found: Any, number: int) -> dict[str, str] | Rejection:
    """The members of an object as text, or what is wrong with it."""

    def fault(rule: str, column: str | None = None) -> Rejection:
        return Rejection(line=number, column=column, rule=rule)

    if not isinstance(found, _Members):
        return fault("is not an object: expected keys with values")
    record: dict[str, str] = {}
    for key, value in found:
        if key in record:
            return fault("is there twice in one object: expected it once", key)
        if isinstance(value, list):
            return fault("holds an object or a list: expected a text, a number or null", key)
        text = {None: "", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else value
        if _HALF_CHARACTER.search(text) or _HALF_CHARACTER.search(key):
            return fault("holds half a character: expected UTF-8")
        record[key] = text
    return record


def _listed(file: File, stream: BinaryIO, *, path: str) -> Iterator[Record]:
    """The records at a path such as `data.items`; an empty path is the document itself."""
    text = stream.read().decode("utf-8-sig")
    document = _Document(text, file)
    end = yield from document.values(document.skip(0), [key for key in path.split(".") if key], ())
    if document.skip(end) < len(text):
        document.refuse(document.skip(end), "the end")


class _Document:
    """A JSON document that is read along one path; what is beside it is checked and dropped."""

    def __init__(self, text: str, file: File) -> None:
        self.text, self.file = text, file

    def values(self, start: int, path: list[str], passed: tuple[str, ...]) -> Generator[Record, None, int]:
        """The records at the path, then where the value at `start` ends."""
        if not path:
            return (yield from self._items(start))
        if not self._at(start, "{"):
            self.refuse(start, f"an object with the key {path[0]}")
        keys: list[str] = []
        end = self.skip(start + 1)
        while not self._at(end, "}"):
            key, at = self._key(self.skip(end + 1) if keys else end)
            keys.append(key)
            inside = key == path[0]
            end = (yield from self.values(at, path[1:], (*passed, key))) if inside else self._value(at)[1]
            end = self.skip(end)
            if not self._at(end, ",") and not self._at(end, "}"):
                self.refuse(end, "a comma or the end of the object")
        if keys.count(path[0]) != 1:
            refuse(
                self.file.name,
                f"has the key {'.'.join((*passed, path[0]))} {keys.count(path[0])} times: expected source.records once, found {', '.join(keys[:20])}",
                "not json",
            )
        return end + 1

    def _items(self, start: int) -> Generator[Record, None, int]:
        if not self._at(start, "["):
            self.refuse(start, "a list of records, which source.records names")
        end, number = self.skip(start + 1), 0
        while not self._at(end, "]"):
            found, end = self._value(self.skip(end + 1) if number else end)
            number += 1
            yield number, _flat(found, number)
            end = self.skip(end)
            if not self._at(end, ",") and not self._at(end, "]"):
                self.refuse(end, "a comma or the end of the list")
        return end + 1

    def _key(self, start: int) -> tuple[str, int]:
        key, end = self._value(start)
        colon = self.skip(end)
        if not self._at(start, '"') or not self._at(colon, ":"):
            self.refuse(start, "a key")
        return key, self.skip(colon + 1)

    def _at(self, position: int, sign: str) -> bool:
        return self.text.startswith(sign, position)

    def _value(self, start: int) -> tuple[Any, int]:
        try:
            return _DECODER.raw_decode(self.text, start)
        except (ValueError, RecursionError):
            self.refuse(start, "a JSON value")

    def skip(self, start: int) -> int:
        """Where the next visible character is."""
        found = _VISIBLE.search(self.text, start)
        return found.start() if found else len(self.text)

    def refuse(self, at: int, expected: str) -> NoReturn:
        """Refuse what is there in place of what was expected."""
        found = self.text[at : at + 40] or "the end"
        refuse(self.file.name, f'has "{found}" at character {at}: expected {expected}; it may be cut', "not json")
