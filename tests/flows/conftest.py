"""One Prefect server for all tests of flows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server on loopback with a database of its own; the folder where results would be kept."""
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_HOME,
        PREFECT_LOCAL_STORAGE_PATH,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    results = tmp_path_factory.mktemp("results")
    own = {
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # a second for each run
        PREFECT_HOME: tmp_path_factory.mktemp("prefect"),
        PREFECT_LOCAL_STORAGE_PATH: results,
    }
    with temporary_settings(updates=own), prefect_test_harness(server_startup_timeout=180):
        yield results
