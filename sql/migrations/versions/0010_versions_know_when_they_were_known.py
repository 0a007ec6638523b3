"""A version of a value may be a withdrawal, and knows since when it was known, however late it is recorded."""

from alembic import op

revision = "0010"
down_revision = "0009"

FINITE = "value between -1.7976931348623157e308 and 1.7976931348623157e308"
UNCHANGED = "new.calibration {} old.calibration"

#: SQLite cannot drop `not null`: the table is made again
SQLITE = [
    f"""
create table revisions_now (
    series_id integer not null,
    period text not null,
    batch_id integer not null references batches (batch_id),
    value real constraint revision_finite check ({FINITE}),
    constraint revision_once primary key (series_id, period, batch_id),
    constraint revision_of_observation foreign key (series_id, period) references observations (series_id, period)
) strict, without rowid""",
    "insert into revisions_now (series_id, period, batch_id, value) select series_id, period, batch_id, value from revisions",
    "drop table revisions",
    "alter table revisions_now rename to revisions",
    *(
        f"""
create trigger {table}_stay_on_{verb} before {verb} on {table}
begin select raise(abort, '{table} are appended, never changed'); end"""
        for table in ("revisions", "older_versions")
        for verb in ("update", "delete")
    ),
]

POSTGRESQL = [
    "alter table revisions alter column value drop not null",
    "create trigger guard_older_versions before update or delete on older_versions for each row execute function guard_history()",
    "create trigger guard_all_older_versions before truncate on older_versions for each statement execute function guard_history()",
]


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    whole, number, period, instant = (
        ("integer", "real", "text", "text") if sqlite else ("bigint", "double precision", "timestamp", "timestamptz")
    )
    for statement in (
        f"alter table batches add column known_at {instant}",
        f"alter table runs add column recorded_by {instant}",
        f"""
create table older_versions (
    series_id {whole} not null references series (series_id),
    period {period} not null,
    batch_id {whole} not null references batches (batch_id),
    value {number} constraint older_version_finite check ({FINITE}),
    constraint older_version_once primary key (series_id, period, batch_id)
){" strict, without rowid" if sqlite else ""}""",
        *(SQLITE if sqlite else POSTGRESQL),
        # finds the few withdrawn values of a recipe
        "create index withdrawn_values on revisions (series_id) where value is null",
        *_guard_recorded_by(sqlite=sqlite),
    ):
        op.execute(statement.replace(":", r"\:"))


def _guard_recorded_by(*, sqlite: bool) -> list[str]:
    """The guard of published runs also keeps up to when their data was recorded."""
    if sqlite:
        query, differs = "select sql from sqlite_master where name = 'published_run_stays'", "is not"
    else:
        query, differs = "select pg_get_functiondef('guard_run'::regproc)", "is distinct from"
    found = op.get_bind().exec_driver_sql(query).scalar()
    unchanged = UNCHANGED.format(differs)
    assert unchanged in found
    guard = found.replace(unchanged, f"{unchanged} or new.recorded_by {differs} old.recorded_by")
    return ["drop trigger published_run_stays", guard] if sqlite else [guard]
