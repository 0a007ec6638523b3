"""A run may have no model: baselines forecast as long as the history is too short for a network."""

from alembic import op

revision = "0012"
down_revision = "0011"

COLUMNS = ("model_version", "model_hash")


def upgrade() -> None:
    statements = _sqlite() if op.get_context().dialect.name == "sqlite" else _postgresql()
    for statement in statements:
        op.execute(statement.replace(":", r"\:"))


def _postgresql() -> list[str]:
    return [f"alter table runs alter column {column} drop not null" for column in COLUMNS]


def _sqlite() -> list[str]:
    """Make the table again, which drops its indexes; no table is renamed while a trigger looks at one that is not there."""
    master = (
        op.get_bind().exec_driver_sql("select type, name, tbl_name, sql from sqlite_master where sql is not null").all()
    )
    (table,) = (row.sql for row in master if (row.type, row.name) == ("table", "runs"))
    indexes = [row.sql for row in master if (row.type, row.tbl_name) == ("index", "runs")]
    triggers = [row for row in master if row.type == "trigger"]
    return [
        *(f"drop trigger {trigger.name}" for trigger in triggers),
        _without_not_null(table),
        "insert into runs_now select * from runs",
        "drop table runs",
        "alter table runs_now rename to runs",
        *indexes,
        *(trigger.sql for trigger in triggers),
    ]


def _without_not_null(table: str) -> str:
    """The statement that creates the table under another name, with both columns nullable."""
    for old, new in (
        ('create table "runs" (', "create table runs_now ("),
        ("model_version integer not null", "model_version integer"),
        ("model_hash text not null", "model_hash text"),
    ):
        start = table.lower().find(old)
        assert start >= 0, old
        table = table[:start] + new + table[start + len(old) :]
    return table
