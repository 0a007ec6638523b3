"""A forecast: values by series, step and quantile level, made at one origin."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.frequency import Periods

#: the quantile levels (Q = 5) of every forecast, ascending
LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
#: the column of each level, in tables, views and files
QUANTILE_COLUMNS = ("lower_95", "lower_80", "median", "upper_80", "upper_95")
#: the index of each level on the quantile axis
LOWER_95, LOWER_80, MEDIAN, UPPER_80, UPPER_95 = range(5)
#: the quantiles of the standard normal distribution at LEVELS, exactly symmetric. `scipy.special.ndtri` differs in the
#: last bit at the lowest level, and published forecasts are hashed to the last bit: do not compute them anew.
NORMAL_SCORES: npt.NDArray[np.float64] = np.array(
    [-1.959963984540054, -1.2815515655446004, 0.0, 1.2815515655446004, 1.959963984540054]
)
NORMAL_SCORES.setflags(write=False)
#: the method of a forecast that the network made
NETWORK = "lstm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What is published: H steps for each of S series.

    Raises:
        ValueError: a number is not finite, or quantiles cross.
    """

    series: tuple[str, ...]
    origin: np.datetime64
    periods: Periods  # [H]
    mean: npt.NDArray[np.float64]  # [S, H]
    quantiles: npt.NDArray[np.float64]  # [S, H, Q], ascending in Q
    #: "lstm", or "fallback:" and the baseline that stood in, for each series
    method: tuple[str, ...]
    #: why a fallback stood in; None for the network's own
    reason: tuple[str | None, ...]
    #: what the recipe's baseline says from the same origin, to be compared with later; NaN where it was not kept
    baseline: npt.NDArray[np.float64]  # [S, H]
    #: mean absolute seasonal difference up to the origin, the unit of MASE; 0: there is none; NaN: it was not kept
    scale: npt.NDArray[np.float64]  # [S]

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean).all() and np.isfinite(self.quantiles).all()):
            raise ValueError("a forecast holds a number that is not finite")
        if (np.diff(self.quantiles, axis=-1) < 0).any():
            raise ValueError("the quantiles of a forecast cross")

    @property
    def horizon(self) -> int:
        """Number of steps (H)."""
        return len(self.periods)

    @property
    def num_rows(self) -> int:
        """Rows in the forecast table: S x H."""
        return self.mean.size

    @property
    def content_hash(self) -> str:
        """Hash of all published values, the same after a round trip through the database."""
        # adding zero makes -0.0 the 0.0 that SQLite gives back
        numbers = np.concatenate([self.mean[:, :, None], self.quantiles], axis=2).astype("<f8") + 0.0
        periods = self.periods.astype("<i8").tobytes()
        order = sorted(range(len(self.series)), key=self.series.__getitem__)
        parts = (
            f"{self.series[s]}\0{self.method[s]}\0{self.reason[s] or ''}\0".encode() + periods + numbers[s].tobytes()
            for s in order
        )
        return hashlib.sha256(b"".join(parts)).hexdigest()
