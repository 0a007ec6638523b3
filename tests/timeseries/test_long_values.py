"""Values by series and period: where they are, and what two sets of them give together."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.timeseries.long_values import LongValues, apply_revisions, concatenate, empty_values, merge

Told = dict[tuple[int, int], float]

#: far apart as well, so that a table of all of them would be too large
KEYS = st.tuples(st.sampled_from([0, 1, 2, 7, 10**6, 10**9]), st.sampled_from([-(10**6), 0, 1, 2, 3, 10**6]))
TOLD = st.dictionaries(KEYS, st.sampled_from([0.0, 1.0, -2.5]), max_size=15)


def values_of(told: Told) -> LongValues:
    keys = sorted(told)
    return LongValues(
        np.array([series for series, _ in keys], np.int64),
        np.array([period for _, period in keys], np.int64).astype("datetime64[D]").astype("datetime64[us]"),
        np.array([told[key] for key in keys], np.float64),
    )


def by_key(values: LongValues) -> Told:
    days = values.period.astype("datetime64[D]").astype(np.int64)
    return {(int(s), int(p)): float(v) for s, p, v in zip(values.series, days, values.value, strict=True)}


def is_in_order(values: LongValues) -> bool:
    return list(by_key(values)) == sorted(by_key(values)) and len(by_key(values)) == len(values)


@given(known=TOLD, told=TOLD)
@settings(max_examples=300, deadline=None)
def test_a_pair_of_series_and_period_is_found_at_its_row(known: Told, told: Told) -> None:
    wanted = values_of(told)

    place = values_of(known).positions(wanted.series, wanted.period)

    assert place.tolist() == [sorted(known).index(key) if key in known else -1 for key in sorted(told)]


@given(known=TOLD, told=TOLD)
@settings(max_examples=200, deadline=None)
def test_merging_keeps_the_newer_value_of_a_pair(known: Told, told: Told) -> None:
    both = merge(values_of(known), values_of(told))

    assert by_key(both) == known | told
    assert is_in_order(both)


@given(told=TOLD, later=st.lists(TOLD, max_size=3))
@settings(max_examples=200, deadline=None)
def test_the_last_revision_of_a_pair_counts(told: Told, later: list[Told]) -> None:
    said = empty_values()
    for one in later:
        said = concatenate(said, values_of(one))

    final = apply_revisions(values_of(told), said)

    expected = dict(told)
    for one in later:
        expected |= one
    assert by_key(final) == expected
    assert is_in_order(final)


def test_starts_are_the_first_rows_of_the_series_and_the_end() -> None:
    values = values_of({(1, 1): 0.0, (1, 2): 0.0, (7, 1): 0.0})

    assert values.starts().tolist() == [0, 2, 3]
