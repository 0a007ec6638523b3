"""The series of a report: which ones it offers, from the worst to the best, and what its page shows of each."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.records.training import SeriesBacktest, SeriesComparison, TrainingRecord
from pipeline.reporting.plotly_charts import plain_values
from pipeline.text import format_numbers, format_scores
from pipeline.timeseries.forecast import LOWER_80, LOWER_95, NETWORK, UPPER_80, UPPER_95, Forecast
from pipeline.timeseries.panel import Panel

#: series that a report offers
MAX_SERIES = 1000
#: with a long horizon they are fewer: steps of all series together
MAX_STEPS = 60_000
#: observations of all series together, the newest of each
MAX_OBSERVATIONS = 300_000
#: rows of the table of series
MAX_ROWS = 200
_BOUNDS = [LOWER_95, LOWER_80, UPPER_80, UPPER_95]
_DASH = "\N{EN DASH}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesTable:
    """A row of text for each series, from the worst to the best."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    #: series of the forecast that have no row
    num_hidden: int


def order_series(record: TrainingRecord, forecast: Forecast) -> list[int]:
    """Return the positions in the forecast of the series that a report offers.

    The worst of the backtest is the first; series that it does not have are the last.
    """
    position = {name: s for s, name in enumerate(forecast.series)}
    backtest = record.backtest
    names = [backtest.path.series] if backtest else []
    if backtest and backtest.by_series:
        names = [of.series for of in backtest.by_series.series]
    worst_first = dict.fromkeys(position[name] for name in names if name in position)
    most = max(min(MAX_SERIES, MAX_STEPS // forecast.horizon), 1)
    return list(dict.fromkeys([*worst_first, *range(len(forecast.series))]))[:most]


def build_series_table(record: TrainingRecord, forecast: Forecast, baseline: str) -> SeriesTable | None:
    """Return the table of the forecast's series that the backtest compared; None where there are fewer than two."""
    if record.backtest is None or record.backtest.by_series is None:
        return None
    active = set(forecast.series)
    compared = [of for of in record.backtest.by_series.series if of.series in active][:MAX_ROWS]
    if len(compared) < 2:
        return None
    columns = {
        "Series": [of.series for of in compared],
        "MASE": format_scores(of.mase for of in compared),
        f"MASE of {baseline}": format_scores(of.baseline_mase for of in compared),
        "Skill": [_percent(of.skill) for of in compared],
        **{
            f"Inside {percent} %": [_percent(of.coverage.get(percent), 0) for of in compared]
            for percent in record.backtest.coverage
        },
    }
    rows = tuple(zip(*columns.values(), strict=True))
    return SeriesTable(columns=tuple(columns), rows=rows, num_hidden=len(active) - len(rows))


def describe_method(forecast: Forecast, s: int) -> str:
    """Say how series s was forecast: `lstm`, or the fallback with its first step and its reason."""
    own_steps = int(forecast.num_network_steps[s])
    start = f" from step {own_steps + 1} on" if own_steps else ""
    reason = f" ({forecast.reason[s]})" if forecast.reason[s] else ""
    return f"{forecast.method[s]}{start}{reason}"


def forecast_rows(recipe: Recipe, forecast: Forecast, s: int) -> list[list[str]]:
    """Return a row of text for each step of series s: period, mean, 80 % and 95 % interval."""
    bounds = forecast.quantiles[s][:, [LOWER_80, UPPER_80, LOWER_95, UPPER_95]]
    values = format_numbers(np.column_stack([forecast.mean[s], bounds]).ravel())
    periods = recipe.labels.texts(forecast.periods)
    return [[period, *values[5 * h : 5 * h + 5]] for h, period in enumerate(periods)]


def pack_series(
    recipe: Recipe, panel: Panel, record: TrainingRecord, forecast: Forecast, baseline: str, offered: Sequence[int]
) -> str:
    """Return what the page draws of the offered series: JSON, compressed with gzip and in base64."""
    comparison = record.backtest.by_series if record.backtest else None
    by_name = {of.series: of for of in comparison.series} if comparison else {}
    position = {name: s for s, name in enumerate(panel.series)}
    newest = max(MAX_OBSERVATIONS // len(offered), 1)
    entries = [
        _entry(panel, position[forecast.series[s]], newest)
        | _test_part(panel, position[forecast.series[s]], comparison, by_name.get(forecast.series[s]))
        | _ahead(recipe, forecast, s)
        for s in offered
    ]
    page = {
        "network": NETWORK,
        "baseline": baseline,
        "grid": plain_values(panel.grid),
        "periods": plain_values(forecast.periods),
        "test": plain_values(np.array(comparison.periods if comparison else (), "datetime64[us]")),
        "series": entries,
    }
    text = json.dumps(page, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _entry(panel: Panel, s: int, newest: int) -> dict[str, Any]:
    """The newest observations of a series, and the position in the grid of the first of them."""
    values = panel.series_values(s)[-newest:]
    return {"first": int(panel.last[s]) - len(values) + 1, "observed": plain_values(values)}


def _test_part(
    panel: Panel, s: int, comparison: SeriesComparison | None, compared: SeriesBacktest | None
) -> dict[str, Any]:
    """What was observed and forecast in the test part, and the skill."""
    if comparison is None or compared is None:
        return {"skill": _DASH}
    places = np.searchsorted(panel.grid, np.array(comparison.periods, "datetime64[us]")) - panel.first[s]
    values = panel.series_values(s)
    is_inside = (places >= 0) & (places < len(values))
    observed = np.where(is_inside, values[np.where(is_inside, places, 0)], np.nan)
    test = {"observed": plain_values(observed), "network": compared.forecast, "baseline": compared.baseline}
    return {"skill": _percent(compared.skill), "test": test}


def _ahead(recipe: Recipe, forecast: Forecast, s: int) -> dict[str, Any]:
    """The forecast, as numbers and as rows of a table without their periods."""
    return {
        "name": forecast.series[s],
        "method": describe_method(forecast, s),
        "mean": plain_values(forecast.mean[s]),
        "bounds": [plain_values(forecast.quantiles[s][:, q]) for q in _BOUNDS],
        "rows": [row[1:] for row in forecast_rows(recipe, forecast, s)],
    }


def _percent(share: float | None, decimals: int = 1) -> str:
    return _DASH if share is None else f"{share:.{decimals}%}"
