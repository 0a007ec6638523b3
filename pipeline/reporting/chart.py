"""A chart as a value, and as a PNG: rows of lines, bands and bars below each other."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

INK, BLUE = "#33373d", "#1f6fb2"
#: color and line by label; ink and solid where none is given
STYLES = dict.fromkeys(("lstm", "forecast", "validation", "observed share"), (BLUE, "-"))
STYLES |= {"naive": ("#c46a1b", ":"), "seasonal-naive": ("#2a8a63", "--"), "as it should be": ("#8a919c", "--")}
STYLES |= {"zero": ("#8a919c", "--")}
STYLES |= {"95 %": ("#d7e6f3", ""), "80 %": ("#a9cae4", ""), "90 % of them": ("#d7e6f3", "")}
STYLES |= {"50 % of them": ("#a9cae4", ""), "by chance, 95 %": ("#e3e6ea", "")}
#: more points than these are drawn without markers
MOST_MARKED = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """One pair of axes."""

    #: by label (x, y)
    lines: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    #: by label (x, lower, upper)
    bands: Mapping[str, tuple[Array, Array, Array]] = field(default_factory=dict)
    #: edges [B + 1] and heights [B]
    bars: tuple[Array, Array] | None = None
    xlabel: str = ""
    ylabel: str = ""
    shade: tuple[np.datetime64, np.datetime64] | None = None
    #: lines of these labels are points only
    points: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """What is drawn, under which heading of the report, and how it reads."""

    name: str
    section: str
    caption: str
    rows: tuple[Axes, ...]
    #: where a person can walk through one: the same axes by label
    slides: tuple[tuple[str, Axes], ...] = ()
    #: of what is interactive, the part of the first axis that is shown at first
    window: tuple[np.datetime64, np.datetime64] | None = None
    #: in PNGs too much of it would hide the rest: drawn from here on
    png_from: np.datetime64 | None = None


def png_of(chart: Chart) -> bytes:
    """The chart as a picture; the same chart gives the same bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.4 + 1.7 * len(chart.rows)), layout="constrained", facecolor="white")
    all_axes = figure.subplots(len(chart.rows), 1, sharex=True, squeeze=False)[:, 0]
    for axes, row in zip(all_axes, chart.rows, strict=True):
        _draw(axes, row, chart.png_from)
        _finish(axes, row)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Any, row: Axes, first: np.datetime64 | None) -> None:
    if row.shade:
        axes.axvspan(*row.shade, color="#dce4ee", zorder=0)
    for label, band in row.bands.items():
        axes.fill_between(*band, color=STYLES[label][0], linewidth=0, label=label)
    if row.bars:
        edges, heights = row.bars
        axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color=BLUE, edgecolor="white", linewidth=0.5)
    for label, (x, y) in row.lines.items():
        shown = np.full(len(x), True) if first is None else x >= first
        color, style = STYLES.get(label, (INK, "-"))
        marker = "." if shown.sum() <= MOST_MARKED or label in row.points else ""
        style = "" if label in row.points else style
        axes.plot(x[shown], y[shown], linestyle=style, color=color, linewidth=1.4, marker=marker, label=label)


def _finish(axes: Any, row: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    locator = axes.xaxis.get_major_locator()
    if isinstance(locator, AutoDateLocator):
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    elif all(np.issubdtype(x.dtype, np.integer) for x, _ in row.lines.values()) and not row.bars:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(row.xlabel, parse_math=False)
    axes.set_ylabel(row.ylabel, parse_math=False)  # a unit such as "US$" is no formula
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e6ea")
    axes.margins(x=0.01)
    if row.lines or row.bands:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, frameon=False, borderpad=0)
