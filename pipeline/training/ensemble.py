"""The members of a recipe's network, fitted on one panel; and for how long they are to be fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from pipeline.config.architectures import GLOBAL
from pipeline.config.recipe import Recipe
from pipeline.forecasting.forecaster import ModelInputs, mean_seasonal_change, prepare_inputs
from pipeline.models.heads import average_networks, build_forecast_network
from pipeline.models.specs import InputSpec
from pipeline.preprocessing.covariates import Features, fit_features
from pipeline.preprocessing.scaling import Scaling, all_positive, fit_scaling
from pipeline.preprocessing.windows import (
    ContextRequirements,
    Windows,
    count_windows,
    draw_windows,
    targets_of,
    windows_ending,
    windows_of,
)
from pipeline.timeseries.panel import Panel
from pipeline.training.champion import Champion
from pipeline.training.export import predict
from pipeline.training.fit import FittedNetwork, OnEpoch, fit_network
from pipeline.training.members import Member, build_members
from pipeline.training.window_batches import flatten_panel

Array = npt.NDArray[np.float64]

#: more windows are not read in an epoch: then so many are drawn, evenly over the series
MOST_AN_EPOCH = 100_000
#: a panel is small that has no more windows, or where the global network would read each of them more often
_FEW, _OFTEN = 1000, 20
#: of a small panel, whose one last horizon is one chance outcome
_HORIZONS_HELD_OUT = 2
_SHARES = np.linspace(0, 1, 21)


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What held-out origins inside the fitting part say of a fit."""

    epochs: int
    #: the share of the network's correction of its base that forecasts best
    trust: float
    validation_loss: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ensemble:
    """Members fitted on one panel, and how their numbers are to be read."""

    members: list[Member]
    fitted: list[FittedNetwork]
    scaling: Scaling
    features: Features
    reads: InputSpec
    trust: float
    #: of a fit of each from its seed
    epochs: Sequence[int]
    num_windows: int

    @property
    def network(self) -> keras.Model:
        """From what a network reads to the mean of the members' quantiles."""
        networks = []
        for member, one in zip(self.members, self.fitted, strict=True):
            trunk = member.build(self.reads, at_origin=True)
            trunk.set_weights(one.trunk.get_weights())
            networks.append(build_forecast_network(trunk, self.trust))
        return average_networks(networks, self.reads)

    @property
    def needs(self) -> ContextRequirements:
        """Of a window that all of them can read."""
        each = [member.needs for member in self.members]
        return ContextRequirements(
            **{name: max(getattr(one, name) for one in each) for name in ("context", "least_length", "least_known")}
        )

    def quantiles(self, network: keras.Model, read: ModelInputs) -> Array:
        """What a network says of the windows that were read, in units of the series: [N, H, K]."""
        return self.scaling.values(predict(network, read.inputs), read.centre[:, :, None], read.scale[:, :, None])


def planned(panel: Panel, recipe: Recipe, search: Search | None) -> list[Member]:
    """The members to fit on a panel, for the epochs that were found."""
    members = build_members(panel, recipe)
    return [member.for_epochs(search.epochs) for member in members] if search else members


def as_before(panel: Panel, recipe: Recipe, champion: Champion) -> list[Member]:
    """Members such as those of the champion, for as many epochs."""
    members = build_members(panel, recipe, designs=champion.designs)
    if champion.epochs is None:
        return members
    return [member.for_epochs(epochs) for member, epochs in zip(members, champion.epochs, strict=False)]


def have_windows(panel: Panel, members: Sequence[Member], recipe: Recipe) -> bool:
    """Whether each of them has a window in the panel."""
    readable = fit_recipe_scaling(panel, recipe).readable(panel)
    return all(len(select_windows(readable, member, recipe)) > 0 for member in members)


def fit_recipe_scaling(panel: Panel, recipe: Recipe) -> Scaling:
    """Fitted on all of a panel; the global network reads logarithms where every value has one."""
    if recipe.model.architecture == GLOBAL:
        kind = "log" if all_positive(panel.values) else "last"
        return fit_scaling(panel, kind=kind, per_series=False, season=recipe.season)
    return fit_scaling(panel, kind=recipe.model.scaling, per_series=recipe.is_scaled_by_series, season=recipe.season)


def select_windows(panel: Panel, member: Member, recipe: Recipe) -> Windows:
    """All windows that a member is fitted on, in random order where it is not fitted on each of them."""
    horizon, rng = recipe.horizon, np.random.default_rng(member.fitting.seed)
    if member.evenly:
        return draw_windows(panel, member.num_drawn, needs=member.needs, horizon=horizon, evenly=member.evenly, rng=rng)
    if int(panel.lengths.sum()) > MOST_AN_EPOCH:
        return draw_windows(panel, MOST_AN_EPOCH, needs=member.needs, horizon=horizon, evenly="series", rng=rng)
    return windows_of(panel, needs=member.needs, horizon=horizon)


