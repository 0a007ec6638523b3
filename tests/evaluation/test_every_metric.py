"""Every metric of the table, against plain loops and against utilsforecast, on panels with all that is awkward."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from utilsforecast import losses

from pipeline.evaluation.metrics import METRICS, EvaluationSet
from pipeline.timeseries.forecast import LEVELS

Array = npt.NDArray[np.float64]

SEASON, HISTORY, HORIZON = 4, 30, 6
NAN = float("nan")


def histories(seed: int) -> Array:
    """Of ten series; one never changes, and one changes within its season only."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 20, (10, HISTORY))
    values[3] = 7.0
    values[4] = np.resize([1.0, 5.0, -3.0, 0.0], HISTORY)
    return values


def comparison(seed: int) -> EvaluationSet:
    """What was observed has gaps, zeros and negative values; of one series nothing is, of another only zeros are."""
    rng, history = np.random.default_rng(seed), histories(seed)
    observed = rng.normal(0, 20, (10, HORIZON))
    observed[rng.random(observed.shape) < 0.15] = NAN
    observed[rng.random(observed.shape) < 0.15] = 0.0
    observed[5], observed[6] = NAN, 0.0
    mean = rng.normal(0, 20, observed.shape)
    mean[rng.random(observed.shape) < 0.15] = 0.0
    quantiles = np.sort(mean[..., None] + rng.normal(0, 15, (*observed.shape, len(LEVELS))), axis=-1)
    mean[7, 2], quantiles[7, 2] = NAN, NAN
    change = history[:, SEASON:] - history[:, :-SEASON]
    return EvaluationSet(
        observed=observed,
        mean=mean,
        quantiles=quantiles,
        scale=np.abs(change).mean(axis=1, keepdims=True),
        root_scale=np.sqrt(np.square(change).mean(axis=1, keepdims=True)),
    )


def pinball(observed: float, quantile: float, level: float) -> float:
    return level * (observed - quantile) if observed >= quantile else (1 - level) * (quantile - observed)


def entry(name: str, y: float, mean: float, q: list[float], scale: float, root: float) -> tuple[float, float] | None:
    """What one observation says and what it counts; None where it says nothing."""
    low, high, alpha = (q[1], q[3], 0.2) if name.endswith("80") else (q[0], q[4], 0.05)
    if math.isnan(y) or math.isnan(mean):
        return None
    if (name in ("mase", "sql") or name.startswith(("width", "msis"))) and scale == 0:
        return None
    if name == "rmsse":
        return None if root == 0 else ((y - mean) ** 2 / root**2, 1)
    loss = 2 * sum(pinball(y, one, level) for one, level in zip(q, LEVELS, strict=True)) / len(LEVELS)
    if name in ("wql", "sql"):
        return (loss, abs(y)) if name == "wql" else (loss / scale, 1)
    if name.startswith("width"):
        return (high - low) / scale, 1
    if name.startswith("msis"):
        outside = low - y if y < low else y - high if y > high else 0
        return (high - low + 2 / alpha * outside) / scale, 1
    if name.startswith("coverage"):
        return (1 if low <= y <= high else 0), 1
    if name == "smape":
        return (200 * abs(y - mean) / (abs(y) + abs(mean)) if y or mean else 0), 1
    return {"mase": abs(y - mean) / (scale or 1), "mae": abs(y - mean), "bias": mean - y}[name], 1


def looped(name: str, compared: EvaluationSet, chosen: Callable[[int, int], bool]) -> float:
    total = size = 0.0
    for s, h in np.ndindex(compared.observed.shape):
        said = entry(
            name,
            float(compared.observed[s, h]),
            float(compared.mean[s, h]),
            compared.quantiles[s, h].tolist(),
            float(compared.scale[s, 0]),
            float(compared.root_scale[s, 0]),
        )
        if said is not None and chosen(s, h):
            total, size = total + said[0], size + said[1]
    value = total / size if size else NAN
    return math.sqrt(value) if name == "rmsse" else value


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_that_of_a_plain_loop_overall_by_step_and_by_series(name: str, seed: int) -> None:
    compared, metric = comparison(seed), METRICS[name]

    overall = looped(name, compared, lambda s, h: True)
    by_step = [looped(name, compared, lambda s, h, step=step: h == step) for step in range(HORIZON)]  # type: ignore[misc]
    by_series = [looped(name, compared, lambda s, h, one=one: s == one) for one in range(10)]  # type: ignore[misc]

    assert math.isfinite(overall)
    assert float(metric.over(compared)) == pytest.approx(overall)
    assert metric.over(compared, (0,)).tolist() == pytest.approx(by_step, nan_ok=True)
    assert metric.over(compared, (1,)).tolist() == pytest.approx(by_series, nan_ok=True)


