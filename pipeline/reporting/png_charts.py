"""Render charts as PNG with matplotlib, which needs no browser."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from pipeline.reporting.chart import BLUE, GREY, MAX_MARKERS, SHADE_OPACITY, Axes, Chart
from pipeline.text import format_ticks

_LINE_STYLES = {"solid": "-", "dot": ":", "dash": "--"}
_GRID = "#e3e6ea"


def render_png(chart: Chart) -> bytes:
    """Return the chart's rows as a PNG; the same chart gives the same bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.4 + 1.7 * len(chart.rows)), layout="constrained", facecolor="white")
    all_axes = figure.subplots(len(chart.rows), 1, sharex=True, squeeze=False)[:, 0]
    for axes, row in zip(all_axes, chart.rows, strict=True):
        _draw(axes, row, chart.png_from)
        _label(axes, row)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Any, row: Axes, first: np.datetime64 | None) -> None:
    if row.shade:
        axes.axvspan(*row.shade, color=GREY, alpha=SHADE_OPACITY, linewidth=0, zorder=0)
    for band in row.bands:
        look = {"color": band.color, "alpha": band.opacity, "linewidth": 0}
        axes.fill_between(band.x, band.lower, band.upper, label=band.label, **look)
    if row.bars:
        edges, heights = row.bars
        axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color=BLUE, edgecolor="white", linewidth=0.5)
    for line in row.lines:
        is_drawn = np.full(len(line.x), True) if first is None else line.x >= first
        x, y = line.x[is_drawn], line.y[is_drawn]
        marker = "." if len(x) <= MAX_MARKERS or line.is_points else ""
        style = "" if line.is_points else _LINE_STYLES[line.dash]
        axes.plot(x, y, linestyle=style, color=line.color, linewidth=1.4, marker=marker, label=line.label)


def _label(axes: Any, row: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

    locator = axes.xaxis.get_major_locator()
    if isinstance(locator, AutoDateLocator):
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    elif row.lines and all(np.issubdtype(line.x.dtype, np.integer) for line in row.lines):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter(format_ticks(ticks)))
    axes.set_xlabel(row.xlabel, parse_math=False)
    axes.set_ylabel(row.ylabel, parse_math=False)  # a unit such as "US$" is no formula
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=_GRID)
    axes.margins(x=0.01)
    if row.lines or row.bands:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, frameon=False, borderpad=0)
