"""The latest forecast of a recipe as people read it: the table of a terminal, and the table and picture of an artifact."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.storage.store import Store
from pipeline.text import counted, format_numbers
from pipeline.timeseries.period_labels import PeriodLabels

Row = Mapping[Any, Any]

#: of several series, about so many rows are shown: whole series, as far as they fit
MOST_ROWS = 40
#: columns of numbers
NUMBER_COLUMNS = ("mean", "lower_80", "upper_80")
#: pixels of the picture, and of the space around what is drawn
_WIDTH, _HEIGHT, _MARGIN = 640, 160, 6
#: most observations that are drawn
_MOST_OBSERVED = 200
#: most ways in which series were forecast that are listed one by one
MOST_METHODS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastTable:
    """Rows of text, and what they do not say."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    #: sentences below the table: rows that are not shown, and why series were forecast otherwise
    notes: tuple[str, ...]
    #: the forecasts that are shown, as the view `latest_forecasts` has them
    shown: tuple[Row, ...]
    labels: PeriodLabels


def read_forecast_table(
    recipe: Recipe, store: Store, series: str | None = None, *, with_series: bool = False
) -> ForecastTable | None:
    """The table of a recipe's latest forecast; None where nothing is published.

    All rows of a single series are shown, and of several the first ones.

    Args:
        recipe: whose forecast.
        store: where it is.
        series: only this one; None: all.
        with_series: name a single series in every row, too.
    """
    run_id = store.runs.latest_run_id(recipe.name)
    run = store.runs.row(run_id) if run_id else None
    if run is None:
        return None
    is_panel = series is None and run["num_series"] > 1
    horizon = run["num_rows"] // run["num_series"]
    limit = max(MOST_ROWS // horizon * horizon, min(horizon, MOST_ROWS)) if is_panel else None
    rows = store.runs.latest_forecasts(recipe.name, series, limit=limit)
    if not rows:
        return None
    notes = list(_notes_of_run(recipe, store, run, len(rows)) if is_panel else _notes_of_series(rows))
    return build_forecast_table(rows, recipe.labels, notes, with_series=is_panel or with_series)


def build_forecast_table(
    rows: Sequence[Row], labels: PeriodLabels, notes: Sequence[str] = (), *, with_series: bool
) -> ForecastTable:
    """The table of rows of the view `latest_forecasts`, in order of series and step.

    The numbers of a series have the same number of decimals.
    """
    periods = labels.texts([row["period"] for row in rows])
    numbers = [line for _, group in groupby(rows, key=lambda row: row["series"]) for line in _numbers(list(group))]
    texts = [
        (*((row["series"],) if with_series else ()), period, *line, row["method"])
        for row, period, line in zip(rows, periods, numbers, strict=True)
    ]
    return ForecastTable(
        columns=(*(("series",) if with_series else ()), labels.heading, *NUMBER_COLUMNS, "method"),
        rows=tuple(texts),
        notes=tuple(notes),
        shown=tuple(rows),
        labels=labels,
    )


def draw_forecast(rows: Sequence[Row], history: npt.NDArray[np.float64]) -> str:
    """Return a picture of one series in Markdown: the end of its history, its forecast and its 80 % interval.

    The picture is an SVG within its address, of a few kilobytes: a page of Prefect runs no scripts and has no files.

    Args:
        rows: of one series, in order of their steps.
        history: its observations [T], gaps as NaN; none are drawn where there are none.
    """
    past = history[-min(max(3 * len(rows), 24), _MOST_OBSERVED) :]
    lower, mean, upper = (np.array([row[column] for row in rows]) for column in ("lower_80", "mean", "upper_80"))
    drawn = np.concatenate([past, lower, upper])
    low, high = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    x = np.linspace(_MARGIN, _WIDTH - _MARGIN, len(past) + len(rows))

    def points(place: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> str:
        y = _HEIGHT - _MARGIN - (values - low) / ((high - low) or 1.0) * (_HEIGHT - 2 * _MARGIN)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(place, y, strict=True) if np.isfinite(b))

    ahead = x[len(past) :]
    band = points(np.append(ahead, ahead[::-1]), np.append(lower, upper[::-1]))
    line = '<polyline fill="none" stroke-width="2" stroke="{}" points="{}"/>'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}">'
        f'<polygon fill="#1f6fb2" fill-opacity=".25" points="{band}"/>'
        f"{line.format('#8a919c', points(x[: len(past)], past))}{line.format('#1f6fb2', points(ahead, mean))}</svg>"
    )
    return f"![forecast](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def describe_picture(rows: Sequence[Row], history: npt.NDArray[np.float64], unit: str | None) -> str:
    """Say what the picture of a series shows, and between which numbers the forecast lies."""
    low, high = format_numbers([min(row["lower_80"] for row in rows), max(row["upper_80"] for row in rows)])
    observed = "observed (grey), " if len(history) else ""
    return (
        f"{rows[0]['series']}: {observed}forecast and 80 % interval (blue), {low} to {high}{f' {unit}' if unit else ''}"
    )


def list_fallbacks(store: Store, recipe: str) -> list[str]:
    """How series of a recipe's latest run were forecast that the network did not make alone, one sentence for each way."""
    run_id = store.runs.latest_run_id(recipe)
    methods = [str(method) for method in store.lineage.methods_with_reason(run_id)] if run_id else []
    hidden = len(methods) - MOST_METHODS
    return methods[:MOST_METHODS] + ([f"… and in {counted(hidden, 'other way')}"] if hidden > 0 else [])


def _numbers(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The numbers of the rows of one series as texts."""
    texts = format_numbers(row[column] for row in rows for column in NUMBER_COLUMNS)
    width = len(NUMBER_COLUMNS)
    return [tuple(texts[n : n + width]) for n in range(0, len(texts), width)]


def _notes_of_run(recipe: Recipe, store: Store, run: Row, num_shown: int) -> Iterator[str]:
    """What is not shown of a run with several series, and why some were forecast otherwise."""
    if (hidden := run["num_rows"] - num_shown) > 0:
        yield (
            f"and {hidden:,} more {'row' if hidden == 1 else 'rows'} of {run['num_series']:,} series: "
            f"nextperiod show {recipe.name} --series NAME, or --csv FILE"
        )
    yield from (f"of {run['num_series']:,} series {text}" for text in list_fallbacks(store, recipe.name))


def _notes_of_series(rows: Sequence[Row]) -> Iterator[str]:
    """Why the rows of one series were forecast as they were, in order of their steps."""
    for (method, reason), group in groupby(rows, key=lambda row: (row["method"], row["reason"])):
        if reason is None:
            continue
        steps = [row["step"] for row in group]
        where = "" if len(steps) == len(rows) else f"{_range(steps)} by "
        yield f"{where}{method}: {reason}"


def _range(steps: Sequence[int]) -> str:
    return f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
