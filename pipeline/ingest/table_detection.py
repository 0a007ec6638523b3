"""What a table holds that nobody has described yet: which column has the periods, how far apart they are, the values, the series.

Everything here is a proposal for a person, who reads it before it is used. What is ingested is read strictly, by the
recipe that comes of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.tseries.frequencies import to_offset

from pipeline.config.loader import validate_recipe
from pipeline.config.recipe import Recipe
from pipeline.errors import NextperiodError
from pipeline.ingest.parsers import max_num_periods
from pipeline.ingest.period_formats import STYLES, PeriodStyle, offsets_from_utc
from pipeline.ingest.timezones import suggest_zone
from pipeline.sources.delivery import FetchContext
from pipeline.sources.dialect import Dialect
from pipeline.sources.number_format import take_apart
from pipeline.sources.registry import fetch
from pipeline.text import counted, list_some
from pipeline.timeseries.frequency import Frequency, Periods

#: rows that are looked at
MOST_ROWS = 200_000
#: distinct texts of a column that are looked at
_MOST_TEXTS = 2_000
#: columns that no table has: so all columns are delivered
_NO_PERIOD, _NO_VALUE = "<periods>", "<values>"
#: share of the texts that must be periods, or numbers
_MOST = 0.95
#: share of the periods that must follow the one before at once
_REGULAR = 0.3
#: with fewer days, it is by chance that none is on a weekend
_FEWEST_BUSINESS_DAYS = 10
#: share of pairs of series and period that must differ
_UNIQUE = 0.99
#: from so many columns of numbers on, none of which is named like a value, each is a series
_FEWEST_WIDE = 5
_PERIOD_NAMES = re.compile(r"date|time|period|month|year|day|week|quarter|hour|ds|timestamp|datum|monat|jahr|tag", re.I)
_VALUE_NAMES = re.compile(
    r"value|sales|sold|production|y|close|load|price|demand|amount|quantity|qty|units|total|count|volume|consumption|revenue"
    r"|wert|umsatz|menge|preis|verbrauch|passengers|target",
    re.I,
)
_ISO = re.compile(
    r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?([+-][0-9]{2}(:?[0-9]{2})?|Z)?)?)?)?"
)
_OFFSET = re.compile(r"([+-][0-9]{2}(:?[0-9]{2})?|Z)$")
#: frequencies of days and longer periods, the longest first
_ALIASES = (
    *(
        f"{kind}-{month}"
        for kind in ("YS", "YE")
        for month in ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    ),
    *(f"QS-{month}" for month in ("JAN", "FEB", "MAR")),
    *(f"QE-{month}" for month in ("DEC", "NOV", "OCT")),
    *("MS", "ME"),
    *(f"W-{day}" for day in ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]),
    *("B", "D"),
)
#: minutes of the frequencies within a day
_MINUTES = (1, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720)
#: horizons by what a frequency's alias begins with
_HORIZONS = {"YS": 3, "YE": 3, "QS": 8, "QE": 8, "MS": 12, "ME": 12, "W": 13, "B": 10, "D": 14, "h": 24}
_SHORTEST_HORIZON_WITHIN_DAY = 24


class NothingDetected(NextperiodError):
    """A table in which no column of periods or of values can be found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectedTable:
    """What a table probably holds."""

    #: keys of the recipe's `[source]`, besides where the table is
    source: Mapping[str, Any]
    frequency: str
    horizon: int
    #: whether no value that was looked at is below 0
    is_positive: bool = False
    #: columns of numbers beside the values
    other_numbers: tuple[str, ...] = ()
    #: one sentence for each detection
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    values: pa.Array

    @property
    def is_typed_time(self) -> bool:
        return bool(pa.types.is_temporal(self.values.type))

    @property
    def texts(self) -> list[str]:
        """The texts that are not empty, each once."""
        distinct = pc.unique(pc.utf8_trim_whitespace(pc.cast(self.values, pa.string())).drop_null())
        return [text for text in distinct.to_pylist() if text]

    def is_number(self) -> bool:
        """Whether nearly all of its texts are numbers."""
        kind = self.values.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return True
        texts = [] if self.is_typed_time else self.texts[:_MOST_TEXTS]
        return bool(texts) and float(np.mean([take_apart(text) is not None for text in texts])) >= _MOST

    def has_negative(self) -> bool:
        """Whether a number is below 0."""
        if pa.types.is_string(self.values.type):
            numbers = filter(None, map(take_apart, self.texts))
            return any(number.sign == "-" or number.in_parentheses for number in numbers)
        return bool(pc.any(pc.less(self.values, 0)).as_py())


