"""Sample paths of a run: read, draw, write to the table, and from there to a file."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import InvalidArgument
from pipeline.forecasting.forecaster import load_forecaster
from pipeline.forecasting.sample_paths import (
    PathSampler,
    build_sampler,
    default_seed,
    draw_paths,
    require_feasible_paths,
)
from pipeline.jobs.inputs import load_panel
from pipeline.jobs.paths_parquet import require_folder, write_paths
from pipeline.storage.sample_paths import RunPaths
from pipeline.storage.store import Store
from pipeline.text import counted

logger = logging.getLogger(__name__)

#: values that are taken from the disk at a time
_TAKEN = 500_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """What was drawn from a run."""

    #: "written" or, if all of it was there already, "unchanged"
    status: str
    num_paths: int
    num_new: int
    #: of the paths that were asked for
    num_rows: int
    seed: int
    parquet: str


def sample_paths(
    recipe: Recipe, store: Store, run_id: str, *, num_paths: int, parquet: Path, seed: int | None = None
) -> Drawn:
    """Draw paths from a published run into the table, and write the first `num_paths` of it to a file.

    Paths that are there already stay; more of the same seed begin with them.

    Args:
        recipe: whose run.
        store: where it is.
        run_id: of the run.
        num_paths: of each series.
        parquet: the file.
        seed: of the random numbers; None: one that belongs to the run.

    Raises:
        InvalidArgument: these are no paths, too many, or of another seed than those that the run has; or the file has no
            folder.
        Overtaken: the run was superseded, or somebody else wrote paths of it, meanwhile.
        ModelRefused: the model's files are not what was recorded.
    """
    seen, seed = store.sample_paths.of_run(run_id), default_seed(run_id) if seed is None else seed
    require_feasible_paths(num_paths, seen.forecast)
    require_folder(parquet)
    sampler = _sampler(recipe, store, seen, seed)
    if seen.num_paths:
        _refuse_other_seed(store, seen, sampler)
    num_new = max(0, num_paths - seen.num_paths)
    if num_new:
        with tempfile.TemporaryFile() as spool:  # the database is not locked while paths are drawn
            for values in draw_paths(sampler, seen.num_paths + 1, num_paths):
                spool.write(values.tobytes())
            store.sample_paths.add(seen, num_paths, _taken(spool))
        logger.info("drew %s from run %s", counted(num_new, "path"), run_id)
    write_paths(
        parquet,
        recipe=recipe.name,
        run_id=run_id,
        periods=seen.forecast.periods,
        parts=store.sample_paths.read(seen, num_paths),
    )
    return Drawn(
        status="written" if num_new else "unchanged",
        num_paths=num_paths,
        num_new=num_new,
        num_rows=num_paths * seen.forecast.num_rows,
        seed=seed,
        parquet=str(parquet),
    )


def _sampler(recipe: Recipe, store: Store, seen: RunPaths, seed: int) -> PathSampler:
    """From the model and the data that the run was made with."""
    model = store.models.by_version(recipe.name, seen.run["model_version"])
    assert model is not None
    forecaster = load_forecaster(store.models.files(model), model.model_hash)
    length = forecaster.needs.context + recipe.scale_window  # past errors are looked at, too
    panel = load_panel(recipe, store, seen.run["as_of"], length=length)
    return build_sampler(forecaster, panel, seen.forecast, recipe, seed)


def _refuse_other_seed(store: Store, seen: RunPaths, sampler: PathSampler) -> None:
    """Draw the first path of a series again: of the same seed it is the one that is kept."""
    quantiles = seen.forecast.quantiles
    s = int(np.argmax((quantiles[:, :, -1] > quantiles[:, :, 0]).any(axis=1)))  # one whose paths tell seeds apart
    if not np.array_equal(store.sample_paths.first_path(seen, s), sampler.draw_block(s, 0)[0]):
        raise InvalidArgument(
            f"run {seen.run['run_id']} has {counted(seen.num_paths, 'path')} of another seed than {sampler.seed}, or drawn by "
            "another release: give the seed that they were drawn with, or ask for paths of the next run"
        )


def _taken(spool: IO[bytes]) -> Iterator[npt.NDArray[np.float64]]:
    spool.seek(0)
    while content := spool.read(_TAKEN * 8):
        yield np.frombuffer(content, np.float64)
