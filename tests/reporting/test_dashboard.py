"""The forecast page as HTML: what stands in it, that nothing in it is taken for markup, and that all can read it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from pipeline import reporting
from pipeline.reporting.dashboard import (
    LogEntry,
    ModelRow,
    RecipePage,
    RejectedRow,
    SeriesMethod,
    Sparkline,
    render_error,
    render_overview,
    render_recipe,
    series_numbers,
    spark_paths,
)
from pipeline.timeseries.period_labels import PeriodLabels
from tests.support.dashboard_pages import BUILT_AT, card, daily_page

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=\"alert(2)\"> & 'quoted' <!-- "
#: positions in the row of a series
NAME, METHOD, DECIMALS, START, HISTORY, MEAN, LOWER_95, UPPER_95, OLD_MEAN = 0, 4, 6, 7, 8, 9, 10, 13, 14


def html_of(page: RecipePage) -> str:
    return render_recipe(page, built_at=BUILT_AT)


def data_in(html: str) -> Any:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(text)


class Elements(HTMLParser):
    """The elements of a page with their attributes, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, *tags: str) -> list[dict[str, str | None]]:
        """The attributes of all elements with one of these tags."""
        return [attributes for tag, attributes in self.found if tag in tags]


def full_page(name: str = "north") -> RecipePage:
    return daily_page(
        {name: [1.0, 2.0], "south": [3.0, 4.0]},
        log=(LogEntry(at=BUILT_AT, title="Keep the model", text=name),),
        rejected=(
            RejectedRow(
                source="a.csv", line=7, column="sold", series=name, text=name, rule=name, rejected_at=BUILT_AT
            ),
        ),
        models=(
            ModelRow(
                version=1, is_champion=True, training="retrain", reason=name, cutoff="2026-01-01", trained_at=BUILT_AT,
                skill=None,
            ),
        ),
    )  # fmt: skip


def test_each_value_is_in_the_page_with_its_period() -> None:
    data = data_in(html_of(daily_page({"a": [1.5, 2.5, 2.0]}, unit="kg")))
    (row,) = data["series"]

    assert data["unit"] == "kg"
    assert data["periods"] == [f"2025-12-{day}" for day in (30, 31)] + [f"2026-01-0{day}" for day in (1, 2, 3, 4)]
    assert (row[NAME], row[DECIMALS], row[START]) == ("a", 4, 0)
    assert row[HISTORY] == [15000, 25000, 20000]
    assert row[MEAN] == [20000] * 3
    assert (data["origin"], data["newest"], data["previous"]) == (2, 3, 2)


@pytest.mark.parametrize(
    ("values", "decimals", "history"),
    [
        ([1e-9, 2e-9], 13, [10000, 20000]),
        ([1e12, 2e12], 0, [10**12, 2 * 10**12]),
        ([-17.25, -3.5], 3, [-17250, -3500]),
        ([0.0, 0.0], 0, [0, 0]),
        ([1000000.25, 1000000.5], 3, None),
        ([1e300, 1e299], -286, [10**14, 10**13]),
    ],
)
def test_numbers_keep_the_digits_that_tell_them_apart(
    values: list[float], decimals: int, history: list[int] | None
) -> None:
    page = daily_page({"a": values}, has_forecast=history is not None)

    (row,) = series_numbers(page)["series"]

    assert row[DECIMALS] == decimals
    assert row[HISTORY] == (history or [1000000250, 1000000500])


def test_a_gap_is_null_and_gaps_at_the_ends_are_left_out() -> None:
    page = daily_page({"a": [np.nan, 1.0, np.nan, 3.0], "b": [1.0, 2.0, 3.0, np.nan], "c": [np.nan] * 4})

    a, b, c = series_numbers(page)["series"]

    assert (a[START], a[HISTORY]) == (1, [10000, None, 30000])
    assert (b[START], b[HISTORY]) == (0, [10000, 20000, 30000])
    assert c[HISTORY] == []


