"""A forecast is kept beside its baseline's, and a mark says up to which batch forecasts were scored.

With both, scoring is one statement over what came since: what a night costs does not grow with the runs that are kept.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

FINITE = "between -1.7976931348623157e308 and 1.7976931348623157e308"

#: what batches told of is not known any more: of any period of their recipe, then
PERIODS = """
update batches set first_period = told.first_period, last_period = told.last_period
from (
    select
        series.recipe,
        min((select min(observations.period) from observations
             where observations.series_id = series.series_id)) as first_period,
        max((select max(observations.period) from observations
             where observations.series_id = series.series_id)) as last_period
    from series
    group by series.recipe
) as told
where told.recipe = batches.recipe and batches.num_new + batches.num_revised > 0"""


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    number, period, whole = ("real", "text", "integer") if sqlite else ("double precision", "timestamp", "bigint")
    for statement in (
        f"alter table forecasts add column baseline {number} constraint forecast_baseline_finite check (baseline {FINITE})",
        f"alter table run_series add column scale {number} constraint run_series_scale check (scale >= 0)",
        f"alter table batches add column first_period {period}",
        f"alter table batches add column last_period {period}",
        PERIODS,
        f"""
create table scored (
    recipe text not null references recipes (recipe),
    kind text not null constraint scored_kind check (kind in ('live', 'backfill')),
    batch_id {whole} not null,
    constraint scored_once primary key (recipe, kind)
){" strict" if sqlite else ""}""",
    ):
        op.execute(statement)
