"""Make the pretrained networks: `python -m pipeline.pretraining.make [NAME...]`, or `make pretrain`.

Each member is fitted in a process and on a processor of its own, and kept in `.pretraining/` as soon as it is there, so that
an interrupted run goes on where it was. The same plan gives the same bytes with the same libraries, whatever the number of
processors and, from AVX2 on, whatever they can do beyond that: `ARITHMETIC` says why.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from pipeline.models.pretrained import FOLDER
from pipeline.pretraining.networks import NETWORKS, NetworkPlan

#: fitted members wait here for the others
_KEPT = Path(".pretraining")
#: parts of a batch that are added up, on one processor or several: their number decides the weights' last bits
_NUM_PROCESSORS = 2
#: Libraries choose instructions by the processor, which changes the last bits of a sum, and thousands of steps make other weights of
#: another last bit. oneDNN's products of matrices are chosen always, since Eigen's are blocked by the size of a processor's cache, and
#: oneDNN's are not; NumPy's exponentials and OpenBLAS's products make the synthetic series.
ARITHMETIC = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "TF_ENABLE_ONEDNN_OPTS": "1",
}
#: libraries that decide the weights
_LIBRARIES = ("keras", "numpy", "tensorflow")


def fit_missing(plans: Sequence[NetworkPlan]) -> None:
    """Fit the members that are not there yet, one on each processor, those that take longest first."""
    missing = [(plan, n) for plan in plans for n in range(len(plan.members)) if not _kept_file(plan, n).exists()]
    missing.sort(key=lambda one: one[0].members[one[1]].steps, reverse=True)
    processors: SimpleQueue[int] = SimpleQueue()
    for processor in os.sched_getaffinity(0):
        processors.put(processor)

    def fit(plan: NetworkPlan, member: int) -> None:
        began, processor = time.perf_counter(), processors.get()
        arguments = [plan.name, "--member", str(member), "--processor", str(processor)]
        try:
            subprocess.run([sys.executable, "-m", __spec__.name, *arguments], check=True)
        finally:
            processors.put(processor)
        seconds = time.perf_counter() - began
        print(f"{plan.name}: member {member + 1} of {len(plan.members)} in {seconds:.0f} s", flush=True)

    with ThreadPoolExecutor(processors.qsize()) as pool:
        list(pool.map(lambda one: fit(*one), missing))


def write_network(plan: NetworkPlan) -> None:
    """Write the weights of the fitted members, and the card."""
    arrays = {}
    for n in range(len(plan.members)):
        with np.load(_kept_file(plan, n), allow_pickle=False) as weights:
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
        "arithmetic": ARITHMETIC,
    }
    (FOLDER / f"{plan.name}.json").write_text(json.dumps(card, indent=1) + "\n", "utf-8")


def _kept_file(plan: NetworkPlan, member: int) -> Path:
    made_by = hashlib.sha256(f"{plan.hash_of(member)} {ARITHMETIC}".encode()).hexdigest()
    return _KEPT / f"{plan.name}-{member}-{made_by[:16]}.npz"


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


def pin_arithmetic() -> None:
    """Start this process again with `ARITHMETIC` in its environment, unless it has it: libraries read it as they are imported."""
    if not os.environ.items() >= ARITHMETIC.items():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **ARITHMETIC})


def main() -> None:
    """Make the networks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help=f"{', '.join(NETWORKS)}; default: all")
    parser.add_argument("--member", type=int, help="fit this member of the network alone, and keep it")
    parser.add_argument("--processor", type=int, help="the processor to fit it on; default: any")
    asked = parser.parse_args()
    if unknown := [name for name in asked.name if name not in NETWORKS]:
        parser.error(f"there is no network {unknown[0]}: expected {', '.join(NETWORKS)}")
    plans = [NETWORKS[name] for name in asked.name or NETWORKS]
    if asked.member is not None:
        if asked.processor is not None:
            os.sched_setaffinity(0, [asked.processor])
        fit_member(plans[0], asked.member)
        return
    fit_missing(plans)
    for plan in plans:
        write_network(plan)


if __name__ == "__main__":
    pin_arithmetic()
    main()
