"""Check whether a batch would drop, shift, rescale or rewrite the stored history: such a batch is put on hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.config.sources import Source
from pipeline.records.expectation import Expectation, Key
from pipeline.text import counted, list_some
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.long_values import LongValues

#: share of the stored values that a source which delivers its whole history must repeat
MIN_REPEATED = 0.95
#: fewer values that are both stored and delivered are no evidence of a shift, a factor or too many revisions
MIN_OVERLAP = 8
#: share of a series' values that must match for it to count as shifted, rescaled or rewritten
MIN_MATCH = 0.95
#: a series is rewritten if at least this many stored values are compared and nearly all of them are revised
MIN_REWRITTEN = 24
#: relative difference up to which a value fits a factor
FACTOR_TOLERANCE = 1e-3
#: largest shift that is looked for within days: the offset of a time zone, or a day of hours
MAX_LAG = 24
#: about how many values of each series are looked at for a shift or a factor
_SAMPLE = 64
#: values with more decimals than this do not count as rounded
_MAX_DECIMALS = 6

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why a person has to decide about a batch."""

    rule: str
    message: str
    series: str | None = None


@dataclass(frozen=True, slots=True)
class _Overlap:
    """Delivered and stored values of the same S series, and the rows to compare."""

    delivered: LongValues  # [n]
    stored: LongValues  # [m]
    stored_rows: Counts  # [n] row of the same series and period in `stored`, or -1
    series: Counts  # [n] position of the series, from 0 to S - 1, ascending
    rows: Counts  # [k] rows of `delivered` that are stored and may not change, ascending

    @property
    def num_series(self) -> int:
        return int(self.series[-1]) + 1


