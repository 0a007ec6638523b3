"""Look up windows of a panel inside the graph, so that no window is ever stored.

A panel is laid out flat: one array a channel, with offsets by series. A window is a pair of series and end. A batch of
pairs is gathered, filled, masked and joined with its features: the same inputs as `preprocessing.covariates.build_window_inputs`
computes in NumPy for a forecast. A test pins the two equal.

Scaling exists in three places, because each works on other arrays and in another precision: `preprocessing.scaling` in
NumPy (no Keras is imported there), `_scale_by_window` here in double precision before values become single precision,
and `models.window_scaling` in single precision inside the exported network, by its own statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.models.window_steps import known_mean
from pipeline.preprocessing.covariates import FeatureArrays
from pipeline.preprocessing.scaling import Scaling
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FlatPanel:
    """A panel as networks read it while they are fitted."""

    panel: Panel
    #: gaps filled by the value before; scaled where scaling is by series, otherwise in units of the series
    values: Array  # [sum of lengths]
    is_known: npt.NDArray[np.bool_]  # [sum of lengths]
    features: FeatureArrays
    scaling: Scaling

    @cached_property
    def tensors(self) -> PanelTensors:
        """The arrays, shared by all lookups."""
        panel, features = self.panel, self.features
        return PanelTensors(
            values=tf.constant(self.values),
            is_known=tf.constant(self.is_known),
            offsets=tf.constant(panel.offsets[:-1]),
            first=tf.constant(panel.first),
            ahead=tf.constant(panel.ahead, tf.int64),
            past=tf.constant(features.past),
            future=tf.constant(features.future),
            calendar=tf.constant(features.calendar),
            static=tf.constant(features.static),
        )


class PanelTensors(NamedTuple):
    """A panel as an argument of a graph."""

    values: Any  # [sum of lengths]
    is_known: Any  # [sum of lengths]
    #: where each series begins in the flat arrays, and in the grid
    offsets: Any  # [S]
    first: Any  # [S]
    #: periods after the grid whose features are known
    ahead: Any
    #: as in `FeatureArrays`
    past: Any
    future: Any
    calendar: Any
    static: Any


def flatten_panel(panel: Panel, scaling: Scaling, features: FeatureArrays) -> FlatPanel:
    """Prepare a panel for looking up windows.

    Where logarithms are read, a value without a logarithm counts as unknown.
    """
    values = scaling.mask_unusable(panel).values
    is_known = ~np.isnan(values)
    if not is_known.all():
        series_start = np.repeat(panel.offsets[:-1], panel.lengths)
        last_known = np.maximum.accumulate(np.where(is_known, np.arange(len(values)), -1))
        values = np.where(last_known >= series_start, values[last_known], 1.0)
    if scaling.per_series:
        centre, scale = (np.repeat(parameter, panel.lengths) for parameter in scaling.series_parameters(panel))
        values = scaling.scale(values, centre, scale)
    return FlatPanel(panel=panel, values=values, is_known=is_known, features=features, scaling=scaling)


def look_up_windows(
    panel: PanelTensors, series: Any, end: Any, *, scaling: Scaling, context: int, horizon: int
) -> dict[str, Any]:
    """Look up the inputs of a network, by name, from series [B] and ends [B] of windows.

    Beside the inputs there are the targets as `later` [B, H, 2]: scaled values, and whether they are known (1 or 0).
    """
    steps = tf.range(1 - context, horizon + 1, dtype=tf.int64)[None]  # [1, L + H]
    offset = (end - tf.gather(panel.first, series))[:, None] + steps  # [B, L + H], from the series' first period
    place = tf.gather(panel.offsets, series)[:, None] + tf.maximum(offset, 0)
    place_ahead = place
    if panel.future.shape[1]:  # each series has so many more future features than values
        place_ahead = place + (series * panel.ahead)[:, None]
    grid_position = tf.maximum(end[:, None] + steps, 0)

    is_known = tf.cast(tf.gather(panel.is_known, place) & (offset >= 0), tf.float32)
    scaled = _scale_by_window(scaling, tf.gather(panel.values, place), is_known, context)
    values = tf.stack([scaled, is_known], axis=-1)  # [B, L + H, 2]
    ahead = tf.concat([tf.gather(panel.future, place_ahead), tf.gather(panel.calendar, grid_position)], axis=-1)
    channels = [values[:, :context], tf.gather(panel.past, place[:, :context]), ahead[:, :context]]

    inputs = {"context": tf.concat(channels, axis=-1), "later": values[:, context:]}
    if ahead.shape[-1]:
        inputs["ahead"] = ahead[:, context:]
    if panel.static.shape[-1]:
        inputs["static"] = tf.gather(panel.static, series)
    return inputs


def _scale_by_window(scaling: Scaling, values: Any, is_known: Any, context: int) -> Any:
    """Scale windows with what follows them [B, L + H] by their contexts, as `Scaling.numbers` does in NumPy.

    Values that are scaled by series stay as they are.
    """
    if scaling.per_series:
        return tf.cast(values, tf.float32)
    known_context = tf.cast(is_known[:, :context], tf.float64)
    scale = known_mean(tf.abs(values[:, :context]), known_context)
    scale = tf.where(scale > 0, scale, tf.ones_like(scale))
    centre = known_mean(values[:, :context], known_context) * float(scaling.is_centred)
    scaled = tf.math.log(values / scale) if scaling.logarithms else (values - centre) / scale
    return tf.cast(scaled, tf.float32)
