"""A model is kept whole, checked before use, and made champion by who saw the present one."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from pipeline.errors import ModelRefused, Overtaken
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import load_forecaster
from pipeline.jobs.forecast import publish_forecast
from pipeline.records.lineage import ModelVersion
from pipeline.storage.integrity import integrity_errors
from pipeline.storage.store import Store
from pipeline.training.process_files import TrainedModel
from tests.storage.raw_sql import change, rows, value
from tests.storage.small_store import add_model, add_untrained, at_once, lineage, model_files
from tests.support.examples import NOW, small_panel, small_recipe

DAY = timedelta(days=1)


def waiting(store: Store) -> list[tuple[str, str]]:
    """What MLflow has to follow."""
    return [(item.kind, item.reference) for item in store.outbox.pending("small")]


def test_a_model_is_stored_with_its_lineage(model: ModelVersion, outcome: TrainedModel) -> None:
    assert model.model_version == 1
    assert model.model_hash == model_files(outcome)[1]
    assert model.lineage == lineage()
    assert outcome.record.backtest is not None
    kept = outcome.record.backtest.model_copy(update={"by_series": None, "errors_by_series": None})
    assert model.record == outcome.record.model_copy(update={"backtest": kept})
    assert model.cutoff == np.datetime64("2023-04-01", "us")
    assert model.trained_at == NOW
    assert model.training_fingerprint == small_recipe().training_fingerprint
    assert model.mlflow_run_id is None


def test_the_backtest_of_a_training_is_kept_by_series(observed_store: Store, outcome: TrainedModel) -> None:
    add_model(observed_store, outcome)

    backtest = outcome.record.backtest
    assert backtest is not None
    assert backtest.errors_by_series is not None
    errors = backtest.errors_by_series
    found = rows(observed_store.database, "select series, num_scored, mae, baseline, skill from backtest_by_series")
    assert found == [("small", errors.num_scored[0], errors.mae[0], backtest.baseline, found[0][-1])]
    assert found[0][-1] == pytest.approx(backtest.skill)  # of the only series


def test_the_comparison_by_series_is_kept_apart_from_the_record_and_read_for_the_report(
    observed_store: Store, outcome: TrainedModel
) -> None:
    add_model(observed_store, outcome)

    model = observed_store.models.champion("small")
    assert model is not None
    assert model.record.backtest is not None
    assert model.record.backtest.by_series is None
    read = observed_store.models.record_with_series(model)
    assert read.backtest is not None
    assert outcome.record.backtest is not None
    assert read.backtest.by_series == outcome.record.backtest.by_series
    assert read.backtest.by_series is not None


def test_a_record_of_an_earlier_release_has_the_comparison_in_itself(
    observed_store: Store, outcome: TrainedModel
) -> None:
    add_model(observed_store, outcome)
    change(observed_store.database, "delete from backtest_comparisons")
    record = outcome.record.model_dump_json().replace(":", r"\:")  # a colon would be a parameter
    change(observed_store.database, f"update models set record = '{record}'")

    model = observed_store.models.champion("small")
    assert model is not None
    assert observed_store.models.record_with_series(model) == outcome.record


def test_model_files_are_read_back_byte_for_byte_and_forecast_the_same(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    files = observed_store.models.files(model)

    assert files == outcome.files
    panel = observed_store.observations.panel(small_recipe(), NOW)
    assert panel is not None
    kept = forecast_panel(load_forecaster(files, model.model_hash), panel, small_recipe())
    trained = forecast_panel(load_forecaster(outcome.files, model.model_hash), small_panel(), small_recipe())
    assert kept.content_hash == trained.content_hash
    assert integrity_errors(observed_store) == []


def test_adding_the_same_model_again_returns_its_version(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    before = waiting(observed_store)

    for expected_champion in (None, 1, 7):
        assert add_model(observed_store, outcome, expected_champion=expected_champion, now=NOW + DAY) == 1

    assert value(observed_store.database, "select count(*) from models") == 1
    assert value(observed_store.database, "select count(*) from model_files") == len(outcome.files)
    assert waiting(observed_store) == before
    assert observed_store.models.champion("small") == model


def test_a_new_model_replaces_the_expected_champion(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    assert add_model(observed_store, outcome, "second", expected_champion=1) == 2

    champion = observed_store.models.champion("small")
    assert champion is not None
    assert champion.model_version == 2
    assert rows(observed_store.database, "select epoch, champion_version from registered_recipes") == [(2, 2)]


@pytest.mark.parametrize("expected_champion", [None, 2])
def test_a_model_that_expected_another_champion_is_not_stored(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel, expected_champion: int | None
) -> None:
    before = waiting(observed_store)

    with pytest.raises(Overtaken, match="model 1 became champion of small while model 2 was trained"):
        add_model(observed_store, outcome, "second", expected_champion=expected_champion)

    assert observed_store.models.champion("small") == model
    assert observed_store.models.by_version("small", 2) is None
    assert waiting(observed_store) == before


def test_a_model_of_a_backfill_does_not_become_champion(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    version = add_model(observed_store, outcome, "of the past", publishes=False)

    assert version == 2
    assert observed_store.models.champion("small") == model
    assert waiting(observed_store)[2:] == [("training", "2")]
    as_of_now = observed_store.models.champion_as_of("small", NOW)
    assert as_of_now is not None
    assert as_of_now.model_version == 2
    assert observed_store.models.champion_as_of("small", NOW - timedelta(microseconds=1)) is None


def test_the_champion_as_of_an_instant_was_trained_on_data_up_to_it(model: ModelVersion, observed_store: Store) -> None:
    add_untrained(observed_store, "older", as_of=NOW - timedelta(days=30), publishes=False)

    then = [observed_store.models.champion_as_of("small", at) for at in (NOW - timedelta(days=1), NOW)]

    assert [one.model_version for one in then if one] == [2, 1]


def test_an_earlier_model_may_become_champion_again(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    add_model(observed_store, outcome, "second", expected_champion=1)

    assert add_model(observed_store, outcome, expected_champion=2) == 1

    assert observed_store.models.champion("small") == model
    assert waiting(observed_store) == [
        ("training", "1"),
        ("champion", "1 at epoch 1"),
        ("training", "2"),
        ("champion", "2 at epoch 2"),
        ("champion", "1 at epoch 3"),
    ]


def test_of_workers_that_change_the_champion_at_once_one_succeeds(
    database_url: str, model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    notes = iter("abcd")

    answers = at_once(database_url, 4, lambda own: add_model(own, outcome, next(notes), expected_champion=1))

    assert answers.count(2) == 1
    assert sorted(type(answer).__name__ for answer in answers) == ["Overtaken"] * 3 + ["int"]
    assert rows(observed_store.database, "select epoch, champion_version from registered_recipes") == [(2, 2)]


def test_workers_that_add_the_same_model_at_once_store_it_once(
    database_url: str, observed_store: Store, outcome: TrainedModel
) -> None:
    answers = at_once(database_url, 4, lambda own: add_model(own, outcome))

    assert answers == [1] * 4
    assert waiting(observed_store) == [("training", "1"), ("champion", "1 at epoch 1")]


def test_an_outbox_entry_is_done_once(model: ModelVersion, observed_store: Store) -> None:
    training, champion = observed_store.outbox.pending("small")
    assert waiting(observed_store) == [("training", "1"), ("champion", "1 at epoch 1")]
    assert training.model_version == champion.model_version == 1

    observed_store.outbox.mark_failed(training, "MLflow is away")
    observed_store.outbox.mark_done(training, NOW, mlflow_run_id="abc")

    assert waiting(observed_store) == [("champion", "1 at epoch 1")]
    assert observed_store.outbox.pending() == [champion]
    assert observed_store.outbox.pending("other") == []
    shown = observed_store.models.champion("small")
    assert shown is not None
    assert shown.mlflow_run_id == "abc"
    assert rows(observed_store.database, "select tries, last_error from outbox order by outbox_id") == [
        (1, None),
        (0, None),
    ]


def test_one_changed_byte_in_any_file_is_refused_and_reported(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    update = "update model_files set content = :content where name = :name"
    for name, content in outcome.files.items():
        for position in (0, len(content) // 2, len(content) - 1):
            changed = bytearray(content)
            changed[position] ^= 1
            assert change(observed_store.database, update, name=name, content=bytes(changed)) == 1

            files = observed_store.models.files(model)
            with pytest.raises(ModelRefused, match=r"manifest|is missing or was changed"):
                load_forecaster(files, model.model_hash)
            (broken,) = integrity_errors(observed_store)
            assert model.model_hash[:12] in broken
            assert ("manifest" if name == "manifest.json" else name) in broken
        change(observed_store.database, update, name=name, content=content)

    assert integrity_errors(observed_store) == []


def test_a_file_that_is_missing_is_refused_and_reported(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    for name in outcome.files:
        files = {other: content for other, content in outcome.files.items() if other != name}
        with pytest.raises(ModelRefused):
            load_forecaster(files, model.model_hash)

    change(observed_store.database, "delete from model_files where name = 'network.onnx'")
    (broken,) = integrity_errors(observed_store)
    assert "network.onnx is missing" in broken


def test_a_model_of_another_horizon_is_refused_with_what_to_run(model: ModelVersion, observed_store: Store) -> None:
    longer = small_recipe().model_copy(update={"horizon": 5})

    with pytest.raises(
        ModelRefused, match="model 1 of small forecasts 3 periods, the recipe asks for 5: run `nextperiod train"
    ):
        publish_forecast(longer, observed_store, NOW)
