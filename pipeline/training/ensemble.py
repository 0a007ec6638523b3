"""Fit the members of a recipe's ensemble on one panel, and find for how many epochs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import keras
import numpy as np
import numpy.typing as npt

from pipeline.config.architectures import GLOBAL
from pipeline.config.recipe import Recipe
from pipeline.forecasting.forecaster import ModelInputs, mean_seasonal_change
from pipeline.models.heads import average_networks, build_forecast_network
from pipeline.models.onnx_network import FittedMember, build_onnx_network
from pipeline.models.pretrained import LSTM_WEIGHTS, OUTPUT_WEIGHTS, Weights
from pipeline.models.specs import InputSpec
from pipeline.preprocessing.covariates import fit_features
from pipeline.preprocessing.scaling import Scaling
from pipeline.preprocessing.windows import (
    ContextRequirements,
    Windows,
    count_windows,
    draw_windows,
    find_windows,
    find_windows_ending,
    read_targets,
)
from pipeline.timeseries.panel import Panel
from pipeline.training.champion import Champion
from pipeline.training.export import KerasNetwork
from pipeline.training.fit_network import FitGraph, FitSettings, FittedNetwork, fit_network, seed_weights
from pipeline.training.forecast_ensemble import ForecastEnsemble, Network, OnnxNetwork, join_needs
from pipeline.training.gradient_steps import num_parallel_fits
from pipeline.training.history import fit_recipe_scaling
from pipeline.training.members import BuildTrunk, Member, build_members
from pipeline.training.progress import OnEpoch
from pipeline.training.window_batches import FlatPanel, flatten_panel

Array = npt.NDArray[np.float64]

#: most windows of an epoch: of more, so many are drawn, evenly over the series
MOST_WINDOWS_PER_EPOCH = 100_000
#: a panel counts as small with at most so many windows, or where the global network draws each of them more often
_FEW_WINDOWS, _MANY_DRAWS = 1000, 20
#: fewest and most horizons held out of a panel, and the share of a usual history that they may take: the last horizon
#: alone would be a single chance outcome, however many series there are
_FEWEST_HELD_OUT, _MOST_HELD_OUT, _SHARE_HELD_OUT = 2, 10, 0.2
#: shares of the way from pretrained to fitted weights that are compared
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: members of the panel's own join the pretrained ones if their mean has so much less error
_LEAST_GAIN = 0.01
#: share of the errors that count as they are; larger ones count as the largest of these
_USUAL_ERRORS = 0.99
#: held-out horizons, over all series, at which half of the share that was best on them counts
_HALF_TRUSTED = 4
#: graphs of members that are kept to be used again
_MOST_GRAPHS = 12
#: shrinkage factors that are compared
_SHRINKAGES = np.linspace(0, 1, 21)


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """Result of early stopping on held-out origins before the test part."""

    #: the epoch, counted from 1, with the lowest validation loss
    epochs: int
    #: factor of the network's correction of its base with the lowest error: from 0 (the base alone) to 1
    shrinkage: float
    #: mean loss of the held-out windows by epoch, in units of the network
    validation_loss: tuple[float, ...] = ()
    #: of a pretrained network: share of the way to the fitted weights by which it is moved; None: there is none
    moved: float | None = None
    #: whether members that are fitted on the panel alone join a pretrained network
    has_own_members: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Ensemble(ForecastEnsemble):
    """Members fitted on one panel."""

    members: list[Member]
    #: of each member
    fitted: list[FittedNetwork]
    input_spec: InputSpec
    #: of each member: epochs of a fit from its seed
    epochs: Sequence[int]
    #: sum over the members
    num_windows: int
    #: factor of the networks' correction of their base, from 0 to 1
    shrinkage: float = 1.0

    @property
    def needs(self) -> ContextRequirements:
        """What a window must have so that each member can read it."""
        return join_needs([member.needs for member in self.members])

    @property
    def is_pretrained(self) -> bool:
        """Whether all members began with weights that ship with the package."""
        return all(member.is_pretrained for member in self.members)

    def build_onnx_network(self) -> OnnxNetwork | None:
        """Build the same network as `build_keras_network` from the weights alone, in milliseconds.

        None unless it is a global network without features.
        """
        horizon = self.input_spec.horizon
        configs = [member.config for member in self.members if member.config]
        if not configs or self.input_spec != InputSpec(horizon=horizon):
            return None
        members = [
            FittedMember(config=config, weights=_weights_by_name(fitted.trunk))
            for config, fitted in zip(configs, self.fitted, strict=True)
        ]
        return OnnxNetwork(build_onnx_network(members, horizon, shrinkage=self.shrinkage))

    def build_keras_network(self) -> keras.Model:
        """Build the network from inputs by name to the mean of the members' quantiles: [N, H, K], in scaled units."""
        networks = []
        for member, fitted in zip(self.members, self.fitted, strict=True):
            trunk = member.build(self.input_spec, at_origin=True)
            trunk.set_weights(fitted.trunk.get_weights())
            networks.append(build_forecast_network(trunk, self.shrinkage))
        return average_networks(networks, self.input_spec)

    def build_network(self) -> Network:
        """Build the network as it is built and computed fastest."""
        return self.build_onnx_network() or KerasNetwork(self.build_keras_network())


