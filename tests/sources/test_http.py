"""Documents behind an address: which requests are sent, which answers are accepted and which are refused."""

from __future__ import annotations

import datetime
import gzip
import json
import socket
import ssl
import traceback
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.recipe import Recipe
from pipeline.config.sources import HttpSource
from pipeline.errors import BatchRefused, InvalidRecipe, NextperiodError, Rejection, SourceMissing, SourceUnavailable
from pipeline.sources.delivery import Chunk, Delivery, FetchContext
from pipeline.sources.file import File
from pipeline.sources.http_client import is_public
from pipeline.sources.json_records import JsonLimits, json_delivery
from pipeline.sources.registry import fetch
from tests.sources.fetching import (
    FIRST_FETCH,
    NOW,
    names_in,
    next_fetch,
    read,
    read_rows,
    recipe_with,
    rejections_in,
    rows_in,
)
from tests.sources.server import Request, Respond, Server, response, serve

CSV = "month,sold\n2020-01-01,1\n2020-02-01,2.5\n"
TWO_ROWS = [("2020-01-01", "1"), ("2020-02-01", "2.5")]


def recipe_at(server: Server, source: str = "", path: str = "/feed", url: str = "") -> Recipe:
    table = f'kind = "http"\nurl = "{url or server.url + path}"\nperiod = "month"\nvalue = "sold"\n'
    hosts = "" if "hosts" in source else f'hosts = ["{server.host}"]\n'
    return recipe_with(table + hosts + source)


def fetch_once(answer: bytes, source: str = "", path: str = "/feed") -> list[tuple[int, tuple[str, ...]]]:
    with serve(lambda _: answer) as server:
        return rows_in(read(recipe_at(server, source, path))[1])


def fetch_error(
    answer: bytes | Respond, source: str = "", expected: type[NextperiodError] = BatchRefused
) -> NextperiodError:
    with serve(answer if callable(answer) else lambda _: answer) as server:
        recipe = recipe_at(server, source)
        with pytest.raises(expected) as caught:
            read(recipe)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "answer",
    [
        response(CSV, Content_Type="text/csv; charset=utf-8"),
        response(CSV),
        response(CSV.replace(",", "\t"), Content_Type="text/tab-separated-values"),
        response(CSV.replace(",", ";").encode("utf-16"), Content_Type="text/csv; charset=utf-16"),
        response("Sales\n\n" + CSV + "Source: tills\n", Content_Type="text/csv"),
        response(gzip.compress(CSV.encode()), Content_Type="text/csv", Content_Encoding="gzip"),
        response(gzip.compress(CSV.encode()), Content_Type="application/gzip"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (CSV[:7].encode(), CSV[7:].encode()))
        + b"0\r\n\r\n",
    ],
    ids=[
        "csv",
        "no content type",
        "tabs",
        "UTF-16 and semicolons",
        "preamble and footer",
        "content encoding",
        "packed file",
        "chunked",
    ],
)
def test_the_same_rows_are_read_however_they_are_sent(answer: bytes) -> None:
    assert [row for _, row in fetch_once(answer)] == TWO_ROWS


@pytest.mark.parametrize(
    "headers, sent",
    [("", f"nextperiod/{version('nextperiod')}"), ('headers = { user-agent = "me@example.org" }', "me@example.org")],
    ids=["ours", "the recipe's"],
)
def test_a_request_names_the_product_unless_the_recipe_names_another(headers: str, sent: str) -> None:
    with serve(lambda _: response(CSV)) as server:
        read(recipe_at(server, headers))

    assert [request.headers["user-agent"] for request in server.requests] == [sent]


def test_an_unchanged_document_costs_one_request_and_no_reading() -> None:
    def respond(request: Request) -> bytes:
        if request.headers.get("if-none-match") == '"v1"' and "if-modified-since" in request.headers:
            return b"HTTP/1.1 304 Not Modified\r\n\r\n"
        return response(CSV, ETag='"v1"', Last_Modified="Wed, 01 Jan 2020 00:00:00 GMT")

    with serve(respond) as server:
        first, _ = read(recipe_at(server))
        context = next_fetch(first)
        second, chunks = read(recipe_at(server), context)

    assert len(server.requests) == 2
    assert chunks == []
    assert (second.content_hash, second.state) == (first.content_hash, first.state)


