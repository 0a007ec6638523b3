"""Each fault of a delivery with its outcome, its message and its rejected rows, through the job on a real store.

What a source refuses before there are rows is also in `tests/sources`: half a download, error pages, encodings,
addresses. Files that are cut anywhere are in `test_bad_input`, shifts and factors in all their forms in
`test_history_checks`, local times in `test_local_times`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld, NextperiodError
from pipeline.jobs.attempt import record_attempt
from pipeline.jobs.ingest import IngestResult, ingest_source
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from tests.support.examples import NOW, SMALL_RECIPE, months, small_csv, small_values

HEADER = ("month", "sold")
LINES = small_csv().splitlines(keepends=True)
ADVICE = "; nothing was ingested; if this is right, run `nextperiod ingest small --approve`"
ALONE = "; 1 of 40 rows rejected, at most 0 % allowed; nothing was ingested"

Row = tuple[str, ...]
#: line, column, series, text and rule, as the view lists them
Rejected = tuple[int | None, str | None, str | None, str | None, str]


def history(count: int = 40) -> list[Row]:
    return [(month, str(value)) for month, value in zip(months(count), small_values(count), strict=True)]


def hours(count: int = 60) -> list[Row]:
    return [(f"2024-01-{1 + n // 24:02d} {n % 24:02d}:00", str(7 * n % 61 + n / 10)) for n in range(count)]


def of_shops(rows: Sequence[Row], *shops: str) -> list[Row]:
    return [(*row, shop) for shop in shops for row in rows]


def with_row(line: int, *row: str) -> list[Row]:
    """The history with another row in one line; the header is line 1."""
    rows = history()
    rows[line - 2] = row
    return rows


def with_value(text: str) -> list[Row]:
    return with_row(6, "2020-05-01", text)


def gap(periods: str, count: str, most: int = 0, why: str = "") -> str:
    return (
        f'small.csv: series "small" has no value for {count} between its first and its last: {periods}{why}; '
        f"expected gaps of at most max_gap = {most}: add the values, or raise max_gap{ADVICE}"
    )


def shrunk(repeated: int, stored: int, none_of: str = "") -> str:
    return (
        f"small.csv: only {repeated} of {stored} stored values are delivered again{none_of}; expected at least 95 %: has the "
        f"source lost rows? (set source.rolling = true if it shows a moving window){ADVICE}"
    )


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A delivery after the history that is stored already, and its outcome."""

    #: rows under the header, or the content of the whole file; None: there is no file
    delivered: Sequence[Row] | str | bytes | None
    #: the whole error message; None: the delivery is accepted
    message: str | None = None
    held: bool = False
    rejected: Sequence[Rejected] = ()
    #: how the attempt is recorded; one that failed leaves no batch
    status: str = "refused"
    #: of an accepted delivery: values that are new, revised, the same
    counts: tuple[int, int, int] | None = None
    stored: Sequence[Row] = field(default_factory=history)
    header: Sequence[str] = HEADER
    source: str = ""
    top: str = ""
    frequency: str = "MS"


def wrong_value(text: str, rule: str, source: str = "") -> Fault:
    return Fault(
        delivered=with_value(text),
        source=source,
        message=f'small.csv line 6, column sold: "{text}" {rule}{ALONE}',
        rejected=[(6, "sold", "small", text, rule)],
    )


def wrong_period(text: str, rule: str) -> Fault:
    return Fault(
        delivered=with_row(6, text, "104"),
        message=f'small.csv line 6, column month: "{text}" {rule}{ALONE}',
        rejected=[(6, "month", "small", text, rule)],
    )


def whole_file(
    content: str | bytes | None, message: str, rule: str, *, line: int | None = None, source: str = ""
) -> Fault:
    """A file that is refused as a whole, before anything else is stored."""
    rejected = [(line, None, None, None, rule)]
    return Fault(delivered=content, message=message, rejected=rejected, source=source, stored=[])


def with_line(number: int, text: str) -> str:
    """The small file with another text in one line; the header is line 1."""
    return "".join([*LINES[: number - 1], text, *LINES[number:]])


def different(rule: str) -> dict[str, Any]:
    return {"delivered": [*history(), ("2020-05-01", "3")], "source": f'duplicates = "{rule}"'}


