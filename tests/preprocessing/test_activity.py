"""Which series of a panel go on, by frequency, horizon and key."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.preprocessing.activity import are_active, select_active, series_ended_since
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe


@pytest.mark.parametrize(
    ("keys", "last_active"),
    [
        ({}, 12),  # a season of months
        ({"horizon": 18}, 18),
        ({"season_length": 4}, 6),
        ({"frequency": "D"}, 7),
        ({"frequency": "QS"}, 6),
        ({"publish": {"active_within": 2}}, 2),
    ],
)
def test_a_series_is_active_with_a_value_within_the_last_season_or_horizon(
    keys: dict[str, Any], last_active: int
) -> None:
    recipe = build_recipe("shops", source={"series": "shop"}, **keys)
    length = 40
    rows = [np.append(np.ones(length - late), np.full(late, np.nan)) for late in range(25)]

    active = are_active(panel_of(rows, frequency=recipe.frequency), recipe)

    assert active.tolist() == [late < last_active for late in range(25)]


def test_the_panel_of_active_series_has_the_same_grid_values_and_covariates() -> None:
    panel = panel_of({"a": [1.0] * 3, "b": [np.nan] * 19 + [2.0], "c": [3.0] * 20})

    active = select_active(panel, build_recipe("shops", source={"series": "shop"}))

    assert active.series == ("b", "c")
    assert active.origin == panel.origin
    assert [active.series_values(s).tolist() for s in range(2)] == [[2], [3] * 20]
    np.testing.assert_array_equal(active.first, [19, 0])


def test_a_recipe_may_keep_series_that_have_ended() -> None:
    panel = panel_of({"a": [1.0] * 3, "c": [3.0] * 40})

    assert select_active(panel, build_recipe("shops", publish={"inactive": "keep"})) is panel


def test_a_series_has_ended_since_an_origin_at_which_it_was_active() -> None:
    recipe = build_recipe("shops", source={"series": "shop"})
    lengths = {"long ago": 10, "since": 25, "present": 40, "new": 2}
    panel = panel_of({name: [np.nan] * (38 if name == "new" else 0) + [1.0] * n for name, n in lengths.items()})

    assert series_ended_since(panel, recipe, panel.grid[30]) == ["since"]
    assert series_ended_since(panel, recipe, panel.grid[37]) == []
    assert series_ended_since(panel, recipe, panel.grid[9]) == ["long ago", "since"]
