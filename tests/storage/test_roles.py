"""What each PostgreSQL role may do, tried as that role: rights refuse, and behind them the guards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.errors import DatabaseUnavailable, InvalidArgument, NotAllowed
from pipeline.storage.engine import Database, open_database
from pipeline.storage.roles import ROLES, create_roles
from pipeline.storage.schema import REVISION, VERSION_TABLE, VIEWS, require_schema, revision_of, upgrade
from pipeline.storage.statements import query_text
from tests.storage.handmade_store import write_store
from tests.storage.raw_sql import change, insert, rows
from tests.storage.rights import ACTIONS, EVERY_ROLE, GUARD, MAY, RIGHT
from tests.storage.schema_names import SQL, query_names
from tests.support.servers import new_database

_SQLSTATES = {"42501": RIGHT, "P0001": GUARD}


@pytest.fixture(scope="module")
def server(postgresql: sa.URL) -> Iterator[sa.Engine]:
    """The superuser, who makes databases and roles."""
    admin = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    yield admin
    admin.dispose()


@contextlib.contextmanager
def new_store(server: sa.Engine, name: str, owner: str = "postgres") -> Iterator[Database]:
    """An empty database, dropped at the end; roles are the server's and stay."""
    with new_database(server, f"{name}_{os.getpid()}", owner) as url, contextlib.closing(Database(url)) as database:
        yield database


@pytest.fixture(scope="module")
def shared(server: sa.Engine) -> Iterator[Database]:
    """A store with rows and roles, that no test changes."""
    with new_store(server, "shared_roles") as database:
        require_schema(database)
        write_store(database)
        create_roles(database)
        yield database


@pytest.fixture
def own(server: sa.Engine) -> Iterator[Database]:
    """A store with rows and roles, of one test."""
    with new_store(server, "own_roles") as database:
        require_schema(database)
        write_store(database)
        create_roles(database)
        yield database


@pytest.fixture(scope="module")
def connections(shared: Database) -> Iterator[dict[str, sa.Connection]]:
    """A connection of each role; the owner's is the migrator's, who acts as the owner."""
    with contextlib.ExitStack() as stack:
        opened = {}
        for role in EVERY_ROLE:
            engine = acting_as(shared, "migrator" if role == "owner" else role).engine
            stack.callback(engine.dispose)
            opened[role] = stack.enter_context(engine.connect())
        yield opened


def acting_as(database: Database, role: str) -> Database:
    """The same database for another role; nothing is connected yet."""
    return Database(database.url.set(username=f"nextperiod_{role}", password=None))


def outcome_of(connection: sa.Connection, role: str, sql: str) -> str:
    """What becomes of a statement that is taken back, in a transaction that may write."""
    connection.execution_options(postgresql_readonly=False)
    with connection.begin() as transaction:
        if role == "owner":
            connection.exec_driver_sql("set local role nextperiod_owner")
        try:
            connection.exec_driver_sql(sql)
        except sa.exc.DBAPIError as error:
            return _SQLSTATES.get(str(getattr(error.orig, "sqlstate", "")), str(error))
        finally:
            transaction.rollback()
    return MAY


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", EVERY_ROLE)
def test_each_role_has_its_rights_and_no_others(connections: dict[str, sa.Connection], role: str, action: str) -> None:
    sql, outcomes = ACTIONS[action]

    assert outcome_of(connections[role], role, sql) == outcomes[EVERY_ROLE.index(role)]


def test_the_owner_cannot_log_in(shared: Database) -> None:
    owner = acting_as(shared, "owner")

    with pytest.raises(DatabaseUnavailable, match='role "nextperiod_owner" is not permitted to log in'):
        revision_of(owner)


def test_another_role_of_the_server_cannot_connect(shared: Database, server: sa.Engine) -> None:
    with server.connect() as connection:
        connection.exec_driver_sql("create role somebody_else login")
    stranger = Database(shared.url.set(username="somebody_else"))

    with pytest.raises(DatabaseUnavailable, match="permission denied for database"):
        revision_of(stranger)

    with server.connect() as connection:
        connection.exec_driver_sql("drop role somebody_else")


