"""Fetches recipes' sources in tests, and takes deliveries apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.errors import BatchRefused, Rejection
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
    """A recipe with that `[source]` table, and the keys of `top` before it."""
    text = RECIPE.format(source=source, frequency=frequency, top=top)
    return parse_recipe(text, where="small.toml", folder=folder)


def next_fetch(delivery: Delivery) -> FetchContext:
    """The context of the fetch after a delivery was accepted."""
    return FetchContext(now=NOW, content_hash=delivery.content_hash, state=delivery.state)


def read(recipe: Recipe, context: FetchContext = FIRST_FETCH) -> tuple[Delivery, list[Chunk]]:
    """The delivery of the recipe's source and all of its chunks."""
    with fetch(recipe, context) as delivery:
        return delivery, list(delivery.chunks())


def read_rows(recipe: Recipe, context: FetchContext = FIRST_FETCH) -> list[tuple[Any, ...]]:
    """All rows of the recipe's source."""
    return [row for _, row in rows_in(read(recipe, context)[1])]


def read_refused(recipe: Recipe) -> BatchRefused:
    """The error, of one line, with which the recipe's source is refused."""
    with pytest.raises(BatchRefused) as caught:
        read(recipe)
    assert "\n" not in str(caught.value)
    return caught.value


def rows_in(chunks: Sequence[Chunk]) -> list[tuple[int, tuple[Any, ...]]]:
    """Each row with its line."""
    return [
        (int(line), tuple(row))
        for chunk in chunks
        for line, row in zip(chunk.line, zip(*(c.to_pylist() for c in chunk.columns.columns), strict=True), strict=True)
    ]


def names_in(chunks: Sequence[Chunk]) -> list[str]:
    """The names of the columns, which are the same in every chunk."""
    (names,) = {tuple(chunk.columns.schema.names) for chunk in chunks}
    return list(names)


def rejections_in(chunks: Sequence[Chunk]) -> list[Rejection]:
    """All rejections."""
    return [rejection for chunk in chunks for rejection in chunk.rejections]
