"""A chart as plotly.js draws it: hover, zoom, and a slider where there is something to walk through.

Colors that follow the page's scheme are named `@ink` and so on; the page puts them in.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline.reporting.chart import BLUE, INK, MOST_MARKED, STYLES, Array, Axes, Chart

#: of a longer line the newest points are shown
MOST_POINTS = 5000
_DASHES = {"-": "solid", ":": "dot", "--": "dash", "": "solid"}
#: a band is seen through, so that it does on light and dark paper
_BANDS = {"95 %": 0.16, "80 %": 0.28, "90 % of them": 0.16, "50 % of them": 0.28, "by chance, 95 %": 0.22}
_GREY_BANDS = ("by chance, 95 %",)
_ROW_PIXELS, _FRAME_PIXELS, _SLIDER_PIXELS = 190, 130, 90


@lru_cache(maxsize=1)
def plotly_js() -> str:
    """The library, compressed and in base64: 2.0 MB instead of 4.8; the browser unpacks it."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def spec_of(chart: Chart) -> dict[str, Any]:
    """What `Plotly.newPlot` is given: `data` and `layout`, of plain values."""
    rows = (chart.slides[0][1],) if chart.slides else chart.rows
    layout = _layout(chart, rows)
    if chart.slides:
        layout["sliders"] = [_slider(chart)]
    return {"data": [trace for n, row in enumerate(rows) for trace in _traces(row, n)], "layout": layout}


def _traces(row: Axes, n: int) -> Iterator[dict[str, Any]]:
    number = str(n + 1) if n else ""
    axes = {"xaxis": f"x{number}", "yaxis": f"y{number}", "yhoverformat": ",.6~g", "showlegend": True}
    for label, (x, lower, upper) in row.bands.items():
        grey, alpha = label in _GREY_BANDS, _BANDS[label]
        color = f"rgba(138,145,156,{alpha})" if grey else f"rgba(31,111,178,{alpha})"
        bound = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "legendgroup": label, **axes}
        yield bound | {"x": _plain(x), "y": _plain(lower), "name": f"{label}, lower", "showlegend": False}
        yield (
            bound
            | {"x": _plain(x), "y": _plain(upper), "name": label, "fill": "tonexty", "fillcolor": color}
            | {"hovertemplate": f"%{{y}}<extra>{label}, upper</extra>"}
        )
    if row.bars:
        edges, heights = row.bars
        middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
        bars = {"x": _plain(middle), "y": _plain(heights), "width": _plain(width), "marker": {"color": BLUE}}
        yield {"type": "bar", "name": row.ylabel, **bars, **axes, "showlegend": False}
    for label, (x, y) in row.lines.items():
        color, style = STYLES.get(label, (INK, "-"))
        shown = "@ink" if color == INK else color
        is_marked = 2 < len(x) <= MOST_MARKED
        mode = "markers" if label in row.points else "lines+markers" if is_marked else "lines"
        line = {"color": shown, "dash": _DASHES[style], "width": 1.8}
        marker = {"color": shown, "size": 7 if label in row.points else 4}
        told = {"x": _plain(x[-MOST_POINTS:]), "y": _plain(y[-MOST_POINTS:]), "name": label}
        yield {"type": "scatter", "mode": mode, "line": line, "marker": marker, **told, **axes}


def _layout(chart: Chart, rows: tuple[Axes, ...]) -> dict[str, Any]:
    slider = _SLIDER_PIXELS if chart.slides else 0
    layout: dict[str, Any] = {
        "height": _FRAME_PIXELS + _ROW_PIXELS * len(rows) + slider,
        "hovermode": "x unified",
        "hoverdistance": 40,
        "hoverlabel": {"bgcolor": "@paper", "font": {"color": "@ink"}},
        "font": {"color": "@ink", "family": "inherit", "size": 13},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 64, "r": 12, "t": 40, "b": 48 + slider},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "@soft", "activecolor": "@ink"},
        "bargap": 0.05,
        "shapes": [_shade(row, n) for n, row in enumerate(rows) if row.shade],
    }
    share = 1 / len(rows)
    for n, row in enumerate(rows):
        number = str(n + 1) if n else ""
        low = 1 - share * (n + 1)
        line = {"gridcolor": "@rule", "zerolinecolor": "@rule", "linecolor": "@rule"}
        bottom = n == len(rows) - 1
        layout[f"xaxis{number}"] = {"anchor": f"y{number}", "showticklabels": bottom, **line} | _x_of(chart, row, n)
        domain = [low + (0 if bottom else 0.1 * share), low + share]
        layout[f"yaxis{number}"] = {
            "anchor": f"x{number}",
            "domain": domain,
            "title": _title(row.ylabel),
        } | line
    return layout


def _x_of(chart: Chart, row: Axes, n: int) -> dict[str, Any]:
    told: dict[str, Any] = {"title": _title(row.xlabel)} | ({"matches": "x"} if n else {})
    return told | ({"range": [_instant(end) for end in chart.window]} if chart.window else {})


def _shade(row: Axes, n: int) -> dict[str, Any]:
    assert row.shade is not None
    number = str(n + 1) if n else ""
    ends = dict(zip(("x0", "x1"), (_instant(end) for end in row.shade), strict=True))
    look = {"fillcolor": "rgba(138,145,156,0.16)", "line": {"width": 0}, "layer": "below"}
    return {"type": "rect", "xref": f"x{number}", "yref": f"y{number} domain", "y0": 0, "y1": 1, **ends, **look}


def _slider(chart: Chart) -> dict[str, Any]:
    """Each step puts in what differs between the slides."""
    drawn = [list(_traces(row, 0)) for _, row in chart.slides]
    moving = [n for n in range(len(drawn[0])) if any(_points(one[n]) != _points(drawn[0][n]) for one in drawn)]
    steps = [
        {
            "label": label,
            "method": "restyle",
            "args": [{"x": [one[n]["x"] for n in moving], "y": [one[n]["y"] for n in moving]}, moving],
        }
        for (label, _), one in zip(chart.slides, drawn, strict=True)
    ]
    look = {"bgcolor": "@rule", "bordercolor": "@rule", "activebgcolor": BLUE, "tickcolor": "@rule"}
    return {"active": 0, "steps": steps, "pad": {"t": 44}, "currentvalue": {"prefix": "origin "}, **look}


def _points(trace: dict[str, Any]) -> tuple[Any, Any]:
    return trace["x"], trace["y"]


def _plain(values: Array) -> list[Any]:
    """Instants as text, numbers with eight digits, None where there is none."""
    if np.issubdtype(values.dtype, np.datetime64):
        return [_instant(value) for value in values]
    return [float(f"{value:.8g}") if np.isfinite(value) else None for value in values.astype(np.float64)]


def _instant(value: np.datetime64) -> str:
    return str(value.astype("datetime64[s]")).removesuffix("T00:00:00")


def _title(text: str) -> dict[str, Any]:
    """Plotly reads a few tags and formulas in its texts."""
    return {"font": {"size": 13}, "text": _safe(text)}


def _safe(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;")
