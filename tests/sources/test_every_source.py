"""One battery over all kinds of source: the same six rows, however they are stored."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import fsspec
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.recipe import Recipe
from pipeline.config.sources import TABLES
from pipeline.errors import BatchRefused, NextperiodError, Permanent, SourceMissing, SourceUnavailable, Transient
from pipeline.sources.delivery import Chunk
from pipeline.sources.registry import SOURCES, fetch
from tests.sources.fetching import FIRST_FETCH, names_in, next_fetch, read, recipe_with, rejections_in, rows_in
from tests.sources.providers import Binance, Yahoo, row
from tests.sources.server import Request, response, serve

DAYS = [date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)]
SHOPS = ("AAA", "BBB")
SIX_ROWS = [(day.isoformat(), shop, float(n)) for shop in SHOPS for n, day in enumerate(DAYS, start=1)]
SECRET = "pl4nted-secret"


class StoredRows:
    """The six rows in one kind of source, and the recipe that reads them."""

    #: the error where the source is not there
    when_missing: type[NextperiodError] = SourceMissing
    first_line = 1

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch

    @contextmanager
    def serve_rows(self, last: float) -> Iterator[Recipe]:
        """Give a recipe that works until the context manager exits; `last` is the last of the six values."""
        raise NotImplementedError

    def missing_recipe(self) -> Recipe:
        """A recipe whose source is not there."""
        raise NotImplementedError

    def recipe(self, source: str) -> Recipe:
        named = 'period = "day"\nvalue = "sold"\nseries = "shop"\n'
        return recipe_with(named + source, self.folder, frequency="D")


def rows(last: float) -> list[tuple[str, str, float]]:
    return [*SIX_ROWS[:-1], (*SIX_ROWS[-1][:2], last)]


def csv_of(last: float) -> bytes:
    return "\n".join(["day,shop,sold", *(f"{day},{shop},{sold}" for day, shop, sold in rows(last)), ""]).encode()


def objects_of(last: float) -> list[dict[str, Any]]:
    return [{"day": day, "shop": shop, "sold": sold} for day, shop, sold in rows(last)]


class Csv(StoredRows):
    first_line = 2

    @contextmanager
    def serve_rows(self, last: float) -> Iterator[Recipe]:
        (self.folder / "six.csv").write_bytes(csv_of(last))
        yield self.recipe('kind = "csv"\npath = "six.csv"')

    def missing_recipe(self) -> Recipe:
        return self.recipe('kind = "csv"\npath = "none.csv"')


class QuotedCsv(Csv):
    @contextmanager
    def serve_rows(self, last: float) -> Iterator[Recipe]:
        (self.folder / "six.csv").write_bytes(csv_of(last).replace(b"AAA", b'"AAA"'))
        yield self.recipe('kind = "csv"\npath = "six.csv"')


class Parquet(StoredRows):
    @contextmanager
    def serve_rows(self, last: float) -> Iterator[Recipe]:
        pq.write_table(pa.Table.from_pylist(objects_of(last)), self.folder / "six.parquet")
        yield self.recipe('kind = "parquet"\npath = "six.parquet"')

    def missing_recipe(self) -> Recipe:
        return self.recipe('kind = "parquet"\npath = "none.parquet"')


class Excel(StoredRows):
    first_line = 2

    @contextmanager
    def serve_rows(self, last: float) -> Iterator[Recipe]:
        workbook = openpyxl.Workbook()
        for cells in [("day", "shop", "sold"), *rows(last)]:
            workbook.active.append(cells)
        workbook.save(self.folder / "six.xlsx")
        self.write_again()
        yield self.recipe('kind = "excel"\npath = "six.xlsx"')

    def write_again(self) -> None:
        """Without the time of writing, which openpyxl stores twice."""
        path = self.folder / "six.xlsx"
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist() if name != "docProps/core.xml"}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in parts.items():
                archive.writestr(zipfile.ZipInfo(name), content)

    def missing_recipe(self) -> Recipe:
        return self.recipe('kind = "excel"\npath = "none.xlsx"')


class Objects(StoredRows):
    first_line = 2

    @contextmanager
    def serve_rows(self, last: float) -> Iterator[Recipe]:
        store = fsspec.filesystem("memory")
        store.pipe("/battery/six.csv", csv_of(last))
        try:
            yield self.recipe('kind = "csv"\npath = "memory://battery/six.csv"')
        finally:
            store.rm("/battery", recursive=True)

    def missing_recipe(self) -> Recipe:
        return self.recipe('kind = "csv"\npath = "memory://battery/none.csv"')


class Http(StoredRows):
    form = "csv"
    first_line = 2

    def body(self, last: float) -> bytes:
        return csv_of(last)

    def at(self, host: str, path: str) -> Recipe:
        self.monkeypatch.setenv("FEED_TOKEN", SECRET)
        return self.recipe(
            f'kind = "http"\nurl = "http://{host}/{path}?token=${{FEED_TOKEN}}"\nhosts = ["{host}"]\nformat = "{self.form}"\n'
            'headers = {Authorization = "Bearer ${FEED_TOKEN}"}'
        )

    @contextmanager
    def serve_rows(self, last: float) -> Iterator[Recipe]:
        with serve(lambda _: response(self.body(last))) as server:
            yield self.at(server.host, "six")

    def missing_recipe(self) -> Recipe:
        return self.at(closed_port(), "none")

    when_missing = SourceUnavailable


class HttpLines(Http):
    form = "jsonl"
    first_line = 1

    def body(self, last: float) -> bytes:
        return "\n".join(map(json.dumps, objects_of(last))).encode()


class HttpDocument(HttpLines):
    form = "json"

    def body(self, last: float) -> bytes:
        return json.dumps(objects_of(last)).encode()


class Sql(StoredRows):
    @contextmanager
    def serve_rows(self, last: float) -> Iterator[Recipe]:
        with closing(sqlite3.connect(self.folder / "six.db")) as connection, connection:
            connection.execute("drop table if exists six")
            connection.execute("create table six (day text, shop text, sold real)")
            connection.executemany("insert into six values (?, ?, ?)", rows(last))
        yield self.recipe('kind = "sql"\nurl = "sqlite:///six.db"\ntable = "six"')

    def missing_recipe(self) -> Recipe:
        self.monkeypatch.setenv("WAREHOUSE_URL", f"postgresql://me:{SECRET}@{closed_port()}/x")
        return self.recipe('kind = "sql"\nurl = "${WAREHOUSE_URL}"\ntable = "six"')

    when_missing = SourceUnavailable


class Prices(StoredRows):
    provider = "yfinance"
    tickers = SHOPS
    when_missing = SourceUnavailable

    def at(self, url: str) -> Recipe:
        self.monkeypatch.setenv("HOME", str(self.folder))
        tickers = ", ".join(f'"{ticker}"' for ticker in self.tickers)
        return recipe_with(
            f'kind = "prices"\nprovider = "{self.provider}"\ntickers = [{tickers}]\nsince = "2026-01-05"\nbase_url = "{url}"',
            frequency="D",
        )

    def answers(self, last: float) -> Any:
        prices = {shop: [row(date.fromisoformat(d), sold) for d, s, sold in rows(last) if s == shop] for shop in SHOPS}
        return Yahoo(rows=prices)

    @contextmanager
    def serve_rows(self, last: float) -> Iterator[Recipe]:
        with serve(self.answers(last)) as server:
            yield self.at(server.url)

    def missing_recipe(self) -> Recipe:
        return self.at(f"http://{closed_port()}")


class Candles(Prices):
    provider = "ccxt"
    tickers = ("AAA/USDT", "BBB/USDT")

    def answers(self, last: float) -> Any:
        return Binance(rows={f"{shop}USDT": days for shop, days in super().answers(last).rows.items()})


KINDS = [Csv, QuotedCsv, Parquet, Excel, Objects, Http, HttpLines, HttpDocument, Sql, Prices, Candles]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def stored(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredRows:
    kind: type[StoredRows] = request.param
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return kind(tmp_path, monkeypatch)


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def to_plain_rows(chunks: list[Chunk], recipe: Recipe) -> list[tuple[str, str, float]]:
    """The rows as they were stored, whatever types the source gives them."""
    names = names_in(chunks)
    positions = [names.index(str(name)) for name in (recipe.source.period, recipe.source.series, recipe.source.value)]
    cells = [[row[position] for position in positions] for _, row in rows_in(chunks)]
    return [(str(day), str(shop).removesuffix("/USDT"), float(sold)) for day, shop, sold in cells]


def test_every_kind_of_source_is_tested_by_this_battery() -> None:
    tested = {"csv", "parquet", "excel", "http", "sql", "prices", "integers"}

    assert set(SOURCES) == set(TABLES) == tested


def test_libraries_of_single_kinds_are_imported_only_when_needed() -> None:
    heavy = ["httpx", "sqlalchemy", "yfinance", "ccxt", "fsspec", "pyarrow.csv", "pyarrow.parquet", "openpyxl"]
    program = f"import sys, pipeline.sources.registry; print([name for name in {heavy} if name in sys.modules])"

    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert imported.stdout == "[]\n"


def test_all_rows_are_delivered_with_lines_counted_from_1(stored: StoredRows) -> None:
    with stored.serve_rows(last=3.0) as recipe:
        delivery, chunks = read(recipe)

    assert to_plain_rows(chunks, recipe) == SIX_ROWS
    assert [line for line, _ in rows_in(chunks)] == list(range(stored.first_line, stored.first_line + 6))
    assert rejections_in(chunks) == []
    assert not delivery.incremental
    assert SECRET not in delivery.source + json.dumps(dict(delivery.state))


def test_chunks_can_be_read_twice_and_are_small(stored: StoredRows) -> None:
    with stored.serve_rows(last=3.0) as recipe, fetch(recipe, FIRST_FETCH) as delivery:
        once, again = list(delivery.chunks()), list(delivery.chunks())

    assert rows_in(once) == rows_in(again)
    assert all(len(chunk.line) == chunk.columns.num_rows <= 250_000 for chunk in once)


def test_the_same_rows_have_the_same_hash_and_others_another(stored: StoredRows) -> None:
    hashes = []
    for last in (3.0, 3.0, 4.0):
        with stored.serve_rows(last) as recipe:
            hashes.append(read(recipe)[0].content_hash)

    assert hashes[0] == hashes[1] != hashes[2]
    assert len(hashes[0]) == hashlib.sha256().digest_size * 2


def test_settings_that_change_the_meaning_of_rows_change_the_hash(stored: StoredRows) -> None:
    with stored.serve_rows(last=3.0) as recipe:
        other = recipe.model_copy(update={"source": recipe.source.model_copy(update={"missing": "reject"})})
        moderate = recipe.model_copy(update={"source": recipe.source.model_copy(update={"max_rejected": 0.5})})
        hashes = [read(one)[0].content_hash for one in (recipe, other, moderate)]

    assert hashes[0] == hashes[2] != hashes[1]


def test_the_state_of_a_delivery_is_accepted_at_the_next_fetch(stored: StoredRows) -> None:
    with stored.serve_rows(last=3.0) as recipe:
        first, _ = read(recipe)
        context = next_fetch(first)
        second, _ = read(recipe, context)

    assert second.content_hash == first.content_hash
    assert dict(second.state) == dict(first.state)
    assert all(isinstance(text, str) for text in second.state.values())


def open_things() -> tuple[int, set[str]]:
    gc.collect()
    threads = {thread.name for thread in threading.enumerate() if thread.name != "fsspecIO"}
    return len(os.listdir("/proc/self/fd")), threads  # noqa: PTH208


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_no_file_handle_thread_or_temporary_file_is_left(stored: StoredRows) -> None:
    with stored.serve_rows(last=3.0) as recipe:
        read(recipe)
    before = open_things()

    with stored.serve_rows(last=3.0) as recipe, fetch(recipe, FIRST_FETCH) as delivery:
        next(iter(delivery.chunks()))
    with pytest.raises(NextperiodError):
        read(stored.missing_recipe())
    with pytest.raises(ZeroDivisionError), stored.serve_rows(last=3.0) as recipe, fetch(recipe, FIRST_FETCH):
        raise ZeroDivisionError

    assert open_things() == before
    assert list((stored.folder / "temporary").iterdir()) == []


def test_a_missing_source_is_reported_in_one_line_without_secrets(stored: StoredRows) -> None:
    recipe = stored.missing_recipe()

    with pytest.raises(NextperiodError) as caught:
        read(recipe)

    assert type(caught.value) is stored.when_missing
    assert isinstance(caught.value, Transient if stored.when_missing is SourceUnavailable else Permanent)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_errors_of_the_caller_pass_through_unchanged(stored: StoredRows) -> None:
    raised = BatchRefused(f"mine {SECRET}", source="mine")

    with pytest.raises(BatchRefused) as caught, stored.serve_rows(last=3.0) as recipe, fetch(recipe, FIRST_FETCH):
        raise raised

    assert caught.value is raised


def test_integers_are_the_same_for_the_same_seed() -> None:
    recipe = recipe_with('kind = "integers"\ncount = 6\nseed = 1', frequency="D")
    other = recipe_with('kind = "integers"\ncount = 6\nseed = 2', frequency="D")

    delivery, chunks = read(recipe)

    assert names_in(chunks) == ["period", "value"]
    assert [row[0] for _, row in rows_in(chunks)] == [1, 2, 3, 4, 5, 6] == [line for line, _ in rows_in(chunks)]
    assert all(0 <= row[1] <= 9 for _, row in rows_in(chunks))
    assert rows_in(read(recipe)[1]) == rows_in(chunks)
    assert read(recipe)[0].content_hash == delivery.content_hash != read(other)[0].content_hash
    assert delivery.source == "integers of seed 1"


def test_an_http_document_that_is_gone_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: Request) -> bytes:
        return response(status=404)

    with serve(gone) as server, pytest.raises(SourceMissing):
        read(Http(tmp_path, monkeypatch).at(server.host, "none"))
