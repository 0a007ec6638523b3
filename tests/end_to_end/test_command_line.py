"""The command line: its commands and their help, what they print, and which exit code they end with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
import typer
from click.testing import Result
from typer.testing import CliRunner

from flows.cli import doctor
from flows.cli.app import app, main
from flows.cli.console import print_table
from pipeline.errors import InvalidArgument
from pipeline.forecasting.forecaster import hash_model
from pipeline.jobs.attempt import record_attempt
from pipeline.jobs.forecast import publish_forecast
from pipeline.jobs.ingest import ingest_source
from pipeline.jobs.inputs import code_version
from pipeline.records.lineage import Lineage
from pipeline.storage.engine import open_database
from pipeline.storage.models import NewModel
from pipeline.storage.schema import REVISION, require_schema
from pipeline.storage.store import Store
from pipeline.training.process_files import TrainedModel
from tests.support.examples import NOW, SMALL_RECIPE, small_csv, small_panel, small_recipe

COMMANDS = {"run", "ingest", "train", "forecast", "score", "backtest", "show", "status", "db", "doctor"}
FORECAST_COLUMNS = [
    *("recipe", "series", "period", "step", "mean", "lower_95", "lower_80", "median", "upper_80", "upper_95"),
    *("method", "reason", "model_version", "origin", "as_of", "published_at", "run_id", "period_at", "period_local"),
]
STATUS_COLUMNS = {
    *("recipe", "latest_origin", "published_at", "expected_next_by", "is_stale", "num_series", "num_fallback"),
    *("model_version", "model_age_days", "last_attempt_at", "last_attempt_status", "last_error", "skill"),
    "fallbacks",
}
#: checks of the doctor that read the store
OF_THE_STORE = ["store", "forecasts", "leases", "outbox"]
PASSWORD = "secretpassword"
UNREACHABLE = f"postgresql+psycopg://u:{PASSWORD}@127.0.0.1:1/x"


@dataclass(frozen=True)
class Person:
    """Somebody in a folder with the small recipe, its file and a store of their own."""

    folder: Path
    database_url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "NEXTPERIOD_DATABASE_URL": self.database_url,
            "NEXTPERIOD_RECIPES": str(self.folder),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db",
            "PREFECT_API_URL": "",
        }

    def types(self, *arguments: str) -> Result:
        """A command carried out in this process, without the door that makes one line of an error."""
        return CliRunner().invoke(app, arguments, env=self.environment)

    def gets(self, *arguments: str) -> str:
        result = self.types(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def executes(self, *statements: str) -> None:
        database = open_database(self.database_url)
        with database.write() as transaction:
            for statement in statements:
                transaction.connection.execute(sa.text(statement))
        database.close()


def person_in(folder: Path) -> Person:
    (folder / "small.toml").write_text(SMALL_RECIPE.format(source=""))
    (folder / "small.csv").write_text(small_csv())
    return Person(folder, f"sqlite:///{folder}/store.db")


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody who has done nothing yet."""
    return person_in(tmp_path)


@pytest.fixture(scope="module")
def published_once(tmp_path_factory: pytest.TempPathFactory, outcome: TrainedModel) -> Path:
    folder = tmp_path_factory.mktemp("published")
    person = person_in(folder)
    recipe = small_recipe(folder)
    database = open_database(person.database_url)
    require_schema(database)
    store = Store(database)
    with record_attempt(recipe, store, "ingest", lambda: NOW):
        ingest_source(recipe, store, NOW)
    lineage = Lineage(
        as_of=NOW,
        data_hash=small_panel().data_hash,
        recipe_fingerprint=recipe.fingerprint,
        code_version=code_version(),
    )
    challenger = NewModel(
        recipe=recipe,
        record=outcome.record,
        model_hash=hash_model(outcome.files),
        files={**outcome.files, "network.keras": outcome.keras_archive},
        lineage=lineage,
        expected_champion=None,
        publishes=True,
    )
    store.models.add(challenger, NOW)
    with record_attempt(recipe, store, "forecast", lambda: NOW):
        publish_forecast(recipe, store, NOW)
    for item in store.outbox.pending():
        store.outbox.mark_done(item, NOW)
    database.close()
    return folder


