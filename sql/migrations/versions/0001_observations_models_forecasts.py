"""Observations, models, runs with their forecasts, and what was attempted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

#: an instant: UTC with its zone; in SQLite text of fixed width, so that text order is time order
Instant = sa.Text().with_variant(sa.DateTime(timezone=True), "postgresql")
#: the start of a period: UTC without zone, so that it reads the same in every session
Period = sa.Text().with_variant(sa.DateTime(timezone=False), "postgresql")
Double = sa.REAL().with_variant(postgresql.DOUBLE_PRECISION(), "postgresql")
Bytes = sa.LargeBinary()
Identity = sa.Integer().with_variant(sa.BigInteger(), "postgresql")

FINITE = "{0} between -1.7976931348623157e308 and 1.7976931348623157e308"
NUMBERS = ("mean", "lower_95", "lower_80", "median", "upper_80", "upper_95")


def upgrade() -> None:
    strict = {"sqlite_strict": True}
    op.create_table(
        "recipes",
        sa.Column("recipe", sa.Text, primary_key=True),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
        sa.Column("champion_version", sa.Integer),
        **strict,
    )
    op.create_table(
        "series",
        sa.Column("series_id", Identity, primary_key=True, autoincrement=True),
        sa.Column("recipe", sa.Text, sa.ForeignKey("recipes.recipe"), nullable=False),
        sa.Column("series", sa.Text, nullable=False),
        sa.UniqueConstraint("recipe", "series", name="series_name_once"),
        **strict,
    )
    op.create_table(
        "batches",
        sa.Column("batch_id", Identity, primary_key=True, autoincrement=True),
        sa.Column("recipe", sa.Text, sa.ForeignKey("recipes.recipe"), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("message", sa.Text),
        *(
            sa.Column(f"num_{kind}", sa.Integer, nullable=False)
            for kind in ("read", "new", "revised", "same", "rejected")
        ),
        sa.CheckConstraint("status in ('accepted', 'refused')", name="batch_status"),
        **strict,
    )
    op.create_index("batches_of_recipe", "batches", ["recipe", "recorded_at"])
    op.create_table(
        "observations",
        sa.Column("series_id", Identity, sa.ForeignKey("series.series_id"), nullable=False),
        sa.Column("period", Period, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.Column("value", Double, nullable=False),
        sa.Column("batch_id", Identity, sa.ForeignKey("batches.batch_id"), nullable=False),
        sa.PrimaryKeyConstraint("series_id", "period", "recorded_at", name="observation_once"),
        sa.CheckConstraint(FINITE.format("value"), name="observation_finite"),
        sqlite_with_rowid=False,
        **strict,
    )
    op.create_table(
        "rejections",
        sa.Column("rejection_id", Identity, primary_key=True, autoincrement=True),
        sa.Column("batch_id", Identity, sa.ForeignKey("batches.batch_id"), nullable=False),
        sa.Column("line", sa.Integer),
        sa.Column("column_name", sa.Text),
        sa.Column("series", sa.Text),
        sa.Column("text", sa.Text),
        sa.Column("rule", sa.Text, nullable=False),
        **strict,
    )
    op.create_table(
        "models",
        sa.Column("recipe", sa.Text, sa.ForeignKey("recipes.recipe"), nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("model_hash", sa.Text, nullable=False),
        sa.Column("training", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("cutoff", Period, nullable=False),
        sa.Column("as_of", Instant, nullable=False),
        sa.Column("data_hash", sa.Text, nullable=False),
        sa.Column("recipe_fingerprint", sa.Text, nullable=False),
        sa.Column("training_fingerprint", sa.Text, nullable=False),
        sa.Column("code_version", sa.Text, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("skill", Double),
        sa.Column("trained_at", Instant, nullable=False),
        sa.Column("mlflow_run_id", sa.Text),
        sa.PrimaryKeyConstraint("recipe", "model_version", name="model_version_once"),
        sa.UniqueConstraint("recipe", "model_hash", name="model_hash_once"),
        **strict,
    )
    op.create_table(
        "model_files",
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("content", Bytes, nullable=False),
        sa.PrimaryKeyConstraint("recipe", "model_version", "name", name="model_file_once"),
        sa.ForeignKeyConstraint(
            ["recipe", "model_version"], ["models.recipe", "models.model_version"], name="file_of_model"
        ),
        **strict,
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("recipe", sa.Text, sa.ForeignKey("recipes.recipe"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("origin", Period, nullable=False),
        sa.Column("as_of", Instant, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("data_hash", sa.Text, nullable=False),
        sa.Column("recipe_fingerprint", sa.Text, nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("model_hash", sa.Text, nullable=False),
        sa.Column("code_version", sa.Text, nullable=False),
        sa.Column("num_series", sa.Integer, nullable=False),
        sa.Column("num_fallback", sa.Integer, nullable=False),
        sa.Column("num_rows", sa.Integer, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("expected_next_by", Instant, nullable=False),
        sa.Column("published_at", Instant),
        sa.Column("superseded_by", sa.Text, sa.ForeignKey("runs.run_id")),
        sa.ForeignKeyConstraint(
            ["recipe", "model_version"], ["models.recipe", "models.model_version"], name="run_by_model"
        ),
        sa.CheckConstraint("kind in ('live', 'backfill')", name="run_kind"),
        sa.CheckConstraint("status in ('staged', 'published', 'superseded')", name="run_status"),
        sa.CheckConstraint("status = 'staged' or published_at is not null", name="run_published_at"),
        **strict,
    )
    published = sa.text("status = 'published'")
    op.create_index(
        "one_published_run",
        "runs",
        ["recipe", "kind", "origin"],
        unique=True,
        sqlite_where=published,
        postgresql_where=published,
    )
    op.create_table(
        "forecasts",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), nullable=False),
        sa.Column("series_id", Identity, sa.ForeignKey("series.series_id"), nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("period", Period, nullable=False),
        *(sa.Column(name, Double, nullable=False) for name in NUMBERS),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("run_id", "series_id", "step", name="forecast_once"),
        sa.CheckConstraint("step >= 1", name="forecast_step"),
        *(sa.CheckConstraint(FINITE.format(name), name=f"forecast_{name}_finite") for name in NUMBERS),
        sa.CheckConstraint(
            "lower_95 <= lower_80 and lower_80 <= median and median <= upper_80 and upper_80 <= upper_95",
            name="forecast_quantiles_ascend",
        ),
        sqlite_with_rowid=False,
        **strict,
    )
    op.create_index("forecasts_of_period", "forecasts", ["series_id", "period"])
    op.create_table(
        "scores",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("series_id", Identity, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("as_of", Instant, nullable=False),
        sa.Column("observed", Double, nullable=False),
        sa.Column("error", Double, nullable=False),
        sa.Column("naive_error", Double),
        sa.Column("scale", Double),
        sa.Column("inside_80", sa.Integer, nullable=False),
        sa.Column("inside_95", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "series_id", "step", "as_of", name="score_once"),
        sa.ForeignKeyConstraint(
            ["run_id", "series_id", "step"],
            ["forecasts.run_id", "forecasts.series_id", "forecasts.step"],
            name="score_of_forecast",
        ),
        **strict,
    )
    op.create_table(
        "attempts",
        sa.Column("attempt_id", Identity, primary_key=True, autoincrement=True),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("finished_at", Instant),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        **strict,
    )
    op.create_index("attempts_of_recipe", "attempts", ["recipe", "started_at"])
    op.create_table(
        "outbox",
        sa.Column("outbox_id", Identity, primary_key=True, autoincrement=True),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("done_at", Instant),
        sa.UniqueConstraint("recipe", "kind", "reference", name="outbox_once"),
        **strict,
    )
    for statement in TRIGGERS[
        op.get_bind().dialect.name if not op.get_context().as_sql else op.get_context().dialect.name
    ]:
        op.execute(statement)


#: what of a run never changes once it is out; its status may become superseded
RUN_COLUMNS = (
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

#: what holds even against our own code: a run goes out with all its rows, and stays as it went out
TRIGGERS = {
    "sqlite": [
        """
