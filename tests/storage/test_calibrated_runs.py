"""A run keeps what its intervals were calibrated with: by outcomes that were known, and only of forecasts like it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from pipeline.config.recipe import PublishSettings, Recipe
from pipeline.forecasting.calibration import Calibration, Outcomes
from pipeline.forecasting.forecaster import Forecaster, load_forecaster
from pipeline.jobs.forecast import publish_forecast
from pipeline.jobs.score import score_forecasts
from pipeline.records.lineage import ModelVersion
from pipeline.storage import scores
from pipeline.storage.runs import Publication
from pipeline.storage.store import Store
from pipeline.training.process_files import TrainedModel
from tests.storage.raw_sql import rows, value
from tests.storage.small_store import NEVER, add_model, batch, forecast, lineage, monthly, publish, take_in
from tests.support.examples import NOW, months, small_recipe, small_values

DAY = timedelta(days=1)
LEVELS = ("lower_95", "lower_80", "median", "upper_80", "upper_95")
ALL_OF_RUN = f"select {', '.join(LEVELS)} from forecasts join runs using (run_number) where run_id = :run order by step"


def always_10_too_low(store: Store, model: ModelVersion, *, kind: str = "live", origins: range = range(8, 38)) -> None:
    """Runs whose values are all 10 above the median: outside of the 80 % interval by 5, of the 95 % interval by 2."""
    values, calendar = small_values(), months(40)
    for n in origins:
        mean = [value - 10 for value in (values + [values[-1]] * 3)[n + 1 : n + 4]]
        publish(store, forecast(mean, origin=calendar[n]), model, kind=kind)


def forecaster_of(store: Store, model: ModelVersion) -> Forecaster:
    return load_forecaster(store.models.files(model), model.model_hash)


def calibration_of(store: Store, run_id: str) -> Calibration | None:
    text = value(store.database, "select calibration from runs where run_id = :run", run=run_id)
    return None if text is None else Calibration.from_text(text)


def test_without_outcomes_a_run_is_not_calibrated(observed_store: Store, model: ModelVersion) -> None:
    made = publish_forecast(small_recipe(), observed_store, NOW)

    panel = observed_store.observations.panel(small_recipe(), NOW)
    assert panel is not None
    assert calibration_of(observed_store, made.run_id) is None
    raw = forecaster_of(observed_store, model).predict(panel)[2][0]
    assert rows(observed_store.database, ALL_OF_RUN, run=made.run_id) == [tuple(step) for step in raw.tolist()]


def test_a_run_is_calibrated_from_earlier_outcomes_and_stores_its_factors(
    observed_store: Store, model: ModelVersion
) -> None:
    always_10_too_low(observed_store, model)

    made = publish_forecast(small_recipe(), observed_store, NOW)

    calibration = calibration_of(observed_store, made.run_id)
    assert calibration is not None
    # a value 10 above the median is twice the 5 of the 80 % interval and 1.25 times the 8 of the 95 % interval; the
    # 30 origins are three quarters of what narrows the lower sides down to a tenth, and too few for that of 95 %
    assert calibration.factors.tolist() == [[1, round(0.1**0.75, 4), 1, 2, 1.25]] * 3
    panel = observed_store.observations.panel(small_recipe(), NOW)
    assert panel is not None
    raw = forecaster_of(observed_store, model).predict(panel)[2]
    told = rows(observed_store.database, ALL_OF_RUN, run=made.run_id)
    assert told == [tuple(step) for step in calibration.apply(raw)[0].tolist()]
    assert told[0][3] - told[0][2] == pytest.approx(2 * (raw[0, 0, 3] - raw[0, 0, 2]))


def test_publishing_again_changes_nothing_even_with_more_scores(observed_store: Store, model: ModelVersion) -> None:
    always_10_too_low(observed_store, model)
    first = publish_forecast(small_recipe(), observed_store, NOW)
    kept = calibration_of(observed_store, first.run_id)

    score_forecasts(small_recipe(), observed_store)
    again = publish_forecast(small_recipe(), observed_store, NOW + DAY)

    assert (again.run_id, again.status) == (first.run_id, "unchanged")
    found = calibration_of(observed_store, first.run_id)
    assert kept is not None
    assert found is not None
    assert found.as_text() == kept.as_text()


def read(store: Store, kind: str = "live", *, after_days: int = 0) -> Outcomes:
    at = NOW + after_days * DAY
    return store.scores.outcomes(small_recipe(), kind, origin=np.datetime64("2030-01-01", "us"), as_of=at)


def test_outcomes_of_a_calibrated_run_refer_to_the_uncalibrated_quantiles(
    observed_store: Store, model: ModelVersion
) -> None:
    calibration = Calibration(factors=np.tile([3.0, 2, 1, 2, 3], (3, 1)))
    raw = forecast([100, 110, 120], origin="2023-01-01")
    calibrated = forecast([100, 110, 120], origin="2023-02-01")
    observed_store.runs.publish(_publication(raw, model, None), NOW)
    object.__setattr__(calibrated, "quantiles", calibration.apply(calibrated.quantiles))
    observed_store.runs.publish(_publication(calibrated, model, calibration), NOW)
    score_forecasts(small_recipe(), observed_store)

    told = read(observed_store)

    values = dict(zip(months(40), small_values(), strict=True))
    expected = [
        [(values[period] - mean) / distance for distance in (-8, -5, 5, 8)]
        for mean, period in (
            (100, "2023-02-01"),
            (110, "2023-03-01"),
            (120, "2023-04-01"),
            (100, "2023-03-01"),
            (110, "2023-04-01"),
        )
    ]
    order = np.lexsort([told.step, told.origin])
    np.testing.assert_allclose(told.ratio[order][:, [0, 1, 3, 4]], expected)
    assert told.step[order].tolist() == [1, 2, 3, 1, 2]


def _publication(made: object, model: ModelVersion, calibration: Calibration | None) -> Publication:
    return Publication(
        recipe=small_recipe(),
        forecast=made,  # type: ignore[arg-type]
        model=model,
        lineage=lineage(),
        kind="live",
        expected_next_by=NEVER,
        fencing_token=0,
        calibration=calibration,
    )


def test_later_observations_and_revisions_do_not_count_as_of_an_earlier_instant(
    observed_store: Store, model: ModelVersion
) -> None:
    publish(observed_store, forecast([100, 110, 120], origin="2023-03-01"), model)
    score_forecasts(small_recipe(), observed_store)
    before = read(observed_store)
    take_in(observed_store, batch({"small": {"2023-04-01": 999, "2023-05-01": 999, "2023-06-01": 999}}), NOW + DAY)
    score_forecasts(small_recipe(), observed_store)

    then, now = read(observed_store), read(observed_store, after_days=1)

    assert np.array_equal(then.ratio, before.ratio, equal_nan=True)
    assert (len(then), len(now)) == (1, 3)
    assert now.ratio[:, 4].min() > 100


def test_only_earlier_network_forecasts_of_the_same_kind_and_training_settings_count(
    observed_store: Store, model: ModelVersion
) -> None:
    always_10_too_low(observed_store, model, origins=range(8, 12))
    always_10_too_low(observed_store, model, kind="backfill", origins=range(12, 13))
    score_forecasts(small_recipe(), observed_store)
    before = np.datetime64(months(40)[10], "us")

    assert len(read(observed_store)) == 4 * 3
    assert len(read(observed_store, "backfill")) == 3
    assert len(observed_store.scores.outcomes(small_recipe(), "live", origin=before, as_of=NOW)) == 2 * 3
    changed = small_recipe().model_copy(update={"season_length": 6})
    assert len(observed_store.scores.outcomes(changed, "live", origin=before, as_of=NOW)) == 0


def test_fallbacks_do_not_count(observed_store: Store, model: ModelVersion) -> None:
    made = forecast([100, 110, 120], origin="2023-01-01")
    object.__setattr__(made, "method", ("fallback:naive",))
    publish(observed_store, made, model)
    score_forecasts(small_recipe(), observed_store)

    assert value(observed_store.database, "select count(*) from scores") == 3
    assert len(read(observed_store)) == 0


def test_of_a_wide_panel_the_same_sample_of_series_counts(
    store: Store, outcome: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tuple(f"series-{n}" for n in range(20))
    store.recipes.register(small_recipe())
    take_in(store, batch({name: monthly([float(n)] * 14) for n, name in enumerate(names)}), NOW)
    add_model(store, outcome)
    champion = store.models.champion("small")
    assert champion is not None
    monkeypatch.setattr(scores, "MAX_OUTCOMES", 5 * 53 * 3)
    for origin in months(14)[8:10]:
        publish(store, forecast([-1000, -1000, -1000], origin=origin, series=names), champion)
    score_forecasts(small_recipe(), store)

    told = read(store)

    ratio = told.ratio[told.step == 1, 4].reshape(2, -1)
    assert ratio.shape == (2, 5)
    assert np.array_equal(np.sort(ratio[0]), np.sort(ratio[1]))


def test_calibrated_quantiles_respect_the_bounds(store: Store, outcome: TrainedModel) -> None:
    def published(recipe: Recipe) -> float:
        publish_forecast(recipe, store, NOW)
        return float(value(store.database, "select min(lower_95) from latest_forecasts"))

    store.recipes.register(small_recipe())
    take_in(store, batch({"small": monthly([n - 90 for n in small_values()])}), NOW)
    add_model(store, outcome)
    champion = store.models.champion("small")
    assert champion is not None
    low = [n - 90 for n in small_values()]
    for n in range(8, 38):
        publish(store, forecast([v + 70 for v in [*low, 0, 0][n + 1 : n + 4]], origin=months(40)[n]), champion)
    bounded = small_recipe().model_copy(update={"publish": PublishSettings(minimum=0)})

    assert published(small_recipe()) < 0
    assert published(bounded) == 0
