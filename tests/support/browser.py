"""A real Chromium without a window, driven through its DevTools pipe; nothing but loopback can be reached from it."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


@dataclass
class Page:
    """One page, with what it asked the network for and what went wrong in it."""

    _into: int
    _out: int
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _buffer: bytes = b""
    _session: str | None = None
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def begin(self, *, width: int, height: int) -> None:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.send(f"{domain}.enable")
        self.resize(width, height)

    def resize(self, width: int, height: int = 1000) -> None:
        """The page in pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, address: str) -> None:
        told = self.send("Page.navigate", url=address)
        assert "errorText" not in told, told

    def until(self, expression: str, seconds: float = 60) -> Any:
        """What a JavaScript expression gives once it is true; fails with what the page shows where it never is."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.1)
        shown = self.evaluate("document.body.innerText.slice(0, 2000)")
        raise AssertionError(f"{expression} was never true; errors: {self.errors}; the page shows: {shown}")

    def evaluate(self, expression: str) -> Any:
        told = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return None if "exceptionDetails" in told else told["result"].get("value")

    def move(self, x: float, y: float) -> None:
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        for event in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=event, key=key)

    def prefer(self, scheme: str) -> None:
        """Light or dark."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def send(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                return told["result"]
            self._note(told)

    def _next(self, seconds: float = 120) -> Any:
        while b"\0" not in self._buffer:
            assert select.select([self._out], [], [], seconds)[0], "Chromium does not answer"
            read = os.read(self._out, 1 << 20)
            assert read, "Chromium ended"
            self._buffer += read
        one, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(one)

    def _note(self, event: Any) -> None:
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(event["params"]["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(event["params"]["exceptionDetails"].get("exception", {}).get("description")))


def chromium() -> str:
    """Where Chromium is.

    Raises:
        FileNotFoundError: there is none.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise FileNotFoundError(
            f"no browser: the tests of the report look at it in a real one, install {' or '.join(NAMES)} "
            "(Debian: apt-get install chromium)"
        )
    return found


@contextlib.contextmanager
def page(*, width: int = 1400, height: int = 1000) -> Iterator[Page]:
    """A fresh browser with one empty page, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        ends = [_high(end) for pair in (os.pipe(), os.pipe()) for end in pair]
        read_in, into, out, write_out = ends
        piped = f'exec "$0" "$@" 3<&{read_in} 4>&{write_out}'
        command = ["bash", "-c", piped, chromium(), *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(command, pass_fds=(read_in, write_out), stderr=subprocess.DEVNULL) as browser:
            os.close(read_in)
            os.close(write_out)
            try:
                shown = Page(into, out)
                shown.begin(width=width, height=height)
                yield shown
            finally:
                browser.kill()
                os.close(into)
                os.close(out)


def _high(end: int) -> int:
    """The same end of a pipe under a number that Chromium's 3 and 4 do not meet."""
    moved = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 32)
    os.close(end)
    return moved
