"""What the forecast page shows of a recipe: bounded reads, whatever the size of the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.storage.bulk_load import values_as_of
from pipeline.storage.engine import Database
from pipeline.storage.statements import Row, Transaction
from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.long_values import LongValues

#: more batches than any store has: values as they are now
_ALL_BATCHES = 2**53
#: of more series than this, a sample says how accurate all are by step
_MOST_SAMPLED_SERIES = 10_000


@dataclass(frozen=True, slots=True)
class DashboardRepository:
    """Reads for the forecast page, each bounded by a number of rows or series."""

    database: Database

    def publications(self, recipe: str, *, most: int) -> Sequence[Row]:
        """The newest live publications of a recipe; the first one is what `latest_forecasts` shows."""
        return self._rows("live_publications", recipe=recipe, most=most)

    def series_by_accuracy(
        self, recipe: str, run_number: int, *, first_origin: np.datetime64, most: int
    ) -> Sequence[Row]:
        """Series of a run with how they are forecast and their errors, the least accurate ones first.

        Args:
            recipe: of the run.
            run_number: whose series.
            first_origin: forecasts from earlier origins do not count.
            most: so many series.
        """
        return self._rows(
            "series_by_accuracy", recipe=recipe, run_number=run_number, first_origin=first_origin, most=most
        )

    def names_of_series(self, recipe: str, *, most: int) -> Sequence[Row]:
        """Ids and names of series of a recipe that may have no forecast."""
        return self._rows("names_of_series", recipe=recipe, most=most)

    def first_series(self, run_number: int) -> Row | None:
        """Id and name of one series of a run: always the same one."""
        with self.database.read() as transaction:
            return transaction.row("first_series_of_run", run_number=run_number)

    def scores_by_step(self, recipe: str, *, first_origin: np.datetime64) -> Sequence[Row]:
        """Scores of the live forecasts since an origin, over all series, or a fixed sample of very many."""
        return self._rows("scores_by_step", recipe=recipe, first_origin=first_origin, num_series=_MOST_SAMPLED_SERIES)

    def scores_of_series(
        self, recipe: str, series_ids: Sequence[int], *, first_origin: np.datetime64
    ) -> list[tuple[Any, ...]]:
        """The same of some series: series id, step, number of scores, MASE, skill, shares inside 80 % and 95 %."""
        with self.database.read() as transaction:
            ids = _as_parameter(transaction, series_ids)
            return transaction.columns("scores_of_series", recipe=recipe, series_ids=ids, first_origin=first_origin)

    def forecasts(self, run_number: int, series_ids: Sequence[int]) -> tuple[Periods, list[tuple[Any, ...]]]:
        """The periods of a run [H]; and of some series: series id, step, mean, lower and upper 95, 80, 80, 95 %."""
        with self.database.read() as transaction:
            (periods,) = transaction.columns("steps_of_run", run_number=run_number)
            ids = _as_parameter(transaction, series_ids)
            columns = transaction.columns("forecasts_of_series", run_number=run_number, series_ids=ids)
        return np.array(periods, "datetime64[us]"), columns

    def history(self, recipe: str, series_ids: Sequence[int], *, length: int) -> LongValues:
        """At least the last `length` values of some series as they are now, by series id; gaps have no value."""
        with self.database.read() as transaction:
            withdrawn = transaction.row("most_withdrawn", recipe=recipe)
            num_withdrawn = int(withdrawn["num_withdrawn"] or 0) if withdrawn else 0
            values = values_as_of(transaction, series_ids, _ALL_BATCHES, length=length + num_withdrawn)
        return values.without_withdrawn()

    def decisions(self, recipe: str, *, most: int) -> Sequence[Row]:
        """The newest decisions about models."""
        return self._rows("decisions_of_recipe", recipe=recipe, most=most)

    def decided_batches(self, recipe: str, *, most: int) -> Sequence[Row]:
        """The newest batches that were not simply accepted."""
        return self._rows("decided_batches", recipe=recipe, most=most)

    def rejections(self, recipe: str, *, most: int) -> Sequence[Row]:
        """The newest rejected rows."""
        return self._rows("newest_rejections", recipe=recipe, most=most)

    def models(self, recipe: str, *, most: int) -> Sequence[Row]:
        """The newest models."""
        return self._rows("models_of_recipe", recipe=recipe, most=most)

    def _rows(self, query: str, **parameters: Any) -> Sequence[Row]:
        with self.database.read() as transaction:
            return transaction.rows(query, **parameters)


def _as_parameter(transaction: Transaction, series_ids: Sequence[int]) -> list[int] | str:
    """Ids as the queries of each database take them."""
    return list(series_ids) if transaction.dialect == "postgresql" else json.dumps(list(series_ids))
