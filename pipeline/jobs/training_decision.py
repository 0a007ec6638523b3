"""Decide whether to keep, fine-tune or retrain a recipe's model, from what the store holds, and record the decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused
from pipeline.evaluation import drift, retraining_policy
from pipeline.forecasting.forecaster import read_model_fields
from pipeline.jobs.inputs import LATEST, load_panel
from pipeline.records.lineage import Decision, ModelVersion, run_kind
from pipeline.storage.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingDecision:
    """What to do about a recipe's model, and why."""

    recipe: Recipe
    #: the model that publishes at present
    champion: ModelVersion | None
    #: "retrain", "fine-tune" or "keep"
    training: str
    reason: str
    #: only what was recorded by this instant counted; None: everything
    as_of: datetime | None
    #: whether a first model is fitted, where it could be published as it ships
    is_fitted: bool = True

    @property
    def kept(self) -> ModelVersion | None:
        """The champion if it is to be kept."""
        return self.champion if self.training == "keep" else None


def decide_training(recipe: Recipe, store: Store, requested: str | None, as_of: datetime | None) -> TrainingDecision:
    """Apply the retraining policy to a recipe's models and observations.

    Args:
        recipe: what is forecast.
        store: holds models, observations and scores.
        requested: "retrain", "fine-tune" or "keep", whatever the policy says; None: the policy decides.
        as_of: only what was recorded by this instant counts; None: everything.

    Raises:
        NoObservations: nothing was recorded by then.
    """
    champion = store.models.champion(recipe.name) if as_of is None else store.models.champion_as_of(recipe.name, as_of)
    history = _model_history(recipe, store, champion, as_of)
    choice = retraining_policy.choose_training(recipe, history, requested=requested)
    return TrainingDecision(
        recipe=recipe,
        champion=champion,
        training=choice.training,
        reason=choice.reason,
        as_of=as_of,
        is_fitted=champion is not None or (requested or recipe.training.policy) != "keep",
    )


def record_training_decision(decision: TrainingDecision, store: Store, now: datetime) -> None:
    """Store a decision as a row; the same decision as the last one adds none."""
    as_of = _newest_instant(decision, store)
    row = Decision(
        what="training",
        kind=run_kind(decision.as_of),
        outcome=decision.training,
        reason=decision.reason,
        model_version=decision.champion.model_version if decision.champion else None,
        as_of=as_of,
    )
    store.models.record_decision(decision.recipe.name, row, now)


def _newest_instant(decision: TrainingDecision, store: Store) -> datetime:
    """The newest instant up to the decision's at which data were recorded or, of a backfill, known."""
    name, as_of = decision.recipe.name, decision.as_of
    if as_of is None:
        latest = store.batches.latest_as_of(name, LATEST)
        assert latest is not None
        return latest.recorded_at
    known = store.batches.known_by(name, as_of, LATEST)
    assert known is not None
    return known.as_of


def _model_history(
    recipe: Recipe, store: Store, champion: ModelVersion | None, as_of: datetime | None
) -> retraining_policy.ModelHistory | None:
    """What the policy needs to know of the recipe's models; None before the first."""
    newest_period = load_panel(recipe, store, as_of, length=1).origin
    newest = store.models.newest(recipe.name, as_of or LATEST)
    if champion is None or newest is None:
        return None
    retrained = store.models.newest(recipe.name, as_of or LATEST, training="retrain") or newest
    new_periods = _count_periods(recipe, newest.cutoff, newest_period)
    return retraining_policy.ModelHistory(
        training_fingerprint=newest.training_fingerprint,
        new_periods=new_periods,
        age=_count_periods(recipe, retrained.cutoff, newest_period),
        drift=_find_drift(recipe, store, champion, as_of)
        if retraining_policy.is_drift_due(recipe, new_periods)
        else None,
        unusable=_find_damage(store, champion),
        seconds=retrained.record.seconds,
    )


def _find_damage(store: Store, champion: ModelVersion) -> str | None:
    """What is wrong with the champion's files, as far as that shows without running the network."""
    try:
        read_model_fields(store.models.files(champion), champion.model_hash)
    except ModelRefused as refusal:
        return str(refusal)
    return None


def _find_drift(recipe: Recipe, store: Store, champion: ModelVersion, as_of: datetime | None) -> str | None:
    """The drift of the champion's published errors, in words, up to the periods observed by then."""
    kind, instant = run_kind(as_of), as_of or LATEST
    store.scores.score(recipe.name, kind, instant)
    outcomes = store.scores.outcomes_by_period(recipe.name, kind, model_version=champion.model_version, as_of=instant)
    finding = drift.find_drift(outcomes)
    return finding.reason if finding else None


def _count_periods(recipe: Recipe, after: np.datetime64, until: np.datetime64) -> int:
    """The number of periods after one period, up to another inclusive."""
    return int((recipe.grid.between(after, until) > after).sum())
