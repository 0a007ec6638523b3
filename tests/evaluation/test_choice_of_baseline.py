"""The baseline that skill and gate are measured against, and the one that each series is compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.evaluation.comparison import choose_baseline, compare_errors, series_worse_than_baseline
from pipeline.evaluation.holdout import HoldoutBacktest
from pipeline.evaluation.holdout_record import build_backtest_record
from pipeline.forecasting.baselines import BASELINES
from pipeline.preprocessing.windows import Windows, read_contexts, read_targets
from pipeline.timeseries.panel import Panel
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe

Array = npt.NDArray[np.float64]

SEASON, HORIZON, LENGTH, TEST = 12, 6, 120, 24


def backtest_of(panel: Panel, forecast: Array | None = None) -> HoldoutBacktest:
    """Every origin of the last periods, forecast by a network that is as good as a coin."""
    ends = np.arange(LENGTH - TEST - 1, LENGTH - 1)
    series, end = (grid.ravel() for grid in np.meshgrid(np.arange(len(panel.series)), ends, indexing="ij"))
    windows = Windows(series, end)
    context, is_observed = read_contexts(panel, windows, 60)
    noise = np.random.default_rng(1).normal(0, 3, (len(windows), HORIZON))
    return HoldoutBacktest(
        windows=windows,
        context=np.where(is_observed, context, np.nan),
        observed=read_targets(panel, windows, HORIZON),
        forecast=context[:, -1:] + noise if forecast is None else forecast,
        mase_scale=np.ones((len(windows), 1)),
        season=SEASON,
    )


def rows_of(kind: str, count: int = 8) -> list[list[float]]:
    rng = np.random.default_rng(0)
    t = np.arange(LENGTH)
    shape = {
        "naive": lambda: np.cumsum(rng.normal(0, 1, LENGTH)) + 100,
        "seasonal-naive": lambda: 20 * np.sin(2 * np.pi * t / SEASON) + rng.normal(0, 1, LENGTH) + 100,
        "drift": lambda: 2.0 * t + rng.normal(0, 0.1, LENGTH),
    }[kind]
    return [shape().tolist() for _ in range(count)]


@pytest.mark.parametrize("kind", BASELINES)
def test_auto_is_the_best_baseline_of_the_backtest(kind: str) -> None:
    assert choose_baseline(backtest_of(panel_of(rows_of(kind))), "auto") == kind


@pytest.mark.parametrize("kind", BASELINES)
@pytest.mark.parametrize("configured", BASELINES)
def test_a_recipe_may_name_another_one(kind: str, configured: str) -> None:
    assert choose_baseline(backtest_of(panel_of(rows_of(kind))), configured) == configured


def test_without_a_backtest_it_is_the_seasonal_naive_forecast() -> None:
    assert choose_baseline(None, "auto") == "seasonal-naive"
    nothing = backtest_of(panel_of(rows_of("naive")))
    assert choose_baseline(nothing.take(np.zeros(len(nothing.windows), bool)), "auto") == "seasonal-naive"


@pytest.mark.parametrize("kind", BASELINES)
def test_skill_is_never_against_a_weaker_baseline(kind: str) -> None:
    panel = panel_of(rows_of(kind))
    backtest = backtest_of(panel)

    record = build_backtest_record(backtest, panel, build_recipe("shops", horizon=HORIZON))

    best = min(float(record.scores[name]["mase"] or 0) for name in BASELINES)
    assert record.baseline == kind
    assert record.skill == pytest.approx(1 - float(record.scores["lstm"]["mase"] or 0) / best)
    assert record.skill < 0


def test_a_random_walk_has_no_skill_against_a_seasonal_baseline() -> None:
    """The last value, with a little noise, is far better than the value of last year, and worse than the last value."""
    panel = panel_of(rows_of("naive"))
    backtest = backtest_of(panel)
    backtest = backtest_of(panel, backtest.context[:, -1:] + 0.3 * (backtest.forecast - backtest.context[:, -1:]))

    by_default, as_before = (
        build_backtest_record(backtest, panel, build_recipe("shops", horizon=HORIZON, **keys)).skill
        for keys in ({}, {"gate": {"baseline": "seasonal-naive"}})
    )

    assert as_before is not None
    assert as_before > 0.2
    assert by_default is not None
    assert by_default < 0


def test_the_gate_compares_with_the_baseline_that_it_is_given() -> None:
    backtest = backtest_of(panel_of(rows_of("drift")))

    errors = {name: compare_errors(backtest, None, name).baseline.mean() for name in BASELINES}

    assert errors["drift"] < 0.2 < errors["naive"]


def test_each_series_is_compared_with_the_baseline_that_suits_it() -> None:
    rows = {f"{kind} {n}": row for kind in BASELINES for n, row in enumerate(rows_of(kind, 3))}

    reasons = series_worse_than_baseline(backtest_of(panel_of(rows)), "auto", list(rows))

    for name, reason in reasons.items():
        assert reason.startswith(f"worse than {name.rsplit(' ', 1)[0]} over "), name
    assert {name.rsplit(" ", 1)[0] for name in reasons} == set(BASELINES)


def test_a_sound_network_loses_no_more_series_to_three_baselines_than_to_one() -> None:
    rng = np.random.default_rng(3)
    panel = panel_of([rng.normal(100, 1, LENGTH).tolist() for _ in range(300)])
    windows = backtest_of(panel).windows
    sound = 100 + rng.normal(0, 0.5, (len(windows), HORIZON))

    reasons = series_worse_than_baseline(backtest_of(panel, sound), "auto", list(panel.series))

    assert len(reasons) <= 15
