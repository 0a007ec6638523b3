"""A forecast: means and quantiles by series and step, made at one origin; and the facts of its quantile levels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.timeseries.frequency import Periods

#: the quantile levels (Q = 5) of every forecast, ascending
LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
#: the column of each level, in tables, views and files
QUANTILE_COLUMNS = ("lower_95", "lower_80", "median", "upper_80", "upper_95")
#: the index of each level on the quantile axis
LOWER_95, LOWER_80, MEDIAN, UPPER_80, UPPER_95 = range(5)
#: the quantiles of the standard normal distribution at LEVELS, exactly symmetric. `scipy.special.ndtri` differs in the
#: last bit at the lowest level, and published forecasts are hashed to the last bit: do not recompute them.
NORMAL_SCORES: npt.NDArray[np.float64] = np.array(
    [-1.959963984540054, -1.2815515655446004, 0.0, 1.2815515655446004, 1.959963984540054]
)
NORMAL_SCORES.setflags(write=False)
#: the method of a forecast that the network made
NETWORK = "lstm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """H steps for each of S series, from one origin.

    Raises:
        ValueError: a number is not finite, or quantiles cross.
    """

    series: tuple[str, ...]
    #: the last period before the first step
    origin: np.datetime64
    periods: Periods  # [H]
    mean: npt.NDArray[np.float64]  # [S, H]
    quantiles: npt.NDArray[np.float64]  # [S, H, Q], at LEVELS, ascending in Q
    #: for each series "lstm", or "fallback:" and the name of the baseline that stands in
    method: tuple[str, ...]
    #: for each series why a fallback stands in, what the network did not know, or why the interval has the baseline's
    #: width; None for its own forecast
    reason: tuple[str | None, ...]
    #: the forecast of the recipe's baseline from the same origin, to score against; NaN where it was not kept
    baseline: npt.NDArray[np.float64]  # [S, H]
    #: the unit of MASE: mean absolute seasonal difference up to the origin; 0: there is none; NaN: it was not kept
    scale: npt.NDArray[np.float64]  # [S]
    #: for each series how many of its first steps are the network's own although a fallback makes the later ones;
    #: empty: 0 for all
    network_steps: tuple[int, ...] = ()
    #: which series have similar volatility; None: it was not kept
    volatility_group: npt.NDArray[np.int64] | None = None  # [S]
    #: what multiplies the calibration of a typical series of the group; 0: nothing; None: it was not kept
    interval_factor: npt.NDArray[np.float64] | None = None  # [S]
    #: which intervals have the baseline's width around the network's median; None: none
    has_baseline_width: npt.NDArray[np.bool_] | None = None  # [S]

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean).all() and np.isfinite(self.quantiles).all()):
            raise ValueError("a forecast holds a number that is not finite")
        if (np.diff(self.quantiles, axis=-1) < 0).any():
            raise ValueError("the quantiles of a forecast cross")

    @property
    def num_network_steps(self) -> npt.NDArray[np.int64]:
        """For each series how many of its first steps are the network's own before those of a fallback: [S]."""
        return np.array(self.network_steps or (0,) * len(self.series), np.int64)

    @property
    def horizon(self) -> int:
        """Number of steps (H)."""
        return len(self.periods)

    @property
    def num_rows(self) -> int:
        """Rows in the forecast table: S x H."""
        return self.mean.size

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each series and step, in this order.

        The columns are series, period, step (from 1 on), mean, lower_95, lower_80, median, upper_80, upper_95, method
        and reason, which is missing where all of it is the network's.
        """
        num_series, horizon = self.mean.shape
        numbers = {"mean": self.mean, **{name: self.quantiles[:, :, q] for q, name in enumerate(QUANTILE_COLUMNS)}}
        return pd.DataFrame(
            {
                "series": _repeat_texts(self.series, horizon),
                "period": np.tile(self.periods, num_series),
                "step": np.tile(np.arange(1, horizon + 1), num_series),
                **{name: array.ravel() for name, array in numbers.items()},
                "method": self._texts_by_row(self.method, NETWORK),
                "reason": self._texts_by_row(self.reason, None),
            }
        )

    def _texts_by_row(self, texts: Sequence[str | None], of_network_steps: str | None) -> pd.Series[str]:
        """A text of each series for each of its steps, another one for the network's own steps before a fallback's."""
        rows = np.repeat(np.array(texts, object), self.horizon)
        is_network_step = np.arange(self.horizon) < self.num_network_steps[:, None]
        rows[is_network_step.ravel()] = of_network_steps
        return pd.Series(rows, dtype="str")

    @property
    def content_hash(self) -> str:
        """Hash of all published values in order of series name, the same after a round trip through the database."""
        # adding zero turns -0.0 into the 0.0 that SQLite returns
        numbers = np.concatenate([self.mean[:, :, None], self.quantiles], axis=2).astype("<f8") + 0.0
        periods = self.periods.astype("<i8").tobytes()
        order = sorted(range(len(self.series)), key=self.series.__getitem__)
        has_network_steps = any(self.network_steps)  # hashes of forecasts without them are as they always were
        parts = (
            f"{self.series[s]}\0{self.method[s]}\0{self.reason[s] or ''}\0".encode()
            + (f"{self.network_steps[s]}\0".encode() if has_network_steps else b"")
            + periods
            + numbers[s].tobytes()
            for s in order
        )
        return hashlib.sha256(b"".join(parts)).hexdigest()


def _repeat_texts(texts: Sequence[str | None], times: int) -> pd.Series[str]:
    return pd.Series(np.repeat(np.array(texts, object), times), dtype="str")
