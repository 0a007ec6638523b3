"""The report and MLflow's pages in a real Chromium without a window."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipeline.jobs.deliver_outbox import deliver_outbox
from pipeline.jobs.forecast import publish_forecast
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.tracking.registry import Registry
from pipeline.training.process_files import TrainedModel
from tests.sources.server import response, serve
from tests.storage.small_store import add_model, take_in
from tests.support import browser
from tests.support.browser import Page
from tests.support.examples import NOW, small_batch, small_recipe
from tests.support.many_series import trained_series

#: the name of the worst series
MARKUP = '<b onclick="alert(1)">"x" & </script><script>alert(1)</script>'
CHARTS = "document.querySelectorAll('.js-plotly-plot').length"
IMAGES = "document.querySelectorAll('[data-chart] img').length"
PLACE = "document.querySelector('[data-chart=forecast] .nsewdrag').getBoundingClientRect()"


@dataclass(frozen=True, kw_only=True)
class LoggedTraining:
    """A training in MLflow, its report as a file, and the MASE of its backtest."""

    tracking_uri: str
    experiment: str
    report: Path
    mase: float


@pytest.fixture(scope="module")
def logged(outcome: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoggedTraining]:
    folder = tmp_path_factory.mktemp("logged")
    database = open_database(f"sqlite:///{folder}/store.db")
    require_schema(database)
    store, registry = Store(database), Registry(f"sqlite:///{folder}/mlflow.db", lambda: NOW)
    store.recipes.register(small_recipe())
    take_in(store, small_batch())
    add_model(store, replace(outcome, files={**outcome.files, "network.keras": outcome.keras_archive}))
    publish_forecast(small_recipe(), store, NOW)
    assert deliver_outbox(small_recipe(), store, registry, NOW)
    (report,) = folder.glob("mlartifacts/**/report.html")
    backtest = outcome.record.backtest
    assert backtest is not None
    mase = backtest.scores["lstm"]["mase"]
    assert mase is not None
    yield LoggedTraining(
        tracking_uri=registry.tracking_uri,
        experiment=registry.client.ensure_experiment("small"),
        report=report,
        mase=mase,
    )
    database.close()


@pytest.fixture(scope="module")
def report(logged: LoggedTraining) -> Iterator[Page]:
    """The report, once its charts are drawn."""
    with browser.page(width=1100) as page:
        page.open(logged.report.as_uri())
        page.until(f"{CHARTS} > 0 && {IMAGES} === 0")
        yield page


@pytest.fixture(scope="module")
def mlflow_page(logged: LoggedTraining) -> Iterator[str]:
    """The address of an MLflow server on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--backend-store-uri", logged.tracking_uri, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *where],
        cwd=logged.report.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 240
        while not answers(port):
            assert server.poll() is None, "MLflow's server ended"
            assert time.monotonic() < deadline, "MLflow's server does not answer"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def outside(page: Page, *allowed: str) -> list[str]:
    """Addresses that a page requested, other than the allowed ones."""
    return [address for address in page.requests if not address.startswith(("data:", "blob:", *allowed))]


def test_every_chart_of_the_report_is_drawn(report: Page) -> None:
    assert report.evaluate(CHARTS) == report.evaluate("document.querySelectorAll('[data-chart]').length") >= 9
    for name in ("forecast", "backtest", "origins", "errors", "residuals", "decomposition", "loss"):
        lines = f"[data-chart='{name}'] .scatterlayer path.js-line"
        assert report.evaluate(f'document.querySelectorAll("{lines}").length'), name
    assert report.evaluate("document.querySelectorAll(\"[data-chart='residuals-histogram'] .bars path\").length")


def test_pointing_at_the_forecast_shows_its_interval(report: Page) -> None:
    report.evaluate("document.querySelector('[data-chart=forecast]').scrollIntoView()")
    x, y, width, height = report.evaluate(f"(r => [r.x, r.y, r.width, r.height])({PLACE})")

    report.move(x + 0.99 * width, y + height / 2)

    hover_text = report.until("document.querySelector('[data-chart=forecast] .hoverlayer').textContent")
    for part in ("80 %, lower", "80 %, upper", "forecast"):
        assert part in hover_text


def test_the_report_requests_nothing_and_has_no_errors(report: Page, logged: LoggedTraining) -> None:
    assert outside(report, "file://") == []
    assert [address for address in report.requests if address.startswith("file:")] == [logged.report.as_uri()]
    assert report.errors == []


def test_the_report_follows_the_preferred_color_scheme(report: Page) -> None:
    ink = "getComputedStyle(document.querySelector('[data-chart=series] path.js-line')).stroke"
    light = report.evaluate(ink)

    report.prefer("dark")

    assert report.until(f"{ink} !== '{light}' && {ink}") == "rgb(220, 223, 227)"
    assert report.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(27, 27, 27)"


def test_without_scripts_the_report_shows_pictures(logged: LoggedTraining) -> None:
    with browser.page() as page:
        page.send("Emulation.setScriptExecutionDisabled", value=True)
        page.open(logged.report.as_uri())

        page.until(f"{IMAGES} >= 9 && [...document.images].every(image => image.naturalWidth > 0)")

        assert page.evaluate(CHARTS) == 0


