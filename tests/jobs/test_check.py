"""A check says what a cycle would do, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.config.recipe import Recipe
from pipeline.errors import SourceMissing
from pipeline.jobs.check import CheckResult, check_recipe
from pipeline.jobs.ingest import ingest_source
from pipeline.storage.engine import open_database
from pipeline.storage.rehearsal import rehearse
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from tests.support.examples import NOW, small_csv, small_recipe, small_values


def write(folder: Path, text: str) -> Recipe:
    (folder / "small.csv").write_text(text)
    return small_recipe(folder)


def check(recipe: Recipe, url: str) -> CheckResult:
    with rehearse(url, recipe.name) as database:
        return check_recipe(recipe, Store(database), NOW)


@contextmanager
def content_of(url: str) -> Iterator[dict[str, list[Any]]]:
    """Every row of every table, before; the same afterwards is asserted."""

    def rows() -> dict[str, list[Any]]:
        engine = sa.create_engine(url)
        try:
            with engine.connect() as connection:
                names = sa.inspect(connection).get_table_names()
                return {name: list(connection.execute(sa.text(f"select * from {name}")).all()) for name in names}
        finally:
            engine.dispose()

    before = rows()
    yield before
    assert rows() == before


@pytest.fixture
def filled(database_url: str, tmp_path: Path) -> str:
    """A store with the small series."""
    database = open_database(database_url)
    require_schema(database)
    recipe, store = write(tmp_path, small_csv(small_values())), Store(database)
    store.recipes.register(recipe)
    ingest_source(recipe, store, NOW)
    database.close()
    return database_url


def test_a_recipe_that_never_ran_is_checked_without_a_database(tmp_path: Path) -> None:
    recipe = write(tmp_path, small_csv(small_values()))

    result = check(recipe, f"sqlite:///{tmp_path}/none.db")

    assert result.ingested is not None
    assert result.ingested.num_new == len(small_values())
    assert (result.num_series, result.training, result.refusal) == (1, "retrain", None)
    assert not (tmp_path / "none.db").exists()


def test_new_and_revised_values_are_counted_and_none_is_stored(filled: str, tmp_path: Path) -> None:
    values = list(small_values())
    recipe = write(tmp_path, small_csv([*values[:-1], values[-1] + 1, 7.0]))

    with content_of(filled) as before:
        result = check(recipe, filled)

    assert len(before["observations"]) == len(values)
    assert result.ingested is not None
    assert (result.ingested.num_new, result.ingested.num_revised) == (1, 1)
    assert result.num_values == len(values) + 1


def test_an_empty_database_gets_no_schema(database_url: str, tmp_path: Path) -> None:
    recipe = write(tmp_path, small_csv(small_values()))

    with content_of(database_url) as before:
        result = check(recipe, database_url)

    assert before == {}
    assert result.num_values == len(small_values())


def test_a_recipe_that_never_ran_takes_no_lock_in_a_store_of_others(filled: str, tmp_path: Path) -> None:
    recipe = write(tmp_path, small_csv(small_values())).model_copy(update={"name": "another"})

    with rehearse(filled, recipe.name) as rehearsal:
        result = check_recipe(recipe, Store(rehearsal), NOW)
        others = open_database(filled)
        Store(others).recipes.register(recipe)  # would wait for a lock, and fail
        others.close()

    assert result.num_values == len(small_values())


def test_rows_that_would_be_quarantined_are_named(filled: str, tmp_path: Path) -> None:
    recipe = write(tmp_path, small_csv(small_values()).replace(",", ",x", 3).replace("x", "", 1))

    with content_of(filled):
        result = check(recipe, filled)

    assert result.ingested is not None
    assert result.ingested.quarantine is not None
    assert "is not a number" in result.ingested.quarantine


def test_a_delivery_that_would_be_held_says_why_and_is_not_held(filled: str, tmp_path: Path) -> None:
    recipe = write(tmp_path, small_csv([value / 1000 for value in small_values()]))

    with content_of(filled):
        result = check(recipe, filled)

    assert result.refusal is not None
    assert result.num_values == len(small_values())


def test_too_short_a_history_is_named_with_what_would_help(tmp_path: Path) -> None:
    recipe = write(tmp_path, small_csv(list(small_values())[:2]))

    result = check(recipe, f"sqlite:///{tmp_path}/none.db")

    assert result.network is not None
    assert result.network.startswith("baselines: no network can be trained yet")


def test_a_missing_file_is_an_error_not_a_result(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        check(small_recipe(tmp_path), f"sqlite:///{tmp_path}/none.db")


def test_an_error_within_a_rehearsal_undoes_its_own_statement_alone(filled: str) -> None:
    with content_of(filled), rehearse(filled, "small") as database:
        with database.write() as transaction:
            transaction.connection.execute(sa.text("delete from batches where batch_id < 0"))
        with pytest.raises(sa.exc.SQLAlchemyError), database.write() as transaction:
            transaction.connection.execute(sa.text("select * from nothing"))
        with database.read() as transaction:
            assert transaction.connection.execute(sa.text("select count(*) from observations")).scalar_one() > 0
