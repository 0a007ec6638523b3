"""Which frequency the periods of a delivery have, where they are not on the grid of the recipe and it is certain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pandas.tseries.frequencies import to_offset

from pipeline.timeseries.frequency import Frequency, Periods

#: with fewer distinct periods, several frequencies would fit by chance
_FEWEST_PERIODS = 3
#: share of days of the weekend from which on they are no mistake, and the least number of days to judge by
_SHARE_OF_WEEKENDS, _FEWEST_DAYS = 0.2, 14
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def advise_frequency(periods: Periods, grid: Frequency) -> str | None:
    """Return advice on a frequency that has all periods, as part of a sentence; None if there is no certain one.

    Args:
        periods: all distinct periods of a delivery, of which some are not on the grid. [n]
        grid: the frequency of the recipe.
    """
    if grid.calendar is not None or grid.is_within_day or len(periods) < _FEWEST_PERIODS:
        return None
    alias = next((alias for alias in _similar(grid.alias) if Frequency(alias).on_grid(periods).all()), None)
    if alias is None or (alias == "D" and not _has_weekends(periods)):
        return None
    return f'all {len(periods)} periods of the source are on the frequency "{alias}": set frequency = "{alias}"'


def advise_business_days(periods: Periods, grid: Frequency) -> str | None:
    """Return advice where all days of a delivery are weekdays although the recipe forecasts every day; None elsewhere.

    Args:
        periods: all distinct periods of the delivery. [n]
        grid: the frequency of the recipe.
    """
    if grid.alias != "D" or grid.calendar is not None or len(periods) < _FEWEST_DAYS:
        return None
    if not np.is_busday(periods.astype("datetime64[D]")).all():
        return None
    return f'all {len(periods)} days are Mondays to Fridays: set frequency = "B", or weekends are gaps and are forecast'


def off_grid_rule(periods: Periods, grid: Frequency) -> str:
    """Return the rule that a period breaks which is not on the grid, with advice where a frequency is certain."""
    if grid.calendar is not None:
        return f"is not a {grid.meaning}"
    advice = advise_frequency(periods, grid)
    return f'is not on the frequency "{grid.alias}"' + (f"; {advice}" if advice else "")


def _similar(alias: str) -> Iterator[str]:
    """Yield the frequencies with periods of the same length that are named by another day."""
    offset = to_offset(alias)
    name, count = offset.base.freqstr.split("-")[0], str(offset.n) if offset.n > 1 else ""
    if name == "W":
        yield from (f"{count}W-{day}" for day in _WEEKDAYS)
    elif name.endswith(("MS", "ME")) and name not in ("SMS", "SME"):
        yield from (f"{count}{other}" for other in ("MS", "ME", "BMS", "BME"))
    elif name.endswith(("QS", "QE")):
        yield from (f"{count}QS-{month}" for month in _MONTHS[:3])
        yield from (f"{count}{other}-{month}" for other in ("QE", "BQS", "BQE") for month in _MONTHS[:-4:-1])
    elif name.endswith(("YS", "YE")):
        yield from (f"{count}{other}-{month}" for other in ("YS", "YE", "BYS", "BYE") for month in _MONTHS)
    elif name == "B" and not count:
        yield "D"


def _has_weekends(days: Periods) -> bool:
    return len(days) >= _FEWEST_DAYS and 1 - np.is_busday(days.astype("datetime64[D]")).mean() > _SHARE_OF_WEEKENDS
