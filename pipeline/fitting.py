"""From a panel to a model directory: find the number of epochs, backtest, fit on everything, export.

Three parts of the history never do each other's work: the network is stopped by origins inside the
fitting part, judged on a test part that neither fitting nor stopping has seen, and then fitted again
on all of it for the number of epochs that was found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import keras
import numpy as np
import numpy.typing as npt

from pipeline.backtest import Backtest, mase_scales, spread_of
from pipeline.baselines import seasonal_naive
from pipeline.forecaster import Spread, manifest_of
from pipeline.models.sizes import Sizes
from pipeline.panel import Panel
from pipeline.recipe import Recipe
from pipeline.scaling import Scaler, WindowScale, fit_scaler
from pipeline.training import (
    Example,
    Fitted,
    Fitting,
    OnEpoch,
    attention_of,
    average,
    export,
    fit_network,
    npz,
    predict,
    weights_of,
)
from pipeline.windows import Windows, make_windows

Array = npt.NDArray[np.float64]

#: a fine-tuned network learns this much slower, for this share of the epochs
FINE_TUNE_RATE, FINE_TUNE_EPOCHS = 0.1, 0.25

_GOLDEN_WINDOWS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A model directory with what is known about how it came to be."""

    files: dict[str, bytes]
    keras_archive: bytes
    loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    epochs: int
    num_windows: int
    backtest: Backtest | None
    #: by step of the context, oldest first; empty for networks without attention
    attention: tuple[float, ...] = ()
    #: of each member, where the network chooses what it reads and how it is fitted
    designs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ensemble:
    """Members fitted on the windows known by one cutoff."""

    networks: list[keras.Model]
    scaler: Scaler
    first: Fitted


def train(
    panel: Panel, recipe: Recipe, *, start: Sequence[Sequence[Array]] | None = None, on_epoch: OnEpoch | None = None
) -> Trained:
    """Fit a forecaster on the whole panel; its cutoff is the panel's origin.

    The number of epochs and the backtest never begin with given weights: those have seen the test part.

    Args:
        panel: without gaps longer than the recipe allows.
        recipe: what to fit.
        start: weights of each member to fine-tune from; none: fit from the seed.
        on_epoch: told of each epoch of each fit.

    Raises:
        ModelRefused: the training did not stay finite.
    """
    windows = make_windows(panel, context=recipe.context, horizon=recipe.horizon)
    newest = len(panel.grid) - 1
    test_start = newest - recipe.test_periods
    epochs, search = _find_epochs(panel, recipe, windows, test_start, on_epoch)

    backtest = None
    if len(windows.known_by(test_start)) > 0:
        rehearsal = _fit(panel, recipe, windows, test_start, _fitting(recipe, epochs), on_epoch=on_epoch)
        backtest = _backtest(panel, recipe, windows, test_start, rehearsal)
    fitting = _fitting(recipe, epochs) if start is None else _fine_tuning(recipe, epochs)
    final = _fit(panel, recipe, windows, newest, fitting, start=start, on_epoch=on_epoch)
    network = average(final.networks)
    spread = _spread(panel, recipe, windows, newest, final.scaler, backtest)
    files, archive = _model_directory(panel, recipe, windows, network, final, spread)
    return Trained(
        files=files,
        keras_archive=archive,
        loss=final.first.loss,
        validation_loss=search.validation_loss if search else (),
        epochs=fitting.epochs,
        num_windows=len(windows.known_by(newest)),
        backtest=backtest,
        attention=_attention(panel, windows, final),
    )


def _find_epochs(
    panel: Panel,
    recipe: Recipe,
    windows: Windows,
    cutoff: int,
    on_epoch: OnEpoch | None,
) -> tuple[int, Fitted | None]:
    """The epochs after which the windows just before `cutoff` were forecast best."""
    most = recipe.training.epochs
    inner = cutoff - recipe.test_periods
    known = windows.known_by(cutoff)
    held_out = known.take(known.end + recipe.horizon > inner)
    fitted_on = windows.known_by(inner)
    if len(fitted_on) == 0 or len(held_out) == 0:
        return most, None
    scaler = _scaler(panel, recipe, inner)
    search = fit_network(
        recipe.model.architecture,
        _sizes(recipe),
        replace(_fitting(recipe, most), patience=recipe.training.patience),
        _example(scaler, panel, fitted_on),
        held_out=_example(scaler, panel, held_out),
        on_epoch=on_epoch,
    )
    return search.best_epoch, search


def _fit(
    panel: Panel,
    recipe: Recipe,
    windows: Windows,
    cutoff: int,
    fitting: Fitting,
    *,
    start: Sequence[Sequence[Array]] | None = None,
    on_epoch: OnEpoch | None,
) -> _Ensemble:
    scaler = _scaler(panel, recipe, cutoff)
    examples = _example(scaler, panel, windows.known_by(cutoff))
    members = [
        fit_network(
            recipe.model.architecture,
            _sizes(recipe),
            replace(fitting, seed=fitting.seed + member),
            examples,
            start=start[member] if start else None,
            on_epoch=on_epoch,
        )
        for member in range(recipe.num_members)
    ]
    return _Ensemble(networks=[member.network for member in members], scaler=scaler, first=members[0])


