"""The regular spacing of periods, with all arithmetic on steps.

A period is named by its start, or by its last day where the frequency says so (ME, QE, W-SUN): a timestamp without
zone that means UTC. Days of an exchange (`calendar = "XNYS"`) are its sessions, and those of a country
(`calendar = "DE"`, or `"DE-BY"` for a part of it) its working days without bank holidays: the period after a Friday is
Monday or, if that is a holiday, Tuesday.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import Tick

from pipeline.errors import InvalidRecipe
from pipeline.text import counted

Periods = npt.NDArray[np.datetime64]

#: steps per season as earlier releases looked them up, by the alias without its anchor
_EARLIER_SEASONS = {"YS": 1, "YE": 1, "QS": 4, "QE": 4, "MS": 12, "ME": 12, "W": 52, "D": 7, "B": 5, "h": 24, "min": 60}
#: the usual season of periods of at least so many seconds, and of shorter ones: the cycle that they go through
_CYCLES_WITHIN_DAY = ((300, "1D"), (10, "1h"), (1, "1min"))
#: months of one period of the frequencies that count months, by the name without its anchor
_MONTHS = {
    **dict.fromkeys(("MS", "ME", "BMS", "BME", "CBMS", "CBME"), 1),
    **dict.fromkeys(("QS", "QE", "BQS", "BQE"), 3),
    **dict.fromkeys(("HYS", "HYE", "BHYS", "BHYE"), 6),
    **dict.fromkeys(("YS", "YE", "BYS", "BYE"), 12),
}
#: how pandas 3 writes what it wrote otherwise before, and what that means
_RENAMED = {
    "M": '"ME" (end of month) or "MS" (start of month)',
    "Q": '"QE" (end of quarter) or "QS" (start of quarter)',
    **dict.fromkeys(("Y", "A"), '"YE" (end of year) or "YS" (start of year)'),
    "AS": '"YS" (start of year)',
    "BM": '"BME" (last business day of the month) or "BMS" (first one)',
    "BQ": '"BQE" (last business day of the quarter) or "BQS" (first one)',
    **dict.fromkeys(("BY", "BA"), '"BYE" (last business day of the year) or "BYS" (first one)'),
    "BAS": '"BYS" (first business day of the year)',
    "CBM": '"CBME" or "CBMS"',
    "SM": '"SME" or "SMS"',
    "H": '"h" (hour)',
    **dict.fromkeys(("BH",), '"bh" (business hour)'),
    "T": '"min" (minute)',
    "S": '"s" (second)',
    "L": '"ms" (millisecond)',
    "U": '"us" (microsecond)',
    "N": '"ns" (nanosecond)',
    "m": '"MS" (start of month), "ME" (end of month) or "min" (minute)',
    "q": '"QS" (start of quarter) or "QE" (end of quarter)',
    **dict.fromkeys(("y", "a"), '"YS" (start of year) or "YE" (end of year)'),
}
_WEEKDAYS = {
    "MON": "Monday",
    "TUE": "Tuesday",
    "WED": "Wednesday",
    "THU": "Thursday",
    "FRI": "Friday",
    "SAT": "Saturday",
    "SUN": "Sunday",
}
#: by name, one period, several, and how they are named
_WORDS = {
    "us": ("microsecond", "microseconds", ""),
    "ms": ("millisecond", "milliseconds", ""),
    "s": ("second", "seconds", ""),
    "min": ("minute", "minutes", ""),
    "h": ("hour", "hours", ""),
    "D": ("day", "days", ""),
    "B": ("business day", "business days", ""),
    "C": ("business day", "business days", ""),
    "W": ("week", "weeks", "named by a {anchor}"),
    "MS": ("month", "months", "named by the first day"),
    "ME": ("month", "months", "named by the last day"),
    "BMS": ("month", "months", "named by the first business day"),
    "BME": ("month", "months", "named by the last business day"),
    "QS": ("quarter", "quarters", "named by the first day"),
    "QE": ("quarter", "quarters", "named by the last day"),
    "BQS": ("quarter", "quarters", "named by the first business day"),
    "BQE": ("quarter", "quarters", "named by the last business day"),
    "HYS": ("half year", "half years", "named by the first day"),
    "HYE": ("half year", "half years", "named by the last day"),
    "YS": ("year", "years", "named by the first day"),
    "YE": ("year", "years", "named by the last day"),
    "BYS": ("year", "years", "named by the first business day"),
    "BYE": ("year", "years", "named by the last business day"),
}
_COUNTRY = re.compile(r"[A-Z]{2}(-.+)?")
_OLD_ALIAS = re.compile(r"\s*(?P<count>[0-9]*)\s*(?P<name>[A-Za-z]+)(?P<anchor>-[A-Z]+)?\s*")

_MARGIN = pd.Timedelta(days=31)
#: sessions of exchanges and business days are looked up within these years only
_CALENDAR_YEARS = (1900, 2200)


@dataclass(frozen=True, slots=True, eq=False)
class Frequency:
    """The spacing of a pandas offset alias, of the sessions of an exchange, or of the business days of a country.

    Raises:
        InvalidRecipe: the alias or the calendar is not known.
    """

    alias: str
    calendar: str | None = None

    def __post_init__(self) -> None:
        try:
            forward = to_offset(self.alias).n > 0
        except ValueError:
            _refuse_earlier_spelling(self.alias)
            forward = False
        if not forward:
            raise InvalidRecipe(
                f'frequency "{self.alias}" is not known: expected a pandas offset alias such as MS, D, B or h'
            )
        if self.calendar is not None:
            _check_calendar(self.calendar)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same periods, however they are written: 1h, 60min and h are one frequency."""
        return isinstance(other, Frequency) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str | int, str | None]:
        offset = to_offset(self.alias)
        if self.calendar is not None:
            return "D", self.calendar  # B and D are the same sessions
        return pd.Timedelta(offset).value if isinstance(offset, Tick) else offset.freqstr, None

    @property
    def is_daily(self) -> bool:
        """Whether the periods are days, or business days."""
        return to_offset(self.alias).freqstr in ("B", "D")

    @property
    def is_yearly(self) -> bool:
        """Whether a period is a year."""
        offset = to_offset(self.alias)
        return offset.n == 1 and offset.base.freqstr.partition("-")[0] in ("YS", "YE", "BYS", "BYE")

    @property
    def season_length(self) -> int:
        """The usual number of periods per season, by what the frequency means; 1 if no season is usual for it.

        Days and shorter periods have the season of a day or a week, longer ones that of a year. Where a day has more
        than 288 periods, the season is an hour (minutes, ten seconds) or a minute (seconds).
        """
        if self.calendar is not None:
            return 5
        offset = to_offset(self.alias)
        if isinstance(offset, Tick):
            return _season_within_day(pd.Timedelta(offset))
        name, count = offset.base.freqstr.split("-")[0], offset.n
        if name in _MONTHS:
            return _whole(12, _MONTHS[name] * count)
        if name == "W":
            return _whole(52, count)
        if name in ("SMS", "SME"):
            return _whole(24, count)
        days_of_week = {"D": 7, "B": 5, "C": 5}.get(name)
        if days_of_week is None:
            return 1
        return _whole(52, count // days_of_week) if count % days_of_week == 0 else _whole(days_of_week, count)

    @property
    def meaning(self) -> str:
        """What one period is, in words: 15 minutes, calendar month named by its last day, session of XNYS."""
        if self.calendar is not None:
            return (
                f"session of {self.calendar}" if not is_country(self.calendar) else f"business day of {self.calendar}"
            )
        offset = to_offset(self.alias)
        count, (name, _, anchor) = offset.n, offset.base.freqstr.partition("-")
        words = _WORDS.get(name)
        if words is None:
            return offset.freqstr
        singular, plural, label = words
        label = label.format(anchor=_WEEKDAYS.get(anchor))
        return (f"{count} {plural}" if count > 1 else singular) + (f" {label}" if label else "")

    @property
    def is_named_by_end(self) -> bool:
        """Whether a period is named by its last day: ME, QE, YE, and weeks named by a Friday, Saturday or Sunday."""
        if self.calendar is not None:
            return False
        name, _, anchor = to_offset(self.alias).base.freqstr.partition("-")
        return (name in _MONTHS and name.endswith("E")) or (name == "W" and anchor in ("FRI", "SAT", "SUN"))

    def first_days(self, periods: Periods) -> Periods:
        """Return the first day of each period: its name, or where it is named by its last day the day it begins: [n]."""
        if not self.is_named_by_end:
            return periods
        offset = to_offset(self.alias)
        name = offset.base.freqstr.split("-")[0]
        if name == "W":
            return periods - np.timedelta64(7 * offset.n - 1, "D")
        return cast(
            "Periods", (periods.astype("datetime64[M]") - (_MONTHS[name] * offset.n - 1)).astype("datetime64[us]")
        )

    @property
    def is_within_day(self) -> bool:
        """Whether periods are hours or shorter, which are instants; days and longer periods are local days."""
        return self.length is not None

    @property
    def length(self) -> pd.Timedelta | None:
        """Duration of a period; None for days and longer periods, whose durations differ."""
        offset = to_offset(self.alias)
        return pd.Timedelta(offset) if self.calendar is None and isinstance(offset, Tick) else None

    def between(self, start: np.datetime64, end: np.datetime64) -> Periods:
        """Return all periods from `start` to `end`, both included."""
        if self.calendar is not None:
            sessions = _sessions(self.calendar, pd.Timestamp(start).year, pd.Timestamp(end).year)
            return sessions[(sessions >= start) & (sessions <= end)]
        return _micros(pd.date_range(start, end, freq=self.alias))

    def after(self, origin: np.datetime64, steps: int) -> Periods:
        """Return the first `steps` periods after `origin`: [steps].

        Raises:
            InvalidRecipe: the calendar of the exchange does not reach so far.
        """
        first = pd.Timestamp(origin)
        if self.calendar is None:
            following = _micros(pd.date_range(first, periods=steps + 2, freq=self.alias))
            return following[following > origin][:steps]
        years = 2 + steps // 200
        sessions = _sessions(self.calendar, first.year, first.year + years)
        following = sessions[sessions > origin][:steps]
        if len(following) < steps:
            raise InvalidRecipe(
                f"calendar {self.calendar} knows {counted(len(following), 'session')} after {str(origin)[:10]}, expected {steps}: "
                "shorten horizon, or bring exchange-calendars up to date"
            )
        return following

    def end_after(self, origin: np.datetime64, steps: int) -> np.datetime64:
        """Return the instant at which the period so many steps after `origin` has ended."""
        if self.is_named_by_end:
            return cast("np.datetime64", self.after(origin, steps)[-1] + np.timedelta64(1, "D"))
        return cast("np.datetime64", self.after(origin, steps + 1)[-1])

    def steps_between(self, start: np.datetime64, end: np.datetime64) -> int:
        """Return about how many steps lie between two periods, without listing them."""
        first = pd.Timestamp("2000-01-03")
        step = (first + 100 * to_offset("D" if self.calendar else self.alias) - first) / 100
        return int((end - start) / step.to_timedelta64())

    def on_grid(self, periods: Periods) -> npt.NDArray[np.bool_]:
        """Return for each of n periods whether it is one of this frequency: [n].

        Some frequencies do not say where they begin, such as every second day, or hours at some minute. Then the phase
        that most of the periods have is the right one.
        """
        if len(periods) == 0:
            return np.zeros(0, dtype=bool)
        if self.calendar is not None:
            return np.isin(periods, self.between(periods.min(), periods.max()))
        offset = to_offset(self.alias)
        if isinstance(offset, Tick):
            return _on_most_common(periods.astype(np.int64) % (pd.Timedelta(offset).value // 1000))
        days = periods.astype("datetime64[D]")
        every_day = _micros(pd.date_range(days.min(), days.max(), freq=offset.base))  # as if offset.n were 1
        is_on_grid = np.isin(days, every_day) & _on_most_common((periods - days).astype(np.int64))
        position = np.searchsorted(every_day, days[is_on_grid])
        is_on_grid[is_on_grid] = _on_most_common(position % offset.n)
        return is_on_grid


def earlier_season_length(alias: str, calendar: str | None) -> int:
    """Return the season that earlier releases took for a recipe without one: stored runs were made with it."""
    return 5 if calendar else _EARLIER_SEASONS.get(alias.split("-")[0], 1)


def _refuse_earlier_spelling(alias: str) -> None:
    """Answer an alias that pandas had before version 3 with the one that it has now."""
    match = _OLD_ALIAS.fullmatch(alias)
    replacement = _RENAMED.get(match["name"]) if match else None
    if replacement is not None:
        raise InvalidRecipe(f'frequency "{alias}" is written {replacement} in pandas 3')


def _season_within_day(length: pd.Timedelta) -> int:
    seconds = length.total_seconds()
    cycle = next((unit for shortest, unit in _CYCLES_WITHIN_DAY if seconds >= shortest), None)
    if cycle is None:
        return 1
    of_cycle = _whole(pd.Timedelta(cycle).value, length.value)
    return of_cycle if of_cycle > 1 else _whole(pd.Timedelta("7D").value, length.value)


def _whole(cycle: int, length: int) -> int:
    """Return how often a length goes into a cycle; 1 if not a whole number of times."""
    return cycle // length if cycle % length == 0 else 1


def _on_most_common(phases: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which phases [n] are the most common one; the smallest of several."""
    if len(phases) == 0:
        return np.zeros(0, dtype=bool)
    distinct, counts = np.unique(phases, return_counts=True)
    most_common: npt.NDArray[np.bool_] = phases == distinct[counts.argmax()]
    return most_common


def _micros(index: pd.DatetimeIndex) -> Periods:
    return cast("Periods", index.to_numpy().astype("datetime64[us]"))


def is_country(calendar: str) -> bool:
    """Whether a calendar is that of a country (DE) or of a part of it (DE-BY), not that of an exchange."""
    return bool(_COUNTRY.fullmatch(calendar))


def _check_calendar(name: str) -> None:
    if is_country(name):
        _check_country(name)
        return
    import exchange_calendars

    names = exchange_calendars.get_calendar_names()
    if name not in names:
        similar = [code for code in names if code[:2] == name[:2].upper()]
        raise InvalidRecipe(
            f'calendar "{name}" is not known: expected an exchange code such as {", ".join(similar[:5] or ["XNYS", "XLON", "XAMS"])}, '
            "or a country such as DE or DE-BY"
        )


def _check_country(name: str) -> None:
    import holidays

    country, _, part = name.partition("-")
    parts = holidays.list_supported_countries().get(country)
    if parts is None:
        raise InvalidRecipe(
            f'calendar "{name}" is not known: expected the two letters of a country, such as DE or US, or an exchange code such as XNYS'
        )
    if part and part not in parts:
        expected = f"one of {', '.join(parts)}" if parts else f"{country} alone, which has no parts"
        raise InvalidRecipe(f'calendar "{name}" is not known: "{part}" is no part of {country}; expected {expected}')


@lru_cache(maxsize=64)
def _sessions(calendar: str, first_year: int, last_year: int) -> Periods:
    """Return the sessions of an exchange, or the business days of a country, in these years and a month around them."""
    first_year, last_year = (min(max(year, _CALENDAR_YEARS[0]), _CALENDAR_YEARS[1]) for year in (first_year, last_year))
    if is_country(calendar):
        years = range(first_year - 1, last_year + 2)
        return np.concatenate([_business_days(calendar, year) for year in years])
    import exchange_calendars

    calendar_class = type(exchange_calendars.get_calendar(calendar))
    start, end = pd.Timestamp(first_year, 1, 1) - _MARGIN, pd.Timestamp(last_year, 12, 31) + _MARGIN
    earliest, latest = calendar_class.bound_min(), calendar_class.bound_max()
    bounded = cast("Callable[..., Any]", calendar_class)(
        start=start if earliest is None else max(start, earliest), end=end if latest is None else min(end, latest)
    )
    return _micros(bounded.sessions)


@lru_cache(maxsize=1024)
def _business_days(calendar: str, year: int) -> Periods:
    """Return the days of a year that are neither weekend nor a public or bank holiday of a country."""
    import holidays

    country, _, part = calendar.partition("-")
    categories = set(holidays.country_holidays(country).supported_categories) & {"public", "bank"}
    closed = holidays.country_holidays(country, subdiv=part or None, years=year, categories=tuple(sorted(categories)))
    days = pd.date_range(f"{year}-01-01", f"{year}-12-31")
    is_weekend = days.day_of_week.isin(list(closed.weekend)) & ~days.isin(pd.to_datetime(list(closed.weekend_workdays)))
    return _micros(days[~is_weekend & ~days.isin(pd.to_datetime(list(closed)))])
