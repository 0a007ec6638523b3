"""MLflow follows the database: what it has not been told yet waits in the outbox."""

from __future__ import annotations

import json
import logging
from datetime import datetime

from pipeline.config.recipe import Recipe
from pipeline.errors import RegistryUnavailable
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import load_forecaster
from pipeline.jobs.inputs import load_panel
from pipeline.records.lineage import OutboxEntry
from pipeline.reporting.model_card import model_card
from pipeline.reporting.report import build_report
from pipeline.storage.store import Store
from pipeline.tracking.registry import Registry

logger = logging.getLogger(__name__)


def sync_mlflow(recipe: Recipe, store: Store, registry: Registry, now: datetime) -> bool:
    """Let MLflow follow the database; False if it is away, then the rest waits for the next time.

    What was published is shown with the next training: MLflow alone takes longer to start than a forecast.
    """
    waiting = store.waiting(recipe.name)
    if all(item.kind == "publication" for item in waiting):
        return True
    for item in waiting:
        try:
            mlflow_run_id = _follow(item, store, registry)
        except RegistryUnavailable as error:
            store.not_followed(item, str(error))
            logger.warning("%s; what it should show waits", error)
            return False
        store.followed(item, now, mlflow_run_id=mlflow_run_id)
    return True


def _follow(item: OutboxEntry, store: Store, registry: Registry) -> str | None:
    model = store.model(item.recipe, item.model_version)
    assert model is not None
    if item.kind == "champion":
        registry.set_champion(model)
        return None
    if item.kind == "publication":
        registry.show_publication(model, item.run_id)
        return None
    contents = store.model_files(model)
    recipe = Recipe.model_validate(json.loads(contents["forecaster.json"])["recipe"])
    panel = load_panel(recipe, store, model.lineage.as_of)
    forecaster, gate = load_forecaster(contents, model.model_hash), model.record.gate
    made = forecast_panel(forecaster, panel, recipe, forecaster.calibration, worse=model.record.worse)
    verdict = f"{gate.outcome}: {gate.reason}" if gate else None
    report = build_report(
        recipe,
        panel,
        model.record,
        made,
        model_version=model.model_version,
        model_hash=model.model_hash,
        verdict=verdict,
    )
    return registry.log_training(recipe, model, {**contents, **report}, card=model_card(recipe, model, verdict))