CONFLICT = "is one of 2 different values for 2020-05-01 (lines 6, 42)"
NOT_A_NUMBER = "is not a number: expected digits, a point and an exponent only"
NOT_CSV = "expected a header line; an error page may have been saved in its place"
ISO = "is not a period: expected YYYY-MM-DD, as in the first row"
OFFSET = "is not a period: expected YYYY-MM-DD hh:mm, as in the first row"

FAULTS = {
    # no file, or none that can be read
    "no file": Fault(
        delivered=None,
        stored=[],
        message="there is no file {folder}/small.csv: expected a CSV file with the columns month, sold",
        status="failed",
    ),
    "an empty file": whole_file("", "small.csv is empty: expected a header line and rows", "empty"),
    "a header only": whole_file(
        LINES[0], "small.csv holds a header and no rows: expected rows with month, sold", "no rows"
    ),
    "a column missing": whole_file(
        small_csv().replace("sold", "value"),
        'small.csv has no column "sold": expected month, sold, found month, value (delimiter ",", encoding utf-8)',
        "missing column",
        line=1,
    ),
    "a column twice": whole_file(
        "month,sold,sold\n2020-01-01,1,1\n",
        'small.csv names the column "sold" 2 times: expected it once',
        "column twice",
        line=1,
    ),
    "an HTML page": whole_file(
        "<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n",
        'small.csv is not a CSV file, it begins with "<!DOCTYPE html> <html><body>502 Bad Gateway</body></html>": '
        f"{NOT_CSV}",
        "not csv",
    ),
    "a JSON error": whole_file(
        '{"error": {"code": 401}}',
        f'small.csv is not a CSV file, it begins with "{{"error": {{"code": 401}}}}": {NOT_CSV}',
        "not csv",
    ),
    "not UTF-8": whole_file(
        small_csv().encode().replace(b"104.0", b"104\xe90"),
        "small.csv is not UTF-8: byte 0xe9 at offset 92 in line 6; "
        'save it as UTF-8, or set source.encoding, such as "cp1252"',
        "encoding",
        line=6,
    ),
    "UTF-16 without its mark": whole_file(
        small_csv().encode("utf-16-le"), "small.csv holds a NUL byte at offset 1: expected text", "encoding"
    ),
    "a NUL byte": whole_file(
        small_csv().replace("104.0", "104\0"), "small.csv holds a NUL byte at offset 92: expected text", "encoding"
    ),
    "an unclosed quote": whole_file(
        with_line(6, '2020-05-01,"104\n'),
        "small.csv cannot be split into columns at line 41: unexpected end of data; the file may be cut",
        "cut",
        line=41,
    ),
    "no final newline where there always is one": whole_file(
        small_csv()[:-1],
        "small.csv ends in line 41 without a newline, which this feed always has: it may be cut; fetch it again",
        "cut",
        source="final_newline = true",
    ),
    "too few fields": Fault(
        delivered=with_line(6, "2020-05-01\n"),
        message=f'small.csv line 6: "2020-05-01" has 1 of 2 columns (is the file cut?){ALONE}',
        rejected=[(6, None, None, "2020-05-01", "has 1 of 2 columns")],
    ),
    "too many fields": Fault(
        delivered=with_line(6, "2020-05-01,1,234\n"),
        message=f'small.csv line 6: "2020-05-01,1,234" has 3 of 2 columns (is a text or a decimal comma not quoted?){ALONE}',
        rejected=[(6, None, None, "2020-05-01,1,234", "has 3 of 2 columns")],
    ),
    "more rejected than allowed": Fault(
        delivered=[*history()[:38], ("2023-03-01", "x"), ("2023-04-01", "y")],
        stored=[],
        source="max_rejected = 0.03",
        message=f'small.csv line 40, column sold: "x" {NOT_A_NUMBER}; 2 of 40 rows rejected, at most 3 % allowed; '
        "nothing was ingested",
        rejected=[(40, "sold", "small", "x", NOT_A_NUMBER), (41, "sold", "small", "y", NOT_A_NUMBER)],
    ),
    # half a file
    "half a file: the end is missing": Fault(
        delivered=history()[:37], message=shrunk(37, 40), held=True, rejected=[(None, None, None, None, "shrunk")]
    ),
    "half a file: the beginning is missing": Fault(
        delivered=history()[3:], message=shrunk(37, 40), held=True, rejected=[(None, None, None, None, "shrunk")]
    ),
    "half a file: less than a twentieth is missing": Fault(delivered=history()[2:], counts=(0, 0, 38)),
    "half a file: a moving window": Fault(delivered=history(41)[30:], source="rolling = true", counts=(1, 0, 10)),
    # duplicates
    "duplicate rows: equal": Fault(delivered=[*history(), ("2020-05-01", "104")], counts=(0, 0, 40)),
    "duplicate rows: different": Fault(
        delivered=[*history(), ("2020-05-01", "3")],
        message=f'small.csv line 6, column sold: "104" {CONFLICT}; 2 of 41 rows rejected, at most 0 % allowed; nothing was ingested',
        rejected=[(6, "sold", "small", "104", CONFLICT), (42, "sold", "small", "3", CONFLICT)],
    ),
    "duplicate rows: the first counts": Fault(**different("first"), counts=(0, 0, 40)),
    "duplicate rows: the last counts": Fault(**different("last"), counts=(0, 1, 39)),
    "out of order": Fault(delivered=history(41)[::-1], counts=(1, 0, 40)),
    # revised history
    "revised history": Fault(delivered=[("2020-01-01", "1"), *history()[1:]], counts=(0, 1, 39)),
    "revised history: too much of it": Fault(
        delivered=[(m, str(-n * n)) if n < 21 else (m, v) for n, (m, v) in enumerate(history())],
        message=f"small.csv: 21 of 40 stored values are revised, expected at most 50 % (source.max_revised){ADVICE}",
        held=True,
        rejected=[(None, None, None, None, "revised")],
    ),
    "revised history: one factor": Fault(
        delivered=[(month, f"{float(value) / 2:.2f}") for month, value in history()],
        message=f'small.csv: the values of series "small" are the stored ones times 0.5{ADVICE}',
        held=True,
        rejected=[(None, None, "small", None, "rescaled")],
    ),
    "time-zone shift: a period later": Fault(
        delivered=[(month, value) for (month, _), (_, value) in zip(history(41)[1:], history(), strict=True)],
        message=f'small.csv: the values of series "small" match the stored ones shifted by +1 period{ADVICE}',
        held=True,
        rejected=[(None, None, "small", None, "shifted")],
    ),
    "time-zone shift: a period earlier": Fault(
        delivered=[(month, value) for (month, _), (_, value) in zip(history()[:-1], history()[1:], strict=True)],
        message=f'small.csv: the values of series "small" match the stored ones shifted by -1 period{ADVICE}',
        held=True,
        rejected=[(None, None, "small", None, "shifted")],
    ),
    "time-zone shift: two hours": Fault(
        stored=hours(),
        delivered=[(hour, value) for (hour, _), (_, value) in zip(hours(62)[2:], hours(), strict=True)],
        frequency="h",
        message=f'small.csv: the values of series "small" match the stored ones shifted by +2 h{ADVICE}',
        held=True,
        rejected=[(None, None, "small", None, "shifted")],
    ),
    "DST gap": Fault(
        stored=[],
        delivered=[("2024-03-31 01:00", "1"), ("2024-03-31 02:00", "2")],
        frequency="h",
        source='zone = "Europe/Amsterdam"',
        message='small.csv line 3, column month: "2024-03-31 02:00" does not exist in Europe/Amsterdam, whose clocks skip it: '
        "2024-03-31T00:00Z or 2024-03-31T01:00Z?; 1 of 2 rows rejected, at most 0 % allowed; nothing was ingested",
        rejected=[
            (3, "month", "small", "2024-03-31 02:00", "does not exist in Europe/Amsterdam, whose clocks skip it")
        ],
    ),
    "DST fold": Fault(
        stored=[],
        delivered=[("2024-10-27 01:00", "1"), ("2024-10-27 02:00", "2")],
        frequency="h",
        source='zone = "Europe/Amsterdam"',
        message='small.csv line 3, column month: "2024-10-27 02:00" happens twice in Europe/Amsterdam: 2024-10-27T00:00Z or '
        "2024-10-27T01:00Z? expected both in the order of time, source.fold, or an offset in each row; 1 of 2 rows "
        "rejected, at most 0 % allowed; nothing was ingested",
        rejected=[(3, "month", "small", "2024-10-27 02:00", "happens twice in Europe/Amsterdam")],
    ),
    "tz-naive and offset mixed": Fault(
        stored=[],
        delivered=[("2024-01-01 00:00", "1"), ("2024-01-01T01:00+00:00", "2")],
        frequency="h",
        message=f'small.csv line 3, column month: "2024-01-01T01:00+00:00" {OFFSET}; 1 of 2 rows rejected, at most 0 % allowed; '
        "nothing was ingested",
        rejected=[(3, "month", "small", "2024-01-01T01:00+00:00", OFFSET)],
    ),
    # numbers
    "text": wrong_value("many", NOT_A_NUMBER),
    "a word": wrong_value("abc", NOT_A_NUMBER),
    "NaN": wrong_value("NaN", "is missing"),
    "empty": wrong_value("", "is missing"),
    "NaN as a gap": Fault(delivered=with_value("NaN"), source='missing = "gap"', counts=(0, 0, 39)),
    "empty as a gap": Fault(
        stored=[], delivered=with_value(""), source='missing = "gap"', top="max_gap = 1", counts=(39, 0, 0)
    ),
    "NaN as a gap that is too long": Fault(
        stored=[],
        delivered=with_value("NaN"),
        source='missing = "gap"',
        message=gap("2020-05-01", "1 period"),
        held=True,
        rejected=[(None, None, "small", "2020-05-01", "gap")],
    ),
    "empty as a gap that is too long": Fault(
        stored=[],
        delivered=with_value(""),
        source='missing = "gap"',
        message=gap("2020-05-01", "1 period"),
        held=True,
        rejected=[(None, None, "small", "2020-05-01", "gap")],
    ),
    "inf": wrong_value("inf", "is not finite"),
    "-inf": wrong_value("-inf", "is not finite"),
    "-Infinity": wrong_value("-Infinity", "is not finite"),
    "1e999": wrong_value("1e999", "is not finite"),
    "1e300": wrong_value("1e300", "is larger than 1e+15, the recipe's source.limit"),
    "over the recipe's own limit": Fault(
        delivered=[("2020-01-01", "1"), ("2020-02-01", "-121")],
        stored=[],
        source="limit = 120.0",
        message='small.csv line 3, column sold: "-121" is larger than 120, the recipe\'s source.limit; 1 of 2 rows rejected, '
        "at most 0 % allowed; nothing was ingested",
        rejected=[(3, "sold", "small", "-121", "is larger than 120, the recipe's source.limit")],
    ),
    "negative": wrong_value("-1", "is below 0, the recipe's source.minimum", "minimum = 0.0"),
    "negative is a value": Fault(delivered=with_value("-1"), counts=(0, 1, 39)),
    "above the maximum": wrong_value("1001", "is above 1000, the recipe's source.maximum", "maximum = 1000.0"),
    "zero": wrong_value("0", "is zero, which the recipe's source.allow_zero excludes", "allow_zero = false"),
    "zero is a value": Fault(delivered=with_value("0"), counts=(0, 1, 39)),
    "constant": Fault(stored=[], delivered=[(month, "5") for month in months(40)], counts=(40, 0, 0)),
    # periods and series
    "frequency change": Fault(
        delivered=history()[::3],
        top="max_gap = 6",
        message='small.csv: most values are 3 periods apart, expected 1 at the frequency "MS": did the source '
        f"change its frequency?{ADVICE}",
        held=True,
        rejected=[(None, None, None, None, "frequency")],
    ),
    "frequency change: a gap": Fault(
        stored=[],
        delivered=history()[:4] + history()[5:],
        message=gap("2020-05-01", "1 period"),
        held=True,
        rejected=[(None, None, "small", "2020-05-01", "gap")],
    ),
    "off the frequency": wrong_period("2020-05-02", 'is not on the frequency "MS"'),
    "another form": wrong_period("05/01/2020", ISO),
    "another form: a month": wrong_period("2020-05", ISO),
    "another form: a time": wrong_period("2020-05-01 00:00", ISO),
    "another form: an offset": wrong_period("2020-05-01T00:00:00Z", ISO),
    "no day of any month": wrong_period("2020-05-32", ISO),
    "no period": wrong_period("", ISO),
    "a weekend": Fault(
        stored=[],
        delivered=[("2024-01-05", "1"), ("2024-01-06", "2"), ("2024-01-08", "3")],
        frequency="B",
        top='calendar = "XNYS"',
        message='small.csv line 3, column month: "2024-01-06" is not a session of XNYS; 1 of 3 rows rejected, '
        "at most 0 % allowed; nothing was ingested",
        rejected=[(3, "month", "small", "2024-01-06", "is not a session of XNYS")],
    ),
    "new series": Fault(
        header=(*HEADER, "shop"),
        source='series = "shop"',
        stored=of_shops(history(), "a"),
        delivered=of_shops(history(), "a") + of_shops(history(3), "b"),
        counts=(3, 0, 40),
    ),
    "vanished series": Fault(
        header=(*HEADER, "shop"),
        source='series = "shop"',
        stored=of_shops(history(10), *map(str, range(19))),
        delivered=of_shops(history(10), *map(str, range(18))),
        message=shrunk(180, 190, ', none of series "18"'),
        held=True,
        rejected=[(None, None, None, None, "shrunk")],
    ),
    "vanished series: one of many": Fault(
        header=(*HEADER, "shop"),
        source='series = "shop"',
        stored=of_shops(history(10), *map(str, range(20))),
        delivered=of_shops(history(10), *map(str, range(19))),
        counts=(0, 0, 190),
    ),
    "0 rows": Fault(
        delivered=[],
        message="small.csv holds a header and no rows: expected rows with month, sold",
        rejected=[(None, None, None, None, "no rows")],
    ),
    "0 rows: nothing new": Fault(delivered=[], source='on_empty = "keep"', counts=(0, 0, 0)),
    "schema drift: a renamed column": Fault(
        delivered=history(),
        header=("month", "units"),
        message='small.csv has no column "sold": expected month, sold, found month, units (delimiter ",", encoding utf-8)',
        rejected=[(1, None, None, None, "missing column")],
    ),
    "schema drift: an extra column": Fault(
        delivered=[(*row, "x") for row in history(41)], header=(*HEADER, "note"), counts=(1, 0, 40)
    ),
    "schema drift: an extra column is a fault": Fault(
        delivered=[(*row, "x") for row in history()],
        header=(*HEADER, "note"),
        source='extra_columns = "error"',
        message="small.csv has columns that the recipe does not name: note; expected month, sold",
        rejected=[(1, None, None, None, "extra column")],
    ),
    "future timestamps": wrong_period("2026-01-03", "lies in the future"),
    "future timestamps: a year ahead": wrong_period("2027-01-01", "lies in the future"),
    "future timestamps: three years ahead": wrong_period("2029-01-01", "lies in the future"),
    "future timestamps: the last month of the calendar": wrong_period("9999-12-01", "lies in the future"),
    "clock skew": Fault(
        stored=[], delivered=[("2026-01-01 23:00", "1"), ("2026-01-02 00:00", "2")], frequency="h", counts=(2, 0, 0)
    ),
}


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """An empty store in SQLite."""
    database = open_database(f"sqlite:///{tmp_path}/store.db")
    require_schema(database)
    yield Store(database)
    database.close()


