"""What the global network reads: designs that fit the recipe, and the rule as it is documented."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import InvalidRecipe
from pipeline.models.global_lstm_config import changes_autocorrelation, default_configs
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe


def global_recipe(**keys: Any) -> Recipe:
    return build_recipe(
        "g", frequency="D", source={"period": "p", "value": "v"}, **{"model": {"architecture": "global"}, **keys}
    )


@pytest.mark.parametrize("season", [1, 2, 4, 5, 7, 12, 24, 48, 52])
@pytest.mark.parametrize("horizon", [1, 2, 6, 13, 18, 48])
@pytest.mark.parametrize("length", [10, 100, 3000])
def test_no_design_reads_more_than_the_recipe_says(season: int, horizon: int, length: int) -> None:
    recipe = global_recipe(season_length=season, horizon=horizon)
    panel = panel_of(
        [np.sin(np.arange(length) * 2 * np.pi / max(season, 2)) + 2], frequency="D", start="2000-01-01", align="end"
    )

    designs = default_configs(panel, season=season, horizon=horizon, members=4)

    assert len(designs) == 4
    for design in designs:
        assert design.size < design.context <= recipe.context
        assert design.base <= design.size
        assert design.profile in (0, *range(season, 7 * season + 1, season))
        assert design.skip <= design.context
        assert 2 <= design.least_known <= design.context


@pytest.mark.parametrize(
    ("season", "horizon", "length", "expected"),
    [
        (24, 48, 700, {("fold", 24, 336)}),
        (1, 13, 900, {("fold", 13, 65), ("fold", 13, 104)}),
        (1, 14, 360, {("frame", 14, 56), ("frame", 10, 56)}),
        (12, 18, 300, {("frame", 36, 72), ("frame", 24, 60)}),
        (9, 14, 100, {("frame", 9, 36), ("frame", 13, 40), ("frame", 18, 45)}),
        (4, 8, 70, {("frame", 8, 32), ("frame", 12, 34)}),
        (1, 6, 30, {("frame", 6, 24), ("frame", 4, 24)}),
    ],
    ids=["hourly", "weekly", "daily", "monthly", "without-repeats", "quarterly", "yearly"],
)
def test_the_rule_as_it_is_documented(
    season: int, horizon: int, length: int, expected: set[tuple[str, int, int]]
) -> None:
    wave = np.sin(np.arange(length) * 2 * np.pi / 12 if season == 12 else np.arange(length)) + 2

    designs = default_configs(
        panel_of([wave], frequency="D", start="2000-01-01", align="end"), season=season, horizon=horizon, members=3
    )

    assert {(design.kind, design.size, design.context) for design in designs} == expected


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([370], {("fold", 52, 14 * 52)}),  # 7 seasons and a horizon
        ([369], {("fold", 52, 12 * 52)}),
        ([160], {("fold", 52, 4 * 52)}),
        ([160, 160, 800], {("fold", 52, 4 * 52)}),
        ([60, 60, 800], {("fold", 52, 14 * 52)}),
        ([109], {("frame", 6, 24), ("frame", 4, 24)}),  # less than two seasons and a horizon: no season
    ],
)
def test_a_short_history_is_read_with_fewer_seasons_then_without_any(
    lengths: list[int], expected: set[tuple[str, int, int]]
) -> None:
    rows = [np.sin(np.arange(length) * 2 * np.pi / 52) + 2 for length in lengths]
    panel = panel_of(rows, frequency="D", start="2000-01-01", align="end")

    designs = default_configs(panel, season=52, horizon=6, members=3)

    assert {(design.kind, design.size, design.context) for design in designs} == expected
    assert all(design.least_known + 6 <= max(lengths) and design.skip <= design.least_known for design in designs)


def test_the_last_season_is_the_base_where_changes_repeat() -> None:
    rng = np.random.default_rng(0)
    seasonal = [np.sin(np.arange(200) * 2 * np.pi / 12) + 0.1 * rng.normal(size=200) + 5 for _ in range(3)]
    wandering = [np.exp(0.1 * rng.normal(size=200).cumsum()) for _ in range(12)]

    assert changes_autocorrelation(panel_of([*seasonal], frequency="D", start="2000-01-01", align="end"), 12) > 0.8
    assert changes_autocorrelation(
        panel_of([*wandering], frequency="D", start="2000-01-01", align="end"), 12
    ) == pytest.approx(0, abs=0.05)
    assert (
        default_configs(
            panel_of([*seasonal, *wandering[:3]], frequency="D", start="2000-01-01", align="end"),
            season=12,
            horizon=6,
            members=1,
        )[0].base
        == 12
    )
    assert (
        default_configs(
            panel_of([*wandering], frequency="D", start="2000-01-01", align="end"), season=12, horizon=6, members=1
        )[0].base
        == 1
    )
    assert changes_autocorrelation(panel_of([[3.0] * 100], frequency="D", start="2000-01-01", align="end"), 12) == 0
    assert changes_autocorrelation(panel_of([[3.0] * 10], frequency="D", start="2000-01-01", align="end"), 12) == 0


def test_changes_are_compared_where_both_are_known() -> None:
    values = np.tile([1.0, 2.0, 4.0, 3.0], 20)
    values[[10, 11, 30]] = np.nan

    assert changes_autocorrelation(
        panel_of([values], frequency="D", start="2000-01-01", align="end"), 4
    ) == pytest.approx(1, abs=0.1)


def test_every_other_member_reads_hours_without_the_profile_of_the_week() -> None:
    hours = np.arange(24 * 7 * 6)
    day = np.sin(hours * 2 * np.pi / 24)
    week = panel_of([5 + day * np.where(hours // 24 % 7 < 5, 1, 0.2)], frequency="D", start="2000-01-01", align="end")

    assert [design.profile for design in default_configs(week, season=24, horizon=24, members=3)] == [0, 168, 0]
    assert [design.profile for design in default_configs(week, season=24, horizon=24, members=1)] == [0]


@pytest.mark.parametrize("season", [1, 12, 24])
def test_few_values_are_fitted_on_for_fewer_steps(season: int) -> None:
    rng = np.random.default_rng(0)
    few, many = (
        panel_of([*(rng.normal(size=24 * 30) for _ in range(count))], frequency="D", start="2000-01-01", align="end")
        for count in (1, 1500)
    )

    few_design, design = (default_configs(panel, season=season, horizon=6, members=1)[0] for panel in (few, many))

    assert few_design.steps * few_design.batch_size < design.steps * design.batch_size / 10
    assert few_design.steps >= 100
    assert replace(few_design, steps=design.steps, batch_size=design.batch_size) == design


@pytest.mark.parametrize(
    "tables",
    [{"model": {"architecture": "global", "layers": 2}}, {"training": {"epochs": 3}}],
    ids=["model", "training"],
)
def test_what_the_global_network_chooses_itself_is_refused_in_a_recipe(tables: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecipe, match='is for the other architectures: "global" chooses it'):
        global_recipe(season_length=7, **tables)
