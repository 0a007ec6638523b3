"""A batch keeps what it would change, what was decided about it, and what is expected of the next ones."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    for column in ("preview", "expectation", "decision"):
        op.execute(f"alter table batches add column {column} text")
