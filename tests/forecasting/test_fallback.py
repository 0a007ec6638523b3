"""What goes out: the network's forecast where it is complete and believable, a labelled baseline elsewhere."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import t as student

from pipeline.config.recipe import PublishSettings, Recipe
from pipeline.errors import ModelRefused
from pipeline.forecasting.calibration import Calibration
from pipeline.forecasting.fallback import MAX_RANGES_AWAY, forecast_panel
from pipeline.forecasting.forecaster import Forecaster, build_manifest, hash_model, load_forecaster
from pipeline.preprocessing.covariates import fit_features
from pipeline.preprocessing.scaling import fit_scaling
from pipeline.preprocessing.windows import ContextRequirements, Windows, have_enough_context, read_contexts
from pipeline.timeseries.forecast import LEVELS, Forecast
from pipeline.timeseries.panel import Panel
from pipeline.training.process_files import TrainedModel
from tests.support.examples import small_panel, small_recipe, small_values
from tests.support.panels import panel_of

NAN = float("nan")


@dataclass
class StandIn:
    """Answers for every series with half of its context known at the origin with a given distance from its last value."""

    distance: npt.NDArray[np.float64] | float = 0.0
    width: npt.NDArray[np.float64] | float = 1.0
    context: int = 8
    requirement_text: str = "it lacks what the network needs"
    reads_logarithms: bool = False

    @property
    def needs(self) -> ContextRequirements:
        return ContextRequirements(context=self.context, least_length=self.context, least_known=self.context // 2)

    def predict(self, panel: Panel) -> Any:
        windows = Windows(np.arange(len(panel.series)), np.full(len(panel.series), len(panel.grid) - 1))
        windows = windows.take(have_enough_context(panel, windows, self.needs))
        mean = read_contexts(panel, windows, 1)[0] + np.zeros((1, 3)) + self.distance
        return windows.series, mean, mean[:, :, None] + np.linspace(-1, 1, len(LEVELS)) * self.width


def bounded(minimum: float | None = None, maximum: float | None = None) -> Recipe:
    return small_recipe().model_copy(update={"publish": PublishSettings(minimum=minimum, maximum=maximum)})


def forecast_of(panel: Panel, network: Any, recipe: Recipe | None = None) -> Forecast:
    return forecast_panel(network, panel, recipe or small_recipe())


def numbers(forecast: Forecast, series: str) -> bytes:
    s = forecast.series.index(series)
    return forecast.mean[s].tobytes() + forecast.quantiles[s].tobytes()


@pytest.fixture(scope="module")
def trained(outcome: TrainedModel) -> Forecaster:
    return load_forecaster(outcome.files, hash_model(outcome.files))


def test_the_forecast_begins_with_the_period_after_the_origin() -> None:
    forecast = forecast_of(small_panel(), StandIn())

    assert str(forecast.origin)[:10] == "2023-04-01"
    assert [str(period)[:10] for period in forecast.periods] == ["2023-05-01", "2023-06-01", "2023-07-01"]
    assert (forecast.method, forecast.reason) == (("lstm",), (None,))


@pytest.mark.parametrize(
    ("row", "method"),
    [
        ([NAN] * 30 + small_values()[-7:], "fallback:last-value"),
        ([NAN] * 33 + small_values()[-7:], "fallback:naive"),
        ([NAN] * 30 + small_values()[-10:-7] + [NAN] * 5 + small_values()[-2:], "fallback:naive"),
        (small_values()[:39], "fallback:seasonal-naive"),
        ([NAN] * 39 + [5.0], "fallback:naive"),
    ],
    ids=[
        "too short and ended",
        "too short",
        "too few values in the context",
        "no value at the origin",
        "a single value",
    ],
)
def test_a_series_without_what_the_network_needs_falls_back_with_the_reason(row: list[float], method: str) -> None:
    forecast = forecast_of(panel_of({"good": small_values(), "bad": row}), StandIn())

    assert forecast.series == ("good", "bad")
    assert forecast.method == ("lstm", method)
    assert forecast.reason == (None, StandIn.requirement_text)
    assert forecast.num_rows == 6


GAPS = pytest.mark.parametrize(
    "missing",
    [[35], [32], [32, 33, 34, 35], [33, 35, 37, 38]],
    ids=["one", "the first", "the first half", "every other"],
)


@GAPS
def test_a_series_with_gaps_in_its_context_is_forecast_by_the_network(missing: list[int]) -> None:
    row = [NAN if n in missing else value for n, value in enumerate(small_values())]

    forecast = forecast_of(panel_of({"good": small_values(), "gaps": row}), StandIn())

    assert forecast.method == ("lstm", "lstm")
    assert forecast.reason == (None, None)
    assert forecast.mean[1].tolist() == [small_values()[-1]] * 3


@pytest.mark.parametrize("missing", [[35], [32], [32, 33, 34, 35]], ids=["one", "the first", "the first half"])
def test_a_trained_network_reads_around_the_gaps(trained: Forecaster, missing: list[int]) -> None:
    row = [NAN if n in missing else value for n, value in enumerate(small_values())]

    forecast = forecast_of(panel_of({"good": small_values(), "gaps": row}), trained)

    assert forecast.method == ("lstm", "lstm")
    assert 50 < forecast.mean[1].min() < forecast.mean[1].max() < 250
    assert numbers(forecast, "gaps") != numbers(forecast, "good")


@pytest.mark.parametrize(
    "row",
    [
        [NAN] * 33 + small_values()[-7:],
        [NAN if n in (31, 33, 34, 35, 36, 37) else value for n, value in enumerate(small_values())],
        small_values()[:39],
    ],
    ids=["too short", "three of eight known", "no value at the origin"],
)
def test_what_a_trained_network_does_not_read_falls_back_with_what_it_needs(
    trained: Forecaster, row: list[float]
) -> None:
    forecast = forecast_of(panel_of({"good": small_values(), "bad": row}), trained)

    assert forecast.method[0] == "lstm"
    assert forecast.method[1].startswith("fallback")
    reason = (
        "the network needs 8 periods with 4 values in the context, one of each of the 4 periods of a season and one at the "
        "origin"
    )
    assert forecast.reason == (None, reason)


@pytest.mark.parametrize(
    ("length", "known", "kind", "expected"),
    [
        (8, 4, "last", "the network needs 8 periods with 4 values in the context and one at the origin"),
        (2, 2, "last", "the network needs 2 values in the context and one at the origin"),
        (2, 2, "log", "the network needs 2 values, all of them positive, in the context and one at the origin"),
    ],
)
def test_a_network_says_what_it_needs(length: int, known: int, kind: str, expected: str) -> None:
    forecaster = Forecaster(
        network=b"",
        scaling=fit_scaling(small_panel(), kind=kind, per_series=False, season=4),
        features=fit_features(small_panel(), small_recipe()),
        needs=ContextRequirements(context=8, least_length=length, least_known=known),
        horizon=3,
        interval_widths=None,
        cutoff=small_panel().origin,
        model_hash="",
    )

    assert forecaster.requirement_text == expected


@pytest.mark.parametrize(
    ("row", "method", "mean"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], "fallback:seasonal-naive", [5, 6, 7]),
        ([2, 3, 4, 5, 6, 7, 8], "fallback:naive", [8, 8, 8]),
    ],
)
def test_the_fallback_repeats_the_last_season_where_two_are_there(
    row: list[float], method: str, mean: list[float]
) -> None:
    forecast = forecast_of(panel_of({"a": row}), StandIn(context=9))

    assert forecast.method == (method,)
    assert forecast.mean[0].tolist() == mean


def test_a_series_that_ended_earlier_is_forecast_for_the_same_periods_as_the_others() -> None:
    season = [10.0, 20.0, 30.0, 40.0]

    forecast = forecast_of(panel_of({"good": season * 5, "bad": (season * 5)[:-2]}), StandIn())

    assert forecast.method[1] == "fallback:seasonal-naive"
    assert forecast.mean[1].tolist() == [10, 20, 30]


def test_intervals_of_the_fallback_come_from_its_own_errors_and_grow_with_the_seasons_ahead() -> None:
    rows = {"good": [1.0] * 14, "bad": [NAN] * 2 + [float(n) for n in range(12)]}
    forecast = forecast_of(panel_of({**rows}), StandIn(context=14))

    assert forecast.method == ("lstm", "fallback:seasonal-naive")
    assert forecast.mean[1].tolist() == [8, 9, 10]
    # every error of the past is one season's growth: 4; there are 8 of them
    score = student(8).ppf(0.9)
    half_of_80 = forecast.quantiles[1, :, 3] - forecast.mean[1]
    np.testing.assert_allclose(half_of_80, 4 * score, rtol=1e-3)
    behind = forecast_of(panel_of({"good": [1.0] * 17, "bad": rows["bad"]}), StandIn())
    np.testing.assert_allclose(behind.quantiles[1, 1:, 3] - behind.mean[1, 1:], 4 * score * np.sqrt(2), rtol=1e-3)


@pytest.mark.parametrize(
    "bad", [[5.0], [1e15] * 39, [1e15, NAN] * 19 + [0.0] * 2, [NAN] * 30 + [0.0] * 10, [NAN] * 39 + [-1e15]]
)
def test_one_bad_series_changes_no_bit_of_another(trained: Forecaster, bad: list[float]) -> None:
    good = {"a": small_values(), "b": [value * 3 for value in small_values()]}

    alone = forecast_of(panel_of({**good}), trained)
    beside = forecast_of(panel_of({"a": good["a"], "bad": bad, "b": good["b"]}), trained)

    assert alone.method == ("lstm", "lstm")
    for name in good:
        assert beside.method[beside.series.index(name)] == "lstm"
        assert numbers(beside, name) == numbers(alone, name)


def test_no_published_number_leaves_the_bounds() -> None:
    free = forecast_of(small_panel(), StandIn(width=50.0))
    last = small_values()[-1]

    forecast = forecast_of(small_panel(), StandIn(width=50.0), bounded(last - 10, last + 20))

    assert free.quantiles.min() < last - 10
    assert free.quantiles.max() > last + 20
    assert (forecast.quantiles.min(), forecast.quantiles.max()) == (last - 10, last + 20)
    np.testing.assert_array_equal(forecast.quantiles, np.clip(free.quantiles, last - 10, last + 20))
    np.testing.assert_array_equal(forecast.mean, free.mean)


def test_only_the_networks_intervals_are_calibrated_and_bounded_after_that() -> None:
    panel = panel_of({"long": [5.0] * 8 + [4, 6], "short": [NAN] * 8 + [1.0, 9.0]})
    tripled = Calibration(factors=np.tile([3.0, 3, 1, 3, 3], (3, 1)))

    raw = forecast_of(panel, StandIn(), bounded(minimum=5.25))
    calibrated = forecast_panel(StandIn(), panel, bounded(minimum=5.25), tripled)  # type: ignore[arg-type]

    assert numbers(calibrated, "short") == numbers(raw, "short")
    assert raw.quantiles[0, 0].tolist() == [5.25, 5.5, 6, 6.5, 7]
    assert calibrated.quantiles[0, 0].tolist() == [5.25, 5.25, 6, 7.5, 9]
    assert np.array_equal(calibrated.mean, raw.mean)


@pytest.mark.parametrize(("minimum", "maximum"), [(0.0, None), (None, 0.0), (0.0, 0.0)])
def test_one_bound_or_equal_bounds_are_enough(minimum: float | None, maximum: float | None) -> None:
    forecast = forecast_of(panel_of({"a": [1.0, -1.0] * 10}), StandIn(width=50.0), bounded(minimum, maximum))

    assert minimum is None or (forecast.quantiles.min() == minimum and forecast.mean.min() >= minimum)
    assert maximum is None or (forecast.quantiles.max() == maximum and forecast.mean.max() <= maximum)


def test_bounds_hold_for_the_fallback_too() -> None:
    forecast = forecast_of(
        panel_of({"good": [5.0, 1.0] * 10, "bad": [NAN] * 14 + [50.0, 0.0] * 3}), StandIn(), bounded(0, 20)
    )

    assert forecast.method[1].startswith("fallback")
    assert (forecast.quantiles[1].min(), forecast.quantiles[1].max()) == (0, 20)


@pytest.mark.parametrize("value", [NAN, float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["mean", "quantiles"])
def test_a_forecast_that_is_not_finite_falls_back(where: str, value: float) -> None:
    steps = np.array([0.0, value, 0.0])
    network = StandIn(distance=steps) if where == "mean" else StandIn(width=np.array([1.0, 1, 1, 1, value]))

    with np.errstate(invalid="ignore"):
        forecast = forecast_of(small_panel(), network)

    assert forecast.method == ("fallback:seasonal-naive",)
    assert forecast.reason == ("the network's forecast is not finite",)
    assert forecast.mean[0].tolist() == small_values()[-4:-1]


def test_a_forecast_far_away_from_its_context_falls_back() -> None:
    context = small_values()[-8:]
    limit = MAX_RANGES_AWAY * (max(context) - min(context))

    near, far = (forecast_of(small_panel(), StandIn(distance=limit * share)) for share in (0.999, 1.001))

    assert near.method == ("lstm",)
    assert far.method == ("fallback:seasonal-naive",)
    assert far.reason == ("the network's forecast is more than 10 ranges away from the context",)


@pytest.mark.parametrize("missing", [[32], [33, 35]], ids=["one gap", "two gaps"])
def test_a_forecast_far_away_from_a_context_with_gaps_falls_back_too(missing: list[int]) -> None:
    row = [NAN if n in missing else value for n, value in enumerate(small_values())]
    known = [value for value in row[-8:] if value == value]
    limit = MAX_RANGES_AWAY * (max(known) - min(known))

    near, far = (forecast_of(panel_of({"a": row}), StandIn(distance=limit * share)) for share in (0.999, 1.001))

    assert (near.method, far.method) == (("lstm",), ("fallback:seasonal-naive",))


def test_only_the_series_that_is_not_believed_falls_back() -> None:
    forecast = forecast_of(
        panel_of({"a": small_values(), "b": small_values()}), StandIn(distance=np.array([[0.0] * 3, [1e9] * 3]))
    )

    assert forecast.method == ("lstm", "fallback:seasonal-naive")


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-300, 1e15])
@pytest.mark.parametrize("length", [1, 5, 40])
def test_a_constant_series_is_forecast_as_its_value_by_the_fallback(value: float, length: int) -> None:
    forecast = forecast_of(panel_of({"a": [value] * length}), StandIn(context=99))

    assert (forecast.mean == value).all()
    width = forecast.quantiles[0, :, 3] - forecast.quantiles[0, :, 1]
    assert (width > 0 if length == 1 and value else width == 0).all()  # one value is no constant series


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-300, 1e15])
def test_a_constant_series_is_forecast_with_finite_numbers_by_the_network(trained: Forecaster, value: float) -> None:
    forecast = forecast_of(panel_of({"a": [value] * 40}), trained)

    assert np.isfinite(forecast.mean).all()
    assert np.isfinite(forecast.quantiles).all()
    assert (np.diff(forecast.quantiles, axis=-1) >= 0).all()
    np.testing.assert_allclose(forecast.mean, value, atol=10 * max(abs(value), 1))


def test_a_constant_series_is_believed_within_its_own_magnitude() -> None:
    panel = panel_of({"a": [5.0] * 40})

    assert forecast_of(panel, StandIn(distance=49.0)).method == ("lstm",)
    assert forecast_of(panel, StandIn(distance=51.0)).method == ("fallback:seasonal-naive",)


def test_a_model_of_an_earlier_release_is_refused_in_words(outcome: TrainedModel) -> None:
    fields = json.loads(outcome.files["forecaster.json"])
    del fields["needs"]
    files = {**outcome.files, "forecaster.json": json.dumps(fields).encode()}
    manifest = build_manifest({name: content for name, content in files.items() if name != "manifest.json"})

    with pytest.raises(ModelRefused, match="was made by an earlier release, which wrote other fields; train again"):
        load_forecaster({**files, "manifest.json": manifest}, hashlib.sha256(manifest).hexdigest())


def test_an_interval_beyond_all_measure_gets_the_baselines_width_and_says_so() -> None:
    rng = np.random.default_rng(0)
    values = np.linspace(2_000, 14_000, 40) + rng.normal(0, 500, 40)
    wide = np.array([0.0, 100.0, 1e9])

    forecast = forecast_of(panel_of({"a": values.tolist()}), StandIn(distance=100.0, width=wide[:, None]))

    last = float(values[-1])
    baseline = forecast_of(panel_of({"a": values.tolist()}), StandIn(distance=1e12))
    assert forecast.method == ("lstm",)
    assert forecast.reason[0] is not None
    assert "the interval has the baseline's width" in forecast.reason[0]
    np.testing.assert_allclose(forecast.quantiles[0, :, 2], last + 100)
    widths = np.diff(forecast.quantiles[0], axis=1)
    np.testing.assert_allclose(widths, np.diff(baseline.quantiles[0], axis=1))
    assert forecast.quantiles.max() < 30_000


def test_the_mean_of_an_interval_with_the_baselines_width_is_its_median_also_where_logarithms_are_read() -> None:
    values = np.random.default_rng(0).normal(500, 10, 40).tolist()

    forecast = forecast_of(panel_of({"a": values}), StandIn(width=1e9, reads_logarithms=True))

    assert forecast.has_baseline_width is not None
    assert forecast.has_baseline_width.all()
    np.testing.assert_allclose(forecast.mean, forecast.quantiles[:, :, 2], rtol=1e-12)


@pytest.mark.parametrize("width", [1.0, 20.0, 1e3])
def test_a_wide_interval_within_the_measure_stays(width: float) -> None:
    values = (np.random.default_rng(0).normal(0, 500, 40) + 8_000).tolist()

    forecast = forecast_of(panel_of({"a": values}), StandIn(width=width))

    assert forecast.reason == (None,)
    np.testing.assert_allclose(forecast.quantiles[0, 0], values[-1] + np.linspace(-1, 1, len(LEVELS)) * width)


def test_an_implausible_interval_of_one_series_changes_no_other() -> None:
    values = small_values()
    widths = np.array([1.0, 1e9])[:, None, None]

    forecast = forecast_of(panel_of({"a": values, "b": values}), StandIn(width=widths))

    assert forecast.reason[0] is None
    assert forecast.reason[1] is not None
    assert numbers(forecast, "a") == numbers(forecast_of(panel_of({"a": values}), StandIn()), "a")


def test_an_interval_around_what_never_changed_is_clipped() -> None:
    forecast = forecast_of(panel_of({"a": [5.0] * 40}), StandIn(width=1e6))

    assert (forecast.quantiles.min(), forecast.quantiles.max()) == (-10.0, 20.0)
    assert forecast.mean.tolist() == [[5.0] * 3]


def test_the_mean_is_the_expected_value_of_skewed_quantiles() -> None:
    skewed = np.array([1.0, 1.0, 1.0, 6.0, 9.0])

    forecast = forecast_of(small_panel(), StandIn(width=skewed))

    assert (forecast.mean > forecast.quantiles[:, :, 2]).all()
    assert (forecast.mean < forecast.quantiles[:, :, 3]).all()


@pytest.mark.parametrize("distance", [0.0, 1e9], ids=["by the network", "by the baseline"])
def test_the_mean_of_intermittent_demand_is_its_rate_and_no_quantile_is_negative(distance: float) -> None:
    rng = np.random.default_rng(0)
    rows = {f"part {n}": np.where(rng.random(48) < 0.1, 9.0, 0.0).tolist() for n in range(50)}
    for n, values in enumerate(rows.values()):
        values[n % 48] = 9.0

    forecast = forecast_of(panel_of(rows), StandIn(distance=distance))

    assert forecast.mean.sum(axis=0) == pytest.approx(np.full(3, np.sum(list(rows.values())) / 48), rel=0.1)
    assert forecast.quantiles.min() == 0
