"""Read a delivery into rows of series, variable, period and value, and reject what breaks the recipe's rules."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchRefused, Rejection
from pipeline.ingest.frequency_advice import advise_business_days
from pipeline.ingest.parsers import (
    MISSING,
    Faults,
    Numbers,
    PeriodParser,
    format_field,
    max_num_periods,
    parse_values,
    to_text,
)
from pipeline.ingest.period_formats import UnclearPeriods
from pipeline.ingest.row_spool import MAX_ROWS_IN_MEMORY, PART_ROWS, ROW, VERSION_ROW, Rows, RowSpool
from pipeline.ingest.schema_check import find_schema_fault
from pipeline.ingest.series_index import Positions, SeriesIndex
from pipeline.ingest.stray_periods import count_stray
from pipeline.ingest.versions import find_vintage, parse_known_at, parse_operations
from pipeline.progress_log import report_progress
from pipeline.sources.columns import series_columns
from pipeline.sources.delivery import Chunk, Delivery
from pipeline.sources.number_format import PLAIN
from pipeline.text import counted
from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.observations import TARGET

logger = logging.getLogger(__name__)

#: how far ahead of the clock a period may lie: sources and workers do not agree to the second
CLOCK_TOLERANCE = timedelta(days=1)
#: rejected rows that are kept one by one; a batch with more of them does not fit the recipe at all
MAX_REJECTIONS = 100_000
#: periods of different chunks that are collected before duplicates are dropped
_MAX_UNMERGED = 2_000_000
#: characters of a rejected field that are kept
_MAX_TEXT = 200
#: how the rule of rows with different values for one period begins
CONFLICT = "is one of"
_KNOWN_IN_FUTURE = "lies in the future: expected the instant since when the row is known"
_KNOWN_TOO_EARLY = "begins after the row was known: expected a later instant, or a covariate that is known ahead"
_INVALID_NAME = "is not a name of a series: expected visible characters"


@dataclass(frozen=True, slots=True)
class ValueLocation:
    """One value, where it stands in the delivery, and the text of one field of its row."""

    file: str | None
    line: int
    series: int
    period: np.datetime64
    value: float
    text: str


@dataclass(slots=True)
class ParsedBatch:
    """What was read of a delivery: its rows with their places, and everything that was rejected."""

    source: str
    recipe: Recipe
    spool: RowSpool
    num_read: int = 0
    #: (series, variable) by the series number of the rows
    names: list[tuple[str, str]] = field(default_factory=list)
    #: texts that describe a series, by (series, name)
    attributes: dict[tuple[str, str], str] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    #: by the file number of the rows
    files: list[str | None] = field(default_factory=list)
    #: all periods of any series, ascending, each once
    periods: Periods = field(default_factory=lambda: np.empty(0, "datetime64[us]"))
    #: of these, those that lie so far before all others that they are mistyped; their rows are to be rejected
    stray: Periods = field(default_factory=lambda: np.empty(0, "datetime64[us]"))
    #: file and number of the last line of a text, if that line has no newline; and the last target of such a text
    unended_line: tuple[str | None, int] | None = None
    unended: ValueLocation | None = None
    #: whether the source delivers only what is new since the last fetch
    incremental: bool = False
    #: whether a delivery without rows means that nothing is new
    may_be_empty: bool = False
    max_rejections: int = MAX_REJECTIONS

    def reject(self, rejections: Iterable[Rejection]) -> None:
        """Keep rejected rows.

        Raises:
            BatchRefused: there are more than `max_rejections`.
        """
        for rejection in rejections:
            self.rejections.append(rejection)
            if len(self.rejections) > self.max_rejections:
                raise BatchRefused(
                    f"{self.source} {self.describe_first_rejection()}; "
                    f"more than {self.max_rejections:,} rows rejected; nothing was ingested",
                    source=self.source,
                )

    def rejection_of(self, row: np.void, rule: str, *, text: str, column: str | None) -> Rejection:
        """Return the rejection of a parsed row; without a series where the column applies to a whole wide row."""
        is_whole_row = self.recipe.source.layout == "wide" and column == self.recipe.source.period
        return Rejection(
            file=self.files[int(row["file"])],
            line=int(row["line"]),
            column=column,
            series=None if is_whole_row else self.names[int(row["series"])][0],
            period=row["period"].astype("datetime64[us]"),
            text=text,
            rule=rule,
        )

    def rejection_at(self, place: ValueLocation, rule: str, *, column: str | None) -> Rejection:
        """Return the rejection of one value."""
        return Rejection(
            file=place.file,
            line=place.line,
            column=column,
            series=self.names[place.series][0],
            period=place.period,
            text=place.text,
            rule=rule,
        )

    @property
    def num_rejected(self) -> int:
        """How many rows of the delivery were rejected, wholly or in one of their fields."""
        return len({(rejection.file, rejection.line) for rejection in self.rejections})

    @property
    def num_faults(self) -> float:
        """How many rows are at fault: all but one of those that contradict each other, and of a wide row its share of faulty values."""
        is_wide = self.recipe.source.layout == "wide"
        first_rows: dict[tuple[object, ...], tuple[str | None, int | None]] = {}
        faulty: dict[tuple[str | None, int | None], set[str | None]] = {}
        for rejection in self.rejections:
            row = (rejection.file, rejection.line)
            key = (rejection.series, rejection.period, rejection.column)
            if rejection.rule.startswith(CONFLICT) and first_rows.setdefault(key, row) == row:
                continue
            faulty.setdefault(row, set()).add(rejection.series if is_wide else None)
        return sum(1 if None in series else len(series) / max(len(self.names), 1) for series in faulty.values())

    def describe_first_rejection(self) -> str:
        """Describe the rejected row that comes first in the delivery; at least one is needed."""
        return self.describe_rejection(self._first_rejection())

    def describe_rejection(self, rejection: Rejection) -> str:
        """Describe a rejected row: its place, its text and the rule that it broke."""
        return f"{_describe_place(rejection)} {rejection.rule}"

    def describe_quarantine(self) -> str | None:
        """Say in one line which rows of an accepted batch were quarantined; None if none was."""
        if not self.rejections:
            return None
        first, num_others = self._first_rejection(), self.num_rejected - 1
        others = f" (and {num_others:,} more)" if num_others else ""
        return (
            f"{self.num_rejected:,} of {self.num_read:,} row{'s' * (self.num_read != 1)} quarantined: {_describe_place(first)} "
            f"{first.rule.split(': expected')[0]}{others}; "
            f"select * from rejected_observations where recipe = '{self.recipe.name}'"
        )

    def _first_rejection(self) -> Rejection:
        file_order = {file: n for n, file in enumerate(self.files)}
        return min(self.rejections, key=lambda row: (file_order.get(row.file, len(file_order)), row.line or 0))

    def column_of(self, series: int) -> str | None:
        """Return the column that holds the values of a series number."""
        name, variable = self.names[series]
        return variable or (self.recipe.source.value if self.recipe.source.layout == "long" else name)


def _describe_place(rejection: Rejection) -> str:
    text = f' "{rejection.text}"' if rejection.text is not None else ""
    column = f", column {rejection.column}" if rejection.column else ""
    file = f"{rejection.file} " if rejection.file else ""
    return f"{file}line {rejection.line}{column}:{text}"


@contextmanager
def parse_delivery(
    delivery: Delivery,
    recipe: Recipe,
    *,
    now: datetime,
    max_rejections: int = MAX_REJECTIONS,
    max_rows_in_memory: int = MAX_ROWS_IN_MEMORY,
    part_rows: int = PART_ROWS,
) -> Iterator[ParsedBatch]:
    """Read a whole delivery; the rows of the batch can be read as long as the context is open.

    Args:
        delivery: what the source gives.
        recipe: which columns are expected, and what their values must fulfil.
        now: the clock; values of periods further ahead than `CLOCK_TOLERANCE` are rejected.
        max_rejections: rejected rows up to which the batch is read on.
        max_rows_in_memory: rows up to which the batch is kept in memory, not on disk.
        part_rows: rows of one part of the batch, as far as whole series allow.

    Raises:
        BatchRefused: it lacks a column, has no row, spans far more periods than it has rows, or has more than
            `max_rejections` faulty rows.
    """
    row = VERSION_ROW if recipe.source.has_versions else ROW
    with RowSpool(max_rows_in_memory=max_rows_in_memory, part_rows=part_rows, row=row) as spool:
        batch = ParsedBatch(
            source=delivery.source,
            recipe=recipe,
            spool=spool,
            incremental=delivery.incremental,
            may_be_empty=delivery.incremental or recipe.source.on_empty == "keep",
            max_rejections=max_rejections,
        )
        reader, num_read = _BatchReader(batch, now), 0
        try:
            reader.survey(delivery)
            for chunk in delivery.chunks():
                reader.add(chunk)
                num_read += len(chunk.line)
                report_progress(f"{counted(num_read, 'row')} read")
            reader.finish(ended=delivery.ended)
        except BatchRefused as refusal:
            rejections = [*batch.rejections, *refusal.rejections]
            raise BatchRefused(str(refusal), rejections, source=refusal.source) from None
        yield batch


@dataclass(frozen=True, slots=True)
class _ChunkRows:
    """The rows of a chunk with their periods and series."""

    chunk: Chunk
    period: Periods  # [n]
    series: Positions  # [n] position in the series index
    #: whether the row as a whole is not rejected; set to False as faults are found
    is_valid: npt.NDArray[np.bool_]  # [n]
    #: since when each row is known, in microseconds; None: the source has no versions
    known_at: npt.NDArray[np.int64] | None = None  # [n]
    #: which rows withdraw a value; None: none does
    withdraws: npt.NDArray[np.bool_] | None = None  # [n]


@dataclass(frozen=True, slots=True)
class _NumberColumn:
    """A column of numbers, and the variable that it holds."""

    name: str
    variable: str
    numbers: Numbers


def _withdraw(column: _NumberColumn, withdraws: npt.NDArray[np.bool_] | None) -> _NumberColumn:
    """Return a column in which rows that withdraw a value hold none, whatever is written there."""
    if withdraws is None or not withdraws.any():
        return column
    numbers = column.numbers
    return replace(
        column,
        numbers=replace(
            numbers,
            values=np.where(withdraws, np.nan, numbers.values),
            is_missing=numbers.is_missing & ~withdraws,
            faults={row: rule for row, rule in numbers.faults.items() if not withdraws[row]},
        ),
    )


@dataclass(slots=True)
class _PeriodSet:
    """The distinct periods of all chunks."""

    _merged: Periods = field(default_factory=lambda: np.empty(0, "datetime64[us]"))
    _waiting: list[Periods] = field(default_factory=list)

    def add(self, periods: Periods) -> None:
        self._waiting.append(pd.unique(periods))
        if sum(map(len, self._waiting)) > _MAX_UNMERGED:
            self._merge()

    def sorted(self) -> Periods:
        self._merge()
        return np.sort(self._merged)

    def _merge(self) -> None:
        self._merged = pd.unique(np.concatenate([self._merged, *self._waiting]))
        self._waiting = []


class _BatchReader:
    """Fills a batch: `add` reads chunk by chunk what can be judged row by row, `finish` judges the whole delivery."""

    def __init__(self, batch: ParsedBatch, now: datetime) -> None:
        self.batch = batch
        self.recipe = batch.recipe
        self.source = batch.recipe.source
        self.latest = np.datetime64((now + CLOCK_TOLERANCE).astimezone(UTC).replace(tzinfo=None), "us")
        self.now = np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "us")
        self.period_parser = PeriodParser(self.source, self.recipe.grid)
        self.series = SeriesIndex()
        self.periods = _PeriodSet()
        #: the values with the first and the last period so far
        self.ends: list[ValueLocation] = []
        self.last_target: ValueLocation | None = None
        self.last_line: tuple[str | None, int] | None = None
        #: rows without a target, and how their target is written, where periods ahead may be known by their covariates
        self.open_targets: list[tuple[Rows, pa.Array]] = []

    def survey(self, delivery: Delivery) -> None:
        """Find out how the periods of a delivery are written.

        Raises:
            BatchRefused: they can mean several things.
        """
        with self._refusing_unclear():
            self.period_parser.survey(delivery.chunks)

    @contextmanager
    def _refusing_unclear(self) -> Iterator[None]:
        try:
            yield
        except UnclearPeriods as unclear:
            message = f"{self.batch.source}: {unclear}; nothing was ingested"
            rejection = Rejection(rule="unclear periods", column=self.source.period)
            raise BatchRefused(message, [rejection], source=self.batch.source) from None

    def add(self, chunk: Chunk) -> None:
        """Read the rows of a chunk into the batch; reject those that break a rule.

        Raises:
            BatchRefused: a column is missing or not allowed, or too many rows are rejected.
        """
        batch = self.batch
        batch.num_read += chunk.columns.num_rows + len(chunk.rejections)
        if not batch.files or batch.files[-1] != chunk.file:
            batch.files.append(chunk.file)
        batch.reject(chunk.rejections)
        lines = [*(rejection.line or 0 for rejection in chunk.rejections), *chunk.line[-1:].tolist()]
        self.last_line = (chunk.file, max(lines)) if lines else self.last_line
        self._refuse_wrong_columns(chunk)
        if chunk.columns.num_rows == 0:
            return
        rows = self._parse_periods_and_series(chunk)
        columns = [self._parse_numbers(chunk, name, variable) for name, variable in self._number_columns(chunk)]
        if self.source.has_versions:
            rows = self._parse_versions(rows)
            columns = [_withdraw(column, rows.withdraws) for column in columns]
        self._reject_future(rows, columns)
        for column in columns:
            self._add_values(self._rows_of_column(rows, column), column)
        for name in self.recipe.covariates.static:
            self._add_attributes(rows, name)

    def finish(self, *, ended: bool) -> None:
        """Complete the batch after the last chunk.

        Args:
            ended: whether the last line of a text has a newline.

        Raises:
            BatchRefused: the delivery has no row, spans far too many periods, or too many rows are rejected.
        """
        batch = self.batch
        if batch.num_read == 0 and not batch.may_be_empty:
            raise BatchRefused(f"{batch.source} contains no row: expected at least one", source=batch.source)
        batch.names = self.series.numbered
        batch.periods = self.periods.sorted()
        if (advice := advise_business_days(batch.periods, self.recipe.grid)) is not None:
            logger.warning("%s: %s", batch.source, advice)
        self._drop_stray_periods()
        self._reject_open_targets()
        if not ended:
            batch.unended = self.last_target
            batch.unended_line = self.last_line

    def _refuse_wrong_columns(self, chunk: Chunk) -> None:
        fault = find_schema_fault(self.recipe, chunk.columns.schema.names)
        if fault is None:
            return
        where = self.batch.source if chunk.file is None else chunk.file
        rejection = Rejection(rule=fault.rule, line=chunk.dialect.header_line if chunk.dialect else 1, file=chunk.file)
        read_with = f" ({chunk.dialect.describe()})" if chunk.dialect and fault.rule == "missing column" else ""
        raise BatchRefused(f"{where} {fault.message}{read_with}", [rejection], source=self.batch.source)

    def _parse_periods_and_series(self, chunk: Chunk) -> _ChunkRows:
        """Return the rows of a chunk; those without a period or a valid series name are rejected."""
        columns, source = chunk.columns, self.source
        fold = columns.column(source.fold_column) if source.fold_column else None
        with self._refusing_unclear():
            period, faults = self.period_parser.parse(columns.column(source.period), fold)
        names = to_text(columns.column(source.series)) if source.series else pa.repeat(self.recipe.name, len(period))
        rows = _ChunkRows(chunk, period, self.series.positions(names), np.ones(len(period), bool))
        self._reject(rows, faults, source.period)
        if source.series is not None:
            invalid = np.flatnonzero(self.series.has_invalid_name(rows.series))
            self._reject(rows, dict.fromkeys(invalid.tolist(), _INVALID_NAME), source.series)
        return rows

    def _parse_versions(self, rows: _ChunkRows) -> _ChunkRows:
        """Return the rows with the instants since when they are known, and which of them withdraw a value.

        Raises:
            BatchRefused: the name of the file has no date.
        """
        known_at = np.full(len(rows.period), self.now, "datetime64[us]")
        if self.source.vintage is not None:
            known_at[:] = self._find_vintage(rows.chunk.file)
        if self.source.known_at is not None:
            known_at, faults = parse_known_at(rows.chunk.columns.column(self.source.known_at), self.source)
            self._reject(rows, faults, self.source.known_at)
            ahead = np.flatnonzero(known_at > self.latest).tolist()
            self._reject(rows, dict.fromkeys(ahead, _KNOWN_IN_FUTURE), self.source.known_at)
        withdraws = None
        if self.source.operation is not None:
            withdraws, faults = parse_operations(rows.chunk.columns.column(self.source.operation))
            self._reject(rows, faults, self.source.operation)
        return replace(rows, known_at=np.minimum(known_at, self.now).astype(np.int64), withdraws=withdraws)

    def _find_vintage(self, file: str | None) -> np.datetime64:
        name, form = file or self.batch.source, self.source.vintage
        assert form is not None
        vintage = find_vintage(name, form)
        if vintage is None or vintage > self.latest:
            found = "no date" if vintage is None else "a date in the future"
            raise BatchRefused(
                f'{name} has {found} in its name: expected one like {datetime(2026, 11, 22).strftime(form)} (source.vintage = "{form}")',
                [Rejection(rule="vintage", file=file)],
                source=self.batch.source,
            )
        return vintage

    def _number_columns(self, chunk: Chunk) -> list[tuple[str, str]]:
        """Return the columns of numbers with the variable that each of them holds."""
        if self.source.layout == "wide":
            return [(name, TARGET) for name in series_columns(self.recipe, chunk.columns.schema.names)]
        assert self.source.value is not None
        covariates = (*self.recipe.covariates.past, *self.recipe.covariates.future)
        return [(self.source.value, TARGET), *((name, name) for name in covariates)]

    def _parse_numbers(self, chunk: Chunk, name: str, variable: str) -> _NumberColumn:
        written = chunk.dialect.numbers if chunk.dialect else PLAIN
        column = chunk.columns.column(name)
        numbers = parse_values(column, self.source, bounded=variable == TARGET, number_format=written)
        return _NumberColumn(name, variable, numbers)

    def _rows_of_column(self, rows: _ChunkRows, column: _NumberColumn) -> _ChunkRows:
        """Return the rows with their series in this column: in a wide table the column is the series."""
        if self.source.layout == "long":
            return rows
        return replace(rows, series=np.repeat(self.series.positions(pa.array([column.name])), len(rows.series)))

    def _reject_future(self, rows: _ChunkRows, columns: Sequence[_NumberColumn]) -> None:
        """Reject rows that lie ahead and hold more than covariates that can be known ahead."""
        is_future = rows.period > self.latest
        is_early = np.zeros(len(is_future), bool)
        if rows.known_at is not None:
            tolerated = rows.known_at + CLOCK_TOLERANCE // timedelta(microseconds=1)
            is_early = rows.period > tolerated.view("datetime64[us]")
        is_ahead = rows.is_valid & (is_future | is_early)
        if not is_ahead.any():
            return
        may_be_missing = self.source.missing == "gap" or bool(self.recipe.covariates.future)
        has_value = np.zeros(len(is_ahead), bool)
        for column in columns:
            if column.variable == TARGET and not may_be_missing:
                has_value[:] = True
            elif column.variable not in self.recipe.covariates.future:
                has_value |= ~column.numbers.is_missing
        faulty = np.flatnonzero(is_ahead & has_value).tolist()
        faults = {row: "lies in the future" if is_future[row] else _KNOWN_TOO_EARLY for row in faulty}
        self._reject(rows, faults, self.source.period)

    def _add_values(self, rows: _ChunkRows, column: _NumberColumn) -> None:
        """Reject the faulty values of a column, and add the others to the batch."""
        faults, values = column.numbers.faults, column.numbers.values
        if column.variable == TARGET and self.source.missing == "reject" and column.numbers.is_missing.any():
            faults = faults | self._judge_missing(rows, column)
        self._reject(rows, faults, column.name, whole_row=False)
        is_kept = ~np.isnan(values) if rows.withdraws is None else ~np.isnan(values) | rows.withdraws
        kept = np.flatnonzero(rows.is_valid & is_kept)
        if len(kept) == 0:
            return
        numbers = self.series.assign_numbers(rows.series[kept], column.variable)
        spooled = self._make_rows(rows, kept, numbers, values[kept])
        self.batch.spool.add(spooled)
        self.periods.add(rows.period[kept])
        self._note_ends(rows, kept, spooled)
        if column.variable == TARGET:
            self.last_target = self._locate(rows, int(kept[-1]), spooled[-1], column.name)

    def _judge_missing(self, rows: _ChunkRows, column: _NumberColumn) -> Faults:
        """Return the faults of missing targets; where covariates may be known ahead, only `finish` can tell."""
        missing = np.flatnonzero(column.numbers.is_missing & rows.is_valid)
        if not self.recipe.covariates.future:
            return dict.fromkeys(missing.tolist(), MISSING)
        text = to_text(rows.chunk.columns.column(column.name)).take(pa.array(missing))
        self.open_targets.append((self._make_rows(rows, missing, rows.series[missing], np.nan), text))
        return {}

    def _make_rows(self, rows: _ChunkRows, chosen: Positions, series: Positions, values: Any) -> Rows:
        """Return some rows of a chunk as rows of the spool."""
        spooled = np.empty(len(chosen), self.batch.spool.row)
        if rows.known_at is not None:
            spooled["known_at"] = rows.known_at[chosen]
        spooled["series"], spooled["value"] = series, values
        spooled["file"], spooled["line"] = len(self.batch.files) - 1, rows.chunk.line[chosen]
        spooled["period"] = rows.period[chosen].astype(np.int64)
        return spooled

    def _note_ends(self, rows: _ChunkRows, kept: Positions, spooled: Rows) -> None:
        for n in {int(spooled["period"].argmin()), int(spooled["period"].argmax())}:
            self.ends.append(self._locate(rows, int(kept[n]), spooled[n], self.source.period))
        self.ends = [min(self.ends, key=lambda end: end.period), max(self.ends, key=lambda end: end.period)]

    def _locate(self, rows: _ChunkRows, row: int, spooled: np.void, column: str) -> ValueLocation:
        """Return where a value stands, with the text of a field of its row."""
        return ValueLocation(
            file=rows.chunk.file,
            line=int(spooled["line"]),
            series=int(spooled["series"]),
            period=rows.period[row],
            value=float(spooled["value"]),
            text=format_field(rows.chunk.columns.column(column), row),
        )

    def _add_attributes(self, rows: _ChunkRows, column: str) -> None:
        """Add texts that describe series; reject a text that differs from the first one of its series."""
        encoded = pc.dictionary_encode(to_text(rows.chunk.columns.column(column)))
        texts = encoded.dictionary.to_pylist()
        valid = np.flatnonzero(rows.is_valid)
        pairs = rows.series[valid] * len(texts) + encoded.indices.to_numpy(zero_copy_only=False)[valid]
        distinct, first_rows = np.unique(pairs, return_index=True)
        for pair in distinct[np.argsort(first_rows)]:
            series, text = self.series.names[pair // len(texts)], texts[pair % len(texts)]
            expected = self.batch.attributes.setdefault((series, column), text) if text else ""
            if text != expected:
                rule = f'differs from "{expected}", which the batch gives for the same series'
                self._reject(rows, dict.fromkeys(valid[pairs == pair].tolist(), rule), column, whole_row=False)

    def _reject(self, rows: _ChunkRows, faults: Faults, column: str, *, whole_row: bool = True) -> None:
        """Reject fields of rows that are valid so far; with `whole_row` nothing else of these rows counts."""
        rejected = sorted(row for row in faults if rows.is_valid[row])
        fields = rows.chunk.columns.column(column)
        is_of_series = self.source.layout == "long" or column != self.source.period
        self.batch.reject(
            Rejection(
                file=rows.chunk.file,
                line=int(rows.chunk.line[row]),
                column=column,
                series=self.series.names[rows.series[row]] if is_of_series else None,
                period=None if np.isnat(rows.period[row]) else rows.period[row],
                text=format_field(fields, row)[:_MAX_TEXT],
                rule=faults[row],
            )
            for row in rejected
        )
        if whole_row:
            rows.is_valid[rejected] = False

    def _reject_open_targets(self) -> None:
        """Reject missing targets that are not ahead of the last target of their series."""
        if not self.open_targets:
            return
        latest = np.full(len(self.batch.names) + 1, np.iinfo(np.int64).min)  # the last one: series without a target
        for rows in self.batch.spool.parts():
            np.maximum.at(latest, rows["series"], rows["period"])
        for rows, texts in self.open_targets:
            numbers = self.series.find_numbers(rows["series"], TARGET)
            faulty = np.flatnonzero(rows["period"] <= latest[numbers])
            self.batch.reject(self._missing_target(rows[n], texts[int(n)].as_py()) for n in faulty)

    def _missing_target(self, row: np.void, text: str) -> Rejection:
        return Rejection(
            file=self.batch.files[int(row["file"])],
            line=int(row["line"]),
            column=self.source.value,
            series=self.series.names[int(row["series"])],
            period=row["period"].astype("datetime64[us]"),
            text=text,
            rule=MISSING,
        )

    def _drop_stray_periods(self) -> None:
        """One mistyped year must not make a grid of millions of periods.

        Raises:
            BatchRefused: the periods span too much, and not because of one or two of them.
        """
        batch = self.batch
        num_periods = self._count_periods(batch.periods)
        if num_periods <= max_num_periods(batch.num_read):
            return
        num_stray = 0 if self.source.strict else count_stray(batch.periods)
        batch.stray, others = np.split(batch.periods, [num_stray])
        if num_stray and self._count_periods(others) <= max_num_periods(batch.num_read):
            batch.periods = others
            return
        start, end = (
            f'"{place.text}" in {place.file + " " if place.file else ""}line {place.line}' for place in self.ends
        )
        raise BatchRefused(
            f"{batch.source} spans about {num_periods:,} periods with {counted(batch.num_read, 'row')}, "
            f"from {start} to {end}: is one of them mistyped?",
            [batch.rejection_at(place, "span", column=self.source.period) for place in self.ends],
            source=batch.source,
        )

    def _count_periods(self, periods: Periods) -> int:
        return self.recipe.grid.steps_between(periods[0], periods[-1]) if len(periods) else 0
