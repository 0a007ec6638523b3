"""Score published forecasts against the values observed since."""

from __future__ import annotations

import logging
from datetime import datetime

from pipeline.config.recipe import Recipe
from pipeline.jobs.inputs import LATEST
from pipeline.records.lineage import RUN_KINDS, RunKind
from pipeline.storage.store import Store

logger = logging.getLogger(__name__)


def score_forecasts(recipe: Recipe, store: Store, *, as_of: datetime | None = None) -> int:
    """Score the published steps whose periods are now observed or revised; the number of new scores.

    Args:
        recipe: whose runs.
        store: holds runs and observations.
        as_of: score only backfills, against what was recorded by this instant; None: all runs, against everything.
    """
    kinds: tuple[RunKind, ...] = RUN_KINDS if as_of is None else ("backfill",)
    num_scores = sum(store.scores.score(recipe.name, kind, as_of or LATEST) for kind in kinds)
    if num_scores:
        logger.info("scored %s published steps", num_scores)
    return num_scores
