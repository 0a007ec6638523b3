"""A fallback may stand in from a step on: how many of a series' first steps the model forecast itself."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("alter table run_series add column network_steps integer not null default 0")
