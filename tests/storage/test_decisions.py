"""What is decided about a recipe's model is a row with its reason; the gate's word is kept to."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.errors import Overtaken
from pipeline.jobs import train
from pipeline.jobs.forecast import publish_forecast
from pipeline.jobs.train import train_model
from pipeline.records.lineage import Decision, ModelVersion
from pipeline.records.training import GateRecord
from pipeline.storage.store import Store
from pipeline.training.process_files import TrainedModel, TrainingJob
from tests.storage.raw_sql import change, rows
from tests.storage.small_store import add_model, batch, monthly, take_in
from tests.support.examples import NOW, small_recipe, small_values

DAY = timedelta(days=1)
DECISIONS = "select what, kind, outcome, reason, model_version from model_decisions order by decision_id"


def judged(outcome: TrainedModel, said: str, reason: str = "as told") -> TrainedModel:
    """The same training with another word of the gate."""
    record = outcome.record.model_copy(update={"gate": GateRecord(outcome=said, reason=reason, p_value=0.2)})
    return replace(outcome, record=record)


def test_the_first_model_is_promoted_as_the_first(model: ModelVersion, observed_store: Store) -> None:
    assert rows(observed_store.database, DECISIONS) == [("promotion", "live", "promoted", "the first model", 1)]


def test_a_challenger_that_is_not_promoted_is_kept_and_the_champion_stays(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    kept = judged(outcome, "not promoted", "no gain")

    assert add_model(observed_store, kept, "second", expected_champion=1) == 2

    assert observed_store.models.champion("small") == model
    assert observed_store.models.champion_as_of("small", NOW) == model
    newest = observed_store.models.newest("small", NOW)
    assert newest is not None
    assert newest.model_version == 2
    assert rows(observed_store.database, DECISIONS)[1:] == [("promotion", "live", "not promoted", "no gain", 2)]
    (facts,) = rows(observed_store.database, "select facts from model_decisions where model_version = 2")
    assert json.loads(facts[0])["p_value"] == 0.2
    assert [item.kind for item in observed_store.outbox.pending("small")] == ["training", "champion", "training"]


def test_a_worker_that_is_overtaken_records_no_decision(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    with pytest.raises(Overtaken):
        add_model(observed_store, judged(outcome, "promoted"), "second", expected_champion=7)

    assert len(rows(observed_store.database, DECISIONS)) == 1


def test_a_repeated_decision_adds_no_row(store: Store) -> None:
    store.recipes.register(small_recipe())
    keep = Decision(what="training", kind="live", outcome="keep", reason="nothing new", model_version=None, as_of=NOW)

    for day, decided in enumerate(
        [keep, keep, replace(keep, kind="backfill"), keep, replace(keep, reason="other"), keep]
    ):
        store.models.record_decision("small", replace(decided, as_of=NOW + day * DAY), NOW + day * DAY)

    found = rows(store.database, "select kind, reason from model_decisions order by decision_id")
    assert found == [("live", "nothing new"), ("backfill", "nothing new"), ("live", "other"), ("live", "nothing new")]


def test_a_kept_model_is_unchanged_and_the_reason_is_recorded(model: ModelVersion, observed_store: Store) -> None:
    before = observed_store.models.files(model)
    take_in(observed_store, batch({"small": monthly(small_values(43))}, "three months"), NOW + DAY)

    kept = train_model(small_recipe(), observed_store, NOW + DAY)
    again = train_model(small_recipe(), observed_store, NOW + 2 * DAY)

    assert (kept.training, kept.reason, kept.model_version) == ("keep", "3 new periods, due after 6", 1)
    assert again == kept
    assert observed_store.models.champion("small") == model
    assert observed_store.models.files(model) == before
    assert rows(observed_store.database, DECISIONS)[1:] == [
        ("training", "live", "keep", "3 new periods, due after 6", 1)
    ]


def test_the_decision_records_the_training_that_was_done_not_the_planned_one(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = {"training": "retrain", "reason": "asked for; the champion cannot be used"}
    made = replace(outcome, record=outcome.record.model_copy(update=done))
    monkeypatch.setattr(train, "run_training", lambda *_, **__: made)

    train_model(small_recipe(), observed_store, NOW + DAY, requested="fine-tune")

    assert ("training", "live", *done.values(), 1) in rows(observed_store.database, DECISIONS)


@pytest.mark.parametrize("said", ["promoted", "not promoted"])
def test_a_due_training_and_its_gate_are_both_recorded(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    take_in(observed_store, batch({"small": monthly(small_values(46))}, "six months"), NOW + DAY)
    asked: list[str] = []

    def trained(job: TrainingJob, *_: object, **__: object) -> TrainedModel:
        asked.append(job.training)
        assert job.champion is not None
        assert job.champion["weights.npz"] == outcome.files["weights.npz"]
        made = judged(outcome, said, "why")
        return replace(made, record=made.record.model_copy(update={"training": job.training, "reason": job.reason}))

    monkeypatch.setattr(train, "run_training", trained)

    found = train_model(small_recipe(), observed_store, NOW + DAY)

    assert asked == ["fine-tune"]
    assert found.model_version == 1
    assert rows(observed_store.database, DECISIONS)[1:] == [
        ("training", "live", "fine-tune", "6 new periods, due after 6", 1),
        ("promotion", "live", said, "why", 1),
    ]


def test_a_champion_with_damaged_files_is_retrained_without_new_data(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    change(observed_store.database, "delete from model_files where name = 'network.onnx'")

    found = train_model(small_recipe(), observed_store, NOW + DAY)

    why = f"the champion cannot be used: model {model.model_hash[:12]}: network.onnx is missing or was changed; train again"
    assert (found.training, found.reason, found.model_version) == ("retrain", why, 2)
    assert rows(observed_store.database, DECISIONS)[1:] == [
        ("training", "live", "retrain", why, 1),
        ("promotion", "live", "promoted", why, 2),
    ]
    again = observed_store.models.champion("small")
    assert again is not None
    weights = observed_store.models.files(again)["weights.npz"]
    assert weights == outcome.files["weights.npz"]
    assert train_model(small_recipe(), observed_store, NOW + 2 * DAY).training == "keep"
    assert publish_forecast(small_recipe(), observed_store, NOW + 2 * DAY).model_version == 2


def test_keeping_the_model_on_the_same_data_records_no_new_decision(store: Store) -> None:
    store.recipes.register(small_recipe())
    retrain = Decision(what="training", kind="live", outcome="retrain", reason="due", model_version=None, as_of=NOW)
    keep = replace(retrain, outcome="keep", reason="nothing new")

    for decided in (retrain, keep, replace(keep, as_of=NOW + DAY)):
        store.models.record_decision("small", decided, NOW)

    assert rows(store.database, "select outcome from model_decisions order by decision_id") == [("retrain",), ("keep",)]
