"""Log trainings and register models in MLflow.

The database comes first and MLflow follows: everything here can be done later, and repeated with the same result.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

from pipeline.config.recipe import Recipe
from pipeline.errors import RegistryRefused, RegistryUnavailable
from pipeline.records.lineage import Lineage, ModelVersion, training_key
from pipeline.text import counted, without_secrets
from pipeline.tracking.client import TrackingClient, milliseconds
from pipeline.tracking.live_progress import ProgressStream, open_live_run
from pipeline.tracking.mlflow_model import write_files, write_mlflow_model
from pipeline.tracking.run_fields import TRAINING_KEY, model_tags, training_metrics, training_params

#: the alias of the model that publishes
CHAMPION = "champion"


@dataclass(frozen=True)
class Registry:
    """An MLflow tracking server or local store, with its model registry.

    Every method but `stream_training` and `run_address` raises `RegistryUnavailable` if MLflow cannot be used, and
    `RegistryRefused` if MLflow refuses a request and would refuse it again.
    """

    tracking_uri: str
    #: the current instant, for the timestamps that MLflow requires
    clock: Callable[[], datetime]

    @cached_property
    def client(self) -> TrackingClient:
        """Experiments and runs."""
        return TrackingClient(self.tracking_uri, self.clock)

    @property
    def address(self) -> str:
        """The tracking URI without its password."""
        return self.client.address

    def run_address(self, run_id: str) -> str:
        """Where to look at a run: its page on a server, the command for a local store, the id if MLflow is away."""
        if not self.tracking_uri.startswith(("http://", "https://")):
            return f"run {run_id} (mlflow ui --backend-store-uri {self.address})"
        try:
            with self.client.reachable():
                experiment = self.client.mlflow.get_run(run_id).info.experiment_id
        except (RegistryUnavailable, RegistryRefused):
            return f"run {run_id}"
        return f"{self.address.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"

    def log_training(self, recipe: Recipe, model: ModelVersion, files: Mapping[str, bytes], *, card: str) -> str:
        """Log one training as a run with parameters, metrics, report and figures, and register its model.

        A second call finds what is there and adds what is missing.

        Args:
            recipe: what was trained.
            model: the trained model.
            files: content by name: the model directory, `network.keras` if Keras fitted it, `report.html` and `figures/…`.
            card: the model card, in Markdown.

        Returns:
            The id of the MLflow run.

        Raises:
            RegistryUnavailable: MLflow cannot be used.
        """
        with self.client.reachable():
            experiment = self.client.ensure_experiment(recipe.name)
            run_id = self._ensure_run(experiment, recipe, model)
            self._log_fields(run_id, recipe, model, card)
            self._log_report(run_id, files)
            if self._registered_version(model) is None:
                model_id, source = self._log_model(experiment, run_id, files)
                self._register(recipe, model, run_id=run_id, model_id=model_id, source=source, card=card)
            self.client.mlflow.set_terminated(run_id)
            return run_id

    @contextmanager
    def stream_training(
        self, recipe: Recipe, lineage: Lineage, *, training: str, reason: str, started_at: datetime
    ) -> Iterator[ProgressStream]:
        """Log a training while it runs; the block gets the callback for its progress.

        MLflow neither delays the block nor makes it fail. `log_training` completes the same run later. If the block
        fails, the run is marked as failed, with the reason.

        Args:
            recipe: what is trained.
            lineage: what it is trained on.
            training: "retrain" or "fine-tune".
            reason: why it is trained.
            started_at: start of the training.
        """
        stream = ProgressStream(
            partial(
                open_live_run, self.client, recipe, lineage, training=training, reason=reason, started_at=started_at
            )
        )
        try:
            yield stream
        except BaseException as error:
            stream.end(without_secrets(str(error)) or type(error).__name__)
            raise
        stream.end()

    def set_champion(self, model: ModelVersion) -> bool:
        """Move the alias `champion` to this model; False if the model is not registered.

        Raises:
            RegistryUnavailable: MLflow cannot be used.
        """
        with self.client.reachable():
            registered = self._registered_version(model)
            if registered is None:
                return False
            self.client.mlflow.set_registered_model_alias(model.recipe, CHAMPION, registered)
            return True

    def champion_hash(self, recipe: str) -> str | None:
        """The hash of the model that has the alias `champion` in MLflow; None if no model of the recipe has it.

        Raises:
            RegistryUnavailable: MLflow cannot be used.
        """
        from mlflow.exceptions import MlflowException

        with self.client.reachable():
            try:
                version = self.client.mlflow.get_model_version_by_alias(recipe, CHAMPION)
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                return None
            model_hash: str | None = version.tags.get("nextperiod.model_hash")
            return model_hash

    def champion_files(self, recipe: str) -> dict[str, bytes]:
        """The files of the model directory that MLflow has of its champion, by name; empty if it has no champion.

        Raises:
            RegistryUnavailable: MLflow cannot be used.
            RegistryRefused: the files were deleted.
        """
        from mlflow.artifacts import download_artifacts

        with self.client.reachable(), tempfile.TemporaryDirectory() as folder:
            client = self.client.mlflow
            aliases = client.get_registered_model(recipe).aliases
            if CHAMPION not in aliases:
                return {}
            source = client.get_model_version_download_uri(recipe, aliases[CHAMPION])
            downloaded = download_artifacts(
                f"{source}/forecaster", dst_path=folder, tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri
            )
            return {path.name: path.read_bytes() for path in Path(downloaded).iterdir()}

    def tag_publication(self, model: ModelVersion, run_id: str) -> None:
        """Tag a model's training with the id of the last published run that used the model.

        Raises:
            RegistryUnavailable: MLflow cannot be used.
            RegistryRefused: the training is not in MLflow, or its run was deleted.
        """
        if model.mlflow_run_id is None:
            raise RegistryRefused(f"the training of model {model.model_version} is not in MLflow")
        with self.client.reachable():
            self.client.mlflow.set_tag(model.mlflow_run_id, "nextperiod.published_run", run_id)

    def check(self) -> str:
        """How many experiments there are, as a phrase.

        Raises:
            RegistryUnavailable: MLflow cannot be used.
        """
        with self.client.reachable():
            return counted(len(self.client.mlflow.search_experiments()), "experiment")

    def server_version(self) -> str | None:
        """The version of a tracking server; None if it does not say.

        Raises:
            RegistryUnavailable: MLflow cannot be used.
        """
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        with self.client.reachable():
            response = http_request(
                get_default_host_creds(self.tracking_uri), "/version", "GET", max_retries=0, raise_on_status=False
            )
        return str(response.text).strip() if response.status_code == 200 else None

    def prepare(self) -> None:
        """Import MLflow, which takes seconds, so that later calls take only as long as MLflow itself.

        Raises:
            RegistryUnavailable: MLflow cannot be imported.
        """
        with self.client.reachable():
            pass

    def _ensure_run(self, experiment: str, recipe: Recipe, model: ModelVersion) -> str:
        """The run logged before for this model, or the one that was streamed, or a new one."""
        version, key = str(model.model_version), {TRAINING_KEY: training_key(model.lineage, model.trained_at)}
        model_identity = {"nextperiod.model_version": version, "nextperiod.model_hash": model.model_hash}
        run = self.client.find_run(experiment, model_identity) or self.client.find_run(experiment, key)
        if run is None:
            run = self.client.create_run(experiment, f"{recipe.name} {version}", model.trained_at, key)
        return str(run.info.run_id)

    def _log_fields(self, run_id: str, recipe: Recipe, model: ModelVersion, card: str) -> None:
        from mlflow.entities import Metric, Param, RunTag

        timestamp = milliseconds(model.trained_at)  # not the current time: logging again must add nothing
        metrics, params = training_metrics(recipe, model.record), training_params(recipe, model.record)
        names = {"mlflow.runName": f"{recipe.name} {model.model_version}", "mlflow.note.content": card}
        self.client.mlflow.log_batch(
            run_id,
            metrics=[Metric(metric.name, metric.value, timestamp, metric.step) for metric in metrics],
            params=[Param(name, value) for name, value in params.items()],
            tags=[RunTag(name, value) for name, value in {**model_tags(model), **names}.items()],
        )

    def _log_report(self, run_id: str, files: Mapping[str, bytes]) -> None:
        report = {name: files[name] for name in files if name == "report.html" or name.startswith("figures/")}
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), report)
            self.client.mlflow.log_artifacts(run_id, folder)

    def _log_model(self, experiment: str, run_id: str, files: Mapping[str, bytes]) -> tuple[str, str]:
        """Log the model as an output of the run; its id and where its files are."""
        from mlflow.entities import LoggedModelOutput

        client = self.client.mlflow
        logged = client.create_logged_model(experiment, name="model", source_run_id=run_id, model_type="forecaster")
        with tempfile.TemporaryDirectory() as folder:
            write_mlflow_model(Path(folder), files, run_id=run_id, model_id=logged.model_id)
            client.log_model_artifacts(logged.model_id, folder)
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        return logged.model_id, logged.artifact_location

    def _register(
        self, recipe: Recipe, model: ModelVersion, *, run_id: str, model_id: str, source: str, card: str
    ) -> None:
        from mlflow.exceptions import MlflowException

        client = self.client.mlflow
        try:
            client.create_registered_model(recipe.name, description=recipe.description)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        client.create_model_version(
            recipe.name, source=source, run_id=run_id, tags=model_tags(model), description=card, model_id=model_id
        )

    def _registered_version(self, model: ModelVersion) -> str | None:
        """MLflow's version of the model; None if it is not registered."""
        condition = f"name = '{model.recipe}' and tags.`nextperiod.model_hash` = '{model.model_hash}'"
        versions = self.client.mlflow.search_model_versions(condition)
        return str(versions[0].version) if versions else None
