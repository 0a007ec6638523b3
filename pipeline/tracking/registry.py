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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.recipe import Recipe
from pipeline.errors import RegistryUnavailable
from pipeline.records.lineage import Lineage, ModelVersion, training_key
from pipeline.text import without_secrets
from pipeline.tracking.live_progress import ProgressStream
from pipeline.tracking.run_fields import lineage_tags, metrics_of, parameters_of, saved_view, tags_of
from pipeline.training.progress import Progress

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
#: finds the run of a training that there is no model of yet
TRAINING_KEY = "nextperiod.training_key"
#: why a training came to nothing
FAILURE = "nextperiod.failure"
#: MLflow's own limits
_MOST_METRICS, _LONGEST_TAG = 1000, 5000
#: what a model needs to be loaded from MLflow
_REQUIREMENTS = ("keras", "mlflow", "tensorflow")


@dataclass(frozen=True)
class Registry:
    """An MLflow tracking server or store with its registry."""

    tracking_uri: str
    #: stamps what MLflow wants a time of
    clock: Callable[[], datetime]

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

    def log_training(self, recipe: Recipe, model: ModelVersion, files: Mapping[str, bytes], *, card: str) -> str:
        """Show one training: a run with parameters, losses, figures, report and the model, registered with its card.

        Doing it again finds what is there and adds what is missing. The card describes the model, in Markdown.

        Returns:
            the id of the MLflow run.

        Raises:
            RegistryUnavailable: MLflow is away.
        """
        with self._reachable():
            experiment = self._experiment(recipe.name)
            run_id = self._run(experiment, recipe, model)
            self._show(run_id, recipe, model, card)
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                _write(folder, {n: c for n, c in files.items() if n == "report.html" or n.startswith("figures/")})
                self._client.log_artifacts(run_id, str(folder))
            self._register(experiment, run_id, recipe, model, files, card)
            self._client.set_terminated(run_id)
            return run_id

    @contextmanager
    def live(
        self, recipe: Recipe, lineage: Lineage, *, training: str, reason: str, started_at: datetime
    ) -> Iterator[ProgressStream]:
        """Show a training while it runs; what is given is to be told of its progress.

        What MLflow does or does not do neither holds the body up nor makes it fail: `log_training` shows the same
        later, in the same run. A body that fails ends the run as failed, with the reason.
        """
        shown = ProgressStream(_LiveRun(self, recipe, lineage, training, reason, started_at))
        try:
            yield shown
        except BaseException as error:
            shown.end(without_secrets(str(error)) or type(error).__name__)
            raise
        shown.end()

    def set_champion(self, model: ModelVersion) -> None:
        """Let the alias follow the database.

        Raises:
            RegistryUnavailable: MLflow is away.
        """
        with self._reachable():
            registered = self._registered(model.recipe, model.model_hash)
            if registered is not None:
                self._client.set_registered_model_alias(model.recipe, CHAMPION, registered)

    def show_publication(self, model: ModelVersion, run_id: str) -> None:
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
        found, view = self._client.get_experiment_by_name(name), saved_view(_milliseconds(self.clock()))
        if found is not None:
            for tag, value in view.items():
                if tag not in found.tags:
                    self._client.set_experiment_tag(found.experiment_id, tag, value)
            return str(found.experiment_id)
        place = _artifact_folder(self.tracking_uri)
        tags = {"mlflow.experimentKind": "custom_model_development", **view}
        return str(self._client.create_experiment(name, artifact_location=place, tags=tags))

    def _run(self, experiment: str, recipe: Recipe, model: ModelVersion) -> str:
        """The one that showed the training live, or that was made before for this model, or a new one."""
        version, key = str(model.model_version), training_key(model.lineage, model.trained_at)
        identities = (
            {"nextperiod.model_version": version, "nextperiod.model_hash": model.model_hash},
            {TRAINING_KEY: key},
        )
        for tags in identities:
            found = self._found_run(experiment, tags)
            if found is not None:
                return found
        return self._new_run(experiment, f"{recipe.name} {version}", model.trained_at, {TRAINING_KEY: key})

    def _found_run(self, experiment: str, tags: Mapping[str, str]) -> str | None:
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found = self._client.search_runs([experiment], wanted, max_results=1)
        return str(found[0].info.run_id) if found else None

    def _new_run(self, experiment: str, name: str, started_at: datetime, tags: dict[str, str]) -> str:
        run = self._client.create_run(experiment, start_time=_milliseconds(started_at), run_name=name, tags=tags)
        return str(run.info.run_id)

    def _show(self, run_id: str, recipe: Recipe, model: ModelVersion, card: str) -> None:
        from mlflow.entities import Metric, Param, RunTag

        at = _milliseconds(model.trained_at)  # once more is the same
        names = {"mlflow.runName": f"{recipe.name} {model.model_version}", "mlflow.note.content": card}
        tags = {**tags_of(model), **names}
        self._client.log_batch(
            run_id,
            metrics=[Metric(name, value, at, step) for name, value, step in metrics_of(recipe, model.record)],
            params=[Param(name, value) for name, value in parameters_of(recipe, model.record).items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )

    def _register(
        self, experiment: str, run_id: str, recipe: Recipe, model: ModelVersion, files: Mapping[str, bytes], card: str
    ) -> None:
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
            tags=tags_of(model),
            description=card,
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


@dataclass
class _LiveRun:
    """A run of MLflow that is filled while the training goes on."""

    registry: Registry
    recipe: Recipe
    lineage: Lineage
    training: str
    reason: str
    started_at: datetime
    run_id: str = ""

    def begin(self) -> None:
        key = {TRAINING_KEY: training_key(self.lineage, self.started_at)}
        with self.registry._reachable():
            experiment = self.registry._experiment(self.recipe.name)
            found = self.registry._found_run(experiment, key)
            if found is not None:
                self.run_id = found
                self.registry._client.update_run(found, status="RUNNING")
                if FAILURE in self.registry._client.get_run(found).data.tags:
                    self.registry._client.delete_tag(found, FAILURE)
                return
            tags = {**key, **lineage_tags(self.lineage, self.training, self.reason)}
            name = f"{self.recipe.name} in training"
            self.run_id = self.registry._new_run(experiment, name, self.started_at, tags)

    def show(self, epochs: Sequence[tuple[int, Progress]]) -> None:
        from mlflow.entities import Metric

        now = _milliseconds(self.registry.clock())
        metrics = [
            Metric(f"live/{epoch['stage']}_loss", epoch["loss"], now, number)
            for number, epoch in epochs
            if math.isfinite(epoch["loss"])
        ]
        with self.registry._reachable():
            for first in range(0, len(metrics), _MOST_METRICS):
                self.registry._client.log_batch(self.run_id, metrics=metrics[first : first + _MOST_METRICS])

    def end(self, reason: str | None) -> None:
        with self.registry._reachable():
            if reason is not None:
                self.registry._client.set_tag(self.run_id, FAILURE, reason[:_LONGEST_TAG])
            self.registry._client.set_terminated(self.run_id, "FINISHED" if reason is None else "FAILED")

    def withdraw(self) -> None:
        with self.registry._reachable():
            self.registry._client.delete_run(self.run_id)


def _milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


_MODEL_FILES = ("network.onnx", "weights.npz", "forecaster.json", "golden.npz", "manifest.json")


def _artifact_folder(tracking_uri: str) -> str | None:
    """Beside a local store; a server decides itself."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    return (Path(tracking_uri.removeprefix("sqlite:///")).absolute().parent / "mlartifacts").as_uri()


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
    from mlflow.models import ModelVersion as MlflowModel

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
