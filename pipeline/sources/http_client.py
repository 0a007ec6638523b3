"""A GET request with limits: which hosts and addresses, how many redirects, how much time.

The transport is written by hand on httpcore because httpx looks up a host's name itself when it connects: the
address that was checked to be public need not be the one that is then used. Here the checked address is used
(address pinning), and one deadline holds for connecting, all redirects and the whole body.
"""

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

MAX_REDIRECTS = 5
#: sent unless the recipe's headers name another
USER_AGENT = f"nextperiod/{version('nextperiod')}"

_REDIRECT_STATUS = (301, 302, 303, 307, 308)
#: NAT64: IPv6 addresses whose last 32 bits are the IPv4 address that is reached
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestPolicy:
    """Which hosts a request may reach, and until when."""

    #: the document in messages
    shown: str
    #: hosts, or HOST:PORT, that may be redirected to, have a private address, or be reached without TLS
    hosts: tuple[str, ...]
    #: by the monotonic clock
    deadline: float

    def is_listed(self, host: str, port: int | None) -> bool:
        """Return whether the recipe lists the host, with or without its port."""
        listed = {name.lower().strip("[]") for name in self.hosts}
        return bool({host, f"{host}:{port}", f"[{host}]:{port}"} & (listed | set(self.hosts)))

    def check_url(self, url: httpx.URL, first: httpx.URL) -> None:
        """Check the address of a request; `first` is the address in the recipe, which may have redirected to it.

        Raises:
            BatchRefused: its scheme or its host is not allowed.
        """
        port = url.port or (443 if url.scheme == "https" else 80)
        listed = self.is_listed(url.host, port)
        if url.scheme not in ("https", "http") or not url.host:
            self.refuse(f"leads to the scheme {url.scheme}: expected https", "address")
        if url.scheme == "http" and not listed:
            self.refuse(f"leads to {url.host} without TLS: expected https, or {url.host} in source.hosts", "address")
        if url.host != first.host and not listed:
            self.refuse(
                f"redirects to {url.host}: expected {first.host} or a host in source.hosts; it may ask for a login",
                "redirect",
            )

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the IP addresses of a host, which are all public unless the recipe lists the host.

        Raises:
            BatchRefused: one of them is private.
            httpcore.ConnectError: the host is not known.
        """
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the host {host} is not known: {error}") from None
        addresses = list(dict.fromkeys(str(socket_address[0]) for *_, socket_address in infos))
        private = next((address for address in addresses if not is_public(address)), None)
        if private is not None and not self.is_listed(host, port):
            self.refuse(
                f"leads to {private}, an address of a private network: expected a public one, or {host} in source.hosts",
                "address",
            )
        return addresses

    def remaining_seconds(self) -> float:
        """Return the seconds until the deadline.

        Raises:
            httpcore.ReadTimeout: it has passed.
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
    """Return whether an IP address is on the public internet; an IPv6 address that embeds an IPv4 one counts as that."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


@contextmanager
def open_response(
    url: httpx.URL, headers: Mapping[str, str], conditions: Mapping[str, str], policy: RequestPolicy
) -> Iterator[httpx.Response]:
    """Follow redirects and give the last response, its body not yet read.

    Args:
        url: the address in the recipe.
        headers: the recipe's headers, which may hold secrets: sent to the origin of `url` only.
        conditions: headers without secrets, sent to every origin.
        policy: limits of hosts and time.

    Raises:
        httpcore.TimeoutException: the deadline has passed.
        httpcore.NetworkError: the host cannot be reached.
        BatchRefused: it leads to an address that is not allowed, or redirects too often.
    """
    with httpx.Client(transport=_PinnedTransport(policy), trust_env=False, timeout=None) as client:
        current = url
        for _ in range(MAX_REDIRECTS + 1):
            policy.check_url(current, url)
            secret_headers = headers if _origin(current) == _origin(url) else {}
            all_headers = httpx.Headers({"User-Agent": USER_AGENT})
            all_headers.update({**secret_headers, **conditions, "Accept-Encoding": "gzip"})
            with client.stream("GET", current, headers=all_headers) as response:
                if response.status_code not in _REDIRECT_STATUS:
                    yield response
                    return
                current = _redirect_target(current, response, policy)
        policy.refuse(f"redirects more than {MAX_REDIRECTS} times", "redirect")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _redirect_target(url: httpx.URL, response: httpx.Response, policy: RequestPolicy) -> httpx.URL:
    try:
        return url.join(response.headers["Location"])
    except (KeyError, httpx.InvalidURL):
        policy.refuse(f"answers with status {response.status_code} and no address: expected status 200", "status")


class _PinnedTransport(httpx.BaseTransport):
    """Connects to the IP address that was checked: the host's name is looked up once."""

    def __init__(self, policy: RequestPolicy) -> None:
        self.pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            network_backend=_PinnedNetwork(policy),
            max_connections=1,
            max_keepalive_connections=0,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the response, its body not yet read."""
        url = request.url
        response = self.pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
            )
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    def close(self) -> None:
        """Close the connection."""
        self.pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self.response = response

    def __iter__(self) -> Iterator[bytes]:
        return self.response.iter_stream()

    def close(self) -> None:
        self.response.close()


class _PinnedNetwork(httpcore.NetworkBackend):
    def __init__(self, policy: RequestPolicy) -> None:
        self.policy = policy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        last_error: Exception = httpcore.ConnectError(f"the host {host} has no address")
        for address in self.policy.resolve(host, port):
            try:
                stream = httpcore.SyncBackend().connect_tcp(address, port, timeout=self.policy.remaining_seconds())
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last_error = error
            else:
                return _TimedStream(stream, self.policy)
        raise last_error


class _TimedStream(httpcore.NetworkStream):
    """A connection whose reads and writes end at the deadline of the whole request."""

    def __init__(self, stream: httpcore.NetworkStream, policy: RequestPolicy) -> None:
        self.stream = stream
        self.policy = policy

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.policy.remaining_seconds())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self.policy.remaining_seconds())

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(
            self.stream.start_tls(ssl_context, server_hostname, self.policy.remaining_seconds()), self.policy
        )

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)