def test_every_statement_of_ours_is_within_the_rights_of_the_writer(
    shared: Database, connections: dict[str, sa.Connection]
) -> None:
    refused = {}
    for name in query_names("postgresql"):
        clause = sa.text(query_text(name, "postgresql"))
        with connections["writer"].begin() as transaction:
            try:
                connections["writer"].execute(clause, dict.fromkeys(clause.compile().params))
            except sa.exc.DBAPIError as error:
                refused[name] = getattr(error.orig, "sqlstate", "")
            transaction.rollback()

    assert [name for name, state in refused.items() if state == "42501"] == []


def test_the_writer_may_change_and_delete_only_what_our_statements_do(shared: Database) -> None:
    texts = [query_text(name, "postgresql") for name in query_names("postgresql")]
    used = {
        (table, verb.upper())
        for text in texts
        for verb, table in re.findall(r"^(update|delete)(?: from)? (\w+)", text, re.M)
    }
    used |= {(table, "UPDATE") for text in texts for table in re.findall(r"insert into (\w+)[^;]*do update", text)}

    granted = rows(
        shared,
        "select table_name, privilege_type from information_schema.role_table_grants "
        "where grantee = 'nextperiod_writer' and privilege_type not in ('SELECT', 'INSERT')",
    )

    assert set(granted) == used


def test_no_reader_sees_a_staged_run_by_making_its_rows_fail(connections: dict[str, sa.Connection]) -> None:
    consumer = connections["consumer"]
    for way in ("nestloop", "mergejoin", "indexscan", "bitmapscan"):
        consumer.exec_driver_sql(f"set enable_{way} = off")  # all rows are read, conditions come first
    consumer.commit()

    for view, count in (("forecast_history", 18), ("latest_forecasts", 3)):
        # the staged run alone has a mean of 999
        divided = f"select count(*) from {view} where 1 / (999 - cast(mean as integer)) >= 0"
        assert consumer.exec_driver_sql(divided).scalar() == count
        consumer.rollback()


@pytest.mark.parametrize(
    ("led_astray", "statement", "refusal"),
    [
        (
            "create temporary table runs as select run_number, 'staged' as status from public.runs",
            "insert into forecasts select run_number, 2, step, mean, lower_95, lower_80, median, upper_80, upper_95 "
            "from forecasts where run_number = (select run_number from public.runs where run_id = 'march')",
            "the forecasts of a published run are never changed",
        ),
        (
            "create temporary table runs as select 99 as run_number, 'staged' as status",
            "insert into forecasts select 99, series_id, step, mean, lower_95, lower_80, median, upper_80, upper_95 "
            "from forecasts where run_number = (select run_number from public.runs where run_id = 'march')",
            "those of no run never written",
        ),
        (
            "create temporary table series_variables as select 99 as series_id",
            "insert into run_series select run_number, 99, 'lstm', null from runs where run_id = 'staged'",
            "a forecast is of a series that is known",
        ),
        (
            "create temporary table forecasts as select run_number, series_id, 1 as step from public.forecasts",
            "delete from public.forecasts using runs where forecasts.run_number = runs.run_number and run_id = 'staged'; "
            "update runs set status = 'published', published_at = now() where run_id = 'staged'",
            "the number of rows that it declares",
        ),
        (
            "create temporary table observations as select 1 as series_id, timestamp '1999-01-01' as period, 1 as batch_id",
            "insert into revisions (series_id, period, value, batch_id) values (1, '1999-01-01', 1, 2)",
            "a revision follows the observation",
        ),
    ],
)
def test_a_temporary_table_does_not_lead_a_guard_astray(
    connections: dict[str, sa.Connection], led_astray: str, statement: str, refusal: str
) -> None:
    writer = connections["writer"]

    with writer.begin() as transaction:
        writer.exec_driver_sql(led_astray)
        with pytest.raises(sa.exc.DatabaseError, match=refusal):
            writer.exec_driver_sql(statement)
        transaction.rollback()


