"""Intervals are calibrated by series: a run keeps each series' group and factor; scores keep the error of the median, too."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    number = "real" if op.get_context().dialect.name == "sqlite" else "double precision"
    for statement in (
        "alter table run_series add column volatility_group integer",
        f"alter table run_series add column interval_factor {number} constraint run_series_interval_factor check (interval_factor >= 0)",
        "alter table run_series add column has_baseline_width integer not null default 0",
        f"alter table scores add column median_error {number}",
    ):
        op.execute(statement)
