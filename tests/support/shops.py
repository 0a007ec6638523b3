"""Two shops with a price, an offer known ahead and a region, and their recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.timeseries.panel import Panel

RECIPE = """
name = "shops"
frequency = "{frequency}"
horizon = 3
[source]
kind = "csv"
path = "shops.csv"
period = "day"
value = "sold"
series = "shop"
{source}
[covariates]
past = ["price"]
future = ["offer"]
static = ["region"]
{covariates}
"""


LENGTHS = (20, 14)


HORIZON = 3


CONTEXT = 6


def recipe_of(covariates: str = "", *, frequency: str = "D", source: str = "") -> Recipe:
    text = RECIPE.format(covariates=covariates, frequency=frequency, source=source)
    return parse_recipe(text, where="shops.toml", folder=Path())


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
