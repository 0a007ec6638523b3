"""What an operator types: a real server, the deployments, their schedules, and a worker that carries out a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.storage.engine import open_database
from pipeline.storage.store import Store
from tests.sources.server import response, serve
from tests.support.examples import write_quick_milk
from tests.support.processes import free_port, started, until

pytestmark = pytest.mark.tensorflow

CLONE = Path(__file__).parents[2]
PREFECT, NEXTPERIOD = (Path(sys.executable).parent / name for name in ("prefect", "nextperiod"))

#: seconds
SERVER_STARTS = 180
COMMAND_ENDS = 120
SCHEDULES_SHOW = 60
RUN_ENDS = 300

#: cron expression and zone of each
SCHEDULES = {
    "all": ("40 * * * *", "UTC"),
    "nightly-score": ("30 3 * * *", "UTC"),
    "weekly-backtest": ("0 6 * * sun", "UTC"),
    "milk": ("15 5 2 * *", "Europe/Amsterdam"),
    "airline": ("45 5 2 * *", "Europe/Amsterdam"),
    "btc": ("30 0 * * *", "UTC"),
    "integers": ("15 4 * * *", "Europe/Amsterdam"),
    "aapl": ("0 18 * * mon-fri", "America/New_York"),
}


@dataclass(frozen=True, kw_only=True)
class Site:
    """A server's address, and the folder and environment that everything runs with."""

    folder: Path
    environment: Mapping[str, str]
    api: httpx.Client

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What the API answers."""
        return self.api.post(path, json=body).raise_for_status().json()

    def command(self, *arguments: str, program: Path = PREFECT) -> None:
        """Type a command at the root of the clone."""
        environment = {**self.environment, "PWD": str(CLONE)}
        done = subprocess.run(
            [program, *arguments],
            cwd=CLONE,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_ENDS,
        )
        assert done.returncode == 0, f"{program.name} {' '.join(arguments)}:\n{done.stdout}"

    def starts(self, name: str, *arguments: str) -> AbstractContextManager[object]:
        """Start a process of Prefect, away from the clone."""
        elsewhere = self.folder / "elsewhere"
        return started(
            [PREFECT, name, *arguments],
            folder=elsewhere,
            environment={**self.environment, "PWD": str(elsewhere)},
            log=self.folder / f"{name}.log",
        )


def test_deployed_recipes_are_scheduled_and_a_worker_runs_them(tmp_path: Path) -> None:
    with serve(lambda _: response("ok")) as webhook:
        deploy_and_run(
            site_in(tmp_path, alerts=webhook.url), lambda: [json.loads(one.body) for one in webhook.requests]
        )

    # of milk, whose data end in 1975: by the cycle, and not again by the look at all recipes
    (alerts,) = (json.loads(one.body)["alerts"] for one in webhook.requests if b"alerts" in one.body)
    assert alerts[0]["kind"] == "stale"


def deploy_and_run(site: Site, messages: Callable[[], list[dict[str, Any]]]) -> None:
    """Deploy everything; let a worker run the cycle of milk, look at all recipes, and catch up; let a run crash."""
    with site.api, site.starts("server", "start", "--host", "127.0.0.1", "--port", site.environment["PORT"]):
        until("the server is healthy", SERVER_STARTS, lambda: is_healthy(site))

        site.command("work-pool", "create", "forecasting", "--type", "process")
        site.command("--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml")

        deployments = {one["name"]: one for one in site.post("/deployments/filter", {})}
        assert {name: schedule_of(one) for name, one in deployments.items()} == SCHEDULES
        assert all(one["global_concurrency_limit"]["limit"] == 1 for one in deployments.values())
        until("every deployment is scheduled", SCHEDULES_SHOW, lambda: scheduled(site) == set(SCHEDULES))

        with site.starts("worker", "start", "--pool", "forecasting"):
            run, look = (run_to_its_end(site, deployments[name]["id"]) for name in ("milk", "all"))
            until("the reason is in the log", COMMAND_ENDS, lambda: "milk: stale: " in "\n".join(log_of(site, look)))

        assert_published(site, run)
        assert "HTTP Request" not in (site.folder / "worker.log").read_text("utf-8")

        late = runs_that_are_late(site, deployments["nightly-score"]["id"])
        with site.starts("worker", "start", "--pool", "forecasting"):
            states = [
                until("a late run ends", RUN_ENDS, lambda run=run: final_state(site, run))["name"] for run in late
            ]
        assert states == ["Superseded", "Superseded", "Completed"]

        site.command("automations", program=NEXTPERIOD)
        site.command("automations", program=NEXTPERIOD)  # adds nothing
        assert len(site.post("/automations/filter", {})) == 4
        let_crash(site, deployments["milk"]["id"])
        until(
            "a message about the crash arrives",
            COMMAND_ENDS,
            lambda: "Crashed the machine went away" in str(messages()),
        )


def runs_that_are_late(site: Site, deployment: str) -> list[str]:
    """Have three runs of a deployment scheduled while no worker is there; their ids once all are due, the oldest first."""
    start = datetime.now(UTC) + timedelta(seconds=10)
    rule = f"DTSTART:{start:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=SECONDLY;INTERVAL=2;COUNT=3"
    schedule = {"active": True, "schedule": {"rrule": rule, "timezone": "UTC"}}
    site.post(f"/deployments/{deployment}/schedules", [schedule])

    def find_late() -> list[str] | None:
        filters = {"deployments": {"id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
        runs = site.post("/flow_runs/filter", filters)
        now = datetime.now(UTC)
        due = [run["id"] for run in runs if datetime.fromisoformat(run["expected_start_time"]) < now]
        return due if len(due) == 3 else None

    return until("three runs are late", SCHEDULES_SHOW, find_late)


def let_crash(site: Site, deployment: str) -> None:
    run = site.post(f"/deployments/{deployment}/create_flow_run", {})["id"]
    site.post(
        f"/flow_runs/{run}/set_state", {"state": {"type": "CRASHED", "message": "the machine went away"}, "force": True}
    )


def run_to_its_end(site: Site, deployment: str) -> str:
    """Run a deployment now; the id of the run."""
    run: str = site.post(f"/deployments/{deployment}/create_flow_run", {})["id"]
    ended = until("the run ends", RUN_ENDS, lambda: final_state(site, run))
    assert ended["type"] == "COMPLETED", ended["message"]
    return run


def log_of(site: Site, run: str) -> list[str]:
    """The lines of a run's log."""
    lines = site.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
    return [line["message"] for line in lines]


