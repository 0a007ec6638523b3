"""Tables and queries of another database: what is read, in which transaction, and how its errors are reported."""

from __future__ import annotations

import os
import socket
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from pipeline.config.recipe import Recipe
from pipeline.config.sources import SqlSource
from pipeline.errors import BatchRefused, NextperiodError, SourceMissing, SourceUnavailable
from pipeline.sources import arrow_spool, sql
from pipeline.sources.delivery import FetchContext
from pipeline.sources.registry import fetch
from tests.sources.fetching import FIRST_FETCH, NOW, names_in, next_fetch, read, read_rows, recipe_with, rows_in

TABLE = """
create table sales (month date not null, sold double precision, shop text, id integer);
insert into sales values ('2020-01-01', 1, 'a', 1), ('2020-02-01', 2.5, 'a', 2), ('2020-02-01', null, 'b', 2);
"""


class Warehouse:
    """A database with the sales, and how a recipe asks for them."""

    def __init__(self, url: sa.URL, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)
        self.run(*TABLE.split(";")[:2])

    @property
    def kind(self) -> str:
        return self.url.get_backend_name()

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    def recipe(self, query: str = 'table = "sales"', source: str = "") -> Recipe:
        table = 'kind = "sql"\nurl = "${WAREHOUSE_URL}"\nperiod = "month"\nvalue = "sold"\nseries = "shop"\n'
        return recipe_with(f"{table}{query}\n{source}", self.folder)

    def query(self, text: str, source: str = "") -> Recipe:
        (self.folder / "sales.sql").write_text(text)
        return self.recipe('query = "sales.sql"', source)


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    if request.param == "sqlite":
        url = sa.make_url(f"sqlite:///{tmp_path}/ware house#.db")
        monkeypatch.setenv("WAREHOUSE_URL", url.render_as_string())
        yield Warehouse(url, tmp_path)
        return
    server: sa.URL = request.getfixturevalue("postgresql")
    name = f"sources_{os.getpid()}_{abs(hash(request.node.nodeid))}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"create database {name}"))
    url = server.set(database=name)
    monkeypatch.setenv("WAREHOUSE_URL", url.render_as_string(hide_password=False))
    yield Warehouse(url, tmp_path)
    with admin.connect() as connection:
        connection.execute(sa.text(f"drop database {name} with (force)"))


def rows_of(warehouse: Warehouse, recipe: Recipe, context: FetchContext = FIRST_FETCH) -> list[tuple[object, ...]]:
    """The rows, with days as text: SQLite has no dates."""
    return [(str(row[0]), *row[1:]) for row in read_rows(recipe, context)]


ROWS = [("2020-01-01", 1.0, "a"), ("2020-02-01", 2.5, "a"), ("2020-02-01", None, "b")]


def test_a_table_is_read_in_the_order_of_its_series_with_its_types(warehouse: Warehouse) -> None:
    delivery, chunks = read(warehouse.recipe())

    assert rows_of(warehouse, warehouse.recipe()) == ROWS
    assert [line for line, _ in rows_in(chunks)] == [1, 2, 3]
    assert names_in(chunks) == ["month", "sold", "shop"]
    day = pa.string() if warehouse.kind == "sqlite" else pa.date32()
    assert chunks[0].columns.schema.types == [day, pa.float64(), pa.string()]
    assert (delivery.source, delivery.incremental) == ("sales", False)