@dataclass(slots=True)
class HistoryCheck:
    """What a batch does to the stored history, collected over its parts."""

    frequency: Frequency
    #: covariates that are known ahead: forecasts, which may change with each delivery
    known_ahead: tuple[str, ...] = ()
    #: what a person accepted before
    expectation: Expectation = field(default_factory=Expectation)
    #: stored values that the source should deliver again
    num_expected: int = 0
    #: by series, how many of these it did not deliver; and the series of which it delivered none
    absent: dict[Key, int] = field(default_factory=dict)
    missing_series: list[Key] = field(default_factory=list)
    #: delivered values that should not change, and those that did
    num_compared: int = 0
    num_revised: int = 0
    #: by series name: by how many periods it was shifted, by which factor rescaled, how many values were rewritten
    shifted: dict[str, int] = field(default_factory=dict)
    rescaled: dict[str, float] = field(default_factory=dict)
    rewritten: dict[str, int] = field(default_factory=dict)

    def add(
        self, delivered: LongValues, stored: LongValues, stored_rows: Counts, names: Sequence[tuple[str, str]]
    ) -> None:
        """Look at some whole series.

        Args:
            delivered: the values of the batch. [n]
            stored: the stored values of the same series.
            stored_rows: for each delivered value its row in `stored`, or -1. [n]
            names: (series, variable) by series number.
        """
        if len(stored) == 0 or len(delivered) == 0:
            return
        starts = delivered.starts()
        numbers, lengths = delivered.series[starts[:-1]], np.diff(starts)  # [S]
        keys = [names[number] for number in numbers]
        must_stay = np.array([variable not in self.known_ahead for _, variable in keys])  # [S]
        is_stored = stored_rows >= 0  # [n]
        is_compared = is_stored & np.repeat(must_stay, lengths)  # [n]
        is_revised = is_compared & (delivered.value != stored.value[stored_rows])  # [n]
        self.num_compared += int(is_compared.sum())
        self.num_revised += int(is_revised.sum())
        if not is_revised.any():
            return
        num_compared, num_revised = _count_by_series(is_compared, starts), _count_by_series(is_revised, starts)  # [S]
        self._note_rewritten(keys, num_compared, num_revised)
        is_suspicious = (num_compared >= MIN_OVERLAP) & (num_revised >= (1 - MIN_MATCH) * num_compared)  # [S]
        rows = np.flatnonzero(is_compared & np.repeat(is_suspicious, lengths))
        if len(rows):
            series = np.repeat(np.arange(len(numbers)), lengths)
            self._note_shifts_and_factors(keys, _Overlap(delivered, stored, stored_rows, series, rows))

    def expect(
        self, stored: LongValues, is_expected: Mask, stored_rows: Counts, names: Sequence[tuple[str, str]]
    ) -> None:
        """Count which stored values of some delivered series were expected, and which of these are absent.

        Args:
            stored: the stored values of these series. [m]
            is_expected: which of them the source should deliver again. [m]
            stored_rows: rows of `stored` that it delivered, or -1.
            names: (series, variable) by series number.
        """
        is_absent = is_expected.copy()
        is_absent[stored_rows[stored_rows >= 0]] = False
        self.num_expected += int(is_expected.sum())
        numbers, counts = np.unique(stored.series[is_absent], return_counts=True)
        self.absent |= {names[number]: count for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)}

    def expect_series(self, counts: Mapping[Key, int]) -> None:
        """Count the stored values of series of which nothing was delivered."""
        self.num_expected += sum(counts.values())
        self.absent |= counts
        self.missing_series += counts

    def find_suspicion(self, source: Source, *, incremental: bool, num_rejected: int = 0) -> Suspicion | None:
        """Return the first reason to hold the batch; None if it is plausible.

        Args:
            source: how much of the history the recipe allows to change.
            incremental: whether the source delivers only what is new, so that it need not repeat its history.
            num_rejected: values of rejected rows, which were delivered, too.
        """
        return (
            self._find_shift()
            or self._find_rescaling()
            or self._find_rewriting(source)
            or (None if incremental else self._find_shrinking(source, num_rejected))
            or self._find_revisions(source)
        )

    def _note_rewritten(self, keys: Sequence[tuple[str, str]], num_compared: Counts, num_revised: Counts) -> None:
        is_rewritten = (num_compared >= MIN_REWRITTEN) & (num_revised >= MIN_MATCH * num_compared)  # [S]
        for n in np.flatnonzero(is_rewritten).tolist():
            self.rewritten.setdefault(keys[n][0], int(num_revised[n]))

    def _note_shifts_and_factors(self, keys: Sequence[tuple[str, str]], overlap: _Overlap) -> None:
        """A series that is both shifted and rescaled counts as shifted."""
        lags, factors = _find_lags(overlap, self._possible_lags()), _find_factors(overlap)  # [S]
        for n in np.flatnonzero(lags).tolist():
            self.shifted.setdefault(keys[n][0], int(lags[n]))
        for n in np.flatnonzero((lags == 0) & ~np.isnan(factors)).tolist():
            self.rescaled.setdefault(keys[n][0], float(factors[n]))

    def _possible_lags(self) -> list[int]:
        """1, -1, 2, -2 …: of several lags that match equally well the first one counts."""
        max_lag = MAX_LAG if self.frequency.is_within_day else 1
        return [sign * lag for lag in range(1, max_lag + 1) for sign in (1, -1)]

    def _find_shift(self) -> Suspicion | None:
        if not self.shifted:
            return None
        name = min(self.shifted)
        shift, others = self._format_shift(self.shifted[name]), _mention_others(self.shifted, "and so do those of")
        return Suspicion(
            "shifted", f'the values of series "{name}" match the stored ones shifted by {shift}{others}', name
        )

    def _find_rescaling(self) -> Suspicion | None:
        if not self.rescaled:
            return None
        name = min(self.rescaled)
        factor, others = _format_factor(self.rescaled[name]), _mention_others(self.rescaled, "and so are those of")
        return Suspicion("rescaled", f'the values of series "{name}" are the stored ones times {factor}{others}', name)

    def _find_rewriting(self, source: Source) -> Suspicion | None:
        if not self.rewritten or source.max_revised >= MIN_MATCH:
            return None
        name = min(self.rewritten)
        others = _mention_others(self.rewritten, "and so are those of")
        message = f'nearly all stored values of series "{name}" are revised, {self.rewritten[name]}{others}'
        return Suspicion("rewritten", f"{message} (set source.max_revised = 1 if this source does so regularly)", name)

    def _find_shrinking(self, source: Source, num_rejected: int) -> Suspicion | None:
        accepted = {key: min(count, self.expectation.absent.get(key, 0)) for key, count in self.absent.items()}
        num_expected = self.num_expected - sum(accepted.values())
        num_lost = sum(self.absent.values()) - sum(accepted.values())
        may_be_lost = (1 - MIN_REPEATED) * num_expected
        if num_lost - num_rejected <= (may_be_lost if source.strict else max(may_be_lost, 1)):
            return None
        missing = [
            name for name, variable in self.missing_series if self.absent[name, variable] > accepted[name, variable]
        ]
        none_of = f", none of series {list_some(missing)}" if missing else ""
        return Suspicion(
            "shrunk",
            f"only {num_expected - num_lost} of {num_expected} stored values are delivered again{none_of}; expected at "
            f"least {100 * MIN_REPEATED:g} %: has the source lost rows? (set source.rolling = true if it shows a moving window)",
        )

    def _find_revisions(self, source: Source) -> Suspicion | None:
        if self.num_compared < MIN_OVERLAP or self.num_revised <= source.max_revised * self.num_compared:
            return None
        return Suspicion(
            "revised",
            f"{self.num_revised} of {self.num_compared} stored values are revised, expected at most "
            f"{100 * source.max_revised:g} % (source.max_revised)",
        )

    def _format_shift(self, lag: int) -> str:
        """In hours or minutes where periods have a fixed length, otherwise in periods."""
        sign, length = "+" if lag > 0 else "-", self.frequency.length
        if not length:
            return sign + counted(abs(lag), "period")
        minutes = round(abs(lag) * length.total_seconds() / 60, 6)
        return sign + (f"{minutes / 60:g} h" if minutes % 60 == 0 else f"{minutes:g} min")