@pytest.mark.parametrize("change", ["settings", "address", "hash"])
def test_the_state_of_another_request_is_not_used(change: str) -> None:
    with serve(lambda _: response(CSV, ETag='"v1"')) as server:
        first, _ = read(recipe_at(server))
        context = FetchContext(
            now=NOW, content_hash=None if change == "hash" else first.content_hash, state=first.state
        )
        other = 'missing = "reject"' if change == "settings" else ""
        read(recipe_at(server, other, "/other" if change == "address" else "/feed"), context)

    assert "if-none-match" not in server.requests[1].headers


def test_the_hash_does_not_depend_on_the_address() -> None:
    with serve(lambda request: response(CSV + "2020-03-01,3\n" * (request.path == "/more"))) as server:
        hashes = [read(recipe_at(server, path=path))[0].content_hash for path in ("/a", "/b", "/more")]

    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("newest", "since"),
    [
        (None, "1999-12-31"),
        (np.datetime64("2026-01-31T00:00", "us"), "2026-01-31"),
        (np.datetime64("2026-01-31T05:00", "us"), "2026-01-31T05:00:00Z"),
    ],
)
def test_since_is_filled_with_the_newest_stored_period(newest: np.datetime64 | None, since: str) -> None:
    with serve(lambda _: response(CSV)) as server:
        recipe = recipe_at(server, 'since = "1999-12-31"', "/feed?after={since}&x=1")
        delivery, _ = read(recipe, FetchContext(now=NOW, newest_period=newest))

    assert server.requests[0].query == {"after": since, "x": "1"}
    assert ":" not in server.requests[0].target
    assert delivery.incremental


@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
def test_an_empty_increment_is_accepted_but_an_empty_first_fetch_is_not(form: str) -> None:
    empty = {"csv": "month,sold\n", "jsonl": "", "json": "[]"}[form]
    with serve(lambda _: response(empty)) as server:
        recipe = recipe_at(server, f'format = "{form}"', "/feed?after={since}")
        _, chunks = read(recipe, FetchContext(now=NOW, newest_period=np.datetime64("2026-01-31", "us")))
        with pytest.raises(BatchRefused, match="holds"):
            read(recipe)

    assert rows_in(chunks) == []


