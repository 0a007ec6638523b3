"""Why somebody should look at a recipe: what is stale, refused, on hold, forecast by baselines, off, or not in MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pipeline.config.loader import load_recipe, recipe_names
from pipeline.errors import InvalidRecipe
from pipeline.evaluation.drift import find_drift
from pipeline.jobs.inputs import LATEST
from pipeline.storage.statements import Row
from pipeline.storage.store import Store
from pipeline.text import counted, one_line

#: share of the series of a recipe that has a model from which on baselines are a reason
_MOST_FALLBACKS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One reason to look at a recipe."""

    recipe: str
    #: "stale", "failed", "refused", "on hold", "fallbacks", "drift", "outbox" or "invalid"; one of each for a recipe
    kind: str
    #: what is the matter, in one line
    text: str

    def __str__(self) -> str:
        return f"{self.recipe}: {self.kind}: {self.text}"


def find_reasons(store: Store, recipe: str | None = None, *, recipes: Path | None = None) -> list[Reason]:
    """Find every reason to look at a recipe, or at any recipe that was ever run, in the order of the recipes.

    Nothing is written. Published forecasts that are not scored yet do not count.

    Args:
        store: what the recipes did.
        recipe: the recipe; None: all.
        recipes: a folder in which each file that is not a recipe is a reason, too, under the name of the file.
    """
    undelivered = _undelivered(store, recipe)
    reasons: list[Reason] = []
    for row in store.recipes.status():
        if recipe not in (None, row["recipe"]):
            continue
        for kind, text in (*_of_status(row), *_of_batches(row, store), *_of_errors(row, store)):
            reasons.append(Reason(recipe=row["recipe"], kind=kind, text=one_line(text)))
        if row["recipe"] in undelivered:
            reasons.append(Reason(recipe=row["recipe"], kind="outbox", text=one_line(undelivered[row["recipe"]])))
    return reasons + ([] if recipes is None else list(_invalid_recipes(recipes)))


def _invalid_recipes(recipes: Path) -> Iterator[Reason]:
    for name in recipe_names(recipes):
        try:
            load_recipe(name, recipes)
        except InvalidRecipe as error:
            yield Reason(recipe=name, kind="invalid", text=str(error))


def _of_status(row: Row) -> Iterator[tuple[str, str]]:
    if row["published_at"] is None:
        yield "stale", "no forecast was ever published"
    elif row["is_stale"]:
        expected, published = (f"{row[name]:%Y-%m-%d %H:%M}Z" for name in ("expected_next_by", "published_at"))
        yield "stale", f"a newer forecast than that of {published} was expected by {expected}"
    if row["last_attempt_status"] in ("failed", "refused"):
        yield row["last_attempt_status"], f"at {row['last_attempt_at']:%Y-%m-%d %H:%M}Z: {row['last_error']}"
    num_series, num_fallback = row["num_series"] or 0, row["num_fallback"] or 0
    if row["model_version"] is not None and num_fallback > _MOST_FALLBACKS * num_series:
        yield "fallbacks", f"baselines forecast {num_fallback} of {counted(num_series, 'series')}"


def _of_batches(row: Row, store: Store) -> Iterator[tuple[str, str]]:
    held = store.batches.held(row["recipe"])
    if held is not None:
        yield "on hold", f"{held.message}; accept or drop it: nextperiod ingest {row['recipe']} --approve or --reject"


def _of_errors(row: Row, store: Store) -> Iterator[tuple[str, str]]:
    """Drift of the published errors of the current model: of its bias, its skill or its coverage."""
    champion = store.models.champion(row["recipe"])
    if champion is None:
        return
    outcomes = store.scores.outcomes_by_period(
        row["recipe"], "live", model_version=champion.model_version, as_of=LATEST
    )
    finding = find_drift(outcomes)
    if finding is not None:
        yield "drift", finding.reason


def _undelivered(store: Store, recipe: str | None) -> dict[str, str]:
    """By recipe, why MLflow does not show the oldest of its entries that were tried."""
    reasons: dict[str, str] = {}
    for entry in (*store.outbox.pending(recipe), *store.outbox.skipped()):
        if entry.last_error is not None:
            reasons.setdefault(entry.recipe, f"MLflow does not show {entry.kind} {entry.reference}: {entry.last_error}")
    return reasons


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """A message about a recipe: there is a reason to look at it, or an earlier reason is gone."""

    recipe: str
    #: of the reason
    kind: str
    state: Literal["raised", "recovered"]
    #: text of the reason
    reason: str

    def __str__(self) -> str:
        text = f"{self.kind}: {self.reason}"
        return f"{self.recipe}: {text}" if self.state == "raised" else f"{self.recipe}: recovered from {text}"


def find_new_alerts(store: Store, reasons: Sequence[Reason], recipe: str | None = None) -> list[Alert]:
    """Find the alerts that were not sent yet, of one recipe or of all.

    A reason of which only the text has changed gives none, so a recipe that fails every night is reported once. A file that
    is not a recipe gives one only if the recipe ran before: of others the store keeps no record.

    Args:
        store: the alerts that were sent.
        reasons: all present reasons of the recipe, or of all recipes.
        recipe: the recipe; None: all.
    """
    open_alerts = {
        (row["recipe"], row["kind"]): row["reason"] for row in store.alerts.open() if recipe in (None, row["recipe"])
    }
    has_run = {row["recipe"] for row in store.recipes.status()}
    present = {(reason.recipe, reason.kind): reason.text for reason in reasons if reason.recipe in has_run}
    raised = [
        Alert(recipe=name, kind=kind, state="raised", reason=text)
        for (name, kind), text in present.items()
        if (name, kind) not in open_alerts
    ]
    recovered = [
        Alert(recipe=name, kind=kind, state="recovered", reason=text)
        for (name, kind), text in open_alerts.items()
        if (name, kind) not in present
    ]
    return raised + recovered


@contextmanager
def claim_alerts(store: Store, alerts: Sequence[Alert], now: datetime) -> Iterator[list[Alert]]:
    """Record alerts as sent, and give those that this process has to send before the block ends.

    Another process that found the same alerts waits, and then has none of them to send. An error in the block undoes the
    record, so that they are sent next time.
    """
    with store.alerts.sending() as claim:
        yield [
            alert for alert in alerts if claim(alert.recipe, alert.kind, alert.reason, state=alert.state, sent_at=now)
        ]
