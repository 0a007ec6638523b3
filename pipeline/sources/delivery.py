"""What a source delivers: Arrow chunks in which every row has its line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import Rejection
from pipeline.sources.dialect import Dialect


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchContext:
    """What a source may use to fetch only what is new: the time and the last accepted delivery.

    Everything but `now` is empty at the first fetch of a recipe.
    """

    #: the current time, aware; a source takes dates from here, not from the clock
    now: datetime
    #: content hash of the last accepted delivery
    content_hash: str | None = None
    #: `Delivery.state` of the last accepted delivery, unchanged: a cursor, an ETag
    state: Mapping[str, str] = field(default_factory=dict)
    #: the newest stored period of any series; None before the first observation
    newest_period: np.datetime64 | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Some rows of a source, in the order of the source."""

    #: one Arrow column for each column of the source: text as it is written, or typed values of a typed source
    columns: pa.RecordBatch
    #: place of each row, counted from 1: the line of a text, the header included, otherwise the row number
    line: npt.NDArray[np.int64]  # [n]
    #: name of the file, where the source has several
    file: str | None = None
    #: rows that could not be split into columns
    rejections: tuple[Rejection, ...] = ()
    #: how the text is written that the rows are from; None if they are from no table of text
    dialect: Dialect | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """Everything that one fetch gives; its chunks can be read until the fetch's context manager exits."""

    #: name of the source in messages and tables
    source: str
    #: hash of the content and of the settings that decide what it means
    content_hash: str
    #: reads the rows from the beginning at each call
    chunks: Callable[[], Iterable[Chunk]]
    #: given back at the next fetch as `FetchContext.state`: a cursor, an ETag
    state: Mapping[str, str] = field(default_factory=dict)
    #: True if it holds only what is new: a stored value that is not in it is not missing
    incremental: bool = False
    #: False if the last line of a text has no newline, as in a file that was cut
    ended: bool = True
