"""A delivery's rows by series, variable and period: what is read of them, what is refused, and by which rule."""

from __future__ import annotations

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
from pipeline.ingest.parsers import MISSING, MOST_SLOTS, Faults, Numbers, PeriodReader, parse_values, text_at, texts
from pipeline.ingest.row_spool import ROW, RowSpool
from pipeline.ingest.schema_check import fault_of, wide_columns
from pipeline.ingest.series_index import Positions, SeriesIndex
from pipeline.sources.delivery import Chunk, Delivery
from pipeline.text import counted
from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.observations import TARGET

#: how far ahead of the clock a period may lie: sources and workers do not agree to the second
CLOCK_TOLERANCE = timedelta(days=1)
#: refused rows that are kept one by one; a batch with more is another one than the recipe describes
MOST_REJECTIONS = 100_000
#: periods of different chunks that may wait to be put together
_MOST_UNMERGED = 2_000_000
_NAME = "is not a name of a series: expected visible characters"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was told."""

    file: str | None
    line: int
    series: int
    period: np.datetime64
    value: float
    text: str


@dataclass(slots=True)
class ParsedBatch:
    """What was read of a delivery: a place for each value, and everything that was refused."""

    source: str
    recipe: Recipe
    spool: RowSpool
    num_read: int = 0
    #: series and variable of each number of a series in the spool
    names: list[tuple[str, str]] = field(default_factory=list)
    #: by series and name
    attributes: dict[tuple[str, str], str] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    files: list[str | None] = field(default_factory=list)
    #: all periods of any series, ascending
    periods: Periods = field(default_factory=lambda: np.empty(0, "datetime64[us]"))
    #: the last value of a text whose last line was not ended
    unended: Place | None = None
    #: whether nothing at all is nothing new
    may_be_empty: bool = False

    def refuse(self, rejections: Iterable[Rejection]) -> None:
        """Keep what is refused.

        Raises:
            BatchRefused: it is so much that the whole batch is.
        """
        for one in rejections:
            self.rejections.append(one)
            if len(self.rejections) > MOST_REJECTIONS:
                raise BatchRefused(
                    f"{self.source} {self.first_rejection()}; more than {MOST_REJECTIONS:,} rows refused, nothing was taken in",
                    source=self.source,
                )

    def rejection(self, rule: str, row: Any, *, text: str, column: str | None) -> Rejection:
        """A row of the spool, refused."""
        is_whole_row = self.recipe.source.layout == "wide" and column == self.recipe.source.period
        return Rejection(
            file=self.files[int(row["file"])],
            line=int(row["line"]),
            column=column,
            series=None if is_whole_row else self.names[int(row["series"])][0],
            text=text,
            rule=rule,
        )

    def first_rejection(self) -> str:
        """The first refused row in words."""
        number = {file: n for n, file in enumerate(self.files)}
        one = min(self.rejections, key=lambda one: (number.get(one.file, len(number)), one.line or 0))
        text = f' "{one.text}"' if one.text is not None else ""
        column = f", column {one.column}" if one.column else ""
        file = f"{one.file} " if one.file else ""
        return f"{file}line {one.line}{column}:{text} {one.rule}"

    def column_of(self, series: int) -> str | None:
        """The column in which values of this number stand."""
        name, variable = self.names[series]
        return variable or (self.recipe.source.value if self.recipe.source.layout == "long" else name)


@contextmanager
def parse_delivery(delivery: Delivery, recipe: Recipe, *, now: datetime) -> Iterator[ParsedBatch]:
    """Read a whole delivery against the recipe's contract.

    Args:
        delivery: what the source gives.
        recipe: what is expected of it.
        now: the clock; values of periods further ahead are refused.

    Raises:
        BatchRefused: it lacks a column, has no row, or spans far more periods than it has rows.
    """
    with RowSpool() as spool:
        may_be_empty = delivery.incremental or recipe.source.on_empty == "keep"
        reading = ParsedBatch(source=delivery.source, recipe=recipe, spool=spool, may_be_empty=may_be_empty)
        reader = _BatchReader(reading, now)
        try:
            for chunk in delivery.chunks():
                reader.add(chunk)
            reader.finish(ended=delivery.ended)
        except BatchRefused as refusal:
            kept = [*reading.rejections, *refusal.rejections]
            raise BatchRefused(str(refusal), kept, source=refusal.source) from None
        yield reading


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a chunk."""

    chunk: Chunk
    period: Periods  # [n]
    series: Positions  # [n], among all names
    #: whether their period and their series are known; less of them as more is read
    sound: npt.NDArray[np.bool_]  # [n]


