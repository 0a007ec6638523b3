"""What an origin of a backtest sees: what was known while its period was the newest, in both databases."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import NotEnoughHistory
from pipeline.evaluation.rolling_origin import BacktestPlan
from pipeline.jobs.backtest import OriginInputs, backtest, inputs_at_origins
from pipeline.jobs.inputs import LATEST
from pipeline.storage.store import Store
from pipeline.storage.vintages import Snapshot, Vintage, snapshot_at
from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.panel import Panel
from tests.storage.small_store import batch, monthly, observed, take_in
from tests.support.examples import NOW, Batch, months, small_recipe

DAY = timedelta(days=1)
JANUARY, FEBRUARY, MARCH, APRIL, MAY = np.array(months(5), "datetime64[us]")


@pytest.fixture
def told(store: Store) -> Store:
    """Until February 2020 at once, then March; February is revised; April and May come together."""
    store.recipes.register(small_recipe())
    for day, values in enumerate(
        [
            {"a": {"2020-01-01": 1.0, "2020-02-01": 2.0}, "b": {"2020-01-01": 10.0}},
            {"a": {"2020-03-01": 3.0}},
            {"b": {"2020-03-01": 30.0}, "a": {"2020-02-01": 2.5}},
            {"a": {"2020-04-01": 4.0, "2020-05-01": 5.0}, "b": {"2020-01-01": 11.0}},
            {"a": {"2020-03-01": 3.5}},
        ]
    ):
        take_in(store, batch(values, f"batch {day}"), NOW + day * DAY)
    return store


def at(day: int) -> datetime:
    return NOW + day * DAY


def test_each_batch_has_the_newest_period_after_it(told: Store) -> None:
    assert told.observations.vintages("small") == [
        Vintage(known_at=at(0), period=FEBRUARY),
        Vintage(known_at=at(1), period=MARCH),
        Vintage(known_at=at(2), period=MARCH),
        Vintage(known_at=at(3), period=MAY),
        Vintage(known_at=at(4), period=MAY),
    ]
    assert told.observations.vintages("another") == []


def test_refused_and_unchanged_batches_are_no_vintages(told: Store) -> None:
    before = told.observations.vintages("small")

    take_in(told, batch({"a": {"2020-05-01": 5.0}}, "again"), at(6))

    assert told.observations.vintages("small") == before


def test_covariates_known_ahead_do_not_count_as_the_newest_period(told: Store) -> None:
    with told.database.write() as transaction:
        transaction.connection.exec_driver_sql(
            "insert into series_variables (recipe, series, variable) values ('small', 'a', 'price')"
        )
        transaction.connection.exec_driver_sql(
            "insert into observations (series_id, period, value, batch_id) "
            "select series_id, '2020-09-01', 1.0, (select max(batch_id) from batches) from series_variables "
            "where variable = 'price'"
        )

    assert told.observations.vintages("small")[-1].period == MAY


@pytest.mark.parametrize(
    ("origin", "sight"),
    [
        (JANUARY, Snapshot(as_of=None, is_cut=True)),
        (FEBRUARY, Snapshot(as_of=at(0), is_cut=False)),
        (MARCH, Snapshot(as_of=at(2), is_cut=False)),
        (APRIL, Snapshot(as_of=at(3), is_cut=True)),
        (MAY, Snapshot(as_of=at(4), is_cut=False)),
    ],
)
def test_an_origin_uses_the_last_snapshot_in_which_it_was_the_newest_period(
    told: Store, origin: np.datetime64, sight: Snapshot
) -> None:
    assert snapshot_at(origin, told.observations.vintages("small")) == sight


def origins_seen(
    recipe: Recipe, store: Store, present: Panel, origins: Periods, plan: BacktestPlan
) -> list[OriginInputs]:
    """What the origins of a backtest see."""

    def read_panel(as_of: datetime) -> Panel:
        panel = store.observations.panel(recipe, as_of, recorded_by=LATEST)
        assert panel is not None
        return panel

    vintages = [] if plan.as_of_now else store.observations.vintages(recipe.name)
    return inputs_at_origins(origins, present, recipe, plan, vintages=vintages, read_panel=read_panel)


def seen(
    store: Store, origin: np.datetime64, plan: BacktestPlan | None = None
) -> tuple[dict[str, list[float]], datetime, str]:
    """What an origin sees, by series; since when that was known; the last period."""
    recipe = small_recipe()
    present = store.observations.panel(recipe, LATEST)
    assert present is not None
    (one,) = origins_seen(recipe, store, present, np.array([origin]), plan or BacktestPlan())
    assert one.panel.as_of is not None
    by_series = {name: one.panel.series_values(s).tolist() for s, name in enumerate(one.panel.series)}
    return by_series, one.panel.as_of, str(one.panel.origin)[:7]


def test_a_value_that_was_revised_later_has_its_value_as_of_then(told: Store) -> None:
    assert seen(told, FEBRUARY) == ({"a": [1, 2], "b": [10]}, at(0), "2020-02")
    by_series, as_of, origin = seen(told, MARCH)
    assert (by_series["a"], as_of, origin) == ([1, 2.5, 3], at(2), "2020-03")
    np.testing.assert_array_equal(by_series["b"], [10, np.nan, 30])


def test_an_origin_delivered_with_later_periods_uses_that_delivery_cut_at_the_origin(told: Store) -> None:
    assert seen(told, APRIL)[0]["a"] == [1, 2.5, 3, 4]
    assert seen(told, APRIL)[1:] == (at(3), "2020-04")


def test_an_origin_of_the_first_delivery_uses_current_data_cut_at_the_origin(told: Store) -> None:
    assert seen(told, JANUARY) == ({"a": [1], "b": [11]}, at(4), "2020-01")


def test_current_data_are_used_on_request(told: Store) -> None:
    by_series, as_of, origin = seen(told, MARCH, BacktestPlan(as_of_now=True))

    assert (by_series["a"], as_of, origin) == ([1, 2.5, 3.5], at(4), "2020-03")


def test_windows_are_cut_from_the_snapshot(told: Store) -> None:
    recipe, present = small_recipe(), told.observations.panel(small_recipe(), LATEST)
    assert present is not None

    both = origins_seen(recipe, told, present, np.array([FEBRUARY, APRIL]), BacktestPlan(window="sliding"))
    one = origins_seen(recipe, told, present, np.array([FEBRUARY, APRIL]), BacktestPlan(window="sliding", history=1))

    assert [seen.panel.series_values(0).tolist() for seen in both] == [[1, 2], [3, 4]]
    assert [seen.panel.series_values(0).tolist() for seen in one] == [[2], [4]]


def test_a_gap_is_not_filled_with_values_after_the_origin(store: Store) -> None:
    """Of a, January to March are 1, nothing, 3: from February one cannot know that there is a gap."""
    store.recipes.register(small_recipe())
    values = {"a": {"2020-01-01": 1.0, "2020-03-01": 3.0}, "b": dict(zip(months(3), [1.0, 2.0, 3.0], strict=True))}
    take_in(store, Batch(observations=observed(values)), NOW)
    recipe = small_recipe().model_copy(update={"max_gap": 2})
    present = store.observations.panel(recipe, LATEST)
    assert present is not None

    february, march = origins_seen(recipe, store, present, np.array([FEBRUARY, MARCH]), BacktestPlan())

    assert february.panel.series_values(0).tolist() == [1]
    assert march.panel.series_values(0).tolist() == [1, 2, 3]


def test_an_origin_with_too_short_a_history_at_that_time_is_refused(store: Store) -> None:
    """The first thirty months were told last: as January 2023 was the newest, seven months were known."""
    store.recipes.register(small_recipe())
    values = list(monthly([float(n) for n in range(40)]).items())
    for day, told in enumerate([values[30:37], values[37:], values[:30]]):
        take_in(store, batch({"small": dict(told)}, f"batch {day}"), at(day))

    with pytest.raises(
        NotEnoughHistory,
        match=r'^at origin 2023-01-01, no network .* "small", has 7 periods, .* needs 11: 4 more.* known now: --as-of-now$',
    ):
        backtest(small_recipe(), store, lambda: NOW, BacktestPlan(num_origins=1))
