"""`nextperiod doctor` names what is wrong, with the values and how to fix it, and ends where a server never answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from flows.cli import doctor, server_checks
from flows.cli.findings import Finding, NoAnswer, within_time
from flows.context import utc_now
from pipeline.config.settings import Settings
from pipeline.errors import SchemaOutOfDate, SchemaTooNew
from pipeline.sources.extras import install_command
from pipeline.storage.engine import Database
from pipeline.storage.leases import current_holder
from pipeline.storage.schema import REVISION
from pipeline.storage.store import Store
from tests.sources.server import Request, Respond, Server, response, serve
from tests.storage.raw_sql import change
from tests.storage.small_store import NEVER, add_untrained, forecast, publish, take_in
from tests.support.examples import NOW, SMALL_RECIPE, small_batch, small_recipe

HOUR = timedelta(hours=1)
NOTHING_WRONG: list[tuple[str, str]] = []


def settings(**fields: Any) -> Settings:
    """The settings of a person who uses no server."""
    defaults = {"database_url": "sqlite://", "recipes": Path(), "tracking_uri": "sqlite:///mlflow.db"}
    return Settings(**{**defaults, "prefect_api_url": "", **fields})


def settings_of(store: Store) -> Settings:
    return settings(database_url=store.database.url.render_as_string(hide_password=False))


def wrong(findings: Iterator[Finding]) -> list[tuple[str, str]]:
    """The findings that are not well."""
    return [(finding.status, finding.text) for finding in findings if finding.status != "ok"]


def summary(findings: Iterator[Finding]) -> str:
    """The last finding, which is well."""
    *_, last = findings
    assert last.status == "ok"
    return last.text


def anywhere(_host: str) -> bool:
    """Every address counts as public, even the loopback of these tests."""
    return True


# recipes and extras


def test_every_file_that_is_no_recipe_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL_RECIPE.format(source=""))
    (tmp_path / "broken.toml").write_text("name = ")
    (tmp_path / "wrong.toml").write_text("horizon = 0")

    findings = list(doctor._check_recipes(settings(recipes=tmp_path)))

    broken, invalid = wrong(iter(findings))
    assert broken[0] == invalid[0] == "failure"
    assert broken[1].startswith(f"{tmp_path}/broken.toml is not valid TOML: ")
    assert broken[1].endswith("; change the file, and try it with `nextperiod check broken`")
    assert invalid[1].startswith(f"{tmp_path}/wrong.toml: ")
    assert summary(iter(findings)) == f"{tmp_path}: small (MS: month named by the first day, season of 4)"


@pytest.mark.parametrize(
    ("library", "extra", "source"),
    [
        ("openpyxl", "excel", 'kind = "excel"\npath = "a.xlsx"\nperiod = "month"\nvalue = "sold"'),
        ("yfinance", "prices", 'kind = "prices"\nprovider = "yfinance"\ntickers = ["AAPL"]'),
        ("ccxt", "prices", 'kind = "prices"\nprovider = "ccxt"\ntickers = ["BTC/USDT"]'),
        ("s3fs", "objects", 'kind = "csv"\npath = "s3://bucket/a.csv"\nperiod = "month"\nvalue = "sold"'),
        ("gcsfs", "objects", 'kind = "parquet"\npath = "gs://bucket/a"\nperiod = "month"\nvalue = "sold"'),
    ],
)
def test_a_library_that_a_source_needs_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, extra: str, source: str
) -> None:
    (tmp_path / "own.toml").write_text(f'name = "own"\nfrequency = "D"\nhorizon = 3\n[source]\n{source}\n')
    assert wrong(doctor._check_recipes(settings(recipes=tmp_path))) == NOTHING_WRONG

    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed

    assert wrong(doctor._check_recipes(settings(recipes=tmp_path))) == [
        (
            "failure",
            f"own: its source needs {library} of the extra {extra}, which is not installed: run "
            f"{sys.executable} -m pip install 'nextperiod[{extra}]'",
        )
    ]


def test_an_extra_is_installed_by_uv_where_there_is_no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)

    assert install_command("excel") == f"uv pip install --python {sys.executable} 'nextperiod[excel]'"


# the database


@pytest.mark.parametrize(
    ("revision", "error", "remedy"),
    [("0001", SchemaOutOfDate, "run `nextperiod db upgrade`"), ("9999", SchemaTooNew, "install the version that")],
)
def test_a_schema_of_another_revision_is_named_and_nothing_else_of_the_store_is_checked(
    database: Database, revision: str, error: type[Exception], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(database, f"update schema_version set version_num = '{revision}'")
    own = settings_of(Store(database))
    for name in set(doctor.CHECKS) - {"database", "leases"}:
        monkeypatch.delitem(doctor.CHECKS, name)

    with pytest.raises(error, match=f"revision {revision}.*{REVISION}.*{remedy}"):
        list(server_checks.check_database(own))

    findings = dict(doctor.run_checks(own))
    assert findings["database"].status == "failure"
    assert findings["leases"] == Finding(status="failure", text="not checked: see database")


@pytest.mark.parametrize(("ahead", "direction"), [(HOUR, "behind"), (-HOUR, "ahead of")])
def test_clocks_that_differ_by_more_than_a_minute_are_named(store: Store, ahead: timedelta, direction: str) -> None:
    findings = server_checks.check_database(settings_of(store), clock=lambda: utc_now() + ahead)

    ((status, text),) = wrong(findings)

    assert status == "failure"
    assert text.startswith(f"the clock of the database {store.database.shown} is 3")
    assert f" s {direction} that of this machine: instants are stored wrong; synchronize both clocks" in text


def test_clocks_that_differ_by_less_agree(store: Store) -> None:
    findings = server_checks.check_database(settings_of(store), clock=lambda: utc_now() + timedelta(seconds=50))

    assert wrong(findings) == NOTHING_WRONG


def test_a_server_that_trusts_whoever_connects_is_named_at_a_public_address_only(store: Store) -> None:
    assert wrong(server_checks.check_database(settings_of(store))) == NOTHING_WRONG

    found = wrong(server_checks.check_database(settings_of(store), is_public=anywhere))

    if store.database.url.get_backend_name() == "sqlite":
        assert found == NOTHING_WRONG
    else:
        ((status, text),) = found
        assert status == "failure"
        assert "trusts whoever connects: replace trust by scram-sha-256 in pg_hba.conf" in text


@pytest.mark.parametrize(
    ("host", "public"),
    [
        *(("8.8.8.8", True), ("2001:4860:4860::8888", True)),
        *(("127.0.0.1", False), ("localhost", False), ("10.1.2.3", False), ("192.168.0.9", False), ("fd00::1", False)),
        *(("100.64.0.1", False), ("169.254.1.1", False), ("", False), ("no.such.host.invalid", False)),
    ],
)
def test_public_addresses_are_told_from_those_of_a_network_of_ones_own(host: str, public: bool) -> None:
    assert server_checks.is_public(host) is public


# the store


def ended_process() -> int:
    """The number of a process that does not run any more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_lease_whose_worker_died_is_named_with_its_times(store: Store) -> None:
    store.recipes.register(small_recipe())
    store.recipes.begin_attempt("small", "train", NOW)
    holder = f"{socket.gethostname()}:{ended_process()}"
    store.leases.acquire("small", holder, HOUR)
    expires_at = store.leases.held()[0]["expires_at"]

    findings = list(doctor._check_leases(settings_of(store)))

    assert wrong(iter(findings)) == [
        (
            "warning",
            f"small is leased by {holder} since 2026-01-01 12:00 UTC, until {expires_at:%Y-%m-%d %H:%M} UTC at the latest, "
            "which does not run any more: the next training on this machine takes the lease over, `nextperiod train small`; "
            "other machines wait until it expires",
        )
    ]
    assert summary(iter(findings)) == "no recipe is leased for a training"


