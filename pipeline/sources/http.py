"""Documents behind an address: asked for only when they changed, and taken only when they are whole."""

from __future__ import annotations

import hashlib
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.config.sources import HttpSource
from pipeline.errors import BatchRefused, SourceMissing, SourceUnavailable
from pipeline.sources.csv_file import delivery_of_csv
from pipeline.sources.delivery import Delivery, FetchContext
from pipeline.sources.environment import filled, masked, refuse_literal_password
from pipeline.sources.file import File, Packing, hint, refuse
from pipeline.sources.json_records import delivery_of_json
from pipeline.text import without_secrets

if TYPE_CHECKING:
    import httpx

_BINARY = (
    "application/octet-stream",
    "binary/octet-stream",
    "application/gzip",
    "application/x-gzip",
    "application/zstd",
)
CONTENT_TYPES: dict[str, tuple[str, ...]] = {
    "csv": ("text/csv", "text/plain", "application/csv", "text/x-csv", "application/vnd.ms-excel", *_BINARY),
    "jsonl": (
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/jsonlines",
        "application/json",
        "text/plain",
        *_BINARY,
    ),
    "json": ("application/json", "text/json", "text/plain", *_BINARY),
}
_PAGES = ("text/html", "application/xhtml+xml")
_PACKINGS: dict[bytes, Packing] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_TRY_AGAIN = (408, 425, 429)
_GONE = (404, 410)
_LOCKED = (401, 403, 407)


@contextmanager
def fetch_http(recipe: Recipe, context: FetchContext) -> Iterator[Delivery]:
    """All records of the recipe's document; nothing, after one request, where it did not change.

    Raises:
        SourceMissing: there is no such document, or a variable is not set.
        SourceUnavailable: it cannot be read right now.
        BatchRefused: the answer is not the document, or not all of it.
    """
    source = recipe.source
    assert isinstance(source, HttpSource)
    request = _request(recipe, source, context)
    with tempfile.TemporaryDirectory(prefix="nextperiod-") as folder:
        path = Path(folder) / "body"
        with _told(request):
            state = _download(request, source, path)
            delivery = _unchanged(request, context) if state is None else _read(request, recipe, path, state)
        yield replace(delivery, incremental=request.incremental)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    url: str
    headers: Mapping[str, str]
    #: headers that ask only for what is new
    conditions: Mapping[str, str]
    #: values that no message may show
    secrets: tuple[str, ...]
    #: as messages show it
    shown: str
    #: of the address and of the settings: what was left behind for another one is of no use
    key: str
    incremental: bool
    may_be_empty: bool


def _request(recipe: Recipe, source: HttpSource, context: FetchContext) -> _Request:
    refuse_literal_password(source.url, recipe.name)
    url, secrets = filled(source.url, recipe=recipe.name)
    url = url.replace("{since}", quote(_since(source, context), safe=""))
    headers = {}
    for name, written in source.headers.items():
        headers[name], values = filled(written, recipe=recipe.name)
        secrets += values
        if not (headers[name].isascii() and headers[name].isprintable() and name.isascii() and name.isprintable()):
            raise SourceMissing(
                f'the header "{name}" of the recipe {recipe.name} cannot be sent: expected visible ASCII'
            )
    key = hashlib.sha256(f"{url}\0{source.settings}".encode()).hexdigest()
    return _Request(
        url=url,
        headers=headers,
        conditions=_conditions(context, key),
        secrets=secrets,
        shown=without_secrets(source.url),
        key=key,
        incremental="{since}" in source.url,
        may_be_empty=source.on_empty == "keep" or ("{since}" in source.url and context.newest_period is not None),
    )


def _since(source: HttpSource, context: FetchContext) -> str:
    """The newest known period as ISO 8601: a date where it is one, else an instant in UTC."""
    if context.newest_period is None:
        return source.since
    day = context.newest_period.astype("datetime64[D]")
    return str(day) if day == context.newest_period else f"{np.datetime_as_string(context.newest_period, 's')}Z"


def _conditions(context: FetchContext, key: str) -> dict[str, str]:
    if context.content_hash is None or context.state.get("key") != key:
        return {}
    asked = {"If-None-Match": context.state.get("etag"), "If-Modified-Since": context.state.get("last_modified")}
    return {name: value for name, value in asked.items() if value}


def _unchanged(request: _Request, context: FetchContext) -> Delivery:
    return Delivery(
        source=request.shown, content_hash=str(context.content_hash), chunks=tuple, state=dict(context.state)
    )


