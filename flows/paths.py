"""`nextperiod forecast --paths`: a forecast, and scenarios drawn from it."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

from flows.opening import opened
from flows.screen import print_json, progress
from pipeline import jobs
from pipeline.errors import counted
from pipeline.path_jobs import sample_paths

logger = logging.getLogger(__name__)


def forecast_with_paths(name: str, *, num_paths: int, seed: int | None, parquet: Path | None, as_json: bool) -> None:
    """`nextperiod forecast --paths`: the forecast first, as without it."""
    with opened(name) as at, progress():
        with jobs.attempt(at.recipe, at.store, "forecast", at.clock) as outcome:
            published = jobs.forecast(at.recipe, at.store, at.now)
            logger.debug("drawing paths", extra={"step": "drawing paths"})
            file = parquet or Path(f"{at.recipe.name}-paths.parquet")
            drawn = sample_paths(at.recipe, at.store, published.run_id, num_paths=num_paths, parquet=file, seed=seed)
            outcome.append("done" if (published.status, drawn.status) == ("unchanged", "written") else published.status)
        if as_json:
            print_json({"recipe": at.recipe.name, **asdict(published), "paths": asdict(drawn)})
            return
        print(
            f"{at.recipe.name}: {published.status} run {published.run_id}, {published.num_rows} rows after "
            f"{published.origin[:10]}"
        )
        print(
            f"{at.recipe.name}: {drawn.status} {counted(drawn.num_paths, 'sample path')}, {drawn.num_new} of them new, with seed "
            f"{drawn.seed}: {counted(drawn.num_rows, 'row')} in {drawn.parquet}"
        )
