"""Synthetic series: sums of components that business series have, drawn at random.

A network that is fitted on them has seen no real series, so that no benchmark can leak into it and no licence applies. Each
component is drawn with a probability and a size of its own, over wide ranges: what matters is that real series lie inside,
not that the mean resembles any collection. All is in the units that the network reads: logarithms of positive series,
or values relative to their level.

| component | what it is |
|---|---|
| trend | a straight line, or a slope that wanders or fades |
| walk | a random walk |
| break | one or two shifts of the level |
| season | harmonics of one season, growing or shrinking, sometimes changing their shape; seasons above 12 periods may also differ in size from one to the next, or be cut off from below, as sunlight is at night |
| longer season | harmonics of a longer season, such as the week of hourly series; a level for each season in it; or another shape of some |
| kernel | a draw of a Gaussian process: a smooth or a rough curve, or a cycle of any length |
| regimes | drift and volatility that switch between two states |
| noise | independent, autocorrelated, or with heavy tails; that of years, and of seasons above 12 periods, may fade slowly |
| volatility | noise and walk grow calm and restless in turn |
| calendar | what months of different length, or their numbers of weekdays, do |
| outliers | single values far off |
| demand | zeros, and now and then a quantity: a series of its own |
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

Array = npt.NDArray[np.float64]

COMPONENTS = (
    "trend",
    "walk",
    "break",
    "season",
    "longer season",
    "kernel",
    "regimes",
    "noise",
    "volatility",
    "calendar",
    "outliers",
    "demand",
)
#: season of monthly series, which alone have calendar effects; longer seasons vary from one to the next
MONTHS = 12
#: frequencies of a draw of a Gaussian process
_NUM_FREQUENCIES = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesKind:
    """Of what frequency synthetic series are."""

    #: periods of a season; 1: none
    season: int
    #: periods of a longer season; 0: none
    longer_season: int = 0
    #: periods of a year, over which trends and walks have their size: one of these
    year: tuple[int, ...]
    #: shortest and longest series, in periods
    shortest: int
    longest: int
    #: probability that the slope of the trend wanders
    wandering: float = 0.3
    #: whether noise may fade slowly, as weather and business cycles do
    noise_fades: bool = False
    #: components that are left out
    without: Collection[str] = field(default=())

    @property
    def components(self) -> tuple[str, ...]:
        """The components that its series may have."""
        absent = {*self.without}
        if self.season == 1:
            absent.add("season")
        if not self.longer_season:
            absent.add("longer season")
        if self.season != MONTHS:
            absent.add("calendar")
        return tuple(name for name in COMPONENTS if name not in absent)


def draw_series(kind: SeriesKind, rng: np.random.Generator) -> Array:
    """Draw one series in the units that networks read: [T].

    Args:
        kind: what it may consist of.
        rng: the source of randomness.
    """
    length = round(np.exp(rng.uniform(np.log(kind.shortest), np.log(kind.longest))))
    if "demand" not in kind.without and rng.random() < 0.03:
        return _draw_demand(length, kind.season, rng)
    return _Draw(kind, length, int(rng.choice(kind.year)), rng).series()


@dataclass(frozen=True, slots=True)
class _Draw:
    """One series of T periods that is being drawn."""

    kind: SeriesKind
    length: int
    year: int
    rng: np.random.Generator

    def series(self) -> Array:
        """The sum of the components: [T]."""
        volatility = self._volatility()
        smooth = self._trend() + self._kernel() + self._regimes() + self._breaks()
        rough = volatility * (self._walk_steps()), volatility * self._noise()
        season = self._season() + self._longer_season() + self._calendar()
        values = smooth + np.cumsum(rough[0]) + season + rough[1]
        return self._outliers(values, np.abs(rough[1]).mean())

    def _happens(self, component: str, probability: float) -> bool:
        """Whether a component is drawn; a random number is used up either way."""
        return bool(self.rng.random() < probability) and component not in self.kind.without

    def _size(self, smallest: float, largest: float) -> float:
        """A size, its logarithm evenly distributed."""
        return float(np.exp(self.rng.uniform(np.log(smallest), np.log(largest))))

    @property
    def _per_period(self) -> float:
        """What a year's movement is in one period, of something that adds up like a random walk."""
        return float(self.year**-0.5)

    def _trend(self) -> Array:
        rng, time = self.rng, np.arange(self.length)
        trend = np.zeros(self.length)
        if self._happens("trend", 0.8):
            slope = rng.normal(0, 0.05) / self.year
            if rng.random() < 0.2:  # fades
                fading = np.exp(-time / (self.length * self._size(0.1, 2)))
                trend += slope * np.cumsum(fading) * 2
            else:
                trend += slope * time
        if self._happens("trend", self.kind.wandering):  # wanders
            step = self._size(0.003, 0.1) / self.year**1.5
            trend += np.cumsum(np.cumsum(rng.normal(0, step, self.length)))
        return trend

    def _walk_steps(self) -> Array:
        if not self._happens("walk", 0.75):
            return np.zeros(self.length)
        return self.rng.normal(0, self._size(0.006, 0.3) * self._per_period, self.length)

    def _breaks(self) -> Array:
        rng, level = self.rng, np.zeros(self.length)
        if self._happens("break", 0.25):
            for _ in range(rng.integers(1, 3)):
                level[rng.integers(0, self.length) :] += rng.normal(0, 0.2)
        return level

    def _season(self) -> Array:
        if self.kind.season == 1 or not self._happens("season", 0.85):
            return np.zeros(self.length)
        rng, time = self.rng, np.arange(self.length)
        season = self._harmonics(self.kind.season)
        if rng.random() < 0.3:  # changes its shape
            share = 1 / (1 + np.exp(-(time - rng.uniform(0, self.length)) / (self.length * self._size(0.02, 0.5))))
            season = (1 - share) * season + share * self._harmonics(self.kind.season)
        if self.kind.season > MONTHS:
            season = self._vary(season)
        growth = np.exp(np.clip(rng.normal(0, 0.03) * time / self.year, -1, 1))
        return self._size(0.02, 0.5) * season * growth

    def _vary(self, season: Array) -> Array:
        """Return a season [T] whose size differs from one occurrence to the next, or which is cut off from below, or neither."""
        rng, number = self.rng, self._season_numbers()
        if rng.random() < 0.2:
            season = np.maximum(season, np.quantile(season, rng.uniform(0.2, 0.6)))
            season = season - season.min()
        if rng.random() < 0.3:
            season = season * np.exp(self._size(0.05, 0.5) * rng.normal(0, 1, number.max() + 1))[number]
        return season

    def _season_numbers(self) -> npt.NDArray[np.int64]:
        """The number of each period's season: [T]."""
        start = self.rng.integers(0, self.kind.season)
        return np.asarray((start + np.arange(self.length)) // self.kind.season)

    def _longer_season(self) -> Array:
        if not self.kind.longer_season or not self._happens("longer season", 0.8):
            return np.zeros(self.length)
        rng, kind = self.rng, self.rng.random()
        if kind < 0.2:
            shape = self._harmonics(self.kind.longer_season)
        else:
            count = self.kind.longer_season // self.kind.season
            number = self._season_numbers() % count
            if kind < 0.6:
                shape = rng.normal(0, 1, count)[number]
            else:
                shape = self._harmonics(self.kind.season) * (number < rng.integers(1, 3)) - (number < 2)
        return self._size(0.02, 0.3) * shape

    def _harmonics(self, season: int) -> Array:
        """A season of standard deviation 1, from smooth to jagged: [T]."""
        rng, place = self.rng, np.arange(season)
        if rng.random() < 0.2:  # every place for itself
            shape = rng.normal(0, 1, season) * (rng.random(season) < rng.choice([0.15, 1]))
        else:
            harmonics = np.arange(1, rng.integers(1, max(min(season // 2, 8), 1) + 1) + 1)[:, None]
            size = rng.normal(0, 1, harmonics.shape) / harmonics ** rng.uniform(0.3, 1.2)
            phase = rng.uniform(0, 2 * np.pi, harmonics.shape)
            shape = (size * np.sin(2 * np.pi * harmonics * place / season + phase)).sum(axis=0)
        deviation = shape.std()
        shape = shape / deviation if deviation > 0 else shape
        start = rng.integers(0, season)
        return np.asarray(shape[(start + np.arange(self.length)) % season])

    def _kernel(self) -> Array:
        if not self._happens("kernel", 0.3):
            return np.zeros(self.length)
        rng = self.rng
        distance = self._size(0.3, 5) * self.year
        if rng.random() < 0.5:  # smooth
            frequency = rng.normal(0, 1 / distance, _NUM_FREQUENCIES)
        elif rng.random() < 0.5:  # rough
            frequency = rng.standard_cauchy(_NUM_FREQUENCIES) / distance
        else:  # a cycle
            frequency = 2 * np.pi / distance * (1 + rng.normal(0, 0.05, _NUM_FREQUENCIES))
        phase = rng.uniform(0, 2 * np.pi, _NUM_FREQUENCIES)
        waves = np.cos(np.arange(self.length)[:, None] * frequency + phase)
        return np.asarray(self._size(0.02, 0.5) * waves.sum(axis=1) * (2 / _NUM_FREQUENCIES) ** 0.5)

    def _regimes(self) -> Array:
        if not self._happens("regimes", 0.15):
            return np.zeros(self.length)
        rng = self.rng
        is_switched = rng.random(self.length) < 1 / (self._size(0.5, 5) * self.year)
        state = np.cumsum(is_switched) % 2
        return np.cumsum(rng.normal(0, 0.15, 2)[state] / self.year)

    def _noise(self) -> Array:
        if not self._happens("noise", 0.95):
            return np.zeros(self.length)
        rng = self.rng
        noise = rng.normal(0, 1, self.length) if rng.random() < 0.5 else rng.standard_t(3, self.length) / 3**0.5
        if rng.random() < 0.3:
            noise = noise + rng.uniform(-0.5, 0.9) * np.append(0, noise[:-1])
        if self.kind.noise_fades and rng.random() < 0.6:
            forgotten = self._size(0.01, 0.5)
            noise = lfilter([(1 - (1 - forgotten) ** 2) ** 0.5], [1, forgotten - 1], noise)
        return np.asarray(self._size(0.003, 0.2) * noise)

    def _volatility(self) -> Array:
        """What noise and walk are multiplied by: [T]."""
        if not self._happens("volatility", 0.4):
            return np.ones(self.length)
        rng = self.rng
        steps = rng.normal(0, self._size(0.02, 0.3), self.length)
        logarithm = np.cumsum(steps) if rng.random() < 0.5 else steps * 3
        return np.asarray(np.exp(np.clip(logarithm - logarithm.mean(), -2, 2)))

    def _calendar(self) -> Array:
        if self.kind.season != MONTHS or not self._happens("calendar", 0.3):
            return np.zeros(self.length)
        start = np.datetime64("1970-01", "M") + int(self.rng.integers(0, 600))
        months = start + np.arange(self.length + 1)
        days = months.astype("datetime64[D]")
        counted = np.diff(days).astype(float)
        if self.rng.random() < 0.5:
            counted = np.busday_count(days[:-1], days[1:]).astype(float)
        return np.asarray(self.rng.uniform(0.3, 1) * np.log(counted / counted.mean()))

    def _outliers(self, values: Array, noise: float) -> Array:
        if not self._happens("outliers", 0.15):
            return values
        rng = self.rng
        is_outlier = rng.random(self.length) < self._size(0.005, 0.05)
        return np.where(is_outlier, values + rng.normal(0, 1, self.length) * (6 * noise + 0.1), values)


def _draw_demand(length: int, season: int, rng: np.random.Generator) -> Array:
    """Demand that is zero in most periods, relative to its mean: [T]."""
    rate = np.full(length, rng.uniform(0.05, 0.9))
    if season > 1 and rng.random() < 0.4:
        rate = rate * np.exp(0.5 * np.sin(2 * np.pi * (np.arange(length) + rng.integers(0, season)) / season))
    is_asked = rng.random(length) < rate
    quantity = np.ceil(np.exp(rng.normal(rng.uniform(0, 3), rng.uniform(0.1, 0.8), length)))
    demand = np.where(is_asked, quantity, 0.0)
    return np.asarray(demand / max(demand.mean(), 1e-6))
