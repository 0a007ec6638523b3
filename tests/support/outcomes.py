"""Series of many kinds, what a simple forecaster says of them from every origin, and how often that holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.forecasting.calibration import WINDOW, Calibration, Outcomes, conformity_ratios, fit_calibration
from pipeline.timeseries.forecast import LEVELS

Array = npt.NDArray[np.float64]

#: quantiles of the normal distribution
NORMAL = np.array([-1.959963984540054, -1.2815515655446004, 0.0, 1.2815515655446004, 1.959963984540054])
SEASONS = (4, 7, 12)
#: periods of each series, those before the first origin, and that of the planted change
LENGTH, FIRST, CHANGE = 330, 50, 180


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What was said of S series from T origins, and what was then observed."""

    quantiles: Array  # [S, T, H, Q], raw; NaN before the first origin
    observed: Array  # [S, T, H], NaN after the last period

    @property
    def horizon(self) -> int:
        return self.observed.shape[2]

    def outcomes(self, series: npt.NDArray[np.int64], origin: int) -> Outcomes:
        """Of some series, what was observed up to an origin."""
        parts = [
            (h, np.arange(max(FIRST, origin - h - 2 * WINDOW), origin - h + 1)) for h in range(1, self.horizon + 1)
        ]
        chosen = [np.ix_(series, origins, [h - 1]) for h, origins in parts]
        quantiles = np.concatenate([self.quantiles[one].reshape(-1, len(LEVELS)) for one in chosen])
        observed = np.concatenate([self.observed[one].ravel() for one in chosen])
        return Outcomes(
            origin=np.concatenate([np.tile(origins, len(series)) for _, origins in parts]),
            step=np.concatenate([np.full(len(origins) * len(series), h) for h, origins in parts]),
            ratio=conformity_ratios(observed, quantiles),
        )

    def calibration(self, series: npt.NDArray[np.int64], origin: int) -> Calibration | None:
        """From what became of the forecasts of some series until an origin."""
        return fit_calibration(self.outcomes(series, origin), horizon=self.horizon)

    def inside(self, series: npt.NDArray[np.int64], origin: int, calibration: Calibration | None) -> Array:
        """Whether each value fell inside the 80 % and the 95 % interval: [S, H, 2]."""
        quantiles, observed = self.quantiles[series, origin], self.observed[series, origin]
        if calibration is not None:
            quantiles = calibration.apply(quantiles)
        return np.stack(
            [(quantiles[..., q] <= observed) & (observed <= quantiles[..., -1 - q]) for q in (1, 0)], axis=2
        )


def replay(*, num_series: int, horizon: int, width: float, change: float = 1.0) -> Replay:
    """Seeded series, forecast by the mean of three seasons with intervals that are wrong and as wide at each step.

    Args:
        num_series: a fifth each with white noise, with noise that swells and ebbs, with heavy tails, with errors that
            go on, and with both of the last.
        horizon: H.
        width: how wide the intervals are, as a share of those of the noise alone.
        change: what the noise is multiplied by from `CHANGE` on.
    """
    told = [_series(np.random.default_rng(seed), ("white", "swelling", "heavy", "lasting", "both")[seed % 5], change)
            for seed in range(num_series)]  # fmt: skip
    observed = np.full((num_series, LENGTH, horizon), np.nan)
    for s, (values, _, _) in enumerate(told):
        for h in range(1, horizon + 1):
            observed[s, :-h, h - 1] = values[h:]
    median = np.stack([_means(values, season, horizon) for values, season, _ in told])
    size = np.array([size for _, _, size in told])
    return Replay(quantiles=median[..., None] + width * size[:, None, None, None] * NORMAL, observed=observed)


def _series(rng: np.random.Generator, kind: str, change: float) -> tuple[Array, int, float]:
    season, size, time = int(rng.choice(SEASONS)), float(rng.uniform(0.5, 5)), np.arange(LENGTH)
    noise = rng.standard_t(3, LENGTH) if kind in ("heavy", "both") else rng.normal(size=LENGTH)
    if kind == "swelling":
        noise *= 1 + 0.8 * np.sin(2 * np.pi * time / rng.integers(20, 60))
    noise *= size * np.where(time >= CHANGE, change, 1.0)
    lasting = 0.7 if kind in ("lasting", "both") else float(rng.uniform(0, 0.3))
    for t in range(1, LENGTH):
        noise[t] += lasting * noise[t - 1]
    return 50 + rng.normal(0, 3, season)[time % season] + noise, season, size


def _means(values: Array, season: int, horizon: int) -> Array:
    means = np.full((LENGTH, horizon), np.nan)
    for h in range(1, horizon + 1):
        nearest = 1 + (h - 1) // season
        origins = np.arange(FIRST, LENGTH)
        means[FIRST:, h - 1] = np.mean([values[origins + h - season * k] for k in range(nearest, nearest + 3)], axis=0)
    return means