create trigger run_is_staged_first before insert on runs
when new.status <> 'staged' or exists (select 1 from runs where run_id = new.run_id)
begin select raise(abort, 'a run is staged, once, before it is published'); end""",
        """
create trigger run_goes_out_whole before update on runs
when old.status = 'staged' and new.status <> 'staged' and (new.status <> 'published'
  or (select count(*) from forecasts where run_id = new.run_id) <> new.num_rows)
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
        *(
            f"""
create trigger published_forecasts_stay_on_{verb} before {verb} on forecasts
when exists (select 1 from runs where run_id in ({rows}) and status <> 'staged')
begin select raise(abort, 'the forecasts of a published run are never changed'); end"""
            for verb, rows in (("insert", "new.run_id"), ("update", "old.run_id, new.run_id"), ("delete", "old.run_id"))
        ),
        """
create trigger observations_are_not_replaced before insert on observations
when exists (
  select 1 from observations
  where series_id = new.series_id and period = new.period and recorded_at = new.recorded_at)
begin select raise(abort, 'observations are appended, never changed'); end""",
        *(
            f"""
create trigger observations_stay_on_{verb} before {verb} on observations
begin select raise(abort, 'observations are appended, never changed'); end"""
            for verb in ("update", "delete")
        ),
    ],
    "postgresql": [
        f"""
create function guard_run() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.status <> 'staged' then raise exception 'a run is staged, once, before it is published'; end if;
    return new;
  end if;
  if tg_op = 'DELETE' then
    if old.status <> 'staged' then raise exception 'a published run is never deleted'; end if;
    return old;
  end if;
  if old.status = 'staged' and new.status <> 'staged' and (new.status <> 'published'
     or (select count(*) from forecasts where run_id = new.run_id) <> new.num_rows) then
    raise exception 'a run goes out with the number of rows that it declares';
  end if;
  if old.status <> 'staged' and (old.status <> 'published' or new.status <> 'superseded'
     or new.superseded_by is null or new.superseded_by = new.run_id
     or {" or ".join(f"new.{column} is distinct from old.{column}" for column in RUN_COLUMNS)}) then
    raise exception 'a published run is never changed, only superseded';
  end if;
  return new;
end $$""",
        """
create trigger guard_run before insert or update or delete on runs
for each row execute function guard_run()""",
        """
create function guard_forecast() returns trigger language plpgsql as $$
begin
  if exists (select 1 from runs where run_id in (new.run_id, old.run_id) and status <> 'staged') then
    raise exception 'the forecasts of a published run are never changed';
  end if;
  return coalesce(new, old);
end $$""",
        """
create trigger guard_forecast before insert or update or delete on forecasts
for each row execute function guard_forecast()""",
        """
create function guard_history() returns trigger language plpgsql as $$
begin
  raise exception using message = tg_table_name || ' are appended, never changed';
end $$""",
        """
create trigger guard_observation before update or delete on observations
for each row execute function guard_history()""",
        *(
            f"""
create trigger guard_all_{table} before truncate on {table}
for each statement execute function guard_history()"""
            for table in ("observations", "runs", "forecasts")
        ),
    ],
}
