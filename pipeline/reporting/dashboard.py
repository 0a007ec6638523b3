"""Render the forecast page: an overview of all recipes, and a page per recipe, each one file that needs no other."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import jinja2
import markupsafe
import numpy as np
import numpy.typing as npt

from pipeline.timeseries.forecast import NETWORK
from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.period_labels import PeriodLabels

Array = npt.NDArray[np.float64]

#: the numbers of each step, in the order of `ForecastRun.numbers`
MEAN, LOWER_95, LOWER_80, UPPER_80, UPPER_95 = range(5)
#: significant digits of the largest value of a series, and of the range of its values
_DIGITS, _RANGE_DIGITS = 5, 3
#: whole numbers up to here are exact in a browser
_EXACT_DIGITS = 15
#: width and height of the chart of a card; the browser scales it
_SPARK_WIDTH, _SPARK_HEIGHT = 240, 48


@dataclass(frozen=True, kw_only=True, slots=True)
class Sparkline:
    """The end of one series' history and its forecast, for the card of its recipe."""

    series: str
    history: Array  # [P], NaN: a gap
    #: of each step: mean and bounds; [H, 5]
    forecast: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeCard:
    """What the overview says of a recipe."""

    recipe: str
    description: str = ""
    #: last period of the newest published forecast, as people read it; None: nothing is published
    origin: str | None = None
    published_at: datetime | None = None
    expected_next_by: datetime | None = None
    is_stale: bool = True
    num_series: int = 0
    #: of these, how many were forecast by a simpler method than the model
    num_fallback: int = 0
    model_version: int | None = None
    trained_at: datetime | None = None
    #: of that model, on its backtest
    skill: float | None = None
    last_attempt_at: datetime | None = None
    last_attempt_status: str | None = None
    #: why somebody should look at it: kind and text
    reasons: tuple[tuple[str, str], ...] = ()
    sparkline: Sparkline | None = None
    #: whether there is a page of the recipe
    has_page: bool = True

    @property
    def needs_look(self) -> bool:
        """Whether there is a reason to look at the recipe."""
        return bool(self.reasons)


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesMethod:
    """A series, and how it is forecast."""

    name: str
    method: str = NETWORK
    reason: str | None = None
    #: the network forecast so many of the first steps; the method is of the later ones
    network_steps: int = 0
    #: over the scored steps of all forecasts that count; None: there is none
    num_scored: int = 0
    mase: float | None = None
    skill: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastRun:
    """A published run of the series that are shown."""

    run_id: str
    origin: np.datetime64
    published_at: datetime
    model_version: int | None
    periods: Periods  # [H]
    #: mean, lower 95 and 80 %, upper 80 and 95 %; NaN: the run has not this series; [S, H, 5]
    numbers: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class StepScores:
    """Scores by step; NaN where nothing was scored."""

    num_scored: npt.NDArray[np.int64]  # [H] or [S, H], as all others
    mase: Array
    skill: Array
    inside_80: Array
    inside_95: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class LogEntry:
    """A decision with its reason."""

    at: datetime
    title: str
    text: str
    tone: Literal["good", "bad", "plain"] = "plain"


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedRow:
    """A row of the source that was not taken."""

    source: str
    line: int | None
    column: str | None
    series: str | None
    text: str | None
    rule: str
    rejected_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRow:
    """A version of the model."""

    version: int
    is_champion: bool
    training: str
    reason: str
    cutoff: str
    trained_at: datetime
    skill: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipePage:
    """Everything that the page of a recipe shows."""

    card: RecipeCard
    labels: PeriodLabels
    unit: str = ""
    #: what a period is, and the season
    periods_text: str = ""
    #: the series that are shown, the least accurate one first
    series: tuple[SeriesMethod, ...] = ()
    #: how many there are
    num_series: int = 0
    periods: Periods = field(default_factory=lambda: np.empty(0, "datetime64[us]"))  # [P]
    history: Array = field(default_factory=lambda: np.empty((0, 0)))  # [S, P], NaN: a gap
    newest: ForecastRun | None = None
    #: the one published before it
    previous: ForecastRun | None = None
    scores: StepScores | None = None  # [S, H]
    overall: StepScores | None = None  # [H]
    #: how many runs are scored, and from which origin on, as people read it
    num_scored_runs: int = 0
    scored_since: str | None = None
    log: tuple[LogEntry, ...] = ()
    rejected: tuple[RejectedRow, ...] = ()
    has_more_rejected: bool = False
    models: tuple[ModelRow, ...] = ()


