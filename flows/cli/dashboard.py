"""`nextperiod dashboard`: the forecast page of all recipes as files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from flows.cli.console import print_json
from flows.context import open_store_for_reading, utc_now
from pipeline.jobs.dashboard import write_dashboard
from pipeline.text import counted


def print_dashboard(folder: Path, *, num_series: int, as_json: bool) -> None:
    """`nextperiod dashboard`: write the page of every recipe and the overview, and print where it begins."""
    with open_store_for_reading() as store:
        written = write_dashboard(store, folder, utc_now(), num_series=num_series)
    if as_json:
        print_json(asdict(written))
    else:
        size = f"{written.num_bytes / 1e6:.1f} MB"
        print(f"{written.index}: the overview and {counted(written.num_recipes, 'recipe page')}, {size}")