def test_the_sessions_of_the_roles_begin_with_limits(connections: dict[str, sa.Connection]) -> None:
    limits = {
        ("writer", "lock_timeout"): "30s",
        ("writer", "idle_in_transaction_session_timeout"): "10min",
        ("consumer", "default_transaction_read_only"): "on",
        ("consumer", "statement_timeout"): "30s",
        ("consumer", "idle_in_transaction_session_timeout"): "1min",
    }

    found_limits = {}
    for role, name in limits:
        found_limits[role, name] = connections[role].exec_driver_sql(f"show {name}").scalar()
        connections[role].rollback()

    assert found_limits == limits


def test_the_owner_owns_everything_and_the_public_has_nothing(shared: Database) -> None:
    others = """
        select relname from pg_class
        where relnamespace = 'public'::regnamespace and relowner <> 'nextperiod_owner'::regrole
        union all
        select proname from pg_proc
        where pronamespace = 'public'::regnamespace and proowner <> 'nextperiod_owner'::regrole"""
    to_the_public = """
        select objects.name from (
            select relname as name, relacl as rights from pg_class where relnamespace = 'public'::regnamespace
            union all
            select proname, coalesce(proacl, acldefault('f', proowner)) from pg_proc
            where pronamespace = 'public'::regnamespace
            union all
            select nspname, nspacl from pg_namespace where nspname = 'public'
            union all
            select datname, coalesce(datacl, acldefault('d', datdba)) from pg_database where datname = current_database()
        ) as objects, lateral aclexplode(objects.rights) as granted
        where granted.grantee = 0"""

    assert rows(shared, others) == []
    assert rows(shared, to_the_public) == []


def test_creating_the_roles_again_changes_nothing(own: Database) -> None:
    rights = """
        select relname, relacl::text, reloptions::text from pg_class where relnamespace = 'public'::regnamespace
        union all
        select datname, datacl::text, '' from pg_database
        union all
        select rolname, rolcanlogin::text || rolinherit::text, rolconfig::text from pg_roles
        order by 1, 2, 3"""
    before = rows(own, rights)

    create_roles(own)

    assert rows(own, rights) == before


def test_a_second_database_of_the_server_gets_the_same_roles(own: Database, server: sa.Engine) -> None:
    with new_store(server, "second_roles") as second:
        create_roles(second)

        writer = acting_as(second, "writer")
        insert(writer, "registered_recipes", {"recipe": "second", "definition": "{}", "fingerprint": "f"})
        assert rows(second, "select recipe from recipe_status") == [("second",)]
        writer.close()
    assert rows(own, "select recipe from recipe_status order by recipe") == [("idle",), ("small",)]


