"""A run as people name it: by its own name, or by its recipe's."""

from __future__ import annotations

from pipeline import explanation
from pipeline.database import Database
from pipeline.errors import InvalidArgument
from pipeline.recipe import load_recipe, recipe_names
from pipeline.settings import Settings


def run_named(name: str, database: Database, settings: Settings) -> str:
    """The run of that name, or the latest live run of the recipe of that name.

    Raises:
        InvalidArgument: there is none; the message lists what was expected.
    """
    if explanation.is_run(database, name):
        return name
    recipe = load_recipe(name, settings.recipes).name if name.endswith(".toml") else name
    run_id = explanation.latest_run(database, recipe)
    if run_id is not None:
        return run_id
    of_recipe, newest = explanation.newest_runs(database, recipe), explanation.newest_runs(database)
    if of_recipe:
        raise InvalidArgument(f"{recipe} has no live run: expected one of its backfills {', '.join(of_recipe)}")
    if recipe != name or recipe in recipe_names(settings.recipes):
        raise InvalidArgument(f"no forecast is published for {recipe}: run `nextperiod run {recipe}`")
    expected = f"expected a recipe's name, or a run such as the newest: {', '.join(newest)}"
    raise InvalidArgument(f'run "{name}" is not known: {expected if newest else f"{database.shown} has no run yet"}')
