"""MLflow's client, imported on first use, with its failures as one error of ours."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import NextperiodError, RegistryRefused, RegistryUnavailable
from pipeline.text import without_secrets
from pipeline.tracking.run_fields import saved_view

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

#: MLflow's codes of requests that it would refuse again; all others may be answered differently later
_REFUSALS = {
    *("ALREADY_EXISTS", "BAD_REQUEST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "MALFORMED_REQUEST", "NOT_FOUND"),
    *(
        "NOT_IMPLEMENTED",
        "PERMISSION_DENIED",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_CONFLICT",
        "RESOURCE_DOES_NOT_EXIST",
    ),
}
#: answers of 400 to 499 to an upload that are not about the upload: log in, another address, later
_HTTP_NO_REFUSALS = {401, 404, 407, 408, 421, 425, 429}
#: libraries of artifact stores, whose errors MLflow passes on
_ARTIFACT_STORES = {"azure", "boto3", "botocore", "google", "paramiko"}
#: a server that does not answer must not delay the pipeline for long
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True)
class TrackingClient:
    """An MLflow tracking server or local store."""

    tracking_uri: str
    #: the current instant, for the timestamps that MLflow requires
    clock: Callable[[], datetime]

    @cached_property
    def mlflow(self) -> MlflowClient:
        """MLflow's own client. The first use imports MLflow, which takes seconds."""
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri, self.tracking_uri)

    @property
    def address(self) -> str:
        """The tracking URI without its password."""
        return without_secrets(self.tracking_uri)

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """Turn MLflow's and its store's failures inside the block into errors of ours.

        Raises:
            RegistryUnavailable: MLflow cannot be imported, reached or used.
            RegistryRefused: it answers, and would refuse the same request again.
        """
        import requests.exceptions
        import sqlalchemy.exc

        unavailable = (ImportError, OSError, requests.exceptions.RequestException, sqlalchemy.exc.SQLAlchemyError)
        try:
            from mlflow.exceptions import MlflowException
        except unavailable as error:
            raise self._unavailable(error) from error
        try:
            _ = self.mlflow
        except (MlflowException, *unavailable) as error:  # a wrong address says nothing about what is to be sent
            raise self._unavailable(error) from error
        try:
            yield
        except MlflowException as error:
            raise self._failure(error, refused=error.error_code in _REFUSALS) from error
        except requests.exceptions.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            raise self._failure(error, refused=400 <= status < 500 and status not in _HTTP_NO_REFUSALS) from error
        except unavailable as error:
            raise self._unavailable(error) from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in _ARTIFACT_STORES:
                raise
            raise self._unavailable(error) from error

    def ensure_experiment(self, name: str) -> str:
        """The id of the experiment, which is created if missing, restored if deleted, and given its saved view."""
        experiment = self.mlflow.get_experiment_by_name(name)
        view = saved_view(milliseconds(self.clock()))
        if experiment is None:
            tags = {"mlflow.experimentKind": "custom_model_development", **view}
            location = _artifact_location(self.tracking_uri)
            return str(self.mlflow.create_experiment(name, artifact_location=location, tags=tags))
        if experiment.lifecycle_stage == "deleted":
            self.mlflow.restore_experiment(experiment.experiment_id)
            logger.warning("the experiment %s was deleted in MLflow; it is restored", name)
        for tag, value in view.items():
            if tag not in experiment.tags:
                self.mlflow.set_experiment_tag(experiment.experiment_id, tag, value)
        return str(experiment.experiment_id)

    def find_run(self, experiment_id: str, tags: Mapping[str, str]) -> Run | None:
        """A run of the experiment that has all these tags."""
        condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        runs = self.mlflow.search_runs([experiment_id], condition, max_results=1)
        return runs[0] if runs else None

    def create_run(self, experiment_id: str, name: str, started_at: datetime, tags: Mapping[str, str]) -> Run:
        """A new run, in status RUNNING."""
        return self.mlflow.create_run(
            experiment_id, start_time=milliseconds(started_at), run_name=name, tags=dict(tags)
        )

    def _failure(self, error: Exception, *, refused: bool) -> NextperiodError:
        if refused:
            return RegistryRefused(f"MLflow at {self.address} refuses: {_first_line(error)}")
        return self._unavailable(error)

    def _unavailable(self, error: Exception) -> RegistryUnavailable:
        return RegistryUnavailable(f"MLflow at {self.address} cannot be used: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def milliseconds(instant: datetime) -> int:
    """The instant as MLflow counts time: in milliseconds since 1970."""
    return int(instant.timestamp() * 1000)


def _artifact_location(tracking_uri: str) -> str | None:
    """A folder beside a local store; None where the server decides."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    return (Path(tracking_uri.removeprefix("sqlite:///")).absolute().parent / "mlartifacts").as_uri()
