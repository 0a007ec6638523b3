"""Tell the first from the second occurrence of local times that the clocks repeat, by the order of the rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from pipeline.ingest.timezones import local_to_utc
from pipeline.timeseries.frequency import Periods

#: rows so close to a repeated time show in which order a series is
_NEIGHBOURHOOD = np.timedelta64(12, "h")
#: share of the steps between neighbouring rows that have to go one way
_LEAST_ORDER = 0.7

Rows = npt.NDArray[np.int64]
Strings = npt.NDArray[np.object_]


@dataclass(slots=True)
class RepeatedHours:
    """Collects the rows around the hours that clocks repeat, and infers which occurrence each row is."""

    zone: ZoneInfo
    _rows: list[Rows] = field(default_factory=list)
    _series: list[Strings] = field(default_factory=list)
    _local: list[Periods] = field(default_factory=list)

    def add(self, local: Periods, series: Strings, first_row: int) -> None:
        """Collect what is needed of some rows.

        Args:
            local: local time of each row. [n]
            series: name of the series of each row. [n]
            first_row: number of the first of these rows in the delivery.
        """
        distinct, codes = np.unique(local, return_inverse=True)
        near = np.flatnonzero(_is_near_repeated(distinct, self.zone)[codes])
        self._rows.append(near + first_row)
        self._series.append(series[near])
        self._local.append(local[near])

    def infer(self) -> dict[int, int]:
        """Return 0 for the first and 1 for the second occurrence by the number of the row; unclear rows are left out."""
        if not self._rows:
            return {}
        rows, local = np.concatenate(self._rows), np.concatenate(self._local)
        _, series = np.unique(np.concatenate(self._series).astype(str), return_inverse=True)
        change = _group_by_change(local)
        folds: dict[int, int] = {}
        order = np.lexsort((rows, change, series))
        starts = np.flatnonzero(np.diff(series[order], prepend=-1) | np.diff(change[order], prepend=-1))
        for group in np.split(order, starts[1:]):
            folds.update(_infer_group(rows[group], local[group], self.zone))
        return folds


def _infer_group(rows: Rows, local: Periods, zone: ZoneInfo) -> dict[int, int]:
    """Infer the occurrences of one series around one change of the clocks; rows are in the order of the delivery."""
    is_repeated = _is_repeated(local, zone)
    others, counts = np.unique(local[~is_repeated], return_counts=True)
    if len(others) == 0 or (counts > 1).mean() > 0.5:
        return {}  # nothing shows the order, or the delivery repeats rows
    steps = np.diff(local).astype(np.int64)
    num_up, num_down = int((steps > 0).sum()), int((steps < 0).sum())
    if max(num_up, num_down) < _LEAST_ORDER * (num_up + num_down):
        return {}
    first, second = (0, 1) if num_up > num_down else (1, 0)
    folds: dict[int, int] = {}
    for moment in np.unique(local[is_repeated]):
        places = rows[local == moment]
        if len(places) == 2:
            folds.update({int(places[0]): first, int(places[1]): second})
    return folds


def _is_repeated(local: Periods, zone: ZoneInfo) -> npt.NDArray[np.bool_]:
    first, second = local_to_utc(local, zone)
    is_repeated: npt.NDArray[np.bool_] = (first != second) & ~np.isnat(first)
    return is_repeated


def _is_near_repeated(local: Periods, zone: ZoneInfo) -> npt.NDArray[np.bool_]:
    """Whether the clocks are set back near each local time: then more time passes around it than they show."""
    earlier, _ = local_to_utc(local - _NEIGHBOURHOOD, zone)
    _, later = local_to_utc(local + _NEIGHBOURHOOD, zone)
    is_near: npt.NDArray[np.bool_] = (later - earlier) > 2 * _NEIGHBOURHOOD  # NaT is not
    return is_near


def _group_by_change(local: Periods) -> Rows:
    """Return a number for each row [n] that rows around the same change share: changes are weeks apart."""
    order = np.argsort(local, kind="stable")
    numbers = np.empty(len(local), np.int64)
    gaps = np.diff(local[order], prepend=local[order][:1]) > 2 * _NEIGHBOURHOOD
    numbers[order] = np.cumsum(gaps)
    return numbers