def listed(store: Store, query: str) -> list[Any]:
    with store.database.read() as transaction:
        return list(transaction.connection.execute(sa.text(query)).all())


def everything_kept(store: Store) -> dict[str, list[Any]]:
    tables = ("series_variables", "observations", "revisions", "attributes")
    tables += ("models", "model_files", "runs", "forecasts", "scores", "outbox")
    return {table: listed(store, f"select * from {table}") for table in tables} | {
        "batches": listed(store, "select * from batches where status = 'accepted'")
    }


def write(folder: Path, header: Sequence[str], delivered: Sequence[Row] | str | bytes | None) -> None:
    """Write the rows under their header, or the content as it is; with None there is no file."""
    if delivered is None:
        return
    if not isinstance(delivered, str | bytes):
        delivered = "".join(f"{','.join(row)}\n" for row in (header, *delivered))
    (folder / "small.csv").write_bytes(delivered.encode() if isinstance(delivered, str) else delivered)


def recipe_of(fault: Fault, folder: Path, *, strict: bool = True) -> Recipe:
    source = f"{fault.source}\nstrict = {str(strict).lower()}"
    text = SMALL_RECIPE.format(source=source).replace('"MS"', f'"{fault.frequency}"')
    return parse_recipe(f"{fault.top}\n{text}", where="small.toml", folder=folder)


