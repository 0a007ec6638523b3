"""compose.yaml without Docker: its own commands as processes, and a scheduled cycle that goes through all of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from tests.sources.server import Server, response, serve
from tests.support.containers import DEPLOYMENTS, image_environment, read_compose
from tests.support.examples import quick_milk
from tests.support.processes import free_port, started, until
from tests.support.servers import complete_binaries, postgresql_with_passwords
from tests.support.wheel import CLONE, build_wheel, install_wheel

pytestmark = pytest.mark.tensorflow

#: seconds
COMMAND_ENDS = 120
ALL_ARE_UP = 240
CYCLE_ENDS = 240
BETWEEN_HEALTH_CHECKS = 1.5
#: ports inside the containers
PORTS = ("5432", "5000", "4200", "8080")
#: the commands of the image
SCRIPTS = {
    "nextperiod": "from nextperiod.flows.cli.app import main",
    "prefect": "from prefect.cli import app as main",
    "mlflow": "from mlflow.cli import cli as main",
}
#: what makes Prefect look more often than it does by itself
QUICK = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}


@dataclass(frozen=True, kw_only=True)
class Site:
    """The services of a compose.yaml with addresses, ports and folders of this machine."""

    folder: Path
    services: Mapping[str, Any]
    #: by name of the secret
    passwords: Mapping[str, str]
    #: of each port inside the containers
    ports: Mapping[str, int]
    #: what all processes have: the variables of the image, and where programs are
    environment: Mapping[str, str]
    #: receives the alerts
    webhook: Server

    def environment_of(self, service: str) -> dict[str, str]:
        return {**self.environment, **QUICK, **self.services[service]["environment"]}

    def start(self, service: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        """Start the command of a service as its container does."""
        return started(
            ["entrypoint.sh", *self.services[service]["command"]],
            folder=self.folder,
            environment=self.environment_of(service),
            log=self.folder.parent / f"{service}.log",
        )

    def is_healthy(self, service: str) -> bool:
        """Run the health check of a service."""
        kind, *command = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        done = subprocess.run(command, env=self.environment_of(service), capture_output=True, timeout=COMMAND_ENDS)
        return done.returncode == 0

    def again(self, service: str) -> None:
        """Run a service that ends once more."""
        with self.start(service) as process:
            assert process.wait(COMMAND_ENDS) == 0

    @contextlib.contextmanager
    def connect(self, role: str, database: str, password: str) -> Iterator[sa.Connection]:
        url = sa.URL.create("postgresql+psycopg", role, password, "127.0.0.1", self.ports["5432"], database)
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            yield connection


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A folder of `nextperiod init`, all of whose services have started, each when what it depends on is there."""
    base = tmp_path_factory.mktemp("compose")
    programs = install_programs(base / "programs")
    folder = write_folder(base)
    document = read_compose(folder / "compose.yaml")
    passwords = {name: secrets.token_urlsafe(9) + "'@/" for name in document["secrets"]}
    write_secrets(base / "secrets", passwords)

    with (
        serve(lambda _: response("ok")) as webhook,
        postgresql_with_passwords(passwords["postgres_password"]) as server,
        contextlib.ExitStack() as processes,
    ):
        ports = {port: free_port() for port in PORTS} | {"5432": int(server.port or 0)}
        site = Site(
            folder=folder,
            services=localize(document["services"], base=base, programs=programs, ports=ports),
            passwords=passwords,
            ports=ports,
            webhook=webhook,
            environment={
                **localize(image_environment(), base=base, programs=programs, ports=ports),
                # the folder `deployments` stands for /usr/local/bin, where the image has the scripts
                "PATH": f"{programs}/bin:{DEPLOYMENTS}:{complete_binaries()}:{os.environ['PATH']}",
            },
        )
        for service in ("schedules", "worker"):
            assert "NEXTPERIOD_ALERTS" in site.services[service]["environment"]
            site.services[service]["environment"]["NEXTPERIOD_ALERTS"] = webhook.url
        run_in_postgres(site, folder / "databases.sh")
        keep_prefect_in_sqlite_without_trigrams(site)
        start_all(site, processes)
        yield site


def install_programs(folder: Path) -> Path:
    """What the image has in /opt/nextperiod: the wheel, and the commands."""
    folder.mkdir()
    install_wheel(build_wheel(folder), folder)
    for name, imported in SCRIPTS.items():
        script = folder / "bin" / name
        script.write_text(f"#!{folder}/bin/python -Wignore\n{imported}\nmain()\n")
        script.chmod(0o755)
    return folder


def write_folder(base: Path) -> Path:
    """The folder that a clone writes for an example, with a quick network."""
    folder = base / "folder"
    init = [sys.executable, "-c", "from flows.cli.app import main; main()", "init", folder, "--from", "milk"]
    subprocess.run(init, cwd=CLONE, check=True, timeout=COMMAND_ENDS)
    recipe = folder / "recipes/milk.toml"
    recipe.write_text(quick_milk(recipe.read_text()))
    return folder


