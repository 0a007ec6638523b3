"""Whether a batch may be what it seems: a history that shrinks, moves or is rescaled waits for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.config.sources import Source
from pipeline.text import counted
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.long_values import LongValues

#: share of the known values that a source which shows everything must show again
SHOWN_AGAIN = 0.95
#: fewer values that are known and told say nothing of a shift or a factor
FEWEST = 8
#: of a series' values so many must fit for it to count as shifted or rescaled
FITTING = 0.95
#: a series of which so many values are told anew, nearly all that it has, is another series under its name
FEWEST_REWRITTEN = 24
#: quotients of a rescaled history agree to this
SAME_FACTOR = 1e-3
#: a zone's offset in steps: a day of hours, or what is as many of shorter ones
MOST_LAG = 24
#: values of each series that are looked at
_SAMPLE = 64
#: more decimals than these are no rounding
_MOST_DECIMALS = 6

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why a person has to look first."""

    rule: str
    says: str
    series: str | None = None


@dataclass(slots=True)
class HistoryCheck:
    """What a batch does to the history, gathered part by part."""

    frequency: Frequency
    #: covariates that are known ahead: forecasts, which are told anew each time
    ahead: tuple[str, ...] = ()
    #: values that are known and expected again
    num_expected: int = 0
    num_overlap: int = 0
    #: of the overlap, what may not change
    num_compared: int = 0
    num_revised: int = 0
    #: by name, by how many periods each moved, or by which factor each was rescaled
    shifted: dict[str, int] = field(default_factory=dict)
    rescaled: dict[str, float] = field(default_factory=dict)
    #: by name, how many values of each were told anew, of nearly as many
    rewritten: dict[str, int] = field(default_factory=dict)

    def add(self, told: LongValues, known: LongValues, place: Counts, names: Sequence[tuple[str, str]]) -> None:
        """Look at some whole series.

        Args:
            told: what the batch says of them.
            known: what is known of them.
            place: for each told value its position in `known`, or -1.
            names: of the series and their variables, by their number.
        """
        if len(known) == 0 or len(told) == 0:
            return
        starts = told.starts()
        numbers = told.series[starts[:-1]]
        watched = np.array([names[number][1] not in self.ahead for number in numbers])
        overlap = place >= 0
        self.num_overlap += int(overlap.sum())
        overlap &= np.repeat(watched, np.diff(starts))
        revised = overlap & (told.value != known.value[place])
        self.num_compared += int(overlap.sum())
        self.num_revised += int(revised.sum())
        if not revised.any():
            return
        num_overlap, num_revised = (np.add.reduceat(mask.astype(np.int64), starts[:-1]) for mask in (overlap, revised))
        suspicious = (num_overlap >= FEWEST) & (num_revised >= (1 - FITTING) * num_overlap)
        for n in np.flatnonzero((num_overlap >= FEWEST_REWRITTEN) & (num_revised >= FITTING * num_overlap)):
            self.rewritten.setdefault(names[int(numbers[n])][0], int(num_revised[n]))
        rows = np.flatnonzero(np.repeat(suspicious, np.diff(starts)) & overlap)
        if len(rows) == 0:
            return
        owner = np.repeat(np.arange(len(numbers)), np.diff(starts))
        lag = _lags(told, known, place, rows, owner, self._lags)
        with np.errstate(over="ignore", invalid="ignore"):  # quotients by tiny values
            factor = _factors(told.value, known.value[place], rows, owner)
        for n in np.flatnonzero((lag != 0) | ~np.isnan(factor)):
            name = names[int(numbers[n])][0]
            if lag[n]:
                self.shifted.setdefault(name, int(lag[n]))
            else:
                self.rescaled.setdefault(name, float(factor[n]))

    @property
    def _lags(self) -> list[int]:
        most = MOST_LAG if self.frequency.is_within_day else 1
        return [sign * lag for lag in range(1, most + 1) for sign in (1, -1)]

    def suspicion(self, contract: Source, *, incremental: bool) -> Suspicion | None:
        """Why a person has to look first, or None."""
        for rule, found in (("shifted", self.shifted), ("rescaled", self.rescaled)):
            if found:
                name = min(found)
                how = self._moved(self.shifted[name]) if rule == "shifted" else _times(found[name])
                more = f", and so do those of {len(found) - 1} other series" if len(found) > 1 else ""
                return Suspicion(rule, f'the values of series "{name}" {how}{more}', name)
        if self.rewritten and contract.max_revised < FITTING:
            name = min(self.rewritten)
            more = f", and so are those of {len(self.rewritten) - 1} other series" if len(self.rewritten) > 1 else ""
            says = f'nearly all known values of series "{name}" are told anew, {self.rewritten[name]}{more}'
            return Suspicion("rewritten", f"{says} (source.max_revised = 1 if this source does so)", name)
        if not incremental and self.num_overlap < SHOWN_AGAIN * self.num_expected:
            return Suspicion(
                "shrunk",
                f"only {self.num_overlap} of {self.num_expected} known values are told again, expected at least "
                f"{100 * SHOWN_AGAIN:g} %: has the source lost rows? (source.rolling = true if it shows a moving window)",
            )
        if self.num_compared >= FEWEST and self.num_revised > contract.max_revised * self.num_compared:
            return Suspicion(
                "revised",
                f"{self.num_revised} of {self.num_compared} known values are told anew, at most "
                f"{100 * contract.max_revised:g} % expected (source.max_revised)",
            )
        return None

    def _moved(self, lag: int) -> str:
        """By how much, in periods and where they have a length in hours and minutes."""
        length = self.frequency.length
        minutes = round(abs(lag) * length.total_seconds() / 60, 6) if length else 0
        time = f"{minutes / 60:g} h" if minutes % 60 == 0 else f"{minutes:g} min"
        sign = "+" if lag > 0 else "-"
        return f"match the known ones shifted by {sign}{time if length else counted(abs(lag), 'period')}"


