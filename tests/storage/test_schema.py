"""The schema is made, kept, told apart from others, and readable without Python."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from pipeline.errors import DatabaseUnavailable, SchemaOutOfDate, SchemaTooNew
from pipeline.storage.engine import Database, open_database
from pipeline.storage.schema import (
    REVISION,
    VERSION_TABLE,
    VIEWS,
    require_schema,
    revision_of,
    run_script,
    upgrade,
    view_sql,
)
from pipeline.storage.statements import query_text
from tests.storage.handmade_store import (
    EARLIER_NAMES,
    RECORDED_AT,
    TOLD,
    numbers_around,
    publish,
    write_before_observations,
    write_runs,
    write_store,
)
from tests.storage.raw_sql import change, insert, rows
from tests.storage.schema_names import QUERIES, SQL, TABLES, query_names
from tests.support.schema_snapshot import postgresql_schema, snapshot, sqlite_schema
from tests.support.servers import new_database

VIEW_FILES = sorted(SQL.glob("views/*.sql"))

_SQLITE_SCHEMA = "select type, name, sql from sqlite_master order by type, name"
_POSTGRESQL_SCHEMA = """
select table_name || '.' || column_name, data_type || is_nullable || coalesce(column_default, '') from
    information_schema.columns where table_schema = 'public'
union all select conname, pg_get_constraintdef(oid) from pg_constraint
    where connamespace = 'public'::regnamespace and contype <> 'n'
union all select indexname, indexdef from pg_indexes where schemaname = 'public'
union all select viewname, definition from pg_views where schemaname = 'public'
union all select tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
union all select proname, prosrc || coalesce(proconfig::text, '') from pg_proc where pronamespace = 'public'::regnamespace
union all select relname, pg_get_partkeydef(oid) from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'p'
union all select relname, pg_get_expr(relpartbound, oid) from pg_class
    where relnamespace = 'public'::regnamespace and relispartition and relkind = 'r'
union all select objects.relname || '.' || pg_description.objsubid, pg_description.description
    from pg_description join pg_class as objects on objects.oid = pg_description.objoid
    where pg_description.classoid = 'pg_class'::regclass and objects.relnamespace = 'public'::regnamespace
