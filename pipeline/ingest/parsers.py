"""Parse columns of a source into numbers and periods, strictly: what cannot be read exactly is a fault, not a guess."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.sources import Source
from pipeline.ingest.clock_changes import RepeatedHours
from pipeline.ingest.period_formats import (
    PeriodStyle,
    UnclearPeriods,
    detect_style,
    offsets_from_utc,
    place_spans,
    style_named,
)
from pipeline.ingest.timezones import (
    FIRST_MOMENT,
    LAST_MOMENT,
    drop_outside_calendar,
    explain_unclear_time,
    local_to_utc,
    suggest_zone,
    utc_to_local,
)
from pipeline.sources.delivery import Chunk
from pipeline.sources.number_format import PLAIN, NumberFormat
from pipeline.timeseries.frequency import Frequency, Periods

logger = logging.getLogger(__name__)

#: how a text must look to be a number: digits, a point and an exponent only
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
MISSING = "is missing"

_NUMBER = re.compile(NUMBER)
_SECONDS = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
#: the accepted ISO 8601 styles, by the name that messages give them
_ISO = {
    "YYYY": r"[0-9]{4}",
    "YYYY-MM": r"[0-9]{4}-[0-9]{2}",
    "YYYY-MM-DD": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "YYYY-MM-DD hh:mm": r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}",
    "YYYY-MM-DD hh:mm:ss": _SECONDS,
    "YYYY-MM-DD hh:mm:ss±hh:mm": rf"({_SECONDS}|[0-9-]{{10}}[ T][0-9]{{2}}:[0-9]{{2}})([+-][0-9]{{2}}(:?[0-9]{{2}})?|Z)",
}
#: months that a text of a style names
_MONTHS_OF = {"YYYY": 12, "YYYY-MM": 1}
#: share of the texts that may have another style than the first one
_MOST_OTHERS = 0.05
#: what completes a shorter text to a date
_REST_OF_DATE = {"YYYY": "-01-01", "YYYY-MM": "-01"}
_COUNT = r"^0*[1-9][0-9]{0,7}$"
#: so long before a change of the clocks, the earlier offset from UTC applies
_HOURS = np.timedelta64(6, "h")
_HOUR = np.timedelta64(1, "h")
_MAYBE_ENDS = 'If periods are named by their end, set source.label = "end"'
_NAT = np.datetime64("NaT", "us")
#: sessions of an exchange are looked up until here
_LAST_SESSION = np.datetime64("2199-12-31", "us")

Codes = npt.NDArray[np.int64]

#: the rule that each faulty row breaks, by the position of the row
Faults = dict[int, str]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A parsed column of numbers."""

    values: npt.NDArray[np.float64]  # [n]; NaN where the number is missing or breaks a rule
    is_missing: npt.NDArray[np.bool_]  # [n]
    faults: Faults


def max_num_periods(num_rows: int) -> int:
    """Return how many periods so many rows may span: far more than those of any history with few gaps."""
    return 100_000 + 100 * num_rows


def to_text(column: pa.Array) -> pa.Array:
    """Return a column as text without blanks around it; null becomes the empty text."""
    return pc.fill_null(pc.utf8_trim_whitespace(pc.cast(column, pa.string())), "")


def format_field(column: pa.Array, row: int) -> str:
    """Return one field as messages show it."""
    try:
        value = column[row].as_py()
    except (OverflowError, ValueError):
        value = f"{column[row].value} {column.type.unit} since 1970"
    return "" if value is None else str(value).strip()


def parse_value(text: str, numbers: NumberFormat = PLAIN) -> tuple[float, str | None]:
    """Return the number that a text is and None, or NaN and the rule that it breaks."""
    if text.lower() in ("", "nan", "na", "null", "none", "<na>", "nat"):
        return math.nan, MISSING
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return math.nan, "is not finite"
    plain = text if numbers == PLAIN and _NUMBER.fullmatch(text) else numbers.to_plain(text)
    if plain is None:
        return math.nan, numbers.explain(text)
    value = float(plain)
    return (value, None) if math.isfinite(value) else (math.nan, "is not finite")


