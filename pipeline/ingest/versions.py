"""Since when delivered rows are known, which of them withdraw a value, and what versions add to the stored ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.recipe import Recipe
from pipeline.config.sources import Source, parse_duration
from pipeline.ingest.parsers import Faults, to_text
from pipeline.ingest.timezones import local_to_utc
from pipeline.timeseries.frequency import Frequency, Periods
from pipeline.timeseries.long_values import Change, LongValues, VersionChange, Versions, concatenate, empty_values

#: words of an operation column, in lower case
ADDS = frozenset(
    [
        "insert",
        "i",
        "create",
        "c",
        "add",
        "a",
        "new",
        "read",
        "r",
        "update",
        "u",
        "upsert",
        "change",
        "replace",
        "correct",
        "correction",
        "revise",
        "revision",
    ]
)
WITHDRAWS = frozenset(["delete", "d", "remove", "withdraw", "withdrawal", "withdrawn", "retract", "void"])

_NOT_AN_INSTANT = "is no date or instant: expected ISO 8601, such as 2026-11-22 or 2026-11-22T06:30Z"
#: what pandas reads as no instant, or as the present one
_NO_INSTANTS = {"nat", "nan", "none", "null", "na", "n/a", "<na>", "now", "today"}
_UNKNOWN_OPERATION = "is no operation: expected insert, update or delete"
#: strptime directives that a date in a file's name may have, as regular expressions
_DIRECTIVES = {"%Y": r"\d{4}", "%j": r"\d{3}", "%b": "[A-Za-z]{3}", "%B": "[A-Za-z]+", "%f": r"\d{1,6}", "%%": "%"}

Mask = npt.NDArray[np.bool_]


def parse_known_at(column: pa.ChunkedArray, source: Source) -> tuple[Periods, Faults]:
    """Return the instants [n] of a column in UTC, and what is wrong with the rows that have none.

    A month or a day stands for its first moment. Times without an offset are local times of the source's zone, or UTC.
    """
    encoded = pc.dictionary_encode(to_text(column))
    distinct = [_parse_instant(text, source.zone) for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    instants = np.array([*distinct, np.datetime64("NaT")], "datetime64[us]")[codes]
    return instants, dict.fromkeys(np.flatnonzero(np.isnat(instants)).tolist(), _NOT_AN_INSTANT)


def _parse_instant(text: str, zone: str | None) -> np.datetime64:
    if not text or text.lower() in _NO_INSTANTS:
        return np.datetime64("NaT", "us")
    try:
        stamp = pd.Timestamp(text)
    except (ValueError, OverflowError):
        return np.datetime64("NaT", "us")
    if stamp.tzinfo is not None:
        return np.datetime64(stamp.tz_convert(UTC).tz_localize(None).to_pydatetime(), "us")
    moment = np.datetime64(stamp.to_pydatetime(), "us")
    return moment if zone is None else local_to_utc(np.array([moment]), ZoneInfo(zone))[1][0]


def find_vintage(name: str, form: str) -> np.datetime64 | None:
    """Return the date in the name of a file; None if the name has none.

    Args:
        name: of the file, which may have folders.
        form: strptime format of the date.
    """
    parts = re.findall(r"%.|[^%]+", form)
    pattern = "".join(_DIRECTIVES.get(part, r"\d{1,2}") if part.startswith("%") else re.escape(part) for part in parts)
    for match in reversed(list(re.finditer(rf"(?<!\d){pattern}(?!\d)", PurePath(name).name))):
        try:
            return np.datetime64(datetime.strptime(match[0], form), "us")
        except ValueError:
            continue
    return None


def parse_operations(column: pa.ChunkedArray) -> tuple[Mask, Faults]:
    """Return which rows withdraw a value [n], and what is wrong with rows whose operation is not known."""
    encoded = pc.dictionary_encode(to_text(column))
    words = [text.strip().lower() for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    withdraws = np.array([word in WITHDRAWS for word in words], bool)[codes]
    is_known = np.array([word in ADDS or word in WITHDRAWS for word in words], bool)[codes]
    return withdraws, dict.fromkeys(np.flatnonzero(~is_known).tolist(), _UNKNOWN_OPERATION)


def published_after(periods: Periods, lag: str, grid: Frequency) -> Periods:
    """Return when values of periods [n] count as published: so long after the end of their period.

    Args:
        periods: on the grid, each once, ascending.
        lag: an ISO 8601 duration.
        grid: the frequency of the periods.
    """
    duration = parse_duration(lag)
    assert duration is not None
    months, length = duration
    after_last = grid.after(periods[-1], 1)
    following = np.append(grid.between(periods[0], periods[-1]), after_last)
    ends = following[np.searchsorted(following, periods, side="right")]
    if months:
        ends = (pd.DatetimeIndex(ends) + pd.DateOffset(months=months)).to_numpy().astype("datetime64[us]")
    published: Periods = ends + np.timedelta64(length)
    return published


def compare_versions(delivered: Versions, stored: Versions) -> VersionChange:
    """Return what delivered versions add to the stored versions of the same series.

    A delivered version adds something if it differs from the version that was known when it became known.

    Args:
        delivered: in order of series, period and instant; of two of one instant the last one counts.
        stored: in the same order.
    """
    values = concatenate(stored.values, delivered.values)
    known_at = np.concatenate([stored.known_at, delivered.known_at])
    is_delivered = np.arange(len(values)) >= len(stored)
    order = np.lexsort((is_delivered, known_at, values.period, values.series))
    rows, known_at, is_delivered = values.take(order), known_at[order], is_delivered[order]
    is_first = np.ones(len(rows), bool)
    is_first[1:] = (rows.series[1:] != rows.series[:-1]) | (rows.period[1:] != rows.period[:-1])
    value, before = rows.value, np.append(np.nan, rows.value[:-1])
    is_gap, was_gap = np.isnan(value), is_first | np.isnan(before)
    changes = is_delivered & np.where(was_gap, ~is_gap, is_gap | (value != before))
    group = np.cumsum(is_first) - 1
    num_groups = int(group[-1]) + 1 if len(group) else 0
    last_stored, first_change = np.full(num_groups, -1), np.full(num_groups, len(rows))
    np.maximum.at(last_stored, group[~is_delivered], np.flatnonzero(~is_delivered))
    np.minimum.at(first_change, group[changes], np.flatnonzero(changes))
    at = np.arange(len(rows))
    is_older = changes & (at < last_stored[group])
    is_new = changes & (last_stored[group] < 0) & (at == first_change[group])
    versions = Versions(rows, known_at)
    return VersionChange(
        new=versions.take(is_new),
        revised=versions.take(changes & ~is_older & ~is_new),
        older=versions.take(is_older),
        num_same=int((is_delivered & ~changes).sum()),
    )


def newest_values(versions: Versions) -> LongValues:
    """Return the newest version of each value; NaN: withdrawn."""
    values = versions.values
    is_last = np.ones(len(values), bool)
    is_last[:-1] = (values.series[1:] != values.series[:-1]) | (values.period[1:] != values.period[:-1])
    return values.take(is_last)


def publish_late(
    change: Change, is_new_series: Mask, names: Sequence[tuple[str, str]], recipe: Recipe, now: datetime
) -> VersionChange:
    """Return new and revised values with the instants since when they count as known.

    Values of a series that was never delivered before count as known `publication_lag` after their period, those of
    its covariates that are known ahead since the first of these instants; all others since now.

    Args:
        change: what a delivery adds.
        is_new_series: by series number.
        names: (series, variable) by series number.
        recipe: its source has a publication lag.
        now: the clock.
    """
    new, moment = change.new, np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "us")
    known_at = np.full(len(new), moment)
    is_first = is_new_series[new.series]
    if is_first.any():
        assert recipe.source.publication_lag is not None
        periods = np.unique(new.period[is_first])
        published = np.minimum(published_after(periods, recipe.source.publication_lag, recipe.grid), moment)
        is_ahead = np.array([variable in recipe.covariates.future for _, variable in names], bool)[new.series]
        at = np.searchsorted(periods, new.period[is_first])
        known_at[is_first] = np.where(is_ahead[is_first], published[0], published[at])
    empty = Versions(empty_values(), np.empty(0, "datetime64[us]"))
    revised = Versions(change.revised, np.full(len(change.revised), moment))
    return VersionChange(new=Versions(new, known_at), revised=revised, older=empty, num_same=change.num_same)
