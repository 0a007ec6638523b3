"""Rebuild a published run from its lineage alone, and compare it with what was published."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import USUAL_BASELINE, Recipe, compute_fingerprint, recipe_from_definition
from pipeline.errors import NextperiodError, Transient
from pipeline.forecasting.calibration import Calibration
from pipeline.forecasting.fallback import NoNetwork
from pipeline.forecasting.forecaster import Forecaster
from pipeline.jobs.inputs import (
    ForecastInputs,
    code_version,
    load_forecaster_and_panel,
    load_panel,
    produce_forecast,
)
from pipeline.records.lineage import ModelVersion
from pipeline.storage.statements import Row
from pipeline.storage.store import Store
from pipeline.text import counted
from pipeline.timeseries.forecast import QUANTILE_COLUMNS, Forecast
from pipeline.timeseries.panel import Panel

#: how the reason begins for a series whose network forecast had been worse than the baseline's
_WORSE_THAN = "worse than"
#: characters of a hash that a message shows
_SHORT = 12
_NUMBERS = ("mean", *QUANTILE_COLUMNS, "baseline")
_BY_SERIES = ("method", "reason", "num_network_steps", "scale")

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The first place where the published and the rebuilt forecast differ."""

    series: str
    #: None: in all steps
    step: int | None
    #: "series": only one of the two forecasts has this series
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
    """The comparison of a run with its rebuilt forecast."""

    run_id: str
    recipe: str
    kind: str
    origin: np.datetime64
    as_of: datetime
    num_rows: int
    #: what is not as it was recorded, one sentence each; empty if the run is identical
    faults: tuple[str, ...]
    #: None if there are not two forecasts to compare, or they are equal
    first: Difference | None
    #: what may explain a difference, one sentence each
    notes: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """Whether every number, method and reason is the published one, made from the same data."""
        return not self.faults


class _NotAsRecorded(Exception):
    """Part of the lineage is gone or was changed, so that the run cannot be rebuilt."""


def reproduce_run(run_id: str, store: Store) -> ReproducedRun | None:
    """Rebuild a published or superseded run and compare the two; None if there is no such run.

    The rebuilt forecast uses what was recorded by the run's as-of instant, the files of its model, its recipe as it was
    then, and its calibration. The reasons of series that had been worse than the baseline are taken as published.

    Raises:
        Transient: the database is not available.
    """
    run = store.runs.row(run_id)
    if run is None or run["status"] == "staged":
        return None
    faults: list[str] = []
    first = None
    try:
        published = _read_published(run, store)
        inputs = load_run_inputs(run, published, store)
        first = first_difference(published, produce_forecast(inputs))
        faults = [*_changed_rows(run, published), *_changed_data(run, inputs.panel), *([str(first)] if first else [])]
    except _NotAsRecorded as error:
        faults.append(str(error))
    return ReproducedRun(
        **{name: run[name] for name in ("run_id", "recipe", "kind", "origin", "as_of", "num_rows")},
        faults=tuple(faults),
        first=first,
        notes=_notes(run),
    )


def load_run_inputs(run: Row, published: Forecast, store: Store) -> ForecastInputs:
    """Load what a run was produced from.

    Raises:
        _NotAsRecorded: part of it is gone or was changed.
    """
    recipe, model = _load_recipe(run, store), _load_model(run, store)
    calibration = None if run["calibration"] is None else Calibration.from_text(run["calibration"])
    reasons = zip(published.series, published.reason, strict=True)
    forecaster: Forecaster | NoNetwork
    try:
        if model is None:
            forecaster = NoNetwork(published.reason[0] or "")
            panel = load_panel(recipe, store, run["as_of"], recorded_by=run["recorded_by"])
        else:
            forecaster, panel = load_forecaster_and_panel(
                model, recipe, store, run["as_of"], recorded_by=run["recorded_by"]
            )
    except Transient:
        raise
    except NextperiodError as error:
        raise _NotAsRecorded(str(error)) from None
    return ForecastInputs(
        recipe=recipe,
        forecaster=forecaster,
        panel=panel,
        calibration=calibration and replace(calibration, series=_factors_by_series(published)),
        baseline=model.record.resolve_baseline(recipe.gate.baseline) if model else USUAL_BASELINE,
        worse_than_baseline={name: reason for name, reason in reasons if reason and reason.startswith(_WORSE_THAN)},
    )


def _factors_by_series(published: Forecast) -> dict[str, float]:
    """What multiplied the calibration of single series; runs of earlier releases had nothing of the kind."""
    assert published.interval_factor is not None
    factors = zip(published.series, published.interval_factor.tolist(), strict=True)
    return {name: factor for name, factor in factors if factor > 0}


def _read_published(run: Row, store: Store) -> Forecast:
    try:
        return store.runs.read_forecast(run["run_id"])
    except ValueError:
        raise _NotAsRecorded(f"the {counted(run['num_rows'], 'row')} that were published are not there") from None