def parse_values(column: pa.Array, source: Source, *, bounded: bool, number_format: NumberFormat = PLAIN) -> Numbers:
    """Parse a column of numbers and check them against the limits of the recipe.

    Args:
        column: text, or numbers of any type. [n]
        source: the limits.
        bounded: whether the bounds of the target apply too, not only `limit`.
        number_format: how numbers are written, where the column is text.
    """
    numbers = _parse_numbers(column, number_format)
    values, faults = numbers.values, numbers.faults
    rules = [(np.isinf(values), "is not finite")]
    rules.append((np.abs(values) > source.limit, f"is larger than {source.limit:.15g}, the recipe's source.limit"))
    if bounded and source.minimum is not None:
        rules.append((values < source.minimum, f"is below {source.minimum:.15g}, the recipe's source.minimum"))
    if bounded and source.maximum is not None:
        rules.append((values > source.maximum, f"is above {source.maximum:.15g}, the recipe's source.maximum"))
    if bounded and not source.allow_zero:
        rules.append((values == 0, "is zero, which the recipe's source.allow_zero excludes"))
    for is_broken, rule in rules:
        for row in np.flatnonzero(is_broken):
            faults.setdefault(int(row), rule)
    if faults:
        values[list(faults)] = np.nan
    return numbers


def _parse_numbers(column: pa.Array, number_format: NumberFormat) -> Numbers:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
        return Numbers(values, np.isnan(values), {})
    text = to_text(column)
    values = _cast_numbers(text if number_format == PLAIN else number_format.read_column(text))
    is_missing, faults = np.zeros(len(text), bool), Faults()
    doubtful = np.flatnonzero(~np.isfinite(values))
    codes, distinct = _encode(text.take(pa.array(doubtful)))
    parsed = [parse_value(item, number_format) for item in distinct.to_pylist()]
    rules = np.array([rule for _, rule in parsed], object)[codes]
    values[doubtful] = np.array([value for value, _ in parsed])[codes]
    is_missing[doubtful] = rules == MISSING
    for n in np.flatnonzero((rules != MISSING) & (rules != None)):  # noqa: E711
        faults[int(doubtful[n])] = rules[n]
    return Numbers(values, is_missing, faults)


def _cast_numbers(text: pa.Array) -> npt.NDArray[np.float64]:
    """Return numbers as Arrow reads them, which are right where they are finite; NaN where there is doubt."""
    try:
        numbers = pc.cast(pc.if_else(pc.equal(text, ""), None, text), pa.float64())
    except pa.ArrowInvalid:
        is_plain = pc.match_substring_regex(text, f"^({NUMBER})$")
        numbers = pc.cast(pc.if_else(is_plain, text, None), pa.float64())
    return np.array(numbers.to_numpy(zero_copy_only=False), np.float64)


def _encode(text: pa.Array) -> tuple[Codes, pa.Array]:
    """Return the position of each text among the distinct ones [n], and the distinct texts."""
    encoded = pc.dictionary_encode(text)
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary


@dataclass(frozen=True, slots=True)
class _Moments:
    """The distinct moments of a column, NaT where a text is none."""

    distinct: Periods  # [m]
    codes: Codes  # [n] position of the moment of each row
    expected: str
    #: whether they are on the clock of UTC, not on their own
    is_utc: bool = False


