"""Reads and writes of many rows as columns: COPY and arrays in PostgreSQL, the driver's own loops in SQLite."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.storage.statements import Row, Transaction, query_text, sqlite_period
from pipeline.storage.vintages import KnownVersions
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.frequency import Frequency, Periods
from pipeline.timeseries.long_values import LongValues, Versions, apply_revisions, empty_values, merge

#: an array holds one value a row: integers, numbers or periods; anything else is the value of every row
Column = npt.NDArray[Any] | str | int | float | None

#: rows that are encoded, or turned into tuples, at a time
_BLOCK = 65_536
#: rows that one SQLite statement inserts: every SQLite accepts 999 parameters
_ROWS_PER_STATEMENT = 64
#: rows that are fetched at a time where each holds an array of a whole series
_FETCHED_ROWS = 4_096
#: numbers of a run's step: mean, quantiles, baseline
_NUMBERS_PER_STEP = 1 + len(LEVELS) + 1
#: larger than any id of a series
_MAX_ID = 2**62
#: PostgreSQL counts microseconds from here
_POSTGRESQL_EPOCH = np.datetime64("2000-01-01", "us")
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TRAILER = b"\xff\xff"
#: bytes before the elements of a one-dimensional array in PostgreSQL's binary format, and one of its elements
_ARRAY_HEADER_SIZE = 20
_ARRAY_ELEMENT = np.dtype([("length", ">i4"), ("bits", ">i8")])


def load(transaction: Transaction, table: str, columns: Mapping[str, Column]) -> None:
    """Insert rows given by their columns, of which at least one is an array.

    Raises:
        sqlalchemy.exc.DBAPIError: the database refuses a row; then none is inserted.
    """
    if transaction.dialect == "postgresql":
        with transaction.copy(f"copy {table} ({', '.join(columns)}) from stdin (format binary)") as write:
            write(_COPY_HEADER)
            for block in _blocks(columns):
                write(_encode_for_copy(block))
            write(_COPY_TRAILER)
        return
    for block in _blocks(columns):
        _insert_into_sqlite(transaction, table, dict(zip(columns, block, strict=True)))


def _num_rows(columns: Iterable[Column]) -> int:
    return next(len(column) for column in columns if isinstance(column, np.ndarray))


def _blocks(columns: Mapping[str, Column]) -> Iterator[list[Column]]:
    """The columns in blocks of `_BLOCK` rows."""
    for start in range(0, _num_rows(columns.values()), _BLOCK):
        yield [
            column[start : start + _BLOCK] if isinstance(column, np.ndarray) else column for column in columns.values()
        ]


def _insert_into_sqlite(transaction: Transaction, table: str, columns: Mapping[str, Column]) -> None:
    """Insert rows, many by each statement: that takes less than half the time of one by each."""
    num_rows = _num_rows(columns.values())
    bound = [_to_list(column, num_rows) for column in columns.values() if not isinstance(column, int)]
    row = ", ".join(str(column) if isinstance(column, int) else "?" for column in columns.values())
    num_grouped = num_rows - num_rows % _ROWS_PER_STATEMENT
    for start, stop, size in ((0, num_grouped, _ROWS_PER_STATEMENT), (num_grouped, num_rows, 1)):
        rows = ", ".join([f"({row})"] * size)
        statement = f"insert into {table} ({', '.join(columns)}) values {rows}"
        transaction.insert_many(statement, _group_rows(bound, start, stop, size))


def _group_rows(columns: Sequence[list[Any]], start: int, stop: int, size: int) -> Iterator[tuple[Any, ...]]:
    """The values of rows `start` to `stop`, row by row, `size` rows in each tuple.

    Two columns (a b c d) and (1 2 3 4) in groups of two rows: (a 1 b 2), (c 3 d 4). Place p of all tuples comes from
    one column at every `size`-th row, so slices are zipped, which is faster than a loop over rows.
    """
    places = [column[first:stop:size] for first in range(start, start + size) for column in columns]
    return zip(*places, strict=True)


def _to_list(column: Column, num_rows: int) -> list[Any]:
    """A column's values as SQLite takes them, one a row."""
    if not isinstance(column, np.ndarray):
        return [column] * num_rows
    if column.dtype.kind != "M":
        return list(column.tolist())
    codes, distinct = pd.factorize(column)
    return list(np.array([sqlite_period(period) for period in np.asarray(distinct)], dtype=object)[codes])