order by 1, 2"""


def schema_of(database: Database) -> list[tuple[str, ...]]:
    """Everything that the database says about its own schema."""
    told = rows(database, _SQLITE_SCHEMA if is_sqlite(database) else _POSTGRESQL_SCHEMA)
    return [tuple(" ".join((text or "").split()) for text in row) for row in told]


def is_sqlite(database: Database) -> bool:
    return database.url.get_backend_name() == "sqlite"


@pytest.fixture
def empty(database_url: str) -> Database:
    """A database without a schema."""
    return open_database(database_url)


def test_an_upgrade_makes_the_schema(empty: Database) -> None:
    assert revision_of(empty) is None

    upgrade(empty)

    inspector = sa.inspect(empty.engine)
    assert set(inspector.get_table_names()) == TABLES - ({"observations_default"} if is_sqlite(empty) else set())
    assert set(inspector.get_view_names()) == set(VIEWS)
    assert revision_of(empty) == REVISION
    empty.close()


def test_a_second_upgrade_changes_nothing(database: Database) -> None:
    change(database, "insert into registered_recipes (recipe, definition, fingerprint) values ('kept', '{}', 'f')")
    before = schema_of(database)

    upgrade(database)

    assert schema_of(database) == before
    assert rows(database, "select recipe, fingerprint from registered_recipes") == [("kept", "f")]
    assert rows(database, f"select version_num from {VERSION_TABLE}") == [(REVISION,)]


def test_an_upgrade_that_fails_leaves_nothing_of_itself(empty: Database) -> None:
    change(empty, "create table outbox (in_the_way integer)")

    with pytest.raises((sa.exc.DatabaseError, DatabaseUnavailable), match="outbox"):
        upgrade(empty)

    assert sa.inspect(empty.engine).get_table_names() == ["outbox"]
    assert revision_of(empty) is None
    change(empty, "drop table outbox")
    upgrade(empty)
    assert revision_of(empty) == REVISION
    empty.close()


def test_the_revision_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(SQL / "migrations")).get_current_head() == REVISION


def test_the_snapshot_of_sqlite_is_current(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/store.db")
    upgrade(database)

    assert snapshot("sqlite").read_text("utf-8") == sqlite_schema(database), "run `make schema`"
    database.close()


def test_the_snapshot_makes_the_same_schema_as_the_migrations(database: Database, tmp_path: Path) -> None:
    made = schema_of(database)

    if is_sqlite(database):
        by_hand = open_database(f"sqlite:///{tmp_path}/by_hand.db")
        with contextlib.closing(sqlite3.connect(tmp_path / "by_hand.db")) as connection:
            connection.executescript(snapshot("sqlite").read_text("utf-8"))
    else:
        by_hand = database
        with by_hand.write() as transaction:
            transaction.connection.exec_driver_sql("drop schema public cascade")
            transaction.connection.exec_driver_sql("create schema public")
            run_script(transaction.connection, snapshot("postgresql").read_text("utf-8"))

    assert schema_of(by_hand) == made, "run `make schema`"
    require_schema(by_hand)
    assert schema_of(by_hand) == made
    by_hand.close()


def test_the_dump_of_a_snapshot_is_the_snapshot(postgresql: sa.URL) -> None:
    server = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with new_database(server, f"snapshot_{os.getpid()}") as url, contextlib.closing(Database(url)) as database:
        with database.write() as transaction:
            run_script(transaction.connection, snapshot("postgresql").read_text("utf-8"))
        of_snapshot = postgresql_schema(url)
    with new_database(server, f"migrated_{os.getpid()}") as url, contextlib.closing(Database(url)) as database:
        upgrade(database)
        of_migrated = postgresql_schema(url)
    server.dispose()

    assert of_snapshot == of_migrated, "run `make schema`"


def test_every_table_view_and_column_says_what_it_is(postgresql: sa.URL) -> None:
    server = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with new_database(server, f"commented_{os.getpid()}") as url, contextlib.closing(Database(url)) as database:
        upgrade(database)
        bare = """
            select relname, attname from pg_class
            join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
            where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v') and not relispartition
              and col_description(pg_class.oid, attnum) is null
            union all
            select relname, '' from pg_class
            where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')
              and obj_description(oid, 'pg_class') is null"""
        assert rows(database, bare) == []
    server.dispose()


def test_an_empty_database_gets_its_schema_when_it_is_required(empty: Database) -> None:
    require_schema(empty)

    assert revision_of(empty) == REVISION
    require_schema(empty)
    empty.close()


#: views as the first schema had them, by name
_FIRST_VIEWS = {
    "current_observations": """
select series.recipe, series.series, observations.period, observations.value, observations.recorded_at
from observations
join series on series.series_id = observations.series_id
where observations.recorded_at = (
    select max(newest.recorded_at) from observations as newest
    where newest.series_id = observations.series_id and newest.period = observations.period)""",
    "forecast_history": """
select
    runs.recipe, series.series, forecasts.period, forecasts.step, forecasts.mean, forecasts.lower_95, forecasts.lower_80,
    forecasts.median, forecasts.upper_80, forecasts.upper_95, forecasts.method, forecasts.reason, runs.model_version,
    runs.origin, runs.as_of, runs.published_at, runs.run_id, runs.kind
from runs
join forecasts on forecasts.run_id = runs.run_id
join series on series.series_id = forecasts.series_id
where runs.status in ('published', 'superseded')""",
    "latest_forecasts": """
select
    runs.recipe, series.series, forecasts.period, forecasts.step, forecasts.mean, forecasts.lower_95, forecasts.lower_80,
    forecasts.median, forecasts.upper_80, forecasts.upper_95, forecasts.method, forecasts.reason, runs.model_version,
    runs.origin, runs.as_of, runs.published_at, runs.run_id
from runs
join forecasts on forecasts.run_id = runs.run_id
join series on series.series_id = forecasts.series_id
where runs.kind = 'live' and runs.status = 'published' and runs.origin = (
    select max(newest.origin) from runs as newest
    where newest.recipe = runs.recipe and newest.kind = 'live' and newest.status = 'published')""",
    "forecast_accuracy": """