@dataclass(slots=True)
class PeriodParser:
    """Parses the periods of one delivery: they are all written in one way, which `survey` finds.

    Without it the first text decides, and only ISO 8601 is read.
    """

    source: Source
    grid: Frequency
    #: the ISO 8601 style of the first text; empty if it has none
    _style: str | None = None
    #: another style than ISO 8601, or the one that the recipe names
    _other_style: PeriodStyle | None = None
    #: by row, 0 for the first and 1 for the second occurrence of a local time, as the order of the rows shows it
    _folds: dict[int, int] = field(default_factory=dict)
    _num_rows: int = 0
    #: the periods 1, 2, 3 … where the source counts them
    _counted: Periods = field(default_factory=lambda: np.empty(0, "datetime64[us]"))

    def survey(self, chunks: Callable[[], Iterable[Chunk]]) -> None:
        """Look through a delivery for what single rows do not show: how periods are written, and repeated hours.

        Rows are read once more only if their first period is not ISO 8601, or is a local time without a column for
        repeated hours.

        Raises:
            UnclearPeriods: the periods can mean several things.
        """
        first = next((column for column, _ in self._columns(chunks()) if len(column)), None)
        if first is None or self.source.start is not None:
            return
        if not _is_typed(first) and self.source.period_format is None:
            self._find_style(first, chunks)
        infers_folds = self.source.zone and not self.source.fold_column and self.grid.is_within_day
        if infers_folds and not self._moments(first).is_utc:
            self._infer_folds(chunks)

    def _columns(self, chunks: Iterable[Chunk]) -> Iterator[tuple[pa.Array, Chunk]]:
        for chunk in chunks:
            if self.source.period in chunk.columns.schema.names:
                yield chunk.columns.column(self.source.period), chunk

    def _find_style(self, first: pa.Array, chunks: Callable[[], Iterable[Chunk]]) -> None:
        """Find the style of all texts, if the first one is not ISO 8601."""
        sample = _period_text(first)[0].as_py()
        self._style = next((style for style, pattern in _ISO.items() if re.fullmatch(pattern, sample)), None)
        if self._style is not None:
            return
        unique = [pc.unique(_period_text(column)) for column, _ in self._columns(chunks())]
        distinct = pc.unique(pa.concat_arrays(unique))
        for style, pattern in _ISO.items():
            if pc.mean(pc.match_substring_regex(distinct, f"^({pattern})$")).as_py() >= 1 - _MOST_OTHERS:
                self._style = style
                return
        self._style = ""
        self._other_style = detect_style(distinct.to_pylist(), self.grid, self.source.period)
        if self._other_style is not None:
            style, example = self._other_style.name, self._other_style.example
            logger.info("column %s: periods are read as %s, such as %s", self.source.period, style, example)

    def _infer_folds(self, chunks: Callable[[], Iterable[Chunk]]) -> None:
        assert self.source.zone is not None
        repeated, num_rows = RepeatedHours(ZoneInfo(self.source.zone)), 0
        for column, chunk in self._columns(chunks()):
            moments = self._moments(column)
            names = to_text(chunk.columns.column(self.source.series)) if self._has_series(chunk) else None
            series = np.array(names.to_pylist() if names is not None else [""] * len(column), object)
            repeated.add(drop_outside_calendar(moments.distinct)[moments.codes], series, num_rows)
            num_rows += len(column)
        self._folds = repeated.infer()
        if self._folds:
            logger.info(
                "column %s: %d local times that the clocks of %s repeat are distinguished by the order of the rows",
                *(self.source.period, len(self._folds), self.source.zone),
            )

    def _has_series(self, chunk: Chunk) -> bool:
        return self.source.series in chunk.columns.schema.names

    def parse(self, column: pa.Array, fold: pa.Array | None) -> tuple[Periods, Faults]:
        """Return the periods of a column, NaT where a rule is broken, and these rules.

        Periods within days are UTC; days and longer ones are those of the recipe's zone.

        Raises:
            UnclearPeriods: the periods can mean several things.

        Args:
            column: text, counts, dates or timestamps. [n]
            fold: 0 for the first and 1 for the second occurrence of a local time that the clocks repeat. [n]
        """
        if len(column) == 0:
            return np.empty(0, "datetime64[us]"), {}
        first_row, self._num_rows = self._num_rows, self._num_rows + len(column)
        moments = self._moments(column)
        if moments.is_utc and self.source.zone is None and not self.grid.is_within_day:
            _require_zone(column, moments, self.source.period)
        codes, distinct = moments.codes, drop_outside_calendar(moments.distinct)
        zone = ZoneInfo(self.source.zone) if self.source.zone else None
        rules: dict[int, str] = {}
        if zone is None or moments.is_utc == self.grid.is_within_day:
            periods = distinct[codes]
        elif moments.is_utc:
            periods = utc_to_local(distinct, zone)[codes]
        else:
            folds = self._inferred_folds(first_row, len(codes)) if fold is None else _parse_folds(fold)
            periods, rules = self._convert_to_utc(distinct, zone, codes, folds)
        faulty = np.flatnonzero(np.isnat(periods))
        unreadable = f"is not a period: expected {moments.expected}"
        return periods, {int(row): rules.get(codes[row], unreadable) for row in faulty}

    def _moments(self, column: pa.Array) -> _Moments:
        moments = _read_typed(column) if _is_typed(column) else self._read_text(_period_text(column))
        if self.source.label == "start" or self.grid.length is None:
            return moments
        return replace(moments, distinct=moments.distinct - self.grid.length.to_numpy())

    def _inferred_folds(self, first_row: int, num_rows: int) -> Codes:
        """Return 0 or 1 for the rows whose occurrence is inferred, -1 for the others. [n]"""
        folds = np.full(num_rows, -1)
        for row, fold in self._folds.items():
            if first_row <= row < first_row + num_rows:
                folds[row - first_row] = fold
        return folds

    def _convert_to_utc(
        self, local: Periods, zone: ZoneInfo, codes: Codes, folds: Codes
    ) -> tuple[Periods, dict[int, str]]:
        """Return UTC instants [n], NaT where a local time is unclear, and why, by code."""
        first, second = local_to_utc(local, zone)
        if self.source.nonexistent == "shift":
            skipped = np.isnat(first) & ~np.isnat(local)
            first[skipped] = second[skipped] = local_to_utc(local[skipped] - _HOURS, zone)[0] + _HOURS
        is_second = folds == 1
        periods = first[codes]
        periods[is_second] = second[codes[is_second]]
        periods[(first != second)[codes] & (folds < 0)] = _NAT
        unclear = np.flatnonzero((first != second) & ~np.isnat(local))  # NaT differs from NaT
        column = self.source.fold_column
        which = f"0 or 1 in the column {column}" if column else "both in the order of time, source.fold"
        expected = f"{which}, or an offset in each row"
        rules = {int(code): explain_unclear_time(local[code].item(), zone, expected) for code in unclear}
        if self.source.label == "start":
            # the first hour that exists again is absent: the source leaves out an hour, but another one
            following = local[unclear] + _HOUR
            is_absent = ~np.isin(following, local) & (following < np.nanmax(local))
            misplaced = unclear[np.isnat(first[unclear]) & is_absent]
            rules |= {int(code): f"{rules[int(code)]} {_MAYBE_ENDS}" for code in misplaced}
        return periods, rules

    def _read_text(self, text: pa.Array) -> _Moments:
        codes, distinct = _encode(text)
        if self.source.start is not None:
            return _Moments(self._read_counts(distinct), codes, "a count from 1")
        if self.source.period_format is not None:
            form = self.source.period_format
            named = style_named(form)
            if named is not None:
                return self._read_other(distinct, codes, named)
            moments, is_utc = _to_utc_or_naive([_strptime(item, form) for item in distinct.to_pylist()])
            return _Moments(moments, codes, f'the format "{form}"', is_utc)
        if self._style is None:
            sample = text[0].as_py()
            self._style = next((style for style, pattern in _ISO.items() if re.fullmatch(pattern, sample)), "")
        if self._other_style is not None:
            return self._read_other(distinct, codes, self._other_style)
        if not self._style:
            expected = "ISO 8601, such as 2026-01-31, or source.period_format in the recipe"
            return _Moments(np.full(len(distinct), _NAT), codes, expected)
        moments = place_spans(
            _read_iso(distinct, self._style), self.grid, months=_MONTHS_OF.get(self._style, 0), days=0
        )
        return _Moments(moments, codes, f"{self._style}, as in the first row", "±" in self._style)

    def _read_other(self, distinct: pa.Array, codes: Codes, style: PeriodStyle) -> _Moments:
        moments = style.read_all(distinct.to_pylist(), self.grid)
        return _Moments(moments, codes, f"{style.name}, such as {style.example}", style.is_utc)

    def _read_counts(self, distinct: pa.Array) -> Periods:
        """Return the periods that are counted from `source.start` on, which is period 1."""
        is_count = pc.match_substring_regex(distinct, _COUNT)
        counts = pc.cast(pc.if_else(is_count, distinct, None), pa.int64())
        count: Codes = pc.fill_null(counts, 0).to_numpy(zero_copy_only=False)
        num_needed = int(np.where(count <= max_num_periods(self._num_rows), count, 0).max())
        if num_needed > len(self._counted):
            self._counted = _periods_from(np.datetime64(str(self.source.start), "us"), num_needed, self.grid)
        exists = (count > 0) & (count <= len(self._counted))
        return np.where(exists, self._counted[np.where(exists, count - 1, 0)], _NAT)


