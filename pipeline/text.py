"""How messages are written: counts, lists of names, one line, no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")


_PARAMETER = re.compile(r"([?&](?:\w*password|\w*secret|\w*token|\w*key)=)[^&\s]+", re.IGNORECASE)


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def without_secrets(text: str) -> str:
    """A text whose addresses show no password."""
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1***@", text))


def one_line(text: str) -> str:
    """A text with its control characters written out, so that it stays one line and moves no cursor."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 period, 2 periods."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def list_names(names: Iterable[str]) -> str:
    """Names in the form in which messages list what would have been accepted."""
    return ", ".join(sorted(names)) or "none"