def weighted_median_quotients(new: Floats, old: Floats, series: Counts, num_series: int) -> Floats:
    """Return the weighted median of the quotients new / old of each series, with the weights abs(old).

    With the quotients q_1 ≤ q_2 ≤ … of a series and their weights w_1, w_2, …, it is the first q_k with
    w_1 + … + w_k ≥ (w_1 + … + w_n) / 2. Large values weigh most because rounding changes them least.
    For example, old = 1, 2, 10 and new = 3, 4, 5 have the quotients 0.5, 2, 3 with the weights 10, 2, 1: half of all
    weights is 6.5, which the first quotient reaches, so the median is 0.5.

    Args:
        new: values after the change. [n]
        old: values before it; zeros have no quotient and are left out. [n]
        series: position of the series of each value, from 0 to S - 1. [n]
        num_series: S.

    Returns:
        [S], NaN for a series without an old value other than 0.
    """
    has_quotient = old != 0
    quotient, weight, series = new[has_quotient] / old[has_quotient], np.abs(old[has_quotient]), series[has_quotient]
    order = np.lexsort((quotient, series))
    quotient, weight, series = quotient[order], weight[order], series[order]
    bounds = np.searchsorted(series, np.arange(num_series + 1))
    start, end = bounds[:-1], bounds[1:]  # [S]
    cumulative_weight = np.concatenate([[0.0], np.cumsum(weight)])
    half = (cumulative_weight[start] + cumulative_weight[end]) / 2  # [S]
    middle = np.clip(np.searchsorted(cumulative_weight[1:], half), start, np.maximum(end - 1, start))  # [S]
    is_defined = end > start
    medians = np.full(num_series, np.nan)
    medians[is_defined] = quotient[middle[is_defined]]
    return medians


def _find_lags(overlap: _Overlap, lags: Sequence[int]) -> Counts:
    """Return by how many periods each series was shifted; 0 where it was not. [S]

    Only values that differ from the one before count, or a constant history would match at any lag.
    """
    changes = np.diff(overlap.delivered.value, prepend=np.nan)[overlap.rows] != 0
    rows = _sample_rows(overlap.rows[changes], overlap.series)
    unshifted_share, _ = _share_equal(overlap, rows, 0)
    best_lag, best_share = np.zeros(overlap.num_series, np.int64), np.zeros(overlap.num_series)
    for lag in lags:
        share, is_enough = _share_equal(overlap, rows, lag)
        is_better = is_enough & (share > best_share)
        best_lag[is_better], best_share[is_better] = lag, share[is_better]
    is_shifted = (best_share >= MIN_MATCH) & (unshifted_share < MIN_MATCH / 2)
    return np.where(is_shifted, best_lag, 0)


