"""Train if that is due or requested; otherwise keep the champion."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pipeline.config.recipe import Recipe
from pipeline.errors import NotEnoughHistory
from pipeline.forecasting.forecaster import hash_model, load_forecaster
from pipeline.jobs.inputs import load_panel, new_lineage
from pipeline.jobs.training_decision import TrainingDecision, decide_training, record_training_decision
from pipeline.preprocessing import gaps
from pipeline.records.lineage import Lineage, ModelVersion
from pipeline.records.training import PROMOTED, ProtocolRecord, TrainingRecord
from pipeline.storage.leases import current_holder
from pipeline.storage.models import NewModel
from pipeline.storage.store import Store
from pipeline.timeseries.panel import Panel
from pipeline.tracking.registry import Registry
from pipeline.training.history import require_trainable
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainedModel, TrainingJob
from pipeline.training.progress import OnProgress

logger = logging.getLogger(__name__)

#: how long a lease outlasts the training's time limit, before its worker counts as dead
LEASE_MARGIN = timedelta(minutes=10)
#: names of constant series that a warning lists
_MAX_LISTED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """The current model, and what was done about it."""

    #: "retrain", "fine-tune" or "keep"
    training: str
    reason: str
    #: None: no network could be trained yet
    model_version: int | None
    skill: float | None
    #: what the skill is measured against
    baseline: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingInputs:
    """A training job, and where its data come from."""

    job: TrainingJob
    lineage: Lineage


def train_model(
    recipe: Recipe,
    store: Store,
    now: datetime,
    *,
    requested: str | None = None,
    as_of: datetime | None = None,
    registry: Registry | None = None,
) -> TrainResult:
    """Train if that is due or requested; otherwise keep the champion.

    Where the history is too short to train on, the champion is kept, if there is one, and the reason says what is missing.

    Args:
        recipe: what is forecast.
        store: holds observations and models.
        now: the instant of the training.
        requested: "retrain", "fine-tune" or "keep", whatever the policy says; None: the policy decides.
        as_of: use only what was recorded by this instant; the model is then never promoted. None: everything.
        registry: shows the epochs in MLflow while the training runs; None: does not.

    Raises:
        NoObservations: nothing was ingested yet.
        Busy: another worker trains the recipe.
        ModelRefused: the training did not stay finite; the champion stays.
        TrainingFailed: the training process crashed, was killed, or ran past its limits.
    """
    decision = decide_training(recipe, store, requested, as_of)
    if decision.kept is None:
        with _training_lease(recipe, store) as fencing_token:
            decision = decide_training(recipe, store, requested, as_of)  # another worker may just have trained
            if decision.kept is None:
                try:
                    return _train(decision, store, now, fencing_token=fencing_token, registry=registry)
                except NotEnoughHistory as shortage:
                    decision = replace(decision, training="keep", reason=str(shortage))
    return _keep(decision, store, now)


def _keep(decision: TrainingDecision, store: Store, now: datetime) -> TrainResult:
    """The champion, if there is one, with the reason why it is kept."""
    record_training_decision(decision, store, now)
    champion = decision.champion
    if champion is None:
        logger.warning("%s: baselines forecast every series: %s", decision.recipe.name, decision.reason)
        return TrainResult(training="keep", reason=decision.reason, model_version=None, skill=None)
    logger.info("kept model %s: %s", champion.model_version, decision.reason)
    return TrainResult(
        training="keep",
        reason=decision.reason,
        model_version=champion.model_version,
        skill=champion.skill,
        baseline=champion.record.resolve_baseline(decision.recipe.gate.baseline),
    )


@contextmanager
def _training_lease(recipe: Recipe, store: Store) -> Iterator[int]:
    """Hold the recipe's lease for as long as a training may take; gives the fencing token."""
    duration = timedelta(minutes=recipe.training.time_limit_minutes) + LEASE_MARGIN
    fencing_token = store.leases.acquire(recipe.name, current_holder(), duration)
    try:
        yield fencing_token
    finally:
        store.leases.release(recipe.name, fencing_token)


def _train(
    decision: TrainingDecision, store: Store, now: datetime, *, fencing_token: int, registry: Registry | None
) -> TrainResult:
    inputs = load_training_inputs(decision, store)
    trained = _publish_as_shipped(decision, inputs.job)
    if trained is None:
        with _epochs_in_mlflow(registry, decision, inputs.lineage, now) as on_progress:
            trained = run_training(inputs.job, on_progress)
    record = trained.record
    record_training_decision(replace(decision, training=record.training, reason=record.reason), store, now)
    model_version = store.models.add(_new_model(decision, trained, inputs.lineage, fencing_token), now)
    return _result(model_version, record, decision)


