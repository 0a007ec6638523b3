"""What the networks of a recipe read, as far as the history allows; and why no network can be fitted on a shorter one.

A default that the history is too short for becomes a shorter one: fewer seasons in the context, then no season. What the
recipe says itself is not shortened. Keras is not imported here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

import numpy as np

from pipeline.config.architectures import GLOBAL
from pipeline.config.recipe import LONGEST_FRAMED_SEASON, USUAL_UNITS, Recipe, longest_horizon
from pipeline.errors import ModelRefused, NotEnoughHistory
from pipeline.models.global_lstm_config import LONG_HISTORY, GlobalLSTMConfig, default_configs
from pipeline.models.pretrained import PretrainedNetwork, load_pretrained, network_name, pretrained_configs
from pipeline.preprocessing.scaling import Scaling, all_positive, fit_scaling
from pipeline.preprocessing.windows import (
    ContextRequirements,
    Windows,
    count_windows,
    draw_windows,
    find_windows,
    have_enough_context,
)
from pipeline.text import counted
from pipeline.timeseries.panel import Panel

logger = logging.getLogger(__name__)

#: values from which on members that are fitted on a panel alone are tried beside pretrained ones
_ENOUGH_VALUES = 30_000
#: values from which on long histories, or long seasons such as days of hours, tell more than a pretrained network
_MANY_VALUES = 5_000
#: further fits of a pretrained member, by the number of series from which on: gradient steps, windows in each, learning rate
_FURTHER_FITS = {1: (100, 16, 0.001), 10: (150, 32, 0.001), 100: (400, 128, 0.002)}
#: windows that are drawn to find one, before all are looked through
_NUM_DRAWN = 1000


def fit_recipe_scaling(panel: Panel, recipe: Recipe) -> Scaling:
    """Fit the recipe's scaling on all of a panel; the global network reads logarithms where every value has one."""
    if recipe.model.architecture == GLOBAL:
        kind = "log" if all_positive(panel.values) else "last"
        return fit_scaling(panel, kind=kind, per_series=False, season=recipe.season)
    return fit_scaling(panel, kind=recipe.model.scaling, per_series=recipe.is_scaled_by_series, season=recipe.season)


def choose_configs(panel: Panel, recipe: Recipe) -> tuple[GlobalLSTMConfig, ...]:
    """Derive what each member of the global network reads from the panel that it is fitted on.

    These are the members of a pretrained network, where there is one. From `_ENOUGH_VALUES` on, members that are fitted on
    the panel alone are candidates to join them: the mean of both often forecasts better than either.
    """
    pretrained = _pretrained_configs(panel, recipe)
    if pretrained and int(panel.lengths.sum()) < _ENOUGH_VALUES:
        return pretrained
    own = default_configs(
        panel,
        season=recipe.season,
        horizon=recipe.horizon,
        members=recipe.num_members,
        with_features=recipe.covariates.are_used,
    )
    if pretrained and not has_fitting_windows(panel, recipe, (*pretrained, *own)):
        return pretrained
    return (*pretrained, *own)


def _pretrained_configs(panel: Panel, recipe: Recipe) -> tuple[GlobalLSTMConfig, ...]:
    """The members of the pretrained network for a recipe, to be fitted further on its panel; empty where there is none.

    There is none for series that are all shorter than it needs, nor for histories that tell more of themselves.
    """
    network = _pretrained_network(recipe)
    if network is None or int(panel.lengths.max()) < network.least_known:
        return ()
    if _tells_more(panel, recipe):
        return ()
    steps, batch_size, learning_rate = _FURTHER_FITS[max(n for n in _FURTHER_FITS if n <= len(panel.series))]
    return pretrained_configs(
        network, members=recipe.num_members, steps=steps, batch_size=batch_size, learning_rate=learning_rate
    )


def _tells_more(panel: Panel, recipe: Recipe) -> bool:
    """Whether members fitted on a panel alone forecast it better than a pretrained network that is fitted further."""
    has_many = int(panel.lengths.sum()) >= _MANY_VALUES
    if recipe.season > LONGEST_FRAMED_SEASON:
        return has_many
    is_long = float(np.median(panel.lengths)) >= LONG_HISTORY * max(recipe.season, recipe.horizon, 4)
    return is_long and (has_many or recipe.season == 1)


def _pretrained_network(recipe: Recipe) -> PretrainedNetwork | None:
    """The network for the recipe's season.

    None with covariates, which it has not seen, for a longer horizon, and where the recipe asks for another size or for
    more members.
    """
    if not recipe.model.pretrained or recipe.covariates.are_used or recipe.loss != "pinball":
        return None
    network = _load_or_warn(network_name(recipe.grid, recipe.season))
    if network is None or recipe.horizon > network.horizon:
        return None
    is_as_asked = recipe.model.units == USUAL_UNITS and recipe.num_members <= len(network.configs)
    return network if is_as_asked else None


@cache  # so that a process warns once
def _load_or_warn(name: str) -> PretrainedNetwork | None:
    try:
        return load_pretrained(name)
    except ModelRefused as damage:
        logger.warning("%s; the network is trained from scratch", damage)
        return None