def _is_typed(column: pa.Array) -> bool:
    return bool(pa.types.is_date(column.type) or pa.types.is_timestamp(column.type))


def _period_text(column: pa.Array) -> pa.Array:
    """Return periods as text; whole numbers that are stored as floating point without an exponent."""
    if pa.types.is_floating(column.type):
        is_whole = pc.fill_null(pc.equal(pc.floor(column), column), True)
        if pc.all(is_whole).as_py():
            return to_text(pc.cast(column, pa.int64(), safe=False))
    return to_text(column)


def _require_zone(column: pa.Array, moments: _Moments, name: str) -> None:
    """Refuse days that are given as instants, unless they are midnights of UTC: they may be days of any zone.

    Raises:
        UnclearPeriods: they are others.
    """
    key = "whose days they are: set source.zone"
    if _is_typed(column):
        if column.type.tz not in ("UTC", "Etc/UTC", "GMT", "Z", "+00:00", "00:00"):
            raise UnclearPeriods(
                f'column {name}: days in the zone {column.type.tz} need source.zone, {key} = "{column.type.tz}"'
            )
    else:
        offsets = offsets_from_utc(text for text in pc.unique(to_text(column)).to_pylist())
        if set(offsets) - {0}:
            example = next(text for offset, text in offsets.items() if offset)
            raise UnclearPeriods(
                f'column {name}: days with an offset from UTC ("{example}") need source.zone, {key}, '
                f'for example zone = "{suggest_zone(offsets)}"'
            )
    days = moments.distinct.astype("datetime64[D]")
    is_other = ~np.isnat(days) & (days.astype("datetime64[us]") != moments.distinct)
    if is_other.any():
        instant = f"{str(moments.distinct[is_other][0])[:16]}Z"
        raise UnclearPeriods(
            f"column {name}: days that are no midnights of UTC ({instant}) need source.zone, {key}; "
            'with zone = "UTC" they stay as they are'
        )


