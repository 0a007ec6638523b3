"""Find a run by its id, or by the name of its recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flows.context import open_store
from pipeline.config.loader import load_recipe, recipe_names
from pipeline.config.settings import Settings, read_settings
from pipeline.errors import InvalidArgument
from pipeline.storage.store import Store


@contextmanager
def open_run(name: str) -> Iterator[tuple[Store, str]]:
    """Open the store and yield it with the id of a run; closed at the end.

    Args:
        name: id of a run, or name or path of a recipe: its latest live run.

    Raises:
        InvalidArgument: no run has that name; the message lists the expected ones.
    """
    with open_store() as store:
        yield store, _find_run(name, store, read_settings())


def _find_run(name: str, store: Store, settings: Settings) -> str:
    if store.runs.row(name) is not None:
        return name
    recipe = load_recipe(name, settings.recipes).name if name.endswith(".toml") else name
    run_id = store.runs.latest_run_id(recipe)
    if run_id is not None:
        return run_id
    backfills, newest = store.runs.newest_run_ids(recipe), store.runs.newest_run_ids()
    if backfills:
        raise InvalidArgument(f"{recipe} has no live run: expected one of its backfills {', '.join(backfills)}")
    if recipe != name or recipe in recipe_names(settings.recipes):
        raise InvalidArgument(f"no forecast is published for {recipe}: run `nextperiod run {recipe}`")
    expected = f"expected a recipe's name, or a run such as the newest: {', '.join(newest)}"
    raise InvalidArgument(
        f'run "{name}" is not known: {expected if newest else f"{store.database.shown} has no run yet"}'
    )
