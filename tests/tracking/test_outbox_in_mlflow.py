"""What somebody deletes or changes in MLflow is made again or skipped with a reason, and never blocks what follows."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from flows.cli import doctor
from flows.cli.findings import Finding
from pipeline.config.settings import Settings
from pipeline.errors import NextperiodError, RegistryRefused, RegistryUnavailable
from pipeline.jobs.deliver_outbox import deliver_outbox, repair_registry
from pipeline.jobs.forecast import publish_forecast
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.tracking.registry import Registry
from pipeline.training.process_files import TrainedModel
from tests.storage.raw_sql import change, rows
from tests.storage.small_store import add_model, take_in
from tests.support.examples import NOW, small_batch, small_recipe

pytestmark = pytest.mark.tensorflow


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A store whose first training and forecast are in MLflow, and a second training that is not yet."""

    store: Store
    registry: Registry
    mlflow: MlflowClient
    outcome: TrainedModel

    @property
    def first_run(self) -> str:
        model = self.store.models.by_version("small", 1)
        assert model is not None
        assert model.mlflow_run_id is not None
        return model.mlflow_run_id

    def deliver(self) -> bool:
        return deliver_outbox(small_recipe(), self.store, self.registry, NOW)

    def champion(self) -> str | None:
        """The version of nextperiod that MLflow's alias is on."""
        return self.mlflow.get_model_version_by_alias("small", "champion").tags["nextperiod.model_version"]

    def run_names(self) -> list[str]:
        experiment = self.mlflow.get_experiment_by_name("small")
        assert experiment is not None
        return sorted(run.info.run_name for run in self.mlflow.search_runs([experiment.experiment_id]))

    def train_again(self) -> None:
        add_model(self.store, self.outcome, "another", expected_champion=1, now=NOW + timedelta(days=1))

    def wrong_champion(self) -> str:
        """What the doctor says of the only champion."""
        wrong, summary = doctor._check_champions(self.settings)
        assert (wrong.status, summary.text) == ("failure", "0 of 1 champion in MLflow as in the store")
        return wrong.text

    @property
    def settings(self) -> Settings:
        url = self.store.database.url.render_as_string(hide_password=False)
        return Settings(database_url=url, recipes=Path(), tracking_uri=self.registry.tracking_uri, prefect_api_url=None)


@pytest.fixture
def shown(outcome: TrainedModel, tmp_path: Path) -> Iterator[Shown]:
    database = open_database(f"sqlite:///{tmp_path}/store.db")
    require_schema(database)
    store, registry = Store(database), Registry(f"sqlite:///{tmp_path}/mlflow.db", lambda: NOW)
    store.recipes.register(small_recipe())
    take_in(store, small_batch())
    complete = replace(outcome, files={**outcome.files, "network.keras": outcome.keras_archive})
    add_model(store, complete)
    assert deliver_outbox(small_recipe(), store, registry, NOW)
    publish_forecast(small_recipe(), store, NOW)
    yield Shown(store=store, registry=registry, mlflow=registry.client.mlflow, outcome=complete)
    database.close()


def only_finding(findings: Iterable[Finding]) -> str:
    """The text of the only finding, which is well."""
    (finding,) = findings
    assert finding.status == "ok"
    return finding.text


def test_a_deleted_run_does_not_keep_later_trainings_from_mlflow(shown: Shown) -> None:
    shown.mlflow.delete_run(shown.first_run)
    shown.train_again()

    assert shown.deliver()

    assert shown.store.outbox.pending() == []
    assert shown.run_names() == ["small 2"]
    assert shown.champion() == "2"
    (skipped,) = shown.store.outbox.skipped()
    assert (skipped.kind, skipped.model_version) == ("publication", 1)
    assert "must be in the 'active' state" in str(skipped.last_error)
    assert "1 entry skipped, the last one: publication of small" in only_finding(doctor._check_outbox(shown.settings))


