"""What can go wrong, split by what the caller can do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.text import one_line, without_secrets


class NextperiodError(Exception):
    """Something went wrong that nextperiod knows how to name, in one line without secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(without_secrets(message)))


class Transient(NextperiodError):
    """Try again later: something that we depend on is away."""


class Permanent(NextperiodError):
    """A person must act: trying again gives the same answer."""


class SourceUnavailable(Transient):
    """The source cannot be read right now."""


class DatabaseUnavailable(Transient):
    """The database cannot be reached."""


class RegistryUnavailable(Transient):
    """MLflow cannot be reached; what it should log waits in the outbox."""


class PrefectUnavailable(Transient):
    """The Prefect server that the environment names does not answer."""


class InvalidRecipe(Permanent):
    """The recipe says something that cannot be carried out."""


class InvalidArgument(Permanent):
    """A command was given something that it cannot use."""


class SourceMissing(Permanent):
    """The source does not exist where the recipe says."""


class NotAllowed(Permanent):
    """The database refuses this to the user that the address names."""


class SchemaOutOfDate(Permanent):
    """The database's schema is older than the code."""


class SchemaTooNew(Permanent):
    """The database's schema is newer than the code."""


class NotEnoughHistory(Permanent):
    """No series is long enough for the recipe's context and horizon."""


class NoObservations(Permanent):
    """Nothing has been ingested for this recipe yet."""


class NothingHeld(Permanent):
    """No batch waits for a person."""


class NoForecaster(Permanent):
    """No model has been trained for this recipe yet."""


class ModelRefused(Permanent):
    """A trained model, or what it forecasts, is not fit to be used."""


class Overtaken(Transient):
    """Another worker changed the same recipe at the same time; doing it again sees what it did."""


class NewerPublished(Permanent):
    """A backfill from newer data is published at the same origin already."""


class Busy(Transient):
    """Another worker holds what is wanted; it gives it back, or its time runs out."""


class TrainingFailed(Permanent):
    """The training process ended without a model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """One row, or one whole file, that was refused, and by which rule."""

    rule: str
    #: counted from 1, the header included; None when the whole file was refused
    line: int | None = None
    column: str | None = None
    series: str | None = None
    text: str | None = None
    #: the file, where the source has many
    file: str | None = None


class BatchRefused(Permanent):
    """Nothing of what the source gave was accepted."""

    def __init__(self, message: str, rejections: Sequence[Rejection] = (), *, source: str) -> None:
        super().__init__(message)
        self.rejections = tuple(rejections)
        self.source = source


class BatchHeld(BatchRefused):
    """Nothing was taken in yet: a person decides whether this is meant."""


def is_refusal(error: BaseException) -> bool:
    """Whether what was given is not fit to be used, rather than that something failed."""
    return isinstance(error, BatchRefused | ModelRefused | NotEnoughHistory | NewerPublished)
