"""Observations are appended, never changed; every earlier state of knowledge can be read again."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from pipeline.errors import Overtaken, Rejection
from pipeline.store import Store
from tests.database.past_our_code import carry_out, refused
from tests.database.small_store import FOREVER, at_once, batch, monthly, rows, told, value
from tests.examples import NOW, small_batch, small_recipe, small_values

DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def registered(store: Store) -> Store:
    """A store that knows the small recipe and nothing of its series."""
    store.register(small_recipe())
    return store


def test_the_database_itself_refuses_to_change_or_delete_an_observation(observed_store: Store) -> None:
    with observed_store.database.write() as transaction:
        for statement in (
            "update observations set value = value + 1",
            "update observations set period = '1999-01-01 00:00:00'",
            "delete from observations",
            "delete from observations where period = '2020-01-01'",
        ):
            with refused(transaction, "observations are appended, never changed"):
                carry_out(transaction, statement)
        with refused(transaction):
            carry_out(transaction, "insert into observations select * from observations")
        goes_around = {
            "sqlite": "insert or replace into observations "
            "select series_id, period, recorded_at, value + 1, batch_id from observations",
            "postgresql": "truncate observations",
        }
        with refused(transaction, "observations are appended, never changed"):
            carry_out(transaction, goes_around[transaction.connection.dialect.name])

    assert list(told(observed_store).values()) == small_values()


def test_a_changed_value_is_a_new_row_and_the_newest_is_current(registered: Store) -> None:
    registered.append("small", batch({"small": monthly([1, 2, 3])}), NOW, seen=None)
    registered.append("small", batch({"small": {"2020-02-01": 20}}), NOW + DAY, seen=NOW)

    current = "select period, value from current_observations order by period"
    assert [number for _, number in rows(registered.database, current)] == [1, 20, 3]
    assert value(registered.database, "select count(*) from observations") == 4
    assert told(registered) == {("small", "2020-01-01"): 1, ("small", "2020-02-01"): 20, ("small", "2020-03-01"): 3}


def test_a_value_that_returns_to_what_it_was_is_current_again(registered: Store) -> None:
    for n, number in enumerate([1.0, 2.0, 1.0]):
        seen = NOW + (n - 1) * DAY if n else None
        registered.append("small", batch({"small": {"2020-01-01": number}}), NOW + n * DAY, seen=seen)

    assert rows(registered.database, "select value from current_observations") == [(1,)]
    assert [told(registered, NOW + n * DAY)["small", "2020-01-01"] for n in range(3)] == [1, 2, 1]


def test_as_of_an_instant_is_exactly_what_was_recorded_until_then(registered: Store) -> None:
    registered.append("small", batch({"small": monthly([1, 2])}), NOW, seen=None)
    registered.append("small", batch({"north": monthly([5]), "small": {"2020-02-01": 20}}), NOW + DAY, seen=NOW)

    first = {("small", "2020-01-01"): 1, ("small", "2020-02-01"): 2}
    second = {("north", "2020-01-01"): 5, ("small", "2020-01-01"): 1, ("small", "2020-02-01"): 20}
    assert told(registered, NOW - MOMENT) == {}
    assert registered.panel(small_recipe(), NOW - MOMENT) is None
    assert told(registered, NOW) == told(registered, NOW + DAY - MOMENT) == first
    assert told(registered, NOW + DAY) == told(registered, FOREVER) == second


def test_what_comes_later_changes_nothing_of_what_was_known(registered: Store) -> None:
    registered.append("small", batch({"north": monthly([7, 8, 9]), "small": monthly([1, 2, 3])}), NOW, seen=None)
    before = registered.panel(small_recipe(), NOW)

    future = batch({"east": monthly([0, 0]), "north": monthly([70, 80, 90, 100]), "small": {"2019-12-01": -1}})
    registered.append("small", future, NOW + MOMENT, seen=NOW)

    after = registered.panel(small_recipe(), NOW)
    assert before is not None
    assert after is not None
    assert after.data_hash == before.data_hash
    assert after.series == ("north", "small")
    assert after.of(0).tolist() == [7, 8, 9]
    assert after.as_of == NOW
    assert registered.data_recorded_at("small", NOW) == NOW
    assert registered.data_recorded_at("small", FOREVER) == NOW + MOMENT


def test_recorded_instants_ascend_even_when_a_clock_goes_back(registered: Store) -> None:
    first = registered.append("small", batch({"small": monthly([1])}), NOW, seen=None)
    second = registered.append("small", batch({"small": monthly([2])}), NOW - DAY, seen=first)
    registered.refuse("small", "small.csv", "empty", [], NOW - DAY)
    third = registered.append("small", batch({"small": monthly([3])}), NOW, seen=second)

    assert (first, second) == (NOW, NOW + MOMENT)
    assert third == NOW + 3 * MOMENT
    assert [told(registered, at)["small", "2020-01-01"] for at in (first, second, third)] == [1, 2, 3]
    assert told(registered)["small", "2020-01-01"] == 3


def test_who_compared_with_an_older_state_is_overtaken_and_writes_nothing(registered: Store) -> None:
    registered.append("small", batch({"small": monthly([1, 2])}), NOW, seen=None)

    for seen in (None, NOW - MOMENT, NOW + MOMENT):
        with pytest.raises(Overtaken, match="another worker recorded observations of small"):
            registered.append("small", batch({"small": monthly([9, 9, 9])}), NOW + DAY, seen=seen)

    assert told(registered) == {("small", "2020-01-01"): 1, ("small", "2020-02-01"): 2}
    assert value(registered.database, "select count(*) from batches") == 1


def test_a_batch_that_brought_nothing_and_a_refused_one_overtake_nobody(registered: Store) -> None:
    registered.append("small", batch({"small": monthly([1])}), NOW, seen=None)
    registered.append("small", batch({}), NOW + DAY, seen=NOW)
    registered.refuse("small", "small.csv", "is empty", [], NOW + 2 * DAY)

    registered.append("small", batch({"small": monthly([2])}), NOW + 3 * DAY, seen=NOW)

    assert told(registered) == {("small", "2020-01-01"): 2}


def test_a_batch_is_taken_in_whole_or_not_at_all(registered: Store) -> None:
    sound = batch({"north": monthly([1, 2]), "small": monthly([1, float("inf")])})

    with pytest.raises(sa.exc.DatabaseError):
        registered.append("small", sound, NOW, seen=None)

    for table in ("observations", "series", "batches"):
        assert value(registered.database, f"select count(*) from {table}") == 0


def test_refused_rows_are_kept_with_their_place_and_rule(registered: Store) -> None:
    partly = Rejection(line=3, column="sold", series="small", text="many", rule="is not a number")
    whole = Rejection(rule="encoding")
    registered.append("small", batch({"small": monthly([1])}, rejections=[partly]), NOW, seen=None)

    registered.refuse("small", "csv", "small.csv is not UTF-8", [whole], NOW + DAY)

    shown = rows(
        registered.database,
        "select recipe, source, line, column_name, series, text, rule from rejected_observations order by rejected_at",
    )
    assert shown == [
        ("small", "small.csv", 3, "sold", "small", "many", "is not a number"),
        ("small", "csv", None, None, None, None, "encoding"),
    ]
    assert rows(registered.database, "select status, message from batches order by batch_id") == [
        ("accepted", None),
        ("refused", "small.csv is not UTF-8"),
    ]
    assert told(registered) == {("small", "2020-01-01"): 1}


def test_only_an_accepted_batch_counts_as_taken_in_last(registered: Store) -> None:
    assert registered.last_content_hash("small") is None

    registered.append("small", batch({"small": monthly([1])}, "first"), NOW, seen=None)
    registered.append("small", batch({}, "second"), NOW, seen=NOW)
    registered.refuse("small", "csv", "is empty", [], NOW)

    assert registered.last_content_hash("small") == "second"


def test_recipes_know_nothing_of_each_other(observed_store: Store) -> None:
    other = small_recipe().model_copy(update={"name": "other"})
    observed_store.register(other)

    observed_store.append("other", batch({"small": monthly([7])}), NOW, seen=None)

    assert list(told(observed_store).values()) == small_values()
    assert rows(observed_store.database, "select value from current_observations where recipe = 'other'") == [(7,)]


def test_names_of_series_travel_unchanged(registered: Store) -> None:
    names = ["007", "A", "NA", "a b", "b'; drop table series; --", "nan", "Ä", "ß", "表"]

    registered.append("small", batch({name: monthly([1]) for name in names}), NOW, seen=None)

    assert {name for name, _ in told(registered)} == set(names)


def test_workers_that_bring_the_same_at_once_leave_one_set_of_rows(database_url: str, registered: Store) -> None:
    answers = at_once(database_url, 8, lambda own: own.append("small", small_batch(), NOW, seen=None))

    assert answers.count(NOW) == 1
    assert [type(answer) for answer in answers if answer != NOW] == [Overtaken] * 7
    assert value(registered.database, "select count(*) from observations") == len(small_values())
    assert value(registered.database, "select count(*) from batches") == 1
    assert list(told(registered).values()) == small_values()
