"""Terminal output: tables, charts and JSON on stdout, progress on stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

import flows
import pipeline
from flows.forecast_table import NUMBER_COLUMNS, ForecastTable, Row
from pipeline.text import format_numbers, format_scores, one_line
from pipeline.timeseries.panel import Panel
from pipeline.timeseries.period_labels import PeriodLabels
from pipeline.training.progress import describe_epoch

_CHART_HEIGHT = 14
#: width of a table that is written to a file or a pipe: nothing is cut
_UNLIMITED_WIDTH = 10_000


def print_json(value: Any) -> None:
    """Print one JSON document on stdout; instants and periods are in ISO 8601."""
    print(json.dumps(value, indent=2, default=_to_json))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table on stdout, with numbers aligned right. Lines are cut to the width of a terminal only.

    Args:
        columns: headings.
        rows: values of each row; those of a column of floats get the same number of decimals.
        numbers: headings of columns whose texts are numbers.
    """
    table = Table(header_style="bold", box=None, pad_edge=False)
    texts = [_column_texts([row[n] for row in rows]) for n in range(len(columns))]
    for n, column in enumerate(columns):
        is_number = column in numbers or all(isinstance(row[n], int | float) or row[n] is None for row in rows)
        table.add_column(column, justify="right" if is_number and rows else "left", no_wrap=not sys.stdout.isatty())
    for row in zip(*texts, strict=True):
        table.add_row(*(Text(one_line(text)) for text in row))
    Console(width=None if sys.stdout.isatty() else _UNLIMITED_WIDTH, highlight=False).print(table)


def _column_texts(values: Sequence[Any]) -> list[str]:
    """The values of a column as texts; floats with the same number of decimals, – for None, yes or no."""
    if any(isinstance(value, float) for value in values) and all(isinstance(v, int | float | None) for v in values):
        return format_scores(values)
    return [cell_text(value) for value in values]


def cell_text(value: Any) -> str:
    """A value of a table as text: – for None, yes or no, an instant in UTC to the minute."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format_scores([value])[0]
    if isinstance(value, np.datetime64):
        return period_text(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    return str(value)


def period_text(period: np.datetime64) -> str:
    """The start of a period as `2026-01-31`, with the time in UTC if it is not midnight: `2026-01-31 06:00 UTC`."""
    text = str(period)[:16].replace("T", " ")
    return text.removesuffix(" 00:00") if text.endswith(" 00:00") else f"{text} UTC"


def print_forecast(table: ForecastTable, panel: Panel | None, *, unit: str) -> None:
    """Print a forecast as a table; on a terminal, a single series also as a chart after its history."""
    print_table(table.columns, table.rows, numbers=NUMBER_COLUMNS)
    for note in table.notes:
        print(note)
    if panel is not None and sys.stdout.isatty():
        print(chart(table.shown, panel, table.labels, unit=unit))


def chart(rows: Sequence[Row], panel: Panel, labels: PeriodLabels, *, unit: str) -> str:
    """A text chart of the end of the history, the forecast of one series and its 80 % interval."""
    import plotext

    horizon = len(rows)
    history = panel.series_values(panel.series.index(rows[0]["series"]))[-max(3 * horizon, 24) :]
    past = list(range(len(history)))
    ahead = list(range(len(history) - 1, len(history) + horizon))
    last = float(history[-1])
    plotext.clear_figure()
    plotext.plot_size(min(100, plotext.terminal_width() or 80), _CHART_HEIGHT)
    plotext.theme("clear")
    plotext.plot(past, history.tolist(), label=f"observed{f', {unit}' if unit else ''}", marker="braille")
    for column, label, marker in (
        ("lower_80", "80 % interval", "·"),
        ("upper_80", None, "·"),
        ("mean", "forecast", "●"),
    ):
        plotext.plot(ahead, [last, *(row[column] for row in rows)], label=label, marker=marker)
    ticks = [0, len(history) - 1, ahead[-1]]
    ends = [panel.grid[-len(history)], panel.origin, rows[-1]["period"]]
    plotext.xticks(ticks, labels.texts(ends))
    drawn = [*history.tolist(), *(row[column] for row in rows for column in ("lower_80", "mean", "upper_80"))]
    levels = np.linspace(np.nanmin(drawn), np.nanmax(drawn), _CHART_HEIGHT // 2).tolist()
    plotext.yticks(levels, format_numbers(levels))
    return str(plotext.uncolorize(plotext.build()))


@contextmanager
def progress() -> Iterator[None]:
    """Show progress bars and one line per outcome on stderr, from the log records of the jobs."""
    handler = _ProgressHandler()
    loggers = [logging.getLogger(name) for name in (pipeline.__name__, flows.__name__)]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    try:
        with handler:
            yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


class _ProgressHandler(logging.Handler):
    """Shows records with `step` or `progress` as a bar, other records from INFO on as lines.

    Records that say that a step still runs are lines where there is no bar.
    """

    def __init__(self) -> None:
        super().__init__()
        console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        #: bar of the running step, by thread
        self._steps: dict[int | None, TaskID] = {}

    def __enter__(self) -> _ProgressHandler:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        step, fraction = getattr(record, "step", None), getattr(record, "progress", None)
        if step is not None:
            if record.thread in self._steps:
                self._bars.remove_task(self._steps[record.thread])
            self._steps[record.thread] = self._bars.add_task(str(step), total=None, note="")
        elif fraction is not None and record.thread in self._steps:
            self._bars.update(
                self._steps[record.thread],
                description=str(fraction["stage"]),
                completed=fraction["done"],
                total=fraction["total"],
                note=describe_epoch(fraction),
            )
        elif record.levelno >= logging.INFO and not (
            hasattr(record, "still_running") and self._bars.console.is_terminal
        ):
            self._bars.console.print(f"  {record.getMessage()}", markup=False, soft_wrap=True)


def _to_json(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return str(value)[:19]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
