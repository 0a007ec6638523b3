"""A person's first two runs: an empty folder, an empty home, `nextperiod run milk`, and the same again."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CLONE = Path(__file__).parents[2]
NEXTPERIOD = Path(sys.executable).parent / "nextperiod"


class Person:
    """Somebody in a folder of their own, with nothing set but where the recipes are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "home").mkdir()

    def runs(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
        home = {"HOME": str(self.folder / "home"), "NEXTPERIOD_RECIPES": str(CLONE / "deployments/recipes")}
        return subprocess.run(
            [NEXTPERIOD, *arguments], cwd=self.folder, env=kept | home, capture_output=True, text=True, timeout=500
        )

    def asks(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.folder / "nextperiod.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def counts_rows(self) -> dict[str, int]:
        tables = [name for (name,) in self.asks("select name from sqlite_master where type = 'table'")]
        return {table: self.asks(f"select count(*) from {table}")[0][0] for table in tables}


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(tmp_path_factory.mktemp("person"))


@pytest.fixture(scope="module")
def first(person: Person) -> subprocess.CompletedProcess[str]:
    return person.runs("run", "milk")


def test_the_first_run_prints_the_next_twelve_months_and_where_they_are(first: Any) -> None:
    assert first.returncode == 0, first.stderr
    assert "1976-01-01" in first.stdout
    assert "1976-12-01" in first.stdout
    assert "sqlite:///nextperiod.db: select * from latest_forecasts" in first.stdout
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in first.stdout


def test_consumers_select_twelve_rows_from_january_1976_on(person: Person, first: Any) -> None:
    rows = person.asks(
        "select series, period, step, lower_80 <= mean and mean <= upper_80, method from latest_forecasts "
        "where recipe = 'milk' and period >= '1976-01-01' order by step"
    )

    assert [(row[0], row[2], row[3], row[4]) for row in rows] == [("milk", step, 1, "lstm") for step in range(1, 13)]
    assert [row[1] for row in rows] == [f"1976-{month:02d}-01" for month in range(1, 13)]


def test_milk_is_better_than_seasonal_naive_over_months_it_has_not_seen(person: Person, first: Any) -> None:
    record = json.loads(person.asks("select record from models where recipe = 'milk'")[0][0])
    scores = record["backtest"]["scores"]

    assert record["backtest"]["cutoff"].startswith("1974-12-01")
    assert scores["seasonal-naive"]["rmse"] == pytest.approx(13.23, abs=0.01)
    assert scores["lstm"]["rmse"] < scores["seasonal-naive"]["rmse"]


def test_mlflow_shows_the_training_and_its_champion(person: Person, first: Any) -> None:
    script = (
        "from mlflow import MlflowClient; c = MlflowClient('sqlite:///mlflow.db')\n"
        "v = c.get_model_version_by_alias('milk', 'champion'); r = c.get_run(v.run_id)\n"
        "import keras, mlflow, json\n"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "m = mlflow.keras.load_model('models:/milk@champion')\n"
        "print(json.dumps(dict(tags=r.data.tags, params=r.data.params, metrics=r.data.metrics,"
        " loss=len(c.get_metric_history(v.run_id, 'loss/training')), input=list(m.input['context'].shape), output=list(m.output.shape),"
        " files=sorted(f.path for f in c.list_artifacts(v.run_id)))))"
    )
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=person.folder, capture_output=True, text=True, timeout=300
    )
    assert shown.returncode == 0, shown.stderr
    facts = json.loads(shown.stdout.splitlines()[-1])

    assert (facts["input"], facts["output"]) == ([None, 84, 2], [None, 12, 5])
    assert facts["tags"]["nextperiod.reason"] == "no model yet"
    assert facts["tags"]["nextperiod.gate"] == "promoted: the first model"
    assert facts["params"]["architecture"] == "global"
    assert facts["loss"] == int(facts["params"]["epochs"])
    assert {"backtest/rmse", "baseline/naive/rmse", "baseline/rmse", "skill/mase"} <= set(facts["metrics"])
    assert facts["files"] == ["figures", "report.html"]


def test_a_second_run_says_that_nothing_was_to_do_and_adds_no_row(person: Person, first: Any) -> None:
    before = person.counts_rows()

    second = person.runs("run", "milk")

    assert second.returncode == 0, second.stderr
    assert "nothing to do" in second.stdout
    assert person.counts_rows() == before


def test_airline_is_better_than_the_last_value_over_months_it_has_not_seen(person: Person, first: Any) -> None:
    ran = person.runs("run", "airline", "--json")
    assert ran.returncode == 0, ran.stderr
    facts = json.loads(ran.stdout)
    scores = json.loads(person.asks("select record from models where recipe = 'airline'")[0][0])["backtest"]["scores"]

    assert facts["status"] == "published"
    assert facts["num_rows"] == 12
    assert set(facts["seconds"]) == {"imports", "opening", "ingest", "train", "forecast", "score", "mlflow", "sql"}
    assert 0 < facts["seconds"]["sql"] < sum(facts["seconds"].values()) / 2
    assert scores["lstm"]["rmse"] < scores["naive"]["rmse"]


def test_the_query_of_readme_gives_the_columns_and_periods_that_it_shows(person: Person, first: Any) -> None:
    text = (CLONE / "README.md").read_text("utf-8")
    query, shown = re.search(
        r'sqlite3 -header -column nextperiod.db "(.*?)"\n```\n```text\n(.*?)```', text, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    header, _, *lines = shown.splitlines()

    rows = person.asks(query)

    assert header.split() == query.removeprefix("select ").split(" from ")[0].split(", ")
    assert [row[0] for row in rows] == [line.split()[0] for line in lines]
    assert [row[1] for row in rows] == pytest.approx([float(line.split()[1]) for line in lines], rel=0.05)


def test_the_recipe_of_readme_takes_in_a_messy_file_of_ones_own_and_names_its_faults(person: Person) -> None:
    text = (CLONE / "README.md").read_text("utf-8")
    recipe, shown = re.search(
        r"## Your own data\n.*?```toml\n(.*?)```.*?```text\n(sales.csv: .*?)\n```", text, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    (person.folder / "sales.toml").write_text(recipe)
    months = [f"{2022 + n // 12}-{n % 12 + 1:02d}" for n in range(48)]
    lines = ["month,sold", *(f"{month},{100 + n}" for n, month in enumerate(months)), f"{months[18]},1000"]
    lines[6], lines[8] = f"{months[5]},12x", f"{months[7]},"

    (person.folder / "sales.csv").write_text("\n".join([*lines, ""]))
    ingested = person.runs("ingest", "sales.toml")

    assert (ingested.returncode, ingested.stdout.splitlines()) == (0, shown.splitlines())
    rejected = person.asks("select line, text from rejected_observations where recipe = 'sales' order by line")
    assert rejected == [(7, "12x"), (20, "118"), (50, "1000")]
    assert person.asks("select count(*) from current_observations where recipe = 'sales'") == [(45,)]


def test_a_new_month_is_forecast_without_what_is_slow_to_start(person: Person, first: Any) -> None:
    shutil.copytree(CLONE / "deployments", person.folder / "deployments")
    with (person.folder / "deployments/data/monthly_milk_production.csv").open("a", encoding="utf-8") as file:
        file.write('\n"1976-01",841\n')
    script = (
        "import sys\nfrom flows.cli.app import main\nsys.argv = ['nextperiod', 'run', 'milk', '--json']\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert ended.code == 0\nprint('modules', *sys.modules)"
    )
    environment = os.environ | {"NEXTPERIOD_RECIPES": str(person.folder / "deployments/recipes"), "PREFECT_API_URL": ""}

    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=person.folder, env=environment, capture_output=True, text=True, timeout=300
    )

    assert ran.returncode == 0, ran.stderr
    shown, modules = ran.stdout.rsplit("modules ", 1)
    facts = json.loads(shown)
    assert (facts["status"], facts["training"], facts["origin"][:7]) == ("published", "keep", "1976-01")
    assert not {name.split(".")[0] for name in modules.split()} & {"tensorflow", "keras", "mlflow", "prefect"}
    assert person.asks("select kind from outbox where done_at is null") == [("publication",)]
