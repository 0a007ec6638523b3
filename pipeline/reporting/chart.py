"""A chart as a value: what is drawn, in which colors. Two backends render it: `png_charts` and `plotly_charts`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Instants = tuple[np.datetime64, np.datetime64]

#: interactive charts draw INK in the text color of the page, which is light on dark paper
INK, BLUE, ORANGE, GREEN, GREY = "#33373d", "#1f6fb2", "#c46a1b", "#2a8a63", "#8a919c"
#: lines with more points are drawn without markers
MAX_MARKERS = 60
#: opacity of a shaded part of the x axis, which is GREY
SHADE_OPACITY = 0.16


@dataclass(frozen=True, slots=True)
class Line:
    """A line [N] through points; NaN interrupts it."""

    label: str
    x: Array
    y: Array
    _: KW_ONLY
    color: str = INK
    dash: Literal["solid", "dot", "dash"] = "solid"
    #: draw the points without a line
    is_points: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """The area [N] between two lines."""

    label: str
    x: Array
    lower: Array
    upper: Array
    _: KW_ONLY
    color: str = BLUE
    opacity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """One pair of axes; bands lie below lines."""

    lines: tuple[Line, ...] = ()
    bands: tuple[Band, ...] = ()
    #: a histogram: edges [B + 1] and heights [B]
    bars: tuple[Array, Array] | None = None
    xlabel: str = ""
    ylabel: str = ""
    #: a part of the x axis that is shaded
    shade: Instants | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Pairs of axes below each other, with a common x axis."""

    name: str
    #: the heading of the report below which it stands
    section: str
    caption: str
    #: the series that it shows; empty: all of them
    series: str = ""
    rows: tuple[Axes, ...]
    #: (label, axes): interactive charts show one of these at a time, with a slider, instead of `rows`
    slides: tuple[tuple[str, Axes], ...] = ()
    #: the part of the x axis that an interactive chart shows at first
    window: Instants | None = None
    #: PNGs draw lines from here on
    png_from: np.datetime64 | None = None
