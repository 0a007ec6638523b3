"""The alerts about recipes that were sent, so that each is sent once."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    instant = "text" if sqlite else "timestamptz"
    identity = "integer primary key autoincrement" if sqlite else "bigint generated always as identity primary key"
    op.execute(
        f"""
create table alerts (
    alert_id {identity},
    recipe text not null references recipes (recipe),
    kind text not null,
    state text not null constraint alert_state check (state in ('raised', 'recovered')),
    reason text not null,
    sent_at {instant} not null
){" strict" if sqlite else ""}"""
    )
    op.execute("create index alerts_of_recipe on alerts (recipe, kind, alert_id)")
    for statement in _sqlite() if sqlite else _postgresql():
        op.execute(statement)


def _sqlite() -> list[str]:
    return [
        f"""
create trigger alerts_stay_on_{verb} before {verb} on alerts
begin select raise(abort, 'alerts are appended, never changed'); end"""
        for verb in ("update", "delete")
    ]


def _postgresql() -> list[str]:
    return [
        """
create trigger alerts_stay before update or delete or truncate on alerts
for each statement execute function guard_history()"""
    ]
