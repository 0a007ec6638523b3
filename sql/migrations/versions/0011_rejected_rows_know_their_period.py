"""A rejected row is kept once, however often it is delivered: its period says that it is the same row."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    period = "text" if op.get_context().dialect.name == "sqlite" else "timestamp"
    op.execute(f"alter table rejections add column period {period}")
