"""What a training reports while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict


class Progress(TypedDict):
    """One finished epoch of one fit."""

    #: which fit, such as "training" or "origin 2 of 5"
    stage: str
    #: epochs that are finished
    done: int
    #: most epochs of this fit
    total: int
    #: mean loss of the last epoch
    loss: float


def describe_epoch(progress: Progress) -> str:
    """Return how far a fit is, in words."""
    return f"epoch {progress['done']} of at most {progress['total']}, loss {progress['loss']:.4g}"


OnProgress = Callable[[Progress], None]
#: called with epochs done, epochs at most and the loss of the last one
OnEpoch = Callable[[int, int, float], None]