def site_in(folder: Path, *, alerts: str) -> Site:
    """A folder with a quick recipe, and an environment that keeps everything in the folder."""
    write_quick_milk(folder / "recipes")
    (folder / "elsewhere").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    own = {
        "PORT": str(port),
        "PREFECT_API_URL": address,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "NEXTPERIOD_DATABASE_URL": f"sqlite:///{folder}/store.db",
        "NEXTPERIOD_ALERTS": alerts,
        # found only by a run whose working directory is the clone
        "NEXTPERIOD_RECIPES": f"deployments/{os.path.relpath(folder / 'recipes', CLONE / 'deployments')}",
    }
    return Site(folder=folder, environment={**kept, **own}, api=httpx.Client(base_url=address, timeout=30))


def is_healthy(site: Site) -> bool:
    try:
        return site.api.get("/health").is_success
    except httpx.TransportError:
        return False


def schedule_of(deployment: Mapping[str, Any]) -> tuple[str, str]:
    """Cron expression and zone of a deployment's only schedule, which is switched on."""
    (one,) = deployment["schedules"]
    assert one["active"]
    assert not deployment["paused"]
    return one["schedule"]["cron"], one["schedule"]["timezone"]


def scheduled(site: Site) -> set[str]:
    """Names of the deployments of which runs wait for their time."""

    def has_runs(name: str) -> bool:
        waiting = {"state": {"type": {"any_": ["SCHEDULED"]}}}
        runs = site.post(
            "/flow_runs/filter", {"flow_runs": waiting, "deployments": {"name": {"any_": [name]}}, "limit": 1}
        )
        return bool(runs) and runs[0]["auto_scheduled"]

    return set(filter(has_runs, SCHEDULES))


def final_state(site: Site, run: str) -> dict[str, Any] | None:
    state: dict[str, Any] = site.api.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
    return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None


def assert_published(site: Site, run: str) -> None:
    """The forecast is in the store, as an artifact and in the log of the run."""
    database = open_database(site.environment["NEXTPERIOD_DATABASE_URL"])
    store = Store(database)
    rows, champion = store.runs.latest_forecasts("milk"), store.models.champion("milk")
    database.close()
    assert len(rows) == 12
    assert rows[0]["period"] == np.datetime64("1976-01-01", "us")
    assert champion is not None
    assert champion.mlflow_run_id is not None

    artifact = site.api.get("/artifacts/forecast-milk/latest").raise_for_status().json()
    assert (artifact["type"], artifact["flow_run_id"]) == ("markdown", run)
    assert artifact["data"].count("\n| milk | 1976-") == 12
    assert champion.mlflow_run_id in artifact["data"]

    assert f"published run {rows[0]['run_id']}: 12 rows" in log_of(site, run)
