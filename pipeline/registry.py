"""MLflow: experiments, runs and registered models. The only file that imports it.

MLflow follows the database: everything here can be done later, and done again, with the same end. The
network is logged from its archive without loading it, so no TensorFlow is needed for that.
"""

from __future__ import annotations

import io
import logging
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import RegistryUnavailable, without_secrets
from pipeline.lineage import Model
from pipeline.recipe import Recipe

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

CHAMPION = "champion"

#: a server that does not answer may not hold up what follows it
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
#: what a model needs to be loaded from MLflow
_REQUIREMENTS = ("keras", "mlflow", "tensorflow")


@dataclass(frozen=True)
class Registry:
    """An MLflow tracking server or store with its registry."""

    tracking_uri: str

    @cached_property
    def _client(self) -> MlflowClient:
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri, self.tracking_uri)

    @property
    def shown(self) -> str:
        """The address without its password."""
        return without_secrets(self.tracking_uri)

    def run_address(self, run_id: str) -> str:
        """Where a person looks at a run; for a local store, how; the bare run while MLflow is away."""
        if not self.tracking_uri.startswith(("http://", "https://")):
            return f"run {run_id} (mlflow ui --backend-store-uri {self.shown})"
        try:
            with self._reachable():
                experiment = self._client.get_run(run_id).info.experiment_id
        except RegistryUnavailable:
            return f"run {run_id}"
        return f"{self.shown.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"

    def log_training(self, recipe: Recipe, model: Model, files: Mapping[str, bytes]) -> str:
        """Show one training: a run with parameters, losses, figures, report and the model, registered.

        Doing it again finds what is there and adds what is missing.

        Returns:
            the id of the MLflow run.

        Raises:
            RegistryUnavailable: MLflow is away.
        """
        with self._reachable():
            experiment = self._experiment(recipe.name)
            run_id = self._run(experiment, recipe, model)
            self._client.log_batch(run_id, metrics=_metrics(model), params=_parameters(recipe, model))
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                _write(folder, {n: c for n, c in files.items() if n == "report.html" or n.startswith("figures/")})
                self._client.log_artifacts(run_id, str(folder))
            self._register(experiment, run_id, recipe, model, files)
            self._client.set_terminated(run_id)
            return run_id

    def set_champion(self, model: Model) -> None:
        """Let the alias follow the database.

        Raises:
            RegistryUnavailable: MLflow is away.
        """
        with self._reachable():
            registered = self._registered(model.recipe, model.model_hash)
            if registered is not None:
                self._client.set_registered_model_alias(model.recipe, CHAMPION, registered)

    def show_publication(self, model: Model, run_id: str) -> None:
        """Let the training of a model say which of our runs it published last.

        Raises:
            RegistryUnavailable: MLflow is away.
        """
        assert model.mlflow_run_id is not None
        with self._reachable():
            self._client.set_tag(model.mlflow_run_id, "nextperiod.published_run", run_id)

    def check(self) -> str:
        """One sentence on what is there.

        Raises:
            RegistryUnavailable: MLflow is away.
        """
        with self._reachable():
            return f"{len(self._client.search_experiments())} experiments"

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = _artifact_folder(self.tracking_uri)
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(self._client.create_experiment(name, artifact_location=place, tags=tags))

    def _run(self, experiment: str, recipe: Recipe, model: Model) -> str:
        identity = f"tags.`nextperiod.model_version` = '{model.model_version}' and tags.`nextperiod.model_hash` = '{model.model_hash}'"
        found = self._client.search_runs([experiment], identity, max_results=1)
        if found:
            return str(found[0].info.run_id)
        run = self._client.create_run(
            experiment,
            start_time=int(model.trained_at.timestamp() * 1000),
            run_name=f"{recipe.name} {model.model_version}",
            tags=_tags(model),
        )
        return str(run.info.run_id)

    def _register(self, experiment: str, run_id: str, recipe: Recipe, model: Model, files: Mapping[str, bytes]) -> None:
        if self._registered(recipe.name, model.model_hash) is not None:
            return
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            logged = self._client.create_logged_model(
                experiment, name="model", source_run_id=run_id, model_type="forecaster"
            )
            _write_mlflow_model(folder, files, run_id, logged.model_id)
            _write(folder / "forecaster", {n: c for n, c in files.items() if n in _MODEL_FILES})
            self._client.log_model_artifacts(logged.model_id, str(folder))
            self._client.finalize_logged_model(logged.model_id, "READY")
        from mlflow.entities import LoggedModelOutput
        from mlflow.exceptions import MlflowException

        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])

        try:
            self._client.create_registered_model(recipe.name, description=recipe.description)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        self._client.create_model_version(
            recipe.name,
            source=logged.artifact_location,
            run_id=run_id,
            tags=_tags(model),
            model_id=logged.model_id,
        )

    def _registered(self, name: str, model_hash: str) -> str | None:
        """MLflow's version of our model, if it is registered."""
        tag = f"tags.`nextperiod.model_hash` = '{model_hash}'"
        found = self._client.search_model_versions(f"name = '{name}' and {tag}")
        return str(found[0].version) if found else None

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        import requests.exceptions
        import sqlalchemy.exc

        try:
            _ = self._client
            from mlflow.exceptions import MlflowException
        except (ImportError, OSError, sqlalchemy.exc.SQLAlchemyError) as error:
            raise self._away(error) from error
        try:
            yield
        except (
            MlflowException,
            requests.exceptions.RequestException,
            ImportError,
            OSError,
            sqlalchemy.exc.SQLAlchemyError,
        ) as error:
            raise self._away(error) from error

    def _away(self, error: Exception) -> RegistryUnavailable:
        cause = str(error).strip().splitlines()[0][:200]
        return RegistryUnavailable(f"MLflow at {self.shown} cannot be used: {cause}")


