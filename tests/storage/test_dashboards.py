"""The example dashboards ask what a consumer may read, and get the rows that they show."""

from __future__ import annotations

import json
import re
import runpy
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.storage.engine import Database
from pipeline.storage.roles import create_roles
from pipeline.storage.schema import require_schema
from tests.storage.handmade_store import write_store
from tests.storage.raw_sql import change
from tests.storage.test_examples import write_what_tools_read
from tests.support.servers import new_database

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
GRAFANA = json.loads((DEPLOYMENTS / "grafana/nextperiod.json").read_text("utf-8"))
QUESTIONS = json.loads((DEPLOYMENTS / "metabase/questions.json").read_text("utf-8"))
#: what a person chooses; the name of the series needs its quotes doubled
CHOSEN = {"recipe": "small", "series": "a's"}


@pytest.fixture(scope="module")
def consumer(postgresql: sa.URL) -> Iterator[sa.Engine]:
    """Connects as the consumer, in a session of another zone, to the store that is written by hand."""
    admin = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with new_database(admin, "dashboards") as url:
        database = Database(url)
        require_schema(database)
        write_store(database)
        write_what_tools_read(database)
        change(database, "update series_variables set series = :name where series = 'a'", name=CHOSEN["series"])
        create_roles(database)
        database.close()
        engine = sa.create_engine(
            url.set(username="nextperiod_consumer", password=None),
            connect_args={"options": "-c timezone=America/New_York"},
        )
        yield engine
        engine.dispose()
    admin.dispose()


def answer(engine: sa.Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query.replace("%", "%%"))]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def as_grafana_sends(query: str, first: str = "2024-06-01T00:00:00Z", last: str = "2026-01-01T00:00:00Z") -> str:
    """Variables as `sqlstring` writes them, and the macro for a range of time as the PostgreSQL data source does."""
    query = re.sub(r"\$\{(\w+):sqlstring\}", lambda variable: quoted(CHOSEN[variable[1]]), query)
    query = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN '{first}' AND '{last}'", query)
    assert "$" not in query
    return query


def as_metabase_sends(query: str, chosen: dict[str, str]) -> str:
    """Optional clauses without a value left out, and variables as texts."""

    def keep_or_leave_out(clause: re.Match[str]) -> str:
        names = re.findall(r"\{\{(\w+)\}\}", clause[1])
        return clause[1] if all(name in chosen for name in names) else ""

    query = re.sub(r"\[\[(.*?)\]\]", keep_or_leave_out, query)
    return re.sub(r"\{\{(\w+)\}\}", lambda variable: quoted(chosen[variable[1]]), query)


def panel(title: str) -> dict[str, Any]:
    return next(panel for panel in GRAFANA["panels"] if panel["title"] == title)


def asked(title: str) -> list[str]:
    return [target["rawSql"] for target in panel(title)["targets"]]


def test_the_time_series_shows_the_history_and_the_forecast_with_its_band(consumer: sa.Engine) -> None:
    history, forecast = (answer(consumer, as_grafana_sends(query)) for query in asked("$recipe: $series"))

    assert [value for _, value in history] == [100.0, 112.0, 120.0, 150.0]
    assert [(at.timestamp(), *numbers) for at, *numbers in forecast] == [
        (1743465600, 140.0, 132.0, 135.0, 145.0, 148.0),
        (1746057600, 143.0, 135.0, 138.0, 148.0, 151.0),
        (1748736000, 146.0, 138.0, 141.0, 151.0, 154.0),
    ]


def test_only_the_chosen_range_of_time_is_shown_whatever_the_zone_of_the_session(consumer: sa.Engine) -> None:
    chosen = {"first": "2025-01-01T00:00:00Z", "last": "2025-02-01T00:00:00Z"}

    history, forecast = (answer(consumer, as_grafana_sends(query, **chosen)) for query in asked("$recipe: $series"))

    assert [value for _, value in history] == [112.0, 120.0]
    assert forecast == []


#: by title of a panel: one column of its rows, by its position
TABLES: dict[str, tuple[int, list[Any]]] = {
    "Recipes": (1, [True, False]),
    "Error by step": (1, [13.5, 29.0]),
    "Observations outside their 95 % interval": (2, [150.0]),
    "Decisions": (2, ["withdrawn", "promoted", "retrain"]),
    "Attempts that failed": (3, ["small.csv is missing"]),
}


