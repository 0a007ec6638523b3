"""A panel in an .npz file for another process; its texts travel beside the file, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.timeseries.panel import Panel

#: fields of a panel that hold arrays by name
_COVARIATES = ("past", "future")


def write_panel(path: Path, panel: Panel) -> dict[str, Any]:
    """Write the arrays of a panel into a file; return its other fields, which `read_panel` needs, as JSON can hold them."""
    arrays = {name: getattr(panel, name) for name in ("grid", "first", "offsets", "values")}
    covariates = {f"{kind}.{name}": values for kind in _COVARIATES for name, values in getattr(panel, kind).items()}
    np.savez(path, allow_pickle=False, **arrays, **covariates)
    return {"series": panel.series, "ahead": panel.ahead, "static": dict(panel.static)}


def read_panel(path: Path, fields: dict[str, Any]) -> Panel:
    """Return the panel whose arrays are in a file and whose other fields `write_panel` returned."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    covariates: dict[str, Any] = {
        kind: {name.removeprefix(f"{kind}."): arrays.pop(name) for name in list(arrays) if name.startswith(f"{kind}.")}
        for kind in _COVARIATES
    }
    static = {name: tuple(texts) for name, texts in fields["static"].items()}
    return Panel(series=tuple(fields["series"]), ahead=fields["ahead"], static=static, **arrays, **covariates)
