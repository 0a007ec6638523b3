"""Two shops with a price, an offer known ahead and a region, and their recipe."""

from __future__ import annotations

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.timeseries.panel import Panel
from tests.support.recipes import build_recipe

LENGTHS = (20, 14)


HORIZON = 3


CONTEXT = 6


def recipe_of(covariates: str = "", *, frequency: str = "D", source: str = "") -> Recipe:
    return build_recipe(
        "shops",
        frequency=frequency,
        source=f'period = "day"\nseries = "shop"\n{source}',
        covariates=f'past = ["price"]\nfuture = ["offer"]\nstatic = ["region"]\n{covariates}',
    )


def shops_panel(seed: int = 0, start: str = "2025-12-20") -> Panel:
    """Two shops that end together, with a price, an offer that is known ahead, and a region."""
    rng = np.random.default_rng(seed)
    total = sum(LENGTHS)
    return Panel(
        series=("a", "b"),
        grid=np.datetime64(start, "us") + np.arange(LENGTHS[0]) * np.timedelta64(1, "D"),
        first=np.array([0, LENGTHS[0] - LENGTHS[1]]),
        offsets=np.array([0, LENGTHS[0], total]),
        values=rng.normal(10, 1, total),
        past={"price": rng.normal(100, 20, total)},
        future={"offer": rng.normal(size=total + 2 * HORIZON)},
        ahead=HORIZON,
        static={"region": ("north", "south")},
    )


EVERY = 'calendar = ["month", "week", "weekday", "hour"]\nholidays = "NL"\nsessions = "XNYS"'
