"""Load what jobs compute with, as of an instant, and the lineage that says where it comes from.

A forecast is always produced from `ForecastInputs` by `produce_forecast`: live, as a backfill, in a backtest, when a
run is reproduced, and in a notebook.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np

import pipeline
import sql
from pipeline.config.recipe import MOST_OTHER_SERIES, USUAL_BASELINE, Recipe
from pipeline.errors import CovariateMissing, ModelRefused, NoObservations, SeriesEnded
from pipeline.forecasting.calibration import Calibration
from pipeline.forecasting.fallback import NoNetwork, forecast_panel
from pipeline.forecasting.forecaster import Forecaster, load_forecaster
from pipeline.preprocessing import gaps
from pipeline.preprocessing.activity import are_active, series_ended_since
from pipeline.preprocessing.missing_covariates import find_missing_covariates
from pipeline.records.lineage import Lineage, ModelVersion
from pipeline.storage.store import Store
from pipeline.text import counted, list_some
from pipeline.timeseries.forecast import Forecast
from pipeline.timeseries.panel import Panel, add_other_series

logger = logging.getLogger(__name__)

#: of fewer series the end of most says nothing about the source
FEWEST_SERIES = 4
#: as of this instant everything that was ever recorded counts
LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastInputs:
    """Everything that decides the numbers of a forecast."""

    recipe: Recipe
    forecaster: Forecaster | NoNetwork
    #: prepared by `prepare_panel`; its newest period is the origin
    panel: Panel
    #: corrects the network's intervals; None: they stay as they are
    calibration: Calibration | None
    #: by series that the network forecasts worse than the baseline, the reason; these get the baseline
    worse_than_baseline: Mapping[str, str] = field(default_factory=dict)
    #: that the forecast is scored against
    baseline: str = USUAL_BASELINE


def produce_forecast(inputs: ForecastInputs) -> Forecast:
    """Forecast the periods after the panel's origin; the same inputs give the same numbers."""
    return forecast_panel(
        inputs.forecaster,
        inputs.panel,
        inputs.recipe,
        inputs.calibration,
        worse=inputs.worse_than_baseline,
        baseline=inputs.baseline,
    )


def check_ended_series(panel: Panel, recipe: Recipe, last_origin: np.datetime64 | None) -> None:
    """Refuse a forecast where a feed has stopped for most series: these would silently count as ended.

    Raises:
        SeriesEnded: more of the series that were active at the last run's origin have ended than the recipe expects.
    """
    if last_origin is None or last_origin not in panel.grid:
        return
    ended = series_ended_since(panel, recipe, last_origin)
    num_active = len(ended) + int(are_active(panel, recipe).sum())
    if num_active >= FEWEST_SERIES and len(ended) > recipe.publish.max_ended * num_active:
        raise SeriesEnded(
            f"{len(ended)} of {num_active} series have had no value for {counted(recipe.active_within, 'period')} and would "
            f"count as ended, such as {list_some(ended)}: at most {100 * recipe.publish.max_ended:g} % may end between two "
            "runs; nothing was published: does the source still deliver them? If they have ended, set publish.max_ended = 1"
        )


def check_covariates(panel: Panel, recipe: Recipe) -> None:
    """Warn where covariates of the periods to forecast are not known, and of what follows.

    Raises:
        CovariateMissing: the recipe wants no forecast then.
    """
    missing = find_missing_covariates(panel, recipe)
    if missing is None or not any(missing.reasons):
        return
    lacking = [name for name, reason in zip(panel.series, missing.reasons, strict=True) if reason is not None]
    example = next(reason for reason in missing.reasons if reason is not None)
    where = "" if len(panel.series) == 1 else f' of "{lacking[0]}", one of {len(lacking)} such series'
    what = f"{recipe.name}: {example}{where}"
    deliver = "deliver its missing values"
    if recipe.covariates.missing == "error":
        raise CovariateMissing(f'{what}; nothing was published: {deliver}, or set covariates.missing = "fallback"')
    if recipe.covariates.carries_forward:
        logger.warning("%s; the last value is carried forward: %s", what, deliver)
    else:
        logger.warning("%s; the baseline stands in from there on: %s", what, deliver)