def fit_ensemble(
    panel: Panel,
    recipe: Recipe,
    members: list[Member],
    *,
    trust: float = 1.0,
    tuned: Champion | None = None,
    held_out: tuple[Panel, Windows] | None = None,
    on_epoch: OnEpoch | None,
) -> Ensemble:
    """Fit all members on a panel.

    Args:
        panel: all of which they may see.
        recipe: what to fit.
        members: of its network.
        trust: share of their correction that is kept.
        tuned: whose weights to go on from, with its scaling and its features; none: from the seeds.
        held_out: a longer panel, and windows of it to stop by.
        on_epoch: told of each epoch of each fit.

    Raises:
        ModelRefused: a fit did not stay finite.
    """
    scaling = tuned.forecaster.scaling if tuned else fit_recipe_scaling(panel, recipe)
    features = tuned.forecaster.features if tuned else fit_features(panel, recipe)
    flat = flatten_panel(panel, scaling, features.of(panel))
    judge = (flatten_panel(held_out[0], scaling, features.of(held_out[0])), held_out[1]) if held_out else None
    reads = InputSpec(horizon=recipe.horizon, **features.counts)
    fitted, num_windows = [], 0
    for n, member in enumerate(members):
        windows = select_windows(scaling.readable(panel), member, recipe)
        num_windows += len(windows)
        keras.utils.set_random_seed(member.fitting.seed)
        weights = tuned.weights[n] if tuned else None
        network = member.build(reads)
        fitted.append(
            fit_network(network, flat, windows, member.fitting, held_out=judge, start=weights, on_epoch=on_epoch)
        )
    return Ensemble(
        members=members,
        fitted=fitted,
        scaling=scaling,
        features=features,
        reads=reads,
        trust=trust,
        epochs=(tuned.epochs if tuned else None) or [member.fitting.epochs for member in members],
        num_windows=num_windows,
    )


def search_epochs(panel: Panel, recipe: Recipe, cutoff: int, on_epoch: OnEpoch | None) -> Search | None:
    """When the first member forecast the windows just before `cutoff` best, and how far it was to be trusted then.

    The global network's steps follow from its design: only on a small panel, where it would learn every window by
    heart, is it stopped, and its correction of the base trusted as far as it has helped.
    """
    is_global = recipe.model.architecture == GLOBAL
    inner = cutoff - (_HORIZONS_HELD_OUT * recipe.horizon if is_global else recipe.test_periods)
    before = panel.until(inner) if inner >= 0 else None
    if before is None or not before.series:
        return None
    member = build_members(before, recipe)[0]
    if not have_windows(before, [member], recipe):
        return None
    num_windows = count_windows(before, needs=member.needs, horizon=recipe.horizon)
    if is_global and num_windows > _FEW and member.num_drawn < _OFTEN * num_windows:
        return None
    known = panel.until(cutoff)
    readable = fit_recipe_scaling(before, recipe).readable(known)
    held_out = windows_ending(readable, np.arange(inner + 1, cutoff + 1) - recipe.horizon, needs=member.needs).known_by(
        cutoff, horizon=recipe.horizon
    )
    if len(held_out) == 0:
        return None
    if len(held_out) > MOST_AN_EPOCH:
        rng = np.random.default_rng(member.fitting.seed)
        held_out = held_out.take(rng.choice(len(held_out), MOST_AN_EPOCH, replace=False))
    ensemble = fit_ensemble(before, recipe, [member], held_out=(known, held_out), on_epoch=on_epoch)
    trust = _trust(known, ensemble, held_out, recipe) if is_global else 1.0
    return Search(epochs=ensemble.fitted[0].best_epoch, trust=trust, validation_loss=ensemble.fitted[0].validation_loss)


def _trust(panel: Panel, ensemble: Ensemble, windows: Windows, recipe: Recipe) -> float:
    """The share of the correction with the least absolute error, in units of each window's volatility."""
    read = prepare_inputs(panel, ensemble.features.of(panel), windows, ensemble.scaling, ensemble.needs.context)
    if not read.is_usable.any():
        return 1.0
    trunk = ensemble.fitted[0].trunk
    whole, base = (ensemble.quantiles(build_forecast_network(trunk, trust), read) for trust in (1.0, 0.0))
    middle = whole.shape[2] // 2
    size = mean_seasonal_change(read.context, read.is_observed, recipe.season)
    target, whole, base = (
        one / size
        for one in (
            targets_of(panel, windows.take(read.is_usable), recipe.horizon),
            whole[:, :, middle],
            base[:, :, middle],
        )
    )
    errors = [np.nanmean(np.abs(target - base - share * (whole - base))) for share in _SHARES]
    return float(_SHARES[int(np.argmin(errors))])
