"""The store works whatever a role, a database or a pooler makes of a session, and leaves nothing behind in it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.errors import DatabaseUnavailable, InvalidArgument, NotAllowed
from pipeline.storage.engine import Database, open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.training.process_files import TrainedModel
from tests.storage.raw_sql import value
from tests.storage.small_store import add_model, batch, forecast, model_files, monthly, publish, take_in
from tests.support.examples import NOW, small_recipe
from tests.support.pooler import is_installed, running_pgbouncer
from tests.support.servers import new_database

#: what a role may set, and what would read or write another number, or fail
SETTINGS = {
    "datestyle": "German, DMY",
    "DateStyle": "SQL, MDY",
    "timezone": "America/St_Johns",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "-10",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable",
    "synchronous_commit": "off",
    "transform_null_equals": "on",
    "default_transaction_deferrable": "on",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "10s",
    "row_security": "off",
    "array_nulls": "off",
    "client_min_messages": "debug5",
    "search_path": "nowhere",
}
#: has more digits than a role with few of them would show
PRECISE = 100.12345678901234


@pytest.fixture
def url(postgresql: sa.URL, request: pytest.FixtureRequest) -> Iterator[sa.URL]:
    """An empty PostgreSQL database."""
    admin = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with new_database(admin, f"session_{os.getpid()}_{abs(hash(request.node.nodeid))}") as empty:
        yield empty
    admin.dispose()


def open_at(url: sa.URL) -> Database:
    return open_database(url.render_as_string(hide_password=False))


def execute(url: sa.URL, *statements: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def use_store(database: Database, outcome: TrainedModel, *, series: str = "Łódź") -> None:
    """Write and read everything that a cycle does, and check what comes back."""
    require_schema(database)
    store = Store(database)
    store.recipes.register(small_recipe())
    take_in(store, batch({series: {**monthly([1.0, 2.0]), "2020-03-01": PRECISE}}), NOW)
    panel = store.observations.panel(small_recipe(), NOW)
    assert panel is not None
    assert panel.series == (series,)
    assert panel.values.tolist() == [1.0, 2.0, PRECISE]
    assert panel.grid.tolist() == np.array(["2020-01-01", "2020-02-01", "2020-03-01"], "datetime64[us]").tolist()
    add_model(store, outcome)
    model = store.models.champion("small")
    assert model is not None
    run, _ = publish(store, forecast([PRECISE, 2, 3], series=(series,), origin="2020-03-01"), model)
    assert value(database, f"select mean from latest_forecasts where run_id = '{run.run_id}' and step = 1") == PRECISE
    assert store.recipes.status()[0]["latest_origin"] == np.datetime64("2020-03-01", "us")
    assert store.models.files(model) == model_files(outcome)[0]


@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_database_may_have_settings_of_its_own(url: sa.URL, outcome: TrainedModel, name: str) -> None:
    execute(url, f"alter database {url.database} set {name} = '{SETTINGS[name]}'")
    database = open_at(url)

    use_store(database, outcome)

    database.close()


def test_a_database_that_cannot_be_written_to_is_named_with_the_way_out(url: sa.URL) -> None:
    execute(url, f"alter database {url.database} set default_transaction_read_only = on")
    database = open_at(url)

    with pytest.raises(
        NotAllowed, match=r"refuses: cannot execute .* in a read-only transaction: a standby, or default_"
    ):
        require_schema(database)

    database.close()


def test_a_statement_that_waits_longer_than_a_role_may_is_answered_in_one_line(url: sa.URL) -> None:
    database = open_at(url)
    require_schema(database)
    database.close()
    execute(url, f"alter database {url.database} set statement_timeout = '50ms'")

    with pytest.raises(DatabaseUnavailable, match="canceling statement due to statement timeout"), database.read() as t:
        t.connection.exec_driver_sql("select pg_sleep(10)")

    database.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_lacks_characters_gets_no_store(postgresql: sa.URL, encoding: str) -> None:
    name = f"session_{os.getpid()}_{encoding.lower()}"
    execute(postgresql, f"create database {name} template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'")
    database = open_at(postgresql.set(database=name))

    with pytest.raises(
        NotAllowed, match=f"has the encoding {encoding}: expected UTF8; create it with: create database"
    ):
        require_schema(database)

    database.close()
    execute(postgresql, f"drop database {name}")


def test_the_store_is_found_where_it_is_however_the_search_path_changes(url: sa.URL, outcome: TrainedModel) -> None:
    execute(url, "create schema forecasts", "create schema other", "create table other.runs (nothing int)")
    execute(url, f"alter database {url.database} set search_path = forecasts")
    first = open_at(url)
    use_store(first, outcome)
    first.close()

    execute(url, f"alter database {url.database} set search_path = other, public")
    second = open_at(url)
    require_schema(second)

    assert value(second, "select count(*) from latest_forecasts") == 3
    assert value(second, "select current_schema()") == "forecasts"
    assert value(second, "select count(*) from information_schema.tables where table_name = 'schema_version'") == 1
    second.close()


def test_nothing_stays_in_a_session_that_the_next_transaction_could_meet(url: sa.URL, outcome: TrainedModel) -> None:
    database = open_at(url)
    use_store(database, outcome)

    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        cursor = driver.execute("select count(*) from pg_prepared_statements")
        assert cursor.fetchone() == (0,)
        driver.rollback()
        engine_settings = {"application_name", "client_encoding", "transaction_isolation"}
        changed = driver.execute("select name from pg_settings where source = 'session'").fetchall()
        assert {name for (name,) in changed} <= engine_settings
        assert driver.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone() == (0,)
        temporary = "select count(*) from pg_class where relpersistence = 't'"
        assert driver.execute(temporary).fetchone() == (0,)
    database.close()


@pytest.mark.parametrize("pooled", [False, *([True] if is_installed() else [])])
def test_each_transaction_may_run_in_another_session(url: sa.URL, outcome: TrainedModel, *, pooled: bool) -> None:
    """Without pgbouncer the same calls go straight to the server; what they must not leave behind is tested above."""
    if not pooled:
        database = open_at(url)
        use_store(database, outcome)
        use_store_again(database)
        database.close()
        return
    with running_pgbouncer(url) as behind:
        database = open_at(behind)
        use_store(database, outcome)
        use_store_again(database)
        database.close()


def use_store_again(database: Database) -> None:
    """Repeat statements that a driver would prepare, from several connections at once."""
    store = Store(database)
    for n in range(12):
        take_in(store, batch({f"series {k}": monthly([n + 0.5, k]) for k in range(3)}, f"content {n}"), NOW)
    with database.read(), database.read(), database.read():
        assert store.observations.panel(small_recipe(), NOW) is not None


@pytest.mark.parametrize("option", ["prepare_threshold=None", "prepare_threshold=0", "prepare_threshold=5"])
def test_statements_may_be_prepared_where_the_url_asks_for_it(url: sa.URL, outcome: TrainedModel, option: str) -> None:
    database = open_database(f"{url.render_as_string(hide_password=False)}&{option}".replace("?&", "?"))

    use_store(database, outcome)

    database.close()


@pytest.mark.parametrize(
    "option",
    [
        *("connect_timeout=3", "application_name=nightly", "options=-c%20geqo%3Doff", "options=-c%20datestyle%3DSQL"),
        *("sslmode=prefer", "target_session_attrs=read-write", "client_encoding=utf-8"),
    ],
)
def test_options_of_libpq_are_passed_on(url: sa.URL, option: str) -> None:
    database = open_database(f"{url.render_as_string(hide_password=False)}&{option}")

    require_schema(database)

    database.close()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("prepare_threshold=often", "prepare_threshold=often: expected None or the number"),
        ("prepare_threshold=-1", "prepare_threshold=-1: expected None or the number"),
        ("autocommit=true", "has the option autocommit, which is not known: expected application_name"),
        ("prepare_treshold=0", "has the option prepare_treshold, which is not known"),
        (
            "prepare_threshold=0&prepare_threshold=5",
            "has the option prepare_threshold more than once: expected it once",
        ),
        ("sslmode=disable&sslmode=require", "has the option sslmode more than once: expected it once"),
        ("client_encoding=LATIN1", "client_encoding=LATIN1: expected UTF8, or no such option"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_in_one_line(option: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        open_database(f"postgresql://u@h/d?{option}")


def test_one_of_several_hosts_is_found(url: sa.URL) -> None:
    server = (
        [*url.normalized_query["host"], str(url.port or 5432)] if "host" in url.query else [url.host, str(url.port)]
    )
    several = url.set(host=None, port=None, query={"host": f"127.0.0.1,{server[0]}", "port": f"1,{server[1]}"})
    database = open_at(several)

    require_schema(database)

    database.close()


def test_hosts_in_the_place_of_one_are_answered_with_how_they_are_written() -> None:
    with pytest.raises(
        InvalidArgument, match=r"several hosts are written postgresql\+psycopg://USER@/NAME\?host=HOST:PORT"
    ):
        open_database("postgresql://u@h1:5432,h2:5433/d")
