"""What was known of a recipe's series after a batch, under their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.storage.bulk_load import all_values, values_as_of
from pipeline.storage.statements import Transaction
from pipeline.timeseries.observations import Observations
from pipeline.timeseries.panel import Panel, with_covariate


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


def with_covariates(
    transaction: Transaction,
    panel: Panel,
    recipe: Recipe,
    batch_id: int,
    attributes: Mapping[str, Mapping[str, str]],
    *,
    length: int | None,
) -> Panel:
    """A panel with the covariates and attributes that the recipe names, as they were known after a batch.

    Args:
        transaction: on the store.
        panel: of what is forecast.
        recipe: whose.
        batch_id: of the batch.
        attributes: texts by series and name.
        length: how many of the last periods of each series the panel has; None: all.
    """
    told = recipe.covariates
    panel = replace(panel, ahead=recipe.horizon if told.future else 0)
    for name in (*told.past, *told.future):
        known_ahead = name in told.future
        # the newest values lie ahead, and a covariate may be told for longer than the series
        last = None if length is None else 2 * (length + panel.ahead)
        found = observations_as_of(transaction, recipe, batch_id, variable=name, length=last)
        values = (found.names, found.series, found.period, found.value)
        panel = with_covariate(panel, name, values, frequency=recipe.grid, known_ahead=known_ahead)
    texts = {name: tuple(attributes.get(one, {}).get(name, "") for one in panel.series) for name in told.static}
    return replace(panel, static=texts)