select
    runs.recipe, runs.model_version, series.series, scores.step, count(*) as num_scored, avg(abs(scores.error)) as mae,
    avg(abs(scores.error) / nullif(scores.scale, 0)) as mase,
    avg(case when abs(scores.observed) + abs(scores.observed + scores.error) = 0 then 0
        else 200 * abs(scores.error) / (abs(scores.observed) + abs(scores.observed + scores.error)) end) as smape,
    avg(scores.error) as bias,
    avg(cast(scores.inside_80 as double precision)) as coverage_80,
    avg(cast(scores.inside_95 as double precision)) as coverage_95,
    1 - avg(case when scores.naive_error is not null then abs(scores.error) end)
        / nullif(avg(abs(scores.naive_error)), 0) as skill
from scores
join runs on runs.run_id = scores.run_id
join series on series.series_id = scores.series_id
where runs.kind = 'live' and scores.as_of = (
    select max(newest.as_of) from scores as newest
    where newest.run_id = scores.run_id and newest.series_id = scores.series_id and newest.step = scores.step)
group by runs.recipe, runs.model_version, series.series, scores.step""",
    "anomalies": """
select
    runs.recipe, series.series, forecasts.period, observed.value, forecasts.lower_95, forecasts.upper_95, runs.run_id
from forecasts
join runs on runs.run_id = forecasts.run_id and runs.kind = 'live' and runs.status = 'published'
join series on series.series_id = forecasts.series_id
join current_observations as observed
  on observed.recipe = series.recipe and observed.series = series.series and observed.period = forecasts.period
where (observed.value < forecasts.lower_95 or observed.value > forecasts.upper_95) and runs.origin = (
    select max(nearest.origin) from runs as nearest join forecasts as steps on steps.run_id = nearest.run_id
    where nearest.recipe = runs.recipe and nearest.kind = 'live' and nearest.status = 'published'
      and steps.series_id = forecasts.series_id and steps.period = forecasts.period)""",
}
#: what moved to other tables: the rows of the first schema, as the newest holds them
_MOVED = {
    "forecasts": f"""
select run_id, forecasts.series_id, forecasts.step, period, {", ".join(numbers_around(0))}, method, reason
from forecasts
join runs on runs.run_number = forecasts.run_number
join run_steps on run_steps.run_number = forecasts.run_number and run_steps.step = forecasts.step
join run_series on run_series.run_number = forecasts.run_number and run_series.series_id = forecasts.series_id
order by 1, 2, 3""",
    "scores": """
select run_id, series_id, step, scores.as_of, observed, error, naive_error, scale, inside_80, inside_95
from scores
join runs on runs.run_number = scores.run_number
order by 1, 2, 3""",
}


def migrate(database: Database, revision: str) -> None:
    """Upgrade to an earlier revision than the code's, without views."""
    config = Config()
    config.set_main_option("script_location", str(SQL / "migrations"))
    config.set_main_option("path_separator", "os")
    with database.write() as transaction:
        config.attributes["connection"] = transaction.connection
        command.upgrade(config, revision)


@pytest.fixture
def first(empty: Database) -> Iterator[Database]:
    """A store with rows as the first schema holds them."""
    migrate(empty, "0001")
    write_before_observations(empty)
    told = (dict(zip(("series_id", "period", "value", "batch_id"), row, strict=True)) for row in TOLD)
    insert(empty, "observations", *({**row, "recorded_at": RECORDED_AT[row["batch_id"]]} for row in told))
    write_runs(empty)
    for name, view in _FIRST_VIEWS.items():
        change(empty, f"create view {name} as {view}")
    yield empty
    empty.close()


