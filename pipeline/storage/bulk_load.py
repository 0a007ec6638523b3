"""Many rows at once, as columns: COPY and arrays with PostgreSQL, the driver's own loops with SQLite."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.storage.statements import Row, Transaction, period_text, query_text
from pipeline.timeseries.frequency import Frequency, Periods
from pipeline.timeseries.long_values import LongValues, apply_revisions, empty_values, merge

#: one value for all rows, or one for each: whole numbers, numbers or periods
Column = npt.NDArray[Any] | str | int | float | None

#: rows that are turned into bytes, or into tuples, at a time
_BLOCK = 65_536
#: rows that SQLite inserts by one statement: at most 999 parameters, which every SQLite takes
_IN_A_STATEMENT = 64
#: result rows that are fetched at a time, an array of one series each
_FETCHED = 4_096
#: of each step of a run
_NUMBERS = 7
#: PostgreSQL counts microseconds from here
_POSTGRESQL_EPOCH = np.datetime64("2000-01-01", "us")
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
#: what goes before the elements of an array in PostgreSQL's binary form, and each of them
_ARRAY_HEADER = 20
_ELEMENT = np.dtype([("length", ">i4"), ("bits", ">i8")])


def load(transaction: Transaction, table: str, columns: Mapping[str, Column]) -> None:
    """Insert rows given by their columns; an array holds one value a row, anything else goes into every row.

    Raises:
        sqlalchemy.exc.DBAPIError: the database refuses a row; then it holds none of them.
    """
    if transaction.dialect == "postgresql":
        with transaction.copying(f"copy {table} ({', '.join(columns)}) from stdin (format binary)") as write:
            write(_COPY_HEADER)
            for block in _blocks(columns):
                write(_copied(block))
            write(b"\xff\xff")
        return
    for block in _blocks(columns):
        _insert(transaction, table, dict(zip(columns, block, strict=True)))


def _insert(transaction: Transaction, table: str, columns: Mapping[str, Column]) -> None:
    """Rows into SQLite, many in a statement: that takes less than half the time of one in each."""
    count = next(len(column) for column in columns.values() if isinstance(column, np.ndarray))
    listed = [_listed(column, count) for column in columns.values() if not isinstance(column, int)]
    one = ", ".join(str(column) if isinstance(column, int) else "?" for column in columns.values())
    whole = count - count % _IN_A_STATEMENT
    for start, stop, size in ((0, whole, _IN_A_STATEMENT), (whole, count, 1)):
        rows = zip(*(column[row:stop:size] for row in range(start, start + size) for column in listed), strict=True)
        values = ", ".join([f"({one})"] * size)
        transaction.insert_many(f"insert into {table} ({', '.join(columns)}) values {values}", rows)


def _blocks(columns: Mapping[str, Column]) -> Iterator[list[Column]]:
    count = next(len(column) for column in columns.values() if isinstance(column, np.ndarray))
    for start in range(0, count, _BLOCK):
        yield [
            column[start : start + _BLOCK] if isinstance(column, np.ndarray) else column for column in columns.values()
        ]


def _listed(column: Column, count: int) -> list[Any]:
    if not isinstance(column, np.ndarray):
        return [column] * count
    if column.dtype.kind != "M":
        return list(column.tolist())
    codes, distinct = pd.factorize(column)
    return list(np.array([period_text(period) for period in np.asarray(distinct)], dtype=object)[codes])


def _copied(columns: Sequence[Column]) -> bytes:
    """The rows as PostgreSQL's COPY writes them: for each field its length and its bytes, big end first."""
    fields: list[tuple[str, Any]] = [("count", ">i2")]
    values: dict[str, Any] = {"count": len(columns)}
    for n, column in enumerate(columns):
        form, value, length = _field(column)
        fields.append((f"length{n}", ">i4"))
        values[f"length{n}"] = length
        if length > 0:
            fields.append((f"value{n}", form))
            values[f"value{n}"] = value
    count = next(len(column) for column in columns if isinstance(column, np.ndarray))
    rows = np.empty(count, np.dtype(fields))
    for name, value in values.items():
        rows[name] = value
    return rows.tobytes()


def _field(column: Column) -> tuple[str, Any, int]:
    """How a column's values are written, the values, and their length in bytes; -1 is null."""
    if column is None:
        return "", None, -1
    if isinstance(column, str):
        text = column.encode()
        return f"S{len(text)}", text, len(text)
    if isinstance(column, np.ndarray) and column.dtype.kind == "M":
        return ">i8", (column.astype("datetime64[us]") - _POSTGRESQL_EPOCH).astype(np.int64), 8
    kind = column.dtype if isinstance(column, np.ndarray) else np.dtype(type(column))
    if kind == np.int32:
        return ">i4", column, 4
    return (">f8" if kind.kind == "f" else ">i8"), column, 8


