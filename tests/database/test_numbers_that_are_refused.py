"""What the tables themselves refuse, whatever code writes to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.database import Transaction
from pipeline.lineage import Model
from pipeline.store import Store
from tests.database.small_store import NEVER, lineage, publish, value
from tests.database.small_store import forecast as small_forecast
from tests.examples import NOW

NUMBERS = ("lower_95", "lower_80", "median", "upper_80", "upper_95", "mean")
NOT_FINITE = [float("nan"), float("inf"), float("-inf"), None]
LARGEST = 1.7976931348623157e308


def stage(transaction: Transaction, model: Model, run_id: str = "staged", num_rows: int = 1) -> None:
    """A run without rows that nobody sees yet."""
    transaction.execute(
        "insert_run",
        run_id=run_id,
        recipe="small",
        kind="live",
        origin=np.datetime64("2023-04-01", "us"),
        as_of=NOW,
        data_hash="data",
        recipe_fingerprint=lineage().recipe_fingerprint,
        model_version=model.model_version,
        model_hash=model.model_hash,
        code_version="0.1.0+test",
        num_series=1,
        num_fallback=0,
        num_rows=num_rows,
        content_hash="content",
        expected_next_by=NEVER,
    )


def insert_step(transaction: Transaction, step: int = 1, **changed: Any) -> None:
    """One step of the staged run."""
    series_id = transaction.rows("series_of_recipe", recipe="small")[0]["series_id"]
    sound = dict(zip(NUMBERS, (-8.0, -5.0, 0.0, 5.0, 8.0, 0.0), strict=True))
    transaction.execute(
        "insert_forecast",
        run_id="staged",
        series_id=series_id,
        step=step,
        period=np.datetime64("2023-05-01", "us"),
        method="lstm",
        reason=None,
        **{**sound, **changed},
    )


def insert_value(transaction: Transaction, written: str, month: str = "2030-01-01", **parameters: Any) -> None:
    """One observation, past our own code."""
    transaction.connection.execute(
        sa.text(
            "insert into observations (series_id, period, recorded_at, value, batch_id) "
            f"select series_id, '{month} 00:00:00', '2026-01-01 12:00:00.000000+00:00', {written}, "
            "(select max(batch_id) from batches) from series"
        ),
        parameters,
    )


def refused(transaction: Transaction) -> Any:
    """What is inside is refused by the database, and what was before stays."""
    return _Refused(transaction)


class _Refused:
    def __init__(self, transaction: Transaction) -> None:
        self._savepoint = transaction.connection.begin_nested()
        self._raises = pytest.raises(sa.exc.DatabaseError)

    def __enter__(self) -> None:
        self._raises.__enter__()

    def __exit__(self, *error: Any) -> bool:
        self._savepoint.rollback()
        return bool(self._raises.__exit__(*error))


def test_an_observation_is_a_finite_number(observed_store: Store) -> None:
    with observed_store.database.write() as transaction:
        for number in NOT_FINITE:
            with refused(transaction):
                insert_value(transaction, "cast(:number as double precision)", number=number)
        for written in ("1e309", "-1e309", "'many'", "''", "'1,5'"):
            with refused(transaction):
                insert_value(transaction, written)
        insert_value(transaction, "cast(:number as double precision)", "2030-01-01", number=LARGEST)
        insert_value(transaction, "cast(:number as double precision)", "2030-02-01", number=-LARGEST)

    assert value(observed_store.database, "select count(*) from observations where period > '2029-01-01'") == 2


def test_every_number_of_a_forecast_is_finite(model: Model, observed_store: Store) -> None:
    with observed_store.database.write() as transaction:
        stage(transaction, model)
        for column in NUMBERS:
            for number in NOT_FINITE:
                with refused(transaction):
                    insert_step(transaction, **{column: number})
            for written in ("1e309", "-1e309", "'many'"):
                with refused(transaction):
                    insert_step(transaction)
                    transaction.connection.execute(sa.text(f"update forecasts set {column} = {written}"))
        insert_step(transaction)
        insert_step(transaction, step=2, mean=LARGEST, lower_95=-LARGEST, upper_95=LARGEST)

    assert value(observed_store.database, "select count(*) from forecasts") == 2


@pytest.mark.parametrize(("below", "above"), list(zip(NUMBERS[:4], NUMBERS[1:5], strict=True)))
def test_quantiles_never_cross(model: Model, observed_store: Store, below: str, above: str) -> None:
    names = NUMBERS[:5]
    crossing = {name: 0.0 for name in names[: names.index(above)]} | {
        name: -1.0 for name in names[names.index(above) :]
    }

    with observed_store.database.write() as transaction:
        stage(transaction, model)
        with refused(transaction):
            insert_step(transaction, **crossing)
        insert_step(transaction, **dict.fromkeys(names, 0.0))


def test_a_step_is_counted_from_one_and_given_once(model: Model, observed_store: Store) -> None:
    with observed_store.database.write() as transaction:
        stage(transaction, model)
        insert_step(transaction)
        for step in (0, -1, 1):
            with refused(transaction):
                insert_step(transaction, step=step)


def test_a_run_has_a_known_kind_and_status(model: Model, observed_store: Store) -> None:
    publish(observed_store, small_forecast(), model)

    with observed_store.database.write() as transaction:
        for column in ("kind", "status"):
            with refused(transaction):
                transaction.connection.execute(sa.text(f"update runs set {column} = 'other'"))
