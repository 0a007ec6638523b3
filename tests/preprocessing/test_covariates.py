"""What networks read beside the values: covariates, calendar, attributes; and that nothing of the future is in a window."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.errors import InvalidRecipe
from pipeline.forecasting.forecaster import prepare_inputs
from pipeline.preprocessing.covariates import Features, features_from_dict, fit_features
from pipeline.preprocessing.scaling import Scaling
from pipeline.preprocessing.windows import Windows
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.observations import Observations
from pipeline.timeseries.panel import Panel, add_covariate
from tests.support.shops import CONTEXT, EVERY, HORIZON, LENGTHS, recipe_of, shops_panel

Array = npt.NDArray[np.float64]


def read(panel: Panel, features: Features, windows: Windows) -> dict[str, Array]:
    return prepare_inputs(panel, features.transform(panel), windows, Scaling(kind="last"), CONTEXT).inputs


def at(series: int, end: int) -> Windows:
    return Windows(np.array([series]), np.array([end]))


@pytest.mark.parametrize("series", [0, 1])
@pytest.mark.parametrize("end", [8, 12, 16])
def test_a_changed_future_changes_no_window(series: int, end: int) -> None:
    """Everything after the end of a window is changed but what is known ahead: the window stays to the bit."""
    panel, recipe = shops_panel(), recipe_of(EVERY)
    features = fit_features(panel.until(end), recipe)
    other = {name: told.copy() for name, told in {"values": panel.values, **panel.past}.items()}
    for s in range(2):
        later = slice(panel.offsets[s] + max(end + 1 - int(panel.first[s]), 0), panel.offsets[s + 1])
        for told in other.values():
            told[later] = 1e9
    changed = replace(panel, values=other["values"], past={"price": other["price"]})
    beyond = panel.future["offer"].copy()
    for s in range(2):
        begins = panel.offsets[s] + s * HORIZON + max(end + HORIZON + 1 - int(panel.first[s]), 0)
        beyond[begins : panel.offsets[s + 1] + (s + 1) * HORIZON] = 1e9
    changed = replace(changed, future={"offer": beyond})

    usual, again = read(panel, features, at(series, end)), read(changed, features, at(series, end))
    fitted_again = fit_features(changed.until(end), recipe)

    assert usual.keys() == {"context", "ahead", "static"}
    for name, told in usual.items():
        np.testing.assert_array_equal(again[name], told)
    assert fitted_again == features


def test_a_panel_cut_at_a_position_reads_as_the_whole_one_does_there() -> None:
    panel, recipe = shops_panel(), recipe_of(EVERY)
    features = fit_features(panel, recipe)

    whole, cut = (read(one, features, at(1, 12)) for one in (panel, panel.until(12)))

    for name, told in whole.items():
        np.testing.assert_array_equal(cut[name], told)


def test_channels_are_value_known_past_future_and_calendar() -> None:
    panel = shops_panel()
    features = fit_features(panel, recipe_of('calendar = ["weekday"]'))
    inputs = read(panel, features, at(1, 15))
    local = 15 - int(panel.first[1])
    place = panel.offsets[1] + local + np.arange(1 - CONTEXT, 1)

    context = inputs["context"][0]
    price, offer = panel.past["price"], panel.future["offer"]
    centre, scale = features.past["price"]["b"]
    np.testing.assert_allclose(context[:, 2], (price[place] - centre) / scale, rtol=1e-5)
    assert (centre, scale) == pytest.approx((price[20:].mean(), price[20:].std()))
    centre, scale = features.future["offer"]["b"]
    np.testing.assert_allclose(context[:, 3], (offer[place + HORIZON] - centre) / scale, rtol=1e-4, atol=1e-6)
    angle = 2 * np.pi * ((panel.grid[10:16].astype("datetime64[D]").astype(int) + 3) % 7) / 7
    np.testing.assert_allclose(context[:, 4:], np.stack([np.sin(angle), np.cos(angle)], axis=1), atol=1e-6)
    ahead = inputs["ahead"][0]
    steps = place[-1] + HORIZON + np.arange(1, 4)
    np.testing.assert_allclose(ahead[:, 0], (offer[steps] - centre) / scale, rtol=1e-4, atol=1e-6)
    assert ahead.shape == (HORIZON, 3)
    assert inputs["static"].tolist() == [[0, 1]]
    assert features.counts == {"past": 1, "ahead": 3, "static": 2}


@pytest.mark.parametrize("missing", ["fallback", "last"])
def test_gaps_of_a_covariate_are_filled_from_the_value_before_within_its_series(missing: str) -> None:
    panel = shops_panel()
    price = panel.past["price"].copy()
    price[[3, 4, 20, 21]] = np.nan
    holed = replace(panel, past={"price": price})
    features = fit_features(holed, recipe_of(f'missing = "{missing}"'))

    told = features.transform(holed).past[:, 0]

    kept = features.persistence.get("price", 1.0)
    assert np.isfinite(told).all()
    np.testing.assert_allclose(told[[3, 4]], told[2] * np.array([kept, kept**2]), rtol=1e-6)
    assert told[20] == told[21] == 0  # nothing of this series is known yet


def test_a_covariate_that_nothing_is_known_of_says_nothing() -> None:
    panel = replace(shops_panel(), past={"price": np.full(sum(LENGTHS), np.nan)})

    features = fit_features(panel, recipe_of())

    assert not features.transform(panel).past.any()


def test_a_series_that_was_not_there_takes_the_scale_of_all_and_no_text() -> None:
    panel = shops_panel()
    features = fit_features(panel, recipe_of())
    renamed = replace(panel, series=("a", "new"), static={"region": ("north", "east")})

    inputs = read(renamed, features, at(1, 19))

    centre, scale = features.past["price"][""]
    np.testing.assert_allclose(inputs["context"][0, -1, 2], (panel.past["price"][-1] - centre) / scale, rtol=1e-5)
    assert inputs["static"].tolist() == [[0, 0]]


def test_features_come_back_from_json_as_they_were() -> None:
    features = fit_features(shops_panel(), recipe_of(EVERY))

    told = features_from_dict(json.loads(json.dumps(features.as_dict())))

    for one, other in zip(
        vars_of(features.transform(shops_panel())), vars_of(told.transform(shops_panel())), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def vars_of(arrays: Any) -> list[Any]:
    return [arrays.past, arrays.future, arrays.calendar, arrays.static]


def calendar_of(covariates: str, start: str, frequency: str, count: int, source: str = "") -> Array:
    """The calendar's columns over some periods and the horizon."""
    recipe = recipe_of(covariates, frequency=frequency, source=source)
    grid = np.append(np.datetime64(start, "us"), Frequency(frequency).after(np.datetime64(start, "us"), count - 1))
    panel = Panel(series=("a",), grid=grid, first=np.zeros(1, int), offsets=np.array([0, count]), values=np.ones(count))
    told = replace(panel, past={"price": panel.values}, future={"offer": np.ones(count + 3)}, ahead=3)
    fitted = fit_features(replace(told, static={"region": ("x",)}), recipe)
    return fitted.transform(replace(told, static={"region": ("x",)})).calendar


