"""What a source delivers: Arrow chunks, each row with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import Rejection


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
    """Some rows of a source in its own order, a column each."""

    #: text as it was written, or numbers and timestamps of a source that has types
    columns: pa.RecordBatch
    #: where each row is: the line of a text, else the number of the row; from 1, a header included
    line: npt.NDArray[np.int64]  # [n]
    #: the file, where the source has many
    file: str | None = None
    #: rows that could not even be split into columns
    rejections: tuple[Rejection, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """All that a source gives."""

    #: where it comes from, as messages and tables show it
    source: str
    #: of the content and of the settings that decide what it means
    content_hash: str
    #: the rows, read on demand, as often as asked
    chunks: Callable[[], Iterable[Chunk]]
    #: left for the next time: a cursor, an ETag
    state: Mapping[str, str] = field(default_factory=dict)
    #: only what came since the last time, so that nothing can be missing of what was known
    incremental: bool = False
    #: whether the last line was ended; a text that is cut lacks that
    ended: bool = True
