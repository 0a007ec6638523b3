"""Observations from a pandas data frame, checked so that a message names the column, series and period at fault."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.text import format_period, list_names
from pipeline.timeseries.frequency import Frequency, Periods
from pipeline.timeseries.observations import Observations

#: for each row the name of its series, for messages: [n]
_Labels = npt.NDArray[np.object_]

#: a message quotes at most so many characters of a value
_QUOTED = 60
_EXPECTED_PERIOD = "expected a datetime, a date, an ISO 8601 text or a pandas period"


def observations_from_frame(
    frame: pd.DataFrame, frequency: Frequency, *, series: str | None, period: str, value: str
) -> Observations:
    """Return the rows of a long data frame in order of series name and period.

    Args:
        frame: one row for each value, in any order.
        frequency: the spacing of periods.
        series: the column of the series' names; None: one series, named like the value column.
        period: the column of datetimes, dates, ISO 8601 texts or pandas periods. Instants with a zone are converted to
            UTC if periods are hours or shorter; days and longer periods are the local days.
        value: the column of numbers; missing values and NaN are gaps.

    Raises:
        ValueError: there is no row, a column is missing, or a name, period or number in it is not usable.
    """
    _require_columns(frame, [column for column in (series, period, value) if column is not None])
    names, codes = _read_names(frame, series, default=value)
    labels = names[codes]
    periods = _read_periods(frame[period], frequency, labels)
    values = _read_values(frame[value], periods, labels)
    _require_grid(periods, frequency, labels)
    order = np.lexsort((periods, codes))
    return Observations(names=tuple(names), series=codes[order], period=periods[order], value=values[order])


def _require_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    has = list(frame.columns)
    if frame.empty:
        raise ValueError("the data frame has no rows: expected at least one observation")
    missing = [column for column in columns if column not in has]
    if missing:
        raise ValueError(f"the data frame has no column {list_names(missing)}: it has {list_names(map(str, has))}")
    if len(set(columns)) < len(columns):
        raise ValueError(f"series, period and value are {', '.join(columns)}: expected different columns")
    twice = [column for column in columns if has.count(column) > 1]
    if twice:
        raise ValueError(f'the data frame has two columns "{twice[0]}": expected one')


def _read_names(frame: pd.DataFrame, column: str | None, *, default: str) -> tuple[_Labels, npt.NDArray[np.int64]]:
    """Return the sorted names [S] and for each row the index of its series [n]."""
    if column is None:
        return np.array([default], object), np.zeros(len(frame), np.int64)
    missing = np.flatnonzero(frame[column].isna())
    if len(missing):
        raise ValueError(f'column "{column}", row {missing[0]}: the name of the series is missing')
    codes, names = pd.factorize(frame[column].astype(str).to_numpy(object), sort=True)
    return names, codes.astype(np.int64)


def _read_periods(column: pd.Series[Any], frequency: Frequency, labels: _Labels) -> Periods:
    dtype = column.dtype
    if isinstance(dtype, pd.PeriodDtype):
        instants = _instants_of_periods(pd.PeriodIndex(column), frequency)
    elif dtype.kind == "M":
        instants = pd.DatetimeIndex(column)
    elif dtype.kind == "O" and not isinstance(dtype, pd.CategoricalDtype):
        instants = _parse_periods(column, frequency, labels)
    else:
        raise ValueError(f'column "{column.name}" is of type {dtype}: {_EXPECTED_PERIOD} in each row')
    if instants.tz is not None:
        instants = (instants.tz_convert("UTC") if frequency.is_within_day else instants).tz_localize(None)
    missing = np.flatnonzero(instants.isna())
    if len(missing):
        raise ValueError(f"{_place(column, missing[0], labels)}: the period is missing")
    return _micros(instants)


def _instants_of_periods(periods: pd.PeriodIndex, frequency: Frequency) -> pd.DatetimeIndex:
    """Return the starts of pandas periods, or their last days if these are the grid, as for "ME" and "W-SUN"."""
    starts, ends = periods.to_timestamp(how="start"), periods.to_timestamp(how="end").normalize()
    on_starts, on_ends = (frequency.on_grid(_micros(instants.dropna())).all() for instants in (starts, ends))
    return ends if on_ends and not on_starts else starts


def _parse_periods(column: pd.Series[Any], frequency: Frequency, labels: _Labels) -> pd.DatetimeIndex:
    if pd.api.types.is_object_dtype(column.dtype):
        readable = column.isna() | column.map(lambda period: isinstance(period, str | date))
        _refuse_period(column, np.flatnonzero(~readable), labels)
    try:
        return pd.DatetimeIndex(pd.to_datetime(column, format="ISO8601", utc=frequency.is_within_day))
    except ValueError as error:
        unreadable = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True).isna() & column.notna()
        _refuse_period(column, np.flatnonzero(unreadable), labels)
        raise ValueError(f'column "{column.name}" has periods of different zones: expected one zone') from error


def _refuse_period(column: pd.Series[Any], rows: npt.NDArray[np.int64], labels: _Labels) -> None:
    if len(rows):
        row = rows[0]
        raise ValueError(f"{_place(column, row, labels)}: the period is {_quote(column, row)}: {_EXPECTED_PERIOD}")


def _read_values(column: pd.Series[Any], periods: Periods, labels: _Labels) -> npt.NDArray[np.float64]:
    if column.dtype.kind not in "iufO":
        raise ValueError(f'column "{column.name}" is of type {column.dtype}: expected numbers')
    numbers = pd.to_numeric(column.astype(object), errors="coerce") if column.dtype.kind == "O" else column
    values = numbers.to_numpy(np.float64, na_value=np.nan)
    unusable = np.flatnonzero((np.isnan(values) & column.notna()) | np.isinf(values))
    if len(unusable):
        row = unusable[0]
        raise ValueError(
            f'column "{column.name}", series "{labels[row]}", period {format_period(periods[row])}: expected a finite '
            f"number, received {_quote(column, row)}"
        )
    return values


def _require_grid(periods: Periods, frequency: Frequency, labels: _Labels) -> None:
    off_grid = np.flatnonzero(~frequency.on_grid(periods))
    if len(off_grid):
        row = off_grid[0]
        expected = f"a session of {frequency.calendar}" if frequency.calendar else f'a period of "{frequency.alias}"'
        raise ValueError(f'series "{labels[row]}" has a value for {format_period(periods[row])}: expected {expected}')


def _place(column: pd.Series[Any], row: int, labels: _Labels) -> str:
    return f'column "{column.name}", series "{labels[row]}", row {row}'


def _quote(column: pd.Series[Any], row: int) -> str:
    return repr(column.iloc[[row]].tolist()[0])[:_QUOTED]


def _micros(instants: pd.DatetimeIndex) -> Periods:
    return np.asarray(instants.to_numpy().astype("datetime64[us]"))
