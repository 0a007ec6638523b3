"""What a network does not know at the origin: covariates of the periods ahead, covariates that lag, gaps in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.config.recipe import Recipe
from pipeline.forecasting.forecaster import prepare_inputs
from pipeline.jobs.inputs import check_covariates
from pipeline.preprocessing.covariates import Features, fit_features
from pipeline.preprocessing.missing_covariates import MissingCovariates, find_missing_covariates
from pipeline.preprocessing.scaling import Scaling
from pipeline.preprocessing.windows import Windows
from pipeline.timeseries.panel import Panel
from tests.support.recipes import build_recipe
from tests.support.shops import HORIZON, LENGTHS, recipe_of, shops_panel

NAN = float("nan")
Array = npt.NDArray[np.float64]


def panel_with(
    promo: list[float], *, length: int = 6, ahead: int = 3, past: dict[str, list[float]] | None = None
) -> Panel:
    """One daily series, with a promotion for its periods and the ones ahead."""
    return Panel(
        series=("a",),
        grid=np.datetime64("2026-01-01", "us") + np.arange(length) * np.timedelta64(1, "D"),
        first=np.array([0]),
        offsets=np.array([0, length]),
        values=np.arange(1.0, length + 1),
        past={name: np.array(values) for name, values in (past or {}).items()},
        future={"promo": np.array(promo)},
        ahead=ahead,
    )


def daily(covariates: str, *, horizon: int = 3, **keys: object) -> Recipe:
    return build_recipe("shop", frequency="D", horizon=horizon, covariates=covariates, season_length=2, **keys)


def missing_of(panel: Panel, recipe: Recipe) -> MissingCovariates:
    missing = find_missing_covariates(panel, recipe)
    assert missing is not None
    return missing


@pytest.mark.parametrize(
    ("ahead", "num_known", "reason"),
    [
        ([NAN, NAN, NAN], 0, "promo is not known for 3 of 3 periods ahead"),
        ([1, NAN, NAN], 1, "promo is not known for 2 of 3 periods ahead"),
        ([1, 0, NAN], 2, "promo is not known for 1 of 3 periods ahead"),
        ([NAN, 0, 1], 0, "promo is not known for 1 of 3 periods ahead"),
        ([1, NAN, 1], 1, "promo is not known for 1 of 3 periods ahead"),
    ],
    ids=["none", "one", "two", "not the first", "a hole"],
)
def test_steps_count_as_known_up_to_the_first_one_that_is_not(ahead: list[float], num_known: int, reason: str) -> None:
    missing = missing_of(panel_with([0, 1, 0, 1, 0, 1, *ahead]), daily('future = ["promo"]'))

    assert missing.num_known_steps.tolist() == [num_known]
    assert missing.reasons == (reason,)


def test_a_horizon_of_one_period_is_spoken_of_in_the_singular() -> None:
    panel = panel_with([0, 1, 0, 1, 0, 1, NAN], ahead=1)

    assert missing_of(panel, daily('future = ["promo"]', horizon=1)).reasons == (
        "promo is not known for 1 of 1 period ahead",
    )


def test_nothing_is_missing_where_all_is_known_or_nothing_is_read() -> None:
    known = panel_with([0, 1, 0, 1, 0, 1, 0, 0, 1])

    assert find_missing_covariates(known, daily('future = ["promo"]')) is None
    assert find_missing_covariates(known, daily("")) is None
    assert find_missing_covariates(replace(known, future={}, ahead=0), daily('calendar = ["weekday"]')) is None


def test_each_covariate_of_each_series_counts_for_itself() -> None:
    panel, recipe = shops_panel(), recipe_of()
    offer = panel.future["offer"].copy()
    offer[-2:] = np.nan  # of the second shop, whose values come last

    missing = missing_of(replace(panel, future={"offer": offer}), recipe)

    assert missing.num_known_steps.tolist() == [HORIZON, 1]
    assert missing.reasons == (None, "offer is not known for 2 of 3 periods ahead")


def test_several_covariates_are_named_each_with_its_count() -> None:
    panel = panel_with([0, 1, 0, 1, 0, 1, 0, 1, NAN])
    panel = replace(panel, future={**panel.future, "rain": np.array([5.0, 4, 3, 2, 1, 0, NAN, NAN, NAN])})

    missing = missing_of(panel, daily('future = ["promo", "rain"]'))

    assert missing.num_known_steps.tolist() == [0]
    assert missing.reasons == (
        "promo is not known for 1 of 3 periods ahead, rain is not known for 3 of 3 periods ahead",
    )


@pytest.mark.parametrize(("lag", "is_missing"), [(0, False), (3, False), (4, True), (5, True)])
def test_a_past_covariate_may_lag_by_a_season_or_a_horizon(lag: int, is_missing: bool) -> None:
    price = [10.0, 11, 12, 13, 14, 15][: 6 - lag] + [NAN] * lag
    panel = panel_with([0.0] * 9, past={"price": price})

    missing = find_missing_covariates(panel, daily('past = ["price"]\nfuture = ["promo"]'))

    assert (missing is not None) == is_missing
    if missing is not None:
        assert missing.num_known_steps.tolist() == [0]
        assert missing.reasons == (f"price is not known for the last {lag} periods",)


def test_a_covariate_that_a_series_never_had_is_not_missing() -> None:
    """Its network was fitted without it, too: promotions of some shops, prices of some products."""
    panel, recipe = shops_panel(), recipe_of()
    offer, price = panel.future["offer"].copy(), panel.past["price"].copy()
    offer[: LENGTHS[0] + HORIZON], price[: LENGTHS[0]] = NAN, NAN
    offer[-1] = NAN

    missing = missing_of(replace(panel, past={"price": price}, future={"offer": offer}), recipe)

    assert missing.num_known_steps.tolist() == [HORIZON, HORIZON - 1]
    assert missing.reasons == (None, "offer is not known for 1 of 3 periods ahead")


def test_a_series_that_has_ended_lacks_nothing() -> None:
    """Its promotions are not delivered any more, and it is not forecast."""
    panel, recipe = shops_panel(), recipe_of()
    offer = panel.future["offer"].copy()
    offer[LENGTHS[0] - 4 : LENGTHS[0] + HORIZON - 4] = NAN
    kept = np.r_[0 : LENGTHS[0] + HORIZON - 4, LENGTHS[0] + HORIZON : len(offer)]
    ended = replace(
        panel,
        offsets=panel.offsets - np.array([0, 4, 4]),
        values=np.delete(panel.values, np.s_[LENGTHS[0] - 4 : LENGTHS[0]]),
        past={"price": np.delete(panel.past["price"], np.s_[LENGTHS[0] - 4 : LENGTHS[0]])},
        future={"offer": offer[kept]},
    )

    assert ended.last.tolist() == [LENGTHS[0] - 5, LENGTHS[0] - 1]
    assert find_missing_covariates(ended, recipe) is None
    check_covariates(ended, recipe_of('missing = "error"'))


# what was known at an earlier period


def test_a_panel_that_is_cut_knows_as_many_periods_ahead_as_the_whole_one() -> None:
    panel = panel_with([0, 1, 2, 3, 4, 5, 6, NAN, NAN])

    earlier = panel.until(3)

    assert panel.covariate_reach["promo"].tolist() == [1]
    np.testing.assert_array_equal(earlier.future["promo"], [0, 1, 2, 3, 4, NAN, NAN])
    assert missing_of(earlier, daily('future = ["promo"]')).num_known_steps.tolist() == [1]


def test_a_panel_that_is_cut_keeps_all_that_is_ahead_where_all_is_known() -> None:
    panel = panel_with([0, 1, 2, 3, 4, 5, 6, 7, 8])

    assert panel.until(3).future["promo"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert panel.until(5).data_hash == panel.data_hash


def test_a_covariate_that_lags_now_lagged_then() -> None:
    panel = panel_with([0.0] * 6 + [NAN] * 3, past={"price": [10, 11, 12, 13, NAN, NAN]})

    earlier = panel.until(3)

    assert panel.covariate_reach["price"].tolist() == [-2]
    np.testing.assert_array_equal(earlier.past["price"], [10, 11, NAN, NAN])


def test_a_series_that_ended_counts_like_the_least_known_one_at_the_origin() -> None:
    panel = shops_panel()
    last = panel.last - np.array([4, 0])
    ended = panel._slice(
        np.arange(2), panel.offsets[:2], panel.offsets[1:] - np.array([4, 0]), grid=slice(0, len(panel.grid))
    )
    offer = ended.future["offer"].copy()
    offer[-1:] = np.nan

    reach = replace(ended, future={"offer": offer}).covariate_reach

    assert ended.last.tolist() == last.tolist()
    assert reach["offer"].tolist() == [HORIZON - 1, HORIZON - 1]


# what a network reads in a gap


def scaled(values: list[float], *, missing: str = "fallback") -> tuple[Features, Array]:
    panel = panel_with([0.0] * len(values) + [NAN] * 3, length=len(values), past={"price": values})
    features = fit_features(panel, daily(f'past = ["price"]\nfuture = ["promo"]\nmissing = "{missing}"'))
    return features, features.transform(panel).past[:, 0].astype(float)


def test_a_slow_covariate_is_carried_over_a_gap() -> None:
    slow = [float(n) for n in range(60)]

    features, read = scaled([*slow, NAN, NAN, 62])

    assert features.persistence["price"] > 0.9
    np.testing.assert_allclose(read[60:62], read[59], rtol=0.15)


def test_an_event_is_not_carried_over_a_gap() -> None:
    events = [1.0 if n % 4 == 0 else 0.0 for n in range(61)]

    features, read = scaled([*events, NAN, NAN, 0])

    assert events[-1] == 1
    assert features.persistence["price"] == 0
    assert read[60] > 1.5
    assert read[61:63].tolist() == [0, 0]  # neither an event nor none: the mean


def test_the_last_value_is_carried_forward_where_the_recipe_says_so() -> None:
    events = [1.0 if n % 4 == 0 else 0.0 for n in range(61)]

    features, read = scaled([*events, NAN, NAN, 0], missing="last")

    assert features.persistence == {}
    assert read[61] == read[62] == read[60]


def test_features_stored_before_there_was_a_persistence_carry_forward() -> None:
    features, _ = scaled([1.0, 0, 0, 1, 0, 1, NAN])
    stored = {key: value for key, value in features.as_dict().items() if key != "persistence"}

    assert Features(**stored).persistence == {}


def test_the_persistence_of_a_covariate_is_that_of_its_series_together() -> None:
    panel = shops_panel()
    constant = replace(panel, past={"price": np.repeat([5.0, 7.0], LENGTHS)})

    assert fit_features(constant, recipe_of()).persistence["price"] == 1
    assert 0 <= fit_features(panel, recipe_of()).persistence["price"] < 0.5


# a window that ends earlier is read with what a live forecast knows


def contexts_of(panel: Panel, recipe: Recipe, end: int, *, carry_forward: bool) -> dict[str, Array]:
    features = fit_features(panel, recipe)
    arrays = features.transform_as_live(panel, carry_forward=carry_forward)
    windows = Windows(np.array([0]), np.array([end]))
    inputs = prepare_inputs(panel, arrays, windows, Scaling(kind="last"), 3).inputs
    centre, scale = features.future["promo"]["a"]
    past_centre, past_scale = features.past["price"]["a"]
    return {
        "price": inputs["context"][0, :, 2] * past_scale + past_centre,
        "promo": inputs["context"][0, :, 3] * scale + centre,
        "ahead": inputs["ahead"][0, :, 0] * scale + centre,
    }


PRICE, PROMO = [10.0, 11, 12, 13, NAN, NAN], [0.0, 1, 2, 3, 4, 5, 6, NAN, NAN]


def test_a_backtest_carries_forward_as_far_as_a_live_forecast_does() -> None:
    panel = panel_with(PROMO, past={"price": PRICE})
    recipe = daily('past = ["price"]\nfuture = ["promo"]\nmissing = "last"')

    read = contexts_of(panel, recipe, 3, carry_forward=True)

    np.testing.assert_allclose(read["price"], [11, 11, 11], rtol=1e-6)  # it lags by two periods
    np.testing.assert_allclose(read["promo"], [1, 2, 3], atol=1e-6)
    np.testing.assert_allclose(read["ahead"], [4, 4, 4], rtol=1e-6)  # one period is known ahead


def test_a_backtest_of_steps_that_are_published_reads_what_came_true() -> None:
    panel = panel_with(PROMO, past={"price": PRICE})
    recipe = daily('past = ["price"]\nfuture = ["promo"]\nmissing = "last"')

    read = contexts_of(panel, recipe, 3, carry_forward=False)

    np.testing.assert_allclose(read["price"], [11, 11, 11], rtol=1e-6)
    np.testing.assert_allclose(read["ahead"], [4, 5, 6], rtol=1e-6)


def test_a_backtest_reads_all_where_a_live_forecast_knows_all() -> None:
    panel, recipe = shops_panel(), recipe_of()
    features = fit_features(panel, recipe)

    assert features.transform_as_live(panel, carry_forward=True).as_live is None
