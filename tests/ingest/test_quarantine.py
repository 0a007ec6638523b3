"""By default a faulty row is kept apart and the rest of the delivery goes in; strict recipes refuse it whole."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.config.loader import validate_recipe
from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld, BatchRefused
from pipeline.jobs.ingest import IngestResult, ingest_source
from pipeline.storage.store import Store
from tests.support.examples import NOW, months, small_values
from tests.support.recipes import build_recipe

NOT_A_NUMBER = "is not a number: expected digits, a point and an exponent only"

Row = tuple[str, ...]


def history(count: int = 40) -> list[Row]:
    return [(month, str(value)) for month, value in zip(months(count), small_values(count), strict=True)]


def with_rows(rows: Sequence[Row], **changed: Row) -> list[Row]:
    """Other rows in some lines, given as `line_7=(…)`; the header is line 1."""
    replaced = list(rows)
    for name, row in changed.items():
        replaced[int(name.removeprefix("line_")) - 2] = row
    return replaced


def write(folder: Path, rows: Sequence[Row], header: str = "month,sold") -> None:
    (folder / "small.csv").write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")


def deliver(
    store: Store, folder: Path, rows: Sequence[Row], *, header: str = "month,sold", **keys: Any
) -> IngestResult:
    recipe = small(folder, **keys)
    store.recipes.register(recipe)
    write(folder, rows, header)
    return ingest_source(recipe, store, NOW)


def small(folder: Path, **keys: Any) -> Recipe:
    return build_recipe("small", folder=folder, **keys)


def listed(store: Store, query: str) -> list[tuple[Any, ...]]:
    with store.database.read() as transaction:
        return [tuple(row) for row in transaction.connection.execute(sa.text(query)).all()]


def values(store: Store) -> dict[str, float]:
    rows = listed(store, "select period, value from current_observations order by period")
    return {str(period)[:7]: value for period, value in rows}


def rejected(store: Store) -> list[tuple[Any, ...]]:
    query = "select line, column_name, series, period, text, rule from rejected_observations order by rejected_at, line"
    return [(*row[:3], str(row[3])[:10] if row[3] else None, *row[4:]) for row in listed(store, query)]


def test_a_faulty_row_is_kept_apart_and_the_rest_goes_in(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = with_rows(history(), line_7=("2020-06-01", "12x"), line_9=("2020-08-01", "1e999"))

    with caplog.at_level(logging.INFO):
        result = deliver(store, tmp_path, rows)

    assert (result.num_read, result.num_new, result.num_rejected, result.num_missing) == (40, 38, 2, 2)
    assert result.quarantine == (
        '2 of 40 rows quarantined: line 7, column sold: "12x" is not a number (and 1 more); '
        "select * from rejected_observations where recipe = 'small'"
    )
    assert f"small.csv: {result.quarantine}" in caplog.messages
    assert "small.csv: 2 periods without a value stay gaps" in caplog.messages
    assert rejected(store) == [
        (7, "sold", "small", "2020-06-01", "12x", NOT_A_NUMBER),
        (9, "sold", "small", "2020-08-01", "1e999", "is not finite"),
    ]
    assert {"2020-06", "2020-08"}.isdisjoint(values(store))


@pytest.mark.parametrize(
    ("month", "value", "rule"),
    [
        ("2020-06-01", "12x", NOT_A_NUMBER),
        ("2020-06-01", "1e300", "is larger than 1e+15, the recipe's source.limit"),
        ("2020-06-15", "1", 'is not on the frequency "MS"'),
        ("2020-13-01", "1", "is not a period: expected YYYY-MM-DD, as in the first row"),
        ("06/01/2020", "1", "is not a period: expected YYYY-MM-DD, as in the first row"),
        ("", "1", "is not a period: expected YYYY-MM-DD, as in the first row"),
        ("2027-01-01", "1", "lies in the future"),
        ("2020-06-01", "1,234", "has 3 of 2 columns (is a text or a decimal comma not quoted?)"),
    ],
)
def test_one_bad_row_of_twelve_never_costs_the_others(
    month: str, value: str, rule: str, store: Store, tmp_path: Path
) -> None:
    result = deliver(store, tmp_path, with_rows(history(12), line_7=(month, value)))

    assert (result.num_new, result.num_rejected) == (11, 1)
    assert [row[-1] for row in rejected(store)] == [rule]


def test_a_bad_row_after_a_good_one_leaves_what_is_stored(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, history(12))

    result = deliver(store, tmp_path, with_rows(history(13), line_7=("2020-06-01", "x")))

    assert (result.num_new, result.num_same) == (1, 11)
    assert values(store)["2020-06"] == small_values(12)[5]


@pytest.mark.parametrize("keys", [{}, {"source": {"strict": True}}], ids=["default", "strict"])
def test_more_than_a_twentieth_of_bad_rows_refuses_the_delivery(
    keys: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    rows = with_rows(history(), **{f"line_{line}": (months(40)[line - 2], "x") for line in (7, 8, 9)})

    with pytest.raises(BatchRefused, match=r"3 of 40 rows rejected, at most [05] % allowed; nothing was ingested"):
        deliver(store, tmp_path, rows, **keys)

    assert values(store) == {}
    assert len(rejected(store)) == 3


def test_keys_that_are_given_win_over_both_modes(store: Store, tmp_path: Path) -> None:
    rows = with_rows(history(), line_7=("2020-06-01", "x"), line_9=("2020-08-01", ""))

    with pytest.raises(BatchRefused, match="1 of 40 rows rejected, at most 0 % allowed"):
        deliver(store, tmp_path, rows, source={"max_rejected": 0.0})
    with pytest.raises(BatchRefused, match="1 of 40 rows rejected, at most 0 % allowed"):
        deliver(store, tmp_path, rows, source={"strict": True, "missing": "gap"})
    with pytest.raises(BatchHeld, match="gaps of at most max_gap = 0"):
        deliver(store, tmp_path, rows, max_gap=0)
    with pytest.raises(BatchHeld, match="gaps of at most max_gap = 0"):
        deliver(store, tmp_path, rows, source={"strict": True, "missing": "gap", "max_rejected": 0.1})
    with pytest.raises(BatchRefused, match="2 of 40 rows rejected"):
        deliver(store, tmp_path, rows, source={"missing": "reject", "max_rejected": 0.0})

    assert deliver(store, tmp_path, rows, source={"strict": True, "max_rejected": 0.1}, max_gap=1).num_rejected == 2


def test_a_row_that_is_corrected_later_goes_in(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, with_rows(history(), line_7=("2020-06-01", "x")))

    result = deliver(store, tmp_path, history())

    assert (result.num_new, result.num_rejected, result.quarantine) == (1, 0, None)
    assert len(values(store)) == 40


def test_two_values_for_one_period_keep_what_is_stored(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, history(12))

    result = deliver(store, tmp_path, [*history(12), ("2020-05-01", "3"), ("2021-01-01", "5"), ("2021-01-01", "6")])

    assert (result.num_new, result.num_revised, result.num_rejected) == (0, 0, 4)
    assert values(store)["2020-05"] == small_values(12)[4]
    assert "2021-01" not in values(store)
    assert [row[3:5] for row in rejected(store)] == [
        ("2020-05-01", "104"),
        ("2020-05-01", "3"),
        ("2021-01-01", "5"),
        ("2021-01-01", "6"),
    ]


@pytest.mark.parametrize("empty", ["", "NaN", "NA", "null"])
def test_an_empty_value_is_a_gap_and_no_fault(empty: str, store: Store, tmp_path: Path) -> None:
    result = deliver(store, tmp_path, with_rows(history(), line_7=("2020-06-01", empty)))

    assert (result.num_new, result.num_rejected, result.num_missing) == (39, 0, 1)
    assert result.quarantine is None


def test_a_long_gap_is_a_gap(store: Store, tmp_path: Path) -> None:
    rows = history()
    del rows[10:22]

    assert deliver(store, tmp_path, rows).num_missing == 12
    assert deliver(store, tmp_path, [*rows, ("2023-05-01", "1")]).num_missing == 0


def test_the_same_faulty_row_is_reported_each_time_and_kept_once(store: Store, tmp_path: Path) -> None:
    """Though it moves to other lines, as in a file whose newest row comes first."""
    for count in range(36, 41):
        rows = with_rows(history(count), line_7=("2020-06-01", "x"))
        result = deliver(store, tmp_path, [*rows[::-1], ("2020-05-01", "3")])
        assert result.num_rejected == 3
        assert result.quarantine is not None

    kept = listed(store, "select period, text from rejected_observations order by period, text")
    assert [(str(period)[:7], text) for period, text in kept] == [
        ("2020-05", "104"),
        ("2020-05", "3"),
        ("2020-06", "x"),
    ]
    assert listed(store, "select sum(num_rejected) from batches") == [(15,)]


def test_another_fault_of_the_same_kind_is_kept_too(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, with_rows(history(), line_7=("2020-06-01", "x")))
    deliver(store, tmp_path, with_rows(history(), line_7=("2020-06-01", "x"), line_8=("2020-07-01", "x")))
    deliver(store, tmp_path, with_rows(history(), line_7=("2020-06-01", "y")))

    assert [(row[3], row[4]) for row in rejected(store)] == [
        ("2020-06-01", "x"),
        ("2020-07-01", "x"),
        ("2020-06-01", "y"),
    ]


@pytest.mark.parametrize("year", ["1902", "0203"])
def test_a_mistyped_year_is_a_faulty_row_and_no_gap_of_a_century(year: str, store: Store, tmp_path: Path) -> None:
    result = deliver(store, tmp_path, with_rows(history(), line_7=(f"{year}-06-01", "1")), frequency="MS")

    assert (result.num_new, result.num_rejected, result.num_missing) == (39, 1, 1)
    assert min(values(store)) == "2020-01"
    assert "lies further before all others than those are long" in str(result.quarantine)


def test_a_mistyped_year_among_hours_makes_no_grid_of_millions_of_periods(store: Store, tmp_path: Path) -> None:
    rows = [(f"2024-01-{1 + n // 24:02d} {n % 24:02d}:00", str(n)) for n in range(200)]

    result = deliver(store, tmp_path, with_rows(rows, line_30=("0203-01-02 04:00", "1")), frequency="h")

    assert (result.num_new, result.num_rejected) == (199, 1)


def test_a_mistyped_year_after_a_stored_history_is_found_too(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, history(30), source={"rolling": True})

    result = deliver(store, tmp_path, [("1902-06-01", "1"), *history(31)[20:]], source={"rolling": True})

    assert (result.num_new, result.num_rejected) == (1, 1)


def test_a_lone_first_value_in_a_period_of_other_series_stays(store: Store, tmp_path: Path) -> None:
    rows = [(*row, "a") for row in history()] + [("2020-01-01", "5", "b")]
    rows += [(*row, "b") for row in history()[28:]]

    result = deliver(store, tmp_path, rows, header="month,sold,shop", source={"series": "shop"})

    assert (result.num_new, result.num_rejected) == (53, 0)


def test_old_values_after_a_short_pause_stay(store: Store, tmp_path: Path) -> None:
    rows = [("2018-01-01", "5"), *history()]

    assert deliver(store, tmp_path, rows).num_new == 41


def test_a_row_that_is_no_session_is_quarantined(store: Store, tmp_path: Path) -> None:
    days = ["2024-01-04", "2024-01-05", "2024-01-06", "2024-01-08"]

    result = deliver(store, tmp_path, [(day, "1") for day in days], frequency="B", calendar="XNYS")

    assert (result.num_new, [row[-1] for row in rejected(store)]) == (3, ["is not a session of XNYS"])


def test_one_field_of_a_wide_row_is_quarantined_and_the_others_go_in(store: Store, tmp_path: Path) -> None:
    source = {"kind": "csv", "path": "small.csv", "period": "month", "layout": "wide"}
    fields = {"name": "small", "frequency": "MS", "horizon": 3, "source": source}
    recipe = validate_recipe(fields, where="small.toml").with_folder(tmp_path)
    store.recipes.register(recipe)
    write(tmp_path, with_rows([(*row, "7") for row in history(12)], line_7=("2020-06-01", "-", "7")), "month,a,b")

    result = ingest_source(recipe, store, NOW)

    assert (result.num_new, result.num_rejected) == (23, 1)
    assert [row[1:5] for row in rejected(store)] == [("a", "a", "2020-06-01", "-")]


def test_a_delivery_of_nothing_but_faults_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BatchRefused, match=r'line 2, column sold: "x" .* 2 of 2 rows rejected'):
        deliver(store, tmp_path, [("2020-01-01", "x"), ("2020-02-01", "x")])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("<!DOCTYPE html>\n<html><body>502</body></html>\n", "is not a CSV file"),
        ('{"error": {"code": 401}}', "is not a CSV file"),
        ("month,units\n2020-01-01,1\n", 'has no column "sold"'),
        ("month,sold\n", "holds a header and no rows"),
    ],
)
def test_a_delivery_that_is_wrong_as_a_whole_is_refused(content: str, says: str, store: Store, tmp_path: Path) -> None:
    recipe = small(tmp_path)
    store.recipes.register(recipe)
    (tmp_path / "small.csv").write_text(content)

    with pytest.raises(BatchRefused, match=says):
        ingest_source(recipe, store, NOW)


def test_one_lost_row_of_a_short_history_holds_nothing(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, history(12))

    result = deliver(store, tmp_path, [*history(13)[:4], *history(13)[5:]])

    assert (result.num_new, result.num_same) == (1, 11)
    with pytest.raises(BatchHeld, match="only 9 of 13 stored values are delivered again"):
        deliver(store, tmp_path, history(9))


def test_rows_that_are_rejected_were_not_lost(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, history(12))

    rows = with_rows(history(13), line_7=("2020-06-01", "x"), line_9=("2020-08-01", "x"))

    assert deliver(store, tmp_path, rows).num_same == 10


@pytest.mark.parametrize("last", ["2023-04", "2023-04-01", "2023-04-01,-", "2023-04-01,1e"])
def test_a_file_that_breaks_off_in_its_last_line_is_refused(last: str, store: Store, tmp_path: Path) -> None:
    recipe = small(tmp_path)
    store.recipes.register(recipe)
    lines = ["month,sold", *(",".join(row) for row in history(39)), last]
    (tmp_path / "small.csv").write_text("\n".join(lines))

    with pytest.raises(BatchRefused, match=r"line 41.*ends there without a newline: the file may be cut off"):
        ingest_source(recipe, store, NOW)

    (tmp_path / "small.csv").write_text("\n".join(lines) + "\n")
    assert ingest_source(recipe, store, NOW).num_new == 39


def test_a_whole_last_line_that_is_faulty_is_quarantined_though_it_has_no_newline(store: Store, tmp_path: Path) -> None:
    recipe = small(tmp_path)
    store.recipes.register(recipe)
    lines = ["month,sold", *(",".join(row) for row in history(39)), "2023-04-01,12x"]
    (tmp_path / "small.csv").write_text("\n".join(lines))

    assert ingest_source(recipe, store, NOW).num_new == 39
