"""All windows of 100,000 ragged series, read once: `python -m tests.benchmarks.windows`.

Ours are pairs of series and end, looked up in batches when they are read; the tutorials' are lists of slices, made into
arrays. Their loop is timed on a part of the series, since all of its windows do not fit into memory.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from pipeline.preprocessing.windows import ContextRequirements, find_windows, read_contexts, read_targets
from pipeline.timeseries.panel import Panel

CONTEXT, HORIZON, BATCH = 36, 18, 4096
#: every so manieth series goes through the tutorials' loop
SHARE = 50


def ragged(num_series: int) -> Panel:
    """Walks of 60 to 120 periods that end together."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(60, 121, num_series)
    return Panel(
        series=tuple(f"{n:06d}" for n in range(num_series)),
        grid=np.datetime64("2020-01-01", "us") + np.arange(120) * np.timedelta64(1, "D"),
        first=120 - lengths,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        values=rng.normal(size=int(lengths.sum())).cumsum(),
    )


def ours(panel: Panel) -> tuple[int, float, float]:
    """Windows, seconds for each, and what they hold for as long as they are needed, in bytes each."""
    began = time.perf_counter()
    windows = find_windows(
        panel, needs=ContextRequirements(context=CONTEXT, least_length=CONTEXT, least_known=2), horizon=HORIZON
    )
    for first in range(0, len(windows), BATCH):
        some = windows.take(slice(first, first + BATCH))
        read_contexts(panel, some, CONTEXT)
        read_targets(panel, some, HORIZON)
    seconds = time.perf_counter() - began
    return len(windows), seconds / len(windows), (windows.series.nbytes + windows.end.nbytes) / len(windows)


def loop(panel: Panel) -> tuple[float, float]:
    """As the tutorials write it: seconds and bytes of each window."""
    began = time.perf_counter()
    x, y = [], []
    for s in range(0, len(panel.series), SHARE):
        data = panel.series_values(s)
        for i in range(len(data) - CONTEXT - HORIZON + 1):
            x.append(data[i : i + CONTEXT])
            y.append(data[i + CONTEXT : i + CONTEXT + HORIZON])
    contexts, targets = np.array(x), np.array(y)
    return (time.perf_counter() - began) / len(x), (contexts.nbytes + targets.nbytes) / len(x)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    panel = ragged(asked.series)
    rounds = [(ours(panel), loop(panel)) for _ in range(asked.rounds)]
    ratios = sorted(theirs[0] / own[1] for own, theirs in rounds)
    (count, _, held), (_, loop_held) = rounds[-1]
    rate = statistics.median(1 / own[1] for own, _ in rounds)
    print("| windows | a second | bytes each | the loop's bytes | times as fast |")
    print("|---|---|---|---|---|")
    print(
        f"| {count:,} | {rate:,.0f} | {held:.0f} | {loop_held:.0f} "
        f"| {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}) |"
    )


if __name__ == "__main__":
    main()