def _load_recipe(run: Row, store: Store) -> Recipe:
    """The recipe as it was when the run was published."""
    name, fingerprint = run["recipe"], run["recipe_fingerprint"]
    described = f"recipe {name} with fingerprint {fingerprint[:_SHORT]}"
    text = store.recipes.definition(name, fingerprint)
    if text is None:
        raise _NotAsRecorded(f"{described} was not kept")
    definition = json.loads(text)
    if compute_fingerprint(definition) != fingerprint:
        raise _NotAsRecorded(f"{described} was changed since")
    try:
        return recipe_from_definition(definition)
    except ValueError:
        raise _NotAsRecorded(f"{described} was written by an earlier release, with other keys") from None


def _load_model(run: Row, store: Store) -> ModelVersion | None:
    """The model of a run; None for a run that was published before a network could be trained."""
    if run["model_version"] is None:
        return None
    model = store.models.by_version(run["recipe"], run["model_version"])
    if model is None:
        raise _NotAsRecorded(f"model {run['model_version']} of {run['recipe']} was not kept")
    if model.model_hash != run["model_hash"]:
        raise _NotAsRecorded(
            f"model {model.model_version} of {model.recipe} is another one now: hash {model.model_hash[:_SHORT]}, "
            f"recorded {run['model_hash'][:_SHORT]}"
        )
    return model


def _changed_rows(run: Row, published: Forecast) -> list[str]:
    if published.content_hash == run["content_hash"]:
        return []
    return [
        f"the rows are not those that were published: hash {published.content_hash[:_SHORT]}, "
        f"recorded {run['content_hash'][:_SHORT]}"
    ]


def _changed_data(run: Row, panel: Panel) -> list[str]:
    if (panel.as_of, panel.data_hash) == (run["as_of"], run["data_hash"]):
        return []
    return [
        f"the observations as of {run['as_of'].isoformat()} are not those of the run: "
        f"hash {panel.data_hash[:_SHORT]}, recorded {run['data_hash'][:_SHORT]}"
    ]


def _notes(run: Row) -> tuple[str, ...]:
    present = code_version()
    if run["code_version"] == present:
        return ()
    return (f"published by code {run['code_version']}, rebuilt by {present}",)


def first_difference(published: Forecast, rebuilt: Forecast) -> Difference | None:
    """Find the first difference of two forecasts, by series and step; None if they are equal.

    A difference in method or reason comes before one in numbers, which follows from it. Numbers that were not kept
    (NaN or infinite) are not compared.
    """
    only_in_one = sorted(set(published.series) ^ set(rebuilt.series))
    if only_in_one:
        name = only_in_one[0]
        is_published = name in published.series
        return Difference(series=name, step=None, column="series", published=is_published, rebuilt=not is_published)
    for step, (theirs, ours) in enumerate(zip_longest(published.periods, rebuilt.periods), start=1):
        if theirs != ours:
            return Difference(series=published.series[0], step=step, column="period", published=theirs, rebuilt=ours)
    numbers = _differ(_numbers(published), _numbers(rebuilt))  # [S, H, C]
    by_series = np.stack(
        [_differ(*pair) for pair in zip(_by_series(published), _by_series(rebuilt), strict=True)], axis=1
    )  # [S, 4]
    differing = np.flatnonzero(numbers.any(axis=(1, 2)) | by_series.any(axis=1))
    if not len(differing):
        return None
    s = int(differing[0])
    if by_series[s].any():
        column = _BY_SERIES[int(by_series[s].argmax())]
        theirs, ours = (getattr(forecast, column)[s] for forecast in (published, rebuilt))
        return Difference(series=published.series[s], step=None, column=column, published=theirs, rebuilt=ours)
    h, c = (int(index) for index in np.argwhere(numbers[s])[0])
    theirs, ours = (float(_numbers(forecast)[s, h, c]) for forecast in (published, rebuilt))
    return Difference(series=published.series[s], step=h + 1, column=_NUMBERS[c], published=theirs, rebuilt=ours)


def _numbers(forecast: Forecast) -> Array:
    """All numbers of each step: [S, H, C]."""
    return np.concatenate([forecast.mean[:, :, None], forecast.quantiles, forecast.baseline[:, :, None]], axis=2)


def _by_series(forecast: Forecast) -> list[npt.NDArray[Any]]:
    """The fields `_BY_SERIES` of each series: [S] each."""
    methods, reasons = np.array(forecast.method, object), np.array(forecast.reason, object)
    return [methods, reasons, forecast.num_network_steps, forecast.scale]


def _differ(published: npt.NDArray[Any], rebuilt: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where two arrays differ; published numbers that are not finite were not kept, and differ from none."""
    differ: npt.NDArray[np.bool_] = published != rebuilt
    return differ & np.isfinite(published) if published.dtype.kind == "f" else differ