def _backtest(panel: Panel, recipe: Recipe, windows: Windows, cutoff: int, ensemble: _Ensemble) -> Backtest | None:
    """Every origin of the test part, by a network fitted up to `cutoff` only."""
    tested = windows.ending(cutoff, len(panel.grid) - 2)
    if len(tested) == 0:
        return None
    scale = _scale(ensemble.scaler, panel, tested)
    forecast = scale.values(predict(average(ensemble.networks), scale.inputs(tested.context)))
    fitting_part = panel.until(cutoff)
    scales = dict(zip(fitting_part.series, mase_scales(fitting_part, recipe.season), strict=True))
    mase_scale = np.array([scales.get(name, np.nan) for name in panel.series])[tested.series][:, None]
    return Backtest(windows=tested, forecast=forecast, mase_scale=mase_scale, season=recipe.season)


def _spread(
    panel: Panel, recipe: Recipe, windows: Windows, cutoff: int, scaler: Scaler, backtest: Backtest | None
) -> Spread:
    """From the backtest's residuals; where the history is too short for one, from the seasonal naive's."""
    if backtest is not None:
        scale = _scale(scaler, panel, backtest.windows)
        return spread_of(backtest.residuals(), scale.scale)
    known = windows.known_by(cutoff)
    residuals = known.target - seasonal_naive(known.context, recipe.horizon, recipe.season)
    return spread_of(residuals, _scale(scaler, panel, known).scale)


def _model_directory(
    panel: Panel, recipe: Recipe, windows: Windows, network: keras.Model, ensemble: _Ensemble, spread: Spread
) -> tuple[dict[str, bytes], bytes]:
    golden_windows = windows.take(windows.end >= windows.end.max() - _GOLDEN_WINDOWS)
    inputs = _scale(ensemble.scaler, panel, golden_windows).inputs(golden_windows.context)[:_GOLDEN_WINDOWS]
    onnx_network, archive = export(network, inputs)
    fields = {
        "recipe": recipe.model_dump(mode="json"),
        "training_fingerprint": recipe.training_fingerprint,
        "features": ["value"],
        "context": recipe.context,
        "horizon": recipe.horizon,
        "cutoff": str(panel.origin),
        "scaler": ensemble.scaler.as_dict(),
        "spread": {"by_step": spread.by_step.tolist(), "at_level": spread.at_level.tolist()},
        "versions": {name: version(name) for name in ("keras", "numpy", "onnx", "tensorflow", "tf2onnx")},
    }
    files = {
        "network.onnx": onnx_network,
        "weights.npz": weights_of(ensemble.networks),
        "forecaster.json": json.dumps(fields, indent=1, sort_keys=True).encode(),
        "golden.npz": npz({"inputs": inputs.astype(np.float32), "outputs": predict(network, inputs)}),
    }
    return {**files, "manifest.json": manifest_of(files)}, archive


def _attention(panel: Panel, windows: Windows, ensemble: _Ensemble) -> tuple[float, ...]:
    """What the first member gives to each step, on average over the newest window of each series."""
    newest = windows.take(windows.end == windows.end.max())
    inputs = _scale(ensemble.scaler, panel, newest).inputs(newest.context)
    weights = attention_of(ensemble.networks[0], inputs)
    return () if weights is None else tuple(weights.mean(axis=0).tolist())


def _scaler(panel: Panel, recipe: Recipe, cutoff: int) -> Scaler:
    return fit_scaler(panel.until(cutoff), kind=recipe.model.scaling, season=recipe.season, horizon=recipe.horizon)


def _scale(scaler: Scaler, panel: Panel, windows: Windows) -> WindowScale:
    return scaler.of_windows(windows.context, panel.series, windows.series)


def _example(scaler: Scaler, panel: Panel, windows: Windows) -> Example:
    scale = _scale(scaler, panel, windows)
    return Example(inputs=scale.inputs(windows.context), targets=scale.targets(windows.target))


def _sizes(recipe: Recipe) -> Sizes:
    model = recipe.model
    return Sizes(
        context=recipe.context,
        features=1,
        horizon=recipe.horizon,
        units=model.units,
        layers=model.layers,
        activation=model.activation,
        dropout=model.dropout,
        recurrent_dropout=model.recurrent_dropout,
    )


def _fitting(recipe: Recipe, epochs: int) -> Fitting:
    training = recipe.training
    return Fitting(
        epochs=epochs,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        loss=training.loss,
        seed=training.seed,
        clip_norm=None if training.clip_value else training.clip_norm,
        clip_value=training.clip_value,
        optimizer=training.optimizer,
        schedule=training.schedule,
    )


def _fine_tuning(recipe: Recipe, epochs: int) -> Fitting:
    return replace(
        _fitting(recipe, max(1, round(epochs * FINE_TUNE_EPOCHS))),
        learning_rate=recipe.training.learning_rate * FINE_TUNE_RATE,
    )
