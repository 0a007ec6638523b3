"""What is decided about a recipe's training, from what the store knows, and kept as a row."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from pipeline import drift, policy
from pipeline.knowledge import LATEST, panel_of
from pipeline.lineage import Decided, Model
from pipeline.recipe import Recipe
from pipeline.store import Store


def decide_training(
    recipe: Recipe, store: Store, asked: str | None, as_of: datetime | None
) -> tuple[Model | None, policy.Decision]:
    """The champion, and what is to be done about it."""
    newest = panel_of(recipe, store, as_of, length=1).origin
    champion = store.champion(recipe.name) if as_of is None else store.champion_as_of(recipe.name, as_of)
    return champion, policy.decide(recipe, _seen_by_policy(recipe, store, champion, newest, as_of), asked=asked)


def remember(
    recipe: Recipe,
    store: Store,
    now: datetime,
    champion: Model | None,
    decision: policy.Decision,
    as_of: datetime | None,
) -> None:
    """The decision as a row; the same as before is the row that it was."""
    known = store.known_as_of(recipe.name, as_of or LATEST)
    assert known is not None
    decided = Decided(
        what="training",
        kind="live" if as_of is None else "backfill",
        outcome=decision.training,
        reason=decision.reason,
        model_version=champion.model_version if champion else None,
        as_of=known.recorded_at,
    )
    store.decide(recipe.name, decided, now)


def _seen_by_policy(
    recipe: Recipe, store: Store, champion: Model | None, newest: np.datetime64, as_of: datetime | None
) -> policy.Trained | None:
    last = store.newest_model(recipe.name, as_of or LATEST)
    if champion is None or last is None:
        return None
    from_seed = store.newest_model(recipe.name, as_of or LATEST, training="retrain") or last
    new_periods = _periods_after(recipe, last.cutoff, newest)
    return policy.Trained(
        training_fingerprint=last.training_fingerprint,
        new_periods=new_periods,
        age=_periods_after(recipe, from_seed.cutoff, newest),
        drift=_drift(recipe, store, champion, as_of) if policy.is_judged(recipe, new_periods) else None,
        seconds=from_seed.record.seconds,
    )


def _drift(recipe: Recipe, store: Store, champion: Model, as_of: datetime | None) -> str | None:
    """What the champion's published forecasts show, as far as their periods are observed."""
    kind, instant = "live" if as_of is None else "backfill", as_of or LATEST
    store.score(recipe.name, kind, instant)
    outcomes = store.outcomes_by_period(recipe.name, kind, model_version=champion.model_version, as_of=instant)
    finding = drift.found(outcomes)
    return finding.reason if finding else None


def _periods_after(recipe: Recipe, cutoff: np.datetime64, newest: np.datetime64) -> int:
    return int((recipe.grid.between(cutoff, newest) > cutoff).sum())
