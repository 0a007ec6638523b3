"""What each ingredient of the global network's defaults brings: `python -m tests.benchmarks.ablation`.

On parts of the M4 training sets, with the last horizon of each series held out, the default is fitted and then fitted
again with one ingredient less. A seed alone moves a figure by .003 to .015.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
from keras import ops

from pipeline.config.recipe import Recipe
from pipeline.forecasting.forecaster import prepare_inputs
from pipeline.models import global_lstm, losses
from pipeline.models.global_lstm_config import GlobalLSTMConfig, default_configs
from pipeline.models.heads import build_forecast_network
from pipeline.models.window_steps import make_steps
from pipeline.preprocessing.scaling import Scaling
from pipeline.preprocessing.windows import Windows, have_enough_context
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel
from pipeline.training import ensemble
from pipeline.training.members import build_members
from tests.benchmarks.accuracy import PARTS, Part, histories, naive2, panel_of, smape_and_mase

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Split:
    """A part with its last horizon held out, and what Naive2 makes of it."""

    part: Part
    series: list[Array]
    observed: Array
    panel: Panel
    reference: Array

    def owa(self, which: npt.NDArray[np.int64], forecast: Array) -> float:
        """Of forecasts for some of the series; Naive2 stands in for the others."""
        whole = self.reference.copy()
        whole[which] = forecast
        ours, theirs = (
            smape_and_mase(one, self.observed, self.series, self.part.season) for one in (whole, self.reference)
        )
        return (ours[0] / theirs[0] + ours[1] / theirs[1]) / 2


def split_of(part: Part) -> Split:
    series, observed = histories(part)
    reference = np.array([naive2(one, part.season, part.horizon) for one in series])
    return Split(part, series, observed, panel_of(series, part.recipe()), reference)


def fitted(
    split: Split, designs: Sequence[GlobalLSTMConfig], *, seed: int
) -> tuple[npt.NDArray[np.int64], list[Array]]:
    """Series that can be forecast, and the medians of each member."""
    panel, recipe = split.panel, split.part.recipe()
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": seed})})
    members = ensemble.fit_ensemble(panel, recipe, build_members(panel, recipe, configs=designs), on_epoch=None)
    windows = Windows(np.arange(len(panel.series)), np.full(len(panel.series), len(panel.grid) - 1))
    windows = windows.take(have_enough_context(panel, windows, members.needs))
    read = prepare_inputs(panel, members.features.transform(panel), windows, members.scaling, members.needs.context)
    made = []
    for design, one in zip(designs, members.fitted, strict=True):
        own = replace(read, inputs={"context": read.inputs["context"][:, -design.context :]})
        made.append(members.quantiles(build_forecast_network(one.trunk), own)[:, :, len(LEVELS) // 2])
    return windows.series[read.is_usable], made


def _each(**changes: Any) -> Callable[[GlobalLSTMConfig], GlobalLSTMConfig]:
    def changed(design: GlobalLSTMConfig) -> GlobalLSTMConfig:
        return replace(design, **changes)

    return changed


def _one_period_a_step(design: GlobalLSTMConfig) -> GlobalLSTMConfig:
    return replace(design, size=1)


def _half_the_steps(design: GlobalLSTMConfig) -> GlobalLSTMConfig:
    return replace(design, steps=design.steps // 2)


#: an ingredient: the parts that it is shown on, and the design without it
DESIGNS: dict[str, tuple[tuple[str, ...], Callable[[GlobalLSTMConfig], GlobalLSTMConfig]]] = {
    "seasons folded into a step": (("weekly",), _one_period_a_step),
    "last season as the base": (("hourly", "quarterly"), _each(base=1)),
    "profile of the week": (("hourly",), _each(profile=0)),
    "newest values straight to the output": (("hourly", "weekly"), _each(skip=0)),
    "error between relative and scaled": (("weekly", "daily"), _each(weighting="scaled")),
    "all steps, not half": (("hourly", "weekly"), _half_the_steps),
    "fewer steps for few values": (("monthly",), _each(steps=900)),
}


@contextmanager
def _patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _everything_known(context: Any, config: GlobalLSTMConfig, horizon: int) -> Any:
    """Steps that do not see which values are padded."""
    values = context[:, :, :1]
    return _STEPS(ops.concatenate([values, ops.ones_like(values)], axis=-1), config, horizon)


def _unscaled(context: Any, config: GlobalLSTMConfig, horizon: int) -> Any:
    """Steps relative to the level only."""
    made = _STEPS(context, config, horizon)
    bare = -1 if config.kind == "frame" else -2  # the others are the mask and the scale
    rest = ops.concatenate([made.steps[..., bare:-1], ops.zeros_like(made.steps[..., -1:])], axis=-1)
    return replace(
        made,
        steps=ops.concatenate([made.steps[..., :bare] * made.scale / _USUAL, rest], axis=-1),
        skip=made.skip * made.scale / _USUAL,
        scale=ops.ones_like(made.scale) * _USUAL,
    )


_STEPS = make_steps
#: values differ by about this from their level
_USUAL = 0.1


def _attached(numbers: Any) -> Any:
    """The LSTM learns from all quantiles."""
    return numbers


PATCHES: dict[str, tuple[tuple[str, ...], tuple[Any, str, Any]]] = {
    "padding is told apart": (("yearly", "monthly"), (global_lstm, "make_steps", _everything_known)),
    "window's own volatility": (("hourly", "weekly"), (global_lstm, "make_steps", _unscaled)),
    "LSTM learns from the median alone": (("weekly", "daily"), (ops, "stop_gradient", _attached)),
    "median counts half": (("daily",), (losses, "LEVEL_WEIGHTS", (0.2,) * len(LEVELS))),
}


def _without_logarithms(panel: Panel, recipe: Recipe) -> Scaling:
    del panel
    return Scaling(kind="last", season=recipe.season)


PATCHES["logarithms"] = (("weekly", "monthly"), (ensemble, "fit_recipe_scaling", _without_logarithms))

#: parts on which the number of members is shown
MEMBERS = (("weekly", "monthly"), (1, 3, 5))


def lines(split: Split, *, members: int, seed: int) -> Iterator[str]:
    """The rows of one part: ingredient, part, OWA with it, OWA without."""
    part = split.part
    designs = default_configs(split.panel, season=part.season, horizon=part.horizon, members=max(MEMBERS[1]))

    def owa(changed: Sequence[GlobalLSTMConfig]) -> float:
        which, made = fitted(split, changed, seed=seed)
        return split.owa(which, np.mean(made, axis=0))

    usual = designs[:members]
    whole = owa(usual)

    def line(ingredient: str, without: float) -> str:
        return f"| {ingredient} | {part.name} | {whole:.3f} | {without:.3f} | {without - whole:+.3f} |"

    for ingredient, (parts, change) in DESIGNS.items():
        if part.name in parts:
            yield line(ingredient, owa([change(design) for design in usual]))
    for ingredient, (parts, patch) in PATCHES.items():
        if part.name in parts:
            with _patched(*patch):
                yield line(ingredient, owa(usual))
    if part.name in MEMBERS[0]:
        which, made = fitted(split, designs, seed=seed)
        for count in MEMBERS[1]:
            yield line(f"{members} members: {count} instead", split.owa(which, np.mean(made[:count], axis=0)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=[part.name for part in PARTS], action="append")
    parser.add_argument("--members", type=int, default=2, help="2 by default: the designs alternate")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print("| ingredient | part | OWA with | without | difference |")
    print("|---|---|---|---|---|")
    for part in PARTS:
        if not asked.part or part.name in asked.part:
            for line in lines(split_of(part), members=asked.members, seed=asked.seed):
                print(line, flush=True)


if __name__ == "__main__":
    main()
