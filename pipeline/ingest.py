"""Raw rows to observations: what is taken in, what is refused, and by which rule."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import BatchRefused, NotEnoughHistory, Rejection, counted, one_line
from pipeline.frequency import Periods
from pipeline.observations import CleanBatch, Contract, Observations, RawBatch, RawRow
from pipeline.panel import Panel, panel_from_observations
from pipeline.quality import gaps, longest_gap
from pipeline.recipe import Recipe

#: how far ahead of the clock a period may lie: sources and workers do not agree to the second
CLOCK_TOLERANCE = timedelta(days=1)
#: a last line without newline is taken for cut if its step is larger than this many times any other
CUT_STEP = 2.0

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_ISO = {
    "YYYY": re.compile(r"\d{4}", re.ASCII),
    "YYYY-MM": re.compile(r"\d{4}-\d{2}", re.ASCII),
    "YYYY-MM-DD": re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII),
    "YYYY-MM-DD hh:mm": re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}", re.ASCII),
    "YYYY-MM-DD hh:mm:ss": re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d+)?", re.ASCII),
    "YYYY-MM-DD hh:mm:ss±hh:mm": re.compile(
        r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d+)?([+-]\d{2}:?\d{2}|Z)", re.ASCII
    ),
}

ParsePeriod = Callable[[str], "np.datetime64 | None"]


@dataclass(frozen=True, slots=True)
class _Parsed:
    row: RawRow
    period: np.datetime64
    value: float


def clean(raw: RawBatch, recipe: Recipe, known: Observations, *, now: datetime) -> CleanBatch:
    """Check a batch against the recipe's contract and against what is known already.

    Args:
        raw: what the source gave.
        recipe: the contract.
        known: the current values of the recipe's series.
        now: the clock; periods further ahead are refused.

    Raises:
        BatchRefused: more rows are faulty than the recipe allows, or the history would have gaps.
    """
    rejections: tuple[Rejection, ...] = ()
    try:
        parsed, rejections = _parse(raw, recipe, now)
        rejections += raw.rejections
        parsed, conflicts = _without_duplicates(parsed, raw.contract)
        rejections += conflicts
        _refuse_too_many(raw, rejections)
        if not parsed:
            raise BatchRefused(f"{raw.source} gives no value: expected at least one", source=raw.source)
        merged = _merge(parsed, known)
        _refuse_cut(raw, parsed[-1] if not raw.ended else None, merged)
        panel = _panel(merged, recipe)
        _refuse_gaps(raw, recipe, panel, rejections)
    except BatchRefused as refusal:
        raise BatchRefused(str(refusal), [*rejections, *refusal.rejections], source=raw.source) from None
    return _compare(raw, parsed, known, rejections, panel)


def refuse_short(series: str, has: int, recipe: Recipe) -> None:
    """Refuse a history on which nothing can be trained.

    Raises:
        NotEnoughHistory: `has` observations do not hold one context and one horizon.
    """
    needed = recipe.context + recipe.horizon
    if has < needed:
        raise NotEnoughHistory(
            f'series "{series}" has {counted(has, "observation")}, context {recipe.context} + horizon {recipe.horizon} need {needed}: '
            f"{needed - has} are missing; add them, or shorten model.context or horizon"
        )


def _parse(raw: RawBatch, recipe: Recipe, now: datetime) -> tuple[list[_Parsed], tuple[Rejection, ...]]:
    contract = raw.contract
    parse_period, expected = _period_parser(raw, recipe)
    latest = np.datetime64((now + CLOCK_TOLERANCE).astimezone(UTC).replace(tzinfo=None), "us")
    parsed: list[_Parsed] = []
    rejections: list[Rejection] = []

    def reject(row: RawRow, column: str | None, text: str, rule: str) -> None:
        rejections.append(Rejection(line=row.line, column=column, series=row.series, text=text[:200], rule=rule))

    for row in raw.rows:
        period = parse_period(row.period)
        value, fault = parse_value(row.value, contract.limit)
        if not row.series or one_line(row.series) != row.series:
            reject(row, contract.series, row.series, "is not a name of a series: expected visible characters")
        elif period is None:
            reject(row, contract.period, row.period, f"is not a period: expected {expected}")
        elif period > latest:
            reject(row, contract.period, row.period, "lies in the future")
        elif fault is None:
            parsed.append(_Parsed(row, period, value))
        elif fault != "is missing" or contract.missing == "reject":
            reject(row, contract.value, row.value, fault)
    if parsed:
        _refuse_wide(raw, recipe, parsed)
        on_grid = recipe.grid.on_grid(np.array([item.period for item in parsed]))
        what = (
            f"is no session of {recipe.calendar}"
            if recipe.calendar
            else f'is not on the frequency "{recipe.frequency}"'
        )
        for item in (item for item, fits in zip(parsed, on_grid, strict=True) if not fits):
            reject(item.row, contract.period, item.row.period, what)
        parsed = [item for item, fits in zip(parsed, on_grid, strict=True) if fits]
    return parsed, tuple(rejections)


def _most_slots(num_rows: int) -> int:
    """Periods that a batch may span: far more than any history with few gaps does."""
    return 100_000 + 100 * num_rows


def _refuse_wide(raw: RawBatch, recipe: Recipe, parsed: list[_Parsed]) -> None:
    """One mistyped year must not make a grid of millions of periods."""
    ends = min(parsed, key=lambda item: item.period), max(parsed, key=lambda item: item.period)
    spanned = recipe.grid.steps_between(ends[0].period, ends[1].period)
    if spanned > _most_slots(len(raw.rows)):
        first, last = (f'"{item.row.period}" in line {item.row.line}' for item in ends)
        raise BatchRefused(
            f"{raw.source} spans about {spanned:,} periods with {counted(len(raw.rows), 'row')}, from {first} to {last}: "
            "is one of them mistyped?",
            [Rejection(line=item.row.line, series=item.row.series, text=item.row.period, rule="span") for item in ends],
            source=raw.source,
        )


def parse_value(text: str, limit: float) -> tuple[float, str | None]:
    """The number that a text is, or NaN and what is wrong with it."""
    if text.lower() in ("", "nan", "na", "null", "none"):
        return math.nan, "is missing"
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return math.nan, "is not finite"
    if not _NUMBER.fullmatch(text):
        return math.nan, "is not a number: expected digits, a point and an exponent only"
    value = float(text)
    if not math.isfinite(value):
        return math.nan, "is not finite"
    if abs(value) > limit:
        return math.nan, f"is larger than {limit:g}, the recipe's source.limit"
    return value, None


def _period_parser(raw: RawBatch, recipe: Recipe) -> tuple[ParsePeriod, str]:
    """How this batch writes periods: the first row decides, the others must agree."""
    contract = raw.contract
    if contract.counted_from is not None:
        first = np.datetime64(pd.Timestamp(contract.counted_from), "us")
        counts = [int(row.period) for row in raw.rows if _is_count(row.period)]
        most = min(max(counts, default=1), _most_slots(len(raw.rows)))
        grid = np.append(first, recipe.grid.after(first, most))
        return (
            lambda text: grid[int(text) - 1] if _is_count(text) and 0 < int(text) <= len(grid) else None,
            "a count from 1",
        )
    if contract.period_format is not None:
        form = contract.period_format
        return lambda text: _strptime(text, form), f'the format "{form}"'
    sample = raw.rows[0].period if raw.rows else ""
    style = next((name for name, pattern in _ISO.items() if pattern.fullmatch(sample)), None)
    if style is None:
        return lambda _: None, "ISO 8601, such as 2026-01-31, or source.period_format in the recipe"
    return (
        lambda text: _fromisoformat(text, style) if _ISO[style].fullmatch(text) else None,
        f"{style}, as in the first row",
    )


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 9


def _strptime(text: str, form: str) -> np.datetime64 | None:
    try:
        return _utc(datetime.strptime(text, form))
    except (ValueError, OverflowError):
        return None


def _fromisoformat(text: str, style: str) -> np.datetime64 | None:
    try:
        return _utc(datetime.fromisoformat({"YYYY": f"{text}-01-01", "YYYY-MM": f"{text}-01"}.get(style, text)))
    except (ValueError, OverflowError):
        return None


def _utc(moment: datetime) -> np.datetime64:
    naive = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return np.datetime64(naive, "us")


def _without_duplicates(parsed: list[_Parsed], contract: Contract) -> tuple[list[_Parsed], tuple[Rejection, ...]]:
    """Equal values for one period collapse; different ones follow the recipe's rule."""
    rule = contract.duplicates
    kept: dict[tuple[str, np.datetime64], _Parsed] = {}
    conflicts: dict[tuple[str, np.datetime64], list[_Parsed]] = {}
    for item in parsed:
        key = (item.row.series, item.period)
        earlier = kept.setdefault(key, item)
        if item.value == earlier.value:
            continue
        if rule == "error":
            conflicts.setdefault(key, [earlier]).append(item)
        elif rule == "last":
            kept[key] = item
    rejections = [
        Rejection(
            line=item.row.line,
            column=contract.value,
            series=item.row.series,
            text=item.row.value,
            rule=f"is one of {len(items)} different values for {item.row.period} (lines {', '.join(str(other.row.line) for other in items)})",
        )
        for items in conflicts.values()
        for item in items
    ]
    return [item for key, item in kept.items() if key not in conflicts], tuple(rejections)


