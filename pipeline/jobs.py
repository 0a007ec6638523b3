"""Each job on one page: read, compute, write.

A job takes a recipe, the store and the clock's reading, and returns plain facts. Doing it again is
safe: what is there already stays. With an `as_of` a job knows only what was known then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from pipeline import quality
from pipeline.calibration import Calibration, fit_calibration
from pipeline.challenge import Challenger
from pipeline.errors import (
    BatchHeld,
    BatchRefused,
    NextperiodError,
    NoForecaster,
    NotEnoughHistory,
    NothingHeld,
    is_refusal,
    without_secrets,
)
from pipeline.forecaster import Forecaster, load_forecaster, model_hash_of
from pipeline.ingest import refuse_short
from pipeline.intake import Header
from pipeline.knowledge import LATEST, forecaster_and_panel, lineage_of, panel_of
from pipeline.leases import holder_here
from pipeline.lineage import Lineage, Model
from pipeline.live import OnProgress
from pipeline.panel import Panel
from pipeline.publication import Publication
from pipeline.publishing import forecast_all
from pipeline.reading import read
from pipeline.recipe import Recipe
from pipeline.registry import Registry
from pipeline.scoring import KINDS
from pipeline.sources.kinds import fetch
from pipeline.store import Store
from pipeline.taking_in import release, take_in
from pipeline.training_decision import TrainingDecision, decide_training
from pipeline.training_process import TrainingJob, run_training
from pipeline.training_record import PROMOTED, ProtocolRecord, TrainingRecord

logger = logging.getLogger(__name__)

#: a worker that is this late with its training is taken for dead
LEASE_MARGIN = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingested:
    """What a source brought."""

    source: str
    num_read: int = 0
    num_new: int = 0
    num_revised: int = 0
    num_same: int = 0
    num_rejected: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """The model that publishes, and what was done about it."""

    training: str
    reason: str
    model_version: int
    skill: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
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


@contextmanager
def attempt(recipe: Recipe, store: Store, command: str, clock: Callable[[], datetime]) -> Iterator[list[str]]:
    """Record that something is tried and how it ends; the body appends its status."""
    store.register(recipe)
    attempt_id = store.begin_attempt(recipe.name, command, clock())
    outcome: list[str] = []
    try:
        yield outcome
    except NextperiodError as error:
        status = "refused" if is_refusal(error) else "failed"
        store.end_attempt(attempt_id, status, str(error), clock())
        raise
    except BaseException as error:
        store.end_attempt(attempt_id, "failed", without_secrets(f"{type(error).__name__}: {error}"), clock())
        raise
    store.end_attempt(attempt_id, outcome[-1] if outcome else "done", None, clock())


def ingest(recipe: Recipe, store: Store, now: datetime, *, must_train: bool = False) -> Ingested:
    """Take in what the recipe's source has; nothing if it is what was taken in last.

    Args:
        recipe: which source, and what is expected of it.
        store: where observations are kept.
        now: the clock.
        must_train: refuse a history on which nothing can be trained, before anything of it is kept.

    Raises:
        BatchRefused: the source is faulty; what was refused is kept with its place and rule.
        BatchHeld: the source is not what it was; the batch is kept until a person lets it in.
        NotEnoughHistory: with `must_train`, every series is too short.
    """
    header = Header(recipe=recipe.name, source=recipe.source.kind, content_hash="")
    earlier = store.earlier(recipe.name, now)
    try:
        with fetch(recipe, earlier) as delivery:
            header = replace(header, source=delivery.source, content_hash=delivery.content_hash, state=delivery.state)
            if delivery.content_hash == earlier.content_hash:
                logger.info("%s is what was taken in last", delivery.source)
                return Ingested(source=delivery.source)
            with read(delivery, recipe, now=now) as reading:
                counts = take_in(reading, header, store, now, incremental=delivery.incremental, must_train=must_train)
            taken = Ingested(source=delivery.source, **counts)
        if not delivery.ended:
            logger.info("%s ends without a newline; its last row was taken as complete", delivery.source)
    except BatchHeld:
        raise
    except BatchRefused as refusal:
        store.refuse(replace(header, source=refusal.source), str(refusal), refusal.rejections, now)
        raise
    except NotEnoughHistory as refusal:
        store.refuse(header, str(refusal), [], now)
        raise
    _tell(taken)
    return taken


def approve(recipe: Recipe, store: Store, now: datetime) -> Ingested:
    """Take in the batch that is held, as it was delivered.

    Raises:
        NothingHeld: no batch waits.
    """
    held = store.held(recipe.name)
    if held is None:
        raise NothingHeld(f"no batch of {recipe.name} is held: nothing is there to approve")
    header = Header(
        recipe=recipe.name,
        source=held.source,
        content_hash=held.content_hash,
        state=held.state,
        releases=held.batch_id,
    )
    counts = release(held, header, recipe, store, now)
    taken = Ingested(source=held.source, **counts)
    _tell(taken)
    return taken


def _tell(taken: Ingested) -> None:
    logger.info(
        "%s: %s new, %s revised, %s the same, %s refused",
        taken.source,
        taken.num_new,
        taken.num_revised,
        taken.num_same,
        taken.num_rejected,
    )


def train(
    recipe: Recipe,
    store: Store,
    now: datetime,
    *,
    asked: str | None = None,
    as_of: datetime | None = None,
    registry: Registry | None = None,
) -> Trained:
    """Train if that is due or asked for; otherwise keep the champion.

    A registry shows the training while it runs.

    Raises:
        NoObservations: nothing was ingested yet.
        NotEnoughHistory: every series is too short.
        ModelRefused: the training did not stay finite; the champion stays.
    """
    decided = decide_training(recipe, store, asked, as_of)
    if decided.kept is None:
        with _leased(recipe, store) as epoch:
            decided = decide_training(recipe, store, asked, as_of)
            if decided.kept is None:
                return _train(decided, store, now, epoch=epoch, registry=registry)
    champion = decided.kept
    decided.remember(store, now)
    logger.info("kept model %s: %s", champion.model_version, decided.reason)
    return Trained(training="keep", reason=decided.reason, model_version=champion.model_version, skill=champion.skill)


@contextmanager
def _leased(recipe: Recipe, store: Store) -> Iterator[int]:
    """Hold the recipe as long as a training may take; nobody else trains it meanwhile."""
    lasts = timedelta(minutes=recipe.training.time_limit_minutes) + LEASE_MARGIN
    epoch = store.take_lease(recipe.name, holder_here(), lasts)
    try:
        yield epoch
    finally:
        store.give_lease_back(recipe.name, epoch)


def _train(decided: TrainingDecision, store: Store, now: datetime, *, epoch: int, registry: Registry | None) -> Trained:
    recipe, champion, publishes = decided.recipe, decided.champion, decided.as_of is None
    panel = panel_of(recipe, store, decided.as_of)
    lineage = lineage_of(recipe, panel)
    _refuse_untrainable(panel, recipe)
    job = TrainingJob(
        panel=panel,
        recipe=recipe,
        training=decided.training,
        reason=decided.reason,
        champion=store.model_files(champion) if champion else None,
        champion_hash=champion.model_hash if champion else "",
        tutorial=_tutorial_so_far(recipe, champion),
    )
    with _shown_live(registry, decided, lineage, now) as on_progress:
        outcome = run_training(job, on_progress)
    replace(decided, training=outcome.record.training, reason=outcome.record.reason).remember(store, now)
    model_hash = model_hash_of(outcome.files)
    load_forecaster(outcome.files, model_hash)
    challenger = Challenger(
        recipe=recipe,
        record=outcome.record,
        model_hash=model_hash,
        files={**outcome.files, "network.keras": outcome.keras_archive},
        lineage=lineage,
        seen_champion=champion.model_version if champion and publishes else None,
        publishes=publishes,
        epoch=epoch,
    )
    return _told(store.add_model(challenger, now), outcome.record, champion)


def _refuse_untrainable(panel: Panel, recipe: Recipe) -> None:
    longest = int(panel.lengths.argmax())
    refuse_short(panel.series[longest], int(panel.lengths[longest]), recipe)
    constant = [name for s, name in enumerate(panel.series) if quality.is_constant(panel.of(s))]
    if constant:
        logger.warning("constant: %s", ", ".join(constant[:5]))


def _shown_live(
    registry: Registry | None, decided: TrainingDecision, lineage: Lineage, now: datetime
) -> AbstractContextManager[OnProgress | None]:
    if registry is None:
        return nullcontext()
    return registry.live(decided.recipe, lineage, training=decided.training, reason=decided.reason, started_at=now)


def _told(model_version: int, record: TrainingRecord, champion: Model | None) -> Trained:
    """The model that publishes after a training, which is the champion's where the gate let nothing through."""
    logger.info("trained model %s (%s: %s)", model_version, record.training, record.reason)
    gate = record.gate
    if gate is None or gate.outcome == PROMOTED or champion is None:
        skill = record.backtest.skill if record.backtest else None
        return Trained(training=record.training, reason=record.reason, model_version=model_version, skill=skill)
    stays = champion.model_version
    logger.info("model %s stays: model %s is %s: %s", stays, model_version, gate.outcome, gate.reason)
    reason = f"{record.reason}; {gate.outcome}: {gate.reason}"
    return Trained(training=record.training, reason=reason, model_version=stays, skill=champion.skill)