def test_a_fallback_has_its_method_and_reason() -> None:
    fallback = SeriesMethod(name="b", method="fallback:naive", reason="one value is known")
    page = daily_page({"a": [1.0], "b": [2.0]}, methods={"b": fallback})

    data = series_numbers(page)

    assert [data["methods"][row[METHOD]] for row in data["series"]] == [
        ["lstm", None],
        ["fallback:naive", "one value is known"],
    ]


def test_periods_are_in_the_zone_of_the_recipe() -> None:
    page = daily_page({"a": [1.0]}, labels=PeriodLabels(is_within_day=True, zone="Europe/Amsterdam"))

    html = html_of(page)

    assert data_in(html)["periods"][0] == "2026-01-01 01:00"
    assert "Period (Europe/Amsterdam)" in html
    assert "periods in Europe/Amsterdam" in html


def test_no_text_is_taken_for_markup() -> None:
    page = full_page(HOSTILE)
    page = replace(page, card=replace(page.card, description=HOSTILE, reasons=(("stale", HOSTILE),)))

    for html in (html_of(page), render_overview([page.card], built_at=BUILT_AT), render_error(HOSTILE)):
        elements = Elements(html)
        scripts = [attributes for attributes in elements.named("script") if attributes.get("type") is None]
        assert len(scripts) == 1
        assert elements.named("img") == []
        assert "<!--" not in html
    assert data_in(html_of(page))["series"][0][NAME] == HOSTILE


def test_the_browser_runs_our_script_alone() -> None:
    for html in (html_of(full_page()), render_overview([card()], built_at=BUILT_AT), render_error("no store")):
        (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        (policy,) = [
            str(attributes["content"]) for attributes in Elements(html).named("meta") if "http-equiv" in attributes
        ]
        assert policy.startswith("default-src 'none';")
        assert f"script-src 'sha256-{digest}'" in policy


def test_a_page_needs_no_other_file() -> None:
    for html in (html_of(full_page()), render_overview([card()], built_at=BUILT_AT)):
        elements = Elements(html)
        assert [attributes["src"] for _, attributes in elements.found if "src" in attributes] == []
        assert [attributes["href"] for attributes in elements.named("link")] == ["data:,"]
        assert "url(" not in html
        assert "@import" not in html


def test_every_control_has_a_label_and_every_id_is_there_once() -> None:
    for html in (
        html_of(full_page()),
        html_of(daily_page({"a": [1.0]}, previous=False)),
        render_overview([card(f"r{n}") for n in range(9)], built_at=BUILT_AT),
    ):
        elements = Elements(html)
        ids = [str(attributes["id"]) for _, attributes in elements.found if "id" in attributes]
        labelled = {attributes.get("for") for attributes in elements.named("label")}
        assert len(set(ids)) == len(ids)
        for attributes in elements.named("input", "select"):
            is_inside_label = attributes["id"] == "show-previous"
            assert attributes["id"] in labelled or "aria-label" in attributes or is_inside_label
        for _, attributes in elements.found:
            for reference in ("aria-labelledby", "aria-controls", "for"):
                assert set(str(attributes.get(reference) or "").split()) <= set(ids)


def test_headings_go_down_one_level_at_a_time_from_a_single_first_one() -> None:
    for html in (html_of(full_page()), render_overview([card()], built_at=BUILT_AT), render_error("no store")):
        levels = [int(tag[1]) for tag, _ in Elements(html).found if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))


def test_what_scrolls_can_be_reached_by_keyboard() -> None:
    for attributes in Elements(html_of(full_page())).named("div"):
        if set(str(attributes.get("class")).split()) & {"wide", "tall"}:
            assert attributes["tabindex"] == "0"
            assert attributes.get("aria-label") or attributes.get("aria-labelledby")