def page_path(recipe: str) -> str:
    """The path of a recipe's page beside the overview's `index.html`."""
    return f"recipes/{recipe}.html"


def render_overview(cards: Sequence[RecipeCard], *, built_at: datetime) -> str:
    """The overview: those that need a look first."""
    ordered = sorted(cards, key=lambda card: (not card.needs_look, card.recipe))
    return _template("dashboard_overview.html.jinja").render(cards=ordered, built_at=built_at, **_shared())


def render_recipe(page: RecipePage, *, built_at: datetime) -> str:
    """The page of one recipe, with the numbers of its series as JSON in it."""
    return _template("dashboard_recipe.html.jinja").render(
        page=page,
        card=page.card,
        newest=page.newest,
        previous=page.previous,
        numbers=as_script_json(series_numbers(page)),
        built_at=built_at,
        **_shared(),
    )


def render_error(message: str) -> str:
    """A page that says in one line why there is no other."""
    return _template("dashboard_error.html.jinja").render(message=message, **_shared())


def as_script_json(value: Any) -> markupsafe.Markup:
    """JSON that stands in a script element: no text in it can end that element, or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return markupsafe.Markup(text.replace("<", "\\u003c"))


def series_numbers(page: RecipePage) -> dict[str, Any]:
    """The numbers of all series, compact: whole numbers, of which each series says how many of the digits are decimals.

    `periods` are the labels of the x axis. Of each series `series` has: name, number of scored steps, MASE, skill, index
    in `methods`, network steps, decimals; where its history begins on the axis, and its values; then by step mean, lower
    95 %, lower 80 %, upper 80 % and upper 95 %; the previous run's mean, lower and upper 80 %; and its scores by step:
    number, MASE, skill, share inside 80 % and 95 %. Null is a gap.
    """
    axis, starts = _axis(page)
    methods: dict[tuple[str, str | None], int] = {}
    rows = []
    for s, series in enumerate(page.series):
        method = methods.setdefault((series.method, series.reason), len(methods))
        values = _values_of_series(page, s)
        decimals = _decimals(values)
        first, history = _trim(values[0])
        rows.append(
            [
                series.name,
                series.num_scored,
                _score(series.mase),
                _score(series.skill),
                method,
                series.network_steps,
                decimals,
                starts["history"] + first,
                *(_whole(part, decimals) for part in (history, *values[1:])),
                *_scores_of_series(page.scores, s),
            ]
        )
    return {
        "periods": page.labels.texts(axis),
        "unit": page.unit,
        "newest": starts.get("newest"),
        "previous": starts.get("previous"),
        "origin": int(np.searchsorted(axis, page.newest.origin)) if page.newest else None,
        "methods": [list(method) for method in methods],
        "overall": _scores_of_series(page.overall, None),
        "series": rows,
    }


def _axis(page: RecipePage) -> tuple[Periods, dict[str, int]]:
    """The periods of the history and of both forecasts, and where each of them begins there."""
    parts = {"history": page.periods}
    for name, run in (("newest", page.newest), ("previous", page.previous)):
        if run is not None:
            parts[name] = run.periods
    axis = np.unique(np.concatenate(list(parts.values())))
    return axis, {name: int(np.searchsorted(axis, part[0])) if len(part) else 0 for name, part in parts.items()}


def _values_of_series(page: RecipePage, s: int) -> list[Array]:
    """History, the five numbers of the newest forecast by step, and three of the previous one."""
    newest = [page.newest.numbers[s, :, q] for q in range(5)] if page.newest else [np.empty(0)] * 5
    kept = (MEAN, LOWER_80, UPPER_80)
    previous = [page.previous.numbers[s, :, q] for q in kept] if page.previous else [np.empty(0)] * 3
    return [page.history[s], *newest, *previous]


def _trim(history: Array) -> tuple[int, Array]:
    """A history without the gaps at both ends, and how many were cut off at its beginning."""
    observed = np.flatnonzero(np.isfinite(history))
    return (int(observed[0]), history[observed[0] : observed[-1] + 1]) if len(observed) else (0, history[:0])


def _decimals(parts: Sequence[Array]) -> int:
    """Decimals that all values of a series are shown with: as many as tell them apart, as in the tables of a terminal.

    Below 0 they are digits left of the point that a browser could not hold.
    """
    values = np.concatenate(parts) if parts else np.empty(0)
    finite = values[np.isfinite(values)]
    largest = float(np.abs(finite).max()) if len(finite) else 0.0
    if largest == 0:
        return 0
    magnitude = math.floor(math.log10(largest))
    spread = float(finite.max() / 2 - finite.min() / 2) * 2
    decimals = _DIGITS - 1 - magnitude
    if math.isfinite(spread) and spread > largest * 1e-10:
        decimals = max(decimals, _RANGE_DIGITS - 1 - math.floor(math.log10(spread)))
    return min(max(decimals, 0), _EXACT_DIGITS - 1 - magnitude)


def _whole(values: Array, decimals: int) -> list[int | None]:
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(values * 10.0**decimals if decimals <= 300 else values * 1e300 * 10.0 ** (decimals - 300))
    if np.isfinite(scaled).all():
        whole: list[int | None] = scaled.astype(np.int64).tolist()
        return whole
    return [int(value) if math.isfinite(value) else None for value in scaled.tolist()]


def _score(value: float | None) -> float | None:
    """A score with three significant digits, at least two decimals."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.3g}") if abs(value) < 1 else round(value, 2)


