"""The forecast page in a real Chromium, from files: by keyboard, on a phone, with hostile names, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.reporting.dashboard import LogEntry, RejectedRow, SeriesMethod, Sparkline, render_overview, render_recipe
from tests.support import browser
from tests.support.browser import Page
from tests.support.dashboard_pages import BUILT_AT, card, daily_page

LONG = "a name of five hundred letters " + "x" * 469
HOSTILE = "</script><script>window.isHacked = true</script><img src=x onerror='window.isHacked = true'>"
FALLBACK = SeriesMethod(name=HOSTILE, method="fallback:naive", reason="one value is known", mase=3.0, num_scored=1)
HISTORIES = {
    HOSTILE: [5.0],
    LONG: [1e12, 2e12, 3e12],
    "tiny": [1e-9, 2e-9, float("nan"), 3e-9],
    "below zero": [-5.0, 3.0, -4.0],
    "nothing": [],
    **{f"shop {n:03d}": [10.0 + n, 12.0 + n, 11.0 + n] for n in range(40)},
}
NAME = "document.getElementById('series-name').textContent"
OPTIONS = "[...document.querySelectorAll('#series [role=option]')]"
SHOWN = f"{OPTIONS}.filter(option => !option.hidden).map(option => option.firstChild.textContent)"
READOUT = "document.getElementById('readout').textContent"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overview and two recipes: a panel, and one without a forecast."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "recipes").mkdir()
    spark = Sparkline(series=LONG, history=np.array([1.0, 2.0]), forecast=np.array([[3.0, 1, 2, 4, 5]]))
    shops = card("shops", description=LONG, sparkline=spark, num_series=45, reasons=(("failed", LONG),))
    page = daily_page(
        HISTORIES,
        methods={HOSTILE: FALLBACK},
        card=shops,
        log=(LogEntry(at=BUILT_AT, title="Keep the model", text=LONG),),
        rejected=(
            RejectedRow(source=LONG, line=7, column="sold", series=HOSTILE, text=LONG, rule=LONG, rejected_at=BUILT_AT),
        ),
    )
    bare = daily_page({"bare": [1.0, 2.0]}, has_forecast=False, card=card("bare", origin=None, published_at=None))
    for shown in (page, bare):
        path = folder / f"recipes/{shown.card.recipe}.html"
        path.write_text(render_recipe(shown, built_at=BUILT_AT), "utf-8")
    cards = [shops, bare.card, *(card(f"recipe-{n}") for n in range(9))]
    (folder / "index.html").write_text(render_overview(cards, built_at=BUILT_AT), "utf-8")
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    """One browser for all tests."""
    with browser.page(width=1200) as page:
        yield page


@pytest.fixture
def shops(site: Path, chromium: Page) -> Page:
    """The page of the panel, as it opens."""
    return opened(chromium, site / "recipes/shops.html", width=1200)


def opened(page: Page, path: Path, *, width: int) -> Page:
    page.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    page.open("about:blank")
    page.errors.clear()
    page.requests.clear()
    page.open(path.as_uri())
    page.until(f"location.href.startsWith('{path.as_uri()}') && document.readyState === 'complete'")
    return page


def press(page: Page, *keys: str) -> None:
    for key in keys:
        for kind in ("keyDown", "keyUp"):
            page.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=_CODES[key])


_CODES = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}  # fmt: skip


def test_the_page_opens_with_the_least_accurate_series_and_no_error(shops: Page, site: Path) -> None:
    assert shops.evaluate(NAME) == HOSTILE
    assert shops.evaluate("document.querySelector('#chart path.mean') !== null")
    assert shops.evaluate("document.getElementById('method').textContent").startswith(
        "By fallback:naive: one value is known. MASE 3.00"
    )
    assert shops.errors == []
    assert [address for address in shops.requests if not address.startswith("data:")] == [
        "about:blank",
        (site / "recipes/shops.html").as_uri(),
    ][-1:]


def test_a_name_with_markup_is_a_name(shops: Page) -> None:
    assert shops.evaluate("window.isHacked") is None
    assert shops.evaluate("document.images.length") == 0
    assert HOSTILE in shops.evaluate(SHOWN)


def test_series_are_chosen_by_keyboard(shops: Page) -> None:
    shops.evaluate("document.getElementById('series').focus()")

    press(shops, "ArrowDown")
    second = shops.evaluate(NAME)
    press(shops, "End")
    last = shops.evaluate(NAME)
    press(shops, "Home")

    shown = shops.evaluate(SHOWN)
    assert [second, last, shops.evaluate(NAME)] == [shown[1], shown[-1], shown[0]]
    selected = f"{OPTIONS}.filter(option => option.getAttribute('aria-selected') === 'true').map(option => option.id)"
    active = "document.getElementById('series').getAttribute('aria-activedescendant')"
    assert shops.evaluate(selected) == [shops.evaluate(active)]


def test_every_control_is_reached_with_the_tab_key(shops: Page) -> None:
    focused = []
    for _ in range(12):
        press(shops, "Tab")
        focused.append(shops.evaluate("document.activeElement.id || document.activeElement.textContent"))

    for control in ("Skip to the content", "All recipes", "search", "order", "series", "show-previous", "scrubber"):
        assert control in focused


def test_search_filters_the_series_and_the_first_match_opens_with_enter(shops: Page) -> None:
    shops.evaluate("document.getElementById('search').focus()")
    shops.send("Input.insertText", text="SHOP 03")

    assert shops.evaluate(SHOWN) == [f"shop {n:03d}" for n in range(30, 40)]
    assert shops.evaluate("document.getElementById('matches').textContent") == "10 series match"
    press(shops, "Enter")
    assert shops.evaluate(NAME) == "shop 030"
    assert shops.evaluate("decodeURIComponent(location.hash)") == "#shop 030"


def test_a_link_opens_its_series_whatever_was_searched_for(shops: Page, site: Path) -> None:
    shops.evaluate("document.getElementById('search').focus()")
    shops.send("Input.insertText", text="tiny")

    shops.open(f"{(site / 'recipes/shops.html').as_uri()}#shop%20007")

    assert shops.until(f"{NAME} === 'shop 007'")
    in_view = "(list, option) => option.top >= list.top && option.bottom <= list.bottom"
    boxes = "...['#series', '[aria-selected=true]'].map(which => document.querySelector(which).getBoundingClientRect())"
    assert shops.evaluate(f"({in_view})({boxes})")


def test_a_link_that_is_no_text_opens_the_first_series(site: Path, chromium: Page) -> None:
    opened(chromium, site / "index.html", width=1200)

    chromium.open(f"{(site / 'recipes/shops.html').as_uri()}#%")

    assert chromium.until(f"{NAME} === {HOSTILE!r}")
    assert chromium.errors == []


def test_the_order_can_be_by_name(shops: Page) -> None:
    shops.evaluate(
        "const order = document.getElementById('order'); order.value = 'name'; order.dispatchEvent(new Event('change'))"
    )

    names = shops.evaluate(SHOWN)
    assert names.index("below zero") < names.index("nothing") < names.index("shop 000") < names.index("tiny")


def test_the_scrubber_reads_period_after_period(shops: Page) -> None:
    shops.evaluate("document.getElementById('scrubber').focus()")

    assert (
        shops.evaluate(READOUT)
        == "2026-01-02forecast 5.000080 % 4.0000 to 6.000095 % 3.5000 to 6.5000previous run 5.0000"
    )
    press(shops, "ArrowLeft")
    assert shops.evaluate(READOUT).startswith("2026-01-01observed 5.0000")
    assert shops.evaluate("document.getElementById('scrubber').getAttribute('aria-valuetext')").startswith(
        "2026-01-01, observed 5.0000"
    )


@pytest.mark.parametrize(
    ("series", "mean"),
    [("tiny", "3.0000e-9"), (LONG, "3,000,000,000,000"), ("below zero", "-4.0000"), ("nothing", "0"), ("shop 003", "14.000")],
)  # fmt: skip
def test_numbers_are_written_as_people_read_them(shops: Page, series: str, mean: str) -> None:
    shops.evaluate(f"{OPTIONS}.find(option => option.firstChild.textContent === {series!r}).click()")

    assert shops.evaluate(NAME) == series
    assert shops.evaluate("document.querySelector('#numbers tbody td').textContent") == mean
    assert shops.evaluate("document.querySelectorAll('#chart text').length") > 2
    assert shops.evaluate("document.getElementById('chart').outerHTML.includes('NaN')") is False
    assert shops.errors == []


def test_a_gap_interrupts_the_line(shops: Page) -> None:
    shops.evaluate(f"{OPTIONS}.find(option => option.firstChild.textContent === 'tiny').click()")

    line = shops.evaluate("document.querySelector('#chart path.history').getAttribute('d')")

    assert line.count("M") == 2


def test_the_newest_run_is_compared_with_the_previous_one(shops: Page) -> None:
    shops.evaluate(f"{OPTIONS}.find(option => option.firstChild.textContent === 'shop 003').click()")

    assert shops.evaluate("document.getElementById('comparison').textContent") == (
        "Both runs forecast the same for the 2 periods that they have in common. "
        "Of the previous run's periods 1 is observed by now, 1 inside the 80 % interval."
    )
    assert shops.evaluate("document.querySelectorAll('#chart path.previous').length") == 1
    shops.evaluate("document.getElementById('show-previous').click()")
    assert shops.evaluate("document.querySelectorAll('#chart path.previous').length") == 0


@pytest.mark.parametrize("page", ["index.html", "recipes/shops.html", "recipes/bare.html"])
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_no_page_is_wider_than_its_window(site: Path, chromium: Page, page: str, width: int) -> None:
    opened(chromium, site / page, width=width)
    chromium.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")

    assert chromium.evaluate("document.documentElement.scrollWidth") == width
    assert chromium.errors == []


def test_a_recipe_without_a_forecast_shows_its_history(site: Path, chromium: Page) -> None:
    opened(chromium, site / "recipes/bare.html", width=800)

    assert chromium.evaluate("document.querySelector('#chart path.history') !== null")
    assert chromium.evaluate(READOUT).startswith("2026-01-01observed 2")
    assert chromium.errors == []


def test_the_overview_is_filtered_and_leads_to_the_recipe(site: Path, chromium: Page) -> None:
    opened(chromium, site / "index.html", width=800)
    chromium.evaluate("document.getElementById('filter').focus()")
    chromium.send("Input.insertText", text="bare")

    cards = "[...document.querySelectorAll('.card')].filter(card => !card.hidden)"
    assert chromium.evaluate(f"{cards}.map(card => card.querySelector('h2').textContent)") == ["bare"]
    chromium.evaluate(f"{cards}[0].querySelector('a').click()")
    assert chromium.until(f"location.pathname.endsWith('/recipes/bare.html') && {NAME}") == "bare"


def test_a_page_that_has_grown_old_says_that_its_forecast_is_stale(site: Path, chromium: Page) -> None:
    old = replace(card("old"), expected_next_by=BUILT_AT)
    (site / "old.html").write_text(render_overview([old], built_at=BUILT_AT), "utf-8")

    opened(chromium, site / "old.html", width=800)

    assert chromium.evaluate("document.querySelector('.pill').textContent") == "stale"


def test_the_page_follows_the_preferred_color_scheme(shops: Page) -> None:
    color = "getComputedStyle(document.body).backgroundColor"
    shops.prefer("light")
    light = shops.evaluate(color)
    shops.prefer("dark")

    assert (light, shops.evaluate(color)) == ("rgb(246, 247, 249)", "rgb(20, 24, 29)")
    shops.prefer("light")


def test_a_thousand_series_are_all_in_the_list(tmp_path: Path, chromium: Page) -> None:
    histories = {f"series {n:04d}": [float((n * d) % 97) for d in range(120)] for n in range(1000)}
    path = tmp_path / "many.html"
    path.write_text(render_recipe(daily_page(histories, horizon=14), built_at=BUILT_AT), "utf-8")

    opened(chromium, path, width=1200)

    assert chromium.evaluate(f"{OPTIONS}.length") == 1000
    assert chromium.errors == []
