"""SQLite and PostgreSQL: one module per aggregate. The only package that knows a database driver."""
