"""Scaling: what brings series of any size into the range where a network learns.

Each window gets a centre, a scale and a base: the network sees `(context - centre) / scale` and is
asked for `(target - base) / scale`. The inverse is exact. Scales of zero count as 1, so a constant
series stays constant.

| kind | centre | scale | base |
|---|---|---|---|
| seasonal | mean of the window's last season | mean absolute seasonal difference in the window | value one season before |
| last | last value of the window | mean absolute difference in the window | last value of the window |
| min-max | the series' minimum up to the cutoff | its range up to the cutoff | centre |
| standard | the series' mean up to the cutoff | its standard deviation up to the cutoff | centre |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.panel import Panel

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowScale:
    """How N windows were scaled."""

    centre: Array  # [N, 1]
    scale: Array  # [N, 1], positive
    base: Array  # [N, H]

    def inputs(self, context: Array) -> Array:
        """What the network sees: [N, L, 1]."""
        return ((context - self.centre) / self.scale)[:, :, None]

    def targets(self, target: Array) -> Array:
        """What the network is asked for: [N, H]."""
        return (target - self.base) / self.scale

    def values(self, outputs: Array) -> Array:
        """The network's outputs in the units of the series: [N, H]."""
        return outputs * self.scale + self.base


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaler:
    """Per-series parameters fitted up to the cutoff, or none when each window scales itself."""

    kind: str
    season: int
    horizon: int
    #: series, centre and scale where the kind is fitted per series
    fitted: dict[str, tuple[float, float]]

    def of_windows(self, context: Array, names: tuple[str, ...], series: npt.NDArray[np.int64]) -> WindowScale:
        """The scale of each window from its own context [N, L] and its series' fitted parameters.

        `names[series[n]]` is the series of window n. A series that was not there at the fit takes the
        mean of the others' parameters.
        """
        if self.kind in ("seasonal", "last"):
            lag = self.season if self.kind == "seasonal" else 1
            season = context[:, -lag:]  # [N, m]
            scale = np.abs(context[:, lag:] - context[:, :-lag]).mean(axis=1, keepdims=True)  # [N, 1]
            base = season[:, np.arange(self.horizon) % lag]  # [N, H]
            return WindowScale(centre=season.mean(axis=1, keepdims=True), scale=_positive(scale), base=base)
        unseen = tuple(np.mean(list(self.fitted.values()), axis=0))
        parameters = np.array([self.fitted.get(name, unseen) for name in names])[series]  # [N, 2]
        centre, scale = parameters[:, :1], parameters[:, 1:]
        return WindowScale(centre=centre, scale=scale, base=np.repeat(centre, self.horizon, axis=1))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the model directory."""
        return {
            "kind": self.kind,
            "season": self.season,
            "horizon": self.horizon,
            "fitted": {k: list(v) for k, v in self.fitted.items()},
        }


def fit_scaler(panel: Panel, *, kind: str, season: int, horizon: int) -> Scaler:
    """Fit on all of a panel; give it the panel up to the cutoff."""
    fitted = {}
    if kind in ("min-max", "standard"):
        fitted = {name: _parameters(kind, panel.of(s)) for s, name in enumerate(panel.series)}
    return Scaler(kind=kind, season=season, horizon=horizon, fitted=fitted)


def scaler_from_dict(fields: dict[str, Any]) -> Scaler:
    """The scaler that `as_dict` wrote down."""
    fitted = {name: (float(centre), float(scale)) for name, (centre, scale) in fields["fitted"].items()}
    return Scaler(kind=fields["kind"], season=int(fields["season"]), horizon=int(fields["horizon"]), fitted=fitted)


def _parameters(kind: str, values: Array) -> tuple[float, float]:
    present = values[~np.isnan(values)]
    span = float(present.max() - present.min())
    if span == 0:
        return float(present[0]), 1.0
    if kind == "min-max":
        return float(present.min()), span
    return float(present.mean()), float(present.std())


def _positive(scale: Any) -> Any:
    return np.where(scale > 0, scale, 1.0)
