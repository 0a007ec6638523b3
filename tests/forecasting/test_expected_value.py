"""The expected value of a forecast: of quantiles by integration, of intermittent demand by its rate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.forecasting.expected_value import expected_demand, expected_values
from pipeline.forecasting.quantile_function import values_at_scores
from pipeline.timeseries.forecast import NORMAL_SCORES
from tests.support.panels import panel_of

Array = npt.NDArray[np.float64]


def demand(rng: np.random.Generator, share: float, length: int = 60, size: float = 5.0) -> list[float]:
    """Demand in a share of the periods, of a size that is skewed."""
    return np.where(rng.random(length) < share, np.ceil(rng.exponential(size, length)), 0.0).tolist()


def test_the_expected_value_of_symmetric_quantiles_is_the_median_to_the_last_bit() -> None:
    quantiles = np.array([[1.0, 2.0, 5.0, 8.0, 9.0], [5.0] * 5])

    assert expected_values(quantiles).tolist() == [5.0, 5.0]
    assert expected_values(quantiles[1:], logarithms=True).tolist() == [5.0]


@pytest.mark.parametrize("deviation", [0.1, 0.5, 1.0])
def test_the_expected_value_of_log_normal_quantiles_is_that_of_the_distribution(deviation: float) -> None:
    quantiles = 100 * np.exp(deviation * NORMAL_SCORES)

    mean = expected_values(quantiles, logarithms=True)

    assert float(mean) == pytest.approx(100 * np.exp(deviation**2 / 2), rel=2e-3)


@pytest.mark.parametrize("logarithms", [False, True])
@pytest.mark.parametrize(
    "quantiles", [[1.0, 2.0, 3.0, 9.0, 20.0], [0.5, 4.0, 5.0, 5.5, 6.0], [0.0, 0.0, 0.0, 1.0, 8.0]]
)
def test_the_expected_value_is_the_mean_of_many_draws(quantiles: list[float], logarithms: bool) -> None:
    scores = np.random.default_rng(0).standard_normal(400_000)

    draws = values_at_scores(np.array(quantiles), scores, logarithms=logarithms)

    assert float(expected_values(np.array(quantiles), logarithms=logarithms)) == pytest.approx(draws.mean(), rel=0.01)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2, 0.5, 0.7])
def test_the_expected_demand_of_a_panel_sums_to_its_demand(share: float) -> None:
    rng = np.random.default_rng(1)
    rows = {f"part {n}": demand(rng, share) for n in range(300)}
    history = np.array(list(rows.values()))

    is_intermittent, expected = expected_demand(panel_of(rows), 6, 12)

    has_demand = (history > 0).any(axis=1)
    assert is_intermittent[has_demand].mean() > (0.8 if share > 0.6 else 0.99)
    assert expected.sum(axis=0) == pytest.approx(np.full(6, history.sum() / 60), rel=0.12)
    assert (expected >= 0).all()


def test_demand_of_one_half_of_the_year_is_expected_in_that_half() -> None:
    rng = np.random.default_rng(2)
    season = np.array([0.0] * 6 + [10, 20, 40, 40, 20, 10])
    values = np.tile(season, 5) * rng.uniform(0.9, 1.1, 60)

    is_intermittent, expected = expected_demand(panel_of({"ice": values.tolist()}), 12, 12)

    assert is_intermittent.tolist() == [True]
    np.testing.assert_allclose(expected[0], season, atol=2.5)


def test_demand_that_has_ceased_is_expected_less_and_less() -> None:
    rng = np.random.default_rng(3)
    sold = np.array(demand(rng, 0.4, 36))

    rates = [
        float(expected_demand(panel_of({"part": [*sold, *[0.0] * count]}), 1, 1)[1][0, 0]) for count in (0, 12, 24)
    ]

    assert rates[0] > 1.2 * rates[1] > 1.4 * rates[2] > 0


@pytest.mark.parametrize(
    "values",
    [[0.0] * 40, [5.0, 0, 3, 4, 2] * 8, [-1.0, 0, 0, 0] * 10, [0.0, 0, 0, 4], [7.0] * 40],
    ids=["never a demand", "rarely without demand", "below 0", "too short", "always the same"],
)
def test_other_series_are_not_intermittent(values: list[float]) -> None:
    is_intermittent, _ = expected_demand(panel_of({"a": values}), 3, 4)

    assert is_intermittent.tolist() == [False]


def test_gaps_are_no_demand_and_no_lack_of_it() -> None:
    values = np.array(demand(np.random.default_rng(4), 0.3))
    with_gaps = values.copy()
    with_gaps[5:40] = np.nan

    rate = float(expected_demand(panel_of({"a": with_gaps.tolist()}), 1, 1)[1][0, 0])

    assert rate == pytest.approx(np.nanmean(with_gaps), rel=0.3)
