"""What is detected in a table that nobody has described."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import BatchRefused, SourceMissing
from pipeline.ingest.table_detection import (
    DetectedTable,
    NothingDetected,
    detect_table,
    infer_frequency,
    usual_horizon,
)
from pipeline.timeseries.frequency import Frequency

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def detect(folder: Path, text: str, **source: Any) -> DetectedTable:
    (folder / "table.csv").write_text(text, "utf-8")
    return detect_table({"kind": "csv", "path": "table.csv", **source}, folder=folder, now=NOW)


def days(count: int, form: str) -> list[str]:
    return [(datetime(2025, 1, 1) + timedelta(days=n)).strftime(form) for n in range(count)]


def rows(header: str, *lines: str) -> str:
    return "\n".join([header, *lines, ""])


def test_months_and_their_values_are_found(tmp_path: Path) -> None:
    found = detect(tmp_path, rows("month,sold", "2024-01,3", "2024-02,4", "2024-03,5", "2024-04,6"))

    assert found.source == {"period": "month", "value": "sold"}
    assert (found.frequency, found.horizon, found.other_numbers) == ("MS", 12, ())
    assert found.is_positive


def test_a_semicolon_and_a_byte_order_mark_are_found(tmp_path: Path) -> None:
    found = detect(tmp_path, "\ufeff" + rows("Tag;Umsatz", *(f"{day};1.234,5" for day in days(20, "%d.%m.%Y"))))

    assert found.source == {"delimiter": ";", "period": "Tag", "period_format": "%d.%m.%Y", "value": "Umsatz"}
    assert found.frequency == "D"


def test_days_before_months_are_told_from_months_before_days(tmp_path: Path) -> None:
    for form in ("%d/%m/%Y", "%m/%d/%Y"):
        found = detect(tmp_path, rows("day,load", *(f"{day},1" for day in days(60, form))))

        assert found.source["period_format"] == form


def test_lines_before_the_header_and_thousands_in_quotes_are_read(tmp_path: Path) -> None:
    months = [f'{month:%Y-%m-%d},"1,{month.month:03}"' for month in pd.date_range("2020-01-01", periods=24, freq="MS")]

    found = detect(tmp_path, rows("Report of sales", "made by hand", "month,sold", *months))

    assert found.source == {"period": "month", "value": "sold"}


def test_a_column_names_the_series_where_periods_repeat(tmp_path: Path) -> None:
    lines = [f"{day},{shop},7,note" for shop in ("a", "b") for day in days(14, "%Y-%m-%d")]

    found = detect(tmp_path, rows("day,shop,sold,remark", *lines))

    assert found.source == {"period": "day", "series": "shop", "value": "sold"}
    assert "series: column shop, 2 series such as a" in found.notes


def test_numbers_can_name_the_series(tmp_path: Path) -> None:
    lines = [f"{day},{shop},7.5" for shop in (101, 102) for day in days(14, "%Y-%m-%d")]

    found = detect(tmp_path, rows("day,shop,sold", *lines))

    assert found.source == {"period": "day", "series": "shop", "value": "sold"}


def test_the_other_numbers_are_candidates_for_covariates(tmp_path: Path) -> None:
    found = detect(tmp_path, rows("day,promotion,sold", *(f"{day},1,-2" for day in days(14, "%Y-%m-%d"))))

    assert found.source["value"] == "sold"
    assert found.other_numbers == ("promotion",)
    assert not found.is_positive


def test_many_columns_of_numbers_are_a_series_each(tmp_path: Path) -> None:
    found = detect(tmp_path, rows("day,A,B,C,D,E", *(f"{day},1,2,3,4,5" for day in days(14, "%Y-%m-%d"))))

    assert found.source == {"period": "day", "layout": "wide"}


def test_days_with_an_offset_are_those_of_the_clocks(tmp_path: Path) -> None:
    found = detect(tmp_path, rows("day,close", *(f"{day}T00:00:00+01:00,1.5" for day in days(20, "%Y-%m-%d"))))

    assert found.frequency == "D"
    assert found.source["zone"] == "Europe/Paris"


def test_hours_without_an_offset_are_said_to_be_taken_as_utc(tmp_path: Path) -> None:
    hours = pd.date_range("2025-01-01", periods=48, freq="h")

    found = detect(tmp_path, rows("t,load", *(f"{hour},1" for hour in hours)))

    assert (found.frequency, found.horizon) == ("h", 24)
    assert any("taken as UTC" in note for note in found.notes)


def test_a_parquet_file_has_types_of_its_own(tmp_path: Path) -> None:
    frame = pd.DataFrame({"at": pd.date_range("2025-01-01", periods=40, freq="15min"), "id": 1, "load": -0.5})
    frame.to_parquet(tmp_path / "table.parquet")

    found = detect_table({"kind": "parquet", "path": "table.parquet"}, folder=tmp_path, now=NOW)

    assert (found.source, found.frequency) == ({"period": "at", "value": "load"}, "15min")
    assert (found.other_numbers, found.is_positive) == (("id",), False)


@pytest.mark.parametrize(
    "alias", ["YS-JAN", "YE-DEC", "QS-JAN", "QE-DEC", "MS", "ME", "W-MON", "W-SUN", "B", "D", "h", "30min"]
)
def test_the_frequency_of_regular_periods_is_theirs(alias: str) -> None:
    periods = pd.date_range("2020-01-01", periods=30, freq=alias).to_numpy().astype("datetime64[us]")
    with_a_gap = np.delete(periods, 11)

    assert infer_frequency(periods) == (alias, 1.0)
    found = infer_frequency(with_a_gap)
    assert found is not None
    assert found[0] == alias
    assert found[1] == pytest.approx(27 / 28)


def test_two_periods_have_no_frequency() -> None:
    assert infer_frequency(np.array(["2020-01-01", "2020-02-01"], "datetime64[us]")) is None


@pytest.mark.parametrize(
    ("alias", "horizon"), [("MS", 12), ("QE-DEC", 8), ("h", 24), ("15min", 96), ("B", 10), ("YS", 3)]
)
def test_the_horizon_is_a_usual_one(alias: str, horizon: int) -> None:
    assert usual_horizon(alias) == horizon
    assert Frequency(alias)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            rows("name,sold", "a,1", "b,2", "c,3"),
            "no column holds periods at regular distances; its columns are name, sold",
        ),
        (rows("day,note", *(f"{day},x" for day in days(9, "%Y-%m-%d"))), "no column besides day holds numbers"),
    ],
)
def test_a_table_without_periods_or_values_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(NothingDetected, match=message):
        detect(tmp_path, text)


@pytest.mark.parametrize("text", ["", "day,sold\n", "<html><body>not found</body></html>\n"])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BatchRefused):
        detect(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"none\.csv"):
        detect_table({"kind": "csv", "path": "none.csv"}, folder=tmp_path, now=NOW)
