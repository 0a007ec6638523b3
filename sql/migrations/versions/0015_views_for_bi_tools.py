"""What views for BI tools read: zones and seasons of recipes, instants of decisions, errors of a backtest by series.

The tables `recipes`, `series`, `decisions` and `attempts` make room for views of these names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from pipeline.storage.statements import Period
from pipeline.timeseries.frequency import Frequency, earlier_season_length
from pipeline.timeseries.utc_offsets import utc_offsets

revision = "0015"
down_revision = "0014"

RENAMED = {
    "recipes": "registered_recipes",
    "series": "series_variables",
    "decisions": "model_decisions",
    "attempts": "command_attempts",
}

_UPDATE = sa.text(
    "update registered_recipes set season_length = :season_length, zone = :zone, period_zone = :period_zone "
    "where recipe = :recipe"
)
_INSERT_OFFSET = sa.text(
    "insert into zone_offsets (zone, starts_at, local_starts_at, seconds) "
    "values (:zone, :starts_at, :local_starts_at, :seconds)"
).bindparams(sa.bindparam("starts_at", type_=Period), sa.bindparam("local_starts_at", type_=Period))


def upgrade() -> None:
    is_sqlite = op.get_context().dialect.name == "sqlite"
    for old, new in RENAMED.items():
        op.execute(f"alter table {old} rename to {new}")
    for statement in _sqlite() if is_sqlite else _postgresql():
        op.execute(statement.replace(":", r"\:"))
    for statement in _statements(is_sqlite=is_sqlite):
        op.execute(statement)
    _fill_recipes()


def _sqlite() -> list[str]:
    """Make the triggers again that name a table in their message."""
    return [
        statement
        for verb in ("update", "delete")
        for statement in (
            f"drop trigger decisions_stay_on_{verb}",
            f"""
create trigger model_decisions_stay_on_{verb} before {verb} on model_decisions
begin select raise(abort, 'model_decisions are appended, never changed'); end""",
        )
    ]


def _postgresql() -> list[str]:
    """Make the function again that reads a table by its name."""
    text = op.get_bind().exec_driver_sql("select pg_get_functiondef('guard_forecasts'::regproc)").scalar_one()
    old = "left join series on series.series_id"
    assert old in text, old
    return [text.replace(old, "left join series_variables as series on series.series_id")]


def _statements(*, is_sqlite: bool) -> list[str]:
    period, instant = ("text", "text") if is_sqlite else ("timestamp", "timestamptz")
    number = "real" if is_sqlite else "double precision"
    options = " strict, without rowid" if is_sqlite else ""
    return [
        "alter table registered_recipes add column season_length integer",
        "alter table registered_recipes add column zone text not null default 'UTC'",
        "alter table registered_recipes add column period_zone text not null default 'UTC'",
        f"""
create table zone_offsets (
    zone text not null,
    starts_at {period} not null,
    local_starts_at {period} not null,
    seconds integer not null,
    constraint zone_offset_once primary key (zone, starts_at)
){options}""",
        "create index zone_offsets_of_local_times on zone_offsets (zone, local_starts_at)",
        f"alter table batches add column decided_at {instant}",
        """
update batches set decided_at = (
    select max(withdrawal.recorded_at) from batches as withdrawal
    where withdrawal.recipe = batches.recipe and withdrawal.source = 'withdrawal of batch ' || batches.batch_id
)
where decision = 'withdrawn'""",
        "create index rejections_of_series on rejections (series)",
        "create index runs_of_recipe on runs (recipe, kind, origin)",
        f"""
create table backtest_errors (
    series_id {"integer" if is_sqlite else "bigint"} not null references series_variables (series_id),
    recipe text not null,
    model_version integer not null,
    num_scored integer not null,
    mae {number} not null,
    rmse {number} not null,
    mase {number},
    smape {number} not null,
    baseline text not null,
    baseline_mae {number},
    baseline_mase {number},
    constraint backtest_error_once primary key (series_id, model_version),
    constraint backtest_error_of_model foreign key (recipe, model_version) references models (recipe, model_version)
){options}""",
    ]


def _fill_recipes() -> None:
    """Write what is known of the definitions that are stored; a text that is no recipe's keeps the defaults."""
    connection = op.get_bind()
    zones = set()
    for recipe, definition in connection.execute(sa.text("select recipe, definition from registered_recipes")).all():
        fields = json.loads(definition)
        if "frequency" in fields:
            facts = _derive(fields)
            connection.execute(_UPDATE, {"recipe": recipe, **facts})
            zones.add(facts["zone"])
    rows = [{"zone": zone, **offset._asdict()} for zone in sorted(zones - {"UTC"}) for offset in utc_offsets(zone)]
    if rows:
        connection.execute(_INSERT_OFFSET, rows)


def _derive(fields: Mapping[str, Any]) -> dict[str, Any]:
    alias, calendar = fields["frequency"], fields.get("calendar")
    zone = fields["source"].get("zone") or "UTC"
    is_within_day = calendar is None and Frequency(alias).is_within_day
    return {
        "season_length": fields.get("season_length") or earlier_season_length(alias, calendar),
        "zone": zone,
        "period_zone": "UTC" if is_within_day else zone,
    }
