"""From a panel of any size to a model directory: find the number of epochs, backtest, fit on everything, export.

Three parts of the history never do each other's work: the network is stopped by origins inside the
fitting part, judged on a test part that neither fitting nor stopping has seen, and then fitted again
on all of it for the number of epochs that was found.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused
from pipeline.evaluation.comparison import compare_errors, forecast_windows, series_worse_than_baseline
from pipeline.evaluation.holdout import HoldoutBacktest, calibration_of, mase_scales, spread_of
from pipeline.evaluation.promotion import decide
from pipeline.forecasting.baselines import seasonal_naive
from pipeline.forecasting.calibration import Calibration
from pipeline.forecasting.forecaster import IntervalWidths, build_manifest, mean_seasonal_change, prepare_inputs
from pipeline.preprocessing.windows import Windows, contexts_of, has_enough, targets_of, windows_ending
from pipeline.records.training import GateRecord
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel
from pipeline.training.champion import Champion
from pipeline.training.ensemble import (
    Ensemble,
    Search,
    as_before,
    fit_ensemble,
    fit_recipe_scaling,
    have_windows,
    planned,
    search_epochs,
    select_windows,
)
from pipeline.training.export import attention_weights, export_network, pack_weights, predict, to_npz
from pipeline.training.fit import OnEpoch
from pipeline.training.members import Member

Array = npt.NDArray[np.float64]

#: more windows than these are tested from origins one horizon apart only, at most so many at once
MOST_TESTED, _AT_ONCE = 200_000, 20_000
#: about so many steps of the test part calibrate the quantiles: of every series, or of some
_MOST_CALIBRATED = 100_000
_GOLDEN_WINDOWS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """A model directory with what is known about how it came to be."""

    files: dict[str, bytes]
    keras_archive: bytes
    loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    epochs: int
    num_windows: int
    backtest: HoldoutBacktest | None
    #: by step of the context, oldest first; empty for networks without attention
    attention: tuple[float, ...] = ()
    #: of each member, where the network chooses what it reads and how it is fitted
    designs: tuple[str, ...] = ()
    #: whether it publishes
    gate: GateRecord
    #: series that it forecasts worse than the baseline, with the figures
    worse: dict[str, str]


def train(
    panel: Panel,
    recipe: Recipe,
    *,
    champion: Champion | None = None,
    unusable: str | None = None,
    fine_tune: bool = False,
    on_epoch: OnEpoch | None = None,
) -> TrainedModel:
    """Fit a forecaster on the whole panel, its challenge: its cutoff is the panel's origin.

    What is judged is the same training up to the test part. Weights that have seen the test part are never judged on
    it: then it is rehearsed from the seed.

    Args:
        panel: without gaps longer than the recipe allows.
        recipe: what to fit.
        champion: the model that publishes, to beat.
        unusable: why there is none, though a model publishes.
        fine_tune: go on from the champion's weights.
        on_epoch: told of each epoch of each fit.

    Raises:
        ModelRefused: the training did not stay finite, or no series has a window to fit on.
    """
    test_start = len(panel.grid) - 1 - recipe.test_periods
    tuned = champion if fine_tune else None
    rehearses = tuned if tuned and test_start >= 0 and not tuned.has_seen(panel.grid[test_start]) else None
    search = None if rehearses else search_epochs(panel, recipe, test_start, on_epoch)
    backtest = _rehearsed(panel, recipe, test_start, search, on_epoch, tuned=rehearses)
    gc.collect()  # networks are rings of references, each of which holds the panel
    gate = _judged(panel, recipe, test_start, backtest, champion, unusable, on_epoch)
    trust = _trust(search, tuned)
    members = _members(panel, recipe, search, tuned)
    if not have_windows(panel, members, recipe):
        raise ModelRefused(_why_not(panel, members, recipe))
    final = fit_ensemble(panel, recipe, members, trust=trust, tuned=tuned, on_epoch=on_epoch)
    spread = None if recipe.loss == "pinball" else _spread(panel, recipe, final, backtest)
    calibration = backtest.calibration if backtest else None
    files, archive = _model_directory(panel, recipe, final, spread, calibration, instead_of=unusable)
    return TrainedModel(
        files=files,
        keras_archive=archive,
        loss=final.fitted[0].loss,
        validation_loss=search.validation_loss if search else (),
        epochs=members[0].fitting.epochs,
        num_windows=final.num_windows,
        backtest=backtest,
        attention=_attention(panel, final),
        designs=tuple(_described(member, trust) for member in members if member.design),
        gate=gate,
        worse=series_worse_than_baseline(backtest, recipe.gate.baseline, panel.series) if backtest else {},
    )


def _described(member: Member, trust: float) -> str:
    steps = member.fitting.epochs * (member.fitting.steps_per_epoch or 0)
    stopped = f", stopped after {steps} steps" if member.design and steps < member.design.steps - 12 else ""
    return f"{member.design}{stopped}" + (f", {trust:.0%} of the correction counts" if trust < 1 else "")


def _trust(search: Search | None, tuned: Champion | None) -> float:
    if tuned is not None:
        return tuned.trust
    return search.trust if search else 1.0


def _members(panel: Panel, recipe: Recipe, search: Search | None, tuned: Champion | None) -> list[Member]:
    if tuned is None:
        return planned(panel, recipe, search)
    return [member.fine_tuning() for member in as_before(panel, recipe, tuned)]


def _rehearsed(
    panel: Panel,
    recipe: Recipe,
    cutoff: int,
    search: Search | None,
    on_epoch: OnEpoch | None,
    *,
    tuned: Champion | None = None,
) -> HoldoutBacktest | None:
    """The backtest of the same network fitted up to `cutoff`; None where that leaves nothing to fit on or to test."""
    if cutoff < 0 or not (earlier := panel.until(cutoff)).series:
        return None
    members = _members(earlier, recipe, search, tuned)
    if not have_windows(earlier, members, recipe):
        return None
    ensemble = fit_ensemble(earlier, recipe, members, trust=_trust(search, tuned), tuned=tuned, on_epoch=on_epoch)
    return _backtest(panel, earlier, recipe, ensemble)


def _judged(
    panel: Panel,
    recipe: Recipe,
    cutoff: int,
    backtest: HoldoutBacktest | None,
    champion: Champion | None,
    unusable: str | None,
    on_epoch: OnEpoch | None,
) -> GateRecord:
    """Challenger, champion and baseline at the origins of the test part that neither model was fitted on."""
    replaced = None if champion else unusable or "the first model"
    if champion and not champion.forecasts_what(recipe):
        replaced = "the champion forecasts other periods, or reads other covariates"
    rival = None
    if backtest and champion and not replaced:
        if (
            champion.has_seen(panel.grid[cutoff])
            and champion.recipe.training_fingerprint != recipe.training_fingerprint
        ):
            rival = _refitted(panel, cutoff, backtest, champion, on_epoch)
        else:
            backtest = backtest.take(panel.grid[backtest.windows.end] >= champion.forecaster.cutoff)
            rival = forecast_windows(champion.forecaster, panel, backtest.windows)
    contest = compare_errors(backtest, rival, recipe.gate.baseline) if backtest else None
    verdict = decide(contest, baseline=recipe.gate.baseline, replaced=replaced)
    if contest is None:
        return GateRecord(outcome=verdict.outcome, reason=verdict.reason)
    return GateRecord(
        outcome=verdict.outcome,
        reason=verdict.reason,
        challenger=_mean(contest.challenger),
        champion=_mean(contest.champion),
        baseline=_mean(contest.baseline),
        p_value=verdict.p_value,
        num_periods=len(contest.challenger),
        num_series=contest.num_series,
    )


def _mean(losses: Array | None) -> float | None:
    return None if losses is None or not len(losses) else float(losses.mean())


def _refitted(
    panel: Panel, cutoff: int, backtest: HoldoutBacktest, champion: Champion, on_epoch: OnEpoch | None
) -> Array | None:
    """What a network of the champion's recipe says, fitted without the test part that the champion has seen."""
    recipe, earlier = champion.recipe, panel.until(cutoff)
    members = as_before(earlier, recipe, champion)
    if not have_windows(earlier, members, recipe):
        return None
    ensemble = fit_ensemble(earlier, recipe, members, trust=champion.trust, on_epoch=on_epoch)
    theirs = _backtest(panel, earlier, recipe, ensemble)
    if theirs is None:
        return None
    found = np.full_like(backtest.forecast, np.nan)
    place = {pair: n for n, pair in enumerate(zip(theirs.windows.series, theirs.windows.end, strict=True))}
    for n, pair in enumerate(zip(backtest.windows.series, backtest.windows.end, strict=True)):
        if pair in place:
            found[n] = theirs.forecast[place[pair]]
    return found


