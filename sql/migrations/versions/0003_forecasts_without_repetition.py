"""What all steps of a series and all series of a step share is said once; runs have numbers, which keys repeat."""

from alembic import op

revision = "0003"
down_revision = "0002"

NUMBERS = ("mean", "lower_95", "lower_80", "median", "upper_80", "upper_95")
LARGEST = "1.7976931348623157e308"
#: ascending between finite ends is finite in between; no comparison holds for NaN, which SQLite takes for null
CHECKS = f"""
    constraint forecast_step check (step >= 1),
    constraint forecast_mean_finite check (mean between -{LARGEST} and {LARGEST}),
    constraint forecast_quantiles_ascend check (
        -{LARGEST} <= lower_95 and lower_95 <= lower_80 and lower_80 <= median
        and median <= upper_80 and upper_80 <= upper_95 and upper_95 <= {LARGEST}
    )"""

RUN_COLUMNS = (
    "run_number",
    "run_id",
    "recipe",
    "kind",
    "origin",
    "as_of",
    "data_hash",
    "recipe_fingerprint",
    "model_version",
    "model_hash",
    "code_version",
    "num_series",
    "num_fallback",
    "num_rows",
    "content_hash",
    "expected_next_by",
    "published_at",
)

MOVE = [
    """
insert into run_steps (run_number, step, period)
select distinct runs.run_number, step, period
from forecasts_before join runs on runs.run_id = forecasts_before.run_id""",
    """
insert into run_series (run_number, series_id, method, reason)
select distinct runs.run_number, series_id, method, reason
from forecasts_before join runs on runs.run_id = forecasts_before.run_id""",
    f"""
insert into forecasts (run_number, series_id, step, {", ".join(NUMBERS)})
select runs.run_number, series_id, step, {", ".join(NUMBERS)}
from forecasts_before join runs on runs.run_id = forecasts_before.run_id""",
    """
insert into scores
select runs.run_number, series_id, step, scores_before.as_of, observed, error, naive_error, scale, inside_80, inside_95
from scores_before join runs on runs.run_id = scores_before.run_id""",
    "drop table scores_before",
    "drop table forecasts_before",
]

#: a run is whole that has, of each of its series, the steps 1 to H and no other row
NOT_WHOLE = """
(select count(*) from forecasts where run_number = new.run_number) <> new.num_rows
  or (select count(*) from run_series where run_number = new.run_number) <> new.num_series
  or (select count(*) from run_steps where run_number = new.run_number) * new.num_series <> new.num_rows
  or (select max(step) from run_steps where run_number = new.run_number) * new.num_series <> new.num_rows
  or exists (
      select 1
      from (
          select series_id, count(*) as found, max(step) as last
          from forecasts where run_number = new.run_number
          group by series_id
      ) as told
      where told.found * new.num_series <> new.num_rows or told.last * new.num_series <> new.num_rows)"""
#: forecasts of a series that the run does not name: by a set operation on PostgreSQL, whose planner knows nothing yet
#: of these rows and would join them one by one with all others; by the keys on SQLite
NOT_NAMED = {
    "postgresql": """
  or exists (
      select series_id from forecasts where run_number = new.run_number group by series_id
      except
      select series_id from run_series where run_number = new.run_number)""",
    "sqlite": """
  or exists (
      select 1 from (select distinct series_id from forecasts where run_number = new.run_number) as told
      where not exists (
          select 1 from run_series where run_number = new.run_number and series_id = told.series_id))""",
}


