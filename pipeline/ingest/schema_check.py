"""Check that a delivery has the columns that a recipe needs, and no others where the recipe forbids them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config.recipe import Recipe
from pipeline.ingest.series_index import is_valid_name
from pipeline.sources.columns import named_columns, series_columns


@dataclass(frozen=True, slots=True)
class SchemaFault:
    """Why the columns of a delivery do not fit; the message follows the name of the delivery."""

    rule: str
    message: str


def find_schema_fault(recipe: Recipe, columns: Sequence[str]) -> SchemaFault | None:
    """Return the first fault of a delivery's columns; None if they fit the recipe."""
    source = recipe.source
    expected = named_columns(recipe)
    missing = next((name for name in expected if name not in columns), None)
    if missing is not None:
        message = f'has no column "{missing}": expected {", ".join(expected)}, found {", ".join(columns)}'
        return SchemaFault("missing column", message)
    if source.layout == "wide" and source.columns is None:
        return _find_fault_of_series(series_columns(recipe, columns), expected)
    extra = [name for name in columns if name not in expected]
    if extra and source.extra_columns == "error":
        message = f"has columns that the recipe does not name: {', '.join(extra)}; expected {', '.join(expected)}"
        return SchemaFault("extra column", message)
    return None


def _find_fault_of_series(series: Sequence[str], expected: Sequence[str]) -> SchemaFault | None:
    if not series:
        message = f"has no column besides {', '.join(expected)}: expected one for each series"
        return SchemaFault("missing column", message)
    invalid = next((name for name in series if not is_valid_name(name)), None)
    if invalid is not None:
        message = f'has a column "{invalid}", which is not a name of a series: expected visible characters'
        return SchemaFault("column name", message)
    return None
