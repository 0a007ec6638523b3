"""A panel in a file, for another process: its numbers as NumPy's arrays, what of it is text in a JSON object beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.timeseries.panel import Panel

#: the covariates by name
_COVARIATES = ("past", "future")


def write_panel(path: Path, panel: Panel) -> dict[str, Any]:
    """Write a panel's numbers into a file; what of it is text."""
    arrays = {name: getattr(panel, name) for name in ("grid", "first", "offsets", "values")}
    covariates = {f"{kind}.{name}": told for kind in _COVARIATES for name, told in getattr(panel, kind).items()}
    np.savez(path, allow_pickle=False, **arrays, **covariates)
    return {"series": panel.series, "ahead": panel.ahead, "static": dict(panel.static)}


def read_panel(path: Path, fields: dict[str, Any]) -> Panel:
    """The panel whose numbers are in a file."""
    with np.load(path, allow_pickle=False) as arrays:
        told = {name: arrays[name] for name in arrays.files}
    covariates: dict[str, Any] = {
        kind: {name.removeprefix(f"{kind}."): told.pop(name) for name in list(told) if name.startswith(f"{kind}.")}
        for kind in _COVARIATES
    }
    static = {name: tuple(texts) for name, texts in fields["static"].items()}
    return Panel(series=tuple(fields["series"]), ahead=fields["ahead"], static=static, **told, **covariates)
