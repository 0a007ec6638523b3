"""Bad input at the command line: one line on stderr, nothing on stdout, exit 1, never a traceback."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.examples import SMALL_RECIPE, small_csv

NEXTPERIOD = Path(sys.executable).parent / "nextperiod"


class Folder:
    """A person's folder with the small recipe and its file, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("small.toml", SMALL_RECIPE.format(source="strict = true"))
        self.write("small.csv", small_csv())
        self.database_url = f"sqlite:///{path}/store.db"

    def write(self, name: str, content: str | bytes) -> None:
        (self.path / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def nextperiod(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "NEXTPERIOD_DATABASE_URL": self.database_url,
            "NEXTPERIOD_RECIPES": str(self.path),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.path}/mlflow.db",
        }
        return subprocess.run(
            [NEXTPERIOD, *arguments], cwd=self.path, env=environment, capture_output=True, text=True, timeout=300
        )

    def asks(self, query: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.path / "store.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def no_file(folder: Folder) -> None:
    (folder.path / "small.csv").unlink()


def an_empty_file(folder: Folder) -> None:
    folder.write("small.csv", "")


def an_error_page(folder: Folder) -> None:
    folder.write("small.csv", "<html>\n<body>503</body>\n</html>\n")


def a_word_for_a_number(folder: Folder) -> None:
    folder.write("small.csv", small_csv().replace("104.0", "many"))


def a_cut_file(folder: Folder) -> None:
    folder.write("small.csv", small_csv()[:-9])


def bytes_of_another_encoding(folder: Folder) -> None:
    folder.write("small.csv", small_csv().replace("month,sold", "month,sold,café").encode("latin-1"))


def no_horizon(folder: Folder) -> None:
    folder.write("small.toml", SMALL_RECIPE.format(source="").replace("horizon = 3", "horizon = 0"))


def an_unknown_key(folder: Folder) -> None:
    folder.write("small.toml", SMALL_RECIPE.format(source="") + "epoch = 3\n")


def no_server(folder: Folder) -> None:
    folder.database_url = "postgresql+psycopg://u:secretpassword@127.0.0.1:1/x"


def a_folder_that_does_not_exist(folder: Folder) -> None:
    folder.database_url = f"sqlite:///{folder.path}/missing/store.db"


def a_newer_schema(folder: Folder) -> None:
    connection = sqlite3.connect(folder.path / "store.db")
    connection.executescript("create table schema_version (version_num); insert into schema_version values ('9999')")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_file, "expected a CSV file with the columns month, sold"),
        (an_empty_file, "small.csv is empty: expected a header line and rows"),
        (an_error_page, 'small.csv is not a CSV file, it begins with "<html> <body>503</body> </html>"'),
        (a_word_for_a_number, 'small.csv line 6, column sold: "many" is not a number'),
        (a_cut_file, 'small.csv line 41: "2023-04-" has 1 of 2 columns'),
        (bytes_of_another_encoding, "small.csv is not UTF-8"),
        (no_horizon, '"horizon": Input should be greater than 0, received 0'),
        (an_unknown_key, 'unknown key "training.epoch": expected one of batch_size,'),
        (no_server, "the database postgresql+psycopg://u:***@127.0.0.1:1/x cannot be reached"),
        (a_folder_that_does_not_exist, "unable to open database file"),
        (a_newer_schema, "is at revision 9999, newer than this nextperiod knows"),
    ],
)
def test_bad_input_is_one_line_and_exit_1(spoil: Callable[[Folder], None], says: str, folder: Folder) -> None:
    spoil(folder)

    ended = folder.nextperiod("ingest", "small")

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("nextperiod: ")
    assert ended.stderr.endswith("\n")
    assert ended.stderr[:-1].isprintable()
    assert says in ended.stderr
    assert "secretpassword" not in ended.stderr


def test_an_unknown_recipe_lists_the_known_ones(folder: Folder) -> None:
    ended = folder.nextperiod("ingest", "smal")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f'nextperiod: recipe "smal" is not known: expected one of small (in {folder.path}), or a path to a TOML file\n'
    )


def test_a_bad_file_ends_the_cycle_as_refused_with_its_reason(folder: Folder) -> None:
    a_word_for_a_number(folder)

    ended = folder.nextperiod("run", "small", "--json")

    assert ended.returncode == 1
    facts = json.loads(ended.stdout)
    assert (facts["recipe"], facts["status"]) == ("small", "refused")
    assert facts["reason"].startswith('small.csv line 6, column sold: "many" is not a number')
    assert "Traceback" not in ended.stderr
    assert facts["reason"] in ended.stderr.replace("\n", " ")
    assert folder.asks("select status, error from attempts") == [("refused", facts["reason"])]
    assert folder.asks("select line, text from rejected_observations") == [(6, "many")]
    assert folder.asks("select count(*) from observations") == [(0,)]