def _refuse_too_many(raw: RawBatch, rejections: tuple[Rejection, ...]) -> None:
    allowed = raw.contract.max_rejected
    total = len(raw.rows) + len(raw.rejections)
    if not rejections or len(rejections) / total <= allowed:
        return
    share = f"{len(rejections)} of {counted(total, 'row')} refused, at most {100 * allowed:g} % allowed"
    raise BatchRefused(f"{raw.source} {_first(rejections)}; {share}, nothing was taken in", source=raw.source)


def _first(rejections: tuple[Rejection, ...]) -> str:
    """The first refused row in words."""
    first = min(rejections, key=lambda rejection: rejection.line or 0)
    text = f' "{first.text}"' if first.text is not None else ""
    column = f", column {first.column}" if first.column else ""
    return f"line {first.line}{column}:{text} {first.rule}"


def _merge(parsed: Iterable[_Parsed], known: Observations) -> dict[tuple[str, np.datetime64], float]:
    merged = {(known.names[s], p): v for s, p, v in zip(known.series, known.period, known.value, strict=True)}
    merged.update({(item.row.series, item.period): item.value for item in parsed})
    return merged


def _refuse_cut(raw: RawBatch, last: _Parsed | None, merged: dict[tuple[str, np.datetime64], float]) -> None:
    """A number cut short at the end of a file is still a number: judge it by the steps of the others."""
    if last is None:
        return
    series = sorted((period, value) for (name, period), value in merged.items() if name == last.row.series)
    values = np.array([value for period, value in series if period != last.period])
    if len(values) < 3 or series[-1][0] != last.period:
        return
    if abs(last.value - values[-1]) > CUT_STEP * float(np.abs(np.diff(values)).max()):
        raise BatchRefused(
            f'{raw.source} ends in line {last.row.line} without a newline, and "{last.row.value}" is further from the value '
            f"before than any other: the file seems to be cut; fetch it again, or end its last line if it is whole",
            [Rejection(line=last.row.line, series=last.row.series, text=last.row.value, rule="cut")],
            source=raw.source,
        )


