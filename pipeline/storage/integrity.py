"""What the store promises, looked at row by row."""

from __future__ import annotations

from pipeline.errors import ModelRefused
from pipeline.forecasting.forecaster import verify_model_files
from pipeline.storage.statements import Row
from pipeline.storage.store import Store


def integrity_errors(store: Store) -> list[str]:
    """What in a store is not as it is promised to be, one sentence each; empty when all is well."""
    with store.database.read() as transaction:
        broken = [
            f"run {row['run_id']} holds {row['found']} rows, {row['num_rows']} were declared"
            for row in transaction.rows("runs_not_whole")
        ]
        broken += [
            f"{row['found']} {row['kind']} runs of {row['recipe']} are published at origin {row['origin']}"
            for row in transaction.rows("runs_published_twice")
        ]
        latest = transaction.rows("latest_runs")
        champions = transaction.rows("champions")
    broken += [f"run {row['run_id']} is not as it was computed" for row in latest if not _is_as_computed(store, row)]
    return broken + [said for row in champions if (said := _fault_of_champion(store, row)) is not None]


def _is_as_computed(store: Store, run: Row) -> bool:
    try:
        return store.forecast_of_run(run["run_id"]).content_hash == str(run["content_hash"])
    except ValueError:
        return False


def _fault_of_champion(store: Store, row: Row) -> str | None:
    model = store.model(row["recipe"], row["model_version"])
    if model is None:
        return f"the champion {row['model_version']} of {row['recipe']} does not exist"
    try:
        verify_model_files(store.model_files(model), model.model_hash)
    except ModelRefused as error:
        return str(error)
    return None
