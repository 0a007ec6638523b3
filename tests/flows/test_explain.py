"""`nextperiod explain`: from a run to what it came from, and what has changed since."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from pipeline.errors import BatchHeld, InvalidArgument, NoObservations
from pipeline.jobs.forecast import publish_forecast
from pipeline.jobs.inputs import code_version
from pipeline.jobs.train import train_model
from pipeline.records.lineage import ModelVersion
from pipeline.storage.batches import BatchHeader, HeldContent
from pipeline.storage.store import Store
from pipeline.timeseries.forecast import Forecast
from pipeline.timeseries.observations import TARGET
from tests.storage.small_store import add_untrained, batch, forecast, monthly, publish, record, take_in
from tests.support.examples import NOW, SMALL_RECIPE, small_recipe, small_values

HOUR = timedelta(hours=1)
VALUES = small_values()

#: names of the facts, which tools rely on
FACTS = [
    *("run_id", "recipe", "kind", "origin", "status", "published_at", "superseded_by", "supersedes", "num_series"),
    *("num_rows", "methods", "content_hash", "as_of", "recorded_by", "data_hash", "batch", "num_known", "since"),
    *("recipe_fingerprint", "recipe_has_changed", "code_version", "code_has_changed", "model", "decision"),
    "not_in_mlflow",
]
MODEL_FACTS = [
    *("model_version", "model_hash", "training", "reason", "cutoff", "is_champion", "trained_at", "as_of", "data_hash"),
    *("recipe_fingerprint", "code_version", "skill", "mlflow_run_id"),
]

Says = Callable[..., str]


@pytest.fixture
def says(database_url: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """What `nextperiod explain` prints about what is in the store."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/small.toml").write_text(SMALL_RECIPE.format(source=""))
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", database_url)
    monkeypatch.setenv("NEXTPERIOD_RECIPES", str(tmp_path / "recipes"))

    def typed(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["explain", *arguments])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    return typed


@pytest.fixture
def model(store: Store) -> ModelVersion:
    """The champion of a store in which the small series and another one are known."""
    store.recipes.register(small_recipe())
    take_in(store, batch({"small": monthly(VALUES), "tall": monthly(VALUES)}, "first"), NOW)
    return add_untrained(store)


def facts(says: Says, name: str) -> dict[str, Any]:
    explanation: dict[str, Any] = json.loads(says(name, "--json"))
    return explanation


def two_series() -> Forecast:
    return replace(
        forecast(series=("small", "tall")),
        method=("lstm", "fallback:seasonal-naive"),
        reason=(None, "the context at the origin is not complete"),
    )


def test_a_run_is_explained_down_to_its_batch_its_model_and_its_decision(
    says: Says, store: Store, model: ModelVersion
) -> None:
    publish(store, two_series(), model, now=NOW + HOUR)

    explanation = facts(says, "small-2023-04-01-1")

    assert list(explanation) == FACTS
    assert list(explanation["model"]) == MODEL_FACTS
    assert (explanation["recipe"], explanation["kind"], explanation["origin"], explanation["status"]) == (
        ("small", "live", "2023-04-01T00:00:00", "published")
    )
    assert (explanation["published_at"], explanation["as_of"]) == (
        "2026-01-01T13:00:00+00:00",
        "2026-01-01T12:00:00+00:00",
    )
    assert (
        explanation["num_series"],
        explanation["num_rows"],
        explanation["superseded_by"],
        explanation["supersedes"],
    ) == (2, 6, None, [])
    assert explanation["methods"] == [
        {
            "method": "fallback:seasonal-naive",
            "reason": "the context at the origin is not complete",
            "num_series": 1,
            "network_steps": 0,
        },
        {"method": "lstm", "reason": None, "num_series": 1, "network_steps": 0},
    ]
    assert explanation["batch"] == {
        "source": "small.csv",
        "content_hash": "first",
        "recorded_at": "2026-01-01T12:00:00+00:00",
        "num_new": 80,
        "num_revised": 0,
        "num_same": 0,
        "num_rejected": 0,
        "held_at": None,
    }
    assert explanation["num_known"] == 80
    assert explanation["since"] == {"num_batches": 0, "num_new": 0, "num_revised": 0, "num_series": 0}
    assert (explanation["recipe_has_changed"], explanation["code_version"], explanation["code_has_changed"]) == (
        False,
        "0.1.0+test",
        True,
    )
    assert (explanation["model"]["model_version"], explanation["model"]["is_champion"]) == (1, True)
    assert explanation["decision"] == {"training": "retrain", "reason": "no model yet"}


