"""The pretrained networks: the series that each is fitted on, what its members read, and for how many steps they are fitted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.models.global_lstm_config import GlobalLSTMConfig, fold_config, frame_config
from pipeline.pretraining.synthetic import SeriesKind, draw_series
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: synthetic series that move further than this from their mean are drawn again: their exponential is no number any more
_FURTHEST = 50.0
#: a period to begin with
_BEGINNING = np.datetime64("1900-01-01", "us")
_RECIPE = """
name = "pretraining-{name}"
frequency = "{frequency}"
season_length = {season}
horizon = {horizon}
[source]
kind = "csv"
path = "synthetic.csv"
period = "period"
value = "value"
series = "series"
[model]
units = {units}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkPlan:
    """How one pretrained network is made."""

    name: str
    kind: SeriesKind
    frequency: str
    #: steps that it forecasts: at least two seasons
    horizon: int
    members: tuple[GlobalLSTMConfig, ...]
    #: of the LSTM of each member
    units: int
    #: synthetic series
    num_series: int
    seed: int = 0
    #: precision of the shipped weights; networks compute in single precision
    stored_as: Literal["float32", "float16"] = "float32"

    def hash_of(self, member: int) -> str:
        """Hash of what decides a member's weights: its plan and the series."""
        fields = {**asdict(self), "members": [asdict(self.members[member]), member]}
        del fields["stored_as"]  # decides nothing but the shipped file
        plan = json.dumps(fields, sort_keys=True, default=list).encode()
        return hashlib.sha256(plan + _hash_series(self)).hexdigest()

    def recipe(self) -> Recipe:
        """A recipe with the network's season and horizon, as which it is fitted."""
        text = _RECIPE.format(
            name=self.name,
            frequency=self.frequency,
            season=self.kind.season,
            horizon=self.horizon,
            units=self.units,
        )
        return parse_recipe(text, where=self.name, folder=Path())

    def panel(self) -> Panel:
        """The synthetic series, all ending together."""
        rng = np.random.default_rng(self.seed)
        series: list[Array] = []
        while len(series) < self.num_series:
            values = draw_series(self.kind, rng)
            values = values - values.mean()
            if np.isfinite(values).all() and np.abs(values).max() < _FURTHEST:
                series.append(np.exp(values))
        lengths = np.array([len(values) for values in series])
        longest = int(lengths.max())
        grid = np.append(_BEGINNING, self.recipe().grid.after(_BEGINNING, longest))[-longest:]
        return Panel(
            series=tuple(f"{n:06d}" for n in range(len(series))),
            grid=grid,
            first=longest - lengths,
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            values=np.concatenate(series),
        )


@cache  # drawing them takes ten seconds, and each member of a plan asks for the hash
def _hash_series(plan: NetworkPlan) -> bytes:
    return hashlib.sha256(plan.panel().values.tobytes()).digest()


def _frame(
    size: int, context: int, base: int, *, steps: int, weighting: Literal["relative", "half"] = "relative"
) -> GlobalLSTMConfig:
    config = frame_config(size, context, base, weighting)
    return replace(config, steps=steps, learning_rate=0.006, gated=base > 1)


def _fold(size: int, context: int, base: int, *, skip: int, profile: int = 0, steps: int = 12_000) -> GlobalLSTMConfig:
    return replace(
        fold_config(size, context, base, skip=skip, steps=steps, draw="series", profile=profile), learning_rate=0.004
    )


