"""Sample paths as a Parquet file, which is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InvalidArgument, NextperiodError
from pipeline.timeseries.frequency import Periods

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
#: rows that are written at a time
_WRITTEN = 250_000


def require_folder(file: Path) -> None:
    """See that a file can be made there, before anything is drawn.

    Raises:
        InvalidArgument: its folder is not there, or it is one itself.
    """
    if file.is_dir() or not file.parent.is_dir():
        what = "is a folder" if file.is_dir() else f"is to lie in {file.parent}, which is no folder"
        raise InvalidArgument(f"--parquet {file} {what}: expected a file's name in a folder that is there")


def write_paths(
    file: Path, *, recipe: str, run_id: str, periods: Periods, parts: Iterable[tuple[str, int, Array]]
) -> None:
    """Write a run's paths, in place of what the file held.

    Args:
        file: where.
        recipe: of the run.
        run_id: of the run.
        periods: of the steps, [H].
        parts: the name of a series, the number of the first of some of its paths, and their values [n, H].

    Raises:
        NextperiodError: the file cannot be written.
    """
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with pq.ParquetWriter(unfinished, SCHEMA) as writer:
            waiting: list[pa.RecordBatch] = []
            for name, first, values in parts:
                waiting.append(_batch(recipe, run_id, name, periods, first, values))
                if sum(map(len, waiting)) >= _WRITTEN:
                    writer.write_table(pa.Table.from_batches(waiting))
                    waiting = []
            if waiting:
                writer.write_table(pa.Table.from_batches(waiting))
        unfinished.replace(file)
    except OSError as error:
        raise NextperiodError(f"the paths are in the database, but not in {file}: {error}; run again") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _batch(recipe: str, run_id: str, series: str, periods: Periods, first: int, values: Array) -> pa.RecordBatch:
    count, horizon = values.shape
    columns = [
        *(pa.repeat(text, values.size) for text in (recipe, run_id, series)),
        np.repeat(np.arange(first, first + count, dtype=np.int32), horizon),
        np.tile(np.arange(1, horizon + 1, dtype=np.int32), count),
        np.tile(periods.astype("datetime64[us]"), count),
        values.ravel(),
    ]
    return pa.record_batch([pa.array(column) for column in columns], schema=SCHEMA)
