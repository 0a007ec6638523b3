"""Build the charts of a training, in the order of its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.records.training import BacktestPath, BacktestRecord, OriginPath, ResidualsRecord, TrainingRecord
from pipeline.reporting.assessment import binomial_interval
from pipeline.reporting.chart import BLUE, GREEN, GREY, INK, ORANGE, Array, Axes, Band, Chart, Instants, Line
from pipeline.text import counted, format_period
from pipeline.timeseries.forecast import LOWER_80, LOWER_95, NETWORK, UPPER_80, UPPER_95, Forecast
from pipeline.timeseries.panel import Panel

_MASE_UNIT = "in mean seasonal differences"
_WIDE, _NARROW = partial(Band, opacity=0.16), partial(Band, opacity=0.28)
_METHOD_LINES = {
    NETWORK: partial(Line, NETWORK, color=BLUE),
    "naive": partial(Line, "naive", color=ORANGE, dash="dot"),
    "seasonal-naive": partial(Line, "seasonal-naive", color=GREEN, dash="dash"),
    "drift": partial(Line, "drift", color=GREY, dash="dot"),
}


def build_charts(recipe: Recipe, panel: Panel, record: TrainingRecord, forecast: Forecast, f: int) -> Iterator[Chart]:
    """Build the charts of one training; those that the history is too short for are left out.

    Hours are drawn in UTC, which the axes say: a clock that is set back would be at an hour twice.

    Args:
        recipe: what was trained.
        panel: what it was trained on.
        record: losses and backtest of the training.
        forecast: of the model.
        f: position in the forecast of the series that is drawn.
    """
    charts = _build_charts(recipe, panel, record, forecast, f)
    yield from map(_name_utc, charts) if recipe.grid.is_within_day else charts


def _name_utc(chart: Chart) -> Chart:
    """The chart with the name of the zone below axes of instants."""

    def named(axes: Axes) -> Axes:
        x = [*(line.x for line in axes.lines), *(band.x for band in axes.bands)]
        has_instants = bool(x) and all(np.issubdtype(values.dtype, np.datetime64) for values in x)
        return replace(axes, xlabel=f"{axes.xlabel} UTC".strip()) if has_instants else axes

    *upper, last = chart.rows
    slides = tuple((label, named(axes)) for label, axes in chart.slides)
    return replace(chart, rows=(*upper, named(last)), slides=slides)


def _build_charts(recipe: Recipe, panel: Panel, record: TrainingRecord, forecast: Forecast, f: int) -> Iterator[Chart]:
    series = forecast.series[f]
    s = panel.series.index(series)
    periods, values = panel.grid[panel.first[s] : panel.last[s] + 1], panel.series_values(s)
    yield _forecast_chart(recipe, periods, values, forecast, f)
    if record.backtest is not None:
        yield from _backtest_charts(recipe, record.backtest, record.resolve_baseline(recipe.gate.baseline))
    yield _history_chart(recipe, periods, values, series, record.backtest)
    if recipe.season >= 2 and len(values) >= 2 * recipe.season and np.isfinite(values).all():
        yield _decomposition_chart(recipe.season, periods, values, series)
    if record.attention:
        yield _attention_chart(record.attention)
    yield _loss_chart(record)


def _forecast_chart(recipe: Recipe, periods: Array, values: Array, forecast: Forecast, f: int) -> Chart:
    """Forecast and intervals start at the last observation, so that a forecast of one step can be seen too."""
    start = periods[-min(3 * max(recipe.season, forecast.horizon), len(periods))]
    ahead = np.append(periods[-1:], forecast.periods)  # [1 + H]
    mean = np.append(values[-1], forecast.mean[f])
    quantiles = np.vstack([np.full(forecast.quantiles.shape[2], values[-1]), forecast.quantiles[f]]).T  # [Q, 1 + H]
    axes = Axes(
        lines=(Line("observed", periods, values), Line("forecast", ahead, mean, color=BLUE)),
        bands=(
            _WIDE("95 %", ahead, quantiles[LOWER_95], quantiles[UPPER_95]),
            _NARROW("80 %", ahead, quantiles[LOWER_80], quantiles[UPPER_80]),
        ),
        ylabel=recipe.unit,
    )
    return Chart(
        name="forecast",
        section="Forecast",
        caption="forecast",
        series=forecast.series[f],
        rows=(axes,),
        window=(start, ahead[-1]),
        png_from=start,
    )


def _history_chart(
    recipe: Recipe, periods: Array, values: Array, series: str, backtest: BacktestRecord | None
) -> Chart:
    shade: Instants | None = None
    if backtest is not None:
        shade = np.datetime64(backtest.cutoff, "us"), np.datetime64(backtest.path.periods[-1], "us")
    axes = Axes(lines=(Line("observed", periods, values),), ylabel=recipe.unit, shade=shade)
    caption = f"observations{', test part shaded' if shade else ''}"
    return Chart(name="series", section="History", caption=caption, series=series, rows=(axes,))


def _decomposition_chart(season: int, periods: Array, values: Array, series: str) -> Chart:
    """Additive, by moving averages: trend and residual are NaN for half a season at both ends."""
    from statsmodels.tsa.seasonal import seasonal_decompose

    parts = seasonal_decompose(values, period=season)
    named = {"trend": parts.trend, "season": parts.seasonal, "residual": parts.resid}
    rows = tuple(Axes(lines=(Line(name, periods, np.asarray(part)),)) for name, part in named.items())
    caption = f"decomposition, season length {season}"
    return Chart(name="decomposition", section="History", caption=caption, series=series, rows=rows)


def _attention_chart(weights: Sequence[float]) -> Chart:
    steps = np.arange(-len(weights) + 1, 1)
    axes = Axes(lines=(Line("weight", steps, np.array(weights)),), ylabel="weight", xlabel="period")
    caption = "Attention over the context, by periods before the newest observation"
    return Chart(name="attention", section="Training", caption=caption, rows=(axes,))


def _loss_chart(record: TrainingRecord) -> Chart:
    curves = (("training", record.loss, INK), ("validation", record.validation_loss, BLUE))
    lines = tuple(
        Line(label, np.arange(1, len(losses) + 1), np.array(losses), color=color)
        for label, losses, color in curves
        if losses
    )
    axes = Axes(lines=lines, ylabel="loss", xlabel="epoch")
    return Chart(name="loss", section="Training", caption="Loss by epoch", rows=(axes,))


def _backtest_charts(recipe: Recipe, backtest: BacktestRecord, baseline: str) -> Iterator[Chart]:
    yield _path_chart(backtest.path, baseline, recipe.unit)
    if backtest.origins:
        yield _origins_chart(backtest.origins, backtest.path, recipe.unit)
    if recipe.horizon > 1 and backtest.mase_by_step:
        yield _steps_chart(backtest.mase_by_step, baseline)
    if len(backtest.ends) > 1:
        yield _errors_chart(backtest)
    if backtest.hits:
        yield _calibration_chart(backtest)
    yield _residuals_chart(backtest.path, recipe.unit)
    if backtest.residuals is not None:
        yield _residuals_by_step_chart(backtest.residuals)
        yield _residuals_histogram(backtest.residuals)


def _path_chart(path: BacktestPath, baseline: str, unit: str) -> Chart:
    periods = _instants(path.periods)
    observed = Line("observed", periods, _numbers(path.observed))
    compared = {name: values for name, values in path.forecast.items() if name in (NETWORK, baseline)}
    axes = Axes(lines=(observed, *_method_lines(periods, compared)), ylabel=unit)
    caption = f"backtest, observed and forecast over the test part, beside {baseline}"
    return Chart(name="backtest", section="Backtest", caption=caption, series=path.series, rows=(axes,))


def _origins_chart(origins: Sequence[OriginPath], path: BacktestPath, unit: str) -> Chart:
    """As a PNG the forecasts from all origins, interactive one at a time."""
    observed = Line("observed", _instants(path.periods), _numbers(path.observed))
    # one line for all of them, interrupted after each
    x = np.concatenate([_instants((*origin.periods, origin.periods[-1])) for origin in origins])
    y = np.concatenate([_numbers((*origin.forecast, None)) for origin in origins])
    axes = Axes(lines=(observed, Line("forecast", x, y, color=BLUE)), ylabel=unit)
    slides = tuple(
        (format_period(np.datetime64(origin.origin, "us")), _slide(origin, observed, unit)) for origin in origins
    )
    caption = "backtest by origin: each forecast uses only what was known at its origin"
    return Chart(name="origins", section="Backtest", caption=caption, series=path.series, rows=(axes,), slides=slides)


def _slide(origin: OriginPath, observed: Line, unit: str) -> Axes:
    periods = _instants(origin.periods)
    bands: tuple[Band, ...] = ()
    if origin.lower_80:
        bands = (
            _WIDE("95 %", periods, _numbers(origin.lower_95), _numbers(origin.upper_95)),
            _NARROW("80 %", periods, _numbers(origin.lower_80), _numbers(origin.upper_80)),
        )
    forecast = Line("forecast", periods, _numbers(origin.forecast), color=BLUE)
    return Axes(lines=(observed, forecast), bands=bands, ylabel=unit)


def _steps_chart(errors: Mapping[str, Sequence[float | None]], baseline: str) -> Chart:
    ours, theirs = _numbers(errors[NETWORK]), _numbers(errors[baseline])
    axes = Axes(lines=_method_lines(np.arange(1, len(ours) + 1), errors), ylabel="MASE", xlabel="step")
    won = f"below {baseline} at {(ours < theirs).sum()} of {counted(len(ours), 'step')}"
    caption = f"Error by step, over all series and origins: the network is {won}"
    return Chart(name="steps", section="Backtest", caption=caption, rows=(axes,))


def _errors_chart(backtest: BacktestRecord) -> Chart:
    lines = _method_lines(_instants(backtest.ends), backtest.mase_by_origin)
    axes = Axes(lines=lines, ylabel="MASE", xlabel="origin")
    caption = "Error by origin, over all series and steps: how often is the network below its baseline?"
    return Chart(name="errors", section="Backtest", caption=caption, rows=(axes,))


def _calibration_chart(backtest: BacktestRecord) -> Chart:
    num = backtest.hits[0].num
    levels = np.linspace(0.01, 0.99, 99)
    ideal = Line("ideal", levels[[0, -1]], levels[[0, -1]], color=GREY, dash="dash")
    observed = Line(
        "observed share",
        np.array([hit.level for hit in backtest.hits]),
        np.array([hit.share for hit in backtest.hits]),
        color=BLUE,
        is_points=True,
    )
    axes = Axes(
        bands=(Band("95 % range by chance", levels, *binomial_interval(levels, num), color=GREY, opacity=0.22),),
        lines=(ideal, observed),
        xlabel="quantile level",
        ylabel="share observed at or below",
    )
    caption = (
        f"Calibration over {num} observations, each counted once. If observations were independent, chance would put "
        "95 of 100 points in the grey band. Neighboring observations are not independent, so the band is a little too "
        "narrow"
    )
    return Chart(name="calibration", section="Intervals", caption=caption, rows=(axes,))


def _residuals_chart(path: BacktestPath, unit: str) -> Chart:
    periods = _instants(path.periods)
    residuals = _numbers(path.observed) - _numbers(path.forecast[NETWORK])
    zero = Line("zero", periods[[0, -1]], np.zeros(2), color=GREY, dash="dash")
    axes = Axes(lines=(Line(NETWORK, periods, residuals, color=BLUE, is_points=True), zero), ylabel=unit)
    caption = "residuals over time, observed minus forecast"
    return Chart(name="residuals", section="Residuals", caption=caption, series=path.series, rows=(axes,))


def _residuals_by_step_chart(residuals: ResidualsRecord) -> Chart:
    quantiles = np.array([_numbers(step) for step in residuals.by_step]).T  # [levels, H], levels 5, 25, 50, 75, 95 %
    steps = np.arange(1, quantiles.shape[1] + 1)
    axes = Axes(
        bands=(
            _WIDE("middle 90 %", steps, quantiles[0], quantiles[-1]),
            _NARROW("middle 50 %", steps, quantiles[1], quantiles[-2]),
        ),
        lines=(Line("median", steps, quantiles[len(quantiles) // 2]),),
        xlabel="step",
        ylabel=_MASE_UNIT,
    )
    caption = "Residuals by step, all series and origins"
    return Chart(name="residuals-by-step", section="Residuals", caption=caption, rows=(axes,))


def _residuals_histogram(residuals: ResidualsRecord) -> Chart:
    axes = Axes(bars=(np.array(residuals.edges), np.array(residuals.counts)), ylabel="count", xlabel=_MASE_UNIT)
    caption = "Residuals of all series, origins and steps"
    return Chart(name="residuals-histogram", section="Residuals", caption=caption, rows=(axes,))


def _method_lines(x: Array, values: Mapping[str, Sequence[float | None]]) -> tuple[Line, ...]:
    return tuple(_METHOD_LINES.get(name, partial(Line, name))(x, _numbers(line)) for name, line in values.items())


def _instants(periods: Sequence[str]) -> Array:
    return np.array(periods, dtype="datetime64[us]")


def _numbers(values: Sequence[float | None]) -> Array:
    """None becomes NaN."""
    return np.array(values, dtype=np.float64)
