"""A server on the loopback that answers with the very bytes that a test wants."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import parse_headers
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


Respond = Callable[[Asked], "bytes | Iterable[bytes]"]


@dataclass(kw_only=True)
class Server:
    """Where it is, and what it was asked."""

    host: str
    asked: list[Asked] = field(default_factory=list)
    #: set when the test is over, so that a slow answer can wait for that
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://{self.host}"


def reply(body: bytes | str = b"", status: int = 200, **headers: str) -> bytes:
    """A whole answer; `Content_Type` is written for `Content-Type`."""
    content = body.encode() if isinstance(body, str) else body
    fields = {"Content_Length": str(len(content)), "Connection": "close"} | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + content


@contextmanager
def serving(respond: Respond, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server that is stopped, with all of its threads, when the context ends."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                method, target, _ = self.rfile.readline().decode().split(" ", 2)
                headers = {name.lower(): value for name, value in parse_headers(self.rfile).items()}
                asked = Asked(method=method, target=target, headers=headers)
                server.asked.append(asked)
                answered = respond(asked)
                for part in [answered] if isinstance(answered, bytes) else answered:
                    self.wfile.write(part)
                    self.wfile.flush()
            except (OSError, ValueError):
                return

    class Loopback(socketserver.ThreadingTCPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away is no fault of the test."""

    with Loopback(("127.0.0.1", 0), Handler) as loopback:
        if tls is not None:
            loopback.socket = tls.wrap_socket(loopback.socket, server_side=True)
        server = Server(host=f"127.0.0.1:{loopback.server_address[1]}")
        thread = threading.Thread(target=loopback.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            loopback.shutdown()
            thread.join()
