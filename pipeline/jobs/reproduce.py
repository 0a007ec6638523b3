"""A published run made again from its lineage alone, and compared with what was published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe, fingerprint_of
from pipeline.errors import NextperiodError, Transient
from pipeline.forecasting.calibration import Calibration
from pipeline.forecasting.fallback import forecast_panel
from pipeline.jobs.inputs import code_version, load_forecaster_inputs
from pipeline.records.lineage import ModelVersion
from pipeline.storage.statements import Row
from pipeline.storage.store import Store
from pipeline.text import counted
from pipeline.timeseries.forecast import QUANTILE_COLUMNS, Forecast
from pipeline.timeseries.panel import Panel

#: how the reason begins of a series whose forecast by the network had been worse than the baseline's
DEMOTED = "worse than"
#: of a hash so much that people can tell it from others
_SHORT = 12
_NUMBERS = ("mean", *QUANTILE_COLUMNS, "baseline")
_WAYS = ("method", "reason", "scale")

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The first place in which what was published is not what was made again."""

    series: str
    #: None: of all steps
    step: int | None
    #: "series": one of both has no such series
    column: str
    published: Any
    rebuilt: Any

    def __str__(self) -> str:
        if self.column == "series":
            return f'series "{self.series}" is {"published" if self.published else "rebuilt"} only'
        step = "" if self.step is None else f", step {self.step}"
        return f'series "{self.series}"{step}, {self.column}: published {self.published}, rebuilt {self.rebuilt}'


@dataclass(frozen=True, kw_only=True, slots=True)
class ReproducedRun:
    """What came of making a run again."""

    run_id: str
    recipe: str
    kind: str
    origin: np.datetime64
    as_of: datetime
    num_rows: int
    #: what is not as it was recorded, a sentence each; none: identical
    faults: tuple[str, ...]
    #: what differs first, where there are two forecasts to compare
    first: Difference | None
    #: what may make a difference and need not
    notes: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """Whether every number, method and reason is the published one, made of the same data."""
        return not self.faults


class _NotAsRecorded(Exception):
    """Something of the lineage is gone or changed: there is nothing to make the run again of."""


def reproduce_run(run_id: str, store: Store) -> ReproducedRun | None:
    """Make a published or superseded run again and compare; None if there is no such run.

    It is made of what was known at the run's as-of, by its model's files, and by its recipe as that was. A reason
    that tells how the network had done before is taken as it was published.

    Raises:
        Transient: the database is away.
    """
    run = store.runs.row(run_id)
    if run is None or run["status"] == "staged":
        return None
    faults: list[str] = []
    first = None
    try:
        published = _published(run, store)
        if published.content_hash != run["content_hash"]:
            faults.append(
                f"the rows are not those that were published: hash {published.content_hash[:_SHORT]}, "
                f"recorded {run['content_hash'][:_SHORT]}"
            )
        rebuilt, panel = _rebuilt(run, published, store)
        faults += _changed_data(run, panel)
        first = first_difference(published, rebuilt)
        faults += [str(first)] if first else []
    except _NotAsRecorded as found:
        faults.append(str(found))
    return ReproducedRun(
        **{name: run[name] for name in ("run_id", "recipe", "kind", "origin", "as_of", "num_rows")},
        faults=tuple(faults),
        first=first,
        notes=_notes(run),
    )


def _published(run: Row, store: Store) -> Forecast:
    try:
        return store.runs.read_forecast(run["run_id"])
    except ValueError:
        raise _NotAsRecorded(f"the {counted(run['num_rows'], 'row')} that were published are not there") from None


def _rebuilt(run: Row, published: Forecast, store: Store) -> tuple[Forecast, Panel]:
    recipe, model = _recipe(run, store), _model(run, store)
    reasons = zip(published.series, published.reason, strict=True)
    worse = {name: reason for name, reason in reasons if reason is not None and reason.startswith(DEMOTED)}
    calibration = None if run["calibration"] is None else Calibration.from_text(run["calibration"])
    try:
        forecaster, panel = load_forecaster_inputs(model, recipe, store, run["as_of"])
    except Transient:
        raise
    except NextperiodError as error:
        raise _NotAsRecorded(str(error)) from None
    return forecast_panel(forecaster, panel, recipe, calibration, worse=worse), panel


