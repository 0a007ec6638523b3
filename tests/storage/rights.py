"""What each PostgreSQL role may do: the table that is tried, action by action."""

from __future__ import annotations

from pipeline.storage.schema import VERSION_TABLE, VIEWS
from tests.storage.schema_names import TABLES

MAY, RIGHT, GUARD = "may", "no right", "a guard refuses"
EVERY_ROLE = ("owner", "migrator", "writer", "consumer")

_MARCH, _STAGED = (f"run_number = (select run_number from runs where run_id = '{run}')" for run in ("march", "staged"))

#: by action: a statement, and what becomes of it for the owner, the migrator, the writer and the consumer
ACTIONS: dict[str, tuple[str, tuple[str, str, str, str]]] = {
    **{f"read {view}": (f"select * from {view}", (MAY, RIGHT, MAY, MAY)) for view in VIEWS},
    **{
        f"read {table}": (f"select * from {table}", (MAY, RIGHT, MAY, RIGHT))
        for table in sorted(TABLES - {VERSION_TABLE, "observations_default"})
    },
    "read the revision": (f"select * from {VERSION_TABLE}", (MAY, MAY, MAY, RIGHT)),
    "read a partition": ("select * from observations_default", (MAY, RIGHT, RIGHT, RIGHT)),
    "read staged forecasts": (f"select * from forecasts where {_STAGED}", (MAY, RIGHT, MAY, RIGHT)),
    "add an observation": (
        "insert into observations (series_id, period, value, batch_id) values (2, '2025-02-01', 55, 2)",
        (MAY, RIGHT, MAY, RIGHT),
    ),
    "add one past the partitioned table": (
        "insert into observations_default (series_id, period, value, batch_id) values (2, '2025-02-01', 55, 2)",
        (MAY, RIGHT, RIGHT, RIGHT),
    ),
    "add a series": ("insert into series_variables (recipe, series) values ('small', 'c')", (MAY, RIGHT, MAY, RIGHT)),
    **{
        f"change {table}": (f"update {table} set value = value + 1", (GUARD, RIGHT, RIGHT, RIGHT))
        for table in ("observations", "revisions")
    },
    **{
        f"delete from {table}": (f"delete from {table}", (GUARD, RIGHT, RIGHT, RIGHT))
        for table in ("observations", "revisions")
    },
    "change an attribute": ("update attributes set value = ''", (GUARD, RIGHT, RIGHT, RIGHT)),
    **{
        f"change {table} of what is published": (f"update {table} set {change}", (GUARD, RIGHT, RIGHT, RIGHT))
        for table, change in (
            ("forecasts", "mean = mean + 1"),
            ("run_series", "reason = 'x'"),
            ("run_steps", "period = period + interval '1 month'"),
        )
    },
    "change scores": ("update scores set error = 0", (MAY, RIGHT, RIGHT, RIGHT)),
    "change model files": ("update model_files set content = ''", (MAY, RIGHT, RIGHT, RIGHT)),
    "change the revision": (f"update {VERSION_TABLE} set version_num = '0'", (MAY, RIGHT, RIGHT, RIGHT)),
    "add a revision": (f"insert into {VERSION_TABLE} values ('9')", (MAY, RIGHT, RIGHT, RIGHT)),
    "change a published run": (
        "update runs set data_hash = 'other' where run_id = 'march'",
        (GUARD, RIGHT, GUARD, RIGHT),
    ),
    "delete a published run": ("delete from runs where run_id = 'march'", (GUARD, RIGHT, GUARD, RIGHT)),
    **{
        f"delete {table} of a {status} run": (f"delete from {table} where {run}", (outcome, RIGHT, outcome, RIGHT))
        for table in ("forecasts", "run_series", "run_steps")
        for status, run, outcome in (("published", _MARCH, GUARD), ("staged", _STAGED, MAY))
    },
    "delete a staged run after its forecasts": (
        "; ".join(f"delete from {table} where {_STAGED}" for table in ("forecasts", "run_series", "run_steps", "runs")),
        (MAY, RIGHT, MAY, RIGHT),
    ),
    "delete a staged run before its forecasts": (
        "delete from runs where run_id = 'staged'",
        (GUARD, RIGHT, GUARD, RIGHT),
    ),
    "publish a run with rows": (
        "update runs set status = 'published', published_at = now() where run_id = 'staged'",
        (MAY, RIGHT, MAY, RIGHT),
    ),
    "delete an attempt": ("delete from command_attempts", (MAY, RIGHT, MAY, RIGHT)),
    "delete a lease": ("delete from leases", (MAY, RIGHT, RIGHT, RIGHT)),
    "delete scores": ("delete from scores", (MAY, RIGHT, RIGHT, RIGHT)),
    "delete rejections": ("delete from rejections", (MAY, RIGHT, RIGHT, RIGHT)),
    "delete model files": ("delete from model_files", (MAY, RIGHT, RIGHT, RIGHT)),
    **{
        f"truncate {tables}": (f"truncate {tables} cascade", (GUARD, RIGHT, RIGHT, RIGHT))
        for tables in (
            "observations",
            "observations_default",
            "revisions",
            "runs",
            "run_series",
            "run_steps",
            "forecasts",
        )
    },
    "truncate attempts": ("truncate command_attempts", (MAY, RIGHT, RIGHT, RIGHT)),
    "drop a table": ("drop table command_attempts cascade", (MAY, RIGHT, RIGHT, RIGHT)),
    "drop a view": ("drop view rejected_observations", (MAY, RIGHT, RIGHT, RIGHT)),
    "create a table": ("create table mine (number integer)", (MAY, RIGHT, RIGHT, RIGHT)),
    "create a view": ("create view mine as select 1", (MAY, RIGHT, RIGHT, RIGHT)),
    "create a function": (
        "create function mine() returns integer language sql as 'select 1'",
        (MAY, RIGHT, RIGHT, RIGHT),
    ),
    "create a schema": ("create schema mine", (RIGHT, RIGHT, RIGHT, RIGHT)),
    "create a temporary table": ("create temporary table mine (number integer)", (MAY, MAY, MAY, RIGHT)),
    "add a column": ("alter table runs add column mine integer", (MAY, RIGHT, RIGHT, RIGHT)),
    "disable a guard": ("alter table runs disable trigger all", (RIGHT, RIGHT, RIGHT, RIGHT)),
    "disable a guard of ours": ("alter table runs disable trigger guard_run", (MAY, RIGHT, RIGHT, RIGHT)),
    "replace a guard": (
        "create or replace function guard_run() returns trigger language plpgsql as 'begin return new; end'",
        (MAY, RIGHT, RIGHT, RIGHT),
    ),
    "switch guards off for the session": ("set session_replication_role = replica", (RIGHT, RIGHT, RIGHT, RIGHT)),
    "change a role": ("alter role nextperiod_consumer createrole", (RIGHT, RIGHT, RIGHT, RIGHT)),
    "give itself a right": (
        "grant select on observations_default to nextperiod_writer",
        (MAY, RIGHT, RIGHT, RIGHT),
    ),
    "act as the owner": ("set role nextperiod_owner", (MAY, MAY, RIGHT, RIGHT)),
    "read a file of the server": ("select pg_read_file('PG_VERSION')", (RIGHT, RIGHT, RIGHT, RIGHT)),
}
