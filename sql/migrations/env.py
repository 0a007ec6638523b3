"""Alembic's entry: runs on the connection that `pipeline.database` hands over, or prints SQL without one."""

from alembic import context

from pipeline.database import VERSION_TABLE

connection = context.config.attributes.get("connection")
if connection is not None:
    context.configure(connection=connection, version_table=VERSION_TABLE)
else:
    context.configure(
        dialect_name=context.config.attributes["dialect"],
        version_table=VERSION_TABLE,
        literal_binds=True,
        as_sql=True,
    )
with context.begin_transaction():
    context.run_migrations()
