"""Figures and the HTML report of one training: what a person looks at before trusting a model."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt

from pipeline.forecast import LEVELS, Forecast
from pipeline.panel import Panel
from pipeline.recipe import Recipe
from pipeline.training_record import BacktestRecord, ProtocolRecord, TrainingRecord

Array = npt.NDArray[Any]

METHODS = ("lstm", "naive", "seasonal-naive")
METRICS = ("rmse", "mae", "mase", "smape")
_DASH = "\N{EN DASH}"
_INK, _BLUE = "#33373d", "#1f6fb2"
#: color and line by label; ink and solid where none is given
_STYLES = dict.fromkeys(("lstm", "forecast", "validation"), (_BLUE, "-"))
_STYLES |= {"naive": ("#c46a1b", ":"), "seasonal-naive": ("#2a8a63", "--")}
_STYLES |= {"95 %": ("#d7e6f3", ""), "80 %": ("#a9cae4", "")}
_LOWER_95, _LOWER_80, _, _UPPER_80, _UPPER_95 = range(len(LEVELS))


def build_report(
    recipe: Recipe,
    panel: Panel,
    record: TrainingRecord,
    forecast: Forecast,
    *,
    model_version: int,
    model_hash: str,
) -> dict[str, bytes]:
    """The files of the report by name: `report.html`, which stands alone, and `figures/*.png`.

    Figures that the history is too short for are left out. The same arguments give the same bytes.
    """
    figures = list(_figures(recipe, panel, record, forecast))
    html = _TEMPLATE.render(
        recipe=recipe,
        record=record,
        forecast=forecast,
        version=model_version,
        hash=model_hash,
        period=_period,
        backtest_rows=_backtest_rows(record.backtest),
        skill=_skill_in_words(record.backtest, recipe.gate.baseline),
        protocol_rows=_protocol_rows(recipe, record.tutorial),
        forecast_rows=_forecast_rows(forecast),
        pictures=[(caption, base64.b64encode(png).decode()) for _, caption, png in figures],
    )
    return {"report.html": html.encode(), **{f"figures/{name}.png": png for name, _, png in figures}}


def _figures(
    recipe: Recipe, panel: Panel, record: TrainingRecord, forecast: Forecast
) -> Iterator[tuple[str, str, bytes]]:
    """Name, caption and PNG, in the order of the report."""
    series, unit, shade = forecast.series[0], recipe.unit, None
    s = panel.series.index(series)
    periods, values = panel.grid[panel.first[s] : panel.last[s] + 1], panel.of(s)
    yield "forecast", f"Forecast of {series}", _forecast_chart(recipe, periods, values, forecast)
    if record.backtest is not None:
        path = record.backtest.path
        test = np.array(path.periods, dtype="datetime64[us]")
        shade = np.datetime64(record.backtest.cutoff, "us"), test[-1]
        lines = {name: (test, np.array(line)) for name, line in path.forecast.items()}
        chart = _chart({"observed": (test, np.array(path.observed)), **lines}, ylabel=unit)
        yield "backtest", f"Backtest of {path.series}, observed and forecast over the test part", chart
    caption = f"Observations of {series}{', test part shaded' if shade else ''}"
    yield "series", caption, _chart({"observed": (periods, values)}, ylabel=unit, shade=shade)
    if recipe.season >= 2 and len(values) >= 2 * recipe.season and np.isfinite(values).all():
        chart = _decomposition(recipe.season, periods, values)
        yield "decomposition", f"Decomposition of {series}, season length {recipe.season}", chart
    if record.attention:
        steps = np.arange(-len(record.attention) + 1, 1)
        chart = _chart({"weight": (steps, np.array(record.attention))}, ylabel="weight")
        yield "attention", "Attention over the context, by periods before the newest observation", chart
    losses = {"training": record.loss, "validation": record.validation_loss}
    lines = {name: (np.arange(1, len(loss) + 1), np.array(loss)) for name, loss in losses.items() if loss}
    yield "loss", "Loss by epoch", _chart(lines, ylabel="loss")


def _forecast_chart(recipe: Recipe, periods: Array, values: Array, forecast: Forecast) -> bytes:
    """The forecast is joined to the last observation, so that a single step shows too."""
    shown = 3 * max(recipe.season, forecast.horizon)
    ahead = np.append(periods[-1:], forecast.periods)
    quantiles = np.vstack([np.full(len(LEVELS), values[-1]), forecast.quantiles[0]]).T  # [Q, 1 + H]
    mean = np.append(values[-1], forecast.mean[0])
    return _chart(
        {"observed": (periods[-shown:], values[-shown:]), "forecast": (ahead, mean)},
        ylabel=recipe.unit,
        bands={
            "95 %": (ahead, quantiles[_LOWER_95], quantiles[_UPPER_95]),
            "80 %": (ahead, quantiles[_LOWER_80], quantiles[_UPPER_80]),
        },
    )


def _decomposition(season: int, periods: Array, values: Array) -> bytes:
    """Additive, by moving averages: trend and residual miss half a season at both ends."""
    from statsmodels.tsa.seasonal import seasonal_decompose

    parts = seasonal_decompose(values, period=season)
    rows = {"trend": parts.trend, "season": parts.seasonal, "residual": parts.resid}
    return _chart(*({name: (periods, np.asarray(part))} for name, part in rows.items()))


def _chart(
    *rows: Mapping[str, tuple[Array, Array]],
    ylabel: str = "",
    bands: Mapping[str, tuple[Array, Array, Array]] | None = None,
    shade: tuple[np.datetime64, np.datetime64] | None = None,
) -> bytes:
    """Charts below each other as a PNG: by label lines (x, y) and bands (x, lower, upper)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.4 + 1.7 * len(rows)), layout="constrained", facecolor="white")
    all_axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for axes, lines in zip(all_axes, rows, strict=True):
        if shade:
            axes.axvspan(*shade, color="#dce4ee", zorder=0)
        for label, band in (bands or {}).items():
            axes.fill_between(*band, color=_STYLES[label][0], linewidth=0, label=label)
        for label, (x, y) in lines.items():
            color, style = _STYLES.get(label, (_INK, "-"))
            marker = "." if len(x) <= 60 else ""
            axes.plot(x, y, style, color=color, linewidth=1.4, marker=marker, label=label)
        _finish(axes, ylabel)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _finish(axes: Any, ylabel: str) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = axes.xaxis.get_major_locator()
    if isinstance(locator, AutoDateLocator):
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        locator.set_params(integer=True)
    axes.set_ylabel(ylabel, parse_math=False)  # a unit such as "US$" is no formula
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e6ea")
    axes.margins(x=0.01)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, frameon=False, borderpad=0)


