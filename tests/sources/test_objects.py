"""Files in an object store, as a path with a scheme names them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchRefused, SourceMissing, SourceUnavailable
from pipeline.sources.registry import fetch
from tests.sources.fetching import FIRST_FETCH, read, read_rows, recipe_with, rows_in
from tests.sources.server import Request, Server, response, serve

CSV = b"month,sold\n2020-01-01,1\n2020-02-01,2.5\n"
TWO_ROWS = [("2020-01-01", "1"), ("2020-02-01", "2.5")]


@pytest.fixture
def store() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    memory.pipe("/feed/a.csv", CSV)
    yield memory
    memory.rm("/", recursive=True)


def recipe_at(path: str, source: str = "", kind: str = "csv") -> Recipe:
    return recipe_with(f'kind = "{kind}"\npath = "{path}"\nperiod = "month"\nvalue = "sold"\n{source}')


def test_one_object_is_read_like_a_file(store: Any) -> None:
    delivery, chunks = read(recipe_at("memory://feed/a.csv"))

    assert rows_in(chunks) == [(2, TWO_ROWS[0]), (3, TWO_ROWS[1])]
    assert (delivery.source, chunks[0].file) == ("a.csv", None)


def test_a_pattern_reads_all_objects_sorted_by_name(store: Any, tmp_path: Path) -> None:
    store.pipe("/feed/b/c.csv", b"month,sold\n2020-03-01,3\n")
    store.pipe("/feed/other.txt", b"no")

    delivery, chunks = read(recipe_at("memory://feed/**/*.csv"))

    assert [(chunk.file, len(chunk.line)) for chunk in chunks if len(chunk.line)] == [("a.csv", 2), ("b/c.csv", 1)]
    assert delivery.source == "memory://feed/**/*.csv"


def test_an_object_has_the_hash_of_the_same_file_on_disk(store: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CSV)

    assert (
        read(recipe_at("memory://feed/a.csv"))[0].content_hash == read(recipe_at(f"{tmp_path}/a.csv"))[0].content_hash
    )


def test_parquet_objects_are_read(store: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"month": ["2020-01"], "sold": [1.5]}), tmp_path / "a.parquet")
    store.pipe("/feed/a.parquet", (tmp_path / "a.parquet").read_bytes())

    assert read_rows(recipe_at("memory://feed/*.parquet", kind="parquet")) == [("2020-01", 1.5)]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "memory://feed/none.csv",
            "there is no file memory://feed/none.csv: expected a CSV file with the columns month",
        ),
        ("memory://feed/none-*.csv", "there is no file memory://feed/none-"),
        ("memory://feed", "memory://feed is a folder: expected a file; ask the shop"),
        (
            "ftp://host/a.csv",
            r"ftp://host/a.csv cannot be read: expected a path, or one that begins with one of gcs://",
        ),
        ("memory://feed/a.csv::file:///etc/passwd", "cannot be read: expected a path"),
    ],
)
def test_an_object_that_does_not_exist_is_reported_as_missing(store: Any, path: str, message: str) -> None:
    with pytest.raises(SourceMissing, match=message):
        read(recipe_at(path, 'hint = "ask the shop"'))


def test_without_fsspec_the_error_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)

    with pytest.raises(
        SourceMissing, match=r"needs a library that is not installed: pip install nextperiod\[objects\]"
    ):
        read(recipe_at("memory://feed/a.csv"))


def test_without_the_library_of_a_scheme_the_error_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)

    with pytest.raises(
        SourceMissing, match=r"needs a library that is not installed: pip install nextperiod\[objects\]"
    ):
        read(recipe_at("s3://feed/a.csv"))


def test_objects_above_max_gib_are_refused_before_they_are_downloaded(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr(type(store), "get_file", never)

    with pytest.raises(BatchRefused, match="is larger than 1e-08 GiB, the recipe's source.max_gib"):
        read(recipe_at("memory://feed/a.csv", "max_gib = 1e-8"))


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (PermissionError("key AKIA"), BatchRefused, "may not be read: expected credentials in the environment"),
        (OSError("key AKIA"), SourceUnavailable, "cannot be read: OSError, try again later"),
        (RuntimeError("key AKIA"), SourceUnavailable, "cannot be read: RuntimeError, try again later"),
    ],
)
def test_errors_of_a_store_are_translated_without_its_text(
    store: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[Exception], message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(type(store), "get_file", fail)

    with pytest.raises(expected, match=message) as caught:
        read(recipe_at("memory://feed/a.csv"))

    assert "AKIA" not in str(caught.value)


def test_an_object_that_is_cut_during_the_download_is_unavailable(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(store), "get_file", lambda _, __, local: Path(local).write_bytes(CSV[:20]))

    with pytest.raises(SourceUnavailable, match="a.csv was changed while it was read"):
        read(recipe_at("memory://feed/a.csv"))


def test_the_copies_are_gone_when_the_delivery_is_over(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with fetch(recipe_at("memory://feed/a.csv"), FIRST_FETCH) as delivery:
        assert rows_in(list(delivery.chunks())) == rows_in(list(delivery.chunks()))
        assert len(list(tmp_path.iterdir())) == 1

    assert list(tmp_path.iterdir()) == []


LISTING = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>feed</Name><Prefix>day/</Prefix>
<KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{}</ListBucketResult>"""
ENTRY = (
    "<Contents><Key>{}</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified>"
    '<ETag>"x"</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>'
)
OBJECTS = {"day/1.csv": CSV, "day/2.csv": b"month,sold\n2020-03-01,3\n"}


def s3(request: Request) -> bytes:
    """What a store that speaks S3 answers."""
    key = request.path.removeprefix("/feed").strip("/")
    if not key:
        objects = {name: body for name, body in OBJECTS.items() if name.startswith(request.query.get("prefix", ""))}
        listed = "".join(ENTRY.format(name, len(body)) for name, body in objects.items())
        return response(LISTING.format(listed), Content_Type="application/xml")
    if key not in OBJECTS:
        return response(status=404)
    whole = response(OBJECTS[key], ETag='"x"', Last_Modified="Wed, 01 Jan 2020 00:00:00 GMT")
    return whole.removesuffix(OBJECTS[key]) if request.method == "HEAD" else whole


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "pl4nted")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    return monkeypatch


def test_s3_gives_one_object_or_those_of_a_pattern(credentials: pytest.MonkeyPatch) -> None:
    with serve(s3) as server:
        credentials.setenv("AWS_ENDPOINT_URL", server.url)
        one = read_rows(recipe_at("s3://feed/day/1.csv"))
        many = read_rows(recipe_at("s3://feed/day/*.csv"))
        with pytest.raises(SourceMissing, match="there is no file s3://feed/day/3.csv"):
            read(recipe_at("s3://feed/day/3.csv"))

    assert one == TWO_ROWS
    assert many == [*TWO_ROWS, ("2020-03-01", "3")]
    assert {request.method for request in server.requests} <= {"GET", "HEAD"}


@pytest.mark.parametrize(
    ("answer", "expected"), [(response(status=403), BatchRefused), (response(status=500), SourceUnavailable)]
)
def test_errors_of_s3_show_no_secret(credentials: pytest.MonkeyPatch, answer: bytes, expected: type[Exception]) -> None:
    with serve(lambda _: answer) as server:
        credentials.setenv("AWS_ENDPOINT_URL", server.url)
        with pytest.raises(expected) as caught:
            read(recipe_at("s3://feed/day/1.csv"))

    assert isinstance(server, Server)
    assert "pl4nted" not in str(caught.value)
