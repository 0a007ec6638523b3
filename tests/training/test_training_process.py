"""The process that trains: what it gives back, and how it ends when it must not go on."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pipeline.config.recipe import Recipe
from pipeline.config.tutorial import Tutorial
from pipeline.errors import ModelRefused, TrainingFailed
from pipeline.forecasting.forecaster import build_manifest, hash_model, load_forecaster
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainedModel, TrainingJob
from tests.support.examples import small_panel, small_recipe, small_values

pytestmark = pytest.mark.tensorflow


def job(**training: object) -> TrainingJob:
    recipe = small_recipe()
    changed = recipe.model_copy(update={"training": recipe.training.model_copy(update=training)})
    return TrainingJob(panel=small_panel(), recipe=changed, training="retrain", reason="no model yet")


def test_the_same_job_gives_the_same_model_to_the_byte(outcome: TrainedModel) -> None:
    again = run_training(job())

    assert again.files == outcome.files
    assert again.record == outcome.record.model_copy(update={"seconds": again.record.seconds})


def test_the_record_says_how_the_model_came_to_be(outcome: TrainedModel) -> None:
    record = outcome.record

    assert (record.training, record.reason, record.num_series) == ("retrain", "no model yet", 1)
    assert record.cutoff.startswith("2023-04-01")
    assert len(record.loss) == record.epochs <= 2
    assert record.backtest is not None
    assert record.backtest.cutoff.startswith("2022-10-01")
    assert set(record.backtest.scores) == {"lstm", "naive", "seasonal-naive", "drift"}
    assert [str(period)[:7] for period in record.backtest.path.periods] == [
        *("2022-11", "2022-12", "2023-01"),
        *("2023-02", "2023-03", "2023-04"),
    ]
    assert record.gate is not None
    assert (record.gate.outcome, record.gate.reason, record.gate.num_periods) == ("promoted", "the first model", 6)
    assert record.gate.challenger is not None
    assert record.gate.champion is None


def test_each_epoch_is_told_while_the_process_runs(outcome: TrainedModel) -> None:
    told: list[Any] = []

    run_training(job(), told.append)

    assert {progress["stage"] for progress in told} == {"training"}
    assert [progress["loss"] for progress in told[-outcome.record.epochs :]] == list(outcome.record.loss)
    assert all(1 <= progress["done"] <= progress["total"] == 2 for progress in told)


def test_attention_is_kept_by_step_of_the_context(outcome: TrainedModel) -> None:
    plain = job()
    model = plain.recipe.model.model_copy(update={"architecture": "attention"})

    record = run_training(replace(plain, recipe=plain.recipe.model_copy(update={"model": model}))).record

    assert len(record.attention) == plain.recipe.context
    assert sum(record.attention) == pytest.approx(1)
    assert outcome.record.attention == ()


def test_a_changed_test_part_changes_nothing_that_the_backtest_forecast(outcome: TrainedModel) -> None:
    values = small_panel().values.copy()
    values[-5:] = [1e6, -1e6, 1e6, -1e6, 1e6]

    changed = run_training(replace(job(), panel=replace(small_panel(), values=values)))

    assert changed.record.backtest is not None
    assert outcome.record.backtest is not None
    first_step = [
        record.backtest.path.forecast["lstm"][0] for record in (changed.record, outcome.record) if record.backtest
    ]
    assert first_step[0] == first_step[1]


def test_a_training_that_does_not_stay_finite_is_refused() -> None:
    with pytest.raises(ModelRefused, match="is not finite: lower training.learning_rate or set training.clip_norm"):
        run_training(job(learning_rate=1e38, loss="mse", clip_norm=None, epochs=20))


def test_a_history_that_its_tutorial_cannot_be_carried_out_on_is_refused_before_anything_is_fitted() -> None:
    network = {"row": "T", "train": 156, "context": 12, "architecture": "vanilla", "units": 2, "epochs": 1}
    taught = job().recipe.model_copy(update={"tutorial": Tutorial.model_validate({**network, "batch_size": 1})})

    with pytest.raises(ModelRefused, match='series "small" has 40 values: the protocol of tutorial T .* 0 in its test'):
        run_training(replace(job(), recipe=taught))


def test_a_training_past_its_time_is_ended() -> None:
    with pytest.raises(TrainingFailed, match="training of small was killed .*time_limit_minutes"):
        run_training(job(time_limit_minutes=0.005))


def test_a_training_that_wants_more_memory_than_it_may_have_fails_with_its_last_words() -> None:
    with pytest.raises(TrainingFailed, match="training of small ended with status|was killed"):
        run_training(job(memory_limit_gib=0.2))


def test_a_training_ends_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    script = (
        "from tests.training.test_training_process import job\nfrom pipeline.training.process import run_training\n"
        "run_training(job(epochs=100000, patience=100000))"
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=root, stderr=subprocess.DEVNULL)
    try:
        child = until(lambda: next(iter(psutil.Process(parent.pid).children()), None))
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()

        child.wait(timeout=60)
    finally:
        parent.kill()
        parent.wait()

    assert not child.is_running()


def until(found: object, seconds: float = 60) -> psutil.Process:
    """Ask until there is an answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = found() if callable(found) else None
        if isinstance(answer, psutil.Process):
            return answer
        time.sleep(0.1)
    pytest.fail("the training process did not start")