def test_a_deleted_experiment_is_restored(shown: Shown) -> None:
    experiment = shown.mlflow.get_experiment_by_name("small")
    assert experiment is not None
    shown.mlflow.delete_experiment(experiment.experiment_id)
    shown.train_again()

    assert shown.deliver()

    assert shown.store.outbox.pending() == []
    assert shown.run_names() == ["small 1", "small 2"]
    assert shown.champion() == "2"


def test_a_renamed_experiment_is_left_alone_and_a_new_one_is_made(shown: Shown) -> None:
    experiment = shown.mlflow.get_experiment_by_name("small")
    assert experiment is not None
    shown.mlflow.rename_experiment(experiment.experiment_id, "history")
    shown.train_again()

    assert shown.deliver()

    assert shown.store.outbox.pending() == []
    assert shown.run_names() == ["small 2"]
    tags = shown.mlflow.get_run(shown.first_run).data.tags
    assert tags["nextperiod.published_run"].startswith("small-")


@pytest.mark.parametrize("change_model", ["delete", "rename", "delete version"])
def test_a_model_that_is_not_registered_any_more_is_registered_again(shown: Shown, change_model: str) -> None:
    if change_model == "delete":
        shown.mlflow.delete_registered_model("small")
    elif change_model == "rename":
        shown.mlflow.rename_registered_model("small", "old")
    else:
        shown.mlflow.delete_model_version("small", "1")
    assert re.match("small: the champion is model 1, .* on no model; if MLflow is up, run", shown.wrong_champion())

    doctor.repair_mlflow(shown.settings)

    assert shown.champion() == "1"
    assert shown.run_names() == ["small 1"]
    assert only_finding(doctor._check_champions(shown.settings)) == "1 of 1 champion in MLflow as in the store"


def test_an_alias_that_was_moved_by_hand_is_found_and_put_back(shown: Shown) -> None:
    shown.train_again()
    assert shown.deliver()
    shown.mlflow.set_registered_model_alias("small", "champion", "1")
    assert re.match("small: the champion is model 2, .* on another model", shown.wrong_champion())

    assert repair_registry("small", shown.store, shown.registry, NOW)

    assert shown.champion() == "2"


@pytest.mark.parametrize("change_file", ["rewrite", "delete"])
def test_a_copy_that_was_changed_in_mlflow_is_found_and_sent_again(
    shown: Shown, tmp_path: Path, change_file: str
) -> None:
    (copy,) = (tmp_path / "mlartifacts").rglob("forecaster/forecaster.json")
    if change_file == "rewrite":
        copy.write_bytes(copy.read_bytes() + b" ")
    else:
        shutil.rmtree(copy.parent)
    assert re.match(
        "small: MLflow's copy of model 1 is not as it was trained, the store's is: ", shown.wrong_champion()
    )

    shown.mlflow.delete_model_version("small", "1")
    doctor.repair_mlflow(shown.settings)

    assert only_finding(doctor._check_champions(shown.settings)) == "1 of 1 champion in MLflow as in the store"


def test_a_repair_of_what_is_right_changes_nothing(shown: Shown) -> None:
    assert repair_registry("small", shown.store, shown.registry, NOW)
    versions = shown.mlflow.search_model_versions("name = 'small'")

    assert repair_registry("small", shown.store, shown.registry, NOW)

    assert [version.version for version in shown.mlflow.search_model_versions("name = 'small'")] == [
        version.version for version in versions
    ]
    assert shown.run_names() == ["small 1"]


def test_what_cannot_be_sent_now_waits_and_the_doctor_says_so(shown: Shown) -> None:
    shown.train_again()
    away = Registry("http://127.0.0.1:9", lambda: NOW)

    assert not deliver_outbox(small_recipe(), shown.store, away, NOW)

    assert len(shown.store.outbox.pending()) == 3
    with pytest.raises(NextperiodError, match="3 entries cannot be sent to MLflow: publication of small: MLflow at"):
        list(doctor._check_outbox(shown.settings))
    assert shown.deliver()
    assert only_finding(doctor._check_outbox(shown.settings)) == "MLflow is up to date"