def choose_context(panel: Panel, recipe: Recipe) -> int:
    """Periods that a network of another architecture reads: the recipe's, or fewer where they are a default.

    Where the longest series has no room for the default before a horizon, half of the room, or one season and a
    period if that is longer and fits.
    """
    room = int(panel.lengths.max()) - recipe.horizon
    if recipe.model.context is not None or room >= recipe.context:
        return recipe.context
    with_season = recipe.season + 1
    return max(room // 2, with_season if room >= with_season else 2)


def config_needs(config: GlobalLSTMConfig) -> ContextRequirements:
    """What a member of the global network needs of a window."""
    return ContextRequirements(
        context=config.context,
        least_length=config.least_known,
        least_known=config.least_known,
        rather_whole=config.kind == "frame",
        season=config.base,
    )


def context_needs(context: int, lag: int) -> ContextRequirements:
    """What a network of another architecture needs of a window; `lag` periods are its base, 0: none."""
    return ContextRequirements(
        context=context,
        least_length=context,
        least_known=max(context // 2, min(2, context)),
        season=max(lag, 1),
    )


def scaling_lag(recipe: Recipe, context: int) -> int:
    """Periods at the end of a context that the scaling inside the network repeats as its base; 0: none."""
    scaling = "last" if recipe.model.scaling == "log" else recipe.model.scaling
    if scaling == "seasonal":
        return recipe.season if context > recipe.season else 1
    return 1 if scaling == "last" else 0


def describe_shortage(panel: Panel, recipe: Recipe) -> str | None:
    """Why no network can be fitted on a panel, with what would help; None where one can."""
    pretrained = False
    if recipe.model.architecture == GLOBAL:
        configs = choose_configs(panel, recipe)
        pretrained = all(config.pretrained for config in configs)
        needs = [config_needs(config) for config in configs]
    else:
        context = choose_context(panel, recipe)
        needs = [context_needs(context, scaling_lag(recipe, context))]
    scaling = fit_recipe_scaling(panel, recipe)
    readable = scaling.mask_unusable(panel)
    lacking = [need for need in needs if not _has_window(readable, need, recipe.horizon)]
    if not lacking or (pretrained and _can_forecast(readable, needs)):
        return None
    longest = int(panel.lengths.argmax())
    has = int(panel.lengths[longest])
    if has < _least_history(recipe):
        return _describe_short_history(panel.series[longest], has, recipe)
    return no_window_message(lacking[0], recipe, logarithms=scaling.logarithms)


def require_trainable(panel: Panel, recipe: Recipe) -> None:
    """Refuse a panel that no network of a recipe can be fitted on.

    Raises:
        NotEnoughHistory: with what would help.
    """
    shortage = describe_shortage(panel, recipe)
    if shortage is not None:
        raise NotEnoughHistory(shortage)


def has_fitting_windows(panel: Panel, recipe: Recipe, configs: Sequence[GlobalLSTMConfig]) -> bool:
    """Whether each of some members of the global network has a window of a panel to be fitted on."""
    readable = fit_recipe_scaling(panel, recipe).mask_unusable(panel)
    return all(_has_window(readable, config_needs(config), recipe.horizon) for config in configs)


def no_window_message(needs: ContextRequirements, recipe: Recipe, *, logarithms: bool) -> str:
    """Why no series of a panel has a window to fit on, although one is long enough."""
    positive = " above 0, whose logarithm there is," if logarithms else ""
    return (
        f"no series has a window to fit on: {needs.least_length + recipe.horizon} periods are needed, {needs.least_known} "
        f"of those before the last {recipe.horizon} with values{positive} and one where the context ends"
    )


def _least_history(recipe: Recipe) -> int:
    """Periods that a series must have so that a network can be fitted on it, or a pretrained one can read it."""
    network = _pretrained_network(recipe) if recipe.model.architecture == GLOBAL else None
    return min(recipe.least_history, network.least_known) if network else recipe.least_history


def _describe_short_history(series: str, has: int, recipe: Recipe) -> str:
    needed = _least_history(recipe)
    text = (
        f'no network can be trained yet: the longest series, "{series}", has {counted(has, "period")}, horizon '
        f"{recipe.horizon} needs {needed}: {needed - has} more"
    )
    if recipe.model.context is not None and has - recipe.horizon >= 2:
        return f"{text}, or model.context of at most {has - recipe.horizon}"
    horizon = longest_horizon(has, recipe)
    return f"{text}, or horizon of at most {horizon}" if horizon else text


def _can_forecast(panel: Panel, needs: Sequence[ContextRequirements]) -> bool:
    """Whether a series of a panel ends with what all of some networks need."""
    windows = Windows(np.arange(len(panel.series)), panel.last)
    return any(np.logical_and.reduce([have_enough_context(panel, windows, need) for need in needs]))


def _has_window(panel: Panel, needs: ContextRequirements, horizon: int) -> bool:
    """Whether a panel has a window to fit on."""
    if not panel.series or count_windows(panel, needs=needs, horizon=horizon) == 0:
        return False
    rng = np.random.default_rng(0)
    drawn = draw_windows(panel, _NUM_DRAWN, needs=needs, horizon=horizon, evenly="series", rng=rng)
    return len(drawn) > 0 or len(find_windows(panel, needs=needs, horizon=horizon)) > 0
