"""The report of one training: its figures, its tables, and that it needs no other file."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from pipeline.config.recipe import Recipe
from pipeline.records.training import (
    TrainingRecord,
)
from pipeline.reporting.report import build_report
from pipeline.timeseries.forecast import LEVELS, Forecast
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.panel import Panel, panel_from_observations
from tests.support.panels import panel_of
from tests.support.training_records import (
    HASH,
    MONTHS,
    NETWORK,
    SHARES,
    TUTORIAL,
    backtest_of,
    forecast_of,
    milk_panel,
    monthly,
    recipe_of,
    record_of,
    with_details,
)

#: script tags of the page
SCRIPTS = {"<script>", '<script type="application/json" id="charts">', '<script type="text/plain" id="plotly">'}
FIGURES = {"forecast", "backtest", "residuals", "series", "decomposition", "loss"}
#: of fields that records of earlier releases lack
LATER_FIGURES = {"origins", "errors", "calibration", "residuals-by-step", "residuals-histogram"}


@cache
def usual_report() -> dict[str, bytes]:
    return report(panel=milk_panel(monthly()))


def report(
    *,
    recipe: Recipe | None = None,
    panel: Panel | None = None,
    record: TrainingRecord | None = None,
    forecast: Forecast | None = None,
) -> dict[str, bytes]:
    panel = panel or milk_panel(monthly())
    return build_report(
        recipe or recipe_of(),
        panel,
        record or record_of(panel),
        forecast or forecast_of(panel),
        model_version=4,
        model_hash=HASH,
    )


def page(**values: Any) -> str:
    return (report(**values) if values else usual_report())["report.html"].decode()


def charts_in(html: str) -> dict[str, Any]:
    """What the page passes to plotly.js, by name of the chart."""
    (charts,) = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', html)
    return json.loads(charts)  # type: ignore[no-any-return]


def rows_of(html: str) -> list[list[str]]:
    """The cells of every table row, markup removed."""
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)]
    return [row for row in cells if row]


def figure_names(files: dict[str, bytes]) -> set[str]:
    return {name.removeprefix("figures/").removesuffix(".png") for name in files if name != "report.html"}


def test_every_figure_is_a_png_and_is_embedded_with_its_caption() -> None:
    files = usual_report()

    assert figure_names(files) == FIGURES
    assert all(files[f"figures/{name}.png"].startswith(b"\x89PNG\r\n\x1a\n") for name in FIGURES)
    assert all(b"Software" not in files[f"figures/{name}.png"] for name in FIGURES)
    html = files["report.html"].decode()
    assert len(re.findall(r'<img alt="Chart: [^"]+" src="data:image/png;base64,[^"]{1000,}">', html)) == len(FIGURES)


def test_the_facts_of_the_training_are_shown() -> None:
    html = page()

    for fact in (
        "retrain: no model yet",
        "1965-12-01",
        "1, 1234",
        "version 4",
        HASH,
        "Monthly milk production",
    ):
        assert fact in html


def test_the_backtest_table_shows_a_dash_for_a_missing_score() -> None:
    rows = rows_of(page())

    assert ["lstm", "11.327", "8.451", "0.7123", "1.4560"] in rows
    assert ["naive", "45.119", "39.875", "2.9012", "5.7830"] in rows
    assert ["seasonal-naive", "14.204", "12.006", "\N{EN DASH}", "1.9980"] in rows


@pytest.mark.parametrize(
    ("skill", "words"),
    [
        (0.2875, "28.7% better than naive"),
        (-0.04, "4.0% worse than naive"),
        (0.0, "as good as naive"),
        (None, "The skill against naive is not defined"),
    ],
)
def test_the_skill_is_described_against_the_recipe_s_baseline(skill: float | None, words: str) -> None:
    panel = milk_panel(monthly())
    record = record_of(panel, backtest=backtest_of(panel, skill=skill))

    html = page(recipe=recipe_of(gate={"baseline": "naive"}), record=record)

    assert words in html
    assert "number of origins: 7" in html
    assert "the periods after 1965-09-01" in html


def test_the_tutorial_s_figures_are_beside_its_published_one() -> None:
    html = page()

    assert "Milk, stacked LSTM" in html
    rows = rows_of(html)
    dash = "\N{EN DASH}"
    assert ["published by the tutorial", "17.02", dash, dash, dash] in rows
    assert ["as written", "18.913", "44.101", "13.377", "48"] in rows
    assert ["without the leak", "21.600", "44.100", dash, "48"] in rows


def test_a_tutorial_without_a_published_figure_shows_none() -> None:
    html = page(recipe=recipe_of(tutorial=TUTORIAL | NETWORK | {"published": None}))

    assert ["published by the tutorial", "none"] in [row[:2] for row in rows_of(html)]


def test_without_a_tutorial_there_is_no_such_table() -> None:
    panel = milk_panel(monthly())

    assert "tutorial" not in page(recipe=recipe_of(tutorial=None), record=record_of(panel, tutorial=()))


def test_the_forecast_table_holds_the_mean_and_both_intervals() -> None:
    rows = rows_of(page())

    assert ["1966-01-01", "800.25", "789.75", "810.75", "779.75", "820.75"] in rows
    assert ["1966-03-01", "802.25", "791.75", "812.75", "781.75", "822.75"] in rows


def test_a_fallback_is_named_with_its_reason() -> None:
    panel = milk_panel(monthly())
    forecast = forecast_of(panel, method=("fallback:naive",), reason=("context has a gap",))

    assert 'method <span id="method">fallback:naive (context has a gap)</span>.' in page(forecast=forecast)


def test_text_from_outside_is_escaped() -> None:
    panel = milk_panel(monthly(), name='<b>"$milk$^')
    recipe = recipe_of(description="<script>alert(1)</script>", unit="$US$_^ <i>")

    html = page(recipe=recipe, panel=panel)

    assert set(re.findall(r"<script[^>]*>", html)) == SCRIPTS
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>" not in html
    assert "<i>" not in html


def test_the_page_refers_to_nothing_outside_itself() -> None:
    html = page()

    assert "http://" not in html
    assert "https://" not in html
    assert all(address.startswith("data:") for address in re.findall(r'(?:src|href)="([^"]*)"', html))
    assert "url(" not in html


def test_the_same_training_gives_the_same_bytes() -> None:
    assert report() == usual_report()


def test_other_observations_give_other_figures() -> None:
    usual, other = usual_report(), report(panel=milk_panel(monthly() + 50))

    assert usual["figures/series.png"] != other["figures/series.png"]
    assert usual["figures/loss.png"] == other["figures/loss.png"]


@pytest.mark.parametrize(("count", "has_decomposition"), [(1, False), (2, False), (23, False), (24, True), (25, True)])
def test_the_decomposition_needs_two_seasons(count: int, has_decomposition: bool) -> None:
    panel = milk_panel(monthly(count))
    record = record_of(panel, backtest=None, tutorial=())

    files = report(panel=panel, record=record)

    assert ("decomposition" in figure_names(files)) == has_decomposition
    assert "backtest" not in figure_names(files)
    assert b"too short for a backtest" in files["report.html"]


def test_a_series_with_a_gap_or_without_a_season_is_not_decomposed() -> None:
    gappy = monthly()
    gappy[10] = np.nan

    assert figure_names(report(panel=milk_panel(gappy))) == FIGURES - {"decomposition"}
    assert figure_names(report(recipe=recipe_of(season_length=1))) == FIGURES - {"decomposition"}


@pytest.mark.parametrize("level", [0.0, -3.0, 1e15])
def test_a_constant_series_with_a_forecast_of_one_step_is_drawn(level: float) -> None:
    panel = milk_panel(np.full(24, level))
    flat = np.full((1, 1, len(LEVELS)), level)
    forecast = forecast_of(panel, 1, mean=flat[:, :, 0], quantiles=flat)
    record = record_of(panel, loss=(0.0,), validation_loss=())

    files = report(panel=panel, record=record, forecast=forecast)

    assert figure_names(files) == FIGURES
    assert b"-0.0<" not in files["report.html"]


def test_the_report_shows_the_forecast_s_first_series() -> None:
    early = MONTHS.after(np.datetime64("1961-12-01", "us"), 40)
    late = MONTHS.after(np.datetime64("1962-12-01", "us"), 40)
    panel = panel_from_observations(
        ["a", "b"],
        np.repeat([0, 1], 40),
        np.concatenate([early, late]),
        np.arange(80.0),
        frequency=MONTHS,
    )
    forecast = forecast_of(panel, series=("b",))

    html = page(panel=panel, forecast=forecast)

    assert 'Forecast of <b class="series-name">b</b>, pounds per cow' in html
    assert '<b class="series-name">b</b>: observations, test part shaded' in html
    assert "1966-04-01" in html


def test_hourly_periods_are_named_with_their_time() -> None:
    hours = Frequency("h").after(np.datetime64("2026-01-01T22:00", "us"), 2)
    panel = milk_panel(monthly())

    html = page(forecast=forecast_of(panel, 2, periods=hours))

    assert '<th scope="row">2026-01-01 23:00</th>' in html
    assert '<th scope="row">2026-01-02</th>' in html


def test_importing_the_module_loads_no_drawing_library() -> None:
    heavy = {"matplotlib", "plotly", "scipy", "statsmodels"}
    code = f"import sys, pipeline.reporting.report; print(sorted({heavy} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_attention_is_shown_where_there_is_some() -> None:
    panel = milk_panel(monthly())

    files = report(panel=panel, record=record_of(panel, attention=(0.1, 0.2, 0.7)))

    assert files["figures/attention.png"].startswith(b"\x89PNG")
    assert "Attention over the context" in files["report.html"].decode()
    assert "figures/attention.png" not in usual_report()


def test_all_fields_of_a_backtest_are_drawn() -> None:
    panel = milk_panel(monthly())

    files = report(panel=panel, record=with_details(panel))

    assert figure_names(files) == FIGURES | LATER_FIGURES
    assert set(charts_in(files["report.html"].decode())) == FIGURES | LATER_FIGURES


def test_every_chart_is_valid_for_plotly() -> None:
    panel = milk_panel(monthly())
    record = with_details(panel).model_copy(update={"attention": (0.1, 0.2, 0.7)})

    charts = charts_in(page(panel=panel, record=record))

    for chart in charts.values():
        assert len(go.Figure(chart).data) >= 1


def test_the_forecast_chart_holds_all_observations_and_both_intervals() -> None:
    panel = milk_panel(monthly())

    chart = charts_in(usual_report()["report.html"].decode())["forecast"]

    traces = {trace["name"]: trace for trace in chart["data"]}
    assert traces["observed"]["y"] == pytest.approx(panel.series_values(0).tolist(), rel=1e-7)
    assert traces["forecast"]["x"][1:] == ["1966-01-01", "1966-02-01", "1966-03-01"]
    assert traces["95 %, lower"]["y"][1:] == [779.75, 780.75, 781.75]
    assert traces["95 %"]["y"][1:] == [820.75, 821.75, 822.75]
    assert traces["80 %"]["fill"] == "tonexty"


def test_a_slider_walks_through_the_origins_of_the_backtest() -> None:
    panel = milk_panel(monthly())

    chart = charts_in(page(panel=panel, record=with_details(panel)))["origins"]

    (slider,) = chart["layout"]["sliders"]
    assert [step["label"] for step in slider["steps"]] == ["1965-06-01", "1965-07-01", "1965-08-01"]
    moved, traces = slider["steps"][2]["args"]
    assert {chart["data"][n]["name"] for n in traces} >= {"forecast", "80 %", "95 %, lower"}
    assert "observed" not in {chart["data"][n]["name"] for n in traces}
    assert moved["x"][0] == ["1965-09-01", "1965-10-01", "1965-11-01"]


def test_the_backtest_is_drawn_beside_its_baseline_alone() -> None:
    charts = charts_in(page(recipe=recipe_of(gate={"baseline": "naive"})))

    assert [trace["name"] for trace in charts["backtest"]["data"]] == ["observed", "lstm", "naive"]


def test_zooming_a_chart_over_time_leaves_its_y_axis_to_the_page() -> None:
    panel = milk_panel(monthly())

    charts = charts_in(page(panel=panel, record=with_details(panel)))

    following = {name for name, chart in charts.items() if chart["layout"]["yaxis"].get("fixedrange")}
    assert following == {"forecast", "series", "decomposition", "backtest", "origins", "errors", "residuals"}


def test_the_calibration_chart_shows_observed_shares_by_level() -> None:
    panel = milk_panel(monthly())

    html = page(panel=panel, record=with_details(panel))

    traces = {trace["name"]: trace for trace in charts_in(html)["calibration"]["data"]}
    assert traces["observed share"]["x"] == list(LEVELS)
    assert traces["observed share"]["y"] == pytest.approx(SHARES)
    assert "Calibration over 6 observations" in html


def test_an_interactive_chart_shows_the_newest_part_of_a_long_history() -> None:
    hours = Frequency("h").after(np.datetime64("2020-01-01T00:00", "us"), 6000)
    values = np.arange(6000.0)
    panel = panel_from_observations(["milk"], np.zeros(6000, np.int64), hours, values, frequency=Frequency("h"))

    charts = charts_in(page(panel=panel, record=record_of(panel, backtest=None)))

    assert charts["series"]["data"][0]["y"] == values[-5000:].tolist()


def test_the_page_holds_plotly_js_once() -> None:
    from plotly.offline import get_plotlyjs

    html = page()

    (packed,) = re.findall(r'<script type="text/plain" id="plotly">([A-Za-z0-9+/=]*)</script>', html)
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    assert len(packed) < 2.2e6


def test_the_gate_s_verdict_is_shown_if_there_is_one() -> None:
    panel = milk_panel(monthly())
    parts: dict[str, Any] = {"model_version": 4, "model_hash": HASH}

    files = build_report(
        recipe_of(), panel, record_of(panel), forecast_of(panel), **parts, verdict="promoted: 4 % < better"
    )

    assert b"<dt>Gate</dt><dd>promoted: 4 % &lt; better</dd>" in files["report.html"]
    assert b"<dt>Gate</dt>" not in usual_report()["report.html"]


def test_the_assessment_is_at_the_top() -> None:
    html = page()

    assert html.index("Can I trust it?") < html.index("Next periods")


def test_hours_are_in_the_zone_of_the_recipe_and_charts_say_utc() -> None:
    """The clocks go back in the second of three hours: each of the two hours is told apart."""
    source = {"kind": "csv", "path": "load.csv", "period": "hour", "value": "mw", "zone": "Europe/Amsterdam"}
    recipe = recipe_of(frequency="h", source=source, tutorial=None)
    panel = panel_of({"milk": monthly()}, frequency="h", start="2026-10-23T00:00")
    periods = Frequency("h").after(np.datetime64("2026-10-24T23:00", "us"), 3)

    html = page(
        recipe=recipe,
        panel=panel,
        record=record_of(panel, tutorial=()),
        forecast=forecast_of(panel, periods=periods),
    )

    rows = rows_of(html)
    assert ["Period (Europe/Amsterdam)", "Mean"] in [row[:2] for row in rows]
    assert {"2026-10-25 02:00+02:00", "2026-10-25 02:00+01:00", "2026-10-25 03:00+01:00"} <= {row[0] for row in rows}
    assert "origin 2026-10-25 01:00 (Europe/Amsterdam)" in html
    layout = charts_in(html)["forecast"]["layout"]
    assert layout["xaxis"]["title"]["text"] == "UTC"
    assert (layout["yaxis"]["exponentformat"], layout["yaxis"]["separatethousands"]) == ("none", True)


def test_a_fallback_from_a_step_on_is_named_with_its_step() -> None:
    reason = "promo is not known for 1 of 3 periods ahead"
    panel = milk_panel(monthly())
    forecast = forecast_of(panel, method=("fallback:naive",), reason=(reason,), network_steps=(2,))

    html = " ".join(page(forecast=forecast).split())

    assert f">fallback:naive from step 3 on ({reason})<" in html
