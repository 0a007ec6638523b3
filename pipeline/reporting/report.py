"""The HTML report of one training and its figures: what a person looks at before trusting a model."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from itertools import groupby

import jinja2
import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.records.training import BacktestRecord, ProtocolRecord, TrainingRecord
from pipeline.reporting.assessment import trust_of
from pipeline.reporting.chart import png_of
from pipeline.reporting.figures import charts_of
from pipeline.reporting.plotly_charts import plotly_js, spec_of
from pipeline.timeseries.forecast import LEVELS, Forecast
from pipeline.timeseries.panel import Panel

METHODS = ("lstm", "naive", "seasonal-naive")
METRICS = ("rmse", "mae", "mase", "smape")
_DASH = "\N{EN DASH}"
_LOWER_95, _LOWER_80, _, _UPPER_80, _UPPER_95 = range(len(LEVELS))


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
    """The files of the report by name: `report.html`, which stands alone, and `figures/*.png`.

    Figures that the history is too short for are left out. The same arguments give the same bytes.

    Args:
        recipe: what was trained.
        panel: what it was trained on.
        record: how it went.
        forecast: what the model says now.
        model_version: of the model.
        model_hash: of its directory.
        verdict: what the gate decided about it, in a sentence.
    """
    charts = list(charts_of(recipe, panel, record, forecast))
    pngs = {chart.name: png_of(chart) for chart in charts}
    html = _template().render(
        recipe=recipe,
        record=record,
        forecast=forecast,
        version=model_version,
        hash=model_hash,
        verdict=verdict,
        trust=trust_of(recipe, record),
        period=_period,
        backtest_rows=_backtest_rows(record.backtest),
        protocol_rows=_protocol_rows(recipe, record.tutorial),
        forecast_rows=_forecast_rows(forecast),
        sections={section: list(drawn) for section, drawn in groupby(charts, key=lambda chart: chart.section)},
        pictures={name: base64.b64encode(png).decode() for name, png in pngs.items()},
        charts={chart.name: spec_of(chart) for chart in charts},
        plotly_js=plotly_js(),
    )
    return {"report.html": html.encode(), **{f"figures/{name}.png": png for name, png in pngs.items()}}


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string((files("pipeline.reporting") / "report.html.jinja").read_text("utf-8"))


def _backtest_rows(backtest: BacktestRecord | None) -> list[tuple[str, ...]]:
    scores = backtest.scores if backtest else {}
    columns = [_numbers(scores.get(method, {}).get(metric) for method in METHODS) for metric in METRICS]
    return list(zip(METHODS, *columns, strict=True))


def _protocol_rows(recipe: Recipe, lines: tuple[ProtocolRecord, ...]) -> list[list[str]]:
    published = recipe.tutorial.published if recipe.tutorial else None
    printed = "it printed none" if published is None else str(published)
    figures = _numbers(value for line in lines for value in (line.rmse, line.naive, line.seasonal_naive))
    rows = [[line.protocol, *figures[3 * i : 3 * i + 3], str(line.num_test)] for i, line in enumerate(lines)]
    return [["as the tutorial printed it", printed, _DASH, _DASH, _DASH], *rows]


def _forecast_rows(forecast: Forecast) -> list[list[str]]:
    bounds = forecast.quantiles[0][:, [_LOWER_80, _UPPER_80, _LOWER_95, _UPPER_95]]
    figures = _numbers(np.column_stack([forecast.mean[0], bounds]).ravel())
    return [[_period(period), *figures[5 * h : 5 * h + 5]] for h, period in enumerate(forecast.periods)]


def _numbers(values: Iterable[float | None]) -> list[str]:
    """All with as many decimals as give the largest five digits; an en dash where there is no number."""
    numbers = [math.nan if value is None else float(value) for value in values]
    largest = max((abs(number) for number in numbers if math.isfinite(number)), default=0.0)
    decimals = min(max(4 - math.floor(math.log10(largest)), 0), 12) if largest > 0 else 1
    return [f"{number:z.{decimals}f}" if math.isfinite(number) else _DASH for number in numbers]


def _period(period: np.datetime64 | str) -> str:
    """The date, and the time of day unless it is midnight."""
    return str(np.datetime64(str(period), "m")).removesuffix("T00:00").replace("T", " ")
