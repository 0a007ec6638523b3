"""Rows on their way in: as a source delivers them, and as they are taken in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.frequency import Periods

#: the variable that is forecast; the others are covariates, named like their columns
TARGET = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observations:
    """Values by series and period, in that order."""

    names: tuple[str, ...]
    series: npt.NDArray[np.int64]  # [n], positions in names
    period: Periods  # [n]
    value: npt.NDArray[np.float64]  # [n]

    def __len__(self) -> int:
        return len(self.value)
