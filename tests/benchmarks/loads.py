"""Loads of many observations through the store, and the bare statements that they are measured against."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.ingest.changes import BatchDiff
from pipeline.ingest.reader import ParsedBatch
from pipeline.ingest.row_spool import ROW, Rows, RowSpool
from pipeline.storage.batches import BatchHeader
from pipeline.storage.store import Store
from pipeline.timeseries.frequency import Frequency, Periods
from pipeline.timeseries.observations import TARGET

#: periods of each series
LENGTH = 240


def months(count: int) -> Periods:
    """Month starts from 2000 on."""
    first = np.datetime64("2000-01-01", "us")
    return np.append(first, Frequency("MS").after(first, count - 1))


@dataclass(frozen=True, slots=True)
class Panelled:
    """As many observations as a night brings: series x periods, months from 2000 on."""

    num_series: int
    value: Any  # [num_series * LENGTH]
    length: int = LENGTH

    @property
    def names(self) -> list[tuple[str, str]]:
        """Of the series."""
        return [(f"series-{n:06d}", TARGET) for n in range(self.num_series)]

    @property
    def periods(self) -> Periods:
        """Of each series."""
        return months(self.length)

    @property
    def num_rows(self) -> int:
        """Observations in all."""
        return self.num_series * self.length

    def rows(self) -> Rows:
        """As a reading holds them."""
        rows = np.zeros(self.num_rows, ROW)
        rows["series"] = np.repeat(np.arange(self.num_series), self.length)
        rows["line"] = np.arange(2, self.num_rows + 2)
        rows["period"] = np.tile(self.periods.astype(np.int64), self.num_series)
        rows["value"] = self.value
        return rows

    def revised(self, share: float) -> Panelled:
        """The same with a share of other values, anywhere."""
        value = self.value.copy()
        chosen = np.random.default_rng(1).choice(len(value), int(share * len(value)), replace=False)
        value[chosen] += 1.0
        return Panelled(self.num_series, value, self.length)


def panelled(num_rows: int, length: int = LENGTH) -> Panelled:
    """Seeded values of so many rows."""
    num_series = num_rows // length
    return Panelled(num_series, np.random.default_rng(0).normal(100, 10, num_series * length), length)


def bench_recipe() -> Recipe:
    """Months of many series."""
    text = 'name = "bench"\nfrequency = "MS"\nhorizon = 18\n[source]\nkind = "csv"\npath = "none.csv"\nperiod = "period"\nvalue = "value"\nseries = "series"\n[model]\narchitecture = "vanilla"\ncontext = 36\n'
    return parse_recipe(text, where="bench.toml", folder=Path())


def load_through_store(store: Store, panel: Panelled, content_hash: str) -> tuple[BatchDiff, float]:
    """What `nextperiod ingest` does once the rows are read: check, compare, load, in one transaction; its seconds."""
    recipe = bench_recipe()
    with RowSpool() as spool:
        reading = ParsedBatch(
            source="bench",
            recipe=recipe,
            spool=spool,
            num_read=panel.num_rows,
            names=panel.names,
            files=[None],
            periods=panel.periods,
        )
        spool.add(panel.rows())
        comparison = BatchDiff(reading)
        began = time.perf_counter()
        header = BatchHeader(recipe=recipe.name, source="bench", content_hash=content_hash)
        with store.batches.write(header, datetime.now(UTC)) as intake:
            intake.register(reading.names)
            for rows in spool.parts():
                told = comparison.clean(rows)
                change = comparison.compare(told, intake.stored_values(told, recipe.grid))
                intake.add(change.new, change.revised)
            comparison.history.expect_series(intake.missing_values())
            comparison.refuse_faulty()
            comparison.hold_suspicious()
            intake.finish(comparison.counts.as_dict(), [])
    return comparison, time.perf_counter() - began
