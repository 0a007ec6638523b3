"""Panels and forecasts as data frames: what is read, what is refused and in which words, and the way back."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.timeseries.forecast import Forecast
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.panel import Panel

NAN = float("nan")
DAILY, HOURLY, MONTHLY = Frequency("D"), Frequency("h"), Frequency("MS")


def frame_of(periods: Any, values: Any = (1.0, 2.0), series: Any = "a") -> pd.DataFrame:
    return pd.DataFrame({"series": series, "period": periods, "value": values})


def periods_of(panel: Panel) -> list[str]:
    return [str(period.astype("datetime64[m]")).removesuffix("T00:00") for period in panel.grid]


def refusal(frame: pd.DataFrame, frequency: Frequency = MONTHLY, **columns: Any) -> str:
    with pytest.raises(ValueError, match=".") as refused:
        Panel.from_frame(frame, frequency, **columns)
    return str(refused.value)


def test_rows_may_be_in_any_order_and_series_are_sorted_by_name() -> None:
    frame = frame_of(["2020-02-01", "2020-01-01", "2020-03-01"], [2.0, 1.0, 3.0], ["b", "b", "a"])

    panel = Panel.from_frame(frame, MONTHLY)

    assert panel.series == ("a", "b")
    assert [panel.series_values(s).tolist() for s in range(2)] == [[3], [1, 2]]
    assert periods_of(panel) == ["2020-01-01", "2020-02-01", "2020-03-01"]


def test_missing_values_and_missing_rows_are_gaps() -> None:
    frame = frame_of(["2020-01-01", "2020-02-01", "2020-04-01", "2020-05-01"], [1.0, NAN, 4.0, None])

    np.testing.assert_array_equal(Panel.from_frame(frame, MONTHLY).values, [1, NAN, NAN, 4])


@pytest.mark.parametrize(
    "periods",
    [
        ["2020-01-01", "2020-02-01"],
        ["2020-01", "2020-02-01T00:00"],
        [date(2020, 1, 1), date(2020, 2, 1)],
        [datetime(2020, 1, 1), datetime(2020, 2, 1)],
        [datetime(2020, 1, 1), "2020-02-01"],
        np.array(["2020-01", "2020-02"], "datetime64[M]").astype("datetime64[s]"),
        pd.to_datetime(["2020-01-01", "2020-02-01"]),
        pd.period_range("2020-01", periods=2, freq="M"),
        pd.array(["2020-01-01", "2020-02-01"], "string"),
    ],
    ids=["texts", "months", "dates", "datetimes", "mixed", "seconds", "index", "pandas periods", "string dtype"],
)
def test_periods_are_read_from_every_type(periods: Any) -> None:
    assert periods_of(Panel.from_frame(frame_of(periods), MONTHLY)) == ["2020-01-01", "2020-02-01"]


@pytest.mark.parametrize(
    ("alias", "period_alias", "expected"),
    [
        ("ME", "M", ["2020-01-31", "2020-02-29"]),
        ("W-SUN", "W-SUN", ["2020-01-05", "2020-01-12"]),
        ("QS", "Q", ["2020-01-01", "2020-04-01"]),
        ("D", "D", ["2020-01-01", "2020-01-02"]),
        ("h", "h", ["2020-01-01", "2020-01-01T01:00"]),
    ],
)
def test_pandas_periods_become_the_periods_of_the_frequency(alias: str, period_alias: str, expected: list[str]) -> None:
    periods = pd.period_range("2020-01-01", periods=2, freq=period_alias)

    assert periods_of(Panel.from_frame(frame_of(periods), Frequency(alias))) == expected


def test_instants_with_a_zone_are_converted_to_utc_and_days_stay_local_days() -> None:
    hours = pd.date_range("2020-07-01", periods=2, freq="h", tz="Europe/Amsterdam")
    days = pd.date_range("2020-07-01", periods=2, freq="D", tz="Europe/Amsterdam")

    assert periods_of(Panel.from_frame(frame_of(hours), HOURLY)) == ["2020-06-30T22:00", "2020-06-30T23:00"]
    assert periods_of(Panel.from_frame(frame_of(days), DAILY)) == ["2020-07-01", "2020-07-02"]


def test_texts_with_the_offsets_of_summer_and_winter_are_instants() -> None:
    frame = frame_of(["2020-10-25T02:00+02:00", "2020-10-25T02:00+01:00"])

    assert periods_of(Panel.from_frame(frame, HOURLY)) == ["2020-10-25", "2020-10-25T01:00"]


def test_without_a_column_of_names_the_series_is_named_like_the_values() -> None:
    frame = pd.DataFrame({"month": ["2020-01-01"], "milk": [3]})

    panel = Panel.from_frame(frame, MONTHLY, series=None, period="month", value="milk")

    assert panel.series == ("milk",)
    assert panel.values.tolist() == [3]


@pytest.mark.parametrize("names", [[2, 10], pd.Categorical(["2", "10"])])
def test_names_may_be_numbers_or_categories(names: Any) -> None:
    panel = Panel.from_frame(frame_of(["2020-01-01", "2020-01-01"], [1.0, 2.0], names), MONTHLY)

    assert panel.series == ("10", "2")
    assert panel.values.tolist() == [2, 1]


@pytest.mark.parametrize(
    "values", [[1, 2], ["1", " 2"], [Decimal(1), Decimal(2)], pd.array([1, 2], "Int64"), pd.array([1, 2], "Float32")]
)
def test_numbers_are_read_from_every_type(values: Any) -> None:
    assert Panel.from_frame(frame_of(["2020-01-01", "2020-02-01"], values), MONTHLY).values.tolist() == [1, 2]


def test_the_state_of_knowledge_is_kept() -> None:
    as_of = datetime(2020, 3, 1, tzinfo=timezone(timedelta(hours=1)))

    assert Panel.from_frame(frame_of(["2020-01-01", "2020-02-01"]), MONTHLY, as_of=as_of).as_of == as_of


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (frame_of(["x"] * 2).drop(columns="series"), "the data frame has no column series: it has period, value"),
        (
            frame_of(["2020-01-01", "2020-02-01"], series=["a", None]),
            'column "series", row 1: the name of the series is missing',
        ),
        (
            frame_of(["2020-01-01", "soon"]),
            'column "period", series "a", row 1: the period is \'soon\': expected a datetime, a date, an ISO 8601 text or '
            "a pandas period",
        ),
        (
            frame_of([date(2020, 1, 1), 7]),
            'column "period", series "a", row 1: the period is 7: expected a datetime, a date, an ISO 8601 text or a '
            "pandas period",
        ),
        (
            frame_of([1, 2]),
            'column "period" is of type int64: expected a datetime, a date, an ISO 8601 text or a pandas period in each '
            "row",
        ),
        (frame_of(["2020-01-01", None]), 'column "period", series "a", row 1: the period is missing'),
        (
            frame_of(["2020-01-01T00:00+01:00", "2020-07-01T00:00+02:00"]),
            'column "period" has periods of different zones: expected one zone',
        ),
        (
            frame_of(["2020-01-01", "2020-02-01"], [1, "two"]),
            'column "value", series "a", period 2020-02-01: expected a finite number, received \'two\'',
        ),
        (
            frame_of(["2020-01-01", "2020-02-01"], [1, float("inf")]),
            'column "value", series "a", period 2020-02-01: expected a finite number, received inf',
        ),
        (
            frame_of(["2020-01-01", "2020-02-01"], [True, False]),
            'column "value" is of type bool: expected numbers',
        ),
        (
            frame_of(["2020-01-01", "2020-02-02"]),
            'series "a" has a value for 2020-02-02: expected a period of "MS"',
        ),
        (
            frame_of(["2020-01-01", "2020-01-01"]),
            'series "a" has two values for 2020-01-01: expected one value a period',
        ),
        (frame_of(["2020-01-01", "2020-02-01"], NAN), "a panel needs at least one observation"),
        (frame_of([], []), "the data frame has no rows: expected at least one observation"),
    ],
)
def test_a_frame_that_cannot_be_used_is_refused_with_its_fault(frame: pd.DataFrame, message: str) -> None:
    assert refusal(frame) == message


def test_a_day_without_session_is_refused() -> None:
    message = refusal(frame_of(["2024-11-27", "2024-11-28"]), Frequency("B", "XNYS"))

    assert message == 'series "a" has a value for 2024-11-28: expected a session of XNYS'


def test_one_column_for_two_things_is_refused() -> None:
    assert "expected different columns" in refusal(frame_of(["2020-01-01"], [1]), series="value")


def test_a_column_that_stands_twice_is_refused() -> None:
    frame = frame_of(["2020-01-01"], [1])

    assert refusal(pd.concat([frame, frame[["value"]]], axis=1)) == (
        'the data frame has two columns "value": expected one'
    )


def test_a_panel_is_a_row_for_each_period_of_each_series() -> None:
    panel = Panel.from_frame(
        frame_of(["2020-01-01", "2020-03-01", "2020-02-01"], [1.0, 3.0, 5.0], ["a", "a", "b"]), MONTHLY
    )

    frame = panel.to_frame()

    assert list(frame.columns) == ["series", "period", "value"]
    assert frame["series"].tolist() == ["a", "a", "a", "b"]
    assert frame["period"].tolist() == [pd.Timestamp(2020, month, 1) for month in (1, 2, 3, 2)]
    np.testing.assert_array_equal(frame["value"], [1, NAN, 3, 5])


observed = st.one_of(st.just(NAN), st.floats(-1e9, 1e9))
rows = st.lists(observed, min_size=1, max_size=8)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    series=st.dictionaries(st.text(min_size=1, max_size=3), rows, min_size=1, max_size=4),
    grid=st.sampled_from([("D", None), ("MS", None), ("ME", None), ("W-SUN", None), ("6h", None), ("B", "XNYS")]),
    shuffled=st.randoms(),
)
def test_a_panel_is_the_same_after_a_round_trip_through_a_frame(
    series: dict[str, list[float]], grid: tuple[str, str | None], shuffled: Any
) -> None:
    frequency = Frequency(*grid)
    periods = frequency.after(np.datetime64("2020-01-01", "us"), 8)
    long = [(name, periods[t], value) for name, values in series.items() for t, value in enumerate(values)]
    long.append(("always", periods[0], 1.0))
    panel = Panel.from_frame(pd.DataFrame(long, columns=["series", "period", "value"]), frequency)

    frame = panel.to_frame()
    again = Panel.from_frame(frame.sample(frac=1, random_state=shuffled.randrange(100)), frequency)

    assert again.data_hash == panel.data_hash
    pd.testing.assert_frame_equal(again.to_frame(), frame)


def test_a_forecast_is_a_row_for_each_series_and_step() -> None:
    mean = np.array([[10.0, 20.0], [30.0, 40.0]])
    forecast = Forecast(
        series=("a", "b"),
        origin=np.datetime64("2020-01-01", "us"),
        periods=np.array(["2020-02-01", "2020-03-01"], "datetime64[us]"),
        mean=mean,
        quantiles=mean[:, :, None] + np.array([-2.0, -1, 0, 1, 2]),
        method=("lstm", "fallback:naive"),
        reason=(None, "too short"),
        baseline=mean,
        scale=np.ones(2),
    )

    frame = forecast.to_frame()

    assert list(frame.columns) == [
        *("series", "period", "step", "mean", "lower_95", "lower_80", "median", "upper_80", "upper_95", "method"),
        "reason",
    ]
    assert frame["series"].tolist() == ["a", "a", "b", "b"]
    assert frame["period"].tolist() == [pd.Timestamp(2020, 2, 1), pd.Timestamp(2020, 3, 1)] * 2
    assert frame["step"].tolist() == [1, 2, 1, 2]
    assert frame["mean"].tolist() == [10, 20, 30, 40]
    assert frame["lower_95"].tolist() == [8, 18, 28, 38]
    assert frame["upper_80"].tolist() == [11, 21, 31, 41]
    assert frame["method"].tolist() == ["lstm", "lstm", "fallback:naive", "fallback:naive"]
    assert frame["reason"].isna().tolist() == [True, True, False, False]
    assert frame["reason"].tolist()[2:] == ["too short", "too short"]
