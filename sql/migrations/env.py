"""Alembic's entry: runs on the connection that `pipeline.storage.engine` hands over."""

from alembic import context

from pipeline.storage.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
