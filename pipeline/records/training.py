"""The record of one training: losses, backtest, gate and tutorial figures, as frozen values that are stored as JSON.

The names of all fields are stored. NaN is written as null and read as None.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from pipeline.config.recipe import AUTO_BASELINE, USUAL_BASELINE
from pipeline.timeseries.forecast import NETWORK


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class BacktestPath(_Value):
    """Observed and forecast values of one series over the test part; each period is forecast once."""

    series: str
    periods: tuple[str, ...]
    observed: tuple[float | None, ...]
    #: by method, one value for each period
    forecast: dict[str, tuple[float | None, ...]]


class OriginPath(_Value):
    """The forecast of one series from one origin; None where there is no value."""

    origin: str
    periods: tuple[str, ...]
    forecast: tuple[float | None, ...]
    #: bounds of the 80 % and of the 95 % interval; empty where the backtest has no quantiles
    lower_80: tuple[float | None, ...] = ()
    upper_80: tuple[float | None, ...] = ()
    lower_95: tuple[float | None, ...] = ()
    upper_95: tuple[float | None, ...] = ()


class LevelHits(_Value):
    """The share of observations at or below the forecast quantile of one level."""

    level: float
    share: float
    #: number of observations that were compared, each period of a series once
    num: int


class ResidualsRecord(_Value):
    """Observed minus forecast over all series and origins, in mean absolute seasonal differences (MASE's unit)."""

    levels: tuple[float, ...]
    #: by step, one for each level
    by_step: tuple[tuple[float | None, ...], ...]
    #: histogram: counts between consecutive edges
    edges: tuple[float, ...]
    counts: tuple[int, ...]


class SeriesBacktest(_Value):
    """How the network and the baseline did on one series, over the origins one horizon apart."""

    series: str
    #: None: the series has no unit of MASE, or nothing was observed
    mase: float | None
    baseline_mase: float | None
    #: by percent, as in `BacktestRecord`
    coverage: dict[str, float | None] = {}
    #: of the network and of the baseline, one value for each of the periods in `SeriesComparison`
    forecast: tuple[float | None, ...]
    baseline: tuple[float | None, ...]

    @property
    def skill(self) -> float | None:
        """1 - MASE / MASE of the baseline; None where that is not defined."""
        return 1 - self.mase / self.baseline_mase if self.mase is not None and self.baseline_mase else None


class SeriesComparison(_Value):
    """The network beside the baseline by series, from the worst to the best; a large panel's worst ones."""

    periods: tuple[str, ...]
    series: tuple[SeriesBacktest, ...]
    #: number of series that have a MASE, of which the network is better than the baseline on so many
    num_compared: int
    num_better: int


class SeriesErrors(_Value):
    """Errors by series over the same origins as the scores, one value for each series."""

    series: tuple[str, ...]
    #: number of observations that were compared
    num_scored: tuple[int, ...]
    mae: tuple[float, ...]
    rmse: tuple[float, ...]
    #: None where the history before the test part has no scale
    mase: tuple[float | None, ...]
    smape: tuple[float, ...]
    baseline_mae: tuple[float | None, ...]
    baseline_mase: tuple[float | None, ...]


class BacktestRecord(_Value):
    """Figures of the backtest; earlier releases did not keep the fields that have a default."""

    #: the last period that the network of the backtest was fitted on
    cutoff: str
    num_origins: int
    #: by method ("lstm", "naive", "seasonal-naive", "drift") and metric ("rmse", "mae", "mase", "smape")
    scores: dict[str, dict[str, float | None]]
    #: by method, one value for each step
    mae_by_step: dict[str, tuple[float | None, ...]]
    #: of the worst series; in earlier releases of the first one
    path: BacktestPath
    #: 1 - MASE / MASE of the baseline
    skill: float | None
    #: the baseline: the recipe's, or the best one on this backtest; earlier releases had the recipe's alone
    baseline: str | None = None
    #: number of origins whose targets do not overlap; `scores` are over these
    num_apart: int | None = None
    #: of the series of `path`; a selection if there are many
    origins: tuple[OriginPath, ...] = ()
    #: origins, and by method the MASE over all series from each of them
    ends: tuple[str, ...] = ()
    mase_by_origin: dict[str, tuple[float | None, ...]] = {}
    #: empty if the intervals were fitted on these errors themselves
    hits: tuple[LevelHits, ...] = ()
    #: by percent ("80", "95"): the share of observations inside the interval, bounds included
    coverage: dict[str, float | None] = {}
    residuals: ResidualsRecord | None = None
    #: by method, the MASE of each step over all series and origins
    mase_by_step: dict[str, tuple[float | None, ...]] = {}
    #: as the training gave them; None where the record was read from the store, which keeps both apart
    by_series: SeriesComparison | None = None
    errors_by_series: SeriesErrors | None = None

    def share_won(self, baseline: str) -> float | None:
        """Return the share of origins at which the network's MASE is smaller than the baseline's; None: there is none."""
        pairs = zip(self.mase_by_origin.get(NETWORK, ()), self.mase_by_origin.get(baseline, ()), strict=False)
        is_won = [ours < theirs for ours, theirs in pairs if ours is not None and theirs is not None]
        return sum(is_won) / len(is_won) if is_won else None


class ProtocolRecord(_Value):
    """RMSE of the network and of the baselines on the same test part under one protocol."""

    protocol: str
    rmse: float | None
    naive: float | None
    seasonal_naive: float | None
    num_test: int


class TutorialLine(ProtocolRecord):
    """The same for one of the tutorial's networks."""

    row: str
    architecture: str
    layers: int
    #: the figure that the tutorial printed; None: it printed none
    published: float | None


class TutorialRecord(_Value):
    """Figures under a tutorial's protocol, for its own network and its variants."""

    lines: tuple[TutorialLine, ...]


#: outcomes of the gate
PROMOTED: Final = "promoted"
NOT_PROMOTED: Final = "not promoted"


class GateRecord(_Value):
    """Challenger, champion and baseline over the same origins; neither model was fitted on these."""

    #: "promoted" or "not promoted"
    outcome: str
    reason: str
    #: mean absolute scaled errors; None if there was nothing to compare
    challenger: float | None = None
    champion: float | None = None
    baseline: float | None = None
    p_value: float | None = None
    #: number of periods and of series that were compared
    num_periods: int = 0
    num_series: int = 0


class FitRecord(_Value):
    """One fit of several: its epochs, the number of its windows and its losses."""

    epochs: int
    num_windows: int
    loss: tuple[float, ...]


class TrainingRecord(_Value):
    """How a model was trained, how it did in the backtest and what the gate decided."""

    training: str
    reason: str
    #: by epoch, of the final fit
    loss: tuple[float, ...]
    #: by epoch, of the fit that chose the number of epochs; empty if the history was too short for one
    validation_loss: tuple[float, ...]
    epochs: int
    num_windows: int
    num_series: int
    #: attention weights by step of the context, oldest first: means over the newest windows of all series; empty for
    #: networks without attention
    attention: tuple[float, ...] = ()
    #: inputs and hyperparameters of each member, if the network chooses these itself
    designs: tuple[str, ...] = ()
    #: the first period of any series, and the number of observations; earlier releases did not keep them
    began: str | None = None
    num_observations: int | None = None
    cutoff: str
    backtest: BacktestRecord | None
    tutorial: tuple[ProtocolRecord, ...]
    #: fingerprint of the tutorial's settings behind `tutorial`; None without a tutorial
    tutorial_fingerprint: str | None = None
    #: None: the model was trained by a release without a gate
    gate: GateRecord | None = None
    #: by series that the model forecasts worse than the baseline: the figures
    worse: dict[str, str] = {}
    #: duration of the whole training
    seconds: float | None = None

    def resolve_baseline(self, configured: str) -> str:
        """Return the baseline that a recipe names; for "auto" the one that was the best on the backtest."""
        if configured != AUTO_BASELINE:
            return configured
        return (self.backtest.baseline if self.backtest else None) or USUAL_BASELINE