def _encode_for_copy(columns: Sequence[Column]) -> bytes:
    """Rows in PostgreSQL's binary COPY format: the number of fields, and of each field its length and its bytes."""
    fields: list[tuple[str, Any]] = [("count", ">i2")]
    values: dict[str, Any] = {"count": len(columns)}
    for n, column in enumerate(columns):
        dtype, value, length = _encode_field(column)
        fields.append((f"length{n}", ">i4"))
        values[f"length{n}"] = length
        if length > 0:
            fields.append((f"value{n}", dtype))
            values[f"value{n}"] = value
    rows = np.empty(_num_rows(columns), np.dtype(fields))
    for name, value in values.items():
        rows[name] = value
    return rows.tobytes()


def _encode_field(column: Column) -> tuple[str, Any, int]:
    """A column's big-endian dtype, its values and their length in bytes, -1 for null."""
    if column is None:
        return "", None, -1
    if isinstance(column, str):
        text = column.encode()
        return f"S{len(text)}", text, len(text)
    if isinstance(column, np.ndarray) and column.dtype.kind == "M":
        return ">i8", (column.astype("datetime64[us]") - _POSTGRESQL_EPOCH).astype(np.int64), 8
    dtype = column.dtype if isinstance(column, np.ndarray) else np.dtype(type(column))
    if dtype == np.int32:
        return ">i4", column, 4
    return (">f8" if dtype.kind == "f" else ">i8"), column, 8


def values_as_of(
    transaction: Transaction,
    series_ids: Sequence[int],
    batch_id: int,
    *,
    length: int | None = None,
    since: np.datetime64 | None = None,
) -> LongValues:
    """Values of series after a batch, revisions included, ascending by series and period; NaN: withdrawn.

    One statement, which reads by the primary key and reads no other rows.

    Args:
        transaction: to read in.
        series_ids: of the series.
        batch_id: later batches do not count.
        length: only so many of the last values of each series; None: all.
        since: every value later than this period, and `length` values of each series up to it.
    """
    if transaction.dialect == "postgresql":
        transaction.execute("read_in_order")
        moment = None if since is None else since.astype("datetime64[us]").item()
        parameters = {"series_ids": list(series_ids), "batch_id": batch_id, "length": length, "since": moment}
        series, (periods, numbers, *revisions) = _fetch_arrays(transaction, "values_as_of", parameters, 5)
        first_values = _sort_by_series(_decode_values(series, periods, numbers))
        return apply_revisions(first_values, _mark_withdrawn(_decode_values(series, *revisions)))
    rows = _fetch_sqlite_rows(transaction, "values_as_of", series_ids, batch_id, length=length, since=since)
    return apply_revisions(empty_values(), rows)


def values_as_known(transaction: Transaction, recipe: str, variable: str, known: KnownVersions) -> LongValues:
    """Values as they were known at an instant, where batches were not recorded in the order in which they were known."""
    versions = read_versions(
        transaction, recipe, variable=variable, as_of=known.as_of, recorded_by=known.recorded_by
    ).values
    return apply_revisions(empty_values(), versions).without_withdrawn()


def read_versions(
    transaction: Transaction,
    recipe: str,
    *,
    variable: str | None = None,
    as_of: datetime,
    recorded_by: datetime,
    series_ids: tuple[int, int] = (0, _MAX_ID),
) -> Versions:
    """Every version of values, ascending by series, period and the instant since when it is known; NaN: withdrawn.

    Args:
        transaction: to read in.
        recipe: of the series.
        variable: a covariate's name, or the target; None: all.
        as_of: versions known later do not count.
        recorded_by: versions recorded later do not count.
        series_ids: the first and the last series to read.
    """
    columns = transaction.columns(
        "versions_as_known",
        recipe=recipe,
        variable=variable,
        as_of=as_of,
        recorded_by=recorded_by,
        first=series_ids[0],
        last=series_ids[1],
    )
    series, period, value, known_at = columns or ((), (), (), ())
    values = LongValues(
        np.array(series, np.int64), np.array(period, "datetime64[us]"), np.array(value, dtype=np.float64)
    )
    return Versions(values, np.array([instant.replace(tzinfo=None) for instant in known_at], "datetime64[us]"))


def all_values(
    transaction: Transaction, series_ids: Sequence[int], batch_id: int, *, frequency: Frequency
) -> LongValues:
    """All values of series, as `values_as_of` gives them, but faster: periods are only read of series with gaps."""
    series_ids = sorted(series_ids)
    if transaction.dialect == "postgresql":
        packed, revisions = _fetch_packed_postgresql(transaction, series_ids, batch_id)
    else:
        packed = _fetch_packed_sqlite(transaction, series_ids, batch_id)
        revisions = _fetch_sqlite_rows(transaction, "revisions_as_of", series_ids, batch_id)
    first_values, irregular_ids = _add_periods(packed, frequency)
    if len(irregular_ids):
        first_values = merge(first_values, values_as_of(transaction, irregular_ids.tolist(), batch_id))
    return apply_revisions(first_values, revisions)


