"""The latest forecast as people read it: digits by series, local hours, panels summarised, and nothing cut silently."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from flows.cycle import _markdown
from flows.forecast_table import (
    MOST_ROWS,
    ForecastTable,
    build_forecast_table,
    describe_picture,
    draw_forecast,
    read_forecast_table,
)
from pipeline.records.lineage import ModelVersion
from pipeline.storage.store import Store
from pipeline.timeseries.period_labels import PeriodLabels
from tests.storage.small_store import add_untrained, batch, forecast, monthly, publish, take_in
from tests.support.examples import NOW, small_batch, small_recipe
from tests.support.recipes import build_recipe

DAYS, HOURS = PeriodLabels(is_within_day=False), PeriodLabels(is_within_day=True, zone="America/Los_Angeles")


def rows_of(
    *means: float, series: str = "a", width: float = 0.1, start: str = "2026-11-01T07:00", **columns: Any
) -> list[dict[str, Any]]:
    """A row an hour, with an interval of so much of the mean to both sides."""
    return [
        {
            "series": series,
            "period": np.datetime64(start, "us") + np.timedelta64(n, "h"),
            "step": n + 1,
            "mean": mean,
            "lower_80": mean - abs(mean) * width,
            "upper_80": mean + abs(mean) * width,
            "method": "lstm",
            "reason": None,
            **columns,
        }
        for n, mean in enumerate(means)
    ]


def cells(table: ForecastTable, column: str) -> list[str]:
    place = table.columns.index(column)
    return [row[place] for row in table.rows]


@pytest.mark.parametrize(
    ("means", "texts"),
    [
        ([0.0000118, 0.0000121], ["0.000011800", "0.000012100"]),
        ([43890.0, 41000.4], ["43,890", "41,000"]),
        ([1.2e9, 0.9e9], ["1,200,000,000", "900,000,000"]),
        ([-0.031, -12.5], ["-0.031", "-12.500"]),
        ([1.1e-9, 1.2e-9], ["1.1000e-09", "1.2000e-09"]),
        ([0.0, 0.0], ["0", "0"]),
        ([1.0], ["1.0000"]),
    ],
    ids=["tiny", "megawatts", "billions", "negative", "a billionth", "nothing but zero", "one step"],
)
def test_numbers_are_as_precise_as_their_series_is_large(means: Sequence[float], texts: list[str]) -> None:
    table = build_forecast_table(rows_of(*means), DAYS, with_series=False)

    assert cells(table, "mean") == texts
    decimals = {len(text.partition(".")[2]) for row in table.rows for text in row[1:4]}
    assert len(decimals) == 1


def test_series_of_other_sizes_in_one_panel_have_their_own_digits() -> None:
    rows = [*rows_of(0.0000118, series="coin"), *rows_of(43890.0, series="load"), *rows_of(0.0, series="zero")]

    table = build_forecast_table(rows, DAYS, with_series=True)

    assert cells(table, "series") == ["coin", "load", "zero"]
    assert cells(table, "mean") == ["0.000011800", "43,890", "0"]
    assert cells(table, "upper_80") == ["0.000012980", "48,279", "0"]


def test_the_two_hours_of_a_clock_change_are_two() -> None:
    table = build_forecast_table(rows_of(1, 2, 3, 4), HOURS, with_series=False)

    assert cells(table, "period (America/Los_Angeles)") == [
        "2026-11-01 00:00-07:00",
        "2026-11-01 01:00-07:00",
        "2026-11-01 01:00-08:00",
        "2026-11-01 02:00-08:00",
    ]


def test_labels_are_those_of_the_recipe() -> None:
    hourly = build_recipe("load", frequency="h", source={"zone": "Europe/Amsterdam"})
    daily = build_recipe("shop", frequency="D", source={"zone": "Europe/Amsterdam"})

    assert hourly.labels == PeriodLabels(is_within_day=True, zone="Europe/Amsterdam")
    assert daily.labels.heading == "period"
    assert build_recipe("load", frequency="h").labels.heading == "period (UTC)"


# from the store


@pytest.fixture
def observed_store(store: Store) -> Store:
    """The small series is known."""
    store.recipes.register(small_recipe())
    take_in(store, small_batch(), NOW)
    return store


@pytest.fixture
def model(observed_store: Store) -> ModelVersion:
    """The champion."""
    return add_untrained(observed_store)


def published(store: Store, model: ModelVersion, names: Sequence[str], **changes: Any) -> None:
    take_in(store, batch({name: monthly([1]) for name in names}), NOW)
    publish(store, replace(forecast(series=tuple(names)), **changes), model)


def table_of(store: Store, series: str | None = None, **options: Any) -> ForecastTable:
    table = read_forecast_table(small_recipe(), store, series, **options)
    assert table is not None
    return table


def test_a_single_series_is_shown_whole(observed_store: Store, model: ModelVersion) -> None:
    publish(observed_store, forecast([100, 110, 120]), model)

    table = table_of(observed_store)

    assert table.columns == ("period", "mean", "lower_80", "upper_80", "method")
    assert cells(table, "period") == ["2023-05-01", "2023-06-01", "2023-07-01"]
    assert cells(table, "mean") == ["100.00", "110.00", "120.00"]
    assert table.notes == ()
    assert table_of(observed_store, with_series=True).columns[0] == "series"


def test_of_many_series_whole_ones_are_shown_and_the_rest_is_counted(
    observed_store: Store, model: ModelVersion
) -> None:
    names = [f"s{n:03d}" for n in range(100)]
    published(observed_store, model, names)

    table = table_of(observed_store)

    assert len(table.rows) == 39 <= MOST_ROWS
    assert sorted(set(cells(table, "series"))) == names[:13]
    assert table.notes == ("and 261 more rows of 100 series: nextperiod show small --series NAME, or --csv FILE",)
    assert len(table_of(observed_store, "s077").rows) == 3


def test_why_series_were_forecast_otherwise_stands_below(observed_store: Store, model: ModelVersion) -> None:
    names = ["a", "b", "c"]
    published(
        observed_store,
        model,
        names,
        method=("lstm", "fallback:naive", "fallback:naive"),
        reason=(None, "promo is not known for 1 of 3 periods ahead", "it is too short"),
        network_steps=(0, 2, 0),
    )

    assert table_of(observed_store).notes == (
        "of 3 series 1 by fallback:naive: it is too short",
        "of 3 series 1 by fallback:naive from step 3 on: promo is not known for 1 of 3 periods ahead",
    )
    assert table_of(observed_store, "b").notes == (
        "step 3 by fallback:naive: promo is not known for 1 of 3 periods ahead",
    )
    assert table_of(observed_store, "c").notes == ("fallback:naive: it is too short",)
    assert cells(table_of(observed_store, "b"), "method") == ["lstm", "lstm", "fallback:naive"]


def test_nothing_is_shown_where_nothing_is_published(observed_store: Store, model: ModelVersion) -> None:
    assert read_forecast_table(small_recipe(), observed_store) is None
    publish(observed_store, forecast(), model)
    assert read_forecast_table(small_recipe(), observed_store, "unheard of") is None


def test_the_artifact_is_the_same_table_in_markdown() -> None:
    rows = rows_of(0.0000118, series="a|b <i>")

    table = build_forecast_table(rows, HOURS, ["and 2 more rows"], with_series=True)

    assert _markdown(table) == [
        "| series | period (America/Los_Angeles) | mean | lower_80 | upper_80 | method |\n"
        "| --- | --- | ---: | ---: | ---: | --- |\n"
        "| a\\|b &lt;i> | 2026-11-01 00:00 | 0.000011800 | 0.000010620 | 0.000012980 | lstm |",
        "and 2 more rows",
    ]


def svg_of(picture: str) -> ElementTree.Element:
    """What a browser gets to draw."""
    address = picture.removeprefix("![forecast](data:image/svg+xml;base64,").removesuffix(")")
    return ElementTree.fromstring(base64.b64decode(address))


def test_the_picture_of_an_artifact_is_an_svg_of_the_history_the_forecast_and_its_interval() -> None:
    picture = draw_forecast(rows_of(10.0, 20.0), np.array([10.0, np.nan, 22.0]))

    band, past, ahead = svg_of(picture)
    assert past.get("points") == "6.0,142.6 320.0,6.0"  # from 10 to 22, the highest value; the gap has no point
    assert ahead.get("points") == "477.0,142.6 634.0,28.8"
    assert len((band.get("points") or "").split()) == 4


def test_a_forecast_without_a_history_and_of_one_step_is_drawn() -> None:
    flat = svg_of(draw_forecast(rows_of(5.0, width=0), np.empty(0)))

    assert flat[2].get("points") == "6.0,154.0"


def test_the_picture_of_a_long_history_stays_small() -> None:
    assert len(draw_forecast(rows_of(*range(1, 169)), np.random.default_rng(0).normal(size=100_000))) < 12_000


def test_the_caption_of_the_picture_names_the_series_the_range_and_the_unit() -> None:
    rows = rows_of(1000.0, 2000.0)

    assert describe_picture(rows, np.ones(3), "MW") == (
        "a: observed (grey), forecast and 80 % interval (blue), 900.0 to 2,200.0 MW"
    )
    assert describe_picture(rows, np.empty(0), None) == "a: forecast and 80 % interval (blue), 900.0 to 2,200.0"
