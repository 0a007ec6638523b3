"""The weights of a pretrained network become those of a recipe's; a damaged installation says so in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest

from pipeline.errors import ModelRefused
from pipeline.models.global_lstm import build_trunk
from pipeline.models.heads import build_forecast_network
from pipeline.models.pretrained import (
    FOLDER,
    fit_weights,
    load_member,
    load_pretrained,
    network_name,
    pretrained_configs,
)
from pipeline.models.specs import InputSpec
from pipeline.pretraining.networks import NETWORKS
from pipeline.timeseries.frequency import Frequency
from pipeline.training.export import predict

pytestmark = pytest.mark.tensorflow

Array = npt.NDArray[np.float64]

SHIPPED = [name for name in NETWORKS if (FOLDER / f"{name}.npz").exists()]
FEATURES = InputSpec(horizon=5, past=1, ahead=2, static=3)


def trunk_of(name: str, input_spec: InputSpec) -> keras.Model:
    network = load_pretrained(name)
    assert network is not None
    trunk = build_trunk(network.configs[0], input_spec=input_spec, units=network.configs[0].units or 0, levels=5)
    initial = [(weight.path, weight.numpy()) for weight in trunk.weights]
    trunk.set_weights(
        fit_weights(initial, network.weights[0], trained_horizon=network.horizon, horizon=input_spec.horizon)
    )
    return trunk


def windows_of(name: str, input_spec: InputSpec) -> dict[str, Array]:
    network = load_pretrained(name)
    assert network is not None
    rng = np.random.default_rng(0)
    inputs = {key: rng.normal(size=(4, *shape)) for key, shape in input_spec.shapes(network.configs[0].context).items()}
    inputs["context"][:, :, 1] = 1.0
    return inputs


def test_every_planned_network_is_shipped_with_a_card_that_says_how_to_make_it() -> None:
    assert list(NETWORKS) == SHIPPED
    for name, plan in NETWORKS.items():
        network = load_pretrained(name)
        card = json.loads((FOLDER / f"{name}.json").read_text())
        assert network is not None
        assert network.horizon == plan.horizon
        assert [config.context for config in network.configs] == [config.context for config in plan.members]
        assert card["made_by"] == f"python -m pipeline.pretraining.make {name}"
        assert card["trained_on"]["series"] == plan.num_series
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 9_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shorter_horizon_has_the_first_steps_of_the_whole(name: str) -> None:
    network = load_pretrained(name)
    assert network is not None
    whole, part = InputSpec(horizon=network.horizon), InputSpec(horizon=5)

    forecast = predict(build_forecast_network(trunk_of(name, whole)), windows_of(name, whole))
    first = predict(build_forecast_network(trunk_of(name, part)), windows_of(name, part))

    np.testing.assert_allclose(first, forecast[:, :5], rtol=1e-4, atol=1e-4)


def test_covariates_count_nothing_before_the_network_has_learned_from_them() -> None:
    inputs = windows_of("season-12", FEATURES)
    alone = {"context": inputs["context"][:, :, :2]}

    with_features = predict(build_forecast_network(trunk_of("season-12", FEATURES)), inputs)
    without = predict(build_forecast_network(trunk_of("season-12", InputSpec(horizon=5))), alone)

    np.testing.assert_allclose(with_features, without, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("damage", ["no card", "no weights", "changed weights", "changed card", "cut weights", "empty"])
def test_a_damaged_network_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    for suffix in ("npz", "json"):
        shutil.copy(FOLDER / f"season-4.{suffix}", tmp_path)
    card, weights = tmp_path / "season-4.json", tmp_path / "season-4.npz"
    match damage:
        case "no card":
            card.unlink()
        case "no weights":
            weights.unlink()
        case "changed weights":
            content = bytearray(weights.read_bytes())
            content[len(content) // 2] ^= 1
            weights.write_bytes(content)
        case "changed card":
            card.write_text("{}")
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:1000])
        case "empty":
            weights.write_bytes(b"")

    with pytest.raises(ModelRefused) as refusal:
        load_pretrained("season-4", tmp_path)

    assert str(refusal.value) == (
        "the pretrained network season-4 of this installation is damaged: install nextperiod again"
    )


def test_there_is_no_network_for_other_seasons() -> None:
    assert load_pretrained("season-13") is None
    assert network_name(Frequency("MS"), 12) == "season-12"
    assert network_name(Frequency("YS"), 1) == "yearly"
    assert network_name(Frequency("D"), 1) == "no-season"


def test_a_model_names_the_network_that_it_began_with_and_another_version_is_not_taken_for_it() -> None:
    network = load_pretrained("season-12")
    assert network is not None
    configs = pretrained_configs(network, members=3, steps=10, batch_size=8, learning_rate=0.001)
    assert configs[1].pretrained is not None

    weights, horizon = load_member(configs[1].pretrained)

    assert horizon == network.horizon
    assert weights is network.weights[1]
    with pytest.raises(ModelRefused, match="this installation does not have"):
        load_member("season-12/1@0123456789ab")
    with pytest.raises(ModelRefused, match="this installation does not have"):
        load_member("season-13/1@0123456789ab")
