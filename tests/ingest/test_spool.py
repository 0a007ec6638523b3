"""Neither the order of rows nor chunks nor memory change what is accepted, and every other row is rejected by name."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import BatchHeld, BatchRefused, Rejection
from pipeline.ingest.parsers import MISSING, parse_value
from pipeline.ingest.row_spool import ROW, RowSpool
from tests.support.deliveries import Ingested, Key, delivery_of, ingest_delivery, recipe_of, strict
from tests.support.examples import NOW

Row = tuple[str, str, str]

#: everything that can be refused one by one is
LENIENT = strict(recipe_of('series = "shop"\nmax_rejected = 0.999', top="max_gap = 10000"))
NAMES = st.sampled_from(["a", "b", "NA", "007", "1e5", "", "two\nlines"])
MONTHS = st.sampled_from(
    [
        *(f"{year}-{month:02d}-01" for year in (2023, 2024) for month in (1, 2, 3)),
        "2024-01-02",
        "2024-02-30",
        "",
        "2031-01-01",
        "2024-01",
    ]
)
NUMBERS = st.sampled_from(["1", "1.0", "2", "-3.5", "1e3", "1e-3", "", "NaN", "inf", "1e999", "1e300", "x", "1,5"])
ROWS = st.lists(st.tuples(MONTHS, NUMBERS, NAMES), max_size=12)
FIRST = ("2023-01-01", "1", "first")


def outcome(rows: list[Row], chunk_rows: int = 1000, **limits: int) -> tuple[str, Ingested | None, list[Rejection]]:
    try:
        ingested = ingest_delivery(delivery_of(rows, chunk_rows=chunk_rows), LENIENT, **limits)
    except BatchRefused as refusal:
        return str(refusal), None, sorted(refusal.rejections, key=repr)
    return "accepted", ingested, sorted(ingested.rejections, key=repr)


def naive(rows: list[Row]) -> tuple[dict[Key, float], dict[int, str]]:
    """What a loop over the rows takes in, and the lines that it refuses with the beginning of their rule."""
    by_key: dict[Key, list[tuple[int, float]]] = defaultdict(list)
    refused = {}
    latest = NOW.replace(tzinfo=None, day=2)
    for line, (month, text, name) in enumerate(rows, start=2):
        value, fault = parse_value(text)
        try:
            period = datetime.strptime(month, "%Y-%m-%d")
        except ValueError:
            refused[line] = "is not a period"
            continue
        if not name.isprintable() or not name:
            refused[line] = "is not a name"
        elif period > latest:
            refused[line] = "lies in the future"
        elif fault or abs(value) > 1e15:
            refused[line] = fault or "is larger"
        elif period.day != 1:
            refused[line] = "is not on the frequency"
        else:
            by_key[name, f"{month}T00:00"].append((line, value))
    kept = {}
    for key, values in by_key.items():
        if len({value for _, value in values}) == 1:
            kept[key] = values[0][1]
        else:
            refused |= {line: "is one of" for line, _ in values}
    return kept, refused


@given(rows=ROWS)
@example(rows=[("2024-01-01", "1", "a"), ("2024-01-01", "2", "a"), ("2024-01-01", "1", "a")])
@example(rows=[("2024-01-02", "1", "a"), ("2024-01-02", MISSING, "b")])
@settings(max_examples=2000, deadline=None)
def test_every_row_is_accepted_as_delivered_or_rejected_by_name(rows: list[Row]) -> None:
    assert_as_a_loop_says([FIRST, *rows])


def assert_as_a_loop_says(rows: list[Row]) -> None:
    kept, refused = naive(rows)

    says, ingested, rejections = outcome(rows)

    assert ingested is not None, says
    assert ingested.new == kept
    named: dict[int, list[Rejection]] = defaultdict(list)
    for one in rejections:
        assert one.line is not None
        named[one.line].append(one)
    assert named.keys() == refused.keys()
    for line, (one,) in named.items():
        assert one.rule.startswith(refused[line])
        assert one.text is not None
        assert one.column in ("month", "sold", "shop")
        assert one.series == rows[line - 2][2]


#: rules without which something wrong is taken in, or something right is lost, and rows that show it
BROKEN: dict[str, tuple[Callable[..., Any], list[Row]]] = {
    "pipeline.ingest.changes.BatchDiff._resolve_duplicates": (
        lambda self, rows, is_repeated: ~is_repeated,
        [("2024-01-01", "1", "a"), ("2024-01-01", "2", "a")],
    ),
    "pipeline.ingest.changes.BatchDiff._drop_off_grid": (lambda self, rows: rows, [("2024-01-02", "1", "a")]),
    "pipeline.ingest.changes._sort_rows": (
        lambda rows: rows,
        [("2024-01-01", "1", "a"), ("2023-02-01", "1", "a"), ("2024-01-01", "2", "a")],
    ),
    "pipeline.ingest.reader._BatchReader._reject_future": (lambda *_: None, [("2031-01-01", "1", "a")]),
    "pipeline.ingest.series_index.SeriesIndex.has_invalid_name": (
        lambda _, rows: np.zeros(len(rows), bool),
        [("2024-01-01", "1", "")],
    ),
    "pipeline.ingest.parsers.parse_value": (lambda *_: (0.0, None), [("2024-01-01", "x", "a")]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_naive_loop_notices_each_missing_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, rows = BROKEN[name]
    assert_as_a_loop_says([FIRST, *rows])

    monkeypatch.setattr(name, broken)

    with pytest.raises(AssertionError):
        assert_as_a_loop_says([FIRST, *rows])


@given(rows=ROWS, chunk_rows=st.integers(1, 8), in_memory=st.sampled_from([1, 10, 1_000_000]))
@settings(max_examples=300, deadline=None)
def test_neither_chunks_nor_memory_change_anything(rows: list[Row], chunk_rows: int, in_memory: int) -> None:
    rows = [FIRST, *rows]
    message, expected, rejections = outcome(rows, max_rows_in_memory=1_000_000)

    chunked = outcome(rows, chunk_rows, max_rows_in_memory=in_memory, part_rows=3)

    assert chunked[::2] == (message, rejections)
    if expected is not None:
        assert chunked[1] is not None
        assert chunked[1].new == expected.new
        assert chunked[1].longest == expected.longest


@pytest.mark.parametrize("in_memory", [10, 1_000_000])
def test_a_message_about_gaps_names_the_series_that_comes_first_in_the_delivery(in_memory: int) -> None:
    rows = [
        (f"{2000 + n // 12}-{n % 12 + 1:02d}-01", "1", f"shop {(7 * s) % 40}") for s in range(40) for n in (0, 1, 3)
    ]

    with pytest.raises(BatchHeld, match='series "shop 0" has no value for 1 period'):
        ingest_delivery(
            delivery_of(rows, chunk_rows=7), strict(recipe_of('series = "shop"')), max_rows_in_memory=in_memory
        )


def rows_of(series: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    rows = np.zeros(len(series), ROW)
    rows["series"], rows["line"] = series, np.arange(len(series))
    return rows


@given(chunks=st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=50), max_size=10), most=st.integers(1, 100))
@settings(max_examples=200, deadline=None)
def test_parts_hold_whole_series_in_the_order_in_which_their_rows_came(chunks: list[list[int]], most: int) -> None:
    every = rows_of([number for chunk in chunks for number in chunk])

    with RowSpool(max_rows_in_memory=most, part_rows=5) as spool:
        start = 0
        for chunk in chunks:
            spool.add(every[start : start + len(chunk)])
            start += len(chunk)
        parts = list(spool.parts())
        again = list(spool.parts())

    assert spool.num_rows == len(every)
    assert sum(map(len, parts)) == len(every)
    assert [part.tobytes() for part in parts] == [part.tobytes() for part in again]
    series_of_parts = [set(part["series"].tolist()) for part in parts]
    assert sum(map(len, series_of_parts)) == len(set().union(*series_of_parts))
    in_order = [part[np.argsort(part["series"], kind="stable")] for part in parts]
    assert (
        np.concatenate([every[:0], *in_order]).tobytes() == every[np.argsort(every["series"], kind="stable")].tobytes()
    )
    assert all(len(part) < 5 + most_of_a_series(part) for part in parts)


def most_of_a_series(part: np.ndarray) -> int:  # type: ignore[type-arg]
    return int(np.bincount(part["series"]).max())


def test_the_file_of_a_spool_is_closed_at_its_end() -> None:
    with RowSpool(max_rows_in_memory=2) as spool:
        spool.add(rows_of(random.Random(0).choices(range(9), k=50)))
        file = spool._file
        assert file is not None

    assert file.closed
