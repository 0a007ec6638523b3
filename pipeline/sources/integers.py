"""Random integers as a source: a series that no model can predict, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from pipeline.config.recipe import Recipe
from pipeline.config.sources import IntegersSource
from pipeline.sources.columns import slice_chunks
from pipeline.sources.delivery import Delivery, FetchContext
from pipeline.sources.file import start_hash


@contextmanager
def fetch_integers(recipe: Recipe, source: IntegersSource, context: FetchContext) -> Iterator[Delivery]:
    """Deliver `count` integers from 0 to 9 for the periods 1, 2, 3 …; period 1 is the date `start`."""
    values = np.random.default_rng(source.seed).integers(0, 10, source.count)
    content_hash = start_hash(source)
    content_hash.update(values.tobytes())
    rows = pa.RecordBatch.from_arrays(
        [pa.array(np.arange(1, source.count + 1)), pa.array(values)], names=[source.period, str(source.value)]
    )
    yield Delivery(
        source=f"integers of seed {source.seed}",
        content_hash=content_hash.hexdigest(),
        chunks=lambda: slice_chunks(rows, first_line=1),
    )
