"""Scaling of values to numbers that one network can read for series of any size, and the exact inverse.

The network reads `(x - centre) / scale`, or logarithms. The parameters are those of each window, its mean and its mean
magnitude, or those of the series, fitted up to the cutoff. All is in double precision: afterwards single precision is
enough, also for what the network scales itself (pipeline/models/window_scaling.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """A fitted scaling; the names of the fields are keys of forecaster.json."""

    #: seasonal, last, mean, standard, min-max or log
    kind: str
    #: whether parameters are those of the series, fitted up to the cutoff, or those of each window
    per_series: bool = False
    #: whether the network reads logarithms
    logarithms: bool = False
    season: int = 1
    #: centre and scale by name of the series
    fitted: dict[str, tuple[float, float]] = field(default_factory=dict, hash=False)

    @property
    def kind_alone(self) -> Scaling:
        """The same scaling without what was fitted on series."""
        return replace(self, season=1, fitted={})

    @property
    def is_centred(self) -> bool:
        """Whether the mean of a window is subtracted from its values."""
        return not self.logarithms and self.kind != "mean"

    def window_parameters(
        self, context: Array, is_observed: npt.NDArray[np.bool_], names: list[str]
    ) -> tuple[Array, Array]:
        """Return centre [N, 1] and scale [N, 1] of windows.

        Args:
            context: their values, gaps filled: [N, L].
            is_observed: which of these are observed: [N, L].
            names: the series of each window: [N]. A series that was not fitted takes the parameters of its window.
        """
        if not self.per_series:
            return self._window_size(context, is_observed)
        parameters = [
            self.fitted.get(name) or self._fit(np.where(is_observed[n], context[n], np.nan))
            for n, name in enumerate(names)
        ]
        centre, scale = np.array(parameters, float).reshape(-1, 2).T
        return centre[:, None], scale[:, None]

    def series_parameters(self, panel: Panel) -> tuple[Array, Array]:
        """Return centre [S] and scale [S] of the series of a panel; only for scaling by series."""
        parameters = [self.fitted.get(name) or self._fit(panel.series_values(s)) for s, name in enumerate(panel.series)]
        centre, scale = np.array(parameters, float).reshape(-1, 2).T
        return centre, scale

    def are_usable(self, context: Array) -> npt.NDArray[np.bool_]:
        """Return which windows [N] can be scaled, from their values with gaps filled [N, L]."""
        if not self.logarithms:
            return np.ones(len(context), bool)
        return np.asarray((context > 0).all(axis=1))

    def mask_unusable(self, panel: Panel) -> Panel:
        """Return the panel with NaN in place of values that have no logarithm, if logarithms are taken."""
        if not self.logarithms or all_positive(panel.values):
            return panel
        return replace(panel, values=np.where(panel.values > 0, panel.values, np.nan))

    def scale(self, values: Array, centre: Array, scale: Array) -> Array:
        """Return what the network reads; the three arrays broadcast together."""
        if not self.logarithms:
            return (values - centre) / scale
        if not self.per_series:
            return np.log(values / scale)
        return (np.log(values) - centre) / scale

    def unscale(self, scaled: Array, centre: Array, scale: Array) -> Array:
        """Return the values behind scaled ones: the exact inverse of `scale`."""
        if not self.logarithms:
            return scaled * scale + centre
        if not self.per_series:
            return np.exp(scaled) * scale
        return np.exp(scaled * scale + centre)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for forecaster.json."""
        return asdict(self)

    def _fit(self, values: Array) -> tuple[float, float]:
        if self.logarithms:
            values = np.log(np.where(values > 0, values, np.nan))
        return fit_parameters(self.kind, values, self.season)

    def _window_size(self, context: Array, is_observed: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
        """Return the mean, or 0 where windows are not centred, and the mean magnitude: [N, 1], [N, 1]."""
        count = np.maximum(is_observed.sum(axis=1, keepdims=True), 1)
        observed = np.where(is_observed, context, 0.0)
        centre = observed.sum(axis=1, keepdims=True) / count
        scale = np.abs(observed).sum(axis=1, keepdims=True) / count
        return centre * self.is_centred, np.where(scale > 0, scale, 1.0)


def fit_scaling(panel: Panel, *, kind: str, per_series: bool, season: int) -> Scaling:
    """Return the scaling fitted on all of a panel: give it the panel up to the cutoff.

    Args:
        panel: to fit on.
        kind: seasonal, last, mean, standard, min-max or log.
        per_series: whether parameters are those of the series, not of each window.
        season: steps per season (m).
    """
    scaling = Scaling(kind=kind, per_series=per_series, logarithms=kind == "log", season=season)
    if not per_series:
        return scaling
    fitted = {name: scaling._fit(panel.series_values(s)) for s, name in enumerate(panel.series)}
    return replace(scaling, fitted=fitted)


def scaling_from_dict(fields: dict[str, Any]) -> Scaling:
    """Return the scaling that `as_dict` wrote."""
    fitted = {name: (float(centre), float(scale)) for name, (centre, scale) in fields["fitted"].items()}
    return Scaling(**{**fields, "fitted": fitted})


def all_positive(values: Sequence[float] | Array) -> bool:
    """Whether all values have a logarithm; NaN does not count."""
    return not bool((np.asarray(values) <= 0).any())


def fit_parameters(kind: str, values: Array, season: int) -> tuple[float, float]:
    """Return centre and scale of the values [T] of a series, NaN in gaps; a scale is never 0.

    The table in `pipeline.models.window_scaling` defines both by kind.
    """
    observed = values[~np.isnan(values)]
    if len(observed) == 0:
        return 0.0, 1.0
    if kind == "mean":
        return 0.0, float(np.abs(observed).mean()) or 1.0
    if observed.max() == observed.min():
        return float(observed[0]), 1.0
    if kind == "min-max":
        return float(observed.min()), float(observed.max() - observed.min())
    if kind == "standard":
        return float(observed.mean()), float(observed.std())
    lag = season if kind == "seasonal" and len(values) > season else 1
    change = np.abs(values[lag:] - values[:-lag])
    mean_change = float(np.nanmean(change)) if (~np.isnan(change)).any() else 0.0
    return float(observed[-lag:].mean()), mean_change or 1.0
