"""A panel trained on with the global network: the same bytes, an honest backtest, and every series in the forecast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import ModelRefused
from pipeline.forecasting.baselines import forecast_naive, student_quantiles
from pipeline.forecasting.expected_value import expected_values
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import hash_model
from pipeline.tracking.run_fields import training_params
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainedModel
from tests.support.global_forecasts import AWKWARD, LENGTH, forecast, job, loaded, panel_ending_together, recipe, usual

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return run_training(job())


def test_the_same_job_gives_the_same_model_to_the_byte(trained: TrainedModel) -> None:
    again = run_training(job())

    assert again.files == trained.files
    assert again.record == trained.record.model_copy(update={"seconds": again.record.seconds})


def test_mlflow_is_told_what_the_network_chose_and_nothing_that_it_did_not_use(trained: TrainedModel) -> None:
    shown = training_params(recipe(), trained.record)

    assert shown["architecture"] == "global"
    assert shown["member_1"].startswith("frame of 8 in 12, base 4, profile 0, skip 0, relative error, ")
    assert shown["loss"] == "pinball"
    assert ", 8 units" in shown["member_1"]
    assert shown["members"] == "1"
    assert not {"context", "units", "scaling", "learning_rate", "batch_size"} & set(shown)


def test_series_of_every_size_are_forecast_alike(trained: TrainedModel) -> None:
    made = forecast(trained, usual())

    assert set(made.method) == {"lstm"}
    sizes = 10.0 ** (np.arange(12) - 6)
    ahead = 10 + 0.05 * np.arange(LENGTH, LENGTH + 3) + np.sin(np.arange(LENGTH, LENGTH + 3) * np.pi / 2)
    assert np.abs(made.mean / sizes[:, None] - ahead).mean() < 0.4
    assert (np.diff(made.quantiles, axis=2) >= 0).all()
    assert (
        np.abs(made.mean - made.quantiles[:, :, 2]) < 0.1 * (made.quantiles[:, :, 3] - made.quantiles[:, :, 1])
    ).all()


def test_it_is_better_than_the_baselines_on_what_it_has_not_seen(trained: TrainedModel) -> None:
    backtest = trained.record.backtest

    assert backtest is not None
    assert backtest.cutoff.startswith("2022-10-01")
    mase = {method: scores["mase"] for method, scores in backtest.scores.items()}
    assert mase["lstm"] is not None
    assert mase["naive"] is not None
    assert mase["lstm"] < mase["naive"]


def test_a_changed_test_part_changes_nothing_that_the_backtest_forecast(trained: TrainedModel) -> None:
    changed = {name: np.append(values[:-5], [1e9, 1e-9, 1e9, 1e-9, 1e9]) for name, values in usual().items()}

    again = run_training(job(panel_ending_together(changed)))

    assert again.record.backtest is not None
    assert trained.record.backtest is not None
    first, first_of_changed = (
        {of.series: of.forecast[0] for of in record.backtest.by_series.series}
        for record in (trained.record, again.record)
        if record.backtest and record.backtest.by_series
    )
    assert first_of_changed == first  # the step whose observations are the same in both


def test_the_model_knows_from_the_backtest_what_its_quantiles_need_and_gives_them_raw(trained: TrainedModel) -> None:
    forecaster = loaded(trained)
    calibration = forecaster.calibration
    assert calibration is not None

    assert calibration.factors.shape == (3, 5)
    assert (calibration.factors[:, 2] == 1).all()
    assert (calibration.factors >= 1).all()
    assert calibration.num_outcomes > 0
    raw = forecaster.predict(panel_ending_together(usual()))[2]
    assert np.array_equal(forecast_panel(forecaster, panel_ending_together(usual()), recipe()).quantiles, raw)
    own = replace(calibration, baseline_widths={}, baseline_widths_of_series={})
    calibrated = forecast_panel(forecaster, panel_ending_together(usual()), recipe(), own)
    assert calibrated.volatility_group is not None
    naive = forecast_naive(panel_ending_together(usual()), recipe().horizon, recipe().season)
    of_baseline = student_quantiles(raw[:, :, 2], naive.deviation, naive.num_errors)
    expected = own.apply(raw, calibrated.series, calibrated.volatility_group, of_baseline)
    assert np.array_equal(calibrated.quantiles, expected)
    assert np.array_equal(calibrated.quantiles[:, :, 2], raw[:, :, 2])
    np.testing.assert_array_equal(calibrated.mean, expected_values(expected, logarithms=forecaster.reads_logarithms))


def test_fine_tuning_goes_on_from_the_members_and_takes_fewer_steps(trained: TrainedModel) -> None:
    further = run_training(job(training="fine-tune", champion=trained.files, champion_hash=hash_model(trained.files)))

    assert len(further.record.loss) < len(trained.record.loss) / 2
    assert further.record.loss[0] < trained.record.loss[0]
    assert further.files["weights.npz"] != trained.files["weights.npz"]


def test_a_series_that_it_cannot_read_falls_back_with_its_reason_and_leaves_the_others_as_they_were(
    trained: TrainedModel,
) -> None:
    alone = forecast(trained, usual())

    made = forecast(trained, usual() | AWKWARD)

    told = dict(zip(made.series, zip(made.method, made.reason, strict=True), strict=True))
    assert np.isfinite(made.mean).all()
    assert np.isfinite(made.quantiles).all()
    for name in ("constant", "with gaps", "exploding"):
        assert told[name] == ("lstm", None), name
    needs = (
        "the network needs 4 values, all of them positive, in the context, one of each of the 4 periods of a season and "
        "one at the origin"
    )
    for name in ("new", "one value", "zero at the end", "negative"):
        assert told[name][0].startswith("fallback:"), name
        assert told[name][1] == needs
    kept = [made.series.index(name) for name in alone.series]
    np.testing.assert_array_equal(made.quantiles[kept], alone.quantiles)


def test_zeros_and_negative_numbers_are_trained_on_without_logarithms() -> None:
    outcome = run_training(job(panel_ending_together(usual() | AWKWARD)))

    made = forecast(outcome, usual() | AWKWARD)

    told = dict(zip(made.series, made.method, strict=True))
    assert [name for name, method in told.items() if method != "lstm"] == ["new", "one value"]
    assert np.isfinite(made.quantiles).all()


def test_a_panel_of_too_short_series_is_refused() -> None:
    short = {name: np.append(np.full(LENGTH - 4, np.nan), values[-4:]) for name, values in usual().items()}

    with pytest.raises(ModelRefused, match="no series has a window to fit on: 5 periods are needed"):
        run_training(replace(job(), panel=panel_ending_together(short)))