#: text on paper
PAIRS = [
    ("ink", "paper"), ("ink", "card"), ("ink", "bad-paper"), ("soft", "paper"), ("soft", "card"), ("soft", "hover"),
    ("forecast", "card"), ("forecast", "paper"), ("good", "good-paper"), ("bad", "bad-paper"), ("bad", "card"),
]  # fmt: skip


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize(("ink", "paper"), PAIRS)
def test_text_can_be_told_from_its_background(scheme: int, ink: str, paper: str) -> None:
    css = (files(reporting) / "dashboard.css").read_text("utf-8")
    colors = dict(re.findall(r"--([\w-]+): #(\w+)", css.split("@media (prefers-color-scheme: dark)")[scheme]))

    assert contrast(colors[ink], colors[paper]) >= 4.5


def contrast(one: str, other: str) -> float:
    """The contrast of WCAG 2 between two colors in hexadecimal."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    digits = color if len(color) == 6 else "".join(2 * digit for digit in color)
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_black_on_white_has_the_contrast_of_the_standard() -> None:
    assert contrast("fff", "000000") == pytest.approx(21)


def test_the_overview_begins_with_what_needs_a_look() -> None:
    cards = [card("a"), card("b", reasons=(("stale", "late"),)), card("c")]

    html = render_overview(cards, built_at=BUILT_AT)

    assert re.findall(r'href="(recipes/\w+\.html)"', html) == [f"recipes/{name}.html" for name in "bac"]
    assert "3 recipes, 1 to look at" in html


def test_the_overview_of_an_empty_store_says_how_to_begin() -> None:
    html = render_overview([], built_at=BUILT_AT)

    assert "No recipe was run yet" in html
    assert "0 recipes" in html


def test_counts_have_thousands_separators_and_skill_its_sign() -> None:
    html = render_overview([card(num_series=100_000, num_fallback=1_234, skill=-0.001)], built_at=BUILT_AT)

    assert "100,000, 1,234 by a baseline" in html
    assert "+0.00" in html


def test_a_recipe_without_a_forecast_says_how_to_get_one() -> None:
    page = daily_page({"a": [1.0]}, has_forecast=False, card=card(origin=None, published_at=None, is_stale=True))

    html = html_of(page)

    assert "No forecast is published yet: <code>nextperiod run shops</code>" in html
    assert "not published" in html
    assert data_in(html)["newest"] is None


def test_a_page_says_that_it_shows_only_the_least_accurate_series() -> None:
    html = html_of(replace(full_page(), num_series=100_000))

    assert "The 2 least accurate of 100,000 series" in html


def test_a_thousand_series_take_less_than_ten_megabytes() -> None:
    random = np.random.default_rng(1)
    histories = {f"series {n:04d} of a store": list(random.lognormal(8, 1, 400)) for n in range(1000)}

    html = html_of(daily_page(histories, horizon=48))

    assert len(html.encode()) < 10e6


def test_the_chart_of_a_card_has_a_gap_where_the_history_has_one() -> None:
    forecast = np.array([[3.0, 1, 2, 4, 5]])

    paths = spark_paths(Sparkline(series="a", history=np.array([1.0, np.nan, 3.0]), forecast=forecast))

    assert paths.history.count("M") == 2
    assert "nan" not in paths.history + paths.mean + paths.band
    assert paths.band.endswith("Z")


@pytest.mark.parametrize("value", [0.0, -5.0, 1e-9, 1e308])
def test_the_chart_of_a_card_can_be_flat(value: float) -> None:
    paths = spark_paths(Sparkline(series="a", history=np.array([value]), forecast=np.full((1, 5), value)))

    assert paths.mean
    assert "nan" not in paths.history + paths.mean + paths.band
    assert "inf" not in paths.history + paths.mean + paths.band


def test_times_are_in_utc_and_readable_by_machines() -> None:
    html = render_overview([card(published_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))], built_at=BUILT_AT)

    assert '<time datetime="2026-01-02T03:04:00+00:00" title="2026-01-02 03:04 UTC">2026-01-02 03:04 UTC</time>' in html
