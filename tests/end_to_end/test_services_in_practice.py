"""Whole cycles behind a pooler, with a role of other settings, and with an MLflow in which somebody tidied up."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from tests.end_to_end.shell import Typed
from tests.support.pooler import is_installed, running_pgbouncer
from tests.support.servers import new_database

pytestmark = pytest.mark.tensorflow

CASES = Path(__file__).parents[1] / "cases"
#: the cases' recipes train for minutes, which shows nothing here
QUICK = """
[model]
architecture = "vanilla"
units = 4
context = 30

[training]
epochs = 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def server_database(postgresql: sa.URL, request: pytest.FixtureRequest) -> Iterator[sa.URL]:
    admin = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with new_database(admin, f"practice_{os.getpid()}_{abs(hash(request.node.nodeid))}") as url:
        yield url
    admin.dispose()


def prepare(case: str, folder: Path) -> str:
    """Copy a case and let it train quickly; the path of its recipe."""
    shutil.copytree(CASES / case, folder, dirs_exist_ok=True)
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text() + QUICK)
    return str(recipe)


def run_status(types: Typed, recipe: str) -> str:
    code, out, err = types("run", recipe, "--json")
    assert code == 0, err
    return str(json.loads(out)["status"])


def use_database(monkeypatch: pytest.MonkeyPatch, url: sa.URL) -> None:
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", url.render_as_string(hide_password=False))


@pytest.mark.parametrize("pooled", [False, *([True] if is_installed() else [])])
def test_cycles_of_two_recipes_run_behind_a_pooler(
    types: Typed, folder: Path, server_database: sa.URL, monkeypatch: pytest.MonkeyPatch, *, pooled: bool
) -> None:
    first = prepare("pgbouncer-transaction-pooling", folder)
    second = folder / "second.toml"
    second.write_text(Path(first).read_text().replace('"pgb1"', '"pgb2"'))

    def cycles() -> None:
        assert types("ingest", first)[0] == 0
        assert types("ingest", str(second))[0] == 0
        assert run_status(types, first) == "published"
        assert run_status(types, first) == "unchanged"
        assert run_status(types, str(second)) == "published"

    if not pooled:
        use_database(monkeypatch, server_database)
        cycles()
        return
    with running_pgbouncer(server_database) as behind:
        use_database(monkeypatch, behind)
        cycles()


def test_a_cycle_runs_where_dates_are_written_in_german(
    types: Typed, folder: Path, server_database: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = sa.create_engine(server_database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"alter database {server_database.database} set datestyle = 'German, DMY'")
    engine.dispose()
    use_database(monkeypatch, server_database)
    recipe = prepare("postgres-datestyle", folder)

    assert run_status(types, recipe) == "published"
    assert run_status(types, recipe) == "unchanged"


def test_a_run_that_was_deleted_in_mlflow_keeps_no_later_training_from_it(types: Typed, folder: Path) -> None:
    recipe = prepare("mlflow-deleted-run-blocks-the-outbox", folder)
    assert run_status(types, recipe) == "published"
    mlflow = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = mlflow.get_experiment_by_name("shops")
    assert experiment is not None
    for run in mlflow.search_runs([experiment.experiment_id]):
        mlflow.delete_run(run.info.run_id)
    shops = [f"shop {n}" for n in range(1, 13)]
    with (folder / "data.csv").open("a") as data:
        data.writelines(f"2024-01-01,{shop},1500\n" for shop in shops)

    assert run_status(types, recipe) == "published"
    code, out, err = types("train", recipe, "--retrain", "--json")
    checks = {check["check"]: check for check in json.loads(types("doctor", "--json")[1])}

    assert code == 0, err
    assert json.loads(out)["training"] == "retrain"
    (shown,) = mlflow.search_runs([experiment.experiment_id])
    assert shown.info.run_name == "shops 2"
    assert checks["outbox"]["ok"], checks["outbox"]["finding"]
    assert "skipped, the last one: publication of shops: MLflow at" in checks["outbox"]["finding"]
    assert checks["mlflow"]["ok"], checks["mlflow"]["finding"]
