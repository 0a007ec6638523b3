"""From a panel of any size to a model directory with the global network: rehearse, backtest, fit on everything, export."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version

import keras
import numpy as np
import numpy.typing as npt

from pipeline.backtest import Backtest, mase_scales
from pipeline.design import Design, all_positive, designs_for
from pipeline.errors import ModelRefused
from pipeline.fitting import FINE_TUNE_EPOCHS, FINE_TUNE_RATE, Trained
from pipeline.forecast import LEVELS
from pipeline.forecaster import Relative, manifest_of
from pipeline.global_training import fit_member
from pipeline.models.global_lstm import forecasting, mean_of
from pipeline.panel import Panel
from pipeline.recipe import Recipe
from pipeline.training import OnEpoch, export, npz, predict, weights_of
from pipeline.units import contexts_of, flattened
from pipeline.windows import Windows

Array = npt.NDArray[np.float64]

#: more windows than these are tested from origins one horizon apart only
MOST_TESTED = 200_000
_GOLDEN_WINDOWS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class _Members:
    """Networks fitted on one panel, and how their numbers are to be read."""

    trunks: list[keras.Model]
    network: keras.Model
    relative: Relative
    loss: tuple[float, ...]


def train_global(
    panel: Panel, recipe: Recipe, *, start: Sequence[Sequence[Array]] | None = None, on_epoch: OnEpoch | None = None
) -> Trained:
    """Fit a forecaster on the whole panel; its cutoff is the panel's origin.

    Args:
        panel: without gaps longer than the recipe allows.
        recipe: one whose architecture is global.
        start: weights of each member to fine-tune from; none: fit from the seed. The backtest never begins with them.
        on_epoch: told of each call of some steps.

    Raises:
        ModelRefused: the training did not stay finite, or no series is long enough.
    """
    newest = len(panel.grid) - 1
    test_start = newest - recipe.test_periods
    backtest = None
    if test_start > 0:
        earlier = panel.until(test_start)
        designs = _designs(earlier, recipe) if len(earlier.series) else ()
        if designs and _usable(earlier, designs, recipe):
            backtest = _backtest(panel, recipe, _fit(earlier, designs, recipe, on_epoch=on_epoch), test_start)
    designs = _designs(panel, recipe)
    if not _usable(panel, designs, recipe):
        raise ModelRefused(f"no series has the {_needed(designs, recipe)} values that the global network is fitted on")
    if start is not None:
        designs = tuple(_slower(design) for design in designs)
    final = _fit(panel, designs, recipe, start=start, on_epoch=on_epoch)
    files, archive = _model_directory(panel, recipe, designs, final)
    return Trained(
        files=files,
        keras_archive=archive,
        loss=final.loss,
        validation_loss=(),
        epochs=len(final.loss),
        num_windows=sum(design.steps * design.batch_size for design in designs),
        backtest=backtest,
        designs=tuple(map(str, designs)),
    )


def _fit(
    panel: Panel,
    designs: Sequence[Design],
    recipe: Recipe,
    *,
    start: Sequence[Sequence[Array]] | None = None,
    on_epoch: OnEpoch | None,
) -> _Members:
    relative = Relative(
        logarithms=all_positive(panel.values), least_known=max(design.least_known for design in designs)
    )
    flat = flattened(panel, logarithms=relative.logarithms)
    members = [
        fit_member(
            flat,
            design,
            horizon=recipe.horizon,
            units=recipe.model.units,
            seed=recipe.training.seed + n,
            start=start[n] if start else None,
            on_epoch=on_epoch,
        )
        for n, design in enumerate(designs)
    ]
    trunks = [trunk for trunk, _ in members]
    network = mean_of([forecasting(trunk) for trunk in trunks])
    return _Members(trunks=trunks, network=network, relative=relative, loss=members[0][1])


def _designs(panel: Panel, recipe: Recipe) -> tuple[Design, ...]:
    return designs_for(panel, season=recipe.season, horizon=recipe.horizon, members=recipe.num_members)


def _needed(designs: Sequence[Design], recipe: Recipe) -> int:
    return max(design.least_known for design in designs) + recipe.horizon


def _usable(panel: Panel, designs: Sequence[Design], recipe: Recipe) -> bool:
    return bool((panel.lengths >= _needed(designs, recipe)).any())


def _slower(design: Design) -> Design:
    return replace(
        design,
        steps=max(1, round(design.steps * FINE_TUNE_EPOCHS)),
        learning_rate=design.learning_rate * FINE_TUNE_RATE,
    )


def _backtest(panel: Panel, recipe: Recipe, members: _Members, cutoff: int) -> Backtest | None:
    """Every origin of the test part, by a network fitted up to `cutoff` only."""
    tested = _tested(panel, recipe, members, cutoff)
    forecast = np.empty((len(tested), recipe.horizon))
    kept = np.zeros(len(tested), bool)
    for first in range(0, len(tested), MOST_TESTED):
        rows = slice(first, first + MOST_TESTED)
        _, known = contexts_of(panel, tested.series[rows], tested.end[rows], tested.context.shape[1])
        inputs, level, usable = members.relative.inputs(tested.context[rows], known)
        outputs = predict(members.network, inputs)
        forecast[rows] = members.relative.values(outputs, level)[:, :, len(LEVELS) // 2]
        kept[rows] = usable
    if not kept.any():
        return None
    fitting_part = panel.until(cutoff)
    scales = dict(zip(fitting_part.series, mase_scales(fitting_part, recipe.season), strict=True))
    tested = tested.take(kept)
    mase_scale = np.array([scales.get(name, np.nan) for name in panel.series])[tested.series][:, None]
    return Backtest(windows=tested, forecast=forecast[kept], mase_scale=mase_scale, season=recipe.season)


def _tested(panel: Panel, recipe: Recipe, members: _Members, cutoff: int) -> Windows:
    """Windows of every series from the origins of the test part."""
    length, horizon = members.network.input_shape[1], recipe.horizon
    ends = np.arange(cutoff, len(panel.grid) - 1)
    if len(ends) * len(panel.series) > MOST_TESTED:
        ends = ends[::horizon]
    series, end = (grid.ravel() for grid in np.meshgrid(np.arange(len(panel.series)), ends, indexing="ij"))
    inside = (panel.first[series] <= end) & (end < panel.last[series])
    series, end = series[inside], end[inside]
    context, _ = contexts_of(panel, series, end, length)
    later = end[:, None] + 1 + np.arange(horizon)
    place = panel.offsets[series][:, None] + later - panel.first[series][:, None]
    target = np.where(
        later <= panel.last[series][:, None], panel.values[np.minimum(place, len(panel.values) - 1)], np.nan
    )
    return Windows(context=context, target=target, series=series, end=end)


def _model_directory(
    panel: Panel, recipe: Recipe, designs: Sequence[Design], members: _Members
) -> tuple[dict[str, bytes], bytes]:
    chosen = np.argsort(-panel.lengths, kind="stable")[:_GOLDEN_WINDOWS]
    context, known = contexts_of(panel, chosen, panel.last[chosen], members.network.input_shape[1])
    inputs, _, _ = members.relative.inputs(context, known)
    onnx_network, archive = export(members.network, inputs)
    fields = {
        "recipe": recipe.model_dump(mode="json"),
        "training_fingerprint": recipe.training_fingerprint,
        "features": ["value", "known"],
        "context": members.network.input_shape[1],
        "horizon": recipe.horizon,
        "cutoff": str(panel.origin),
        "relative": asdict(members.relative),
        "members": [asdict(design) for design in designs],
        "versions": {name: version(name) for name in ("keras", "numpy", "onnx", "tensorflow", "tf2onnx")},
    }
    files = {
        "network.onnx": onnx_network,
        "weights.npz": weights_of(members.trunks),
        "forecaster.json": json.dumps(fields, indent=1, sort_keys=True).encode(),
        "golden.npz": npz({"inputs": inputs.astype(np.float32), "outputs": predict(members.network, inputs)}),
    }
    return {**files, "manifest.json": manifest_of(files)}, archive
