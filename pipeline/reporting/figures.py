"""Which charts a training is judged by, in the order of its report."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.records.training import BacktestPath, BacktestRecord, OriginPath, ResidualsRecord, TrainingRecord
from pipeline.reporting.assessment import chance_of
from pipeline.reporting.chart import Array, Axes, Chart
from pipeline.timeseries.forecast import LEVELS, Forecast
from pipeline.timeseries.panel import Panel

_LOWER_95, _LOWER_80, _, _UPPER_80, _UPPER_95 = range(len(LEVELS))
_SEASONAL_DIFFERENCES = "in mean seasonal differences"


def charts_of(recipe: Recipe, panel: Panel, record: TrainingRecord, forecast: Forecast) -> Iterator[Chart]:
    """Of the forecast's first series; what the history is too short for is left out."""
    series = forecast.series[0]
    s = panel.series.index(series)
    periods, values = panel.grid[panel.first[s] : panel.last[s] + 1], panel.of(s)
    yield _forecast(recipe, periods, values, forecast)
    if record.backtest is not None:
        yield from _of_backtest(recipe, record.backtest)
    shade = _test_part(record.backtest)
    yield Chart(
        name="series",
        section="History",
        caption=f"Observations of {series}{', test part shaded' if shade else ''}",
        rows=(Axes(lines={"observed": (periods, values)}, ylabel=recipe.unit, shade=shade),),
    )
    if recipe.season >= 2 and len(values) >= 2 * recipe.season and np.isfinite(values).all():
        yield _decomposition(recipe.season, periods, values, series)
    if record.attention:
        yield _attention(record.attention)
    losses = {"training": record.loss, "validation": record.validation_loss}
    lines = {name: (np.arange(1, len(loss) + 1), np.array(loss)) for name, loss in losses.items() if loss}
    row = Axes(lines=lines, ylabel="loss", xlabel="epoch")
    yield Chart(name="loss", section="Training", caption="Loss by epoch", rows=(row,))


def _forecast(recipe: Recipe, periods: Array, values: Array, forecast: Forecast) -> Chart:
    """The forecast is joined to the last observation, so that a single step shows too."""
    shown = min(3 * max(recipe.season, forecast.horizon), len(periods))
    ahead = np.append(periods[-1:], forecast.periods)
    quantiles = np.vstack([np.full(len(LEVELS), values[-1]), forecast.quantiles[0]]).T  # [Q, 1 + H]
    mean = np.append(values[-1], forecast.mean[0])
    row = Axes(
        lines={"observed": (periods, values), "forecast": (ahead, mean)},
        bands={
            "95 %": (ahead, quantiles[_LOWER_95], quantiles[_UPPER_95]),
            "80 %": (ahead, quantiles[_LOWER_80], quantiles[_UPPER_80]),
        },
        ylabel=recipe.unit,
    )
    return Chart(
        name="forecast",
        section="Forecast",
        caption=f"Forecast of {forecast.series[0]}",
        rows=(row,),
        window=(periods[-shown], ahead[-1]),
        png_from=periods[-shown],
    )


def _of_backtest(recipe: Recipe, backtest: BacktestRecord) -> Iterator[Chart]:
    path, unit = backtest.path, recipe.unit
    test, observed = _instants(path.periods), _numbers(path.observed)
    lines = {"observed": (test, observed)} | {name: (test, _numbers(line)) for name, line in path.forecast.items()}
    caption = f"Backtest of {path.series}, observed and forecast over the test part"
    yield Chart(name="backtest", section="Backtest", caption=caption, rows=(Axes(lines=lines, ylabel=unit),))
    if backtest.origins:
        yield _by_origin(backtest.origins, path, unit)
    if len(backtest.ends) > 1:
        ends = _instants(backtest.ends)
        errors = {name: (ends, _numbers(line)) for name, line in backtest.mase_by_origin.items()}
        row = Axes(lines=errors, ylabel="MASE", xlabel="origin")
        caption = "Error by origin, over all series and steps: how often is the network below its baseline?"
        yield Chart(name="errors", section="Backtest", caption=caption, rows=(row,))
    if backtest.hits:
        yield _calibration(backtest)
    yield _residuals_over_time(path, test, observed, unit)
    if backtest.residuals is not None:
        yield _residuals_by_step(backtest.residuals)
        edges, counts = np.array(backtest.residuals.edges), np.array(backtest.residuals.counts)
        row = Axes(bars=(edges, counts), ylabel="count", xlabel=_SEASONAL_DIFFERENCES)
        caption = "Residuals of all series, origins and steps"
        yield Chart(name="residuals-histogram", section="Residuals", caption=caption, rows=(row,))


