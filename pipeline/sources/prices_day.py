"""One day of one ticker, and how a provider is asked for days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    """One day of one ticker; what the provider does not know is none."""

    date: date
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None


#: the finished days of a ticker from one on, and whether older ones are no longer what they were
Ask = Callable[[str, date], tuple[list[Day], bool]]
