"""Excel files as a source: cells with their types, what people put around a table, and files that are refused."""

from __future__ import annotations

import io
import logging
import sys
import zipfile
from collections.abc import Sequence
from datetime import datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchRefused, SourceMissing
from pipeline.sources import excel_file
from pipeline.sources.registry import fetch
from tests.sources.fetching import FIRST_FETCH, names_in, read, read_refused, recipe_with, rows_in
from tests.support.deliveries import Ingested, ingest_delivery

SOURCE = 'kind = "excel"\npath = "sales.xlsx"\nperiod = "month"\nvalue = "sold"\n'
HEADER = ("month", "sold")
JANUARY, FEBRUARY, MARCH = (datetime(2020, month, 1) for month in (1, 2, 3))
ROWS = [(JANUARY, 1513.82), (FEBRUARY, 980), (MARCH, 12.5)]


def fill(sheet: Worksheet, rows: Sequence[Sequence[Any]]) -> None:
    for row in rows:
        sheet.append(row)


def written(folder: Path, rows: Sequence[Sequence[Any]], source: str = "") -> Recipe:
    workbook = openpyxl.Workbook()
    fill(workbook.active, rows)
    workbook.save(folder / "sales.xlsx")
    return recipe_with(SOURCE + source, folder)


def ingest(recipe: Recipe) -> Ingested:
    with fetch(recipe, FIRST_FETCH) as delivery:
        return ingest_delivery(delivery, recipe)


def refusal(recipe: Recipe) -> BatchRefused:
    """The error with which a file is refused where one faulty row is enough."""
    strict = recipe.source.model_copy(update={"strict": True, "missing": "reject", "max_rejected": 0.0})
    with pytest.raises(BatchRefused) as refused:
        ingest(recipe.model_copy(update={"source": strict}))
    assert "\n" not in str(refused.value)
    return refused.value


def test_dates_and_numbers_keep_their_types(tmp_path: Path) -> None:
    _, chunks = read(written(tmp_path, [HEADER, *ROWS]))

    assert rows_in(chunks) == [(2, ROWS[0]), (3, ROWS[1]), (4, ROWS[2])]
    assert ingest(recipe_with(SOURCE, tmp_path)).new == {
        ("small", "2020-01-01T00:00"): 1513.82,
        ("small", "2020-02-01T00:00"): 980,
        ("small", "2020-03-01T00:00"): 12.5,
    }


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1.513,82", "980", "12,5"], [1513.82, 980, 12.5]),
        (["1,513.82", "980", 12.5], [1513.82, 980, 12.5]),
        ([1513.82, " 980 ", "12.5"], [1513.82, 980, 12.5]),
        ([1.514, "1.514,5", 12], [1.514, 1514.5, 12]),
        (["1 513,82 €", 980, "12,5"], [1513.82, 980, 12.5]),
    ],
)
def test_numbers_that_are_written_as_text_are_read_beside_those_that_are_not(
    tmp_path: Path, texts: list[Any], values: list[float]
) -> None:
    rows = zip([JANUARY, FEBRUARY, MARCH], texts, strict=True)

    assert ingest(written(tmp_path, [HEADER, *rows])).values == values


def test_a_text_that_may_be_thousands_or_decimals_is_asked_for(tmp_path: Path) -> None:
    rows = [HEADER, (JANUARY, 12), (FEBRUARY, "1,514")]

    assert str(refusal(written(tmp_path, rows))) == (
        'sales.xlsx row 3, column sold: "1,514" may be 1514 or 1.514, and no other number decides it: '
        'set source.thousands = "," or source.decimal = "," in the recipe'
    )
    assert ingest(written(tmp_path, rows, 'thousands = ","')).values == [12, 1514]


def test_texts_that_are_no_numbers_are_rejected_with_their_row(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, [HEADER, (JANUARY, 12.5), (FEBRUARY, "many"), (MARCH, True)]))

    assert [(rejection.line, rejection.text) for rejection in error.rejections] == [(3, "many"), (4, "true")]


def test_what_is_not_available_is_missing(tmp_path: Path) -> None:
    recipe = written(tmp_path, [HEADER, (JANUARY, 12.5), (FEBRUARY, "#N/A"), (MARCH, 13)], 'missing = "gap"')

    assert [row[1] for _, row in rows_in(read(recipe)[1])] == [12.5, None, 13]


def test_dates_as_text_stand_beside_dates(tmp_path: Path) -> None:
    assert ingest(written(tmp_path, [HEADER, ("2020-01-01", 1), (FEBRUARY, 2), ("2020-03-01", 3)])).values == [1, 2, 3]


def test_titles_blank_rows_totals_and_remarks_are_no_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    around = [("Sales of all shops",), (), ("in thousands", None, None), (" month ", "sold ", "")]
    rows = [*around, ROWS[0], (), *ROWS[1:], ("Total", 2506.32), (), ("Source: tills",), ("provisional",)]

    _, chunks = read(written(tmp_path, rows))

    assert [line for line, _ in rows_in(chunks)] == [5, 7, 8]
    assert names_in(chunks) == ["month", "sold"]
    assert caplog.messages == [
        "sales.xlsx: 3 rows after the data are left out",
        'sales.xlsx is read from the sheet "Sheet", header in row 4',
    ]