def forecast(recipe: Recipe, store: Store, now: datetime, *, as_of: datetime | None = None) -> Published:
    """Forecast the next periods with the champion and publish them, whole.

    Raises:
        NoObservations: nothing was ingested yet.
        NoForecaster: nothing was trained yet.
        ModelRefused: the model's files are not what was recorded.
    """
    epoch = store.epoch(recipe.name)
    model = store.champion(recipe.name) if as_of is None else store.champion_as_of(recipe.name, as_of)
    if model is None:
        panel_of(recipe, store, as_of, length=1)  # without observations that is what is told
        raise NoForecaster(f"no model was trained for {recipe.name} yet: run `nextperiod train {recipe.name}`")
    forecaster, panel = forecaster_and_panel(model, recipe, store, as_of)
    kind, lineage = "live" if as_of is None else "backfill", lineage_of(recipe, panel)
    calibration = _calibration(recipe, store, kind, panel.origin, lineage.as_of, forecaster)
    worse = model.record.worse | store.worse_of_late(model, kind, lineage.as_of, recipe.gate.baseline)
    made = forecast_all(forecaster, panel, recipe, calibration, worse=worse)
    due = recipe.grid.after(made.origin, 2 + recipe.publish.grace)[-1]
    publication = Publication(
        recipe=recipe,
        forecast=made,
        model=model,
        lineage=lineage,
        kind=kind,
        expected_next_by=due.astype("datetime64[us]").item().replace(tzinfo=UTC),
        epoch=epoch,
        calibration=calibration,
    )
    run, is_new = store.publish(publication, now)
    if is_new:
        logger.info("published run %s: %s rows", run.run_id, run.num_rows)
    return Published(
        run_id=run.run_id,
        status="published" if is_new else "unchanged",
        origin=str(run.origin)[:19],
        as_of=lineage.as_of.isoformat(),
        num_series=run.num_series,
        num_rows=run.num_rows,
        num_fallback=sum(method != "lstm" for method in made.method),
        model_version=run.model_version,
    )


