"""Each published step is scored once for each observation of its period; figures are checked by hand."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from pipeline.errors import NewerPublished, Overtaken
from pipeline.jobs.score import score_forecasts
from pipeline.records.lineage import ModelVersion
from pipeline.storage.store import Store
from pipeline.training.process_files import TrainedModel
from tests.storage.raw_sql import change, insert_step, rows, stage, value
from tests.storage.small_store import add_model, batch, forecast, monthly, publish, take_in
from tests.support.examples import NOW, months, small_recipe

DAY = timedelta(days=1)
#: two seasons of four; from one to the next each month rises by 2, so the scale is 2
HISTORY = [10.0, 20, 30, 40, 12, 22, 32, 42]


@pytest.fixture
def published(store: Store, outcome: TrainedModel) -> Store:
    """From August 2020, for September 15 (10 to 20, 7 to 23), for October 20, for November 30."""
    store.recipes.register(small_recipe())
    take_in(store, batch({"small": monthly(HISTORY)}), NOW)
    add_model(store, outcome)
    publish(store, forecast([15, 20, 30], origin="2020-08-01", baseline=[12, 22, 32]), champion_of(store))
    return store


def champion_of(store: Store) -> ModelVersion:
    """The model that publishes."""
    champion = store.models.champion("small")
    assert champion is not None
    return champion


def observe(store: Store, days: int, **values: float) -> None:
    """Later observations: `september=13`."""
    months = {"september": "2020-09-01", "october": "2020-10-01", "november": "2020-11-01"}
    told = {months[name]: number for name, number in values.items()}
    take_in(store, batch({"small": told}), NOW + days * DAY)


def accuracy(store: Store, columns: str) -> list[tuple[object, ...]]:
    """What consumers see of it, by step."""
    return rows(store.database, f"select {columns} from forecast_accuracy order by step")


def test_nothing_is_scored_before_it_is_observed(published: Store) -> None:
    assert score_forecasts(small_recipe(), published) == 0
    assert accuracy(published, "step") == []


def test_the_steps_that_are_observed_are_scored_and_only_once(published: Store) -> None:
    observe(published, 1, september=13, october=30)

    assert score_forecasts(small_recipe(), published) == 2
    assert score_forecasts(small_recipe(), published) == 0

    observe(published, 2, november=32)
    assert score_forecasts(small_recipe(), published) == 1
    assert accuracy(published, "step, num_scored") == [(1, 1), (2, 1), (3, 1)]


def test_scores_equal_those_computed_by_hand(published: Store) -> None:
    observe(published, 1, september=13, october=30)

    score_forecasts(small_recipe(), published)

    # September: forecast 15, observed 13; a season before 12. October: 20, 30; a season before 22.
    scores = "select step, observed, error, naive_error, scale, inside_80, inside_95 from scores order by step"
    assert rows(published.database, scores) == [(1, 13, 2, -1, 2, 1, 1), (2, 30, -10, -8, 2, 0, 0)]
    september, october = accuracy(
        published, "recipe, model_version, series, step, num_scored, mae, mase, bias, coverage_80, coverage_95, skill"
    )
    assert september == ("small", 1, "small", 1, 1, 2, 1, 2, 1, 1, -1)
    assert october == ("small", 1, "small", 2, 1, 10, 5, -10, 0, 0, -0.25)
    assert [smape for (smape,) in accuracy(published, "smape")] == pytest.approx([200 * 2 / 28, 200 * 10 / 50])


def test_absolute_errors_are_those_of_the_median_and_bias_is_that_of_the_mean(
    observed_store: Store, model: ModelVersion
) -> None:
    made = forecast([15, 20, 26], origin="2023-01-01")
    object.__setattr__(made, "mean", made.mean + 3)
    publish(observed_store, made, model)

    score_forecasts(small_recipe(), observed_store)

    ((error, median_error, observed),) = rows(
        observed_store.database, "select error, median_error, observed from scores where step = 1"
    )
    assert (error, median_error) == (18 - observed, 15 - observed)
    mae, bias = accuracy(observed_store, "mae, bias")[0]
    assert (mae, bias) == (abs(15 - observed), 18 - observed)


def test_a_revised_observation_is_scored_again_and_the_newest_counts(published: Store) -> None:
    observe(published, 1, september=13)
    score_forecasts(small_recipe(), published)
    observe(published, 2, september=15)

    assert score_forecasts(small_recipe(), published) == 1
    assert score_forecasts(small_recipe(), published) == 0

    assert accuracy(published, "step, num_scored, mae, skill") == [(1, 1, 0, 1)]
    kept = "select observed, error from scores order by as_of"
    assert rows(published.database, kept) == [(13, 2), (15, 0)]


def test_figures_are_means_over_the_origins(published: Store) -> None:
    publish(published, forecast([38, 40, 40], origin="2020-09-01", baseline=[22, 32, 42]), champion_of(published))
    observe(published, 1, september=13, october=30)

    assert score_forecasts(small_recipe(), published) == 3

    # step 1: September 15 against 13, and October 38 (30 to 46) against 30, a season before 22
    assert accuracy(published, "step, num_scored, mae, bias, skill")[0] == (1, 2, 5, 5, pytest.approx(1 - 5 / 4.5))
    assert accuracy(published, "coverage_80, coverage_95")[0] == (0.5, 1)


def test_a_superseded_run_is_scored_too_and_a_backfill_stays_out_of_the_accuracy(published: Store) -> None:
    champion = champion_of(published)
    publish(published, forecast([13, 30, 30], origin="2020-08-01"), champion, data_hash="revised")
    publish(published, forecast([99, 99, 99], origin="2020-08-01"), champion, kind="backfill")
    observe(published, 1, september=13)

    assert score_forecasts(small_recipe(), published) == 3

    assert accuracy(published, "step, num_scored, mae") == [(1, 2, 1)]


def test_what_is_observed_later_does_not_change_the_history_of_an_origin(published: Store) -> None:
    observe(published, 1, september=13)
    score_forecasts(small_recipe(), published)
    before = rows(published.database, "select step, naive_error, scale from scores where step = 1")

    observe(published, 2, september=13.5, october=1000, november=-1000)
    score_forecasts(small_recipe(), published)

    after = rows(published.database, "select step, naive_error, scale from scores where step = 1 order by as_of")
    assert after == [*before, (1, 12 - 13.5, 2)]


def test_an_observation_outside_its_interval_is_an_anomaly(published: Store) -> None:
    observe(published, 1, september=7, october=28.5)

    found = "select series, substr(cast(period as text), 1, 10), value, lower_95, upper_95, run_id from anomalies"
    assert rows(published.database, found) == [("small", "2020-10-01", 28.5, 12, 28, "small-2020-08-01-1")]
    observe(published, 2, october=28)
    assert rows(published.database, found) == []


def test_an_anomaly_is_judged_by_the_last_forecast_before_it(published: Store) -> None:
    publish(published, forecast([50, 60, 70], origin="2020-09-01"), champion_of(published))

    observe(published, 1, october=20, september=15)

    assert rows(published.database, "select value, run_id from anomalies") == [(20, "small-2020-09-01-1")]


def test_scored_batches_are_not_read_again(published: Store) -> None:
    observe(published, 1, september=13)
    score_forecasts(small_recipe(), published)
    change(published.database, "delete from scores")

    assert score_forecasts(small_recipe(), published) == 0

    observe(published, 2, october=13)
    assert score_forecasts(small_recipe(), published) == 1


def test_scoring_the_same_again_is_no_error(published: Store) -> None:
    observe(published, 1, september=7)
    score_forecasts(small_recipe(), published)
    change(published.database, "delete from scored")

    assert score_forecasts(small_recipe(), published) == 0

    assert value(published.database, "select count(*) from scores") == 1


def test_a_run_from_older_data_that_is_published_late_is_scored_too(published: Store) -> None:
    observe(published, 1, september=13)
    score_forecasts(small_recipe(), published)

    publish(published, forecast([14, 20, 30], origin="2020-08-01"), champion_of(published), data_hash="other")

    assert score_forecasts(small_recipe(), published) == 1
    assert rows(published.database, "select error from scores order by run_number") == [(2,), (1,)]


def test_a_run_without_a_kept_baseline_is_scored_without_it(published: Store) -> None:
    with published.database.write() as transaction:
        stage(transaction, champion_of(published))
        insert_step(transaction)
        transaction.execute("publish_run", run_id="staged", published_at=NOW)

    observe(published, 1, september=13)
    take_in(published, batch({"small": {"2023-05-01": 5.0}}), NOW + 2 * DAY)
    score_forecasts(small_recipe(), published)

    assert rows(published.database, "select error, naive_error, scale from scores order by as_of") == [
        (2, -1, 2),
        (-5, None, None),
    ]


def test_as_of_an_instant_a_backfill_is_scored_against_what_was_known_then(published: Store) -> None:
    publish(published, forecast([15, 20, 30], origin="2020-08-01"), champion_of(published), kind="backfill")
    observe(published, 1, september=13)
    observe(published, 2, september=14, october=20)
    observe(published, 3, november=30)
    of_backfill = "select step, observed from scores join runs using (run_number) where kind = 'backfill' order by step, scores.as_of"

    assert score_forecasts(small_recipe(), published, as_of=NOW + DAY) == 1
    assert rows(published.database, of_backfill) == [(1, 13)]
    assert score_forecasts(small_recipe(), published, as_of=NOW + DAY) == 0
    assert score_forecasts(small_recipe(), published, as_of=NOW + 2 * DAY) == 2
    assert rows(published.database, of_backfill) == [(1, 13), (1, 14), (2, 20)]
    assert score_forecasts(small_recipe(), published) == 3 + 1
    assert rows(published.database, of_backfill) == [(1, 13), (1, 14), (2, 20), (3, 30)]


@pytest.mark.parametrize("seed", range(5))
def test_scoring_step_by_step_gives_the_same_scores_as_all_at_once(
    store: Store, outcome: TrainedModel, seed: int
) -> None:
    """Values of three series come in any order, are told anew or not, between runs that are published and superseded."""
    rng = np.random.default_rng(seed)
    names, calendar = ("a", "b", "c"), months(24)
    store.recipes.register(small_recipe())
    take_in(store, batch({name: dict.fromkeys(calendar[:8], 1.0) for name in names}), NOW)
    add_model(store, outcome)
    for day in range(1, 30):
        if rng.random() < 0.5:
            told = {
                name: {m: float(rng.integers(9)) for m in rng.choice(calendar[8 : 10 + day // 3], 2)}
                for name in names[: rng.integers(1, 4)]
            }
            take_in(store, batch(told), NOW + day * DAY)
        if rng.random() < 0.5:
            as_of = NOW + rng.integers(day) * DAY
            known = store.observations.panel(small_recipe(), as_of)
            assert known is not None
            made = forecast(rng.integers(9, size=3).tolist(), origin=str(known.origin), series=names)
            kind = "live" if rng.random() < 0.7 else "backfill"
            with contextlib.suppress(Overtaken, NewerPublished):
                publish(store, made, champion_of(store), kind=kind, data_hash=str(day), as_of=as_of)
        if rng.random() < 0.5:
            score_forecasts(small_recipe(), store)
    score_forecasts(small_recipe(), store)
    newest = """
        select run_number, series_id, step, observed, error, naive_error, scale, inside_80, inside_95, as_of from scores
        where as_of = (select max(as_of) from scores as other
            where (other.run_number, other.series_id, other.step) = (scores.run_number, scores.series_id, scores.step))
        order by 1, 2, 3"""
    bit_by_bit = rows(store.database, newest)

    change(store.database, "delete from scores")
    change(store.database, "delete from scored")
    score_forecasts(small_recipe(), store)

    assert rows(store.database, newest) == bit_by_bit
    assert len(bit_by_bit) > 20


def test_a_series_nearly_always_worse_than_the_baseline_is_found_with_its_errors(
    store: Store, outcome: TrainedModel
) -> None:
    """Three series for 14 months: of one the forecast is further off than the baseline, of one nearer, of one mostly further."""
    names, calendar = ("bad", "good", "mixed"), months(40)
    store.recipes.register(small_recipe())
    take_in(store, batch({name: dict.fromkeys(calendar[:8], 10.0) for name in names}), NOW)
    add_model(store, outcome)
    found = []
    for month in range(8, 22):
        model = champion_of(store)
        as_of = NOW + (month - 8) * DAY
        found.append(store.scores.series_worse_than_baseline(model, "live", as_of, "naive"))
        made = forecast([10.0, 10, 10], origin=calendar[month - 1], series=names, baseline=[10.0, 10, 10])
        mean = np.array([[15.0] * 3, [10.1] * 3, [10.1 if month < 11 else 15.0] * 3])
        made = replace(made, mean=mean, quantiles=mean[:, :, None] + np.arange(-2.0, 3), baseline=np.full((3, 3), 11.0))
        publish(store, made, model, as_of=as_of, data_hash=str(month))
        take_in(store, batch({name: {calendar[month]: 10.0} for name in names}), as_of + DAY)
        score_forecasts(small_recipe(), store)

    why = "worse than naive in 12 of the last 12 published periods: mean absolute error 5 against 1"
    assert found == [{}] * 12 + [{"bad": why}, {"bad": why.replace("12 of the last 12", "13 of the last 13")}]
    assert store.scores.series_worse_than_baseline(champion_of(store), "backfill", NOW + 99 * DAY, "naive") == {}
