"""Checks of `nextperiod doctor` that ask a server: its version, its clock, and whether it lets anybody in."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from ipaddress import ip_address
from urllib.parse import urlsplit

from flows.cli.findings import Finding, failure, ok, warning
from flows.context import require_prefect, utc_now
from pipeline.config.settings import Settings
from pipeline.errors import PrefectUnavailable
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema, revision_of
from pipeline.storage.server import read_server
from pipeline.text import without_secrets
from pipeline.tracking.registry import Registry

#: clocks that differ by less are taken to agree
_CLOCK_TOLERANCE = timedelta(minutes=1)
_REQUEST_SECONDS = 10.0
_UNAUTHORIZED = (401, 403)

Clock = Callable[[], datetime]
#: whether a host, a name or an address, has a public address
IsPublic = Callable[[str], bool]


def is_public(host: str) -> bool:
    """Return whether a name or an address leads to a public address; False for an empty or an unknown name."""
    if not host:
        return False
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return any(ip_address(address.partition("%")[0]).is_global for address in addresses)


def check_database(settings: Settings, *, clock: Clock = utc_now, is_public: IsPublic = is_public) -> Iterator[Finding]:
    """Check the connection, the schema, the clock, and that a database at a public address asks who connects.

    Raises:
        NextperiodError: the database cannot be used, or its schema does not fit.
    """
    with closing(open_database(settings.database_url)) as database:
        require_schema(database)
        before = clock()
        server = read_server(database)
        skew = _describe_skew(server.now, before, clock())
        revision = revision_of(database)
    if skew is not None:
        yield failure(
            f"the clock of the database {database.shown} {skew}: instants are stored wrong; synchronize both clocks, "
            "for example with chrony"
        )
    if server.asks_who_connects is False and is_public(server.address):
        yield failure(
            f"{database.shown} is at the public address {server.address} and trusts whoever connects: replace trust by "
            "scram-sha-256 in pg_hba.conf and reload it, or give the server a private address"
        )
    yield ok(f"{database.shown}, {server.name}, schema {revision}")


def check_mlflow(settings: Settings, *, is_public: IsPublic = is_public) -> Iterator[Finding]:
    """Check that MLflow answers, and of a server also the version and that it asks who connects.

    Raises:
        RegistryUnavailable: MLflow cannot be used.
    """
    registry = Registry(settings.tracking_uri, utc_now)
    experiments = registry.check()
    if not is_server(settings.tracking_uri):
        yield ok(f"{registry.address}: {experiments}")
        return
    server = registry.server_version()
    yield from _compare_versions("MLflow", registry.address, server, version("mlflow"))
    if is_public(_host(settings.tracking_uri)):
        answer = _get(f"{_without_user(settings.tracking_uri)}/api/2.0/mlflow/experiments/search?max_results=1")
        if answer is not None and answer.status == 200:
            yield failure(
                f"MLflow at {registry.address} has a public address and lets anybody change models: start it with "
                "`mlflow server --app-name basic-auth`, or give it a private address"
            )
    yield ok(f"{registry.address}: {experiments}, version {server or 'unknown'}")


def check_prefect(settings: Settings, *, clock: Clock = utc_now, is_public: IsPublic = is_public) -> Iterator[Finding]:
    """Check that a Prefect server is healthy, its version, its clock, and that it asks who connects.

    Raises:
        PrefectUnavailable: it does not answer.
    """
    url, shown = settings.prefect_api_url.rstrip("/"), without_secrets(settings.prefect_api_url)
    if not url:
        yield ok("not used (PREFECT_API_URL is not set): a cycle runs its steps in its own process")
        return
    require_prefect(url)
    before = clock()
    answer = _get(f"{_without_user(url)}/admin/version")
    if answer is None:
        raise PrefectUnavailable(f"Prefect at {shown} is healthy and does not answer requests: restart it")
    skew = None if answer.date is None else _describe_skew(answer.date, before, clock())
    asks_who_connects = answer.status in _UNAUTHORIZED
    if asks_who_connects:
        answer = _get(f"{_without_user(url)}/admin/version", _prefect_credentials())
    server = str(answer.content) if answer is not None and answer.status == 200 else None
    yield from _compare_versions("Prefect", shown, server, version("prefect"))
    if skew is not None:
        yield warning(
            f"the clock of Prefect at {shown} {skew}: runs start at the wrong time; synchronize both clocks, for example "
            "with chrony"
        )
    if not asks_who_connects and is_public(_host(url)):
        yield failure(
            f"Prefect at {shown} has a public address and lets anybody start runs: set PREFECT_SERVER_API_AUTH_STRING "
            "where it runs and PREFECT_API_AUTH_STRING here, or give it a private address"
        )
    yield ok(f"{shown} is healthy, version {server or 'unknown'}")


def is_server(tracking_uri: str) -> bool:
    """Return whether MLflow is a server, and not a store of this machine or a database."""
    return tracking_uri.startswith(("http://", "https://"))


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _describe_skew(server: datetime, before: datetime, after: datetime) -> str | None:
    """How a server's clock differs from this machine's, read before and after the request; None if they agree."""
    if server > after + _CLOCK_TOLERANCE:
        return f"is {(server - after).total_seconds():.0f} s ahead of that of this machine"
    if server < before - _CLOCK_TOLERANCE:
        return f"is {(before - server).total_seconds():.0f} s behind that of this machine"
    return None


def _compare_versions(name: str, shown: str, server: str | None, installed: str) -> Iterator[Finding]:
    """Yield a failure for another major version, and a warning for another minor one; other patches fit together."""
    if server is None or server.split(".")[:2] == installed.split(".")[:2]:
        return
    find = warning if server.split(".")[0] == installed.split(".")[0] else failure
    yield find(
        f"{name} at {shown} is version {server}, and version {installed} is installed here: install {installed} on the "
        f"server, with pip install {name.lower()}=={installed}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """What a server answers to a request."""

    status: int
    #: of its clock, to the second; None if it does not say
    date: datetime | None
    #: a JSON document; None if it is none
    content: object


def _get(url: str, headers: Mapping[str, str] | None = None) -> _Answer | None:
    """Request an address; None if there is no answer."""
    import httpx

    try:
        response = httpx.get(url, headers=headers, timeout=_REQUEST_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    content = None
    with suppress(ValueError):
        content = response.json()
    return _Answer(status=response.status_code, date=_parse_date(response.headers.get("date")), content=content)


def _parse_date(header: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return date if date.tzinfo else None


def _without_user(url: str) -> str:
    """An address without the user and the password in it, nor a slash at its end."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def _prefect_credentials() -> dict[str, str]:
    """The header with which Prefect's own client says who it is."""
    from prefect.settings import get_current_settings

    api = get_current_settings().api
    if api.auth_string is not None:
        encoded = b64encode(api.auth_string.get_secret_value().encode()).decode()
        return {"Authorization": f"Basic {encoded}"}
    return {"Authorization": f"Bearer {api.key.get_secret_value()}"} if api.key is not None else {}
