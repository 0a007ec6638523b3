"""What a message may not carry: secrets, line breaks, control characters."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import NextperiodError
from pipeline.text import counted, format_period, list_names, one_line, without_secrets


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
