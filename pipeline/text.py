"""Text of messages: counts, periods, lists of names, one line, no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable
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
    """Return a count with its noun: 1 period, 2 periods."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def format_period(period: np.datetime64) -> str:
    """Return a period as messages show it: 2026-11-22 for a midnight, otherwise 2026-11-22T06:30.

    Seconds and fractions of a second are shown only where they are not zero.
    """
    text = str(period.astype("datetime64[us]"))
    return text.removesuffix(".000000").removesuffix(":00").removesuffix("T00:00")


def list_names(names: Iterable[str]) -> str:
    """Return the names sorted and separated by commas, as messages list accepted values; "none" if there are none."""
    return ", ".join(sorted(names)) or "none"