def values_as_of(
    transaction: Transaction,
    series_ids: Sequence[int],
    batch_id: int,
    *,
    length: int | None = None,
    since: np.datetime64 | None = None,
) -> LongValues:
    """What was known of series when a batch was taken in, revisions included; of each its last `length` values.

    With `since` of each series what is later than that period, and `length` values up to it.
    One statement, which reads by the primary key and no more than it gives.
    """
    if transaction.dialect == "postgresql":
        transaction.execute("read_in_order")
        moment = None if since is None else since.astype("datetime64[us]").item()
        wanted = {"series_ids": list(series_ids), "batch_id": batch_id, "length": length, "since": moment}
        series, fields = _arrays(transaction, "values_as_of", wanted, 5)
        return apply_revisions(_sorted(_flat(series, *fields[:2])), _flat(series, *fields[2:]))
    return apply_revisions(
        empty_values(), _rows(transaction, "values_as_of", series_ids, batch_id, length=length, since=since)
    )


def all_values(
    transaction: Transaction, series_ids: Sequence[int], batch_id: int, *, frequency: Frequency
) -> LongValues:
    """The same of whole series, faster: where a series has no gap its periods need not be read."""
    series_ids = sorted(series_ids)
    if transaction.dialect == "postgresql":
        transaction.execute("read_in_order")
        wanted = {"series_ids": series_ids, "batch_id": batch_id}
        series, (first, last, packed) = _arrays(transaction, "numbers_as_of", wanted, 4)
        numbers = _Packed(series, _moments(first), _moments(last), _bytes(packed), np.dtype(">f8"))
        later, fields = _arrays(transaction, "revisions_as_of", wanted, 3)
        revised = _flat(later, *fields)
    else:
        numbers = _sqlite_numbers(transaction, series_ids, batch_id)
        revised = _rows(transaction, "revisions_as_of", series_ids, batch_id)
    told, irregular = _placed(numbers, frequency)
    if len(irregular):
        told = merge(told, values_as_of(transaction, irregular.tolist(), batch_id))
    return apply_revisions(told, revised)


@dataclass(frozen=True, slots=True)
class _Packed:
    """The numbers of series without their periods."""

    series: npt.NDArray[np.int64]  # [S]
    first: Periods  # [S]
    last: Periods  # [S]
    #: the bytes of each series' numbers, in order of their periods
    content: Sequence[bytes]
    form: np.dtype[Any]


def _placed(numbers: _Packed, frequency: Frequency) -> tuple[LongValues, npt.NDArray[np.int64]]:
    """Numbers with their periods, which follow each other; and the series that have gaps."""
    series, first, last = numbers.series, numbers.first, numbers.last
    if len(series) == 0:
        return empty_values(), series
    counts = np.array([len(content) for content in numbers.content], np.int64) // numbers.form.itemsize
    grid = frequency.between(first.min(), last.max())
    start = np.searchsorted(grid, first)
    regular = (np.searchsorted(grid, last) - start + 1 == counts) & (grid[np.minimum(start, len(grid) - 1)] == first)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    told = LongValues(
        np.repeat(series, counts),
        grid[np.minimum(np.repeat(start, counts) + within, len(grid) - 1)],
        np.frombuffer(b"".join(numbers.content), numbers.form).astype(np.float64),
    )
    return _sorted(told if regular.all() else told.take(np.repeat(regular, counts))), series[~regular]


def _arrays(
    transaction: Transaction, query: str, parameters: Row, num_fields: int
) -> tuple[npt.NDArray[np.int64], list[list[bytes | None]]]:
    """A PostgreSQL result: the numbers of the series, and the other fields undecoded."""
    statement = _bound(query_text(query, "postgresql"))
    columns: list[list[bytes | None]] = [[] for _ in range(num_fields)]
    for block in transaction.binary_rows(statement, parameters, block=_FETCHED):
        for column, found in zip(columns, block, strict=True):
            column.extend(found)
    series = np.frombuffer(b"".join(_bytes(columns[0])), ">i8").astype(np.int64)
    return series, columns[1:]


def _flat(
    series: npt.NDArray[np.int64], periods: Sequence[bytes | None], numbers: Sequence[bytes | None]
) -> LongValues:
    """Arrays by series as one column each."""
    moments = (_elements(periods) + _POSTGRESQL_EPOCH.astype(np.int64)).view("datetime64[us]")
    return LongValues(np.repeat(series, _counts(periods)), moments, _elements(numbers).view(np.float64))


