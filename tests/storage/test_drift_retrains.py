"""What became of published forecasts decides when a model is fitted anew: once for a change, never for none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from pipeline.config.recipe import Recipe
from pipeline.jobs import train
from pipeline.jobs.train import train_model
from pipeline.records.training import GateRecord
from pipeline.storage.store import Store
from pipeline.training.process_files import TrainedModel, TrainingJob
from tests.storage.raw_sql import rows
from tests.storage.small_store import add_model, batch, forecast, model_files, publish, take_in
from tests.support.examples import NOW, months, small_recipe

DAY = timedelta(days=1)
CALENDAR = months(72)
FIRST, CHANGED = 8, 40


def watched() -> Recipe:
    """Fitted from the seed for nothing but drift, as far as these months go."""
    recipe = small_recipe()
    training = recipe.training.model_copy(update={"policy": "auto", "retrain_after": 1000})
    return recipe.model_copy(update={"training": training})


def lived(store: Store, outcome: TrainedModel, monkeypatch: pytest.MonkeyPatch, *, seed: int, bias: float) -> None:
    """Month after month is forecast and observed; from a month on the first model is off by a bias, a newer one is not.

    What is fine-tuned is no better, and what is fitted from the seed is.
    """
    rng, made = np.random.default_rng(seed), iter(range(100))

    def trained(job: TrainingJob, *_: object) -> TrainedModel:
        files, _hash = model_files(outcome, f"training {next(made)}")
        said = "promoted" if job.training == "retrain" else "not promoted"
        told = {"training": job.training, "reason": job.reason, "gate": GateRecord(outcome=said, reason="as told")}
        record = outcome.record.model_copy(update={**told, "cutoff": str(job.panel.origin)})
        return replace(outcome, files={**outcome.files, **files}, record=record)

    monkeypatch.setattr(train, "run_training", trained)
    recipe = watched()
    store.recipes.register(recipe)
    take_in(store, batch({"small": {m: 100 + float(rng.normal()) for m in CALENDAR[:FIRST]}}, "first"), NOW)
    add_model(store, outcome)
    for n in range(FIRST, len(CALENDAR)):
        now = NOW + n * DAY
        train_model(recipe, store, now)
        champion = store.models.champion("small")
        assert champion is not None
        off = bias if n >= CHANGED and champion.model_version == 1 else 0.0
        told = forecast([100 + off] * 3, origin=CALENDAR[n - 1], baseline=[100 + float(rng.normal()) for _ in range(3)])
        publish(store, told, champion, as_of=store.batches.latest_as_of("small", now).recorded_at, data_hash=str(n))  # type: ignore[union-attr]
        take_in(store, batch({"small": {CALENDAR[n]: 100 + float(rng.normal())}}, str(n)), now + DAY / 2)


def retrainings(store: Store) -> list[str]:
    return [
        reason
        for (reason,) in rows(
            store.database,
            "select reason from model_decisions where what = 'training' and outcome = 'retrain' order by decision_id",
        )
    ]


def test_a_planted_bias_causes_exactly_one_retraining(
    store: Store, outcome: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(store, outcome, monkeypatch, seed=0, bias=4.0)

    (reason,) = retrainings(store)
    assert reason.startswith("drift: forecasts are ")
    assert "too high" in reason


@pytest.mark.parametrize("seed", [1, 2])
def test_without_a_bias_nothing_is_retrained_from_scratch(
    store: Store, outcome: TrainedModel, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    lived(store, outcome, monkeypatch, seed=seed, bias=0.0)

    assert retrainings(store) == []
    assert len(rows(store.database, "select 1 from decisions where outcome = 'fine-tune'")) > 3
