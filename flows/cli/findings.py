"""What a check of `nextperiod doctor` finds, and the time that it may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Literal, TypeVar

from pipeline.errors import NextperiodError
from pipeline.text import one_line, without_secrets

T = TypeVar("T")

#: how long a check of a server may take
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line about the installation."""

    #: failure: a command does not work, or what is stored is not safe; warning: it works, and somebody should look
    status: Literal["ok", "warning", "failure"]
    #: what is wrong, with the values, and how to fix it
    text: str


def ok(text: str) -> Finding:
    """Return a finding that needs nobody."""
    return Finding(status="ok", text=one_line(without_secrets(text)))


def warning(text: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(status="warning", text=one_line(without_secrets(text)))


def failure(text: str) -> Finding:
    """Return a finding that somebody has to fix."""
    return Finding(status="failure", text=one_line(without_secrets(text)))


class NoAnswer(NextperiodError):
    """A server accepts a connection and does not answer in time."""


def within_time(work: Callable[[], T], *, of: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Return what the work returns, or raise what it raises. Work that takes too long is left alone in its thread.

    Args:
        work: what to do.
        of: what does not answer, for the message.
        seconds: how long it may take.

    Raises:
        NoAnswer: it has not ended in time.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised again in the thread that waits
            errors.append(error)

    thread = Thread(target=run, name="doctor", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise NoAnswer(f"{of} gave no answer within {seconds:g} s: look whether it hangs, and restart it if it does")
    if errors:
        raise errors[0]
    return results[0]
