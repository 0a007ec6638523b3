"""Observations, covariates and attributes of a recipe as of an instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.storage.batches import BatchRepository
from pipeline.storage.bulk_load import all_values, values_as_known, values_as_of
from pipeline.storage.engine import Database
from pipeline.storage.statements import Transaction
from pipeline.storage.vintages import KnownVersions, Vintage
from pipeline.timeseries.long_values import LongValues
from pipeline.timeseries.observations import TARGET, Observations
from pipeline.timeseries.panel import Panel, add_covariate, panel_from_observations


@dataclass(frozen=True, slots=True)
class ObservationRepository:
    """Observations in one database."""

    database: Database

    def values(
        self, recipe: Recipe, batch_id: int, *, variable: str = TARGET, length: int | None = None
    ) -> Observations:
        """The values of one variable after a batch, revisions included; series in the order of their names.

        Args:
            recipe: of the series.
            batch_id: later batches do not count.
            variable: a covariate's name, or the target.
            length: only so many of the last values of each series; None: all.
        """
        with self.database.read() as transaction:
            known = _up_to_batch(batch_id, datetime.max)
            return _read_observations(transaction, recipe, known, variable=variable, length=length)

    def panel(
        self,
        recipe: Recipe,
        as_of: datetime,
        *,
        recorded_by: datetime | None = None,
        variable: str = TARGET,
        length: int | None = None,
    ) -> Panel | None:
        """The panel at an instant, with covariates and attributes if it is of the target; None without observations.

        Args:
            recipe: of the series.
            as_of: values recorded later do not count; with `recorded_by`, values known later.
            recorded_by: with what the world knew at `as_of`, of what the store had recorded by this instant.
            variable: a covariate's name, or the target.
            length: only so many of the last values of each series; None: all.
        """
        known = self._known_versions(recipe.name, as_of, recorded_by)
        if known is None:
            return None
        with self.database.read() as transaction:
            observed = _read_observations(transaction, recipe, known, variable=variable, length=length)
        if len(observed) == 0:
            return None
        panel = panel_from_observations(
            observed.names,
            observed.series,
            observed.period,
            observed.value,
            frequency=recipe.grid,
            as_of=known.as_of,
        )
        if variable != TARGET or not recipe.covariates.names:
            return panel
        attributes = self._attributes(recipe.name, known.batch_id) if recipe.covariates.static else {}
        with self.database.read() as transaction:
            panel = _add_covariates(transaction, panel, recipe, known, length=length)
        return _add_attributes(panel, recipe, attributes)

    def _known_versions(self, recipe: str, as_of: datetime, recorded_by: datetime | None) -> KnownVersions | None:
        batches = BatchRepository(self.database)
        if recorded_by is not None:
            return batches.known_by(recipe, as_of, recorded_by)
        latest = batches.latest_as_of(recipe, as_of)
        return None if latest is None else _up_to_batch(latest.batch_id, latest.recorded_at)

    def attributes(self, recipe: str, as_of: datetime) -> dict[str, dict[str, str]]:
        """The attributes of each series at an instant, by series and name."""
        with self.database.read() as transaction:
            last = transaction.row("latest_accepted_batch_as_of", recipe=recipe, as_of=as_of)
        return self._attributes(recipe, last["batch_id"] if last and last["batch_id"] else 0)

    def _attributes(self, recipe: str, batch_id: int) -> dict[str, dict[str, str]]:
        with self.database.read() as transaction:
            rows = transaction.rows("attributes_as_of", recipe=recipe, batch_id=batch_id)
        attributes: dict[str, dict[str, str]] = {}
        for row in rows:
            attributes.setdefault(row["series"], {})[row["name"]] = row["value"]
        return attributes

    def vintages(self, recipe: str) -> list[Vintage]:
        """The newest observed period from each instant on since when new or revised values are known; ascending."""
        with self.database.read() as transaction:
            rows = transaction.rows("vintages", recipe=recipe)
        vintages: list[Vintage] = []
        newest: np.datetime64 | None = None
        for row in rows:
            period = row["period"]  # None: the batch has revisions only
            if period is not None:
                newest = period if newest is None else max(newest, period)
            if newest is not None:
                vintages.append(Vintage(known_at=row["known_at"], period=newest))
        return vintages


def _up_to_batch(batch_id: int, as_of: datetime) -> KnownVersions:
    """What was recorded up to a batch, whenever it was known."""
    return KnownVersions(as_of=as_of, recorded_by=as_of, batch_id=batch_id, is_in_order=True)


def _read_observations(
    transaction: Transaction, recipe: Recipe, known: KnownVersions, *, variable: str, length: int | None
) -> Observations:
    columns = transaction.columns("series_of_recipe", recipe=recipe.name, variable=variable)
    series_ids, names = columns or ((), ())
    batch_id = known.batch_id
    if not known.is_in_order:
        values = values_as_known(transaction, recipe.name, variable, known)
    elif length:
        withdrawn = transaction.row("most_withdrawn", recipe=recipe.name)
        num_withdrawn = int(withdrawn["num_withdrawn"] or 0) if withdrawn else 0
        values = values_as_of(transaction, series_ids, batch_id, length=length + num_withdrawn)
    else:
        values = all_values(transaction, series_ids, batch_id, frequency=recipe.grid)
    values = values.without_withdrawn()
    return _order_by_name(values.last(length) if length else values, dict(zip(series_ids, names, strict=True)))


def _order_by_name(values: LongValues, names: Mapping[int, str]) -> Observations:
    """Values with their series in the order of the names, which databases collate differently.

    Args:
        values: ascending by series id.
        names: by series id.
    """
    series_ids = np.unique(values.series)
    present_names = [names[series_id] for series_id in series_ids.tolist()]
    by_name = sorted(range(len(present_names)), key=present_names.__getitem__)
    rank = np.argsort(by_name)  # of each series id, the position of its name
    series = rank[np.searchsorted(series_ids, values.series)]
    if not (np.diff(series) >= 0).all():
        order = np.argsort(series, kind="stable")
        series, values = series[order], values.take(order)
    return Observations(
        names=tuple(present_names[n] for n in by_name), series=series, period=values.period, value=values.value
    )


def _add_covariates(
    transaction: Transaction, panel: Panel, recipe: Recipe, known: KnownVersions, *, length: int | None
) -> Panel:
    """The panel with the recipe's past and future covariates as they were known."""
    covariates = recipe.covariates
    panel = replace(panel, ahead=recipe.horizon if covariates.future else 0)
    # a covariate's newest values lie ahead of the series, and it may have values where the series has none
    covariate_length = None if length is None else 2 * (length + panel.ahead)
    for name in (*covariates.past, *covariates.future):
        observed = _read_observations(transaction, recipe, known, variable=name, length=covariate_length)
        panel = add_covariate(panel, name, observed, frequency=recipe.grid, known_ahead=name in covariates.future)
    return panel


def _add_attributes(panel: Panel, recipe: Recipe, attributes: Mapping[str, Mapping[str, str]]) -> Panel:
    """The panel with the recipe's static covariates; a series without an attribute has an empty text."""
    texts = {
        name: tuple(attributes.get(series, {}).get(name, "") for series in panel.series)
        for name in recipe.covariates.static
    }
    return replace(panel, static=texts)