def test_a_recipe_survives_the_way_into_the_process() -> None:
    recipe = small_recipe()

    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.fixture(scope="module")
def tuned(outcome: TrainedModel) -> TrainedModel:
    """The same model trained a little further."""
    return run_training(replace(job(), training="fine-tune", reason="asked for", **beside(outcome.files)))


def test_fine_tuning_goes_on_from_the_weights_that_it_is_given(outcome: TrainedModel, tuned: TrainedModel) -> None:
    before, after = weights(outcome), weights(tuned)
    moved = max(float(np.abs(after[name] - before[name]).max()) for name in before)
    assert tuned.record.training == "fine-tune"
    assert 0 < moved < 0.01


def test_the_backtest_of_a_fine_tuned_model_has_not_seen_the_test_part_either(
    outcome: TrainedModel, tuned: TrainedModel
) -> None:
    assert tuned.record.backtest == outcome.record.backtest


def test_what_has_seen_the_test_part_cannot_be_beaten_on_it(tuned: TrainedModel) -> None:
    assert tuned.record.gate is not None
    assert tuned.record.gate.outcome == "not promoted"
    assert tuned.record.gate.reason == "0 periods that neither it nor the champion has seen, 6 needed"


def test_the_champion_is_judged_at_the_origins_that_came_after_it(outcome: TrainedModel) -> None:
    longer = small_panel(small_values(46))

    found = run_training(replace(job(), panel=longer, **beside(outcome.files))).record

    assert found.gate is not None
    assert (found.gate.num_periods, found.gate.num_series) == (6, 1)
    assert found.backtest is not None
    assert found.backtest.cutoff == outcome.record.cutoff
    forecaster = load_forecaster(outcome.files, hash_model(outcome.files))
    observed, errors = np.array(small_values(46)), np.full((6, 6), np.nan)
    for origin in range(6):
        _, mean, _ = forecaster.predict(small_panel(small_values(40 + origin)))
        for step in range(min(3, 6 - origin)):
            errors[origin, origin + step] = abs(mean[0, step] - observed[40 + origin + step])
    scale = np.abs(observed[4:40] - observed[:36]).mean()
    assert found.gate.champion == pytest.approx(np.nanmean(errors, axis=0).mean() / scale)


def test_fine_tuning_is_judged_by_the_same_fine_tuning_before_the_test_part(outcome: TrainedModel) -> None:
    longer = small_panel(small_values(46))

    further = run_training(replace(job(), panel=longer, training="fine-tune", **beside(outcome.files))).record

    assert further.validation_loss == ()
    assert further.backtest is not None
    assert further.gate is not None
    assert further.gate.champion is not None
    assert further.gate.challenger == pytest.approx(further.gate.champion, rel=0.05)