def test_variables_are_read_from_the_environment_or_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    monkeypatch.setenv("FEED_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("FEED_PATH", "feed")

    with serve(lambda _: response(CSV)) as server:
        read(recipe_at(server, 'headers = {Authorization = "Bearer ${FEED_TOKEN}"}', "/${FEED_PATH}"))

    assert server.requests[0].path == "/feed"
    assert server.requests[0].headers["authorization"] == "Bearer from-a-file"


def test_a_missing_variable_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FEED_TOKEN", raising=False)
    recipe = recipe_at(Server(host="127.0.0.1:1"), 'headers = {Authorization = "Bearer ${FEED_TOKEN}"}')

    with pytest.raises(SourceMissing, match="needs FEED_TOKEN, which is not set: set FEED_TOKEN or FEED_TOKEN_FILE"):
        read(recipe)

    monkeypatch.setenv("FEED_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(SourceMissing, match="FEED_TOKEN_FILE names a file that cannot be read: No such file"):
        read(recipe)


PAGE = "<!doctype html>\n<title>Log in\x1b[31m</title>" + "x" * 500


@pytest.mark.parametrize(
    ("answer", "expected", "message"),
    [
        (response(status=500), SourceUnavailable, "answers with status 500: it is away or overloaded, try again later"),
        (response(status=503), SourceUnavailable, "answers with status 503"),
        (response(status=429), SourceUnavailable, "answers with status 429"),
        (response(status=404), SourceMissing, "answers with status 404: there is no such document"),
        (response(status=410), SourceMissing, "answers with status 410"),
        (response(status=401), BatchRefused, "answers with status 401: expected a login that it accepts"),
        (response(status=403), BatchRefused, "answers with status 403"),
        (response(status=400), BatchRefused, "answers with status 400: expected 200"),
        (response(CSV, status=206), BatchRefused, "answers with status 206: expected 200"),
        (response(status=204), BatchRefused, "answers with status 204: expected 200"),
        (response(status=304), BatchRefused, "answers with status 304: expected 200"),
        (response(status=302), BatchRefused, "answers with status 302 and no address"),
        (
            response(status=302, Location="https://login.example/"),
            BatchRefused,
            "redirects to login.example: expected 127",
        ),
        (response(status=302, Location="ftp://127.0.0.1/"), BatchRefused, "leads to the scheme ftp: expected https"),
        (response(status=302, Location="/feed"), BatchRefused, "redirects more than 5 times"),
        (
            response(PAGE, Content_Type="text/html"),
            BatchRefused,
            r'a page, not with csv: "<!doctype html>\n<title>Log in\x1b[31m',
        ),
        (
            response(gzip.compress(PAGE.encode()), Content_Type="text/html", Content_Encoding="gzip"),
            BatchRefused,
            'answers with a page, not with csv: "<!doctype',
        ),
        (response(PAGE), BatchRefused, "is not a CSV file, it begins with"),
        (
            response(CSV, Content_Type="image/png"),
            BatchRefused,
            "the content type image/png: expected one of text/csv,",
        ),
        (response(CSV, Content_Encoding="br"), BatchRefused, "the content encoding br: expected gzip or none"),
        (
            response(CSV, Content_Length="999"),
            BatchRefused,
            "ends before all of it was sent: it is cut; fetch it again",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nmonth\r\n",
            BatchRefused,
            "ends before all of it was sent",
        ),
        (response(gzip.compress(CSV.encode())[:-9], Content_Encoding="gzip"), BatchRefused, "cannot be unpacked"),
        (response(""), BatchRefused, "is empty: expected a header line and rows"),
        (b"", SourceUnavailable, "cannot be reached"),
        (b"garbage\r\n\r\n", SourceUnavailable, "cannot be reached"),
    ],
)
def test_an_answer_that_is_not_the_document_is_refused(
    answer: bytes, expected: type[NextperiodError], message: str
) -> None:
    error = fetch_error(answer, expected=expected)

    assert message in str(error)
    assert len(str(error)) < 600


def test_a_server_that_is_away_is_unavailable() -> None:
    with serve(lambda _: b"") as server:
        recipe = recipe_at(server)

    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        read(recipe)


def test_a_host_that_is_not_known_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(SourceUnavailable, match="the host feed.example is not known"):
        read(recipe_at(Server(host="x"), url="https://feed.example/a"))


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nX: ", response(CSV, Content_Length="99999")])
def test_a_server_that_sends_byte_by_byte_is_given_up_at_the_deadline(begun: bytes) -> None:
    with_server: list[Server] = []

    def drops(_: Request) -> Iterator[bytes]:
        yield begun
        while not with_server[0].stopped.wait(0.02):
            yield b"1"

    with serve(drops) as server:
        with_server.append(server)
        with pytest.raises(SourceUnavailable, match="does not answer in time: try again later"):
            read(recipe_at(server, "timeout_seconds = 0.3"))


def test_an_answer_that_is_too_large_is_refused() -> None:
    with_length = response(CSV * 100)
    without = b"HTTP/1.1 200 OK\r\n\r\n" + CSV.encode() * 100

    for answer in (with_length, without):
        error = fetch_error(answer, "max_gib = 0.000001")
        assert "is larger than 1e-06 GiB, the recipe's source.max_gib" in str(error)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::", False),
    ],
)
def test_private_addresses_are_recognised_in_every_notation(address: str, public: bool) -> None:
    assert is_public(address) == public


def test_a_private_address_is_refused_unless_the_recipe_lists_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: object, **options: object) -> object:
        if host == "feed.example":
            looked_up.append(host)
            return real("127.0.0.1", port, type=socket.SOCK_STREAM)
        return real(host, port, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    with serve(lambda _: response(CSV)) as server:
        port = server.host.split(":")[1]
        with pytest.raises(BatchRefused, match="leads to 127.0.0.1, an address of a private network"):
            read(recipe_at(server, url=f"https://feed.example:{port}/"))
        with pytest.raises(
            BatchRefused, match=r"leads to feed.example without TLS: expected https, or feed.example in"
        ):
            read(recipe_at(server, url=f"http://feed.example:{port}/"))
        assert server.requests == []

        looked_up.clear()
        rows = read_rows(recipe_at(server, 'hosts = ["Feed.Example"]', url=f"http://feed.example:{port}/"))

    assert rows == TWO_ROWS
    assert looked_up == ["feed.example"]


def test_a_redirect_is_followed_without_secrets_to_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEED_TOKEN", "planted-secret")

    with serve(lambda _: response(CSV)) as other:

        def lead(request: Request) -> bytes:
            return response(status=302, Location="/b" if request.path == "/feed" else f"{other.url}/c")

        with serve(lead) as server:
            hosts = f'hosts = ["{server.host}", "{other.host}"]\nheaders = {{X-Key = "${{FEED_TOKEN}}"}}'
            rows = read_rows(recipe_at(server, hosts))

    assert rows == TWO_ROWS
    assert [request.headers.get("x-key") for request in server.requests] == ["planted-secret"] * 2
    assert [request.headers.get("x-key") for request in other.requests] == [None]


def test_a_redirect_to_a_private_address_is_refused() -> None:
    with serve(lambda _: response(CSV)) as inside, serve(lambda _: response(status=302, Location=inside.url)) as server:
        port = inside.host.split(":")[1]

        with pytest.raises(BatchRefused, match="leads to 127.0.0.1 without TLS"):
            read(recipe_at(server))

    assert inside.requests == []
    assert port


def certificate(folder: Path) -> ssl.SSLContext:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "pair.pem").write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")
    return context


