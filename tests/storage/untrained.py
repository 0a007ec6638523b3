"""A model that nobody trained: for tests in which nothing of it is used but what the store says of it."""

from __future__ import annotations

from datetime import datetime

from pipeline.forecasting.forecaster import build_manifest, hash_model
from pipeline.records.lineage import ModelVersion
from pipeline.records.training import TrainingRecord
from pipeline.storage.models import NewModel
from pipeline.storage.store import Store
from tests.storage.small_store import lineage
from tests.support.examples import NOW, small_recipe


def record(training: str = "retrain", reason: str = "no model yet", cutoff: str = "2023-04-01") -> TrainingRecord:
    """What a training without a backtest says of itself."""
    return TrainingRecord(
        training=training,
        reason=reason,
        loss=(1.0,),
        validation_loss=(),
        epochs=1,
        num_windows=1,
        num_series=1,
        cutoff=cutoff,
        backtest=None,
        tutorial=(),
    )


def add_untrained(
    store: Store,
    name: str = "first",
    *,
    made: TrainingRecord | None = None,
    as_of: datetime = NOW,
    expected_champion: int | None = None,
    publishes: bool = True,
    fencing_token: int = 0,
    now: datetime = NOW,
) -> ModelVersion:
    """Keep a model of the small recipe; another name is another model."""
    files = {"network.onnx": name.encode(), "forecaster.json": b'{"needs": {}}'}
    files["manifest.json"] = build_manifest(files)
    challenger = NewModel(
        recipe=small_recipe(),
        record=made or record(),
        model_hash=hash_model(files),
        files=files,
        lineage=lineage("data", as_of),
        expected_champion=expected_champion,
        publishes=publishes,
        fencing_token=fencing_token,
    )
    model = store.models.by_version("small", store.models.add(challenger, now))
    assert model is not None
    return model
