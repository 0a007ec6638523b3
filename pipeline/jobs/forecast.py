"""Forecast with the champion and publish the forecast as a run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.config.recipe import Recipe
from pipeline.errors import NoForecaster
from pipeline.forecasting.calibration import fit_calibration
from pipeline.forecasting.fallback import NoNetwork
from pipeline.jobs.inputs import (
    ForecastInputs,
    check_covariates,
    check_ended_series,
    load_forecaster_and_panel,
    load_panel,
    new_lineage,
    produce_forecast,
)
from pipeline.records.lineage import Lineage, ModelVersion, Run, RunKind, run_kind
from pipeline.storage.runs import Publication
from pipeline.storage.store import Store
from pipeline.timeseries.forecast import NETWORK, Forecast
from pipeline.training.history import describe_shortage

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
    #: None: no network could be trained yet
    model_version: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicationInputs:
    """Everything a publication is computed and checked with."""

    #: None: no network could be trained yet
    model: ModelVersion | None
    inputs: ForecastInputs
    lineage: Lineage
    #: the lease's token before anything was read; a later one means that another worker took over
    fencing_token: int


def publish_forecast(recipe: Recipe, store: Store, now: datetime, *, as_of: datetime | None = None) -> PublishResult:
    """Forecast the next periods with the champion and publish them as one run.

    Publishing the same forecast again changes nothing. As long as the history is too short for any network, baselines
    forecast, and the run has no model.

    Args:
        recipe: what is forecast.
        store: holds observations, models and runs.
        now: the instant of publication.
        as_of: use only what was recorded by this instant, and mark the run as a backfill; None: everything, live.

    Raises:
        NoObservations: nothing was ingested yet.
        NoForecaster: nothing was trained yet, although the history is long enough.
        ModelRefused: the model's files are not those that were recorded.
        CovariateMissing: a covariate is not known ahead, and the recipe wants no forecast then.
        SeriesEnded: more series have ended since the last run than the recipe expects.
        Overtaken: another worker took over in the meantime.
    """
    loaded = load_publication_inputs(recipe, store, as_of)
    check_covariates(loaded.inputs.panel, recipe)
    if as_of is None:
        check_ended_series(loaded.inputs.panel, recipe, store.runs.latest_origin(recipe.name))
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
    model = store.models.champion(recipe.name) if as_of is None else store.models.champion_as_of(recipe.name, as_of)
    if model is None:
        return _inputs_without_network(recipe, store, as_of, fencing_token)
    recorded_by = None if as_of is None else store.batches.last_recorded_at(recipe.name)
    forecaster, panel = load_forecaster_and_panel(model, recipe, store, as_of, recorded_by=recorded_by)
    kind, lineage = run_kind(as_of), new_lineage(recipe, panel, recorded_by=recorded_by)
    store.scores.score(recipe.name, kind, lineage.as_of)
    outcomes = store.scores.outcomes(recipe, kind, origin=panel.origin, as_of=lineage.as_of)
    baseline = model.record.resolve_baseline(recipe.gate.baseline)
    recently_worse = store.scores.series_worse_than_baseline(model, kind, lineage.as_of, baseline)
    inputs = ForecastInputs(
        recipe=recipe,
        forecaster=forecaster,
        panel=panel,
        calibration=fit_calibration(outcomes, horizon=recipe.horizon, prior=forecaster.calibration),
        worse_than_baseline={**model.record.worse, **recently_worse},
        baseline=baseline,
    )
    return PublicationInputs(model=model, inputs=inputs, lineage=lineage, fencing_token=fencing_token)


def _inputs_without_network(
    recipe: Recipe, store: Store, as_of: datetime | None, fencing_token: int
) -> PublicationInputs:
    """Read what a publication needs where the history is too short for a network.

    Raises:
        NoForecaster: the history is long enough, and nothing was trained.
    """
    recorded_by = None if as_of is None else store.batches.last_recorded_at(recipe.name)
    panel = load_panel(recipe, store, as_of, recorded_by=recorded_by)
    shortage = describe_shortage(panel, recipe)
    if shortage is None:
        raise NoForecaster(f"no model was trained for {recipe.name} yet: run `nextperiod train {recipe.name}`")
    lineage = new_lineage(recipe, panel, recorded_by=recorded_by)
    store.scores.score(recipe.name, run_kind(as_of), lineage.as_of)
    inputs = ForecastInputs(recipe=recipe, forecaster=NoNetwork(shortage), panel=panel, calibration=None)
    return PublicationInputs(model=None, inputs=inputs, lineage=lineage, fencing_token=fencing_token)


def _publication(loaded: PublicationInputs, forecast: Forecast, kind: RunKind) -> Publication:
    recipe = loaded.inputs.recipe
    expected_next = recipe.grid.end_after(forecast.origin, 1 + recipe.publish.grace)
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
