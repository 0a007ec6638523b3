"""An HTTP server on the loopback that sends exactly the bytes that a test gives it."""

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
class Request:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


Respond = Callable[[Request], "bytes | Iterable[bytes]"]


@dataclass(kw_only=True)
class Server:
    """Its address, and the requests that it received."""

    host: str
    requests: list[Request] = field(default_factory=list)
    #: set when the test is over, so that a slow answer can wait for that
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://{self.host}"


def response(body: bytes | str = b"", status: int = 200, **headers: str) -> bytes:
    """The bytes of a response; an argument `Content_Type` becomes the header `Content-Type`."""
    content = body.encode() if isinstance(body, str) else body
    fields = {"Content_Length": str(len(content)), "Connection": "close"} | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} OK\r\n{head}\r\n".encode() + content


@contextmanager
def serve(respond: Respond, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server; it stops, with all of its threads, when the context manager exits."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                method, target, _ = self.rfile.readline().decode().split(" ", 2)
                headers = {name.lower(): value for name, value in parse_headers(self.rfile).items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                request = Request(method=method, target=target, headers=headers, body=body)
                server.requests.append(request)
                answer = respond(request)
                for part in [answer] if isinstance(answer, bytes) else answer:
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
            server.stopped.set()
            loopback.shutdown()
            thread.join()