_MONTHLY = NetworkPlan(
    name="season-12",
    kind=SeriesKind(season=12, year=(12,), shortest=30, longest=300),
    frequency="MS",
    horizon=24,
    members=(
        _frame(24, 60, 12, steps=4000),
        _frame(24, 72, 1, steps=4000),
        _frame(36, 84, 12, steps=4000),
    ),
    units=96,
    num_series=24_000,
)
_QUARTERLY = NetworkPlan(
    name="season-4",
    kind=SeriesKind(season=4, year=(4,), shortest=14, longest=200),
    frequency="QS",
    horizon=12,
    members=(
        _frame(8, 32, 4, steps=4000),
        _frame(12, 36, 1, steps=4000),
        _frame(12, 40, 4, steps=4000),
    ),
    units=96,
    num_series=24_000,
)
_YEARLY = NetworkPlan(
    name="yearly",
    kind=SeriesKind(season=1, year=(1,), shortest=8, longest=80, wandering=0.1, noise_fades=True),
    frequency="YS",
    horizon=12,
    members=(
        _frame(6, 24, 1, steps=3000),
        _frame(10, 30, 1, steps=3000),
        _frame(8, 24, 1, steps=3000),
    ),
    units=96,
    num_series=24_000,
)
_WITHOUT_SEASON = NetworkPlan(
    name="no-season",
    kind=SeriesKind(season=1, year=(52, 250), shortest=30, longest=400),
    frequency="D",
    horizon=28,
    members=(
        _frame(14, 56, 1, steps=3000, weighting="half"),
        _frame(20, 60, 1, steps=3000, weighting="half"),
        _frame(10, 40, 1, steps=3000, weighting="half"),
    ),
    units=96,
    num_series=24_000,
)
_DAILY = NetworkPlan(
    name="season-7",
    kind=SeriesKind(season=7, year=(365, 90, 30), shortest=21, longest=800),
    frequency="D",
    horizon=28,
    members=(
        _frame(14, 70, 7, steps=4000),
        _frame(28, 84, 1, steps=4000),
        _frame(21, 98, 7, steps=4000),
    ),
    units=96,
    num_series=24_000,
    stored_as="float16",
)
_HOURLY = NetworkPlan(
    name="season-24",
    kind=SeriesKind(season=24, longer_season=168, year=(8760, 1000, 200), shortest=250, longest=1500, noise_fades=True),
    frequency="h",
    horizon=72,
    members=(
        _fold(24, 336, 24, skip=168),
        _fold(24, 336, 24, skip=168, profile=168),
        _fold(24, 336, 168, skip=168),
    ),
    units=96,
    num_series=16_000,
    stored_as="float16",
)
_WORKDAYS = NetworkPlan(
    name="season-5",
    kind=SeriesKind(season=5, year=(260, 60, 20), shortest=20, longest=600),
    frequency="B",
    horizon=28,
    members=(
        _frame(10, 50, 5, steps=3000),
        _frame(20, 60, 1, steps=3000),
        _frame(15, 65, 5, steps=3000),
    ),
    units=96,
    num_series=24_000,
    stored_as="float16",
)
_WEEKLY = NetworkPlan(
    name="season-52",
    kind=SeriesKind(season=52, year=(52,), shortest=160, longest=600, noise_fades=True),
    frequency="W-MON",
    horizon=104,
    members=(
        _fold(13, 208, 52, skip=104),
        _fold(13, 156, 52, skip=65),
        _fold(26, 208, 1, skip=104),
    ),
    units=96,
    num_series=24_000,
    stored_as="float16",
)
_HALF_HOURLY = NetworkPlan(
    name="season-48",
    kind=SeriesKind(
        season=48, longer_season=336, year=(17_520, 2000, 400), shortest=500, longest=2500, noise_fades=True
    ),
    frequency="30min",
    horizon=96,
    members=(
        _fold(48, 672, 48, skip=336, profile=336),
        _fold(48, 672, 48, skip=96),
        _fold(48, 672, 336, skip=96),
    ),
    units=96,
    num_series=12_000,
    stored_as="float16",
)
_QUARTER_HOURLY = NetworkPlan(
    name="season-96",
    kind=SeriesKind(
        season=96, longer_season=672, year=(35_040, 4000, 800), shortest=1000, longest=4000, noise_fades=True
    ),
    frequency="15min",
    horizon=192,
    members=(
        _fold(96, 1344, 96, skip=192, profile=672),
        _fold(96, 1344, 96, skip=192),
        _fold(96, 1344, 672, skip=192),
    ),
    units=96,
    num_series=8_000,
    stored_as="float16",
)
#: by name
NETWORKS = {
    plan.name: plan
    for plan in (
        _MONTHLY,
        _QUARTERLY,
        _YEARLY,
        _WITHOUT_SEASON,
        _WORKDAYS,
        _DAILY,
        _HOURLY,
        _HALF_HOURLY,
        _QUARTER_HOURLY,
        _WEEKLY,
    )
}
