"""Cycles of the small recipe through Prefect; the one training is shared by the tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import Artifact
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_RESULTS_PERSIST_BY_DEFAULT, temporary_settings

from flows.backfill import backfill
from flows.cycle import cycle
from flows.forecast import forecast
from flows.ingest import ingest
from flows.score import score
from flows.train import train
from pipeline.storage.engine import Database, open_database
from pipeline.storage.store import Store
from tests.support.examples import SMALL_RECIPE, small_csv, small_values

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:.*is inferred as AnyType:UserWarning"),  # MLflow of its own types, at import
]

#: a port on which nobody listens
AWAY = "http://127.0.0.1:9"


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Three cycles in a row: with MLflow away, with MLflow back, and with nothing to do."""

    folder: Path
    database: Database
    tracking_uri: str
    first: dict[str, Any]
    waiting_after_first: int
    second: dict[str, Any]
    counts_after_second: dict[str, int]
    third: dict[str, Any]
    counts_after_third: dict[str, int]
    results_after_third: list[Path]

    @property
    def store(self) -> Store:
        return Store(self.database)


@pytest.fixture(scope="module")
def cycles(prefect_api: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cycles]:
    folder = tmp_path_factory.mktemp("cycles")
    (folder / "small.toml").write_text(SMALL_RECIPE.format(source=""), "utf-8")
    (folder / "small.csv").write_text(small_csv(), "utf-8")
    database = open_database(f"sqlite:///{folder}/store.db")
    tracking_uri = f"sqlite:///{folder}/mlflow.db"
    keeping = {PREFECT_RESULTS_PERSIST_BY_DEFAULT: True, PREFECT_LOCAL_STORAGE_PATH: folder / "results"}
    with pytest.MonkeyPatch.context() as environment, temporary_settings(updates=keeping):
        environment.setenv("NEXTPERIOD_RECIPES", str(folder))
        environment.setenv("NEXTPERIOD_DATABASE_URL", f"sqlite:///{folder}/store.db")
        environment.setenv("MLFLOW_TRACKING_URI", AWAY)
        environment.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        first = cycle("small")
        waiting_after_first = len(Store(database).outbox.pending())
        environment.setenv("MLFLOW_TRACKING_URI", tracking_uri)
        second = cycle("small")
        counts_after_second = counts(database)
        third = cycle("small")
        yield Cycles(
            folder=folder,
            database=database,
            tracking_uri=tracking_uri,
            first=first,
            waiting_after_first=waiting_after_first,
            second=second,
            counts_after_second=counts_after_second,
            third=third,
            counts_after_third=counts(database),
            results_after_third=list((folder / "results").rglob("*")),
        )
    database.close()


def counts(database: Database) -> dict[str, int]:
    """Rows of every table."""
    with database.read() as transaction:
        tables = sa.inspect(transaction.connection).get_table_names()
        return {
            name: transaction.connection.execute(sa.text(f"select count(*) from {name}")).scalar_one()
            for name in tables
        }


def test_a_cycle_publishes_while_mlflow_is_away(cycles: Cycles) -> None:
    assert cycles.first["status"] == "published"
    assert cycles.first["training"] == "retrain"
    assert cycles.first["num_rows"] == 3
    assert cycles.first["origin"] == "2023-04-01T00:00:00"
    assert cycles.first["mlflow_run_id"] is None
    assert cycles.waiting_after_first == 3


def test_a_later_cycle_updates_mlflow(cycles: Cycles) -> None:
    from mlflow import MlflowClient

    mlflow = MlflowClient(cycles.tracking_uri, cycles.tracking_uri)
    champion = mlflow.get_model_version_by_alias("small", "champion")

    assert cycles.second["mlflow_run_id"] == champion.run_id
    assert champion.tags["nextperiod.model_version"] == str(cycles.first["model_version"])
    shown = mlflow.get_run(champion.run_id)
    assert shown.info.status == "FINISHED"
    assert shown.data.tags["nextperiod.published_run"] == cycles.first["run_id"]
    assert cycles.store.outbox.pending() == []


def test_a_repeated_cycle_is_unchanged_and_adds_no_row(cycles: Cycles) -> None:
    assert cycles.third["status"] == "unchanged"
    assert cycles.third["training"] == "keep"
    assert cycles.third["run_id"] == cycles.first["run_id"]
    assert cycles.counts_after_third == cycles.counts_after_second


def test_a_cycle_leaves_its_forecast_as_an_artifact(cycles: Cycles) -> None:
    with get_client(sync_client=True) as api:
        answer = api.request("GET", "/artifacts/{key}/latest", path_params={"key": "forecast-small"})
    artifact = Artifact.model_validate(answer.json())

    assert artifact.type == "markdown"
    assert cycles.third["mlflow_run_id"] in artifact.data
    assert artifact.data.count("\n| small | 2023-0") == 3
    assert "\n\n![forecast](data:image/svg+xml;base64," in artifact.data
    assert "\n\nsmall: observed (grey), forecast and 80 % interval (blue), " in artifact.data


def test_prefect_stores_no_results_even_if_configured_to(cycles: Cycles) -> None:
    """An exception that ends a flow it keeps all the same: none did."""
    assert cycles.results_after_third == []


def test_a_cycle_with_an_empty_outbox_does_not_need_mlflow(cycles: Cycles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)

    assert cycle("small")["status"] == "unchanged"


def test_a_cycle_as_of_an_instant_is_a_backfill_that_consumers_do_not_see(cycles: Cycles) -> None:
    seen = cycles.store.runs.latest_forecasts("small")

    facts = cycle("small", as_of=datetime.now(UTC))

    assert facts["status"] == "published"
    assert facts["training"] == "keep"
    with cycles.database.read() as transaction:
        assert transaction.row("run", run_id=facts["run_id"])["kind"] == "backfill"
    assert cycles.store.runs.latest_forecasts("small") == seen
    assert {row["run_id"] for row in seen} == {cycles.first["run_id"]}


def test_backfill_is_a_flow_too(cycles: Cycles) -> None:
    (instant,) = cycles.store.batches.known_instants("small")

    (past,) = backfill("small", instant, instant + timedelta(seconds=1))

    assert (past["run_id"], past["as_of"]) == ("small-2023-04-01-backfill-1", instant.isoformat())
    assert past["training"] == "keep"


def test_each_step_is_a_flow_of_its_own(cycles: Cycles) -> None:
    (cycles.folder / "small.csv").write_text(small_csv(small_values(41)), "utf-8")
    runs_at_last_origin = counts(cycles.database)["runs"]

    ingested, trained, scored, published = ingest("small"), train("small"), score("small"), forecast("small")

    assert ingested["num_new"] == 1
    assert (trained["training"], trained["reason"]) == ("keep", "1 new period, due after 6")
    assert scored == {"recipe": "small", "num_scored": runs_at_last_origin}
    assert (published["status"], published["origin"]) == ("published", "2023-05-01T00:00:00")
