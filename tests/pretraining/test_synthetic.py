"""Synthetic series have the components that they are said to have, and no others."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.pretraining.make import main
from pipeline.pretraining.networks import NETWORKS
from pipeline.pretraining.synthetic import COMPONENTS, SeriesKind, draw_series

Array = npt.NDArray[np.float64]

MONTHLY = SeriesKind(season=12, longer_season=36, year=(12,), shortest=40, longest=200)


def only(*components: str, kind: SeriesKind = MONTHLY) -> SeriesKind:
    return replace(kind, without=tuple(name for name in COMPONENTS if name not in components))


def drawn(kind: SeriesKind, count: int = 200) -> list[Array]:
    rng = np.random.default_rng(0)
    return [draw_series(kind, rng) for _ in range(count)]


def test_series_are_finite_and_of_the_lengths_that_are_asked_for() -> None:
    series = drawn(MONTHLY, 500)

    lengths = [len(values) for values in series]
    assert min(lengths) < 45
    assert max(lengths) > 180
    assert min(lengths) >= MONTHLY.shortest
    assert max(lengths) <= MONTHLY.longest
    assert all(np.isfinite(values).all() for values in series)


def test_the_same_seed_draws_the_same_series() -> None:
    assert all((one == other).all() for one, other in zip(drawn(MONTHLY, 50), drawn(MONTHLY, 50), strict=True))


def test_without_any_component_nothing_is_left() -> None:
    assert all(np.ptp(values) == 0 for values in drawn(only()))


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_moves_some_series_by_itself(component: str) -> None:
    kinds = {"volatility": ("volatility", "noise"), "outliers": ("outliers",)}
    moved = [np.ptp(values) > 0 for values in drawn(only(*kinds.get(component, (component,))))]

    assert 0 < np.mean(moved) <= 1


def test_a_season_repeats_after_its_periods_and_a_longer_one_after_more() -> None:
    for component, period in (("season", 12), ("longer season", 36)):
        series = [values for values in drawn(only(component)) if np.ptp(values) > 0]
        correlations = [
            np.corrcoef(values[period:], values[:-period])[0, 1] for values in series if len(values) > 2 * period
        ]
        assert np.median(correlations) > 0.95


def test_a_break_is_a_step_and_a_walk_wanders() -> None:
    breaks = [np.diff(values) for values in drawn(only("break")) if np.ptp(values) > 0]
    assert all(np.count_nonzero(np.abs(steps) > 1e-12) <= 2 for steps in breaks)

    walks = [values for values in drawn(only("walk")) if np.ptp(values) > 0]
    growth = [np.std(values[24:] - values[:-24]) / np.std(np.diff(values)) for values in walks if len(values) > 100]
    assert 3 < np.median(growth) < 6  # the root of 24


def test_demand_is_mostly_zero_and_never_negative() -> None:
    rng = np.random.default_rng(1)
    demands = [values for values in (draw_series(only("demand"), rng) for _ in range(2000)) if np.ptp(values) > 0]

    assert 20 < len(demands) < 120
    assert all((values >= 0).all() and (values == 0).any() for values in demands)
    assert 0.2 < np.mean([np.mean(values == 0) for values in demands]) < 0.8


@pytest.mark.parametrize("name", NETWORKS)
def test_a_plan_forecasts_at_least_two_seasons_and_reads_what_its_series_have(name: str) -> None:
    plan = NETWORKS[name]
    recipe = plan.recipe()

    assert recipe.horizon >= 2 * plan.kind.season
    assert recipe.season == plan.kind.season
    small = replace(plan, num_series=50).panel()
    assert (small.values > 0).all()
    assert small.lengths.max() <= plan.kind.longest
    assert all(config.context < plan.kind.longest for config in plan.members)


def test_another_plan_or_another_member_has_another_hash() -> None:
    plan = NETWORKS["season-12"]
    hashes = {plan.hash_of(n) for n in range(len(plan.members))} | {replace(plan, seed=1).hash_of(0)}

    assert len(hashes) == len(plan.members) + 1
    assert plan.hash_of(0) == NETWORKS["season-12"].hash_of(0)


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("season-12", {"longer season"}),
        ("season-4", {"longer season", "calendar"}),
        ("yearly", {"season", "longer season", "calendar"}),
    ],
)
def test_a_kind_of_series_has_the_components_that_it_can_have(name: str, absent: set[str]) -> None:
    assert set(COMPONENTS) - set(NETWORKS[name].kind.components) == absent


def test_a_network_that_is_not_planned_is_refused_with_those_that_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["make", "weekly"])

    with pytest.raises(SystemExit):
        main()

    assert "there is no network weekly: expected season-12, season-4, yearly, no-season" in capsys.readouterr().err
