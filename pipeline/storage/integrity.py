"""Integrity check: whether the store holds what it should, row by row."""

from __future__ import annotations

from pipeline.errors import ModelRefused
from pipeline.forecasting.forecaster import verify_model_files
from pipeline.storage.statements import Row
from pipeline.storage.store import Store
from pipeline.text import counted


def integrity_errors(store: Store) -> list[str]:
    """What is wrong in a store, one sentence each; empty if nothing is."""
    with store.database.read() as transaction:
        errors = [
            f"run {row['run_id']} holds {counted(row['found'], 'row')}, {row['num_rows']} were declared"
            for row in transaction.rows("incomplete_runs")
        ]
        errors += [
            f"{row['found']} {row['kind']} runs of {row['recipe']} are published at origin {row['origin']}"
            for row in transaction.rows("origins_published_twice")
        ]
        runs = transaction.rows("latest_runs")
        champions = transaction.rows("champions")
    errors += [f"run {run['run_id']} is not as it was computed" for run in runs if not _is_as_computed(store, run)]
    champion_errors = (_champion_error(store, champion) for champion in champions)
    return errors + [error for error in champion_errors if error is not None]


def _is_as_computed(store: Store, run: Row) -> bool:
    try:
        return store.runs.read_forecast(run["run_id"]).content_hash == str(run["content_hash"])
    except ValueError:
        return False


def _champion_error(store: Store, champion: Row) -> str | None:
    model = store.models.by_version(champion["recipe"], champion["model_version"])
    if model is None:
        return f"the champion {champion['model_version']} of {champion['recipe']} does not exist"
    try:
        verify_model_files(store.models.files(model), model.model_hash)
    except ModelRefused as error:
        return str(error)
    return None
