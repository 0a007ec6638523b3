"""FRED-MD's two vintages and the arrival log of natural gas prices, each as one recipe; generated where they are absent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.recipe import Recipe
from pipeline.jobs.ingest import ingest_source
from pipeline.jobs.inputs import LATEST
from pipeline.storage.store import Store
from tests.end_to_end.vintages import REAL, VINTAGES, values_of, vintage
from tests.storage.raw_sql import rows
from tests.support.recipes import build_recipe

NOW = datetime(2026, 11, 28, tzinfo=UTC)
LOG = REAL / "natural_gas_daily_arrivals.parquet"
GAS = {"kind": "parquet", "period": "date", "value": "value", "known_at": "arrived_at_utc", "operation": "op"}


def arrival_log(folder: Path) -> Path:
    """The log of a daily price: a history at once, then batches with values, corrections and withdrawals."""
    if LOG.exists():
        return LOG
    rng = np.random.default_rng(106)
    days = pd.bdate_range("2014-01-01", "2015-06-30")
    first, table = 260, []
    prices = dict(zip(days, np.round(3 + np.cumsum(rng.normal(0, 0.05, len(days))), 2), strict=True))
    arrived = days[first - 1] + pd.Timedelta(hours=38, minutes=25)
    table += [(arrived, day.date(), "insert", prices[day]) for day in days[:first]]
    for n, day in enumerate(days[first:]):
        arrived = day + pd.Timedelta(hours=38, minutes=25)
        table.append((arrived, day.date(), "insert", prices[day]))
        if n % 5 == 4:
            table.append((arrived, days[first + n - 3].date(), "delete", None))
        if n % 40 == 20:
            table.append((arrived, days[first + n - 1].date(), "update", prices[day] + 1))
    frame = pd.DataFrame(table, columns=["arrived_at_utc", "date", "op", "value"])
    frame.to_parquet(folder / LOG.name, index=False)
    return folder / LOG.name


def log_as_of(log: pd.DataFrame, instant: pd.Timestamp) -> dict[np.datetime64, float]:
    """The log carried out row by row up to an instant."""
    state: dict[np.datetime64, float] = {}
    for row in log[log["arrived_at_utc"] <= instant].itertuples():
        day = np.datetime64(row.date, "us")
        state[day] = np.nan if row.op == "delete" else row.value
    return {day: value for day, value in state.items() if not np.isnan(value)}


def values_known(recipe: Recipe, store: Store, as_of: datetime) -> dict[np.datetime64, float]:
    panel = store.observations.panel(recipe, as_of, recorded_by=LATEST)
    assert panel is not None
    pairs = zip(panel.grid, panel.series_values(0), strict=True)
    return {period: float(value) for period, value in pairs if not np.isnan(value)}


def test_the_arrival_log_is_ingested_at_the_first_try(store: Store, tmp_path: Path) -> None:
    path = arrival_log(tmp_path)
    recipe = build_recipe("gas", frequency="B", horizon=5, source=GAS | {"path": str(path)})
    store.recipes.register(recipe)

    result = ingest_source(recipe, store, NOW)

    log = pd.read_parquet(path)
    log["arrived_at_utc"] = log["arrived_at_utc"].astype("datetime64[us]")
    on_grid = recipe.grid.on_grid(log["date"].to_numpy().astype("datetime64[us]"))
    log = log[on_grid]
    assert result.num_rejected == int((~on_grid).sum())
    instants = log["arrived_at_utc"].drop_duplicates().sort_values()
    assert store.batches.known_instants("gas")[-1] <= instants.iloc[-1].to_pydatetime().replace(tzinfo=UTC)
    for instant in instants[:: max(1, len(instants) // 12)]:
        as_of = instant.to_pydatetime().replace(tzinfo=UTC)
        assert values_known(recipe, store, as_of) == log_as_of(log, instant)
    found = rows(store.database, "select count(*) from current_observations")[0][0]
    assert found == len(log_as_of(log, instants.iloc[-1]))


def test_two_vintages_of_macro_series_are_read_as_they_were_published(store: Store, tmp_path: Path) -> None:
    for name in VINTAGES:
        vintage(name).to_csv(tmp_path / f"fred_md_{name}.csv", index=False)
    keys = {"path": "fred_md_*.csv", "value": "value", "series": "series", "vintage": "%Y-%m", "missing": "gap"}
    recipe = build_recipe("macro", folder=tmp_path, source=keys)
    store.recipes.register(recipe)

    ingest_source(recipe, store, NOW)

    for name in VINTAGES:
        published = datetime.strptime(name, "%Y-%m").replace(tzinfo=UTC)
        expected = values_of(vintage(name))
        panel = store.observations.panel(recipe, published + timedelta(days=1), recorded_by=LATEST)
        assert panel is not None
        for s, series in enumerate(panel.series):
            values = panel.series_values(s)
            months = panel.grid[panel.first[s] : panel.first[s] + len(values)]
            told = {(series, month): float(v) for month, v in zip(months, values, strict=True) if not np.isnan(v)}
            assert {key: value for key, value in told.items() if key in expected} == {
                key: value for key, value in expected.items() if key[0] == series
            }


def test_a_column_of_vintages_is_read_like_dated_files(store: Store, tmp_path: Path) -> None:
    both = pd.concat([vintage(name).assign(vintage=name) for name in VINTAGES]).dropna()
    both.to_parquet(tmp_path / "fred.parquet", index=False)
    keys = {"kind": "parquet", "path": "fred.parquet", "value": "value", "series": "series", "known_at": "vintage"}
    recipe = build_recipe("macro", folder=tmp_path, source=keys)
    store.recipes.register(recipe)

    ingest_source(recipe, store, NOW)

    assert [f"{instant:%Y-%m}" for instant in store.batches.known_instants("macro")] == list(VINTAGES)
    expected = values_of(vintage(VINTAGES[0]))
    panel = store.observations.panel(recipe, datetime(2019, 9, 1, tzinfo=UTC), recorded_by=LATEST)
    assert panel is not None
    assert int((~np.isnan(panel.values)).sum()) == len(expected)
