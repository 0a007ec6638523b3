"""Which columns a delivery must have, and which of a wide table are series."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config.recipe import Recipe
from pipeline.ingest.series_index import is_proper


def wide_columns(recipe: Recipe, found: Sequence[str]) -> list[str]:
    """The columns of a wide table that are series."""
    source = recipe.source
    return list(source.columns or (name for name in found if name not in (source.period, source.fold)))


def fault_of(recipe: Recipe, found: Sequence[str]) -> tuple[str, str] | None:
    """What is wrong with a delivery's columns: the rule, and a sentence without its subject."""
    source = recipe.source
    named = (source.period, source.value, source.series, source.fold, *(source.columns or ()), *recipe.covariates.names)
    expected = list(dict.fromkeys(name for name in named if name))
    missing = next((name for name in expected if name not in found), None)
    if missing is not None:
        return "missing column", f'has no column "{missing}": expected {", ".join(expected)}, found {", ".join(found)}'
    if source.layout == "wide" and source.columns is None:
        return _fault_of_open(wide_columns(recipe, found), expected)
    extra = [name for name in found if name not in expected]
    if extra and source.extra_columns == "error":
        listed = ", ".join(extra)
        return "extra column", f"has columns that the recipe does not name: {listed}; expected {', '.join(expected)}"
    return None


def _fault_of_open(series: Sequence[str], expected: Sequence[str]) -> tuple[str, str] | None:
    if not series:
        return "missing column", f"has no column beside {', '.join(expected)}: expected one for each series"
    unnamed = next((name for name in series if not is_proper(name)), None)
    if unnamed is not None:
        return "column name", f'has a column "{unnamed}", which is not a name of a series: expected visible characters'
    return None
