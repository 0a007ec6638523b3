"""With SQLite, whatever a connection has left off: no forecast is added to a published run, nor put in another's place."""

from alembic import op

revision = "0004"
down_revision = "0003"

#: foreign keys and recursive triggers are a connection's own choice, a trigger before an insert is not
SQLITE = """
create trigger published_forecasts_stay_on_insert before insert on forecasts
when (select status from runs where run_number = new.run_number) is not 'staged'
begin select raise(abort, 'the forecasts of a published run are never changed'); end"""


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        op.execute(SQLITE)
