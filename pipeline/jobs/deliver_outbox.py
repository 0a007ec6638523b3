"""Deliver pending outbox entries to MLflow."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import datetime

from pipeline.config.recipe import Recipe, recipe_from_definition
from pipeline.errors import ModelRefused, NoObservations, RegistryRefused, RegistryUnavailable
from pipeline.forecasting.forecaster import load_forecaster
from pipeline.jobs.inputs import ForecastInputs, load_panel, produce_forecast
from pipeline.records.lineage import ModelVersion, OutboxEntry
from pipeline.reporting.model_card import render_model_card
from pipeline.reporting.report import build_report
from pipeline.storage.store import Store
from pipeline.tracking.registry import Registry

logger = logging.getLogger(__name__)


def deliver_outbox(recipe: Recipe, store: Store, registry: Registry, now: datetime) -> bool:
    """Deliver a recipe's pending outbox entries to MLflow, oldest first.

    If all pending entries are publications, they stay pending until the next training: starting MLflow takes longer
    than a forecast.

    An entry that MLflow refuses, because somebody deleted the run that it is about for example, is skipped with the
    reason, and the next one is delivered. What was deleted and is needed again is made again: an experiment is
    restored, a model is registered once more. An alias that somebody moved is put back.

    Args:
        recipe: whose entries are delivered.
        store: holds the outbox and the models.
        registry: MLflow.
        now: when the entries count as delivered.

    Returns:
        False if MLflow is unavailable; what was not delivered stays pending.
    """
    pending = store.outbox.pending(recipe.name)
    if all(entry.kind == "publication" for entry in pending):
        return True
    if not _deliver_all(pending, store, registry, now):
        return False
    try:
        _align_alias(recipe.name, store, registry)
    except (RegistryUnavailable, RegistryRefused, ModelRefused, NoObservations) as error:
        logger.warning("%s; the alias of %s may be on another model than the champion", error, recipe.name)
        return not isinstance(error, RegistryUnavailable)
    return True


def repair_registry(recipe: str, store: Store, registry: Registry, now: datetime) -> bool:
    """Deliver everything that is pending, try again what was skipped, and put the champion's alias where the store says.

    Args:
        recipe: name of the recipe.
        store: holds the outbox and the models.
        registry: MLflow.
        now: when the entries count as delivered.

    Returns:
        False if MLflow is unavailable.

    Raises:
        RegistryUnavailable: MLflow cannot be used.
        RegistryRefused: MLflow refuses the champion.
    """
    skipped = [entry for entry in store.outbox.skipped() if entry.recipe == recipe]
    entries = sorted([*skipped, *store.outbox.pending(recipe)], key=lambda entry: entry.outbox_id)
    if not _deliver_all(entries, store, registry, now):
        return False
    _align_alias(recipe, store, registry)
    return True


def _align_alias(recipe: str, store: Store, registry: Registry) -> None:
    """Put MLflow's alias on the champion, which is registered again if its version is gone."""
    champion = store.models.champion(recipe)
    if champion is not None and registry.champion_hash(recipe) != champion.model_hash:
        _set_champion(champion, store, registry)


def _deliver_all(pending: Sequence[OutboxEntry], store: Store, registry: Registry, now: datetime) -> bool:
    for entry in pending:
        try:
            mlflow_run_id = _deliver(entry, store, registry)
        except RegistryUnavailable as error:
            store.outbox.mark_failed(entry, str(error))
            logger.warning("%s; the remaining entries stay in the outbox", error)
            return False
        except (RegistryRefused, ModelRefused, NoObservations) as error:
            store.outbox.mark_skipped(entry, str(error), now)
            logger.warning("%s; MLflow does not show the %s of model %s", error, entry.kind, entry.model_version)
        else:
            store.outbox.mark_done(entry, now, mlflow_run_id=mlflow_run_id)
    return True


def _deliver(entry: OutboxEntry, store: Store, registry: Registry) -> str | None:
    """Deliver one entry; the id of MLflow's run if a training was logged."""
    model = store.models.by_version(entry.recipe, entry.model_version)
    assert model is not None
    if entry.kind == "champion":
        champion = store.models.champion(entry.recipe)
        is_champion = champion is not None and champion.model_version == model.model_version
        return _set_champion(model, store, registry) if is_champion else None
    if entry.kind == "publication":
        registry.tag_publication(model, entry.run_id)
        return None
    return _log_training(model, store, registry)


def _set_champion(model: ModelVersion, store: Store, registry: Registry) -> str | None:
    """Move the alias; a model that is not registered, or not any more, is logged and registered before."""
    if registry.set_champion(model):
        return None
    mlflow_run_id = _log_training(model, store, registry)
    registry.set_champion(model)
    return mlflow_run_id


def _log_training(model: ModelVersion, store: Store, registry: Registry) -> str:
    """Log a training with its report, which is built from the data that the model was trained on."""
    files = store.models.files(model)
    recipe = recipe_from_definition(json.loads(files["forecaster.json"])["recipe"])
    panel = load_panel(recipe, store, model.lineage.as_of)
    forecaster = load_forecaster(files, model.model_hash)
    inputs = ForecastInputs(
        recipe=recipe,
        forecaster=forecaster,
        panel=panel,
        calibration=forecaster.calibration,
        worse_than_baseline=model.record.worse,
    )
    forecast = produce_forecast(inputs)
    gate = model.record.gate
    verdict = f"{gate.outcome}: {gate.reason}" if gate else None
    report = build_report(
        recipe,
        panel,
        store.models.record_with_series(model),
        forecast,
        model_version=model.model_version,
        model_hash=model.model_hash,
        verdict=verdict,
    )
    return registry.log_training(recipe, model, {**files, **report}, card=render_model_card(recipe, model, verdict))