def ingest(recipe: Recipe, store: Store) -> IngestResult:
    with record_attempt(recipe, store, "ingest", lambda: NOW):
        return ingest_source(recipe, store, NOW)


def recipe_with_history(fault: Fault, store: Store, folder: Path, *, strict: bool = True) -> Recipe:
    """The recipe of a delivery, after the history before it was stored."""
    recipe = recipe_of(fault, folder, strict=strict)
    if fault.stored:
        lenient = recipe.source.model_copy(update={"limit": 1e15, "minimum": None, "maximum": None, "allow_zero": True})
        write(folder, HEADER if len(fault.stored[0]) == 2 else fault.header, fault.stored)
        ingest(recipe.model_copy(update={"source": lenient}), store)
    return recipe


def assert_refused_or_held(fault: Fault, store: Store, folder: Path, *, strict: bool = True) -> None:
    """Ingest a faulty delivery: one sentence, an attempt, a batch and its rejected rows, and nothing else is kept."""
    recipe = recipe_with_history(fault, store, folder, strict=strict)
    before = everything_kept(store)
    write(folder, fault.header, fault.delivered)

    with pytest.raises(NextperiodError) as refused:
        ingest(recipe, store)

    message = str(refused.value)
    assert message == str(fault.message).replace("{folder}", str(folder))
    assert message.isprintable()
    assert len(message) < 500
    assert isinstance(refused.value, BatchHeld) == fault.held
    assert everything_kept(store) == before
    batches = listed(store, "select status, message from batches where status <> 'accepted'")
    assert batches == ([] if fault.status == "failed" else [("held" if fault.held else "refused", message)])
    attempts = listed(store, "select command, status, error from attempts order by attempt_id")
    assert attempts == [("ingest", "done", None)] * bool(fault.stored) + [("ingest", fault.status, message)]
    (state,) = store.recipes.status()
    assert (state["last_attempt_status"], state["last_error"], state["latest_origin"]) == (fault.status, message, None)
    rejected = listed(store, "select line, column_name, series, text, rule from rejected_observations order by line")
    assert [tuple(row[:4]) for row in rejected] == [row[:4] for row in fault.rejected]
    assert all(row.rule.startswith(expected[4]) for row, expected in zip(rejected, fault.rejected, strict=True))


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.message])
def test_a_faulty_delivery_is_refused_or_held_in_one_sentence_and_nothing_of_it_is_kept(
    name: str, tmp_path: Path, sqlite_store: Store
) -> None:
    assert_refused_or_held(FAULTS[name], sqlite_store, tmp_path)