def _counts(arrays: Sequence[bytes | None]) -> npt.NDArray[np.int64]:
    return np.array([(len(array) - _ARRAY_HEADER) // _ELEMENT.itemsize if array else 0 for array in arrays], np.int64)


def _elements(arrays: Sequence[bytes | None]) -> npt.NDArray[np.int64]:
    """The bits of all elements of one-dimensional arrays of eight-byte values."""
    sizes = {len(array) for array in arrays if array}
    if len(sizes) == 1 and None not in arrays:  # all of one length: their headers are cut off at once
        content = np.frombuffer(b"".join(_bytes(arrays)), np.uint8).reshape(-1, sizes.pop())[:, _ARRAY_HEADER:]
        return np.ascontiguousarray(content).view(_ELEMENT)["bits"].ravel().astype(np.int64)
    joined = b"".join(array[_ARRAY_HEADER:] for array in arrays if array)
    return np.frombuffer(joined, _ELEMENT)["bits"].astype(np.int64)


def _moments(fields: Sequence[bytes | None]) -> Periods:
    micros = np.frombuffer(b"".join(_bytes(fields)), ">i8").astype(np.int64)
    return (micros + _POSTGRESQL_EPOCH.astype(np.int64)).view("datetime64[us]")


def _sqlite_numbers(transaction: Transaction, series_ids: Sequence[int], batch_id: int) -> _Packed:
    wanted = {"series_ids": json.dumps(series_ids), "batch_id": batch_id}
    blocks = transaction.blocks(query_text("numbers_as_of", "sqlite"), wanted, block=_BLOCK)
    known = [row for row in chain.from_iterable(blocks) if row[1] is not None]
    series, first, last, content = zip(*known, strict=True) if known else ((),) * 4
    return _Packed(np.array(series, np.int64), _periods(first), _periods(last), content, np.dtype(np.float64))


def _rows(
    transaction: Transaction,
    query: str,
    series_ids: Sequence[int],
    batch_id: int,
    *,
    length: int | None = None,
    since: np.datetime64 | None = None,
) -> LongValues:
    """SQLite's rows of series, period and value."""
    parameters = {
        "series_ids": json.dumps(sorted(series_ids)),
        "batch_id": batch_id,
        "length": length,
        "since": None if since is None else period_text(since),
    }
    parts = []
    for block in transaction.blocks(query_text(query, "sqlite"), parameters, block=_BLOCK):
        series, value = (np.fromiter(map(itemgetter(n), block), kind, len(block)) for n, kind in ((0, "i8"), (2, "f8")))
        parts.append((series, _periods(list(map(itemgetter(1), block))), value))
    return LongValues(*(np.concatenate(column) for column in zip(*parts, strict=True))) if parts else empty_values()


def _periods(texts: Sequence[str]) -> Periods:
    known = {text: np.datetime64(text, "us").astype(np.int64) for text in set(texts)}
    return np.fromiter(map(known.__getitem__, texts), np.int64, len(texts)).view("datetime64[us]")


def _sorted(values: LongValues) -> LongValues:
    """In order of series: databases promise none that is not asked for, and asking would sort what is in order."""
    if (np.diff(values.series) >= 0).all():
        return values
    return values.take(np.argsort(values.series, kind="stable"))


def num_values_of(transaction: Transaction, series_ids: Sequence[int]) -> int:
    """How many values of different periods series have."""
    if not series_ids:
        return 0
    wanted = list(series_ids) if transaction.dialect == "postgresql" else json.dumps(list(series_ids))
    row = transaction.row("num_values_of", series_ids=wanted)
    return int(row["num_values"]) if row else 0


def numbers_of_run(transaction: Transaction, run_number: int) -> npt.NDArray[np.float64]:
    """The mean, the quantiles and the baseline of a run's series, by number, and steps, one behind the other: [S x H, 1 + Q + 1]."""
    if transaction.dialect == "postgresql":
        transaction.execute("read_in_order")
        series, (packed,) = _arrays(transaction, "numbers_of_run", {"run_number": run_number}, 2)
        content = _bytes(packed)
        in_order = b"".join(content[n] for n in np.argsort(series))
        return np.frombuffer(in_order, ">f8").astype(np.float64).reshape(-1, _NUMBERS)
    text = query_text("numbers_of_run", "sqlite")
    blocks = transaction.blocks(text, {"run_number": run_number}, block=_BLOCK)
    parts = [np.fromiter(chain.from_iterable(block), np.float64, _NUMBERS * len(block)) for block in blocks]
    numbers = np.concatenate(parts).reshape(-1, _NUMBERS) if parts else np.empty((0, _NUMBERS))
    return np.where(np.isinf(numbers), np.nan, numbers)


def _bytes(field: Sequence[bytes | None]) -> list[bytes]:
    return [value for value in field if value is not None]


def _bound(text: str) -> str:
    """A query file with its parameters as the driver writes them."""
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", text)