def _read_typed(column: pa.Array) -> _Moments:
    """Return the moments of dates or timestamps."""
    kind = column.type
    unit = "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
    whole = pc.cast(column.cast(pa.int32()) if unit == "D" else column, pa.int64())
    stamps = pc.fill_null(whole, np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)  # NaT's bits
    codes, distinct = pd.factorize(stamps)
    moments = np.asarray(distinct).view(f"datetime64[{unit}]")
    if unit != "ns":  # in microseconds, moments far outside the calendar would overflow
        first, last = (bound.astype(moments.dtype) for bound in (FIRST_MOMENT, LAST_MOMENT))
        moments = np.where((moments < first) | (moments > last), np.datetime64("NaT"), moments)
    return _Moments(moments.astype("datetime64[us]"), codes, "a timestamp", getattr(kind, "tz", None) is not None)


def _periods_from(start: np.datetime64, count: int, grid: Frequency) -> Periods:
    """Return `start` and the periods that follow it: about `count`, but no more than the calendar holds."""
    if grid.calendar is not None:
        following = grid.between(start, _LAST_SESSION)
    else:
        num_possible = grid.steps_between(start, LAST_MOMENT - np.timedelta64(3660, "D"))
        following = grid.after(start, min(count, num_possible))
    return np.append(start, following[following > start])


def _parse_folds(fold: pa.Array) -> Codes:
    """Return 0 or 1, and -1 where a text is neither. [n]"""
    text = pc.utf8_lower(to_text(fold))
    is_first, is_second = (
        pc.is_in(text, value_set=pa.array(accepted)).to_numpy(zero_copy_only=False)
        for accepted in (["0", "0.0", "false"], ["1", "1.0", "true"])
    )
    return np.where(is_second, 1, np.where(is_first, 0, -1))


def _read_iso(distinct: pa.Array, style: str) -> Periods:
    """Return texts of one style on their own clock, those with an offset in UTC; NaT where a text has another style."""
    is_utc = "±" in style
    fits = pc.match_substring_regex(distinct, f"^({_ISO[style]})$")
    whole = pc.binary_join_element_wise(pc.if_else(fits, distinct, None), _REST_OF_DATE.get(style, ""), "")
    try:
        stamps = pc.cast(whole, pa.timestamp("us", "UTC" if is_utc else None))
        return np.array(pc.cast(stamps, pa.timestamp("us")).to_numpy(zero_copy_only=False), "datetime64[us]")
    except pa.ArrowInvalid:
        return _to_utc_or_naive([None if text is None else _fromisoformat(text) for text in whole.to_pylist()])[0]


_END_OF_DAY = re.compile(r"[ T]24:00(:00(\.0+)?)?(?=$|[+Z-])")


def _to_utc_or_naive(moments: Sequence[datetime | None]) -> tuple[Periods, bool]:
    """Return moments in UTC, or on their own clock where they have no offset; and whether any has one."""
    naive = [moment and moment.replace(tzinfo=None) for moment in moments]
    return np.array(naive, "datetime64[us]"), any(
        moment is not None and moment.tzinfo is not None for moment in moments
    )


def _strptime(text: str, form: str) -> datetime | None:
    try:
        return _in_utc(datetime.strptime(text, form))
    except (ValueError, OverflowError):
        return None


def _fromisoformat(text: str) -> datetime | None:
    """Return a moment; 24:00 is the midnight after the day."""
    midnight = _END_OF_DAY.sub(" 00:00:00", text)
    try:
        moment = datetime.fromisoformat(midnight)
        return _in_utc(moment if midnight == text else moment + timedelta(days=1))
    except (ValueError, OverflowError):
        return None


def _in_utc(moment: datetime) -> datetime:
    """Return the same moment in UTC if it has an offset.

    Raises:
        OverflowError: it has no place in the calendar of UTC.
    """
    return moment.astimezone(UTC) if moment.tzinfo else moment
