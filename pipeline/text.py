"""Text of messages and tables: counts, numbers, periods, lists of names, one line, no secrets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")
_PARAMETER = re.compile(r"([?&](?:\w*password|\w*secret|\w*token|\w*key)=)[^&\s]+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def without_secrets(text: str) -> str:
    """Return the text with the passwords and tokens of its addresses replaced by `***`."""
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1***@", text))


def one_line(text: str) -> str:
    """Return the text with control characters escaped: it stays one line and moves no cursor."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 period, 2 periods, 2 batches, 2 entries, 2 series."""
    return f"{count} {noun if count == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith("series"):
        return noun
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def format_numbers(numbers: Iterable[float | None]) -> list[str]:
    """Return the numbers of one series as text, all with as many decimals as tell them apart.

    The largest one has at least five significant digits, and the range of all of them at least three: 837.12 and 43,890
    and 0.000011834. A range of numbers too small or too large to be read is in scientific notation. None, NaN and
    infinity are a dash.
    """
    values = [math.nan if number is None else float(number) for number in numbers]
    finite = [value for value in values if math.isfinite(value)]
    largest = max(map(abs, finite), default=0.0)
    decimals = _decimals(largest, 5)
    spread = max(finite) - min(finite) if finite else 0.0
    if decimals <= _MOST_DECIMALS and spread > largest * _ROUNDING:
        decimals = min(max(decimals, _decimals(spread, 3)), _MOST_DECIMALS)
    return _with_decimals(values, largest, decimals)


def format_ticks(numbers: Iterable[float]) -> list[str]:
    """Return numbers as text without digits that are zero in all, as beside an axis: 0.000012 and 43,890 and 5."""
    texts = format_numbers(numbers)
    while all("." in text and "e" not in text and text[-1] in "0." for text in texts) and texts:
        texts = [text[:-1] for text in texts]
    return texts


def format_scores(scores: Iterable[float | None]) -> list[str]:
    """Return the numbers of one column of a table as text: two decimals, fewer of large numbers, more of small ones.

    The largest one has at least three significant digits, and no other is shown as zero unless it is less than a
    millionth of it. None, NaN and infinity are a dash.
    """
    values = [math.nan if score is None else float(score) for score in scores]
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    largest = max(sizes, default=0.0)
    decimals = max(min(2, _decimals(largest, 5)), _decimals(largest, 3)) if sizes else 2
    smallest = min((size for size in sizes if size > largest * 1e-6), default=largest)
    return _with_decimals(values, largest, max(decimals, _decimals(smallest, 1)))


#: numbers that differ by less than this share of the largest one are equal but for rounding
_ROUNDING = 1e-10
#: numbers with more decimals, or more digits before the point, are in scientific notation
_MOST_DECIMALS, _TOO_LARGE = 12, 1e16


def _decimals(size: float, digits: int) -> int:
    """Decimals with which a number of this size has so many significant digits; 0 for a size of 0."""
    return max(digits - 1 - math.floor(math.log10(size)), 0) if size > 0 else 0


def _with_decimals(values: list[float], largest: float, decimals: int) -> list[str]:
    is_scientific = decimals > _MOST_DECIMALS or largest >= _TOO_LARGE
    form = "z.4e" if is_scientific else f"z,.{decimals}f"
    return [format(value, form) if math.isfinite(value) else "\N{EN DASH}" for value in values]


def format_period(period: np.datetime64) -> str:
    """Return a period as messages show it: 2026-11-22 for a midnight, otherwise 2026-11-22T06:30.

    Seconds and fractions of a second are shown only where they are not zero.
    """
    text = str(period.astype("datetime64[us]"))
    return text.removesuffix(".000000").removesuffix(":00").removesuffix("T00:00")


def list_names(names: Iterable[str]) -> str:
    """Return the names sorted and separated by commas, as messages list accepted values; "none" if there are none."""
    return ", ".join(sorted(names)) or "none"


def list_some(names: Sequence[str], most: int = 5) -> str:
    """Return the first few names, quoted, and how many more there are."""
    listed = ", ".join(f'"{name}"' for name in names[:most])
    return listed + (f" and {len(names) - most} more" if len(names) > most else "")
