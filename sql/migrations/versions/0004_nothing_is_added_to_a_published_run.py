"""SQLite keeps forecasts from being added to a published run by a trigger, whatever a connection has left off.

Foreign keys and recursive triggers are a connection's own choice. Each row was looked up twice by foreign
keys, and that a run holds what it declares is seen once, when it goes out: they go, as on PostgreSQL.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

LARGEST = "1.7976931348623157e308"

SQLITE = [
    f"""
create table forecasts_now (
    run_number integer not null,
    series_id integer not null,
    step integer not null,
    mean real not null,
    lower_95 real not null,
    lower_80 real not null,
    median real not null,
    upper_80 real not null,
    upper_95 real not null,
    constraint forecast_number_once primary key (run_number, series_id, step),
    constraint forecast_step check (step >= 1),
    constraint forecast_mean_finite check (mean between -{LARGEST} and {LARGEST}),
    constraint forecast_quantiles_ascend check (
        -{LARGEST} <= lower_95 and lower_95 <= lower_80 and lower_80 <= median
        and median <= upper_80 and upper_80 <= upper_95 and upper_95 <= {LARGEST}
    )
) strict, without rowid""",
    "insert into forecasts_now select * from forecasts",
    "drop table forecasts",
    "alter table forecasts_now rename to forecasts",
    """
create trigger published_forecasts_stay_on_insert before insert on forecasts
when (select status from runs where run_number = new.run_number) is not 'staged'
begin select raise(abort, 'the forecasts of a published run are never changed, and those of no run never written'); end""",
    *(
        f"""
create trigger published_forecasts_stay_on_{verb} before {verb} on forecasts
when exists (select 1 from runs where run_number in ({rows}) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end"""
        for verb, rows in (("update", "old.run_number, new.run_number"), ("delete", "old.run_number"))
    ),
    """
create trigger staged_run_is_deleted_last before delete on runs
when old.status = 'staged' and exists (select 1 from forecasts where run_number = old.run_number)
begin select raise(abort, 'a staged run is deleted after its forecasts'); end""",
]


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        return
    # no table is renamed while a trigger looks at one that is not there
    whole = op.get_bind().exec_driver_sql("select sql from sqlite_master where name = 'run_goes_out_whole'").scalar()
    for statement in ("drop trigger run_goes_out_whole", *SQLITE, whole):
        op.execute(statement.replace(":", r"\:"))
