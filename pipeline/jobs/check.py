"""Try a recipe without writing anything: what would be ingested, quarantined and forecast, by which network, in how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pipeline.config.architectures import GLOBAL
from pipeline.config.recipe import Recipe
from pipeline.errors import NextperiodError, NoObservations, is_refusal
from pipeline.jobs.ingest import IngestResult, ingest_source
from pipeline.jobs.inputs import check_covariates, load_panel
from pipeline.jobs.training_decision import decide_training
from pipeline.storage.store import Store
from pipeline.text import counted
from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.panel import Panel

#: seconds of a training that do not depend on its size: imports, tracing, export; and of a cycle that keeps its model
_FIXED_SECONDS, _SECONDS_OF_KEEPING = 7.0, 1.0
#: multiplications and additions a second of a fit, chosen so that milk's training takes the ten seconds that it does on two
#: shared cores; and series forecast a second, see `tests/benchmarks/RESULTS.md`: the right order of magnitude, no more
_FIT_RATE, _FORECASTS_A_SECOND = 25e9, 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """What a cycle of a recipe would do."""

    #: None: nothing could be ingested
    ingested: IngestResult | None
    #: why the delivery, or a training or a forecast of it, would be refused; None: it would not
    refusal: str | None = None
    num_series: int = 0
    num_values: int = 0
    #: the first period of any series, and the last of any
    first_period: np.datetime64 | None = None
    origin: np.datetime64 | None = None
    #: the periods that would be forecast
    periods: Periods | None = None
    #: "retrain", "fine-tune" or "keep", and why
    training: str | None = None
    reason: str | None = None
    network: str | None = None
    #: of the whole cycle, roughly
    seconds: float | None = None


def check_recipe(recipe: Recipe, store: Store, now: datetime) -> CheckResult:
    """Ingest, and say what would follow.

    Args:
        recipe: may never have run.
        store: on a database that undoes what is written.
        now: the clock.

    Raises:
        SourceMissing: the source does not exist.
        SourceUnavailable: it cannot be read right now.
    """
    ingested, refusal = None, None
    if store.recipes.current_definition(recipe.name) is None:  # writing takes a lock, and fetching may take long
        store.recipes.register(recipe)
    try:
        ingested = ingest_source(recipe, store, now)
    except NextperiodError as error:
        if not is_refusal(error):
            raise
        refusal = str(error)
    try:
        panel = load_panel(recipe, store, None)
    except NoObservations as nothing:
        return CheckResult(ingested=ingested, refusal=refusal or str(nothing))
    decision = decide_training(recipe, store, None, None)
    shortage = _describe_shortage(panel, recipe)
    try:
        check_covariates(panel, recipe)
    except NextperiodError as error:
        refusal = refusal or str(error)
    is_kept = decision.kept is not None
    return CheckResult(
        ingested=ingested,
        refusal=refusal,
        num_series=len(panel.series),
        num_values=int(np.isfinite(panel.values).sum()),
        first_period=panel.grid[int(panel.first.min())],
        origin=panel.grid[-1],
        periods=recipe.grid.after(panel.grid[-1], recipe.horizon),
        training=decision.training,
        reason=decision.reason,
        network=shortage
        or (f"model {decision.kept.model_version}" if decision.kept else _describe_network(panel, recipe)),
        seconds=_estimate_seconds(panel, recipe, is_kept=is_kept or shortage is not None),
    )


def _describe_shortage(panel: Panel, recipe: Recipe) -> str | None:
    """Why baselines would forecast; None where a network does."""
    from pipeline.training.history import describe_shortage  # imports ONNX

    shortage = describe_shortage(panel, recipe)
    return None if shortage is None else f"baselines: {shortage}"


def _describe_network(panel: Panel, recipe: Recipe) -> str:
    if recipe.model.architecture != GLOBAL:
        return f"{recipe.model.architecture}, {counted(recipe.num_members, 'member')}, from scratch"
    from pipeline.training.history import choose_configs

    configs = choose_configs(panel, recipe)
    pretrained = [config.pretrained.partition("/")[0] for config in configs if config.pretrained]
    num_own = len(configs) - len(pretrained)
    own = f"{counted(num_own, 'LSTM')} from scratch"
    if not pretrained:
        return own
    text = f"the pretrained network {pretrained[0]}, fitted further as far as held-out periods say that it helps"
    return f"{text}; {own} beside it, where that helps" if num_own else text


def _estimate_seconds(panel: Panel, recipe: Recipe, *, is_kept: bool) -> float:
    """Roughly how long a cycle takes on two cores."""
    forecast = len(panel.series) / _FORECASTS_A_SECOND
    if is_kept:
        return _SECONDS_OF_KEEPING + forecast
    return _FIXED_SECONDS + forecast + sum(_fit_operations(panel, recipe)) / _FIT_RATE


def _fit_operations(panel: Panel, recipe: Recipe) -> Sequence[float]:
    """Multiplications and additions of each fit of a training: of the search, without the test part, and the final one."""
    units = recipe.model.units
    if recipe.model.architecture != GLOBAL:
        num_windows = int(np.maximum(panel.lengths - recipe.context - recipe.horizon, 0).sum())
        steps = recipe.training.epochs * num_windows * recipe.context
        return [3 * recipe.num_members * steps * recipe.model.layers * 24 * units**2]
    from pipeline.training.history import choose_configs

    operations: list[float] = []
    for config in choose_configs(panel, recipe):
        positions = config.context - config.size if config.kind == "frame" else config.context // config.size
        one = config.steps * config.batch_size * positions * 24.0 * (config.units or units) ** 2
        operations.append(one * (3 if not operations else 2))  # the first member is searched with
    return operations