def test_the_certificate_must_match_the_host_though_its_address_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(lambda _: response(CSV), certificate(tmp_path)) as server:
        port = server.host.split(":")[1]

        with pytest.raises(SourceUnavailable, match="certificate"):
            read(recipe_at(server, 'hosts = ["localhost"]', url=f"https://localhost:{port}/"))

        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pair.pem"))
        assert read_rows(recipe_at(server, 'hosts = ["localhost"]', url=f"https://localhost:{port}/")) == TWO_ROWS
        with pytest.raises(SourceUnavailable, match="certificate"):
            read(recipe_at(server, 'hosts = ["127.0.0.1"]', url=f"https://127.0.0.1:{port}/"))


SECRET = "pl4nted/secret+%41"

FAILURES = {
    "500": response(status=500),
    "404": response(status=404),
    "401": response(f"no: {SECRET}", status=401),
    "redirect": response(status=302, Location=f"https://{'x'}.example/?k={SECRET}"),
    "page": response(f"<html>{SECRET}", Content_Type="text/html"),
    "json": response(f'{{"bad": "{SECRET}"}}'),
    "type": response(CSV, Content_Type=f"image/{SECRET}"),
    "cut": response(CSV, Content_Length="999"),
    "closed": b"",
    "garbage": f"{SECRET}\r\n\r\n".encode(),
    "too large": response(CSV * 100, Content_Length="99999999999999"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_no_http_error_shows_a_secret(failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEED_TOKEN", SECRET)

    with serve(lambda _: FAILURES[failure]) as server:
        recipe = recipe_at(server, 'headers = {X-Key = "${FEED_TOKEN}"}', "/feed?key=${FEED_TOKEN}")
        with pytest.raises(NextperiodError) as caught:
            read(recipe)

    shown = str(caught.value) + "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert "pl4nted" not in shown


@pytest.mark.parametrize("secret", ["two\nlines", "é"])
def test_an_invalid_header_is_named_without_its_value(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEED_TOKEN", secret)

    with pytest.raises(SourceMissing) as caught:
        read(recipe_at(Server(host="127.0.0.1:1"), 'headers = {X-Key = "${FEED_TOKEN}"}'))

    assert str(caught.value) == 'the header "X-Key" of the recipe small cannot be sent: expected visible ASCII'


@pytest.mark.parametrize("url", ["https://[::1", "no address", "https://x\\u0000y/"])
def test_an_invalid_address_is_missing_or_refused(url: str) -> None:
    with pytest.raises((SourceMissing, BatchRefused), match="is no address|leads to the scheme"):
        read(recipe_at(Server(host="127.0.0.1:1"), url=url))


def test_a_password_in_the_recipe_is_refused() -> None:
    with pytest.raises(SourceMissing, match=r"holds a password: expected \$\{NAME\} in its place") as caught:
        read(recipe_at(Server(host="x"), url="https://me:hunter2@feed.example/"))

    assert "hunter2" not in str(caught.value)


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRecipe, match="'csv', 'jsonl' or 'json'"):
        recipe_at(Server(host="x"), 'format = "xml"')


# JSON


def records(body: str | bytes, form: str = "jsonl", source: str = "") -> tuple[Delivery, list[Chunk]]:
    with serve(lambda _: response(body)) as server:
        return read(recipe_at(server, f'format = "{form}"\n{source}'))


def json_error(body: str | bytes, form: str = "json", source: str = "") -> str:
    with pytest.raises(BatchRefused) as caught:
        records(body, form, source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_json_lines_are_read_as_text_with_numbers_as_written() -> None:
    lines = [
        '{"month": "2020-01-01", "sold": 0.10, "shop": "a"}',
        "",
        '\t{"sold": 1e400, "month": "2020-02-01", "other": {"deep": [1]}}',
        '{"month": null, "sold": NaN}',
        '{"month": true, "sold": -Infinity, "shop": ""}',
        '{"sold": ' + "1" * 5000 + "}",
    ]

    _, chunks = records("\ufeff" + "\n".join(lines), source='series = "shop"')

    assert names_in(chunks) == ["month", "sold", "shop"]
    assert rows_in(chunks) == [
        (1, ("2020-01-01", "0.10", "a")),
        (4, ("", "NaN", "")),
        (5, ("true", "-Infinity", "")),
        (6, ("", "1" * 5000, "")),
    ]
    assert rejections_in(chunks) == [
        Rejection(line=3, column="other", rule="holds an object or a list: expected a text, a number or null")
    ]


@pytest.mark.parametrize(
    ("line", "column", "rule"),
    [
        ('{"month": "2020-01-01", "sold": 1, "sold": 2}', "sold", "is there twice in one object: expected it once"),
        ('{"month": "2020-01-01", "sold": [1]}', "sold", "holds an object or a list"),
        ("[1, 2]", None, "is not an object: expected keys with values"),
        ("1", None, "is not an object"),
        ('{"month": "2020-01-01", "so', None, "is not JSON (is the file cut?)"),
        ('{"month": 1} {"month": 2}', None, "holds more than one JSON value: expected one object a line"),
        ('{"month": "\\ud800"}', None, "holds half a character: expected UTF-8"),
        ("[" * 100_000, None, "is not JSON"),
        ('{"sold": 01}', None, "is not JSON"),
    ],
)
def test_a_json_line_that_is_no_flat_object_is_rejected(line: str, column: str | None, rule: str) -> None:
    _, chunks = records(f'{{"month": "2020-01-01", "sold": 1}}\n{line}\n')

    (rejection,) = rejections_in(chunks)
    assert (rejection.line, rejection.column) == (2, column)
    assert rule in rejection.rule
    assert len(rows_in(chunks)) == 1


def test_json_lines_without_the_named_columns_deliver_all_their_keys() -> None:
    body = '{"month": "2020-01-01", "price": 1}\n{"month": "2020-02-01", "note": "x"}\n'

    assert names_in(records(body)[1]) == ["month", "price", "note"]
    wide = 'kind = "http"\nlayout = "wide"\nperiod = "month"\nformat = "jsonl"\n'
    with serve(lambda _: response(body)) as server:
        recipe = recipe_with(f'{wide}url = "{server.url}/"\nhosts = ["{server.host}"]')
        assert read_rows(recipe) == [("2020-01-01", "1", ""), ("2020-02-01", "", "x")]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ('[{"month": "2020-01-01", "sold": 1}, {"sold": 2.5, "month": "2020-02-01"}]', ""),
        (
            '{"meta": {"data": [7]}, "data": {"n": 2, "items": [{"month": "2020-01-01", "sold": 1},'
            ' {"month": "2020-02-01", "sold": 2.5} ]}, "next": null}\n',
            "data.items",
        ),
    ],
)
def test_the_list_of_a_json_document_is_found_by_its_path(document: str, path: str) -> None:
    _, chunks = records(document, "json", f'records = "{path}"')

    assert rows_in(chunks) == [(1, TWO_ROWS[0]), (2, TWO_ROWS[1])]


def test_a_document_keeps_numbers_as_they_are_written_and_rejects_single_records() -> None:
    document = (
        '{"note": 1, "note": 2, "data": [{"month": "a", "sold": 0.10}, {"month": "b", "sold": '
        + "1" * 5000
        + '}, {"month": "c", "sold": NaN}, {"month": "d", "month": "e"}, {"month": {}}, {"month": {"a": 1, "a": 2}}, 7]}'
    )

    _, chunks = records(document, "json", 'records = "data"')

    assert rows_in(chunks) == [(1, ("a", "0.10")), (2, ("b", "1" * 5000)), (3, ("c", "NaN"))]
    nested = "holds an object or a list: expected a text, a number or null"
    assert rejections_in(chunks) == [
        Rejection(line=4, column="month", rule="is there twice in one object: expected it once"),
        Rejection(line=5, column="month", rule=nested),
        Rejection(line=6, column="month", rule=nested),
        Rejection(line=7, rule="is not an object: expected keys with values"),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_records_of_a_nested_document_equal_those_that_were_written(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = [{"month": f"m{n}", "sold": int(generator.integers(9))} for n in range(generator.integers(1, 5))]
    document: object = rows
    for _ in range(generator.integers(0, 4)):
        before = {f"b{n}": [{"at": n}, "}]"] for n in range(generator.integers(0, 3))}
        document = {**before, "at": document, "after": {"at": {}}}
    depth = json.dumps(document, indent=int(generator.integers(0, 3)) or None)
    levels = 0
    while isinstance(document, dict):
        document, levels = document["at"], levels + 1

    _, chunks = records(depth, "json", f'records = "{".".join(["at"] * levels)}"')

    assert [row for _, row in rows_in(chunks)] == [(row["month"], str(row["sold"])) for row in rows]


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ('{"data": []', "data", """has "the end" at character 11: Expecting ',' delimiter; it may be cut"""),
        ('{"data": [{"month": "a", "sold": 1}', "data", """has "the end" at character 35: Expecting ',' delimiter"""),
        ('[{"month": "a", "sold": 1}] x', "", 'has "x" at character 28: Extra data'),
        ('[{"month": "a", "sold": 1},]', "", 'has "]" at character 27: Expecting value'),
        ('{"a": 1,}', "data", 'has "}" at character 8: Expecting property name'),
        ('{"a" 1}', "data", """has "1}" at character 5: Expecting ':' delimiter"""),
        ('{"a": "x\ny"}', "data", 'has "\\ny"}" at character 8: Invalid control character at'),
        ('{"data": [{"sold": 01}]}', "data", """has "1}]}" at character 20: Expecting ',' delimiter"""),
        ("[" * 100_000, "", "has objects or lists that are nested too deeply to be read"),
        ('{"a": ' * 100_000, "data", "has objects or lists that are nested too deeply to be read"),
        (
            '{"other": [], "more": 1}',
            "data",
            "has the key data 0 times: expected source.records once, found other, more",
        ),
        ('{"data": [], "data": []}', "data", "has the key data 2 times"),
        ("{}", "data", "has the key data 0 times"),
        ('{"data": [], "data": 1, "more": 2}', "data", "once, found data, data, more"),
        ('{"data": {"x": 1}}', "data", "has no list at data: expected a list of records, which source.records names"),
        ('{"data": {"x": 1, "x": 2}}', "data", "has no list at data: expected a list of records"),
        ('{"data": [1]}', "data.items", "has no object at data: expected one with the key items"),
        ("1", "items", "has no object at the top: expected one with the key items"),
        ("[]", "", "holds no records: expected some with month, sold"),
        ("{}", "", "has no list at the top: expected a list of records"),
        ("", "", 'has "the end" at character 0: Expecting value'),
        ("<html>\x1b", "", r'is not JSON, it begins with "<html>\x1b"'),
        (b"[\xff]", "", "is not UTF-8: byte 0xff at offset 1"),
    ],
)
def test_a_json_document_that_is_cut_or_has_no_list_is_refused(document: str | bytes, path: str, message: str) -> None:
    assert message in json_error(document, "json", f'records = "{path}"')


@pytest.mark.parametrize(
    ("body", "form", "message"),
    [
        ('[{"month": 1}]', "json", "ask for jsonl or csv"),
        ('{"a":1}\n{"month": 1}', "jsonl", "in line 2"),
        ('{"a":1}\n{"b":1}', "jsonl", "different keys"),
        ("1\n1\n1\n", "jsonl", "records that are no flat objects"),
        ("[1,1]", "json", "records that are no flat objects"),
        ("[{},{},{}]", "json", "more than 5 values, which one JSON document may have: ask for jsonl"),
    ],
)
def test_documents_and_lines_above_a_limit_are_refused(tmp_path: Path, body: str, form: str, message: str) -> None:
    (tmp_path / "body").write_text(body)
    recipe = recipe_at(Server(host="x"), f'format = "{form}"')
    assert isinstance(recipe.source, HttpSource)
    file = File(path=tmp_path / "body", name="body")
    limits = JsonLimits(document_bytes=10, document_values=5, line_bytes=10, columns=1, unreadable=1)

    with pytest.raises(BatchRefused, match=message):
        list(json_delivery(file, recipe, recipe.source, may_be_empty=False, limits=limits).chunks())


def test_the_body_is_gone_when_the_delivery_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with serve(lambda _: response(CSV)) as server, fetch(recipe_at(server), FIRST_FETCH) as delivery:
        assert len(list(tmp_path.iterdir())) == 1
        assert rows_in(list(delivery.chunks())) == [(2, TWO_ROWS[0]), (3, TWO_ROWS[1])]

    assert list(tmp_path.iterdir()) == []