@dataclass(frozen=True, slots=True)
class _PackedSeries:
    """The first and the last period of each series, and its values between without their periods."""

    series: npt.NDArray[np.int64]  # [S], ids
    first: Periods  # [S]
    last: Periods  # [S]
    #: the bytes of each series' values, ascending by period
    content: Sequence[bytes]
    dtype: np.dtype[Any]


def _fetch_packed_postgresql(
    transaction: Transaction, series_ids: Sequence[int], batch_id: int
) -> tuple[_PackedSeries, LongValues]:
    """Series as they were first delivered, and their revisions."""
    transaction.execute("read_in_order")
    parameters = {"series_ids": series_ids, "batch_id": batch_id}
    series, (first, last, content) = _fetch_arrays(transaction, "packed_values_as_of", parameters, 4)
    packed = _PackedSeries(series, _decode_periods(first), _decode_periods(last), _not_null(content), np.dtype(">f8"))
    revised_series, fields = _fetch_arrays(transaction, "revisions_as_of", parameters, 3)
    return packed, _mark_withdrawn(_decode_values(revised_series, *fields))


def _fetch_packed_sqlite(transaction: Transaction, series_ids: Sequence[int], batch_id: int) -> _PackedSeries:
    parameters = {"series_ids": json.dumps(series_ids), "batch_id": batch_id}
    blocks = transaction.fetch_blocks(query_text("packed_values_as_of", "sqlite"), parameters, size=_BLOCK)
    rows = [row for row in chain.from_iterable(blocks) if row[1] is not None]  # None: a series without values
    series, first, last, content = zip(*rows, strict=True) if rows else ((),) * 4
    return _PackedSeries(
        np.array(series, np.int64), _parse_periods(first), _parse_periods(last), content, np.dtype(np.float64)
    )


def _add_periods(packed: _PackedSeries, frequency: Frequency) -> tuple[LongValues, npt.NDArray[np.int64]]:
    """The values of series without gaps, whose periods follow each other; and the ids of the series with gaps."""
    if len(packed.series) == 0:
        return empty_values(), packed.series
    counts = np.array([len(content) for content in packed.content], np.int64) // packed.dtype.itemsize  # [S]
    grid = frequency.between(packed.first.min(), packed.last.max())
    start = np.searchsorted(grid, packed.first)  # [S]
    num_periods = np.searchsorted(grid, packed.last) - start + 1
    starts_on_grid = grid[np.minimum(start, len(grid) - 1)] == packed.first
    is_regular = starts_on_grid & (num_periods == counts)
    first_row = np.cumsum(counts) - counts
    row_in_series = np.arange(counts.sum()) - np.repeat(first_row, counts)  # [N]
    position = np.minimum(np.repeat(start, counts) + row_in_series, len(grid) - 1)  # off the grid only if irregular
    values = LongValues(
        np.repeat(packed.series, counts),
        grid[position],
        np.frombuffer(b"".join(packed.content), packed.dtype).astype(np.float64),
    )
    if not is_regular.all():
        values = values.take(np.repeat(is_regular, counts))
    return _sort_by_series(values), packed.series[~is_regular]


def _fetch_arrays(
    transaction: Transaction, query: str, parameters: Row, num_fields: int
) -> tuple[npt.NDArray[np.int64], list[list[bytes | None]]]:
    """A PostgreSQL result: its first field as series ids [n], and its other fields undecoded."""
    statement = _with_driver_parameters(query_text(query, "postgresql"))
    columns: list[list[bytes | None]] = [[] for _ in range(num_fields)]
    for block in transaction.fetch_binary_blocks(statement, parameters, size=_FETCHED_ROWS):
        for column, fields in zip(columns, block, strict=True):
            column.extend(fields)
    series = np.frombuffer(b"".join(_not_null(columns[0])), ">i8").astype(np.int64)
    return series, columns[1:]


