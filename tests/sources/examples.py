"""Recipes and rows for the tests of the sources."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.sources.delivery import Chunk, Delivery, FetchContext
from pipeline.sources.registry import fetch

NOW = datetime(2026, 1, 8, 12, tzinfo=UTC)
FIRST_FETCH = FetchContext(now=NOW)

RECIPE = """
name = "small"
frequency = "{frequency}"
horizon = 1
{top}
[source]
{source}
"""


def recipe_with(source: str, folder: Path = Path(), *, frequency: str = "MS", top: str = "") -> Recipe:
    """A recipe with that table of the source, and `top` before it."""
    text = RECIPE.format(source=source, frequency=frequency, top=top)
    return parse_recipe(text, where="small.toml", folder=folder)


def rows_in(chunks: Sequence[Chunk]) -> list[tuple[int, tuple[Any, ...]]]:
    """Each row with its line."""
    return [
        (int(line), tuple(row))
        for chunk in chunks
        for line, row in zip(chunk.line, zip(*(c.to_pylist() for c in chunk.columns.columns), strict=True), strict=True)
    ]


def names_in(chunks: Sequence[Chunk]) -> list[str]:
    """The columns, which are the same in every chunk."""
    (names,) = {tuple(chunk.columns.schema.names) for chunk in chunks}
    return list(names)


def read(recipe: Recipe, context: FetchContext = FIRST_FETCH) -> tuple[Delivery, list[Chunk]]:
    """What the recipe's source gives, read whole."""
    with fetch(recipe, context) as delivery:
        return delivery, list(delivery.chunks())


def values(recipe: Recipe, context: FetchContext = FIRST_FETCH) -> list[tuple[Any, ...]]:
    """The rows that the recipe's source gives."""
    return [row for _, row in rows_in(read(recipe, context)[1])]
