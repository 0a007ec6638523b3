"""The networks that ship with the package: what they are, and how their weights become those of a recipe's network.

A pretrained network is an ensemble of members of the global network that was fitted on synthetic series alone, see
`pipeline.pretraining`. It forecasts series of one season over a horizon that is longer than most; a recipe takes the
first steps of it. There are two files of each in `weights/`: NAME.npz with the weights, and NAME.json, its card, with the
configurations of its members and the hash of the weights. Keras is not imported here.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelRefused
from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.timeseries.frequency import Frequency

Array = npt.NDArray[np.float64]
Weights = Mapping[str, npt.NDArray[np.float32]]

#: where the files are
FOLDER = Path(__file__).parent / "weights"
#: share of the way to fitted weights by which a member is moved where no held-out window says more
_USUALLY_MOVED = 0.25
#: digits of the hash of its weights by which a model names its pretrained network
_HASH_SHOWN = 12
#: the names of a member's weights; the last axis of the output layers' is by step, and by quantile within a step
LSTM_WEIGHTS = ("lstm_cell/kernel", "lstm_cell/recurrent_kernel", "lstm_cell/bias")
OUTPUT_WEIGHTS = ("middle/kernel", "middle/bias", "distances/kernel", "distances/bias")


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainedNetwork:
    """A pretrained network as it was shipped."""

    name: str
    #: steps that it forecasts
    horizon: int
    #: sha256 of its weights
    weights_hash: str
    #: of each member
    configs: tuple[GlobalLSTMConfig, ...]
    #: of each member, by the name of the weight
    weights: tuple[Weights, ...]

    @property
    def least_known(self) -> int:
        """Values that a series must have so that every member can read it."""
        return max(config.least_known for config in self.configs)


def network_name(frequency: Frequency, season: int) -> str:
    """Return the name of the network for series of a frequency; it need not exist."""
    if season > 1:
        return f"season-{season}"
    return "yearly" if frequency.is_yearly else "no-season"


def pretrained_configs(
    network: PretrainedNetwork, *, members: int, steps: int, batch_size: int, learning_rate: float
) -> tuple[GlobalLSTMConfig, ...]:
    """Return the configurations with which the first members of a network are fitted further on a recipe's panel."""
    return tuple(
        replace(
            config,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            pretrained=f"{network.name}/{n}@{network.weights_hash[:_HASH_SHOWN]}",
            moved=_USUALLY_MOVED,
        )
        for n, config in enumerate(network.configs[:members])
    )


def load_member(label: str) -> tuple[Weights, int]:
    """Return the weights of the member that a configuration names, and the steps that they forecast.

    Raises:
        ModelRefused: the installation has no such network, or another version of it.
    """
    name, _, rest = label.partition("/")
    member, _, shown = rest.partition("@")
    network = load_pretrained(name)
    if network is None or network.weights_hash[:_HASH_SHOWN] != shown:
        raise ModelRefused(
            f"the model began with the pretrained network {label}, which this installation does not have"
        )
    return network.weights[int(member)], network.horizon


def is_installed(label: str) -> bool:
    """Return whether the installation has the network, of the same weights, that a configuration names."""
    try:
        load_member(label)
    except ModelRefused:
        return False
    return True


@cache
def load_pretrained(name: str, folder: Path = FOLDER) -> PretrainedNetwork | None:
    """Read a pretrained network; None if there is none of this name.

    Raises:
        ModelRefused: its files are incomplete, or were changed.
    """
    card_file, weights_file = folder / f"{name}.json", folder / f"{name}.npz"
    if not card_file.exists() and not weights_file.exists():
        return None
    problem = f"the pretrained network {name} of this installation is damaged: install nextperiod again"
    try:
        content, card = weights_file.read_bytes(), json.loads(card_file.read_bytes())
        if hashlib.sha256(content).hexdigest() != card["weights_sha256"]:
            raise ModelRefused(problem)
        return _read(name, card, content)
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelRefused(problem) from None


def _read(name: str, card: Mapping[str, Any], content: bytes) -> PretrainedNetwork:
    configs = tuple(GlobalLSTMConfig(**fields) for fields in card["members"])
    weights: list[dict[str, npt.NDArray[np.float32]]] = [{} for _ in configs]
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        for key in arrays.files:
            member, _, weight = key.partition(".")
            weights[int(member)][weight] = arrays[key].astype(np.float32)
    return PretrainedNetwork(
        name=name,
        horizon=int(card["horizon"]),
        weights_hash=str(card["weights_sha256"]),
        configs=configs,
        weights=tuple(weights),
    )


def cut_weights(weights: Weights, *, trained_horizon: int, horizon: int) -> Weights:
    """Return a member's weights that forecast the first steps of its horizon alone.

    Args:
        weights: of the member.
        trained_horizon: steps that they forecast.
        horizon: steps that are forecast instead, not more.
    """
    first = {name: _first_steps(weights[name], trained_horizon, horizon) for name in OUTPUT_WEIGHTS}
    return {**weights, **{name: steps.reshape(*steps.shape[:-2], -1) for name, steps in first.items()}}


def fit_weights(
    initial: Sequence[tuple[str, Array]], pretrained: Weights, *, trained_horizon: int, horizon: int
) -> list[Array]:
    """Return the weights of a recipe's trunk that starts from a pretrained member's, in its order.

    The first steps of the horizon are taken. Inputs that the pretrained network has not seen, such as covariates, count
    nothing at first; layers that it does not have stay as they are.

    Args:
        initial: path and value of each weight of the trunk.
        pretrained: of the member.
        trained_horizon: steps that the pretrained network forecasts.
        horizon: of the recipe, not longer.
    """
    return [_fit_weight(path, value, pretrained, trained_horizon, horizon) for path, value in initial]


def _fit_weight(path: str, value: Array, pretrained: Weights, trained_horizon: int, horizon: int) -> Array:
    name = next((name for name in (*LSTM_WEIGHTS, *OUTPUT_WEIGHTS) if path.endswith(name)), None)
    if name is None:
        return value
    source = pretrained[name]
    fitted = np.zeros_like(value)
    if name in OUTPUT_WEIGHTS:
        steps = _first_steps(source, trained_horizon, horizon)
        view = fitted.reshape(*fitted.shape[:-1], horizon, -1)
        view[..., : steps.shape[-1]] = steps
        return view.reshape(fitted.shape)
    fitted[tuple(slice(size) for size in source.shape)] = source
    return fitted


def _first_steps(weights: npt.NDArray[np.float32], trained_horizon: int, horizon: int) -> npt.NDArray[np.float32]:
    """Weights of an output layer for each of the first steps of its horizon, [..., H, K]."""
    return weights.reshape(*weights.shape[:-1], trained_horizon, -1)[..., :horizon, :]