def _share_equal(overlap: _Overlap, rows: Counts, lag: int) -> tuple[Floats, Mask]:
    """Return which share of the rows equals the stored value `lag` rows before, and whether enough were compared. [S]"""
    delivered, stored, series = overlap.delivered, overlap.stored, overlap.series[rows]
    shifted = overlap.stored_rows[rows] - lag
    inside = np.clip(shifted, 0, len(stored) - 1)
    is_same_series = (shifted == inside) & (stored.series[inside] == delivered.series[rows])
    is_equal = is_same_series & (stored.value[inside] == delivered.value[rows])
    num_compared = np.bincount(series, is_same_series, minlength=overlap.num_series)
    num_equal = np.bincount(series, is_equal, minlength=overlap.num_series)
    return num_equal / np.maximum(num_compared, 1), num_compared >= MIN_OVERLAP


@np.errstate(over="ignore", invalid="ignore")  # quotients of tiny values
def _find_factors(overlap: _Overlap) -> Floats:
    """Return by which factor each series was rescaled; NaN where it was not. [S]

    A value fits a factor as far as rounding allows. It is evidence only if it changed by more than twice that.
    """
    rows = overlap.rows
    is_zero = (overlap.delivered.value[rows] == 0) & (overlap.stored.value[overlap.stored_rows[rows]] == 0)
    rows = _sample_rows(rows[~is_zero], overlap.series)
    new, old = overlap.delivered.value[rows], overlap.stored.value[overlap.stored_rows[rows]]  # [k]
    series, num_series = overlap.series[rows], overlap.num_series
    factors = weighted_median_quotients(new, old, series, num_series)  # [S]
    factor = factors[series]  # [k]
    new_unit, old_unit = (_rounding_units(values, series, num_series)[series] for values in (new, old))  # [k]
    tolerance = np.maximum(FACTOR_TOLERANCE * np.abs(new), 0.5000001 * (new_unit + np.abs(factor) * old_unit))
    fits = np.abs(new - factor * old) <= tolerance
    is_evidence = fits & (np.abs(new - old) > 2 * tolerance)
    num_rows = np.bincount(series, minlength=num_series)  # [S]
    num_fits, num_evidence = (np.bincount(series, mask, minlength=num_series) for mask in (fits, is_evidence))
    is_rescaled = (num_fits >= MIN_MATCH * num_rows) & (num_evidence >= np.maximum(MIN_OVERLAP, num_rows / 2))
    return np.where(is_rescaled, factors, np.nan)


def _rounding_units(values: Floats, series: Counts, num_series: int) -> Floats:
    """Return the unit that all values of a series are multiples of, such as 0.01; 0 if they are not rounded. [S]"""
    units = np.zeros(num_series)
    for decimals in range(_MAX_DECIMALS, -1, -1):
        scaled = values * 10.0**decimals
        is_rounded = np.abs(scaled - np.rint(scaled)) <= 1e-6
        units[np.bincount(series, ~is_rounded, minlength=num_series) == 0] = 10.0**-decimals
    return units


def _sample_rows(rows: Counts, series: Counts) -> Counts:
    """Return at most about `_SAMPLE` of the rows of each series, spread over its whole length."""
    counts = np.bincount(series[rows], minlength=series[-1] + 1)  # [S]
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)  # within the series
    every = -(-counts // _SAMPLE)  # [S]
    sampled: Counts = rows[rank % np.repeat(every, counts) == 0]
    return sampled


def _count_by_series(mask: Mask, starts: Counts) -> Counts:
    counts: Counts = np.add.reduceat(mask.astype(np.int64), starts[:-1])
    return counts


def _mention_others(by_name: dict[str, int] | dict[str, float], verb: str) -> str:
    return f", {verb} {len(by_name) - 1} other series" if len(by_name) > 1 else ""


def _format_factor(factor: float) -> str:
    return np.format_float_positional(float(f"{factor:.3g}"), trim="-")
