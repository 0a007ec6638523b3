"""What a message may not carry: secrets, line breaks, control characters."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import NextperiodError
from pipeline.text import (
    counted,
    format_numbers,
    format_period,
    format_scores,
    list_names,
    one_line,
    without_secrets,
)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+psycopg://u:secret@h/x", "postgresql+psycopg://u:***@h/x"),
        ("http://u:secret@127.0.0.1:5000/api", "http://u:***@127.0.0.1:5000/api"),
        ("postgresql://u@h/x?password=secret&a=1", "postgresql://u@h/x?password=***&a=1"),
        ("https://h/data.csv?api_key=secret", "https://h/data.csv?api_key=***"),
        ("sqlite:///nextperiod.db", "sqlite:///nextperiod.db"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert without_secrets(f"cannot reach {address} now") == f"cannot reach {shown} now"
    assert str(NextperiodError(address)) == shown


def test_a_message_is_one_line_that_moves_no_cursor() -> None:
    assert str(NextperiodError("a\nb\x1b[31mc\u2028d\x00")) == "a\\nb\\x1b[31mc\\u2028d\\x00"


def test_letters_of_any_language_stay_as_they_are() -> None:
    assert one_line("Größe – 価格") == "Größe – 価格"


def test_a_noun_is_plural_unless_its_count_is_one() -> None:
    assert [counted(count, "period") for count in (0, 1, 2)] == ["0 periods", "1 period", "2 periods"]


@pytest.mark.parametrize(
    ("period", "text"),
    [
        ("2026-11-22T00:00:00.000000", "2026-11-22"),
        ("2026-11-22T06:00:00.000000", "2026-11-22T06:00"),
        ("2026-11-22T06:30:00.000000", "2026-11-22T06:30"),
        ("2026-11-22T00:00:15.000000", "2026-11-22T00:00:15"),
        ("2026-11-22T06:30:15.250000", "2026-11-22T06:30:15.250000"),
    ],
)
def test_a_period_is_shown_as_short_as_it_is_exact(period: str, text: str) -> None:
    assert format_period(np.datetime64(period, "us")) == text


@pytest.mark.parametrize("unit", ["h", "m", "s", "us", "ns"])
def test_a_period_is_shown_the_same_in_every_unit(unit: str) -> None:
    assert format_period(np.datetime64("2026-11-22T06:00").astype(f"datetime64[{unit}]")) == "2026-11-22T06:00"


def test_names_are_listed_in_order() -> None:
    assert list_names(["b", "a"]) == "a, b"
    assert list_names([]) == "none"


def test_irregular_nouns_have_their_plural() -> None:
    assert [counted(2, noun) for noun in ("series", "entry", "batch", "delivery", "day", "test series")] == [
        "2 series",
        "2 entries",
        "2 batches",
        "2 deliveries",
        "2 days",
        "2 test series",
    ]
    assert [counted(1, noun) for noun in ("series", "entry", "batch")] == ["1 series", "1 entry", "1 batch"]


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ([836.979883, 804.239780, 871.642943], ["836.98", "804.24", "871.64"]),
        ([0.0000118, 0.0000121], ["0.000011800", "0.000012100"]),
        ([43890.4, 41200.0, 46001.7], ["43,890", "41,200", "46,002"]),
        ([1e9, 1.1e9, -2.5e9], ["1,000,000,000", "1,100,000,000", "-2,500,000,000"]),
        ([1.5e-9, 1.6e-9], ["1.5000e-09", "1.6000e-09"]),
        ([3e17, 1.0], ["3.0000e+17", "1.0000e+00"]),
        ([-5.25, -4.0, 0.0], ["-5.2500", "-4.0000", "0.0000"]),
        ([0.0, 0.0], ["0", "0"]),
        ([-1e-9, 12.0], ["0.000", "12.000"]),
        ([1000000.0, 1000000.5], ["1,000,000.000", "1,000,000.500"]),
        ([1.08342, 1.08311], ["1.083420", "1.083110"]),
        ([1e14, 1e14 + 1], ["100,000,000,000,000", "100,000,000,000,001"]),
        ([99999.6, 5.0], ["100,000", "5"]),
        ([5.0, 5.000000000001], ["5.0000", "5.0000"]),
        ([1000000000.2, 1000000000.4], ["1,000,000,000.200", "1,000,000,000.400"]),
        ([1.5e-7, 1.50000001e-7], ["0.000000150000", "0.000000150000"]),
        ([None, float("nan"), float("inf"), 2.5], ["–", "–", "–", "2.5000"]),
        ([], []),
    ],
)
def test_numbers_of_a_series_have_the_digits_that_its_size_needs(numbers: list[float | None], texts: list[str]) -> None:
    assert format_numbers(numbers) == texts


@pytest.mark.parametrize(
    ("scores", "texts"),
    [
        ([12.6, 73.49, 13.23], ["12.60", "73.49", "13.23"]),
        ([0.44, 2.59, 0.45], ["0.44", "2.59", "0.45"]),
        ([2.1e-7, 1.9e-7], ["0.000000210", "0.000000190"]),
        ([1234.5, 980.1], ["1,234.5", "980.1"]),
        ([43890.4, 120.0], ["43,890", "120"]),
        ([0.0, 0.0], ["0.00", "0.00"]),
        ([0.0012, 73.49], ["0.001", "73.490"]),
        ([1e-17, 73.49], ["0.00", "73.49"]),
        ([-0.3, 0.2], ["-0.300", "0.200"]),
        ([None, 0.5], ["–", "0.500"]),
        ([None, None], ["–", "–"]),
    ],
)
def test_scores_of_a_column_have_as_many_decimals_as_tell_them_apart(
    scores: list[float | None], texts: list[str]
) -> None:
    assert format_scores(scores) == texts
