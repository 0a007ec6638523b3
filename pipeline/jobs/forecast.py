"""Forecast with the champion and publish the forecast as a run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.config.recipe import Recipe
from pipeline.errors import NoForecaster
from pipeline.forecasting.calibration import fit_calibration
from pipeline.jobs.inputs import (
    ForecastInputs,
    check_covariates,
    load_forecaster_and_panel,
    load_panel,
    new_lineage,
    produce_forecast,
)
from pipeline.records.lineage import Lineage, ModelVersion, Run, RunKind, run_kind
from pipeline.storage.runs import Publication
from pipeline.storage.store import Store
from pipeline.timeseries.forecast import NETWORK, Forecast

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishResult:
    """The recipe's newest run."""

    run_id: str
    #: "published", or "unchanged" if the same run was published before
    status: str
    origin: str
    as_of: str
    num_series: int
    num_rows: int
    num_fallback: int
    model_version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicationInputs:
    """Everything a publication is computed and checked with."""

    model: ModelVersion
    inputs: ForecastInputs
    lineage: Lineage
    #: the lease's token before anything was read; a later one means that another worker took over
    fencing_token: int


def publish_forecast(recipe: Recipe, store: Store, now: datetime, *, as_of: datetime | None = None) -> PublishResult:
    """Forecast the next periods with the champion and publish them as one run.

    Publishing the same forecast again changes nothing.

    Args:
        recipe: what is forecast.
        store: holds observations, models and runs.
        now: the instant of publication.
        as_of: use only what was recorded by this instant, and mark the run as a backfill; None: everything, live.

    Raises:
        NoObservations: nothing was ingested yet.
        NoForecaster: nothing was trained yet.
        ModelRefused: the model's files are not those that were recorded.
        CovariateMissing: a covariate is not known ahead, and the recipe wants no forecast then.
        Overtaken: another worker took over in the meantime.
    """
    loaded = load_publication_inputs(recipe, store, as_of)
    check_covariates(loaded.inputs.panel, recipe)
    forecast = produce_forecast(loaded.inputs)
    run, is_new = store.runs.publish(_publication(loaded, forecast, run_kind(as_of)), now)
    if is_new:
        logger.info("published run %s: %s rows", run.run_id, run.num_rows)
    return _result(run, forecast, loaded.lineage, is_new=is_new)


def load_publication_inputs(recipe: Recipe, store: Store, as_of: datetime | None) -> PublicationInputs:
    """Read what a publication needs: model, panel, calibration, and the series that the model forecasts badly.

    Observations are scored first, so that calibration and comparison use the newest outcomes.
    """
    fencing_token = store.leases.fencing_token(recipe.name)
    model = _load_champion(recipe, store, as_of)
    forecaster, panel = load_forecaster_and_panel(model, recipe, store, as_of)
    kind, lineage = run_kind(as_of), new_lineage(recipe, panel)
    store.scores.score(recipe.name, kind, lineage.as_of)
    outcomes = store.scores.outcomes(recipe, kind, origin=panel.origin, as_of=lineage.as_of)
    recently_worse = store.scores.series_worse_than_baseline(model, kind, lineage.as_of, recipe.gate.baseline)
    inputs = ForecastInputs(
        recipe=recipe,
        forecaster=forecaster,
        panel=panel,
        calibration=fit_calibration(outcomes, horizon=recipe.horizon, prior=forecaster.calibration),
        worse_than_baseline={**model.record.worse, **recently_worse},
    )
    return PublicationInputs(model=model, inputs=inputs, lineage=lineage, fencing_token=fencing_token)


def _load_champion(recipe: Recipe, store: Store, as_of: datetime | None) -> ModelVersion:
    model = store.models.champion(recipe.name) if as_of is None else store.models.champion_as_of(recipe.name, as_of)
    if model is None:
        load_panel(recipe, store, as_of, length=1)  # raises NoObservations where that is the first thing missing
        raise NoForecaster(f"no model was trained for {recipe.name} yet: run `nextperiod train {recipe.name}`")
    return model


def _publication(loaded: PublicationInputs, forecast: Forecast, kind: RunKind) -> Publication:
    recipe = loaded.inputs.recipe
    expected_next = recipe.grid.after(forecast.origin, 2 + recipe.publish.grace)[-1]
    return Publication(
        recipe=recipe,
        forecast=forecast,
        model=loaded.model,
        lineage=loaded.lineage,
        kind=kind,
        expected_next_by=expected_next.astype("datetime64[us]").item().replace(tzinfo=UTC),
        fencing_token=loaded.fencing_token,
        calibration=loaded.inputs.calibration,
    )


def _result(run: Run, forecast: Forecast, lineage: Lineage, *, is_new: bool) -> PublishResult:
    return PublishResult(
        run_id=run.run_id,
        status="published" if is_new else "unchanged",
        origin=str(run.origin)[:19],
        as_of=lineage.as_of.isoformat(),
        num_series=run.num_series,
        num_rows=run.num_rows,
        num_fallback=sum(method != NETWORK for method in forecast.method),
        model_version=run.model_version,
    )
