"""What each component of the synthetic series brings: `python -m tests.benchmarks.generator [NETWORK...]`.

The first member of a pretrained network is fitted for fewer steps, on synthetic series with all components, on such series
of two other seeds, and on series that lack one component. It forecasts real collections that it has not seen, as it is.
A component is of use where errors without it are larger than those of other seeds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.pretraining.networks import NETWORKS, NetworkPlan
from pipeline.training.ensemble import Ensemble, fit_ensemble
from pipeline.training.gradient_steps import configure_threads
from pipeline.training.members import build_members
from tests.benchmarks.panel_draws import Collection, draw_panels, load_collections
from tests.benchmarks.panel_scores import average, score_series
from tests.benchmarks.zero_shot import forecast_by

Array = npt.NDArray[np.float64]

#: collections by the network that forecasts them
COLLECTIONS = {
    "season-12": ("m3-monthly", "m4-monthly_short", "tsdl-monthly", "commodities", "fred-md"),
    "season-4": ("m3-quarterly", "m4-quarterly", "tsdl-quarterly"),
    "yearly": ("m3-yearly", "m4-yearly"),
    "season-24": ("m4-hourly", "pjm", "etth1", "epf"),
}
#: most series of a collection that are forecast
MOST_SERIES = 400
#: seeds of the series that have all components
SEEDS = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Variant:
    """Synthetic series of a seed, without some components."""

    without: tuple[str, ...] = ()
    seed: int = 0

    def __str__(self) -> str:
        return f"without {self.without[0]}" if self.without else f"all, seed {self.seed}"

    def of(self, plan: NetworkPlan, *, steps: int, num_series: int) -> NetworkPlan:
        """The plan of a network's first member on such series."""
        return replace(
            plan,
            kind=replace(plan.kind, without=self.without),
            members=(replace(plan.members[0], steps=steps),),
            num_series=num_series,
            seed=self.seed,
        )


def variants_of(plan: NetworkPlan) -> Iterator[Variant]:
    """All components under several seeds, then each left out."""
    yield from (Variant(seed=seed) for seed in SEEDS)
    yield from (Variant(without=(name,)) for name in plan.kind.components)


def fit(plan: NetworkPlan) -> Ensemble:
    """Fit the plan's member on its synthetic series."""
    panel, recipe = plan.panel(), plan.recipe()
    return fit_ensemble(panel, recipe, build_members(panel, recipe, configs=plan.members), on_epoch=None)


def score(ensemble: Ensemble, collection: Collection) -> dict[str, float]:
    """Scores of the network as it is on a collection, relative to seasonal naive's."""
    drawn = draw_panels(collection, min(MOST_SERIES, len(collection.histories)), 1)[0]
    return average(
        score_series(forecast_by(ensemble, drawn, collection.recipe.season), drawn, collection.recipe.season)
    )


def compare(plan: NetworkPlan, collections: Sequence[Collection], *, steps: int, num_series: int) -> None:
    """Print a row for each variant of the synthetic series."""
    names = [collection.name for collection in collections]
    print(f"\n{plan.name}: {steps} steps on {num_series} series; MASE / quantile loss over seasonal naive's\n")
    print(f"| series | {' | '.join(names)} | all | inside 95 % |\n|{'---|' * (len(names) + 3)}")
    for variant in variants_of(plan):
        ensemble = fit(variant.of(plan, steps=steps, num_series=num_series))
        scores = [score(ensemble, collection) for collection in collections]
        mean = [float(np.exp(np.mean([np.log(one[name]) for one in scores]))) for name in ("mase", "sql")]
        inside = 100 * float(np.mean([one["coverage_95"] for one in scores]))
        cells = [f"{one['mase']:.3f} / {one['sql']:.3f}" for one in scores]
        print(f"| {variant} | {' | '.join(cells)} | {mean[0]:.3f} / {mean[1]:.3f} | {inside:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", nargs="*", help=f"{', '.join(COLLECTIONS)}; default: season-12 and season-24")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--series", type=int, default=8000)
    asked = parser.parse_args()
    if unknown := [name for name in asked.network if name not in COLLECTIONS]:
        parser.error(f"there are no collections for {unknown[0]}: expected {', '.join(COLLECTIONS)}")
    configure_threads()
    tf.config.experimental.enable_op_determinism()
    for name in asked.network or ("season-12", "season-24"):
        collections = list(load_collections(COLLECTIONS[name]))
        compare(NETWORKS[name], collections, steps=asked.steps, num_series=asked.series)


if __name__ == "__main__":
    main()
