"""Random integers: a series that nothing can predict, the same for the same seed."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from pipeline.observations import RawBatch, RawRow
from pipeline.recipe import IntegersSource, Recipe


def read_integers(recipe: Recipe) -> RawBatch:
    """`count` integers from 0 to 9, one a period from `start` on."""
    source = recipe.source
    assert isinstance(source, IntegersSource)
    values = np.random.default_rng(source.seed).integers(0, 10, source.count)
    first = np.datetime64(pd.Timestamp(source.start), "us")
    periods = np.append(first, recipe.grid.after(first, source.count - 1))
    rows = tuple(
        RawRow(line=n + 1, period=str(period)[:19], value=str(value), series=recipe.name)
        for n, (period, value) in enumerate(zip(periods, values, strict=True))
    )
    content = repr(rows).encode()
    return RawBatch(
        source=f"integers of seed {source.seed}", content_hash=hashlib.sha256(content).hexdigest(), rows=rows
    )
