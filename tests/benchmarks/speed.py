"""How fast networks are fitted, beside Keras, PyTorch and neuralforecast: `python -m tests.benchmarks.speed`.

The same layers, windows, batch, quantiles, clipping and optimizer for all, each in a process of its own; rounds of 25 steps
in turn, so that all see the same machine. The first round, with whatever has to be traced or compiled, does not count.
PyTorch and neuralforecast come from an environment of their own (`tests/benchmarks/requirements.txt`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.contestants.rounds import STEPS

HERE = Path(__file__).parent
#: an allocator that keeps what it has; with glibc's own settings PyTorch gives each batch's memory back
KEEPING = {
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TOP_PAD_": "64000000",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What is fitted."""

    units: int = 64
    layers: int = 1
    context: int = 36
    horizon: int = 18
    batch: int = 512

    def __str__(self) -> str:
        """As the table names it."""
        return f"{self.layers} × {self.units} units, context {self.context}, batch {self.batch}"

    @property
    def operations(self) -> float:
        """Floating-point operations of the matrix products of fitting one window: forward, and twice that back."""
        reads, products = 2, 0
        for _ in range(self.layers):
            products += self.context * (reads + self.units) * 4 * self.units
            reads = self.units
        return 3 * 2 * (products + self.units * self.horizon * 5)


SHAPES = (
    Shape(),
    Shape(batch=128),
    Shape(units=128, layers=2),
    Shape(context=168),
    Shape(units=128, layers=2, context=168),
)


class Contestant:
    """A process that measures a round when it is told to."""

    def __init__(self, command: Sequence[str], shape: Shape, rounds: int, environment: Mapping[str, str]) -> None:
        options = [f"--{name}={value}" for name, value in asdict(shape).items()]
        self.process = subprocess.Popen(
            [*command, *options, f"--rounds={rounds}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )

    def round(self) -> float:
        """Seconds of one."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            try:
                return float(json.loads(line))
            except (ValueError, TypeError):
                continue
        raise RuntimeError(f"it ended with {self.process.wait()}: {self.process.args}")

    def go_on(self) -> None:
        """Begin the next round."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Stop it."""
        self.process.kill()
        self.process.wait()


def contestants(python: Path | None) -> dict[str, tuple[list[str], dict[str, str]]]:
    """By name, how each is started."""
    here = [sys.executable, "-W", "ignore", "-m"]
    chosen: dict[str, tuple[list[str], dict[str, str]]] = {
        "nextperiod": ([*here, "tests.benchmarks.contestants.ours"], {}),
        "Keras fit": ([*here, "tests.benchmarks.contestants.keras_fit"], {}),
    }
    if python:
        other = [str(python), "-W", "ignore"]
        chosen["PyTorch, its allocator tuned"] = ([*other, str(HERE / "contestants/torch_lstm.py")], KEEPING)
        theirs = [*other, str(HERE / "contestants/neuralforecast_lstm.py")]
        chosen |= {"neuralforecast": (theirs, {}), "neuralforecast, its allocator tuned": (theirs, KEEPING)}
    return chosen


def compared(shape: Shape, rounds: int, python: Path | None) -> dict[str, list[float]]:
    """Windows a second by contestant and round; one runs at a time."""
    running: dict[str, Contestant] = {}
    speeds: dict[str, list[float]] = {}
    try:
        for name, (command, environment) in contestants(python).items():
            running[name] = Contestant(command, shape, rounds, environment)
            running[name].round()
        for _ in range(rounds):
            for name, one in running.items():
                one.go_on()
                speeds.setdefault(name, []).append(STEPS * shape.batch / one.round())
    finally:
        for one in running.values():
            one.end()
    return speeds


def peak() -> float:
    """Floating-point operations a second of a large single-precision matrix product on this machine."""
    a = np.ones((2048, 2048), np.float32)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - began)
    return float(2 * 2048**3 / statistics.median(times))


def line(shape: Shape, speeds: Mapping[str, Sequence[float]], most: float) -> str:
    """A row: our windows a second, the share of the peak, and our speed as a multiple of each other's."""
    ours = speeds["nextperiod"]
    cells = [f"{statistics.median(ours):,.0f}", f"{statistics.median(ours) * shape.operations / most:.0%}"]
    for name, theirs in speeds.items():
        if name != "nextperiod":
            ratios = sorted(mine / other for mine, other in zip(ours, theirs, strict=True))
            cells.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return f"| {shape} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, help="of an environment with PyTorch and neuralforecast")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shape", type=int, action="append", help="number of a row; none: all")
    asked = parser.parse_args()
    others = [f"× {name}" for name in contestants(asked.python) if name != "nextperiod"]
    print("| network | windows a second | of the peak | " + " | ".join(others) + " |")
    print("|---|---|---|" + "---|" * len(others))
    for number, shape in enumerate(SHAPES):
        if not asked.shape or number in asked.shape:
            print(line(shape, compared(shape, asked.rounds, asked.python), peak()), flush=True)


if __name__ == "__main__":
    main()
