"""Forecast with the champion and publish."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import (
    NoForecaster,
)
from pipeline.forecasting.calibration import Calibration, fit_calibration
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import Forecaster
from pipeline.jobs.inputs import lineage_of, load_forecaster_inputs, load_panel
from pipeline.records.lineage import RunKind, run_kind
from pipeline.storage.runs import Publication
from pipeline.storage.store import Store
from pipeline.timeseries.forecast import NETWORK

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishResult:
    """The newest run."""

    run_id: str
    #: "published" or, if it was there already, "unchanged"
    status: str
    origin: str
    as_of: str
    num_series: int
    num_rows: int
    num_fallback: int
    model_version: int


def publish_forecast(recipe: Recipe, store: Store, now: datetime, *, as_of: datetime | None = None) -> PublishResult:
    """Forecast the next periods with the champion and publish them, whole.

    Raises:
        NoObservations: nothing was ingested yet.
        NoForecaster: nothing was trained yet.
        ModelRefused: the model's files are not what was recorded.
    """
    fencing_token = store.leases.fencing_token(recipe.name)
    model = store.models.champion(recipe.name) if as_of is None else store.models.champion_as_of(recipe.name, as_of)
    if model is None:
        load_panel(recipe, store, as_of, length=1)  # without observations that is what is told
        raise NoForecaster(f"no model was trained for {recipe.name} yet: run `nextperiod train {recipe.name}`")
    forecaster, panel = load_forecaster_inputs(model, recipe, store, as_of)
    kind, lineage = run_kind(as_of), lineage_of(recipe, panel)
    calibration = _calibration(recipe, store, kind, panel.origin, lineage.as_of, forecaster)
    worse = model.record.worse | store.scores.series_worse_than_baseline(
        model, kind, lineage.as_of, recipe.gate.baseline
    )
    made = forecast_panel(forecaster, panel, recipe, calibration, worse=worse)
    due = recipe.grid.after(made.origin, 2 + recipe.publish.grace)[-1]
    publication = Publication(
        recipe=recipe,
        forecast=made,
        model=model,
        lineage=lineage,
        kind=kind,
        expected_next_by=due.astype("datetime64[us]").item().replace(tzinfo=UTC),
        fencing_token=fencing_token,
        calibration=calibration,
    )
    run, is_new = store.runs.publish(publication, now)
    if is_new:
        logger.info("published run %s: %s rows", run.run_id, run.num_rows)
    return PublishResult(
        run_id=run.run_id,
        status="published" if is_new else "unchanged",
        origin=str(run.origin)[:19],
        as_of=lineage.as_of.isoformat(),
        num_series=run.num_series,
        num_rows=run.num_rows,
        num_fallback=sum(method != NETWORK for method in made.method),
        model_version=run.model_version,
    )


def _calibration(
    recipe: Recipe, store: Store, kind: RunKind, origin: np.datetime64, as_of: datetime, forecaster: Forecaster
) -> Calibration | None:
    """From what became of earlier forecasts by all that is known; without enough of it, from the model's own backtest."""
    store.scores.score(recipe.name, kind, as_of)
    outcomes = store.scores.outcomes(recipe, kind, origin=origin, as_of=as_of)
    return fit_calibration(outcomes, horizon=recipe.horizon, prior=forecaster.calibration)
