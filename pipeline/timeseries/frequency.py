"""The regular spacing of periods, with all arithmetic on steps.

A period is named by its start, a timestamp without zone that means UTC. Days of an exchange (`calendar = "XNYS"`) are
its sessions: the period after a Friday is Monday or, if that is a holiday, Tuesday.
"""

from __future__ import annotations

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

#: Steps per season of the usual frequencies, by the alias without its anchor.
SEASON_LENGTHS = {"YS": 1, "YE": 1, "QS": 4, "QE": 4, "MS": 12, "ME": 12, "W": 52, "D": 7, "B": 5, "h": 24, "min": 60}

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
        """The usual number of steps per season; 1 if no season is usual for this frequency."""
        return SEASON_LENGTHS.get(self.alias.split("-")[0], 1)

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