@pytest.fixture(scope="module", params=["a file", "a sandbox"])
def many_series(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A report of 30 series as a file, and with the rights that a page has among MLflow's artifacts."""
    path = tmp_path_factory.mktemp("many") / "report.html"
    path.write_bytes(trained_series([*(f"shop {n:02d}" for n in range(29)), MARKUP]).report()["report.html"])
    sandbox = {"Content_Type": "text/html; charset=utf-8", "Content_Security_Policy": "sandbox allow-scripts"}
    with serve(lambda _: response(path.read_bytes(), **sandbox)) as server, browser.page(width=1100) as page:
        page.open(path.as_uri() if request.param == "a file" else server.url)
        page.until(f"{CHARTS} > 0 && {IMAGES} === 0 && !document.getElementById('picker').hidden")
        yield page


def names_in(page: Page) -> set[str]:
    """The names in the captions of the charts that are shown."""
    captions = "document.querySelectorAll('figure:not([hidden]) .series-name')"
    return set(page.evaluate(f"[...{captions}].map(name => name.textContent)"))


def y_range(page: Page) -> list[float]:
    """The range of the y axis of the forecast."""
    values: list[float] = page.evaluate("document.querySelector('[data-chart=forecast]').layout.yaxis.range")
    return values


def test_the_worst_series_is_shown_first_and_its_name_is_no_markup(many_series: Page) -> None:
    assert names_in(many_series) == {MARKUP}
    assert many_series.evaluate("document.getElementById('choice').options[0].text") == f"{MARKUP} (skill -150.0%)"
    assert many_series.evaluate("document.querySelectorAll('[onclick], .series-name *').length") == 0


def test_searching_and_choosing_a_series_shows_its_charts_and_its_forecast(many_series: Page) -> None:
    many_series.evaluate("document.getElementById('search').focus()")
    many_series.type("OP 07")
    assert many_series.evaluate("document.getElementById('matches').textContent") == "1 found"

    many_series.press("Enter")

    assert names_in(many_series) == {"shop 07"}
    assert many_series.evaluate("document.querySelector('#next tbody td').textContent") == "8,110.0"
    assert 7950 < y_range(many_series)[0] < 8110 < y_range(many_series)[1] < 8200
    assert many_series.evaluate("document.querySelector('[data-chart=origins]').closest('figure').hidden")
    observed = "document.querySelector('[data-chart=backtest]').data.find(trace => trace.name === 'observed')"
    assert many_series.evaluate(f"{observed}.y.at(-1)") == 8109


def test_the_table_of_series_sorts_and_chooses(many_series: Page) -> None:
    first = "document.querySelector('#series-table tbody th').textContent"
    assert many_series.evaluate(first) == MARKUP

    many_series.evaluate("document.querySelectorAll('#series-table thead button')[1].click()")
    assert many_series.evaluate(first) == "shop 00"

    many_series.evaluate("document.querySelector('#series-table tbody button').click()")
    assert names_in(many_series) == {"shop 00"}
    assert many_series.evaluate("document.querySelector('#series-table [aria-current=true]').textContent") == "shop 00"


def test_the_y_axis_follows_the_part_of_the_history_that_is_shown(many_series: Page) -> None:
    buttons = "document.querySelector('.window')"
    many_series.evaluate("document.querySelector('#series-table tbody button').click()")
    recent = y_range(many_series)

    many_series.evaluate(f"{buttons}.querySelector('[value=all]').click()")
    assert y_range(many_series)[0] < 1000 < recent[0]
    many_series.evaluate(f"{buttons}.querySelector('[value=recent]').click()")
    assert y_range(many_series) == recent
    many_series.evaluate(f"{buttons}.querySelector('[value=earlier]').click()")
    assert y_range(many_series)[1] < recent[1]
    months = "{'xaxis.range': ['2020-01-01', '2020-06-01']}"
    many_series.evaluate(f"Plotly.relayout(document.querySelector('[data-chart=forecast]'), {months}).then(() => true)")
    low, high = y_range(many_series)
    assert 990 < low < 1000 < 1055 < high < 1060


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_chosen_series_stays_where_the_color_scheme_changes(many_series: Page, scheme: str) -> None:
    many_series.evaluate("document.querySelector('#series-table tbody tr:nth-child(3) button').click()")
    chosen = names_in(many_series)

    many_series.prefer(scheme)

    assert names_in(many_series) == chosen
    assert many_series.errors == []
    assert outside(many_series, "file://", "http://127.0.0.1") == []


@pytest.mark.parametrize("width", [360, 800])
def test_a_narrow_page_does_not_scroll_sideways(many_series: Page, width: int) -> None:
    many_series.resize(width)

    assert many_series.until(f"document.documentElement.scrollWidth <= {width}", 10)


def test_mlflow_s_table_shows_the_backtest_and_its_baseline(mlflow_page: str, logged: LoggedTraining) -> None:
    with browser.page(width=2200) as page:
        page.open(f"{mlflow_page}/#/experiments/{logged.experiment}/runs?viewStateShareKey=backtest")

        page_text = page.until("document.body.innerText.includes('skill/mase') && document.body.innerText", 240)

        for text in ("small 1", "backtest/mase", "baseline/mase", "skill/origins_won", f"{logged.mase:.8f}"[:4]):
            assert text in page_text
        assert outside(page, mlflow_page) == []


def test_mlflow_shows_the_card_of_the_registered_model(mlflow_page: str) -> None:
    with browser.page() as page:
        page.open(f"{mlflow_page}/#/models/small/versions/1")

        assert page.until("document.body.innerText.includes('Can I trust it?')", 240)


def test_a_missing_browser_is_reported_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(FileNotFoundError, match="no browser: .* install chromium or chromium-browser or google-chrome"):
        browser.chromium()
