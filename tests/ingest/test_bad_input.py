"""Bad input ends in one clear sentence and leaves nothing but the attempt and the rejected rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.config.loader import load_recipe
from pipeline.config.recipe import Recipe
from pipeline.errors import BatchRefused, DatabaseUnavailable, InvalidRecipe, NextperiodError, SchemaTooNew
from pipeline.jobs.attempt import record_attempt
from pipeline.jobs.ingest import IngestResult, ingest_source
from pipeline.sources.delivery import FetchContext
from pipeline.sources.registry import fetch
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema, upgrade
from pipeline.storage.store import Store
from tests.support.deliveries import ingest_delivery
from tests.support.examples import NOW, SMALL_RECIPE, small_csv, small_recipe

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"

LINES = small_csv().splitlines(keepends=True)


def with_line(number: int, text: str) -> str:
    """The small file with another text in one line; the header is line 1."""
    return "".join([*LINES[: number - 1], text, *LINES[number:]])


NOT_A_NUMBER = with_line(6, "2020-05-01,many\n")

FILES_ACCEPTED = {
    "byte order mark": "\ufeff" + small_csv(),
    "CRLF": small_csv().replace("\n", "\r\n"),
    "quoted": "".join(",".join(f'"{text}"' for text in line.strip().split(",")) + "\n" for line in LINES),
    "extra columns": "".join(line.replace("\n", ",more\n") for line in LINES),
    "out of order": "".join([LINES[0], *reversed(LINES[1:])]),
    "an equal row twice": small_csv() + LINES[5],
}


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """An empty store in SQLite."""
    database = open_database(f"sqlite:///{tmp_path}/store.db")
    require_schema(database)
    yield Store(database)
    database.close()


def rows(store: Store, query: str) -> list[Any]:
    with store.database.read() as transaction:
        return list(transaction.connection.execute(sa.text(query)).all())


def write_file(folder: Path, content: str | bytes | None) -> None:
    if content is not None:
        (folder / "small.csv").write_bytes(content if isinstance(content, bytes) else content.encode())


def ingest(recipe: Recipe, store: Store) -> IngestResult:
    """As the first step of `nextperiod run`."""
    with record_attempt(recipe, store, "run", lambda: NOW):
        return ingest_source(recipe, store, NOW)


def refusal(recipe: Recipe, store: Store) -> str:
    with pytest.raises(NextperiodError) as refused:
        ingest(recipe, store)
    return str(refused.value)


def assert_one_sentence(message: str) -> None:
    assert message
    assert message.isprintable(), message
    assert len(message) < 550


def assert_nothing_was_taken_in(store: Store) -> None:
    for table in ("series_variables", "observations", "models", "model_files", "runs", "forecasts", "scores", "outbox"):
        assert rows(store, f"select count(*) from {table}") == [(0,)], table
    assert rows(store, "select count(*) from batches where status = 'accepted'") == [(0,)]


@pytest.mark.parametrize("name", FILES_ACCEPTED)
def test_a_file_that_is_only_written_differently_gives_the_same_observations(
    name: str, tmp_path: Path, sqlite_store: Store
) -> None:
    write_file(tmp_path, FILES_ACCEPTED[name])

    assert ingest(small_recipe(tmp_path), sqlite_store).num_new == 40

    listed = rows(sqlite_store, "select period, value from current_observations order by period")
    assert [f"{row.period[:10]},{row.value}\n" for row in listed] == LINES[1:]
    assert rows(sqlite_store, "select status, error from attempts") == [("done", None)]


def test_names_of_series_are_kept_as_text(tmp_path: Path, store: Store) -> None:
    names = ["007", "1e5", "NA", "NULL", "None", "a, b", "true", "Ünïcode", "x'; drop table runs; --"]
    lines = ["month,sold,shop"]
    lines += [f'{line.strip()},"{name}"' for line in LINES[1:13] for name in names]
    write_file(tmp_path, "\n".join(lines) + "\n")

    ingest(small_recipe(tmp_path, 'series = "shop"'), store)

    listed = rows(store, "select series, count(*) from current_observations group by series")
    assert {tuple(row) for row in listed} == {(name, 12) for name in names}


@pytest.mark.parametrize("num_values", [1, 5, 11])
def test_a_short_history_is_ingested(num_values: int, tmp_path: Path, sqlite_store: Store) -> None:
    write_file(tmp_path, "".join(LINES[: 1 + num_values]))

    assert ingest(small_recipe(tmp_path), sqlite_store).num_new == num_values


def test_rows_rejected_within_the_allowed_share_are_listed_with_their_file(tmp_path: Path, sqlite_store: Store) -> None:
    write_file(tmp_path, with_line(41, "2023-04-01,many\n"))

    facts = ingest(small_recipe(tmp_path, "max_rejected = 0.03"), sqlite_store)

    assert (facts.num_read, facts.num_new, facts.num_rejected) == (40, 39, 1)
    listed = rows(sqlite_store, "select recipe, source, line, column_name, series, text from rejected_observations")
    assert listed == [("small", "small.csv", 41, "sold", "small", "many")]


def test_a_bad_file_after_a_good_one_changes_no_observation(tmp_path: Path, store: Store) -> None:
    write_file(tmp_path, small_csv())
    ingest(small_recipe(tmp_path), store)
    query = "select series, period, value, recorded_at from current_observations order by period"
    before = rows(store, query)

    write_file(tmp_path, NOT_A_NUMBER)
    message = refusal(small_recipe(tmp_path, "strict = true"), store)

    assert rows(store, query) == before
    assert rows(store, "select status, error from attempts order by attempt_id") == [
        ("done", None),
        ("refused", message),
    ]


def test_a_good_file_after_a_bad_one_is_accepted(tmp_path: Path, sqlite_store: Store) -> None:
    write_file(tmp_path, NOT_A_NUMBER)
    refusal(small_recipe(tmp_path, "strict = true"), sqlite_store)

    write_file(tmp_path, small_csv())

    assert ingest(small_recipe(tmp_path), sqlite_store).num_new == 40


def cut_recipe(name: str, folder: Path, *, final_newline: bool) -> tuple[Recipe, Path, bytes]:
    """A shipped recipe over a copy of its file; the copy and the whole content."""
    shipped = load_recipe(name, DEPLOYMENTS / "recipes")
    whole = (shipped.folder / shipped.source.path).read_bytes()
    source = shipped.source.model_copy(update={"path": "cut.csv", "final_newline": final_newline})
    recipe = shipped.model_copy(update={"source": source})
    recipe._folder = folder
    return recipe, folder / "cut.csv", whole


def is_whole(content: bytes, whole: bytes) -> bool:
    """Whether the last line is there to its end, with or without a newline, or but for its value: that is a gap."""
    lines = content.splitlines()
    return lines[-1] == whole.splitlines()[len(lines) - 1] or lines[-1].endswith(b",")


def num_new(recipe: Recipe) -> int:
    with fetch(recipe, FetchContext(now=NOW)) as delivery:
        return len(ingest_delivery(delivery, recipe).new)


@pytest.mark.parametrize(
    ("name", "final_newline"), [("airline", True), ("airline", False), ("milk", False), ("btc", True)]
)
def test_a_file_cut_in_mid_line_is_refused_wherever_it_is_cut(
    name: str, final_newline: bool, tmp_path: Path, sqlite_store: Store
) -> None:
    recipe, path, whole = cut_recipe(name, tmp_path, final_newline=final_newline)
    contents = [whole[:-cut] for cut in range(1, 71)]
    contents = [
        content
        for content in contents
        if not is_whole(content, whole) or (final_newline and not content.endswith((b"\n", b"\r")))
    ]

    for content in contents:
        path.write_bytes(content)
        with pytest.raises(BatchRefused) as refused:
            ingest(recipe, sqlite_store)
        assert_one_sentence(str(refused.value))

    assert len(contents) >= 45
    assert_nothing_was_taken_in(sqlite_store)
    assert rows(sqlite_store, "select status, count(*) from attempts group by status") == [("refused", len(contents))]


@pytest.mark.parametrize(("name", "final_newline"), [("airline", True), ("airline", False), ("milk", False)])
def test_a_file_cut_at_the_end_of_a_line_is_a_complete_file(name: str, final_newline: bool, tmp_path: Path) -> None:
    recipe, path, whole = cut_recipe(name, tmp_path, final_newline=final_newline)
    lines = whole.splitlines(keepends=True)

    for count in range(len(lines) - 4, len(lines)):
        path.write_bytes(b"".join(lines[:count]))
        assert num_new(recipe) == count - 1
        if not final_newline:
            path.write_bytes(b"".join(lines[:count]).rstrip())
            assert num_new(recipe) == count - 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("horizon = 3", "horizon = 0", '"horizon": Input should be greater than 0, received 0'),
        ('name = "small"', 'name = "small"\nhorizn = 3', 'unknown key "horizn": expected one of backtest, calendar,'),
        (
            'value = "sold"',
            'value = "sold"\nlimits = 3',
            'unknown key "source.limits": expected one of allow_zero, columns, decimal, delimiter,',
        ),
        ("units = 4", "unit = 4", 'unknown key "model.unit": expected one of activation, architecture, context,'),
        (
            "epochs = 2",
            "epoch = 2",
            'unknown key "training.epoch": expected one of batch_size, budget_minutes, clip_norm, clip_value, epochs,',
        ),
        ("[training]", "[gate]\nbase = 1\n[training]", 'unknown key "gate.base": expected one of baseline'),
        ("[training]", "[backtest]\nn = 1\n[training]", 'unknown key "backtest.n": expected one of periods'),
        (
            "[training]",
            "[publish]\nmin = 1\n[training]",
            'unknown key "publish.min": expected one of active_within, grace, inactive, max_ended, maximum',
        ),
        (
            'kind = "csv"',
            'kind = "xls"',
            "source.kind is 'xls': expected one of csv, excel, http, integers, parquet, prices, sql",
        ),
        ('"csv"\n', '"csv', "is not valid TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_sentence(old: str, new: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SMALL_RECIPE.format(source="").replace(old, new))

    with pytest.raises(InvalidRecipe) as refused:
        load_recipe(str(path), tmp_path)

    assert says in str(refused.value)
    assert str(refused.value).startswith(str(path))
    assert_one_sentence(str(refused.value))


def test_an_unknown_recipe_lists_the_existing_ones() -> None:
    with pytest.raises(InvalidRecipe, match='recipe "mlk" is not known: expected one of .*airline, .*milk') as refused:
        load_recipe("mlk", DEPLOYMENTS / "recipes")

    assert_one_sentence(str(refused.value))


@pytest.mark.parametrize("host", ["127.0.0.1:1", "127.0.0.1:99999"], ids=["no server", "no port"])
def test_a_database_that_cannot_be_reached_is_named_without_its_password(host: str) -> None:
    database = open_database(f"postgresql+psycopg://u:secretpassword@{host}/x")

    with pytest.raises(DatabaseUnavailable, match="check NEXTPERIOD_DATABASE_URL and that the server is up") as away:
        require_schema(database)

    assert f"the database postgresql+psycopg://u:***@{host}/x cannot be reached or used" in str(away.value)
    assert "secretpassword" not in str(away.value)
    assert_one_sentence(str(away.value))


@pytest.mark.parametrize("place", ["missing/store.db", "."])
def test_an_sqlite_file_that_cannot_be_opened_is_named(place: str, tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / place}")

    with pytest.raises(DatabaseUnavailable, match="cannot be reached or used: unable to open database file") as away:
        require_schema(database)

    assert str(tmp_path) in str(away.value)
    assert_one_sentence(str(away.value))


@pytest.mark.parametrize("url", ["", "secretpassword", "mysql://u:secretpassword@127.0.0.1/x"])
def test_an_unsupported_database_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(NextperiodError, match=r"expected sqlite:///FILE or postgresql\+psycopg://") as refused:
        open_database(url)

    assert "secretpassword" not in str(refused.value)


def test_a_schema_newer_than_the_code_is_refused(store: Store) -> None:
    with store.database.write() as transaction:
        transaction.connection.execute(sa.text("update schema_version set version_num = '9999'"))

    for refuses in (require_schema, upgrade):
        with pytest.raises(SchemaTooNew, match="is at revision 9999, newer than this nextperiod knows") as newer:
            refuses(store.database)
        assert "install the version that created it" in str(newer.value)
        assert "secretpassword" not in str(newer.value)
    assert rows(store, "select version_num from schema_version") == [("9999",)]