def _recipe(run: Row, store: Store) -> Recipe:
    """The recipe as it was."""
    name, fingerprint = run["recipe"], run["recipe_fingerprint"]
    kept = store.recipes.definition(name, fingerprint)
    if kept is None:
        raise _NotAsRecorded(f"recipe {name} as it was then, {fingerprint[:_SHORT]}, was not kept")
    definition = json.loads(kept)
    if fingerprint_of(definition) != fingerprint:
        raise _NotAsRecorded(f"recipe {name} as it was then, {fingerprint[:_SHORT]}, was changed since")
    try:
        return Recipe.model_validate(definition)
    except ValueError:
        raise _NotAsRecorded(
            f"recipe {name} as it was then, {fingerprint[:_SHORT]}, is of an earlier release"
        ) from None


def _model(run: Row, store: Store) -> ModelVersion:
    """The model that made it."""
    model = store.models.by_version(run["recipe"], run["model_version"])
    if model is None:
        raise _NotAsRecorded(f"model {run['model_version']} of {run['recipe']} was not kept")
    if model.model_hash != run["model_hash"]:
        raise _NotAsRecorded(
            f"model {model.model_version} of {model.recipe} is another one now: hash {model.model_hash[:_SHORT]}, "
            f"recorded {run['model_hash'][:_SHORT]}"
        )
    return model


def _changed_data(run: Row, panel: Panel) -> list[str]:
    if (panel.as_of, panel.data_hash) == (run["as_of"], run["data_hash"]):
        return []
    return [
        f"the data that were known at {run['as_of'].isoformat()} are not those of the run: "
        f"hash {panel.data_hash[:_SHORT]}, recorded {run['data_hash'][:_SHORT]}"
    ]


def _notes(run: Row) -> tuple[str, ...]:
    now = code_version()
    if run["code_version"] == now:
        return ()
    return (f"published by code {run['code_version']}, made again by {now}",)


def first_difference(published: Forecast, rebuilt: Forecast) -> Difference | None:
    """The first place in which two forecasts differ, by series and step; what was not kept is not compared.

    Of a series that has another method or reason that is the place: its numbers follow from it.
    """
    for name in sorted(set(published.series) ^ set(rebuilt.series)):
        is_published = name in published.series
        return Difference(series=name, step=None, column="series", published=is_published, rebuilt=not is_published)
    for n, (was, now) in enumerate(zip_longest(published.periods, rebuilt.periods)):
        if was != now:
            return Difference(series=published.series[0], step=n + 1, column="period", published=was, rebuilt=now)
    numbers = _differ(_numbers(published), _numbers(rebuilt))  # [S, H, C]
    ways = np.stack([_differ(a, b) for a, b in zip(_ways(published), _ways(rebuilt), strict=True)], axis=1)
    which = np.flatnonzero(numbers.any(axis=(1, 2)) | ways.any(axis=1))
    if not len(which):
        return None
    s = int(which[0])
    if ways[s].any():
        column = _WAYS[int(ways[s].argmax())]
        was, now = (getattr(forecast, column)[s] for forecast in (published, rebuilt))
        return Difference(series=published.series[s], step=None, column=column, published=was, rebuilt=now)
    h, c = (int(place) for place in np.argwhere(numbers[s])[0])
    was, now = (float(_numbers(forecast)[s, h, c]) for forecast in (published, rebuilt))
    return Difference(series=published.series[s], step=h + 1, column=_NUMBERS[c], published=was, rebuilt=now)


def _numbers(forecast: Forecast) -> Array:
    """All numbers of each step: [S, H, C]."""
    return np.concatenate([forecast.mean[:, :, None], forecast.quantiles, forecast.baseline[:, :, None]], axis=2)


def _ways(forecast: Forecast) -> list[npt.NDArray[Any]]:
    """What is said of each series: [S] each."""
    return [np.array(forecast.method, object), np.array(forecast.reason, object), forecast.scale]


def _differ(published: npt.NDArray[Any], rebuilt: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where two arrays differ; a number that was not kept is not finite and differs from none."""
    differ: npt.NDArray[np.bool_] = published != rebuilt
    return differ & np.isfinite(published) if published.dtype.kind == "f" else differ
