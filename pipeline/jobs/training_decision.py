"""What is decided about a recipe's training, from what the store knows, and kept as a row."""

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
    """What is to be done about a recipe's training."""

    recipe: Recipe
    #: the model that publishes
    champion: ModelVersion | None
    #: "retrain", "fine-tune" or "keep"
    training: str
    reason: str
    #: the instant as of which it is decided; None: now
    as_of: datetime | None

    @property
    def kept(self) -> ModelVersion | None:
        """The champion, where it is to stay as it is."""
        return self.champion if self.training == "keep" else None

    def remember(self, store: Store, now: datetime) -> None:
        """Keep it as a row; the same as before is the row that it was."""
        known = store.batches.latest_as_of(self.recipe.name, self.as_of or LATEST)
        assert known is not None
        decided = Decision(
            what="training",
            kind=run_kind(self.as_of),
            outcome=self.training,
            reason=self.reason,
            model_version=self.champion.model_version if self.champion else None,
            as_of=known.recorded_at,
        )
        store.models.record_decision(self.recipe.name, decided, now)


def decide_training(recipe: Recipe, store: Store, asked: str | None, as_of: datetime | None) -> TrainingDecision:
    """What the policy says of a recipe, by what is known, or was known at an instant."""
    champion = store.models.champion(recipe.name) if as_of is None else store.models.champion_as_of(recipe.name, as_of)
    decision = retraining_policy.choose_training(recipe, _models_so_far(recipe, store, champion, as_of), asked=asked)
    return TrainingDecision(
        recipe=recipe, champion=champion, training=decision.training, reason=decision.reason, as_of=as_of
    )


def _models_so_far(
    recipe: Recipe, store: Store, champion: ModelVersion | None, as_of: datetime | None
) -> retraining_policy.ModelHistory | None:
    newest = load_panel(recipe, store, as_of, length=1).origin
    last = store.models.newest(recipe.name, as_of or LATEST)
    if champion is None or last is None:
        return None
    from_seed = store.models.newest(recipe.name, as_of or LATEST, training="retrain") or last
    new_periods = _periods_after(recipe, last.cutoff, newest)
    return retraining_policy.ModelHistory(
        training_fingerprint=last.training_fingerprint,
        new_periods=new_periods,
        age=_periods_after(recipe, from_seed.cutoff, newest),
        drift=_drift(recipe, store, champion, as_of) if retraining_policy.is_judged(recipe, new_periods) else None,
        unusable=_unusable(store, champion),
        seconds=from_seed.record.seconds,
    )


def _unusable(store: Store, champion: ModelVersion) -> str | None:
    """What is wrong with the champion's files, so far as it shows without running the network."""
    try:
        read_model_fields(store.models.files(champion), champion.model_hash)
    except ModelRefused as refusal:
        return str(refusal)
    return None


def _drift(recipe: Recipe, store: Store, champion: ModelVersion, as_of: datetime | None) -> str | None:
    """What the champion's published forecasts show, as far as their periods are observed."""
    kind, instant = run_kind(as_of), as_of or LATEST
    store.scores.score(recipe.name, kind, instant)
    outcomes = store.scores.outcomes_by_period(recipe.name, kind, model_version=champion.model_version, as_of=instant)
    finding = drift.found(outcomes)
    return finding.reason if finding else None


def _periods_after(recipe: Recipe, cutoff: np.datetime64, newest: np.datetime64) -> int:
    return int((recipe.grid.between(cutoff, newest) > cutoff).sum())
