"""A kind of source that another package adds through an entry point."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.sources import added_kinds
from pipeline.errors import InvalidRecipe
from tests.sources.fetching import read, recipe_with, rows_in

MODULE = '''
from contextlib import contextmanager
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.config.sources import Source
from pipeline.sources.delivery import Chunk, Delivery


class EchoSource(Source):
    """Says one value."""

    kind: Literal["echo"]
    said: float = Field(description="what it says")


@contextmanager
def fetch_echo(recipe, context):
    """The value."""
    columns = pa.RecordBatch.from_pydict({recipe.source.period: ["2020-01-01"], recipe.source.value: [recipe.source.said]})
    chunk = Chunk(columns=columns, line=np.array([1]))
    yield Delivery(source="echo", content_hash=str(recipe.source.said), chunks=lambda: [chunk])


class plugin:
    table = EchoSource
    fetch = staticmethod(fetch_echo)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that is installed in a folder of its own."""
    (tmp_path / "echo_source.py").write_text(MODULE)
    info = tmp_path / "echo_source-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-source\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nextperiod.sources]\necho = echo_source:plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    added_kinds.cache_clear()
    yield tmp_path
    added_kinds.cache_clear()
    sys.modules.pop("echo_source", None)


ECHO = 'kind = "echo"\nperiod = "month"\nvalue = "sold"\n'


def test_a_kind_of_another_package_is_fetched(package: Path) -> None:
    delivery, chunks = read(recipe_with(ECHO + "said = 2.5"))

    assert rows_in(chunks) == [(1, ("2020-01-01", 2.5))]
    assert delivery.source == "echo"


def test_the_other_package_is_not_imported_before_a_recipe_names_its_kind(package: Path) -> None:
    recipe_with('kind = "integers"')

    assert "echo_source" not in sys.modules


def test_unknown_keys_of_the_added_kind_are_refused(package: Path) -> None:
    with pytest.raises(InvalidRecipe, match='unknown key "source.sayd": expected one of .*said'):
        recipe_with(ECHO + "said = 1.0\nsayd = 2.0")


def test_an_unknown_kind_is_refused_with_the_added_kind_listed(package: Path) -> None:
    with pytest.raises(InvalidRecipe, match="source.kind is 'ecko': expected one of csv, echo, excel, http"):
        recipe_with(ECHO.replace("echo", "ecko"))


def test_without_the_other_package_its_kind_is_unknown() -> None:
    added_kinds.cache_clear()

    with pytest.raises(InvalidRecipe, match="source.kind is 'echo': expected one of csv, excel, http, integers"):
        recipe_with(ECHO)
