"""A store that holds the small series and one model trained on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.records.lineage import ModelVersion
from pipeline.storage.store import Store
from pipeline.training.process_files import TrainedModel
from tests.storage.small_store import add_model, take_in
from tests.support.examples import NOW, small_batch, small_recipe


@pytest.fixture
def observed_store(store: Store) -> Store:
    """The small series is known: January 2020 to April 2023."""
    store.recipes.register(small_recipe())
    take_in(store, small_batch(), NOW)
    return store


@pytest.fixture
def model(observed_store: Store, outcome: TrainedModel) -> ModelVersion:
    """The champion, in a store where the small series is known."""
    add_model(observed_store, outcome)
    champion = observed_store.models.champion("small")
    assert champion is not None
    return champion


@pytest.fixture(scope="session")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what was trained for a simulated life is remembered."""
    return tmp_path_factory.mktemp("trainings")