@dataclass(frozen=True, slots=True)
class _PeriodColumn:
    """One way to read a column as periods."""

    column: _Column
    style: PeriodStyle | None
    #: of each row, NaT where it is none
    periods: Periods
    frequency: str
    #: share of the periods that follow the one before at once
    regularity: float
    is_utc: bool = False
    #: where its midnights are those of the clocks
    zone: str | None = None


def detect_table(source: Mapping[str, Any], *, folder: Path, now: datetime) -> DetectedTable:
    """Look at the beginning of a table and say what it probably holds.

    Args:
        source: kind and path or address, as in a recipe's `[source]`.
        folder: that paths are relative to.
        now: the clock.

    Raises:
        NothingDetected: it has no column of periods, or none of values.
        SourceMissing: there is no such table.
        BatchRefused: it is no table.
    """
    fields = {"period": _NO_PERIOD, "value": _NO_VALUE, **source}
    document = {"name": "detected", "frequency": "D", "horizon": 1, "source": fields}
    recipe = validate_recipe(document, where=str(source.get("path") or source.get("url"))).with_folder(folder)
    columns, dialect, name = _read_columns(recipe, now)
    period = _find_periods(columns, name)
    return _describe(columns, dialect, period, name)


def _read_columns(recipe: Recipe, now: datetime) -> tuple[list[_Column], Dialect | None, str]:
    chunks, num_rows, dialect = [], 0, None
    with fetch(recipe, FetchContext(now=now)) as delivery:
        for chunk in delivery.chunks():
            chunks.append(chunk.columns)
            dialect, num_rows = chunk.dialect or dialect, num_rows + chunk.columns.num_rows
            if num_rows >= MOST_ROWS:
                break
        source = delivery.source
    if not num_rows:
        raise NothingDetected(f"{source} holds no rows: nothing can be detected in it")
    table = pa.Table.from_batches(chunks).combine_chunks()
    columns = [
        _Column(name, table.column(name).chunk(0)) for name in table.column_names if table.column_names.count(name) == 1
    ]
    return columns, dialect, source


def _find_periods(columns: Sequence[_Column], name: str) -> _PeriodColumn:
    """The likeliest column of periods, and the likeliest way to read it."""
    readings = [reading for place, column in enumerate(columns) for reading in _readings(column, is_first=place == 0)]
    if not readings:
        shown = ", ".join(column.name for column in columns)
        raise NothingDetected(f"{name}: no column holds periods at regular distances; its columns are {shown}")
    return max(
        readings, key=lambda reading: (_PERIOD_NAMES.search(reading.column.name) is not None, reading.regularity)
    )


def _readings(column: _Column, *, is_first: bool) -> Iterator[_PeriodColumn]:
    """Each way in which a column can be read as periods."""
    if column.is_typed_time:
        is_utc = getattr(column.values.type, "tz", None) is not None
        moments = pc.cast(column.values, pa.timestamp("us", "UTC" if is_utc else None))
        yield from _as_reading(column, None, moments.to_numpy(zero_copy_only=False).astype("datetime64[us]"), is_utc)
        return
    texts = column.texts
    sample = texts[:_MOST_TEXTS]
    if not sample or (column.is_number() and not (is_first or _PERIOD_NAMES.search(column.name))):
        return
    is_iso = float(np.mean([_ISO.fullmatch(text) is not None for text in sample])) >= _MOST
    if is_iso and not sample[0].isdecimal():
        zone = _zone_of_midnights(sample)
        has_offset = _OFFSET.search(sample[0][10:]) is not None
        read = _read_local if zone else _read_iso
        yield from _as_reading(column, None, _row_periods(column, read), has_offset, zone)
        return
    for style in STYLES:
        is_read = float(np.mean([style.read(text) is not None for text in sample])) >= _MOST
        if is_read:
            yield from _as_reading(column, style, _row_periods(column, style.read), style.is_utc)