def _publish_as_shipped(decision: TrainingDecision, job: TrainingJob) -> TrainedModel | None:
    """A first model that is not fitted, because nobody wants it or nothing could be; None: it has to be fitted."""
    if decision.champion is not None:
        return None
    # imports SciPy and ONNX, which a cycle without a training does not need
    from pipeline.training.as_shipped import can_be_fitted, has_shipped_network, make_shipped_model

    if not has_shipped_network(job.panel, job.recipe):
        return None
    if not decision.is_fitted:
        reason = f"{job.reason}; asked to keep: the pretrained network is published as it ships"
    elif not can_be_fitted(job.panel, job.recipe):
        reason = f"{job.reason}; the history is too short to fit the pretrained network on"
    else:
        return None
    began = time.monotonic()
    trained = make_shipped_model(job.panel, job.recipe, reason=reason)
    seconds = round(time.monotonic() - began, 1)
    return replace(trained, record=trained.record.model_copy(update={"seconds": seconds}))


def load_training_inputs(decision: TrainingDecision, store: Store) -> TrainingInputs:
    """Read what a training needs: the panel, and the champion to fine-tune or to compare with.

    Raises:
        NoObservations: nothing was ingested yet.
        NotEnoughHistory: no network can be fitted on so short a history.
    """
    recipe, champion = decision.recipe, decision.champion
    panel = load_panel(recipe, store, decision.as_of)
    _require_trainable(panel, recipe)
    job = TrainingJob(
        panel=panel,
        recipe=recipe,
        training=decision.training,
        reason=decision.reason,
        champion=store.models.files(champion) if champion else None,
        champion_hash=champion.model_hash if champion else "",
        tutorial=_finished_tutorial(recipe, champion),
    )
    return TrainingInputs(job=job, lineage=new_lineage(recipe, panel))


def _require_trainable(panel: Panel, recipe: Recipe) -> None:
    require_trainable(panel, recipe)
    constant = [name for s, name in enumerate(panel.series) if gaps.is_constant(panel.series_values(s))]
    if constant:
        logger.warning("constant: %s", ", ".join(constant[:_MAX_LISTED]))


def _finished_tutorial(recipe: Recipe, champion: ModelVersion | None) -> tuple[ProtocolRecord, ...]:
    """The tutorial's figures if the champion's training made them: they depend on its protocol, not on the date."""
    if champion is None or champion.record.tutorial_fingerprint != recipe.tutorial_fingerprint:
        return ()
    return champion.record.tutorial


def _epochs_in_mlflow(
    registry: Registry | None, decision: TrainingDecision, lineage: Lineage, now: datetime
) -> AbstractContextManager[OnProgress | None]:
    if registry is None:
        return nullcontext()
    return registry.stream_training(
        decision.recipe, lineage, training=decision.training, reason=decision.reason, started_at=now
    )


def _new_model(decision: TrainingDecision, trained: TrainedModel, lineage: Lineage, fencing_token: int) -> NewModel:
    """The trained model as it is stored, once its network gives the golden outputs here."""
    champion, publishes = decision.champion, decision.as_of is None
    archive = {} if trained.keras_archive is None else {"network.keras": trained.keras_archive}
    model_hash = hash_model(trained.files)
    load_forecaster(trained.files, model_hash)
    return NewModel(
        recipe=decision.recipe,
        record=trained.record,
        model_hash=model_hash,
        files={**trained.files, **archive},
        lineage=lineage,
        expected_champion=champion.model_version if champion and publishes else None,
        publishes=publishes,
        fencing_token=fencing_token,
    )


def _result(model_version: int, record: TrainingRecord, decision: TrainingDecision) -> TrainResult:
    """The new model if it was promoted, otherwise the champion with the gate's reason."""
    champion, configured = decision.champion, decision.recipe.gate.baseline
    logger.info("trained model %s (%s: %s)", model_version, record.training, record.reason)
    gate = record.gate
    if gate is None or gate.outcome == PROMOTED or champion is None:
        skill = record.backtest.skill if record.backtest else None
        return TrainResult(
            training=record.training,
            reason=record.reason,
            model_version=model_version,
            skill=skill,
            baseline=record.resolve_baseline(configured),
        )
    kept = champion.model_version
    logger.info("model %s stays: model %s is %s: %s", kept, model_version, gate.outcome, gate.reason)
    reason = f"{record.reason}; {gate.outcome}: {gate.reason}"
    return TrainResult(
        training=record.training,
        reason=reason,
        model_version=kept,
        skill=champion.skill,
        baseline=champion.record.resolve_baseline(configured),
    )
