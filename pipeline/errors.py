"""Errors, by what the caller can do about them: try again later, or have a person act."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.text import one_line, without_secrets

if TYPE_CHECKING:
    import numpy as np


class NextperiodError(Exception):
    """An error that nextperiod explains: its message is one line without secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(without_secrets(message)))


class Transient(NextperiodError):
    """Try again later: a service is not available at the moment."""


class Permanent(NextperiodError):
    """A person must act: trying again gives the same error."""


class SourceUnavailable(Transient):
    """The source cannot be read right now."""


class DatabaseUnavailable(Transient):
    """The database cannot be reached."""


class RegistryUnavailable(Transient):
    """MLflow cannot be reached; what it should log waits in the outbox."""


class RegistryRefused(Permanent):
    """MLflow refuses a request: it would refuse it again, because somebody deleted or changed what it is about."""


class PrefectUnavailable(Transient):
    """The Prefect server that the environment names does not answer."""


class InvalidRecipe(Permanent):
    """The recipe is not valid, or cannot be carried out."""


class InvalidArgument(Permanent):
    """An argument of a command is not usable."""


class SourceMissing(Permanent):
    """The source does not exist where the recipe says."""


class NotAllowed(Permanent):
    """The database user lacks the right to do this."""


class SchemaOutOfDate(Permanent):
    """The database's schema is older than the code."""


class SchemaTooNew(Permanent):
    """The database's schema is newer than the code."""


class NotEnoughHistory(Permanent):
    """A series is too short for the recipe's context and horizon."""


class NoObservations(Permanent):
    """Nothing has been ingested for this recipe yet."""


class NothingHeld(Permanent):
    """No batch is on hold."""


class NoForecaster(Permanent):
    """No model has been trained for this recipe yet."""


class ModelRefused(Permanent):
    """A trained model or its forecast is not usable."""


class CovariateMissing(Permanent):
    """A covariate is not known for the periods that are to be forecast."""


class SeriesEnded(Permanent):
    """More series have ended since the last run than a recipe expects."""


class Overtaken(Transient):
    """Another worker changed the same recipe at the same time; a new attempt sees its changes."""


class NewerPublished(Permanent):
    """A backfill from newer data is published at the same origin already."""


class Busy(Transient):
    """Another worker holds the lease; it releases it, or the lease expires."""


class TrainingFailed(Permanent):
    """The training process ended without a model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """One row that was rejected, or one whole file that was refused, and the rule that it broke."""

    rule: str
    #: counted from 1, header included; None if the whole file was refused
    line: int | None = None
    column: str | None = None
    series: str | None = None
    #: None if the row has none that can be read
    period: np.datetime64 | None = None
    text: str | None = None
    #: the file, if the source has many
    file: str | None = None


class BatchRefused(Permanent):
    """A delivery was refused: nothing of it is stored."""

    def __init__(self, message: str, rejections: Sequence[Rejection] = (), *, source: str) -> None:
        super().__init__(message)
        self.rejections = tuple(rejections)
        self.source = source


class BatchHeld(BatchRefused):
    """A batch is on hold until a person accepts it: nothing of it is stored yet."""


def is_refusal(error: BaseException) -> bool:
    """Whether a delivery, a model or a forecast was refused, rather than that something failed."""
    return isinstance(
        error, BatchRefused | ModelRefused | NotEnoughHistory | CovariateMissing | SeriesEnded | NewerPublished
    )