def _by_origin(origins: tuple[OriginPath, ...], path: BacktestPath, unit: str) -> Chart:
    """As a picture all of them at once, interactive one after the other."""
    observed = (_instants(path.periods), _numbers(path.observed))
    x = np.concatenate([_instants((*one.periods, one.periods[-1])) for one in origins])
    y = np.concatenate([_numbers((*one.forecast, None)) for one in origins])
    rows = (Axes(lines={"observed": observed, "forecast": (x, y)}, ylabel=unit),)
    slides = tuple((one.origin[:16].removesuffix("T00:00"), _slide(one, observed, unit)) for one in origins)
    caption = f"Backtest of {path.series} by origin: what was said with what was known then"
    return Chart(name="origins", section="Backtest", caption=caption, rows=rows, slides=slides)


def _slide(one: OriginPath, observed: tuple[Array, Array], unit: str) -> Axes:
    periods, bands = _instants(one.periods), {}
    if one.lower_80:
        bands = {
            "95 %": (periods, _numbers(one.lower_95), _numbers(one.upper_95)),
            "80 %": (periods, _numbers(one.lower_80), _numbers(one.upper_80)),
        }
    return Axes(lines={"observed": observed, "forecast": (periods, _numbers(one.forecast))}, bands=bands, ylabel=unit)


def _calibration(backtest: BacktestRecord) -> Chart:
    levels, shares = (np.array([getattr(hit, name) for hit in backtest.hits]) for name in ("level", "share"))
    num = backtest.hits[0].num
    fine = np.linspace(0.01, 0.99, 99)
    row = Axes(
        bands={"by chance, 95 %": (fine, *chance_of(fine, num))},
        lines={"as it should be": (fine[[0, -1]], fine[[0, -1]]), "observed share": (levels, shares)},
        points=("observed share",),
        xlabel="quantile level",
        ylabel="share observed at or below",
    )
    caption = (
        f"Calibration over {num} observations, each counted once. The grey band is where chance alone puts 95 of 100 "
        "points, were the observations independent; neighbours are not, so it is rather too narrow"
    )
    return Chart(name="calibration", section="Intervals", caption=caption, rows=(row,))


def _residuals_over_time(path: BacktestPath, test: Array, observed: Array, unit: str) -> Chart:
    lines = {"lstm": (test, observed - _numbers(path.forecast["lstm"])), "zero": (test[[0, -1]], np.zeros(2))}
    caption = f"Residuals of {path.series} over time, observed minus forecast"
    row = Axes(lines=lines, ylabel=unit, points=("lstm",))
    return Chart(name="residuals", section="Residuals", caption=caption, rows=(row,))


def _residuals_by_step(residuals: ResidualsRecord) -> Chart:
    levels = np.array([_numbers(row) for row in residuals.by_step]).T  # [levels, H]
    steps = np.arange(1, levels.shape[1] + 1)
    row = Axes(
        bands={"90 % of them": (steps, levels[0], levels[-1]), "50 % of them": (steps, levels[1], levels[-2])},
        lines={"median": (steps, levels[len(levels) // 2])},
        xlabel="step",
        ylabel=_SEASONAL_DIFFERENCES,
    )
    caption = "Residuals by step, all series and origins"
    return Chart(name="residuals-by-step", section="Residuals", caption=caption, rows=(row,))


def _decomposition(season: int, periods: Array, values: Array, series: str) -> Chart:
    """Additive, by moving averages: trend and residual miss half a season at both ends."""
    from statsmodels.tsa.seasonal import seasonal_decompose

    parts = seasonal_decompose(values, period=season)
    named = {"trend": parts.trend, "season": parts.seasonal, "residual": parts.resid}
    rows = tuple(Axes(lines={name: (periods, np.asarray(part))}) for name, part in named.items())
    caption = f"Decomposition of {series}, season length {season}"
    return Chart(name="decomposition", section="History", caption=caption, rows=rows)


def _attention(weights: tuple[float, ...]) -> Chart:
    steps = np.arange(-len(weights) + 1, 1)
    row = Axes(lines={"weight": (steps, np.array(weights))}, ylabel="weight", xlabel="period")
    caption = "Attention over the context, by periods before the newest observation"
    return Chart(name="attention", section="Training", caption=caption, rows=(row,))


def _test_part(backtest: BacktestRecord | None) -> tuple[np.datetime64, np.datetime64] | None:
    if backtest is None:
        return None
    return np.datetime64(backtest.cutoff, "us"), np.datetime64(backtest.path.periods[-1], "us")


def _instants(periods: tuple[str, ...]) -> Array:
    return np.array(periods, dtype="datetime64[us]")


def _numbers(values: tuple[float | None, ...]) -> Array:
    return np.array(values, dtype=np.float64)