def concerns_rows(fault: Fault) -> bool:
    """Whether a fault is one of some rows, which only a strict recipe takes for a fault of the delivery."""
    return any(text in str(fault.message) for text in ("at most 0 % allowed", "at most max_gap"))


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.message and not concerns_rows(fault)])
def test_a_delivery_that_is_wrong_as_a_whole_is_refused_or_held_by_default_too(
    name: str, tmp_path: Path, sqlite_store: Store
) -> None:
    assert_refused_or_held(FAULTS[name], sqlite_store, tmp_path, strict=False)


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if concerns_rows(fault)])
def test_by_default_only_the_faulty_rows_are_rejected(name: str, tmp_path: Path, sqlite_store: Store) -> None:
    fault = FAULTS[name]
    assert fault.delivered is not None
    recipe = recipe_with_history(fault, sqlite_store, tmp_path, strict=False)
    write(tmp_path, fault.header, fault.delivered)

    result = ingest(recipe, sqlite_store)

    faulty = [row for row in fault.rejected if row[0] is not None and row[4] != "is missing"]
    rejected = listed(sqlite_store, "select line, column_name, series, text from rejected_observations order by line")
    assert rejected == [row[:4] for row in faulty]
    assert result.num_rejected == len(faulty)
    assert result.num_new + result.num_same > 0