def test_keys_name_the_rows_around_the_table(tmp_path: Path) -> None:
    rows = [("month", "sold", "old"), (), HEADER, *ROWS, ("Berlin", 7)]

    assert len(ingest(written(tmp_path, rows, "skip_rows = 2\nskip_footer = 1")).values) == 3
    assert "rows rejected" in str(refusal(written(tmp_path, rows, "skip_rows = 2")))


def test_a_merged_title_and_hidden_rows_change_nothing(tmp_path: Path) -> None:
    recipe = written(tmp_path, [("Sales", None), HEADER, *ROWS])
    workbook = openpyxl.load_workbook(tmp_path / "sales.xlsx")
    workbook.active.merge_cells("A1:B1")
    workbook.active.row_dimensions[4].hidden = True
    workbook.save(tmp_path / "sales.xlsx")

    assert ingest(recipe).values == [1513.82, 980, 12.5]


def test_a_wide_table_may_have_numbers_and_dates_as_names(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    fill(workbook.active, [("month", 12, None, datetime(2020, 1, 1)), (JANUARY, 1, "x", 2), (FEBRUARY, 3, None, 4)])
    workbook.save(tmp_path / "sales.xlsx")
    recipe = recipe_with('kind = "excel"\npath = "sales.xlsx"\nlayout = "wide"\nperiod = "month"', tmp_path)

    assert names_in(read(recipe)[1]) == ["month", "12", "2020-01-01"]
    assert ingest(recipe).values == [1, 3, 2, 4]


def workbook_of(folder: Path, sheets: dict[str, Sequence[Sequence[Any]]], *, hidden: str | None = None) -> None:
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for name, rows in sheets.items():
        fill(workbook.create_sheet(name), rows)
        workbook[name].sheet_state = "hidden" if name == hidden else "visible"
    workbook.save(folder / "sales.xlsx")


def test_the_only_sheet_with_the_columns_is_read(tmp_path: Path) -> None:
    workbook_of(tmp_path, {"notes": [("about",), ("us",)], "data": [HEADER, *ROWS]})

    assert len(ingest(recipe_with(SOURCE, tmp_path)).values) == 3


def test_of_several_sheets_with_the_columns_one_is_asked_for(tmp_path: Path) -> None:
    workbook_of(tmp_path, {"2020": [HEADER, *ROWS], "2021": [HEADER, (JANUARY, 7)]})

    error = refusal(recipe_with(SOURCE, tmp_path))

    assert (
        str(error) == 'sales.xlsx has the named columns in the sheets "2020", "2021": set source.sheet to one of them'
    )
    assert ingest(recipe_with(SOURCE + 'sheet = "2021"', tmp_path)).values == [7]


def test_hidden_sheets_are_read_only_by_name(tmp_path: Path) -> None:
    workbook_of(tmp_path, {"old": [HEADER, (JANUARY, 7)], "data": [HEADER, *ROWS]}, hidden="old")

    assert len(ingest(recipe_with(SOURCE, tmp_path)).values) == 3
    assert ingest(recipe_with(SOURCE + 'sheet = "old"', tmp_path)).values == [7]


def test_a_sheet_that_is_not_there_is_reported_with_those_that_are(tmp_path: Path) -> None:
    recipe = written(tmp_path, [HEADER, *ROWS], 'sheet = "data"')

    assert str(read_refused(recipe)) == 'sales.xlsx has no sheet "data": expected source.sheet, found "Sheet"'


def test_a_missing_column_is_reported_with_those_that_are_there(tmp_path: Path) -> None:
    rows = [("Umsatz",), ("Monat", "Verkauft"), (JANUARY, 1), (FEBRUARY, 2)]

    assert str(refusal(written(tmp_path, rows))) == (
        'sales.xlsx has no column "month": expected month, sold, found Monat, Verkauft'
    )


def test_a_formula_counts_with_its_stored_result(tmp_path: Path) -> None:
    recipe = written(tmp_path, [HEADER, (JANUARY, 1), (FEBRUARY, "=B2*2")])
    replace_part(tmp_path / "sales.xlsx", "xl/worksheets/sheet1.xml", b"<v></v>", b"<v>2</v>", b"<v />", b"<v>2</v>")

    assert ingest(recipe).values == [1, 2]


def test_a_formula_without_its_result_is_refused(tmp_path: Path) -> None:
    recipe = written(tmp_path, [HEADER, (JANUARY, 1), (FEBRUARY, "=B2*2")], 'missing = "gap"')

    assert str(read_refused(recipe)) == (
        "sales.xlsx row 3, column sold holds a formula without its result: open the file in Excel and save it"
    )


def replace_part(path: Path, name: str, *replacements: bytes) -> None:
    """Write a part of a file again with other bytes in place of some."""
    with zipfile.ZipFile(path) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    for old, new in zip(replacements[::2], replacements[1::2], strict=True):
        parts[name] = parts[name].replace(old, new)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, content in parts.items():
            archive.writestr(part, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no .xlsx file that can be read, it may be cut"),
        (b"month,sold\n2020-01-01,1\n", "is no .xlsx file that can be read, it may be cut"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "it is an old or an encrypted Excel file: save it as .xlsx without a"),
    ],
)
def test_a_file_that_is_no_excel_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "sales.xlsx").write_bytes(content)

    assert message in str(read_refused(recipe_with(SOURCE, tmp_path)))


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
def test_a_file_that_is_cut_is_refused(tmp_path: Path, kept: float) -> None:
    recipe = written(tmp_path, [HEADER, *ROWS])
    content = (tmp_path / "sales.xlsx").read_bytes()
    (tmp_path / "sales.xlsx").write_bytes(content[: int(kept * len(content))])

    assert "is no .xlsx file that can be read" in str(read_refused(recipe))


