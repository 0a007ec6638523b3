"""Train a model on a panel of any size: search → backtest → gate → final fit → model directory.

Three parts of the history serve different purposes. Held-out origins inside the fitting part stop the network, the test
part, which neither fitting nor stopping has seen, judges it, and then it is fitted again on the whole history for the
number of epochs that was found.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused
from pipeline.evaluation.comparison import series_worse_than_baseline
from pipeline.evaluation.holdout import HoldoutBacktest
from pipeline.evaluation.holdout_record import build_backtest_record
from pipeline.preprocessing.windows import Windows, have_enough_context
from pipeline.records.training import FitRecord, GateRecord, TrainingRecord
from pipeline.text import counted
from pipeline.timeseries.panel import Panel
from pipeline.training.backtest import backtest_plan, last_fitted_position
from pipeline.training.champion import Champion, UnusableChampion
from pipeline.training.ensemble import Ensemble, FitPlan, Search, search_epochs
from pipeline.training.export import attention_weights
from pipeline.training.gate import judge_challenger
from pipeline.training.history import fit_recipe_scaling, no_window_message
from pipeline.training.members import Member
from pipeline.training.model_directory import build_model_directory
from pipeline.training.process_files import TrainedModel
from pipeline.training.progress import OnEpoch


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plans:
    """What is fitted in a training."""

    #: None: not needed, or the history is too short for it
    search: Search | None
    #: fitted without the test part
    backtest: FitPlan
    #: fitted on the whole panel
    final: FitPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class _Phases:
    """What the phases of a training gave."""

    search: Search | None
    backtest: HoldoutBacktest | None
    gate: GateRecord
    ensemble: Ensemble


def train(
    panel: Panel,
    recipe: Recipe,
    *,
    champion: Champion | UnusableChampion | None = None,
    fine_tune: bool = False,
    reason: str = "",
    on_epoch: OnEpoch | None = None,
) -> TrainedModel:
    """Train a challenger on the whole panel, and judge it.

    Args:
        panel: without gaps longer than the recipe allows; its origin is the model's cutoff.
        recipe: what to fit.
        champion: the current model, to beat or to fine-tune; None: there is none yet.
        fine_tune: start from the champion's weights; a champion that cannot be used is replaced from scratch.
        reason: why the model is trained, for the record.
        on_epoch: called after each epoch of each fit.

    Returns:
        the model with its record, which still lacks seconds and the tutorial's figures.

    Raises:
        ModelRefused: the training did not stay finite, or no series has a window to fit on.
    """
    tuned = champion if fine_tune and isinstance(champion, Champion) else None
    unusable_because = champion.reason if isinstance(champion, UnusableChampion) else None

    plans = _search_and_plan(panel, recipe, tuned, on_epoch)
    backtest = _run_backtest(panel, plans.backtest, on_epoch)
    gate = judge_challenger(panel, recipe, backtest, champion, on_epoch)
    ensemble = _fit_final(panel, plans.final, on_epoch)
    files, archive = build_model_directory(panel, recipe, ensemble, backtest, instead_of=unusable_because)

    phases = _Phases(search=plans.search, backtest=backtest, gate=gate, ensemble=ensemble)
    training = "fine-tune" if tuned else "retrain"
    if unusable_because and unusable_because not in reason:
        reason = f"{reason}; {unusable_because}"
    record = _build_record(panel, recipe, phases, training=training, reason=reason)
    return TrainedModel(files=files, keras_archive=archive, record=record)


def train_without_gate(
    panel: Panel, recipe: Recipe, on_epoch: OnEpoch | None = None
) -> tuple[dict[str, bytes], FitRecord]:
    """Train a model from scratch for a backtest at past origins: the same files, and what is recorded of the fit.

    Raises:
        ModelRefused: the training did not stay finite, or no series has a window to fit on.
    """
    plans = _search_and_plan(panel, recipe, None, on_epoch)
    backtest = _run_backtest(panel, plans.backtest, on_epoch)
    ensemble = _fit_final(panel, plans.final, on_epoch)
    files, _ = build_model_directory(panel, recipe, ensemble, backtest)
    record = FitRecord(
        epochs=ensemble.members[0].settings.epochs, num_windows=ensemble.num_windows, loss=ensemble.fitted[0].loss
    )
    return files, record


def _search_and_plan(panel: Panel, recipe: Recipe, tuned: Champion | None, on_epoch: OnEpoch | None) -> _Plans:
    """Search for the number of epochs where it is not fixed, and plan both fits.

    A fine-tuned model is backtested by the same fine-tuning before the test part. If the champion was already fitted
    on the test part, the backtest is fitted from scratch instead.
    """
    cutoff = last_fitted_position(panel, recipe)
    fine_tuning = FitPlan(recipe=recipe, champion=tuned, fine_tune=True) if tuned else None
    if fine_tuning and tuned and cutoff >= 0 and not tuned.was_fitted_after(panel.grid[cutoff]):
        return _Plans(search=None, backtest=fine_tuning, final=fine_tuning)
    search = search_epochs(panel, recipe, cutoff, on_epoch)
    from_scratch = FitPlan(recipe=recipe, search=search)
    return _Plans(search=search, backtest=from_scratch, final=fine_tuning or from_scratch)


def _run_backtest(panel: Panel, plan: FitPlan, on_epoch: OnEpoch | None) -> HoldoutBacktest | None:
    backtest = backtest_plan(panel, plan, last_fitted_position(panel, plan.recipe), on_epoch)
    gc.collect()  # networks are cycles of references, each of which holds the panel
    return backtest


def _fit_final(panel: Panel, plan: FitPlan, on_epoch: OnEpoch | None) -> Ensemble:
    ensemble = plan.fit(panel, on_epoch)
    if ensemble is None:
        raise ModelRefused(_no_window_message(panel, plan))
    return ensemble


def _no_window_message(panel: Panel, plan: FitPlan) -> str:
    needs = max((member.needs for member in plan.members(panel)), key=lambda needs: needs.least_length)
    return no_window_message(needs, plan.recipe, logarithms=fit_recipe_scaling(panel, plan.recipe).logarithms)


def _build_record(panel: Panel, recipe: Recipe, phases: _Phases, *, training: str, reason: str) -> TrainingRecord:
    search, backtest, ensemble = phases.search, phases.backtest, phases.ensemble
    members = ensemble.members
    return TrainingRecord(
        training=training,
        reason=reason,
        loss=ensemble.fitted[0].loss,
        validation_loss=search.validation_loss if search else (),
        epochs=members[0].settings.epochs,
        num_windows=ensemble.num_windows,
        num_series=len(panel.series),
        attention=_mean_attention(panel, ensemble),
        designs=tuple(_describe_member(member, ensemble.shrinkage) for member in members if member.config),
        began=str(panel.grid[panel.first.min()]),
        num_observations=int(np.isfinite(panel.values).sum()),
        cutoff=str(panel.origin),
        backtest=build_backtest_record(backtest, panel, recipe) if backtest else None,
        tutorial=(),
        tutorial_fingerprint=recipe.tutorial_fingerprint,
        gate=phases.gate,
        worse=series_worse_than_baseline(backtest, recipe.gate.baseline, panel.series) if backtest else {},
    )


def _describe_member(member: Member, shrinkage: float) -> str:
    """What a member of the global network reads and how it was fitted, as MLflow shows it."""
    assert member.config is not None
    num_steps = member.settings.epochs * (member.settings.steps_per_epoch or 0)
    text = str(member.config)
    if num_steps < member.config.steps - 12:  # epochs are whole: a few steps are lost by rounding
        text += f", stopped after {counted(num_steps, 'step')}"
    if shrinkage < 1:
        text += f", {shrinkage:.0%} of the correction counts"
    return text


def _mean_attention(panel: Panel, ensemble: Ensemble) -> tuple[float, ...]:
    """Attention of the first member to each step of the context [L], the mean over the newest window of each series.

    Empty for networks without attention.
    """
    windows = Windows(np.arange(len(panel.series)), panel.last)
    windows = windows.take(have_enough_context(panel, windows, ensemble.needs))
    inputs = ensemble.prepare_inputs(panel, windows)
    weights = attention_weights(ensemble.fitted[0].trunk, inputs.inputs)
    return () if weights is None else tuple(weights.mean(axis=0).tolist())
