"""Make the pretrained networks: `python -m pipeline.pretraining.make [NAME...]`, or `make pretrain`.

Each member is fitted in a process of its own and kept in `.pretraining/` as soon as it is there, so that an interrupted run
goes on where it was. The same plan gives the same bytes on the same machine and libraries.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from pipeline.models.pretrained import FOLDER
from pipeline.pretraining.networks import NETWORKS, NetworkPlan

#: fitted members wait here for the others
_KEPT = Path(".pretraining")
#: processors that are counted on, as many as there may be: they decide the weights' last bits
_NUM_PROCESSORS = 2
#: libraries that decide the weights
_LIBRARIES = ("keras", "numpy", "tensorflow")


def make_network(plan: NetworkPlan) -> None:
    """Fit the members that are not there yet, and write weights and card."""
    parts = [_kept_file(plan, n) for n in range(len(plan.members))]
    for n, part in enumerate(parts):
        if not part.exists():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", __spec__.name, plan.name, "--member", str(n)], check=True)
            print(f"{plan.name}: member {n + 1} of {len(parts)} in {time.perf_counter() - began:.0f} s", flush=True)
    arrays = {}
    for n, part in enumerate(parts):
        with np.load(part, allow_pickle=False) as weights:
            arrays.update({f"{n}.{name}": weights[name].astype(plan.stored_as) for name in weights.files})
    FOLDER.mkdir(exist_ok=True)
    weights_file = FOLDER / f"{plan.name}.npz"
    np.savez(weights_file, allow_pickle=False, **arrays)
    card = {
        "name": plan.name,
        "weights_sha256": hashlib.sha256(weights_file.read_bytes()).hexdigest(),
        "horizon": plan.horizon,
        "season": plan.kind.season,
        "members": [{**asdict(member), "units": plan.units} for member in plan.members],
        "trained_on": {
            "series": plan.num_series,
            "kind": "synthetic alone: pipeline.pretraining.synthetic",
            "components": plan.kind.components,
            "lengths": [plan.kind.shortest, plan.kind.longest],
            "seed": plan.seed,
        },
        "made_by": f"python -m {__spec__.name} {plan.name}",
        "versions": {name: version(name) for name in _LIBRARIES},
    }
    (FOLDER / f"{plan.name}.json").write_text(json.dumps(card, indent=1) + "\n", "utf-8")


def _kept_file(plan: NetworkPlan, member: int) -> Path:
    return _KEPT / f"{plan.name}-{member}-{plan.hash_of(member)[:16]}.npz"


def fit_member(plan: NetworkPlan, member: int) -> None:
    """Fit one member, and keep its weights."""
    import tensorflow as tf

    from pipeline.training.ensemble import fit_ensemble
    from pipeline.training.gradient_steps import configure_threads
    from pipeline.training.members import build_members

    configure_threads(_NUM_PROCESSORS)
    tf.config.experimental.enable_op_determinism()
    panel, recipe = plan.panel(), plan.recipe()
    members = build_members(panel, recipe, configs=plan.members)
    ensemble = fit_ensemble(panel, recipe, [members[member]], on_epoch=None)
    trunk = ensemble.fitted[0].trunk
    weights = {
        weight.path.partition("/")[2] if "lstm_cell" in weight.path else weight.path: weight.numpy()
        for weight in trunk.weights
    }
    _KEPT.mkdir(exist_ok=True)
    unfinished = _kept_file(plan, member).with_suffix(".part.npz")
    np.savez(unfinished, allow_pickle=False, **weights)
    unfinished.rename(_kept_file(plan, member))


def main() -> None:
    """Make the networks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help=f"{', '.join(NETWORKS)}; default: all")
    parser.add_argument("--member", type=int, help="fit this member of the network alone, and keep it")
    asked = parser.parse_args()
    if unknown := [name for name in asked.name if name not in NETWORKS]:
        parser.error(f"there is no network {unknown[0]}: expected {', '.join(NETWORKS)}")
    for name in asked.name or NETWORKS:
        if asked.member is None:
            make_network(NETWORKS[name])
        else:
            fit_member(NETWORKS[name], asked.member)


if __name__ == "__main__":
    main()
