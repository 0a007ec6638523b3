"""Jobs that replay the past: read and compute; nothing of it is kept."""

from __future__ import annotations

from datetime import datetime

from pipeline import quality
from pipeline.errors import NoObservations
from pipeline.jobs import LATEST, attempt, ingest
from pipeline.recipe import Recipe
from pipeline.store import Store
from pipeline.training_process import run_replay
from pipeline.training_record import ReplayRecord


def replay_tutorial(recipe: Recipe, store: Store, now: datetime) -> ReplayRecord:
    """The protocol of the recipe's tutorial on what is known of its series; what its source has, if nothing is.

    Raises:
        BatchRefused: nothing was known, and what the source has is faulty.
        NoObservations: nothing was known, and the source has nothing.
        ModelRefused: the series does not fit the protocol, or a fit did not stay finite.
    """
    panel = store.panel(recipe, LATEST)
    if panel is None:
        with attempt(recipe, store, "ingest", now):
            ingest(recipe, store, now)
        panel = store.panel(recipe, LATEST)
    if panel is None:
        raise NoObservations(f"there are no observations of {recipe.name}, and its source has none")
    return run_replay(quality.fill_gaps(panel, longest=recipe.max_gap), recipe)