@pytest.mark.parametrize("name", ["text", "NaN", "duplicate rows: different", "too many fields"])
def test_both_databases_keep_what_was_rejected(name: str, tmp_path: Path, store: Store) -> None:
    assert_refused_or_held(FAULTS[name], store, tmp_path)


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if not fault.message])
def test_what_only_looks_like_a_fault_is_accepted(name: str, tmp_path: Path, sqlite_store: Store) -> None:
    fault = FAULTS[name]
    assert fault.counts is not None
    assert fault.delivered is not None
    recipe = recipe_with_history(fault, sqlite_store, tmp_path)
    write(tmp_path, fault.header, fault.delivered)

    result = ingest(recipe, sqlite_store)

    assert (result.num_new, result.num_revised, result.num_same) == fault.counts
    assert result.num_read == len(fault.delivered)
    assert listed(sqlite_store, "select status, num_new from batches order by batch_id desc limit 1") == [
        ("accepted", fault.counts[0])
    ]
    assert listed(sqlite_store, "select * from rejected_observations") == []


@pytest.mark.parametrize("held", [False, True], ids=["accepted", "held"])
def test_rows_within_the_allowed_share_are_kept_with_their_place_and_rule(
    held: bool, tmp_path: Path, sqlite_store: Store
) -> None:
    fault = Fault(delivered=[], source='max_rejected = 0.2\nseries = "shop"', header=(*HEADER, "shop"))
    rows = [*of_shops(history(), "a"), ("2020-01-01", "x", "b"), ("2020-13-01", "1", "b"), ("2027-01-01", "1", "b")]
    rows += [("2020-02-02", "1", "b"), ("2023-04-01", "7", "a"), ("2020-01-01", "1", " ")]
    rows += of_shops(history()[::10], "c") if held else []
    write(tmp_path, fault.header, rows)

    try:
        num_rejected = ingest(recipe_of(fault, tmp_path), sqlite_store).num_rejected
    except BatchHeld:
        num_rejected = 8

    conflict = "is one of 2 different values for 2023-04-01 (lines 41, 46)"
    own = [(None, None, "c", "2020-02-01, 2020-03-01, 2020-04-01, 2020-05-01, 2020-06-01, …", "gap")] if held else []
    assert listed(
        sqlite_store, "select line, column_name, series, text, rule from rejected_observations order by line"
    ) == [
        *own,
        (41, "sold", "a", "129", conflict),
        (42, "sold", "b", "x", NOT_A_NUMBER),
        (43, "month", "b", "2020-13-01", ISO),
        (44, "month", "b", "2027-01-01", "lies in the future"),
        (45, "month", "b", "2020-02-02", 'is not on the frequency "MS"'),
        (46, "sold", "a", "7", conflict),
        (47, "shop", "", "", "is not a name of a series: expected visible characters"),
    ]
    assert listed(sqlite_store, "select status, num_rejected from batches") == [
        ("held" if held else "accepted", 7 + len(own))
    ]
    assert num_rejected == 7 + len(own)


def test_a_rejected_row_names_its_file_where_the_source_has_several(tmp_path: Path, sqlite_store: Store) -> None:
    rows = history()
    for name, part in (("part-1.csv", rows[:20]), ("part-2.csv", [*rows[20:-1], (rows[-1][0], "x")])):
        write(tmp_path, HEADER, part)
        (tmp_path / "small.csv").rename(tmp_path / name)
    recipe = recipe_of(FAULTS["NaN"], tmp_path)
    recipe = recipe.model_copy(update={"source": recipe.source.model_copy(update={"path": "part-*.csv"})})
    recipe._folder = tmp_path

    with pytest.raises(NextperiodError) as refused:
        ingest(recipe, sqlite_store)

    assert str(refused.value).startswith('part-*.csv part-2.csv line 21, column sold: "x" is not a number')
    assert listed(sqlite_store, "select source, line from rejected_observations") == [("part-2.csv", 21)]
