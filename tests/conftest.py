"""Real databases, a small recipe and one model trained in earnest, shared by the tests."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.storage.engine import Database, open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainedModel, TrainingJob
from tests.support.examples import small_panel, small_recipe
from tests.support.servers import new_database, running_postgresql

os.environ.update(
    DO_NOT_TRACK="true",
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_LOGGING_LEVEL="WARNING",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[sa.URL]:
    """A PostgreSQL server of the tests' own; a machine where none can start fails."""
    with running_postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database, of both kinds in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    server = request.getfixturevalue("postgresql")
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with new_database(admin, f"test_{os.getpid()}_{abs(hash(request.node.nodeid))}") as url:
        yield url.render_as_string(hide_password=False)
    admin.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the schema."""
    opened = open_database(database_url)
    require_schema(opened)
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> Store:
    """An empty store."""
    return Store(database)


@pytest.fixture(scope="session")
def outcome() -> TrainedModel:
    """What training the small recipe on the small panel gives; trained once a session."""
    return run_training(
        TrainingJob(panel=small_panel(), recipe=small_recipe(), training="retrain", reason="no model yet")
    )


@pytest.fixture(autouse=True)
def keras_draws_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep Keras's seeds from other threads of this process, such as a Prefect client that an earlier test started.

    Keras draws the seed of each layer from Python's global generator. A training has a process of its own, in which
    nothing else draws; these tests have not.
    """
    seeds = sys.modules.get("keras.src.random.seed_generator")
    if seeds is not None and request.node.get_closest_marker("tensorflow"):
        own = random.Random()
        monkeypatch.setattr(seeds, "python_random", own)
        monkeypatch.setattr(random, "seed", own.seed)


#: folders whose tests take longest: they come first, so that two workers end together
SLOWEST = ("end_to_end", "flows", "storage", "training", "jobs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for the trained model waits for TensorFlow; files with long tests come first."""
    items.sort(key=lambda item: not set(SLOWEST) & set(item.path.parts))
    for item in items:
        if "outcome" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.tensorflow)