def tables(integer: str, text_period: str, instant: str, number: str, references: str, options: str) -> list[str]:
    """The tables, in the words of one database; `references` where each row is looked up."""
    to_steps = "references run_steps (run_number, step)"
    to_series = "references run_series (run_number, series_id)"
    keys = (
        f"foreign key (run_number, step) {to_steps}, foreign key (run_number, series_id) {to_series},"
        if references
        else ""
    )
    return [
        "alter table forecasts rename to forecasts_before",
        "alter table scores rename to scores_before",
        f"""
create table run_steps (
    run_number {integer} not null references runs (run_number),
    step integer not null constraint run_step check (step >= 1),
    period {text_period} not null,
    constraint run_step_once primary key (run_number, step)
){options}""",
        f"""
create table run_series (
    run_number {integer} not null {references and "references runs (run_number)"},
    series_id {integer} not null {references and "references series (series_id)"},
    method text not null,
    reason text,
    constraint run_series_once primary key (run_number, series_id)
){options}""",
        f"""
create table forecasts (
    run_number {integer} not null,
    series_id {integer} not null,
    step integer not null,
    {", ".join(f"{name} {number} not null" for name in NUMBERS)},
    constraint forecast_number_once primary key (run_number, series_id, step),{keys}{CHECKS}
){options}""",
        f"""
create table scores (
    run_number {integer} not null,
    series_id {integer} not null,
    step integer not null,
    as_of {instant} not null,
    observed {number} not null,
    error {number} not null,
    naive_error {number},
    scale {number},
    inside_80 integer not null,
    inside_95 integer not null,
    constraint score_number_once primary key (run_number, series_id, step, as_of),
    constraint score_of_number foreign key (run_number, series_id, step)
        references forecasts (run_number, series_id, step)
){options}""",
        *MOVE,
    ]


GUARD_RUN = f"""
create or replace function guard_run() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.status <> 'staged' then raise exception 'a run is staged, once, before it is published'; end if;
    return new;
  end if;
  if tg_op = 'DELETE' then
    if old.status <> 'staged' then raise exception 'a published run is never deleted'; end if;
    if exists (select 1 from forecasts where run_number = old.run_number)
       or exists (select 1 from run_series where run_number = old.run_number) then
      raise exception 'a staged run is deleted after its forecasts';
    end if;
    return old;
  end if;
  if old.status = 'staged' and new.status <> 'staged' and (new.status <> 'published' or {NOT_WHOLE}{NOT_NAMED["postgresql"]}) then
    raise exception 'a run goes out with the number of rows that it declares';
  end if;
  if old.status <> 'staged' and (old.status <> 'published' or new.status <> 'superseded'
     or new.superseded_by is null or new.superseded_by = new.run_id
     or {" or ".join(f"new.{column} is distinct from old.{column}" for column in RUN_COLUMNS)}) then
    raise exception 'a published run is never changed, only superseded';
  end if;
  return new;
end $$"""

#: one look for all rows of a statement; the lock keeps a run from going out while rows come in
GUARD_FORECASTS = """
create or replace function guard_forecasts() returns trigger language plpgsql as $$
declare
  touched bigint[];
begin
  select array_agg(run_number) into touched from (select distinct run_number from changed) as numbers;
  perform 1 from runs where run_number = any(touched) for share;
  if exists (
      select 1 from unnest(touched) as number
      left join runs on runs.run_number = number
      where runs.status is distinct from 'staged') then
    raise exception 'the forecasts of a published run are never changed, and those of no run never written';
  end if;
  if tg_table_name = 'run_series' then
    if exists (
        select 1 from changed
        left join series on series.series_id = changed.series_id
        where series.series_id is null) then
      raise exception 'a forecast is of a series that is known';
    end if;
  end if;
  return null;
end $$"""

POSTGRESQL = [
    "alter table runs add column run_number bigint generated by default as identity",
    "alter table runs add constraint run_number_once unique (run_number)",
    "alter table forecasts drop constraint forecast_step",
    *(f"alter table forecasts drop constraint forecast_{name}_finite" for name in NUMBERS),
    "alter table forecasts drop constraint forecast_quantiles_ascend",
    *tables("bigint", "timestamp", "timestamptz", "double precision", "", ""),
    GUARD_RUN,
    GUARD_FORECASTS,
    *(
        f"""
create trigger guard_{table}_{name} after {event} on {table}
referencing {rows} table as changed for each statement execute function guard_forecasts()"""
        for table in ("forecasts", "run_series", "run_steps")
        for name, event, rows in (
            ("insert", "insert", "new"),
            ("update_of", "update", "old"),
            ("update_to", "update", "new"),
            ("delete", "delete", "old"),
        )
    ),
    *(
        f"""
create trigger guard_all_{table} before truncate on {table}
for each statement execute function guard_history()"""
        for table in ("forecasts", "run_series", "run_steps")
    ),
    """
do $$
declare
  guard text;
begin
  foreach guard in array array['guard_run', 'guard_forecasts'] loop
    execute format('alter function %I() set search_path = %I, pg_temp', guard, current_schema());
  end loop;
end $$""",
]

