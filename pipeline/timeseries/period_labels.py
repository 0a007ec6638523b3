"""How people read periods: days as days, hours in the zone of the recipe, which is named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from pipeline.text import format_period


@dataclass(frozen=True, kw_only=True, slots=True)
class PeriodLabels:
    """Writes the periods of one recipe, which are stored in UTC."""

    #: whether periods are hours or shorter; days and longer periods are local days and have no zone
    is_within_day: bool
    #: the zone in which hours are written; None: UTC
    zone: str | None = None

    @property
    def zone_name(self) -> str | None:
        """The zone of the texts; None for days."""
        return (self.zone or "UTC") if self.is_within_day else None

    @property
    def heading(self) -> str:
        """The heading of a column of periods: `period`, or `period (Europe/Amsterdam)`."""
        return f"period ({self.zone_name})" if self.zone_name else "period"

    def texts(self, periods: Iterable[np.datetime64]) -> list[str]:
        """Return each period as `2026-01-31`, or for hours as `2026-01-31 06:00`.

        Where the clocks change between them, hours have their distance from UTC: `2026-10-25 02:00+01:00`.
        """
        if not self.is_within_day:
            return [format_period(period).replace("T", " ") for period in periods]
        instants = [self._local(period) for period in periods]
        form = "minutes" if all(instant.second == instant.microsecond == 0 for instant in instants) else "auto"
        change = len({instant.utcoffset() for instant in instants}) > 1
        texts = [instant.replace(tzinfo=None).isoformat(" ", form) for instant in instants]
        return [text + (_offset(instant) if change else "") for text, instant in zip(texts, instants, strict=True)]

    def text(self, period: np.datetime64) -> str:
        """Return one period as in a sentence, an hour with its zone: `2026-01-31 06:00 (Europe/Amsterdam)`.

        An hour that the clocks repeat has its distance from UTC, too.
        """
        (text,) = self.texts([period])
        if self.zone_name is None:
            return text
        instant = self._local(period)
        repeated = instant.replace(fold=0).utcoffset() != instant.replace(fold=1).utcoffset()
        return f"{text}{_offset(instant) if repeated else ''} ({self.zone_name})"

    def _local(self, period: np.datetime64) -> datetime:
        instant: datetime = period.astype("datetime64[us]").item()
        return instant.replace(tzinfo=UTC).astimezone(ZoneInfo(self.zone or "UTC"))


def _offset(instant: datetime) -> str:
    offset = instant.utcoffset() or timedelta(0)
    hours, minutes = divmod(abs(int(offset.total_seconds())) // 60, 60)
    return f"{'-' if offset < timedelta(0) else '+'}{hours:02d}:{minutes:02d}"
