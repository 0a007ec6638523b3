"""The regular spacing of periods, with all arithmetic on steps.

A period is named by its start, a timestamp without zone that means UTC. Days of an exchange (`calendar = "XNYS"`) are
its sessions: the period after a Friday is Monday or, if that is a holiday, Tuesday.
"""

from __future__ import annotations

import math
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

#: a season within a day has at most so many periods: five minutes have the day as their season, one minute the hour
_MAX_PERIODS_WITHIN_DAY = 300
#: seasons of periods shorter than a day, the longest first
_SEASONS_WITHIN_DAY = tuple(pd.Timedelta(1, unit) for unit in ("D", "h", "min"))
_DAYS_PER_WEEK, _BUSINESS_DAYS_PER_WEEK, _WEEKS_PER_YEAR, _MONTHS_PER_YEAR = 7, 5, 52, 12
#: months of the calendar offsets, and half months, by the first letters of their alias
_MONTHS = {"BYS": 12, "BYE": 12, "YS": 12, "YE": 12, "BQS": 3, "BQE": 3, "QS": 3, "QE": 3}
_MONTHS |= {"BMS": 1, "BME": 1, "CBMS": 1, "CBME": 1, "MS": 1, "ME": 1, "WOM": 1, "LWOM": 1}
#: aliases that pandas 3 no longer has, with what replaces them
_RENAMED = {"M": "ME or MS", "BM": "BME or BMS", "CBM": "CBME or CBMS", "SM": "SME or SMS", "Q": "QE or QS"}
_RENAMED |= {"BQ": "BQE or BQS", "Y": "YE or YS", "A": "YE or YS", "AS": "YS", "BY": "BYE or BYS", "BA": "BYE or BYS"}
_RENAMED |= {"BAS": "BYS", "H": "h", "BH": "bh", "T": "min", "MIN": "min", "S": "s", "L": "ms", "U": "us", "N": "ns"}
_RENAMED |= {"w": "W", "d": "D", "b": "B"}

_MARGIN = pd.Timedelta(days=31)
#: sessions of exchanges are looked up within these years only
_CALENDAR_YEARS = (1900, 2200)


@dataclass(frozen=True, slots=True)
class Frequency:
    """The spacing of a pandas offset alias, or of the sessions of an exchange.

    Raises:
        InvalidRecipe: the alias or the calendar is not known.
    """

    alias: str
    calendar: str | None = None

    def __post_init__(self) -> None:
        replacement = _find_replacement(self.alias)
        if replacement is not None:
            raise InvalidRecipe(f'frequency "{self.alias}" is not known: it is written {replacement} today')
        try:
            forward = to_offset(self.alias).n > 0
        except ValueError:
            forward = False
        if not forward:
            raise InvalidRecipe(
                f'frequency "{self.alias}" is not known: expected a pandas offset alias such as MS, D, B or h'
            )
        if self.calendar is not None:
            _check_calendar(self.calendar)

    @property
    def season_length(self) -> int:
        """The usual number of steps per season, by what the frequency means; 1 if no season is usual for it.

        Periods within a day: the day, or the hour or minute where a day has more than 300 periods. Days: the week.
        Weeks, months and quarters: the year. Sessions of an exchange and business days: the week of five days.
        For example, `h` and `60min` have 24, `15min` 96, `min` 60, `D` 7, `B` 5, `W-MON` 52, `4W` 13, `MS` and `BME` 12,
        `3MS` 4.
        """
        if self.calendar is not None:
            return _BUSINESS_DAYS_PER_WEEK
        offset = to_offset(self.alias)
        if self.length is not None:
            return _season_within_day(self.length)
        code = offset.rule_code.split("-")[0]
        if code == "D":
            return _season_of_days(offset.n, _DAYS_PER_WEEK)
        if code in ("B", "C"):
            return _season_of_days(offset.n, _BUSINESS_DAYS_PER_WEEK)
        if code == "W":
            return _divide(_WEEKS_PER_YEAR, offset.n)
        if code in ("SMS", "SME"):
            return _divide(2 * _MONTHS_PER_YEAR, offset.n)
        if code in _MONTHS:
            return _divide(_MONTHS_PER_YEAR, offset.n * _MONTHS[code])
        return 1

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


def _season_within_day(length: pd.Timedelta) -> int:
    """Return the periods of a length in a day, an hour or a minute; in a week if a period is a whole day."""
    if length >= pd.Timedelta(1, "D"):
        return _season_of_days(length.days, _DAYS_PER_WEEK) if length % pd.Timedelta(1, "D") == pd.Timedelta(0) else 1
    for season in _SEASONS_WITHIN_DAY:
        if length < season and season % length == pd.Timedelta(0) and season // length <= _MAX_PERIODS_WITHIN_DAY:
            return int(season // length)
    return 1


def _season_of_days(num_days: int, days_per_week: int) -> int:
    """Return the periods after which the days of the week repeat; of whole weeks, the periods of a year."""
    if num_days % days_per_week == 0:
        return _divide(_WEEKS_PER_YEAR, num_days // days_per_week)
    return math.lcm(num_days, days_per_week) // num_days


def _divide(total: int, size: int) -> int:
    """Return how many parts of a size are the total; 1 if they do not divide it."""
    return total // size if total % size == 0 else 1


def _find_replacement(alias: str) -> str | None:
    """Return how an alias of earlier pandas versions is written today; None if it is no such alias."""
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(-[A-Za-z]{3})?", alias)
    if match is None or match[2] not in _RENAMED:
        return None
    anchor = (match[3] or "").upper()
    names = [f'"{match[1]}{name}{anchor}"' for name in _RENAMED[match[2]].split(" or ")]
    return " (ends of the periods) or ".join(names) + (" (starts)" if len(names) > 1 else "")


def _on_most_common(phases: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which phases [n] are the most common one; the smallest of several."""
    if len(phases) == 0:
        return np.zeros(0, dtype=bool)
    distinct, counts = np.unique(phases, return_counts=True)
    most_common: npt.NDArray[np.bool_] = phases == distinct[counts.argmax()]
    return most_common


def _micros(index: pd.DatetimeIndex) -> Periods:
    return cast("Periods", index.to_numpy().astype("datetime64[us]"))


def _check_calendar(name: str) -> None:
    import exchange_calendars

    names = exchange_calendars.get_calendar_names()
    if name not in names:
        similar = [code for code in names if code[:2] == name[:2].upper()]
        raise InvalidRecipe(
            f'calendar "{name}" is not known: expected an exchange code such as {", ".join(similar[:5] or ["XNYS", "XLON", "XAMS"])}'
        )


@lru_cache(maxsize=64)
def _sessions(calendar: str, first_year: int, last_year: int) -> Periods:
    import exchange_calendars

    calendar_class = type(exchange_calendars.get_calendar(calendar))
    first_year, last_year = (min(max(year, _CALENDAR_YEARS[0]), _CALENDAR_YEARS[1]) for year in (first_year, last_year))
    start, end = pd.Timestamp(first_year, 1, 1) - _MARGIN, pd.Timestamp(last_year, 12, 31) + _MARGIN
    earliest, latest = calendar_class.bound_min(), calendar_class.bound_max()
    bounded = cast("Callable[..., Any]", calendar_class)(
        start=start if earliest is None else max(start, earliest), end=end if latest is None else min(end, latest)
    )
    return _micros(bounded.sessions)
