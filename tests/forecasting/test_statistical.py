"""AutoETS, AutoARIMA and Theta: whole for every series, whatever the series is like."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from statsforecast.models import AutoARIMA, AutoETS, Theta

from pipeline.errors import InvalidArgument
from pipeline.forecasting import statistical
from pipeline.forecasting.baselines import forecast_naive
from pipeline.forecasting.statistical import METHODS, forecast_statistical, require_statsforecast
from tests.support.panels import panel_of

NAN = float("nan")
SEASON, HORIZON = 4, 6


def seasonal(count: int) -> list[float]:
    noise = np.random.default_rng(0).normal(0, 1, count)
    return [float(100 + n + 10 * np.sin(n * np.pi / 2) + noise[n]) for n in range(count)]


@pytest.mark.parametrize(("name", "model"), [("auto-ets", AutoETS), ("auto-arima", AutoARIMA), ("theta", Theta)])
def test_each_is_what_the_library_says_of_the_series(name: str, model: type) -> None:
    values = seasonal(40)

    quantiles = forecast_statistical(panel_of([values], start="2000-01-01"), HORIZON, SEASON)[name]

    theirs = model(season_length=SEASON).forecast(y=np.array(values), h=HORIZON, level=[80, 95])
    assert quantiles.shape == (1, HORIZON, 5)
    np.testing.assert_array_equal(quantiles[0, :, 2], theirs["mean"])
    np.testing.assert_array_equal(quantiles[0, :, 1], theirs["lo-80"])
    np.testing.assert_array_equal(quantiles[0, :, 4], theirs["hi-95"])


def test_every_series_gets_finite_quantiles_that_do_not_cross() -> None:
    """Gaps, one value, two, always the same, zeros, negative ones, none at the origin."""
    awkward = [
        seasonal(40),
        [NAN if n % 7 == 3 else value for n, value in enumerate(seasonal(40))],
        [NAN] * 39 + [5.0],
        [NAN] * 38 + [5.0, 6.0],
        [7.0] * 40,
        [0.0] * 40,
        [-value for value in seasonal(40)],
        [*seasonal(30), *[NAN] * 10],
    ]

    told = forecast_statistical(panel_of([*awkward], start="2000-01-01"), HORIZON, SEASON)

    assert list(told) == list(METHODS)
    for quantiles in told.values():
        assert quantiles.shape == (len(awkward), HORIZON, 5)
        assert np.isfinite(quantiles).all()
        assert (np.diff(quantiles, axis=-1) >= 0).all()


def test_a_series_without_a_value_at_the_origin_is_forecast_as_by_the_seasonal_naive(
    caplog: pytest.LogCaptureFixture,
) -> None:
    panel = panel_of([seasonal(40), [*seasonal(30), *[NAN] * 10]], start="2000-01-01")

    with caplog.at_level(logging.INFO, "pipeline"):
        told = forecast_statistical(panel, HORIZON, SEASON)

    for quantiles in told.values():
        np.testing.assert_array_equal(quantiles[1, :, 2], forecast_naive(panel, HORIZON, SEASON).mean[1])
    assert "theta used the seasonal naive forecast for 1 of 2 series" in caplog.text


def test_what_lies_after_the_origin_is_not_read() -> None:
    early = panel_of([[*seasonal(30), 1e6, 1e6]], start="2000-01-01").until(29)

    told = forecast_statistical(early, HORIZON, SEASON)

    for name, quantiles in forecast_statistical(panel_of([seasonal(30)], start="2000-01-01"), HORIZON, SEASON).items():
        np.testing.assert_array_equal(told[name], quantiles)


def test_without_the_library_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    require_statsforecast()
    monkeypatch.setattr(statistical, "find_spec", lambda name: None)

    with pytest.raises(InvalidArgument, match=r"needs statsforecast.*: pip install nextperiod\[classical\]$"):
        require_statsforecast()
