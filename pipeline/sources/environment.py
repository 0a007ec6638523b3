"""Variables of the environment in a recipe's source, and how their values are kept out of messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

from pipeline.errors import SourceMissing

#: `${NAME}` in a recipe
VARIABLE = re.compile(r"\$\{(\w+)\}")

_PASSWORD = re.compile(r"://[^\s/:@?#]*:([^\s/?#]*)@")


def read_variable(name: str) -> str | None:
    """Return the variable `name`, else the content of the file that `name_FILE` names, else None.

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
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    raise SourceMissing(f"{name}_FILE names a file that cannot be read: {why}")


def fill_variables(text: str, *, recipe: str) -> tuple[str, tuple[str, ...]]:
    """Return the text with each `${NAME}` replaced, and the values that were put in: they are secrets.

    Raises:
        SourceMissing: a variable is not set.
    """
    values = {name: read_variable(name) for name in VARIABLE.findall(text)}
    missing = next((name for name, value in values.items() if not value), None)
    if missing is not None:
        raise SourceMissing(f"the recipe {recipe} needs {missing}, which is not set: set {missing} or {missing}_FILE")
    return VARIABLE.sub(lambda match: str(values[match[1]]), text), tuple(str(value) for value in values.values())


def refuse_literal_password(url: str, recipe: str) -> None:
    """Refuse an address whose password is written in the recipe.

    Raises:
        SourceMissing: it has one.
    """
    password = _PASSWORD.search(url)
    if password is not None and VARIABLE.sub("", password[1]):
        raise SourceMissing(
            f"source.url of the recipe {recipe} holds a password: expected ${{NAME}} in its place, and NAME in the environment"
        )


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return another library's text with each secret replaced by `***`, also where it is URL-encoded."""
    forms = {
        form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret), unquote(secret))
    }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***") if form else text
    return text
