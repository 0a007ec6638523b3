"""The kinds of source that a recipe can name."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.observations import RawBatch
from pipeline.recipe import Recipe
from pipeline.sources.csv_file import read_csv
from pipeline.sources.integers import read_integers

SOURCES: dict[str, Callable[[Recipe], RawBatch]] = {
    "csv": read_csv,
    "integers": read_integers,
}