def load_panel(
    recipe: Recipe,
    store: Store,
    as_of: datetime | None,
    *,
    recorded_by: datetime | None = LATEST,
    length: int | None = None,
) -> Panel:
    """Read the panel as of an instant and prepare it for networks.

    Args:
        recipe: whose observations.
        store: where they are.
        as_of: only what was known at this instant counts; None: everything.
        recorded_by: of that, only what was recorded by this instant; None: what was recorded by `as_of`.
        length: how many of the last values of each series; None: all.

    Raises:
        NoObservations: nothing was recorded by then.
        ModelRefused: the recipe reads the other series, and there are too many.
    """
    recorded_by = None if as_of is None else recorded_by
    panel = store.observations.panel(recipe, as_of or LATEST, recorded_by=recorded_by, length=length)
    if panel is not None:
        return prepare_panel(panel, recipe)
    first = store.batches.first_known_at(recipe.name) if as_of else None
    if as_of is None or first is None:
        raise NoObservations(f"there are no observations of {recipe.name}: run `nextperiod ingest {recipe.name}`")
    raise NoObservations(
        f"{recipe.name} has no observations as of {as_of.isoformat()}: the first are known since {first.isoformat()}; "
        "give that instant or a later one"
    )


def prepare_panel(panel: Panel, recipe: Recipe) -> Panel:
    """Fill short gaps, and add the other series as covariates where the recipe asks for them.

    Raises:
        ModelRefused: there are too many series to be covariates of each other.
    """
    panel = gaps.fill_gaps(panel, longest=recipe.max_gap)
    if not recipe.covariates.other_series:
        return panel
    if len(panel.series) > MOST_OTHER_SERIES:
        raise ModelRefused(
            f"covariates.other_series is for at most {MOST_OTHER_SERIES} series, {recipe.name} has {len(panel.series)}: "
            "leave it out"
        )
    return add_other_series(panel)


def load_forecaster_and_panel(
    model: ModelVersion,
    recipe: Recipe,
    store: Store,
    as_of: datetime | None,
    *,
    recorded_by: datetime | None = LATEST,
) -> tuple[Forecaster, Panel]:
    """Load a model and the end of the panel that it forecasts from.

    Args:
        model: which model.
        recipe: as it is, or as it was when the run to reproduce was published.
        store: holds observations and model files.
        as_of: only what was known at this instant counts; None: everything.
        recorded_by: as for `load_panel`.

    Raises:
        NoObservations: nothing was recorded by then.
        ModelRefused: the model's files are not those that were recorded, or its horizon is not the recipe's.
    """
    forecaster = load_forecaster(store.models.files(model), model.model_hash)
    if forecaster.horizon != recipe.horizon:
        raise ModelRefused(
            f"model {model.model_version} of {recipe.name} forecasts {counted(forecaster.horizon, 'period')}, the recipe asks "
            f"for {recipe.horizon}: run `nextperiod train {recipe.name}`"
        )
    length = max(forecaster.needs.context, recipe.scale_window)
    return forecaster, load_panel(recipe, store, as_of, recorded_by=recorded_by, length=length)


def new_lineage(recipe: Recipe, panel: Panel, *, recorded_by: datetime | None = None) -> Lineage:
    """The lineage of a model or a run that is made from a panel by the present code."""
    assert panel.as_of is not None
    return Lineage(
        as_of=panel.as_of,
        data_hash=panel.data_hash,
        recipe_fingerprint=recipe.fingerprint,
        code_version=code_version(),
        recorded_by=recorded_by,
    )


@lru_cache(maxsize=1)
def code_version() -> str:
    """The release, and a hash of the code and of its SQL."""
    digest = hashlib.sha256()
    for package in (pipeline, sql):
        root = Path(str(files(package)))
        for path in sorted(path for path in root.rglob("*") if path.suffix in (".py", ".sql")):
            digest.update(path.read_bytes())
    return f"{version('nextperiod')}+{digest.hexdigest()[:12]}"