def _decode_values(
    series: npt.NDArray[np.int64], periods: Sequence[bytes | None], numbers: Sequence[bytes | None]
) -> LongValues:
    """Long values from an array of periods and an array of numbers for each series."""
    counts = [(len(array) - _ARRAY_HEADER_SIZE) // _ARRAY_ELEMENT.itemsize if array else 0 for array in periods]
    return LongValues(
        np.repeat(series, np.array(counts, np.int64)),
        _from_postgresql_epoch(_decode_elements(periods)),
        _decode_elements(numbers).view(np.float64),
    )


def _decode_elements(arrays: Sequence[bytes | None]) -> npt.NDArray[np.int64]:
    """The bits of all elements of one-dimensional arrays of eight-byte values; null is an array without elements."""
    sizes = {len(array) for array in arrays if array}
    if len(sizes) == 1 and None not in arrays:  # all of one length: the headers are cut off at once
        content = np.frombuffer(b"".join(_not_null(arrays)), np.uint8).reshape(-1, sizes.pop())
        elements = np.ascontiguousarray(content[:, _ARRAY_HEADER_SIZE:]).view(_ARRAY_ELEMENT)
        return elements["bits"].ravel().astype(np.int64)
    content_only = b"".join(array[_ARRAY_HEADER_SIZE:] for array in arrays if array)
    return np.frombuffer(content_only, _ARRAY_ELEMENT)["bits"].astype(np.int64)


def _decode_periods(fields: Sequence[bytes | None]) -> Periods:
    return _from_postgresql_epoch(np.frombuffer(b"".join(_not_null(fields)), ">i8").astype(np.int64))


def _from_postgresql_epoch(microseconds: npt.NDArray[np.int64]) -> Periods:
    return (microseconds + _POSTGRESQL_EPOCH.astype(np.int64)).view("datetime64[us]")


def _fetch_sqlite_rows(
    transaction: Transaction,
    query: str,
    series_ids: Sequence[int],
    batch_id: int,
    *,
    length: int | None = None,
    since: np.datetime64 | None = None,
) -> LongValues:
    """The rows (series, period, value) of an SQLite query, in its order."""
    parameters = {
        "series_ids": json.dumps(sorted(series_ids)),
        "batch_id": batch_id,
        "length": length,
        "since": None if since is None else sqlite_period(since),
    }
    parts = []
    for rows in transaction.fetch_blocks(query_text(query, "sqlite"), parameters, size=_BLOCK):
        series = np.fromiter(map(itemgetter(0), rows), np.int64, len(rows))
        period = _parse_periods(list(map(itemgetter(1), rows)))
        value = np.fromiter(map(itemgetter(2), rows), np.float64, len(rows))
        parts.append((series, period, value))
    if not parts:
        return empty_values()
    return _mark_withdrawn(LongValues(*(np.concatenate(column) for column in zip(*parts, strict=True))))


def _mark_withdrawn(values: LongValues) -> LongValues:
    """Values with NaN where a query returns infinity: there a value was withdrawn."""
    is_withdrawn = np.isinf(values.value)
    if not is_withdrawn.any():
        return values
    return LongValues(values.series, values.period, np.where(is_withdrawn, np.nan, values.value))


def _parse_periods(texts: Sequence[str]) -> Periods:
    """SQLite's texts as periods; each distinct text is parsed once."""
    parsed = {text: np.datetime64(text, "us").astype(np.int64) for text in set(texts)}
    return np.fromiter(map(parsed.__getitem__, texts), np.int64, len(texts)).view("datetime64[us]")


def _sort_by_series(values: LongValues) -> LongValues:
    """Values ascending by series: queries do not sort, because the rows almost always are in order."""
    if (np.diff(values.series) >= 0).all():
        return values
    return values.take(np.argsort(values.series, kind="stable"))


def count_values(transaction: Transaction, series_ids: Sequence[int]) -> dict[int, int]:
    """The number of stored values of each series that has any; withdrawn ones do not count."""
    if not series_ids:
        return {}
    ids = list(series_ids)
    rows = transaction.rows("count_values", series_ids=ids if transaction.dialect == "postgresql" else json.dumps(ids))
    return {row["series_id"]: row["num_values"] for row in rows}


def read_numbers_of_run(transaction: Transaction, run_number: int) -> npt.NDArray[np.float64]:
    """Mean, quantiles and baseline of a run, ascending by series id and step: [S * H, 1 + Q + 1]; NaN: not kept."""
    parameters = {"run_number": run_number}
    if transaction.dialect == "postgresql":
        transaction.execute("read_in_order")
        series, (packed,) = _fetch_arrays(transaction, "numbers_of_run", parameters, 2)
        content = _not_null(packed)
        in_order = b"".join(content[n] for n in np.argsort(series))
        return np.frombuffer(in_order, ">f8").astype(np.float64).reshape(-1, _NUMBERS_PER_STEP)
    blocks = transaction.fetch_blocks(query_text("numbers_of_run", "sqlite"), parameters, size=_BLOCK)
    parts = [np.fromiter(chain.from_iterable(rows), np.float64, _NUMBERS_PER_STEP * len(rows)) for rows in blocks]
    numbers = np.concatenate(parts).reshape(-1, _NUMBERS_PER_STEP) if parts else np.empty((0, _NUMBERS_PER_STEP))
    return np.where(np.isinf(numbers), np.nan, numbers)


def _not_null(fields: Sequence[bytes | None]) -> list[bytes]:
    return [field for field in fields if field is not None]


def _with_driver_parameters(text: str) -> str:
    """A query's text with `:name` written as `%(name)s`, but not the casts `::type`."""
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", text)
