"""Reads and writes of domain values, each a named query; what is one decision is one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from pipeline.database import Database, Row, Transaction
from pipeline.errors import ModelRefused, Overtaken, Rejection
from pipeline.forecast import Forecast
from pipeline.forecaster import check_files
from pipeline.lineage import Lineage, Model, Run, Waiting
from pipeline.observations import CleanBatch, Observations
from pipeline.panel import Panel, panel_from_observations
from pipeline.recipe import Recipe
from pipeline.rows import (
    batch_row,
    forecast_of,
    forecast_rows,
    model_of,
    refused_batch_row,
    rejection_row,
    run_id_of,
    run_of,
)
from pipeline.scoring import Outcome, Score
from pipeline.training_record import TrainingRecord


@dataclass(frozen=True, slots=True)
class Store:
    """Everything that is kept, in one database."""

    database: Database

    # observations

    def register(self, recipe: Recipe) -> None:
        """Make the recipe known, or take over its present definition."""
        definition = json.dumps(recipe.model_dump(mode="json"), sort_keys=True)
        with self.database.write() as transaction:
            transaction.execute(
                "insert_recipe", recipe=recipe.name, definition=definition, fingerprint=recipe.fingerprint
            )

    def last_content_hash(self, recipe: str) -> str | None:
        """Content of the batch that was taken in last."""
        with self.database.read() as transaction:
            row = transaction.row("last_accepted_batch", recipe=recipe)
        return None if row is None else str(row["content_hash"])

    def current_observations(self, recipe: str, as_of: datetime) -> Observations:
        """All values as they were known at an instant."""
        with self.database.read() as transaction:
            rows = transaction.rows("observations_as_of", recipe=recipe, as_of=as_of)
        names = tuple(sorted({row["series"] for row in rows}))  # not by the database's collation
        position = {name: s for s, name in enumerate(names)}
        series = np.array([position[row["series"]] for row in rows], dtype=np.int64)
        order = np.argsort(series, kind="stable")
        return Observations(
            names=names,
            series=series[order],
            period=np.array([row["period"] for row in rows], dtype="datetime64[us]")[order],
            value=np.array([row["value"] for row in rows], dtype=np.float64)[order],
        )

    def panel(self, recipe: Recipe, as_of: datetime) -> Panel | None:
        """The panel as it was known at an instant; None before the first observation."""
        known = self.current_observations(recipe.name, as_of)
        if len(known) == 0:
            return None
        return panel_from_observations(
            known.names, known.series, known.period, known.value, frequency=recipe.grid, as_of=as_of
        )

    def data_recorded_at(self, recipe: str, as_of: datetime) -> datetime | None:
        """When the newest observation that was known at an instant was recorded."""
        with self.database.read() as transaction:
            row = transaction.row("data_recorded_at", recipe=recipe, as_of=as_of)
        return None if row is None else row["recorded_at"]

    def append(self, recipe: str, batch: CleanBatch, now: datetime, *, seen: datetime | None) -> datetime:
        """Take a batch in, in one transaction; the instant at which it counts as recorded.

        Instants of one recipe ascend strictly, whatever the clocks of workers say.

        Raises:
            Overtaken: something was recorded since `seen`, which the batch was compared with.
        """
        observed = batch.observations
        with self.database.write() as transaction:
            recorded_at = _next_instant(transaction, recipe, now)
            newest = transaction.row("data_recorded_at", recipe=recipe, as_of=recorded_at)
            if newest is not None and newest["recorded_at"] != seen:
                raise Overtaken(f"another worker recorded observations of {recipe} at the same time: run again")
            transaction.execute_many("insert_series", [{"recipe": recipe, "series": name} for name in observed.names])
            numbers = {row["series"]: row["series_id"] for row in transaction.rows("series_of_recipe", recipe=recipe)}
            row = transaction.row("insert_batch", **batch_row(recipe, batch, recorded_at))
            assert row is not None
            batch_id = int(row["batch_id"])
            transaction.execute_many(
                "insert_observation",
                [
                    {
                        "series_id": numbers[observed.names[s]],
                        "period": period,
                        "recorded_at": recorded_at,
                        "value": float(value),
                        "batch_id": batch_id,
                    }
                    for s, period, value in zip(observed.series, observed.period, observed.value, strict=True)
                ],
            )
            transaction.execute_many("insert_rejection", [rejection_row(batch_id, one) for one in batch.rejections])
        return recorded_at

    def refuse(self, recipe: str, source: str, message: str, rejections: Sequence[Rejection], now: datetime) -> None:
        """Keep what was refused, and nothing else of the batch."""
        with self.database.write() as transaction:
            recorded_at = _next_instant(transaction, recipe, now)
            row = transaction.row(
                "insert_batch", **refused_batch_row(recipe, source, message, len(rejections), recorded_at)
            )
            assert row is not None
            transaction.execute_many("insert_rejection", [rejection_row(row["batch_id"], one) for one in rejections])

    # models

    def champion(self, recipe: str) -> Model | None:
        """The model that publishes."""
        return self._model("champion", recipe=recipe)

    def champion_as_of(self, recipe: str, as_of: datetime) -> Model | None:
        """The newest model made from data that were known at an instant."""
        return self._model("champion_as_of", recipe=recipe, as_of=as_of)

    def model(self, recipe: str, model_version: int) -> Model | None:
        """One model."""
        return self._model("model", recipe=recipe, model_version=model_version)

    def _model(self, query: str, **parameters: Any) -> Model | None:
        with self.database.read() as transaction:
            row = transaction.row(query, **parameters)
        return None if row is None else model_of(row)

    def model_files(self, model: Model) -> dict[str, bytes]:
        """The model directory's files and what goes with them, by name."""
        with self.database.read() as transaction:
            rows = transaction.rows("model_files", recipe=model.recipe, model_version=model.model_version)
        return {row["name"]: bytes(row["content"]) for row in rows}

    def add_model(
        self,
        recipe: Recipe,
        record: TrainingRecord,
        model_hash: str,
        files: Mapping[str, bytes],
        lineage: Lineage,
        now: datetime,
        *,
        seen_champion: int | None,
        publishes: bool,
    ) -> int:
        """Keep a model and, if it `publishes`, make it the champion; its version.

        The same model again is the version that it was.

        Raises:
            Overtaken: another champion was set since `seen_champion`.
        """
        with self.database.write() as transaction:
            locked = transaction.row("lock_recipe", recipe=recipe.name)
            assert locked is not None
            known = transaction.row("model_by_hash", recipe=recipe.name, model_hash=model_hash)
            version = (
                known["model_version"]
                if known
                else self._add_model(transaction, recipe, record, model_hash, files, lineage, now)
            )
            if known is None:
                transaction.execute(
                    "insert_outbox", recipe=recipe.name, kind="training", reference=str(version), created_at=now
                )
            if not publishes or locked["champion_version"] == version:
                return int(version)
            if locked["champion_version"] != seen_champion:
                raise Overtaken(
                    f"model {locked['champion_version']} became champion of {recipe.name} while model {version} was trained: run again"
                )
            transaction.execute("change_champion", recipe=recipe.name, model_version=version, epoch=locked["epoch"])
            transaction.execute(
                "insert_outbox",
                recipe=recipe.name,
                kind="champion",
                reference=f"{version} at epoch {locked['epoch'] + 1}",
                created_at=now,
            )
        return int(version)

    def _add_model(
        self,
        transaction: Transaction,
        recipe: Recipe,
        record: TrainingRecord,
        model_hash: str,
        files: Mapping[str, bytes],
        lineage: Lineage,
        now: datetime,
    ) -> int:
        newest = transaction.row("newest_model_version", recipe=recipe.name)
        version = 1 + int(newest["model_version"] or 0) if newest else 1
        transaction.execute(
            "insert_model",
            recipe=recipe.name,
            model_version=version,
            model_hash=model_hash,
            training=record.training,
            reason=record.reason,
            cutoff=np.datetime64(record.cutoff, "us"),
            training_fingerprint=recipe.training_fingerprint,
            record=record.model_dump_json(),
            skill=record.backtest.skill if record.backtest else None,
            trained_at=now,
            **asdict(lineage),
        )
        transaction.execute_many(
            "insert_model_file",
            [{"recipe": recipe.name, "model_version": version, "name": n, "content": c} for n, c in files.items()],
        )
        return version

    # runs

    def publish(
        self,
        recipe: Recipe,
        forecast: Forecast,
        model: Model,
        lineage: Lineage,
        *,
        kind: str,
        expected_next_by: datetime,
        now: datetime,
    ) -> tuple[Run, bool]:
        """Make a forecast visible, whole, in one transaction; the run, and whether it is a new one.

        A forecast of the same data by the same recipe and model is published already and stays as it is.
        Another one at the same origin is superseded by this one.
        """
        key = {
            "recipe": recipe.name,
            "kind": kind,
            "origin": forecast.origin,
            "data_hash": lineage.data_hash,
            "recipe_fingerprint": lineage.recipe_fingerprint,
            "model_hash": model.model_hash,
        }
        with self.database.write() as transaction:
            transaction.row("lock_recipe", recipe=recipe.name)
            earlier = transaction.rows("runs_at_origin", recipe=recipe.name, kind=kind, origin=forecast.origin)
            published = next((run for run in earlier if run["status"] == "published"), None)
            if published is not None and all(published[name] == value for name, value in key.items()):
                return run_of(published), False
            run_id = run_id_of(recipe, forecast, kind, len(earlier))
            transaction.execute(
                "insert_run",
                run_id=run_id,
                num_series=len(forecast.series),
                num_fallback=sum(method != "lstm" for method in forecast.method),
                num_rows=forecast.num_rows,
                content_hash=forecast.content_hash,
                expected_next_by=expected_next_by,
                model_version=model.model_version,
                as_of=lineage.as_of,
                code_version=lineage.code_version,
                **key,
            )
            numbers = {
                row["series"]: row["series_id"] for row in transaction.rows("series_of_recipe", recipe=recipe.name)
            }
            transaction.execute_many("insert_forecast", list(forecast_rows(run_id, forecast, numbers)))
            _check_staged(transaction, run_id, forecast)
            transaction.execute("supersede_run", run_id=run_id, recipe=recipe.name, kind=kind, origin=forecast.origin)
            transaction.execute("publish_run", run_id=run_id, published_at=now)
            row = transaction.row("run", run_id=run_id)
            assert row is not None
            return run_of(row), True

    def forecast_of_run(self, run_id: str) -> Forecast:
        """What a run published."""
        with self.database.read() as transaction:
            run = transaction.row("run", run_id=run_id)
            assert run is not None
            return forecast_of(run["origin"], transaction.rows("forecasts_of_run", run_id=run_id))

    def latest_forecasts(self, recipe: str, series: str | None = None) -> Sequence[Row]:
        """The rows that consumers see."""
        with self.database.read() as transaction:
            return transaction.rows("latest_forecasts", recipe=recipe, series=series)

    # scores, status, attempts, outbox

    def unscored(self, recipe: str) -> list[Outcome]:
        """Published steps whose observation has no score yet."""
        with self.database.read() as transaction:
            return [Outcome(**row) for row in transaction.rows("unscored_forecasts", recipe=recipe)]

    def add_scores(self, scores: Sequence[Score]) -> None:
        """Keep scores."""
        with self.database.write() as transaction:
            transaction.execute_many("insert_score", [asdict(score) for score in scores])

    def status(self) -> Sequence[Row]:
        """One row for every recipe that was ever run."""
        with self.database.read() as transaction:
            return transaction.rows("recipe_status")

    def broken_promises(self) -> list[str]:
        """What in the store is not as it is promised to be, one sentence each; empty when all is well."""
        with self.database.read() as transaction:
            broken = [
                f"run {row['run_id']} holds {row['found']} rows, {row['num_rows']} were declared"
                for row in transaction.rows("runs_not_whole")
            ]
            broken += [
                f"{row['found']} {row['kind']} runs of {row['recipe']} are published at origin {row['origin']}"
                for row in transaction.rows("runs_published_twice")
            ]
            latest = transaction.rows("latest_runs")
            champions = transaction.rows("champions")
        broken += [
            f"run {row['run_id']} is not as it was computed"
            for row in latest
            if self.forecast_of_run(row["run_id"]).content_hash != row["content_hash"]
        ]
        for row in champions:
            model = self.model(row["recipe"], row["model_version"])
            if model is None:
                broken.append(f"the champion {row['model_version']} of {row['recipe']} does not exist")
                continue
            try:
                check_files(self.model_files(model), model.model_hash)
            except ModelRefused as error:
                broken.append(str(error))
        return broken

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

    def waiting(self, recipe: str | None = None) -> list[Waiting]:
        """What MLflow has to follow yet, oldest first."""
        with self.database.read() as transaction:
            rows = transaction.rows("outbox_waiting", recipe=recipe)
        return [
            Waiting(outbox_id=r["outbox_id"], recipe=r["recipe"], kind=r["kind"], reference=r["reference"])
            for r in rows
        ]

    def followed(self, item: Waiting, now: datetime, *, mlflow_run_id: str | None = None) -> None:
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

    def not_followed(self, item: Waiting, error: str) -> None:
        """MLflow could not follow; it is tried again."""
        with self.database.write() as transaction:
            transaction.execute("outbox_failed", outbox_id=item.outbox_id, last_error=error)


def _next_instant(transaction: Transaction, recipe: str, now: datetime) -> datetime:
    transaction.row("lock_recipe", recipe=recipe)
    newest = transaction.row("newest_recorded_at", recipe=recipe)
    last = newest["recorded_at"] if newest else None
    return now if last is None else max(now, last + timedelta(microseconds=1))


def _check_staged(transaction: Transaction, run_id: str, forecast: Forecast) -> None:
    staged = forecast_of(forecast.origin, transaction.rows("forecasts_of_run", run_id=run_id))
    if staged.content_hash != forecast.content_hash:
        raise ModelRefused(
            f"run {run_id}: the database gives back other numbers than were written; nothing was published"
        )
