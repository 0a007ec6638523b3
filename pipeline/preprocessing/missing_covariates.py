"""For which steps of a forecast the covariates of a recipe are not known, and how that is said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.text import counted
from pipeline.timeseries.panel import Panel


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingCovariates:
    """What is not known of the covariates of S series at the origin of a panel."""

    #: how many of the first steps have all covariates, [S]; H: every step has
    num_known_steps: npt.NDArray[np.int64]
    #: for each series what is not known; None: nothing, or the series ended before the origin and is not forecast
    reasons: tuple[str | None, ...]


def find_missing_covariates(panel: Panel, recipe: Recipe) -> MissingCovariates | None:
    """Return which steps after the panel's origin lack a covariate; None where every series has all of them.

    The steps from the first unknown period on count as unknown. A past covariate may lag behind the values by a season
    or a horizon, whichever is longer; if it lags further, no step counts as known. A covariate that a series never had in
    the panel is not missing: its network was fitted without it, too.
    """
    future = [name for name in recipe.covariates.future if name in panel.future]
    past = [name for name in recipe.covariates.past if name in panel.past]
    if not future and not past:
        return None
    reach, horizon = panel.covariate_reach, recipe.horizon
    num_known = np.full(len(panel.series), horizon)
    is_used = {name: _have_any(panel.future[name], panel.lengths + panel.ahead) for name in future}
    is_used |= {name: _have_any(panel.past[name], panel.lengths) for name in past}
    for name in future:
        num_known = np.where(is_used[name], np.minimum(num_known, np.clip(reach[name], 0, horizon)), num_known)
    lags = {name: np.where(is_used[name], -np.minimum(reach[name], 0), 0) for name in past}
    is_late = {name: lag > max(recipe.season, horizon) for name, lag in lags.items()}
    for late in is_late.values():
        num_known = np.where(late, 0, num_known)
    if (num_known == horizon).all():
        return None
    is_current = panel.last == len(panel.grid) - 1
    unknown = {name: np.where(is_used[name] & is_current, _num_unknown(panel, name, horizon), 0) for name in future}
    late_by = {name: np.where(is_late[name] & is_current, lags[name], 0) for name in past}
    return MissingCovariates(num_known_steps=num_known, reasons=_reasons(unknown, late_by, horizon))


def _have_any(values: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether a covariate has a value in each of S series, of which it has so many periods: [S]."""
    num_known = np.append(0, np.cumsum(~np.isnan(values)))
    ends = np.cumsum(lengths)
    return np.asarray(num_known[ends] > num_known[ends - lengths])


def _num_unknown(panel: Panel, name: str, horizon: int) -> npt.NDArray[np.int64]:
    """How many of the H periods after each series a covariate is not known for: [S]."""
    ends = np.cumsum(panel.lengths + panel.ahead)
    ahead = panel.future[name][ends[:, None] - panel.ahead + np.arange(horizon)]  # [S, H]
    return np.asarray(np.isnan(ahead).sum(axis=1))


def _reasons(
    unknown: dict[str, npt.NDArray[np.int64]], late_by: dict[str, npt.NDArray[np.int64]], horizon: int
) -> tuple[str | None, ...]:
    """What is not known of each series; the sentence of equal series is made once."""
    counts = np.stack([*unknown.values(), *late_by.values()], axis=1)  # [S, C]
    distinct, index = np.unique(counts, axis=0, return_inverse=True)
    sentences = [
        _sentence(dict(zip([*unknown, *late_by], row.tolist(), strict=True)), set(unknown), horizon) for row in distinct
    ]
    return tuple(sentences[n] for n in index.ravel().tolist())


def _sentence(counts: dict[str, int], ahead: set[str], horizon: int) -> str | None:
    parts = [
        f"{name} is not known for {count} of {counted(horizon, 'period')} ahead"
        if name in ahead
        else f"{name} is not known for the last {counted(count, 'period')}"
        for name, count in counts.items()
        if count
    ]
    return ", ".join(parts) or None
