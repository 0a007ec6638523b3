"""Ways around our own code that the database itself closes."""

from __future__ import annotations

import pytest

from pipeline.records.lineage import ModelVersion
from pipeline.storage.store import Store
from tests.storage.raw_sql import execute, insert_step, refused, stage
from tests.storage.small_store import forecast, publish

RUN_COLUMNS = {
    "run_id": "'other'",
    "kind": "'backfill'",
    "origin": "'1999-01-01'",
    "as_of": "published_at",
    "data_hash": "'other'",
    "recipe_fingerprint": "'other'",
    "model_hash": "'other'",
    "code_version": "'other'",
    "num_series": "2",
    "num_fallback": "1",
    "num_rows": "1",
    "content_hash": "'other'",
    "expected_next_by": "as_of",
    "published_at": "expected_next_by",
}


def number(status: str) -> str:
    """The number of the run in a status, as SQL."""
    return f"(select run_number from runs where status = '{status}')"


@pytest.mark.parametrize("column", RUN_COLUMNS)
def test_no_column_of_a_published_run_changes(column: str, model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model)

    with observed_store.database.write() as transaction, refused(transaction):
        execute(transaction, f"update runs set {column} = {RUN_COLUMNS[column]}")


def test_a_published_run_is_superseded_by_another_only(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model)

    with observed_store.database.write() as transaction:
        for change in (
            "superseded_by = run_id",
            "status = 'superseded'",
            "status = 'superseded', superseded_by = run_id",
        ):
            with refused(transaction, "a published run is never changed, only superseded"):
                execute(transaction, f"update runs set {change}")


def test_a_staged_run_cannot_be_superseded(model: ModelVersion, observed_store: Store) -> None:
    with observed_store.database.write() as transaction:
        stage(transaction, model, num_rows=3)
        with refused(transaction, "a run goes out with the number of rows that it declares"):
            execute(transaction, "update runs set status = 'superseded', published_at = as_of")


def test_rows_move_neither_out_of_a_published_run_nor_into_it(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model)

    with observed_store.database.write() as transaction:
        stage(transaction, model)
        insert_step(transaction, step=9)
        for change in (
            f"update forecasts set run_number = {number('staged')} where run_number <> {number('staged')}",
            f"update forecasts set run_number = {number('published')} where run_number = {number('staged')}",
        ):
            with refused(transaction, "the forecasts of a published run are never changed"):
                execute(transaction, change)


def test_a_published_run_is_not_replaced_by_a_staged_one(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model)

    with observed_store.database.write() as transaction:
        if transaction.connection.dialect.name == "sqlite":
            with refused(transaction, "a run is staged, once, before it is published"):
                stage_again = "insert or replace into runs select * from (select * from runs)"
                execute(transaction, stage_again)
        else:
            for table in ("runs", "forecasts"):
                with refused(transaction, "never changed"):
                    execute(transaction, f"truncate {table} cascade")