def write_secrets(folder: Path, passwords: Mapping[str, str]) -> None:
    folder.mkdir()
    for name, password in passwords.items():
        (folder / name).write_text(password + "\n")


def localize(value: Any, *, base: Path, programs: Path, ports: Mapping[str, int]) -> Any:
    """The same with the folders, hosts and ports of this machine in place of those of the containers."""
    if isinstance(value, dict):
        return {key: localize(item, base=base, programs=programs, ports=ports) for key, item in value.items()}
    if isinstance(value, list):
        return [localize(item, base=base, programs=programs, ports=ports) for item in value]
    places = {
        "/opt/nextperiod": programs,
        "/srv/nextperiod": base / "folder",
        "/run/secrets": base / "secrets",
        "/var/lib/mlflow": base / "artifacts",
        "/tmp": base,
    }
    text = re.sub(r"\b(?:postgres|mlflow|prefect)(?=:\d{4}\b)|\b0\.0\.0\.0\b", "127.0.0.1", str(value))
    text = re.sub(
        rf"(?<=[:=])(?:{'|'.join(ports)})\b|^(?:{'|'.join(ports)})$", lambda match: str(ports[match[0]]), text
    )
    return re.sub(rf"(?<![\w/])(?:{'|'.join(places)})(?=/|$)", lambda match: str(places[match[0]]), text)


def run_in_postgres(site: Site, *command: str | Path, **files: Any) -> None:
    """Run a command as in the container of PostgreSQL, which asks for no password."""
    server = {
        "POSTGRES_USER": "postgres",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(site.ports["5432"]),
        "PGPASSWORD": site.passwords["postgres_password"],
    }
    environment = {**site.environment_of("postgres"), **server}
    subprocess.run(command, env=environment, check=True, timeout=COMMAND_ENDS, **files)


