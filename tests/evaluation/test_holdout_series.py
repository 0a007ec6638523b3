"""A backtest by series: who is worst, by how much, and what is kept of many."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.evaluation import holdout_series
from pipeline.evaluation.holdout import HoldoutBacktest
from pipeline.evaluation.holdout_record import build_backtest_record
from pipeline.evaluation.holdout_series import build_series_errors, compare_series
from pipeline.preprocessing.windows import Windows, read_contexts, read_targets
from pipeline.records.training import SeriesComparison
from pipeline.timeseries.panel import Panel
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe

NAN = float("nan")
HORIZON, SEASON = 2, 2
#: naive is wrong by 1 at the first step and by 2 at the second: a MASE of 1.5 with a scale of 1
RISING = [1.0, 2, 3, 4, 5, 6, 7, 8]

Array = npt.NDArray[np.float64]


def backtest_of(
    panel: Panel, error: dict[str, float], *, scale: float = 1.0, width: float | None = None
) -> HoldoutBacktest:
    """From the origins at positions 3, 4 and 5, the forecast of each series is wrong by so much."""
    series, end = (grid.ravel() for grid in np.meshgrid(np.arange(len(panel.series)), range(3, 6), indexing="ij"))
    windows = Windows(series, end)
    observed = read_targets(panel, windows, HORIZON)
    errors = np.array([error[name] for name in panel.series])[series]
    forecast = np.nan_to_num(observed) + errors[:, None]
    bounds = None if width is None else forecast[:, :, None] + width * np.array([-2, -1, 0, 1, 2])
    return HoldoutBacktest(
        windows=windows,
        context=read_contexts(panel, windows, 3)[0],
        observed=observed,
        forecast=forecast,
        mase_scale=np.full((len(windows), 1), scale),
        season=SEASON,
        quantiles=bounds,
    )


def compare(error: dict[str, float], **options: float) -> SeriesComparison:
    panel = panel_of(dict.fromkeys(error, RISING), frequency="D")
    return compare_with_naive(backtest_of(panel, error, **options), panel)


def compare_with_naive(backtest: HoldoutBacktest, panel: Panel) -> SeriesComparison:
    return compare_series(backtest, panel, "naive", build_series_errors(backtest, panel, "naive"))


def test_series_are_listed_from_the_worst_to_the_best_against_the_baseline() -> None:
    comparison = compare({"a": 0.75, "b": 3.0, "c": 0.0})

    assert [(of.series, of.mase, of.baseline_mase, of.skill) for of in comparison.series] == [
        ("b", 3.0, 1.5, -1.0),
        ("a", 0.75, 1.5, 0.5),
        ("c", 0.0, 1.5, 1.0),
    ]
    assert (comparison.num_compared, comparison.num_better) == (3, 2)


def test_each_test_period_of_a_series_is_forecast_once() -> None:
    comparison = compare({"a": 0.5})

    (of_a,) = comparison.series
    assert [period[:10] for period in comparison.periods] == ["2020-01-05", "2020-01-06", "2020-01-07", "2020-01-08"]
    assert of_a.forecast == (5.5, 6.5, 7.5, 8.5)
    assert of_a.baseline == (4, 4, 6, 6)


def test_coverage_is_known_where_the_network_has_quantiles() -> None:
    inside, outside = compare({"a": 0.5, "b": 1.5}, width=1.0).series[::-1]

    assert inside.coverage == {"80": 1.0, "95": 1.0}
    assert outside.coverage == {"80": 0.0, "95": 1.0}
    assert compare({"a": 0.5}).series[0].coverage == {}


def test_a_series_without_a_unit_of_mase_is_not_compared_and_comes_last() -> None:
    panel = panel_of({"flat": RISING, "usual": RISING}, frequency="D")
    backtest = backtest_of(panel, {"flat": 9.0, "usual": 0.5})
    backtest.mase_scale[backtest.windows.series == 0] = 0

    comparison = compare_with_naive(backtest, panel)

    assert [of.series for of in comparison.series] == ["usual", "flat"]
    assert (comparison.series[1].mase, comparison.series[1].skill) == (None, None)
    assert comparison.num_compared == 1


def test_a_series_on_which_the_baseline_is_never_wrong_is_the_worst() -> None:
    panel = panel_of({"rising": RISING, "still": [1.0] * 8}, frequency="D")

    comparison = compare_with_naive(backtest_of(panel, {"rising": 9.0, "still": 0.1}), panel)

    assert [of.series for of in comparison.series] == ["still", "rising"]
    assert (comparison.series[0].baseline_mase, comparison.series[0].skill) == (0, None)


def test_a_series_that_ended_has_no_values_after_its_end() -> None:
    panel = panel_of({"ended": [*RISING[:6], NAN, NAN], "usual": RISING}, frequency="D")
    backtest = backtest_of(panel, {"ended": 0.5, "usual": 0.25})
    has_target = ~np.isnan(backtest.observed).all(axis=1)

    ended, _ = compare_with_naive(backtest.take(has_target), panel).series

    assert ended.series == "ended"
    assert ended.forecast == (5.5, 6.5, None, None)


def test_of_many_series_the_worst_are_kept_and_of_long_test_parts_the_newest_periods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holdout_series, "MAX_SERIES", 2)
    monkeypatch.setattr(holdout_series, "MAX_NUMBERS", 8)

    comparison = compare({"a": 1.0, "b": 3.0, "c": 2.0})

    assert [of.series for of in comparison.series] == ["b", "c"]
    assert (comparison.num_compared, comparison.num_better) == (3, 1)
    assert [period[:10] for period in comparison.periods] == ["2020-01-07", "2020-01-08"]
    assert comparison.series[0].forecast == (10, 11)


def test_the_path_and_the_single_origins_of_a_record_are_of_the_worst_series() -> None:
    panel = panel_of({"a": RISING, "b": RISING}, frequency="D")
    recipe = build_recipe("shops", frequency="D", horizon=HORIZON, gate={"baseline": "naive"})

    record = build_backtest_record(backtest_of(panel, {"a": 0.5, "b": 1.0}), panel, recipe)

    assert record.path.series == "b"
    assert record.path.forecast["lstm"] == (6, 7, 8, 9)
    assert [origin.forecast for origin in record.origins] == [(6, 7), (7, 8), (8, 9)]
    assert record.by_series is not None
    assert record.by_series.series[0].forecast == record.path.forecast["lstm"]


def test_a_test_part_without_an_observation_has_a_record_of_no_series() -> None:
    panel = panel_of({"a": RISING, "b": RISING}, frequency="D")
    backtest = backtest_of(panel, {"a": 0.5, "b": 1.0})
    backtest.observed[:] = NAN

    record = build_backtest_record(backtest, panel, build_recipe("shops", frequency="D", horizon=HORIZON))

    assert record.by_series is not None
    assert record.by_series.series == ()
    assert record.path.series == "a"
