"""Which extra of the package a recipe's source needs, and how to install it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec

from pipeline.config.recipe import Recipe
from pipeline.config.sources import CsvSource, ExcelSource, ParquetSource, PricesSource

#: by scheme of a path, the libraries that read it
_OBJECT_STORES = {"s3": ("fsspec", "s3fs"), "gs": ("fsspec", "gcsfs"), "gcs": ("fsspec", "gcsfs")}


def missing_libraries(recipe: Recipe) -> dict[str, list[str]]:
    """The libraries that the recipe's source imports and that are not installed, by the extra that brings them."""
    missing: dict[str, list[str]] = {}
    for extra, library in _libraries(recipe):
        if find_spec(library) is None:
            missing.setdefault(extra, []).append(library)
    return missing


def install_command(extra: str) -> str:
    """The command that adds an extra to this installation, whether it is a clone or a wheel.

    The package itself is installed already, so that no package index needs to have it.
    """
    command = f"{sys.executable} -m pip install"
    if find_spec("pip") is None:
        command = f"uv pip install --python {sys.executable}"
    return f"{command} 'nextperiod[{extra}]'"


def _libraries(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Each extra that the source needs, with a library of it."""
    source = recipe.source
    if isinstance(source, PricesSource):
        yield "prices", source.provider
    if isinstance(source, ExcelSource):
        yield "excel", "openpyxl"
    if isinstance(source, CsvSource | ExcelSource | ParquetSource):
        for library in _OBJECT_STORES.get(source.path.partition("://")[0].lower(), ()):
            yield "objects", library
