"""Draw accuracy against seconds: one point for each method and size of panel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: least distance of two labels, as a share of the axis' height
_LABEL_HEIGHT = 0.04
#: share of the axis' width in which labels would overlap
_LABEL_WIDTH = 0.25
#: the method that errors are relative to
BASELINE = "seasonal naive"


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A method on panels of one size, over some collections."""

    #: of periods
    kind: str
    method: str
    size: int
    num_collections: int
    #: for a panel
    seconds: float
    #: relative to seasonal naive's
    mase: float
    sql: float

    @property
    def label(self) -> str:
        """What is written beside the point."""
        return f"{self.method} · {self.size}"


def plot_accuracy_against_time(points: Sequence[Point], file: Path) -> None:
    """Write an SVG with an axis for each kind of periods; nothing without points.

    Seasonal naive, which all are relative to, would only squeeze the others.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "nextperiod"
    from matplotlib import pyplot as plt

    points = [point for point in points if point.method != BASELINE]
    kinds = sorted({point.kind for point in points})
    if not kinds:
        return
    methods = list(dict.fromkeys(point.method for point in points))
    colors = {method: f"C{n}" for n, method in enumerate(methods)}
    figure, rows = plt.subplots(len(kinds), 1, figsize=(8, 4 * len(kinds)), layout="constrained", squeeze=False)
    for axes, kind in zip(rows[:, 0], kinds, strict=True):
        _draw_kind(axes, [point for point in points if point.kind == kind], colors)
        axes.set(title=kind, xlabel="seconds a panel, fit and forecast", ylabel="MASE, relative to seasonal naive")
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def _draw_kind(axes: Any, points: Sequence[Point], colors: dict[str, str]) -> None:
    """Draw a line of points for each method, from small panels to large ones, and name each point."""
    for method, color in colors.items():
        own = sorted((point for point in points if point.method == method), key=lambda point: point.size)
        axes.plot([p.seconds for p in own], [p.mase for p in own], "o-", color=color, linewidth=0.7, markersize=4)
    axes.set_xscale("log")
    shortest, longest = min(point.seconds for point in points), max(point.seconds for point in points)
    axes.set_xlim(shortest / 1.5, longest * (longest / shortest) ** 0.12 * 2)  # room for labels on the right
    axes.margins(y=0.08)
    left, right = (math.log(limit) for limit in axes.get_xlim())
    bottom, top = axes.get_ylim()
    positions = [
        ((math.log(point.seconds) - left) / (right - left), (point.mase - bottom) / (top - bottom)) for point in points
    ]
    for point, position in zip(points, place_labels(positions), strict=True):
        axes.annotate(
            point.label,
            (point.seconds, point.mase),
            xytext=(position[0] + 0.01, position[1]),
            textcoords="axes fraction",
            color=colors[point.method],
            fontsize=7,
            va="center",
        )


def place_labels(positions: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Move labels upwards until none covers another; positions are shares of the axis' width and height."""
    placed: list[tuple[float, float]] = []
    order = sorted(range(len(positions)), key=lambda n: positions[n][1])
    moved = dict.fromkeys(order, (0.0, 0.0))
    for n in order:
        x, y = positions[n]
        near = sorted(other for at, other in placed if abs(at - x) < _LABEL_WIDTH)
        for other in near:
            if abs(other - y) < _LABEL_HEIGHT:
                y = other + _LABEL_HEIGHT
        placed.append((x, y))
        moved[n] = (x, y)
    return [moved[n] for n in range(len(positions))]
