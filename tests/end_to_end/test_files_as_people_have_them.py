"""CSV with a preamble, semicolons and decimal commas, and Excel, from the command line: the cases `csv-…`."""

from __future__ import annotations

import shutil
from pathlib import Path

import openpyxl
import pytest

from tests.end_to_end.shell import Typed

CASES = Path(__file__).parents[1] / "cases"
COUNTS = "72 rows read, 72 new, 0 revised, 0 unchanged"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def copy_case(case: str, folder: Path) -> str:
    shutil.copytree(CASES / case, folder, dirs_exist_ok=True)
    return str(folder / "recipe.toml")


@pytest.mark.parametrize(
    ("case", "detected"),
    [
        ("csv-preamble-lines", 'data.csv is read with delimiter ",", encoding utf-8, header in line 5'),
        (
            "csv-semicolon-decimal-comma",
            'data.csv is read with delimiter ";", decimal ",", thousands ".", encoding utf-8',
        ),
    ],
)
def test_the_file_is_taken_in_at_the_first_try_and_the_dialect_is_said(
    case: str, detected: str, folder: Path, types: Typed
) -> None:
    status, out, err = types("ingest", copy_case(case, folder))

    assert status == 0, err
    assert COUNTS in out
    assert err.count(detected) == 1


def test_what_may_be_thousands_is_asked_for_once_and_then_taken_in(folder: Path, types: Typed) -> None:
    recipe = copy_case("csv-thousands-comma", folder)

    status, _, err = types("ingest", recipe)

    assert status == 1
    assert err.splitlines()[-1] == (
        'nextperiod: data.csv line 2, column sold: "1,514" may be 1514 or 1.514, and no other number decides it: '
        'set source.thousands = "," or source.decimal = "," in the recipe'
    )

    Path(recipe).write_text(Path(recipe).read_text() + '\nthousands = ","\n')

    assert COUNTS in types("ingest", recipe)[1]


def test_the_same_table_is_taken_in_from_excel(folder: Path, types: Typed) -> None:
    recipe = Path(copy_case("csv-semicolon-decimal-comma", folder))
    workbook = openpyxl.Workbook()
    for line in (folder / "data.csv").read_text().splitlines():
        workbook.active.append(line.split(";"))
    workbook.save(folder / "data.xlsx")
    recipe.write_text(recipe.read_text().replace('"csv"', '"excel"').replace("data.csv", "data.xlsx"))

    status, out, err = types("ingest", str(recipe))

    assert status == 0, err
    assert COUNTS in out