def _zone_of_midnights(texts: Sequence[str]) -> str | None:
    """A zone with the offsets of texts that are all midnights on the clocks there; None if they are not."""
    offsets = offsets_from_utc(texts)
    if not any(offsets) or not all(text[11:16] == "00:00" for text in texts):
        return None
    return suggest_zone(offsets)


def _read_iso(text: str) -> datetime | None:
    """Read a text, in UTC if it has an offset."""
    try:
        moment = pd.Timestamp(text)
    except ValueError:
        return None
    moment = moment.tz_convert("UTC").tz_localize(None) if moment.tzinfo else moment
    read: datetime = moment.to_pydatetime()
    return read


def _read_local(text: str) -> datetime | None:
    return _read_iso(_OFFSET.sub("", text))


def _row_periods(column: _Column, read: Callable[[str], datetime | None]) -> Periods:
    """The period of each row: [n]."""
    encoded = pc.dictionary_encode(pc.utf8_trim_whitespace(pc.cast(column.values, pa.string())).fill_null(""))
    distinct = np.array([read(text) if text else None for text in encoded.dictionary.to_pylist()], "datetime64[us]")
    periods: Periods = distinct[encoded.indices.to_numpy()]
    return periods


def _as_reading(
    column: _Column, style: PeriodStyle | None, periods: Periods, is_utc: bool, zone: str | None = None
) -> Iterator[_PeriodColumn]:
    distinct = np.unique(periods[~np.isnat(periods)])
    found = infer_frequency(distinct)
    if found is not None:
        alias, regularity = found
        yield _PeriodColumn(column, style, periods, alias, regularity, is_utc, zone)


def infer_frequency(periods: Periods) -> tuple[str, float] | None:
    """Return the frequency of distinct ascending periods, and the share of them that follow the one before at once.

    None where there are fewer than three, or where they are too irregular for any frequency.
    """
    if len(periods) < 3:
        return None
    aliases = _ALIASES if (periods == periods.astype("datetime64[D]")).all() else tuple(_within_day(periods))
    for alias in aliases:
        grid = Frequency(alias)
        if (alias == "B" and len(periods) < _FEWEST_BUSINESS_DAYS) or grid.on_grid(periods).mean() < _MOST:
            continue
        if grid.steps_between(periods[0], periods[-1]) > max_num_periods(len(periods)):
            continue  # nearly all of them would be gaps
        place = np.searchsorted(grid.between(periods[0], periods[-1]), periods)
        regularity = float((np.diff(place) == 1).mean())
        if regularity >= _REGULAR:
            return alias, regularity
    return None


def _within_day(periods: Periods) -> Iterator[str]:
    """The frequency whose length most distances have, and the one that has all of them as multiples."""
    distances, counts = np.unique(np.diff(periods) // np.timedelta64(1, "m"), return_counts=True)
    for minutes in (int(distances[counts.argmax()]), int(np.gcd.reduce(distances.astype(np.int64)))):
        if minutes in _MINUTES:
            yield "h" if minutes == 60 else f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}min"


def usual_horizon(alias: str) -> int:
    """How many periods ahead people forecast at a frequency."""
    grid = Frequency(alias)
    if grid.is_within_day:
        return max(grid.season_length, _SHORTEST_HORIZON_WITHIN_DAY)
    name = to_offset(alias).base.freqstr.partition("-")[0]
    return _HORIZONS.get(name, 12)


@dataclass(slots=True)
class _Description:
    source: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _describe(columns: Sequence[_Column], dialect: Dialect | None, period: _PeriodColumn, name: str) -> DetectedTable:
    found = _Description()
    _describe_dialect(found, dialect)
    found.source["period"] = period.column.name
    text = next(iter(period.column.texts), "") if not period.column.is_typed_time else str(period.periods[0])[:16]
    form = f"written as {period.style.name}" if period.style else "dates" if period.column.is_typed_time else "ISO 8601"
    found.notes.append(f"periods: column {period.column.name}, {form}, such as {text}")
    if period.style is not None and period.style.key is not None:
        found.source["period_format"] = period.style.key
    num_gaps = round((1 - period.regularity) * (len(np.unique(period.periods)) - 1))
    found.notes.append(f'frequency: "{period.frequency}"' + (f", with {counted(num_gaps, 'gap')}" if num_gaps else ""))
    _describe_zone(found, period)
    others = [column for column in columns if column is not period.column and column.name.strip()]
    numbers = [column for column in others if column.is_number()]
    series = _find_series(others, numbers, period, found)
    numbers = [column for column in numbers if column is not series]
    if not numbers:
        shown = ", ".join(column.name for column in others) or "none"
        raise NothingDetected(f"{name}: no column besides {period.column.name} holds numbers; the others are {shown}")
    rest = _choose_values(numbers, series, found)
    values = [column for column in numbers if column.name not in rest]
    return DetectedTable(
        source=found.source,
        frequency=period.frequency,
        horizon=usual_horizon(period.frequency),
        is_positive=not any(column.has_negative() for column in values),
        other_numbers=rest,
        notes=tuple(found.notes),
    )