@pytest.fixture
def published(published_once: Path, tmp_path: Path) -> Person:
    """Somebody whose small recipe has published a forecast."""
    shutil.copytree(published_once, tmp_path, dirs_exist_ok=True)
    return person_in(tmp_path)


@pytest.fixture
def checks_without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor looks at all but MLflow, whose import takes long."""
    for name in ("mlflow", "champions"):
        monkeypatch.delitem(doctor.CHECKS, name)


def failing(result: Result) -> dict[str, str]:
    """The doctor's findings that are not well, by check: one a line."""
    found: dict[str, str] = {}
    for check in json.loads(result.stdout):
        if not check["ok"]:
            found[check["check"]] = "\n".join(filter(None, (found.get(check["check"]), check["finding"])))
    return found


def commands() -> list[tuple[str, ...]]:
    """Every command as it is typed."""
    group = typer.main.get_command(app)
    names: list[tuple[str, ...]] = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        names += [(name, inner) for inner in command.commands] if hasattr(command, "commands") else [(name,)]
    return names


def one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, person: Person, *typed: str) -> str:
    """What a command that fails writes through the real door: one line on stderr, exit 1."""
    for name, value in person.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["nextperiod", *typed])

    with pytest.raises(SystemExit) as ended:
        main()

    written = capsys.readouterr()
    assert ended.value.code == 1
    assert written.out == ""
    assert written.err.startswith("nextperiod: ")
    assert written.err[:-1].isprintable()
    return written.err.removeprefix("nextperiod: ").rstrip("\n")


# help and usage


def test_help_lists_every_command(person: Person) -> None:
    listed = re.findall(r"^  (\w+)  +\S", person.gets("--help").split("Commands:")[1], re.MULTILINE)

    assert set(listed) >= COMMANDS
    assert {name for name, *_ in commands()} == set(listed)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_help_of_every_command_has_an_example_of_it(command: tuple[str, ...], person: Person) -> None:
    assert f"Example: nextperiod {' '.join(command)}" in " ".join(person.gets(*command, "--help").split())


def test_the_schema_s_commands_are_listed(person: Person) -> None:
    assert {"upgrade", "check"} <= set(re.findall(r"^  (\w+)  ", person.gets("db", "--help"), re.MULTILINE))


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom flows.cli.app import app\n"
        "for typed in (['--help'], ['run', '--help'], ['backtest', '--help'], ['db', '--help']):\n"
        "    try:\n        app(typed)\n    except SystemExit as ended:\n        assert ended.code == 0\n"
        "print('modules', *sys.modules)"
    )

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    imported = {name.split(".")[0] for name in ended.stdout.splitlines()[-1].split()}
    heavy = {"pandas", "numpy", "sqlalchemy", "prefect", "mlflow", "tensorflow", "keras", "rich"}
    assert "typer" in imported
    assert not imported & heavy


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (("sho",), "No such command 'sho'"),
        (("run", "small", "--retrian"), "No such option"),
        (("ingest",), "Missing argument"),
        (("ingest", "small", "more"), "unexpected extra argument"),
        (("run",), "name a recipe, or use --all"),
        (("run", "small", "--retrain", "--keep"), "--retrain, --fine-tune and --keep exclude each other"),
        (("run", "small", "--fine-tune", "--keep"), "--retrain, --fine-tune and --keep exclude each other"),
        (("run", "small", "--as-of", "yesterday"), '--as-of "yesterday" is not an instant: expected ISO 8601'),
        (("run", "small", "--as-of", "2026-02-30"), '--as-of "2026-02-30" is not an instant'),
        (("backtest", "small", "--protocol", "rolling"), '--protocol "rolling" is not known: expected one of tutorial'),
        (("backtest", "--protocol", "tutorial"), "Missing argument"),
        (("forecast", "small", "--paths", "0"), "Invalid value for '--paths'"),
        (("forecast", "small", "--paths", "1.5"), "Invalid value for '--paths'"),
        (("forecast", "small", "--paths", "5", "--seed", "-1"), "Invalid value for '--seed'"),
        (("forecast", "small", "--seed", "1"), "--seed and --parquet apply to sample paths only: add --paths N"),
        (("forecast", "small", "--parquet", "out"), "--seed and --parquet apply to sample paths only: add --paths N"),
        (("db", "downgrade"), "No such command 'downgrade'"),
    ],
)
def test_wrong_usage_ends_with_2(typed: tuple[str, ...], says: str, person: Person) -> None:
    result = person.types(*typed)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert says in " ".join(result.stderr.split())
    assert not (person.folder / "store.db").exists()


