"""A promotion that is not known for the days ahead, from the command line: case `future-covariate-absent-in-horizon`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.end_to_end.shell import Typed

pytestmark = pytest.mark.tensorflow

CASE = Path(__file__).parents[1] / "cases" / "future-covariate-absent-in-horizon"
UNKNOWN = "promo is not known for 7 of 7 periods ahead"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The case after its command."""
    folder = tmp_path_factory.mktemp("futr") / "case"
    shutil.copytree(CASE, folder)
    stores = {"NEXTPERIOD_DATABASE_URL": "sqlite:///store.db", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    command = [sys.executable, "-m", "flows.cli.app", "run", "recipe.toml"]
    environment = {**os.environ, **stores, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    (folder / "out.txt").write_text(ended.stdout)
    (folder / "err.txt").write_text(ended.stderr)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, of this test's own."""
    shutil.copytree(trained, tmp_path / "case")
    return tmp_path / "case"


def deliver(folder: Path, *promos: int) -> None:
    """Add rows for the days ahead, with a promotion or without, and no value."""
    file = folder / "data.csv"
    last = date.fromisoformat(file.read_text().splitlines()[-1][:10])
    rows = [f"{last + timedelta(days=n)},,{promo}" for n, promo in enumerate(promos, start=1)]
    file.write_text(file.read_text().rstrip("\n") + "\n" + "\n".join(rows) + "\n")


def set_missing(folder: Path, missing: str) -> None:
    file = folder / "recipe.toml"
    file.write_text(file.read_text().replace('future = ["promo"]', f'future = ["promo"]\nmissing = "{missing}"'))


def shown(types: Typed, folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(types("show", str(folder / "recipe.toml"), "--json")[1])
    return rows


def status_of(types: Typed) -> dict[str, object]:
    facts: list[dict[str, object]] = json.loads(types("status", "--json")[1])
    return next(fact for fact in facts if fact["recipe"] == "futr")


def test_the_baseline_stands_in_with_the_reason_wherever_somebody_looks(trained: Path, types: Typed) -> None:
    folder = trained
    out, warnings = (folder / "out.txt").read_text(), (folder / "err.txt").read_text()
    rows = shown(types, folder)

    assert {(row["method"], row["reason"]) for row in rows} == {("fallback:seasonal-naive", UNKNOWN)}
    assert f"futr: {UNKNOWN}; the baseline stands in from there on" in warnings
    assert UNKNOWN in out
    assert UNKNOWN in types("show", str(folder / "recipe.toml"))[1]
    assert UNKNOWN in types("status")[1]
    assert UNKNOWN in types("explain", "futr")[1]
    assert UNKNOWN in types("doctor")[1]
    status = status_of(types)
    assert status["num_fallback"] == 1
    assert status["fallbacks"] == [f"1 by fallback:seasonal-naive: {UNKNOWN}"]


def test_the_backtest_knows_no_more_of_promotions_than_the_forecast(trained: Path, types: Typed) -> None:
    status = status_of(types)

    assert status["skill"] <= 0  # as published: seasonal naive, at most as good as the best baseline


def test_known_promotions_are_forecast_by_the_network(folder: Path, types: Typed) -> None:
    deliver(folder, 0, 0, 1, 0, 0, 0, 0)

    code, _, _ = types("run", str(folder / "recipe.toml"))
    rows = shown(types, folder)

    assert code == 0
    assert [row["method"] for row in rows] == ["lstm"] * 7
    means = [float(str(row["mean"])) for row in rows]
    assert all(mean < 115 for n, mean in enumerate(means) if n != 2), means
    assert means[2] > 130


def test_the_steps_after_the_last_known_promotion_fall_back(folder: Path, types: Typed) -> None:
    deliver(folder, 0, 1, 0)

    types("run", str(folder / "recipe.toml"))
    rows = shown(types, folder)
    run_id = rows[0]["run_id"]

    assert [row["method"] for row in rows] == ["lstm"] * 3 + ["fallback:seasonal-naive"] * 4
    assert [row["reason"] for row in rows] == [None] * 3 + ["promo is not known for 4 of 7 periods ahead"] * 4
    assert "fallback:seasonal-naive from step 4 on" in types("explain", str(run_id))[1].replace("\n", " ")
    assert types("replay", str(run_id))[0] == 0


def test_nothing_is_published_where_the_recipe_says_error(folder: Path, types: Typed) -> None:
    before = shown(types, folder)
    set_missing(folder, "error")

    code, _, error = types("run", str(folder / "recipe.toml"))

    assert code == 1
    assert UNKNOWN in error
    assert "nothing was published" in error
    assert "Traceback" not in error
    assert shown(types, folder) == before
    status = status_of(types)
    assert status["last_attempt_status"] == "refused"


def test_the_last_value_is_carried_forward_with_a_reason_where_the_recipe_says_last(folder: Path, types: Typed) -> None:
    set_missing(folder, "last")

    _, _, warnings = types("run", str(folder / "recipe.toml"))
    rows = shown(types, folder)

    assert {(row["method"], row["reason"]) for row in rows} == {
        ("lstm", f"{UNKNOWN}: the last value is carried forward")
    }
    assert f"{UNKNOWN}; the last value is carried forward" in warnings
