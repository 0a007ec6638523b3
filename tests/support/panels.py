"""The one way in which tests make a panel out of rows of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from string import ascii_lowercase
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.panel import Panel, panel_from_observations

Row = Sequence[float] | npt.NDArray[np.float64]


def panel_of(
    rows: Mapping[str, Row] | Sequence[Row],
    *,
    frequency: str = "MS",
    start: str = "2020-01-01",
    align: Literal["start", "end"] = "start",
    first: Sequence[int] = (),
    as_of: datetime | None = None,
) -> Panel:
    """A panel with one series a row; NaN is a gap, and gaps at the ends are dropped.

    Args:
        rows: by name, or in order; then they are called a, b, c …
        frequency: of the periods.
        start: the first period of the longest row.
        align: whether all rows start, or end, at the same period.
        first: instead of `align`, the position at which each row starts.
        as_of: the instant whose state of knowledge the panel is.
    """
    by_name = dict(rows) if isinstance(rows, Mapping) else {_name(n): row for n, row in enumerate(rows)}
    lengths = np.array([len(row) for row in by_name.values()])
    starts = np.array(first) if len(first) else lengths.max() - lengths if align == "end" else np.zeros_like(lengths)
    num_periods = int((starts + lengths).max())
    grid = Frequency(frequency)
    origin = np.datetime64(start, "us")
    periods = np.append(origin, grid.after(origin, num_periods - 1))
    position = np.concatenate([np.arange(begin, begin + count) for begin, count in zip(starts, lengths, strict=True)])
    values = np.concatenate([np.asarray(row, float) for row in by_name.values()])
    series = np.repeat(np.arange(len(lengths)), lengths)
    return panel_from_observations(list(by_name), series, periods[position], values, frequency=grid, as_of=as_of)


def _name(n: int) -> str:
    return ascii_lowercase[n] if n < len(ascii_lowercase) else f"z{n:04d}"