@pytest.mark.parametrize(
    "query",
    [
        "select * from sales",
        "select shop, sold, month, 100 % 7 as rest from sales -- all: of them\n;\n",
        "/* with; */ WITH s AS (SELECT * FROM sales WHERE shop <> ':b;') SELECT month, sold, shop FROM s;",
        "select month, sold, shop from sales where 'a\\:b' like '%:b' order by id desc",
    ],
)
def test_a_query_may_hold_colons_percents_comments_and_semicolons(warehouse: Warehouse, query: str) -> None:
    _, chunks = read(warehouse.query(query))

    rows = [dict(zip(names_in(chunks), row, strict=True)) for _, row in rows_in(chunks)]
    assert [(str(row["month"]), row["sold"], row["shop"]) for row in rows] == ROWS


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("drop table sales", 'begins with "drop table sales": expected one select'),
        ("select 1; drop table sales", "expected one select, or with … select"),
        ("select 1) as q; commit; drop table sales; --", "expected one select"),
        ("selection", "expected one select"),
        ("", 'begins with "": expected one select'),
        ("select month, sold, shop from sales where", "sales.sql cannot be queried:"),
        ("select month, sold, shop from nowhere", "sales.sql cannot be queried:"),
        (
            "select month, sold as value, shop from sales",
            'has no column "sold": expected month, sold, shop, found month',
        ),
    ],
)
def test_a_statement_that_is_not_one_select_is_refused_and_not_run(
    warehouse: Warehouse, query: str, message: str
) -> None:
    with pytest.raises(BatchRefused) as refused:
        read(warehouse.query(query))

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(read_rows(warehouse.recipe())) == 3


def test_a_query_cannot_write(warehouse: Warehouse) -> None:
    if warehouse.kind == "sqlite":
        query = "select month, load_extension('x') as sold, shop from sales"
    else:
        warehouse.run("create sequence s")
        query = "select month, nextval('s') as sold, shop from sales"

    with pytest.raises(BatchRefused, match="read-only transaction|not authorized"):
        read(warehouse.query(query))


def test_a_connection_can_only_read(warehouse: Warehouse) -> None:
    recipe = warehouse.recipe()
    assert isinstance(recipe.source, SqlSource)
    request = sql._build_request(recipe, recipe.source)

    with (
        pytest.raises(sa.exc.DBAPIError, match="read-only|readonly"),
        sql._read_only_connection(request, 10) as connection,
    ):
        connection.execute(sa.text("delete from sales"))

    assert len(read_rows(recipe)) == 3


def test_a_table_that_is_not_there_lists_those_that_are(warehouse: Warehouse) -> None:
    with pytest.raises(SourceMissing, match='there is no table sale"s: expected one of sales'):
        read(warehouse.recipe("table = 'sale\"s'"))
    with pytest.raises(SourceMissing, match="there is no table sales; drop table sales: expected one of sales"):
        read(warehouse.recipe('table = "sales; drop table sales"'))


def test_names_of_tables_and_columns_are_quoted(warehouse: Warehouse) -> None:
    warehouse.run(
        'create table "Order" ("select" date, "a ""b" integer)', """insert into "Order" values ('2020-01-01', 3)"""
    )
    schema = "main" if warehouse.kind == "sqlite" else "public"
    table = f'kind = "sql"\nurl = "${{WAREHOUSE_URL}}"\ntable = "{schema}.Order"\nperiod = "select"\nvalue = \'a "b\''

    assert rows_of(warehouse, recipe_with(table)) == [("2020-01-01", 3)]


def test_a_missing_column_is_named_with_those_that_are_there(warehouse: Warehouse) -> None:
    expected = 'sales has no column "version": expected month, sold, shop, version, found month, sold, shop, id'

    with pytest.raises(BatchRefused, match=expected):
        read(warehouse.recipe(source='cursor = "version"'))


def test_no_rows_are_refused_unless_the_recipe_expects_it(warehouse: Warehouse) -> None:
    warehouse.run("delete from sales")

    with pytest.raises(BatchRefused, match="sales holds no rows: expected rows with month, sold, shop"):
        read(warehouse.recipe())
    _, chunks = read(warehouse.recipe(source='on_empty = "keep"'))

    assert names_in(chunks) == ["month", "sold", "shop"]
    assert rows_in(chunks) == []


