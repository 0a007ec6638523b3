"""The kinds of source that a recipe can name, and the function that fetches each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from pipeline.config.recipe import Recipe
from pipeline.config.sources import (
    CsvSource,
    ExcelSource,
    HttpSource,
    IntegersSource,
    ParquetSource,
    PricesSource,
    Source,
    SqlSource,
    added_kinds,
)
from pipeline.sources.csv_file import fetch_csv
from pipeline.sources.delivery import Delivery, FetchContext
from pipeline.sources.excel_file import fetch_excel
from pipeline.sources.http import fetch_http
from pipeline.sources.integers import fetch_integers
from pipeline.sources.parquet_file import fetch_parquet
from pipeline.sources.prices import fetch_prices
from pipeline.sources.sql import fetch_sql

SourceT = TypeVar("SourceT", bound=Source)

#: gives a delivery that can be read until the context manager exits
Fetch = Callable[[Recipe, FetchContext], AbstractContextManager[Delivery]]
#: the same, with the recipe's `[source]` table as the type of its kind
FetchKind = Callable[[Recipe, SourceT, FetchContext], AbstractContextManager[Delivery]]


def _for_table(table: type[SourceT], fetch_kind: FetchKind[SourceT]) -> Fetch:
    """Return a fetch function that passes the recipe's source on as the type of its kind."""

    def fetch_recipe(recipe: Recipe, context: FetchContext) -> AbstractContextManager[Delivery]:
        if not isinstance(recipe.source, table):
            raise TypeError(f"expected a {table.__name__}, got a {type(recipe.source).__name__}")
        return fetch_kind(recipe, recipe.source, context)

    return fetch_recipe


SOURCES: dict[str, Fetch] = {
    "csv": _for_table(CsvSource, fetch_csv),
    "parquet": _for_table(ParquetSource, fetch_parquet),
    "excel": _for_table(ExcelSource, fetch_excel),
    "http": _for_table(HttpSource, fetch_http),
    "sql": _for_table(SqlSource, fetch_sql),
    "prices": _for_table(PricesSource, fetch_prices),
    "integers": _for_table(IntegersSource, fetch_integers),
}


def fetch(recipe: Recipe, context: FetchContext) -> AbstractContextManager[Delivery]:
    """Return the delivery of the recipe's source, readable until the context manager exits.

    A kind that another package adds is imported here. Its `fetch` takes the recipe and the context.

    Raises:
        SourceMissing: the source does not exist where the recipe says.
        SourceUnavailable: it cannot be read right now.
        BatchRefused: its content is not what the recipe expects.
    """
    kind = recipe.source.kind
    fetch_kind: Fetch = SOURCES[kind] if kind in SOURCES else added_kinds()[kind].load().fetch
    return fetch_kind(recipe, context)
