"""Sample paths: they spread as was published at each step, and from step to step follow each other as the network has it."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.config.recipe import PublishSettings, Recipe
from pipeline.errors import InvalidArgument
from pipeline.forecasting.baselines import forecast_naive
from pipeline.forecasting.error_autocorrelation import baseline_error_scores, lag1_autocorrelation, network_error_scores
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import Forecaster, hash_model, load_forecaster
from pipeline.forecasting.quantile_function import SCORES, scores_of_values, values_at_scores
from pipeline.forecasting.sample_paths import (
    MAX_ROWS,
    PATHS_PER_BLOCK,
    PathSampler,
    build_sampler,
    correlate_scores,
    couple_ranks,
    draw_paths,
    require_feasible_paths,
)
from pipeline.preprocessing.covariates import fit_features
from pipeline.preprocessing.scaling import Scaling
from pipeline.preprocessing.windows import ContextRequirements
from pipeline.timeseries.forecast import LEVELS, Forecast
from pipeline.timeseries.panel import Panel
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainedModel
from tests.support import global_forecasts, shops
from tests.support.examples import small_panel, small_recipe, small_values
from tests.support.panels import panel_of

Array = npt.NDArray[np.float64]

HORIZON = 6
#: what a standard normal value is below of, by level
EXPECTED = np.array([-1.959963984540054, -1.2815515655446004, 0.0, 1.2815515655446004, 1.959963984540054])


class StandIn(Forecaster):
    """A network that is no file."""

    _session = None


@dataclass(frozen=True, kw_only=True)
class Autoregressive(StandIn):
    """Each value is the one before, `times` as large, plus a standard normal error; told exactly, step by step."""

    times: float

    def run_network(self, inputs: Any) -> Array:
        ahead = np.arange(1, self.horizon + 1)
        deviation = np.sqrt(np.cumsum(self.times ** (2.0 * (ahead - 1))))
        mean = inputs["context"][:, -1, :1] * self.times**ahead
        return mean[:, :, None] + (deviation[:, None] * EXPECTED)[None]


@dataclass(frozen=True, kw_only=True)
class Weighing(StandIn):
    """Says something of everything that it reads."""

    def run_network(self, inputs: Any) -> Array:
        rng = np.random.default_rng(0)
        said = sum(
            np.tensordot(told, 0.2 * rng.normal(size=told.shape[1:]), axes=told.ndim - 1) for told in inputs.values()
        )
        steps = np.arange(1, self.horizon + 1)
        return np.asarray(said)[:, None, None] + steps[:, None] * EXPECTED


def recipe_of(horizon: int = HORIZON, minimum: float | None = None, maximum: float | None = None) -> Recipe:
    return small_recipe().model_copy(
        update={"horizon": horizon, "publish": PublishSettings(minimum=minimum, maximum=maximum)}
    )


def autoregressive(times: float, panel: Panel, horizon: int = HORIZON) -> Autoregressive:
    return Autoregressive(
        times=times,
        network=b"",
        scaling=Scaling(kind="standard", per_series=True, fitted=dict.fromkeys(panel.series, (0.0, 1.0))),
        features=fit_features(panel, recipe_of(horizon)),
        needs=ContextRequirements(context=4, least_length=4, least_known=2),
        horizon=horizon,
        interval_widths=None,
        cutoff=panel.origin,
        model_hash="",
    )


def drawn_from(
    network: Forecaster,
    panel: Panel,
    recipe: Recipe,
    *,
    count: int = 2000,
    seed: int = 0,
    published: Forecast | None = None,
) -> tuple[Array, Forecast]:
    """Paths of every series [S, N, H], and what was published."""
    forecast = published or forecast_panel(network, panel, recipe)
    sampler = build_sampler(network, panel, forecast, recipe, seed)
    return np.concatenate(list(draw_paths(sampler, 1, count))).reshape(len(forecast.series), count, -1), forecast


def loaded(outcome: TrainedModel) -> Forecaster:
    return load_forecaster(outcome.files, hash_model(outcome.files))


def assert_spread_as_published(paths: Array, forecast: Forecast) -> None:
    """At each step the share of paths below each published quantile is its level, up to three errors of a sample."""
    error = 3 * np.sqrt(np.array(LEVELS) * (1 - np.array(LEVELS)) / paths.shape[1])
    below, up_to = (
        compare(paths[:, :, :, None], forecast.quantiles[:, None]).mean(axis=1) for compare in (np.less, np.less_equal)
    )
    assert (below - error <= LEVELS).all()
    assert (up_to + error >= LEVELS).all()
    is_single = (np.diff(forecast.quantiles, axis=2) > 0).all()
    assert not is_single or np.abs(below - LEVELS).max() <= 1 / PATHS_PER_BLOCK


def ranks(values: Array) -> Array:
    return np.argsort(np.argsort(values, axis=0), axis=0).astype(float)


# the distribution of a step


def test_published_quantiles_are_at_their_scores() -> None:
    quantiles = np.array([[1.0, 2, 4, 8, 9], [-5, -5, 0, 1, 1]])

    for q, score in enumerate(SCORES):
        np.testing.assert_allclose(values_at_scores(quantiles, np.full(2, score)), quantiles[:, q], rtol=1e-12)
    np.testing.assert_allclose(SCORES, EXPECTED, atol=1e-12)


def test_a_normal_distribution_is_given_back_with_its_tails() -> None:
    scores = np.linspace(-5, 5, 101)

    np.testing.assert_allclose(values_at_scores(10 + 3 * EXPECTED, scores), 10 + 3 * scores, atol=1e-12)


def test_between_levels_and_beyond_them_it_is_the_normal_distribution_through_two() -> None:
    quantiles = np.array([1.0, 2, 4, 8, 9])
    half, beyond = (SCORES[2] + SCORES[3]) / 2, SCORES[4] + (SCORES[4] - SCORES[3])

    np.testing.assert_allclose(values_at_scores(quantiles, np.array([half, beyond, -beyond])), [6, 10, 0], atol=1e-12)


def test_of_positive_quantiles_the_logarithms_are_told_where_that_is_asked_for() -> None:
    quantiles = np.exp(np.array([[1.0, 2, 4, 8, 9]]))
    beyond = SCORES[4] + (SCORES[4] - SCORES[3])

    said = values_at_scores(np.concatenate([quantiles, quantiles - 10]), np.full((3, 2), -beyond), logarithms=True)

    np.testing.assert_allclose(said[:, 0], 1.0)
    np.testing.assert_allclose(said[:, 1], 2 * np.exp(1.0) - np.exp(2.0) - 10)


@pytest.mark.parametrize("logarithms", [False, True])
def test_scores_are_read_off_as_values_are_written(logarithms: bool) -> None:
    quantiles = np.exp(np.sort(np.random.default_rng(0).normal(size=(7, 5))))
    quantiles[0] -= 2
    scores = np.random.default_rng(1).normal(size=(3, 7))

    values = values_at_scores(quantiles, scores, logarithms=logarithms)

    whole = np.broadcast_to(quantiles, (3, 7, 5))
    np.testing.assert_allclose(scores_of_values(whole, values, logarithms=logarithms), scores)


def test_no_score_is_read_off_where_there_is_no_width_or_no_value_and_none_is_further_out_than_four() -> None:
    quantiles = np.array([[1.0, 1, 1, 1, 1], [1, 2, 4, 8, 9], [1, 2, 4, 8, 9], [1, 2, 4, 8, 9]])

    found = scores_of_values(quantiles, np.array([1.0, float("nan"), 1e9, -5]), logarithms=True)

    np.testing.assert_array_equal(found, [np.nan, np.nan, 4, -4])


def test_a_distribution_ends_where_its_outer_quantiles_meet() -> None:
    assert values_at_scores(np.array([0.0, 0, 1, 7, 7]), np.array([-9.0, 9])).tolist() == [0, 7]


# ranks


def test_values_are_handed_out_in_the_order_of_ranks() -> None:
    """As a loop does it, one step after the other."""
    rng = np.random.default_rng(1)
    paths, ties, jitter = rng.integers(5, size=(20, 3)).astype(float), rng.normal(size=(20, 3)), rng.random((20, 3))
    quantiles = np.sort(rng.normal(size=(3, 5)))

    found = couple_ranks(paths, quantiles, ties=ties, jitter=jitter)

    for h in range(3):
        in_order = sorted(range(20), key=lambda n: (paths[n, h], ties[n, h]))
        for rank, n in enumerate(in_order):
            score = _normal_quantile((rank + jitter[n, h]) / 20)
            piece = max(q for q in range(4) if q == 0 or score > EXPECTED[q])
            along = (score - EXPECTED[piece]) / (EXPECTED[piece + 1] - EXPECTED[piece])
            expected = quantiles[h, piece] + along * (quantiles[h, piece + 1] - quantiles[h, piece])
            assert found[n, h] == pytest.approx(expected)


def _normal_quantile(level: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(level)


def test_no_jitter_gives_no_infinity() -> None:
    zeros = np.zeros((4, 1))

    found = couple_ranks(zeros, EXPECTED[None] * 1e300, ties=np.arange(4.0)[:, None], jitter=zeros, logarithms=True)

    assert np.isfinite(found).all()


# fed back, with errors as independent of each other as the network's were


@pytest.mark.parametrize(
    "times", [1.0, 0.7, 0.0, -0.5], ids=["random walk", "persistent", "white noise", "alternating"]
)
def test_steps_depend_on_each_other_as_the_process_says(times: float) -> None:
    panel = panel_of([[1.0, -1, 2, 0, 1]])
    paths, forecast = drawn_from(autoregressive(times, panel), panel, recipe_of(), count=4000)

    variance = np.cumsum(times ** (2.0 * np.arange(HORIZON)))
    earlier, later = np.minimum.outer(*[np.arange(HORIZON)] * 2), np.maximum.outer(*[np.arange(HORIZON)] * 2)
    expected = times ** (later - earlier) * np.sqrt(variance[earlier] / variance[later])
    np.testing.assert_allclose(np.corrcoef(paths[0].T), expected, atol=0.05)
    assert_spread_as_published(paths, forecast)


def test_a_sum_over_the_horizon_spreads_as_the_sum_of_a_random_walk() -> None:
    """Its variance is that of 6 errors, 5, … 1 of them: far more than that of independent steps."""
    panel = panel_of([[0.0] * 5 + [-1.0, 0.0]])
    paths, _ = drawn_from(autoregressive(1.0, panel), panel, recipe_of(), count=4000)

    np.testing.assert_allclose(paths[0].sum(axis=1).var(), sum(n * n for n in range(1, 7)), rtol=0.1)


def test_what_was_published_otherwise_keeps_its_spread_and_the_network_s_order() -> None:
    panel = panel_of([[1.0, -1, 2, 0, 1]])
    network = autoregressive(1.0, panel)
    usual, forecast = drawn_from(network, panel, recipe_of())
    wider = replace(forecast, quantiles=5 + 3 * forecast.quantiles, mean=5 + 3 * forecast.mean)

    paths, _ = drawn_from(network, panel, recipe_of(), published=wider)

    assert_spread_as_published(paths, wider)
    for h in range(HORIZON):
        np.testing.assert_array_equal(ranks(paths[0, :, h]), ranks(usual[0, :, h]))


def grown(panel: Panel, value: float) -> Panel:
    """A panel of one series with one more period, whose covariates stay as they were last."""
    return replace(
        panel,
        grid=np.append(panel.grid, panel.grid[-1] + np.timedelta64(1, "D")),
        offsets=panel.offsets + np.array([0, 1]),
        values=np.append(panel.values, value),
        past={name: np.append(told, told[-1]) for name, told in panel.past.items()},
        future={name: np.append(told, told[-1]) for name, told in panel.future.items()},
    )


def test_it_is_what_a_loop_gives_that_forecasts_from_a_longer_and_longer_panel() -> None:
    """With covariates of every kind, path by path and step by step."""
    recipe, panel = shops.recipe_of(f'{shops.EVERY}\nmissing = "last"'), shops.shops_panel().until(19)
    one = replace(
        panel,
        series=("a",),
        first=panel.first[:1],
        offsets=panel.offsets[:2],
        values=panel.values[:20],
        past={"price": panel.past["price"][:20]},
        future={"offer": panel.future["offer"][:23]},
        static={"region": ("north",)},
    )
    network = Weighing(
        network=b"",
        scaling=Scaling(kind="last"),
        features=fit_features(panel, recipe),
        needs=ContextRequirements(context=6, least_length=6, least_known=3),
        horizon=3,
        interval_widths=None,
        cutoff=panel.origin,
        model_hash="",
    )
    scores = np.random.default_rng(2).normal(size=(5, 3))

    for whole, s in ((panel, 0), (one, 0)):
        sampler = build_sampler(network, whole, forecast_panel(network, whole, recipe), recipe, 0)
        found = sampler.feed_back(s, scores)
        for n in range(5):
            longer = one
            for h in range(3):
                quantiles = network.predict(longer)[2][0, 0]
                longer = grown(longer, float(values_at_scores(quantiles, scores[n, h])))
            np.testing.assert_allclose(found[n], longer.values[-3:])


# what is left of an error


def process(times: float, length: int, seed: int = 0) -> list[float]:
    """Values that are `times` the one before, plus a normal error; their standard deviation is 1."""
    values = [0.0]
    for error in np.random.default_rng(seed).normal(size=length):
        values.append(times * values[-1] + float(np.sqrt(1 - times**2) * error))
    return values[1:]


def test_a_network_that_does_not_follow_carries_its_errors_on() -> None:
    """It says the same whatever comes: fed back alone, its steps would be independent; what it forecasts is not."""
    panel = panel_of([*[process(0.9, 200, seed) for seed in range(8)]])
    network = autoregressive(0.0, panel)
    paths, forecast = drawn_from(network, panel, recipe_of(), count=3000)
    left = build_sampler(network, panel, forecast, recipe_of(), 0).autocorrelation

    assert left.mean() == pytest.approx(0.9, abs=0.15)  # 60 values show a little less
    assert_spread_as_published(paths, forecast)
    lags = np.abs(np.subtract.outer(np.arange(HORIZON), np.arange(HORIZON)))
    for s in range(8):
        np.testing.assert_allclose(np.corrcoef(paths[s].T), left[s] ** lags, atol=0.06)
        assert paths[s].sum(axis=1).var() == pytest.approx((left[s] ** lags).sum(), rel=0.1)


def test_a_network_that_follows_has_no_errors_to_carry_on() -> None:
    panel = panel_of([[value / np.sqrt(1 - 0.9**2) for value in process(0.9, 600)]])
    sampler = build_sampler(
        autoregressive(0.9, panel),
        panel,
        forecast_panel(autoregressive(0.9, panel), panel, recipe_of()),
        recipe_of(),
        0,
    )

    assert abs(sampler.autocorrelation[0]) < 0.25


def test_past_scores_are_how_far_out_each_value_was_when_it_came() -> None:
    """One period ahead of windows up to it alone: what came later changes nothing."""
    panel = panel_of([[1.0, -1, 2, 0, 1, 3, float("nan"), 2, 5], [float("nan")] * 4 + [2.0, 2, 2, 2, 2]])
    network = autoregressive(0.5, panel)

    found = network_error_scores(network, panel, network.features.transform(panel), 8, [0, 1], 6)

    nan = float("nan")
    np.testing.assert_allclose(found[0], [nan, 1 - 0, 3 - 0.5, nan, nan, 5 - 1], atol=1e-12)
    np.testing.assert_allclose(found[1], [nan, nan, nan, nan, nan, 2 - 1], atol=1e-12)
    later = replace(panel, values=np.where(np.arange(len(panel.values)) == 8, 99.0, panel.values))
    np.testing.assert_array_equal(
        network_error_scores(network, later, network.features.transform(later), 8, [0], 6)[0, :5], found[0, :5]
    )


def test_what_is_left_of_an_error_is_as_a_loop_counts_it() -> None:
    errors = np.random.default_rng(5).normal(size=(3, 12))
    errors[0, 3], errors[2] = np.nan, np.nan

    found = lag1_autocorrelation(errors)

    for s in range(3):
        pairs = [pair for pair in zip(errors[s], errors[s, 1:], strict=False) if not np.isnan(pair).any()]
        product, size = sum(a * b for a, b in pairs), sum((a * a + b * b) / 2 for a, b in pairs)
        assert found[s] == pytest.approx(product / (size + 3))
    assert found[2] == 0


def test_scores_that_are_carried_on_stay_standard_normal() -> None:
    scores = correlate_scores(np.random.default_rng(6).normal(size=(20_000, 4)), -0.6)

    np.testing.assert_allclose(scores.std(axis=0), 1, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(scores.T)[0], [1, -0.6, 0.36, -0.216], atol=0.02)


def test_differences_of_a_baseline_are_in_units_of_their_size() -> None:
    panel = panel_of([[1.0, 2, 4, 8, 16], [3.0, 3, 3, 3, 3], [float("nan")] * 4 + [9.0]])

    found = baseline_error_scores(panel, 4, [0, 1, 2], [2, 1, 1], 4)

    nan, size = float("nan"), np.sqrt((9 + 36 + 144) / 3)
    np.testing.assert_allclose(found, [[nan, 3 / size, 6 / size, 12 / size], [nan] * 4, [nan] * 4])


def test_what_explodes_when_it_is_fed_back_stays_near_the_context() -> None:
    panel = panel_of([[1.0, -1, 2, 0, 1]])
    network = autoregressive(1e200, panel)
    published = forecast_panel(autoregressive(1.0, panel), panel, recipe_of())

    paths, _ = drawn_from(network, panel, recipe_of(), published=published)

    assert_spread_as_published(paths, published)


# what stands in


@pytest.mark.parametrize(("row", "lag", "method"), [(small_values(39), 4, "seasonal-naive"), ([3.0, 5, 2], 1, "naive")])
def test_a_baseline_walks_as_its_intervals_do(row: list[float], lag: int, method: str) -> None:
    """By seasons, or from the last value, each error added to those before."""
    row = row if lag > 1 else [float("nan")] * 37 + row
    panel = panel_of([small_values(), row])
    network = replace(
        autoregressive(1.0, panel, 9), needs=ContextRequirements(context=8, least_length=8, least_known=8)
    )

    paths, forecast = drawn_from(network, panel, recipe_of(9), count=4000)

    assert forecast.method == ("lstm", f"fallback:{method}")
    assert_spread_as_published(paths, forecast)
    scores = np.random.default_rng(4).normal(size=(4000, 9))
    walks = build_sampler(network, panel, forecast, recipe_of(9), 0).walk_randomly(1, scores)
    deviation = forecast_naive(panel, 9, recipe_of(9).season).deviation[1]
    np.testing.assert_allclose(walks.std(axis=0), deviation, rtol=0.06)
    step = np.arange(9)
    # the seasonal series ends a month early: every fourth step is of a month that is a season further back
    errors = 1 + step // lag + (lag > 1) * (step % 4 == 3)
    both = np.sqrt(np.minimum.outer(errors, errors) / np.maximum.outer(errors, errors))
    expected = np.where((step[:, None] - step) % lag == 0, both, 0.0)
    np.testing.assert_allclose(np.corrcoef(walks.T), expected, atol=0.06)


# seeds and numbers of paths


def small_sampler(seed: int = 0, rows: int = 2) -> PathSampler:
    panel = panel_of([*[[1.0, -1, 2, 0, 1]] * rows])
    network = autoregressive(1.0, panel)
    return build_sampler(network, panel, forecast_panel(network, panel, recipe_of()), recipe_of(), seed)


def test_a_seed_gives_the_same_paths_and_another_seed_others() -> None:
    first, again, other = (np.concatenate(list(draw_paths(small_sampler(seed), 1, 150))) for seed in (7, 7, 8))

    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_paths_of_different_series_are_drawn_apart_and_those_of_one_do_not_depend_on_the_others() -> None:
    both = np.concatenate(list(draw_paths(small_sampler(), 1, 100)))
    alone = np.concatenate(list(draw_paths(small_sampler(rows=1), 1, 100)))

    np.testing.assert_array_equal(both[:100], alone)
    assert (both[100:] != alone).all()


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 250), (37, 37), (60, 140), (100, 101), (101, 200), (199, 250)])
def test_more_paths_begin_with_the_fewer_ones(first: int, last: int) -> None:
    sampler = small_sampler()
    whole = np.concatenate(list(draw_paths(sampler, 1, 300))).reshape(2, 300, HORIZON)

    some = np.concatenate(list(draw_paths(sampler, first, last))).reshape(2, last - first + 1, HORIZON)

    np.testing.assert_array_equal(some, whole[:, first - 1 : last])


@pytest.mark.parametrize("num_paths", [0, -1])
def test_no_paths_are_refused(num_paths: int) -> None:
    with pytest.raises(InvalidArgument, match=f"{num_paths} paths were asked for: expected at least 1"):
        require_feasible_paths(num_paths, small_sampler().forecast)


def test_too_many_rows_are_refused_with_the_number_of_paths_that_fits() -> None:
    forecast = small_sampler().forecast
    most = MAX_ROWS // 12

    require_feasible_paths(most, forecast)
    with pytest.raises(InvalidArgument) as refused:
        require_feasible_paths(most + 1, forecast)

    assert str(refused.value) == (
        "1,666,667 paths of 2 series over 6 steps are 20,000,004 rows: expected at most 20,000,000, "
        "which are 1,666,666 paths here"
    )


def test_memory_does_not_grow_with_the_number_of_paths() -> None:
    sampler = small_sampler()
    peaks = []
    for count in (10 * PATHS_PER_BLOCK, 10 * PATHS_PER_BLOCK, 100 * PATHS_PER_BLOCK):
        tracemalloc.start()
        for _ in draw_paths(sampler, 1, count):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[2] < 2 * peaks[1]
    assert peaks[2] < 8 * 2 * 100 * PATHS_PER_BLOCK * HORIZON  # all values at once


# bounds


def test_no_path_leaves_the_bounds() -> None:
    panel = panel_of([[1.0, -1, 2, 0, 1]])
    paths, forecast = drawn_from(autoregressive(1.0, panel), panel, recipe_of(minimum=0.5, maximum=1.5))

    assert (paths.min(), paths.max()) == (0.5, 1.5)
    assert_spread_as_published(paths, forecast)


def test_a_constant_series_has_constant_paths() -> None:
    panel = panel_of([[1.0, -1, 2, 0, 1, 0, 2, 1], [float("nan")] * 3 + [7.0] * 5])

    whole = ContextRequirements(context=8, least_length=8, least_known=8)

    paths, forecast = drawn_from(replace(autoregressive(1.0, panel), needs=whole), panel, recipe_of(), count=120)

    assert forecast.method[1] == "fallback:naive"
    assert (paths[1] == 7).all()


# trained networks


@pytest.mark.parametrize("values", [small_values(), [value - 110 for value in small_values()]])
def test_paths_of_a_trained_network_with_a_spread(outcome: TrainedModel, values: list[float]) -> None:
    network, panel = loaded(outcome), small_panel(values)

    paths, forecast = drawn_from(network, panel, small_recipe())

    assert network.interval_widths is not None
    assert forecast.method == ("lstm",)
    assert_spread_as_published(paths, forecast)


def test_a_trained_network_fed_back_is_what_a_loop_gives(outcome: TrainedModel) -> None:
    network, panel, scores = loaded(outcome), small_panel(), np.random.default_rng(3).normal(size=(4, 3))
    sampler = build_sampler(network, panel, forecast_panel(network, panel, small_recipe()), small_recipe(), 0)

    found = sampler.feed_back(0, scores)

    for n in range(4):
        row = small_values()
        for h in range(3):
            quantiles = network.predict(small_panel(row))[2][0, 0]
            row.append(float(values_at_scores(quantiles, scores[n, h])))
        np.testing.assert_allclose(found[n], row[-3:], rtol=1e-5)


@pytest.mark.tensorflow
def test_paths_of_a_trained_global_network_with_quantiles() -> None:
    """It reads logarithms: no path of a series of positive values is below 0, though nothing bounds them."""
    series = global_forecasts.usual()
    panel, recipe = global_forecasts.panel_ending_together(series), global_forecasts.recipe()
    network = loaded(run_training(global_forecasts.job()))

    paths, forecast = drawn_from(network, panel, recipe)

    assert network.interval_widths is None
    assert network.scaling.logarithms
    assert set(forecast.method) == {"lstm"}
    assert_spread_as_published(paths, forecast)
    assert (paths > 0).all()


@pytest.mark.parametrize("mean", [0.15, 0.6, 3.0])
def test_paths_have_another_mean_than_their_quantiles_where_that_was_published(mean: float) -> None:
    rng = np.random.default_rng(0)
    shape = (100, 2)
    quantiles = np.array([[0.0, 0.0, 0.0, 0.0, 4.0], [0.0, 0.0, 1.0, 3.0, 8.0]])

    found = couple_ranks(
        rng.normal(size=shape),
        quantiles,
        ties=rng.normal(size=shape),
        jitter=rng.random(shape),
        mean=np.array([mean, np.nan]),
    )

    untouched = couple_ranks(rng.normal(size=shape), quantiles, ties=rng.normal(size=shape), jitter=np.full(shape, 0.5))
    assert found[:, 0].mean() == pytest.approx(mean, rel=0.05)
    assert found[:, 1].mean() == pytest.approx(untouched[:, 1].mean(), rel=0.05)
    assert (found[:, 0] <= 4.0).sum() in (97, 98)
    assert (found >= 0).all()
