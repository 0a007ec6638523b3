"""Rolling origins by hand: where they lie, what each sees, and what the scores of a known forecast are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import InvalidArgument, NotEnoughHistory
from pipeline.evaluation.rolling_origin import (
    BacktestPlan,
    MethodForecast,
    RollingBacktest,
    collect_forecasts,
    hash_backtest,
    place_origins,
    select_window,
)
from pipeline.timeseries.forecast import LEVELS
from tests.support.examples import NOW, small_panel, small_recipe
from tests.support.panels import panel_of
from tests.support.rolling import NAN, made_of, origin_of, two_origins

# forty months, three ahead; a fit needs 8 + 3


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (BacktestPlan(), [30, 33, 36]),
        (BacktestPlan(num_origins=1), [36]),
        (BacktestPlan(num_origins=4, every=1), [33, 34, 35, 36]),
        (BacktestPlan(num_origins=2, every=12), [24, 36]),
        (BacktestPlan(num_origins=9), [12, 15, 18, 21, 24, 27, 30, 33, 36]),
        (BacktestPlan(num_origins=27, every=1), list(range(10, 37))),
        (BacktestPlan(num_origins=2, window="sliding", history=34), [33, 36]),
    ],
)
def test_origins_are_as_many_and_as_far_apart_as_asked_the_last_a_horizon_before_the_end(
    plan: BacktestPlan, expected: list[int]
) -> None:
    assert place_origins(small_panel(), small_recipe(), plan).tolist() == expected


@pytest.mark.parametrize(("months_known", "expected"), [(14, [10]), (16, [12]), (17, [10, 13]), (20, [10, 13, 16])])
def test_where_no_number_is_asked_for_there_are_three_or_as_many_as_fit(months_known: int, expected: list[int]) -> None:
    panel = small_panel(list(map(float, range(months_known))))

    assert place_origins(panel, small_recipe(), BacktestPlan()).tolist() == expected


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (
            BacktestPlan(num_origins=10),
            r"the 40 periods of small have room for 9 origins 3 periods apart, .*10 asked .*most 9",
        ),
        (
            BacktestPlan(num_origins=28, every=1),
            r"room for 27 origins 1 period apart, before each at least 11 to fit on",
        ),
        (BacktestPlan(num_origins=3, window="sliding", history=34), r"room for 2 origins .*at least 34 to fit on"),
    ],
)
def test_more_origins_than_the_history_has_room_for_are_refused_with_how_many_it_has(
    plan: BacktestPlan, says: str
) -> None:
    with pytest.raises(NotEnoughHistory, match=says):
        place_origins(small_panel(), small_recipe(), plan)


def test_a_history_without_room_for_one_origin_is_refused() -> None:
    with pytest.raises(NotEnoughHistory, match="13 periods of small have room for 0 origins .*wait for more"):
        place_origins(small_panel(list(map(float, range(13)))), small_recipe(), BacktestPlan())


def test_a_sliding_window_shorter_than_a_fit_needs_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="--history 10 is too short to fit on: small needs 11 periods"):
        place_origins(small_panel(), small_recipe(), BacktestPlan(window="sliding", history=10))


def test_the_first_origin_waits_until_one_series_is_long_enough() -> None:
    panel = panel_of({"short": [1.0] * 9 + [NAN] * 11, "late": [NAN] * 4 + [1.0] * 16}, as_of=NOW)

    assert place_origins(panel, small_recipe(), BacktestPlan(num_origins=2, every=2)).tolist() == [14, 16]
    with pytest.raises(NotEnoughHistory, match="room for 2 origins"):
        place_origins(panel, small_recipe(), BacktestPlan(num_origins=3, every=2))


def test_an_expanding_window_is_all_of_the_history_and_a_sliding_one_its_end() -> None:
    panel = small_panel().until(20)

    assert select_window(panel, BacktestPlan(), 15) is panel
    assert select_window(panel, BacktestPlan(window="sliding"), 15).grid.tolist() == panel.grid[6:].tolist()
    assert (
        select_window(panel, BacktestPlan(window="sliding", history=12), 15).values.tolist()
        == panel.values[9:].tolist()
    )
    assert len(select_window(panel, BacktestPlan(window="sliding", history=30), 15).grid) == 21


# what is said from an origin


def test_the_baselines_are_those_of_the_same_origin_and_within_the_same_bounds() -> None:
    panel = panel_of({"a": [10.0, 20, 30, 40, 6, 16, 26, 22]}, as_of=NOW)
    recipe = small_recipe()
    recipe = recipe.model_copy(update={"publish": recipe.publish.model_copy(update={"minimum": 7.0, "maximum": 25.0})})

    part = collect_forecasts(origin_of(panel), panel, made_of(panel, [[9, 8, 7]]), recipe, {})

    assert {name: one.mean[0].tolist() for name, one in part.forecasts.items()} == {
        "lstm": [9, 8, 7],
        "naive": [22, 22, 22],
        "seasonal-naive": [7, 16, 25],  # 6, 16, 26
        "drift": pytest.approx([22 + 12 / 7, 25, 25]),
    }
    for name, one in part.forecasts.items():
        assert (np.diff(one.quantiles, axis=-1) >= 0).all(), name
        assert name == "lstm" or (one.quantiles.min() >= 7 and one.quantiles.max() <= 25)
    # a season before each: -4, -4, -4, -18
    assert part.root_scale == pytest.approx(np.sqrt((3 * 16 + 18**2) / 4))


@pytest.fixture
def made() -> RollingBacktest:
    """Two origins three months apart, of two series."""
    return two_origins()


def test_each_origin_stands_beside_what_was_then_observed(made: RollingBacktest) -> None:
    assert made.series == ("a", "b")
    np.testing.assert_array_equal(made.observed, [[[22, 32, 42], [5, 5, 5]], [[14, 24, 34], [6, 7, NAN]]])
    np.testing.assert_array_equal(made.forecasts["lstm"].mean, [[[20, 32, 46], [NAN] * 3], [[14, 24, 40], [5, 5, 5]]])
    assert made.forecasts["drift"].quantiles.shape == (2, 2, 3, len(LEVELS))
    assert np.isnan(made.scale[0, 1]).all()


def test_scores_are_over_all_origins_series_and_steps(made: RollingBacktest) -> None:
    """Of a: 2, 0, 4 and 0, 0, 6 off; of b, at the second origin only: 1, 2. The scale is 2."""
    assert made.scores()["lstm"]["mase"] == pytest.approx((2 + 0 + 4 + 0 + 0 + 6 + 1 + 2) / 2 / 8)
    assert made.scores()["lstm"]["bias"] == pytest.approx((-2 + 0 + 4 + 0 + 0 + 6 - 1 - 2) / 8)
    assert made.scores()["lstm"]["coverage_80"] == 7 / 8
    assert made.by_step()["lstm"]["mae"] == pytest.approx([(2 + 0 + 1) / 3, 2 / 3, 5])
    assert made.by_series()["lstm"]["mae"] == pytest.approx([2, 1.5])
    assert made.by_origin()["lstm"]["mae"] == pytest.approx([2, 9 / 5])
    assert list(made.scores()) == ["lstm", "naive", "seasonal-naive", "drift"]


def test_the_best_baseline_has_the_least_mase(made: RollingBacktest) -> None:
    """Of the seasonal naive: 2, 2, 2, then 2, 2, 2; it and naive say 5 of b."""
    scores = made.scores()

    assert made.best_baseline == "seasonal-naive"
    assert min(scores["naive"]["mase"] or 0, scores["drift"]["mase"] or 0) > (scores["seasonal-naive"]["mase"] or 0)


def test_what_cannot_be_measured_is_none(made: RollingBacktest) -> None:
    unobserved = replace(made, observed=np.full_like(made.observed, NAN))

    assert set(unobserved.scores()["lstm"].values()) == {None}
    assert unobserved.best_baseline == "naive"


def test_further_methods_stand_beside_the_baselines_within_the_bounds() -> None:
    panel = panel_of({"a": [10.0, 20, 30, 40, 12, 22, 32, 42]}, as_of=NOW)
    other = MethodForecast(mean=np.array([[-1.0, 2, 3]]), quantiles=np.zeros((1, 3, 5)))
    recipe = small_recipe()
    recipe = recipe.model_copy(update={"publish": recipe.publish.model_copy(update={"minimum": 0.0})})

    part = collect_forecasts(origin_of(panel), panel, made_of(panel, [[1, 2, 3]]), recipe, {"theta": other})

    assert list(part.forecasts) == ["lstm", "naive", "seasonal-naive", "drift", "theta"]
    assert part.forecasts["theta"].mean.tolist() == [[0, 2, 3]]


def test_the_same_backtest_has_the_same_fingerprint_and_any_other_another() -> None:
    recipe, panel, plan = small_recipe(), small_panel(), BacktestPlan(num_origins=2)
    seen = [panel.until(30), panel.until(36)]
    other_values = small_panel([*small_panel().values[:-1].tolist(), 1.0])
    other_recipe = recipe.model_copy(update={"season_length": 6})

    def fingerprint(**changed: object) -> str:
        told = {"recipe": recipe, "plan": plan, "panels": seen, "present": panel, "code_version": "1"} | changed
        return hash_backtest(*told.values())  # type: ignore[arg-type]

    others = [
        fingerprint(recipe=other_recipe),
        fingerprint(plan=replace(plan, refit="once")),
        fingerprint(panels=[panel.until(29), panel.until(36)]),
        fingerprint(present=other_values),
        fingerprint(code_version="2"),
    ]
    assert fingerprint() == fingerprint()
    assert len({fingerprint(), *others}) == 6