def test_with_a_cursor_only_rows_from_the_newest_known_on_are_read(warehouse: Warehouse) -> None:
    recipe = warehouse.recipe(source='cursor = "id"')
    first, _ = read(recipe)
    warehouse.run(
        "insert into sales values ('2020-02-01', 7, 'c', 2)",
        "insert into sales values ('2020-03-01', 3, 'a', 3)",
        "insert into sales values ('2019-01-01', 9, 'late', 1)",
        "insert into sales values ('2019-01-01', 9, 'null', null)",
    )

    second, chunks = read(recipe, next_fetch(first))

    assert not first.incremental
    assert second.incremental
    assert names_in(chunks) == ["month", "sold", "shop"]
    assert [row[2] for _, row in rows_in(chunks)] == ["a", "b", "c", "a"]
    assert (first.state["cursor"], second.state["cursor"]) == ("2", "3")


def test_a_fetch_without_new_rows_keeps_the_cursor(warehouse: Warehouse) -> None:
    recipe = warehouse.recipe(source='cursor = "id"')
    first, _ = read(recipe)
    second, _ = read(recipe, next_fetch(first))
    warehouse.run("delete from sales")

    third, chunks = read(recipe, next_fetch(second))

    assert third.state == second.state == first.state
    assert rows_in(chunks) == []


def test_the_cursor_of_other_settings_is_not_used(warehouse: Warehouse) -> None:
    first, _ = read(warehouse.recipe(source='cursor = "id"'))

    other, _ = read(
        warehouse.recipe(source='cursor = "id"\nmissing = "reject"'), FetchContext(now=NOW, state=first.state)
    )

    assert not other.incremental


@pytest.mark.parametrize(
    ("kind", "first", "more"),
    [
        ("integer", "7", "8"),
        ("double precision", "0.1", "0.25"),
        ("text", "'a''b'", "'b'"),
        ("date", "'2020-01-01'", "'2020-01-02'"),
        ("timestamp", "'2020-01-01 10:00:00.5'", "'2020-01-01 10:00:01'"),
        ("timestamptz", "'2020-01-01 10:00:00+02'", "'2020-01-01 11:00:00+00'"),
        ("numeric(20,4)", "1.5000", "1.5001"),
    ],
)
def test_a_cursor_of_any_type_survives_the_state(warehouse: Warehouse, kind: str, first: str, more: str) -> None:
    warehouse.run(f"alter table sales add version {kind}", f"update sales set version = {first}")
    recipe = warehouse.recipe(source='cursor = "version"')
    state = read(recipe)[0].state
    warehouse.run(
        f"update sales set version = {more} where shop = 'b'",
        "insert into sales values ('2020-03-01', 1, 'old', 9, null)",
    )

    same, _ = read(recipe, FetchContext(now=NOW, state=state))
    warehouse.run("delete from sales where shop <> 'b'")
    last, chunks = read(recipe, FetchContext(now=NOW, state=same.state))

    assert same.incremental
    assert [row[2] for _, row in rows_in(chunks)] == ["b"]
    assert last.state == same.state != state


def test_the_hash_does_not_depend_on_the_stored_order_of_rows(warehouse: Warehouse) -> None:
    first = read(warehouse.recipe())[0].content_hash
    warehouse.run("create table other as select * from sales order by month desc, shop desc")

    assert read(warehouse.recipe())[0].content_hash == first
    warehouse.run("update sales set sold = 3 where shop = 'b'")
    assert read(warehouse.recipe())[0].content_hash != first


