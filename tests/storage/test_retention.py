"""The SQL for partitions and retention in sql/README.md does what it says, and leaves every guard as it was."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.storage.engine import Database
from pipeline.storage.roles import create_roles
from pipeline.storage.schema import require_schema
from tests.storage.handmade_store import key_of, write_store
from tests.storage.raw_sql import change, insert, rows
from tests.support.servers import new_database

README = Path(__file__).parents[2] / "sql/README.md"
SECTION = README.read_text("utf-8").split("\n## Retention\n")[1].split("\n## ")[0]
PARTITION, DROP_YEAR, DROP_RUNS = re.findall(r"```sql\n(.*?)```", SECTION, flags=re.DOTALL)

_CURRENT = "select series, cast(period as date), value, recorded_at from current_observations order by 1, 2"
_GUARDS = """
    select tgrelid::regclass::text, tgname, tgenabled from pg_trigger
    where not tgisinternal and tgrelid::regclass::text !~ '^observations_2' order by 1, 2"""

#: the runs that have rows in a table, and null where rows have no run
_RUNS_OF = "select distinct run_id from {} as told left join runs on runs.run_number = told.run_number order by 1"


@pytest.fixture
def owned(postgresql: sa.URL) -> Iterator[Database]:
    """A store with rows, roles, and one value more in 2024."""
    server = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with new_database(server, f"retention_{os.getpid()}") as url, contextlib.closing(Database(url)) as database:
        require_schema(database)
        write_store(database)
        insert(database, "observations", {"series_id": 2, "period": "2024-11-01", "value": 40.0, "batch_id": 1})
        insert(database, "revisions", {"series_id": 2, "period": "2024-11-01", "value": 41.0, "batch_id": 2})
        create_roles(database)
        yield database
    server.dispose()


def as_owner(database: Database, script: str) -> None:
    """A script with transactions of its own, by the migrator who acts as the owner."""
    migrator = Database(database.url.set(username="nextperiod_migrator", password=None))
    with contextlib.closing(migrator), migrator.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("set role nextperiod_owner")
        connection.exec_driver_sql(script)


def test_a_year_gets_a_partition_with_the_rows_that_it_has(owned: Database) -> None:
    before, guards = rows(owned, _CURRENT), rows(owned, _GUARDS)
    revisions = rows(owned, "select * from revisions order by 1, 2, 4")

    as_owner(owned, PARTITION)

    by_partition = "select tableoid::regclass::text, count(*) from observations group by 1 order by 1"
    assert rows(owned, by_partition) == [("observations_2024", 2), ("observations_default", 4)]
    assert rows(owned, _CURRENT) == before
    assert len(before) == 6
    assert rows(owned, "select * from revisions order by 1, 2, 4") == revisions
    assert rows(owned, _GUARDS) == guards


def test_new_rows_find_their_partition(owned: Database) -> None:
    as_owner(owned, PARTITION)
    as_owner(owned, PARTITION.replace("2025", "2031").replace("2024", "2030"))
    writer = Database(owned.url.set(username="nextperiod_writer", password=None))

    for period in ("2024-10-01", "2030-12-31 23:59", "2031-01-01"):
        insert(writer, "observations", {"series_id": 2, "period": period, "value": 1.0, "batch_id": 3})
    insert(writer, "revisions", {"series_id": 2, "period": "2024-10-01", "value": 2.0, "batch_id": 4})

    new = (
        "select tableoid::regclass::text, cast(period as date)::text from observations where batch_id = 3 and value = 1"
    )
    assert rows(owned, f"{new} order by 2") == [
        ("observations_2024", "2024-10-01"),
        ("observations_2030", "2030-12-31"),
        ("observations_default", "2031-01-01"),
    ]
    writer.close()


@pytest.mark.parametrize(
    "statement",
    [
        "update observations set value = 0 where period < '2025-01-01'",
        "delete from observations where period < '2025-01-01'",
        "delete from observations_2024",
        "delete from observations_default",
        "truncate observations",
        "truncate observations_2024",
        "truncate observations_default",
    ],
)
def test_a_new_partition_is_guarded_like_the_others(owned: Database, statement: str) -> None:
    as_owner(owned, PARTITION)

    with pytest.raises(sa.exc.DatabaseError, match="are appended, never changed"):
        change(owned, statement)

    assert rows(owned, "select count(*) from observations") == [(6,)]


def test_a_year_is_dropped_with_its_revisions_and_no_other(owned: Database) -> None:
    guards = rows(owned, _GUARDS)
    later = [row for row in rows(owned, _CURRENT) if row[1].year > 2024]
    as_owner(owned, PARTITION)

    as_owner(owned, DROP_YEAR)

    assert rows(owned, _CURRENT) == later
    assert len(later) == 4
    assert rows(owned, "select cast(min(period) as date)::text, count(*) from revisions") == [("2025-01-01", 2)]
    assert rows(owned, _GUARDS) == guards
    with pytest.raises(sa.exc.DatabaseError, match="revisions are appended, never changed"):
        change(owned, "delete from revisions")


def test_superseded_runs_are_dropped_with_all_their_rows(owned: Database) -> None:
    guards = rows(owned, _GUARDS)
    insert(
        owned,
        "scores",
        {
            **key_of(owned, "mistaken"),
            "series_id": 1,
            "step": 1,
            "as_of": "2025-05-01 00:00+00",
            "observed": 1.0,
            "error": 1.0,
            "inside_80": 0,
            "inside_95": 0,
        },
    )
    latest = rows(owned, "select * from latest_forecasts order by step")

    as_owner(owned, DROP_RUNS)

    kept = [("february",), ("january",), ("march",), ("past",), ("staged",)]
    assert rows(owned, "select run_id from runs order by 1") == kept
    for table in ("forecasts", "run_series", "run_steps"):
        assert rows(owned, _RUNS_OF.format(table)) == kept
    assert rows(owned, _RUNS_OF.format("scores")) == [("february",), ("january",)]
    assert rows(owned, "select * from latest_forecasts order by step") == latest
    assert rows(owned, _GUARDS) == guards


def test_a_failure_leaves_everything_unchanged(owned: Database) -> None:
    before, guards = rows(owned, _CURRENT), rows(owned, _GUARDS)

    with pytest.raises(sa.exc.ProgrammingError, match="observations_2024"):
        as_owner(owned, DROP_YEAR)

    assert rows(owned, _CURRENT) == before
    assert rows(owned, "select count(*) from revisions") == [(3,)]
    assert rows(owned, _GUARDS) == guards


@pytest.mark.parametrize("role", ["writer", "consumer", "migrator"])
@pytest.mark.parametrize("script", [PARTITION, DROP_YEAR, DROP_RUNS], ids=["partition", "year", "runs"])
def test_only_the_owner_may_change_partitions_and_drop_rows(owned: Database, role: str, script: str) -> None:
    other = Database(owned.url.set(username=f"nextperiod_{role}", password=None))

    with other.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(sa.exc.DatabaseError, match=r"must be owner of|permission denied|read-only transaction"):
            connection.exec_driver_sql(script)

    assert rows(owned, "select count(*) from observations") == [(6,)]
    other.close()
