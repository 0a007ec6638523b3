"""What is published for each series: the network's forecast, calibrated and bounded, or a baseline with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import AUTO_BASELINE, USUAL_BASELINE, Recipe
from pipeline.forecasting.baselines import (
    NaiveForecast,
    forecast_drift,
    forecast_naive,
    normal_quantiles,
    student_quantiles,
)
from pipeline.forecasting.calibration import Calibration
from pipeline.forecasting.expected_value import expected_demand, expected_values
from pipeline.forecasting.forecaster import Forecaster
from pipeline.forecasting.series_scale import volatility_groups
from pipeline.preprocessing.activity import select_active
from pipeline.preprocessing.missing_covariates import MissingCovariates, find_missing_covariates
from pipeline.timeseries.forecast import LEVELS, LOWER_95, MEDIAN, NETWORK, UPPER_95, Forecast
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: a forecast further from the last value than this many ranges of the context is not published
MAX_RANGES_AWAY = 10.0
#: an interval that reaches more than this many ranges of the context beyond its values and the median is not published ...
MAX_RANGES_BEYOND = 3.0
#: ... if it also is wider than this many times the baseline's
MAX_BASELINE_WIDTHS = 4.0
_NOT_FINITE = "the network's forecast is not finite"
_TOO_FAR = f"the network's forecast is more than {MAX_RANGES_AWAY:g} ranges away from the context"
_TOO_WIDE = (
    f"the interval has the baseline's width: the network's reached more than {MAX_RANGES_BEYOND:g} ranges beyond the "
    f"context and was more than {MAX_BASELINE_WIDTHS:g} times as wide"
)


@dataclass(frozen=True, slots=True)
class NoNetwork:
    """Stands for the forecaster where no network could be trained yet: baselines forecast every series."""

    #: published with every row
    reason: str


def forecast_panel(
    forecaster: Forecaster | NoNetwork,
    panel: Panel,
    recipe: Recipe,
    calibration: Calibration | None = None,
    *,
    worse: Mapping[str, str] = MappingProxyType({}),
    baseline: str = USUAL_BASELINE,
) -> Forecast:
    """Forecast every active series of the panel from its origin, by the network or by a baseline that stands in.

    A series falls back to the seasonal naive forecast, to its last value where it has fewer values than two seasons, or
    to the baseline that beats the network, for one of these reasons, the first that applies:

    1. there is no network, or the series lacks what the network needs at the origin;
    2. the network's forecast is not finite;
    3. the network's forecast is more than `MAX_RANGES_AWAY` ranges of the context away from its last value;
    4. the network has forecast it worse than the baseline;
    5. a covariate is not known ahead: from the first step on for which it is not, unless the recipe carries it forward.

    The network's quantiles are blended with the baseline's as far as the calibration says, and calibrated; a baseline's have their own width. An interval of the network that reaches more
    than `MAX_RANGES_BEYOND` ranges beyond context and median and is more than `MAX_BASELINE_WIDTHS` times as wide as the
    baseline's gets the baseline's width around the network's median, with the reason. The mean is the expected value of
    the quantiles, or the demand rate of an intermittent series, whose quantiles are at least 0. All numbers are then
    clipped to the recipe's bounds.

    Args:
        forecaster: the network with its scaling and covariates, or why there is none.
        panel: up to the origin.
        recipe: its horizon, season, bounds and baseline.
        calibration: of the network's quantiles; None: they are published as they are.
        worse: by name, why a series is forecast by a baseline although the network could; the reason names the baseline.
        baseline: that the forecast is scored against, the best of the backtest where the recipe's is "auto".
    """
    panel = select_active(panel, recipe)
    naive = forecast_naive(panel, recipe.horizon, recipe.season)
    groups = volatility_groups(panel, naive.scale, recipe.season)
    if isinstance(forecaster, NoNetwork):
        network = _NetworkForecast.of_nothing(len(panel.series), recipe.horizon, forecaster.reason)
    else:
        network = _forecast_by_network(forecaster, panel, naive, calibration, groups, worse)

    missing = find_missing_covariates(panel, recipe)
    num_steps = _count_network_steps(network, missing, recipe)  # [S]
    stand_in = _choose_stand_in(panel, naive, network.reasons, recipe)
    mean, quantiles = stand_in.mean, stand_in.quantiles
    is_network = np.arange(recipe.horizon) < num_steps[network.series, None]  # [n, H]
    mean[network.series] = np.where(is_network, network.mean, mean[network.series])
    quantiles[network.series] = np.where(is_network[:, :, None], network.quantiles, quantiles[network.series])
    is_intermittent, demand = expected_demand(panel, recipe.horizon, recipe.season)
    mean[is_intermittent] = demand[is_intermittent]
    quantiles[is_intermittent] = np.maximum(quantiles[is_intermittent], 0.0)

    low, high = recipe.publish.minimum, recipe.publish.maximum
    multipliers = calibration.series if calibration else {}
    return Forecast(
        series=panel.series,
        origin=panel.origin,
        periods=recipe.grid.after(panel.origin, recipe.horizon),
        mean=np.clip(mean, low, high),
        quantiles=np.clip(quantiles, low, high),
        method=tuple(
            NETWORK if steps == recipe.horizon else f"fallback:{name}"
            for steps, name in zip(num_steps.tolist(), stand_in.methods, strict=True)
        ),
        reason=_add_missing(network, missing, recipe),
        network_steps=tuple((num_steps % recipe.horizon).tolist()),
        baseline=naive.mean if baseline == "seasonal-naive" else _forecast_simply(panel, baseline, recipe)[0],
        scale=naive.scale,
        volatility_group=groups,
        interval_factor=np.array([multipliers.get(name, 0.0) for name in panel.series]),
        has_baseline_width=network.has_baseline_width,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _NetworkForecast:
    """What the network forecasts for n of S series."""

    series: Indices  # [n], which they are
    mean: Array  # [n, H]
    quantiles: Array  # [n, H, Q], calibrated and plausible
    #: why it does not forecast a series, or what is to be said of its intervals; None: nothing, [S]
    reasons: list[str | None]
    has_baseline_width: Mask  # [S]

    @classmethod
    def of_nothing(cls, num_series: int, horizon: int, reason: str) -> _NetworkForecast:
        """There is no network."""
        return cls(
            series=np.empty(0, np.int64),
            mean=np.empty((0, horizon)),
            quantiles=np.empty((0, horizon, len(LEVELS))),
            reasons=[reason] * num_series,
            has_baseline_width=np.zeros(num_series, bool),
        )


@dataclass(frozen=True, slots=True)
class _StandIn:
    """What baselines forecast for S series, where the network does not."""

    mean: Array  # [S, H]
    quantiles: Array  # [S, H, Q]
    methods: list[str]  # [S]


def _forecast_by_network(
    forecaster: Forecaster,
    panel: Panel,
    naive: NaiveForecast,
    calibration: Calibration | None,
    groups: Indices,
    worse: Mapping[str, str],
) -> _NetworkForecast:
    """Forecast what the network can forecast plausibly, except for the series in `worse`."""
    reasons: list[str | None] = [forecaster.requirement_text] * len(panel.series)
    series, mean, quantiles = forecaster.predict(panel)  # [N], [N, H], [N, H, Q]
    context = forecaster.needs.context
    implausible = _implausible_reasons(panel, context, series, mean, quantiles)
    for s, reason in zip(series.tolist(), implausible, strict=True):
        reasons[s] = reason or worse.get(panel.series[s])

    is_published = np.array([reasons[s] is None for s in series.tolist()], bool)  # [N]
    series, quantiles = series[is_published], quantiles[is_published]
    names = [panel.series[s] for s in series.tolist()]
    deviation = naive.deviation[series]
    of_baseline = student_quantiles(quantiles[:, :, MEDIAN], deviation, naive.num_errors[series])
    if calibration is not None:  # the median stays
        quantiles = calibration.apply(quantiles, names, groups[series], of_baseline)
    bounded, is_too_wide = _bound_intervals(panel, context, series, quantiles, of_baseline)

    worse_widths = [
        _worse_widths(calibration, name, group) for name, group in zip(names, groups[series].tolist(), strict=True)
    ]
    has_width = (deviation > 0).all(axis=1)
    is_worse = np.array([reason is not None for reason in worse_widths], bool) & has_width
    for n, s in enumerate(series.tolist()):
        if is_too_wide[n]:
            reasons[s] = _TOO_WIDE
        elif is_worse[n]:
            reasons[s] = f"the interval has the baseline's width: {worse_widths[n]}"
    bounded = np.where(is_worse[:, None, None], of_baseline, bounded)

    expected = expected_values(bounded, logarithms=forecaster.reads_logarithms)
    is_of_baseline = is_too_wide | is_worse  # normal quantiles, whatever the network reads
    expected[is_of_baseline] = expected_values(bounded[is_of_baseline])
    has_baseline_width = np.zeros(len(panel.series), bool)
    has_baseline_width[series] = is_of_baseline
    return _NetworkForecast(
        series=series, mean=expected, quantiles=bounded, reasons=reasons, has_baseline_width=has_baseline_width
    )


def _count_network_steps(network: _NetworkForecast, missing: MissingCovariates | None, recipe: Recipe) -> Indices:
    """How many of the first steps of each series the network makes: [S]."""
    num_steps = np.zeros(len(network.reasons), np.int64)
    num_steps[network.series] = recipe.horizon
    if missing is None or recipe.covariates.carries_forward:
        return num_steps
    return np.minimum(num_steps, missing.num_known_steps)


def _add_missing(
    network: _NetworkForecast, missing: MissingCovariates | None, recipe: Recipe
) -> tuple[str | None, ...]:
    """The reason of each series [S], and before it which covariates are not known."""
    reasons = network.reasons.copy()
    if missing is not None:
        for s in network.series[missing.num_known_steps[network.series] < recipe.horizon].tolist():
            reasons[s] = _join(_reason_of_missing(missing.reasons[s], recipe), reasons[s])
    return tuple(reasons)


def _choose_stand_in(panel: Panel, naive: NaiveForecast, reasons: list[str | None], recipe: Recipe) -> _StandIn:
    """Forecast each series by the seasonal naive method, or by the other baseline that beats the network.

    Where a covariate is not known it is seasonal naive, even if the last value was better in the backtest: a last value
    under a promotion would go on for ever.
    """
    stand_in = _StandIn(naive.mean.copy(), naive.quantiles, list(naive.method))
    if recipe.gate.baseline != AUTO_BASELINE:
        return stand_in
    for name in ("naive", "drift"):
        better = np.flatnonzero([bool(reason and reason.startswith(f"worse than {name} ")) for reason in reasons])
        if len(better):
            stand_in.mean[better], stand_in.quantiles[better] = _forecast_simply(panel.take(better), name, recipe)
            for s in better.tolist():
                stand_in.methods[s] = name
    return stand_in


def _forecast_simply(panel: Panel, name: str, recipe: Recipe) -> tuple[Array, Array]:
    """Mean [S, H] and quantiles [S, H, Q] of the naive or the drift method."""
    if name == "drift":
        mean, deviation = forecast_drift(panel, recipe.horizon, recipe.season)
        return mean, normal_quantiles(mean, deviation)
    forecast = forecast_naive(panel, recipe.horizon, 1)
    return forecast.mean, forecast.quantiles


def _reason_of_missing(reason: str | None, recipe: Recipe) -> str | None:
    """What is published about a covariate that is not known; recipes from before the key `missing` published nothing."""
    if recipe.covariates.missing is None:
        return None
    return f"{reason}: the last value is carried forward" if recipe.covariates.carries_forward else reason


def _worse_widths(calibration: Calibration | None, name: str, group: int) -> str | None:
    """Why a series gets the baseline's width in place of the network's; None: it does not."""
    if calibration is None:
        return None
    return calibration.baseline_widths_of_series.get(name) or calibration.baseline_widths.get(group)


def _join(*reasons: str | None) -> str | None:
    return "; ".join(filter(None, reasons)) or None


def _bound_intervals(
    panel: Panel, context: int, series: Indices, quantiles: Array, of_baseline: Array
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The network's quantiles [N, H, Q], with the baseline's widths where they are implausible; and where that is [N].

    Where the baseline's have no width, because nothing ever changed, the quantiles are clipped instead.

    Args:
        panel: that was forecast.
        context: L, periods that the network reads.
        series: which series were forecast, [N].
        quantiles: calibrated, [N, H, Q].
        of_baseline: the same medians with the baseline's widths, [N, H, Q].
    """
    values = _ContextValues.of(panel, series, context)
    beyond, median = (MAX_RANGES_BEYOND * values.value_range)[:, None, None], quantiles[:, :, MEDIAN, None]
    lowest = np.minimum(values.lowest[:, None, None], median) - beyond
    highest = np.maximum(values.highest[:, None, None], median) + beyond
    is_far = (quantiles < lowest) | (quantiles > highest)
    with np.errstate(over="ignore"):
        is_wide = _width(quantiles) > MAX_BASELINE_WIDTHS * _width(of_baseline)
    is_replaced: npt.NDArray[np.bool_] = np.asarray((is_far.any(axis=2) & is_wide).any(axis=1))
    has_width = (_width(of_baseline) > 0)[:, :, None]
    replacement = np.where(has_width, of_baseline, np.clip(quantiles, lowest, highest))
    return np.where(is_replaced[:, None, None], replacement, quantiles), is_replaced