def _weights_by_name(trunk: keras.Model) -> Weights:
    """Weights of a member of the global network by their names in `pretrained`."""
    names = (*LSTM_WEIGHTS, *OUTPUT_WEIGHTS)
    return {name: weight.numpy() for weight in trunk.weights for name in names if weight.path.endswith(name)}


@dataclass(frozen=True, kw_only=True, slots=True)
class FitPlan:
    """How the ensemble of a recipe is fitted, on whichever part of a panel."""

    recipe: Recipe
    #: decides epochs and shrinkage of a fit from scratch; None: the recipe's epochs, without shrinkage
    search: Search | None = None
    #: whose members, epochs and shrinkage are used again
    champion: Champion | None = None
    #: whether fits start from the champion's weights instead of the seeds, for fewer epochs
    fine_tune: bool = False

    @property
    def shrinkage(self) -> float:
        """Factor of the networks' correction of their base, from 0 to 1."""
        if self.champion:
            return self.champion.shrinkage
        return self.search.shrinkage if self.search else 1.0

    def members(self, panel: Panel) -> list[Member]:
        """Derive the members to fit on a panel."""
        if self.champion is None:
            members = build_members(panel, self.recipe)
            if members[0].is_pretrained and not (self.search and self.search.has_own_members):
                members = [member for member in members if member.is_pretrained]
            return [_as_found(member, self.search) for member in members]
        members = build_members(panel, self.recipe, champion=self.champion)
        if self.champion.epochs is not None:
            epochs = self.champion.epochs
            # a pretrained member whose history was too short to be fitted on is fitted as soon as it is long enough
            members = [
                member.for_epochs(count) if count else member for member, count in zip(members, epochs, strict=False)
            ]
        return [member.fine_tuning() for member in members] if self.fine_tune else members

    def fit(self, panel: Panel, on_epoch: OnEpoch | None) -> Ensemble | None:
        """Fit the members on a panel; None if one of them has no window in it.

        Pretrained members without a window stay as they are.

        Raises:
            ModelRefused: a fit did not stay finite.
        """
        members = self.members(panel)
        if not have_windows(panel, [member for member in members if member.settings.epochs], self.recipe):
            if not all(member.is_pretrained for member in members):
                return None
            members = [member.for_epochs(0).moved_by(0.0) for member in members]
        start = self.champion if self.fine_tune else None
        ensemble = fit_ensemble(panel, self.recipe, members, start=start, on_epoch=on_epoch)
        return replace(ensemble, shrinkage=1.0 if members[0].is_pretrained else self.shrinkage)


def _as_found(member: Member, search: Search | None) -> Member:
    """A member, fitted as the search has found to be best."""
    if member.is_pretrained:
        if search is None or search.moved is None:
            return member
        return member.moved_by(search.moved) if search.moved else member.moved_by(0.0).for_epochs(0)
    return member if search is None or search.moved is not None else member.for_epochs(search.epochs)


def have_windows(panel: Panel, members: Sequence[Member], recipe: Recipe) -> bool:
    """Whether each member has at least one window to be fitted on."""
    readable = fit_recipe_scaling(panel, recipe).mask_unusable(panel)
    return all(len(select_windows(readable, member, recipe)) > 0 for member in members)


