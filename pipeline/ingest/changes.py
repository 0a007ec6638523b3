"""What was read of a delivery against what is known: new, revised and equal values, and the faults between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld, BatchRefused, Rejection
from pipeline.ingest.history_checks import FEWEST, MOST_LAG, HistoryCheck
from pipeline.ingest.reader import ParsedBatch
from pipeline.ingest.row_spool import Rows
from pipeline.text import counted
from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.long_values import LongValues, merge
from pipeline.timeseries.observations import TARGET

#: a last line without newline is taken for cut if its step is larger than this many times any other
CUT_STEP = 2.0
#: lines and periods that a message lists
_LISTED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What some whole series add to the store."""

    #: of periods that have no value yet
    new: LongValues
    #: of periods that have another one
    revised: LongValues


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gap:
    """What one series lacks."""

    series: int
    absent: Periods


@dataclass(slots=True)
class BatchDiff:
    """A reading part by part against what is known; its counts and its verdict."""

    reading: ParsedBatch
    recipe: Recipe
    guard: HistoryCheck = field(init=False)
    num_new: int = 0
    num_revised: int = 0
    num_same: int = 0
    #: the longest history after this batch, and its periods
    longest_series: str = ""
    longest_length: int = 0
    _off_grid: Periods | None = None
    #: places of rows whose period is on no grid, which were refused once
    _refused: set[tuple[int, int]] = field(default_factory=set)
    _longest: int = -1
    _gap: _Gap | None = None
    _cut: bool = False
    #: a told and a known period that are not on one grid
    _beside: tuple[np.datetime64, np.datetime64] | None = None
    #: how often values of one series follow each other at how many periods' distance
    _steps: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.guard = HistoryCheck(self.recipe.grid, ahead=self.recipe.covariates.future)

    @property
    def counts(self) -> dict[str, int]:
        """What the batch's header says."""
        return {
            "num_read": self.reading.num_read,
            "num_new": self.num_new,
            "num_revised": self.num_revised,
            "num_same": self.num_same,
        }

    @property
    def values_before(self) -> int:
        """How many values of a series before the told ones have to be known, where a source does not tell all of them."""
        return max(self.recipe.least_history, self.recipe.scale_window, 1 + MOST_LAG)

    def clean(self, rows: Rows) -> LongValues:
        """Rows of some series in order, each period once; what does not fit is refused."""
        rows = _in_order(self._on_grid(rows))
        series, period = np.ascontiguousarray(rows["series"]), np.ascontiguousarray(rows["period"])
        again = np.zeros(len(rows), bool)
        again[1:] = (series[1:] == series[:-1]) & (period[1:] == period[:-1])
        kept = self._without_duplicates(rows, again) if again.any() else slice(None)
        return LongValues(
            series[kept].astype(np.int64),
            period[kept].view("datetime64[us]"),
            np.ascontiguousarray(rows["value"][kept]),
        )

    def compare(self, told: LongValues, known: LongValues, *, as_delivered: bool = True) -> Change:
        """What changes if the told values are taken in.

        Args:
            told: cleaned values of some whole series.
            known: all that is known of them.
            as_delivered: look for signs that the source is not what it seems; not when a person released it.
        """
        if len(told) == 0:
            return Change(new=told, revised=told)
        place = known.positions(told.series, told.period)
        everything = merge(known, told)
        if as_delivered:
            self._look_for_cut(told, everything)
            self._look_for_gaps(told, known, everything)
            self.guard.add(told, known, place, self.reading.names)
            self.guard.num_expected += self._expected_again(known)
        self._measure(everything)
        is_new = place < 0
        is_revised = ~is_new & (told.value != known.value[place]) if len(known) else np.zeros(len(told), bool)
        self.num_new += int(is_new.sum())
        self.num_revised += int(is_revised.sum())
        self.num_same += int((~is_new & ~is_revised).sum())
        return Change(new=told.take(is_new), revised=told.take(is_revised))

    def refuse_too_many(self) -> None:
        """Refuse the batch if it is faulty, or if more of its rows are than the recipe allows.

        Raises:
            BatchRefused: it is.
        """
        reading, allowed = self.reading, self.recipe.source.max_rejected
        num_refused = len({(one.file, one.line) for one in reading.rejections})
        if num_refused and num_refused / max(reading.num_read, 1) > allowed:
            share = f"{num_refused} of {counted(reading.num_read, 'row')} refused, at most {100 * allowed:g} % allowed"
            raise self._refusal(f"{reading.first_rejection()}; {share}, nothing was taken in")
        if self.num_new + self.num_revised + self.num_same == 0 and not reading.may_be_empty:
            raise self._refusal("gives no value: expected at least one")
        if self._beside is not None:
            told, known = map(self._shown, self._beside)
            raise self._refusal(
                f'tells of {told} where {known} is known, which are not on one grid of the frequency "{self.recipe.frequency}": '
                "has the source moved its periods, or the recipe its frequency?",
                Rejection(rule="other grid", text=told),
            )
        self._refuse_cut()

    def hold_suspicious(self, *, incremental: bool) -> None:
        """Hold the batch if its history has gaps, or seems to shrink, to move or to be rescaled.

        Raises:
            BatchHeld: it does.
        """
        if self.reading.num_read == 0:
            return
        self._hold_coarser()
        self._hold_gap()
        suspicion = self.guard.suspicion(self.recipe.source, incremental=incremental)
        if suspicion is not None:
            raise self._hold(suspicion.says, Rejection(rule=suspicion.rule, series=suspicion.series))

    def _refusal(self, what: str, *rejections: Rejection) -> BatchRefused:
        return BatchRefused(f"{self.reading.source} {what}", rejections, source=self.reading.source)

    def _hold(self, what: str, rejection: Rejection) -> BatchHeld:
        advice = f"nothing was taken in; if this is meant, run `nextperiod ingest {self.recipe.name} --approve`"
        return BatchHeld(f"{self.reading.source}: {what}; {advice}", [rejection], source=self.reading.source)

    def _on_grid(self, rows: Rows) -> Rows:
        """The rows that are; the others are refused, each line once."""
        if self._off_grid is None:
            periods = self.reading.periods
            self._off_grid = periods[~self.recipe.grid.on_grid(periods)].astype(np.int64)
        if len(self._off_grid) == 0:
            return rows
        off = np.isin(rows["period"], self._off_grid)
        calendar = self.recipe.calendar
        what = f"is no session of {calendar}" if calendar else f'is not on the frequency "{self.recipe.frequency}"'
        for row in rows[off]:
            if (place := (int(row["file"]), int(row["line"]))) not in self._refused:
                self._refused.add(place)
                text = self._shown(row["period"].astype("datetime64[us]"))
                self.reading.refuse([self.reading.rejection(what, row, text=text, column=self.recipe.source.period)])
        return rows[~off]

    def _without_duplicates(self, rows: Rows, again: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which rows count: equal values for one period collapse, different ones follow the recipe's rule."""
        rule = self.recipe.source.duplicates
        value = rows["value"]
        differs = again.copy()
        differs[1:] &= value[1:] != value[:-1]
        if rule == "last":
            return np.append(~again[1:], True)
        if rule == "first" or not differs.any():
            return ~again
        group = np.cumsum(~again) - 1
        starts = np.append(np.flatnonzero(~again), len(rows))
        conflicts = np.unique(group[differs])
        kept = ~again
        for n in conflicts:
            kept[starts[n]] = False
            self._reject_conflict(rows[starts[n] : starts[n + 1]])
        return kept

    def _reject_conflict(self, rows: Rows) -> None:
        reading = self.reading
        lines = ", ".join(str(line) for line in rows["line"][:_LISTED]) + (", …" if len(rows) > _LISTED else "")
        period = self._shown(rows["period"][0].astype("datetime64[us]"))
        what = f"is one of {len(np.unique(rows['value']))} different values for {period} (lines {lines})"
        column = reading.column_of(int(rows["series"][0]))
        reading.refuse(reading.rejection(what, row, text=_number(row["value"]), column=column) for row in rows)

    def _look_for_cut(self, told: LongValues, everything: LongValues) -> None:
        """A number cut short at the end of a text is still a number: judge it by the steps of the others."""
        last = self.reading.unended
        if last is None or not (told.series == last.series).any():
            return
        own = everything.take(everything.series == last.series)
        values = own.value[own.period != last.period]
        if len(values) < 3 or own.period[-1] != last.period:
            return
        self._cut = abs(last.value - values[-1]) > CUT_STEP * float(np.abs(np.diff(values)).max())

    def _refuse_cut(self) -> None:
        last = self.reading.unended
        if last is None or not self._cut:
            return
        raise self._refusal(
            f'ends in line {last.line} without a newline, and "{last.text}" is further from the value '
            f"before than any other: the file seems to be cut; fetch it again, or end its last line if it is whole",
            Rejection(
                file=last.file,
                line=last.line,
                column=self.reading.column_of(last.series),
                series=self.reading.names[last.series][0],
                text=last.text,
                rule="cut",
            ),
        )

    def _look_for_gaps(self, told: LongValues, known: LongValues, everything: LongValues) -> None:
        grid = self.recipe.grid.between(everything.period.min(), everything.period.max())
        ends = [end for values in (told, known) if len(values) for end in (values.period.min(), values.period.max())]
        if len(known) and self.recipe.calendar is None and not all(end in grid for end in ends):
            self._beside = told.period.min(), known.period.min()
            return
        self._count_steps(told, grid)
        rows, steps, _ = self._steps_of(everything, grid)
        wide = rows[steps > self.recipe.max_gap + 1]
        if len(wide):
            wide = wide[~_was_there(known, everything, wide)]
        if len(wide) == 0:
            return
        series = int(everything.series[wide[0]])
        if self._gap is None or series < self._gap.series:
            own = np.searchsorted(grid, everything.period[everything.series == series])
            self._gap = _Gap(series=series, absent=grid[np.setdiff1d(np.arange(own[0], own[-1]), own)])

    def _count_steps(self, told: LongValues, grid: Periods) -> None:
        _, steps, num_single = self._steps_of(told, grid)
        self._steps[1] += num_single
        for step, count in zip(*np.unique(steps, return_counts=True), strict=True):
            self._steps[int(step)] += int(count)

    def _steps_of(self, values: LongValues, grid: Periods) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
        """How many periods it is from one value of the target to the next.

        Rows of series that have gaps, the steps from them, and the number of steps of all other series,
        which are not looked through.
        """
        starts = values.starts()
        first, last = starts[:-1], starts[1:] - 1
        spanned = np.searchsorted(grid, values.period[last]) - np.searchsorted(grid, values.period[first])
        is_target = np.array([self.reading.names[number][1] == TARGET for number in values.series[first]])
        has_gaps = is_target & (spanned != last - first)
        rows = np.flatnonzero(np.repeat(has_gaps, np.diff(starts)))
        steps = np.diff(np.searchsorted(grid, values.period[rows]))
        inside = np.diff(values.series[rows]) == 0
        return rows[:-1][inside], steps[inside], int((last - first)[is_target & ~has_gaps].sum())

    def _hold_coarser(self) -> None:
        num_steps = sum(self._steps.values())
        usual = max(self._steps, key=lambda step: self._steps[step], default=1)
        if num_steps >= FEWEST - 1 and usual > 1:
            raise self._hold(
                f'most values are {usual} periods apart, expected 1 at the frequency "{self.recipe.frequency}": '
                "does the source have another one now?",
                Rejection(rule="frequency"),
            )

    def _hold_gap(self) -> None:
        if self._gap is None:
            return
        absent = self._gap.absent
        listed = ", ".join(self._shown(period) for period in absent[:_LISTED]) + (
            ", …" if len(absent) > _LISTED else ""
        )
        why = f" ({self.reading.first_rejection()})" if self.reading.rejections else ""
        name = self.reading.names[self._gap.series][0]
        raise self._hold(
            f'series "{name}" has no value for {counted(len(absent), "period")} between its first and its last: '
            f"{listed}{why}; expected gaps of at most max_gap = {self.recipe.max_gap}: add the values, or raise max_gap",
            Rejection(rule="gap", series=name, text=listed),
        )

    def _shown(self, period: np.datetime64) -> str:
        """A period in a message; an instant of local times says that it is UTC."""
        is_instant = self.recipe.source.zone is not None and self.recipe.grid.is_within_day
        return shown(period) + ("Z" if is_instant else "")

    def _expected_again(self, known: LongValues) -> int:
        """How many known values of these series the source should tell again: all, or those in its moving window."""
        if not self.recipe.source.rolling:
            return len(known)
        return int((known.period >= self.reading.periods[0]).sum()) if len(self.reading.periods) else 0

    def _measure(self, everything: LongValues) -> None:
        starts = everything.starts()
        numbers, lengths = everything.series[starts[:-1]], np.diff(starts)
        lengths = np.where([self.reading.names[number][1] == TARGET for number in numbers], lengths, 0)
        at = int(lengths.argmax())
        number, count = int(numbers[at]), int(lengths[at])
        if count > self.longest_length or (count == self.longest_length and number < self._longest):
            self.longest_series, self.longest_length, self._longest = self.reading.names[number][0], count, number


def _was_there(known: LongValues, everything: LongValues, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which gaps, each behind one of `rows`, were in the history before: both their ends were known."""
    ends = [known.positions(everything.series[at], everything.period[at]) >= 0 for at in (rows, rows + 1)]
    return np.logical_and(*ends)


def _in_order(rows: Rows) -> Rows:
    """Rows by series and period; those of one period in the order in which they came."""
    series, period = np.ascontiguousarray(rows["series"]), np.ascontiguousarray(rows["period"])
    later = series[1:] > series[:-1]
    if (later | ((series[1:] == series[:-1]) & (period[1:] >= period[:-1]))).all():
        return rows
    return rows[np.lexsort((period, series))]


def _number(value: float) -> str:
    """A number as short as it can be written."""
    return repr(float(value)).removesuffix(".0")


def shown(period: np.datetime64) -> str:
    """A period in a message: a midnight is its day alone."""
    return str(period).removesuffix(".000000").removesuffix(":00").removesuffix("T00:00")
