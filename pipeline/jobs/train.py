"""Train if that is due or asked for; otherwise keep the champion."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pipeline.config.history import require_history
from pipeline.config.recipe import Recipe
from pipeline.forecasting.forecaster import hash_model, load_forecaster
from pipeline.jobs.inputs import lineage_of, load_panel
from pipeline.jobs.training_decision import TrainingDecision, decide_training
from pipeline.preprocessing import gaps
from pipeline.records.lineage import Lineage, ModelVersion
from pipeline.records.training import PROMOTED, ProtocolRecord, TrainingRecord
from pipeline.storage.leases import current_holder
from pipeline.storage.models import NewModel
from pipeline.storage.store import Store
from pipeline.timeseries.panel import Panel
from pipeline.tracking.registry import Registry
from pipeline.training.job import TrainingJob
from pipeline.training.process import run_training
from pipeline.training.progress import OnProgress

logger = logging.getLogger(__name__)


#: a worker that is this late with its training is taken for dead
LEASE_MARGIN = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """The model that publishes, and what was done about it."""

    training: str
    reason: str
    model_version: int
    skill: float | None


def train_model(
    recipe: Recipe,
    store: Store,
    now: datetime,
    *,
    asked: str | None = None,
    as_of: datetime | None = None,
    registry: Registry | None = None,
) -> TrainResult:
    """Train if that is due or asked for; otherwise keep the champion.

    A registry shows the training while it runs.

    Raises:
        NoObservations: nothing was ingested yet.
        NotEnoughHistory: every series is too short.
        ModelRefused: the training did not stay finite; the champion stays.
    """
    decided = decide_training(recipe, store, asked, as_of)
    if decided.kept is None:
        with _leased(recipe, store) as fencing_token:
            decided = decide_training(recipe, store, asked, as_of)
            if decided.kept is None:
                return _train(decided, store, now, fencing_token=fencing_token, registry=registry)
    champion = decided.kept
    decided.remember(store, now)
    logger.info("kept model %s: %s", champion.model_version, decided.reason)
    return TrainResult(
        training="keep", reason=decided.reason, model_version=champion.model_version, skill=champion.skill
    )


@contextmanager
def _leased(recipe: Recipe, store: Store) -> Iterator[int]:
    """Hold the recipe as long as a training may take; nobody else trains it meanwhile."""
    lasts = timedelta(minutes=recipe.training.time_limit_minutes) + LEASE_MARGIN
    fencing_token = store.leases.acquire(recipe.name, current_holder(), lasts)
    try:
        yield fencing_token
    finally:
        store.leases.release(recipe.name, fencing_token)


def _train(
    decided: TrainingDecision, store: Store, now: datetime, *, fencing_token: int, registry: Registry | None
) -> TrainResult:
    recipe, champion, publishes = decided.recipe, decided.champion, decided.as_of is None
    panel = load_panel(recipe, store, decided.as_of)
    lineage = lineage_of(recipe, panel)
    _refuse_untrainable(panel, recipe)
    job = TrainingJob(
        panel=panel,
        recipe=recipe,
        training=decided.training,
        reason=decided.reason,
        champion=store.models.files(champion) if champion else None,
        champion_hash=champion.model_hash if champion else "",
        tutorial=_tutorial_so_far(recipe, champion),
    )
    with _shown_live(registry, decided, lineage, now) as on_progress:
        outcome = run_training(job, on_progress)
    replace(decided, training=outcome.record.training, reason=outcome.record.reason).remember(store, now)
    model_hash = hash_model(outcome.files)
    load_forecaster(outcome.files, model_hash)
    challenger = NewModel(
        recipe=recipe,
        record=outcome.record,
        model_hash=model_hash,
        files={**outcome.files, "network.keras": outcome.keras_archive},
        lineage=lineage,
        expected_champion=champion.model_version if champion and publishes else None,
        publishes=publishes,
        fencing_token=fencing_token,
    )
    return _told(store.models.add(challenger, now), outcome.record, champion)


def _refuse_untrainable(panel: Panel, recipe: Recipe) -> None:
    longest = int(panel.lengths.argmax())
    require_history(panel.series[longest], int(panel.lengths[longest]), recipe)
    constant = [name for s, name in enumerate(panel.series) if gaps.is_constant(panel.series_values(s))]
    if constant:
        logger.warning("constant: %s", ", ".join(constant[:5]))


def _shown_live(
    registry: Registry | None, decided: TrainingDecision, lineage: Lineage, now: datetime
) -> AbstractContextManager[OnProgress | None]:
    if registry is None:
        return nullcontext()
    return registry.stream_training(
        decided.recipe, lineage, training=decided.training, reason=decided.reason, started_at=now
    )


def _told(model_version: int, record: TrainingRecord, champion: ModelVersion | None) -> TrainResult:
    """The model that publishes after a training, which is the champion's where the gate let nothing through."""
    logger.info("trained model %s (%s: %s)", model_version, record.training, record.reason)
    gate = record.gate
    if gate is None or gate.outcome == PROMOTED or champion is None:
        skill = record.backtest.skill if record.backtest else None
        return TrainResult(training=record.training, reason=record.reason, model_version=model_version, skill=skill)
    stays = champion.model_version
    logger.info("model %s stays: model %s is %s: %s", stays, model_version, gate.outcome, gate.reason)
    reason = f"{record.reason}; {gate.outcome}: {gate.reason}"
    return TrainResult(training=record.training, reason=reason, model_version=stays, skill=champion.skill)


def _tutorial_so_far(recipe: Recipe, champion: ModelVersion | None) -> tuple[ProtocolRecord, ...]:
    """The tutorial's figures, which are made once: they are about its protocol, not about today."""
    if champion is None or champion.record.tutorial_fingerprint != recipe.tutorial_fingerprint:
        return ()
    return champion.record.tutorial
