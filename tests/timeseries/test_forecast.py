"""A forecast: what may not be in it, and the hash of what is."""

import time
from dataclasses import FrozenInstanceError, replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import ndtri

from pipeline.timeseries.forecast import (
    LEVELS,
    LOWER_80,
    LOWER_95,
    MEDIAN,
    NORMAL_SCORES,
    QUANTILE_COLUMNS,
    UPPER_80,
    UPPER_95,
    Forecast,
)


def forecast_of(*series: str) -> Forecast:
    """Two steps for each series; the numbers follow from its name."""
    mean = np.array([[float(ord(name)), ord(name) + 1.0] for name in series])
    return Forecast(
        series=series,
        origin=np.datetime64("2020-01-01", "us"),
        periods=np.array(["2020-02-01", "2020-03-01"], dtype="datetime64[us]"),
        mean=mean,
        quantiles=mean[:, :, None] + np.array([-2.0, -1, 0, 1, 2]),
        method=tuple("lstm" for _ in series),
        reason=tuple(None for _ in series),
        baseline=mean,
        scale=np.ones(len(series)),
    )


def changed(array: npt.NDArray[np.float64], value: float) -> npt.NDArray[np.float64]:
    other = array.copy()
    other.flat[0] = value
    return other


def test_levels_are_two_intervals_around_the_median() -> None:
    assert LEVELS == (0.025, 0.1, 0.5, 0.9, 0.975)
    assert (LEVELS[LOWER_95], LEVELS[UPPER_95]) == (0.025, 0.975)
    assert (LEVELS[LOWER_80], LEVELS[UPPER_80]) == (0.1, 0.9)
    assert LEVELS[MEDIAN] == 0.5


def test_each_level_has_a_column() -> None:
    assert QUANTILE_COLUMNS == ("lower_95", "lower_80", "median", "upper_80", "upper_95")
    assert QUANTILE_COLUMNS[LOWER_80] == "lower_80"


def test_normal_scores_are_the_normal_quantiles_of_the_levels() -> None:
    np.testing.assert_allclose(NORMAL_SCORES, ndtri(LEVELS), rtol=3e-16)
    np.testing.assert_array_equal(NORMAL_SCORES, -NORMAL_SCORES[::-1])


def test_a_forecast_has_a_row_for_each_series_and_step() -> None:
    forecast = forecast_of("a", "b", "c")

    assert forecast.horizon == 2
    assert forecast.num_rows == 6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", ["mean", "quantiles"])
def test_a_number_that_is_not_finite_is_refused(field: str, value: float) -> None:
    forecast = forecast_of("a", "b")

    with pytest.raises(ValueError, match="not finite"):
        replace(forecast, **{field: changed(getattr(forecast, field), value)})


def test_quantiles_that_cross_are_refused() -> None:
    forecast = forecast_of("a", "b")

    with pytest.raises(ValueError, match="cross"):
        replace(forecast, quantiles=changed(forecast.quantiles, 1e6))


def test_quantiles_that_touch_are_accepted() -> None:
    forecast = forecast_of("a")

    assert replace(forecast, quantiles=np.zeros((1, 2, 5))).quantiles.max() == 0


def test_the_hash_does_not_depend_on_the_order_of_the_series() -> None:
    assert forecast_of("a", "b", "c").content_hash == forecast_of("c", "a", "b").content_hash


def test_the_hash_is_the_same_for_the_same_content() -> None:
    assert forecast_of("a", "b").content_hash == forecast_of("a", "b").content_hash


@pytest.mark.parametrize(
    "other",
    [
        forecast_of("a", "c"),
        forecast_of("a"),
        replace(forecast_of("a", "b"), mean=changed(forecast_of("a", "b").mean, 97.00000001)),
        replace(forecast_of("a", "b"), quantiles=changed(forecast_of("a", "b").quantiles, 0)),
        replace(forecast_of("a", "b"), periods=np.array(["2020-02-01", "2020-03-02"], dtype="datetime64[us]")),
        replace(forecast_of("a", "b"), method=("lstm", "fallback:naive")),
        replace(forecast_of("a", "b"), reason=("too short", None)),
        replace(forecast_of("a", "b"), series=("b", "a")),
    ],
    ids=[
        "a name",
        "fewer series",
        "a mean",
        "a quantile",
        "a period",
        "a method",
        "a reason",
        "names swapped",
    ],
)
def test_the_hash_changes_with_whatever_is_published(other: Forecast) -> None:
    assert other.content_hash != forecast_of("a", "b").content_hash


def test_a_forecast_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        forecast_of("a").series = ("b",)  # type: ignore[misc]


def test_a_zero_has_one_hash_whatever_its_sign() -> None:
    hashes = {
        Forecast(
            series=("a",),
            origin=np.datetime64("2020-01-01", "us"),
            periods=np.array(["2020-02-01"], dtype="datetime64[us]"),
            mean=np.array([[zero]]),
            quantiles=np.full((1, 1, 5), zero),
            method=("lstm",),
            reason=(None,),
            baseline=np.zeros((1, 1)),
            scale=np.zeros(1),
        ).content_hash
        for zero in (0.0, -0.0)
    }

    assert len(hashes) == 1


def test_the_time_of_a_hash_grows_with_the_number_of_series_not_with_its_square() -> None:
    def seconds(num_series: int) -> float:
        large = replace(forecast_of(*(chr(256 + s) for s in range(num_series))), network_steps=(0,) * num_series)
        durations = []
        for _ in range(3):
            began = time.perf_counter()
            _ = large.content_hash
            durations.append(time.perf_counter() - began)
        return min(durations)

    assert seconds(20_000) < 40 * seconds(2_000)
