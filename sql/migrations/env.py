"""Alembic's entry: runs on the connection that `pipeline.database` hands over."""

from alembic import context

from pipeline.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