SQLITE = [
    *(f"drop trigger published_forecasts_stay_on_{verb}" for verb in ("insert", "update", "delete")),
    *(
        f"drop trigger {name}"
        for name in ("run_is_staged_first", "run_goes_out_whole", "published_run_stays", "published_run_is_kept")
    ),
    "drop index one_published_run",
    """
create table runs_now (
    run_number integer primary key autoincrement,
    run_id text not null unique,
    recipe text not null references recipes (recipe),
    kind text not null constraint run_kind check (kind in ('live', 'backfill')),
    origin text not null,
    as_of text not null,
    status text not null constraint run_status check (status in ('staged', 'published', 'superseded')),
    data_hash text not null,
    recipe_fingerprint text not null,
    model_version integer not null,
    model_hash text not null,
    code_version text not null,
    num_series integer not null,
    num_fallback integer not null,
    num_rows integer not null,
    content_hash text not null,
    expected_next_by text not null,
    published_at text,
    superseded_by text references runs (run_id),
    constraint run_by_model foreign key (recipe, model_version) references models (recipe, model_version),
    constraint run_published_at check (status = 'staged' or published_at is not null)
) strict""",
    f"""
insert into runs_now ({", ".join(RUN_COLUMNS[1:])}, status, superseded_by)
select {", ".join(RUN_COLUMNS[1:])}, status, superseded_by from runs order by published_at, run_id""",
    "drop table runs",
    "alter table runs_now rename to runs",
    "create unique index one_published_run on runs (recipe, kind, origin) where status = 'published'",
    *tables("integer", "text", "text", "real", "always", " strict, without rowid"),
    """
create trigger run_is_staged_first before insert on runs
when new.status <> 'staged' or exists (select 1 from runs where run_id = new.run_id or run_number = new.run_number)
begin select raise(abort, 'a run is staged, once, before it is published'); end""",
    f"""
create trigger run_goes_out_whole before update on runs
when old.status = 'staged' and new.status <> 'staged' and (new.status <> 'published' or {NOT_WHOLE}{NOT_NAMED["sqlite"]})
begin select raise(abort, 'a run goes out with the number of rows that it declares'); end""",
    f"""
create trigger published_run_stays before update on runs
when old.status <> 'staged' and (old.status <> 'published' or new.status <> 'superseded'
  or new.superseded_by is null or new.superseded_by = new.run_id
  or {" or ".join(f"new.{column} is not old.{column}" for column in RUN_COLUMNS)})
begin select raise(abort, 'a published run is never changed, only superseded'); end""",
    """
create trigger published_run_is_kept before delete on runs when old.status <> 'staged'
begin select raise(abort, 'a published run is never deleted'); end""",
    # a whole run has a forecast for each of its series and steps: where those stay, no row can be added to it
    *(
        f"""
create trigger published_{table}_stay_on_{verb} before {verb} on {table}
when exists (select 1 from runs where run_number in ({rows}) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end"""
        for table, verbs in (
            ("run_steps", ("insert", "update", "delete")),
            ("run_series", ("insert", "update", "delete")),
            ("forecasts", ("update", "delete")),
        )
        for verb in verbs
        for rows in [
            {"insert": "new.run_number", "update": "old.run_number, new.run_number"}.get(verb, "old.run_number")
        ]
    ),
]


def upgrade() -> None:
    for statement in {"postgresql": POSTGRESQL, "sqlite": SQLITE}[op.get_context().dialect.name]:
        op.execute(statement.replace(":", r"\:"))
