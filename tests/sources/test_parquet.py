"""Parquet files as a source: types are kept, and what is damaged is refused in one line."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchRefused, SourceMissing, SourceUnavailable
from pipeline.sources import columns, parquet_file
from pipeline.sources.registry import fetch
from tests.sources.fetching import FIRST_FETCH, names_in, read, read_refused, read_rows, recipe_with, rows_in

SMALL = pa.table({"month": [date(2020, 1, 1), date(2020, 2, 1)], "sold": [1.0, 2.5], "note": ["a", "b"]})
TWO_ROWS = [(date(2020, 1, 1), 1.0), (date(2020, 2, 1), 2.5)]


def recipe_in(folder: Path, source: str = "", path: str = "small.parquet") -> Recipe:
    return recipe_with(f'kind = "parquet"\npath = "{path}"\nperiod = "month"\nvalue = "sold"\n{source}', folder)


def write_source(folder: Path, table: pa.Table = SMALL, path: str = "small.parquet", **options: object) -> Recipe:
    pq.write_table(table, folder / path, **options)
    return recipe_in(folder, path=path)


def refusal_message(recipe: Recipe) -> str:
    error = read_refused(recipe)
    assert len(error.rejections) == 1
    return str(error)


def test_the_named_columns_are_read_with_their_types(tmp_path: Path) -> None:
    delivery, chunks = read(write_source(tmp_path))

    assert rows_in(chunks) == [(1, TWO_ROWS[0]), (2, TWO_ROWS[1])]
    assert names_in(chunks) == ["month", "sold"]
    assert chunks[0].columns.schema.types == [pa.date32(), pa.float64()]
    assert (delivery.source, delivery.ended, delivery.incremental) == ("small.parquet", True, False)


@pytest.mark.parametrize(
    ("values_given", "kind"),
    [
        ([datetime(2020, 1, 1, 5), None], pa.timestamp("us")),
        ([datetime(2020, 1, 1, 5, tzinfo=UTC), None], pa.timestamp("ns", "Europe/Amsterdam")),
        ([1, None], pa.int32()),
        ([Decimal("1.10"), None], pa.decimal128(10, 2)),
        ([True, None], pa.bool_()),
        ([" a ", None], pa.string()),
    ],
)
def test_no_type_is_changed(tmp_path: Path, values_given: list[object], kind: pa.DataType) -> None:
    table = pa.table({"month": pa.array(values_given, kind), "sold": [1, 2]})

    _, chunks = read(write_source(tmp_path, table))

    assert chunks[0].columns.schema.types[0] == kind
    assert [row[0] for _, row in rows_in(chunks)] == pa.array(values_given, kind).to_pylist()


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", "b"]).dictionary_encode(),
        pa.array(["a", "b"], pa.large_string()),
        pa.array(["a", "b"], pa.string_view()),
        pa.array(["a", "b"], pa.large_string()).dictionary_encode(),
    ],
)
def test_text_columns_have_the_type_string_however_they_are_stored(tmp_path: Path, column: pa.Array) -> None:
    _, chunks = read(write_source(tmp_path, pa.table({"month": column, "sold": [1, 2]})))

    assert chunks[0].columns.schema.types[0] == pa.string()
    assert [row for _, row in rows_in(chunks)] == [("a", 1), ("b", 2)]


def test_row_groups_and_files_are_read_in_small_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "CHUNK_ROWS", 4)
    table = pa.table({"month": np.arange(10), "sold": np.arange(10.0)})
    write_source(tmp_path, table, "a.parquet", row_group_size=5)
    write_source(tmp_path, table, "b.parquet", row_group_size=100)

    delivery, chunks = read(recipe_in(tmp_path, path="*.parquet"))

    assert max(len(chunk.line) for chunk in chunks) <= 4
    for name in ("a.parquet", "b.parquet"):
        rows = rows_in([chunk for chunk in chunks if chunk.file == name])
        assert rows == [(n + 1, (n, float(n))) for n in range(10)]
    assert delivery.source == "*.parquet"


def test_a_parquet_file_without_rows_delivers_its_columns(tmp_path: Path) -> None:
    _, chunks = read(write_source(tmp_path, SMALL.slice(0, 0)))

    assert rows_in(chunks) == []
    assert names_in(chunks) == ["month", "sold"]


def test_where_a_column_is_missing_or_extra_ones_are_faults_all_are_delivered(tmp_path: Path) -> None:
    assert names_in(read(write_source(tmp_path, SMALL.rename_columns(["month", "value", "note"])))[1]) == [
        "month",
        "value",
        "note",
    ]
    write_source(tmp_path)
    assert names_in(read(recipe_in(tmp_path, 'extra_columns = "error"'))[1]) == ["month", "sold", "note"]


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([1]), pa.array([1])], names=["month", "sold", "sold"])

    assert (
        refusal_message(write_source(tmp_path, table))
        == 'small.parquet names the column "sold" 2 times: expected it once'
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "small.parquet is empty: expected a Parquet file"),
        (b"month,sold\n2020-01-01,1\n", "small.parquet is no Parquet file that can be read:"),
        (b"<html>", "small.parquet is no Parquet file that can be read:"),
        (b"PAR1" + b"\0" * 100 + b"PAR1", "small.parquet is no Parquet file that can be read:"),
        (b"PAR1" + b"\xff" * 100 + b"PARE", "small.parquet is no Parquet file that can be read:"),
    ],
)
def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "small.parquet").write_bytes(content)

    assert message in refusal_message(recipe_in(tmp_path))


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.6, 0.99])
def test_a_file_that_is_cut_is_refused(tmp_path: Path, kept: float) -> None:
    recipe = write_source(tmp_path, pa.table({"month": np.arange(5000), "sold": np.random.default_rng(0).random(5000)}))
    whole = (tmp_path / "small.parquet").read_bytes()
    (tmp_path / "small.parquet").write_bytes(whole[: int(kept * len(whole))])

    assert "is no Parquet file that can be read" in refusal_message(recipe)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_is_refused_or_read_as_it_was(tmp_path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    table = pa.table({"month": np.arange(1000), "sold": np.random.default_rng(0).random(1000)})
    recipe = write_source(tmp_path, table, write_page_checksum=True)
    content = bytearray((tmp_path / "small.parquet").read_bytes())
    data = len(content) - int.from_bytes(content[-8:-4], "little") - 8
    content[int(generator.integers(4, data))] ^= 1 << int(generator.integers(8))
    (tmp_path / "small.parquet").write_bytes(content)

    with suppress(BatchRefused):
        assert read_rows(recipe) == [tuple(row.values()) for row in table.to_pylist()]


def test_a_parquet_file_above_max_gib_is_refused_before_it_is_decompressed(tmp_path: Path) -> None:
    write_source(
        tmp_path,
        pa.table({"month": np.zeros(100_000), "sold": np.zeros(100_000)}),
        compression="zstd",
        use_dictionary=False,
    )

    assert "is larger than 0.0001 GiB, the recipe's source.max_gib" in refusal_message(
        recipe_in(tmp_path, "max_gib = 0.0001")
    )


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small.parquet").write_bytes(b"PARE" + b"\0" * 50 + (50).to_bytes(4, "little") + b"PARE")

    assert "is no Parquet file that can be read" in refusal_message(recipe_in(tmp_path))


def test_a_missing_file_a_folder_and_an_unreadable_file_have_errors_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        SourceMissing, match="there is no file .*/small.parquet: expected a Parquet file with the columns"
    ):
        read(recipe_in(tmp_path))
    (tmp_path / "small.parquet").mkdir()
    with pytest.raises(SourceMissing, match="is a folder: expected a Parquet file"):
        read(recipe_in(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    recipe = write_source(tmp_path, path="other.parquet")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceUnavailable, match="cannot be read: Permission denied"):
        read(recipe)


def test_a_file_that_changes_while_it_is_read_is_unavailable(tmp_path: Path) -> None:
    with fetch(write_source(tmp_path), FIRST_FETCH) as delivery:
        write_source(tmp_path, SMALL.slice(1))

        with pytest.raises(SourceUnavailable, match="small.parquet was changed while it was read"):
            list(delivery.chunks())


def test_the_first_line_of_another_librarys_message_is_kept() -> None:
    assert parquet_file._first_line(ValueError("one.\ntwo")) == "one"
    assert parquet_file._first_line(ValueError()) == "ValueError"