def test_holidays_of_a_country_count_on_their_day_and_over_the_horizon() -> None:
    days = calendar_of('holidays = "NL"', "2025-12-23", "D", 3)  # to the 25th; the horizon to the 28th

    assert days[:, 0].tolist() == [0, 0, 1, 1, 0, 0]


def test_of_a_month_the_share_of_its_days_counts() -> None:
    months = calendar_of('holidays = "US"', "2025-11-01", "MS", 2)

    np.testing.assert_allclose(months[0, 0], 2 / 30)  # Veterans Day and Thanksgiving
    np.testing.assert_allclose(months[1, 0], 1 / 31)
    assert len(months) == 5


@pytest.mark.parametrize(
    ("by_start", "by_end"),
    [
        (("MS", "2025-10-01"), ("ME", "2025-10-31")),
        (("QS", "2025-01-01"), ("QE", "2025-03-31")),
        (("YS", "2024-01-01"), ("YE", "2024-12-31")),
        (("MS", "2025-10-01"), ("BME", "2025-10-31")),
        (("W-MON", "2025-11-03"), ("W-SUN", "2025-11-09")),
    ],
)
def test_the_calendar_is_that_of_the_period_whichever_day_names_it(
    by_start: tuple[str, str], by_end: tuple[str, str]
) -> None:
    covariates = 'holidays = "US"\ncalendar = ["month", "week"]\nsessions = "XNYS"'
    first = calendar_of(covariates, by_start[1], by_start[0], 4)
    last = calendar_of(covariates, by_end[1], by_end[0], 4)

    np.testing.assert_array_equal(first, last)


def test_sessions_of_an_exchange_count() -> None:
    days = calendar_of('sessions = "XNYS"', "2025-12-24", "D", 4)  # Wednesday; Christmas; a weekend

    assert days[:, 0].tolist() == [1, 0, 1, 0, 0, 1, 1]


def test_hours_are_those_of_the_source_where_it_has_a_zone() -> None:
    utc = calendar_of('calendar = ["hour"]', "2026-07-01T00", "h", 24)
    local = calendar_of('calendar = ["hour"]', "2026-07-01T00", "h", 24, source='zone = "Europe/Amsterdam"')

    np.testing.assert_allclose(local[:-2], utc[2:], atol=1e-6)


@pytest.mark.parametrize(
    ("covariates", "message"),
    [
        ('holidays = "Nederland"', '"covariates.holidays": expected the two letters of a country, such as NL or US'),
        ('sessions = "XXXX"', 'calendar "XXXX" is not known'),
        ('calendar = ["moon"]', "covariates.calendar.0"),
    ],
)
def test_what_is_no_calendar_is_refused(covariates: str, message: str) -> None:
    with pytest.raises(InvalidRecipe, match=message):
        recipe_of(covariates)


def test_a_covariate_is_put_on_the_periods_of_its_series() -> None:
    panel = shops_panel()
    bare = replace(panel, past={}, future={})
    days = panel.grid[[2, 9, 19]]
    beyond = panel.grid[-1] + np.timedelta64(2, "D")
    observations = Observations(
        names=("b", "unknown"),
        series=np.array([0, 0, 0, 0, 1]),
        period=np.append(days, [beyond, days[0]]),
        value=np.array([1.0, 2, 3, 4, 5]),
    )

    past = add_covariate(bare, "x", observations, frequency=Frequency("D"), known_ahead=False).past["x"]
    future = add_covariate(bare, "x", observations, frequency=Frequency("D"), known_ahead=True).future["x"]

    # b begins at position 6 of the grid: the second day is its fourth, the third its last
    assert {int(n): past[n] for n in np.flatnonzero(~np.isnan(past))} == {23: 2, 33: 3}
    assert {int(n): future[n] for n in np.flatnonzero(~np.isnan(future))} == {26: 2, 36: 3, 38: 4}
    assert len(future) == len(past) + 2 * HORIZON


def test_a_panels_hash_knows_its_covariates() -> None:
    panel = shops_panel()

    others = [
        replace(panel, past={"price": panel.past["price"] + 1}),
        replace(panel, future={"offer": panel.future["offer"] + 1}),
        replace(panel, static={"region": ("north", "north")}),
    ]

    assert len({one.data_hash for one in (panel, *others)}) == 4