def test_rows_are_read_in_parts_with_lines_counted_on(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "ROWS", 2)
    warehouse.run("delete from sales where shop = 'b'")
    warehouse.run(*(f"insert into sales values ('2020-03-01', {n}, 'c', {n})" for n in range(5)))

    _, chunks = read(warehouse.recipe())

    assert [len(chunk.line) for chunk in chunks] == [2, 2, 2, 1]
    assert [line for line, _ in rows_in(chunks)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_query_that_takes_too_long_is_given_up(warehouse: Warehouse) -> None:
    endless = "with recursive n as (select 1 as i union all select i + 1 from n where i > 0 and i < 2000000000) "

    with pytest.raises(SourceUnavailable, match="sales.sql takes too long: try again later, or raise"):
        read(
            warehouse.query(
                f"{endless} select '2020-01-01' as month, count(*) as sold, 'a' as shop from n", "timeout_seconds = 0.2"
            )
        )


def test_types_of_a_database_are_kept_or_written_as_text(warehouse: Warehouse) -> None:
    if warehouse.kind == "sqlite":
        query = "select 1 as month, 0.5 as sold, 'a' as shop union all select 'x', 2, null"
        expected = [("1", 0.5, "a"), ("x", 2.0, None)]
    else:
        query = (
            "select timestamptz '2020-01-01 10:00+02' as month, 1.10::numeric as sold, true as shop"
            " union all select null, 'NaN'::numeric, null"
        )
        expected = [(datetime(2020, 1, 1, 8, tzinfo=UTC), "1.10", True), (None, "NaN", None)]

    _, chunks = read(warehouse.query(query))

    assert sorted(rows_in(chunks), key=str) == sorted(
        [(line, row) for line, row in rows_in(chunks) if row in expected], key=str
    )
    assert {row for _, row in rows_in(chunks)} == set(expected)


def test_a_column_of_bytes_is_refused(warehouse: Warehouse) -> None:
    column = "x'00'" if warehouse.kind == "sqlite" else r"'\x00'::bytea"

    with pytest.raises(BatchRefused, match="holds bytes in a column that the recipe names"):
        read(warehouse.query(f"select month, {column} as sold, shop from sales"))


@pytest.mark.parametrize("warehouse", ["postgresql"], indirect=True)
def test_a_column_that_is_there_twice_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(BatchRefused, match='names the column "sold" 2 times: expected it once'):
        read(warehouse.query("select month, sold, sold, shop from sales"))


@pytest.mark.parametrize("warehouse", ["postgresql"], indirect=True)
def test_an_infinite_date_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(BatchRefused, match="cannot be queried: date too large"):
        read(warehouse.query("select 'infinity'::date as month, sold, shop from sales"))


@pytest.mark.parametrize("warehouse", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "setting", ["datestyle = 'German, DMY'", "extra_float_digits = -10", "client_encoding = LATIN1", "timezone = Japan"]
)
def test_rows_are_the_same_whatever_the_role_sets(warehouse: Warehouse, setting: str) -> None:
    with sa.create_engine(warehouse.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as connection:
        connection.exec_driver_sql(f"alter database {warehouse.url.database} set {setting}")
        connection.exec_driver_sql(
            "insert into sales (month, sold, shop) values ('2020-03-01', 1.2345678901234567, 'Łódź')"
        )

    rows = rows_of(warehouse, warehouse.recipe())

    assert ("2020-03-01", 1.2345678901234567, "Łódź") in rows


# without a database


def recipe_at(url: str, folder: Path = Path(), query: str = 'table = "sales"') -> Recipe:
    return recipe_with(f'kind = "sql"\nurl = "{url}"\nperiod = "month"\nvalue = "sold"\n{query}', folder)


def closed_port_url(folder: Path) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"postgresql://me:pl4nted%2Fsecret@127.0.0.1:{free.getsockname()[1]}/warehouse"


FAULTS: dict[str, tuple[Callable[[Path], str], type[NextperiodError], str]] = {
    "away": (closed_port_url, SourceUnavailable, "the database of sales cannot be reached"),
    "no host": (lambda _: "postgresql://me:pl4nted%2Fsecret@/x?host=/nowhere", SourceUnavailable, "cannot be reached"),
    "no url": (lambda _: "pl4nted/secret", SourceMissing, "is no SQLAlchemy URL: expected such as"),
    "bad port": (lambda _: "postgresql://me:pl4nted%2Fsecret@h:port/x", SourceMissing, "is no SQLAlchemy URL"),
    "no driver": (lambda _: "oracle://me:pl4nted%2Fsecret@h/x", SourceMissing, "needs a driver for oracle"),
    "no dialect": (lambda _: "nosuch://me:pl4nted%2Fsecret@h/x", SourceMissing, "needs a driver for nosuch"),
    "no file": (lambda folder: f"sqlite:///{folder}/none.db", SourceMissing, "there is no file"),
    "no database": (lambda folder: f"sqlite:///{folder}/text.db", BatchRefused, "file is not a database"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_connection_error_shows_a_secret(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, expected, message = FAULTS[fault]
    (tmp_path / "text.db").write_text("this is no database at all, only a line of text\n" * 9)
    monkeypatch.setenv("WAREHOUSE_URL", url(tmp_path))

    with pytest.raises(expected) as caught:
        read(recipe_at("${WAREHOUSE_URL}"))

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    shown = str(caught.value) + "".join(traceback.format_exception(caught.value))
    assert "pl4nted" not in shown


def test_a_password_in_the_recipe_is_refused() -> None:
    with pytest.raises(SourceMissing, match=r"holds a password: expected \$\{NAME\} in its place") as caught:
        read(recipe_at("postgresql://me:hunter2@127.0.0.1/x"))

    assert "hunter2" not in str(caught.value)


def test_a_password_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("pl4nted\n")
    monkeypatch.setenv("WAREHOUSE_PASSWORD_FILE", str(tmp_path / "password"))
    recipe = recipe_at("postgresql://me:${WAREHOUSE_PASSWORD}@127.0.0.1/x")

    assert isinstance(recipe.source, SqlSource)
    assert sql._build_request(recipe, recipe.source).url.password == "pl4nted"


def test_a_relative_sqlite_file_is_found_beside_the_recipe(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "near.db") as connection:
        connection.execute("create table sales (month text, sold integer)")
        connection.execute("insert into sales values ('2020-01-01', 1)")
    connection.close()

    assert read_rows(recipe_at("sqlite:///near.db", tmp_path)) == [("2020-01-01", 1)]


def test_a_query_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"the query .*/sales.sql cannot be read: No such file or directory"):
        read(recipe_at("sqlite:///near.db", tmp_path, 'query = "sales.sql"'))


def test_a_locked_database_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = sqlite3.connect(tmp_path / "near.db", isolation_level=None)
    writer.execute("create table sales (month text, sold integer)")
    writer.execute("begin exclusive")

    with pytest.raises(SourceUnavailable, match="cannot be reached: database is locked"):
        read(recipe_at("sqlite:///near.db", tmp_path, 'table = "sales"\ntimeout_seconds = 0.1'))

    writer.close()


def test_the_rows_are_gone_when_the_delivery_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with sqlite3.connect(tmp_path / "near.db") as connection:
        connection.execute("create table sales as select '2020-01-01' as month, 1 as sold")
    connection.close()

    with fetch(recipe_at("sqlite:///near.db", tmp_path), FIRST_FETCH) as delivery:
        assert len(rows_in(list(delivery.chunks()))) == len(rows_in(list(delivery.chunks()))) == 1
        assert len(list((tmp_path / "temporary").iterdir())) == 1

    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([[1, None], [2.5]], [1.0, None, 2.5]),
        ([[None], [1]], [None, 1]),
        ([[None]], [None]),
        ([[1], ["x"]], ["1", "x"]),
        ([[2**70]], [str(2**70)]),
        ([[True], [None]], [True, None]),
        ([[True, 1]], ["true", "1"]),
        ([[Decimal("1E+2"), Decimal("0.10")]], ["100", "0.10"]),
        ([[date(2020, 1, 1)], [datetime(2020, 1, 1, 5)]], ["2020-01-01", "2020-01-01 05:00:00.000000"]),
        ([[date(2020, 1, 1), "x"]], ["2020-01-01", "x"]),
        ([[float("nan"), None]], ["nan", "None"]),
    ],
)
def test_a_column_has_one_type_that_holds_all_of_its_values(
    tmp_path: Path, given: list[list[object]], expected: list[object]
) -> None:
    spool = arrow_spool.ArrowSpool(tmp_path / "rows", ["x"])

    spool.write([[(value,) for value in part] for part in given])

    stored = [value for batch in spool.batches() for value in batch.column(0).to_pylist()]
    assert [str(value) for value in stored] == [str(value) for value in expected]
