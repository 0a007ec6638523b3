"""Jobs that replay the past: read and compute; nothing of it is published."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pipeline.config.history import require_history
from pipeline.config.recipe import Recipe
from pipeline.errors import NoObservations, NotEnoughHistory
from pipeline.evaluation.rolling_origin import (
    NETWORK,
    FromOrigin,
    Origin,
    Plan,
    Predicted,
    RollingBacktest,
    assembled,
    fingerprint_of,
    from_origin,
    origin_positions,
    window_of,
)
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import Forecaster, load_forecaster, model_hash_of
from pipeline.forecasting.statistical import classical_quantiles, require_classical
from pipeline.jobs.attempt import record_attempt
from pipeline.jobs.ingest import ingest_source
from pipeline.jobs.inputs import LATEST, code_version, prepare_panel
from pipeline.preprocessing import gaps
from pipeline.records.training import FitRecord, ReplayRecord
from pipeline.storage.store import Store
from pipeline.storage.vintages import Snapshot, read_vintages, snapshot_at
from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.panel import Panel
from pipeline.training.process import run_fits, run_tutorial

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What an origin sees: the panel up to it, as it was known or cut."""

    panel: Panel
    sight: Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fitted:
    forecaster: Forecaster
    record: FitRecord


def replay_tutorial(recipe: Recipe, store: Store, clock: Callable[[], datetime]) -> ReplayRecord:
    """The protocol of the recipe's tutorial on what is known of its series; what its source has, if nothing is.

    Raises:
        BatchRefused: nothing was known, and what the source has is faulty.
        NoObservations: nothing was known, and the source has nothing.
        ModelRefused: the series does not fit the protocol, or a fit did not stay finite.
    """
    panel = _known(recipe, store, clock)
    return run_tutorial(gaps.fill_gaps(panel, longest=recipe.max_gap), recipe)


def backtest(recipe: Recipe, store: Store, clock: Callable[[], datetime], plan: Plan) -> RollingBacktest:
    """Past origins replayed with what was known then, and the baselines from the same origins.

    What is fitted and forecast there is what a training and a publication at that origin would have been. If nothing
    is known yet, what the source has is taken in first.

    Raises:
        BatchRefused: nothing was known, and what the source has is faulty.
        NoObservations: nothing was known, and the source has nothing.
        InvalidArgument: the plan cannot be carried out.
        NotEnoughHistory: the history is too short for so many origins.
        ModelRefused: a fit did not stay finite.
    """
    if plan.classical:
        require_classical()
    present = _known(recipe, store, clock)
    positions = origin_positions(present, recipe, plan)
    seen = at_origins(recipe, store, present, present.grid[positions], plan)
    panels = [one.panel for one in seen]
    for panel in panels:
        _refuse_short(panel, recipe)
    fitted = _fits(panels if plan.refit == "always" else panels[:1], recipe)
    fitted = fitted if plan.refit == "always" else fitted * len(panels)
    parts = [_at(one, fit, recipe, plan) for one, fit in zip(seen, fitted, strict=True)]
    fingerprint = fingerprint_of(recipe, plan, panels, present, code_version())
    return assembled(parts, present, positions, plan, fingerprint)


def at_origins(recipe: Recipe, store: Store, present: Panel, origins: Periods, plan: Plan) -> list[Seen]:
    """What each origin sees, its window cut out and its short gaps filled.

    Args:
        recipe: whose.
        store: what was known when.
        present: what is known now.
        origins: ascending.
        plan: which window, and whether to see it as it is known now.
    """
    newest = [] if plan.as_of_now else read_vintages(store.database, recipe.name)
    seen: list[Seen] = []
    first_length = 0
    for origin in origins:
        sight = snapshot_at(origin, newest)
        panel = present if sight.as_of is None else store.panel(recipe, sight.as_of)
        assert panel is not None
        panel = panel.until(int(np.searchsorted(panel.grid, origin, side="right")) - 1)
        first_length = first_length or len(panel.grid)
        seen.append(Seen(panel=prepare_panel(window_of(panel, plan, first_length), recipe), sight=sight))
    return seen


def _known(recipe: Recipe, store: Store, clock: Callable[[], datetime]) -> Panel:
    """What is known now, gaps and all; what the source has, if nothing is."""
    panel = store.panel(recipe, LATEST)
    if panel is None:
        with record_attempt(recipe, store, "ingest", clock):
            ingest_source(recipe, store, clock())
        panel = store.panel(recipe, LATEST)
    if panel is None:
        raise NoObservations(f"there are no observations of {recipe.name}, and its source has none")
    return panel


def _refuse_short(panel: Panel, recipe: Recipe) -> None:
    longest = int(panel.lengths.argmax())
    try:
        require_history(panel.series[longest], int(panel.lengths[longest]), recipe)
    except NotEnoughHistory as short:
        raise NotEnoughHistory(
            f"at origin {str(panel.origin)[:16].removesuffix('T00:00')}, {short}; or see what is known now: --as-of-now"
        ) from None


def _fits(panels: Sequence[Panel], recipe: Recipe) -> list[_Fitted]:
    fits = []
    for files, record in run_fits(panels, recipe):
        model_hash = model_hash_of(files)
        fits.append(_Fitted(forecaster=load_forecaster(files, model_hash), record=record))
    return fits


def _at(seen: Seen, fitted: _Fitted, recipe: Recipe, plan: Plan) -> FromOrigin:
    """What all methods say at an origin."""
    panel, others = seen.panel, {}
    made = forecast_panel(fitted.forecaster, panel, recipe, fitted.forecaster.calibration)
    if plan.classical:
        logger.debug("classical", extra={"step": f"AutoETS, AutoARIMA and Theta at {str(panel.origin)[:16]}"})
        told = classical_quantiles(panel, recipe.horizon, recipe.season)
        others = {name: Predicted(mean=each[:, :, each.shape[2] // 2], quantiles=each) for name, each in told.items()}
    assert panel.as_of is not None
    origin = Origin(
        origin=panel.origin,
        as_of=panel.as_of,
        known="cut" if seen.sight.is_cut else "then",
        num_periods=len(panel.grid),
        cutoff=fitted.forecaster.cutoff,
        epochs=fitted.record.epochs,
        num_series=len(panel.series),
        num_fallback=sum(method != NETWORK for method in made.method),
        data_hash=panel.data_hash,
    )
    return from_origin(origin, panel, made, recipe, others)
