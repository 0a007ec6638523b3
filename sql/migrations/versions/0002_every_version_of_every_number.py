"""First values and their revisions apart, without a copy of the instant in each row; covariates, held batches, leases."""

from alembic import op

revision = "0002"
down_revision = "0001"

FINITE = "value between -1.7976931348623157e308 and 1.7976931348623157e308"

#: what was recorded before: the first value of a period is the observation, the later ones are its revisions
MOVE = [
    """
insert into observations (series_id, period, value, batch_id)
select series_id, period, value, batch_id from observations_before as told
where recorded_at = (
    select min(first.recorded_at) from observations_before as first
    where first.series_id = told.series_id and first.period = told.period
)""",
    """
insert into revisions (series_id, period, batch_id, value)
select series_id, period, batch_id, value from observations_before as told
where recorded_at > (
    select min(first.recorded_at) from observations_before as first
    where first.series_id = told.series_id and first.period = told.period
)""",
    "drop table observations_before",
]

POSTGRESQL = [
    "alter table series add column variable text not null default ''",
    "alter table series drop constraint series_name_once",
    "alter table series add constraint series_name_once unique (recipe, series, variable)",
    "alter table batches drop constraint batch_status",
    "alter table batches add constraint batch_status check (status in ('accepted', 'refused', 'held', 'released'))",
    "alter table batches add column state text not null default '{}'",
    "alter table batches add column releases bigint references batches (batch_id)",
    "alter table rejections add column file text",
    "create index rejections_of_batch on rejections (batch_id)",
    "alter table observations rename to observations_before",
    "alter table observations_before rename constraint observation_once to observation_once_before",
    f"""
create table observations (
    series_id bigint not null,
    period timestamp not null,
    value double precision not null constraint observation_finite check ({FINITE}),
    batch_id bigint not null,
    constraint observation_first primary key (series_id, period)
) partition by range (period)""",
    "create table observations_default partition of observations default",
    f"""
create table revisions (
    series_id bigint not null,
    period timestamp not null,
    batch_id bigint not null,
    value double precision not null constraint revision_finite check ({FINITE}),
    constraint revision_once primary key (series_id, period, batch_id)
)""",
    *MOVE,
    """
create table attributes (
    series_id bigint not null references series (series_id),
    name text not null,
    batch_id bigint not null references batches (batch_id),
    value text not null,
    constraint attribute_once primary key (series_id, name, batch_id)
)""",
    """
create table held_rows (
    batch_id bigint not null references batches (batch_id),
    part integer not null,
    content bytea not null,
    constraint held_part_once primary key (batch_id, part)
)""",
    """
create table leases (
    recipe text primary key references recipes (recipe),
    epoch bigint not null,
    holder text not null,
    expires_at timestamptz not null
)""",
    *(
        f"""
create trigger guard_{table} before update or delete on {table}
for each row execute function guard_history()"""
        for table in ("observations", "revisions", "attributes")
    ),
    *(
        f"""
create trigger guard_all_{table} before truncate on {table}
for each statement execute function guard_history()"""
        for table in ("observations", "observations_default", "revisions", "attributes")
    ),
    # foreign keys are looked up row by row, which takes longer than the rows: one look for all rows of a statement
    """
create function guard_revisions() returns trigger language plpgsql as $$
begin
  if exists (
      select 1 from added
      left join observations
        on observations.series_id = added.series_id and observations.period = added.period
      where observations.batch_id is null or observations.batch_id >= added.batch_id) then
    raise exception 'a revision follows the observation that it revises';
  end if;
  return null;
end $$""",
    """
create trigger guard_revisions_insert after insert on revisions
referencing new table as added for each statement execute function guard_revisions()""",
    "drop index forecasts_of_period",
    "alter table forecasts drop constraint forecasts_run_id_fkey",
    "alter table forecasts drop constraint forecasts_series_id_fkey",
    "drop trigger guard_forecast on forecasts",
    "drop function guard_forecast",
    # one check for all rows of a statement; the lock keeps a run from going out while rows come in
    """
create function guard_forecasts() returns trigger language plpgsql as $$
begin
  perform 1 from runs where run_id in (select distinct run_id from changed) for share;
  if exists (
      select 1 from (select distinct run_id from changed) as touched
      left join runs on runs.run_id = touched.run_id
      where runs.status is distinct from 'staged') then
    raise exception 'the forecasts of a published run are never changed, and those of no run never written';
  end if;
  if tg_op <> 'DELETE' and exists (
      select 1 from (select distinct series_id from changed) as touched
      left join series on series.series_id = touched.series_id
      where series.series_id is null) then
    raise exception 'a forecast is of a series that is known';
  end if;
  return null;
end $$""",
    *(
        f"""
create trigger guard_forecasts_{name} after {event} on forecasts
referencing {rows} table as changed for each statement execute function guard_forecasts()"""
        for name, event, rows in (
            ("insert", "insert", "new"),
            ("update_of", "update", "old"),
            ("update_to", "update", "new"),
            ("delete", "delete", "old"),
        )
    ),
    # a temporary table of the same name is not what a guard looks at
    """
do $$
declare
  guard text;
begin
  foreach guard in array array['guard_run', 'guard_forecasts', 'guard_revisions'] loop
    execute format('alter function %I() set search_path = %I, pg_temp', guard, current_schema());
  end loop;
end $$""",
]