def _refuse_gaps(raw: RawBatch, recipe: Recipe, panel: Panel, rejections: tuple[Rejection, ...]) -> None:
    for s, name in enumerate(panel.series):
        if longest_gap(panel.of(s)) <= recipe.max_gap:
            continue
        missing = panel.grid[panel.first[s] + gaps(panel.of(s))]
        shown = ", ".join(_shown(period) for period in missing[:5]) + (", …" if len(missing) > 5 else "")
        why = f" ({_first(rejections)})" if rejections else ""
        raise BatchRefused(
            f'{raw.source}: series "{name}" has no value for {counted(len(missing), "period")} between its first and its last: '
            f"{shown}{why}; expected gaps of at most max_gap = {recipe.max_gap}: add the values, or raise max_gap",
            [Rejection(rule="gap", series=name, text=shown)],
            source=raw.source,
        )


def _shown(period: np.datetime64) -> str:
    return str(period)[:16].removesuffix("T00:00")


def _panel(merged: dict[tuple[str, np.datetime64], float], recipe: Recipe) -> Panel:
    names = tuple(sorted({series for series, _ in merged}))
    position = {name: s for s, name in enumerate(names)}
    keys = sorted(merged)
    return panel_from_observations(
        names,
        np.array([position[series] for series, _ in keys]),
        np.array([period for _, period in keys]),
        np.array([merged[key] for key in keys]),
        frequency=recipe.grid,
    )


def _compare(
    raw: RawBatch, parsed: list[_Parsed], known: Observations, rejections: tuple[Rejection, ...], panel: Panel
) -> CleanBatch:
    current = {(known.names[s], p): v for s, p, v in zip(known.series, known.period, known.value, strict=True)}
    changed = [item for item in parsed if current.get((item.row.series, item.period)) != item.value]
    num_revised = sum((item.row.series, item.period) in current for item in changed)
    changed.sort(key=lambda item: (item.row.series, item.period))
    names = tuple(sorted({item.row.series for item in changed}))
    position = {name: s for s, name in enumerate(names)}
    return CleanBatch(
        source=raw.source,
        content_hash=raw.content_hash,
        observations=Observations(
            names=names,
            series=np.array([position[item.row.series] for item in changed], dtype=np.int64),
            period=_periods([item.period for item in changed]),
            value=np.array([item.value for item in changed], dtype=np.float64),
        ),
        num_read=len(raw.rows) + len(raw.rejections),
        num_new=len(changed) - num_revised,
        num_revised=num_revised,
        num_same=len(parsed) - len(changed),
        rejections=rejections,
        longest_series=panel.series[int(panel.lengths.argmax())],
        longest_length=int(panel.lengths.max()),
    )


def _periods(values: list[np.datetime64]) -> Periods:
    result: npt.NDArray[np.datetime64] = np.array(values, dtype="datetime64[us]")
    return result
