"""What the tables themselves refuse, whatever code writes to them."""

from __future__ import annotations

import itertools

import pytest
import sqlalchemy as sa

from pipeline.records.lineage import ModelVersion
from pipeline.storage.store import Store
from tests.storage.raw_sql import NUMBERS, insert_step, insert_value, refused, stage, value
from tests.storage.small_store import forecast, publish

NOT_FINITE = [float("nan"), float("inf"), float("-inf"), None]
LARGEST = 1.7976931348623157e308


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


def test_every_number_of_a_forecast_is_finite(model: ModelVersion, observed_store: Store) -> None:
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


@pytest.mark.parametrize(("below", "above"), list(itertools.pairwise(NUMBERS[:5])))
def test_quantiles_never_cross(model: ModelVersion, observed_store: Store, below: str, above: str) -> None:
    names = NUMBERS[:5]
    position = names.index(above)
    crossing = dict.fromkeys(names[:position], 0.0) | dict.fromkeys(names[position:], -1.0)

    with observed_store.database.write() as transaction:
        stage(transaction, model)
        with refused(transaction):
            insert_step(transaction, **crossing)
        insert_step(transaction, **dict.fromkeys(names, 0.0))


def test_a_step_is_counted_from_one_and_given_once(model: ModelVersion, observed_store: Store) -> None:
    with observed_store.database.write() as transaction:
        stage(transaction, model)
        insert_step(transaction)
        for step in (0, -1, 1):
            with refused(transaction):
                insert_step(transaction, step=step)


def test_a_run_has_a_known_kind_and_status(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model)

    with observed_store.database.write() as transaction:
        for column in ("kind", "status"):
            with refused(transaction):
                transaction.connection.execute(sa.text(f"update runs set {column} = 'other'"))
