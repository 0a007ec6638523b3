"""Why a model is trained and promoted is a row; what a run was made with is kept whole; scenarios have a table."""

from alembic import op

revision = "0006"
down_revision = "0005"

FINITE = "between -1.7976931348623157e308 and 1.7976931348623157e308"
UNCHANGED = "new.published_at {} old.published_at"
KEPT = ("decisions", "recipe_versions", "sample_paths")


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    whole, number, instant = ("integer", "real", "text") if sqlite else ("bigint", "double precision", "timestamptz")
    identity = "integer primary key autoincrement" if sqlite else "bigint generated always as identity primary key"
    strict = " strict" if sqlite else ""
    for statement in (
        f"""
create table recipe_versions (
    recipe text not null references recipes (recipe),
    fingerprint text not null,
    definition text not null,
    constraint recipe_version_once primary key (recipe, fingerprint)
){strict}""",
        "insert into recipe_versions (recipe, fingerprint, definition) select recipe, fingerprint, definition from recipes",
        f"""
create table decisions (
    decision_id {identity},
    recipe text not null references recipes (recipe),
    what text not null constraint decision_what check (what in ('training', 'promotion')),
    kind text not null constraint decision_kind check (kind in ('live', 'backfill')),
    outcome text not null,
    reason text not null,
    model_version integer,
    as_of {instant} not null,
    decided_at {instant} not null,
    facts text not null default '{{}}',
    constraint decision_about foreign key (recipe, model_version) references models (recipe, model_version)
){strict}""",
        "create index decisions_of_recipe on decisions (recipe, what, as_of)",
        """
insert into decisions (recipe, what, kind, outcome, reason, model_version, as_of, decided_at)
select recipe, 'promotion', 'live', 'promoted', 'before there was a gate', model_version, as_of, trained_at
from models order by recipe, model_version""",
        "alter table runs add column calibration text",
        f"""
create table sample_paths (
    run_number {whole} not null references runs (run_number),
    series_id {whole} not null references series (series_id),
    path integer not null constraint sample_path check (path >= 1),
    step integer not null constraint sample_step check (step >= 1),
    value {number} not null constraint sample_finite check (value {FINITE}),
    constraint sample_once primary key (run_number, series_id, path, step)
){strict + ", without rowid" if sqlite else ""}""",
        *(_sqlite() if sqlite else _postgresql()),
    ):
        op.execute(statement.replace(":", r"\:"))


def _sqlite() -> list[str]:
    found = op.get_bind().exec_driver_sql("select sql from sqlite_master where name = 'published_run_stays'").scalar()
    guards = [
        f"""
create trigger {table}_stay_on_{verb} before {verb} on {table}
begin select raise(abort, '{table} are appended, never changed'); end"""
        for table in KEPT
        for verb in ("update", "delete")
    ]
    return ["drop trigger published_run_stays", _with_calibration(found, "is not"), *guards]


def _postgresql() -> list[str]:
    found = op.get_bind().exec_driver_sql("select pg_get_functiondef('guard_run'::regproc)").scalar()
    guards = [
        f"""
create trigger {table}_stay before update or delete or truncate on {table}
for each statement execute function guard_history()"""
        for table in KEPT
    ]
    return [_with_calibration(found, "is distinct from"), *guards]


def _with_calibration(text: str, differs: str) -> str:
    assert UNCHANGED.format(differs) in text
    return text.replace(
        UNCHANGED.format(differs), f"{UNCHANGED.format(differs)} or new.calibration {differs} old.calibration"
    )