def select_windows(panel: Panel, member: Member, recipe: Recipe) -> Windows:
    """Select the windows that a member is fitted on: all of them, or a random draw, reproducible by its seed."""
    horizon, rng = recipe.horizon, np.random.default_rng(member.settings.seed)
    if member.draw:
        return draw_windows(panel, member.num_drawn, needs=member.needs, horizon=horizon, evenly=member.draw, rng=rng)
    if int(panel.lengths.sum()) > MOST_WINDOWS_PER_EPOCH:
        count = MOST_WINDOWS_PER_EPOCH
        return draw_windows(panel, count, needs=member.needs, horizon=horizon, evenly="series", rng=rng)
    return find_windows(panel, needs=member.needs, horizon=horizon)


def fit_ensemble(
    panel: Panel,
    recipe: Recipe,
    members: list[Member],
    *,
    start: Champion | None = None,
    held_out: tuple[Panel, Windows] | None = None,
    on_epoch: OnEpoch | None,
) -> Ensemble:
    """Fit all members on a panel.

    Args:
        panel: everything that they may be fitted on.
        recipe: what to fit.
        members: each with at least one window in the panel.
        start: champion whose weights to start from, with its scaling and its features; None: from the seeds.
        held_out: a longer panel, and windows of it for early stopping.
        on_epoch: called after each epoch of each fit.

    Raises:
        ModelRefused: a fit did not stay finite.
    """
    scaling = start.forecaster.scaling if start else fit_recipe_scaling(panel, recipe)
    features = start.forecaster.features if start else fit_features(panel, recipe)
    flat = flatten_panel(panel, scaling, features.transform(panel))
    held_out_flat = None
    if held_out is not None:
        longer, held_out_windows = held_out
        held_out_flat = flatten_panel(longer, scaling, features.transform(longer)), held_out_windows
    input_spec = InputSpec(horizon=recipe.horizon, **features.counts)
    readable = scaling.mask_unusable(panel)
    fits, num_windows = [], 0
    for n, member in enumerate(members):
        windows = select_windows(readable, member, recipe)
        num_windows += len(windows)
        seed_weights(member.settings.seed)
        trunk = member.build(input_spec)
        pretrained = member.pretrained_weights(trunk) if member.is_pretrained and not start else None
        fits.append(
            _Fit(
                trunk=trunk,
                flat=flat,
                windows=windows,
                settings=member.settings,
                graph=_shared_graph(member.build, input_spec, member.settings.of_graph, scaling.kind_alone),
                held_out=held_out_flat,
                start=start.weights[n] if start else pretrained,
                moved=member.config.moved if pretrained is not None and member.config else None,
            )
        )
    with ThreadPoolExecutor(num_parallel_fits(members[0].settings.batch_size)) as pool:
        fitted = list(pool.map(lambda fit: fit.run(on_epoch), fits))
    return Ensemble(
        members=members,
        fitted=fitted,
        scaling=scaling,
        features=features,
        input_spec=input_spec,
        epochs=(start.epochs if start else None) or [member.settings.epochs for member in members],
        num_windows=num_windows,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """What one member is fitted from."""

    trunk: keras.Model
    flat: FlatPanel
    windows: Windows
    settings: FitSettings
    graph: FitGraph
    held_out: tuple[FlatPanel, Windows] | None
    start: Sequence[Array] | None
    #: share of the way from the weights at the start to the fitted ones by which they are moved; None: all of it
    moved: float | None

    def run(self, on_epoch: OnEpoch | None) -> FittedNetwork:
        """Fit the member, and move its weights."""
        network = fit_network(
            self.trunk,
            self.flat,
            self.windows,
            self.settings,
            graph=self.graph,
            held_out=self.held_out,
            start=self.start,
            on_epoch=on_epoch,
        )
        if self.moved is not None and self.start is not None:
            _move_weights(self.trunk, self.start, self.trunk.get_weights(), self.moved)
        return network


@lru_cache(maxsize=_MOST_GRAPHS)
def _shared_graph(build: BuildTrunk, input_spec: InputSpec, settings: FitSettings, scaling: Scaling) -> FitGraph:
    """The graph that fits all trunks of a kind: searches, rehearsals and final fits of a member differ in their data alone."""
    return FitGraph(build(input_spec), settings, scaling)


def _move_weights(trunk: keras.Model, start: Sequence[Array], fitted: Sequence[Array], share: float) -> None:
    """Set the weights of a trunk by a share of the way from where a fit started to where it ended.

    Wortsman et al. (2022), "Robust fine-tuning of zero-shot models", CVPR: such a mean forecasts about as well as an
    ensemble of both networks.
    """
    trunk.set_weights([(1 - share) * before + share * after for before, after in zip(start, fitted, strict=True)])


def search_epochs(panel: Panel, recipe: Recipe, cutoff: int, on_epoch: OnEpoch | None) -> Search | None:
    """Find epochs and shrinkage by early stopping of the first member on the last origins up to `cutoff`.

    The gradient steps of the global network follow from its configuration. Only on a small panel, which it would
    overfit, is it stopped early and its correction of the base shrunk as far as that helps.

    Args:
        panel: may go on after the cutoff; what follows is not read.
        recipe: what to fit.
        cutoff: position in the grid of the last period that may be read.
        on_epoch: called after each epoch.

    Returns:
        None where the history is too short, or the global network needs no search.
    """
    is_global = recipe.model.architecture == GLOBAL
    if cutoff < 0:
        return None
    known = panel.until(cutoff)
    held_out_periods = _num_held_out(known, recipe) * recipe.horizon if is_global else recipe.test_periods
    inner_cutoff = cutoff - held_out_periods
    before = panel.until(inner_cutoff) if inner_cutoff >= 0 else None
    if before is None or not before.series:
        return None
    members = build_members(before, recipe)
    member = members[0]
    if not have_windows(before, [member], recipe):
        return None
    if is_global and not member.is_pretrained and not _is_small(before, member, recipe):
        return None
    held_out = _held_out_windows(known, before, member, recipe)
    if len(held_out) == 0:
        return None
    if member.is_pretrained:
        own = next((member for member in members if not member.is_pretrained), None)
        return _search_share(known, before, (member, own), held_out, recipe, on_epoch)
    ensemble = fit_ensemble(before, recipe, [member], held_out=(known, held_out), on_epoch=on_epoch)
    fitted = ensemble.fitted[0]
    return Search(
        epochs=fitted.best_epoch,
        shrinkage=_find_shrinkage(known, ensemble, held_out, recipe) if is_global else 1.0,
        validation_loss=fitted.validation_loss,
    )


def _num_held_out(known: Panel, recipe: Recipe) -> int:
    """Horizons that are held out of what is known: more of a longer history where a pretrained network is fitted further."""
    if not known.series or not build_members(known, recipe)[0].is_pretrained:
        return _FEWEST_HELD_OUT
    affordable = int(_SHARE_HELD_OUT * np.median(known.lengths)) // recipe.horizon
    return min(max(affordable, _FEWEST_HELD_OUT), _MOST_HELD_OUT)


def _is_small(panel: Panel, member: Member, recipe: Recipe) -> bool:
    num_windows = count_windows(panel, needs=member.needs, horizon=recipe.horizon)
    return num_windows <= _FEW_WINDOWS or member.num_drawn >= _MANY_DRAWS * num_windows


def _held_out_windows(known: Panel, before: Panel, member: Member, recipe: Recipe) -> Windows:
    """Windows whose whole target lies in `known`, after the end of `before`; of very many a random choice."""
    inner_cutoff, cutoff = len(before.grid) - 1, len(known.grid) - 1
    readable = fit_recipe_scaling(before, recipe).mask_unusable(known)
    ends = np.arange(inner_cutoff + 1, cutoff + 1) - recipe.horizon
    windows = find_windows_ending(readable, ends, needs=member.needs).with_target_until(cutoff, horizon=recipe.horizon)
    if len(windows) <= MOST_WINDOWS_PER_EPOCH:
        return windows
    rng = np.random.default_rng(member.settings.seed)
    return windows.take(rng.choice(len(windows), MOST_WINDOWS_PER_EPOCH, replace=False))


def _search_share(
    known: Panel,
    before: Panel,
    members: tuple[Member, Member | None],
    held_out: Windows,
    recipe: Recipe,
    on_epoch: OnEpoch | None,
) -> Search | None:
    """How far a pretrained member is moved towards fitted weights, and whether own members join it, by held-out errors.

    The share with the least error counts as far as there is evidence for it: with few series and horizons held out, the
    network stays near the pretrained one. Own members double what a training and a forecast cost, so they have to bring
    more than a little.
    """
    pretrained, own = members
    ensemble = fit_ensemble(before, recipe, [pretrained.moved_by(1.0)], on_epoch=on_epoch)
    trunk = ensemble.fitted[0].trunk
    fitted, start = trunk.get_weights(), pretrained.pretrained_weights(trunk)
    inputs = ensemble.prepare_inputs(known, held_out)
    if not inputs.is_usable.any():
        return None
    medians = []
    for share in _SHARES:
        _move_weights(trunk, start, fitted, share)
        medians.append(_forecast_medians(ensemble, inputs))
    if own is not None and have_windows(before, [own], recipe):
        alone = fit_ensemble(before, recipe, [own], on_epoch=on_epoch)
        own_median = _forecast_medians(alone, alone.prepare_inputs(known, held_out))
        medians += [(median + own_median) / 2 for median in medians]
    scale = np.ones((len(held_out), 1))
    scale[inputs.is_usable] = mean_seasonal_change(inputs.context, inputs.is_observed, recipe.season)
    errors = _held_out_errors(medians, read_targets(known, held_out, recipe.horizon), scale)
    if errors is None:
        return None
    share, has_own_members = _choose_share(errors)
    num_horizons = (len(known.grid) - len(before.grid)) // recipe.horizon
    num_held_out = len(np.unique(held_out.series[inputs.is_usable])) * num_horizons
    evidence = num_held_out / (num_held_out + _HALF_TRUSTED)
    return Search(
        epochs=pretrained.settings.epochs,
        shrinkage=1.0,
        moved=round(evidence * share, 3),
        has_own_members=has_own_members,
    )


def _choose_share(errors: Sequence[float]) -> tuple[float, bool]:
    """Choose the share by which pretrained weights are moved, and whether own members join.

    Args:
        errors: of each of `_SHARES`; then, if there is an own member, of the means with it.
    """
    alone, joined = errors[: len(_SHARES)], errors[len(_SHARES) :]
    has_own_members = bool(joined) and min(joined) < (1 - _LEAST_GAIN) * min(alone)
    return _SHARES[int(np.argmin(joined if has_own_members else alone))], has_own_members


def _forecast_medians(ensemble: Ensemble, inputs: ModelInputs) -> Array:
    """The median forecast of each window: [N, H]; NaN for windows that the ensemble cannot read."""
    medians = np.full((len(inputs.is_usable), ensemble.input_spec.horizon), np.nan)
    if inputs.is_usable.any():
        quantiles = ensemble.quantiles(ensemble.build_network(), inputs)
        medians[inputs.is_usable] = quantiles[:, :, quantiles.shape[2] // 2]
    return medians


def _held_out_errors(medians: Sequence[Array], target: Array, scale: Array) -> list[float] | None:
    """The mean error of each forecast, over the values that all of them forecast; None if there is none.

    Errors above the quantile `_USUAL_ERRORS` count as that quantile, so that a few windows that hardly change do not decide.

    Args:
        medians: of each candidate, [N, H], NaN where it has no forecast.
        target: [N, H], NaN where nothing is observed.
        scale: mean seasonal change of each window, [N, 1].
    """
    errors = np.array([np.abs(target - median) / scale for median in medians])  # [candidates, N, H]
    errors = errors[:, np.isfinite(errors).all(axis=0)]
    if errors.size == 0:
        return None
    largest = np.quantile(errors, _USUAL_ERRORS)
    return [float(np.minimum(one, largest).mean()) for one in errors]


def _find_shrinkage(panel: Panel, ensemble: Ensemble, windows: Windows, recipe: Recipe) -> float:
    """The factor of the correction with the least mean absolute error of the median.

    Errors count in units of each window's mean seasonal change.
    """
    inputs = ensemble.prepare_inputs(panel, windows)
    if not inputs.is_usable.any():
        return 1.0
    corrected, base = (
        ensemble.quantiles(replace(ensemble, shrinkage=factor).build_network(), inputs) for factor in (1.0, 0.0)
    )
    middle = corrected.shape[2] // 2
    scale = mean_seasonal_change(inputs.context, inputs.is_observed, recipe.season)
    target, corrected, base = (
        values / scale
        for values in (
            read_targets(panel, windows.take(inputs.is_usable), recipe.horizon),
            corrected[:, :, middle],
            base[:, :, middle],
        )
    )
    errors = [np.nanmean(np.abs(target - base - factor * (corrected - base))) for factor in _SHRINKAGES]
    return float(_SHRINKAGES[int(np.argmin(errors))])
