"""The numbers in which one network reads series of any size: centred and scaled by window or by series, or as logarithms.

Before a network reads a window, its values become `(x - centre) / scale`, or the logarithm of `x / scale`, in double
precision: of the window's own mean and mean magnitude, so that single precision does for the rest (which the network
scales itself, pipeline/models/scaled.py), or with the parameters that were fitted for its series. The inverse is exact.
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
    """How the values of each window or series are brought to the size that a network reads."""

    #: seasonal, last, mean, standard, min-max or log
    kind: str
    #: whether parameters are those of the series, fitted up to the cutoff, or those of each window
    per_series: bool = False
    #: whether values are read as logarithms
    logarithms: bool = False
    season: int = 1
    #: by series, centre and scale
    fitted: dict[str, tuple[float, float]] = field(default_factory=dict)

    def of_windows(self, context: Array, known: npt.NDArray[np.bool_], names: list[str]) -> tuple[Array, Array]:
        """Centre and scale [N, 1] of windows [N, L] of the series that are named [N].

        A series that was not there at the fit is taken by its window.
        """
        if not self.per_series:
            return self._size(context, known)
        parameters = [
            self.fitted.get(name) or self._parameters(np.where(known[n], context[n], np.nan))
            for n, name in enumerate(names)
        ]
        centre, scale = np.array(parameters, float).reshape(-1, 2).T
        return centre[:, None], scale[:, None]

    def of_series(self, panel: Panel) -> tuple[Array, Array]:
        """Centre and scale [S] of the series of a panel, where parameters are theirs."""
        pairs = [
            self.fitted.get(name) or self._parameters(panel.series_values(s)) for s, name in enumerate(panel.series)
        ]
        centre, scale = np.array(pairs, float).reshape(-1, 2).T
        return centre, scale

    def usable(self, context: Array) -> npt.NDArray[np.bool_]:
        """Which windows [N] of filled contexts [N, L] hold nothing that cannot be read."""
        if not self.logarithms:
            return np.ones(len(context), bool)
        return np.asarray((context > 0).all(axis=1))

    def readable(self, panel: Panel) -> Panel:
        """The panel, with gaps for values that have no logarithm where it takes logarithms."""
        if not self.logarithms or all_positive(panel.values):
            return panel
        return replace(panel, values=np.where(panel.values > 0, panel.values, np.nan))

    def numbers(self, values: Array, centre: Array, scale: Array) -> Array:
        """What a network reads."""
        if not self.logarithms:
            return (values - centre) / scale
        if not self.per_series:
            return np.log(values / scale)
        return (np.log(values) - centre) / scale

    def values(self, numbers: Array, centre: Array, scale: Array) -> Array:
        """The exact inverse of `numbers`."""
        if not self.logarithms:
            return numbers * scale + centre
        if not self.per_series:
            return np.exp(numbers) * scale
        return np.exp(numbers * scale + centre)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the model directory."""
        return asdict(self)

    def _parameters(self, values: Array) -> tuple[float, float]:
        if self.logarithms:
            values = np.log(np.where(values > 0, values, np.nan))
        return parameters_of(self.kind, values, self.season)

    @property
    def is_centred(self) -> bool:
        """Whether the mean of a window is taken from its values."""
        return not self.logarithms and self.kind != "mean"

    def _size(self, context: Array, known: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
        """The mean, which is 0 for logarithms and kinds that keep it, and the mean magnitude."""
        count = np.maximum(known.sum(axis=1, keepdims=True), 1)
        kept = np.where(known, context, 0.0)
        centre = kept.sum(axis=1, keepdims=True) / count
        scale = np.abs(kept).sum(axis=1, keepdims=True) / count
        return centre * self.is_centred, np.where(scale > 0, scale, 1.0)


def fit_scaling(panel: Panel, *, kind: str, per_series: bool, season: int) -> Scaling:
    """Fit on all of a panel; give it the panel up to the cutoff."""
    scaling = Scaling(kind=kind, per_series=per_series, logarithms=kind == "log", season=season)
    if not per_series:
        return scaling
    fitted = {name: scaling._parameters(panel.series_values(s)) for s, name in enumerate(panel.series)}
    return replace(scaling, fitted=fitted)


def scaling_from_dict(fields: dict[str, Any]) -> Scaling:
    """The scaling that `as_dict` wrote down."""
    fitted = {name: (float(centre), float(scale)) for name, (centre, scale) in fields["fitted"].items()}
    return Scaling(**{**fields, "fitted": fitted})


def all_positive(values: Sequence[float] | Array) -> bool:
    """Whether logarithms can be taken; gaps do not count."""
    return not bool((np.asarray(values) <= 0).any())


def parameters_of(kind: str, values: Array, season: int) -> tuple[float, float]:
    """Centre and scale of a series with gaps, as the table of `pipeline.models.window_scaling` says; a scale of 0 counts as 1."""
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return 0.0, 1.0
    if kind == "mean":
        return 0.0, float(np.abs(known).mean()) or 1.0
    if known.max() == known.min():
        return float(known[0]), 1.0
    if kind == "min-max":
        return float(known.min()), float(known.max() - known.min())
    if kind == "standard":
        return float(known.mean()), float(known.std())
    lag = season if kind == "seasonal" and len(values) > season else 1
    change = np.abs(values[lag:] - values[:-lag])
    size = float(np.nanmean(change)) if (~np.isnan(change)).any() else 0.0
    return float(known[-lag:].mean()), size or 1.0
