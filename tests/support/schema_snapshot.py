"""The schema as SQL, dumped from a migrated database: `make schema` writes it, tests compare."""

from __future__ import annotations

import re
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

import sqlalchemy as sa

from pipeline.storage.engine import Database, open_database
from pipeline.storage.schema import REVISION, VERSION_TABLE, upgrade
from tests.support.servers import binaries, running_postgresql

SQL = Path(str(files("sql")))
_VERSION_ROW = f"insert into {VERSION_TABLE} (version_num) values ('{REVISION}');\n"
#: what pg_dump says about itself and the session
_NOISE = re.compile(r"^(--|SET |SELECT pg_catalog\.set_config|\\(un)?restrict ).*\n", re.MULTILINE)
#: the largest number, as a migration writes it
_LARGEST = re.compile(r"\('(-?)179769313486231570+'::numeric\)::double precision")
#: names that newer servers give to `not null`, and older ones do not keep
_NAMED_NOT_NULL = re.compile(r" CONSTRAINT \w+ NOT NULL")


def snapshot(dialect: str) -> Path:
    """The file that shows the schema of one kind of database."""
    return SQL / f"schema.{dialect}.sql"


def sqlite_schema(database: Database) -> str:
    """Every object in the order in which it was made, and the revision."""
    in_order = (
        "select sql from sqlite_master where name not like 'sqlite!_%' escape '!' and sql is not null order by rowid"
    )
    with database.read() as transaction:
        statements = transaction.connection.exec_driver_sql(in_order).scalars().all()
    made = "\n\n".join(f"{statement.strip()};" for statement in statements).expandtabs(4)
    made = re.sub(r"\)\s+(STRICT|WITHOUT)", r") \1", made)
    return re.sub(r" +$", "", made, flags=re.MULTILINE) + f"\n\n{_VERSION_ROW}"


def postgresql_schema(url: sa.URL) -> str:
    """pg_dump's text without what is about the dump, for whatever schema comes first; and the revision."""
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    command = [binaries() / "pg_dump", "--schema-only", "--no-owner", "--no-privileges", address]
    dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = _NOISE.sub("", dumped).replace("public.", "")
    told = _NAMED_NOT_NULL.sub(" NOT NULL", _LARGEST.sub(r"\g<1>1.7976931348623157e308", told))
    return re.sub(r"\n{3,}", "\n\n", told).strip() + f"\n\n{_VERSION_ROW}"


def write_snapshots() -> None:
    """Both files anew, from databases of their own."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/store.db")
        upgrade(database)
        snapshot("sqlite").write_text(sqlite_schema(database), "utf-8")
        database.close()
    with running_postgresql() as url:
        database = Database(url)
        upgrade(database)
        database.close()
        snapshot("postgresql").write_text(postgresql_schema(url), "utf-8")


if __name__ == "__main__":
    write_snapshots()