def keep_prefect_in_sqlite_without_trigrams(site: Site) -> None:
    """Prefect needs the extension pg_trgm, which PostgreSQL's image has and the wheel of these tests has not."""
    with site.connect("postgres", "prefect", site.passwords["postgres_password"]) as connection:
        extensions = connection.exec_driver_sql("select name from pg_available_extensions").scalars().all()
    if "pg_trgm" not in extensions:
        address = f"sqlite+aiosqlite:///{site.folder.parent}/prefect.db"
        site.services["prefect"]["environment"]["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = address


def start_all(site: Site, processes: contextlib.ExitStack) -> None:
    """Start each service when what it depends on is there, and wait until all are healthy or have ended."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    waiting = [name for name in site.services if name != "postgres"]

    def is_met(service: str, condition: str) -> bool:
        if service in waiting:
            return False
        if condition == "service_healthy":
            return site.is_healthy(service)
        assert condition == "service_completed_successfully"
        status = running[service].poll()
        assert status in (None, 0), f"{service} ended with {status}"
        return status == 0

    def start_the_next() -> bool:
        for name in list(waiting):
            conditions = site.services[name].get("depends_on", {})
            if all(is_met(service, one["condition"]) for service, one in conditions.items()):
                running[name] = processes.enter_context(site.start(name))
                waiting.remove(name)
        return not waiting

    until("every service has started", ALL_ARE_UP, start_the_next, every_seconds=BETWEEN_HEALTH_CHECKS)
    for name, service in site.services.items():
        if "healthcheck" in service:
            is_healthy = partial(site.is_healthy, name)
            until(f"{name} is healthy", ALL_ARE_UP, is_healthy, every_seconds=BETWEEN_HEALTH_CHECKS)


def test_a_scheduled_cycle_goes_through_all_services(site: Site) -> None:
    schedule_in_seconds(site, 3)

    run = until("the scheduled cycle ends", CYCLE_ENDS, lambda: first_ended_run(site))

    assert (run["state"]["type"], run["auto_scheduled"]) == ("COMPLETED", True), run["state"]["message"]
    with site.connect("nextperiod_consumer", "nextperiod", site.passwords["consumer_password"]) as connection:
        forecasts = connection.exec_driver_sql(
            "select period, run_id from latest_forecasts where recipe = 'milk'"
        ).all()
    assert len(forecasts) == 12
    assert f"published run {forecasts[0].run_id}: 12 rows" in log_of(site, run["id"])

    mlflow = MlflowClient(site.environment_of("worker")["MLFLOW_TRACKING_URI"])
    experiment = mlflow.get_experiment_by_name("milk")
    assert experiment is not None
    (training,) = mlflow.search_runs([experiment.experiment_id])
    with site.connect("mlflow", "mlflow", site.passwords["mlflow_password"]) as connection:
        assert connection.exec_driver_sql("select run_uuid from runs").scalars().all() == [training.info.run_id]
    assert [path.name for path in (site.folder.parent / "artifacts").rglob("report.html")] == ["report.html"]


def test_an_alert_says_that_the_feed_has_stopped(site: Site) -> None:
    """The data of milk end in 1975."""

    def find_alerts() -> list[dict[str, str]]:
        bodies = [json.loads(request.body) for request in site.webhook.requests]
        return [alert for body in bodies for alert in body.get("alerts", ())]

    (alert,) = until("an alert arrives", COMMAND_ENDS, find_alerts)
    assert (alert["recipe"], alert["kind"], alert["state"]) == ("milk", "stale", "raised")
    assert len(prefect(site, "/automations/filter", {})) == 4


def test_the_page_shows_the_forecast(site: Site, tmp_path: Path) -> None:
    command = ["entrypoint.sh", "nextperiod", "dashboard", "--out", str(tmp_path / "site")]

    subprocess.run(command, env=site.environment_of("worker"), check=True, timeout=COMMAND_ENDS)

    (run,) = {row.run_id for row in latest_forecasts(site)}
    assert run in (tmp_path / "site/recipes/milk.html").read_text("utf-8")


def schedule_in_seconds(site: Site, seconds: int) -> None:
    """Add a schedule that is due that soon, and then in a year."""
    (milk,) = prefect(site, "/deployments/filter", {"deployments": {"name": {"any_": ["milk"]}}})
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    schedule = {"interval": timedelta(days=365).total_seconds(), "anchor_date": due.isoformat()}
    prefect(site, f"/deployments/{milk['id']}/schedules", [{"active": True, "schedule": schedule}])


def first_ended_run(site: Site) -> dict[str, Any] | None:
    runs = prefect(
        site, "/flow_runs/filter", {"deployments": {"name": {"any_": ["milk"]}}, "sort": "EXPECTED_START_TIME_ASC"}
    )
    return next((run for run in runs if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED")), None)


def latest_forecasts(site: Site) -> Sequence[Any]:
    """What a consumer reads."""
    with site.connect("nextperiod_consumer", "nextperiod", site.passwords["consumer_password"]) as connection:
        return connection.exec_driver_sql("select * from latest_forecasts where recipe = 'milk' order by period").all()


def log_of(site: Site, run: str) -> list[str]:
    return [line["message"] for line in prefect(site, "/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})]


def prefect(site: Site, path: str, body: Mapping[str, Any]) -> Any:
    """What Prefect's API answers."""
    address = site.environment_of("worker")["PREFECT_API_URL"]
    return httpx.post(address + path, json=body, timeout=30).raise_for_status().json()


def test_a_backup_is_restored_with_its_rights(site: Site, tmp_path: Path) -> None:
    before = latest_forecasts(site)
    with (tmp_path / "nextperiod.dump").open("wb") as file:
        run_in_postgres(site, "pg_dump", "--username=postgres", "--format=custom", "nextperiod", stdout=file)
    with site.connect("postgres", "nextperiod", site.passwords["postgres_password"]) as connection:
        connection.exec_driver_sql("drop table forecasts cascade")
        connection.commit()

    with (tmp_path / "nextperiod.dump").open("rb") as file:
        options = ("--username=postgres", "--clean", "--create", "--exit-on-error", "--dbname=postgres")
        run_in_postgres(site, "pg_restore", *options, stdin=file)

    assert len(before) == 12
    assert latest_forecasts(site) == before


def test_starting_again_changes_nothing(site: Site) -> None:
    before = prefect(site, "/deployments/filter", {})

    site.again("schema")
    site.again("schedules")

    after = prefect(site, "/deployments/filter", {})
    assert [one["id"] for one in after] == [one["id"] for one in before]
    assert [one["schedules"][0]["schedule"]["cron"] for one in after] == [
        "40 * * * *",
        "15 5 2 * *",
        "30 3 * * *",
        "0 6 * * sun",
    ]


@pytest.mark.parametrize(
    ("role", "database"),
    [
        ("nextperiod_writer", "nextperiod"),
        ("nextperiod_consumer", "nextperiod"),
        ("mlflow", "mlflow"),
        ("prefect", "prefect"),
    ],
)
def test_a_role_needs_its_own_password_and_reaches_its_own_database(site: Site, role: str, database: str) -> None:
    password = site.passwords[f"{role.removeprefix('nextperiod_')}_password"]

    with site.connect(role, database, password) as connection:
        assert connection.exec_driver_sql("select current_user").scalar_one() == role
    with pytest.raises(sa.exc.OperationalError, match="password"), site.connect(role, database, "another"):
        pass
    other = "mlflow" if database != "mlflow" else "nextperiod"
    with pytest.raises(sa.exc.OperationalError, match="permission denied"), site.connect(role, other, password):
        pass
