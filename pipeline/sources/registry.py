"""The kinds of source that a recipe can name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from pipeline.config.recipe import Recipe
from pipeline.config.sources import added_kinds
from pipeline.sources.csv_file import fetch_csv
from pipeline.sources.delivery import Delivery, FetchContext
from pipeline.sources.http import fetch_http
from pipeline.sources.integers import fetch_integers
from pipeline.sources.parquet_file import fetch_parquet
from pipeline.sources.prices import fetch_prices
from pipeline.sources.sql import fetch_sql

#: what a source gives, there as long as the context is
Fetch = Callable[[Recipe, FetchContext], AbstractContextManager[Delivery]]

SOURCES: dict[str, Fetch] = {
    "csv": fetch_csv,
    "parquet": fetch_parquet,
    "http": fetch_http,
    "sql": fetch_sql,
    "prices": fetch_prices,
    "integers": fetch_integers,
}


def fetch(recipe: Recipe, context: FetchContext) -> AbstractContextManager[Delivery]:
    """What the recipe's source gives; a kind that another package adds is imported here.

    Raises:
        SourceMissing: the source does not exist where the recipe says.
        SourceUnavailable: it cannot be read right now.
        BatchRefused: what it gives is not what it should be.
    """
    kind = recipe.source.kind
    found: Fetch = SOURCES[kind] if kind in SOURCES else added_kinds()[kind].load().fetch
    return found(recipe, context)
