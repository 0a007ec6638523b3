"""Observations are appended, never changed; every earlier state of knowledge can be read again."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.errors import Rejection
from pipeline.storage.batches import BatchHeader
from pipeline.storage.bulk_load import values_as_of
from pipeline.storage.store import Store
from pipeline.timeseries.observations import TARGET
from tests.storage.raw_sql import execute, refused, rows, value
from tests.storage.small_store import FOREVER, at_once, batch, monthly, observations_as_of, take_in, told
from tests.support.examples import NOW, months, small_batch, small_recipe, small_values

DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def registered(store: Store) -> Store:
    """A store that knows the small recipe and nothing of its series."""
    store.recipes.register(small_recipe())
    return store


def test_the_database_itself_refuses_to_change_or_delete_an_observation(observed_store: Store) -> None:
    with observed_store.database.write() as transaction:
        for statement in (
            "update observations set value = value + 1",
            "update observations set period = '1999-01-01 00:00:00'",
            "delete from observations",
            "delete from observations where period = '2020-01-01'",
        ):
            with refused(transaction, "are appended, never changed"):
                execute(transaction, statement)
        with refused(transaction):
            execute(transaction, "insert into observations select * from observations")
        goes_around = {
            "sqlite": "insert or replace into observations select series_id, period, value + 1, batch_id from observations",
            "postgresql": "truncate observations",
        }
        with refused(transaction, "are appended, never changed"):
            execute(transaction, goes_around[transaction.connection.dialect.name])

    assert list(told(observed_store).values()) == small_values()


def test_a_changed_value_is_a_new_row_and_the_newest_is_current(registered: Store) -> None:
    take_in(registered, batch({"small": monthly([1, 2, 3])}), NOW)
    take_in(registered, batch({"small": {"2020-02-01": 20}}), NOW + DAY)

    current = "select period, value from current_observations order by period"
    assert [number for _, number in rows(registered.database, current)] == [1, 20, 3]
    assert value(registered.database, "select count(*) from observations") == 3
    assert value(registered.database, "select count(*) from revisions") == 1
    assert told(registered) == {("small", "2020-01-01"): 1, ("small", "2020-02-01"): 20, ("small", "2020-03-01"): 3}


def test_a_value_that_returns_to_what_it_was_is_current_again(registered: Store) -> None:
    for n, number in enumerate([1.0, 2.0, 1.0]):
        take_in(registered, batch({"small": {"2020-01-01": number}}), NOW + n * DAY)

    assert rows(registered.database, "select value from current_observations") == [(1,)]
    assert [told(registered, NOW + n * DAY)["small", "2020-01-01"] for n in range(3)] == [1, 2, 1]


def test_a_read_as_of_an_instant_gives_exactly_the_values_recorded_by_then(registered: Store) -> None:
    take_in(registered, batch({"small": monthly([1, 2])}), NOW)
    take_in(registered, batch({"north": monthly([5]), "small": {"2020-02-01": 20}}), NOW + DAY)

    first = {("small", "2020-01-01"): 1, ("small", "2020-02-01"): 2}
    second = {("north", "2020-01-01"): 5, ("small", "2020-01-01"): 1, ("small", "2020-02-01"): 20}
    assert told(registered, NOW - MOMENT) == {}
    assert registered.observations.panel(small_recipe(), NOW - MOMENT) is None
    assert told(registered, NOW) == told(registered, NOW + DAY - MOMENT) == first
    assert told(registered, NOW + DAY) == told(registered, FOREVER) == second


def test_later_batches_do_not_change_reads_as_of_an_earlier_instant(registered: Store) -> None:
    take_in(registered, batch({"north": monthly([7, 8, 9]), "small": monthly([1, 2, 3])}), NOW)
    before = registered.observations.panel(small_recipe(), NOW)

    future = batch({"east": monthly([0, 0]), "north": monthly([70, 80, 90, 100]), "small": {"2019-12-01": -1}})
    take_in(registered, future, NOW + MOMENT)

    after = registered.observations.panel(small_recipe(), NOW)
    assert before is not None
    assert after is not None
    assert after.data_hash == before.data_hash
    assert after.series == ("north", "small")
    assert after.series_values(0).tolist() == [7, 8, 9]
    assert after.as_of == NOW
    known = [registered.batches.latest_as_of("small", at) for at in (NOW, FOREVER)]
    assert [one.recorded_at for one in known if one] == [NOW, NOW + MOMENT]


def test_recorded_instants_ascend_even_when_a_clock_goes_back(registered: Store) -> None:
    first = take_in(registered, batch({"small": monthly([1])}), NOW)
    second = take_in(registered, batch({"small": monthly([2])}), NOW - DAY)
    registered.batches.refuse(BatchHeader(recipe="small", source="small.csv", content_hash=""), "empty", [], NOW - DAY)
    third = take_in(registered, batch({"small": monthly([3])}), NOW)

    assert (first, second) == (NOW, NOW + MOMENT)
    assert third == NOW + 3 * MOMENT
    assert [told(registered, at)["small", "2020-01-01"] for at in (first, second, third)] == [1, 2, 3]
    assert told(registered)["small", "2020-01-01"] == 3


def test_a_batch_without_changes_stores_only_a_header(registered: Store) -> None:
    take_in(registered, batch({"small": monthly([1, 2])}), NOW)
    take_in(registered, batch({"small": monthly([1, 2])}), NOW + DAY)

    assert rows(registered.database, "select num_new, num_revised, num_same from batches order by batch_id") == [
        (2, 0, 0),
        (0, 0, 2),
    ]
    known = registered.batches.latest_as_of("small", FOREVER)
    assert known is not None
    assert known.recorded_at == NOW


def test_a_repeated_refusal_adds_nothing(registered: Store) -> None:
    for n in range(3):
        registered.batches.refuse(
            BatchHeader(recipe="small", source="small.csv", content_hash="bad"), "is empty", [], NOW + n * DAY
        )

    assert rows(registered.database, "select status, message from batches") == [("refused", "is empty")]


def test_a_batch_is_written_as_a_whole_or_not_at_all(registered: Store) -> None:
    sound = batch({"north": monthly([1, 2]), "small": monthly([1, float("inf")])})

    with pytest.raises(sa.exc.DatabaseError):
        take_in(registered, sound, NOW)

    for table in ("observations", "series_variables", "batches"):
        assert value(registered.database, f"select count(*) from {table}") == 0


def test_refused_rows_are_kept_with_their_place_and_rule(registered: Store) -> None:
    partly = Rejection(line=3, column="sold", series="small", text="many", rule="is not a number")
    whole = Rejection(rule="encoding")
    take_in(registered, batch({"small": monthly([1])}, rejections=[partly]), NOW)

    registered.batches.refuse(
        BatchHeader(recipe="small", source="csv", content_hash=""), "small.csv is not UTF-8", [whole], NOW + DAY
    )

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


def test_only_an_accepted_batch_counts_as_the_previous_delivery(registered: Store) -> None:
    assert registered.batches.fetch_context("small", NOW).content_hash is None

    take_in(registered, batch({"small": monthly([1])}, "first"), NOW)
    take_in(registered, batch({}, "second"), NOW)
    registered.batches.refuse(BatchHeader(recipe="small", source="csv", content_hash=""), "is empty", [], NOW)

    assert registered.batches.fetch_context("small", NOW).content_hash == "second"


def test_recipes_do_not_share_observations(observed_store: Store) -> None:
    other = small_recipe().model_copy(update={"name": "other"})
    observed_store.recipes.register(other)

    take_in(observed_store, batch({"small": monthly([7])}), NOW, recipe="other")

    assert list(told(observed_store).values()) == small_values()
    assert rows(observed_store.database, "select value from current_observations where recipe = 'other'") == [(7,)]


def test_names_of_series_are_read_back_unchanged(registered: Store) -> None:
    names = ["007", "A", "NA", "a b", "b'; drop table series; --", "nan", "Ä", "ß", "表"]

    take_in(registered, batch({name: monthly([1]) for name in names}), NOW)

    assert {name for name, _ in told(registered)} == set(names)


def test_workers_that_write_the_same_batch_at_once_leave_one_set_of_rows(database_url: str, registered: Store) -> None:
    answers = at_once(database_url, 8, lambda own: take_in(own, small_batch(), NOW))

    assert sorted(answers) == [NOW + n * MOMENT for n in range(8)]
    assert value(registered.database, "select count(*) from observations") == len(small_values())
    assert value(registered.database, "select count(*) from revisions") == 0
    assert value(registered.database, "select sum(num_new) from batches") == len(small_values())
    assert list(told(registered).values()) == small_values()


def test_a_read_with_a_length_gives_the_last_values_of_each_series(registered: Store) -> None:
    take_in(registered, batch({"north": monthly([1, 2, 3, 4]), "small": monthly([5])}), NOW)
    take_in(registered, batch({"north": {"2020-03-01": 30, "2020-01-01": 10}}), NOW + DAY)
    take_in(registered, batch({"north": monthly([1, 2, 3, 4, 5])}), NOW + 2 * DAY)

    then = registered.observations.panel(small_recipe(), NOW + DAY, length=2)
    now = registered.observations.panel(small_recipe(), FOREVER, length=2)

    assert then is not None
    assert now is not None
    assert [then.series_values(s).tolist() for s in range(2)] == [[30, 4], [5]]
    assert [now.series_values(s).tolist() for s in range(2)] == [[4, 5], [5]]


def test_a_series_with_gaps_is_read_with_its_gaps(registered: Store) -> None:
    gappy = {"2020-01-01": 1.0, "2020-03-01": 3.0, "2020-06-01": 6.0}
    take_in(registered, batch({"gappy": gappy, "small": monthly([1, 2])}), NOW)
    take_in(registered, batch({"gappy": {"2020-03-01": 33.0}}), NOW + DAY)

    assert told(registered, NOW) == {
        **{("gappy", month): number for month, number in gappy.items()},
        ("small", "2020-01-01"): 1,
        ("small", "2020-02-01"): 2,
    }
    assert told(registered)["gappy", "2020-03-01"] == 33
    panel = registered.observations.panel(small_recipe(), FOREVER, length=2)
    assert panel is not None
    assert np.array_equal(panel.series_values(0), [33, np.nan, np.nan, 6], equal_nan=True)


@pytest.mark.parametrize("since", ["2019-05-01", "2020-09-01", "2021-04-01", "2023-01-01"])
@pytest.mark.parametrize("length", [1, 5, 100])
def test_a_read_since_a_period_gives_all_later_values_and_some_before(
    registered: Store, since: str, length: int
) -> None:
    gappy = {month: float(n) for n, month in enumerate(months(30)) if n % 7}
    take_in(registered, batch({"gappy": gappy, "long": monthly(range(30)), "short": monthly([1, 2])}), NOW)
    take_in(registered, batch({"long": {"2020-02-01": -1.0, "2022-01-01": -2.0}}), NOW + MOMENT)
    everything = observations_as_of(registered, small_recipe(), FOREVER)
    expected: list[tuple[str, str, float]] = []
    for s, name in enumerate(everything.names):
        own = [
            (str(p)[:10], v)
            for q, p, v in zip(everything.series, everything.period, everything.value, strict=True)
            if q == s
        ]
        before = [row for row in own if row[0] <= since]
        expected += [(name, *row) for row in [*before[-length:], *own[len(before) :]]]

    with registered.database.read() as transaction:
        numbers, names = transaction.columns("series_of_recipe", recipe="small", variable=TARGET)
        newest = transaction.row("latest_accepted_batch", recipe="small")
        assert newest is not None
        found = values_as_of(transaction, numbers, newest["batch_id"], length=length, since=np.datetime64(since, "us"))

    name_of = dict(zip(numbers, names, strict=True))
    rows_found = [(name_of[s], str(p)[:10], v) for s, p, v in zip(found.series, found.period, found.value, strict=True)]
    assert sorted(rows_found) == sorted(expected)
