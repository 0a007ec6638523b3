"""Windows: a panel cut into what the network sees and what it is asked for.

A window of series s that ends at position e of the grid has as context the `L` values up to and
including e, and as target the `H` values after it. It may be used for fitting up to a cutoff c only
if e + H <= c: then no value after the cutoff is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.panel import Panel

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """N windows with the series and the position in the grid where each context ends."""

    context: Array  # [N, L]
    target: Array  # [N, H], NaN where nothing is observed yet
    series: npt.NDArray[np.int64]  # [N]
    end: npt.NDArray[np.int64]  # [N]

    def __len__(self) -> int:
        return len(self.end)

    def take(self, chosen: npt.NDArray[np.bool_]) -> Windows:
        """The chosen ones of the windows."""
        return Windows(
            context=self.context[chosen], target=self.target[chosen], series=self.series[chosen], end=self.end[chosen]
        )

    def known_by(self, cutoff: int) -> Windows:
        """The windows whose whole target lies at or before the cutoff: what a model may be fitted on."""
        horizon = self.target.shape[1]
        return self.take((self.end + horizon <= cutoff) & ~np.isnan(self.target).any(axis=1))

    def ending(self, first: int, last: int) -> Windows:
        """The windows whose context ends between two positions, both included."""
        return self.take((self.end >= first) & (self.end <= last))


def make_windows(panel: Panel, *, context: int, horizon: int) -> Windows:
    """All windows of a panel with a complete context; the last one's target is wholly unobserved."""
    contexts, targets, series, ends = [], [], [], []
    for s in range(len(panel.series)):
        values = panel.of(s)
        if len(values) < context:
            continue
        ahead = np.concatenate([values, np.full(horizon, np.nan)])
        views = np.lib.stride_tricks.sliding_window_view(ahead, context + horizon)  # [T - L + 1, L + H]
        complete = ~np.isnan(views[:, :context]).any(axis=1)
        contexts.append(views[complete, :context])
        targets.append(views[complete, context:])
        series.append(np.full(complete.sum(), s))
        ends.append(panel.first[s] + context - 1 + np.flatnonzero(complete))
    if not ends:
        return Windows(
            context=np.empty((0, context)),
            target=np.empty((0, horizon)),
            series=np.empty(0, np.int64),
            end=np.empty(0, np.int64),
        )
    return Windows(
        context=np.concatenate(contexts),  # [N, L]
        target=np.concatenate(targets),  # [N, H]
        series=np.concatenate(series).astype(np.int64),
        end=np.concatenate(ends).astype(np.int64),
    )


def context_at_origin(panel: Panel, context: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """The newest context of every series that reaches the origin and has one: [N, L], and which series: [N]."""
    windows = make_windows(panel, context=context, horizon=0)
    newest = windows.take(windows.end == len(panel.grid) - 1)
    return newest.context, newest.series
