"""`nextperiod backtest --protocol tutorial`: every network of a tutorial on its test part, and nothing kept of it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest

from tests.end_to_end.shell import Typed
from tests.support.examples import SMALL_RECIPE, small_csv, small_values

TUTORIAL = """
[tutorial]
row = "T9"
published = 2.855
train = 30
context = 4
architecture = "vanilla"
units = 2
epochs = 1
batch_size = 16
variants = { T9s = "stacked" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a recipe that has a tutorial, one that has none, and one that is not valid."""
    (tmp_path / "taught.toml").write_text(recipe())
    (tmp_path / "small.toml").write_text(SMALL_RECIPE.format(source=""))
    (tmp_path / "broken.toml").write_text("horizon = 0")
    (tmp_path / "small.csv").write_text(small_csv())
    return tmp_path


def recipe(old: str = "", new: str = "") -> str:
    """The recipe with a tutorial, or with something else in it."""
    text = SMALL_RECIPE.format(source="").replace('"small"', '"taught"') + TUTORIAL
    assert old in text
    return text.replace(old, new)


def asked(folder: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(folder / "store.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.tensorflow
def test_every_network_stands_beside_the_baselines_on_the_same_test_part(folder: Path, types: Typed) -> None:
    status, out, err = types("backtest", "taught", "--protocol", "tutorial", "--json")

    assert status == 0, err
    told = json.loads(out)
    lines = told.pop("lines")
    assert told == {"recipe": "taught", "protocol": "tutorial", "metric": "rmse"}
    assert [(line["row"], line["architecture"], line["layers"], line["published"]) for line in lines] == [
        *[("T9", "vanilla", 1, 2.855)] * 2,
        *[("T9s", "stacked", 2, None)] * 2,
    ]
    assert [line["way"] for line in lines] == ["as written", "without the leak"] * 2
    assert len({line["rmse"] for line in lines}) == 4
    values = np.array(small_values())
    naive = float(np.sqrt(np.mean((values[34:] - values[33:-1]) ** 2)))
    for line in lines:
        assert (line["num_test"], line["seasonal_naive"]) == (6, pytest.approx(4))
        assert line["naive"] == pytest.approx(naive)
    assert asked(folder, "select command, status from attempts") == [("ingest", "done")]
    assert asked(folder, "select count(*) from models") == [(0,)]


@pytest.mark.tensorflow
def test_what_is_known_is_replayed_and_shown_as_a_table(folder: Path, types: Typed) -> None:
    (folder / "taught.toml").write_text(recipe("context = 4", 'context = 4\nscaled_on = "train"'))
    assert types("ingest", "taught")[0] == 0
    (folder / "small.csv").unlink()

    status, out, err = types("backtest", "taught", "--protocol", "tutorial")

    assert status == 0, err
    title, about, blank, header, *rows = out.splitlines()
    assert (title, blank) == ("taught", "")
    assert about == "the protocol of tutorial T9: RMSE on its test part, one period ahead"
    assert [re.split("  +", line.strip()) for line in (header, *rows)] == [
        ["row", "architecture", "layers", "way", "published", "rmse", "last value", "season before", "test points"],
        ["T9", "vanilla", "1", "as written", "2.855", ANY, "9.71", "4.00", "6"],
        ["T9", "vanilla", "1", "without the leak (it has none)", "2.855", ANY, "9.71", "4.00", "6"],
        ["T9s", "stacked", "2", "as written", "none printed", ANY, "9.71", "4.00", "6"],
        ["T9s", "stacked", "2", "without the leak (it has none)", "none printed", ANY, "9.71", "4.00", "6"],
    ]


def test_a_recipe_without_a_tutorial_is_refused_with_those_that_have_one(folder: Path, types: Typed) -> None:
    assert types("backtest", "small", "--protocol", "tutorial") == (
        1,
        "",
        "nextperiod: recipe small has no [tutorial], which --protocol tutorial needs: "
        f"expected one of taught (in {folder}), or a recipe with that table\n",
    )
    assert not (folder / "store.db").exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "small.csv").unlink(), "there is no file "),
        (
            lambda folder: (folder / "small.csv").write_text(small_csv().replace("104.0", "many")),
            'series "taught" has no value for 1 period, which the protocol of tutorial T9 cannot leave out',
        ),
        (
            lambda folder: (folder / "taught.toml").write_text(recipe("train = 30", "train = 36")),
            'series "taught" has 40 values: the protocol of tutorial T9 (train 36, context 4) leaves 32 to predict in its '
            "training part and 0 in its test part",
        ),
        (
            lambda folder: (folder / "taught.toml").write_text(recipe('"stacked"', '"gru"')),
            '"tutorial.variants.T9s.0": expected one of global, vanilla',
        ),
    ],
    ids=["no file", "no number", "too short", "no such architecture"],
)
def test_what_cannot_be_replayed_is_one_line(
    spoil: Callable[[Path], object], says: str, folder: Path, types: Typed
) -> None:
    spoil(folder)

    status, out, err = types("backtest", "taught", "--protocol", "tutorial")

    (line,) = [line for line in err.splitlines() if line.startswith("nextperiod: ")]
    assert (status, out) == (1, "")
    assert says in line
    assert err.endswith(f"{line}\n")
    assert "Traceback" not in err


def test_a_database_away_is_one_line_without_its_password(types: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", "postgresql+psycopg://u:secretpassword@127.0.0.1:1/x")

    status, out, err = types("backtest", "taught", "--protocol", "tutorial")

    assert (status, out) == (1, "")
    assert err.startswith("nextperiod: the database postgresql+psycopg://u:***@127.0.0.1:1/x cannot be reached or used")
    assert "secretpassword" not in err
