"""What was known of a recipe's series after a batch, under their names."""

from __future__ import annotations

import numpy as np

from pipeline.bulk import all_values, values_as_of
from pipeline.observations import Observations
from pipeline.recipe import Recipe
from pipeline.statements import Transaction


def observations_as_of(
    transaction: Transaction, recipe: Recipe, batch_id: int, *, variable: str, length: int | None
) -> Observations:
    """All values of a variable, or the last `length` of each series; series in the order of their names."""
    told = transaction.columns("series_of_recipe", recipe=recipe.name, variable=variable)
    ids, series = told or ((), ())
    values = (
        values_as_of(transaction, ids, batch_id, length=length)
        if length
        else all_values(transaction, ids, batch_id, frequency=recipe.grid)
    )
    name = dict(zip(ids, series, strict=True))
    present = np.unique(values.series)
    names = sorted(name[series_id] for series_id in present.tolist())  # not by the database's collation
    rank = {one: n for n, one in enumerate(names)}
    position = np.array([rank[name[series_id]] for series_id in present.tolist()], np.int64)
    number = position[np.searchsorted(present, values.series)] if len(values) else values.series
    if len(values) and not (np.diff(number) >= 0).all():
        order = np.argsort(number, kind="stable")
        number, values = number[order], values.take(order)
    return Observations(names=tuple(names), series=number, period=values.period, value=values.value)
