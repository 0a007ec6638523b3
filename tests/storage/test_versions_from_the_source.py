"""A history loaded today with what was known when: arrival logs, vintages, dated files, a publication lag."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchRefused
from pipeline.jobs.ingest import IngestResult, ingest_source
from pipeline.jobs.inputs import LATEST, load_panel
from pipeline.storage.store import Store
from tests.storage.raw_sql import rows
from tests.support.recipes import build_recipe

NOW = datetime(2026, 11, 28, tzinfo=UTC)
LATER = datetime(2026, 11, 29, tzinfo=UTC)


def register(store: Store, folder: Path, *, frequency: str = "MS", **source: Any) -> Recipe:
    keys = {"path": "*.csv", "period": "month", "value": "sold"} | source
    recipe = build_recipe("milk", folder=folder, frequency=frequency, source=keys)
    store.recipes.register(recipe)
    return recipe


def ingest(recipe: Recipe, store: Store, text: str, *, file: str = "milk.csv", now: datetime = NOW) -> IngestResult:
    (recipe.folder / file).write_text(text)
    return ingest_source(recipe, store, now)


def known(recipe: Recipe, store: Store, as_of: str | None, series: int = 0) -> list[float]:
    """The values of a series as they were known at an instant; None: now."""
    instant = None if as_of is None else datetime.fromisoformat(as_of).replace(tzinfo=UTC)
    panel = store.observations.panel(recipe, instant or LATEST, recorded_by=LATEST if instant else None)
    return [] if panel is None else panel.series_values(series).tolist()


def current(store: Store) -> dict[str, float]:
    found = rows(store.database, "select period, value from current_observations order by period")
    return {str(period)[:10]: value for period, value in found}


LOG = """month,sold,op,arrived
2020-01-01,1,insert,2020-02-10T06:00Z
2020-02-01,2,insert,2020-03-10T06:00Z
2020-03-01,3,insert,2020-04-10T06:00Z
2020-02-01,2.5,update,2020-04-20T06:00Z
2020-03-01,,delete,2020-05-02T06:00Z
2020-03-01,3.5,insert,2020-05-03T06:00Z
2020-04-01,4,insert,2020-05-10T06:00Z
2020-04-01,,delete,2020-05-11T06:00Z
"""


@pytest.fixture
def log(store: Store, tmp_path: Path) -> Recipe:
    recipe = register(store, tmp_path, known_at="arrived", operation="op")
    ingest(recipe, store, LOG)
    return recipe


def test_an_arrival_log_is_read_with_its_corrections_and_withdrawals(log: Recipe, store: Store) -> None:
    assert known(log, store, "2020-02-01") == []
    assert known(log, store, "2020-03-11") == [1, 2]
    assert known(log, store, "2020-04-11") == [1, 2, 3]
    assert known(log, store, "2020-04-21") == [1, 2.5, 3]
    assert known(log, store, "2020-05-02T12:00") == [1, 2.5]
    assert known(log, store, "2020-05-04") == [1, 2.5, 3.5]
    assert known(log, store, "2020-05-10T07:00") == [1, 2.5, 3.5, 4]
    assert known(log, store, None) == [1, 2.5, 3.5]
    assert current(store) == {"2020-01-01": 1, "2020-02-01": 2.5, "2020-03-01": 3.5}


def test_each_instant_of_the_log_is_an_instant_of_a_backfill(log: Recipe, store: Store) -> None:
    assert len(store.batches.known_instants("milk")) == 8


def test_a_log_that_grew_adds_only_what_is_new(log: Recipe, store: Store) -> None:
    result = ingest(log, store, LOG + "2020-05-01,5,insert,2020-06-10T06:00Z\n", now=LATER)

    assert (result.num_new, result.num_revised) == (1, 0)
    assert known(log, store, "2020-05-02T12:00") == [1, 2.5]
    np.testing.assert_array_equal(known(log, store, None), [1, 2.5, 3.5, np.nan, 5])
    assert len(store.batches.known_instants("milk")) == 9


def test_what_a_run_saw_does_not_change_when_older_versions_are_loaded_later(log: Recipe, store: Store) -> None:
    as_of = datetime(2020, 4, 11, tzinfo=UTC)
    recorded_by = store.batches.last_recorded_at("milk")
    before, live = load_panel(log, store, as_of, recorded_by=recorded_by), load_panel(log, store, None)

    ingest(log, store, LOG + "2020-01-01,1.5,update,2020-03-01T00:00Z\n2019-12-01,9,insert,2020-01-10\n", now=LATER)

    assert load_panel(log, store, as_of, recorded_by=recorded_by).data_hash == before.data_hash
    assert load_panel(log, store, live.as_of, recorded_by=None).data_hash == live.data_hash
    assert known(log, store, "2020-04-11") == [9, 1.5, 2, 3]
    assert known(log, store, "2020-02-11") == [9, 1]


def test_an_older_vintage_that_is_loaded_later_does_not_become_current(store: Store, tmp_path: Path) -> None:
    recipe = register(store, tmp_path, vintage="%Y-%m")
    ingest(recipe, store, "month,sold\n2020-01-01,10\n2020-02-01,20\n", file="milk_2021-06.csv")
    ingest(recipe, store, "month,sold\n2020-01-01,11\n2019-12-01,5\n", file="milk_2020-03.csv", now=LATER)

    assert known(recipe, store, "2020-04-01") == [5, 11]
    assert known(recipe, store, "2021-07-01") == [5, 10, 20]
    assert current(store) == {"2019-12-01": 5, "2020-01-01": 10, "2020-02-01": 20}


def test_a_folder_of_vintages_at_once_is_read_in_the_order_of_its_dates(store: Store, tmp_path: Path) -> None:
    (tmp_path / "milk_2020-03.csv").write_text("month,sold\n2020-01-01,1\n2020-02-01,2\n")
    recipe = register(store, tmp_path, vintage="%Y-%m")
    result = ingest(
        recipe, store, "month,sold\n2020-01-01,1.5\n2020-02-01,2.5\n2020-03-01,3\n", file="milk_2020-04.csv"
    )

    assert (result.num_new, result.num_revised, result.num_rejected) == (3, 2, 0)
    assert known(recipe, store, "2020-03-15") == [1, 2]
    assert known(recipe, store, None) == [1.5, 2.5, 3]


def test_vintages_as_in_alfred_are_read_by_their_real_time_start(store: Store, tmp_path: Path) -> None:
    recipe = register(store, tmp_path, known_at="realtime_start", period="date", value="value", series="series")
    text = "series,date,realtime_start,realtime_end,value\n"
    text += "GDP,2020-01-01,2020-04-29,2020-05-27,19.02\nGDP,2020-01-01,2020-05-28,9999-12-31,18.98\n"
    ingest(recipe, store, text)

    assert known(recipe, store, "2020-05-27") == [19.02]
    assert known(recipe, store, "2020-05-28") == [18.98]


def test_daily_snapshots_of_overlapping_windows(store: Store, tmp_path: Path) -> None:
    for day in range(2, 6):
        lines = [f"2024-03-{d:02d},{100 * d + day}" for d in range(max(1, day - 3), day)]
        (tmp_path / f"stock_202403{day:02d}.csv").write_text("\n".join(["month,sold", *lines]) + "\n")
    recipe = register(store, tmp_path, frequency="D", vintage="%Y%m%d", rolling=True)
    ingest_source(recipe, store, NOW)

    assert known(recipe, store, "2024-03-03") == [103, 203]
    assert known(recipe, store, None) == [104, 205, 305, 405]


def test_hours_with_a_zone_are_known_at_local_times(store: Store, tmp_path: Path) -> None:
    recipe = register(store, tmp_path, frequency="h", zone="Europe/Amsterdam", known_at="seen")
    ingest(recipe, store, "month,sold,seen\n2024-01-01T12:00,1,2024-01-01 13:05\n2024-01-01T12:00,2,2024-01-01 14:05\n")

    assert known(recipe, store, "2024-01-01T12:04") == []
    assert known(recipe, store, "2024-01-01T12:05") == [1]
    assert known(recipe, store, "2024-01-01T13:05") == [2]


def test_with_a_publication_lag_each_value_is_known_so_long_after_its_period(store: Store, tmp_path: Path) -> None:
    recipe = register(store, tmp_path, publication_lag="P15D")
    ingest(recipe, store, "month,sold\n1974-01-01,1\n1974-02-01,2\n1974-03-01,3\n")

    assert known(recipe, store, "1974-02-15") == []
    assert known(recipe, store, "1974-02-16") == [1]
    assert known(recipe, store, "1974-04-15") == [1, 2]
    assert known(recipe, store, None) == [1, 2, 3]

    ingest(recipe, store, "month,sold\n1974-01-01,1\n1974-02-01,2.5\n1974-03-01,3\n1974-04-01,4\n", now=LATER)
    assert known(recipe, store, "1974-06-01") == [1, 2, 3]  # what arrives later is known when it arrives
    assert known(recipe, store, None) == [1, 2.5, 3, 4]


def test_changing_the_future_changes_nothing_that_was_known_before(store: Store, tmp_path: Path) -> None:
    recipe = register(store, tmp_path, publication_lag="P1M")
    ingest(recipe, store, "month,sold\n" + "".join(f"1974-{m:02d}-01,{m}\n" for m in range(1, 13)))
    before = [known(recipe, store, f"1974-{m:02d}-02") for m in range(3, 10)]

    changed = "".join(f"1974-{m:02d}-01,{m if m < 9 else 99}\n" for m in range(1, 13))
    ingest(recipe, store, "month,sold\n" + changed, now=LATER)

    assert [known(recipe, store, f"1974-{m:02d}-02") for m in range(3, 10)] == before
    assert [len(values) for values in before] == list(range(1, 8))


def test_a_log_without_instants_counts_in_the_order_of_its_rows(store: Store, tmp_path: Path) -> None:
    recipe = register(store, tmp_path, operation="op")
    ingest(recipe, store, "month,sold,op\n2020-01-01,1,I\n2020-02-01,2,I\n2020-01-01,1.5,U\n2020-02-01,2,D\n")

    assert current(store) == {"2020-01-01": 1.5}


def test_a_covariate_that_is_a_forecast_has_its_own_vintages(store: Store, tmp_path: Path) -> None:
    recipe = build_recipe(
        "milk", folder=tmp_path, source={"known_at": "at"}, covariates={"future": ["rain"]}, horizon=1
    )
    store.recipes.register(recipe)
    lines = ["2020-01-01,1,5,2020-02-03", "2020-02-01,,8,2020-02-03", "2020-02-01,2,7,2020-03-03"]
    (tmp_path / "milk.csv").write_text("\n".join(["month,sold,rain,at", *lines]) + "\n")
    ingest_source(recipe, store, NOW)

    early = store.observations.panel(recipe, datetime(2020, 2, 4, tzinfo=UTC), recorded_by=LATEST)
    late = store.observations.panel(recipe, LATEST)

    assert early is not None
    assert late is not None
    assert early.future["rain"].tolist() == [5, 8]
    assert late.future["rain"].tolist()[:2] == [5, 7]


FAULTS = {
    "is no date or instant": "2020-02-01,2,insert,soon",
    "lies in the future": "2020-02-01,2,insert,2031-01-01",
    "begins after the row was known": "2020-02-01,2,insert,2020-01-05",
    "is no operation": "2020-02-01,2,exploded,2020-03-05",
}


@pytest.mark.parametrize("rule", FAULTS)
def test_a_row_with_a_faulty_instant_or_operation_is_quarantined(store: Store, tmp_path: Path, rule: str) -> None:
    recipe = register(store, tmp_path, known_at="arrived", operation="op")
    result = ingest(recipe, store, f"month,sold,op,arrived\n2020-01-01,1,insert,2020-02-05\n{FAULTS[rule]}\n")

    assert (result.num_new, result.num_rejected) == (1, 1)
    assert rule in str(rows(store.database, "select rule from rejected_observations"))


def test_files_without_a_date_in_their_name_are_refused(store: Store, tmp_path: Path) -> None:
    recipe = register(store, tmp_path, vintage="%Y-%m")

    with pytest.raises(
        BatchRefused, match=r'has no date in its name: expected one like 2026-11 \(source.vintage = "%Y-%m"\)'
    ):
        ingest(recipe, store, "month,sold\n2020-01-01,1\n")


def test_a_column_that_is_not_there_is_named(store: Store, tmp_path: Path) -> None:
    recipe = register(store, tmp_path, known_at="arrived")

    with pytest.raises(BatchRefused, match='has no column "arrived"'):
        ingest(recipe, store, "month,sold\n2020-01-01,1\n")