# show


def test_nothing_is_shown_before_anything_is_published(
    person: Person, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = one_line(capsys, monkeypatch, person, "show", "small")

    assert message == "no forecast is published for small: run `nextperiod run small`"


def test_show_prints_the_latest_forecast(published: Person) -> None:
    shown = published.gets("show", "small")

    assert shown.startswith("small: forecast after 2023-04-01, run small-2023-04-01-1\n")
    (header, *lines) = [line.split() for line in shown.splitlines()[2:]]
    assert header == ["period", "mean", "lower_80", "upper_80", "method"]
    assert [(line[0], line[-1]) for line in lines] == [
        ("2023-05-01", "lstm"),
        ("2023-06-01", "lstm"),
        ("2023-07-01", "lstm"),
    ]


def view_of(person: Person) -> list[dict[Any, Any]]:
    database = open_database(person.database_url)
    rows = [dict(row) for row in Store(database).runs.latest_forecasts("small")]
    database.close()
    return rows


def test_show_writes_the_view_s_columns_to_files(published: Person) -> None:
    csv, parquet = published.folder / "out.csv", published.folder / "out.parquet"

    published.gets("show", "small", "--csv", str(csv), "--parquet", str(parquet))

    rows = view_of(published)
    for frame in (pd.read_csv(csv), pd.read_parquet(parquet)):
        assert list(frame.columns) == FORECAST_COLUMNS == list(rows[0])
        for column in ("step", "mean", "lower_95", "lower_80", "median", "upper_80", "upper_95", "run_id"):
            assert frame[column].tolist() == [row[column] for row in rows]
        assert [pd.Timestamp(period) for period in frame["period"]] == [pd.Timestamp(row["period"]) for row in rows]


def test_show_prints_the_view_as_json(published: Person) -> None:
    facts = json.loads(published.gets("show", "small", "--json"))

    assert [list(row) for row in facts] == [FORECAST_COLUMNS] * 3
    assert [row["period"] for row in facts] == ["2023-05-01T00:00:00", "2023-06-01T00:00:00", "2023-07-01T00:00:00"]
    assert [row["mean"] for row in facts] == [row["mean"] for row in view_of(published)]
    assert facts[0]["published_at"] == "2026-01-01T12:00:00+00:00"


def test_show_takes_one_series(
    published: Person, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(json.loads(published.gets("show", "small", "--series", "small", "--json"))) == 3

    message = one_line(capsys, monkeypatch, published, "show", "small", "--series", "tall")
    assert message.startswith('series "tall" is not known: expected one of small')


def test_a_file_that_cannot_be_written_is_one_line(
    published: Person, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for option in ("--csv", "--parquet"):
        message = one_line(capsys, monkeypatch, published, "show", "small", option, str(published.folder / "no/out"))
        assert message.startswith("the forecasts cannot be written: ")


# one step of a cycle


def test_ingest_says_what_it_took_in(person: Person) -> None:
    assert person.gets("ingest", "small") == "small.csv: 40 rows read, 40 new, 0 revised, 0 unchanged, 0 rejected\n"
    assert person.gets("ingest", "small") == "small.csv: nothing new\n"


def test_each_step_prints_json(published: Person) -> None:
    ingested = json.loads(published.gets("ingest", "small", "--json"))
    trained = json.loads(published.gets("train", "small", "--json"))
    forecast = json.loads(published.gets("forecast", "small", "--json"))
    scored = json.loads(published.gets("score", "small", "--json"))

    assert ingested == {
        "recipe": "small",
        "source": "small.csv",
        "num_read": 0,
        "num_new": 0,
        "num_revised": 0,
        "num_same": 0,
        "num_rejected": 0,
        "num_missing": 0,
        "quarantine": None,
        "on_hold": None,
        "batch_id": None,
    }
    assert {key: trained[key] for key in ("recipe", "training", "reason", "model_version")} == {
        "recipe": "small",
        "training": "keep",
        "reason": "nothing new since the training",
        "model_version": 1,
    }
    assert {"run_id": "small-2023-04-01-1", "status": "unchanged", "origin": "2023-04-01T00:00:00"}.items() <= (
        forecast.items()
    )
    assert (forecast["num_series"], forecast["num_rows"], forecast["model_version"]) == (1, 3, 1)
    assert scored == {"recipe": "small", "num_scored": 0}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train", "there are no observations of small: run `nextperiod ingest small`"),
        ("forecast", "there are no observations of small: run `nextperiod ingest small`"),
    ],
)
def test_a_step_without_the_one_before_says_what_to_run(
    command: str, says: str, person: Person, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one_line(capsys, monkeypatch, person, command, "small") == says


def test_a_forecast_without_a_model_says_what_to_run(
    person: Person, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    person.gets("ingest", "small")

    message = one_line(capsys, monkeypatch, person, "forecast", "small")

    assert message == "no model was trained for small yet: run `nextperiod train small`"


# sample paths


def test_a_forecast_with_paths_writes_the_table_and_a_file(published: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(published.folder)

    first = json.loads(published.gets("forecast", "small", "--paths", "40", "--json"))
    again = published.gets("forecast", "small", "--paths", "40")

    seed = first["paths"].pop("seed")
    assert first["paths"] == {
        "status": "written",
        "num_paths": 40,
        "num_new": 40,
        "num_rows": 120,
        "parquet": "small-paths.parquet",
    }
    assert (first["status"], first["num_rows"]) == ("unchanged", 3)
    assert again == (
        "small: unchanged run small-2023-04-01-1, 3 rows after 2023-04-01\n"
        f"small: unchanged 40 sample paths, 0 of them new, with seed {seed}: 120 rows in small-paths.parquet\n"
    )
    assert len(pd.read_parquet("small-paths.parquet")) == 120


def test_an_attempt_that_wrote_paths_alone_is_no_idle_one(published: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(published.folder)
    for expected in ("done", "unchanged"):
        published.gets("forecast", "small", "--paths", "2")

        (status,) = json.loads(published.gets("status", "--json"))
        assert status["last_attempt_status"] == expected


def test_paths_go_to_the_file_that_is_named_with_the_seed_that_is_given(published: Person) -> None:
    told = ("--paths", "3", "--seed", "17", "--parquet", str(published.folder / "few.parquet"))

    facts = json.loads(published.gets("forecast", "small", *told, "--json"))

    assert (facts["paths"]["seed"], facts["paths"]["num_new"]) == (17, 3)
    assert sorted(pd.read_parquet(published.folder / "few.parquet")["path"]) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (
            ("--paths", "7000000"),
            "7,000,000 paths of 1 series over 3 steps are 21,000,000 rows: expected at most 20,000,000",
        ),
        (("--paths", "2", "--seed", "9"), "run small-2023-04-01-1 has 1 path of another seed than 9"),
        (
            ("--paths", "2", "--seed", "8", "--parquet", "no/file"),
            "--parquet no/file: there is no folder no; expected a file in an existing folder",
        ),
    ],
)
def test_paths_that_cannot_be_drawn_are_one_line(
    told: tuple[str, ...],
    says: str,
    published: Person,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(published.folder)
    published.gets("forecast", "small", "--paths", "1", "--seed", "8")

    assert one_line(capsys, monkeypatch, published, "forecast", "small", *told).startswith(says)


# status


def test_status_lists_recipes_that_were_never_run(person: Person) -> None:
    (person.folder / "another.toml").write_text(SMALL_RECIPE.format(source=""))

    facts = json.loads(person.gets("status", "--json"))

    assert [(fact["recipe"], fact["last_attempt_status"]) for fact in facts] == [
        ("another", "never run"),
        ("small", "never run"),
    ]
    assert person.gets("status").count("never run") == 2


def test_status_says_what_is_published_and_whether_it_is_stale(published: Person) -> None:
    (fact,) = json.loads(published.gets("status", "--json"))

    assert set(fact) == STATUS_COLUMNS
    assert (fact["recipe"], fact["latest_origin"], fact["is_stale"]) == ("small", "2023-04-01T00:00:00", True)
    assert (fact["num_series"], fact["num_fallback"], fact["model_version"]) == (1, 0, 1)
    assert (fact["last_attempt_status"], fact["last_error"]) == ("done", None)
    assert "2023-04-01" in published.gets("status")


def test_status_shows_the_error_of_the_last_attempt(published: Person) -> None:
    (published.folder / "small.csv").unlink()
    assert published.types("ingest", "small").exit_code == 1

    (fact,) = json.loads(published.gets("status", "--json"))

    assert fact["last_attempt_status"] == "failed"
    assert fact["last_error"].startswith("there is no file ")
    assert fact["latest_origin"] == "2023-04-01T00:00:00"


# db


def test_the_schema_is_made_once(person: Person) -> None:
    assert person.gets("db", "upgrade").endswith(f"was upgraded from nothing to revision {REVISION}\n")
    assert person.gets("db", "upgrade").endswith("is up to date\n")
    assert json.loads(person.gets("db", "check", "--json")) == {"database": person.database_url, "revision": REVISION}


def test_a_database_without_a_schema_is_named(
    person: Person, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = one_line(capsys, monkeypatch, person, "db", "check")

    assert message == f"{person.database_url} has no schema: run `nextperiod db upgrade`"


@pytest.mark.parametrize("typed", [("db", "check"), ("db", "upgrade"), ("status",), ("show", "small")])
def test_a_newer_schema_is_refused_by_every_command(
    typed: tuple[str, ...],
    person: Person,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person.gets("db", "upgrade")
    person.executes("update schema_version set version_num = '9999'")

    assert "is at revision 9999, newer than this nextperiod" in one_line(capsys, monkeypatch, person, *typed)


@pytest.mark.parametrize(
    "typed",
    [
        *[(command, "small") for command in ("run", "ingest", "train", "forecast", "score", "show")],
        *[("status",), ("db", "upgrade"), ("db", "check")],
    ],
    ids=" ".join,
)
def test_a_database_away_is_one_line_without_its_password_for_every_command(
    typed: tuple[str, ...],
    person: Person,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = one_line(capsys, monkeypatch, Person(person.folder, UNREACHABLE), *typed)

    assert message.startswith("the database postgresql+psycopg://u:***@127.0.0.1:1/x cannot be reached or used")
    assert PASSWORD not in message


def test_a_check_names_a_file_that_is_not_a_recipe_in_one_line(person: Person) -> None:
    assert person.gets("status", "--check") == "no recipe needs to be looked at\n"
    (person.folder / "broken.toml").write_text("name = ")

    checked = person.types("status", "--check")

    assert checked.exit_code == 1
    assert checked.stdout.startswith(f"broken: invalid: {person.folder}/broken.toml is not valid TOML: ")
    assert checked.stdout.count("\n") == 1


# doctor


@pytest.mark.usefixtures("checks_without_mlflow")
def test_the_doctor_finds_nothing_in_a_sound_store(published: Person) -> None:
    result = published.types("doctor", "--json")

    assert result.exit_code == 0
    facts = {check["check"]: check["finding"] for check in json.loads(result.stdout)}
    assert list(facts) == [*("versions", "folder", "recipes", "database"), *OF_THE_STORE, "prefect"]
    assert facts["recipes"].endswith(": small (MS: month named by the first day, season of 4)")
    assert f"schema {REVISION}" in facts["database"]


@pytest.mark.usefixtures("checks_without_mlflow")
def test_the_doctor_names_a_database_away_without_its_password(person: Person) -> None:
    away = Person(person.folder, UNREACHABLE)

    result = away.types("doctor", "--json")

    assert result.exit_code == 1
    found = failing(result)
    assert "u:***@127.0.0.1:1/x cannot be reached" in found.pop("database")
    assert found == dict.fromkeys(OF_THE_STORE, "not checked: see database")
    assert PASSWORD not in result.output
    in_words = away.types("doctor")
    assert in_words.exit_code == 1
    assert PASSWORD not in in_words.output


@pytest.mark.usefixtures("checks_without_mlflow")
def test_the_doctor_names_a_changed_model_file(published: Person) -> None:
    published.executes("update model_files set content = x'00' where name = 'network.onnx'")

    result = published.types("doctor", "--json")

    assert result.exit_code == 1
    found = failing(result)
    assert list(found) == ["store"]
    assert re.fullmatch(r"model \w{12}: network.onnx is missing or was changed; train again", found["store"])


@pytest.mark.usefixtures("checks_without_mlflow")
def test_the_doctor_names_a_run_whose_numbers_were_changed(published: Person) -> None:
    published.executes(
        "drop trigger published_forecasts_stay_on_update",
        "update forecasts set mean = mean + 1e-9 where step = 2",
    )

    result = published.types("doctor", "--json")

    assert result.exit_code == 1
    assert failing(result) == {"store": "run small-2023-04-01-1 is not as it was computed"}


@pytest.mark.usefixtures("checks_without_mlflow")
def test_the_doctor_names_a_run_that_lost_a_row(published: Person) -> None:
    published.executes("drop trigger published_forecasts_stay_on_delete", "delete from forecasts where step = 3")

    result = published.types("doctor", "--json")

    assert result.exit_code == 1
    assert "run small-2023-04-01-1 holds 2 rows, 3 were declared" in failing(result)["store"]


@pytest.mark.usefixtures("checks_without_mlflow")
def test_the_doctor_names_a_recipe_that_is_not_valid(person: Person) -> None:
    (person.folder / "bad.toml").write_text("horizon = 0")

    result = person.types("doctor", "--json")

    assert result.exit_code == 1
    assert list(failing(result)) == ["recipes"]
    assert "bad.toml" in failing(result)["recipes"]


@pytest.mark.usefixtures("checks_without_mlflow")
def test_the_doctor_names_a_folder_without_recipes(person: Person) -> None:
    (person.folder / "small.toml").unlink()

    assert failing(person.types("doctor", "--json")) == {
        "recipes": f"there is no recipe in {person.folder}: expected *.toml; set NEXTPERIOD_RECIPES"
    }


def test_a_table_shows_markup_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["text"], [["[/red] and [bold]x[/x]"]])

    assert "[/red] and [bold]x[/x]" in capsys.readouterr().out


def test_a_table_is_not_cut_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["check", "finding"], [["database", "x" * 500]])

    assert capsys.readouterr().out.splitlines()[-1].rstrip() == "database  " + "x" * 500


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://u@h/x",
        "postgresql+foo://u@h/x",
        "sqlite+aiosqlite:///x.db",
        "mysql://u@h/x",
        "postgresql://u:secretpassword@h:abc/x",
        "nonsense",
    ],
)
def test_another_database_is_refused_with_the_two_that_work(url: str) -> None:
    with pytest.raises(InvalidArgument, match="expected sqlite:///FILE or postgresql") as refused:
        open_database(url)

    assert "secretpassword" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgres://u@h/x", "postgresql://u@h/x"])
def test_a_url_without_driver_gets_the_one_that_is_installed(url: str) -> None:
    assert open_database(url).url.drivername == "postgresql+psycopg"


def test_a_password_in_the_query_is_not_shown() -> None:
    assert open_database("postgresql://u@h/x?password=secretpassword").shown.endswith("?password=***")
