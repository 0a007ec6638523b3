"""A withdrawn value is a gap from then on, and stays in the history, in both databases."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from pipeline.jobs.inputs import LATEST
from pipeline.storage.store import Store
from tests.storage.small_store import batch, monthly, take_in, told
from tests.support.examples import NOW, small_recipe

WITHDRAWN = float("nan")


def at(day: int) -> datetime:
    return NOW + timedelta(days=day)


@pytest.fixture
def store_with_withdrawals(store: Store) -> Store:
    """Four months; March is withdrawn a day later, told again on day 2, and April is withdrawn on day 3."""
    store.recipes.register(small_recipe())
    take_in(store, batch({"a": monthly([1, 2, 3, 4])}, "0"), at(0))
    take_in(store, batch({"a": {"2020-03-01": WITHDRAWN}}, "1"), at(1))
    take_in(store, batch({"a": {"2020-03-01": 3.5}}, "2"), at(2))
    take_in(store, batch({"a": {"2020-04-01": WITHDRAWN}}, "3"), at(3))
    return store


def values_at(store: Store, day: int) -> list[float]:
    panel = store.observations.panel(small_recipe(), at(day))
    assert panel is not None
    return panel.series_values(0).tolist()


def test_a_withdrawn_period_is_a_gap_as_of_later_instants_only(store_with_withdrawals: Store) -> None:
    assert values_at(store_with_withdrawals, 0) == [1, 2, 3, 4]
    np.testing.assert_array_equal(values_at(store_with_withdrawals, 1), [1, 2, np.nan, 4])
    assert values_at(store_with_withdrawals, 2) == [1, 2, 3.5, 4]
    assert values_at(store_with_withdrawals, 3) == [1, 2, 3.5]


def test_readers_see_no_withdrawn_value(store_with_withdrawals: Store) -> None:
    with store_with_withdrawals.database.read() as transaction:
        rows = transaction.connection.exec_driver_sql(
            "select value from current_observations order by period"
        ).scalars()
        assert list(rows) == [1, 2, 3.5]
    assert list(told(store_with_withdrawals).values()) == [1, 2, 3.5]


def test_so_many_of_the_last_values_are_read_beside_withdrawn_ones(store_with_withdrawals: Store) -> None:
    panel = store_with_withdrawals.observations.panel(small_recipe(), LATEST, length=2)

    assert panel is not None
    assert panel.series_values(0).tolist() == [2, 3.5]


def test_withdrawing_again_or_what_was_never_told_changes_nothing(store_with_withdrawals: Store) -> None:
    before = store_with_withdrawals.batches.known_instants("small")

    take_in(store_with_withdrawals, batch({"a": {"2020-04-01": WITHDRAWN, "2021-01-01": WITHDRAWN}}, "4"), at(4))

    assert store_with_withdrawals.batches.known_instants("small") == before


def test_a_series_whose_values_are_all_withdrawn_is_no_panel(store: Store) -> None:
    store.recipes.register(small_recipe())
    take_in(store, batch({"a": monthly([1])}, "0"), at(0))
    take_in(store, batch({"a": monthly([WITHDRAWN])}, "1"), at(1))

    assert store.observations.panel(small_recipe(), LATEST) is None