def _calibration(
    recipe: Recipe, store: Store, kind: str, origin: np.datetime64, as_of: datetime, forecaster: Forecaster
) -> Calibration | None:
    """From what became of earlier forecasts by all that is known; without enough of it, from the model's own backtest."""
    store.score(recipe.name, kind, as_of)
    outcomes = store.outcomes(recipe, kind, origin=origin, as_of=as_of)
    return fit_calibration(outcomes, horizon=recipe.horizon, prior=forecaster.calibration)


def score(recipe: Recipe, store: Store, *, as_of: datetime | None = None) -> int:
    """Score the published steps whose periods are observed, or told anew; how many.

    As of an instant only what was backfilled is scored, against what was known then.
    """
    kinds = KINDS if as_of is None else ("backfill",)
    num_scored = sum(store.score(recipe.name, kind, as_of or LATEST) for kind in kinds)
    if num_scored:
        logger.info("scored %s published steps", num_scored)
    return num_scored


def _tutorial_so_far(recipe: Recipe, champion: Model | None) -> tuple[ProtocolRecord, ...]:
    """The tutorial's figures, which are made once: they are about its protocol, not about today."""
    if champion is None or champion.record.tutorial_fingerprint != recipe.tutorial_fingerprint:
        return ()
    return champion.record.tutorial
