"""Draw sample paths of a published run into the store, and write them to a Parquet file."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.recipe import Recipe
from pipeline.errors import InvalidArgument, NextperiodError
from pipeline.forecasting.forecaster import load_forecaster
from pipeline.forecasting.sample_paths import (
    PathSampler,
    build_sampler,
    default_seed,
    draw_paths,
    require_feasible_paths,
)
from pipeline.jobs.inputs import load_panel
from pipeline.storage.sample_paths import RunPaths
from pipeline.storage.store import Store
from pipeline.text import counted
from pipeline.timeseries.frequency import Periods

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

SCHEMA = pa.schema(
    {
        "recipe": pa.string(),
        "run_id": pa.string(),
        "series": pa.string(),
        "path": pa.int32(),
        "step": pa.int32(),
        "period": pa.timestamp("us"),
        "value": pa.float64(),
    }
)
#: values read back from the temporary file at a time
_VALUES_PER_READ = 500_000
#: rows written to the Parquet file at a time
_ROWS_PER_WRITE = 250_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplePathsResult:
    """The sample paths that a run has now."""

    #: "written", or "unchanged" if the run had all of them already
    status: str
    #: of each series, as requested
    num_paths: int
    num_new: int
    #: rows in the Parquet file
    num_rows: int
    seed: int
    parquet: str


def sample_paths(
    recipe: Recipe, store: Store, run_id: str, *, num_paths: int, parquet: Path, seed: int | None = None
) -> SamplePathsResult:
    """Draw sample paths of a published run into the store, and write the first `num_paths` to a Parquet file.

    Paths that the run already has stay. More paths of the same seed begin with them.

    Args:
        recipe: whose run.
        store: holds the run, its model and its observations.
        run_id: which run.
        num_paths: of each series.
        parquet: the file, replaced if it exists.
        seed: of the random numbers; None: derived from the run.

    Raises:
        InvalidArgument: there are too many paths, the run has paths of another seed, or the file's folder does not exist.
        Overtaken: the run was superseded, or another worker added paths to it, in the meantime.
        ModelRefused: the model's files are not those that were recorded.
    """
    paths = store.sample_paths.of_run(run_id)
    seed = default_seed(run_id) if seed is None else seed
    require_feasible_paths(num_paths, paths.forecast)
    _require_folder(parquet)
    sampler = _load_sampler(recipe, store, paths, seed)
    if paths.num_paths:
        _require_seed(store, paths, sampler)
    num_new = max(0, num_paths - paths.num_paths)
    if num_new:
        _draw(sampler, store, paths, num_paths)
        logger.info("drew %s from run %s", counted(num_new, "path"), run_id)
    write_parquet(
        parquet,
        recipe=recipe.name,
        run_id=run_id,
        periods=paths.forecast.periods,
        parts=store.sample_paths.read(paths, num_paths),
    )
    return SamplePathsResult(
        status="written" if num_new else "unchanged",
        num_paths=num_paths,
        num_new=num_new,
        num_rows=num_paths * paths.forecast.num_rows,
        seed=seed,
        parquet=str(parquet),
    )


def _require_folder(file: Path) -> None:
    """Refuse a file that cannot be created, before anything is drawn."""
    if file.is_dir():
        raise InvalidArgument(f"--parquet {file} is a folder: expected the name of a file")
    if not file.parent.is_dir():
        raise InvalidArgument(
            f"--parquet {file}: there is no folder {file.parent}; expected a file in an existing folder"
        )


def _load_sampler(recipe: Recipe, store: Store, paths: RunPaths, seed: int) -> PathSampler:
    """The sampler of the model and the data that the run was produced from."""
    if paths.run["model_version"] is None:
        raise InvalidArgument(
            f"run {paths.run['run_id']} was forecast without a network, and paths are drawn from one: draw paths of a run "
            "after the first training"
        )
    model = store.models.by_version(recipe.name, paths.run["model_version"])
    assert model is not None
    forecaster = load_forecaster(store.models.files(model), model.model_hash)
    length = forecaster.needs.context + recipe.scale_window  # for the autocorrelation of past errors
    panel = load_panel(recipe, store, paths.run["as_of"], recorded_by=paths.run["recorded_by"], length=length)
    return build_sampler(forecaster, panel, paths.forecast, recipe, seed)


def _require_seed(store: Store, paths: RunPaths, sampler: PathSampler) -> None:
    """Draw the first path of a series again: with the same seed it is the stored one."""
    quantiles = paths.forecast.quantiles
    s = int(
        np.argmax((quantiles[:, :, -1] > quantiles[:, :, 0]).any(axis=1))
    )  # a series whose paths depend on the seed
    if not np.array_equal(store.sample_paths.first_path(paths, s), sampler.draw_block(s, 0)[0]):
        raise InvalidArgument(
            f"run {paths.run['run_id']} has {counted(paths.num_paths, 'path')} of another seed than {sampler.seed}, or drawn by "
            "another release: give the seed that they were drawn with, or draw paths of the next run"
        )


def _draw(sampler: PathSampler, store: Store, paths: RunPaths, num_paths: int) -> None:
    """Draw the paths that a run lacks into a temporary file first, so that the database is not locked meanwhile."""
    with tempfile.TemporaryFile() as file:
        for values in draw_paths(sampler, paths.num_paths + 1, num_paths):
            file.write(values.tobytes())
        store.sample_paths.add(paths, num_paths, _read_values(file))


def _read_values(file: IO[bytes]) -> Iterator[Array]:
    file.seek(0)
    while content := file.read(_VALUES_PER_READ * 8):
        yield np.frombuffer(content, np.float64)


def write_parquet(
    file: Path, *, recipe: str, run_id: str, periods: Periods, parts: Iterable[tuple[str, int, Array]]
) -> None:
    """Write a run's sample paths to a Parquet file, which appears whole or not at all.

    Args:
        file: replaced if it exists.
        recipe: of the run.
        run_id: of the run.
        periods: of the steps, [H].
        parts: for each part the name of a series, the number of its first path, and the values of n paths [n, H].

    Raises:
        NextperiodError: the file cannot be written.
    """
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with pq.ParquetWriter(unfinished, SCHEMA) as writer:
            for table in _tables(_batch(recipe, run_id, periods, *part) for part in parts):
                writer.write_table(table)
        unfinished.replace(file)
    except OSError as error:
        raise NextperiodError(f"the paths are in the database, but not in {file}: {error}; run again") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _tables(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches of rows together, about `_ROWS_PER_WRITE` at a time."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _ROWS_PER_WRITE:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _batch(recipe: str, run_id: str, periods: Periods, series: str, first: int, values: Array) -> pa.RecordBatch:
    count, horizon = values.shape
    columns = [
        *(pa.repeat(text, values.size) for text in (recipe, run_id, series)),
        np.repeat(np.arange(first, first + count, dtype=np.int32), horizon),
        np.tile(np.arange(1, horizon + 1, dtype=np.int32), count),
        np.tile(periods.astype("datetime64[us]"), count),
        values.ravel(),
    ]
    return pa.record_batch([pa.array(column) for column in columns], schema=SCHEMA)