def _describe_dialect(found: _Description, dialect: Dialect | None) -> None:
    if dialect is None:
        return
    found.notes.append(f"written with {dialect.describe()}")
    if dialect.delimiter != ",":
        found.source["delimiter"] = dialect.delimiter
    if dialect.encoding != "utf-8":
        found.source["encoding"] = dialect.encoding


def _describe_zone(found: _Description, period: _PeriodColumn) -> None:
    grid = Frequency(period.frequency)
    if period.is_utc and not grid.is_within_day:
        found.source["zone"] = zone = period.zone or "UTC"
        found.notes.append(
            f"zone: {zone}, for the instants have an offset: set source.zone to where the days are counted"
        )
    elif grid.is_within_day and not period.is_utc:
        found.notes.append(
            "zone: the times have no offset and are taken as UTC: set source.zone if they are those of clocks somewhere"
        )


def _find_series(
    others: Sequence[_Column], numbers: Sequence[_Column], period: _PeriodColumn, found: _Description
) -> _Column | None:
    """The column that names the series; None where every period occurs once."""
    if _share_unique(period.periods) >= _UNIQUE:
        found.notes.append("series: one, for each period occurs once")
        return None
    names = [column for column in others if column not in numbers]
    whole = [column for column in numbers if pa.types.is_integer(column.values.type) or _all_whole(column)]
    shares = {column.name: _share_unique(period.periods, column) for column in (*names, *whole)}
    fitting = [column for column in (*names, *whole) if shares[column.name] >= _UNIQUE]
    if fitting:
        best = min(fitting, key=lambda column: (column in whole, len(column.texts)))
    elif names:
        best = max(names, key=lambda column: shares[column.name])
    else:
        return None
    found.source["series"] = best.name
    repeated = "" if fitting else "; some periods of a series occur twice: several columns may name it together"
    found.notes.append(
        f"series: column {best.name}, {counted(len(best.texts), 'series')} such as {best.texts[0]}{repeated}"
    )
    return best


def _share_unique(periods: Periods, column: _Column | None = None) -> float:
    """Share of the rows whose period, or pair of period and name, is the first of its kind."""
    frame = pd.DataFrame({"period": periods})
    if column is not None:
        frame["name"] = pc.cast(column.values, pa.string()).to_pylist()
    return float(1 - frame.duplicated().mean())


def _all_whole(column: _Column) -> bool:
    return all(text.isdecimal() for text in column.texts[:_MOST_TEXTS])


def _choose_values(numbers: Sequence[_Column], series: _Column | None, found: _Description) -> tuple[str, ...]:
    """Choose the column of the values, or all where each is a series; return the other columns of numbers."""
    likely = [column for column in numbers if _VALUE_NAMES.fullmatch(column.name.strip())]
    likely += [column for column in numbers if column not in likely and _VALUE_NAMES.search(column.name)]
    if series is None and len(numbers) >= _FEWEST_WIDE and not likely:
        found.source["layout"] = "wide"
        shown = list_some([column.name for column in numbers])
        found.notes.append(f"values: {counted(len(numbers), 'column')}, each a series: {shown}")
        return ()
    chosen = (likely or list(numbers))[0]
    found.source["value"] = chosen.name
    found.notes.append(f"values: column {chosen.name}")
    rest = tuple(column.name for column in numbers if column is not chosen)
    if rest:
        found.notes.append(f"candidates for covariates: {', '.join(rest)}")
    return rest
