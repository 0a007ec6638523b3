"""Views show each period as an instant and in the zone of the recipe, the same in both databases."""

from __future__ import annotations

from datetime import datetime

import pytest

from pipeline.config.recipe import Recipe
from pipeline.records.lineage import ModelVersion
from pipeline.storage.batches import BatchHeader
from pipeline.storage.store import Store
from pipeline.timeseries.observations import TARGET
from tests.storage.raw_sql import change, insert, rows, value
from tests.storage.small_store import forecast, publish
from tests.support.examples import NOW
from tests.support.recipes import build_recipe

AMSTERDAM = {"zone": "Europe/Amsterdam"}
PERIODS = "select period, period_local, period_at from {} order by period"


def observe(store: Store, recipe: Recipe, *periods: str, variable: str = TARGET) -> None:
    """Take in a value for each period, as one series."""
    store.recipes.register(recipe)
    with store.batches.write(BatchHeader(recipe=recipe.name, source="test", content_hash=variable), NOW) as intake:
        intake.register([("a", variable)])
        intake.finish(dict.fromkeys(("num_read", "num_new", "num_revised", "num_same"), 0), [])
    series_id = value(store.database, "select max(series_id) from series_variables")
    key = {"series_id": series_id, "batch_id": intake.batch_id, "value": 1.0}
    insert(store.database, "observations", *({**key, "period": period} for period in periods))


def shown(store: Store, view: str = "current_observations") -> list[tuple[str, str, str]]:
    """Period, local period and instant to the minute; a midnight of SQLite is written out."""

    def text(moment: str | datetime) -> str:
        written = str(moment)
        return (written if len(written) > 10 else f"{written} 00:00:00")[:16]

    found = rows(store.database, PERIODS.format(view))
    assert all(str(instant).endswith("+00:00") for *_, instant in found)
    return [(text(period), text(local), text(instant)) for period, local, instant in found]


def test_hours_are_shown_as_the_clock_showed_them(store: Store) -> None:
    hourly = build_recipe("hours", frequency="h", source=AMSTERDAM)

    observe(
        store,
        hourly,
        "2026-01-31 23:00:00",
        "2026-03-29 00:00:00",
        "2026-03-29 01:00:00",
        "2026-10-25 00:00:00",
        "2026-10-25 01:00:00",
    )

    assert shown(store) == [
        ("2026-01-31 23:00", "2026-02-01 00:00", "2026-01-31 23:00"),
        ("2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 00:00"),
        ("2026-03-29 01:00", "2026-03-29 03:00", "2026-03-29 01:00"),
        ("2026-10-25 00:00", "2026-10-25 02:00", "2026-10-25 00:00"),
        ("2026-10-25 01:00", "2026-10-25 02:00", "2026-10-25 01:00"),
    ]


def test_days_are_local_as_they_are_and_begin_at_local_midnight(store: Store) -> None:
    daily = build_recipe("days", frequency="D", source=AMSTERDAM)

    observe(store, daily, "2026-03-29", "2026-03-30")

    assert shown(store) == [
        ("2026-03-29 00:00", "2026-03-29 00:00", "2026-03-28 23:00"),
        ("2026-03-30 00:00", "2026-03-30 00:00", "2026-03-29 22:00"),
    ]


def test_a_day_without_a_midnight_begins_when_the_clocks_are_changed(store: Store) -> None:
    daily = build_recipe("days", frequency="D", source={"zone": "America/Sao_Paulo"})

    observe(store, daily, "2018-11-04")

    assert shown(store) == [("2018-11-04 00:00", "2018-11-04 00:00", "2018-11-04 03:00")]


@pytest.mark.parametrize("frequency", ["D", "h"])
def test_without_a_zone_everything_is_utc(store: Store, frequency: str) -> None:
    observe(store, build_recipe("plain", frequency=frequency), "2026-03-29")

    assert shown(store) == [("2026-03-29 00:00",) * 3]
    assert value(store.database, "select count(*) from zone_offsets") == 0


def test_fractions_of_a_second_stay(store: Store) -> None:
    observe(store, build_recipe("fast", frequency="ms", source=AMSTERDAM), "2026-01-01 00:00:00.250000")

    assert rows(store.database, "select cast(period_local as text) from current_observations") in (
        [("2026-01-01 01:00:00.250000",)],
        [("2026-01-01 01:00:00.25",)],
    )


def test_covariates_and_forecasts_are_shown_in_the_zone_too(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model)
    zone = "zone = 'America/New_York'"
    observed_store.recipes.register(build_recipe("hours", frequency="h", source={"zone": "America/New_York"}))
    change(observed_store.database, f"update registered_recipes set {zone}, period_zone = 'UTC' where recipe = 'small'")

    for view in ("latest_forecasts", "forecast_history"):
        assert shown(observed_store, view) == [
            ("2023-05-01 00:00", "2023-04-30 20:00", "2023-05-01 00:00"),
            ("2023-06-01 00:00", "2023-05-31 20:00", "2023-06-01 00:00"),
            ("2023-07-01 00:00", "2023-06-30 20:00", "2023-07-01 00:00"),
        ]
    hourly = build_recipe("offers", frequency="h", source={"zone": "America/New_York"})
    observe(observed_store, hourly, "2026-01-01 12:00:00", variable="price")
    assert shown(observed_store, "covariates") == [("2026-01-01 12:00", "2026-01-01 07:00", "2026-01-01 12:00")]


def test_rules_that_changed_are_written_with_the_next_run(store: Store) -> None:
    hourly = build_recipe("hours", frequency="h", source=AMSTERDAM)
    observe(store, hourly, "2026-07-01 12:00:00")
    change(store.database, "update zone_offsets set seconds = 0")
    assert shown(store) == [("2026-07-01 12:00",) * 3]

    store.recipes.register(hourly)

    assert shown(store) == [("2026-07-01 12:00", "2026-07-01 14:00", "2026-07-01 12:00")]


def test_a_day_written_as_text_bounds_instants_in_postgresql_by_the_session_and_periods_by_utc(store: Store) -> None:
    observe(store, build_recipe("days", frequency="D"), "2025-12-31", "2026-01-01")
    counted = "select count(*) from current_observations where {} >= '2026-01-01'"

    assert value(store.database, counted.format("period")) == 1
    with store.database.read() as transaction:
        if transaction.dialect == "postgresql":
            transaction.connection.exec_driver_sql("set time zone 'America/New_York'")
            counts = [
                transaction.connection.exec_driver_sql(counted.format(column)).scalar_one()
                for column in ("period", "period_at")
            ]
            assert counts == [1, 0]  # there it is still the year before at that instant