def _times(factor: float) -> str:
    return f"are the known ones times {np.format_float_positional(float(f'{factor:.3g}'), trim='-')}"


def _lags(
    told: LongValues, known: LongValues, place: Counts, rows: Counts, owner: Counts, lags: Sequence[int]
) -> Counts:
    """By how many periods each series moved; 0 where it did not.

    Only values count that differ from the one before, or a constant history would match at any lag.
    """
    rows = _sampled(rows[np.diff(told.value, prepend=np.nan)[rows] != 0], owner)
    num_series = int(owner[-1]) + 1
    same, _ = _share(told, known, place, rows, owner, 0)
    best, best_share = np.zeros(num_series, np.int64), np.zeros(num_series)
    for lag in lags:
        share, enough = _share(told, known, place, rows, owner, lag)
        better = enough & (share > best_share)
        best[better], best_share[better] = lag, share[better]
    return np.where((best_share >= FITTING) & (2 * same < FITTING), best, 0)


def _share(
    told: LongValues, known: LongValues, place: Counts, rows: Counts, owner: Counts, lag: int
) -> tuple[Floats, Mask]:
    """By series: which share of the rows equals the known value so far before, and whether they are enough."""
    moved = place[rows] - lag
    at = np.clip(moved, 0, len(known) - 1)
    inside = (moved == at) & (known.series[at] == told.series[rows])
    count = np.bincount(owner[rows], inside, minlength=owner[-1] + 1)
    hits = np.bincount(owner[rows], inside & (known.value[at] == told.value[rows]), minlength=owner[-1] + 1)
    return hits / np.maximum(count, 1), count >= FEWEST


def _factors(now: Floats, before: Floats, rows: Counts, owner: Counts) -> Floats:
    """By which factor each series was rescaled; NaN where it was not.

    Values that were rounded fit as well as their last decimal allows, and tell something only if they
    changed by more than that.
    """
    num_series = int(owner[-1]) + 1
    rows = _sampled(rows[(before[rows] != 0) | (now[rows] != 0)], owner)
    whose = owner[rows]
    now, before = now[rows], before[rows]
    factor = _typical_quotient(now, before, whose, num_series)[whose]
    unit_now, unit_before = (_units(values, whose, num_series)[whose] for values in (now, before))
    allowed = np.maximum(SAME_FACTOR * np.abs(now), 0.5000001 * (unit_now + np.abs(factor) * unit_before))
    fits = np.abs(now - factor * before) <= allowed
    tells = fits & (np.abs(now - before) > 2 * allowed)
    num_rows, num_fits, num_tells = (
        np.bincount(whose, mask, minlength=num_series) for mask in (np.ones(len(rows)), fits, tells)
    )
    found = (num_fits >= FITTING * num_rows) & (num_tells >= np.maximum(FEWEST, num_rows / 2))
    factors = np.full(num_series, np.nan)
    factors[whose] = factor
    return np.where(found, factors, np.nan)


def _typical_quotient(now: Floats, before: Floats, whose: Counts, num_series: int) -> Floats:
    """By series the median quotient, in which large values, of which rounding takes the smallest share, weigh most."""
    rows = np.flatnonzero(before != 0)
    quotient = now[rows] / before[rows]
    order = rows[np.lexsort((quotient, whose[rows]))]
    weight = np.concatenate([[0.0], np.cumsum(np.abs(before[order]))])
    bounds = np.searchsorted(whose[order], np.arange(num_series + 1))
    half = (weight[bounds[:-1]] + weight[bounds[1:]]) / 2
    at = np.clip(np.searchsorted(weight[1:], half), bounds[:-1], np.maximum(bounds[1:] - 1, bounds[:-1]))
    typical = np.full(num_series, np.nan)
    some = bounds[1:] > bounds[:-1]
    middle = order[at[some]]
    typical[some] = now[middle] / before[middle]
    return typical


def _units(values: Floats, whose: Counts, num_series: int) -> Floats:
    """By series the last decimal that its values are rounded to; 0 where they are not."""
    units = np.zeros(num_series)
    for decimals in range(_MOST_DECIMALS, -1, -1):
        scaled = values * 10.0**decimals
        rounded = np.abs(scaled - np.rint(scaled)) <= 1e-6
        units[np.bincount(whose, ~rounded, minlength=num_series) == 0] = 10.0**-decimals
    return units


def _sampled(rows: Counts, owner: Counts) -> Counts:
    """Of each series' rows a few, from its whole length."""
    counts = np.bincount(owner[rows], minlength=owner[-1] + 1)
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    sampled: Counts = rows[rank % np.repeat(-(-counts // _SAMPLE), counts) == 0]
    return sampled
