"""A store that is driven at random, held after every step against a reference that a person can read."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from threading import Barrier
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld, BatchRefused, NothingHeld
from pipeline.jobs.ingest import IngestResult, approve_batch, ingest_source
from pipeline.jobs.inputs import LATEST
from pipeline.storage import observations
from pipeline.storage.batches import BatchHeader, BatchRepository, BatchWriter, begin_batch
from pipeline.storage.engine import open_database
from pipeline.storage.store import Store
from pipeline.timeseries.long_values import apply_revisions, empty_values
from pipeline.timeseries.observations import TARGET
from tests.storage.raw_sql import rows
from tests.storage.small_store import observations_as_of
from tests.support.recipes import build_recipe

MOMENT = timedelta(microseconds=1)
MAX_GAP, MAX_REJECTED, MAX_REVISED, SHOWN_AGAIN, FEWEST, LIMIT = 1, 0.25, 0.5, 0.95, 8, 1e15

NAMES = ("b", "B", "ä", "007", "a b")
#: periods that a series may have, and the first of them that follows the clock's start
NUM_PERIODS, AHEAD = 60, 48
START = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
STEPS = {"D": timedelta(days=1), "h": timedelta(hours=1)}

NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.builds(
        lambda digits, power, sign: repr(sign * digits * 10.0**power),
        st.floats(1, 10),
        st.integers(-6, 6),
        st.sampled_from([1, -1]),
    ),
    st.sampled_from(["0", "0.0", "-0.0", "1e15", "-1e+15", "+.5", "1.7976931348623157E-200", "5e-324", "0.1"]),
)
FEW_NUMBERS = st.lists(NUMBERS, min_size=1, max_size=4)
PLACES = st.integers(0, 10**6)
TICKS = st.sampled_from(
    [timedelta(seconds=1), timedelta(hours=3), timedelta(0), timedelta(days=-2), timedelta(days=40)]
)
FAULTS = st.sampled_from(["number", "promo", "off grid", "future", "conflict", "region", "twice"])
POINTS = ("register", "add", "add_attributes", "finish")

OWN = "where series_id in (select series_id from series_variables where recipe = :recipe)"
HEADERS = """
select status, recorded_at, num_read, num_new, num_revised, num_same, num_rejected
from batches where recipe = :recipe order by batch_id"""
NUM_ROWS = f"""
select
    (select count(*) from observations {OWN}),
    (select count(*) from revisions {OWN}),
    (select count(*) from attributes {OWN}),
    (select count(*) from series_variables where recipe = :recipe),
    (select count(*) from rejections where batch_id in (select batch_id from batches where recipe = :recipe))"""
CURRENT = "select series, period, value, recorded_at from current_observations where recipe = :recipe"

#: series, variable and period
Key = tuple[str, str, datetime]
Values = dict[Key, float]


def periods_of(frequency: str) -> list[datetime]:
    """Periods around the clock's start."""
    if frequency == "MS":
        return [datetime(2022 + n // 12, n % 12 + 1, 1) for n in range(NUM_PERIODS)]
    start, step = datetime(2026, 1, 1), STEPS.get(frequency, STEPS["D"])
    around = [start + n * step for n in range(-2 * AHEAD, 2 * NUM_PERIODS)]
    on_grid = [period for period in around if frequency != "B" or period.weekday() < 5]
    first = sum(period < start for period in on_grid) - AHEAD
    return on_grid[first : first + NUM_PERIODS]


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a file, as text."""

    series: str
    period: datetime
    sold: str
    promo: str
    region: str

    def __str__(self) -> str:
        return f"{self.series},{self.period:%Y-%m-%d %H:%M},{self.sold},{self.promo},{self.region}\n"


@dataclass(frozen=True, slots=True)
class FileContent:
    """What a file says, read line by line."""

    text: str
    num_read: int
    rejected: tuple[int, ...]  # the lines, as often as something of them is refused
    num_faulty: int  # the lines without which nothing would be refused: of n that contradict each other all but one
    values: Values
    regions: dict[str, str]
    variables: frozenset[tuple[str, str]]


def written(lines: Sequence[Line]) -> str:
    """The file."""
    return "series,period,sold,promo,region\n" + "".join(str(line) for line in lines)


def read_lines(lines: Sequence[Line], grid: Sequence[datetime], now: datetime) -> FileContent:
    """The same by the rules of the contract, one value after the other."""
    rejected: list[int] = []
    faulty: set[int] = set()
    found: dict[Key, list[tuple[float, int]]] = {}
    regions: dict[str, str] = {}
    empty: list[tuple[int, Line]] = []
    for number, line in enumerate(lines, start=2):
        if line.period.replace(tzinfo=UTC) > now + timedelta(days=1) and line.sold:
            rejected.append(number)
            continue
        if not line.sold:
            empty.append((number, line))
        for variable, text in ((TARGET, line.sold), ("promo", line.promo)):
            if text == "broken" or (text and abs(float(text)) > LIMIT):
                rejected.append(number)
            elif text:
                found.setdefault((line.series, variable, line.period), []).append((float(text), number))
        if line.region and regions.setdefault(line.series, line.region) != line.region:
            rejected.append(number)
    for number, line in empty:
        if any(
            line.period <= period for series, variable, period in found if (series, variable) == (line.series, TARGET)
        ):
            rejected.append(number)
    off_grid = {number for (_, _, period), numbers in found.items() if period not in grid for _, number in numbers}
    faulty.update(rejected, off_grid)
    values = {}
    for key, numbers in found.items():
        if key[2] in grid and len({number for number, _ in numbers}) > 1:
            rejected.extend(line for _, line in numbers)
            faulty.update(line for _, line in numbers[1:])
        elif key[2] in grid:
            values[key] = numbers[0][0]
    variables = frozenset((series, variable) for series, variable, _ in found)
    content = {series: region for series, region in regions.items() if (series, TARGET) in variables}
    return FileContent(
        written(lines), len(lines), tuple(sorted([*rejected, *off_grid])), len(faulty), values, content, variables
    )


def steps_in(places: Sequence[int]) -> list[int]:
    """How many periods it is from each to the next."""
    return [later - earlier for earlier, later in pairwise(places)]


@dataclass(frozen=True, slots=True)
class State:
    """What is known from an instant on, and since when each value is."""

    recorded_at: datetime
    values: Values
    said_at: dict[Key, datetime]
    regions: dict[str, str]
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a person accepted: how many values of each variable are not delivered any more, and distances of values."""

    absent: dict[tuple[str, str], int] = field(default_factory=dict)
    steps: frozenset[int] = frozenset()


@dataclass(slots=True)
class Reference:
    """What the store should hold, as dictionaries and lists."""

    grid: list[datetime]
    #: status, instant, and how many were read, new, revised, the same and rejected
    headers: list[tuple[Any, ...]] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    variables: set[tuple[str, str]] = field(default_factory=set)
    num_regions: int = 0
    accepted: list[Sequence[Line]] = field(default_factory=list)
    #: the file that was refused or held last, if nothing came since
    refused: tuple[str, tuple[int, ...]] | None = None
    held: tuple[Sequence[Line], FileContent] | None = None
    #: what is not suspicious any more
    usual: Accepted = Accepted()

    @property
    def now(self) -> State:
        """What is known."""
        return self.states[-1] if self.states else State(datetime.min.replace(tzinfo=UTC), {}, {}, {}, None)

    def as_of(self, instant: datetime) -> State:
        """What was known."""
        known = [state for state in self.states if state.recorded_at <= instant]
        return known[-1] if known else replace(self.now, values={}, said_at={}, regions={}, changed_at=None)

    def verdicts(self, content: FileContent, known: Values) -> set[str]:
        """What may become of a file; more than one where only the guards can tell whether a series moved."""
        if content.num_faulty > MAX_REJECTED * content.num_read or not content.values:
            return {"refused"}
        if self.distances(content.values) - self.usual.steps:
            return {"held"}
        everything, before = self.places(known | content.values), self.places(known)
        for series in self.places(content.values):
            was_there = set(pairwise(before.get(series, ())))
            if any(b - a > MAX_GAP + 1 and (a, b) not in was_there for a, b in pairwise(everything[series])):
                return {"held"}
        again = {key for key in content.values if key in known}
        watched = {key for key in again if key[1] == TARGET}
        revised = {key for key in watched if content.values[key] != known[key]}
        absent = self.absent(content.values, known)
        accepted = sum(min(number, self.usual.absent.get(key, 0)) for key, number in absent.items())
        num_lost = sum(absent.values()) - accepted - len(content.rejected)  # rejected rows were delivered, too
        many_revised = len(watched) >= FEWEST and len(revised) > MAX_REVISED * len(watched)
        if many_revised:
            return {"held"}
        if num_lost > (1 - SHOWN_AGAIN) * (len(known) - accepted):
            return {"held"}
        moved = any(self.may_have_moved(series, content.values, known) for series, _, _ in revised)
        return {"taken", "held"} if moved else {"taken"}

    def distances(self, content: Values) -> set[int]:
        """The distance of most values, if it is not one period."""
        steps = [step for places in self.places(content).values() for step in steps_in(places)]
        usual = min(steps, key=lambda step: (-steps.count(step), step), default=1)
        return {usual} if len(steps) >= FEWEST - 1 and usual > 1 else set()

    def absent(self, content: Values, known: Values) -> Counter[tuple[str, str]]:
        """How many values of each variable are not delivered again."""
        return Counter(key[:2] for key in known if key not in content)

    def may_have_moved(self, series: str, content: Values, known: Values) -> bool:
        """Whether half of a series' values have changed, of those that say anything."""
        both = [(content[key], known[key]) for key in sorted(content) if key[:2] == (series, TARGET) and key in known]
        changed = sum(now != before for now, before in both)
        telling = 1 + sum(now != last for (last, _), (now, _) in pairwise(both))
        return len(both) >= FEWEST and 2 * changed >= min(telling, sum((now, before) != (0, 0) for now, before in both))

    def places(self, values: Values) -> dict[str, list[int]]:
        """Where on the grid each series has values."""
        places: dict[str, list[int]] = {}
        for series, variable, period in sorted(values):
            if variable == TARGET:
                places.setdefault(series, []).append(self.grid.index(period))
        return places

    def instant(self, now: datetime) -> datetime:
        """When the next thing is recorded."""
        return max(now, self.headers[-1][1] + MOMENT) if self.headers else now

    def take(self, lines: Sequence[Line], content: FileContent, now: datetime, *, num_rejected: int) -> None:
        """The values of a file become known."""
        at, known = self.instant(now), self.now
        new = [key for key in content.values if key not in known.values]
        revised = [key for key, number in content.values.items() if known.values.get(key, number) != number]
        values = known.values | {key: content.values[key] for key in (*new, *revised)}
        said_at = known.said_at | dict.fromkeys((*new, *revised), at)
        described = content.regions.items() - known.regions.items()
        self.num_regions += len(described)
        absent = self.absent(content.values, known.values)
        still = {key: min(number, absent[key]) for key, number in self.usual.absent.items() if key in absent}
        self.usual = replace(self.usual, absent=still)
        same = len(content.values) - len(new) - len(revised)
        self.headers.append(("accepted", at, content.num_read, len(new), len(revised), same, num_rejected))
        changed_at = at if new or revised or described else known.changed_at
        self.states.append(State(at, values, said_at, known.regions | content.regions, changed_at))
        self.variables |= content.variables
        self.accepted.append(lines)
        self.refused = self.held = None

    def hold(self, lines: Sequence[Line], content: FileContent, now: datetime) -> None:
        """A file waits."""
        if self.held is None or self.held[1] != content:
            self.headers.append(("held", self.instant(now), content.num_read, 0, 0, 0, len(content.rejected) + 1))
            self.refused, self.held = None, (lines, content)

    def refuse(self, text: str, rejected: tuple[int, ...], now: datetime) -> None:
        """A file is refused."""
        if self.refused != (text, rejected):
            self.headers.append(("refused", self.instant(now), 0, 0, 0, 0, len(rejected)))
        self.refused = text, rejected

    def release(self, now: datetime) -> None:
        """The file that waits is let in."""
        assert self.held is not None
        _, content = self.held
        usual = Accepted(
            dict(self.absent(content.values, self.now.values)), self.usual.steps | self.distances(content.values)
        )
        place = next(n for n in reversed(range(len(self.headers))) if self.headers[n][0] == "held")
        self.take(*self.held, now, num_rejected=0)
        self.usual = usual
        self.headers[place] = ("released", *self.headers[place][1:])


class Crash(Exception):
    """The worker dies."""


@contextmanager
def crashing_after(point: str) -> Iterator[None]:
    """Every intake dies behind one of its steps."""
    step = getattr(BatchWriter, point)

    def dies(*arguments: Any, **named: Any) -> None:
        step(*arguments, **named)
        raise Crash

    with patch.object(BatchWriter, point, dies), pytest.raises(Crash):
        yield


@dataclass(frozen=True, slots=True)
class Stage:
    """Two workers on one database, and what they share."""

    stores: tuple[Store, Store]
    folder: Path
    recipes: dict[str, Recipe]
    pool: ThreadPoolExecutor
    numbers: Iterator[int] = field(default_factory=count)
    #: the recipe of each step that was checked
    steps: list[str] = field(default_factory=list)

    @property
    def is_sqlite(self) -> bool:
        """Which database it is."""
        return self.stores[0].database.url.get_backend_name() == "sqlite"


class Machine(RuleBasedStateMachine):
    """Files in any order, and what they leave."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.store = stage.stores[0]
        self.clock = START
        self.num_steps = 0

    @initialize(
        frequency=st.sampled_from(["MS", "D", "h", "B"]),
        seed=PLACES,
        lengths=st.lists(st.integers(0, 14), min_size=1, max_size=3),
    )
    def begin(self, frequency: str, seed: int, lengths: list[int]) -> None:
        self.recipe = self.stage.recipes[frequency].model_copy(update={"name": f"any-{next(self.stage.numbers)}"})
        self.store.recipes.register(self.recipe)
        self.grid = periods_of(frequency)
        self.reference = Reference(self.grid)
        chance = random.Random(seed)
        lines = [
            Line(NAMES[s], self.grid[20 + s + n], repr(chance.uniform(-1e6, 1e6)), str(chance.randint(0, 1)), "north")
            for s, length in enumerate(lengths)
            for n in range(length)
        ]
        if lines:
            self.deliver(lines)

    # files

    @rule(
        s=st.integers(0, 4), numbers=FEW_NUMBERS, skip=st.sampled_from([0, 0, 0, 1, 2]), back=st.booleans(), tick=TICKS
    )
    def insert(self, s: int, numbers: list[str], skip: int, back: bool, tick: timedelta) -> None:
        self.deliver(self.with_new(s, numbers, skip=skip, back=back), tick)

    @rule(s=st.integers(0, 4), numbers=FEW_NUMBERS, tick=TICKS)
    def know_ahead(self, s: int, numbers: list[str], tick: timedelta) -> None:
        """Rows of a covariate alone, behind the last value."""
        ahead = [replace(line, sold="", promo=line.sold) for line in self.new_lines(s, numbers)]
        self.deliver([*self.lines(), *ahead], tick)

    @rule(places=st.lists(PLACES, min_size=1, max_size=3), numbers=FEW_NUMBERS, tick=TICKS)
    def revise(self, places: list[int], numbers: list[str], tick: timedelta) -> None:
        self.deliver(self.with_revised(places, numbers), tick)

    @precondition(lambda self: self.reference.accepted)
    @rule(tick=TICKS)
    def repeat(self, tick: timedelta) -> None:
        self.deliver(self.reference.accepted[-1], tick)

    @precondition(lambda self: self.reference.accepted)
    @rule(seed=PLACES, back=st.integers(1, 3), tick=TICKS)
    def reorder(self, seed: int, back: int, tick: timedelta) -> None:
        """An earlier file, shuffled."""
        lines = list(self.reference.accepted[-min(back, len(self.reference.accepted))])
        random.Random(seed).shuffle(lines)
        self.deliver(lines, tick)

    @rule(s=st.integers(0, 4), region=st.sampled_from(["north", "südlich", "7"]), tick=TICKS)
    def describe(self, s: int, region: str, tick: timedelta) -> None:
        self.deliver([replace(line, region=region) if line.series == NAMES[s] else line for line in self.lines()], tick)

    @rule(
        faults=st.lists(st.tuples(FAULTS, PLACES), min_size=1, max_size=3), times=st.sampled_from([1, 1, 9]), tick=TICKS
    )
    def break_some(self, faults: list[tuple[str, int]], times: int, tick: timedelta) -> None:
        lines = self.lines()
        for n in range(times):
            for kind, place in faults:
                self.break_one(lines, kind, place + 7 * n)
        self.deliver(lines, tick)

    @rule(factor=st.sampled_from([10.0, 0.001, -1.0]), s=st.integers(0, 6), meant=st.booleans(), tick=TICKS)
    def rescale(self, factor: float, s: int, meant: bool, tick: timedelta) -> None:
        """All of a history in another unit, or one series of it."""
        names = NAMES[s : s + 1] or NAMES
        lines = self.lines()
        for n, line in enumerate(lines):
            if line.sold and line.series in names:
                lines[n] = replace(line, sold=repr(float(line.sold) * factor))
        self.deliver(lines, tick)
        if meant:
            self.approve(tick)

    @rule(
        share=st.sampled_from([0.2, 0.5, 0.96]),
        first=st.booleans(),
        s=st.integers(0, 4),
        numbers=FEW_NUMBERS,
        meant=st.booleans(),
        tick=TICKS,
    )
    def shrink(self, share: float, first: bool, s: int, numbers: list[str], meant: bool, tick: timedelta) -> None:
        """Less than was known, and something new."""
        lines = self.lines()
        kept = int(share * len(lines))
        lines = lines[:kept] if first else lines[len(lines) - kept :]
        self.deliver([*lines, *self.new_lines(s, numbers)], tick)
        if meant:
            self.approve(tick)

    @rule(tick=TICKS)
    def error_page(self, tick: timedelta) -> None:
        self.clock += tick
        (self.stage.folder / "one.csv").write_text("<html>later</html>")
        with pytest.raises(BatchRefused):
            ingest_source(self.recipe, self.store, self.clock)
        self.reference.refuse("<html>", (1,), self.clock)

    @rule(tick=TICKS)
    def approve(self, tick: timedelta) -> None:
        self.clock += tick
        if self.reference.held is None:
            with pytest.raises(NothingHeld):
                approve_batch(self.recipe, self.store, self.clock)
            return
        taken = approve_batch(self.recipe, self.store, self.clock)
        self.reference.release(self.clock)
        assert (taken.num_new, taken.num_revised, taken.num_same) == self.reference.headers[-1][3:6]

    # workers

    @rule(s=st.integers(0, 4), places=st.lists(PLACES, max_size=2), numbers=FEW_NUMBERS, point=st.sampled_from(POINTS))
    def crash(self, s: int, places: list[int], numbers: list[str], point: str) -> None:
        """Nothing of it remains, and doing it again succeeds."""
        if self.reference.held is not None:
            with crashing_after(point):
                approve_batch(self.recipe, self.store, self.clock)
            self.nothing_is_lost()
            self.approve(timedelta(0))
            return
        lines = self.with_revised(places, numbers, self.with_new(s, numbers))
        if self.may_be_taken(lines):
            self.write("one", lines)
            with crashing_after(point):
                ingest_source(self.recipe, self.store, self.clock)
            self.nothing_is_lost()
            self.deliver(lines)

    @rule(s=st.integers(0, 4), places=st.lists(PLACES, max_size=2), numbers=FEW_NUMBERS, alike=st.booleans())
    def two_workers(self, s: int, places: list[int], numbers: list[str], alike: bool) -> None:
        """The same file to both, or two that do not agree."""
        one = self.with_revised(places, numbers, self.with_new(s, numbers))
        files = {"one.csv": one, "two.csv": one if alike else self.with_revised([*places, s], numbers[::-1], one)}
        content = {name: read_lines(lines, self.grid, self.clock) for name, lines in files.items()}
        known = self.reference.now.values
        orders = [(a, known | b.values) for a in content.values() for b in (*content.values(), replace(a, values={}))]
        if any(self.reference.verdicts(a, before) != {"taken"} for a, before in orders) or not all(
            map(self.may_be_taken, files.values())
        ):
            return
        for name, lines in files.items():
            self.write(name.removesuffix(".csv"), lines)
        self.at_once()
        came = rows(
            self.store.database,
            "select source from batches where recipe = :recipe order by batch_id limit 9 offset :seen",
            recipe=self.recipe.name,
            seen=len(self.reference.headers),
        )
        assert {source for (source,) in came} == set(files) or (
            len(came) == 1 and content["one.csv"] == content["two.csv"]
        )
        for (source,) in came:
            self.reference.take(files[source], content[source], self.clock, num_rejected=len(content[source].rejected))

    def at_once(self) -> None:
        source = self.recipe.source
        other = self.recipe.model_copy(update={"source": source.model_copy(update={"path": "two.csv"})})
        barrier = Barrier(2, timeout=60)

        def work(store: Store, recipe: Recipe) -> None:
            barrier.wait()
            ingest_source(recipe, store, self.clock)

        list(self.stage.pool.map(work, self.stage.stores, (self.recipe, other)))

    # what is read

    @precondition(lambda self: self.reference.headers)
    @rule(
        place=PLACES,
        between=st.sampled_from([-MOMENT, timedelta(0), MOMENT, timedelta(hours=1)]),
        length=st.integers(1, 20),
    )
    def look_back(self, place: int, between: timedelta, length: int) -> None:
        instant = self.reference.headers[place % len(self.reference.headers)][1] + between
        self.check_as_of(instant, length)

    @invariant()
    def nothing_is_lost(self) -> None:
        """What all steps have to leave; of earlier instants one in turn, in one of the ways to read it."""
        step = self.num_steps
        self.num_steps += 1
        self.stage.steps.append(self.recipe.name)
        with self.store.database.read() as transaction:
            found = [
                [tuple(row) for row in transaction.connection.execute(sa.text(sql), {"recipe": self.recipe.name})]
                for sql in (HEADERS, NUM_ROWS, CURRENT)
            ]
        self.check_headers(found[0])
        self.check_num_rows(*found[1][0])
        self.check_view(found[2])
        if self.reference.states:
            state = self.reference.states[step % len(self.reference.states)]
            self.check_panel(state, state.recorded_at, (TARGET, "promo")[step % 2], (None, 1, 3, 8)[step // 2 % 4])

    def check_headers(self, found: Sequence[tuple[Any, ...]]) -> None:
        """What batches say of themselves."""
        assert [(status, instant_of(at), *counts) for status, at, *counts in found] == self.reference.headers
        assert all(earlier[1] < later[1] for earlier, later in pairwise(self.reference.headers))

    def check_num_rows(self, new: int, revised: int, regions: int, variables: int, rejections: int) -> None:
        """That it adds up to the rows that there are."""
        sums = [sum(header[n] for header in self.reference.headers) for n in (3, 4, 6)]
        assert [new, revised] == sums[:2]
        assert rejections <= sums[2]  # a faulty row that is delivered again is kept once
        assert (regions, variables) == (self.reference.num_regions, len(self.reference.variables))

    def check_view(self, found: Sequence[tuple[Any, ...]]) -> None:
        """What consumers read."""
        state = self.reference.now
        assert sorted((s, moment_of(period), number.hex(), instant_of(at)) for s, period, number, at in found) == [
            (s, period, self.stored(number).hex(), state.said_at[s, variable, period])
            for (s, variable, period), number in sorted(state.values.items())
            if variable == TARGET
        ]

    def check_as_of(self, instant: datetime, length: int) -> None:
        """What was known at an instant: all of it, its end, and what is known of series."""
        state = self.reference.as_of(instant)
        known = observations_as_of(self.store, self.recipe, instant)
        found = zip(known.series.tolist(), known.period.tolist(), known.value.tolist(), strict=True)
        assert [(known.names[s], period, number.hex()) for s, period, number in found] == [
            (s, period, self.stored(number).hex())
            for (s, variable, period), number in sorted(state.values.items())
            if variable == TARGET
        ]
        for variable in (TARGET, "promo"):
            self.check_panel(state, instant, variable, None)
            self.check_panel(state, instant, variable, length)
        content = {series: {"region": region} for series, region in state.regions.items()}
        assert self.store.observations.attributes(self.recipe.name, instant) == content

    def check_panel(self, state: State, instant: datetime, variable: str, length: int | None) -> None:
        panel = self.store.observations.panel(self.recipe, instant, variable=variable, length=length)
        histories: dict[str, dict[int, float]] = {}
        for (s, other, period), number in sorted(state.values.items()):
            if other == variable:
                histories.setdefault(s, {})[self.grid.index(period)] = self.stored(number)
        ends = {s: dict(list(history.items())[-(length or len(history)) :]) for s, history in histories.items()}
        if panel is None:
            assert not ends
            return
        places = [place for end in ends.values() for place in end]
        assert panel.as_of == state.changed_at
        assert panel.grid.tolist() == self.grid[min(places) : max(places) + 1]
        assert panel.series == tuple(ends)
        for s, end in enumerate(ends.values()):
            assert panel.first[s] == min(end) - min(places)
            expected = [end.get(place, np.nan) for place in range(min(end), max(end) + 1)]
            assert panel.series_values(s).tobytes() == np.array(expected).tobytes()

    def stored(self, number: float) -> float:
        """SQLite knows no negative zero; to nobody do the two differ."""
        return number + 0.0 if self.stage.is_sqlite else number

    # what is written

    def deliver(self, lines: Sequence[Line], tick: timedelta = timedelta(0)) -> None:
        """A file comes; what becomes of it is what the reference expects."""
        if sum(line.period in self.grid for line in lines) <= len(lines) / 2:
            return  # which periods are on the grid, most of them say
        self.clock += tick
        self.write("one", lines)
        reference, content = self.reference, read_lines(lines, self.grid, self.clock)
        if self.is_last(lines):
            assert ingest_source(self.recipe, self.store, self.clock) == IngestResult(source="one.csv")
            return
        expected = reference.verdicts(content, reference.now.values)
        came = self.ingested()
        if isinstance(came, BatchHeld):
            assert "held" in expected, came
            reference.hold(lines, content, self.clock)
        elif isinstance(came, BatchRefused):
            assert "refused" in expected, came
            assert sorted(one.line or 0 for one in came.rejections) == list(content.rejected)
            reference.refuse(content.text, content.rejected, self.clock)
        else:
            assert "taken" in expected, came
            reference.take(lines, content, self.clock, num_rejected=len(content.rejected))
            assert (came.num_new, came.num_revised, came.num_same, came.num_rejected) == reference.headers[-1][3:]

    def ingested(self) -> IngestResult | BatchRefused:
        try:
            return ingest_source(self.recipe, self.store, self.clock)
        except BatchRefused as refused:
            return refused

    def write(self, name: str, lines: Sequence[Line]) -> None:
        (self.stage.folder / f"{name}.csv").write_text(written(lines), "utf-8")

    def may_be_taken(self, lines: Sequence[Line]) -> bool:
        """Whether a file is new and none that has to wait."""
        content = read_lines(lines, self.grid, self.clock)
        return not self.is_last(lines) and self.reference.verdicts(content, self.reference.now.values) == {"taken"}

    def is_last(self, lines: Sequence[Line]) -> bool:
        return bool(self.reference.accepted) and written(lines) == written(self.reference.accepted[-1])

    def lines(self) -> list[Line]:
        """All that is known as a file would tell it; a value that was broken is mended."""
        values, regions = self.reference.now.values, self.reference.now.regions
        newest = {s: max(p for t, v, p in values if (t, v) == (s, TARGET)) for s, v, _ in values if v == TARGET}
        lines = []
        for s, period in sorted({(s, period) for s, _, period in values}):
            sold, promo = (repr(values[key]) if (key := (s, v, period)) in values else "" for v in (TARGET, "promo"))
            if not sold and s in newest and period <= newest[s]:
                sold = "1"
            lines.append(Line(s, period, sold, promo, regions.get(s, "north")))
        return lines

    def new_lines(self, s: int, numbers: Sequence[str], *, skip: int = 0, back: bool = False) -> list[Line]:
        """Lines of a series behind its last value, or before its first."""
        known = [self.grid.index(p) for t, v, p in self.reference.now.values if (t, v) == (NAMES[s], TARGET)]
        start, step = (min(known, default=20) - 1, -1) if back else (max(known, default=19 + s) + 1, 1)
        places = [start + step * (skip + n) for n in range(len(numbers))]
        return [
            Line(NAMES[s], self.grid[place], number, number if place % 3 else "", "north")
            for place, number in zip(places, numbers, strict=True)
            if 0 <= place < NUM_PERIODS
        ]

    def with_new(self, s: int, numbers: Sequence[str], *, skip: int = 0, back: bool = False) -> list[Line]:
        new = self.new_lines(s, numbers, skip=skip, back=back)
        content = {(line.series, line.period) for line in new}
        return [*(line for line in self.lines() if (line.series, line.period) not in content), *new]

    def with_revised(
        self, places: Sequence[int], numbers: Sequence[str], lines: list[Line] | None = None
    ) -> list[Line]:
        lines = self.lines() if lines is None else list(lines)
        for n, place in enumerate(places if lines else ()):
            line, number = lines[place % len(lines)], numbers[n % len(numbers)]
            is_promo = place // len(lines) % 2 or not line.sold
            lines[place % len(lines)] = replace(line, promo=number) if is_promo else replace(line, sold=number)
        return lines

    def break_one(self, lines: list[Line], kind: str, place: int) -> None:
        """One fault more."""
        if not lines:
            return
        n = place % len(lines)
        line = lines[n]
        if kind == "number":
            lines[n] = replace(line, sold="broken")
        elif kind == "promo":
            lines[n] = replace(line, promo="broken")
        elif kind == "off grid":
            lines.insert(n + 1, replace(line, period=line.period + timedelta(minutes=10)))
        elif kind == "future":
            lines.insert(n, replace(line, period=datetime(2040, 1, 1), sold="1"))
        elif kind == "conflict" and line.sold not in ("", "broken"):
            lines.append(replace(line, sold=repr(float(line.sold) + 1)))
        elif kind == "region":
            lines.append(replace(line, region="elsewhere"))
        elif kind == "twice":
            lines.insert(n, replace(line, sold="-0.0") if line.sold == "0.0" else line)


def instant_of(value: datetime | str) -> datetime:
    """An instant as either database gives it."""
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)


def moment_of(value: datetime | str) -> datetime:
    """A period as either database gives it."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def not_waiting(connection: Any, _: Any) -> None:
    """Commits that are not on the disk when they return."""
    is_sqlite = isinstance(connection, sqlite3.Connection)
    connection.execute("pragma synchronous = off" if is_sqlite else "set synchronous_commit = off")
    connection.commit()


@pytest.fixture
def stage(store: Store, database_url: str, tmp_path: Path) -> Iterator[Stage]:
    """An empty store with two workers, who do not wait for the disk: what a power cut does is asked elsewhere."""
    other = Store(open_database(database_url))
    for worker in (store, other):
        sa.event.listen(worker.database.engine, "connect", not_waiting)
        worker.database.close()
    recipes = {
        frequency: build_recipe(
            "any",
            folder=tmp_path,
            frequency=frequency,
            season_length=2,
            horizon=1,
            max_gap=1,
            covariates={"future": ["promo"], "static": ["region"]},
            source={
                "path": "one.csv",
                "period": "period",
                "series": "series",
                "strict": True,
                "max_rejected": 0.25,
                "max_revised": 0.5,
            },
            model={"architecture": "vanilla", "context": 8},
        )
        for frequency in ("MS", "D", "h", "B")
    }
    with ThreadPoolExecutor(2) as pool:
        yield Stage((store, other), tmp_path, recipes, pool)
    other.database.close()


def drive(stage: Stage, **chosen: Any) -> None:
    """Run the machine; the same steps every time."""
    standard: dict[str, Any] = {
        "stateful_step_count": 30,
        "deadline": None,
        "derandomize": True,
        "suppress_health_check": list(HealthCheck),
        "phases": (Phase.generate, Phase.shrink),
    }
    run_state_machine_as_test(lambda: Machine(stage), settings=settings(**standard | chosen))


def test_the_store_holds_the_same_as_a_dictionary(stage: Stage) -> None:
    drive(stage, max_examples=120 if stage.is_sqlite else 30)  # PostgreSQL takes four times as long


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_store_holds_the_same_as_a_dictionary_in_long_histories(stage: Stage) -> None:
    drive(stage, max_examples=200, stateful_step_count=50)

    print(f"{len(stage.steps)} steps in {len(set(stage.steps))} histories")


@contextmanager
def committing_what_crashed(batches: BatchRepository, header: BatchHeader, now: datetime) -> Iterator[BatchWriter]:
    """A batch whose transaction ends well, whatever happens in it."""
    with batches.database.write() as transaction:
        try:
            yield begin_batch(transaction, header, now)
        except Crash as crash:
            crashed = crash
        else:
            return
    raise crashed


#: what is broken, and by what
BREAKAGES: dict[str, tuple[str, Any]] = {
    "the first word counts": (
        "pipeline.storage.bulk_load.apply_revisions",
        lambda content, later: content if len(content) else apply_revisions(content, later),
    ),
    "every instant is the last": (
        "pipeline.storage.batches.BatchRepository.latest_as_of",
        lambda batches, recipe, _: latest_as_of(batches, recipe, LATEST),
    ),
    "later batches are seen": (
        "pipeline.storage.observations._read_observations",
        lambda transaction, recipe, known, **asked: read(transaction, recipe, replace(known, batch_id=2**40), **asked),
    ),
    "an end is too long": (
        "pipeline.storage.observations._read_observations",
        lambda transaction, recipe, known, *, variable, length: read(
            transaction, recipe, known, variable=variable, length=length and length + 1
        ),
    ),
    "revisions are lost": (
        "pipeline.storage.batches.BatchWriter.add",
        lambda batch, new, revised: add(batch, new, empty_values()),
    ),
    "the clock is believed": ("pipeline.storage.batches.next_instant", lambda transaction, recipe, now: now),
    "a crash leaves its rows": ("pipeline.storage.batches.BatchRepository.write", committing_what_crashed),
    "nothing is held": ("pipeline.ingest.changes.BatchDiff.hold_suspicious", lambda diff: None),
}
add, latest_as_of, read = BatchWriter.add, BatchRepository.latest_as_of, observations._read_observations


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_the_comparison_detects_a_broken_store(stage: Stage, breakage: str) -> None:
    with patch(*BREAKAGES[breakage]), pytest.raises(AssertionError):
        drive(stage, max_examples=50, phases=(Phase.generate,))
