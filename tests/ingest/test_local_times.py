"""Local times around both changes of the clocks become UTC; those that are skipped or ambiguous are rejected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.recipe import Recipe
from pipeline.errors import InvalidRecipe
from pipeline.ingest.timezones import local_to_utc, utc_to_local
from tests.support.deliveries import delivery_of, ingest_delivery, recipe_of, refusal

PJM = Path(__file__).parents[3] / "shared" / "data" / "real" / "pjm_hourly_load.parquet"

#: skipped and repeated local times in the zone, with what they could be in UTC
CHANGES = [
    ("Europe/Amsterdam", "2024-03-31 02:30", "00:30Z", "01:30Z", "2024-10-27 02:30", "00:30Z", "01:30Z"),
    ("America/New_York", "2024-03-10 02:30", "06:30Z", "07:30Z", "2024-11-03 01:30", "05:30Z", "06:30Z"),
    ("Australia/Lord_Howe", "2024-10-06 02:00", "15:00Z", "15:30Z", "2024-04-07 01:30", "14:30Z", "15:00Z"),
    ("America/Santiago", "2024-09-08 00:30", "03:30Z", "04:30Z", "2024-04-06 23:30", "02:30Z", "03:30Z"),
]
ZONES = [change[0] for change in CHANGES]


def recipe_in(zone: str, frequency: str = "h", more: str = "") -> Recipe:
    return recipe_of(f'zone = "{zone}"\n{more}', frequency=frequency)


def local_year(zone: str, minutes: int, year: int = 2024) -> list[tuple[str, str, str]]:
    """Every period of a local year as it is written there, with its fold."""
    start = datetime(year, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    end = datetime(year + 1, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    rows = []
    while start < end:
        local = start.astimezone(ZoneInfo(zone))
        rows.append((local.strftime("%Y-%m-%d %H:%M"), str(len(rows)), str(local.fold)))
        start += timedelta(minutes=minutes)
    return rows


@pytest.mark.parametrize(("zone", "skipped", "earlier", "later"), [change[:4] for change in CHANGES], ids=ZONES)
def test_a_time_that_the_clocks_skip_is_rejected_with_both_candidates(
    zone: str, skipped: str, earlier: str, later: str
) -> None:
    error = refusal(delivery_of([(skipped, "1")]), recipe_in(zone, "30min"))

    assert f'line 2, column month: "{skipped}" does not exist in {zone}, whose clocks skip it: ' in str(error)
    assert f"{earlier} or " in str(error)
    assert f"{later}?" in str(error)


@pytest.mark.parametrize(
    ("zone", "twice", "earlier", "later"), [(change[0], *change[4:]) for change in CHANGES], ids=ZONES
)
def test_a_time_that_happens_twice_is_rejected_with_both_candidates(
    zone: str, twice: str, earlier: str, later: str
) -> None:
    error = refusal(delivery_of([(twice, "1")]), recipe_in(zone, "30min"))

    assert f'line 2, column month: "{twice}" happens twice in {zone}: ' in str(error)
    assert f"{earlier} or " in str(error)
    assert (
        f"{later}? expected both in the order of time, source.fold, or an offset in each row; 1 of 1 row rejected"
        in str(error)
    )


@pytest.mark.parametrize(("zone", "skipped"), [change[:2] for change in CHANGES], ids=ZONES)
def test_a_fold_does_not_make_a_skipped_time_exist(zone: str, skipped: str) -> None:
    rows = [(skipped, "1", "0"), (skipped, "1", "1")]

    error = refusal(delivery_of(rows, ("month", "sold", "fold")), recipe_in(zone, "30min", 'fold = "fold"'))

    assert str(error).count("does not exist") == 1
    assert len(error.rejections) == 2


@pytest.mark.parametrize("fold", ["", "2", "x"])
def test_a_fold_is_needed_only_where_a_time_happens_twice(fold: str) -> None:
    columns, recipe = ("month", "sold", "fold"), recipe_in("Europe/Amsterdam", more='fold = "fold"')

    assert ingest_delivery(delivery_of([("2024-06-01 12:00", "1", fold)], columns), recipe).periods == [
        "2024-06-01T10:00"
    ]
    error = refusal(delivery_of([("2024-10-27 02:00", "1", fold)], columns), recipe)
    assert "2024-10-27T00:00Z or 2024-10-27T01:00Z? expected 0 or 1 in the column fold" in str(error)


@pytest.mark.parametrize(
    "spelled", [("0", "1"), ("false", "true"), ("False", "True"), (False, True), (0, 1), (0.0, 1.0)]
)
def test_the_fold_may_be_spelled_in_any_usual_way(spelled: tuple[object, object]) -> None:
    rows = [("2024-10-27 02:00", "5", fold) for fold in spelled]
    types = [pa.string(), pa.string(), pa.array([spelled[0]]).type]

    ingested = ingest_delivery(
        delivery_of(rows, ("month", "sold", "fold"), types=types), recipe_in("Europe/Amsterdam", more='fold = "fold"')
    )

    assert ingested.periods == ["2024-10-27T00:00", "2024-10-27T01:00"]


@pytest.mark.parametrize("year", [2023, 2024])
@pytest.mark.parametrize("minutes", [30, 60])
@pytest.mark.parametrize("zone", ZONES)
def test_a_whole_local_year_with_its_folds_has_no_gap(zone: str, minutes: int, year: int) -> None:
    rows = local_year(zone, minutes, year)
    if zone == "Australia/Lord_Howe":
        minutes, rows = 30, local_year(zone, 30, year)

    ingested = ingest_delivery(
        delivery_of(rows, ("month", "sold", "fold")),
        recipe_in(zone, f"{minutes}min", 'fold = "fold"'),
    )

    hours = 8784 if year == 2024 else 8760
    start = datetime(year, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)
    assert len(ingested.new) == hours * 60 // minutes
    assert ingested.values == list(range(len(rows)))
    steps = np.arange(len(rows)) * np.timedelta64(minutes, "m")
    assert ingested.periods == [str(one)[:16] for one in np.datetime64(start, "us") + steps]


@pytest.mark.parametrize(
    ("zone", "minutes"), [("Europe/Amsterdam", 60), ("America/New_York", 60), ("Australia/Lord_Howe", 30)]
)
def test_without_folds_the_order_of_the_rows_tells_them(zone: str, minutes: int) -> None:
    rows = local_year(zone, minutes)
    with_folds = ingest_delivery(
        delivery_of(rows, ("month", "sold", "fold")), recipe_in(zone, f"{minutes}min", 'fold = "fold"')
    )

    ingested = ingest_delivery(delivery_of([row[:2] for row in rows]), recipe_in(zone, f"{minutes}min"))

    assert ingested.rejections == ()
    assert ingested.new == with_folds.new


def test_an_offset_in_the_text_needs_no_zone_and_no_fold() -> None:
    rows = [("2024-10-27T02:00:00+02:00", "1"), ("2024-10-27T02:00:00+01:00", "2"), ("2024-10-27T03:00:00+01:00", "3")]

    for source in ("", 'zone = "Europe/Amsterdam"'):
        ingested = ingest_delivery(delivery_of(rows), recipe_of(source, frequency="h"))

        assert ingested.periods == ["2024-10-27T00:00", "2024-10-27T01:00", "2024-10-27T02:00"]
        assert ingested.values == [1, 2, 3]


def test_naive_and_offset_times_are_not_mixed() -> None:
    naive_first = refusal(
        delivery_of([("2024-06-01 10:00:00", "1"), ("2024-06-01 11:00:00+00:00", "2")]), recipe_of(frequency="h")
    )
    offset_first = refusal(
        delivery_of([("2024-06-01 10:00:00Z", "1"), ("2024-06-01 11:00:00", "2")]), recipe_of(frequency="h")
    )

    assert (
        'line 3, column month: "2024-06-01 11:00:00+00:00" is not a period: expected YYYY-MM-DD hh:mm:ss, as in'
        in str(naive_first)
    )
    assert 'line 3, column month: "2024-06-01 11:00:00" is not a period: expected YYYY-MM-DD hh:mm:ss±hh:mm, as' in str(
        offset_first
    )


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_typed_timestamps_are_local_without_a_zone_and_instants_with_one(unit: str) -> None:
    rows = [(datetime(2024, 6, 1, 12), "1"), (datetime(2024, 6, 1, 13), "2")]
    recipe = recipe_in("Europe/Amsterdam")

    naive = ingest_delivery(delivery_of(rows, types=[pa.timestamp(unit), pa.string()]), recipe)
    aware = ingest_delivery(delivery_of(rows, types=[pa.timestamp(unit, "America/New_York"), pa.string()]), recipe)

    assert naive.periods == ["2024-06-01T10:00", "2024-06-01T11:00"]
    assert aware.periods == ["2024-06-01T12:00", "2024-06-01T13:00"]


def test_a_typed_time_that_happens_twice_shows_its_text() -> None:
    rows = [(datetime(2024, 10, 27, 2), "1")]

    error = refusal(delivery_of(rows, types=[pa.timestamp("us"), pa.string()]), recipe_in("Europe/Amsterdam"))

    assert 'line 2, column month: "2024-10-27 02:00:00" happens twice in Europe/Amsterdam: ' in str(error)


@pytest.mark.parametrize(
    ("frequency", "periods"), [("D", ["2024-10-26", "2024-10-27", "2024-10-28"]), ("MS", ["2024-03", "2024-04"])]
)
def test_days_and_months_are_not_converted_to_utc(frequency: str, periods: list[str]) -> None:
    ingested = ingest_delivery(
        delivery_of([(period, "1") for period in periods]), recipe_in("Europe/Amsterdam", frequency)
    )

    assert [period[: len(periods[0])] for period in ingested.periods] == periods
    assert {period[-5:] for period in ingested.periods} == {"00:00"}


def test_instants_of_local_midnights_become_local_days() -> None:
    midnights = [datetime(2024, 10, 26 + n, tzinfo=ZoneInfo("Europe/Amsterdam")) for n in range(4)]
    texts = [(one.isoformat(), "1") for one in midnights]
    typed = [(one, "1") for one in midnights]

    for rows, types in ((texts, ()), (typed, [pa.timestamp("us", "UTC"), pa.string()])):
        ingested = ingest_delivery(delivery_of(rows, types=types), recipe_in("Europe/Amsterdam", "D"))

        assert [period[:10] for period in ingested.periods] == [
            str(date(2024, 10, 26) + timedelta(n)) for n in range(4)
        ]


def test_instants_of_local_midnights_need_a_zone_from_the_first_delivery_on() -> None:
    midnights = [datetime(2024, 10, 20 + n, tzinfo=ZoneInfo("Europe/Amsterdam")) for n in range(10)]

    for count in (5, 10):  # before and after the change of the clocks
        rows = [(one.isoformat(), "1") for one in midnights[:count]]

        assert 'for example zone = "Europe/Paris"' in str(refusal(delivery_of(rows), recipe_of(frequency="D")))


WITHIN = st.datetimes(datetime(1950, 1, 1), datetime(2090, 12, 30))


@given(
    local=st.lists(WITHIN, min_size=1, max_size=20),
    zone=st.sampled_from([*ZONES, "Europe/Dublin", "Asia/Kathmandu", "UTC"]),
)
@settings(max_examples=300, deadline=None)
def test_any_local_time_means_the_instants_that_zoneinfo_says(local: list[datetime], zone: str) -> None:
    first, second = local_to_utc(np.array(local, "datetime64[us]"), ZoneInfo(zone))

    for n, one in enumerate(local):
        both = [one.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1)]
        exists = both[0].astimezone(ZoneInfo(zone)).replace(tzinfo=None) == one
        expected = [np.datetime64(moment.replace(tzinfo=None), "us") for moment in both]
        assert [first[n], second[n]] == expected if exists else np.isnat([first[n], second[n]]).all()


@given(
    day=st.integers(0, 366 * 60),
    minutes=st.lists(st.integers(0, 1439), min_size=1, max_size=30),
    zone=st.sampled_from(ZONES),
)
@settings(max_examples=200, deadline=None)
def test_any_instant_has_the_local_time_that_zoneinfo_says(day: int, minutes: Sequence[int], zone: str) -> None:
    midnight = datetime(1975, 1, 1, tzinfo=UTC) + timedelta(days=day)
    instants = [midnight + timedelta(minutes=minute) for minute in minutes]

    local = utc_to_local(np.array([one.replace(tzinfo=None) for one in instants], "datetime64[us]"), ZoneInfo(zone))

    assert local.tolist() == [one.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for one in instants]


def test_a_missing_time_stays_missing() -> None:
    missing = np.array(["2024-06-01T12:00", "NaT"], "datetime64[us]")

    for converted in (*local_to_utc(missing, ZoneInfo("Asia/Kathmandu")), utc_to_local(missing, ZoneInfo("UTC"))):
        assert np.isnat(converted).tolist() == [False, True]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("end", [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59)])
def test_a_time_at_an_end_of_the_calendar_is_converted_or_missing(end: datetime, zone: str) -> None:
    moments = np.array([end], "datetime64[us]")

    first, second = local_to_utc(moments, ZoneInfo(zone))
    local = utc_to_local(moments, ZoneInfo(zone))

    try:
        expected = np.datetime64(end - (end.replace(tzinfo=ZoneInfo(zone)).utcoffset() or timedelta()), "us")
    except OverflowError:
        expected = np.datetime64("NaT", "us")
    np.testing.assert_array_equal([*first, *second], [expected, expected])
    assert np.isnat(local).all() != np.isnat(first).all()


@pytest.mark.parametrize(
    ("zone", "period"), [("America/New_York", "9999-12-31 23:00"), ("Europe/Amsterdam", "0001-01-01 00:00")]
)
def test_a_time_whose_instant_no_calendar_holds_is_rejected(zone: str, period: str) -> None:
    error = refusal(delivery_of([(period, "1")]), recipe_in(zone))

    assert f'"{period}" is outside the years 1 to 9999 when {zone} is converted to UTC' in str(error)


def pjm_rows() -> list[tuple[str, str]]:
    """Hours of one area of PJM in its local wall time, in which one hour of each autumn is repeated."""
    if PJM.exists():
        table = pq.read_table(PJM, filters=[("region", "==", "AEP")]).to_pandas()
        return [(str(row.ts_local), str(row.load_mw)) for row in table.itertuples()]
    return [
        (row[0] + ":00", str(float(row[1])))
        for year in (2015, 2016)
        for row in local_year("America/New_York", 60, year)
    ]


def test_real_wall_times_lose_only_what_is_unclear() -> None:
    rows = pjm_rows()
    recipe = recipe_of('zone = "America/New_York"\nmax_rejected = 0.01', top="max_gap = 48", frequency="h")
    table = pd.DataFrame(rows, columns=["period", "value"])
    index = pd.DatetimeIndex(table.period)
    exists = index.tz_localize("America/New_York", ambiguous=np.ones(len(index), bool), nonexistent="NaT").notna()
    is_repeated = exists & index.tz_localize("America/New_York", ambiguous="NaT", nonexistent="NaT").isna()
    occurrences = table.groupby("period").value.transform("count")
    is_conflict = ~is_repeated & (table.groupby("period").value.transform("nunique") > 1)
    is_faulty = ~exists | (is_repeated & (occurrences != 2)) | is_conflict

    ingested = ingest_delivery(delivery_of(rows), recipe)

    assert len(ingested.rejections) == is_faulty.sum()
    assert len(ingested.new) == len(table[~is_faulty & is_repeated]) + table[~is_faulty & ~is_repeated].period.nunique()


@pytest.mark.parametrize("style", ["%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M", "typed"])
def test_hours_that_are_named_by_their_end_are_complete_on_both_changes_of_the_clocks(style: str) -> None:
    starts = pd.date_range("2023-12-31 23:00", "2024-12-31 22:00", freq="h", tz="UTC")
    labels = starts.tz_convert("Europe/Berlin").tz_localize(None) + pd.Timedelta("1h")
    is_typed = style == "typed"
    periods = labels.to_pydatetime().tolist() if is_typed else labels.strftime(style).tolist()
    rows = [(period, str(n)) for n, period in enumerate(periods)]
    delivery = delivery_of(rows, types=[pa.timestamp("us"), pa.string()] if is_typed else ())

    ingested = ingest_delivery(delivery, recipe_of('zone = "Europe/Berlin"\nlabel = "end"', frequency="h"))

    assert ingested.rejections == ()
    assert ingested.periods == starts.strftime("%Y-%m-%dT%H:%M").tolist()
    assert ingested.values == list(range(len(starts)))


def test_hours_named_by_24_00_belong_to_their_day() -> None:
    rows = [(f"2024-01-0{day} {hour:02d}:00", str(hour)) for day in (1, 2) for hour in range(1, 25)]

    ingested = ingest_delivery(delivery_of(rows), recipe_of('label = "end"', frequency="h"))

    assert ingested.periods == [f"2024-01-0{day}T{hour:02d}:00" for day in (1, 2) for hour in range(24)]


def test_a_skipped_hour_whose_next_one_is_absent_asks_whether_ends_are_named() -> None:
    rows = [(f"2024-03-31 {hour:02d}:00", str(hour)) for hour in (1, 2, *range(4, 24))]

    error = refusal(delivery_of(rows), recipe_of('zone = "Europe/Berlin"\nmax_rejected = 0.0', frequency="h"))

    assert 'If periods are named by their end, set source.label = "end"' in str(error)


def test_the_end_as_a_label_is_refused_for_days() -> None:
    with pytest.raises(InvalidRecipe, match=r'source.label = "end" is for periods within a day, but frequency is "D"'):
        recipe_of('label = "end"', frequency="D")
