"""Compare a parsed batch with the stored values: what is new or revised, and whether to refuse or hold the batch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.config.sources import MAX_REJECTED
from pipeline.errors import BatchHeld, BatchRefused, Rejection
from pipeline.ingest.frequency_advice import off_grid_rule
from pipeline.ingest.history_checks import MAX_LAG, MIN_OVERLAP, HistoryCheck
from pipeline.ingest.reader import CONFLICT, ParsedBatch
from pipeline.ingest.row_spool import ROW, Rows
from pipeline.ingest.stray_periods import count_stray, find_stray
from pipeline.ingest.versions import compare_versions, newest_values
from pipeline.records.expectation import BatchPreview, Expectation
from pipeline.text import counted, format_period
from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.long_values import Change, LongValues, VersionChange, Versions, merge
from pipeline.timeseries.observations import TARGET

#: share of the series that may be held alone, so that the others are accepted
MAX_SET_ASIDE = 0.25
#: a last line without a newline counts as cut if its step is larger than this many times any other
CUT_STEP = 2.0
STRAY = "lies further before all others than those are long: expected a period near them"
_CUT = "the file may be cut off; fetch it again, or add a newline if it is complete"
#: what a number may be cut to that is none
_BEGUN_NUMBER = re.compile(r"[+-]?[0-9.]*([eE][+-]?)?")
#: revised values that a preview shows
MAX_EXAMPLES = 3
#: lines and periods that a message lists
_MAX_LISTED = 5

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class BatchCounts:
    """How many rows of a batch were read, and how many of its values are new, revised or the same."""

    num_read: int
    num_new: int = 0
    num_revised: int = 0
    num_same: int = 0

    def add(self, change: Change) -> None:
        """Count what one part of the batch changes."""
        self.num_new += len(change.new)
        self.num_revised += len(change.revised)
        self.num_same += change.num_same

    def add_versions(self, change: VersionChange) -> None:
        """Count what versions of one part of the batch change."""
        self.num_new += len(change.new)
        self.num_revised += len(change.revised) + len(change.older)
        self.num_same += change.num_same

    @property
    def num_values(self) -> int:
        """All values of the batch, each period once."""
        return self.num_new + self.num_revised + self.num_same

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LongestSeries:
    """The series with the longest history after a batch; of equally long ones the first in the batch."""

    name: str = ""
    length: int = 0
    number: int = -1


@dataclass(frozen=True, slots=True)
class Spacing:
    """How many periods lie between neighbouring values of each series.

    Series without gaps are not looked through: they only add to `num_single`.
    """

    rows: Counts  # [k] of series with gaps, the rows that are followed by another value of the series
    steps: Counts  # [k] periods from each of these values to the next one
    num_single: int  # steps of one period in series without gaps

    def counts(self) -> Counter[int]:
        """Return how often each step occurs."""
        counts = Counter({1: self.num_single})
        counts.update(self.steps.tolist())
        return counts


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gap:
    """Periods between the first and the last value of a series that have none."""

    series: int
    missing: Periods


def compare_values(delivered: LongValues, stored: LongValues) -> Change:
    """Return what delivered values add to the stored values of the same series; NaN withdraws a value."""
    if len(stored) == 0:
        return Change(new=delivered.without_withdrawn(), revised=stored)
    stored_rows = stored.positions(delivered.series, delivered.period)
    is_stored, withdraws = stored_rows >= 0, np.isnan(delivered.value)
    is_new = ~is_stored & ~withdraws
    is_equal = (delivered.value == stored.value[stored_rows]) | (withdraws & np.isnan(stored.value[stored_rows]))
    is_revised = is_stored & ~is_equal
    num_same = int((is_stored & is_equal).sum())
    return Change(new=delivered.take(is_new), revised=delivered.take(is_revised), num_same=num_same)


def measure_spacing(values: LongValues, grid: Periods, is_measured: Mask) -> Spacing:
    """Measure the steps between neighbouring values of each series.

    For example, a series with values in January, February and May has the steps 1 and 3; one with values from
    January to April has no gap and adds 3 to `num_single`.

    Args:
        values: values of S series.
        grid: all periods from the first to the last value, ascending.
        is_measured: which series to look at. [S]
    """
    starts = values.starts()
    first, last = starts[:-1], starts[1:] - 1  # [S] rows
    num_steps = last - first  # [S]
    num_periods = np.searchsorted(grid, values.period[last]) - np.searchsorted(grid, values.period[first])  # [S]
    has_gaps = is_measured & (num_periods != num_steps)
    rows = np.flatnonzero(np.repeat(has_gaps, np.diff(starts)))
    steps = np.diff(np.searchsorted(grid, values.period[rows]))
    is_within_series = np.diff(values.series[rows]) == 0
    num_single = int(num_steps[is_measured & ~has_gaps].sum())
    return Spacing(rows[:-1][is_within_series], steps[is_within_series], num_single)


@dataclass(slots=True)
class BatchDiff:
    """Compares a parsed batch with the stored values, part by part, and decides whether it is acceptable.

    For each part call `clean` and `compare`; after the last one `refuse_faulty` and `hold_suspicious`.
    """

    batch: ParsedBatch
    history: HistoryCheck = field(init=False)
    counts: BatchCounts = field(init=False)
    longest: LongestSeries = field(init=False, default=LongestSeries())
    #: periods inside series that have no value and had one neither before
    num_missing: int = field(init=False, default=0)
    #: names of series that are kept for a person to decide about: nothing of them is compared or written
    set_aside: frozenset[str] = frozenset()
    #: rows that were rejected because they lie far before all others: series number and period
    stray: set[tuple[int, int]] = field(default_factory=set)
    _off_grid: Periods | None = None
    _off_grid_rule: str = ""
    #: the cleaned rows of the part that is compared next
    _rows: Rows = field(default_factory=lambda: np.empty(0, ROW))
    #: file and line of the rows that were rejected because of their period
    _rejected_lines: set[tuple[int, int]] = field(default_factory=set)
    _is_cut: bool = False
    #: a delivered and a stored period that lie on different grids
    _different_grids: tuple[np.datetime64, np.datetime64] | None = None
    #: some revised values: series, period, stored and delivered value
    _examples: list[tuple[str, str, float, float]] = field(default_factory=list)
    #: of the first series with a gap that is too long
    _gap: _Gap | None = None
    #: how often delivered values of one series are how many periods apart
    _step_counts: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.history = HistoryCheck(self.recipe.grid, known_ahead=self.recipe.covariates.future)
        self.counts = BatchCounts(self.batch.num_read)

    @property
    def recipe(self) -> Recipe:
        """What is expected of the batch."""
        return self.batch.recipe

    @property
    def has_whole_history(self) -> bool:
        """Whether the source delivers every value that it ever had."""
        return not (self.batch.incremental or self.recipe.source.rolling)

    @property
    def compared_since(self) -> np.datetime64 | None:
        """The period from which on all stored values are needed; None if the whole history is."""
        periods = self.batch.periods
        return None if self.has_whole_history or len(periods) == 0 else periods[0]

    @property
    def num_values_before(self) -> int:
        """How many stored values of each series are needed before `compared_since`."""
        return max(self.recipe.least_history, self.recipe.scale_window, 1 + MAX_LAG)

    def clean(self, rows: Rows) -> LongValues:
        """Return the values of some whole series in order, each period once; reject rows that do not fit.

        Raises:
            BatchRefused: too many rows are rejected.
        """
        rows, kept = self._clean_rows(rows)
        series, period = np.ascontiguousarray(rows["series"]), np.ascontiguousarray(rows["period"])
        values = LongValues(
            series[kept].astype(np.int64),
            period[kept].view("datetime64[us]"),
            np.ascontiguousarray(rows["value"][kept]),
        )
        values = values.take(~self._are_known_stray(values)) if self.stray else values
        return values.take(~self.are_set_aside(values)) if self.set_aside else values

    def are_set_aside(self, values: LongValues) -> Mask:
        """Return which values are of series that are set aside: [n]."""
        numbers = [n for n, (name, _) in enumerate(self.batch.names) if name in self.set_aside]
        return np.isin(values.series, numbers)

    def clean_versions(self, rows: Rows) -> Versions:
        """Return the versions of some whole series in order, one of each period and instant; reject rows as `clean` does.

        Raises:
            BatchRefused: too many rows are rejected.
        """
        rows, kept = self._clean_rows(rows)
        rows = rows[kept]
        values = LongValues(
            rows["series"].astype(np.int64),
            np.ascontiguousarray(rows["period"]).view("datetime64[us]"),
            np.ascontiguousarray(rows["value"]),
        )
        return Versions(values, np.ascontiguousarray(rows["known_at"]).view("datetime64[us]"))

    def _clean_rows(self, rows: Rows) -> tuple[Rows, Mask | slice]:
        """Return the rows on the grid in order, and which of them count."""
        rows = _sort_rows(self._drop_off_grid(rows))
        is_repeated = np.zeros(len(rows), bool)
        is_repeated[1:] = np.logical_and.reduce([rows[key][1:] == rows[key][:-1] for key in _keys(rows)])
        kept = self._resolve_duplicates(rows, is_repeated) if is_repeated.any() else slice(None)
        self._rows = rows
        return rows, kept

    def compare_versions(self, delivered: Versions, stored: Versions) -> VersionChange:
        """Return what delivered versions add to the stored ones; count it.

        Vintages revise what was known before, so nothing of that is suspicious.

        Args:
            delivered: cleaned versions of some whole series.
            stored: the stored versions of these series, or their newest ones if all delivered ones are newer.
        """
        change = compare_versions(delivered, stored)
        newest, before = newest_values(delivered), newest_values(stored).without_withdrawn()
        present = newest.without_withdrawn()
        withdrawn = before.positions(newest.series, newest.period)[np.isnan(newest.value)]
        kept = before.take(~np.isin(np.arange(len(before)), withdrawn))
        if len(present):
            merged = merge(kept, present)
            self._check_cut(present, merged)
            self._check_spacing(present, kept, merged)
            self._measure_longest(merged)
        self.counts.add_versions(change)
        return change

    def compare(self, delivered: LongValues, stored: LongValues) -> Change:
        """Return what changes if the batch is accepted; count it, and look for signs that the batch is faulty.

        Args:
            delivered: cleaned values of some whole series.
            stored: the stored values of these series, as far back as `compared_since` and `num_values_before` say.
        """
        if len(delivered) == 0:
            return Change(new=delivered, revised=delivered)
        merged = merge(stored.without_withdrawn(), delivered)
        if self._reject_stray(stored, merged):
            delivered = delivered.take(~self._are_known_stray(delivered))
            merged = merge(stored.without_withdrawn(), delivered)
        if len(delivered) == 0:
            return Change(new=delivered, revised=delivered)
        change = compare_values(delivered, stored)
        stored = stored.without_withdrawn()  # from here on withdrawn values are gaps
        stored_rows = stored.positions(delivered.series, delivered.period)
        self._check_cut(delivered, merged)
        self._check_spacing(delivered, stored, merged)
        self.history.add(delivered, stored, stored_rows, self.batch.names)
        self.history.expect(stored, self._are_expected(stored), stored_rows, self.batch.names)
        self._note_examples(change, stored)
        self._measure_longest(merged)
        self.counts.add(change)
        return change

    def refuse_faulty(self) -> None:
        """Refuse a batch that is faulty as a whole, or has more rejected rows than the recipe allows.

        Raises:
            BatchRefused: it is or has.
        """
        self._refuse_too_many_rejected()
        if self.counts.num_values == 0 and not self.batch.may_be_empty:
            raise self._refusal(f"{self.batch.source} contains no value: expected at least one")
        self._refuse_different_grids()
        self._refuse_cut()

    def hold_suspicious(self) -> None:
        """Hold a batch that became coarser, has gaps, or would drop, shift, rescale or rewrite the history.

        Raises:
            BatchHeld: it does.
        """
        if self.batch.num_read == 0:
            return
        self._hold_coarser()
        if self.recipe.holds_gaps:
            self._hold_gap()
        suspicion = self.history.find_suspicion(
            self.recipe.source, incremental=self.batch.incremental, num_rejected=len(self.batch.rejections)
        )
        if suspicion is not None:
            raise self._hold(suspicion.message, Rejection(rule=suspicion.rule, series=suspicion.series))

    def suspicious_series(self) -> frozenset[str]:
        """Return the series to set aside, so that the others can be accepted; none where the batch as a whole looks wrong.

        These are few series among many that were shifted, rescaled or rewritten, unless the recipe is strict.
        """
        names = frozenset({*self.history.shifted, *self.history.rescaled, *self.history.rewritten})
        num_series = len({name for name, variable in self.batch.names if variable == TARGET})
        is_few = len(names) <= MAX_SET_ASIDE * num_series
        return names if is_few and not self.recipe.source.strict else frozenset()

    def preview(self) -> BatchPreview:
        """Return what the batch would change."""
        return BatchPreview(
            num_new=self.counts.num_new,
            num_revised=self.counts.num_revised,
            num_same=self.counts.num_same,
            num_absent=0 if self.batch.incremental else sum(self.history.absent.values()),
            missing_series=tuple(name for name, _ in self.history.missing_series),
            rescaled=self.history.rescaled,
            shifted=self.history.shifted,
            examples=tuple(self._examples),
        )

    def accepted_expectation(self) -> Expectation:
        """Return what is expected of later deliveries once a person has accepted this one as it is."""
        before, step = self.history.expectation, self._usual_step
        absent = dict(self.history.absent) if self.has_whole_history else {**before.absent, **self.history.absent}
        return Expectation(absent=absent, steps=before.steps | ({step} if step > 1 else set()))

    def next_expectation(self) -> Expectation:
        """Return what is expected after a delivery that nobody had to accept: what came back is expected again."""
        before = self.history.expectation
        if self.batch.incremental:
            return before
        is_known = set(self.batch.names) | (set(before.absent) if self.has_whole_history else set())
        absent = {
            key: min(count, self.history.absent.get(key, 0))
            if key in is_known and key[0] not in self.set_aside
            else count
            for key, count in before.absent.items()
        }
        return replace(before, absent={key: count for key, count in absent.items() if count})

    def _refusal(self, message: str, *rejections: Rejection) -> BatchRefused:
        return BatchRefused(message, rejections, source=self.batch.source)

    def _hold(self, reason: str, rejection: Rejection) -> BatchHeld:
        advice = f"nothing was ingested; if this is right, run `nextperiod ingest {self.recipe.name} --approve`"
        return BatchHeld(f"{self.batch.source}: {reason}; {advice}", [rejection], source=self.batch.source)

    def _drop_off_grid(self, rows: Rows) -> Rows:
        """Return the rows whose period is on the grid and not stray; reject the others, each line once."""
        if self._off_grid is None:
            periods = self.batch.periods
            self._off_grid = periods[~self.recipe.grid.on_grid(periods)]
            self._off_grid_rule = off_grid_rule(periods, self.recipe.grid) if len(self._off_grid) else ""
        for periods, broken_rule in ((self._off_grid, self._off_grid_rule), (self.batch.stray, STRAY)):
            if len(periods):
                is_faulty = np.isin(rows["period"], periods.astype(np.int64))
                self._reject_periods(rows[is_faulty], broken_rule)
                rows = rows[~is_faulty]
        return rows

    def _reject_periods(self, rows: Rows, rule: str) -> None:
        for row in rows:
            line = int(row["file"]), int(row["line"])
            if line not in self._rejected_lines:
                self._rejected_lines.add(line)
                text = self._format_period(row["period"].astype("datetime64[us]"))
                self.batch.reject([self.batch.rejection_of(row, rule, text=text, column=self.recipe.source.period)])

    def _reject_stray(self, stored: LongValues, merged: LongValues) -> bool:
        """Reject new values that lie far before all others of their series; return whether there are any."""
        if self.recipe.source.strict:
            return False
        is_stray = find_stray(merged)
        if not is_stray.any():
            return False
        # a period that other series have, or had before, is not mistyped
        stray = merged.take(is_stray & (merged.period < merged.period[~is_stray].min()))
        stray = stray.take(stored.positions(stray.series, stray.period) < 0)
        for series, period in zip(stray.series.tolist(), stray.period.astype(np.int64).tolist(), strict=True):
            self.stray.add((series, period))
            self._reject_periods(self._rows[(self._rows["series"] == series) & (self._rows["period"] == period)], STRAY)
        return len(stray) > 0

    def _are_known_stray(self, values: LongValues) -> Mask:
        pairs = zip(values.series.tolist(), values.period.astype(np.int64).tolist(), strict=True)
        return np.array([pair in self.stray for pair in pairs], bool)

    def _resolve_duplicates(self, rows: Rows, is_repeated: Mask) -> Mask:
        """Return which rows count. Equal values of one period are one value; for others the recipe has a rule."""
        source, value, is_first = self.recipe.source, rows["value"], ~is_repeated
        rule = "last" if source.operation is not None else source.duplicates
        if rule == "last":
            return np.append(is_first[1:], True)
        is_different = is_repeated.copy()
        is_different[1:] &= value[1:] != value[:-1]
        if rule == "first" or not is_different.any():
            return is_first
        group = np.cumsum(is_first) - 1
        bounds = np.append(np.flatnonzero(is_first), len(rows))
        is_kept = is_first.copy()
        for n in np.unique(group[is_different]):
            is_kept[bounds[n]] = False
            self._reject_conflict(rows[bounds[n] : bounds[n + 1]])
        return is_kept

    def _reject_conflict(self, rows: Rows) -> None:
        """Reject rows of one series and period with different values."""
        batch, period = self.batch, self._format_period(rows["period"][0].astype("datetime64[us]"))
        num_values = len(np.unique(rows["value"]))
        rule = f"{CONFLICT} {num_values} different values for {period} (lines {_list_first(rows['line'].tolist())})"
        column = batch.column_of(int(rows["series"][0]))
        batch.reject(
            batch.rejection_of(row, rule, text=repr(float(row["value"])).removesuffix(".0"), column=column)
            for row in rows
        )

    def _refuse_too_many_rejected(self) -> None:
        batch, source = self.batch, self.recipe.source
        is_nothing_left = self.counts.num_values == 0 and not batch.may_be_empty
        if batch.rejections and (is_nothing_left or not source.allows_rejected(batch.num_faults, batch.num_read)):
            share = MAX_REJECTED if source.max_rejected is None else source.max_rejected
            raise self._refusal(
                f"{batch.source} {batch.describe_first_rejection()}; {batch.num_rejected} of "
                f"{counted(batch.num_read, 'row')} rejected, at most {100 * share:g} % allowed; nothing was ingested"
            )

    def _check_cut(self, delivered: LongValues, merged: LongValues) -> None:
        """A number that is cut short is still a number: compare its step with all others of its series."""
        last = self.batch.unended
        if last is None or not (delivered.series == last.series).any():
            return
        series = merged.take(merged.series == last.series)
        values = series.value[series.period != last.period]
        if len(values) < 3 or series.period[-1] != last.period:
            return
        self._is_cut = abs(last.value - values[-1]) > CUT_STEP * float(np.abs(np.diff(values)).max())

    def _refuse_cut(self) -> None:
        """Refuse a text that breaks off in its last line: that line has no newline, and ends in mid-row or mid-number."""
        for rejection in self.batch.rejections:
            if (rejection.file, rejection.line) == self.batch.unended_line and self._may_be_cut(rejection):
                place = self.batch.describe_rejection(rejection)
                raise self._refusal(f"{self.batch.source} {place}, and ends there without a newline: {_CUT}")
        last = self.batch.unended
        if last is None or not self._is_cut:
            return
        raise self._refusal(
            f'{self.batch.source} ends in line {last.line} without a newline, and "{last.text}" is further from the '
            f"value before it than any other value: {_CUT}",
            self.batch.rejection_at(last, "cut", column=self.batch.column_of(last.series)),
        )

    def _may_be_cut(self, rejection: Rejection) -> bool:
        is_of_row = rejection.column in (None, self.recipe.source.period)
        return is_of_row or bool(_BEGUN_NUMBER.fullmatch(rejection.text or ""))

    def _check_spacing(self, delivered: LongValues, stored: LongValues, merged: LongValues) -> None:
        """Note a different grid, the steps between delivered values, and the first gap that is too long."""
        grid = self.recipe.grid.between(merged.period.min(), merged.period.max())
        if self.recipe.calendar is None and len(stored) and not _are_ends_on(grid, delivered, stored):
            self._different_grids = delivered.period.min(), stored.period.min()
            return
        self._step_counts.update(measure_spacing(delivered, grid, self._are_targets(delivered)).counts())
        self._note_gaps(stored, merged, grid)

    def _note_gaps(self, stored: LongValues, merged: LongValues, grid: Periods) -> None:
        """Count the periods in new gaps, and note the first series with one that is longer than the recipe allows."""
        spacing = measure_spacing(merged, grid, self._are_targets(merged))
        is_new = spacing.steps > 1
        if is_new.any():
            is_new &= ~_is_stored_gap(spacing.rows, stored, merged)
        self.num_missing += int((spacing.steps[is_new] - 1).sum())
        is_long = is_new & (spacing.steps > self.recipe.max_gap + 1)
        if not is_long.any():
            return
        series = int(merged.series[spacing.rows[is_long][0]])
        if self._gap is None or series < self._gap.series:
            is_own = is_long & (merged.series[spacing.rows] == series)
            starts = np.searchsorted(grid, merged.period[spacing.rows[is_own]])
            parts = [grid[s + 1 : s + step] for s, step in zip(starts, spacing.steps[is_own], strict=True)]
            self._gap = _Gap(series=series, missing=np.concatenate(parts))

    def _are_targets(self, values: LongValues) -> Mask:
        """Return which series are targets, not covariates. [S]"""
        numbers = values.series[values.starts()[:-1]]
        return np.array([self.batch.names[number][1] == TARGET for number in numbers])

    def _refuse_different_grids(self) -> None:
        if self._different_grids is None:
            return
        delivered, stored = map(self._format_period, self._different_grids)
        raise self._refusal(
            f"{self.batch.source}: {delivered} and the stored {stored} lie on different grids of frequency "
            f'"{self.recipe.frequency}": did the source shift its dates, or did the frequency of the recipe '
            f"change? `nextperiod reset {self.recipe.name} --yes` starts the history again",
            Rejection(rule="other grid", text=delivered),
        )

    @property
    def _usual_step(self) -> int:
        """How many periods apart most values are; 1 where there are too few to tell."""
        if self._step_counts.total() < MIN_OVERLAP - 1:
            return 1
        return max(self._step_counts, key=lambda step: self._step_counts[step])

    def _hold_coarser(self) -> None:
        usual_step = self._usual_step
        if usual_step > 1 and usual_step not in self.history.expectation.steps:
            raise self._hold(
                f'most values are {usual_step} periods apart, expected 1 at the frequency "{self.recipe.frequency}": '
                "did the source change its frequency?",
                Rejection(rule="frequency"),
            )

    def _hold_gap(self) -> None:
        if self._gap is None:
            return
        name, missing = self.batch.names[self._gap.series][0], self._gap.missing
        listed = _list_first([self._format_period(period) for period in missing[: _MAX_LISTED + 1]])
        cause = f" ({self.batch.describe_first_rejection()})" if self.batch.rejections else ""
        raise self._hold(
            f'series "{name}" has no value for {counted(len(missing), "period")} between its first and its last: '
            f"{listed}{cause}; expected gaps of at most max_gap = {self.recipe.max_gap}: add the values, or raise max_gap",
            Rejection(rule="gap", series=name, text=listed),
        )

    def _format_period(self, period: np.datetime64) -> str:
        """A period in a message; instants of local times end in Z because they are UTC."""
        is_instant = self.recipe.source.zone is not None and self.recipe.grid.is_within_day
        return format_period(period) + ("Z" if is_instant else "")

    def _are_expected(self, stored: LongValues) -> Mask:
        """Which stored values the source should deliver again: all of them, or those in its moving window."""
        if not self.recipe.source.rolling:
            return np.ones(len(stored), bool)
        periods = self.batch.periods
        # an old value may come alone before the window: a correction, or a mistyped year
        return np.asarray(stored.period >= periods[count_stray(periods)])

    def _note_examples(self, change: Change, stored: LongValues) -> None:
        if len(change.revised) == 0 or len(self._examples) == MAX_EXAMPLES:
            return
        revised = change.revised.without_withdrawn()
        rows = stored.positions(revised.series, revised.period)
        for n in np.flatnonzero(rows >= 0)[: MAX_EXAMPLES - len(self._examples)]:
            name, period = self.batch.names[revised.series[n]][0], self._format_period(revised.period[n])
            self._examples.append((name, period, float(stored.value[rows[n]]), float(revised.value[n])))

    def _measure_longest(self, merged: LongValues) -> None:
        starts = merged.starts()
        lengths = np.where(self._are_targets(merged), np.diff(starts), 0)  # [S]
        at = int(lengths.argmax())
        number, length = int(merged.series[starts[at]]), int(lengths[at])
        is_first = number < self.longest.number
        if length > self.longest.length or (length == self.longest.length and is_first):
            self.longest = LongestSeries(self.batch.names[number][0], length, number)


def _are_ends_on(grid: Periods, *parts: LongValues) -> bool:
    """Whether the first and the last period of each part are on the grid."""
    return all(end in grid for values in parts for end in (values.period.min(), values.period.max()))


def _is_stored_gap(rows: Counts, stored: LongValues, merged: LongValues) -> Mask:
    """Return which gaps, each after one of the rows of `merged`, are in the stored history already."""
    is_stored = [stored.positions(merged.series[end], merged.period[end]) >= 0 for end in (rows, rows + 1)]
    return np.logical_and(*is_stored)


def _keys(rows: Rows) -> tuple[str, ...]:
    """Return the fields of which rows of one value have the same."""
    return ("series", "period", "known_at") if "known_at" in (rows.dtype.names or ()) else ("series", "period")


def _sort_rows(rows: Rows) -> Rows:
    """Sort rows by series and period; rows of one period stay in the order in which they came."""
    if len(_keys(rows)) > 2:
        return rows[np.lexsort([rows[key] for key in reversed(_keys(rows))])]
    series, period = np.ascontiguousarray(rows["series"]), np.ascontiguousarray(rows["period"])
    is_later_series = series[1:] > series[:-1]
    is_in_order = is_later_series | ((series[1:] == series[:-1]) & (period[1:] >= period[:-1]))
    return rows if is_in_order.all() else rows[np.lexsort((period, series))]


def _list_first(items: Sequence[object]) -> str:
    """List the first few items, and … if there are more."""
    return ", ".join([str(item) for item in items[:_MAX_LISTED]] + ["…"] * (len(items) > _MAX_LISTED))
