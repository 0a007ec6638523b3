"""Ratios are read from the page of measurements, and one that fell is found."""

from tests.benchmarks.results import ratios, slower

PAGE = """# What was measured

## Fitting

| network | windows a second | × Keras fit |
|---|---|---|
| small | 37,000 | 1.90 (1.80 to 2.00) |
| large | 4,000 | 1.70 (1.40 to 3.10) |

## Windows

| windows | a second | times as fast |
|---|---|---|
| 12 | 3 | 2.2 (1.6 to 4.0) |
"""


def test_ratios_are_read_and_nothing_else() -> None:
    assert list(ratios(PAGE)) == [
        ("small", "× Keras fit", 1.9, 1.8),
        ("large", "× Keras fit", 1.7, 1.4),
        ("12", "times as fast", 2.2, 1.6),
    ]


def test_a_ratio_that_fell_is_told_and_another_machine_s_seconds_are_not() -> None:
    now = PAGE.replace("1.90 (1.80 to 2.00)", "1.50 (1.40 to 1.60)").replace("37,000", "9,000")

    assert slower(PAGE, now) == ["small, × Keras fit: 1.5, at least 1.8 before"]
    assert slower(PAGE, PAGE.replace("1.70 (1.40", "1.30 (1.20")) == []
    assert slower("", PAGE) == []
