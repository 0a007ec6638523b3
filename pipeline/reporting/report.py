"""Build the HTML report of one training, with its figures."""

from __future__ import annotations

import base64
from functools import lru_cache
from importlib.resources import files
from itertools import groupby

import jinja2
import numpy as np

from pipeline.config.recipe import AUTO_BASELINE, Recipe
from pipeline.forecasting.baselines import BASELINES
from pipeline.records.training import BacktestRecord, ProtocolRecord, TrainingRecord
from pipeline.reporting.assessment import assess_model
from pipeline.reporting.figures import build_charts
from pipeline.reporting.plotly_charts import plotly_js, render_plotly
from pipeline.reporting.png_charts import render_png
from pipeline.reporting.report_series import (
    build_series_table,
    describe_method,
    forecast_rows,
    order_series,
    pack_series,
)
from pipeline.text import format_numbers
from pipeline.timeseries.forecast import NETWORK, Forecast
from pipeline.timeseries.panel import Panel

#: rows and columns of the table of the backtest
METHODS = (NETWORK, *BASELINES)
METRICS = ("rmse", "mae", "mase", "smape")
_DASH = "\N{EN DASH}"


def build_report(
    recipe: Recipe,
    panel: Panel,
    record: TrainingRecord,
    forecast: Forecast,
    *,
    model_version: int,
    model_hash: str,
    verdict: str | None = None,
) -> dict[str, bytes]:
    """Build `report.html`, which needs no other file, and `figures/*.png`; the same arguments give the same bytes.

    Args:
        recipe: what was trained.
        panel: what it was trained on.
        record: losses, backtest and tutorial figures of the training.
        forecast: of the model; the report shows the worst series first, and offers the others.
        model_version: of the model.
        model_hash: of the model directory.
        verdict: the gate's decision, in a sentence.

    Returns:
        Content by file name. Figures that the history is too short for are left out.
    """
    baseline, offered = record.resolve_baseline(recipe.gate.baseline), order_series(record, forecast)
    shown = offered[0]
    charts = list(build_charts(recipe, panel, record, forecast, shown))
    pngs = {chart.name: render_png(chart) for chart in charts}
    html = _template().render(
        recipe=recipe,
        record=record,
        forecast=forecast,
        version=model_version,
        hash=model_hash,
        verdict=verdict,
        assessment=assess_model(recipe, record),
        period=lambda period: recipe.labels.text(np.datetime64(str(period), "us")),
        period_heading=recipe.labels.heading.replace("period", "Period", 1),
        baseline=baseline,
        is_best_baseline=recipe.gate.baseline == AUTO_BASELINE,
        series=forecast.series[shown],
        series_table=build_series_table(record, forecast, baseline),
        packed_series=pack_series(recipe, panel, record, forecast, baseline, offered) if len(offered) > 1 else None,
        num_offered=len(offered),
        method=describe_method(forecast, shown),
        backtest_rows=_backtest_rows(record.backtest),
        protocol_rows=_protocol_rows(recipe, record.tutorial),
        forecast_rows=forecast_rows(recipe, forecast, shown),
        sections={section: list(group) for section, group in groupby(charts, key=lambda chart: chart.section)},
        pictures={name: base64.b64encode(png).decode() for name, png in pngs.items()},
        charts={chart.name: render_plotly(chart) for chart in charts},
        plotly_js=plotly_js(),
        script=_text_of("report.js"),
    )
    return {"report.html": html.encode(), **{f"figures/{name}.png": png for name, png in pngs.items()}}


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_text_of("report.html.jinja"))


def _text_of(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")


def _backtest_rows(backtest: BacktestRecord | None) -> list[tuple[str, ...]]:
    scores = backtest.scores if backtest else {}
    columns = [format_numbers(scores.get(method, {}).get(metric) for method in METHODS) for metric in METRICS]
    return list(zip(METHODS, *columns, strict=True))


def _protocol_rows(recipe: Recipe, lines: tuple[ProtocolRecord, ...]) -> list[list[str]]:
    published = recipe.tutorial.published if recipe.tutorial else None
    published_row = ["published by the tutorial", "none" if published is None else str(published), _DASH, _DASH, _DASH]
    errors = format_numbers(value for line in lines for value in (line.rmse, line.naive, line.seasonal_naive))
    rows = [[line.protocol, *errors[3 * i : 3 * i + 3], str(line.num_test)] for i, line in enumerate(lines)]
    return [published_row, *rows]
