"""CSV files as a source: what is read, and which files are refused in which words."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.recipe import Recipe
from pipeline.config.sources import TextSource
from pipeline.errors import BatchRefused, NextperiodError, Rejection, SourceMissing, SourceUnavailable
from pipeline.sources import columns, csv_plain, csv_quoted, text
from pipeline.sources.delivery import Chunk
from pipeline.sources.file import File, detect_compression
from pipeline.sources.registry import fetch
from tests.sources.fetching import (
    FIRST_FETCH,
    names_in,
    read,
    read_refused,
    read_rows,
    recipe_with,
    rejections_in,
    rows_in,
)

SOURCE = 'kind = "csv"\npath = "{path}"\nperiod = "month"\nvalue = "sold"\n'
TWO_ROWS = [("2020-01-01", "1"), ("2020-02-01", "2.5")]


def recipe_in(folder: Path, source: str = "", path: str = "small.csv", top: str = "") -> Recipe:
    return recipe_with(SOURCE.format(path=path) + source, folder, top=top)


def write_source(folder: Path, content: str | bytes, source: str = "", path: str = "small.csv") -> Recipe:
    (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return recipe_in(folder, source, path)


READERS = [csv_plain.plain_chunks, csv_quoted.quoted_chunks]


def read_with(reader: Callable[..., Iterator[Chunk]], path: Path, recipe: Recipe) -> list[Chunk]:
    with path.open("rb") as stream:
        return list(reader(File(path=path, name=path.name), stream, recipe))


def scan_file(path: Path, recipe: Recipe, **limits: int) -> text.TextScan:
    assert isinstance(recipe.source, TextSource)
    file = File(path=path, name=path.name, compression=detect_compression(path.name))
    return text.scan_text(file, recipe.source, lambda block: None, **limits)


@pytest.mark.parametrize(
    "content",
    [
        "month,sold\n2020-01-01,1\n2020-02-01,2.5\n",
        "month,sold\r\n2020-01-01,1\r\n2020-02-01,2.5\r\n",
        "month,sold\r2020-01-01,1\r2020-02-01,2.5\r",
        "\ufeffmonth,sold\n2020-01-01,1\n2020-02-01,2.5\n",
        '"month","sold"\n"2020-01-01","1"\n"2020-02-01",2.5\n',
        " month , sold \n2020-01-01,1\n2020-02-01,2.5\n",
        'shop,month,sold,note\nx,2020-01-01,1,\ny,2020-02-01,2.5,"a, b"\n',
        "shop,month,sold,note\nx,2020-01-01,1,\ny,2020-02-01,2.5,b\n",
        "note,month,sold,note\n,2020-01-01,1,\n,2020-02-01,2.5,\n",
        "month,sold\n2020-01-01,1\n\n2020-02-01,2.5\n \n",
        "month,sold\n2020-01-01,1\n,\n\r\n2020-02-01,2.5\n,,,\n \n\n",
        "\n \nmonth,sold\n2020-01-01,1\n2020-02-01,2.5\n",
        "month,sold\n2020-01-01,1\n2020-02-01,2.5",
    ],
    ids=[
        "plain",
        "CRLF",
        "CR",
        "byte order mark",
        "quoted",
        "spaces in the header",
        "extra columns and quotes",
        "extra columns",
        "an extra column twice",
        "blank lines",
        "lines of nothing but commas",
        "blank lines before the header",
        "no final newline",
    ],
)
def test_the_same_rows_are_read_however_the_file_is_written(tmp_path: Path, content: str) -> None:
    _, chunks = read(write_source(tmp_path, content))

    assert [row for _, row in rows_in(chunks)] == TWO_ROWS
    assert names_in(chunks) == ["month", "sold"]
    assert rejections_in(chunks) == []


def test_text_is_delivered_as_it_is_written(tmp_path: Path) -> None:
    recipe = write_source(
        tmp_path, "month,sold,shop\n 2020-01-01 ,NA,\n2020-01-01,,007\n,1e400,TRUE\n", 'series = "shop"'
    )

    _, chunks = read(recipe)

    assert [row for _, row in rows_in(chunks)] == [
        (" 2020-01-01 ", "NA", ""),
        ("2020-01-01", "", "007"),
        ("", "1e400", "TRUE"),
    ]
    assert {field.type for chunk in chunks for field in chunk.columns.schema} == {pa.string()}


@pytest.mark.parametrize("note", ['"two\nlines"', "one line"])
def test_rows_keep_their_own_order_and_line(tmp_path: Path, note: str) -> None:
    extra = note.count("\n")

    _, chunks = read(write_source(tmp_path, f"month,sold,note\n2020-02-01,2,{note}\n\n2020-01-01,1,\n"))

    assert [(line, row[0]) for line, row in rows_in(chunks)] == [(2 + extra, "2020-02-01"), (4 + extra, "2020-01-01")]


def test_unnamed_columns_are_left_out_unless_they_are_a_fault(tmp_path: Path) -> None:
    content = "month,note,sold,price,fold\n2020-01-01,a,1,2,0\n"

    few = read(write_source(tmp_path, content))[1]
    covariate = read(recipe_with(SOURCE.format(path="small.csv") + '[covariates]\npast = ["price"]', tmp_path))[1]
    every = read(write_source(tmp_path, content, 'extra_columns = "error"'))[1]

    assert names_in(few) == ["month", "sold"]
    assert names_in(covariate) == ["month", "sold", "price"]
    assert names_in(every) == ["month", "note", "sold", "price", "fold"]


def test_all_columns_of_a_wide_table_are_delivered(tmp_path: Path) -> None:
    (tmp_path / "small.csv").write_text("month,a,b\n2020-01-01,1,2\n")
    recipe = recipe_with('kind = "csv"\npath = "small.csv"\nlayout = "wide"\nperiod = "month"', tmp_path)

    assert names_in(read(recipe)[1]) == ["month", "a", "b"]


@pytest.mark.parametrize("content", ["month,value\n2020-01-01,1\n", 'month:sold,x\n"2020-01-01:1",2\n'])
def test_where_a_named_column_is_missing_all_columns_are_delivered(tmp_path: Path, content: str) -> None:
    _, chunks = read(write_source(tmp_path, content))

    assert names_in(chunks) == content.splitlines()[0].split(",")


def test_a_delivery_says_whether_the_last_line_has_a_newline(tmp_path: Path) -> None:
    assert read(write_source(tmp_path, "month,sold\n2020-01-01,1\n"))[0].ended
    assert not read(write_source(tmp_path, "month,sold\n2020-01-01,1"))[0].ended


def test_with_final_newline_a_file_without_one_is_refused(tmp_path: Path) -> None:
    error = read_refused(write_source(tmp_path, "month,sold\n2020-01-01,1\n2020-02-01,2", "final_newline = true"))

    assert str(error) == (
        "small.csv ends in line 3 without a newline, which this feed always has: it may be cut; fetch it again"
    )
    assert error.rejections == (Rejection(rule="cut"),)
    assert read_rows(write_source(tmp_path, "month,sold\n2020-01-01,1\n", "final_newline = true")) == TWO_ROWS[:1]


@pytest.mark.parametrize("quoted", ["", '"2020-02-01",2.5\n'])
def test_a_row_with_too_few_or_too_many_fields_is_kept_as_rejected(tmp_path: Path, quoted: str) -> None:
    content = f"month,sold\n2020-01-01\n2020-02-01,2.5\n2020-03-01,3,4\n{quoted}"

    _, chunks = read(write_source(tmp_path, content))

    assert rows_in(chunks)[0] == (3, ("2020-02-01", "2.5"))
    assert rejections_in(chunks) == [
        Rejection(line=2, text="2020-01-01", rule="has 1 of 2 columns (is the file cut?)"),
        Rejection(line=4, text="2020-03-01,3,4", rule="has 3 of 2 columns (is a text or a decimal comma not quoted?)"),
    ]


@pytest.mark.parametrize("reader", READERS)
def test_a_header_that_does_not_fit_its_rows_is_refused(tmp_path: Path, reader: Callable[..., Iterator[Chunk]]) -> None:
    recipe = write_source(tmp_path, "month,sold\n" + "2020-01-01,1,x\n" * 4)

    with pytest.raises(BatchRefused) as refused:
        read_with(partial(reader, max_unreadable=3), tmp_path / "small.csv", recipe)

    assert "has more than 3 rows that do not have the 2 columns of its header: is the header cut?" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "small.csv is empty: expected a header line and rows"),
        ("\ufeff", "small.csv is empty"),
        (" \r\n\n", "small.csv is empty"),
        ("month,sold\n", "small.csv holds a header and no rows: expected rows with month, sold"),
        ('month,"sold"\n', "small.csv holds a header and no rows: expected rows with month, sold"),
        ("month,sold", "small.csv holds a header and no rows"),
        ("month,sold\n\n\n", "small.csv holds a header and no rows"),
        ("month,sold,sold\n2020-01-01,1,1\n", 'small.csv names the column "sold" 2 times: expected it once'),
        ('month,sold,"sold"\n2020-01-01,1,1\n', 'small.csv names the column "sold" 2 times: expected it once'),
        (
            "<!doctype html>\n<title>Log in",
            'small.csv is not a CSV file, it begins with "<!doctype html> <title>Log in"',
        ),
        ('\n  {"error": "no"}', 'small.csv is not a CSV file, it begins with "{"error": "no"}"'),
        ("<\x1b[31mred", r'it begins with "<\x1b[31mred": expected a header line; an error page may have been saved'),
        (
            'month,sold\n2020-01-01,"1\n2020-02-01,2\n',
            "small.csv cannot be split into columns at line 3: unexpected end of data; the file may be cut",
        ),
        ('month,sold\n2020-01-01,"1"2\n', "small.csv cannot be split into columns at line 2"),
        (
            b"month,sold\n2020-01-01,1\n2020-02-01,\xe9\n",
            "small.csv is not UTF-8: byte 0xe9 at offset 35 in line 3; "
            'save it as UTF-8, or set source.encoding, such as "cp1252"',
        ),
        (b"month,sold\n2020-01-01,1\xc3", "small.csv is not UTF-8: byte 0xc3 at offset 23 in line 2; save it as UTF-8"),
        ("month,sold\n".encode("utf-16-le"), "small.csv holds a NUL byte at offset 1: expected text"),
        ("month,sold\n2020-01-01,1\0\n", "small.csv holds a NUL byte at offset 23: expected text"),
        (
            b"PK\x03\x04\x14\x00\x00",
            "small.csv holds a NUL byte at offset 5: expected text: it looks like an Excel file or another archive; "
            'for Excel use kind = "excel"',
        ),
        (b"\x1f\x8b\x08\x00", "small.csv is not UTF-8: byte 0x8b at offset 1"),
        ("month,sold\n2020-01-01," + "1" * 200_000 + "\n", "field larger than field limit"),
    ],
)
def test_a_file_that_is_not_csv_is_refused_with_what_was_expected(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    error = read_refused(write_source(tmp_path, content))

    assert message in str(error)
    assert len(error.rejections) == 1


def test_offsets_count_the_byte_order_mark_and_blocks_before(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfmonth,sold\n2020-01-01,\xc3\xa9\xe2\x82\xac\xe91\n"
    recipe = write_source(tmp_path, content)

    with pytest.raises(BatchRefused, match=f"byte 0xe9 at offset {content.index(0xE9)}"):
        scan_file(tmp_path / "small.csv", recipe, block_bytes=7)


def test_with_on_empty_keep_a_file_without_rows_is_accepted(tmp_path: Path) -> None:
    _, chunks = read(write_source(tmp_path, "month,sold\n", 'on_empty = "keep"'))

    assert rows_in(chunks) == []
    assert names_in(chunks) == ["month", "sold"]


def test_a_missing_file_is_reported_with_the_hint_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing) as missing:
        read(recipe_in(tmp_path, 'hint = "ask the shop"'))

    assert str(missing.value) == (
        f"there is no file {tmp_path}/small.csv: expected a CSV file with the columns month, sold; ask the shop"
    )


def test_a_folder_or_a_pipe_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")

    with pytest.raises(SourceMissing, match="small.csv is a folder: expected a CSV file"):
        read(recipe_in(tmp_path))
    with pytest.raises(SourceMissing, match="pipe.csv is a device or a pipe: expected a CSV file"):
        read(recipe_in(tmp_path, path="pipe.csv"))


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write_source(tmp_path, "month,sold\n2020-01-01,1\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(SourceUnavailable, match=r"small.csv cannot be read: Permission denied"):
        read(recipe)


def test_a_path_is_read_from_a_variable_or_from_the_file_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("month,sold\n2020-01-01,1\n")
    (tmp_path / "name").write_text(f"{elsewhere}\n")
    recipe = recipe_in(Path("nowhere"), path="${SMALL_CSV}")

    monkeypatch.setenv("SMALL_CSV", str(elsewhere))
    assert read_rows(recipe) == TWO_ROWS[:1]

    monkeypatch.delenv("SMALL_CSV")
    monkeypatch.setenv("SMALL_CSV_FILE", str(tmp_path / "name"))
    assert read_rows(recipe) == TWO_ROWS[:1]


def test_a_missing_variable_is_named_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMALL_CSV", raising=False)

    with pytest.raises(NextperiodError, match="the recipe small reads the file that SMALL_CSV names, which is not set"):
        read(recipe_in(tmp_path, path="${SMALL_CSV}"))


@pytest.mark.parametrize("path", ["~nobodyhere/x.csv", "a\\u0000b.csv"])
def test_an_invalid_path_is_reported_as_missing(path: str, tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="is no path"):
        read(recipe_in(tmp_path, path=path))


@pytest.mark.parametrize(
    ("path", "advice"),
    [("file:///a.csv", "without file://"), ("https://x.org/a.csv", 'kind = "http"'), ("http://x/a", 'kind = "http"')],
)
def test_schemes_that_are_no_object_store_are_refused_with_advice(tmp_path: Path, path: str, advice: str) -> None:
    with pytest.raises(SourceMissing, match=advice):
        read(recipe_in(tmp_path, path=path))


def test_the_hash_depends_on_the_content_and_the_settings_only(tmp_path: Path) -> None:
    one, other = "month,sold\n2020-01-01,1\n", "month,sold\n2020-01-01,2\n"

    def content_hash(content: str, source: str = "", path: str = "small.csv") -> str:
        return read(write_source(tmp_path, content, source, path))[0].content_hash

    recipe = write_source(tmp_path, one)
    expected = hashlib.sha256(recipe.source.settings.encode() + b"\0" + one.encode()).hexdigest()

    assert content_hash(one) == expected
    assert content_hash(one, 'hint = "ask the shop"') == expected
    assert content_hash(one, path="moved.csv") == expected
    assert content_hash(other) != expected
    assert content_hash(one, 'missing = "reject"') != expected


def compress(content: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.compress(content)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".zstd", ".ZST"])
def test_compressed_files_are_read_by_their_suffix(tmp_path: Path, suffix: str) -> None:
    content = b"month,sold\n2020-01-01,1\n2020-02-01,2.5\n"
    plain = read(write_source(tmp_path, content))[0].content_hash
    recipe = write_source(tmp_path, compress(content, suffix.lower()), path=f"small.csv{suffix}")

    delivery, chunks = read(recipe)

    assert [row for _, row in rows_in(chunks)] == TWO_ROWS
    assert delivery.content_hash == plain


def random_table(num_rows: int) -> bytes:
    digits = (hashlib.sha256(str(n).encode()).hexdigest() for n in range(num_rows))
    return b"month,sold\n" + "".join(f"2020-01-01,{text}\n" for text in digits).encode()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_compressed_file_that_is_cut_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    whole = compress(random_table(2000), suffix)
    path = f"small.csv{suffix}"

    error = read_refused(write_source(tmp_path, whole[: int(kept * len(whole))], path=path))

    assert "cannot be unpacked" in str(error) or "is empty" in str(error)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_plain_file_with_the_suffix_of_a_compressed_one_is_refused(tmp_path: Path, suffix: str) -> None:
    path = f"small.csv{suffix}"

    assert "cannot be unpacked" in str(read_refused(write_source(tmp_path, "month,sold\n2020-01-01,1\n", path=path)))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_decompression_bomb_is_refused_before_it_is_decompressed(tmp_path: Path, suffix: str) -> None:
    bomb = compress(b"month,sold\n" + b"2020-01-01,1\n" * 500_000, suffix)
    recipe = write_source(tmp_path, bomb, path=f"small.csv{suffix}")

    with pytest.raises(BatchRefused, match="unpacks to more than 200 times its size"):
        scan_file(tmp_path / f"small.csv{suffix}", recipe, min_ratio_bytes=1 << 20)


def test_a_file_above_max_gib_is_refused(tmp_path: Path) -> None:
    error = read_refused(write_source(tmp_path, random_table(100), "max_gib = 0.000001"))

    assert "is larger than 1e-06 GiB, the recipe's source.max_gib: raise it if that is right" in str(error)


def test_a_pattern_reads_all_files_sorted_by_name(tmp_path: Path) -> None:
    (tmp_path / "shops" / "b").mkdir(parents=True)
    (tmp_path / "shops" / "b" / "2.csv").write_text("month,sold\n2020-02-01,2.5\n")
    (tmp_path / "shops" / "1.csv").write_text("sold,month\n1,2020-01-01")
    (tmp_path / "shops" / "folder.csv").mkdir()

    delivery, chunks = read(recipe_in(tmp_path, path="shops/**/*.csv"))

    rows = [(chunk.file, line, row) for chunk in chunks for line, row in rows_in([chunk])]
    assert rows == [("1.csv", 2, ("1", "2020-01-01")), ("b/2.csv", 2, ("2020-02-01", "2.5"))]
    assert delivery.source == "shops/**/*.csv"
    assert not delivery.ended


def test_the_hash_of_a_pattern_depends_on_names_and_contents(tmp_path: Path) -> None:
    def content_hash() -> str:
        return read(recipe_in(tmp_path, path="*.csv"))[0].content_hash

    (tmp_path / "a.csv").write_text("month,sold\n2020-01-01,1\n")
    hashes = [content_hash()]
    (tmp_path / "b.csv").write_text("month,sold\n2020-02-01,1\n")
    hashes += [content_hash(), content_hash()]
    (tmp_path / "b.csv").rename(tmp_path / "c.csv")
    hashes.append(content_hash())

    assert hashes[1] == hashes[2]
    assert len(set(hashes)) == 3


def test_a_pattern_without_a_match_is_reported_as_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"there is no file .*/none-\*.csv: expected a CSV file with the columns"):
        read(recipe_in(tmp_path, path="none-*.csv"))


def test_the_bad_file_of_a_pattern_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("month,sold\n2020-01-01,1\n")
    (tmp_path / "b.csv").write_text("<html>")

    assert str(read_refused(recipe_in(tmp_path, path="*.csv"))).startswith("b.csv is not a CSV file")


def test_a_file_that_changes_while_it_is_read_is_unavailable(tmp_path: Path) -> None:
    recipe = write_source(tmp_path, "month,sold\n2020-01-01,1\n")

    with fetch(recipe, FIRST_FETCH) as delivery:
        write_source(tmp_path, "month,sold\n2020-01-01,1\n2020-02-01,2.5\n")

        with pytest.raises(SourceUnavailable, match="small.csv was changed while it was read"):
            list(delivery.chunks())


def test_chunks_have_a_bounded_number_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "CHUNK_ROWS", 10)
    recipe = write_source(tmp_path, "month,sold\n" + "2020-01-01,1\n" * 25)

    _, chunks = read(recipe)

    assert [len(chunk.line) for chunk in chunks] == [10, 10, 5, 0]
    assert [line for line, _ in rows_in(chunks)] == list(range(2, 27))


FIELD = st.text(st.sampled_from("ab1 \té\u2028\x0b\x1c\xa0;'"), max_size=3)
LINE = st.one_of(
    st.lists(FIELD, min_size=3, max_size=3), st.lists(FIELD, max_size=5), st.just(["", "", ""]), st.just([""])
).map(",".join)


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(st.tuples(LINE, st.sampled_from(["\n", "\r\n"]))), mark=st.booleans(), cut=st.booleans())
def test_both_csv_readers_give_the_same_rows_and_rejections(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str]], mark: bool, cut: bool
) -> None:
    content = "\ufeff" * mark + "month,note,sold\n" + "".join(line + end for line, end in lines)
    path = tmp_path_factory.getbasetemp() / "same.csv"
    path.write_bytes(content.removesuffix("\n").removesuffix("\r").encode() if cut else content.encode())
    recipe = recipe_in(path.parent, path="same.csv")

    plain, quoted = (read_with(reader, path, recipe) for reader in READERS)

    assert rows_in(plain) == rows_in(quoted)
    assert names_in(plain) == names_in(quoted)
    assert rejections_in(plain) == rejections_in(quoted)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=60), block=st.integers(1, 9))
def test_a_scan_in_small_blocks_finds_what_a_scan_of_one_block_finds(content: bytes, block: int) -> None:
    def look(step: int) -> object:
        scanned = text.TextScan("x")
        try:
            for start in range(0, len(content), step):
                scanned.add(content[start : start + step])
            scanned.finish()
        except BatchRefused as error:
            return str(error)
        return (
            scanned.num_newlines,
            scanned.has_quote,
            scanned.is_empty,
            scanned.has_lone_return,
            scanned.has_long_line,
            scanned.ended,
        )

    assert look(block) == look(100)
    returns = content.count(b"\r") != content.count(b"\r\n")
    assert isinstance(look(1), str) or look(1)[3] == returns  # type: ignore[index]


def test_long_lines_are_found_across_blocks() -> None:
    def is_long(*blocks: bytes) -> bool:
        scanned = text.TextScan("x", max_field_bytes=10)
        for block in blocks:
            scanned.add(block)
        return scanned.has_long_line

    assert not is_long(b"0123456789\n0123456789", b"\n012345", b"6789")
    assert is_long(b"0123456789\n0123456789", b"0")
    assert is_long(b"01234567890\n")


def test_lines_are_exact_where_arrow_splits_many_small_blocks(tmp_path: Path) -> None:
    lines = [f"2020-01-01,{n}" if n % 7 else ("" if n % 2 else "cut") for n in range(200)]

    recipe = write_source(tmp_path, "month,sold\n" + "\n".join(lines))

    chunks = read_with(partial(csv_plain.plain_chunks, block_bytes=64), tmp_path / "small.csv", recipe)

    assert [(line, int(row[1])) for line, row in rows_in(chunks)] == [(n + 2, n) for n in range(200) if n % 7]
    assert [rejection.line for rejection in rejections_in(chunks)] == [n + 2 for n in range(200) if n % 14 == 0]


def test_zlib_raises_the_error_that_decompression_translates() -> None:
    with pytest.raises(zlib.error):
        zlib.decompress(b"\x00")
