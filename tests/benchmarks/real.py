"""How the global network's defaults do on real collections: `python -m tests.benchmarks.real`.

Each recipe says `architecture = "global"` and nothing else of the network. The last five horizons are forecast from five
origins one horizon apart, by a network that was fitted once, on everything before them. Duplicates keep their first
value, gaps up to `max_gap` are filled as a cycle does, longer ones stay. Long collections are cut: PJM to three
years, gold to the years since its price floats. The series of the Time Series Data Library are from other times, and set
so that all end together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.forecasting.baselines import forecast_naive, normal_quantiles
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import hash_model, load_forecaster
from pipeline.preprocessing.gaps import fill_gaps
from pipeline.preprocessing.windows import Windows, read_targets
from pipeline.timeseries.panel import Panel, panel_from_observations
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainingJob
from tests.benchmarks.accuracy import interval_scores, panel_of

REAL = Path(__file__).parents[3] / "shared/data/real"
ORIGINS = 5
RECIPE = """
name = "real-{name}"
frequency = "{frequency}"
{calendar}
horizon = {horizon}
max_gap = {max_gap}
[source]
kind = "parquet"
path = "{name}.parquet"
period = "period"
value = "value"
series = "series"
[model]
architecture = "global"
[backtest]
periods = {test_periods}
"""


@dataclass(frozen=True, slots=True)
class Collection:
    """Real series of one frequency: rows of series, period and value."""

    name: str
    frequency: str
    horizon: int
    rows: Callable[[], pd.DataFrame]
    max_gap: int = 0
    calendar: str = ""
    #: each series as if it ended with the newest one
    end_together: bool = False

    def recipe(self) -> Recipe:
        text = RECIPE.format(
            name=self.name,
            frequency=self.frequency,
            calendar=f'calendar = "{self.calendar}"' if self.calendar else "",
            horizon=self.horizon,
            max_gap=self.max_gap,
            test_periods=ORIGINS * self.horizon,
        )
        return parse_recipe(text, where=f"real-{self.name}", folder=Path())

    def panel(self) -> Panel:
        rows, recipe = self.rows(), self.recipe()
        rows = rows.assign(period=pd.to_datetime(rows.period).astype("datetime64[us]"))
        rows = rows.dropna().sort_values(["series", "period"], kind="stable").drop_duplicates(["series", "period"])
        rows = rows[recipe.grid.on_grid(rows.period.to_numpy())]
        names = sorted(rows.series.unique())
        panel = panel_from_observations(
            names,
            rows.series.map({name: s for s, name in enumerate(names)}).to_numpy(np.int64),
            rows.period.to_numpy(),
            rows.value.to_numpy(float),
            frequency=recipe.grid,
        )
        if self.end_together:
            panel = panel_of([panel.series_values(s) for s in range(len(names))], recipe)
        return fill_gaps(panel, longest=self.max_gap)


def _parquet(file: str, series: str, period: str, value: str) -> Callable[[], pd.DataFrame]:
    def rows() -> pd.DataFrame:
        frame = pd.read_parquet(REAL / file, columns=[series, period, value])
        frame = frame.rename(columns={series: "series", period: "period", value: "value"})
        return frame.astype({"series": str})

    return rows


def _wide(file: str, period: str, columns: tuple[str, ...]) -> Callable[[], pd.DataFrame]:
    def rows() -> pd.DataFrame:
        read = pd.read_parquet if file.endswith(".parquet") else pd.read_csv
        return read(REAL / file)[[period, *columns]].melt(period, var_name="series").rename(columns={period: "period"})

    return rows


def _since(rows: Callable[[], pd.DataFrame], first: str) -> Callable[[], pd.DataFrame]:
    def recent() -> pd.DataFrame:
        frame = rows()
        return frame[pd.to_datetime(frame.period) >= pd.Timestamp(first)]

    return recent


def _gas() -> pd.DataFrame:
    """The state after all arrivals: a day that was withdrawn is not there."""
    events = pd.read_parquet(REAL / "natural_gas_daily_arrivals.parquet").sort_values("arrived_at_utc", kind="stable")
    newest = events.drop_duplicates("date", keep="last")
    newest = newest[newest.op != "delete"]
    return pd.DataFrame({"series": "gas", "period": newest.date, "value": newest.value})


def _library(frequency: int) -> Callable[[], pd.DataFrame]:
    def rows() -> pd.DataFrame:
        index = pd.read_parquet(REAL / "tsdl_business_index.parquet")
        chosen = index.unique_id[index.frequency == frequency]
        frame = _parquet("tsdl_business.parquet", "unique_id", "ds", "y")()
        return frame[frame.series.isin(chosen)]

    return rows


COLLECTIONS = (
    Collection(
        "pjm",
        "h",
        24,
        _since(_parquet("pjm_hourly_load.parquet", "region", "ts_local", "load_mw"), "2015-08-01"),
        max_gap=3,
    ),
    Collection(
        "etth1", "h", 24, _wide("etth1.parquet", "date", ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"))
    ),
    Collection("epf", "h", 24, _parquet("epf_hourly_prices.parquet", "unique_id", "ds", "y"), end_together=True),
    Collection("opsd", "D", 14, _wide("opsd_germany_daily.csv", "Date", ("Consumption", "Wind", "Solar")), max_gap=3),
    Collection("gas", "B", 14, _gas, max_gap=3),
    Collection("stocks", "B", 5, _parquet("stocks_daily.parquet", "ticker", "date", "close"), calendar="XNYS"),
    Collection("commodities", "MS", 12, _parquet("commodities_monthly.parquet", "commodity_type", "time", "price")),
    Collection("fred-md", "MS", 12, _parquet("fred_md_2023-12.parquet", "series", "month", "value"), max_gap=3),
    Collection("gold", "MS", 12, _since(_wide("gold_monthly.csv", "Date", ("Price",)), "1971-08-01")),
    Collection("us-electric", "MS", 12, _wide("us_electric_production_ipg2211a2n.csv", "DATE", ("IPG2211A2N",))),
    Collection("tsdl-monthly", "MS", 12, _library(12), end_together=True),
    Collection("tsdl-quarterly", "QS", 8, _library(4), end_together=True),
    Collection(
        "aus-production",
        "QS",
        8,
        _wide(
            "aus_production_quarterly.csv",
            "Quarter",
            ("Beer", "Tobacco", "Bricks", "Cement", "Electricity", "Gas"),
        ),
    ),
)


def published_interval_scores(collection: Collection) -> tuple[tuple[float, float], tuple[float, float]]:
    """MSIS and scaled quantile loss of what is published from the same origins, and of seasonal naive.

    By a network that is fitted once on everything before them, with the intervals of a backtest of its own; of the series
    that have not ended.
    """
    panel, recipe = collection.panel(), collection.recipe()
    ends = [len(panel.grid) - 1 - n * recipe.horizon for n in range(ORIGINS, 0, -1)]
    job = TrainingJob(panel=panel.until(ends[0]), recipe=recipe, training="retrain", reason="benchmark")
    files = run_training(job).files
    forecaster = load_forecaster(files, hash_model(files))
    parts = []
    for end in ends:
        history = panel.until(end)
        forecast = forecast_panel(forecaster, history, recipe, forecaster.calibration)
        baseline = forecast_naive(history, recipe.horizon, recipe.season)
        index_of = {name: s for s, name in enumerate(panel.series)}
        windows = Windows(np.array([index_of[name] for name in forecast.series]), np.full(len(forecast.series), end))
        observed = read_targets(panel, windows, recipe.horizon)
        active = np.array([history.series.index(name) for name in forecast.series])
        naive = normal_quantiles(baseline.mean, baseline.deviation)[active]
        parts.append((forecast.quantiles, naive, observed, baseline.scale[active]))
    ours, theirs, observed, scale = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return interval_scores(ours, observed, scale), interval_scores(theirs, observed, scale)


def line(collection: Collection) -> str:
    """A row of the table."""
    panel = collection.panel()
    began = time.perf_counter()
    job = TrainingJob(panel=panel, recipe=collection.recipe(), training="retrain", reason="benchmark")
    backtest = run_training(job).record.backtest
    seconds = time.perf_counter() - began
    assert backtest is not None
    ours, seasonal, naive = (backtest.scores[method]["mase"] for method in ("lstm", "seasonal-naive", "naive"))
    assert ours is not None
    assert seasonal is not None
    assert naive is not None
    intervals, baseline = published_interval_scores(collection)
    return (
        f"| {collection.name} | {len(panel.series)} | {len(panel.grid):,} | {collection.horizon} | {ORIGINS} "
        f"| {ours:.3f} | {seasonal:.3f} | {naive:.3f} | {ours / seasonal:.3f} | {ours / naive:.3f} "
        f"| {intervals[0]:.2f} | {baseline[0]:.2f} | {intervals[1]:.3f} | {baseline[1]:.3f} | {seconds:.0f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collection", choices=[one.name for one in COLLECTIONS], action="append")
    asked = parser.parse_args()
    print(
        "| collection | series | periods | horizon | origins | MASE | seasonal naive | naive "
        "| to seasonal naive | to naive | MSIS | seasonal naive's | scaled quantile loss | seasonal naive's "
        "| seconds of training |"
    )
    print("|" + "---|" * 15)
    for collection in COLLECTIONS:
        if not asked.collection or collection.name in asked.collection:
            print(line(collection), flush=True)


if __name__ == "__main__":
    main()
