"""What a network reads of a short history, and what is said where no network can be fitted on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import NotEnoughHistory
from pipeline.timeseries.panel import Panel
from pipeline.training.history import choose_context, describe_shortage, require_trainable, scaling_lag
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe


def recipe_of(horizon: int, **keys: Any) -> Recipe:
    return build_recipe("t", horizon=horizon, **keys)


def history(length: int, frequency: str = "MS") -> Panel:
    return panel_of({"t": 10 + np.sin(np.arange(length))}, frequency=frequency, start="2021-01-01")


@pytest.mark.parametrize(
    ("frequency", "horizon", "length"),
    [("W-MON", 6, 160), ("D", 7, 30), ("D", 14, 30), ("MS", 6, 9), ("QS", 4, 9), ("h", 24, 72), ("MS", 1, 3)],
)
@pytest.mark.parametrize("architecture", ["global", "stacked", "attention"])
def test_a_short_history_is_long_enough_for_a_shorter_network(
    frequency: str, horizon: int, length: int, architecture: str
) -> None:
    recipe = recipe_of(horizon, frequency=frequency, model={"architecture": architecture})
    panel = history(length) if frequency == "MS" else panel_of({"t": np.arange(1.0, length + 1)}, frequency=frequency)

    assert describe_shortage(panel, recipe) is None
    require_trainable(panel, recipe)


@pytest.mark.parametrize(
    ("length", "horizon", "keys", "expected"),
    [
        (5, 6, {}, "horizon 6 needs 9: 4 more, or horizon of at most 3"),
        (1, 6, {}, 'series, "t", has 1 period, horizon 6 needs 9: 8 more'),
        (2, 1, {}, "has 2 periods, horizon 1 needs 3: 1 more"),
        (
            20,
            6,
            {"model": {"architecture": "vanilla", "context": 24}},
            "has 20 periods, horizon 6 needs 30: 10 more, or model.context of at most 14",
        ),
        (
            7,
            6,
            {"model": {"architecture": "vanilla"}},
            "has 7 periods, horizon 6 needs 8: 1 more, or horizon of at most 5",
        ),
    ],
)
def test_what_is_missing_is_said_with_what_helps(
    length: int, horizon: int, keys: dict[str, Any], expected: str
) -> None:
    recipe, panel = recipe_of(horizon, **keys), history(length)

    with pytest.raises(NotEnoughHistory) as short:
        require_trainable(panel, recipe)

    assert str(short.value).startswith("no network can be trained yet: ")
    assert str(short.value).endswith(expected)


@pytest.mark.parametrize("length", range(1, 30))
@pytest.mark.parametrize("keys", [{}, {"model": {"architecture": "vanilla"}}], ids=["global", "vanilla"])
def test_what_a_message_advises_helps(length: int, keys: dict[str, Any]) -> None:
    message = describe_shortage(history(length), recipe_of(12, **keys))
    if message is None:
        return
    needed = int(message.split(" needs ")[1].split(":")[0])
    assert describe_shortage(history(needed), recipe_of(12, **keys)) is None
    if "horizon of at most " in message:
        horizon = int(message.rsplit(" ", 1)[1])
        assert describe_shortage(history(length), recipe_of(horizon, **keys)) is None


@pytest.mark.parametrize("season", [1, 2, 4, 7, 12, 24, 52])
@pytest.mark.parametrize("horizon", [1, 2, 3, 6, 13, 48])
@pytest.mark.parametrize("architecture", ["global", "vanilla"])
def test_the_least_history_of_a_recipe_is_that_of_its_smallest_network(
    season: int, horizon: int, architecture: str
) -> None:
    model = {"architecture": architecture} | ({"pretrained": False} if architecture == "global" else {})
    recipe = recipe_of(horizon, season_length=season, model=model)

    assert describe_shortage(history(recipe.least_history), recipe) is None
    assert describe_shortage(history(recipe.least_history - 1), recipe) is not None


def test_the_pretrained_network_reads_a_season_whatever_the_horizon() -> None:
    assert describe_shortage(history(12), recipe_of(18)) is None
    assert str(describe_shortage(history(11), recipe_of(18))).startswith(
        'no network can be trained yet: the longest series, "t", has 11 periods, horizon 18 needs 12: 1 more'
    )


def test_a_history_of_gaps_says_what_a_window_needs() -> None:
    gaps = panel_of({"t": [1.0, *[np.nan] * 38, 2.0]})

    assert str(describe_shortage(gaps, recipe_of(6))).startswith("no series has a window to fit on: ")


@pytest.mark.parametrize(
    ("length", "keys", "context", "lag"),
    [
        (60, {}, 24, 12),
        (30, {}, 24, 12),
        (29, {}, 13, 12),
        (19, {}, 13, 12),
        (18, {}, 6, 1),  # a season and a period do not fit before a horizon
        (9, {}, 2, 1),
        (12, {"scaling": "standard"}, 3, 0),
        (12, {"context": 18}, 18, 12),  # what the recipe says is not shortened
    ],
)
def test_a_default_context_becomes_shorter_and_loses_its_season(
    length: int, keys: dict[str, Any], context: int, lag: int
) -> None:
    recipe = recipe_of(6, model={"architecture": "stacked", **keys})

    assert choose_context(history(length), recipe) == context
    assert scaling_lag(recipe, context) == lag