@pytest.mark.parametrize("title", TABLES)
def test_each_other_panel_of_grafana_shows_its_rows(consumer: sa.Engine, title: str) -> None:
    (query,) = asked(title)
    position, values = TABLES[title]

    assert [row[position] for row in answer(consumer, as_grafana_sends(query))] == values


def test_the_choices_of_grafana_are_the_recipes_and_their_series(consumer: sa.Engine) -> None:
    choices = {variable["name"]: variable["query"] for variable in GRAFANA["templating"]["list"][1:]}

    assert answer(consumer, as_grafana_sends(choices["recipe"])) == [("idle",), ("small",)]
    assert answer(consumer, as_grafana_sends(choices["series"])) == [("a's",), ("b",)]


def test_every_panel_reads_from_the_data_source_that_a_person_chooses() -> None:
    source = GRAFANA["templating"]["list"][0]

    assert (source["name"], source["type"]) == ("source", "datasource")
    uses = [part["datasource"] for one in GRAFANA["panels"] for part in (one, *one["targets"])]
    assert all(use == {"type": source["query"], "uid": "${source}"} for use in uses)
    assert {one["title"] for one in GRAFANA["panels"]} == {"$recipe: $series", *TABLES}


def test_the_bands_are_filled_between_columns_that_the_query_returns(consumer: sa.Engine) -> None:
    _, query = asked("$recipe: $series")
    with consumer.connect() as connection:
        columns = set(connection.exec_driver_sql(as_grafana_sends(query)).keys())

    filled = {
        override["matcher"]["options"]: setting["value"]
        for override in panel("$recipe: $series")["fieldConfig"]["overrides"]
        for setting in override["properties"]
        if setting["id"] == "custom.fillBelowTo"
    }
    assert filled == {"upper_95": "lower_95", "upper_80": "lower_80"}
    assert {*filled, *filled.values()} <= columns


#: by name of a question: how many rows it has, and the first one, instants and periods left out
ANSWERS: dict[str, tuple[int, tuple[Any, ...]]] = {
    "Forecast of a series": (7, (100.0, None)),
    "Recipes": (2, ("idle", True)),
    "Error by step": (2, (1, 13.5)),
    "Observations outside their interval": (1, ("a's", 150.0, 117.0, 133.0)),
    "Series that the model forecasts worse than the baseline": (1, ("b", 2.5, "naive", 2.0, -0.25)),
    "Decisions": (3, ("batch", "withdrawn", None, None, 2)),
}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["name"])
def test_each_question_of_metabase_has_its_answer(consumer: sa.Engine, question: dict[str, Any]) -> None:
    native = question["dataset_query"]["native"]
    assert set(native["template-tags"]) == set(re.findall(r"\{\{(\w+)\}\}", native["query"]))

    found = answer(consumer, as_metabase_sends(native["query"], CHOSEN))

    num_rows, first = ANSWERS[question["name"]]
    assert len(found) == num_rows
    fields = tuple(value for value in found[0] if not hasattr(value, "year"))
    assert fields[: len(first)] == first
    needed = {name: text for name, text in CHOSEN.items() if native["template-tags"].get(name, {}).get("required")}
    assert len(answer(consumer, as_metabase_sends(native["query"], needed))) == num_rows


def test_a_chart_of_metabase_draws_columns_that_its_query_returns(consumer: sa.Engine) -> None:
    for question in QUESTIONS:
        query = as_metabase_sends(question["dataset_query"]["native"]["query"], CHOSEN)
        with consumer.connect() as connection:
            columns = set(connection.exec_driver_sql(query).keys())
        settings = question["visualization_settings"]
        assert {*settings.get("graph.dimensions", ()), *settings.get("graph.metrics", ())} <= columns


def test_the_questions_are_created_through_the_api_of_metabase() -> None:
    received: list[tuple[str, str | None, dict[str, Any]]] = []

    class Metabase(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((self.path, self.headers["x-api-key"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Metabase)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        script = runpy.run_path(str(DEPLOYMENTS / "metabase/import_questions.py"))
        names = script["create_questions"](f"http://127.0.0.1:{server.server_port}/", "key", 2)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert names == list(ANSWERS)
    assert {(path, key) for path, key, _ in received} == {("/api/card", "key")}
    assert [body["name"] for *_, body in received] == names
    assert {body["dataset_query"]["database"] for *_, body in received} == {2}
