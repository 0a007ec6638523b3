"""The smallest recipe, panel and CSV files that show the point."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.config.loader import load_recipe, parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.errors import Rejection
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.observations import Observations
from pipeline.timeseries.panel import Panel, panel_from_observations

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
#: an instant after every observation of the examples
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)

SMALL_RECIPE = """
name = "small"
frequency = "MS"
season_length = 4
horizon = 3

[source]
kind = "csv"
path = "small.csv"
period = "month"
value = "sold"
{source}

[model]
architecture = "vanilla"
units = 4
context = 8

[training]
epochs = 2
batch_size = 8
"""


def small_recipe(folder: Path = Path(), source: str = "") -> Recipe:
    """Monthly sales, three months ahead; `source` is added to its table of the source."""
    return parse_recipe(SMALL_RECIPE.format(source=source), where="small.toml", folder=folder)


def small_values(count: int = 40) -> list[float]:
    """A season of four with a trend."""
    return [round(100 + n + 10 * float(np.sin(n * np.pi / 2)), 1) for n in range(count)]


def months(count: int) -> list[str]:
    """Month starts from January 2020 on."""
    return [f"{2020 + n // 12}-{n % 12 + 1:02d}-01" for n in range(count)]


def small_csv(values: list[float] | None = None) -> str:
    """The small series as the small recipe's source lists it."""
    chosen = small_values() if values is None else values
    return "month,sold\n" + "".join(f"{m},{v}\n" for m, v in zip(months(len(chosen)), chosen, strict=True))


def small_panel(values: list[float] | None = None, as_of: datetime = NOW) -> Panel:
    """The small series as a panel."""
    chosen = np.array(small_values() if values is None else values)
    periods = np.array(months(len(chosen)), dtype="datetime64[us]")
    zeros = np.zeros(len(chosen), dtype=np.int64)
    return panel_from_observations(["small"], zeros, periods, chosen, frequency=Frequency("MS"), as_of=as_of)


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What a source tells, read and without faults."""

    observations: Observations
    content_hash: str = "content"
    source: str = "small.csv"
    rejections: tuple[Rejection, ...] = ()


def small_batch(values: list[float] | None = None, content_hash: str = "first") -> Batch:
    """The small series as a batch whose values are all new."""
    panel = small_panel(values)
    observed = Observations(
        names=("small",), series=np.zeros(len(panel.grid), np.int64), period=panel.grid, value=panel.values
    )
    return Batch(content_hash=content_hash, observations=observed)


def write_quick_milk(recipes: Path) -> None:
    """The recipe milk with one quick network and no tutorial; its file where the recipe looks for it."""
    recipes.mkdir()
    whole = (DEPLOYMENTS / "recipes/milk.toml").read_text("utf-8")
    (recipes / "milk.toml").write_text(quick_milk(whole).replace("../data", str(DEPLOYMENTS / "data")), "utf-8")

    recipe = load_recipe("milk", recipes)
    assert (recipe.num_members, recipe.training.epochs, recipe.tutorial) == (1, 2, None)


def quick_milk(recipe: str) -> str:
    """The text of the recipe milk with one quick network and no tutorial."""
    return recipe.split("[tutorial]")[0] + '[model]\narchitecture = "vanilla"\n[training]\nepochs = 2\n'
