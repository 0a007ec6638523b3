"""`nextperiod backtest` from rolling origins, as somebody types it: tables, JSON, MLflow, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from mlflow import MlflowClient

from pipeline.evaluation.metrics import METRICS
from pipeline.forecasting import statistical
from tests.end_to_end.shell import Typed
from tests.support.examples import SMALL_RECIPE, months, small_csv, small_values

TWO = ["month,shop,sold"] + [
    f"{month},{shop},{value + offset}"
    for shop, offset in (("north", 0.0), ("south", 50.0))
    for month, value in zip(months(40), small_values(), strict=True)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one small recipe of one series, and one of two."""
    (tmp_path / "small.toml").write_text(SMALL_RECIPE.format(source=""))
    (tmp_path / "small.csv").write_text(small_csv())
    two = SMALL_RECIPE.format(source='series = "shop"').replace("small", "two")
    (tmp_path / "two.toml").write_text(two)
    (tmp_path / "two.csv").write_text("\n".join(TWO) + "\n")
    return tmp_path


def runs_of(folder: Path, recipe: str) -> list[Any]:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(recipe)
    assert experiment is not None
    return sorted(client.search_runs([experiment.experiment_id]), key=lambda run: run.data.tags["nextperiod.origin"])


@pytest.mark.tensorflow
def test_a_backtest_says_everything_and_goes_on_without_mlflow(
    folder: Path, types: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = types("backtest", "small", "--origins", "2", "--json")

    assert status == 0, err
    told = json.loads(out)
    methods = ["lstm", "naive", "seasonal-naive", "drift"]
    assert (told["recipe"], told["horizon"], list(told["scores"])) == ("small", 3, methods)
    assert [(one["origin"], one["known"], one["num_periods"]) for one in told["origins"]] == [
        ("2022-10-01T00:00:00", "cut", 34),
        ("2023-01-01T00:00:00", "cut", 37),
    ]
    assert told["origins"][0]["as_of"] == told["origins"][1]["as_of"]
    assert {metric for of in told["scores"].values() for metric in of} == set(METRICS)
    # one season before, each month is 4 less; so is the scale
    assert told["scores"]["seasonal-naive"]["mase"] == pytest.approx(1)
    assert told["by_step"]["seasonal-naive"]["mae"] == pytest.approx([4, 4, 4])
    assert told["by_series"]["small"]["seasonal-naive"]["bias"] == pytest.approx(-4)
    assert told["origins"][1]["scores"]["naive"]["mae"] == pytest.approx((11 + 2 + 7) / 3)

    *below, whole = runs_of(folder, "small")
    assert whole.info.run_id == told["mlflow_run_id"]
    assert [run.data.tags["nextperiod.origin"] for run in below] == ["2022-10-01", "2023-01-01"]
    assert {run.data.tags["nextperiod.backtest"] for run in (*below, whole)} == {told["fingerprint"]}
    assert whole.data.metrics["backtest/mase"] == pytest.approx(told["scores"]["lstm"]["mase"])

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/small.csv/mlflow.db")
    status, again, err = types("backtest", "small", "--origins", "2")

    assert status == 0
    assert "small.csv/mlflow.db cannot be used" in err
    assert "this backtest is not logged" in err
    _is_shown(again, told)


def _is_shown(out: str, told: dict[str, Any]) -> None:
    rows = [re.split("  +", line.strip()) for line in out.splitlines()]
    scores = told["scores"]["lstm"]
    assert out.startswith("small\n2 origins, 3 periods forecast from each\n\n")
    shown = ["mase", "rmsse", "smape", "wql %", "inside 80 %", "inside 95 %", "width 80 %", "width 95 %", "bias"]
    assert ["method", *shown] in rows
    assert ["lstm", *(f"{scores[name]:,.2f}" for name in ("mase", "rmsse", "smape")), *[ANY] * 6] in rows
    assert ["seasonal-naive", "1.00", "1.00", *[ANY] * 6, "-4.00"] in rows
    assert "2 of 2 origins used values recorded later, cut at the origin: their periods arrived in one delivery" in out
    by_step = told["by_step"]
    for step in range(3):
        best = by_step[told["best_baseline"]]["mase"][step]
        assert [str(step + 1), f"{by_step['lstm']['mase'][step]:.2f}", f"{best:.2f}"] in rows
    assert "worst" not in out


@pytest.mark.tensorflow
def test_many_series_are_shown_by_the_worst_and_classical_methods_beside(folder: Path, types: Typed) -> None:
    asked = ("--origins", "2", "--every", "1", "--refit", "once", "--window", "sliding", "--history", "30")

    status, out, err = types("backtest", "two", *asked, "--classical", "--as-of-now")

    assert status == 0, err
    rows = [re.split("  +", line.strip()) for line in out.splitlines()]
    methods = {row[0] for row in rows if len(row) == 10} - {"method"}
    assert methods == {"lstm", "naive", "seasonal-naive", "drift", "auto-ets", "auto-arima", "theta"}
    assert "2 of 2 origins used values recorded later, cut at the origin: as --as-of-now asks" in out
    assert [row[0] for row in rows if row[0].startswith("202")] == ["2022-12-01", "2023-01-01"]
    assert [row[3:5] for row in rows if row[0].startswith("202")] == [["30", "2022-12-01"]] * 2
    assert "mase of the worst 2 of 2 series:" in out
    assert {row[0] for row in rows[-2:]} == {"north", "south"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--origins", "10"), "have room for 9 origins 3 periods apart, before each at least 11 to fit on"),
        (("--origins", "28", "--every", "1"), "28 asked for: ask for at most 27"),
        (("--window", "sliding", "--history", "10"), "--history 10 is too short to fit on: small needs 11 periods"),
    ],
)
def test_what_the_history_has_no_room_for_is_one_line(options: tuple[str, ...], says: str, types: Typed) -> None:
    status, out, err = types("backtest", "small", *options)

    (line,) = [line for line in err.splitlines() if line.startswith("nextperiod: ")]
    assert (status, out) == (1, "")
    assert says in line


def test_a_source_that_cannot_be_read_is_one_line(folder: Path, types: Typed) -> None:
    (folder / "small.csv").unlink()

    status, out, err = types("backtest", "small")

    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("nextperiod: there is no file ")


def test_without_the_library_classical_methods_are_refused_before_anything_is_read(
    folder: Path, types: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistical, "find_spec", lambda name: None)

    status, out, err = types("backtest", "small", "--classical")

    assert (status, out) == (1, "")
    assert err == (
        "nextperiod: --classical needs statsforecast, which is not installed: pip install nextperiod[classical]\n"
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--origins", "0"), "Invalid value for '--origins': Input should be greater than or equal to 1"),
        (("--every", "0"), "Invalid value for '--every': Input should be greater than or equal to 1"),
        (("--origins", "many"), "Invalid value for '--origins': Input should be a valid integer"),
        (("--window", "rolling"), '--window "rolling" is not known: expected one of expanding, sliding'),
        (("--refit", "never"), '--refit "never" is not known: expected one of always, once'),
        (("--history", "30"), "--history is the length of a sliding window: add --window sliding"),
        (("--protocol", "tutorial", "--origins", "2"), "--protocol tutorial has its own split"),
        (("--protocol", "tutorial", "--refit", "once"), "--protocol tutorial has its own split"),
    ],
)
def test_wrong_usage_ends_with_2(options: tuple[str, ...], says: str, folder: Path, types: Typed) -> None:
    status, out, err = types("backtest", "small", *options)

    assert (status, out) == (2, "")
    assert says in " ".join(err.split())
    assert not (folder / "store.db").exists()