def _backtest_rows(backtest: BacktestRecord | None) -> list[tuple[str, ...]]:
    scores = backtest.scores if backtest else {}
    columns = [_numbers(scores.get(method, {}).get(metric) for method in METHODS) for metric in METRICS]
    return list(zip(METHODS, *columns, strict=True))


def _skill_in_words(backtest: BacktestRecord | None, baseline: str) -> str:
    skill = backtest.skill if backtest else None
    if skill is None or not math.isfinite(skill):
        return f"The skill against {baseline} is not defined."
    if skill == 0:
        return f"By MASE the network is as good as {baseline}."
    return f"By MASE the network is {abs(skill):.1%} {'better' if skill > 0 else 'worse'} than {baseline}."


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


_TEMPLATE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ recipe.name }}, model {{ version }}</title>
<style>
:root { color-scheme: light dark; --ink: #24282e; --soft: #626a75; --rule: #dfe3e8; --paper: #fff }
body { margin: 3rem auto; max-width: 52rem; padding: 0 1.25rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere }
h1, h2 { margin: 2.5rem 0 .5rem; font-size: 1.2rem; font-weight: 600 } h1 { margin: 0; font-size: 1.9rem }
.soft, caption, figcaption, dt, thead { color: var(--soft) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem } dd { margin: 0 }
.wide { overflow-x: auto }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }
caption, figcaption { text-align: left; padding-bottom: .5rem; font-size: .9rem }
th, td { padding: .35rem 0 .35rem 1rem; border-bottom: 1px solid var(--rule); text-align: right }
th { font-weight: 400 } th:first-child { padding-left: 0; text-align: left } thead { font-size: .9rem }
figure { margin: 1.5rem 0 } img { display: block; width: 100%; height: auto }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dcdfe3; --soft: #9aa2ad; --rule: #33383f; --paper: #1b1b1b }
  img { filter: invert(.895) hue-rotate(180deg) }
}
</style>
{% macro table(heads, rows) %}
<thead><tr>{% for head in heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
<h1>{{ recipe.name }}</h1>
<p class="soft">{{ recipe.description }}</p>
<dl>
<dt>Training</dt><dd>{{ record.training }}: {{ record.reason }}</dd>
<dt>Cutoff</dt><dd>{{ period(record.cutoff) }}</dd>
<dt>Series, windows</dt><dd>{{ record.num_series }}, {{ record.num_windows }}</dd>
<dt>Epochs</dt><dd>{{ record.epochs }}</dd>
<dt>Model</dt><dd>version {{ version }} <small class="soft">{{ hash }}</small></dd>
</dl>
<h2>Next periods</h2>
<div class="wide"><table><caption>Forecast of {{ forecast.series[0] }}
{%- if recipe.unit %}, {{ recipe.unit }}{% endif %}; origin {{ period(forecast.origin) }};
method {{ forecast.method[0] }}
{%- if forecast.reason[0] %} ({{ forecast.reason[0] }}){% endif %}.</caption>
{{ table(["Period", "Mean", "Lower 80 %", "Upper 80 %", "Lower 95 %", "Upper 95 %"], forecast_rows) }}
<h2>Backtest</h2>
{% if record.backtest %}
<div class="wide"><table><caption>Test part: the periods after {{ period(record.backtest.cutoff) }},
unseen by the network that is measured; number of origins: {{ record.backtest.num_origins }}.
{{ skill }}</caption>
{{ table(["", "RMSE", "MAE", "MASE", "sMAPE"], backtest_rows) }}
{% else %}
<p>The history is too short for a backtest.</p>
{% endif %}
{% if record.tutorial and recipe.tutorial %}
<h2>The tutorial's protocol</h2>
<div class="wide"><table><caption>{{ recipe.tutorial.row }}: errors on its own test part.</caption>
{{ table(["", "RMSE", "Naive RMSE", "Seasonal naive RMSE", "Test values"], protocol_rows) }}
{% endif %}
<h2>Figures</h2>
{% for caption, png in pictures %}
<figure><figcaption>{{ caption }}</figcaption>
<img alt="Line chart: {{ caption }}" src="data:image/png;base64,{{ png }}"></figure>
{% endfor %}
</html>
""")
