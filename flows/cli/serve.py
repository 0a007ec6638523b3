"""`nextperiod serve`: the forecast page, read from the store at each request, on this machine only."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import HTMLResponse

from flows.cli.console import print_json
from flows.context import open_store_for_reading, utc_now
from pipeline.errors import InvalidArgument, NextperiodError
from pipeline.jobs.dashboard import read_card, read_cards, read_recipe_page
from pipeline.reporting.dashboard import render_error, render_overview, render_recipe
from pipeline.storage.store import Store

logger = logging.getLogger(__name__)

#: no other machine can reach it
HOST = "127.0.0.1"
#: the names by which a browser on this machine may call it: another site's name would let that site read the answers
_OWN_NAMES = [HOST, "localhost"]
#: an answer is of this instant, and is what it says it is
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def serve(*, port: int, num_series: int, as_json: bool) -> None:
    """`nextperiod serve`: answer requests until Ctrl-C; the address is printed first.

    Raises:
        InvalidArgument: the port is in use, or is not allowed.
    """
    with _listen(port) as listening:
        address = f"http://{HOST}:{listening.getsockname()[1]}"
        if as_json:
            print_json({"address": address})
        else:
            print(f"{address} (until Ctrl-C)")
        sys.stdout.flush()
        config = uvicorn.Config(build_app(num_series=num_series), log_config=None, access_log=False, lifespan="off")
        uvicorn.Server(config).run([listening])


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()  # a request that comes before the server does waits
    except OSError as error:
        listening.close()
        raise InvalidArgument(
            f"--port {port}: {error.strerror}: expected a free port; 0 takes any that is free"
        ) from None
    return listening


def build_app(*, num_series: int) -> FastAPI:
    """The application: the paths are those of the files that `nextperiod dashboard` writes; nothing is ever changed."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=_OWN_NAMES)

    @app.api_route("/", methods=["GET", "HEAD"])
    @app.api_route("/index.html", methods=["GET", "HEAD"])
    def overview() -> HTMLResponse:
        return _answer(lambda store: render_overview(read_cards(store), built_at=utc_now()))

    @app.api_route("/recipes/{name}.html", methods=["GET", "HEAD"])
    def recipe(name: str) -> HTMLResponse:
        return _answer(lambda store: _render_recipe(store, name, num_series=num_series))

    @app.exception_handler(404)
    def report_missing(request: Request, error: HTTPException) -> HTMLResponse:
        return _page(render_error(f"{request.url.path}: {error.detail}"), error.status_code)

    return app


def _render_recipe(store: Store, name: str, *, num_series: int) -> str:
    card = read_card(store, name)
    page = None if card is None else read_recipe_page(store, card, num_series=num_series)
    if page is None:
        raise HTTPException(404, f"no recipe {name} was run")
    return render_recipe(page, built_at=utc_now())


def _answer(render: Callable[[Store], str]) -> HTMLResponse:
    """Read the store and render a page; a known error becomes a page that says what to do."""
    try:
        with open_store_for_reading() as store:
            return _page(render(store), 200)
    except NextperiodError as error:
        logger.warning("%s", error)
        return _page(render_error(str(error)), 503)


def _page(html: str, status: int) -> HTMLResponse:
    return HTMLResponse(html, status, headers=_HEADERS)
