"""Two vintages of monthly American series, four years apart: FRED-MD's where it is at hand, generated ones elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

REAL = Path(__file__).parents[3] / "shared/data/real"
#: the months in which they were published
VINTAGES = ("2019-09", "2023-12")

#: twelve of FRED-MD's series. Between the vintages all of CMRMTSPLx, DPCERA3M086SBEA, INDPRO and IPMAT got another
#: base, the last years of most others were revised, and CP3Mx, UMCSENTx and S&P 500 stayed
SERIES = (
    *("ACOGNO", "CMRMTSPLx", "CP3Mx", "CPIAUCSL", "DPCERA3M086SBEA", "HOUST"),
    *("INDPRO", "IPMAT", "PAYEMS", "S&P 500", "UMCSENTx", "UNRATE"),
)

#: of the generated ones: what all values of a series are multiplied by in the second vintage
_REBASED = {"CMRMTSPLx": 0.9467, "DPCERA3M086SBEA": 0.8778, "INDPRO": 0.9709, "IPMAT": 0.9448}
#: what stays as it was told first
_NEVER_REVISED = ("CP3Mx", "S&P 500", "UMCSENTx")
#: the newest month is not known yet
_LATE = ("ACOGNO", "CMRMTSPLx")
_LAST_MONTHS = {"2019-09": "2019-08", "2023-12": "2023-11"}
_REVISED_FROM = "2015-01"


def vintage(name: str) -> pd.DataFrame:
    """One vintage as a long table (month, series, value): cells that are empty in the published table are NaN."""
    path = REAL / f"fred_md_{name}.parquet"
    return real_vintage(path) if path.exists() else generated_vintage(name)


def real_vintage(path: Path) -> pd.DataFrame:
    """FRED-MD's twelve series."""
    told = pd.read_parquet(path)
    told = told[told["series"].isin(SERIES)].astype({"series": str, "month": "datetime64[us]"})
    return _long(told.pivot(index="month", columns="series", values="value"))


def generated_vintage(name: str) -> pd.DataFrame:
    """Twelve series with the gaps, ragged ends and revisions of the real ones."""
    months = pd.period_range("1959-01", "2023-11", freq="M")
    table = pd.DataFrame({series: _history(n, len(months)) for n, series in enumerate(SERIES)}, index=months)
    if name == "2023-12":
        _revise(table)
    table = table.round(4)
    table.loc[:"1992-01", "ACOGNO"] = np.nan
    table.loc["2020-04":"2020-04", "CP3Mx"] = np.nan
    asked = np.isin(months.month, (2, 5, 8, 11)) | (months >= pd.Period("1978-01"))
    table.loc[~asked, "UMCSENTx"] = np.nan
    table = table.loc[: _LAST_MONTHS[name]]
    table.loc[table.index[-1], list(_LATE)] = np.nan
    return _long(table.set_axis(pd.PeriodIndex(table.index).to_timestamp()).rename_axis("month"))


def _history(seed: int, count: int) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(0.002, 0.01, count)
    return 50 * (1 + seed) * np.exp(np.cumsum(steps))


def _revise(table: pd.DataFrame) -> None:
    """Another base for some series, and other recent years of most."""
    rng = np.random.default_rng(2023)
    for series in table.columns.difference(list(_NEVER_REVISED)):
        recent = table.index >= pd.Period(_REVISED_FROM)
        table.loc[recent, series] *= 1 + rng.normal(0, 0.003, int(recent.sum()))
        table[series] *= _REBASED.get(series, 1.0)


def _long(table: pd.DataFrame) -> pd.DataFrame:
    return table.reset_index().melt("month", var_name="series", value_name="value")


def values_of(told: pd.DataFrame) -> Mapping[tuple[str, np.datetime64], float]:
    """Its values by series and month, without the empty cells."""
    present = told.dropna()
    months = present["month"].to_numpy().astype("datetime64[us]")
    return dict(zip(zip(present["series"], months, strict=True), present["value"].tolist(), strict=True))