def test_an_upgrade_from_the_first_schema_keeps_every_value(first: Database) -> None:
    current = "select recipe, series, cast(period as text), value, cast(recorded_at as text) from current_observations"
    queries = {
        table: f"select * from {table} order by 1, 2, 3"
        for table in ("models", "model_files", "outbox", "forecasts", "scores")
    }
    for table in ("runs", "recipes", "attempts"):
        columns = ", ".join(column["name"] for column in sa.inspect(first.engine).get_columns(table))
        queries[table] = f"select {columns} from {table} order by 1"
    before = {table: rows(first, query) for table, query in queries.items()}
    moved = {
        **_MOVED,
        **{
            old: queries[old].replace(f"from {old}", f"from {new}")
            for new, old in EARLIER_NAMES.items()
            if old in queries
        },
    }
    known = rows(first, f"{current} order by 1, 2, 3")

    upgrade(first)

    assert revision_of(first) == REVISION
    assert {table: rows(first, query) for table, query in {**queries, **moved}.items()} == before
    assert (len(before["runs"]), len(before["forecasts"]), len(before["scores"])) == (6, 21, 3)
    assert rows(first, f"{current} order by 1, 2, 3") == known
    assert [(series, period[:10], value) for _, series, period, value, _ in known] == [
        ("a", "2024-12-01", 100.0),
        ("a", "2025-01-01", 112.0),
        ("a", "2025-02-01", 120.0),
        ("a", "2025-03-01", 150.0),
        ("b", "2025-01-01", 50.0),
    ]
    split = "select series_id, substr(cast(period as text), 1, 10), value, batch_id from {} order by 2, 1, 4"
    assert sorted([*rows(first, split.format("observations")), *rows(first, split.format("revisions"))]) == sorted(TOLD)
    assert rows(first, split.format("revisions")) == [(1, "2025-01-01", 111.0, 2), (1, "2025-01-01", 112.0, 3)]
    assert rows(first, "select recipe, series, variable from series_variables order by series_id") == [
        ("small", "a", ""),
        ("small", "b", ""),
    ]
    assert rows(first, "select distinct status, state, releases from batches order by 1") == [
        ("accepted", "{}", None),
        ("refused", "{}", None),
    ]
    told = "substr(cast(first_period as text), 1, 10), substr(cast(last_period as text), 1, 10)"
    assert rows(first, f"select distinct status, {told} from batches order by 1") == [
        ("accepted", "2024-12-01", "2025-03-01"),
        ("refused", None, None),
    ]
    assert rows(first, "select line, rule, file from rejections order by line") == [
        (3, "duplicate", None),
        (7, "number", None),
        (9, "number", None),
    ]


@pytest.mark.parametrize(
    ("view", "num_rows"),
    [
        ("latest_forecasts", 3),
        ("forecast_history", 18),
        ("current_observations", 5),
        ("forecast_accuracy", 2),
        ("anomalies", 1),
    ],
)
def test_views_give_the_same_before_an_upgrade_and_after_it(first: Database, view: str, num_rows: int) -> None:
    columns = [column["name"] for column in sa.inspect(first.engine).get_columns(view)]
    everything = f"select {', '.join(columns)} from {view}"
    before = sorted(rows(first, everything), key=repr)

    upgrade(first)

    assert sorted(rows(first, everything), key=repr) == before
    now = [column["name"] for column in sa.inspect(first.engine).get_columns(view)]
    assert now[: len(columns)] == columns
    assert set(now[len(columns) :]) <= {"period_at", "period_local"}
    assert len(before) == num_rows


@pytest.fixture
def before_tools(empty: Database) -> Iterator[Database]:
    """A filled store at the revision before the views for BI tools: recipes with a zone, a batch that was withdrawn."""
    migrate(empty, "0014")
    write_store(empty)
    zone = {"zone": "Europe/Amsterdam"}
    monthly = {"frequency": "MS", "horizon": 3, "unit": "pieces", "season_length": None, "source": zone}
    hourly = {"frequency": "15min", "horizon": 96, "season_length": 96, "source": zone}
    change(empty, "update recipes set definition = :text where recipe = 'small'", text=json.dumps(monthly))
    insert(empty, "recipes", {"recipe": "hours", "definition": json.dumps(hourly), "fingerprint": "f"})
    change(
        empty,
        "insert into batches (recipe, source, content_hash, recorded_at, status, num_read, num_new, num_revised, num_same, "
        "num_rejected) values ('small', 'withdrawal of batch 2', '', '2025-05-02 06:00:00.000000+00:00', 'accepted', 0, 0, "
        "0, 0, 0)",
    )
    change(empty, "update batches set decision = 'withdrawn' where batch_id = 2")
    yield empty
    empty.close()