def _scores_of_series(scores: StepScores | None, s: int | None) -> list[list[float | None]]:
    """Number, MASE, skill, and shares inside both intervals, each by step; of one series, or of all together."""
    if scores is None:
        return [[] for _ in range(5)]
    of_series = slice(None) if s is None else s
    parts = (scores.mase, scores.skill, scores.inside_80, scores.inside_95)
    return [
        scores.num_scored[of_series].tolist(),
        *([_score(value) for value in part[of_series].tolist()] for part in parts),
    ]


def _shared() -> Mapping[str, Any]:
    """What every page has: its style and its script, and the hash by which the browser knows that script."""
    script = _text("dashboard.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"style": _text("dashboard.css"), "script": script, "script_hash": f"sha256-{digest}"}


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    filters: dict[str, Callable[..., Any]] = {
        "minute": lambda instant: f"{instant:%Y-%m-%d %H:%M} UTC",
        "thousands": lambda number: f"{number:,}",
        "signed": lambda score: f"{score:+z.2f}",
        "page_path": page_path,
        "spark": spark_paths,
    }
    environment.filters.update(filters)
    return environment


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)


@lru_cache(maxsize=8)
def _text(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")


@dataclass(frozen=True, kw_only=True, slots=True)
class SparkPaths:
    """The paths of a small chart in a box of `width` by `height`."""

    width: int
    height: int
    history: str
    mean: str
    band: str


def spark_paths(sparkline: Sparkline) -> SparkPaths:
    """Draw the chart of a card."""
    history, ahead = sparkline.history, sparkline.forecast
    num = len(history) + len(ahead)
    x = 2 + np.arange(num) / max(num - 1, 1) * (_SPARK_WIDTH - 4)
    if len(history) and math.isfinite(history[-1]):  # the forecast begins at the last observation
        ahead = np.vstack([np.full(ahead.shape[1], history[-1]), ahead])
    shown = np.concatenate([history, ahead[:, [MEAN, LOWER_80, UPPER_80]].ravel()])
    low, high = np.nanmin(shown, initial=math.inf), np.nanmax(shown, initial=-math.inf)

    def scale(values: Array) -> Array:
        relative = (values / 2 - low / 2) / (high / 2 - low / 2) if high > low else values * 0 + 0.5
        return 3 + (1 - relative) * (_SPARK_HEIGHT - 6)

    x_ahead = x[num - len(ahead) :]
    edges = np.concatenate([scale(ahead[:, UPPER_80]), scale(ahead[::-1, LOWER_80])])
    band = _path(np.concatenate([x_ahead, x_ahead[::-1]]), edges)
    return SparkPaths(
        width=_SPARK_WIDTH,
        height=_SPARK_HEIGHT,
        history=_path(x[: len(history)], scale(history)),
        mean=_path(x_ahead, scale(ahead[:, MEAN])),
        band=f"{band}Z" if band else "",
    )


def _path(x: Array, y: Array) -> str:
    """The d of an SVG path with a new piece after each gap; a piece of one point is a dot."""
    parts, is_open = [], False
    for n, (across, down) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        if not math.isfinite(down):
            is_open = False
            continue
        parts.append(f"{'L' if is_open else 'M'}{across:.1f} {down:.1f}")
        if not is_open and (n + 1 == len(y) or not math.isfinite(y[n + 1])):
            parts.append("h.01")
        is_open = True
    return "".join(parts)
