"""Judge a challenger: it, the champion and the baseline forecast from the same origins, on which none was fitted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.evaluation.comparison import choose_baseline, compare_errors, forecast_windows
from pipeline.evaluation.holdout import HoldoutBacktest
from pipeline.evaluation.promotion import ErrorComparison, Verdict, decide_promotion
from pipeline.preprocessing.windows import Windows
from pipeline.records.training import GateRecord
from pipeline.timeseries.panel import Panel
from pipeline.training.backtest import backtest_plan, last_fitted_position
from pipeline.training.champion import Champion, UnusableChampion
from pipeline.training.progress import OnEpoch

Array = npt.NDArray[np.float64]

_NOT_INSTALLED = "the champion began with a pretrained network that this installation does not have"


def judge_challenger(
    panel: Panel,
    recipe: Recipe,
    backtest: HoldoutBacktest | None,
    champion: Champion | UnusableChampion | None,
    on_epoch: OnEpoch | None,
) -> GateRecord:
    """Decide whether a challenger is promoted.

    Args:
        panel: with the test part.
        recipe: of the challenger.
        backtest: of the challenger; None: its history is too short for one.
        champion: the current model; None: there is none yet.
        on_epoch: called after each epoch, if the champion has to be fitted again.
    """
    baseline = choose_baseline(backtest, recipe.gate.baseline)
    replaced_because = _why_replaced(champion, recipe)
    errors = None
    if backtest is not None:
        rival = None
        if isinstance(champion, Champion) and replaced_because is None:
            if _must_refit(champion, recipe, panel):
                if champion.can_be_fitted_again:
                    rival = _refit_and_forecast(panel, recipe, backtest, champion, on_epoch)
                else:
                    replaced_because = _NOT_INSTALLED
            else:
                backtest = _after_cutoff(backtest, champion, panel)
                rival = forecast_windows(champion.forecaster, panel, backtest.windows)
        baseline = choose_baseline(backtest, recipe.gate.baseline)
        errors = compare_errors(backtest, rival, baseline)
    return _gate_record(decide_promotion(errors, baseline=baseline, replaced=replaced_because), errors)


def _why_replaced(champion: Champion | UnusableChampion | None, recipe: Recipe) -> str | None:
    """Why there is no champion to beat; None: there is one."""
    if champion is None:
        return "the first model"
    if isinstance(champion, UnusableChampion):
        return champion.reason
    if not champion.is_comparable_with(recipe):
        return "the champion forecasts other periods, or reads other covariates"
    return None


def _must_refit(champion: Champion, recipe: Recipe, panel: Panel) -> bool:
    """Whether the champion must be fitted again to be judged on the test part.

    A champion of another recipe that was fitted on the test part would be judged on what it has seen. One of the same
    recipe is judged on the periods after its cutoff alone: fitted again it would be the challenger itself.
    """
    test_part_was_seen = champion.was_fitted_after(panel.grid[last_fitted_position(panel, recipe)])
    return test_part_was_seen and champion.recipe.training_fingerprint != recipe.training_fingerprint


def _after_cutoff(backtest: HoldoutBacktest, champion: Champion, panel: Panel) -> HoldoutBacktest:
    """The origins at or after the champion's cutoff."""
    return backtest.take(panel.grid[backtest.windows.end] >= champion.forecaster.cutoff)


def _refit_and_forecast(
    panel: Panel, recipe: Recipe, backtest: HoldoutBacktest, champion: Champion, on_epoch: OnEpoch | None
) -> Array | None:
    """Forecasts [N, H] for the backtest's windows by the champion's recipe, fitted without the test part.

    NaN where it has none; None where it cannot be fitted on so short a history.
    """
    from pipeline.training.ensemble import FitPlan  # imports Keras, which the first model may not need

    plan = FitPlan(recipe=champion.recipe, champion=champion)
    refitted = backtest_plan(panel, plan, last_fitted_position(panel, recipe), on_epoch)
    return None if refitted is None else _align(refitted, backtest.windows)


def _align(backtest: HoldoutBacktest, windows: Windows) -> Array:
    """The backtest's forecasts [N, H] in the order of other windows; NaN for windows that it lacks."""
    row_of = {pair: row for row, pair in enumerate(zip(backtest.windows.series, backtest.windows.end, strict=True))}
    forecast = np.full((len(windows), backtest.forecast.shape[1]), np.nan)
    for n, pair in enumerate(zip(windows.series, windows.end, strict=True)):
        if pair in row_of:
            forecast[n] = backtest.forecast[row_of[pair]]
    return forecast


def _gate_record(verdict: Verdict, errors: ErrorComparison | None) -> GateRecord:
    if errors is None:
        return GateRecord(outcome=verdict.outcome, reason=verdict.reason)
    return GateRecord(
        outcome=verdict.outcome,
        reason=verdict.reason,
        challenger=_mean(errors.challenger),
        champion=_mean(errors.champion),
        baseline=_mean(errors.baseline),
        p_value=verdict.p_value,
        num_periods=len(errors.challenger),
        num_series=errors.num_series,
    )


def _mean(errors: Array | None) -> float | None:
    return None if errors is None or not len(errors) else float(errors.mean())