def test_views_for_tools_know_what_a_store_of_the_revision_before_had(before_tools: Database) -> None:
    upgrade(before_tools)

    assert rows(
        before_tools, "select recipe, frequency, unit, season_length, horizon, zone from recipes order by recipe"
    ) == [
        ("hours", "15min", None, 96, 96, "Europe/Amsterdam"),
        ("idle", None, None, None, None, "UTC"),
        ("small", "MS", "pieces", 12, 3, "Europe/Amsterdam"),
    ]
    zones = "select recipe, period_zone from registered_recipes order by recipe"
    assert rows(before_tools, zones) == [("hours", "UTC"), ("idle", "UTC"), ("small", "Europe/Amsterdam")]
    first = "select cast(period as text), cast(period_local as text), cast(period_at as text) from current_observations"
    ((period, local, instant),) = rows(before_tools, f"{first} where series = 'a' and period < '2025-01-01'")
    assert (period[:10], local[:10], instant[:16]) == ("2024-12-01", "2024-12-01", "2024-11-30 23:00")
    decided = "select outcome, batch_id, cast(decided_at as text) from decisions where what = 'batch'"
    assert [(outcome, batch, at[:10]) for outcome, batch, at in rows(before_tools, decided)] == [
        ("withdrawn", 2, "2025-05-02")
    ]
    assert rows(before_tools, "select series, is_active, num_observations from series order by series") == [
        ("a", True, 4),
        ("b", False, 1),
    ]
    assert rows(before_tools, "select recipe, status from attempts") == [("small", "failed")]
    assert rows(before_tools, "select recipe, model_version, training from model_history") == [("small", 1, "retrain")]
    for view in ("covariates", "backtest_by_series"):
        assert rows(before_tools, f"select count(*) from {view}") == [(0,)]


def test_a_run_that_was_staged_before_an_upgrade_is_published_after_it(first: Database) -> None:
    upgrade(first)

    publish(first, "staged")

    assert rows(first, "select mean from latest_forecasts order by step") == [(999.0,), (1002.0,), (1005.0,)]


def test_an_upgraded_store_has_the_schema_of_a_new_one(first: Database, tmp_path: Path) -> None:
    upgrade(first)
    brought_up = schema_of(first)
    with first.write() as transaction:
        if is_sqlite(first):
            new = open_database(f"sqlite:///{tmp_path}/new.db")
        else:
            transaction.connection.exec_driver_sql("drop schema public cascade")
            transaction.connection.exec_driver_sql("create schema public")
            new = first

    upgrade(new)

    assert brought_up == schema_of(new)
    new.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL lets nobody write such rows
def test_rows_with_broken_references_stop_an_upgrade_which_changes_nothing(first: Database) -> None:
    with contextlib.closing(sqlite3.connect(str(first.url.database))) as careless, careless:
        careless.execute("insert into series (series_id, recipe, series) values (99, 'unheard of', 'z')")
    before = schema_of(first)
    series = rows(first, "select * from series order by series_id")

    with pytest.raises(SchemaOutOfDate, match="has rows that refer to rows that do not exist: nothing was changed"):
        upgrade(first)

    assert revision_of(first) == "0001"
    assert schema_of(first) == before
    assert rows(first, "select * from series order by series_id") == series
    assert rows(first, "pragma foreign_keys") == [(1,)]


def test_an_older_schema_is_refused_with_the_command_that_helps(database: Database) -> None:
    change(database, f"update {VERSION_TABLE} set version_num = '0000'")

    with pytest.raises(SchemaOutOfDate, match=f"is at revision 0000.*needs {REVISION}.*`nextperiod db upgrade`"):
        require_schema(database)


