"""`nextperiod serve`: the forecast page live, on loopback, read-only; and what `nextperiod dashboard` prints."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from flows.cli.serve import HOST, _listen, build_app
from pipeline.storage.engine import Database, open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from tests.end_to_end.shell import Typed
from tests.storage.raw_sql import change
from tests.storage.small_store import add_untrained, batch, forecast, monthly, publish, take_in
from tests.support.examples import small_recipe


def publish_small(database: Database) -> None:
    """A recipe with values and a forecast."""
    store = Store(database)
    store.recipes.register(small_recipe())
    take_in(store, batch({"small": monthly([100.0 + n for n in range(40)])}))
    publish(store, forecast(), add_untrained(store))


@dataclass(frozen=True)
class Client:
    """A browser's requests to the application, without a port."""

    app: FastAPI

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)


@pytest.fixture
def client(database: Database, monkeypatch: pytest.MonkeyPatch) -> Client:
    """The application of a store with a forecast, on both databases."""
    publish_small(database)
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", database.url.render_as_string(hide_password=False))
    return Client(build_app(num_series=1000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a store in it."""
    database = open_database(f"sqlite:///{tmp_path}/store.db")
    require_schema(database)
    publish_small(database)
    database.close()
    return tmp_path


def test_the_pages_are_at_the_paths_of_the_files(client: Client) -> None:
    overview, same, page = (client.get(path) for path in ("/", "/index.html", "/recipes/small.html"))

    assert (overview.status_code, same.status_code, page.status_code) == (200, 200, 200)
    assert 'href="recipes/small.html"' in overview.text
    assert 'href="../index.html"' in page.text
    assert '"series":[["small"' in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-store"


def test_each_request_reads_the_store_again(client: Client, database: Database) -> None:
    assert "on hold" not in client.get("/recipes/small.html").text
    change(
        database,
        "insert into batches (recipe, source, content_hash, recorded_at, status, message, num_read, num_new, num_revised, "
        "num_same, num_rejected) values ('small', 's', 'h', '2026-01-02 00:00:00.000000+00:00', 'held', 'half is missing', "
        "0, 0, 0, 0, 0)",
    )

    assert "half is missing" in client.get("/recipes/small.html").text


def test_an_unknown_recipe_or_path_is_a_page_that_says_so(client: Client) -> None:
    unknown, other = client.get("/recipes/none.html"), client.get("/docs")

    assert (unknown.status_code, other.status_code) == (404, 404)
    assert "no recipe none was run" in unknown.text
    assert "There is no page to show" in other.text


def test_nothing_can_be_sent_to_it(client: Client) -> None:
    assert {client.request(method, "/").status_code for method in ("POST", "PUT", "DELETE", "PATCH")} == {405}


def test_the_name_of_another_site_is_refused(client: Client) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"host": "localhost:8000"}).status_code == 200


def test_another_schema_is_a_page_that_says_what_to_do(client: Client, database: Database) -> None:
    change(database, "update schema_version set version_num = '0001'")

    answer = client.get("/")

    assert answer.status_code == 503
    assert "run `nextperiod db upgrade`" in answer.text
    change(database, "update schema_version set version_num = '9999'")
    assert "install the version that created it" in client.get("/").text


def test_a_store_that_is_not_there_is_a_page_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    answer = Client(build_app(num_series=1000)).get("/")

    assert answer.status_code == 503
    assert "there is no store at" in answer.text
    assert list(tmp_path.iterdir()) == []


def test_it_listens_on_loopback_until_it_is_interrupted_and_changes_no_byte(folder: Path) -> None:
    before = (folder / "store.db").read_bytes()
    environment = {**os.environ, "NEXTPERIOD_DATABASE_URL": f"sqlite:///{folder}/store.db"}
    command = [sys.executable, "-m", "flows.cli.app", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            lines = [server.stdout.readline() for _ in range(3)]
            address = json.loads("".join(lines))["address"]
            answer = httpx.get(f"{address}/recipes/small.html", trust_env=False)
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 130
        finally:
            server.kill()

    assert address.startswith(f"http://{HOST}:")
    assert answer.status_code == 200
    assert (folder / "store.db").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["store.db"]


def test_a_port_in_use_is_one_line(types: Typed) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        status, _, err = types("serve", "--port", port)

    assert status == 1
    assert err == f"nextperiod: --port {port}: Address already in use: expected a free port; 0 takes any that is free\n"


def test_the_site_is_written_and_its_first_page_named(types: Typed, folder: Path) -> None:
    status, out, err = types("dashboard", "--out", str(folder / "site"))

    assert (status, err) == (0, "")
    assert out.startswith(f"{folder}/site/index.html: the overview and 1 recipe page, 0.")
    assert (folder / "site/recipes/small.html").is_file()
    facts = json.loads(types("dashboard", "--out", str(folder / "site"), "--json")[1])
    assert facts["num_recipes"] == 1


def test_a_folder_with_other_files_is_refused_in_one_line(types: Typed, folder: Path) -> None:
    status, _, err = types("dashboard", "--out", str(folder))

    assert status == 1
    assert err.startswith(f"nextperiod: --out {folder}: there are files that no dashboard wrote: expected")
    assert err.count("\n") == 1


def test_a_site_of_no_store_creates_none(types: Typed, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", f"sqlite:///{folder}/none.db")

    status, _, err = types("dashboard", "--out", str(folder / "site"))

    assert status == 1
    assert "there is no store at" in err
    assert sorted(path.name for path in folder.iterdir()) == ["store.db"]


def test_a_request_between_the_printed_address_and_the_server_waits_for_it() -> None:
    with _listen(0) as listening, socket.create_connection(listening.getsockname(), timeout=10) as request:
        assert request.getpeername() == listening.getsockname()  # connected before anything accepts
