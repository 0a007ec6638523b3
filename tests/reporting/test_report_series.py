"""The series of a report: the worst first, a table of them, what the page draws of each, and how large it gets."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.reporting import report_series
from pipeline.reporting.report_series import build_series_table, order_series, pack_series
from tests.support.many_series import BASELINE, TrainedSeries, trained_series
from tests.support.training_records import forecast_of, milk_panel, monthly, record_of

NAMES = ["a", "b", "c"]
DASH = "\N{EN DASH}"


def packed(trained: TrainedSeries) -> dict[str, Any]:
    """What the page gets of the series that a report offers."""
    offered = order_series(trained.record, trained.forecast)
    text = pack_series(trained.recipe, trained.panel, trained.record, trained.forecast, BASELINE, offered)
    return json.loads(gzip.decompress(base64.b64decode(text)))  # type: ignore[no-any-return]


def only(trained: TrainedSeries, kept: list[int]) -> TrainedSeries:
    """The same with a forecast of some series."""
    forecast = trained.forecast
    arrays = {name: getattr(forecast, name)[kept] for name in ("mean", "quantiles", "baseline", "scale")}
    texts = {name: tuple(getattr(forecast, name)[s] for s in kept) for name in ("series", "method", "reason")}
    return replace(trained, forecast=replace(forecast, **arrays, **texts))


def test_a_report_offers_the_worst_series_first() -> None:
    trained = trained_series(NAMES)

    assert order_series(trained.record, trained.forecast) == [2, 1, 0]
    assert [entry["name"] for entry in packed(trained)["series"]] == ["c", "b", "a"]


def test_series_that_the_backtest_lacks_are_offered_last_and_ended_ones_not() -> None:
    trained = trained_series(NAMES)
    assert trained.record.backtest is not None
    assert trained.record.backtest.by_series is not None
    of_c, _, of_a = trained.record.backtest.by_series.series
    by_series = trained.record.backtest.by_series.model_copy(update={"series": (of_c, of_a)})
    backtest = trained.record.backtest.model_copy(update={"by_series": by_series})
    partly = only(replace(trained, record=trained.record.model_copy(update={"backtest": backtest})), [0, 1])

    assert order_series(partly.record, partly.forecast) == [0, 1]
    entries = packed(partly)["series"]
    assert "test" in entries[0]
    assert "test" not in entries[1]
    assert entries[1]["skill"] == DASH


def test_a_record_of_an_earlier_release_offers_the_series_that_it_drew_first() -> None:
    panel = milk_panel(monthly())

    assert order_series(record_of(panel), forecast_of(panel, series=("milk",))) == [0]
    assert build_series_table(record_of(panel), forecast_of(panel), BASELINE) is None


def test_the_table_of_series_has_the_errors_of_both_the_skill_and_the_coverage() -> None:
    trained = trained_series(NAMES)

    table = build_series_table(trained.record, trained.forecast, BASELINE)

    assert table is not None
    assert table.columns == ("Series", "MASE", f"MASE of {BASELINE}", "Skill", "Inside 80 %", "Inside 95 %")
    assert table.rows == (
        ("c", "0.250", "1.00", "75.0%", "0%", "100%"),
        ("b", "0.167", "1.00", "83.3%", "100%", "100%"),
        ("a", "0.083", "1.00", "91.7%", "100%", "100%"),
    )
    assert table.num_hidden == 0


def test_rows_that_a_long_table_lacks_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_series, "MAX_ROWS", 2)
    trained = trained_series(["a", "b", "c", "d", "e"])

    table = build_series_table(trained.record, trained.forecast, BASELINE)

    assert table is not None
    assert [row[0] for row in table.rows] == ["e", "d"]
    assert table.num_hidden == 3


def test_a_single_series_needs_no_table() -> None:
    trained = trained_series(["a"])

    assert build_series_table(trained.record, trained.forecast, BASELINE) is None


def test_the_page_gets_the_history_the_forecast_and_the_test_part_of_each_series() -> None:
    trained = trained_series(NAMES, num_periods=40)

    page = packed(trained)

    worst = page["series"][0]
    last = page["grid"][worst["first"] + len(worst["observed"]) - 1]
    assert (last, worst["observed"][-1]) == ("2023-04-01", 3089)
    assert page["periods"] == ["2023-05-01", "2023-06-01", "2023-07-01"]
    assert worst["mean"] == [3090, 3091, 3092]
    assert worst["bounds"][0] == [3080, 3081, 3082]
    assert worst["rows"][0] == ["3,090.0", "3,085.0", "3,095.0", "3,080.0", "3,100.0"]
    assert page["test"][-1] == "2023-04-01"
    assert worst["test"]["observed"][-1] == 3089
    assert worst["test"]["network"][-1] == 3092
    assert worst["test"]["baseline"][-1] == 3077
    assert (page["network"], page["baseline"], worst["skill"]) == ("lstm", BASELINE, "75.0%")


def test_a_series_that_starts_within_the_test_part_was_not_observed_before() -> None:
    trained = trained_series(NAMES, num_periods=40)
    late = replace(
        trained.panel,
        first=trained.panel.first + np.array([0, 0, 38]),
        offsets=np.array([0, 40, 80, 82]),
        values=np.append(trained.panel.values[:80], [7.0, 8.0]),
    )

    worst = packed(replace(trained, panel=late))["series"][0]

    assert worst["observed"] == [7, 8]
    assert worst["test"]["observed"][-3:] == [None, 7, 8]


def test_many_observations_and_a_long_horizon_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_series, "MAX_OBSERVATIONS", 20)
    monkeypatch.setattr(report_series, "MAX_STEPS", 6)

    page = packed(trained_series(NAMES))

    assert [entry["name"] for entry in page["series"]] == ["c", "b"]
    assert [len(entry["observed"]) for entry in page["series"]] == [10, 10]
    assert page["grid"][page["series"][0]["first"]] == "2024-03-01"


def test_the_report_of_a_thousand_series_is_small_and_names_are_no_markup() -> None:
    names = [f"shop {n:04d}" for n in range(1001)] + ["</script><script>alert(1)</script><b>"]

    html = trained_series(names, num_periods=240, horizon=24).report()["report.html"].decode()

    assert len(html) < 10e6
    assert len(re.findall("<script>", html)) == 1
    assert "alert(1)" not in html.replace("&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;b&gt;", "")
    assert "Below are the 200 worst, and 802 more have no row." in " ".join(html.split())
    assert "The network is better than seasonal-naive on 17 of 1,002 series." in " ".join(html.split())
    assert "2 more are in the database only." in html


def test_the_error_by_step_is_beside_the_baseline_s() -> None:
    html = trained_series(NAMES).report()["report.html"].decode()

    assert f"the network is below {BASELINE} at 3 of 3 steps" in html
    (charts,) = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', html)
    traces = {trace["name"]: trace for trace in json.loads(charts)["steps"]["data"]}
    assert traces["lstm"]["y"] == pytest.approx([1 / 6] * 3)
    assert traces[BASELINE]["y"] == [1, 1, 1]
    assert "It is the best of the three baselines on this test part." in html