@pytest.fixture
def a_later_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One more migration than there is, which makes a table with a number of its own."""
    shutil.copytree(SQL, tmp_path / "sql", ignore=shutil.ignore_patterns("__pycache__"))
    later = tmp_path / "sql/migrations/versions/9999_notes.py"
    later.write_text(
        f"from alembic import op\nrevision, down_revision = '9999', '{REVISION}'\n"
        "def upgrade():\n    op.execute('create table notes (note_id bigserial primary key, note text)')\n"
    )
    monkeypatch.setattr("pipeline.storage.schema.files", lambda package: tmp_path / package.__name__)
    monkeypatch.setattr("pipeline.storage.schema.REVISION", "9999")
    return "9999"


@pytest.mark.parametrize("role", ["migrator", "superuser"])
def test_an_upgrade_acts_as_the_owner_and_keeps_every_right(own: Database, a_later_migration: str, role: str) -> None:
    upgrading = own if role == "superuser" else acting_as(own, role)

    upgrade(upgrading)

    assert revision_of(upgrading) == a_later_migration
    assert rows(own, "select tableowner from pg_tables where tablename = 'notes'") == [("nextperiod_owner",)]
    assert rows(own, "select distinct viewowner from pg_views where schemaname = 'public'") == [("nextperiod_owner",)]
    writer, consumer = acting_as(own, "writer"), acting_as(own, "consumer")
    assert change(writer, "insert into notes (note) values ('added')") == 1
    for view in VIEWS:
        assert rows(consumer, f"select count(*) from {view}") == rows(own, f"select count(*) from {view}")
    with pytest.raises(NotAllowed, match="permission denied for table notes"):
        rows(consumer, "select * from notes")
    for database in (upgrading, writer, consumer):
        database.close()


@pytest.mark.parametrize("role", ["writer", "consumer"])
def test_an_upgrade_without_the_right_is_refused_in_one_line(own: Database, a_later_migration: str, role: str) -> None:
    other = acting_as(own, role)

    with pytest.raises(NotAllowed, match=r"refuses: (must be owner|permission denied)") as caught:
        upgrade(other)

    assert "\n" not in str(caught.value)
    assert rows(own, f"select version_num from {VERSION_TABLE}") == [(REVISION,)]
    assert len(rows(own, "select viewname from pg_views where schemaname = 'public'")) == len(VIEWS)
    other.close()


def test_an_administrator_without_superuser_creates_the_roles_and_keeps_the_store(server: sa.Engine) -> None:
    names = ", ".join(role.role for role in ROLES)
    with server.connect() as connection:
        connection.exec_driver_sql("create role store_keeper login createrole")
        connection.exec_driver_sql(f"grant {names} to store_keeper with admin option")

    with new_store(server, "kept_roles", "store_keeper") as database:
        keeper = Database(database.url.set(username="store_keeper"))
        for _ in range(2):
            create_roles(keeper)
        insert(keeper, "registered_recipes", {"recipe": "kept", "definition": "{}", "fingerprint": "f"})
        consumer = acting_as(database, "consumer")
        assert rows(consumer, "select recipe from recipe_status") == [("kept",)]
        keeper.close()
        consumer.close()

    with server.connect() as connection:
        connection.exec_driver_sql("drop owned by store_keeper")
        connection.exec_driver_sql("drop role store_keeper")


@pytest.mark.parametrize("rights", ["", "createrole"])
def test_a_user_who_may_not_create_the_roles_is_told_which_rights_are_missing(
    own: Database, server: sa.Engine, rights: str
) -> None:
    with server.connect() as connection:
        connection.exec_driver_sql(f"create role hopeful login {rights}")
        connection.exec_driver_sql("grant nextperiod_writer to hopeful")
    hopeful = Database(own.url.set(username="hopeful"))

    with pytest.raises(
        NotAllowed, match="hopeful needs createrole and to own database own_roles_.* superuser"
    ) as caught:
        create_roles(hopeful)

    assert "\n" not in str(caught.value)
    hopeful.close()
    with server.connect() as connection:
        connection.exec_driver_sql("drop role hopeful")


def at_the_command_line(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NEXTPERIOD_DATABASE_URL": url}
    command = [sys.executable, "-m", "flows.cli.app", "db", "roles", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_command_creates_the_roles_and_prints_the_next_steps(server: sa.Engine) -> None:
    with new_store(server, "commanded_roles") as database:
        url = database.url.render_as_string(hide_password=False)
        told = json.loads(at_the_command_line(url, "--json").stdout)
        table = at_the_command_line(url)
        assert rows(database, "select tableowner from pg_tables where tablename = 'runs'") == [("nextperiod_owner",)]

    assert [(role["role"], role["login"]) for role in told["roles"]] == [
        ("nextperiod_owner", False),
        ("nextperiod_migrator", True),
        ("nextperiod_writer", True),
        ("nextperiod_consumer", True),
    ]
    assert told["next"][-1] == "alter role nextperiod_consumer password '…'"
    assert table.returncode == 0
    assert [line.split()[0] for line in table.stdout.splitlines()[1:5]] == [role.role for role in ROLES]
    assert "\\password ROLE in psql" in table.stdout


def test_the_command_on_sqlite_is_one_line_and_exit_1(tmp_path: Path) -> None:
    done = at_the_command_line(f"sqlite:///{tmp_path}/store.db")

    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"nextperiod: SQLite has no roles: .*\n", done.stderr)


def test_sqlite_has_no_roles(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/store.db")

    with pytest.raises(InvalidArgument, match="^SQLite has no roles"):
        create_roles(database)

    assert not (tmp_path / "store.db").exists()
