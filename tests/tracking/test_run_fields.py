"""Metrics and parameters of a training in MLflow, and the details of its backtest."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.holdout import HoldoutBacktest
from pipeline.evaluation.holdout_record import MAX_ENDS, MAX_ORIGINS, build_backtest_details
from pipeline.preprocessing.windows import Windows
from pipeline.records.training import BacktestRecord, TrainingRecord
from pipeline.timeseries.panel import Panel
from pipeline.tracking.run_fields import training_metrics, training_params
from tests.support.examples import small_panel, small_recipe
from tests.support.training_records import backtest_of, milk_panel, monthly, recipe_of, record_of

LEVEL_OFFSETS = np.array([-8.0, -5.0, 0.0, 5.0, 8.0])


def backtest(panel: Panel, first_end: int, horizon: int = 3, *, with_quantiles: bool = True) -> HoldoutBacktest:
    """A backtest of one series from every origin from `first_end` on; each forecast is one too low."""
    ends = np.arange(first_end, len(panel.grid) - 1)
    values = np.append(panel.values, np.full(horizon, np.nan))
    observed = values[ends[:, None] + 1 + np.arange(horizon)]
    filled = np.where(np.isnan(observed), 0.0, observed)
    return HoldoutBacktest(
        windows=Windows(np.zeros(len(ends), np.int64), ends),
        context=values[ends[:, None] - np.arange(8)[::-1]],
        observed=observed,
        forecast=filled - 1,
        mase_scale=np.full((len(ends), 1), 2.0),
        season=4,
        quantiles=(filled - 1)[:, :, None] + LEVEL_OFFSETS if with_quantiles else None,
    )


def test_metrics_are_grouped_and_the_recipe_s_baseline_has_the_shortest_name() -> None:
    panel = milk_panel(monthly())
    record = record_of(panel)

    metrics = {name: value for name, value, _ in training_metrics(recipe_of(gate={"baseline": "naive"}), record)}

    assert (metrics["backtest/mase"], metrics["baseline/mase"]) == (0.7123, 2.9012)
    assert metrics["baseline/seasonal-naive/mae"] == 12.006
    assert "baseline/naive/mase" not in metrics
    assert metrics["skill/mase"] == 0.2875
    assert metrics["skill/mae"] == pytest.approx(1 - 8.451 / 39.875)
    assert {name.split("/")[0] for name in metrics} == {"loss", "backtest", "baseline", "skill", "tutorial"}


def test_the_recipe_s_baseline_is_seasonal_naive_by_default() -> None:
    metrics = {name for name, _, _ in training_metrics(recipe_of(), record_of(milk_panel(monthly())))}

    assert {"baseline/mae", "baseline/naive/mae", "baseline/naive/mase"} <= metrics
    assert "baseline/mase" not in metrics  # it has none here: its scale is zero


def test_losses_are_logged_by_epoch() -> None:
    metrics = training_metrics(recipe_of(), record_of(milk_panel(monthly())))

    assert [(value, step) for name, value, step in metrics if name == "loss/training"] == [(0.5, 1), (0.3, 2), (0.2, 3)]
    assert len([name for name, _, _ in metrics if name == "loss/validation"]) == 4


def test_parameters_are_few() -> None:
    params = training_params(small_recipe(), record_of(milk_panel(monthly())))

    assert len(params) <= 16
    assert (params["architecture"], params["baseline"], params["horizon"]) == ("vanilla", "seasonal-naive", "3")


def test_the_details_of_a_backtest_equal_a_count_by_hand() -> None:
    details = build_backtest_details(backtest(small_panel(), 33), small_panel(), 0)

    assert (details["num_apart"], len(details["ends"]), len(details["origins"])) == (2, 6, 6)
    assert details["origins"][-1].periods == (str(small_panel().grid[-1]),)
    assert details["origins"][0].lower_80[0] == details["origins"][0].forecast[0] - 5
    assert details["mase_by_origin"]["lstm"] == (0.5,) * 6
    assert [(hit.level, hit.share, hit.num) for hit in details["hits"]] == [
        (0.025, 0.0, 6),
        (0.1, 0.0, 6),
        (0.5, 0.0, 6),
        (0.9, 1.0, 6),
        (0.975, 1.0, 6),
    ]
    assert details["coverage"] == {"80": 1.0, "95": 1.0}
    assert details["mase_by_step"]["lstm"] == [0.5] * 3
    assert details["residuals"].by_step == ((0.5,) * 5,) * 3
    assert sum(details["residuals"].counts) == 6 + 5 + 4


def test_without_quantiles_there_is_no_coverage() -> None:
    details = build_backtest_details(backtest(small_panel(), 33, with_quantiles=False), small_panel(), 0)

    assert (details["hits"], details["coverage"]) == ((), {})
    assert details["origins"][0].lower_80 == ()


def test_a_constant_series_has_no_scaled_residuals() -> None:
    flat = backtest(small_panel(), 33)

    details = build_backtest_details(
        HoldoutBacktest(
            **{name: getattr(flat, name) for name in HoldoutBacktest.__slots__} | {"mase_scale": np.zeros((6, 1))}
        ),
        small_panel(),
        0,
    )

    assert details["residuals"] is None


def test_many_origins_are_thinned_evenly_and_both_ends_are_kept() -> None:
    panel = small_panel([100.0 + n % 7 for n in range(400)])

    details = build_backtest_details(backtest(panel, 50), panel, 0)

    assert (len(details["ends"]), len(details["origins"])) == (MAX_ENDS, MAX_ORIGINS)
    assert details["origins"][0].origin == details["ends"][0] == str(panel.grid[50])
    assert details["origins"][-1].origin == details["ends"][-1] == str(panel.grid[-2])


def test_a_record_of_an_earlier_release_can_be_read() -> None:
    panel = milk_panel(monthly())
    fields: dict[str, Any] = json.loads(record_of(panel).model_dump_json())
    for name in (
        "num_apart",
        "origins",
        "ends",
        "mase_by_origin",
        "hits",
        "coverage",
        "residuals",
        "mase_by_step",
        "by_series",
    ):
        del fields["backtest"][name]

    read = TrainingRecord.model_validate(fields)

    assert read.backtest == backtest_of(panel)


def test_a_record_survives_a_round_trip_through_json() -> None:
    details = build_backtest_details(backtest(small_panel(), 33), small_panel(), 0)
    record = backtest_of(small_panel(), **details)

    assert BacktestRecord.model_validate_json(record.model_dump_json()) == record
    assert record.share_won("naive") == 1.0
    assert backtest_of(small_panel()).share_won("naive") is None