def test_the_text_output_holds_the_same_facts_in_narrow_lines(says: Says, store: Store, model: ModelVersion) -> None:
    publish(store, two_series(), model, now=NOW + HOUR)

    lines = says("small-2023-04-01-1").splitlines()

    assert lines == [
        "small-2023-04-01-1: live forecast of small after 2023-04-01",
        "",
        "status        published at 2026-01-01T13:00:00+00:00",
        "rows          6 rows: 2 series, 3 periods",
        "series        1 by fallback:seasonal-naive: the context at the origin is not complete",
        "              1 by lstm",
        "data          as of 2026-01-01T12:00:00+00:00, hash data, 80 values",
        "  batch       small.csv, content first: 80 new, 0 revised, 0 unchanged, 0 rejected",
        "  since       no change: these are the current data",
        f"recipe        {small_recipe().fingerprint[:12]}, unchanged since",
        f"code          0.1.0+test, changed since: {code_version()} now",
        f"model         1, hash {model.model_hash[:12]}, the champion; retrain: no model yet",
        "  trained     at 2026-01-01T12:00:00+00:00 as of 2026-01-01T12:00:00+00:00, up to 2023-04-01",
        "  backtest    no backtest; not in MLflow yet",
        "decision      retrain: no model yet",
    ]


def test_long_texts_are_wrapped_and_many_methods_are_cut(says: Says, store: Store, model: ModelVersion) -> None:
    reasons = tuple("word " * 40 + str(n) for n in range(12))
    names = tuple(f"s{n:02d}" for n in range(12))
    take_in(store, batch({name: monthly(VALUES[:2]) for name in names}, "more"), NOW + HOUR)
    long_reasons = replace(forecast(series=names), method=("fallback:naive",) * 12, reason=reasons)
    publish(store, long_reasons, model, as_of=NOW + HOUR)

    lines = says("small").splitlines()

    assert max(map(len, lines)) <= 110
    assert sum("by fallback:naive: word" in line for line in lines) == 8
    assert "              … and in 4 other ways (--json)" in lines


def test_explain_counts_the_values_that_were_revised_since_the_run(
    says: Says, store: Store, model: ModelVersion
) -> None:
    publish(store, forecast(), model)
    revised = {**monthly(VALUES), "2020-01-01": 1.5, "2020-02-01": 2.5, "2023-05-01": 9.0}
    take_in(store, batch({"small": revised}, "second"), NOW + HOUR)
    take_in(store, batch({"small": {"2020-01-01": 1.75, "2023-05-01": 9.5}}, "third"), NOW + 2 * HOUR)

    assert facts(says, "small")["since"] == {"num_batches": 2, "num_new": 1, "num_revised": 2, "num_series": 1}
    assert "  since       2 newer batches: 2 of the 80 values were revised, in 1 series; 1 new" in says("small")
    publish(store, forecast(origin="2023-05-01"), model, as_of=NOW + HOUR, data_hash="second")
    after = facts(says, "small")
    assert (after["batch"]["content_hash"], after["batch"]["num_revised"], after["num_known"]) == ("second", 2, 81)
    assert after["since"] == {"num_batches": 1, "num_new": 0, "num_revised": 2, "num_series": 1}
    first = facts(says, "small-2023-04-01-1")
    assert (first["batch"]["content_hash"], first["num_known"]) == ("first", 80)


def test_a_batch_without_changes_does_not_count_as_newer(says: Says, store: Store, model: ModelVersion) -> None:
    publish(store, forecast(), model)
    take_in(store, batch({"small": monthly(VALUES)}, "the same in another order"), NOW + HOUR)

    assert facts(says, "small")["since"]["num_batches"] == 0
    assert "no change: these are the current data" in says("small")