@pytest.mark.parametrize("name_holder", [lambda: "elsewhere:1", current_holder], ids=["elsewhere", "here"])
def test_a_lease_of_a_worker_that_may_run_is_listed(store: Store, name_holder: Callable[[], str]) -> None:
    holder = name_holder()
    store.recipes.register(small_recipe())
    store.leases.acquire("small", holder, HOUR)

    (finding,) = doctor._check_leases(settings_of(store))

    assert finding.status == "ok"
    assert finding.text.startswith(f"small by {holder}, until 2")


def test_a_lease_that_ended_or_expired_is_not_listed(store: Store) -> None:
    store.recipes.register(small_recipe())
    token = store.leases.acquire("small", "elsewhere:1", HOUR)
    store.leases.release("small", token)

    assert summary(doctor._check_leases(settings_of(store))) == "no recipe is leased for a training"

    store.leases.acquire("small", "elsewhere:1", -HOUR)
    assert summary(doctor._check_leases(settings_of(store))) == "no recipe is leased for a training"


def test_a_stale_recipe_is_a_warning(store: Store) -> None:
    store.recipes.register(small_recipe())
    take_in(store, small_batch())
    model = add_untrained(store)
    publish(store, forecast(), model, expected_next_by=datetime(2001, 1, 1, tzinfo=UTC))

    findings = list(doctor._check_forecasts(settings_of(store)))

    assert wrong(iter(findings)) == [
        (
            "warning",
            f"small: stale: a newer forecast than that of {NOW:%Y-%m-%d %H:%M}Z was expected by 2001-01-01 00:00Z; run "
            "`nextperiod run small`, and look at its schedule or at what its source delivers",
        )
    ]
    assert summary(iter(findings)) == "0 of 1 recipe not stale"


