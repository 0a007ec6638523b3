"""Columns of a source to numbers and periods, strictly: what cannot be read exactly is named, not guessed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.sources import Source
from pipeline.ingest.timezones import (
    FIRST_MOMENT,
    LAST_MOMENT,
    drop_outside_calendar,
    explain_unclear_time,
    local_to_utc,
    utc_to_local,
)
from pipeline.timeseries.frequency import Frequency, Periods

#: how a text must look to be a number: digits, a point and an exponent only
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
MISSING = "is missing"
#: periods that a delivery may span beside 100 for each row: far more than any history with few gaps does
MOST_SLOTS = 100_000

_NUMBER = re.compile(NUMBER)
_SECONDS = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
_ISO = {
    "YYYY": r"[0-9]{4}",
    "YYYY-MM": r"[0-9]{4}-[0-9]{2}",
    "YYYY-MM-DD": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "YYYY-MM-DD hh:mm": r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}",
    "YYYY-MM-DD hh:mm:ss": _SECONDS,
    "YYYY-MM-DD hh:mm:ss±hh:mm": rf"({_SECONDS}|[0-9-]{{10}}[ T][0-9]{{2}}:[0-9]{{2}})([+-][0-9]{{2}}(:?[0-9]{{2}})?|Z)",
}
#: what makes a whole date of a shorter text
_REST = {"YYYY": "-01-01", "YYYY-MM": "-01"}
_COUNT = r"^0*[1-9][0-9]{0,7}$"
_NAT = np.datetime64("NaT", "us")
#: the end of what is looked up of an exchange's sessions
_LAST_SESSION = np.datetime64("2199-12-31", "us")

#: a rule that was broken, by the position of the row
Faults = dict[int, str]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers."""

    value: npt.NDArray[np.float64]  # [n]; NaN where it is missing or a rule is broken
    missing: npt.NDArray[np.bool_]  # [n]
    faults: Faults


def texts(column: pa.Array) -> pa.Array:
    """A column as text without blanks around it; null is empty."""
    return pc.fill_null(pc.utf8_trim_whitespace(pc.cast(column, pa.string())), "")


def text_at(column: pa.Array, row: int) -> str:
    """How a message shows one field."""
    try:
        value = column[row].as_py()
    except (OverflowError, ValueError):
        value = f"{column[row].value} {column.type.unit} since 1970"
    return "" if value is None else str(value).strip()


def parse_value(text: str) -> tuple[float, str | None]:
    """The number that a text is, or NaN and what is wrong with it."""
    if text.lower() in ("", "nan", "na", "null", "none", "<na>", "nat"):
        return math.nan, MISSING
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return math.nan, "is not finite"
    if not _NUMBER.fullmatch(text):
        return math.nan, "is not a number: expected digits, a point and an exponent only"
    value = float(text)
    return (value, None) if math.isfinite(value) else (math.nan, "is not finite")


def parse_values(column: pa.Array, contract: Source, *, bounded: bool) -> Numbers:
    """The numbers of a column.

    Args:
        column: text, or numbers of any type.
        contract: the recipe's limits.
        bounded: whether the values' own bounds hold too; they are the target's.
    """
    numbers = _numbers(column)
    values, faults = numbers.value, numbers.faults
    rules = [(np.isinf(values), "is not finite")]
    rules.append((np.abs(values) > contract.limit, f"is larger than {contract.limit:g}, the recipe's source.limit"))
    if bounded and contract.minimum is not None:
        rules.append((values < contract.minimum, f"is below {contract.minimum:g}, the recipe's source.minimum"))
    if bounded and contract.maximum is not None:
        rules.append((values > contract.maximum, f"is above {contract.maximum:g}, the recipe's source.maximum"))
    if bounded and not contract.allow_zero:
        rules.append((values == 0, "is zero, which the recipe's source.allow_zero excludes"))
    for broken, rule in rules:
        for row in np.flatnonzero(broken):
            faults.setdefault(int(row), rule)
    if faults:
        values[list(faults)] = np.nan
    return numbers


