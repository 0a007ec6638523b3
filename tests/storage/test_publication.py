"""A run becomes visible whole or not at all, once, and stays as it went out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.records.lineage import ModelVersion
from pipeline.storage.engine import Database
from pipeline.storage.integrity import integrity_errors
from pipeline.storage.runs import Publication
from pipeline.storage.store import Store
from pipeline.training.process_files import TrainedModel
from tests.storage.raw_sql import change, execute, insert_step, refused, rows, stage, value
from tests.storage.small_store import add_model, at_once, batch, forecast, monthly, publish, take_in
from tests.support.examples import NOW, small_recipe

FOUR = ("east", "north", "small", "west")
DAY = timedelta(days=1)


@pytest.fixture
def four(model: ModelVersion, observed_store: Store) -> Store:
    """A store that knows four series."""
    take_in(observed_store, batch({name: monthly([1]) for name in FOUR}), NOW + DAY)
    return observed_store


def runs(database: Database) -> list[tuple[str, str, str | None]]:
    """All runs with their status and what superseded them, oldest first."""
    return rows(database, "select run_id, status, superseded_by from runs order by run_id")


def shown(database: Database) -> list[tuple[object, ...]]:
    """What consumers see."""
    return rows(database, "select run_id, series, step, mean from latest_forecasts order by series, step")


def test_a_forecast_is_visible_as_one_whole_run(four: Store, model: ModelVersion) -> None:
    run, is_new = publish(four, forecast([100, 110, 120], series=FOUR), model)

    assert is_new
    assert run.run_id == "small-2023-04-01-1"
    assert (run.status, run.num_series, run.num_rows, run.kind) == ("published", 4, 12, "live")
    assert shown(four.database) == [
        (run.run_id, name, step, mean) for name in FOUR for step, mean in ((1, 100), (2, 110), (3, 120))
    ]
    assert rows(
        four.database,
        "select lower_95, lower_80, mean, median, upper_80, upper_95, method, reason, model_version "
        "from latest_forecasts where series = 'west' and step = 2",
    ) == [(102, 105, 110, 110, 115, 118, "lstm", None, 1)]
    assert len(four.runs.latest_forecasts("small")) == 12
    assert {row["series"] for row in four.runs.latest_forecasts("small", "west")} == {"west"}


def test_a_fallback_says_what_stood_in_and_why(four: Store, model: ModelVersion) -> None:
    made = replace(
        forecast(series=("east", "small")), method=("fallback:naive", "lstm"), reason=("the context is short", None)
    )

    run, _ = publish(four, made, model)

    methods = "select distinct series, method, reason from latest_forecasts order by series"
    assert rows(four.database, methods) == [("east", "fallback:naive", "the context is short"), ("small", "lstm", None)]
    assert value(four.database, "select num_fallback from runs") == 1
    assert four.runs.read_forecast(run.run_id).reason == ("the context is short", None)


def test_publishing_twice_adds_nothing(model: ModelVersion, observed_store: Store) -> None:
    first, _ = publish(observed_store, forecast(), model)

    second, is_new = publish(observed_store, forecast(), model, now=NOW + DAY)

    assert second == first
    assert not is_new
    assert runs(observed_store.database) == [("small-2023-04-01-1", "published", None)]
    assert value(observed_store.database, "select count(*) from forecasts") == 3


def test_new_data_at_the_same_origin_supersede_the_run_which_stays_readable(
    model: ModelVersion, observed_store: Store
) -> None:
    publish(observed_store, forecast([1, 2, 3]), model)

    _, is_new = publish(observed_store, forecast([4, 5, 6]), model, data_hash="revised", now=NOW + DAY)

    assert is_new
    assert runs(observed_store.database) == [
        ("small-2023-04-01-1", "superseded", "small-2023-04-01-2"),
        ("small-2023-04-01-2", "published", None),
    ]
    assert [mean for *_, mean in shown(observed_store.database)] == [4, 5, 6]
    history = "select run_id, mean, kind from forecast_history order by run_id, step"
    assert [mean for _, mean, _ in rows(observed_store.database, history)] == [1, 2, 3, 4, 5, 6]


def test_another_model_at_the_same_origin_supersedes(
    model: ModelVersion, observed_store: Store, outcome: TrainedModel
) -> None:
    publish(observed_store, forecast(), model)
    add_model(observed_store, outcome, "another", expected_champion=model.model_version)
    champion = observed_store.models.champion("small")
    assert champion is not None

    _, is_new = publish(observed_store, forecast(), champion)

    assert is_new
    assert [status for _, status, _ in runs(observed_store.database)] == ["superseded", "published"]
    assert rows(observed_store.database, "select distinct model_version from latest_forecasts") == [(2,)]


def test_data_that_return_to_an_earlier_state_are_published_again(model: ModelVersion, observed_store: Store) -> None:
    for data_hash in ("data", "revised", "data"):
        _, is_new = publish(observed_store, forecast(), model, data_hash=data_hash)
        assert is_new

    assert [status for _, status, _ in runs(observed_store.database)] == ["superseded", "superseded", "published"]


def test_the_latest_forecast_is_of_the_newest_origin_not_of_the_last_publication(
    model: ModelVersion, observed_store: Store
) -> None:
    publish(observed_store, forecast([4, 5, 6], origin="2023-04-01"), model)

    publish(observed_store, forecast([1, 2, 3], origin="2023-03-01"), model, now=NOW + DAY)

    assert [mean for *_, mean in shown(observed_store.database)] == [4, 5, 6]
    assert [status for _, status, _ in runs(observed_store.database)] == ["published", "published"]


def test_a_backfill_is_never_the_latest(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast([1, 2, 3], origin="2023-04-01"), model, kind="backfill")
    assert shown(observed_store.database) == []

    publish(observed_store, forecast([4, 5, 6], origin="2023-03-01"), model)
    publish(observed_store, forecast([7, 8, 9], origin="2023-03-01"), model, kind="backfill")

    assert [mean for *_, mean in shown(observed_store.database)] == [4, 5, 6]
    assert {status for _, status, _ in runs(observed_store.database)} == {"published"}
    kinds = "select kind, count(*) from forecast_history group by kind order by kind"
    assert rows(observed_store.database, kinds) == [("backfill", 6), ("live", 3)]
    origin = value(observed_store.database, "select cast(latest_origin as text) from recipe_status")
    assert origin[:10] == "2023-03-01"


def test_recipes_do_not_supersede_each_other(model: ModelVersion, observed_store: Store, outcome: TrainedModel) -> None:
    publish(observed_store, forecast([1, 2, 3]), model)
    other = small_recipe().model_copy(update={"name": "other"})
    observed_store.recipes.register(other)
    take_in(observed_store, batch({"small": monthly([1])}), NOW, recipe="other")
    change(
        observed_store.database,
        "insert into models select 'other', model_version, model_hash, training, reason, cutoff, as_of, data_hash, "
        "recipe_fingerprint, training_fingerprint, code_version, record, skill, trained_at, null from models",
    )
    another = observed_store.models.by_version("other", 1)
    assert another is not None

    publication = Publication(
        recipe=other,
        forecast=forecast([4, 5, 6]),
        model=another,
        lineage=another.lineage,
        kind="live",
        expected_next_by=NOW,
        fencing_token=0,
    )
    observed_store.runs.publish(publication, NOW)

    found = "select recipe, mean from latest_forecasts order by recipe, step"
    assert rows(observed_store.database, found) == [
        ("other", 4), ("other", 5), ("other", 6), ("small", 1), ("small", 2), ("small", 3)
    ]  # fmt: skip


FAILS_AT_THE_FLIP = {
    "sqlite": [
        "create trigger power_cut before update of status on runs when new.status = 'published' "
        "begin select raise(abort, 'power cut'); end"
    ],
    "postgresql": [
        "create function power_cut() returns trigger language plpgsql as "
        "$$ begin if new.status = 'published' then raise exception 'power cut'; end if; return new; end $$",
        "create trigger power_cut before update on runs for each row execute function power_cut()",
    ],
}


def test_a_failure_before_a_run_becomes_visible_leaves_nothing(model: ModelVersion, observed_store: Store) -> None:
    database = observed_store.database
    publish(observed_store, forecast([1, 2, 3]), model)
    before = (shown(database), runs(database))
    for statement in FAILS_AT_THE_FLIP[database.url.get_backend_name()]:
        change(database, statement)

    with pytest.raises(sa.exc.DatabaseError, match="power cut"):
        publish(observed_store, forecast([4, 5, 6]), model, data_hash="revised")

    assert (shown(database), runs(database)) == before
    assert value(database, "select count(*) from forecasts") == 3
    change(database, "drop trigger power_cut" + ("" if database.url.get_backend_name() == "sqlite" else " on runs"))
    _, is_new = publish(observed_store, forecast([4, 5, 6]), model, data_hash="revised")
    assert is_new
    assert [mean for *_, mean in shown(database)] == [4, 5, 6]


def test_a_forecast_of_an_unknown_series_is_not_published(model: ModelVersion, observed_store: Store) -> None:
    with pytest.raises(KeyError):
        publish(observed_store, forecast(series=("small", "unknown")), model)

    assert runs(observed_store.database) == []


@pytest.mark.parametrize("declared", [0, 2, 4])
def test_a_run_with_another_number_of_rows_than_declared_is_not_published(
    model: ModelVersion, observed_store: Store, declared: int
) -> None:
    with observed_store.database.write() as transaction:
        stage(transaction, model, num_rows=declared)
        for step in (1, 2, 3):
            insert_step(transaction, step)
        with refused(transaction, "the number of rows that it declares"):
            transaction.execute("publish_run", run_id="staged", published_at=NOW)

    assert shown(observed_store.database) == []
    assert rows(observed_store.database, "select * from forecast_history") == []


def test_a_staged_run_is_in_no_view_and_may_be_deleted(model: ModelVersion, observed_store: Store) -> None:
    with observed_store.database.write() as transaction:
        stage(transaction, model)
        insert_step(transaction)

    for view in ("latest_forecasts", "forecast_history"):
        assert rows(observed_store.database, f"select * from {view}") == []
    for table in ("forecasts", "run_series", "run_steps", "runs"):
        assert change(observed_store.database, f"delete from {table}") == 1


@pytest.mark.parametrize("status", ["published", "superseded"])
def test_a_run_begins_staged(model: ModelVersion, observed_store: Store, status: str) -> None:
    publish(observed_store, forecast(), model)
    columns = ", ".join(
        name
        for (name,) in _columns_of_runs(observed_store.database)
        if name not in ("run_number", "run_id", "status", "origin")
    )

    with observed_store.database.write() as transaction, refused(transaction, "staged, once, before it is published"):
        execute(
            transaction,
            f"insert into runs (run_id, status, origin, {columns}) "
            f"select 'second', '{status}', '2023-05-01 00:00:00', {columns} from runs",
        )


def _columns_of_runs(database: Database) -> list[tuple[str]]:
    return [(column["name"],) for column in sa.inspect(database.engine).get_columns("runs")]


@pytest.mark.parametrize("superseded", [False, True], ids=["published", "superseded"])
def test_published_rows_are_never_changed(model: ModelVersion, observed_store: Store, superseded: bool) -> None:
    publish(observed_store, forecast([1, 2, 3]), model)
    if superseded:
        publish(observed_store, forecast([4, 5, 6]), model, data_hash="revised")
    database, first = observed_store.database, "small-2023-04-01-1"
    before = rows(database, "select * from forecast_history order by run_id, step")
    of_first = "(select run_number from runs where run_id = :run)"

    with database.write() as transaction:
        for statement in (
            f"update forecasts set mean = mean + 1 where run_number = {of_first}",
            f"update forecasts set step = step + 10 where run_number = {of_first}",
            f"delete from forecasts where run_number = {of_first} and step = 3",
            f"delete from forecasts where run_number = {of_first}",
        ):
            with refused(transaction, "forecasts of a published run are never changed"):
                execute(transaction, statement, run=first)
        with refused(transaction, "forecasts of a published run are never changed"):
            insert_step(transaction, 4, run_id=first)
        for assignment in (
            "status = 'staged'",
            "run_id = 'renamed'",
            "origin = '2024-01-01 00:00:00'",
            "num_rows = 2",
            "content_hash = ''",
            "published_at = null",
            "published_at = '2030-01-01 00:00:00.000000+00:00'",
        ):
            with refused(transaction):
                execute(transaction, f"update runs set {assignment} where run_id = :run", run=first)
        with refused(transaction, "a published run is never deleted"):
            execute(transaction, "delete from runs where run_id = :run", run=first)
        if superseded:
            with refused(transaction):
                execute(transaction, "update runs set status = 'published' where run_id = :run", run=first)

    assert rows(database, "select * from forecast_history order by run_id, step") == before


def test_two_runs_are_never_published_at_one_origin(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model)

    with observed_store.database.write() as transaction:
        stage(transaction, model)
        insert_step(transaction)
        with refused(transaction, r"(?i)unique"):
            transaction.execute("publish_run", run_id="staged", published_at=NOW)

    assert len(shown(observed_store.database)) == 3


def test_published_numbers_are_read_back_bit_for_bit(model: ModelVersion, observed_store: Store) -> None:
    numbers = np.array([-0.0, 1e-300, 5e-324, 0.1 + 0.2, -1.7976931348623157e308, 1 / 3])
    made = replace(forecast([0] * len(numbers)), mean=numbers[None, :], quantiles=np.tile(numbers[None, :, None], 5))

    run, _ = publish(observed_store, made, model)

    found = observed_store.runs.read_forecast(run.run_id)
    assert found.content_hash == made.content_hash == run.content_hash
    assert (found.mean + 0.0).tobytes() == (made.mean + 0.0).tobytes()
    assert found.periods.tolist() == made.periods.tolist()
    assert found.origin == made.origin
    assert integrity_errors(observed_store) == []


def test_a_run_that_lost_a_row_or_a_number_is_an_integrity_error(model: ModelVersion, observed_store: Store) -> None:
    database = observed_store.database
    run, _ = publish(observed_store, forecast(), model)
    assert integrity_errors(observed_store) == []
    guards = (
        ("published_forecasts_stay_on_update", "published_forecasts_stay_on_delete")
        if database.url.get_backend_name() == "sqlite"
        else [f"guard_forecasts_{event} on forecasts" for event in ("update_of", "update_to", "delete")]
    )
    for guard in guards:
        change(database, f"drop trigger {guard}")

    change(database, "update forecasts set mean = 110.00000000000001 where step = 2")
    assert integrity_errors(observed_store) == [f"run {run.run_id} is not as it was computed"]
    change(database, "delete from forecasts where step = 2")
    assert f"run {run.run_id} holds 2 rows, 3 were declared" in integrity_errors(observed_store)


def test_workers_that_publish_the_same_at_once_leave_one_run(
    database_url: str, model: ModelVersion, observed_store: Store
) -> None:
    answers = at_once(database_url, 8, lambda own: publish(own, forecast(), model))

    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert sorted(is_new for _, is_new in answers) == [False] * 7 + [True]
    assert len({run for run, _ in answers}) == 1
    assert runs(observed_store.database) == [("small-2023-04-01-1", "published", None)]
    assert value(observed_store.database, "select count(*) from forecasts") == 3
    assert integrity_errors(observed_store) == []


def test_workers_that_publish_differently_at_once_supersede_each_other(
    database_url: str, model: ModelVersion, observed_store: Store
) -> None:
    names = iter("abcd")

    answers = at_once(database_url, 4, lambda own: publish(own, forecast(), model, data_hash=next(names)))

    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert [status for _, status, _ in runs(observed_store.database)] == ["superseded"] * 3 + ["published"]
    assert value(observed_store.database, "select count(*) from latest_forecasts") == 3
    assert value(observed_store.database, "select count(*) from forecast_history") == 12


def test_readers_during_publications_see_one_whole_run_each_time(
    database_url: str, model: ModelVersion, observed_store: Store
) -> None:
    publish(observed_store, forecast([0, 0, 0]), model, data_hash="0")
    turn = iter(range(8))

    def publish_or_read(own: Store) -> list[list[tuple[object, ...]]]:
        if next(turn) % 2:
            for n in range(1, 6):
                publish(own, forecast([n, n, n]), model, data_hash=str(n))
            return []
        return [rows(own.database, "select run_id, mean from latest_forecasts") for _ in range(20)]

    answers = at_once(database_url, 8, publish_or_read)

    seen = [found for answer in answers if not isinstance(answer, Exception) for found in answer]
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert len(seen) == 80
    assert all(len(found) == 3 and len(set(found)) == 1 for found in seen)


def test_a_fallback_from_a_step_on_leaves_the_steps_before_to_the_network(four: Store, model: ModelVersion) -> None:
    made = replace(
        forecast(series=("east", "small", "west")),
        method=("fallback:naive", "lstm", "fallback:naive"),
        reason=("promo is not known for 1 of 3 periods ahead", None, "the context is short"),
        network_steps=(2, 0, 0),
    )

    run, _ = publish(four, made, model)

    rows_of = "select step, method, reason from {} where series = 'east' order by step"
    for view in ("latest_forecasts", "forecast_history"):
        assert rows(four.database, rows_of.format(view)) == [
            (1, "lstm", None),
            (2, "lstm", None),
            (3, "fallback:naive", "promo is not known for 1 of 3 periods ahead"),
        ]
    read = four.runs.read_forecast(run.run_id)
    assert read.network_steps == (2, 0, 0)
    assert read.content_hash == made.content_hash != replace(made, network_steps=()).content_hash
    assert integrity_errors(four) == []
    assert read.to_frame()["method"].tolist()[:3] == ["lstm", "lstm", "fallback:naive"]
