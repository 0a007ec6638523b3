"""What is known of a recipe at an instant, ready to be computed on, and where that comes from."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from pipeline.config.recipe import MOST_OTHER_SERIES, Recipe
from pipeline.errors import ModelRefused, NoObservations
from pipeline.forecasting.forecaster import Forecaster, load_forecaster
from pipeline.preprocessing import gaps
from pipeline.records.lineage import Lineage, ModelVersion
from pipeline.storage.store import Store
from pipeline.text import counted
from pipeline.timeseries.panel import Panel, add_other_series

#: as of this instant everything is known
LATEST = datetime.max.replace(tzinfo=UTC)


def load_panel(recipe: Recipe, store: Store, as_of: datetime | None, *, length: int | None = None) -> Panel:
    """What is known, or was known at an instant, with short gaps filled; of each series its last `length` values."""
    panel = store.observations.panel(recipe, as_of or LATEST, length=length)
    if panel is None:
        since = store.batches.first_recorded_at(recipe.name) if as_of else None
        if as_of is not None and since is not None:
            raise NoObservations(
                f"nothing was known of {recipe.name} as of {as_of.isoformat()}: its first observations were recorded at "
                f"{since.isoformat()}, give an instant from then on"
            )
        raise NoObservations(f"there are no observations of {recipe.name}: run `nextperiod ingest {recipe.name}`")
    return prepare_panel(panel, recipe)


def prepare_panel(panel: Panel, recipe: Recipe) -> Panel:
    """A panel as networks read it: short gaps filled, the other series beside each where the recipe asks for them.

    Raises:
        ModelRefused: there are too many series to stand beside each other.
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


def load_forecaster_inputs(
    model: ModelVersion, recipe: Recipe, store: Store, as_of: datetime | None
) -> tuple[Forecaster, Panel]:
    """A model, and the panel that it forecasts from: what is known, or was known at an instant.

    Publishing and replaying both come here: the same arguments give the same numbers.

    Raises:
        NoObservations: nothing was known.
        ModelRefused: the model's files are not what was recorded, or its horizon is not the recipe's.
    """
    forecaster = load_forecaster(store.models.files(model), model.model_hash)
    if forecaster.horizon != recipe.horizon:
        raise ModelRefused(
            f"model {model.model_version} of {recipe.name} forecasts {counted(forecaster.horizon, 'period')}, the recipe asks "
            f"for {recipe.horizon}: run `nextperiod train {recipe.name}`"
        )
    length = max(forecaster.needs.context, recipe.scale_window)
    return forecaster, load_panel(recipe, store, as_of, length=length)


def lineage_of(recipe: Recipe, panel: Panel) -> Lineage:
    """Of a model or a run that is made from a panel now."""
    assert panel.as_of is not None
    return Lineage(
        as_of=panel.as_of,
        data_hash=panel.data_hash,
        recipe_fingerprint=recipe.fingerprint,
        code_version=code_version(),
    )


@lru_cache(maxsize=1)
def code_version() -> str:
    """The release and a hash of the code that computes and of its SQL."""
    digest = hashlib.sha256()
    for package in ("pipeline", "sql"):
        root = Path(str(files(package)))
        for path in sorted(path for path in root.rglob("*") if path.suffix in (".py", ".sql")):
            digest.update(path.read_bytes())
    return f"{version('nextperiod')}+{digest.hexdigest()[:12]}"