class _BatchReader:
    def __init__(self, reading: ParsedBatch, now: datetime) -> None:
        self.reading = reading
        self.recipe = reading.recipe
        self.source = reading.recipe.source
        self.latest = np.datetime64((now + CLOCK_TOLERANCE).astimezone(UTC).replace(tzinfo=None), "us")
        self.periods = PeriodReader(self.source, self.recipe.grid)
        self.names = SeriesIndex()
        self.seen = reading.periods
        self.unmerged: list[Periods] = []
        self.ends: list[Place] = []
        self.last: Place | None = None
        #: rows without a target, where covariates may be known ahead, and how that is written
        self.empty: list[tuple[Any, pa.Array]] = []

    def add(self, chunk: Chunk) -> None:
        """Read some rows."""
        reading = self.reading
        reading.num_read += chunk.columns.num_rows + len(chunk.rejections)
        if not reading.files or reading.files[-1] != chunk.file:
            reading.files.append(chunk.file)
        reading.refuse(chunk.rejections)
        self._refuse_columns(chunk)
        if chunk.columns.num_rows == 0:
            return
        rows = self._rows(chunk)
        columns = self._columns(chunk)
        numbers = [
            parse_values(chunk.columns.column(column), self.source, bounded=variable == TARGET)
            for column, variable in columns
        ]
        self._reject_future(rows, columns, numbers)
        for (column, variable), parsed in zip(columns, numbers, strict=True):
            self._add_values(self._of_column(rows, column), column, variable, parsed)
        for name in self.recipe.covariates.static:
            self._add_attributes(rows, name)

    def _refuse_columns(self, chunk: Chunk) -> None:
        fault = fault_of(self.recipe, chunk.columns.schema.names)
        if fault is None:
            return
        rule, says = fault
        where = self.reading.source if chunk.file is None else chunk.file
        refused = Rejection(rule=rule, line=1, file=chunk.file)
        raise BatchRefused(f"{where} {says}", [refused], source=self.reading.source)

    def _rows(self, chunk: Chunk) -> _Rows:
        """The rows with their periods and series; those without are refused."""
        columns, source = chunk.columns, self.source
        fold = columns.column(source.fold) if source.fold else None
        period, faults = self.periods.read(columns.column(source.period), fold)
        series = texts(columns.column(source.series)) if source.series else pa.repeat(self.recipe.name, len(period))
        rows = _Rows(chunk, period, self.names.positions(series), np.ones(len(period), bool))
        self._reject(rows, faults, source.period)
        if source.series is not None:
            improper = np.flatnonzero(self.names.improper(rows.series))
            self._reject(rows, dict.fromkeys(improper.tolist(), _NAME), source.series)
        return rows

    def _of_column(self, rows: _Rows, column: str) -> _Rows:
        """The rows of the series that a column of a wide table is."""
        if self.source.layout == "long":
            return rows
        return replace(rows, series=np.repeat(self.names.positions(pa.array([column])), len(rows.series)))

    def _columns(self, chunk: Chunk) -> list[tuple[str, str]]:
        """The columns of numbers, and the variable that each one is."""
        if self.source.layout == "wide":
            return [(name, TARGET) for name in wide_columns(self.recipe, chunk.columns.schema.names)]
        assert self.source.value is not None
        covariates = (*self.recipe.covariates.past, *self.recipe.covariates.future)
        return [(self.source.value, TARGET), *((name, name) for name in covariates)]

    def _reject_future(self, rows: _Rows, columns: Sequence[tuple[str, str]], numbers: Sequence[Numbers]) -> None:
        """Refuse rows that know what nobody can know yet."""
        ahead = rows.sound & (rows.period > self.latest)
        if not ahead.any():
            return
        may_be_missing = self.source.missing == "gap" or bool(self.recipe.covariates.future)
        told = np.zeros(len(ahead), bool)
        for (_, variable), parsed in zip(columns, numbers, strict=True):
            if variable == TARGET and not may_be_missing:
                told[:] = True
            elif variable not in self.recipe.covariates.future:
                told |= ~parsed.missing
        refused = np.flatnonzero(ahead & told).tolist()
        self._reject(rows, dict.fromkeys(refused, "lies in the future"), self.source.period)

    def _add_values(self, rows: _Rows, column: str, variable: str, numbers: Numbers) -> None:
        """Put one column's values into the spool."""
        faults = numbers.faults
        if variable == TARGET and self.source.missing == "reject" and numbers.missing.any():
            missing = np.flatnonzero(numbers.missing & rows.sound)
            if self.recipe.covariates.future:
                texts_of = texts(rows.chunk.columns.column(column)).take(pa.array(missing))
                self.empty.append((self._spooled(rows, missing, rows.series[missing], np.nan), texts_of))
            else:
                faults = faults | dict.fromkeys(missing.tolist(), MISSING)
        self._reject(rows, faults, column, whole_row=False)
        kept = np.flatnonzero(rows.sound & ~np.isnan(numbers.value))
        if len(kept) == 0:
            return
        number = self.names.numbers(rows.series[kept], variable)
        spooled = self._spooled(rows, kept, number, numbers.value[kept])
        self.reading.spool.add(spooled)
        self._see(pd.unique(rows.period[kept]))
        self._note(rows, kept, spooled, column, variable)

    def _see(self, periods: Periods) -> None:
        """Remember periods, each once."""
        self.unmerged.append(periods)
        if sum(map(len, self.unmerged)) > _MOST_UNMERGED:
            self._merge_seen()

    def _merge_seen(self) -> None:
        self.seen = pd.unique(np.concatenate([self.seen, *self.unmerged]))
        self.unmerged = []

    def _spooled(self, rows: _Rows, which: Positions, series: Positions, value: Any) -> Any:
        spooled = np.empty(len(which), ROW)
        spooled["series"], spooled["value"] = series, value
        spooled["file"], spooled["line"] = len(self.reading.files) - 1, rows.chunk.line[which]
        spooled["period"] = rows.period[which].astype(np.int64)
        return spooled

    def _note(self, rows: _Rows, kept: Positions, spooled: Any, column: str, variable: str) -> None:
        """Remember the first and the last period, and the last value of all."""
        for n in {int(spooled["period"].argmin()), int(spooled["period"].argmax())}:
            self.ends.append(self._place(rows, int(kept[n]), spooled[n], self.source.period))
        self.ends = [min(self.ends, key=lambda end: end.period), max(self.ends, key=lambda end: end.period)]
        if variable == TARGET:
            self.last = self._place(rows, int(kept[-1]), spooled[-1], column)

    def _place(self, rows: _Rows, row: int, spooled: Any, column: str) -> Place:
        return Place(
            file=rows.chunk.file,
            line=int(spooled["line"]),
            series=int(spooled["series"]),
            period=rows.period[row],
            value=float(spooled["value"]),
            text=text_at(rows.chunk.columns.column(column), row),
        )

    def _add_attributes(self, rows: _Rows, column: str) -> None:
        """Take in texts of series; one that differs from the first is refused."""
        encoded = pc.dictionary_encode(texts(rows.chunk.columns.column(column)))
        told = encoded.dictionary.to_pylist()
        sound = np.flatnonzero(rows.sound)
        pair = rows.series[sound] * len(told) + encoded.indices.to_numpy(zero_copy_only=False)[sound]
        distinct, first = np.unique(pair, return_index=True)
        for n in np.argsort(first):
            key, text = (self.names.names[distinct[n] // len(told)], column), told[distinct[n] % len(told)]
            known = self.reading.attributes.setdefault(key, text) if text else ""
            if known != text:
                rule = f'differs from "{known}", which the same batch says of the series'
                same = sound[pair == distinct[n]]
                self._reject(rows, dict.fromkeys(same.tolist(), rule), column, whole_row=False)

    def _reject(self, rows: _Rows, faults: Faults, column: str, *, whole_row: bool = True) -> None:
        """Keep refused fields, but for those of rows that were refused as a whole."""
        chunk, names = rows.chunk, self.names.names
        refused = sorted(row for row in faults if rows.sound[row])
        told = chunk.columns.column(column)
        is_of_series = self.source.layout == "long" or column != self.source.period
        self.reading.refuse(
            Rejection(
                file=chunk.file,
                line=int(chunk.line[row]),
                column=column,
                series=names[rows.series[row]] if is_of_series else None,
                text=text_at(told, row)[:200],
                rule=faults[row],
            )
            for row in refused
        )
        if whole_row:
            rows.sound[refused] = False

    def finish(self, *, ended: bool) -> None:
        """Judge the delivery as a whole."""
        reading = self.reading
        if reading.num_read == 0 and not reading.may_be_empty:
            raise BatchRefused(f"{reading.source} gives no row: expected at least one", source=reading.source)
        reading.names = self.names.numbered
        self._merge_seen()
        reading.periods = np.sort(self.seen)
        self._refuse_wide()
        self._refuse_missing()
        if not ended:
            reading.unended = self.last

    def _refuse_missing(self) -> None:
        """An empty value ahead of the last one of its series waits to be known; another one is a fault."""
        if not self.empty:
            return
        newest = np.full(len(self.reading.names) + 1, np.iinfo(np.int64).min)  # the last one is of no series
        for rows in self.reading.spool.parts():
            np.maximum.at(newest, rows["series"], rows["period"])
        for rows, told in self.empty:
            late = np.flatnonzero(rows["period"] <= newest[self.names.number_of(rows["series"], TARGET)])
            self.reading.refuse(self._missing(rows[n], told[int(n)].as_py()) for n in late)

    def _missing(self, row: Any, text: str) -> Rejection:
        return Rejection(
            file=self.reading.files[int(row["file"])],
            line=int(row["line"]),
            column=self.source.value,
            series=self.names.names[int(row["series"])],
            text=text,
            rule=MISSING,
        )

    def _refuse_wide(self) -> None:
        """One mistyped year must not make a grid of millions of periods."""
        if not self.ends:
            return
        reading = self.reading
        first, last = self.ends
        spanned = self.recipe.grid.steps_between(first.period, last.period)
        if spanned <= MOST_SLOTS + 100 * reading.num_read:
            return
        told = [f'"{end.text}" in {end.file + " " if end.file else ""}line {end.line}' for end in self.ends]
        raise BatchRefused(
            f"{reading.source} spans about {spanned:,} periods with {counted(reading.num_read, 'row')}, "
            f"from {told[0]} to {told[1]}: is one of them mistyped?",
            [
                Rejection(
                    file=end.file,
                    line=end.line,
                    column=self.source.period,
                    series=reading.names[end.series][0],
                    text=end.text,
                    rule="span",
                )
                for end in self.ends
            ],
            source=reading.source,
        )
