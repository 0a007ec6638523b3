"""What a provider of prices returns: the days of one ticker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    """Prices of one ticker on one day; None where the provider has no value."""

    date: date
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None


#: takes a ticker and a first day; returns the finished days from that day on, and whether older days were revised
FetchDays = Callable[[str, date], tuple[list[Day], bool]]
