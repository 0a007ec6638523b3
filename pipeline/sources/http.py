"""Documents behind a web address: downloaded only if they changed, and accepted only if they are complete."""

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
from pipeline.sources.csv_file import csv_delivery
from pipeline.sources.delivery import Delivery, FetchContext
from pipeline.sources.environment import fill_variables, mask_secrets, refuse_literal_password
from pipeline.sources.file import Compression, File, hint_suffix, refuse, refuse_too_large
from pipeline.sources.json_records import json_delivery
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
#: accepted content types by format
CONTENT_TYPES: dict[str, tuple[str, ...]] = {
    "csv": (
        "text/csv",
        "text/tab-separated-values",
        "text/plain",
        "application/csv",
        "text/x-csv",
        "application/vnd.ms-excel",
        *_BINARY,
    ),
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
_HTML = ("text/html", "application/xhtml+xml")
_MAGIC_BYTES: dict[bytes, Compression] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
#: request timeout, too early, too many requests
_TEMPORARY_STATUS = (408, 425, 429)
_MISSING_STATUS = (404, 410)
_LOGIN_STATUS = (401, 403, 407)


@contextmanager
def fetch_http(recipe: Recipe, source: HttpSource, context: FetchContext) -> Iterator[Delivery]:
    """Deliver all records of the recipe's document; no chunk, after one request, if it did not change.

    Raises:
        SourceMissing: there is no such document, or a variable is not set.
        SourceUnavailable: it cannot be read right now.
        BatchRefused: the answer is not the document, or is cut.
    """
    request = _build_request(recipe, source, context)
    with tempfile.TemporaryDirectory(prefix="nextperiod-") as folder:
        path = Path(folder) / "body"
        with _translated_errors(request):
            state = _download(request, source, path)
            if state is None:
                delivery = _unchanged_delivery(request, context)
            else:
                delivery = replace(_body_delivery(request, recipe, source, path), state=state)
        yield replace(delivery, incremental=request.incremental)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    url: str
    headers: Mapping[str, str]
    #: headers that ask for the document only if it changed
    conditions: Mapping[str, str]
    #: values that no message may show
    secrets: tuple[str, ...]
    #: the address in messages
    shown: str
    #: hash of the address and the settings: the state of another request is not used
    key: str
    incremental: bool
    may_be_empty: bool


def _build_request(recipe: Recipe, source: HttpSource, context: FetchContext) -> _Request:
    refuse_literal_password(source.url, recipe.name)
    url, secrets = fill_variables(source.url, recipe=recipe.name)
    url = url.replace("{since}", quote(_format_since(source, context), safe=""))
    headers, header_secrets = _fill_headers(source, recipe.name)
    key = hashlib.sha256(f"{url}\0{source.settings}".encode()).hexdigest()
    incremental = "{since}" in source.url
    return _Request(
        url=url,
        headers=headers,
        conditions=_conditional_headers(context, key),
        secrets=secrets + header_secrets,
        shown=without_secrets(source.url),
        key=key,
        incremental=incremental,
        may_be_empty=source.on_empty == "keep" or (incremental and context.newest_period is not None),
    )


def _fill_headers(source: HttpSource, recipe: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the recipe's headers with their variables filled in, and the values of those."""
    headers: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    for name, template in source.headers.items():
        headers[name], values = fill_variables(template, recipe=recipe)
        secrets += values
        if not all(text.isascii() and text.isprintable() for text in (name, headers[name])):
            raise SourceMissing(f'the header "{name}" of the recipe {recipe} cannot be sent: expected visible ASCII')
    return headers, secrets


def _format_since(source: HttpSource, context: FetchContext) -> str:
    """Return the newest stored period in ISO 8601: a date for a midnight, otherwise an instant in UTC."""
    newest = context.newest_period
    if newest is None:
        return source.since
    day = newest.astype("datetime64[D]")
    return str(day) if day == newest else f"{np.datetime_as_string(newest, 's')}Z"


def _conditional_headers(context: FetchContext, key: str) -> dict[str, str]:
    if context.content_hash is None or context.state.get("key") != key:
        return {}
    headers = {"If-None-Match": context.state.get("etag"), "If-Modified-Since": context.state.get("last_modified")}
    return {name: value for name, value in headers.items() if value}


def _unchanged_delivery(request: _Request, context: FetchContext) -> Delivery:
    return Delivery(
        source=request.shown, content_hash=str(context.content_hash), chunks=tuple, state=dict(context.state)
    )


def _body_delivery(request: _Request, recipe: Recipe, source: HttpSource, path: Path) -> Delivery:
    with path.open("rb") as body:
        magic = body.read(4)
    compression: Compression = next((value for prefix, value in _MAGIC_BYTES.items() if magic.startswith(prefix)), "")
    file = File(path=path, name=request.shown, compression=compression)
    if source.format == "csv":
        return csv_delivery((file,), recipe, source, name=request.shown, may_be_empty=request.may_be_empty)
    return json_delivery(file, recipe, source, may_be_empty=request.may_be_empty)


def _download(request: _Request, source: HttpSource, path: Path) -> dict[str, str] | None:
    """Write the body to `path` and return the state for the next fetch; None if the document did not change."""
    import httpx

    from pipeline.sources.http_client import RequestPolicy, open_response

    try:
        url = httpx.URL(request.url)
    except httpx.InvalidURL:
        raise SourceMissing(f"{request.shown} is no address: expected https://HOST/PATH{hint_suffix(source)}") from None
    deadline = time.monotonic() + source.timeout_seconds
    policy = RequestPolicy(shown=request.shown, hosts=source.hosts, deadline=deadline)
    with open_response(url, request.headers, request.conditions, policy) as response:
        if response.status_code == 304 and request.conditions:
            return None
        _check_status(response, request, source)
        _check_type(response, request, source)
        _save_body(response, request, source, path)
        validators = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
    return {"key": request.key} | {name: value for name, value in validators.items() if value}


def _check_status(response: httpx.Response, request: _Request, source: HttpSource) -> None:
    status = response.status_code
    if status in _TEMPORARY_STATUS or status >= 500:
        raise SourceUnavailable(
            f"{request.shown} answers with status {status}: it is away or overloaded, try again later"
        )
    if status in _MISSING_STATUS:
        raise SourceMissing(
            f"{request.shown} answers with status {status}: there is no such document{hint_suffix(source)}"
        )
    if status in _LOGIN_STATUS:
        refuse(request.shown, f"answers with status {status}: expected a login that it accepts", "status")
    if status != 200:
        refuse(request.shown, f"answers with status {status}: expected 200", "status")


def _check_type(response: httpx.Response, request: _Request, source: HttpSource) -> None:
    content_type = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if content_type in _HTML:
        beginning = _read_beginning(response)
        refuse(request.shown, f'answers with a page, not with {source.format}: "{beginning}"', "not data")
    accepted = CONTENT_TYPES[source.format]
    if content_type and content_type not in accepted and not content_type.endswith(f"+{source.format}"):
        refuse(
            request.shown,
            f"answers with the content type {content_type}: expected one of {', '.join(accepted)}",
            "not data",
        )
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        refuse(request.shown, f"answers with the content encoding {encoding}: expected gzip or none", "not data")


def _read_beginning(response: httpx.Response) -> str:
    """Return the first 200 characters of a page."""
    content = next(response.iter_raw(4096), b"")
    if content.startswith(b"\x1f\x8b"):
        try:
            content = zlib.decompressobj(31).decompress(content, 4096)
        except zlib.error:
            content = b""
    return " ".join(content.decode("utf-8", "replace").split(" "))[:200]


def _save_body(response: httpx.Response, request: _Request, source: HttpSource, path: Path) -> None:
    """Write the body to `path` as it is sent; one that is larger than allowed is refused as early as possible."""
    import httpcore

    max_bytes = source.max_gib * 2**30
    if int(response.headers.get("Content-Length", 0)) > max_bytes:
        refuse_too_large(request.shown, source.max_gib)
    with path.open("wb") as body:
        try:
            for block in response.iter_raw():
                body.write(block)
                if body.tell() > max_bytes:
                    refuse_too_large(request.shown, source.max_gib)
        except httpcore.RemoteProtocolError:
            refuse(request.shown, "ends before all of it was sent: it is cut; fetch it again", "cut")


@contextmanager
def _translated_errors(request: _Request) -> Iterator[None]:
    """Replace the errors of a download by ours, and mask secrets in all of them."""
    import httpcore

    try:
        yield
    except BatchRefused as error:
        message = mask_secrets(str(error), request.secrets)
        raise BatchRefused(message, error.rejections, source=error.source) from None
    except (SourceMissing, SourceUnavailable) as error:
        raise type(error)(mask_secrets(str(error), request.secrets)) from None
    except (httpcore.TimeoutException, TimeoutError):
        raise SourceUnavailable(
            f"{request.shown} does not answer in time: try again later, or raise source.timeout_seconds"
        ) from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise SourceUnavailable(
            f"{request.shown} cannot be reached: {mask_secrets(str(error), request.secrets)}"
        ) from None
