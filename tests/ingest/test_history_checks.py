"""A batch that drops, shifts, rescales or rewrites the history is held; one that only looks odd is accepted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld
from pipeline.ingest.history_checks import weighted_median_quotients
from tests.support.deliveries import Ingested, Key, delivery_of, ingest_delivery, recipe_of, refusal

Floats = npt.NDArray[np.float64]
Rows = list[tuple[str, str, str]]

SHOPS = recipe_of('series = "shop"')


def walk(length: int = 60, seed: int = 0) -> Floats:
    """Values of which no two are the same, to two decimals."""
    steps = np.random.default_rng(seed).normal(0, 5, length)
    return np.round(200 + np.cumsum(steps), 2)


def stamps(length: int, frequency: str = "MS", start: str = "2000-01-01") -> list[str]:
    first = np.datetime64(start, "us")
    return [str(one)[:16] for one in np.append(first, recipe_of(frequency=frequency).grid.after(first, length - 1))]


def rows(values: Floats, periods: list[str], shop: str = "a") -> Rows:
    return [(period, repr(float(value)), shop) for period, value in zip(periods, values, strict=True)]


def stored_values(delivered: Rows) -> dict[Key, float]:
    return {
        (shop, period if len(period) > 10 else f"{period}T00:00"): float(value) for period, value, shop in delivered
    }


def message(delivered: Rows, stored: Rows, recipe: Recipe = SHOPS, *, incremental: bool = False) -> str:
    error = refusal(delivery_of(delivered, incremental=incremental), recipe, stored_values(stored))
    assert isinstance(error, BatchHeld)
    assert str(error).startswith("small.csv: ")
    advice = "; nothing was ingested; if this is right, run `nextperiod ingest small --approve`"
    assert str(error).endswith(advice)
    assert len(error.rejections) == 1
    return str(error).removeprefix("small.csv: ").removesuffix(advice)


def ingest_accepted(delivered: Rows, stored: Rows, recipe: Recipe = SHOPS, *, incremental: bool = False) -> Ingested:
    return ingest_delivery(delivery_of(delivered, incremental=incremental), recipe, stored_values(stored))


# values that a source must repeat


def test_a_history_of_which_more_than_a_twentieth_is_missing_is_held() -> None:
    stored = rows(walk(), stamps(60))

    assert message(stored[4:], stored) == (
        "only 56 of 60 stored values are delivered again; expected at least 95 %: has the source lost rows? "
        "(set source.rolling = true if it shows a moving window)"
    )
    assert ingest_accepted(stored[3:], stored).num_same == 57


def test_missing_series_count_as_missing_values() -> None:
    every = [rows(walk(10), stamps(10), f"shop {n}") for n in range(20)]
    stored = [row for shop in every for row in shop]

    assert "only 180 of 200 stored values" in message(stored[20:], stored)
    assert ingest_accepted(stored[10:], stored).num_same == 190


def test_a_new_series_does_not_replace_a_missing_one() -> None:
    stored = rows(walk(20), stamps(20), "a") + rows(walk(20), stamps(20), "b")

    assert "only 20 of 40 stored values" in message(stored[:20] + rows(walk(20), stamps(20), "c"), stored)


def test_a_moving_window_must_repeat_values_from_its_first_period_on() -> None:
    stored, recipe = rows(walk(), stamps(60)), recipe_of('series = "shop"\nrolling = true')

    assert ingest_accepted(stored[48:], stored, recipe).num_same == 12
    assert "only 11 of 12 stored values" in message(stored[48:53] + stored[54:], stored, recipe)


def test_an_incremental_delivery_need_not_repeat_the_history() -> None:
    stored = rows(walk(), stamps(60))

    assert ingest_accepted(stored[58:], stored, incremental=True).num_same == 2


# shifts


@pytest.mark.parametrize("lag", [1, -1])
@pytest.mark.parametrize("frequency", ["MS", "D", "W-SUN", "QS", "B"])
def test_a_history_shifted_by_one_period_is_held(frequency: str, lag: int) -> None:
    values, periods = walk(), stamps(60, frequency, "2000-01-02" if frequency == "W-SUN" else "2001-01-01")
    recipe = recipe_of('series = "shop"', frequency=frequency)
    delivered = rows(values[:-1], periods[1:]) if lag > 0 else rows(values[1:], periods[:-1])

    reason = message(delivered, rows(values, periods), recipe)

    assert reason == f'the values of series "a" match the stored ones shifted by {lag:+d} period'


@pytest.mark.parametrize(
    ("frequency", "lag", "says"),
    [
        ("h", 1, "+1 h"),
        ("h", -1, "-1 h"),
        ("h", 2, "+2 h"),
        ("h", -24, "-24 h"),
        ("30min", 1, "+30 min"),
        ("30min", -4, "-2 h"),
        ("15min", 23, "+345 min"),
        ("min", 5, "+5 min"),
    ],
)
def test_hours_shifted_by_an_offset_of_a_zone_are_held(frequency: str, lag: int, says: str) -> None:
    values, periods = walk(200), stamps(200 + abs(lag), frequency)
    recipe = recipe_of('series = "shop"', frequency=frequency)
    first, second = (periods[: len(values)], periods[abs(lag) :]) if lag > 0 else (periods[abs(lag) :], periods[:200])

    reason = message(rows(values, second), rows(values, first), recipe.model_copy(update={"max_gap": 100}))

    assert reason == f'the values of series "a" match the stored ones shifted by {says}'


def test_days_shifted_by_two_are_not_recognised() -> None:
    values, periods = walk(), stamps(60, "D")
    recipe = recipe_of('series = "shop"\nmax_revised = 1.0', frequency="D")

    assert len(ingest_accepted(rows(values[:-2], periods[2:]), rows(values, periods), recipe).revised) == 58


def test_a_shift_of_several_series_counts_them() -> None:
    every = {name: walk(seed=n) for n, name in enumerate(("c", "a", "b"))}
    stored = [row for name, values in every.items() for row in rows(values, stamps(60), name)]
    delivered = rows(every["c"], stamps(60), "c")
    delivered += [row for name in ("b", "a") for row in rows(every[name][:-1], stamps(60)[1:], name)]

    reason = message(delivered, stored)

    assert reason == (
        'the values of series "a" match the stored ones shifted by +1 period, and so do those of 1 other series'
    )


def test_a_shift_is_found_beside_revisions_and_gaps() -> None:
    values, periods = walk(100), stamps(100)
    delivered = rows(values[:-1], periods[1:])
    delivered = [row if n % 25 else (row[0], "7.0", "a") for n, row in enumerate(delivered) if n not in (40, 41)]

    reason = message(delivered, rows(values, periods), SHOPS.model_copy(update={"max_gap": 5}))

    assert "shifted by +1 period" in reason


def test_new_values_that_follow_a_shift_do_not_hide_it() -> None:
    values, periods = walk(64), stamps(64)

    assert "shifted by +1 period" in message(rows(values[:63], periods[1:]), rows(values[:60], periods[:60]))


# factors


@pytest.mark.parametrize(
    ("new", "old", "median"),
    [
        ([3, 4, 5], [1, 2, 10], 0.5),
        ([5, 3, 4], [10, 1, 2], 0.5),
        ([2, 4, 6], [1, 1, 1], 4),
        ([2, 4, 6, 8], [1, 1, 1, 1], 4),
        ([1, 6, 6], [1, 2, 2], 3),
        ([-3, -4, -5], [-1, -2, -10], 0.5),
        ([-2, -4], [1, 2], -2),
        ([7, 4], [0, 2], 2),
        ([0, 0], [3, 4], 0),
    ],
    ids=[
        "the large value weighs most",
        "in any order",
        "equal weights",
        "the lower of two middle ones",
        "half of the weights is reached in the middle",
        "negative values weigh by their size",
        "a negative quotient",
        "old zeros are left out",
        "new zeros",
    ],
)
def test_the_weighted_median_of_quotients_by_hand(new: list[float], old: list[float], median: float) -> None:
    medians = weighted_median_quotients(np.array(new, float), np.array(old, float), np.zeros(len(new), np.int64), 1)

    assert medians.tolist() == [median]


def test_each_series_has_a_weighted_median_of_its_own() -> None:
    new, old = np.array([3.0, 4, 5, 9, 1, 10, 30]), np.array([1.0, 2, 10, 0, 0, 10, 10])

    medians = weighted_median_quotients(new, old, np.array([0, 0, 0, 1, 1, 3, 3]), 5)

    np.testing.assert_array_equal(medians, [0.5, np.nan, np.nan, 1, np.nan])


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(-9, 9), st.integers(-9, 9)), max_size=30).map(sorted),
)
def test_the_weighted_median_is_what_a_loop_over_the_quotients_says(rows: list[tuple[int, int, int]]) -> None:
    series, new, old = (np.array([row[n] for row in rows], np.float64) for n in range(3))

    medians = weighted_median_quotients(new, old, series.astype(np.int64), 4)

    for s in range(4):
        quotients = sorted((n / o, abs(o)) for number, n, o in rows if number == s and o)
        half, reached, expected = sum(weight for _, weight in quotients) / 2, 0, np.nan
        for quotient, weight in quotients:
            reached += weight
            if reached >= half:
                expected = quotient
                break
        np.testing.assert_array_equal(medians[s], expected)


def rescaled(factor: float, decimals: int | None) -> Callable[[Floats], Floats]:
    return lambda values: values * factor if decimals is None else np.round(values * factor, decimals)


@pytest.mark.parametrize("decimals", [None, 2, 0])
@pytest.mark.parametrize(
    ("factor", "shown"), [(0.5, "0.5"), (1000.0, "1000"), (1.19, "1.19"), (-1.0, "-1"), (1 / 7, "0.143")]
)
def test_a_rescaled_history_is_held_however_it_is_rounded(factor: float, shown: str, decimals: int | None) -> None:
    values = walk()

    reason = message(rows(rescaled(factor, decimals)(values), stamps(60)), rows(values, stamps(60)))

    assert reason == f'the values of series "a" are the stored ones times {shown}'


def test_one_split_share_among_many_is_held() -> None:
    every = {f"share {n:03d}": walk(seed=n) for n in range(100)}
    stored = [row for name, values in every.items() for row in rows(values, stamps(60), name)]
    every["share 042"] = np.round(every["share 042"] / 20, 2)
    delivered = [row for name, values in every.items() for row in rows(values, stamps(60), name)]

    assert message(delivered, stored) == 'the values of series "share 042" are the stored ones times 0.05'


def test_halved_prices_are_recognised_though_rounded_to_cents() -> None:
    values = np.round(np.abs(np.random.default_rng(0).normal(2, 1, 200)) + 0.2, 2)

    assert "times 0.5" in message(rows(np.round(values / 2, 2), stamps(200)), rows(values, stamps(200)))


def test_zeros_stay_zeros_under_any_factor() -> None:
    values = walk()
    values[::3] = 0

    assert "are the stored ones times 2" in message(rows(values * 2, stamps(60)), rows(values, stamps(60)))


def test_new_values_after_a_split_do_not_hide_it() -> None:
    values = walk(63)
    delivered = np.append(values[:60] / 2, values[60:] / 2)

    assert "times 0.5" in message(rows(delivered, stamps(63)), rows(values[:60], stamps(60)))


# revisions


def test_more_revisions_than_the_recipe_expects_are_held() -> None:
    values, periods = walk(), stamps(60)
    revised = values.copy()
    revised[:31] += np.round(np.random.default_rng(1).normal(0, 20, 31), 2)

    reason = message(rows(revised, periods), rows(values, periods))

    assert reason == "31 of 60 stored values are revised, expected at most 50 % (source.max_revised)"
    allowed = recipe_of('series = "shop"\nmax_revised = 0.52')
    assert len(ingest_accepted(rows(revised, periods), rows(values, periods), allowed).revised) == 31


def test_a_few_values_may_all_be_revised() -> None:
    values = walk(7)

    assert len(ingest_accepted(rows(values + 1, stamps(7)), rows(values, stamps(7))).revised) == 7


def test_covariates_known_ahead_may_be_revised_without_limit() -> None:
    recipe = recipe_of('series = "shop"', rest='[covariates]\nfuture = ["price"]')
    periods = stamps(30)
    stored = stored_values(rows(walk(30), periods)) | {("a", f"{p}"[:10] + "T00:00", "price"): 1.0 for p in periods}
    delivered = [(p, value, "a", "2.0") for p, value, _ in rows(walk(30), periods)]

    ingested = ingest_delivery(delivery_of(delivered, ("month", "sold", "shop", "price")), recipe, stored)

    assert (len(ingested.revised), ingested.num_same) == (30, 30)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda g: np.full(200, 5.0), lambda v, g: np.where(g.random(200) < 0.4, 6.0, v)),
        (lambda g: g.integers(0, 4, 200), lambda v, g: np.where(g.random(200) < 0.45, g.integers(0, 4, 200), v)),
        (lambda g: g.poisson(0.3, 200), lambda v, g: np.where(g.random(200) < 0.45, g.poisson(0.3, 200), v)),
        (lambda g: g.integers(50, 150, 200), lambda v, g: v + g.integers(-1, 2, 200) * (g.random(200) < 0.7)),
        (lambda g: np.tile([1.0, 2, 3, 4], 50), lambda v, g: v + (np.arange(200) >= 180)),
        (lambda g: g.normal(100, 10, 200), lambda v, g: np.where(np.arange(200) < 90, v * 1.1, v)),
    ],
    ids=["constant", "small counts", "mostly zeros", "rounding", "a periodic one", "a part is rescaled"],
)
def test_revisions_that_only_look_like_a_shift_or_a_factor_are_accepted(
    before: Callable[..., Floats], after: Callable[..., Floats]
) -> None:
    generator = np.random.default_rng(2)
    values = np.asarray(before(generator), np.float64)
    delivered = np.asarray(after(values, generator), np.float64)

    ingested = ingest_accepted(rows(delivered, stamps(200)), rows(values, stamps(200)))

    assert len(ingested.revised) == (delivered != values).sum() > 0


def test_small_revisions_of_all_values_are_no_factor() -> None:
    values = walk(200)
    delivered = values * (1 + np.random.default_rng(3).normal(0, 0.01, 200))
    recipe = recipe_of('series = "shop"\nmax_revised = 1.0')

    assert len(ingest_accepted(rows(delivered, stamps(200)), rows(values, stamps(200)), recipe).revised) == 200


# a changed frequency


def test_a_source_that_has_become_coarser_is_held() -> None:
    stored = rows(walk(), stamps(60))
    recipe = recipe_of('series = "shop"\nrolling = true', top="max_gap = 12")

    says = 'most values are 3 periods apart, expected 1 at the frequency "MS": did the source change its frequency?'
    assert message(stored[::3], stored, recipe) == says
    assert message(stored[::3], [], recipe) == says


def test_single_gaps_are_no_change_of_frequency() -> None:
    stored = rows(walk(), stamps(60))
    delivered = [row for n, row in enumerate(stored) if n % 4]

    assert (
        ingest_accepted(delivered, [], recipe_of('series = "shop"', top="max_gap = 12")).new.keys()
        == stored_values(delivered).keys()
    )


def test_a_few_values_are_no_evidence_of_another_frequency() -> None:
    delivered = rows(walk(7), stamps(19)[::3])

    assert len(ingest_accepted(delivered, [], recipe_of('series = "shop"', top="max_gap = 2")).new) == 7


def test_one_sparse_series_is_no_change_of_frequency() -> None:
    delivered = rows(walk(), stamps(60), "a") + rows(walk(60)[::3], stamps(60)[::3], "b")

    assert len(ingest_accepted(delivered, [], recipe_of('series = "shop"', top="max_gap = 2")).new) == 80


def test_periods_between_the_stored_ones_are_refused() -> None:
    stored = rows(walk(20), stamps(20, "h"))
    delivered = [(period.replace(":00", ":30"), value, shop) for period, value, shop in stored]
    recipe = recipe_of('series = "shop"', frequency="h")

    for later in (delivered, [("1999-12-31T23:30", "1", "a"), *delivered]):
        error = refusal(delivery_of(later, incremental=True), recipe, stored_values(stored))

        assert not isinstance(error, BatchHeld)
        assert str(error) == (
            f"small.csv: {later[0][0]} and the stored 2000-01-01 lie on different grids of frequency "
            '"h": did the source shift its dates, or did the frequency of the recipe change? '
            "`nextperiod reset small --yes` starts the history again"
        )


def test_a_stored_session_that_the_calendar_has_dropped_stops_nothing() -> None:
    recipe = recipe_of('series = "shop"', top='calendar = "XNYS"', frequency="B")
    stored = rows(walk(3), ["2024-01-12", "2024-01-15", "2024-01-16"])

    ingested = ingest_accepted([("2024-01-17", "1.0", "a")], stored, recipe, incremental=True)

    assert list(ingested.new) == [("a", "2024-01-17T00:00")]


# a rewritten series


def test_a_series_of_which_nearly_all_values_are_revised_is_held_and_named() -> None:
    stored = rows(walk(30), stamps(30), "a") + rows(walk(30, seed=1), stamps(30), "b")
    annual = np.repeat(np.random.default_rng(2).normal(0, 3, 3), 10)
    rebased = rows(np.round(walk(30, seed=1) * 0.95 + annual, 2), stamps(30), "b")

    assert message(stored[:30] + rebased, stored) == (
        'nearly all stored values of series "b" are revised, 30 (set source.max_revised = 1 if this source does so regularly)'
    )
    always = recipe_of('series = "shop"\nmax_revised = 1.0')
    assert len(ingest_accepted(stored[:30] + rebased, stored, always).revised) == 30


def test_a_short_series_may_be_revised_completely() -> None:
    stored = rows(walk(60), stamps(60), "a") + rows(walk(20, seed=1), stamps(20), "b")
    others = rows(walk(20, seed=3), stamps(20), "b")

    assert len(ingest_accepted(stored[:60] + others, stored).revised) == 20