@pytest.mark.parametrize("old", [b"</row>", b"<sheetData>", b't="n"'])
def test_a_damaged_sheet_is_refused_in_one_line(tmp_path: Path, old: bytes) -> None:
    recipe = written(tmp_path, [HEADER, *ROWS])
    replace_part(tmp_path / "sales.xlsx", "xl/worksheets/sheet1.xml", old, b"<")

    assert "is no .xlsx file that can be read" in str(read_refused(recipe))


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sales.xlsx", "w") as archive:
        archive.writestr("readme.txt", "hello")

    assert "is no .xlsx file that can be read: KeyError" in str(read_refused(recipe_with(SOURCE, tmp_path)))


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    recipe = written(tmp_path, [HEADER, *ROWS])
    with zipfile.ZipFile(tmp_path / "sales.xlsx", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet9.xml", b" " * (80 << 20))

    assert "unpacks to far more than an Excel file does" in str(read_refused(recipe))
    assert "is larger than 0.01 GiB" in str(read_refused(recipe_with(SOURCE + "max_gib = 0.01", tmp_path)))


def test_far_off_cells_take_no_memory(tmp_path: Path) -> None:
    recipe = written(tmp_path, [HEADER, *ROWS])
    replace_part(
        tmp_path / "sales.xlsx",
        "xl/worksheets/sheet1.xml",
        b'<dimension ref="A1:B4"',
        b'<dimension ref="A1:XFD1048576"',
        b"</sheetData>",
        b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>',
    )

    error = refusal(recipe)

    assert [(rejection.line, rejection.column) for rejection in error.rejections] == [(1_048_576, "month")]


def test_rows_beyond_the_last_of_excel_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel_file, "MAX_ROWS", 1000)
    recipe = written(tmp_path, [HEADER, *ROWS])
    replace_part(
        tmp_path / "sales.xlsx",
        "xl/worksheets/sheet1.xml",
        b"</sheetData>",
        b'<row r="999999999"><c r="A999999999"><v>1</v></c></row></sheetData>',
    )

    assert 'has more rows or cells in the sheet "Sheet" than can be read' in str(read_refused(recipe))


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    recipe = written(tmp_path, [HEADER, *ROWS])
    lines = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10 if n else b"a" * 10) for n in range(12))
    replace_part(
        tmp_path / "sales.xlsx",
        "xl/worksheets/sheet1.xml",
        b"<worksheet ",
        b"<!DOCTYPE worksheet [" + lines + b"]><worksheet ",
        b"<v>980</v>",
        b"<v>&a11;</v>",
    )

    assert "is no .xlsx file that can be read" in str(read_refused(recipe))


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = written(tmp_path, [HEADER, *ROWS])
    monkeypatch.setitem(sys.modules, "openpyxl", None)

    with pytest.raises(SourceMissing) as missing:
        read(recipe)

    assert str(missing.value) == (
        "the source of the recipe needs openpyxl, which is not installed: pip install nextperiod[excel]"
    )


def test_an_excel_file_that_is_read_as_csv_is_recognised(tmp_path: Path) -> None:
    written(tmp_path, [HEADER, *ROWS])
    recipe = recipe_with(SOURCE.replace('"excel"', '"csv"'), tmp_path)

    assert 'for Excel use kind = "excel"' in str(read_refused(recipe))


def test_several_files_are_read_in_order(tmp_path: Path) -> None:
    for name, row in [("a.xlsx", ROWS[0]), ("b.xlsx", ROWS[1])]:
        workbook = openpyxl.Workbook()
        fill(workbook.active, [HEADER, row])
        workbook.save(tmp_path / name)
    recipe = recipe_with(SOURCE.replace("sales.xlsx", "*.xlsx"), tmp_path)

    assert ingest(recipe).values == [1513.82, 980]


def test_a_time_of_day_is_no_period(tmp_path: Path) -> None:
    assert "is not a period" in str(refusal(written(tmp_path, [HEADER, (time(6, 30), 1)])))


def test_an_empty_sheet_is_refused(tmp_path: Path) -> None:
    assert 'sales.xlsx has no cells in the sheet "Sheet"' in str(read_refused(written(tmp_path, [])))
    assert "holds a header and no rows" in str(read_refused(written(tmp_path, [HEADER])))
    assert io.BytesIO((tmp_path / "sales.xlsx").read_bytes()).read(2) == b"PK"
