"""Values that a recipe takes from the environment, and how they are kept out of messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

from pipeline.errors import SourceMissing

_PASSWORD = re.compile(r"://[^\s/:@?#]*:([^\s/?#]*)@")
PLACE = re.compile(r"\$\{(\w+)\}")


def variable(name: str) -> str | None:
    """The variable `name`, or the content of the file that `name_FILE` names.

    Raises:
        SourceMissing: that file cannot be read.
    """
    value = os.environ.get(name)
    file = os.environ.get(f"{name}_FILE")
    if value or not file:
        return value
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
    raise SourceMissing(f"{name}_FILE names a file that cannot be read: {why}")


def filled(text: str, *, recipe: str) -> tuple[str, tuple[str, ...]]:
    """A text with its variables in place of `${NAME}`, and the values that it now holds.

    Raises:
        SourceMissing: one of them is not set.
    """
    values = {name: variable(name) for name in PLACE.findall(text)}
    missing = next((name for name, value in values.items() if not value), None)
    if missing is not None:
        raise SourceMissing(f"the recipe {recipe} needs {missing}, which is not set: set {missing} or {missing}_FILE")
    return PLACE.sub(lambda match: str(values[match[1]]), text), tuple(str(value) for value in values.values())


def refuse_literal_password(url: str, recipe: str) -> None:
    """Refuse an address with a password that is written in the recipe.

    Raises:
        SourceMissing: it has one.
    """
    password = _PASSWORD.search(url)
    if password is not None and PLACE.sub("", password[1]):
        raise SourceMissing(
            f"source.url of the recipe {recipe} holds a password: expected ${{NAME}} in its place, and NAME in the environment"
        )


def masked(text: str, secrets: Iterable[str]) -> str:
    """A text of another library without any of the values, however they are written."""
    forms = {
        form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret), unquote(secret))
    }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***") if form else text
    return text
