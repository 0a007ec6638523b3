"""Reads and writes of domain values, each a named query; what is one decision is one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld, Rejection
from pipeline.evaluation.drift import OutcomesByPeriod
from pipeline.forecasting.calibration import Outcomes
from pipeline.records.lineage import Decision, LatestBatch, ModelVersion, OutboxEntry, Run
from pipeline.sources.delivery import FetchContext
from pipeline.storage.batches import (
    BatchHeader,
    BatchWriter,
    HeldBatch,
    HeldPart,
    begin_intake,
    held_of,
    held_parts,
    insert_batch,
    next_instant,
)
from pipeline.storage.engine import Database
from pipeline.storage.leases import give_lease_back, lease_epoch, take_lease
from pipeline.storage.mapping import insert_decision, model_of, rejection_row
from pipeline.storage.models import NewModel, add_model
from pipeline.storage.observations import observations_as_of, with_covariates
from pipeline.storage.outcomes import read_outcomes, read_outcomes_by_period
from pipeline.storage.runs import Publication, forecast_in, publish
from pipeline.storage.scores import score, series_worse_than_baseline
from pipeline.storage.statements import Row
from pipeline.timeseries.forecast import Forecast
from pipeline.timeseries.observations import TARGET, Observations
from pipeline.timeseries.panel import Panel, panel_from_observations


@dataclass(frozen=True, slots=True)
class Store:
    """Everything that is kept, in one database."""

    database: Database

    # observations

    def register(self, recipe: Recipe) -> None:
        """Make the recipe known, or take over its present definition."""
        definition = json.dumps(recipe.model_dump(mode="json"), sort_keys=True)
        with self.database.write() as transaction:
            for query in ("insert_recipe", "insert_recipe_version"):
                transaction.execute(query, recipe=recipe.name, definition=definition, fingerprint=recipe.fingerprint)

    def fetch_context(self, recipe: str, now: datetime) -> FetchContext:
        """What a source is told about what was taken in before, and of the time."""
        with self.database.read() as transaction:
            last = transaction.row("last_delivery", recipe=recipe)
            newest = transaction.row("newest_period", recipe=recipe)
        if last is None:
            return FetchContext(now=now)
        return FetchContext(
            now=now,
            content_hash=last["content_hash"],
            state=json.loads(last["state"]),
            newest_period=newest["period"] if newest else None,
        )

    @contextmanager
    def taking_in(self, header: BatchHeader, now: datetime) -> Iterator[BatchWriter]:
        """A batch in one transaction, under the recipe's lock; an error leaves nothing of it."""
        with self.database.write() as transaction:
            yield begin_intake(transaction, header, now)
            transaction.execute("forget_held_parts", recipe=header.recipe)

    def refuse(self, header: BatchHeader, message: str, rejections: Sequence[Rejection], now: datetime) -> None:
        """Keep what was refused, and nothing else of the batch; the same refusal again is the one that it was."""
        with self.database.write() as transaction:
            recorded_at = next_instant(transaction, header.recipe, now)
            before = transaction.row("newest_unaccepted", recipe=header.recipe)
            if before is not None and (before["content_hash"], before["message"]) == (header.content_hash, message):
                return
            batch_id = insert_batch(
                transaction, header, recorded_at, status="refused", message=message, num_rejected=len(rejections)
            )
            transaction.execute_many("insert_rejection", [rejection_row(batch_id, one) for one in rejections])

    def hold(
        self, header: BatchHeader, held: BatchHeld, parts: Iterable[HeldPart], num_read: int, now: datetime
    ) -> None:
        """Keep a batch for a person to look at; nothing of it counts yet. The same one again is the one that it was."""
        with self.database.write() as transaction:
            recorded_at = next_instant(transaction, header.recipe, now)
            before = transaction.row("held_batch", recipe=header.recipe)
            if before is not None and (before["content_hash"], before["message"]) == (header.content_hash, str(held)):
                return
            transaction.execute("forget_held_parts", recipe=header.recipe)
            batch_id = insert_batch(
                transaction,
                header,
                recorded_at,
                status="held",
                message=str(held),
                num_read=num_read,
                num_rejected=len(held.rejections),
            )
            transaction.execute_many("insert_rejection", [rejection_row(batch_id, one) for one in held.rejections])
            for n, part in enumerate(parts):
                transaction.execute("insert_held_part", batch_id=batch_id, part=n, content=part.packed())

    def held(self, recipe: str) -> HeldBatch | None:
        """The batch that waits for a person, if one does."""
        with self.database.read() as transaction:
            row = transaction.row("held_batch", recipe=recipe)
        return None if row is None else held_of(row)

    def held_parts(self, held: HeldBatch) -> Iterator[HeldPart]:
        """What a held batch brings."""
        with self.database.read() as transaction:
            rows = transaction.rows("held_parts", batch_id=held.batch_id)
        return held_parts(rows)

    def known_as_of(self, recipe: str, as_of: datetime) -> LatestBatch | None:
        """The newest batch that changed what was known at an instant; None before the first."""
        with self.database.read() as transaction:
            row = transaction.row("batch_as_of", recipe=recipe, as_of=as_of)
        return None if row is None else LatestBatch(**row)

    def instants(self, recipe: str) -> list[datetime]:
        """When something new was recorded of a recipe, in order: between two of them nothing changed."""
        with self.database.read() as transaction:
            return [row["recorded_at"] for row in transaction.rows("instants_of_recipe", recipe=recipe)]

    def observations(
        self, recipe: Recipe, batch_id: int, *, variable: str = TARGET, length: int | None = None
    ) -> Observations:
        """Values as they were known after a batch.

        Args:
            recipe: whose.
            batch_id: of the batch.
            variable: a covariate, or what is forecast.
            length: how many of the last values of each series; None: all.
        """
        with self.database.read() as transaction:
            return observations_as_of(transaction, recipe, batch_id, variable=variable, length=length)

    def panel(
        self, recipe: Recipe, as_of: datetime, *, variable: str = TARGET, length: int | None = None
    ) -> Panel | None:
        """The panel as it was known at an instant, or its end; None before the first observation."""
        at = self.known_as_of(recipe.name, as_of)
        if at is None:
            return None
        known = self.observations(recipe, at.batch_id, variable=variable, length=length)
        if len(known) == 0:
            return None
        panel = panel_from_observations(
            known.names, known.series, known.period, known.value, frequency=recipe.grid, as_of=at.recorded_at
        )
        if variable != TARGET or not recipe.covariates.names:
            return panel
        attributes = self.attributes(recipe.name, as_of) if recipe.covariates.static else {}
        with self.database.read() as transaction:
            return with_covariates(transaction, panel, recipe, at.batch_id, attributes, length=length)

    def attributes(self, recipe: str, as_of: datetime) -> dict[str, dict[str, str]]:
        """What was known at an instant of each series that has no period, by name."""
        with self.database.read() as transaction:
            last = transaction.row("last_batch_as_of", recipe=recipe, as_of=as_of)
            batch_id = last["batch_id"] if last and last["batch_id"] else 0
            rows = transaction.rows("attributes_as_of", recipe=recipe, batch_id=batch_id)
        told: dict[str, dict[str, str]] = {}
        for row in rows:
            told.setdefault(row["series"], {})[row["name"]] = row["value"]
        return told

    # leases

    def epoch(self, recipe: str) -> int:
        """How often the recipe was taken over."""
        with self.database.read() as transaction:
            return lease_epoch(transaction, recipe)

    def take_lease(self, recipe: str, holder: str, lasts: timedelta) -> int:
        """Hold a recipe for a training; the epoch, which every later write has to name.

        Raises:
            Busy: somebody else holds it.
        """
        with self.database.write() as transaction:
            return take_lease(transaction, recipe, holder, lasts)

    def give_lease_back(self, recipe: str, epoch: int) -> None:
        """The training is over."""
        with self.database.write() as transaction:
            give_lease_back(transaction, recipe, epoch)

    # models

    def champion(self, recipe: str) -> ModelVersion | None:
        """The model that publishes."""
        return self._model("champion", recipe=recipe)

    def champion_as_of(self, recipe: str, as_of: datetime) -> ModelVersion | None:
        """The model that was promoted last on what was known at an instant."""
        return self._model("champion_as_of", recipe=recipe, as_of=as_of)

    def newest_model(self, recipe: str, as_of: datetime, *, training: str | None = None) -> ModelVersion | None:
        """The model that was trained last on what was known at an instant, promoted or not."""
        return self._model("newest_model_as_of", recipe=recipe, as_of=as_of, training=training)

    def decide(self, recipe: str, decided: Decision, now: datetime) -> None:
        """Keep a decision, unless it is the one that was taken last."""
        with self.database.write() as transaction:
            insert_decision(transaction, recipe, decided, now)

    def model(self, recipe: str, model_version: int) -> ModelVersion | None:
        """One model."""
        return self._model("model", recipe=recipe, model_version=model_version)

    def _model(self, query: str, **parameters: Any) -> ModelVersion | None:
        with self.database.read() as transaction:
            row = transaction.row(query, **parameters)
        return None if row is None else model_of(row)

    def model_files(self, model: ModelVersion) -> dict[str, bytes]:
        """The model directory's files and what goes with them, by name."""
        with self.database.read() as transaction:
            rows = transaction.rows("model_files", recipe=model.recipe, model_version=model.model_version)
        return {row["name"]: bytes(row["content"]) for row in rows}

    def add_model(self, challenger: NewModel, now: datetime) -> int:
        """Keep a trained model and, if the gate let it through, make it the champion; its version."""
        return add_model(challenger, self.database, now)

    # runs

    def publish(self, publication: Publication, now: datetime) -> tuple[Run, bool]:
        """Make a forecast visible, whole; the run, and whether it is a new one."""
        return publish(publication, self.database, now)

    def forecast_of_run(self, run_id: str) -> Forecast:
        """What a run published."""
        with self.database.read() as transaction:
            run = transaction.row("run", run_id=run_id)
            assert run is not None
            return forecast_in(transaction, run["run_number"], run["origin"])

    def latest_forecasts(self, recipe: str, series: str | None = None) -> Sequence[Row]:
        """The rows that consumers see."""
        with self.database.read() as transaction:
            return transaction.rows("latest_forecasts", recipe=recipe, series=series)

    # scores, status, attempts, outbox

    def score(self, recipe: str, kind: str, as_of: datetime) -> int:
        """Score runs of one kind against what was known at an instant; how many scores are new."""
        return score(self.database, recipe, kind, as_of)

    def series_worse_than_baseline(
        self, model: ModelVersion, kind: str, as_of: datetime, baseline: str
    ) -> dict[str, str]:
        """Series of which a model's published forecasts lost to the baseline, with the figures."""
        return series_worse_than_baseline(self.database, model, kind, as_of, baseline)

    def outcomes(self, recipe: Recipe, kind: str, *, origin: np.datetime64, as_of: datetime) -> Outcomes:
        """What became of the newest forecasts made before an origin, as it was known at an instant."""
        with self.database.read() as transaction:
            return read_outcomes(transaction, recipe, kind, origin, as_of)

    def outcomes_by_period(self, recipe: str, kind: str, *, model_version: int, as_of: datetime) -> OutcomesByPeriod:
        """How the published forecasts of one model turned out, by origin, as it was known at an instant."""
        with self.database.read() as transaction:
            return read_outcomes_by_period(transaction, recipe, kind, model_version, as_of)

    def status(self) -> Sequence[Row]:
        """One row for every recipe that was ever run."""
        with self.database.read() as transaction:
            return transaction.rows("recipe_status")

    def begin_attempt(self, recipe: str, command: str, now: datetime) -> int:
        """Record that somebody tries something."""
        with self.database.write() as transaction:
            row = transaction.row("insert_attempt", recipe=recipe, command=command, started_at=now)
            assert row is not None
            return int(row["attempt_id"])

    def end_attempt(self, attempt_id: int, status: str, error: str | None, now: datetime) -> None:
        """Record how it went. Attempts in a row that found nothing to do share one record."""
        with self.database.write() as transaction:
            transaction.execute("finish_attempt", attempt_id=attempt_id, status=status, error=error, finished_at=now)
            if status == "unchanged":
                transaction.execute("forget_idle_attempts", attempt_id=attempt_id)

    def waiting(self, recipe: str | None = None) -> list[OutboxEntry]:
        """What MLflow has to follow yet, oldest first."""
        with self.database.read() as transaction:
            rows = transaction.rows("outbox_waiting", recipe=recipe)
        return [
            OutboxEntry(outbox_id=r["outbox_id"], recipe=r["recipe"], kind=r["kind"], reference=r["reference"])
            for r in rows
        ]

    def followed(self, item: OutboxEntry, now: datetime, *, mlflow_run_id: str | None = None) -> None:
        """MLflow has followed; a training is shown as `mlflow_run_id`."""
        with self.database.write() as transaction:
            if mlflow_run_id is not None:
                transaction.execute(
                    "set_mlflow_run",
                    recipe=item.recipe,
                    model_version=item.model_version,
                    mlflow_run_id=mlflow_run_id,
                )
            transaction.execute("outbox_done", outbox_id=item.outbox_id, done_at=now)

    def not_followed(self, item: OutboxEntry, error: str) -> None:
        """MLflow could not follow; it is tried again."""
        with self.database.write() as transaction:
            transaction.execute("outbox_failed", outbox_id=item.outbox_id, last_error=error)
