"""A CSV file as a source: what is read, and which files are refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import BatchRefused, NextperiodError, Rejection, SourceMissing
from pipeline.observations import RawBatch
from pipeline.recipe import parse_recipe
from pipeline.sources.csv_file import read_csv
from tests.examples import small_recipe

TWO_ROWS = [("2020-01-01", "1", "small"), ("2020-02-01", "2.5", "small")]


def read(folder: Path, content: str | bytes, source: str = "") -> RawBatch:
    (folder / "small.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(small_recipe(folder, source))


def refusal(folder: Path, content: str | bytes, source: str = "") -> BatchRefused:
    with pytest.raises(BatchRefused) as refused:
        read(folder, content, source)
    return refused.value


def fields(batch: RawBatch) -> list[tuple[str, str, str]]:
    return [(row.period, row.value, row.series) for row in batch.rows]


@pytest.mark.parametrize(
    "content",
    [
        "month,sold\n2020-01-01,1\n2020-02-01,2.5\n",
        "month,sold\r\n2020-01-01,1\r\n2020-02-01,2.5\r\n",
        "month,sold\r2020-01-01,1\r2020-02-01,2.5\r",
        "\ufeffmonth,sold\n2020-01-01,1\n2020-02-01,2.5\n",
        '"month","sold"\n"2020-01-01","1"\n"2020-02-01",2.5\n',
        " month , sold \n2020-01-01 , 1\n 2020-02-01,2.5 \n",
        "sold,month\n1,2020-01-01\n2.5,2020-02-01\n",
        'shop,month,sold,note\nx,2020-01-01,1,\ny,2020-02-01,2.5,"a, b"\n',
        "note,month,sold,note\n,2020-01-01,1,\n,2020-02-01,2.5,\n",
        "month,sold\n2020-01-01,1\n\n2020-02-01,2.5\n \n",
        "month,sold\n2020-01-01,1\n2020-02-01,2.5",
    ],
    ids=[
        "plain",
        "CRLF",
        "CR",
        "byte order mark",
        "quoted",
        "spaces",
        "columns in another order",
        "extra columns",
        "an extra column twice",
        "blank lines",
        "no final newline",
    ],
)
def test_the_same_rows_are_read_however_the_file_is_written(tmp_path: Path, content: str) -> None:
    assert fields(read(tmp_path, content)) == TWO_ROWS


def test_rows_keep_their_own_order_and_line(tmp_path: Path) -> None:
    batch = read(tmp_path, 'month,sold,note\n2020-02-01,2,"two\nlines"\n\n2020-01-01,1,\n')

    assert [(row.line, row.period) for row in batch.rows] == [(3, "2020-02-01"), (5, "2020-01-01")]


def test_names_of_series_stay_text(tmp_path: Path) -> None:
    content = "month,sold,shop\n2020-01-01,1,NA\n2020-01-01,2,007\n2020-01-01,3,1e5\n2020-01-01,4,TRUE\n"

    batch = read(tmp_path, content, 'series = "shop"')

    assert [row.series for row in batch.rows] == ["NA", "007", "1e5", "TRUE"]


def test_a_file_says_whether_its_last_line_was_ended(tmp_path: Path) -> None:
    assert read(tmp_path, "month,sold\n2020-01-01,1\n").ended
    assert not read(tmp_path, "month,sold\n2020-01-01,1").ended


def test_a_feed_that_always_ends_its_last_line_is_refused_where_it_does_not(tmp_path: Path) -> None:
    error = refusal(tmp_path, "month,sold\n2020-01-01,1\n2020-02-01,2", "final_newline = true")

    assert str(error) == (
        "small.csv ends in line 3 without a newline, which this feed always has: it may be cut; fetch it again"
    )
    assert error.rejections == (Rejection(rule="cut"),)
    assert fields(read(tmp_path, "month,sold\n2020-01-01,1\n", "final_newline = true")) == TWO_ROWS[:1]


def test_a_row_with_too_few_or_too_many_fields_is_kept_as_rejected(tmp_path: Path) -> None:
    batch = read(tmp_path, "month,sold\n2020-01-01\n2020-02-01,2.5\n2020-03-01,3,4\n")

    assert fields(batch) == TWO_ROWS[1:]
    assert [(one.line, one.text, one.rule[:18]) for one in batch.rejections] == [
        (2, "2020-01-01", "has 1 of 2 columns"),
        (4, "2020-03-01,3,4", "has 3 of 2 columns"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "small.csv is empty: expected a header line and rows"),
        ("\ufeff", "small.csv is empty"),
        (" \r\n\n", "small.csv is empty"),
        ("month,sold\n", "small.csv holds a header and no rows: expected rows with month, sold"),
        ("month,sold", "small.csv holds a header and no rows"),
        ("month,sold\n\n\n", "small.csv holds a header and no rows"),
        ("month,value\n2020-01-01,1\n", 'small.csv has no column "sold": expected month, sold, found month, value'),
        ("Month,sold\n2020-01-01,1\n", 'small.csv has no column "month": expected month, sold, found Month, sold'),
        ("month;sold\n2020-01-01;1\n", 'small.csv has no column "month": expected month, sold, found month;sold'),
        ("2020-01-01,1\n2020-02-01,2\n", 'small.csv has no column "month": expected month, sold, found 2020-01-01, 1'),
        ("month,sold,sold\n2020-01-01,1,1\n", 'small.csv names the column "sold" 2 times: expected it once'),
        (
            "<!doctype html>\n<title>Log in",
            'small.csv is not a CSV file, it begins with "<!doctype html> <title>Log in"',
        ),
        ('\n  {"error": "no"}', 'small.csv is not a CSV file, it begins with "{"error": "no"}"'),
        ("<\x1b[31mred", r'it begins with "<\x1b[31mred": expected a header line; an error page may have been saved'),
        ('[{"error": "no"}]', 'small.csv has no column "month": expected month, sold, found [{"error": "no"}]'),
        (
            'month,sold\n2020-01-01,"1\n2020-02-01,2\n',
            "small.csv cannot be split into columns at line 3: unexpected end of data; the file may be cut",
        ),
        ('month,sold\n2020-01-01,"1"2\n', "small.csv cannot be split into columns at line 2"),
        (
            b"month,sold\n2020-01-01,1\n2020-02-01,\xe9\n",
            "small.csv is not UTF-8: byte 0xe9 at offset 35; save it as UTF-8",
        ),
        ("month,sold\n2020-01-01,1\n".encode("utf-16"), "small.csv is not UTF-8: byte 0xff at offset 0; save it as"),
        ("month,sold\n".encode("utf-16-le"), "small.csv holds a NUL byte at offset 1: expected text"),
        ("month,sold\n2020-01-01,1\0\n", "small.csv holds a NUL byte at offset 23: expected text"),
        (b"PK\x03\x04\x14\x00\x00", "small.csv holds a NUL byte at offset 5: expected text"),
        (b"\x1f\x8b\x08\x00", "small.csv is not UTF-8: byte 0x8b at offset 1"),
    ],
)
def test_what_is_no_csv_file_of_the_recipe_is_refused_with_what_was_expected(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    error = refusal(tmp_path, content)

    assert message in str(error)
    assert "\n" not in str(error)
    assert len(error.rejections) == 1


def test_a_missing_column_of_series_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path, "month,sold\n2020-01-01,1\n", 'series = "shop"')

    assert 'has no column "shop": expected month, sold, shop, found month, sold' in str(error)


def test_a_field_too_large_for_any_value_is_refused(tmp_path: Path) -> None:
    assert "field larger than field limit" in str(refusal(tmp_path, "month,sold\n2020-01-01," + "1" * 200_000 + "\n"))


def test_no_file_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path, 'hint = "ask the shop"')

    with pytest.raises(SourceMissing) as missing:
        read_csv(recipe)

    assert str(missing.value) == (
        f"there is no file {tmp_path}/small.csv: expected a CSV file with the columns month, sold; ask the shop"
    )


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small.csv").mkdir()

    with pytest.raises(SourceMissing, match="small.csv is a folder: expected a CSV file"):
        read_csv(small_recipe(tmp_path))


def with_path(folder: Path, path: str) -> RawBatch:
    recipe = small_recipe(folder)
    return read_csv(recipe.model_copy(update={"source": recipe.source.model_copy(update={"path": path})}))


def test_a_path_may_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("month,sold\n2020-01-01,1\n")

    monkeypatch.setenv("SMALL_CSV", str(elsewhere))

    assert fields(with_path(tmp_path, "${SMALL_CSV}")) == TWO_ROWS[:1]


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMALL_CSV", raising=False)

    with pytest.raises(NextperiodError, match="the recipe small reads the file that SMALL_CSV names, which is not set"):
        with_path(tmp_path, "${SMALL_CSV}")


def test_the_hash_is_that_of_the_content_and_of_how_it_is_read(tmp_path: Path) -> None:
    one, other = "month,sold\n2020-01-01,1\n", "month,sold\n2020-01-01,2\n"
    first = read(tmp_path, one).content_hash

    assert read(tmp_path, one).content_hash == first
    assert read(tmp_path, one, 'hint = "ask the shop"').content_hash == first
    assert read(tmp_path, other).content_hash != first
    assert read(tmp_path, one, 'missing = "gap"').content_hash != first


def test_the_offset_counts_the_byte_order_mark(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfmonth,sold\n2020-01-01,\xe91\n"

    with pytest.raises(BatchRefused, match=f"byte 0xe9 at offset {content.index(0xE9)}"):
        read(tmp_path, content)


@pytest.mark.parametrize("path", ["~nobodyhere/x.csv", "a\\u0000b.csv"])
def test_what_is_no_path_is_missing(path: str, tmp_path: Path) -> None:
    recipe = parse_recipe(
        f'name = "x"\nfrequency = "D"\nhorizon = 1\n[source]\nkind = "csv"\npath = "{path}"\nperiod = "p"\nvalue = "v"',
        where="x.toml",
        folder=tmp_path,
    )

    with pytest.raises(SourceMissing, match="is no path"):
        read_csv(recipe)
