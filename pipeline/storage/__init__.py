"""SQLite and PostgreSQL: one repository for each kind of record. The only package that knows a database driver."""
