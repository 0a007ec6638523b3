"""A model loaded from MLflow predicts what was published."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from pipeline.forecasting.baselines import forecast_naive
from pipeline.forecasting.expected_value import expected_values
from pipeline.forecasting.forecaster import Forecaster, ModelInputs, load_forecaster
from pipeline.jobs.forecast import publish_forecast
from pipeline.reporting.model_card import render_model_card
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.timeseries.forecast import QUANTILE_COLUMNS
from pipeline.tracking.registry import Registry
from pipeline.training.as_shipped import make_shipped_model
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainedModel, TrainingJob
from tests.storage.raw_sql import rows, value
from tests.storage.small_store import add_model, take_in
from tests.support.examples import NOW, small_batch, small_panel, small_recipe

pytestmark = pytest.mark.tensorflow

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def quantile_outcome() -> TrainedModel:
    """The small recipe's network, trained to forecast quantiles."""
    recipe = small_recipe()
    changed = recipe.model_copy(update={"training": recipe.training.model_copy(update={"loss": "pinball"})})
    return run_training(TrainingJob(panel=small_panel(), recipe=changed, training="retrain", reason="no model yet"))


@pytest.fixture(scope="module")
def shipped_outcome() -> TrainedModel:
    """The pretrained network as it ships, which Keras has not fitted."""
    recipe = small_recipe()
    model = recipe.model.model_copy(update={"architecture": "global", "units": 64, "context": None})
    changed = recipe.model_copy(update={"model": model})
    return make_shipped_model(small_panel(), changed, reason="no model yet")


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A model in MLflow, and its published forecast."""

    forecaster: Forecaster
    read: ModelInputs
    address: str
    #: where the store and MLflow are
    environment: dict[str, str]
    card: str
    published: Array  # [H, 1 + Q], mean and quantiles
    group: npt.NDArray[np.int64]  # [1], the volatility group that the series was published with


@pytest.fixture(params=["outcome", "quantile_outcome", "shipped_outcome"])
def registered(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registered]:
    trained: TrainedModel = request.getfixturevalue(request.param)
    database = open_database(f"sqlite:///{tmp_path}/store.db")
    require_schema(database)
    store = Store(database)
    store.recipes.register(small_recipe())
    take_in(store, small_batch())
    model = store.models.by_version("small", add_model(store, trained))
    assert model is not None
    publish_forecast(small_recipe(), store, NOW)
    forecasts = store.runs.latest_forecasts("small")
    tracking_uri = f"sqlite:///{tmp_path}/mlflow.db"
    files = {**trained.files, **({"network.keras": trained.keras_archive} if trained.keras_archive else {})}
    card = render_model_card(small_recipe(), model)
    Registry(tracking_uri, lambda: NOW).log_training(small_recipe(), model, files, card=card)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    forecaster = load_forecaster(trained.files, model.model_hash)
    yield Registered(
        forecaster=forecaster,
        read=forecaster.inputs_at_origin(small_panel()),
        address="models:/small/1",
        environment={"NEXTPERIOD_DATABASE_URL": f"sqlite:///{tmp_path}/store.db", "MLFLOW_TRACKING_URI": tracking_uri},
        card=card,
        published=np.array(
            [[row[name] for name in ("mean", *QUANTILE_COLUMNS)] for row in forecasts], dtype=np.float64
        ),
        group=np.array([value(database, "select volatility_group from run_series")]),
    )
    database.close()


def inputs(registered: Registered) -> dict[str, Any]:
    return {name: values.astype(np.float32) for name, values in registered.read.inputs.items()}


def published_from(outputs: Any, registered: Registered) -> Array:
    quantiles = registered.forecaster.to_quantiles(np.asarray(outputs, dtype=np.float64), registered.read)  # [1, H, Q]
    if registered.forecaster.calibration:
        naive = forecast_naive(small_panel(), small_recipe().horizon, small_recipe().season).quantiles
        quantiles = registered.forecaster.calibration.apply(quantiles, ["small"], registered.group, naive)
    return with_mean(quantiles[0], registered)


def with_mean(quantiles: Array, registered: Registered) -> Array:
    """The published mean is the expected value of the published quantiles."""
    mean = expected_values(quantiles, logarithms=registered.forecaster.reads_logarithms)
    return np.column_stack([mean, quantiles])


def test_pyfunc_predicts_what_was_published(registered: Registered) -> None:
    import mlflow

    loaded = mlflow.pyfunc.load_model(registered.address)
    outputs = loaded.predict(inputs(registered))
    if isinstance(outputs, dict):  # of the ONNX flavor
        (outputs,) = outputs.values()

    np.testing.assert_allclose(published_from(outputs, registered), registered.published, rtol=1e-5)


def test_the_network_s_own_library_predicts_what_was_published(registered: Registered) -> None:
    import mlflow.keras
    import mlflow.onnx
    from mlflow.models import get_model_info

    if "keras" in get_model_info(registered.address).flavors:
        outputs = mlflow.keras.load_model(registered.address).predict(inputs(registered), verbose=0)
    else:  # Keras has not fitted it
        network = mlflow.onnx.load_model(registered.address)
        session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
        (outputs,) = session.run(None, inputs(registered))

    np.testing.assert_allclose(published_from(outputs, registered), registered.published, rtol=1e-5)


def test_the_code_in_the_card_predicts_what_was_published_in_a_fresh_process(
    registered: Registered, tmp_path: Path
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", registered.card, re.DOTALL)
    empty = tmp_path / "empty"
    empty.mkdir()

    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(quantiles[0].tolist())"],
        cwd=empty,
        env={**os.environ, **registered.environment},
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    quantiles = np.array(json.loads(ran.stdout.splitlines()[-1]))  # [H, Q]
    np.testing.assert_allclose(with_mean(quantiles, registered), registered.published, rtol=1e-5)


def test_the_query_in_the_card_gives_what_was_published(registered: Registered) -> None:
    (query,) = re.findall(r"```sql\n(.*?);\n```", registered.card, re.DOTALL)

    with closing(open_database(registered.environment["NEXTPERIOD_DATABASE_URL"])) as database:
        numbers = [row[1:] for row in rows(database, query)]  # without the period

    chosen = [0, *(1 + QUANTILE_COLUMNS.index(name) for name in ("lower_80", "upper_80"))]
    np.testing.assert_array_equal(numbers, registered.published[:, chosen])
