"""Score published forecasts against what was observed since."""

from __future__ import annotations

import logging
from datetime import datetime

from pipeline.config.recipe import Recipe
from pipeline.jobs.inputs import LATEST
from pipeline.records.lineage import RUN_KINDS, RunKind
from pipeline.storage.store import Store

logger = logging.getLogger(__name__)


def score_forecasts(recipe: Recipe, store: Store, *, as_of: datetime | None = None) -> int:
    """Score the published steps whose periods are observed, or told anew; how many.

    As of an instant only what was backfilled is scored, against what was known then.
    """
    kinds: tuple[RunKind, ...] = RUN_KINDS if as_of is None else ("backfill",)
    num_scored = sum(store.scores.score(recipe.name, kind, as_of or LATEST) for kind in kinds)
    if num_scored:
        logger.info("scored %s published steps", num_scored)
    return num_scored