def test_a_recipe_that_is_current_and_an_outbox_that_waits_are_well(store: Store) -> None:
    store.recipes.register(small_recipe())
    take_in(store, small_batch())
    publish(store, forecast(), add_untrained(store), expected_next_by=NEVER)

    assert summary(doctor._check_forecasts(settings_of(store))) == "1 of 1 recipe not stale"
    assert summary(doctor._check_outbox(settings_of(store))) == "3 entries to be sent to MLflow"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_stored_file_that_does_not_match_its_hash_is_named(store: Store) -> None:
    store.recipes.register(small_recipe())
    model = add_untrained(store)
    assert wrong(doctor._check_store(settings_of(store))) == NOTHING_WRONG

    change(store.database, "update model_files set content = x'00' where name = 'network.onnx'")

    assert wrong(doctor._check_store(settings_of(store))) == [
        ("failure", f"model {model.model_hash[:12]}: network.onnx is missing or was changed; train again")
    ]


# servers


def mlflow_server(server_version: str, *, needs_password: bool = False) -> Respond:
    """Answers of an MLflow server without experiments."""
    credentials = f"Basic {b64encode(b'me:secret').decode()}"

    def respond(request: Request) -> bytes:
        if needs_password and request.headers.get("authorization") != credentials:
            return response("You are not authenticated", status=401)
        if request.path == "/version":
            return response(server_version)
        return response("{}", Content_Type="application/json")

    return respond


def major(number: str, by: int) -> str:
    first, rest = number.split(".", 1)
    return f"{int(first) + by}.{rest}"


def minor(number: str, by: int) -> str:
    first, second, *rest = number.split(".")
    return ".".join([first, str(int(second) + by), *rest])


def patch(number: str, _by: int) -> str:
    return ".".join([*number.split(".")[:2], "999"])


#: how a server's version differs from the installed one, and what the doctor calls that
VERSIONS = [
    *((major, -1, "failure"), (major, 1, "failure"), (minor, -1, "warning"), (minor, 1, "warning"), (patch, 0, None))
]
Change = Callable[[str, int], str]


@pytest.mark.parametrize(("change_version", "by", "status"), VERSIONS)
def test_an_mlflow_server_of_another_version_is_named(change_version: Change, by: int, status: str | None) -> None:
    other, installed = change_version(version("mlflow"), by), version("mlflow")
    with serve(mlflow_server(other)) as server:
        findings = list(server_checks.check_mlflow(settings(tracking_uri=server.url)))

    text = (
        f"MLflow at {server.url} is version {other}, and version {installed} is installed here: install {installed} on the "
        f"server, with pip install mlflow=={installed}"
    )
    assert wrong(iter(findings)) == ([(status, text)] if status else NOTHING_WRONG)
    assert summary(iter(findings)) == f"{server.url}: 0 experiments, version {other}"


def test_an_mlflow_server_that_lets_anybody_in_is_named_at_a_public_address_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serve(mlflow_server(version("mlflow"))) as server:
        private = wrong(server_checks.check_mlflow(settings(tracking_uri=server.url)))
        public = wrong(server_checks.check_mlflow(settings(tracking_uri=server.url), is_public=anywhere))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    with serve(mlflow_server(version("mlflow"), needs_password=True)) as locked:
        with_password = wrong(server_checks.check_mlflow(settings(tracking_uri=locked.url), is_public=anywhere))

    assert private == with_password == NOTHING_WRONG
    assert public == [
        (
            "failure",
            f"MLflow at {server.url} has a public address and lets anybody change models: start it with "
            "`mlflow server --app-name basic-auth`, or give it a private address",
        )
    ]