_MODEL_FILES = ("network.onnx", "weights.npz", "forecaster.json", "golden.npz", "manifest.json")


def _artifact_folder(tracking_uri: str) -> str | None:
    """Beside a local store; a server decides itself."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    return (Path(tracking_uri.removeprefix("sqlite:///")).absolute().parent / "mlartifacts").as_uri()


def _tags(model: Model) -> dict[str, str]:
    return {
        "nextperiod.recipe_fingerprint": model.lineage.recipe_fingerprint,
        "nextperiod.data_hash": model.lineage.data_hash,
        "nextperiod.code_version": model.lineage.code_version,
        "nextperiod.model_hash": model.model_hash,
        "nextperiod.model_version": str(model.model_version),
        "nextperiod.training": model.training,
        "nextperiod.reason": model.reason,
        "nextperiod.cutoff": str(model.cutoff)[:10],
    }


def _parameters(recipe: Recipe, model: Model) -> list[Any]:
    from mlflow.entities import Param

    shown: dict[str, object] = {
        "architecture": recipe.model.architecture,
        "context": recipe.context,
        "horizon": recipe.horizon,
        "season_length": recipe.season,
        "units": recipe.model.units,
        "scaling": recipe.model.scaling,
        "loss": recipe.loss,
        "learning_rate": recipe.training.learning_rate,
        "batch_size": recipe.training.batch_size,
        "members": recipe.num_members,
        "seed": recipe.training.seed,
        "epochs": model.record.epochs,
        "num_windows": model.record.num_windows,
        "num_series": model.record.num_series,
    }
    if model.record.designs:
        for chosen_by_the_network in ("context", "scaling", "learning_rate", "batch_size"):
            del shown[chosen_by_the_network]
        shown |= {f"member_{n}": design for n, design in enumerate(model.record.designs, start=1)}
    return [Param(name, str(value)) for name, value in shown.items()]


def _metrics(model: Model) -> list[Any]:
    from mlflow.entities import Metric

    record, now = model.record, int(time.time() * 1000)
    values: list[tuple[str, float | None, int]] = []
    values += [("loss", loss, epoch) for epoch, loss in enumerate(record.loss, start=1)]
    values += [("validation_loss", loss, epoch) for epoch, loss in enumerate(record.validation_loss, start=1)]
    if record.backtest is not None:
        for method, scores in record.backtest.scores.items():
            group = "backtest" if method == "lstm" else f"baseline/{method}"
            values += [(f"{group}/{metric}", value, 0) for metric, value in scores.items()]
        for method, errors in record.backtest.mae_by_step.items():
            group = "backtest" if method == "lstm" else f"baseline/{method}"
            values += [(f"{group}/mae_by_step", value, step) for step, value in enumerate(errors, start=1)]
        values.append(("skill/mase", record.backtest.skill, 0))
    for line in record.tutorial:
        values.append(
            (f"tutorial/rmse_{'as_written' if line.protocol == 'as written' else 'without_leak'}", line.rmse, 0)
        )
    return [
        Metric(name, value, now, step) for name, value, step in values if value is not None and math.isfinite(value)
    ]


def _signature(golden: bytes) -> Any:
    """What the network reads and gives, as its golden batch has it."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    with np.load(io.BytesIO(golden), allow_pickle=False) as arrays:
        single = np.dtype(np.float32)
        specs = {name: TensorSpec(single, (-1, *arrays[name].shape[1:]), name=name) for name in sorted(arrays.files)}
    outputs = specs.pop("outputs")
    return ModelSignature(inputs=Schema(list(specs.values())), outputs=Schema([outputs]))


def _write_mlflow_model(folder: Path, files: Mapping[str, bytes], run_id: str, model_id: str) -> None:
    """The folder that `mlflow.keras.save_model` would write for the same network."""
    from mlflow import pyfunc
    from mlflow.models import Model as MlflowModel

    model = MlflowModel(signature=_signature(files["golden.npz"]), run_id=run_id, model_id=model_id)
    model.add_flavor(
        "keras", data="data", keras_version=version("keras"), keras_backend="tensorflow", save_exported_model=False
    )
    pyfunc.add_to_model(model, loader_module="mlflow.keras", python_env="python_env.yaml")
    requirements = "".join(f"{name}=={version(name)}\n" for name in _REQUIREMENTS)
    environment = "python: '3.11'\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n"
    _write(
        folder,
        {
            "data/model.keras": files["network.keras"],
            "data/keras_module.txt": b"keras",
            "requirements.txt": requirements.encode(),
            "python_env.yaml": environment.encode(),
        },
    )
    model.save(str(folder / "MLmodel"))


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