def _numbers(column: pa.Array) -> Numbers:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
        return Numbers(values, np.isnan(values), {})
    text = texts(column)
    values = _floats(text)
    missing, faults = np.zeros(len(text), bool), Faults()
    doubtful = np.flatnonzero(~np.isfinite(values))
    codes, distinct = _distinct(text.take(pa.array(doubtful)))
    parsed = [parse_value(one) for one in distinct.to_pylist()]
    rules = np.array([rule for _, rule in parsed], object)[codes]
    values[doubtful] = np.array([value for value, _ in parsed])[codes]
    missing[doubtful] = rules == MISSING
    for n in np.flatnonzero((rules != MISSING) & (rules != None)):  # noqa: E711
        faults[int(doubtful[n])] = rules[n]
    return Numbers(values, missing, faults)


def _floats(text: pa.Array) -> npt.NDArray[np.float64]:
    """Numbers as Arrow reads them, which are right where they are finite; NaN where there is doubt."""
    try:
        numbers = pc.cast(pc.if_else(pc.equal(text, ""), None, text), pa.float64())
    except pa.ArrowInvalid:
        plain = pc.match_substring_regex(text, f"^({NUMBER})$")
        numbers = pc.cast(pc.if_else(plain, text, None), pa.float64())
    return np.array(numbers.to_numpy(zero_copy_only=False), np.float64)


def _distinct(text: pa.Array) -> tuple[npt.NDArray[np.int64], pa.Array]:
    encoded = pc.dictionary_encode(text)
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary


@dataclass(slots=True)
class PeriodReader:
    """Reads the periods of one delivery: the first text decides how they are written, the others must agree."""

    contract: Source
    grid: Frequency
    _style: str | None = None
    _num_rows: int = 0
    #: the periods 1, 2, 3 … where they are counted
    _counted: Periods = field(default_factory=lambda: np.empty(0, "datetime64[us]"))

    def read(self, column: pa.Array, fold: pa.Array | None) -> tuple[Periods, Faults]:
        """The periods of a column, NaT where a rule is broken, and which.

        Args:
            column: text, counts, dates or timestamps.
            fold: 0 or 1 for each row where a local time is told twice a year.
        """
        if len(column) == 0:
            return np.empty(0, "datetime64[us]"), {}
        self._num_rows += len(column)
        is_typed = pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)
        moments, is_utc, codes, expected = self._typed(column) if is_typed else self._written(column)
        moments = drop_outside_calendar(moments)
        zone = ZoneInfo(self.contract.zone) if self.contract.zone else None
        rules: dict[int, str] = {}
        if zone is None or is_utc == self.grid.is_within_day:
            periods = moments[codes]
        elif is_utc:
            periods = utc_to_local(moments, zone)[codes]
        else:
            periods, rules = self._from_local(moments, zone, codes, fold)
        bad = np.flatnonzero(np.isnat(periods))
        return periods, {int(row): rules.get(codes[row], f"is not a period: expected {expected}") for row in bad}

    def _from_local(
        self, moments: Periods, zone: ZoneInfo, codes: npt.NDArray[np.int64], fold: pa.Array | None
    ) -> tuple[Periods, dict[int, str]]:
        """Local times as UTC; NaT where one is skipped, or told twice without saying which; and why, by code."""
        first, second = local_to_utc(moments, zone)
        periods = first[codes]
        folds = _folds(fold) if fold is not None else np.full(len(codes), -1)
        periods[folds == 1] = second[codes[folds == 1]]
        periods[(first != second)[codes] & (folds < 0)] = _NAT
        which = f"0 or 1 in the column {self.contract.fold}" if self.contract.fold else "source.fold"
        changes = np.flatnonzero((first != second) & ~np.isnat(moments))
        expected = f"{which}, or an offset in each row"
        return periods, {int(code): explain_unclear_time(moments[code].item(), zone, expected) for code in changes}

    def _typed(self, column: pa.Array) -> tuple[Periods, bool, npt.NDArray[np.int64], str]:
        kind = column.type
        unit = "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
        whole = pc.cast(column.cast(pa.int32()) if unit == "D" else column, pa.int64())
        stamps = pc.fill_null(whole, np.iinfo(np.int64).min).to_numpy(zero_copy_only=False)  # NaT's bits
        codes, distinct = pd.factorize(stamps)
        moments = np.asarray(distinct).view(f"datetime64[{unit}]")
        if unit != "ns":
            first, last = (bound.astype(moments.dtype) for bound in (FIRST_MOMENT, LAST_MOMENT))
            moments = np.where((moments < first) | (moments > last), np.datetime64("NaT"), moments)
        return moments.astype("datetime64[us]"), getattr(kind, "tz", None) is not None, codes, "a timestamp"

    def _written(self, column: pa.Array) -> tuple[Periods, bool, npt.NDArray[np.int64], str]:
        text = texts(column)
        codes, distinct = _distinct(text)
        contract = self.contract
        if contract.start is not None:
            return self._count(distinct), False, codes, "a count from 1"
        if contract.period_format is not None:
            form = contract.period_format
            moments, is_utc = _utc_or_local([_strptime(one, form) for one in distinct.to_pylist()])
            return moments, is_utc, codes, f'the format "{form}"'
        if self._style is None:
            sample = text[0].as_py()
            self._style = next((name for name, pattern in _ISO.items() if re.fullmatch(pattern, sample)), "")
        if not self._style:
            expected = "ISO 8601, such as 2026-01-31, or source.period_format in the recipe"
            return np.full(len(distinct), _NAT), False, codes, expected
        return _iso(distinct, self._style), "±" in self._style, codes, f"{self._style}, as in the first row"

    def _count(self, distinct: pa.Array) -> Periods:
        plain = pc.match_substring_regex(distinct, _COUNT)
        counts = pc.fill_null(pc.cast(pc.if_else(plain, distinct, None), pa.int64()), 0).to_numpy(zero_copy_only=False)
        most = MOST_SLOTS + 100 * self._num_rows
        needed = int(np.where(counts <= most, counts, 0).max())
        if needed > len(self._counted):
            self._counted = _periods_from(np.datetime64(str(self.contract.start), "us"), needed, self.grid)
        known = (counts > 0) & (counts <= len(self._counted))
        return np.where(known, self._counted[np.where(known, counts - 1, 0)], _NAT)