def test_a_newer_schema_is_refused_and_never_upgraded(database: Database) -> None:
    change(database, f"update {VERSION_TABLE} set version_num = '9999'")
    before = schema_of(database)

    with pytest.raises(SchemaTooNew, match="9999, newer than this nextperiod knows"):
        require_schema(database)
    with pytest.raises(SchemaTooNew, match="9999, newer than this nextperiod knows"):
        upgrade(database)

    assert schema_of(database) == before
    assert revision_of(database) == "9999"


def test_no_message_about_the_schema_shows_the_password() -> None:
    database = open_database("postgresql://somebody:secret-word@localhost/store")

    assert "secret-word" not in database.shown
    assert database.shown == "postgresql+psycopg://somebody:***@localhost/store"


def test_every_query_fits_the_schema(database: Database) -> None:
    dialect = database.url.get_backend_name()
    for name in query_names(dialect):
        parameters = dict.fromkeys(sa.text(query_text(name, dialect)).compile().params)
        with database.read() as transaction, transaction.connection.begin_nested() as savepoint:
            try:
                transaction.execute(name, **parameters)
            except sa.exc.IntegrityError:  # it was understood; its columns may not be null
                savepoint.rollback()
            except sa.exc.DBAPIError as error:
                pytest.fail(f"{name} does not fit the schema: {error.orig}")

    with pytest.raises((sa.exc.DatabaseError, DatabaseUnavailable), match="no_such_column"):
        rows(database, "select no_such_column from runs")


#: queries whose results are read as binary fields or blocks, not through columns with types
READ_BY_THE_DRIVER = ("numbers_of_run", "packed_values_as_of", "paths_of_series", "revisions_as_of", "values_as_of")

Types = dict[str, str]


def declared_types(text: str, what: str) -> Types:
    """What a query's header declares of its parameters or columns."""
    line = re.search(rf"^-- {what}: (.+)$", text, re.MULTILINE)
    return dict(pair.split() for pair in line[1].split(", ")) if line else {}


def types_in_postgresql(database: Database, text: str) -> tuple[Types, Types]:
    """Which parameters and columns of a query PostgreSQL takes for instants and periods."""
    names = list(sa.text(text).compile().params)
    numbered = re.sub(r"^--.*\n", "", text, flags=re.MULTILINE)
    for n, name in enumerate(names):
        numbered = re.sub(rf"(?<![:\w]):{name}\b", f"${n + 1}", numbered)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("prepare query as " + numbered.replace("%", "%%"))
        (rows,) = connection.exec_driver_sql("select parameter_types::text[] from pg_prepared_statements").one()
        driver = connection.connection.driver_connection
        assert driver is not None
        described = driver.pgconn.describe_prepared(b"query")
        connection.exec_driver_sql("deallocate query")
    kinds = {"timestamp with time zone": "instant", "timestamp without time zone": "period"}
    codes = {1184: "instant", 1114: "period"}  # of the same types in pg_type
    columns = [(described.fname(n).decode(), described.ftype(n)) for n in range(described.nfields)]
    return (
        {name: kinds[kind] for name, kind in zip(names, rows, strict=True) if kind in kinds},
        {name: codes[code] for name, code in columns if code in codes},
    )


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_every_query_declares_its_instants_and_periods(database: Database) -> None:
    wrong = {}
    for name in query_names("postgresql"):
        text = query_text(name, "postgresql")
        declared = declared_types(text, "parameters"), declared_types(text, "columns")
        actual = ({}, {}) if name in READ_BY_THE_DRIVER else types_in_postgresql(database, text)
        if declared != actual:
            wrong[name] = {"declared": declared, "actual": actual}

    assert wrong == {}


def test_no_two_queries_have_one_name() -> None:
    names = [path.name for path in QUERIES]

    assert len(set(names)) == len(names)


def test_every_statement_says_first_what_it_answers() -> None:
    files_without = [path for path in (*QUERIES, *VIEW_FILES) if not re.match(r"-- \S.*\.\n", path.read_text("utf-8"))]

    assert not files_without


def test_every_view_has_its_file_and_every_file_is_a_view() -> None:
    assert {path.name.split(".")[0] for path in VIEW_FILES} == set(VIEWS)
    for dialect in ("sqlite", "postgresql"):
        assert all(f"create view {name} as" in view_sql(name, dialect) for name in VIEWS)
