"""Observations: values of named series by period."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.frequency import Periods

#: the name of the variable that is forecast; covariates are named like their columns
TARGET = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observations:
    """Values in order of series and period; NaN is a gap."""

    names: tuple[str, ...]  # [S]
    series: npt.NDArray[np.int64]  # [n], indices in names
    period: Periods  # [n]
    value: npt.NDArray[np.float64]  # [n]

    def __len__(self) -> int:
        return len(self.value)