def _read(request: _Request, recipe: Recipe, path: Path, state: Mapping[str, str]) -> Delivery:
    with path.open("rb") as body:
        magic = body.read(4)
    packing: Packing = next((packing for begins, packing in _PACKINGS.items() if magic.startswith(begins)), "")
    file = File(path=path, name=request.shown, packing=packing)
    delivery_of = delivery_of_csv if getattr(recipe.source, "format", "") == "csv" else delivery_of_json
    delivery = delivery_of((file,), recipe, source=request.shown, may_be_empty=request.may_be_empty)
    return replace(delivery, state=state)


def _download(request: _Request, source: HttpSource, path: Path) -> dict[str, str] | None:
    """Write the body to `path`; none where it is what it was."""
    import httpx

    from pipeline.sources.http_client import RequestPolicy, answer

    try:
        url = httpx.URL(request.url)
    except httpx.InvalidURL:
        raise SourceMissing(f"{request.shown} is no address: expected https://HOST/PATH{hint(source)}") from None
    deadline = time.monotonic() + source.timeout_seconds
    guard = RequestPolicy(shown=request.shown, hosts=source.hosts, deadline=deadline)
    with answer(url, request.headers, request.conditions, guard) as response:
        if response.status_code == 304 and request.conditions:
            return None
        _check_status(response, request, source)
        _check_type(response, request, source)
        _keep(response, request, source, path)
        found = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
    return {"key": request.key} | {name: value for name, value in found.items() if value}


def _check_status(response: httpx.Response, request: _Request, source: HttpSource) -> None:
    status = response.status_code
    if status in _TRY_AGAIN or status >= 500:
        raise SourceUnavailable(
            f"{request.shown} answers with status {status}: it is away or overloaded, try again later"
        )
    if status in _GONE:
        raise SourceMissing(f"{request.shown} answers with status {status}: there is no such document{hint(source)}")
    if status in _LOCKED:
        refuse(request.shown, f"answers with status {status}: expected a login that it accepts", "status")
    if status != 200:
        refuse(request.shown, f"answers with status {status}: expected 200", "status")


def _check_type(response: httpx.Response, request: _Request, source: HttpSource) -> None:
    content_type = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if content_type in _PAGES:
        beginning = _beginning(response)
        refuse(request.shown, f'answers with a page, not with {source.format}: "{beginning}"', "not data")
    expected = CONTENT_TYPES[source.format]
    if content_type and content_type not in expected and not content_type.endswith(f"+{source.format}"):
        refuse(
            request.shown,
            f"answers with the content type {content_type}: expected one of {', '.join(expected)}",
            "not data",
        )
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        refuse(request.shown, f"answers with the content encoding {encoding}: expected gzip or none", "not data")


def _beginning(response: httpx.Response) -> str:
    """The first 200 characters of a page."""
    content = next(response.iter_raw(4096), b"")
    if content.startswith(b"\x1f\x8b"):
        try:
            content = zlib.decompressobj(31).decompress(content, 4096)
        except zlib.error:
            content = b""
    return " ".join(content.decode("utf-8", "replace").split(" "))[:200]


def _keep(response: httpx.Response, request: _Request, source: HttpSource, path: Path) -> None:
    import httpcore

    most = source.max_gib * 2**30
    num_bytes = int(response.headers.get("Content-Length", 0))
    with path.open("wb") as body:
        blocks = response.iter_raw()
        while num_bytes <= most:
            try:
                block = next(blocks, None)
            except httpcore.RemoteProtocolError:
                refuse(request.shown, "ends before all of it was sent: it is cut; fetch it again", "cut")
            if block is None:
                return
            body.write(block)
            num_bytes = body.tell()
    refuse(
        request.shown,
        f"is larger than {source.max_gib:g} GiB, the recipe's source.max_gib: raise it if that is right",
        "too large",
    )


@contextmanager
def _told(request: _Request) -> Iterator[None]:
    """Tell each fault in our own words, without what is secret."""
    import httpcore

    try:
        yield
    except BatchRefused as error:
        told: Exception = BatchRefused(masked(str(error), request.secrets), error.rejections, source=error.source)
    except (SourceMissing, SourceUnavailable) as error:
        told = type(error)(masked(str(error), request.secrets))
    except (httpcore.TimeoutException, TimeoutError):
        told = SourceUnavailable(
            f"{request.shown} does not answer in time: try again later, or raise source.timeout_seconds"
        )
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        told = SourceUnavailable(f"{request.shown} cannot be reached: {masked(str(error), request.secrets)}")
    else:
        return
    raise told from None