def _periods_from(start: np.datetime64, count: int, grid: Frequency) -> Periods:
    """The period at `start` and those that follow, as many as calendars hold."""
    if grid.calendar is not None:
        following = grid.between(start, _LAST_SESSION)
    else:
        possible = grid.steps_between(start, LAST_MOMENT - np.timedelta64(3660, "D"))
        following = grid.after(start, min(count, possible))
    return np.append(start, following[following > start])


def _folds(fold: pa.Array) -> npt.NDArray[np.int64]:
    """0 or 1, and -1 where it says neither."""
    text = pc.utf8_lower(texts(fold))
    is_first, is_second = (
        pc.is_in(text, value_set=pa.array(told)).to_numpy(zero_copy_only=False)
        for told in (["0", "0.0", "false"], ["1", "1.0", "true"])
    )
    return np.where(is_second, 1, np.where(is_first, 0, -1))


def _iso(distinct: pa.Array, style: str) -> Periods:
    """Texts of one style on their own clock, those with an offset on that of UTC; NaT where one has another style."""
    is_utc = "±" in style
    fits = pc.match_substring_regex(distinct, f"^({_ISO[style]})$")
    whole = pc.binary_join_element_wise(pc.if_else(fits, distinct, None), _REST.get(style, ""), "")
    try:
        stamps = pc.cast(whole, pa.timestamp("us", "UTC" if is_utc else None))
        return np.array(pc.cast(stamps, pa.timestamp("us")).to_numpy(zero_copy_only=False), "datetime64[us]")
    except pa.ArrowInvalid:
        return _utc_or_local([None if one is None else _fromisoformat(one) for one in whole.to_pylist()])[0]


def _utc_or_local(moments: list[datetime | None]) -> tuple[Periods, bool]:
    """Moments on the clock of UTC, or, where they have no offset, on their own."""
    naive = [one.astimezone(UTC).replace(tzinfo=None) if one and one.tzinfo else one for one in moments]
    return np.array(naive, "datetime64[us]"), any(one is not None and one.tzinfo is not None for one in moments)


def _strptime(text: str, form: str) -> datetime | None:
    try:
        return _representable(datetime.strptime(text, form))
    except (ValueError, OverflowError):
        return None


def _fromisoformat(text: str) -> datetime | None:
    try:
        return _representable(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _representable(moment: datetime) -> datetime:
    """The same moment, if it has a place in UTC."""
    return moment.astimezone(UTC) if moment.tzinfo else moment