def prefect_server(server_version: str, *, now: datetime | None = None, auth: str | None = None) -> Respond:
    """Answers of a Prefect server, whose clock shows `now` or the time."""
    credentials = None if auth is None else f"Basic {b64encode(auth.encode()).decode()}"

    def respond(request: Request) -> bytes:
        date = format_datetime(now or utc_now(), usegmt=True)
        if request.path == "/api/health":
            return response("true", Date=date)
        if credentials is not None and request.headers.get("authorization") != credentials:
            return response("{}", status=401, Date=date)
        return response(json.dumps(server_version), Date=date)

    return respond


def check_prefect(server: Server, **options: Any) -> list[Finding]:
    return list(server_checks.check_prefect(settings(prefect_api_url=f"{server.url}/api"), **options))


@pytest.mark.parametrize(("change_version", "by", "status"), VERSIONS)
def test_a_prefect_server_of_another_version_is_named(change_version: Change, by: int, status: str | None) -> None:
    other, installed = change_version(version("prefect"), by), version("prefect")
    with serve(prefect_server(other)) as server:
        findings = check_prefect(server)

    text = (
        f"Prefect at {server.url}/api is version {other}, and version {installed} is installed here: install {installed} on "
        f"the server, with pip install prefect=={installed}"
    )
    assert wrong(iter(findings)) == ([(status, text)] if status else NOTHING_WRONG)
    assert summary(iter(findings)) == f"{server.url}/api is healthy, version {other}"


@pytest.mark.parametrize(("ahead", "direction"), [(-HOUR, "behind"), (HOUR, "ahead of")])
def test_the_clock_of_a_prefect_server_is_compared(ahead: timedelta, direction: str) -> None:
    with serve(prefect_server(version("prefect"), now=NOW + ahead)) as server:
        ((status, text),) = wrong(iter(check_prefect(server, clock=lambda: NOW)))

    assert status == "warning"
    assert text.startswith(
        f"the clock of Prefect at {server.url}/api is 3600 s {direction} that of this machine: runs start"
    )


def test_a_prefect_server_that_lets_anybody_in_is_named_at_a_public_address_only() -> None:
    from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

    with serve(prefect_server(version("prefect"))) as server:
        private, public = check_prefect(server), check_prefect(server, is_public=anywhere)
    with (
        serve(prefect_server(version("prefect"), auth="me:secret")) as locked,
        temporary_settings({PREFECT_API_AUTH_STRING: "me:secret"}),
    ):
        with_password = check_prefect(locked, is_public=anywhere)

    assert wrong(iter(private)) == wrong(iter(with_password)) == NOTHING_WRONG
    assert summary(iter(with_password)).endswith(f"version {version('prefect')}")
    assert wrong(iter(public)) == [
        (
            "failure",
            f"Prefect at {server.url}/api has a public address and lets anybody start runs: set "
            "PREFECT_SERVER_API_AUTH_STRING where it runs and PREFECT_API_AUTH_STRING here, or give it a private address",
        )
    ]


# servers that hang


@contextmanager
def server_that_never_answers() -> Iterator[str]:
    """HOST:PORT that accepts connections and sends nothing."""
    accepted: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                accepted.append(listening.accept()[0])
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=accept)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in accepted:
        connection.close()


@pytest.mark.parametrize("name", ["database", "mlflow", "prefect"])
def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in set(doctor.CHECKS) - {name}:
        monkeypatch.delitem(doctor.CHECKS, other)
    with server_that_never_answers() as address:
        own = settings(
            **{
                "database": {"database_url": f"postgresql+psycopg://me:secret@{address}/store"},
                "mlflow": {"tracking_uri": f"http://me:secret@{address}"},
                "prefect": {"prefect_api_url": f"http://{address}/api"},
            }[name]
        )

        ((_, finding),) = doctor.run_checks(own, patience=0.2)

    assert finding.status == "failure"
    assert f"{address}" in finding.text
    assert "gave no answer within 0.2 s: look whether it hangs, and restart it if it does" in finding.text
    assert "secret" not in finding.text


def test_what_ends_in_time_returns_or_raises() -> None:
    assert within_time(lambda: 3, of="it", seconds=60) == 3
    with pytest.raises(ZeroDivisionError):
        within_time(lambda: 1 // 0, of="it", seconds=60)
    ended = Event()
    with pytest.raises(
        NoAnswer, match="^it gave no answer within 0.1 s: look whether it hangs, and restart it if it does$"
    ):
        within_time(ended.wait, of="it", seconds=0.1)
    ended.set()
