"""Registered recipes: their definitions, their status and the attempts to run them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.config.recipe import Recipe
from pipeline.storage.engine import Database
from pipeline.storage.statements import Row, Transaction
from pipeline.timeseries.utc_offsets import utc_offsets

#: the zone of periods where the recipe names none
UTC = "UTC"


@dataclass(frozen=True, slots=True)
class RecipeRepository:
    """Recipes and attempts in one database."""

    database: Database

    def register(self, recipe: Recipe) -> None:
        """Add the recipe, or replace its current definition; every definition is kept by fingerprint."""
        definition = json.dumps(recipe.model_dump(mode="json"), sort_keys=True)
        version = {"recipe": recipe.name, "definition": definition, "fingerprint": recipe.fingerprint}
        zone = recipe.source.zone or UTC
        period_zone = UTC if recipe.grid.is_within_day else zone
        with self.database.write() as transaction:
            transaction.execute(
                "insert_recipe", **version, season_length=recipe.season, zone=zone, period_zone=period_zone
            )
            transaction.execute("insert_recipe_version", **version)
            if zone != UTC:
                _keep_offsets(transaction, zone)

    def definition(self, recipe: str, fingerprint: str) -> str | None:
        """The JSON definition that the recipe had with this fingerprint; None if it was never registered."""
        with self.database.read() as transaction:
            row = transaction.row("recipe_version", recipe=recipe, fingerprint=fingerprint)
        return None if row is None else str(row["definition"])

    def current_definition(self, recipe: str) -> str | None:
        """The JSON definition with which the recipe ran last; None if it never ran."""
        with self.database.read() as transaction:
            row = transaction.row("recipe_definition", recipe=recipe)
        return None if row is None else str(row["definition"])

    def status(self) -> Sequence[Row]:
        """One row for every recipe that was ever run."""
        with self.database.read() as transaction:
            return transaction.rows("recipe_status")

    def begin_attempt(self, recipe: str, command: str, now: datetime) -> int:
        """Record that a command starts; the number of the attempt."""
        with self.database.write() as transaction:
            row = transaction.one("insert_attempt", recipe=recipe, command=command, started_at=now)
        return int(row["attempt_id"])

    def end_attempt(self, attempt_id: int, status: str, error: str | None, now: datetime) -> None:
        """Record how an attempt ended. Consecutive attempts with nothing to do share one record."""
        with self.database.write() as transaction:
            transaction.execute("finish_attempt", attempt_id=attempt_id, status=status, error=error, finished_at=now)
            if status == "unchanged":
                transaction.execute("delete_previous_attempt_if_idle", attempt_id=attempt_id)


def _keep_offsets(transaction: Transaction, zone: str) -> None:
    """Store the distances of a zone from UTC, from which views compute local periods; again where rules changed."""
    offsets = utc_offsets(zone)
    if [tuple(row.values()) for row in transaction.rows("zone_offsets", zone=zone)] != list(offsets):
        transaction.execute("delete_zone_offsets", zone=zone)
        transaction.execute_many("insert_zone_offset", [{"zone": zone, **offset._asdict()} for offset in offsets])
