"""One GET that stays within bounds: of hosts, addresses, redirects, bytes and time."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

import httpcore
import httpx

from pipeline.errors import BatchRefused, Rejection

if TYPE_CHECKING:
    import ssl

MOST_REDIRECTS = 5
#: how requests name themselves, unless the recipe's headers do
USER_AGENT = f"nextperiod/{version('nextperiod')}"

_REDIRECTS = (301, 302, 303, 307, 308)
#: IPv4 addresses inside IPv6 ones that the network translates
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestPolicy:
    """Where a request may go."""

    #: as messages show what is asked for
    shown: str
    #: hosts that are meant although they are another's, private, or reached without TLS
    hosts: tuple[str, ...]
    #: by the monotonic clock
    deadline: float

    def lists(self, host: str, port: int | None) -> bool:
        """Whether the recipe names it."""
        listed = {name.lower().strip("[]") for name in self.hosts}
        return bool({host, f"{host}:{port}", f"[{host}]:{port}"} & (listed | set(self.hosts)))

    def check(self, url: httpx.URL, first: httpx.URL) -> None:
        """Refuse an address that the recipe does not mean.

        Raises:
            BatchRefused: its host or its scheme is another.
        """
        port = url.port or (443 if url.scheme == "https" else 80)
        listed = self.lists(url.host, port)
        if url.scheme not in ("https", "http") or not url.host:
            self.refuse(f"leads to the scheme {url.scheme}: expected https", "address")
        if url.scheme == "http" and not listed:
            self.refuse(f"leads to {url.host} without TLS: expected https, or {url.host} in source.hosts", "address")
        if url.host != first.host and not listed:
            self.refuse(
                f"redirects to {url.host}: expected {first.host} or a host in source.hosts; it may ask for a login",
                "redirect",
            )

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, each of them public or listed.

        Raises:
            BatchRefused: one of them is not.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the host {host} is not known: {error}") from None
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        private = next((address for address in addresses if not is_public(address)), None)
        if private is not None and not self.lists(host, port):
            self.refuse(
                f"leads to {private}, an address of a private network: expected a public one, or {host} in source.hosts",
                "address",
            )
        return addresses

    def remaining(self) -> float:
        """Seconds that are left.

        Raises:
            httpcore.ReadTimeout: none are.
        """
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise httpcore.ReadTimeout("the time is over")
        return seconds

    def refuse(self, what: str, rule: str) -> NoReturn:
        """Refuse the answer.

        Raises:
            BatchRefused: always.
        """
        raise BatchRefused(f"{self.shown} {what}", [Rejection(rule=rule)], source=self.shown)


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, also where it carries another one inside."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


@contextmanager
def answer(
    url: httpx.URL, headers: Mapping[str, str], conditions: Mapping[str, str], guard: RequestPolicy
) -> Iterator[httpx.Response]:
    """The answer behind all redirects, its body still to be read.

    Args:
        url: where to ask.
        headers: sent to no other origin than that of `url`.
        conditions: headers that are no secret.
        guard: where a request may go.

    Raises:
        SourceUnavailable: it does not answer in time.
        BatchRefused: it leads elsewhere.
    """
    with httpx.Client(transport=_Transport(guard), trust_env=False, timeout=None) as client:
        asked = url
        for _ in range(MOST_REDIRECTS + 1):
            guard.check(asked, url)
            own = headers if _origin(asked) == _origin(url) else {}
            sent = httpx.Headers({"User-Agent": USER_AGENT})
            sent.update({**own, **conditions, "Accept-Encoding": "gzip"})
            with client.stream("GET", asked, headers=sent) as response:
                if response.status_code not in _REDIRECTS:
                    yield response
                    return
                asked = _next(asked, response, guard)
        guard.refuse(f"redirects more than {MOST_REDIRECTS} times", "redirect")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _next(asked: httpx.URL, response: httpx.Response, guard: RequestPolicy) -> httpx.URL:
    try:
        return asked.join(response.headers["Location"])
    except (KeyError, httpx.InvalidURL):
        guard.refuse(f"answers with status {response.status_code} and no address: expected status 200", "status")


class _Transport(httpx.BaseTransport):
    """Connects to the very address that was checked, so that a second look-up of the name changes nothing."""

    def __init__(self, guard: RequestPolicy) -> None:
        self.pool = httpcore.ConnectionPool(
            ssl_context=_tls(), network_backend=_Network(guard), max_connections=1, max_keepalive_connections=0
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request and the head of its answer."""
        url = request.url
        response = self.pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
            )
        )
        assert isinstance(response.stream, Iterable)
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    def close(self) -> None:
        """Close what is open."""
        self.pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self.response = response

    def __iter__(self) -> Iterator[bytes]:
        return self.response.iter_stream()

    def close(self) -> None:
        self.response.close()


class _Network(httpcore.NetworkBackend):
    def __init__(self, guard: RequestPolicy) -> None:
        self.guard = guard

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failed: Exception = httpcore.ConnectError(f"the host {host} has no address")
        for address in self.guard.addresses(host, port):
            try:
                stream = httpcore.SyncBackend().connect_tcp(address, port, timeout=self.guard.remaining())
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _Stream(stream, self.guard)
        raise failed


class _Stream(httpcore.NetworkStream):
    """A connection on which each step has only the time that is left for all."""

    def __init__(self, stream: httpcore.NetworkStream, guard: RequestPolicy) -> None:
        self.stream = stream
        self.guard = guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.guard.remaining())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self.guard.remaining())

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self.stream.start_tls(ssl_context, server_hostname, self.guard.remaining()), self.guard)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()