def test_where_the_recipe_has_changed_the_champion_s_is_fitted_again_without_the_test_part(
    outcome: TrainedModel,
) -> None:
    plain = job()
    wider = plain.recipe.model_copy(update={"model": plain.recipe.model.model_copy(update={"units": 8})})

    found = run_training(replace(plain, recipe=wider, **beside(outcome.files))).record

    assert found.gate is not None
    assert found.gate.num_periods == 6
    assert outcome.record.gate is not None
    assert found.gate.champion == pytest.approx(outcome.record.gate.challenger)


def test_a_champion_of_another_horizon_is_replaced(outcome: TrainedModel) -> None:
    plain = job()

    found = run_training(replace(plain, recipe=plain.recipe.model_copy(update={"horizon": 4}), **beside(outcome.files)))

    assert found.record.gate is not None
    assert found.record.gate.outcome == "promoted"
    assert found.record.gate.reason == "the champion forecasts other periods, or reads other covariates"


def test_a_champion_that_keeps_no_epochs_and_no_trust_is_still_gone_on_from(outcome: TrainedModel) -> None:
    files = with_fields(outcome.files, lambda fields: fields.pop("epochs") and fields.pop("trust"))

    found = run_training(replace(job(), training="fine-tune", **beside(files)))

    assert found.record.training == "fine-tune"
    assert found.record.epochs == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda fields: fields.pop("needs"), "was made by an earlier release, which wrote other fields"),
        (lambda fields: fields["recipe"].update(horizont=3), "its recipe is of an earlier release"),
    ],
)
def test_a_champion_that_cannot_be_used_is_replaced_by_a_training_from_the_seed(
    outcome: TrainedModel, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    files = with_fields(outcome.files, change)

    found = run_training(replace(job(), training="fine-tune", reason="asked for", **beside(files)))

    assert found.record.training == "retrain"
    assert re.match(f"asked for; the champion cannot be used: .*{why}", found.record.reason)
    assert found.record.gate is not None
    assert found.record.gate.outcome == "promoted"
    assert why in found.record.gate.reason
    before, after = weights(outcome), weights(found)
    assert all((before[name] == after[name]).all() for name in before)


def test_a_champion_whose_files_are_damaged_is_replaced(outcome: TrainedModel) -> None:
    found = run_training(replace(job(), **beside({**outcome.files, "weights.npz": b"damaged"})))

    assert found.record.gate is not None
    assert found.record.gate.outcome == "promoted"
    assert "weights.npz is missing or was changed" in found.record.gate.reason


def test_a_champion_that_is_whole_but_not_the_recorded_one_is_replaced(outcome: TrainedModel) -> None:
    found = run_training(replace(job(), champion=outcome.files, champion_hash="0" * 64))

    assert found.record.gate is not None
    assert found.record.gate.outcome == "promoted"
    assert "its manifest is not the one that was recorded" in found.record.gate.reason


def beside(champion: Mapping[str, bytes]) -> dict[str, Any]:
    """A champion of a job, with the hash that was recorded of it."""
    return {"champion": champion, "champion_hash": hash_model(champion)}


def with_fields(files: Mapping[str, bytes], change: Callable[[dict[str, Any]], object]) -> dict[str, bytes]:
    """A model directory whose fields were others when it was written."""
    fields = json.loads(files["forecaster.json"])
    change(fields)
    changed = {name: content for name, content in files.items() if name != "manifest.json"}
    changed["forecaster.json"] = json.dumps(fields).encode()
    return {**changed, "manifest.json": build_manifest(changed)}


def weights(of: TrainedModel) -> dict[str, Any]:
    with np.load(io.BytesIO(of.files["weights.npz"]), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