#: SQLite cannot change a constraint: the table is made again. Foreign keys are off meanwhile and checked at the end.
SQLITE = [
    "drop trigger observations_are_not_replaced",
    "drop trigger observations_stay_on_update",
    "drop trigger observations_stay_on_delete",
    """
create table series_now (
    series_id integer primary key autoincrement,
    recipe text not null references recipes (recipe),
    series text not null,
    variable text not null default '',
    constraint series_name_once unique (recipe, series, variable)
) strict""",
    "insert into series_now (series_id, recipe, series) select series_id, recipe, series from series",
    "drop table series",
    "alter table series_now rename to series",
    """
create table batches_now (
    batch_id integer primary key autoincrement,
    recipe text not null references recipes (recipe),
    source text not null,
    content_hash text not null,
    recorded_at text not null,
    status text not null constraint batch_status check (status in ('accepted', 'refused', 'held', 'released')),
    message text,
    num_read integer not null,
    num_new integer not null,
    num_revised integer not null,
    num_same integer not null,
    num_rejected integer not null,
    state text not null default '{}',
    releases integer references batches (batch_id)
) strict""",
    """
insert into batches_now
select batch_id, recipe, source, content_hash, recorded_at, status, message,
    num_read, num_new, num_revised, num_same, num_rejected, '{}', null
from batches""",
    "drop table batches",
    "alter table batches_now rename to batches",
    "create index batches_of_recipe on batches (recipe, recorded_at)",
    "alter table rejections add column file text",
    "create index rejections_of_batch on rejections (batch_id)",
    "alter table observations rename to observations_before",
    f"""
create table observations (
    series_id integer not null references series (series_id),
    period text not null,
    value real not null constraint observation_finite check ({FINITE}),
    batch_id integer not null references batches (batch_id),
    constraint observation_first primary key (series_id, period)
) strict, without rowid""",
    f"""
create table revisions (
    series_id integer not null,
    period text not null,
    batch_id integer not null references batches (batch_id),
    value real not null constraint revision_finite check ({FINITE}),
    constraint revision_once primary key (series_id, period, batch_id),
    constraint revision_of_observation foreign key (series_id, period) references observations (series_id, period)
) strict, without rowid""",
    *MOVE,
    """
create table attributes (
    series_id integer not null references series (series_id),
    name text not null,
    batch_id integer not null references batches (batch_id),
    value text not null,
    constraint attribute_once primary key (series_id, name, batch_id)
) strict, without rowid""",
    """
create table held_rows (
    batch_id integer not null references batches (batch_id),
    part integer not null,
    content blob not null,
    constraint held_part_once primary key (batch_id, part)
) strict""",
    """
create table leases (
    recipe text primary key references recipes (recipe),
    epoch integer not null,
    holder text not null,
    expires_at text not null
) strict""",
    *(
        f"""
create trigger {table}_stay_on_{verb} before {verb} on {table}
begin select raise(abort, '{table} are appended, never changed'); end"""
        for table in ("observations", "revisions", "attributes")
        for verb in ("update", "delete")
    ),
    "drop index forecasts_of_period",
]


def upgrade() -> None:
    for statement in {"postgresql": POSTGRESQL, "sqlite": SQLITE}[op.get_context().dialect.name]:
        op.execute(statement.replace(":", r"\:"))