def test_an_accepted_batch_shows_when_it_was_put_on_hold(says: Says, store: Store, model: ModelVersion) -> None:
    held = BatchHeader(recipe="small", source="small.csv", content_hash="held")
    content = HeldContent(reason=BatchHeld("suspicious", source="small.csv"), parts=[], num_read=1)
    store.batches.hold(held, content, NOW + HOUR)
    waiting = store.batches.held("small")
    assert waiting is not None
    with store.batches.write(replace(held, releases=waiting.batch_id), NOW + 2 * HOUR) as intake:
        intake.register([("small", TARGET)])
        intake.finish({"num_read": 1, "num_new": 1, "num_revised": 0, "num_same": 0}, [])
    publish(store, forecast(), model, as_of=NOW + 2 * HOUR)

    assert facts(says, "small")["batch"]["held_at"] == "2026-01-01T13:00:00+00:00"
    assert "put on hold at 2026-01-01T13:00:00+00:00, then accepted by a person" in " ".join(says("small").split())


def test_runs_name_the_runs_before_and_after_them(says: Says, store: Store, model: ModelVersion) -> None:
    publish(store, forecast(), model)
    publish(store, forecast([1, 2, 3]), model, data_hash="newer", now=NOW + HOUR)

    assert facts(says, "small-2023-04-01-1")["superseded_by"] == "small-2023-04-01-2"
    assert facts(says, "small-2023-04-01-1")["status"] == "superseded"
    assert facts(says, "small-2023-04-01-2")["supersedes"] == ["small-2023-04-01-1"]
    assert "superseded by small-2023-04-01-2" in says("small-2023-04-01-1")
    assert "in place of small-2023-04-01-1" in says("small-2023-04-01-2")


def test_the_decision_is_keep_unless_the_model_was_trained_for_the_run(
    says: Says, store: Store, model: ModelVersion
) -> None:
    more = {**monthly(VALUES), "2023-05-01": 9.0}
    take_in(store, batch({"small": more}, "second"), NOW + HOUR)
    publish(store, forecast(origin="2023-05-01"), model, as_of=NOW + HOUR)
    assert facts(says, "small")["decision"] == {"training": "keep", "reason": "trained up to 2023-04-01"}

    tuning = record("fine-tune", "asked for", "2023-05-01")
    tuned = add_untrained(store, "tuned", made=tuning, as_of=NOW + HOUR, expected_champion=1)
    publish(store, forecast([1, 2, 3], origin="2023-05-01"), tuned, as_of=NOW + HOUR)
    assert facts(says, "small")["decision"] == {"training": "fine-tune", "reason": "asked for"}
    assert not facts(says, "small-2023-05-01-1")["model"]["is_champion"]

    take_in(store, batch({"small": {**more, "2020-01-01": 7.0}}, "third"), NOW + 2 * HOUR)
    publish(store, forecast([4, 5, 6], origin="2023-05-01"), tuned, as_of=NOW + 2 * HOUR, data_hash="third")
    assert facts(says, "small")["decision"] == {"training": "keep", "reason": "no new period since the training"}


def test_a_recipe_that_changed_since_the_run_is_reported(says: Says, store: Store, model: ModelVersion) -> None:
    publish(store, forecast(), model)
    store.recipes.register(small_recipe().model_copy(update={"max_gap": 3}))

    explanation = facts(says, "small")

    assert explanation["recipe_has_changed"]
    assert explanation["recipe_fingerprint"] == small_recipe().fingerprint
    assert f"{small_recipe().fingerprint[:12]}, changed since: " in says("small")


def test_the_mlflow_run_is_named_once_it_exists(says: Says, store: Store, model: ModelVersion) -> None:
    publish(store, forecast(), model)
    store.outbox.mark_done(store.outbox.pending()[0], NOW, mlflow_run_id="abc")

    assert facts(says, "small")["model"]["mlflow_run_id"] == "abc"
    assert "MLflow run abc" in says("small")


