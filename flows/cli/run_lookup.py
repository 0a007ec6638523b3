"""Find a run by its id, or by the name of its recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.config.loader import load_recipe, recipe_names
from pipeline.config.settings import Settings, settings_from
from pipeline.errors import InvalidArgument
from pipeline.storage import run_lineage
from pipeline.storage.engine import Database, open_database
from pipeline.storage.schema import require_schema


@contextmanager
def open_run(name: str) -> Iterator[tuple[Database, str]]:
    """Open the database and yield it with the id of a run; closed at the end.

    Args:
        name: id of a run, or name or path of a recipe: its latest live run.

    Raises:
        InvalidArgument: no run has that name; the message lists the expected ones.
    """
    settings = settings_from()
    database = open_database(settings.database_url)
    try:
        require_schema(database)
        yield database, _find_run(name, database, settings)
    finally:
        database.close()


def _find_run(name: str, database: Database, settings: Settings) -> str:
    if run_lineage.is_run(database, name):
        return name
    recipe = load_recipe(name, settings.recipes).name if name.endswith(".toml") else name
    run_id = run_lineage.latest_run(database, recipe)
    if run_id is not None:
        return run_id
    backfills, newest = run_lineage.newest_runs(database, recipe), run_lineage.newest_runs(database)
    if backfills:
        raise InvalidArgument(f"{recipe} has no live run: expected one of its backfills {', '.join(backfills)}")
    if recipe != name or recipe in recipe_names(settings.recipes):
        raise InvalidArgument(f"no forecast is published for {recipe}: run `nextperiod run {recipe}`")
    expected = f"expected a recipe's name, or a run such as the newest: {', '.join(newest)}"
    raise InvalidArgument(f'run "{name}" is not known: {expected if newest else f"{database.shown} has no run yet"}')
