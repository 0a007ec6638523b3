"""What is known about one training: losses, backtest and tutorial figures; plain values that survive as JSON."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from pipeline.timeseries.forecast import NETWORK


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class BacktestPath(_Value):
    """Observed and forecast values of one series over the test part, each period forecast once."""

    series: str
    periods: tuple[str, ...]
    observed: tuple[float | None, ...]
    #: by method
    forecast: dict[str, tuple[float | None, ...]]


class OriginPath(_Value):
    """What was said at one origin of the first series; None where nothing was, or is, known."""

    origin: str
    periods: tuple[str, ...]
    forecast: tuple[float | None, ...]
    #: bounds of the 80 % and of the 95 % interval; empty where the backtest has no quantiles
    lower_80: tuple[float | None, ...] = ()
    upper_80: tuple[float | None, ...] = ()
    lower_95: tuple[float | None, ...] = ()
    upper_95: tuple[float | None, ...] = ()


class LevelHits(_Value):
    """How often observations lay at or below a quantile."""

    level: float
    share: float
    #: of the observations that were compared, each period of a series once
    num: int


class ResidualsRecord(_Value):
    """Observed minus forecast over all series and origins, in mean absolute seasonal differences (MASE's unit)."""

    levels: tuple[float, ...]
    #: by step, one for each level
    by_step: tuple[tuple[float | None, ...], ...]
    #: histogram: counts between consecutive edges
    edges: tuple[float, ...]
    counts: tuple[int, ...]


class BacktestRecord(_Value):
    """The backtest's figures. NaN is written as null and read as None.

    What has a default was not kept by earlier releases.
    """

    #: the last period that the backtest's network was fitted on
    cutoff: str
    num_origins: int
    #: by method ("lstm", "naive", "seasonal-naive") and metric ("rmse", "mae", "mase", "smape")
    scores: dict[str, dict[str, float | None]]
    #: by method, one for each step
    mae_by_step: dict[str, tuple[float | None, ...]]
    #: the first series
    path: BacktestPath
    #: 1 - MASE / MASE of the recipe's baseline
    skill: float | None
    #: origins of which no two share a period: what `scores` are over
    num_apart: int | None = None
    #: of the first series, a part of them where there are many
    origins: tuple[OriginPath, ...] = ()
    #: last periods known, and by method the MASE over all series from there
    ends: tuple[str, ...] = ()
    mase_by_origin: dict[str, tuple[float | None, ...]] = {}
    #: empty where the intervals come from these errors themselves
    hits: tuple[LevelHits, ...] = ()
    #: by percent ("80", "95"): the share of observations inside the interval, bounds included
    coverage: dict[str, float | None] = {}
    residuals: ResidualsRecord | None = None

    def share_won(self, baseline: str) -> float | None:
        """The share of origins at which the network's MASE was smaller than the baseline's."""
        pairs = zip(self.mase_by_origin.get(NETWORK, ()), self.mase_by_origin.get(baseline, ()), strict=False)
        won = [ours < theirs for ours, theirs in pairs if ours is not None and theirs is not None]
        return sum(won) / len(won) if won else None


class ProtocolRecord(_Value):
    """One line of the tutorial's figures: RMSE of all on the same test part."""

    protocol: str
    rmse: float | None
    naive: float | None
    seasonal_naive: float | None
    num_test: int


class TutorialLine(ProtocolRecord):
    """The same of a network that is named."""

    row: str
    architecture: str
    layers: int
    #: what the tutorial printed; None: it printed no figure
    published: float | None


class TutorialRecord(_Value):
    """What a tutorial's protocol gave, for its own network and its variants."""

    lines: tuple[TutorialLine, ...]


#: what the gate may say
PROMOTED: Final = "promoted"
NOT_PROMOTED: Final = "not promoted"


class GateRecord(_Value):
    """Challenger, champion and baseline over the same origins, which neither model was fitted on."""

    #: "promoted" or "not promoted"
    outcome: str
    reason: str
    #: mean absolute scaled errors; None where there was nothing to compare
    challenger: float | None = None
    champion: float | None = None
    baseline: float | None = None
    p_value: float | None = None
    #: periods and series that were compared
    num_periods: int = 0
    num_series: int = 0


class FitRecord(_Value):
    """One fit of several: for how long it was fitted and on what."""

    epochs: int
    num_windows: int
    loss: tuple[float, ...]


class TrainingRecord(_Value):
    """How a model came to be."""

    training: str
    reason: str
    #: of the final fit, by epoch
    loss: tuple[float, ...]
    #: of the fit that found the number of epochs, by epoch; empty where the history was too short for one
    validation_loss: tuple[float, ...]
    epochs: int
    num_windows: int
    num_series: int
    #: what attention gives to each step of the context, oldest first: the mean over the newest windows of all
    #: series; empty for networks without attention
    attention: tuple[float, ...] = ()
    #: what each member reads and how it was fitted, where the network chooses that itself
    designs: tuple[str, ...] = ()
    #: the first period of any series, and how many values are known; earlier releases did not keep them
    began: str | None = None
    num_observations: int | None = None
    cutoff: str
    backtest: BacktestRecord | None
    tutorial: tuple[ProtocolRecord, ...]
    #: of the tutorial's settings that these lines were made with; None without a tutorial
    tutorial_fingerprint: str | None = None
    #: whether it publishes; None: it was made before there was a gate
    gate: GateRecord | None = None
    #: series that it forecasts worse than the baseline, with the figures
    worse: dict[str, str] = {}
    #: what the whole training took
    seconds: float | None = None
