"""Odd series leave the intervals of the others alone, and means of intermittent demand add up: two cases, from a notebook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import api

pytestmark = pytest.mark.tensorflow

CASES = Path(__file__).parents[1] / "cases"
BOUNDS = ["lower_95", "lower_80", "upper_80", "upper_95"]


def forecast(file: Path, columns: tuple[str, str, str]) -> pd.DataFrame:
    """What is forecast of a case's data, in columns of the usual names."""
    frame = pd.read_csv(file, parse_dates=[columns[0]])
    period, series, value = columns
    model = api.fit(frame, frequency="MS", horizon=6, series=series, period=period, value=value)
    return model.predict(frame).rename(columns={series: "series", period: "period"})


def test_three_new_shops_leave_the_intervals_of_the_twelve_others_alone() -> None:
    case, columns = CASES / "one-new-series-widens-all-intervals", ("month", "shop", "sold")

    beside = forecast(case / "data.csv", columns)
    alone = forecast(case / "data-without.csv", columns)

    both = alone.merge(beside, on=["series", "step"], suffixes=("_alone", "_beside"))
    assert both.series.nunique() == 12
    for name in BOUNDS:
        distances = [(both[f"{name}_{panel}"] - both[f"median_{panel}"]).abs() for panel in ("alone", "beside")]
        np.testing.assert_allclose(distances[1], distances[0], rtol=0.05, err_msg=name)
        np.testing.assert_allclose(both[f"{name}_beside"], both[f"{name}_alone"], rtol=0.01, err_msg=name)


def test_means_of_spare_parts_sum_to_their_demand() -> None:
    case = CASES / "mean-is-the-median-of-intermittent-demand"
    history = pd.read_csv(case / "data.csv").groupby("month").demand.sum().mean()

    published = forecast(case / "data.csv", ("month", "part", "demand"))

    by_period = published.groupby("period")["mean"].sum()
    assert by_period.to_numpy() == pytest.approx(np.full(6, history), rel=0.05)
    assert (published["mean"] != published["median"]).all()
    assert published[["mean", *BOUNDS]].min(axis=None) >= 0
