"""Random integers: a series that nothing can predict, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from pipeline.config.recipe import Recipe
from pipeline.config.sources import IntegersSource
from pipeline.sources.columns import sliced
from pipeline.sources.delivery import Delivery, FetchContext
from pipeline.sources.file import hash_begun


@contextmanager
def fetch_integers(recipe: Recipe, context: FetchContext) -> Iterator[Delivery]:
    """`count` integers from 0 to 9, for the periods 1, 2, 3 … of which `start` is the first."""
    source = recipe.source
    assert isinstance(source, IntegersSource)
    values = np.random.default_rng(source.seed).integers(0, 10, source.count)
    content = hash_begun(source)
    content.update(values.tobytes())
    columns = pa.RecordBatch.from_arrays(
        [pa.array(np.arange(1, source.count + 1)), pa.array(values)], names=[source.period, str(source.value)]
    )
    yield Delivery(
        source=f"integers of seed {source.seed}",
        content_hash=content.hexdigest(),
        chunks=lambda: sliced(columns, 1),
    )
