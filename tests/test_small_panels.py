"""Panels of the benchmark are drawn the same each time, and scored as a person would by hand."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.accuracy_plot import place_labels
from tests.benchmarks.panel_draws import Collection, DrawnPanel, draw_panels, hold_out
from tests.benchmarks.panel_scores import LEAST_RATIO, average, score_series, seasonal_naive_quantiles
from tests.benchmarks.small_panels import Result, ResultFile, summarize
from tests.support.recipes import build_recipe

SEASON, HORIZON = 2, 2


def collection_of(*series: list[float]) -> Collection:
    recipe = build_recipe("small", season_length=SEASON, horizon=HORIZON)
    longest = max(len(values) for values in series)
    grid = np.append(np.datetime64("2020-01-01", "us"), recipe.grid.after(np.datetime64("2020-01-01", "us"), 99))
    return hold_out("made up", recipe, [np.array(values, float) for values in series], grid[:longest])


def collection_of_many(num_series: int) -> Collection:
    return collection_of(*[[n, n + 1, n + 2, n + 3, n + 4] for n in range(num_series)])


def first_panel(collection: Collection) -> DrawnPanel:
    return draw_panels(collection, len(collection.histories), 1)[0]


def test_the_last_horizon_is_held_out_and_histories_end_together() -> None:
    drawn = first_panel(collection_of([1, 2, 3, 4, 5, 6], [7, 8, 9, 10]))
    longer = drawn.panel.series.index("00000")

    assert drawn.panel.series_values(longer).tolist() == [1, 2, 3, 4]
    assert drawn.panel.series_values(1 - longer).tolist() == [7, 8]
    assert drawn.observed[longer].tolist() == [5, 6]
    assert drawn.panel.last.tolist() == [3, 3]
    assert str(drawn.panel.origin)[:10] == "2020-04-01"


def test_a_series_without_a_value_at_the_origin_is_left_out() -> None:
    assert len(collection_of([1, 2, 3, 4], [1, 2, np.nan, 3, 4]).histories) == 1


def test_draws_are_reproducible_and_share_no_series() -> None:
    collection = collection_of_many(30)
    tens = [one.panel.series for one in draw_panels(collection, 10, 3)]

    assert tens == [one.panel.series for one in draw_panels(collection_of_many(30), 10, 3)]
    assert len({name for names in tens for name in names}) == 30
    assert sum((one.panel.series for one in draw_panels(collection, 1, 10)), ()) == tens[0]


def test_no_more_panels_are_drawn_than_there_are_series_for() -> None:
    assert len(draw_panels(collection_of_many(25), 10, 3)) == 2
    assert draw_panels(collection_of_many(9), 10, 3) == []


def test_the_seasonal_naive_forecast_scores_exactly_one() -> None:
    drawn = first_panel(collection_of([1, 5, 2, 7, 4, 8], [3, 3, 5, 4, 9, 9]))
    scores = score_series(seasonal_naive_quantiles(drawn.panel, HORIZON, SEASON), drawn, SEASON)

    assert scores["mase"].tolist() == [1, 1]
    assert scores["sql"].tolist() == [1, 1]
    assert average(scores)["mase"] == 1


def test_half_of_the_error_of_seasonal_naive_scores_a_half() -> None:
    drawn = first_panel(collection_of([10, 20, 10, 21, 14, 25]))  # seasonal naive: 10 and 21, each 4 too low
    quantiles = np.repeat([[[12.0], [23.0]]], 5, axis=2)  # each 2 too low

    scores = score_series(quantiles, drawn, SEASON)

    assert scores["mase"].tolist() == [0.5]
    assert scores["coverage_95"].tolist() == [0]
    # the scale is (0 + 1) / 2; each value lies 2 above an interval without a width: 2 / 0.05 * 2 / 0.5
    assert scores["msis_95"].tolist() == pytest.approx([160])


def test_series_that_cannot_be_compared_are_left_out_of_the_mean() -> None:
    drawn = first_panel(collection_of([5, 5, 5, 5, 5, 6], [1, 2, 2, 4, 2, 4], [1, 2, 2, 4, 3, 6]))
    without_scale, without_error, usable = (drawn.panel.series.index(name) for name in ("00000", "00001", "00002"))

    scores = score_series(np.repeat(drawn.observed[:, :, None], 5, axis=2), drawn, SEASON)

    assert np.isnan(scores["mase"][[without_scale, without_error]]).all()
    assert scores["mase"][usable] == LEAST_RATIO
    assert average(scores)["mase"] == pytest.approx(LEAST_RATIO)


def result_of(method: str, collection: str, mase: float | None, problem: str = "") -> Result:
    names = ("mase", "sql", "coverage_95", "coverage_80", "msis_95")
    return Result(
        collection=collection,
        size=1,
        method=method,
        num_panels=1,
        is_frequent=False,
        problem=problem,
        seconds=[] if problem else [2.0],
        scores={} if problem else {name: [mase] for name in names},
    )


def test_the_summary_compares_methods_on_the_collections_that_all_of_them_forecast() -> None:
    results = [
        result_of("quick", "a", 0.5),
        result_of("quick", "b", 2.0),
        result_of("slow", "a", 0.8),
        result_of("slow", "b", None, "too slow"),
        result_of("slower", "a", None, "too slow"),
        result_of("slower", "b", None, "too slow"),
    ]

    points = {point.method: point for point in summarize(results)}

    assert list(points) == ["quick", "slow"]
    assert points["quick"].mase == pytest.approx(0.5)
    assert {point.num_collections for point in points.values()} == {1}


def test_results_are_read_again_and_replaced(tmp_path: Path) -> None:
    file = ResultFile(tmp_path / "results.json")
    file.add(result_of("quick", "a", 0.5))
    file.add(result_of("quick", "a", None))
    file.add(result_of("slow", "a", None, "too slow"))

    again = ResultFile(tmp_path / "results.json")

    assert again.results == file.results
    assert [result.problem for result in again.results.values()] == ["", "too slow"]


def test_a_row_has_a_cell_for_each_column_with_a_problem_too() -> None:
    rows = [result_of("quick", "a", 0.5).row(), result_of("slow", "a", None, "too slow").row()]

    assert [row.count("|") for row in rows] == [12, 12]


def test_labels_of_near_points_are_moved_apart() -> None:
    left, right, far = place_labels([(0.1, 0.5), (0.11, 0.5), (0.9, 0.5)])

    assert abs(left[1] - right[1]) > 0.02
    assert far == (0.9, 0.5)
