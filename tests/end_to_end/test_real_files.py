"""Public files with their defects are ingested at the first try; generated ones with the same defects stand in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.config.loader import validate_recipe
from pipeline.jobs.ingest import ingest_source
from pipeline.storage.store import Store

REAL = Path(__file__).parents[3] / "shared/data/real"
NOW = datetime(2026, 11, 28, tzinfo=UTC)


def wide_csv(folder: Path) -> None:
    """Days of a load and of wind that begins later."""
    days = pd.date_range("2006-01-01", periods=900)
    frame = pd.DataFrame({"Date": days.strftime("%Y-%m-%d"), "Consumption": 1000.0 + days.day_of_week, "Wind": 5.0})
    frame.loc[:400, "Wind"] = None
    frame.to_csv(folder / "opsd_germany_daily.csv", index=False)


def gold_csv(folder: Path) -> None:
    months = pd.period_range("1833-01", periods=600, freq="M")
    pd.DataFrame({"Date": months.astype(str), "Price": 18.93}).to_csv(folder / "gold_monthly.csv", index=False)


def stocks_parquet(folder: Path) -> None:
    """Two tickers, and one day twice with different prices."""
    days = pd.date_range("2019-01-02", "2019-03-29", freq="B")
    frame = pd.concat([pd.DataFrame({"ticker": ticker, "date": days, "close": 50.0}) for ticker in ("AA", "STI")])
    frame = pd.concat([frame, pd.DataFrame({"ticker": ["STI"], "date": [days[9]], "close": [51.0]})])
    frame.to_parquet(folder / "stocks_daily.parquet")


def american_csv(folder: Path) -> None:
    """Dates as Americans write them."""
    dates = [f"{n % 12 + 1}/1/{1985 + n // 12}" for n in range(60)]
    frame = pd.DataFrame({"DATE": dates, "IPG2211A2N": [72.5 + n % 12 for n in range(60)]})
    frame.to_csv(folder / "us_electric_production_ipg2211a2n.csv", index=False)


def commodities_parquet(folder: Path) -> None:
    """Two prices, one of them with a gap of years."""
    months = pd.date_range("1960-01-01", periods=120, freq="MS")
    frames = [pd.DataFrame({"commodity_type": name, "time": months, "price": 1.5}) for name in ("Cocoa", "Zinc")]
    frames[1] = frames[1].drop(index=range(30, 60))
    pd.concat(frames).to_parquet(folder / "commodities_monthly.parquet")


def pjm_parquet(folder: Path) -> None:
    """Hours on the wall, without a zone: the doubled hour in autumn is there twice, the skipped one in spring is not."""
    hours = pd.date_range("2017-01-01", "2018-01-01", freq="h", tz="America/New_York").tz_localize(None)
    frame = pd.DataFrame({"region": "AEP", "ts_local": hours.strftime("%Y-%m-%d %H:%M:%S"), "load_mw": 14000.0})
    frame.to_parquet(folder / "pjm_hourly_load.parquet")


FILES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "opsd_germany_daily.csv": (wide_csv, "D", {"kind": "csv", "period": "Date", "layout": "wide"}),
    "gold_monthly.csv": (gold_csv, "MS", {"kind": "csv", "period": "Date", "value": "Price"}),
    "stocks_daily.parquet": (
        stocks_parquet,
        "B",
        {"kind": "parquet", "period": "date", "value": "close", "series": "ticker"},
    ),
    "us_electric_production_ipg2211a2n.csv": (
        american_csv,
        "MS",
        {"kind": "csv", "period": "DATE", "value": "IPG2211A2N"},
    ),
    "commodities_monthly.parquet": (
        commodities_parquet,
        "MS",
        {"kind": "parquet", "period": "time", "value": "price", "series": "commodity_type"},
    ),
    "pjm_hourly_load.parquet": (
        pjm_parquet,
        "h",
        {
            "kind": "parquet",
            "period": "ts_local",
            "value": "load_mw",
            "series": "region",
            "zone": "America/New_York",
        },
    ),
}


@pytest.mark.parametrize("file", FILES)
def test_a_public_file_is_ingested_at_the_first_try(file: str, store: Store, tmp_path: Path) -> None:
    generate, frequency, source = FILES[file]
    folder = REAL if (REAL / file).exists() else tmp_path
    if folder == tmp_path:
        generate(tmp_path)
    keys = {"path": str(folder / file), **source}
    assert len(keys) <= 8
    fields = {"name": "real", "frequency": frequency, "horizon": 7, "source": keys}
    recipe = validate_recipe(fields, where="real.toml").with_folder(tmp_path)
    store.recipes.register(recipe)

    result = ingest_source(recipe, store, NOW)

    assert result.num_new > 0
    assert result.num_rejected <= 0.05 * result.num_read
    assert (result.quarantine is None) == (result.num_rejected == 0)
