"""What a model's published forecasts came to, by origin: figures are checked by hand."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from pipeline.evaluation import drift
from pipeline.evaluation.drift import OutcomesByPeriod
from pipeline.jobs.score import score_forecasts
from pipeline.records.lineage import ModelVersion
from pipeline.storage.store import Store
from pipeline.training.process_files import TrainedModel
from tests.storage.small_store import add_model, batch, forecast, monthly, publish, take_in
from tests.support.examples import NOW, months, small_recipe

DAY = timedelta(days=1)
LATER = NOW + 10 * DAY


@pytest.fixture
def observed(store: Store, outcome: TrainedModel) -> Store:
    """Two shops, of which the second always sells twice as much, and a model; of each month 10 more than of the last."""
    store.recipes.register(small_recipe())
    take_in(
        store, batch({"a": monthly([10.0 * n for n in range(20)]), "b": monthly([20.0 * n for n in range(20)])}), NOW
    )
    add_model(store, outcome)
    return store


def model_of(store: Store, version: int = 1) -> ModelVersion:
    found = store.models.by_version("small", version)
    assert found is not None
    return found


def said(store: Store, origin: int, values: list[float], version: int = 1, kind: str = "live") -> None:
    """Both shops are forecast alike from an origin; the scale is 2, the baseline 20 too high, intervals 5 and 8."""
    made = forecast(values, origin=months(20)[origin], series=("a", "b"), baseline=[value + 20 for value in values])
    publish(store, made, model_of(store, version), kind=kind)


def read(store: Store, version: int = 1, kind: str = "live", after: timedelta = 10 * DAY) -> OutcomesByPeriod:
    return store.scores.outcomes_by_period("small", kind, model_version=version, as_of=NOW + after)


def test_of_each_origin_the_steps_up_to_the_next_origin_count(observed: Store) -> None:
    said(observed, 8, [94.0, 104.0, 114.0])  # a is 90, 100, 110 then; b is twice that
    said(observed, 10, [110.0, 0.0, 0.0])
    score_forecasts(small_recipe(), observed)

    told = read(observed)

    assert told.origin.astype(str).tolist() == ["2020-09-01T00:00:00.000000", "2020-11-01T00:00:00.000000"]
    # from month 8 the months 9 and 10 count: a is 4 too high, b is 180 - 94 and 200 - 104 too low
    assert told.bias[0] == pytest.approx((4 + 4 - 86 - 96) / 4 / 2)
    assert told.error[0] == pytest.approx((4 + 4 + 86 + 96) / 4 / 2)
    assert told.naive_error[0] == pytest.approx((24 + 24 + 66 + 76) / 4 / 2)
    assert told.inside_80.tolist() == [0.5, pytest.approx(1 / 6)]


def test_only_runs_of_the_model_and_kind_and_scores_as_of_the_instant_count(
    observed: Store, outcome: TrainedModel
) -> None:
    add_model(observed, outcome, "another", expected_champion=1)
    said(observed, 8, [90.0, 100.0, 110.0])
    said(observed, 9, [100.0, 110.0, 120.0], version=2)
    said(observed, 9, [100.0, 110.0, 120.0], kind="backfill")
    said(observed, 18, [190.0, 200.0, 210.0])
    score_forecasts(small_recipe(), observed)
    take_in(observed, batch({"a": {"2021-08-01": 999.0, "2021-09-01": 999.0}}), NOW + DAY)
    score_forecasts(small_recipe(), observed)

    assert [len(read(observed)), len(read(observed, 2)), len(read(observed, kind="backfill"))] == [2, 1, 1]
    assert read(observed, after=timedelta(0)).bias[1] == pytest.approx(-190 / 2 / 2)
    assert read(observed).bias[1] < -190
    assert len(read(observed, 3)) == 0
    assert drift.find_drift(read(observed, 3)) is None


def test_published_forecasts_that_are_too_high_are_detected_as_drift(observed: Store) -> None:
    for origin in range(8, 19):
        said(observed, origin, [30.0 + 15 * (origin + step) for step in (1, 2, 3)])
    score_forecasts(small_recipe(), observed)

    told = read(observed)
    finding = drift.find_drift(told)

    assert np.all(np.diff(told.origin) > np.timedelta64(0))
    assert finding is not None
    assert finding.what == "bias"
    assert "too high, on average over the last 10 origins" in finding.reason
