"""Render charts for plotly.js: hover, zoom, and a slider through a chart's slides.

Colors such as `var(--ink)` follow the page's light or dark scheme; the page replaces them with its own.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline.reporting.chart import BLUE, GREY, INK, MAX_MARKERS, SHADE_OPACITY, Array, Axes, Band, Chart, Line
from pipeline.text import format_period

#: interactive charts show the newest points of longer lines
MAX_POINTS = 5000
_ROW_PIXELS, _FRAME_PIXELS, _SLIDER_PIXELS = 190, 130, 90
_TRANSPARENT = "rgba(0,0,0,0)"
_LAYOUT = {
    "template": {},
    "hovermode": "x unified",
    "hoverdistance": 40,
    "hoverlabel": {"bgcolor": "var(--paper)", "font": {"color": "var(--ink)"}},
    "font": {"color": "var(--ink)", "family": "inherit", "size": 13},
    "paper_bgcolor": _TRANSPARENT,
    "plot_bgcolor": _TRANSPARENT,
    "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
    "modebar": {"bgcolor": _TRANSPARENT, "color": "var(--soft)", "activecolor": "var(--ink)"},
    "bargap": 0.05,
}
_RULES = {"gridcolor": "var(--rule)", "zerolinecolor": "var(--rule)", "linecolor": "var(--rule)"}
#: numbers in hover texts have at most six digits, and no exponent
_HOVER = {"yhoverformat": ",.6~r"}
#: so have the numbers beside an axis: 0.000012 and 43,890, not 12µ and 43.89k
_TICKS = {"exponentformat": "none", "separatethousands": True}
_SLIDER = {
    "active": 0,
    "pad": {"t": 44},
    "currentvalue": {"prefix": "origin "},
    "bgcolor": "var(--rule)",
    "bordercolor": "var(--rule)",
    "activebgcolor": BLUE,
    "tickcolor": "var(--rule)",
}


@lru_cache(maxsize=1)
def plotly_js() -> str:
    """Return plotly.js, compressed with gzip and in base64: 2.0 MB instead of 4.8 MB."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def render_plotly(chart: Chart) -> dict[str, Any]:
    """Return the `data` and `layout` that `Plotly.newPlot` takes, as plain values."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    rows = (chart.slides[0][1],) if chart.slides else chart.rows
    figure = go.Figure(layout=_layout(chart, len(rows)))
    make_subplots(rows=len(rows), shared_xaxes=True, vertical_spacing=0.1 / len(rows), figure=figure)
    window = [format_period(end) for end in chart.window] if chart.window else None
    for number, axes in enumerate(rows, start=1):
        figure.add_traces(list(_traces(axes)), rows=number, cols=1)
        figure.update_xaxes(_RULES, title=_title(axes.xlabel), range=window, row=number, col=1)
        follows = {"fixedrange": True} if _has_instants(axes) else {}
        figure.update_yaxes(_RULES | _TICKS | follows, title=_title(axes.ylabel), row=number, col=1)
        if axes.shade:
            start, end = (format_period(instant) for instant in axes.shade)
            color = _rgba(GREY, SHADE_OPACITY)
            figure.add_vrect(start, end, row=number, col=1, fillcolor=color, line_width=0, layer="below")
    return dict(figure.to_plotly_json())


def plain_values(values: Array) -> list[Any]:
    """Return instants as text, numbers with eight digits, None for NaN."""
    if np.issubdtype(values.dtype, np.datetime64):
        return [format_period(value) for value in values]
    return [float(f"{value:.8g}") if np.isfinite(value) else None for value in values.astype(np.float64)]


def _layout(chart: Chart, num_rows: int) -> dict[str, Any]:
    slider_pixels = _SLIDER_PIXELS if chart.slides else 0
    return _LAYOUT | {
        "height": _FRAME_PIXELS + _ROW_PIXELS * num_rows + slider_pixels,
        "margin": {"l": 64, "r": 12, "t": 40, "b": 48 + slider_pixels},
        "sliders": [_slider(chart)] if chart.slides else [],
    }


def _has_instants(axes: Axes) -> bool:
    """Whether the x axis is time: then it alone is zoomed, and the page fits the y axis to what is shown."""
    return any(np.issubdtype(line.x.dtype, np.datetime64) for line in axes.lines)


def _traces(axes: Axes) -> Iterator[Any]:
    for band in axes.bands:
        yield from _band_traces(band)
    if axes.bars:
        yield _bar_trace(*axes.bars, name=axes.ylabel)
    for line in axes.lines:
        yield _line_trace(line)


def _band_traces(band: Band) -> Iterator[Any]:
    """Two invisible bounds, and the area between them."""
    import plotly.graph_objects as go

    bound = {"x": plain_values(band.x), "mode": "lines", "line": {"width": 0}, "legendgroup": band.label} | _HOVER
    yield go.Scatter(bound, y=plain_values(band.lower), name=f"{band.label}, lower", showlegend=False)
    yield go.Scatter(
        bound,
        y=plain_values(band.upper),
        name=band.label,
        showlegend=True,
        fill="tonexty",
        fillcolor=_rgba(band.color, band.opacity),
        hovertemplate=f"%{{y}}<extra>{band.label}, upper</extra>",
    )


def _bar_trace(edges: Array, heights: Array, name: str) -> Any:
    import plotly.graph_objects as go

    middles, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    bars = {
        "x": plain_values(middles),
        "y": plain_values(heights),
        "width": plain_values(widths),
        "marker": {"color": BLUE},
    }
    return go.Bar(bars | _HOVER, name=name, showlegend=False)


def _line_trace(line: Line) -> Any:
    import plotly.graph_objects as go

    color = "var(--ink)" if line.color == INK else line.color
    has_markers = 2 < len(line.x) <= MAX_MARKERS
    return go.Scatter(
        _HOVER,
        x=plain_values(line.x[-MAX_POINTS:]),
        y=plain_values(line.y[-MAX_POINTS:]),
        name=line.label,
        showlegend=True,
        mode="markers" if line.is_points else "lines+markers" if has_markers else "lines",
        line={"color": color, "dash": line.dash, "width": 1.8},
        marker={"color": color, "size": 7 if line.is_points else 4},
    )


def _slider(chart: Chart) -> dict[str, Any]:
    """Each step replaces the points of the traces that are not the same on all slides."""
    slides = [[(trace.x, trace.y) for trace in _traces(axes)] for _, axes in chart.slides]
    changing = [n for n, points in enumerate(slides[0]) if any(slide[n] != points for slide in slides)]
    steps = [
        {
            "label": label,
            "method": "restyle",
            "args": [{"x": [slide[n][0] for n in changing], "y": [slide[n][1] for n in changing]}, changing],
        }
        for (label, _), slide in zip(chart.slides, slides, strict=True)
    ]
    return _SLIDER | {"steps": steps}


def _rgba(color: str, opacity: float) -> str:
    from plotly.colors import hex_to_rgb

    return f"rgba({','.join(map(str, hex_to_rgb(color)))},{opacity})"


def _title(text: str) -> dict[str, Any]:
    """An axis title; characters that plotly.js reads as tags or formulas are escaped."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;")
    return {"font": {"size": 13}, "text": escaped}