def tables(compared: EvaluationSet, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The history and the forecasts as the other library reads them."""
    history = histories(seed)
    train = pd.DataFrame(
        {"unique_id": np.repeat(np.arange(10), HISTORY), "ds": np.tile(np.arange(HISTORY), 10), "y": history.ravel()}
    )
    told = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(10), HORIZON),
            "ds": np.tile(HISTORY + np.arange(HORIZON), 10),
            "y": compared.observed.ravel(),
            "m": compared.mean.ravel(),
        }
    )
    for level, column in zip(LEVELS, ("m-lo-95", "m-lo-80", "m-median", "m-hi-80", "m-hi-95"), strict=True):
        told[column] = compared.quantiles[..., LEVELS.index(level)].ravel()
    return train, told.dropna()


#: by metric, of the forecasts and the history, what utilsforecast calls the same; up to the factors of the definitions
_QUANTILES = {"m": ["m-lo-95", "m-lo-80", "m-median", "m-hi-80", "m-hi-95"]}
THEIRS: dict[str, Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]] = {
    "mase": lambda told, train: losses.mase(told, ["m"], SEASON, train),
    "rmsse": lambda told, train: losses.rmsse(told, ["m"], SEASON, train),
    "mae": lambda told, train: losses.mae(told, ["m"]),
    "smape": lambda told, train: _times(losses.smape(told, ["m"]), 200),
    "wql": lambda told, train: losses.scaled_crps(told, _QUANTILES, np.array(LEVELS)),
    "sql": lambda told, train: _times(losses.scaled_mqloss(told, _QUANTILES, np.array(LEVELS), SEASON, train), 2),
    "coverage_80": lambda told, train: losses.coverage(told, ["m"], 80),
    "coverage_95": lambda told, train: losses.coverage(told, ["m"], 95),
    # of observations in the middle of their interval the interval score is its width
    "width_80": lambda told, train: losses.winkler_score(told.assign(y=told["m-lo-80"]), ["m"], 80),
    "width_95": lambda told, train: losses.winkler_score(told.assign(y=told["m-lo-95"]), ["m"], 95),
    "msis_80": lambda told, train: losses.winkler_score(told, ["m"], 80),
    "msis_95": lambda told, train: losses.winkler_score(told, ["m"], 95),
    "bias": lambda told, train: losses.bias(told, ["m"]),
}
#: theirs are in units of the series
_UNSCALED = ("width_80", "width_95", "msis_80", "msis_95")


def _times(told: pd.DataFrame, factor: float) -> pd.DataFrame:
    return told.assign(m=told["m"] * factor)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_that_of_utilsforecast_for_each_series(name: str, seed: int) -> None:
    compared = comparison(seed)
    train, told = tables(compared, seed)

    theirs = THEIRS[name](told, train).set_index("unique_id")["m"]

    ours = METRICS[name].over(compared, (1,))
    compared_with = 0
    for s in theirs.index:
        scale = compared.scale[s, 0] if name in _UNSCALED else 1.0
        if (
            scale == 0
            or not np.isfinite(theirs[s])
            or (name == "wql" and (told[told["unique_id"] == s]["y"] == 0).all())
        ):
            assert math.isnan(ours[s])
        else:
            assert ours[s] == pytest.approx(theirs[s] / scale, rel=1e-6)
            compared_with += 1
    assert compared_with >= 7
    assert 5 not in theirs.index
    assert math.isnan(ours[5])


def test_a_metric_over_everything_is_that_of_the_entries_which_can_be_measured() -> None:
    compared = comparison(0)
    error = np.abs(compared.observed - compared.mean)

    assert float(METRICS["mae"].over(compared)) == error[~np.isnan(error)].mean()
    assert METRICS["mae"].over(compared, (0,))[2] == error[:, 2][~np.isnan(error[:, 2])].mean()
    assert float(METRICS["mae"].over(compared.take(np.array([1, 4])))) == np.nanmean(error[[1, 4]])


@pytest.mark.parametrize("name", ["wql", "sql", "coverage_80", "width_95", "msis_80", "rmsse"])
def test_what_point_forecasts_lack_is_not_measured(name: str) -> None:
    points = EvaluationSet.of_points(np.ones((2, 3)), np.zeros((2, 3)), 1.0)

    assert math.isnan(METRICS[name].over(points))
    assert float(METRICS["mase"].over(points)) == 1


@pytest.mark.parametrize("name", METRICS)
def test_nothing_observed_is_nothing_measured(name: str) -> None:
    compared = replace(comparison(0), observed=np.full((10, HORIZON), NAN))

    assert math.isnan(METRICS[name].over(compared))


def test_the_interval_score_adds_what_lies_outside_two_over_alpha_times() -> None:
    """The 80 % interval is 0 to 10, the scale 2; what is 3 above costs 3 · 2 / 0.2 = 30 more."""
    of_one = np.array([[[-5.0, 0, 5, 10, 20]]])
    compared = EvaluationSet(
        observed=np.array([[13.0]]),
        mean=np.array([[5.0]]),
        quantiles=of_one,
        scale=np.array([[2.0]]),
        root_scale=np.array([[4.0]]),
    )

    said = {name: float(metric.over(compared)) for name, metric in METRICS.items()}

    assert (said["msis_80"], said["msis_95"]) == (pytest.approx(20), pytest.approx(12.5))
    assert (said["width_80"], said["width_95"], said["coverage_80"], said["coverage_95"]) == (5, 12.5, 0, 1)
    assert (said["mase"], said["rmsse"], said["mae"], said["bias"]) == (4, 2, 8, -8)
    # 2 · (0.025·18 + 0.1·13 + 0.5·8 + 0.9·3 + 0.025·7) / 5
    assert said["wql"] * 13 == said["sql"] * 2 == pytest.approx(2 * (0.45 + 1.3 + 4 + 2.7 + 0.175) / 5)
