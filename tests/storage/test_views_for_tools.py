"""What the views for BI tools say, filled by our own code, with values that a person can check by hand."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from pipeline.errors import BatchHeld
from pipeline.records.lineage import Decision
from pipeline.records.training import GateRecord, SeriesErrors
from pipeline.storage.batches import BatchHeader, HeldContent
from pipeline.storage.store import Store
from tests.storage.raw_sql import insert, rows, value
from tests.storage.small_store import add_untrained, batch, monthly, publish, record, take_in
from tests.storage.small_store import forecast as small_forecast
from tests.support.examples import NOW, small_recipe
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe
from tests.support.training_records import backtest_of

HOUR = timedelta(hours=1)


def at(hours: int) -> datetime:
    return NOW + hours * HOUR


def instants(store: Store, found: object) -> datetime:
    return datetime.fromisoformat(found) if isinstance(found, str) else found  # type: ignore[return-value]


def test_a_recipe_is_shown_as_it_was_last_run(store: Store) -> None:
    keys = {"description": "What shops sell", "horizon": 14, "publish": {"minimum": 0.0}}
    store.recipes.register(build_recipe("sales", frequency="D", **keys))
    store.recipes.register(
        build_recipe("sales", frequency="D", unit="pieces", source={"zone": "Europe/Amsterdam"}, **keys)
    )

    columns = "recipe, description, unit, frequency, calendar, zone, season_length, horizon"
    assert rows(store.database, f"select {columns} from recipes") == [
        ("sales", "What shops sell", "pieces", "D", None, "Europe/Amsterdam", 7, 14)
    ]
    columns = "source_kind, architecture, training_policy, baseline, minimum, maximum, model_version"
    assert rows(store.database, f"select {columns} from recipes") == [
        ("csv", "global", "auto", "auto", 0.0, None, None)
    ]


def test_a_unit_is_no_reason_to_train_again() -> None:
    plain, in_pieces = build_recipe("sales"), build_recipe("sales", unit="pieces")

    assert in_pieces.training_fingerprint == plain.training_fingerprint


@pytest.fixture
def shops(store: Store) -> Store:
    """Two shops; of a March is withdrawn and January revised, and b ended before the newest forecast."""
    store.recipes.register(small_recipe())
    take_in(store, batch({"a": monthly([1, 2, 3, 4]), "b": monthly([5, 6])}, "0"), at(0))
    take_in(store, batch({"a": {"2020-03-01": float("nan"), "2020-01-01": 1.5}}, "1"), at(1))
    a = value(store.database, "select series_id from series_variables where series = 'a'")
    for batch_id, region in ((1, "north"), (2, "south")):
        insert(store.database, "attributes", {"series_id": a, "name": "region", "batch_id": batch_id, "value": region})
    return store


SERIES = (
    "select series, attributes ->> 'region', is_active, {first}, {last}, num_observations from series order by series"
)


def series_of(store: Store) -> list[tuple[object, ...]]:
    first, last = (f"substr(cast({name}_period as text), 1, 10)" for name in ("first", "last"))
    return rows(store.database, SERIES.format(first=first, last=last))


def test_a_series_has_its_newest_attributes_and_counts_values_that_are_not_withdrawn(shops: Store) -> None:
    assert series_of(shops) == [
        ("a", "south", True, "2020-01-01", "2020-04-01", 3),
        ("b", None, True, "2020-01-01", "2020-02-01", 2),
    ]


def test_a_series_that_the_newest_forecast_leaves_out_is_not_active(shops: Store) -> None:
    publish(shops, small_forecast(origin="2020-04-01", series=("a",)), add_untrained(shops))

    assert [(name, active) for name, _, active, *_ in series_of(shops)] == [("a", True), ("b", False)]
    assert rows(shops.database, "select series from inactive_series") == [("b",)]


def test_a_series_whose_values_are_all_withdrawn_has_no_period(shops: Store) -> None:
    take_in(shops, batch({"b": monthly([float("nan")] * 2)}, "2"), at(2))

    assert series_of(shops)[1] == ("b", None, True, None, None, 0)


def test_an_attempt_shows_when_it_ran_and_why_it_failed(store: Store) -> None:
    number = store.recipes.begin_attempt("small", "run", at(0))
    store.recipes.end_attempt(number, "failed", "small.csv is missing", at(1))

    ((started, finished, *others),) = rows(
        store.database, "select started_at, finished_at, recipe, command, status, error from attempts"
    )
    assert (instants(store, started), instants(store, finished)) == (at(0), at(1))
    assert others == ["small", "run", "failed", "small.csv is missing"]


def hold(store: Store, content_hash: str, hour: int) -> None:
    """Put a delivery on hold."""
    header = BatchHeader(recipe="small", source="small.csv", content_hash=content_hash)
    reason = BatchHeld(f"{content_hash} looks wrong", source="small.csv")
    store.batches.hold(header, HeldContent(reason=reason, parts=[], num_read=1), at(hour))


def decisions_of(store: Store, what: str) -> list[tuple[object, ...]]:
    found = rows(
        store.database,
        f"select decided_at, outcome, reason, batch_id, model_version from decisions where what = '{what}' "
        "order by decided_at, outcome",
    )
    return [(int((instants(store, row[0]) - NOW) / HOUR), *row[1:]) for row in found]


def test_what_people_decide_about_batches_is_a_decision_with_its_instant_and_reason(store: Store) -> None:
    store.recipes.register(small_recipe())
    take_in(store, batch({"a": monthly([1, 2])}, "first"), at(0))
    hold(store, "second", 1)
    held = store.batches.held("small")
    assert held is not None
    store.batches.reject("small", held, at(2))
    hold(store, "third", 3)
    held = store.batches.held("small")
    assert held is not None
    approving = BatchHeader(recipe="small", source="small.csv", content_hash="third", releases=held.batch_id)
    with store.batches.write(approving, at(4)) as intake:
        intake.finish(dict.fromkeys(("num_read", "num_new", "num_revised", "num_same"), 0), [])
    store.batches.withdraw("small", 1, at(5))
    store.batches.reset("small", at(6))

    assert decisions_of(store, "batch") == [
        (2, "rejected", "second looks wrong", 2, None),
        (4, "approved", "third looks wrong", 3, None),
        (5, "withdrawn", None, 1, None),
    ]
    assert decisions_of(store, "history") == [(6, "reset", None, 6, None)]


def gate(outcome: str) -> GateRecord:
    return GateRecord(outcome=outcome, reason=f"{outcome} by the gate")


def add_model(store: Store, name: str, outcome: str, hour: int, champion: int | None) -> None:
    """Keep a model that the gate has judged."""
    judged = record().model_copy(update={"gate": gate(outcome)})
    add_untrained(store, name, made=judged, expected_champion=champion, now=at(hour))


def test_the_history_of_models_shows_since_when_and_until_when_each_was_the_champion(store: Store) -> None:
    store.recipes.register(small_recipe())
    add_model(store, "first", "promoted", 1, None)
    add_model(store, "second", "not promoted", 2, 1)
    add_model(store, "third", "promoted", 3, 1)

    found = rows(
        store.database,
        "select model_version, is_champion, promoted_at, replaced_at from model_history order by model_version",
    )
    hours = [
        (version, bool(champion), *((int((instants(store, i) - NOW) / HOUR) if i else None) for i in moments))
        for version, champion, *moments in found
    ]
    assert hours == [(1, False, 1, 3), (2, False, None, None), (3, True, 3, None)]
    assert decisions_of(store, "promotion") == [
        (1, "promoted", "promoted by the gate", None, 1),
        (2, "not promoted", "not promoted by the gate", None, 2),
        (3, "promoted", "promoted by the gate", None, 3),
    ]


def test_a_reset_ends_the_time_of_the_champion(store: Store) -> None:
    store.recipes.register(small_recipe())
    take_in(store, batch({"a": monthly([1, 2])}, "first"), at(0))
    add_model(store, "first", "promoted", 1, None)

    store.batches.reset("small", at(2))

    ((is_champion, replaced_at),) = rows(store.database, "select is_champion, replaced_at from model_history")
    assert not is_champion
    assert instants(store, replaced_at) == at(2)


def test_a_decision_about_training_is_listed_with_its_reason(store: Store) -> None:
    store.recipes.register(small_recipe())
    decision = Decision(what="training", kind="live", outcome="keep", reason="not due", model_version=None, as_of=NOW)

    store.models.record_decision("small", decision, at(1))

    assert decisions_of(store, "training") == [(1, "keep", "not due", None, None)]


def test_the_errors_of_a_backtest_are_rows_by_series_and_no_part_of_the_record(shops: Store) -> None:
    errors = SeriesErrors(
        series=("a", "b"),
        num_scored=(3, 2),
        mae=(5.0, 8.0),
        rmse=(6.0, 9.0),
        mase=(0.5, None),
        smape=(10.0, 20.0),
        baseline_mae=(10.0, 4.0),
        baseline_mase=(1.0, None),
    )
    backtest = backtest_of(panel_of({"a": [1.0, 2, 3, 4, 5]}), errors_by_series=errors, baseline="naive")

    model = add_untrained(shops, made=record().model_copy(update={"backtest": backtest}))

    columns = "series, num_scored, mae, rmse, mase, smape, baseline, baseline_mae, baseline_mase, skill"
    assert rows(shops.database, f"select {columns} from backtest_by_series order by series") == [
        ("a", 3, 5.0, 6.0, 0.5, 10.0, "naive", 10.0, 1.0, 0.5),
        ("b", 2, 8.0, 9.0, None, 20.0, "naive", 4.0, None, None),
    ]
    assert "by_series" not in json.loads(value(shops.database, "select record from models"))["backtest"]
    assert model.record.backtest is not None
    assert model.record.backtest.by_series is None
