"""Backtests: rolling origins with the data known at each of them, and the protocols of tutorials. Nothing is published."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import NoObservations, NotEnoughHistory
from pipeline.evaluation.rolling_origin import (
    BacktestPlan,
    MethodForecast,
    Origin,
    OriginForecasts,
    RollingBacktest,
    collect_forecasts,
    combine_origins,
    hash_backtest,
    place_origins,
    select_window,
)
from pipeline.forecasting.forecaster import Forecaster, hash_model, load_forecaster
from pipeline.forecasting.statistical import forecast_statistical, require_statsforecast
from pipeline.jobs.attempt import record_attempt
from pipeline.jobs.ingest import ingest_source
from pipeline.jobs.inputs import LATEST, ForecastInputs, code_version, prepare_panel, produce_forecast
from pipeline.preprocessing import gaps
from pipeline.preprocessing.activity import select_active
from pipeline.preprocessing.missing_covariates import find_missing_covariates
from pipeline.progress_log import report_progress
from pipeline.records.training import FitRecord, TutorialRecord
from pipeline.storage.store import Store
from pipeline.storage.vintages import Snapshot, Vintage, snapshot_at
from pipeline.text import format_period
from pipeline.timeseries.forecast import NETWORK
from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.panel import Panel
from pipeline.training.history import require_trainable
from pipeline.training.process import run_fits, run_tutorial

logger = logging.getLogger(__name__)

#: reads a recipe's panel as of an instant
ReadPanel = Callable[[datetime], Panel]


@dataclass(frozen=True, kw_only=True, slots=True)
class OriginInputs:
    """The panel up to one origin, and the snapshot it was read from."""

    panel: Panel
    snapshot: Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class BacktestInputs:
    """Everything a rolling-origin backtest is computed from."""

    #: all values known now, gaps included: what forecasts are scored against
    present: Panel
    positions: npt.NDArray[np.int64]  # [O], of the origins in its grid, ascending
    origins: tuple[OriginInputs, ...]  # [O]


def replay_tutorial(recipe: Recipe, store: Store, clock: Callable[[], datetime]) -> TutorialRecord:
    """Run the protocol of the recipe's tutorial on its series; an empty store ingests the source first.

    Raises:
        BatchRefused: the store was empty, and what the source has is faulty.
        NoObservations: the store was empty, and the source has nothing.
        ModelRefused: the series does not fit the protocol, or a fit did not stay finite.
    """
    panel = _load_present(recipe, store, clock)
    return run_tutorial(gaps.fill_gaps(panel, longest=recipe.max_gap), recipe)


def backtest(recipe: Recipe, store: Store, clock: Callable[[], datetime], plan: BacktestPlan) -> RollingBacktest:
    """Forecast from past origins with the data known at each, and the baselines from the same origins.

    Each fit and forecast is what a training and a publication at that origin would have been. An empty store ingests
    the source first.

    Raises:
        BatchRefused: the store was empty, and what the source has is faulty.
        NoObservations: the store was empty, and the source has nothing.
        InvalidArgument: the plan cannot be carried out.
        NotEnoughHistory: the history is too short for so many origins.
        ModelRefused: a fit did not stay finite.
    """
    if plan.classical:
        require_statsforecast()
    inputs = load_backtest_inputs(recipe, store, clock, plan)
    return produce_backtest(inputs, recipe, plan)


def describe_backtest(recipe: Recipe, result: RollingBacktest) -> dict[str, Any]:
    """The plan, origins and scores of a backtest as JSON values: over all, by step, and by series."""
    by_series, by_origin = result.by_series(), result.by_origin()
    return {
        "recipe": recipe.name,
        "fingerprint": result.fingerprint,
        "plan": asdict(result.plan),
        "horizon": recipe.horizon,
        "origins": [
            {**asdict(origin), **_describe_origin(origin), "scores": _scores_at(by_origin, n)}
            for n, origin in enumerate(result.origins)
        ],
        "best_baseline": result.best_baseline,
        "scores": result.scores(),
        "by_step": result.by_step(),
        "by_series": {series: _scores_at(by_series, n) for n, series in enumerate(result.series)},
    }


def _describe_origin(origin: Origin) -> dict[str, str]:
    return {
        "origin": str(origin.origin)[:19],
        "as_of": origin.as_of.isoformat(),
        "cutoff": str(origin.cutoff)[:19],
    }


def _scores_at(scores: Mapping[str, Mapping[str, list[float | None]]], n: int) -> dict[str, dict[str, float | None]]:
    """By method and metric, the n-th of the scores."""
    return {method: {metric: values[n] for metric, values in by_metric.items()} for method, by_metric in scores.items()}


def load_backtest_inputs(
    recipe: Recipe, store: Store, clock: Callable[[], datetime], plan: BacktestPlan
) -> BacktestInputs:
    """Read what a backtest needs: the values known now, and for each origin those known then."""
    present = _load_present(recipe, store, clock)
    vintages = [] if plan.as_of_now else store.observations.vintages(recipe.name)

    def read_panel(as_of: datetime) -> Panel:
        panel = store.observations.panel(recipe, as_of, recorded_by=LATEST)
        assert panel is not None
        return panel

    return prepare_backtest(present, recipe, plan, vintages=vintages, read_panel=read_panel)


def prepare_backtest(
    present: Panel,
    recipe: Recipe,
    plan: BacktestPlan,
    *,
    vintages: Sequence[Vintage] = (),
    read_panel: ReadPanel | None = None,
) -> BacktestInputs:
    """Choose the origins of a plan, and what each of them sees.

    Args:
        present: all values known now.
        recipe: what is forecast.
        plan: how many origins, and which window of the history.
        vintages: which data were known when; without any, present values are cut at each origin.
        read_panel: reads the panel as of an instant; needed with `vintages`.

    Raises:
        InvalidArgument: the plan cannot be carried out.
        NotEnoughHistory: the history is too short for so many origins.
    """
    _warn_of_unknown_covariates(present, recipe)
    positions = place_origins(present, recipe, plan)
    origins = inputs_at_origins(
        present.grid[positions], present, recipe, plan, vintages=vintages, read_panel=read_panel
    )
    for origin in origins:
        _require_history(origin.panel, recipe)
    return BacktestInputs(present=present, positions=positions, origins=tuple(origins))


def _warn_of_unknown_covariates(present: Panel, recipe: Recipe) -> None:
    """Say that origins know no more ahead than the newest period does, where that is not everything."""
    missing = find_missing_covariates(present, recipe)
    if missing is None or not any(missing.reasons):
        return
    example = next(reason for reason in missing.reasons if reason is not None)
    instead = "the last value is carried forward" if recipe.covariates.carries_forward else "the baseline stands in"
    logger.warning(
        "%s now, so neither is it at an origin whose data were cut: %s there; deliver rows for the periods ahead to "
        "backtest with them",
        example,
        instead,
    )


def inputs_at_origins(
    origins: Periods,
    present: Panel,
    recipe: Recipe,
    plan: BacktestPlan,
    *,
    vintages: Sequence[Vintage] = (),
    read_panel: ReadPanel | None = None,
) -> list[OriginInputs]:
    """Cut what each origin sees out of the data known then, with short gaps filled.

    Args:
        origins: [O], ascending.
        present: all values known now.
        recipe: what is forecast.
        plan: which window of the history.
        vintages: which data were known when; without any, present values are cut at each origin.
        read_panel: reads the panel as of an instant; needed with `vintages`.
    """
    inputs: list[OriginInputs] = []
    first_length = 0
    for origin in origins:
        snapshot = snapshot_at(origin, vintages)
        panel = present if snapshot.as_of is None or read_panel is None else read_panel(snapshot.as_of)
        panel = panel.until(int(np.searchsorted(panel.grid, origin, side="right")) - 1)
        first_length = first_length or len(panel.grid)
        panel = prepare_panel(select_window(panel, plan, first_length), recipe)
        inputs.append(OriginInputs(panel=panel, snapshot=snapshot))
    return inputs


def produce_backtest(inputs: BacktestInputs, recipe: Recipe, plan: BacktestPlan) -> RollingBacktest:
    """Fit and forecast at each origin, in a training process, and compare with what is known now.

    Raises:
        ModelRefused: a fit did not stay finite.
        TrainingFailed: the training process crashed, was killed, or ran past its limits.
    """
    panels = [origin.panel for origin in inputs.origins]
    fitted = _fit(panels if plan.refit == "always" else panels[:1], recipe)
    fitted = fitted if plan.refit == "always" else fitted * len(panels)
    parts = [_forecast_at(origin, fit, recipe, plan) for origin, fit in zip(inputs.origins, fitted, strict=True)]
    fingerprint = hash_backtest(recipe, plan, panels, inputs.present, code_version())
    return combine_origins(parts, inputs.present, inputs.positions, plan, fingerprint)


def _load_present(recipe: Recipe, store: Store, clock: Callable[[], datetime]) -> Panel:
    """All values known now, gaps included; an empty store ingests the source first."""
    panel = store.observations.panel(recipe, LATEST)
    if panel is None:
        with record_attempt(recipe, store, "ingest", clock):
            ingest_source(recipe, store, clock())
        panel = store.observations.panel(recipe, LATEST)
    if panel is None:
        raise NoObservations(f"there are no observations of {recipe.name}, and its source has none")
    return panel


def _require_history(panel: Panel, recipe: Recipe) -> None:
    try:
        require_trainable(panel, recipe)
    except NotEnoughHistory as short:
        raise NotEnoughHistory(
            f"at origin {format_period(panel.origin)}, {short}; or use the values known now: --as-of-now"
        ) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class _FittedAtOrigin:
    forecaster: Forecaster
    record: FitRecord


def _fit(panels: Sequence[Panel], recipe: Recipe) -> list[_FittedAtOrigin]:
    return [
        _FittedAtOrigin(forecaster=load_forecaster(files, hash_model(files)), record=record)
        for files, record in run_fits(panels, recipe)
    ]


def _forecast_at(inputs: OriginInputs, fitted: _FittedAtOrigin, recipe: Recipe, plan: BacktestPlan) -> OriginForecasts:
    """Forecast from one origin by every method."""
    panel, forecaster = select_active(inputs.panel, recipe), fitted.forecaster
    forecast = produce_forecast(
        ForecastInputs(recipe=recipe, forecaster=forecaster, panel=panel, calibration=forecaster.calibration)
    )
    assert panel.as_of is not None
    origin = Origin(
        origin=panel.origin,
        as_of=panel.as_of,
        known="cut" if inputs.snapshot.is_cut else "then",
        num_periods=len(panel.grid),
        cutoff=forecaster.cutoff,
        epochs=fitted.record.epochs,
        num_series=len(panel.series),
        num_fallback=sum(method != NETWORK for method in forecast.method),
        data_hash=inputs.panel.data_hash,
    )
    statistical = _forecast_statistically(panel, recipe) if plan.classical else {}
    return collect_forecasts(origin, panel, forecast, recipe, statistical)


def _forecast_statistically(panel: Panel, recipe: Recipe) -> dict[str, MethodForecast]:
    """AutoETS, AutoARIMA and Theta; their mean is the median."""
    step = f"AutoETS, AutoARIMA and Theta at {format_period(panel.origin)}"
    logger.debug("classical", extra={"step": step})
    report_progress(step)
    quantiles = forecast_statistical(panel, recipe.horizon, recipe.season)
    return {
        name: MethodForecast(mean=values[:, :, values.shape[2] // 2], quantiles=values)
        for name, values in quantiles.items()
    }