def test_what_mlflow_refuses_or_could_not_take_is_said_with_its_reason(
    says: Says, store: Store, model: ModelVersion
) -> None:
    publish(store, forecast(), model)
    training, champion, publication = store.outbox.pending()
    store.outbox.mark_failed(training, "MLflow is away")
    store.outbox.mark_done(champion, NOW)
    store.outbox.mark_skipped(publication, "the run was deleted", NOW)

    assert facts(says, "small")["not_in_mlflow"] == ["training: MLflow is away", "publication: the run was deleted"]
    assert "  MLflow      does not show the publication: the run was deleted\n" in says("small")


def test_a_recipe_name_means_its_latest_live_run(says: Says, store: Store, model: ModelVersion) -> None:
    publish(store, forecast(), model)
    publish(store, forecast(origin="2023-03-01"), model, kind="backfill", now=NOW + HOUR)

    assert facts(says, "small")["run_id"] == "small-2023-04-01-1"
    assert facts(says, "small-2023-03-01-backfill-1")["kind"] == "backfill"
    assert says("small-2023-03-01-backfill-1").startswith(
        "small-2023-03-01-backfill-1: backfill forecast of small after 2023-03-01\n"
    )


def test_a_recipe_may_be_given_as_a_path(says: Says, store: Store, model: ModelVersion, tmp_path: Path) -> None:
    publish(store, forecast(), model)

    assert facts(says, str(tmp_path / "recipes/small.toml"))["run_id"] == "small-2023-04-01-1"


def refusal(says: Says, name: str) -> str:
    with pytest.raises(InvalidArgument) as refused:
        says(name)
    return str(refused.value)


def test_an_unknown_run_lists_the_newest_runs(says: Says, store: Store, model: ModelVersion) -> None:
    for month in range(1, 8):
        publish(store, forecast(origin=f"2022-0{month}-01"), model, now=NOW + month * HOUR)

    assert refusal(says, "smal-1") == (
        'run "smal-1" is not known: expected a recipe\'s name, or a run such as the newest: small-2022-07-01-1, '
        "small-2022-06-01-1, small-2022-05-01-1, small-2022-04-01-1, small-2022-03-01-1"
    )


def test_a_store_without_runs_is_reported(says: Says, store: Store) -> None:
    assert refusal(says, "milk-1") == f'run "milk-1" is not known: {store.database.shown} has no run yet'
    assert refusal(says, "small") == "no forecast is published for small: run `nextperiod run small`"


def test_a_recipe_with_backfills_only_lists_them(says: Says, store: Store, model: ModelVersion) -> None:
    publish(store, forecast(), model, kind="backfill")

    assert refusal(says, "small") == (
        "small has no live run: expected one of its backfills small-2023-04-01-backfill-1"
    )


def test_a_job_as_of_too_early_an_instant_names_the_first_one(store: Store, model: ModelVersion) -> None:
    for job in (train_model, publish_forecast):
        with pytest.raises(NoObservations) as refused:
            job(small_recipe(), store, NOW, as_of=NOW - HOUR)

        assert str(refused.value) == (
            "small has no observations as of 2026-01-01T11:00:00+00:00: the first are known since "
            "2026-01-01T12:00:00+00:00; give that instant or a later one"
        )


def test_a_job_without_observations_names_the_command_to_run(store: Store) -> None:
    store.recipes.register(small_recipe())

    with pytest.raises(NoObservations, match="^there are no observations of small: run `nextperiod ingest small`$"):
        train_model(small_recipe(), store, NOW, as_of=NOW)


def test_data_is_known_since_the_first_batch_with_a_value(store: Store) -> None:
    store.recipes.register(small_recipe())
    assert store.batches.first_known_at("small") is None

    store.batches.refuse(BatchHeader(recipe="small", source="small.csv", content_hash="bad"), "faulty", [], NOW)
    assert store.batches.first_known_at("small") is None

    take_in(store, batch({"small": monthly(VALUES)}), NOW + HOUR)
    take_in(store, batch({"small": {"2023-05-01": 1.0}}, "second"), NOW + 2 * HOUR)
    assert store.batches.first_known_at("small") == NOW + HOUR
