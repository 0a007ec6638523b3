"""Windows of a panel, looked up in the graph and never held.

A panel is laid out flat: one array a channel, with offsets by series. Windows are pairs of series and end; a batch of
pairs is gathered, filled, masked and joined with its features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.preprocessing.covariates import FeatureArrays
from pipeline.preprocessing.scaling import Scaling
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FlatPanel:
    """A panel as networks read it while they are fitted."""

    panel: Panel
    #: gaps filled; in the numbers of the network where series have parameters, otherwise in their own units
    values: Array  # [sum of lengths]
    known: npt.NDArray[np.bool_]
    features: FeatureArrays
    scaling: Scaling

    @cached_property
    def tensors(self) -> list[Any]:
        """What is looked up in, once for all who do: values, known, where series begin, and features."""
        panel, told = self.panel, self.features
        arrays = (self.values, self.known, panel.offsets[:-1], panel.first)
        return [tf.constant(each) for each in (*arrays, told.past, told.future, told.calendar, told.static)]


def flatten_panel(panel: Panel, scaling: Scaling, features: FeatureArrays) -> FlatPanel:
    """A whole panel, ready to be read by windows; what has no logarithm counts as not known where logarithms are read."""
    values = scaling.readable(panel).values
    known = ~np.isnan(values)
    if not known.all():
        start = np.repeat(panel.offsets[:-1], panel.lengths)
        last = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
        values = np.where(last >= start, values[last], 1.0)
    if scaling.per_series:
        centre, scale = (np.repeat(one, panel.lengths) for one in scaling.of_series(panel))
        values = scaling.numbers(values, centre, scale)
    return FlatPanel(panel=panel, values=values, known=known, features=features, scaling=scaling)


def build_window_lookup(flat: FlatPanel, *, context: int, horizon: int) -> Callable[[Any, Any], dict[str, Any]]:
    """A function from series and ends [B] to what a network reads there, and `later` [B, H, 2]: what it is asked for."""
    values, known, offsets, starts, past, future, calendar, static = flat.tensors
    pad = flat.panel.ahead if future.shape[1] else 0
    steps = tf.range(1 - context, horizon + 1, dtype=tf.int64)[None]

    def gather(series: Any, end: Any) -> dict[str, Any]:
        first = tf.gather(offsets, series)[:, None]
        offset = (end - tf.gather(starts, series))[:, None] + steps
        place = first + tf.maximum(offset, 0)
        is_known = tf.cast(tf.gather(known, place) & (offset >= 0), tf.float32)
        told_values = tf.stack([_numbers(flat.scaling, tf.gather(values, place), is_known, context), is_known], axis=-1)
        ahead = tf.concat(
            [
                tf.gather(future, place + (series * pad)[:, None]),
                tf.gather(calendar, tf.maximum(end[:, None] + steps, 0)),
            ],
            axis=-1,
        )
        channels = [told_values[:, :context], tf.gather(past, place[:, :context]), ahead[:, :context]]
        found = {"context": tf.concat(channels, axis=-1), "later": told_values[:, context:]}
        if ahead.shape[-1]:
            found["ahead"] = ahead[:, context:]
        if static.shape[-1]:
            found["static"] = tf.gather(static, series)
        return found

    return gather


def _numbers(scaling: Scaling, values: Any, known: Any, context: int) -> Any:
    """What a network reads of windows and what follows them [B, L + H]: as `Scaling.numbers`, sized by their contexts."""
    if scaling.per_series:
        return tf.cast(values, tf.float32)
    known = tf.cast(known[:, :context], tf.float64)
    kept = values[:, :context] * known
    count = tf.maximum(tf.reduce_sum(known, axis=1, keepdims=True), 1)
    scale = tf.reduce_sum(tf.abs(kept), axis=1, keepdims=True) / count
    scale = tf.where(scale > 0, scale, tf.ones_like(scale))
    centre = tf.reduce_sum(kept, axis=1, keepdims=True) / count * float(scaling.is_centred)
    numbers = tf.math.log(values / scale) if scaling.logarithms else (values - centre) / scale
    return tf.cast(numbers, tf.float32)