def _why_not(panel: Panel, members: Sequence[Member], recipe: Recipe) -> str:
    needs = max((member.needs for member in members), key=lambda needs: needs.least_length)
    positive = " above 0, whose logarithm there is," if fit_recipe_scaling(panel, recipe).logarithms else ""
    return (
        f"no series has a window to fit on: {needs.least_length + recipe.horizon} periods are needed, {needs.least_known} "
        f"of those before the last {recipe.horizon} with values{positive} and one where the context ends"
    )


def _backtest(panel: Panel, earlier: Panel, recipe: Recipe, ensemble: Ensemble) -> HoldoutBacktest | None:
    """Every origin of the test part, by a network fitted on the part before it only."""
    ends = np.arange(len(earlier.grid) - 1, len(panel.grid) - 1)
    if len(ends) * len(panel.series) > MOST_TESTED:
        ends = ends[:: recipe.horizon]
    tested = windows_ending(panel, ends, needs=ensemble.needs)
    every = 1 + len(tested) * recipe.horizon // _MOST_CALIBRATED
    network, features, told, used = ensemble.network, ensemble.features.of(panel), [], []
    for first in range(0, len(tested), _AT_ONCE):
        chosen = tested.take(slice(first, first + _AT_ONCE))
        read = prepare_inputs(panel, features, chosen, ensemble.scaling, ensemble.needs.context)
        used.append(read.is_usable)
        if read.is_usable.any():
            told.append(ensemble.quantiles(network, read))
    if not told:
        return None
    values = np.concatenate(told)  # [N, H, Q], or [N, H, 1]
    tested = tested.take(np.concatenate(used))
    scales = dict(zip(earlier.series, mase_scales(earlier, recipe.season), strict=True))
    length = max(ensemble.needs.context, recipe.season)
    observed, some = targets_of(panel, tested, recipe.horizon), tested.series % every == 0
    return HoldoutBacktest(
        windows=tested,
        context=contexts_of(panel, tested, length)[0],
        observed=observed,
        forecast=values[:, :, values.shape[2] // 2],
        quantiles=values if values.shape[2] == len(LEVELS) else None,
        mase_scale=np.array([scales.get(name, np.nan) for name in panel.series])[tested.series][:, None],
        season=recipe.season,
        calibration=calibration_of(tested.take(some), values[some], observed[some])
        if recipe.loss == "pinball"
        else None,
    )


def _spread(panel: Panel, recipe: Recipe, ensemble: Ensemble, backtest: HoldoutBacktest | None) -> IntervalWidths:
    """From the backtest's residuals; where the history is too short for one, from the seasonal naive's."""
    length = ensemble.needs.context
    if backtest is not None:
        windows, residuals = backtest.windows, backtest.residuals()
    else:
        windows = select_windows(panel, ensemble.members[0], recipe)
        context, _ = contexts_of(panel, windows, length)
        residuals = targets_of(panel, windows, recipe.horizon) - seasonal_naive(context, recipe.horizon, recipe.season)
    return spread_of(residuals, mean_seasonal_change(*contexts_of(panel, windows, length), recipe.season))


def _model_directory(
    panel: Panel,
    recipe: Recipe,
    ensemble: Ensemble,
    spread: IntervalWidths | None,
    calibration: Calibration | None,
    *,
    instead_of: str | None,
) -> tuple[dict[str, bytes], bytes]:
    length = ensemble.needs.context
    golden = prepare_inputs(panel, ensemble.features.of(panel), _newest(panel), ensemble.scaling, length)
    if not golden.is_usable.any():
        raise ModelRefused("no series ends with a window that can be read: its values are not above 0")
    network = ensemble.network
    onnx_network, archive = export_network(network, golden.inputs)
    fields = {
        "recipe": recipe.model_dump(mode="json"),
        "training_fingerprint": recipe.training_fingerprint,
        "needs": asdict(ensemble.needs),
        "horizon": recipe.horizon,
        "levels": LEVELS if spread is None else None,
        "cutoff": str(panel.origin),
        "scaling": ensemble.scaling.as_dict(),
        "features": ensemble.features.as_dict(),
        "spread": spread and {"by_step": spread.by_step.tolist(), "at_level": spread.at_level.tolist()},
        "epochs": list(ensemble.epochs),
        "trust": ensemble.trust,
        "instead_of": instead_of,  # fitted again on the same data it is another model than the one that is damaged
        "calibration": calibration and calibration.as_dict(),
        "members": [asdict(member.design) for member in ensemble.members if member.design],
        "versions": {name: version(name) for name in ("keras", "numpy", "onnx", "tensorflow", "tf2onnx")},
    }
    single = {name: told.astype(np.float32) for name, told in golden.inputs.items()}
    files = {
        "network.onnx": onnx_network,
        "weights.npz": pack_weights([one.trunk for one in ensemble.fitted]),
        "forecaster.json": json.dumps(fields, indent=1, sort_keys=True).encode(),
        "golden.npz": to_npz({**single, "outputs": predict(network, golden.inputs)}),
    }
    return {**files, "manifest.json": build_manifest(files)}, archive


def _newest(panel: Panel) -> Windows:
    """The last windows of the longest series."""
    longest = np.argsort(-panel.lengths, kind="stable")[:_GOLDEN_WINDOWS]
    back = np.arange(_GOLDEN_WINDOWS // len(longest))
    series, before = (grid.ravel() for grid in np.meshgrid(longest, back, indexing="ij"))
    return Windows(series, np.maximum(panel.last[series] - before, panel.first[series]))


def _attention(panel: Panel, ensemble: Ensemble) -> tuple[float, ...]:
    """What the first member gives to each step, on average over the newest window of each series."""
    windows = Windows(np.arange(len(panel.series)), panel.last)
    windows = windows.take(has_enough(panel, windows, ensemble.needs))
    read = prepare_inputs(panel, ensemble.features.of(panel), windows, ensemble.scaling, ensemble.needs.context)
    weights = attention_weights(ensemble.fitted[0].trunk, read.inputs)
    return () if weights is None else tuple(weights.mean(axis=0).tolist())