def _width(quantiles: Array) -> Array:
    """Width of the 95 % intervals of quantiles [N, H, Q]: [N, H]."""
    return np.asarray(quantiles[:, :, UPPER_95] - quantiles[:, :, LOWER_95])


def _implausible_reasons(
    panel: Panel, context: int, series: Indices, mean: Array, quantiles: Array
) -> list[str | None]:
    """Why each of the network's forecasts cannot be published: [N]; None where it can.

    Args:
        panel: that was forecast.
        context: L, periods that the network reads.
        series: which series were forecast, [N].
        mean: [N, H].
        quantiles: [N, H, Q].
    """
    is_finite = np.isfinite(mean).all(axis=1) & np.isfinite(quantiles).all(axis=(1, 2))
    values = _ContextValues.of(panel, series, context)
    is_near = np.abs(mean - values.last[:, None]).max(axis=1, initial=0.0) <= MAX_RANGES_AWAY * values.value_range
    reasons = np.full(len(series), None, dtype=object)
    reasons[~is_near] = _TOO_FAR
    reasons[~is_finite] = _NOT_FINITE
    return list(reasons)


@dataclass(frozen=True, slots=True)
class _ContextValues:
    """Extremes of the last values of N series."""

    highest: Array  # [N]
    lowest: Array  # [N]
    last: Array  # [N]

    @property
    def value_range(self) -> Array:
        """The range; of a constant context the size of its value, at least 1: [N]."""
        value_range = self.highest - self.lowest
        return np.where(value_range > 0, value_range, np.maximum(np.abs(self.last), 1.0))

    @classmethod
    def of(cls, panel: Panel, series: Indices, length: int) -> _ContextValues:
        """Those of the last `length` values of some series."""
        if not len(series):
            return cls(np.empty(0), np.empty(0), np.empty(0))
        end = panel.offsets[series + 1]
        start = np.maximum(end - length, panel.offsets[series])
        bounds = np.stack([start, end], axis=1).ravel()
        values = np.append(panel.values, np.nan)  # reduceat needs a value at every bound, the last end included
        highest, lowest = np.fmax.reduceat(values, bounds)[::2], np.fmin.reduceat(values, bounds)[::2]
        return cls(highest, lowest, panel.values[end - 1])