def test_a_publication_of_a_model_that_mlflow_never_showed_is_skipped(shown: Shown) -> None:
    change(shown.store.database, "update models set mlflow_run_id = null")
    shown.train_again()

    assert shown.deliver()

    (skipped,) = shown.store.outbox.skipped()
    assert skipped.last_error == "the training of model 1 is not in MLflow"
    assert rows(shown.store.database, "select count(*) from outbox where done_at is null") == [(0,)]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("RESOURCE_DOES_NOT_EXIST", RegistryRefused),
        ("INVALID_PARAMETER_VALUE", RegistryRefused),
        ("INTERNAL_ERROR", RegistryUnavailable),
        ("TEMPORARILY_UNAVAILABLE", RegistryUnavailable),
        ("REQUEST_LIMIT_EXCEEDED", RegistryUnavailable),
        ("PERMISSION_DENIED", RegistryRefused),
        ("UNAUTHENTICATED", RegistryUnavailable),
        ("ENDPOINT_NOT_FOUND", RegistryUnavailable),
    ],
)
def test_a_refusal_is_told_from_a_server_that_is_away(shown: Shown, code: str, kind: type[NextperiodError]) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos import databricks_pb2

    error = MlflowException("no", error_code=getattr(databricks_pb2, code))

    with pytest.raises(kind, match=": no"), shown.registry.client.reachable():
        raise error


@pytest.mark.parametrize(
    ("status", "kind"),
    [(413, RegistryRefused), (403, RegistryRefused), (404, RegistryUnavailable), (429, RegistryUnavailable)],
)
def test_an_upload_that_is_refused_is_told_from_one_to_repeat(
    shown: Shown, status: int, kind: type[NextperiodError]
) -> None:
    response = requests.Response()
    response.status_code, response.reason = status, "because"

    with pytest.raises(kind, match=f"{status} .* because"), shown.registry.client.reachable():
        response.raise_for_status()


def test_an_artifact_store_of_another_library_may_be_away(shown: Shown) -> None:
    error = type("ClientError", (Exception,), {"__module__": "botocore.exceptions"})("SlowDown")

    with pytest.raises(RegistryUnavailable, match="SlowDown"), shown.registry.client.reachable():
        raise error


@pytest.mark.parametrize("uri", ["htp://mlflow", "databricks-uc", "file:///nowhere/mlruns"])
def test_an_address_that_mlflow_does_not_know_skips_nothing(shown: Shown, uri: str) -> None:
    shown.train_again()

    assert not deliver_outbox(small_recipe(), shown.store, Registry(uri, lambda: NOW), NOW)

    assert len(shown.store.outbox.pending()) == 3
    assert shown.store.outbox.skipped() == []


def test_what_was_skipped_is_sent_by_a_repair_once_mlflow_takes_it(shown: Shown) -> None:
    shown.mlflow.delete_run(shown.first_run)
    shown.train_again()
    assert shown.deliver()
    shown.mlflow.restore_run(shown.first_run)

    assert repair_registry("small", shown.store, shown.registry, NOW)

    assert shown.store.outbox.skipped() == []
    assert "nextperiod.published_run" in shown.mlflow.get_run(shown.first_run).data.tags
    assert shown.champion() == "2"


def test_an_old_entry_about_a_champion_moves_no_alias(shown: Shown) -> None:
    shown.train_again()
    assert shown.deliver()
    shown.mlflow.delete_model_version("small", "1")
    change(shown.store.database, "update outbox set done_at = null where kind = 'champion' and reference like '1 %'")

    assert shown.deliver()

    assert shown.store.outbox.pending() == []
    assert [version.version for version in shown.mlflow.search_model_versions("name = 'small'")] == [2]
    assert shown.champion() == "2"


def test_an_alias_that_was_moved_is_put_back_with_the_next_training(shown: Shown) -> None:
    shown.mlflow.delete_registered_model_alias("small", "champion")
    add_model(shown.store, shown.outcome, "another", expected_champion=1, publishes=False, now=NOW + timedelta(days=1))

    assert shown.deliver()

    assert shown.champion() == "1"
