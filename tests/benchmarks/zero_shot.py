"""The pretrained networks as they are, without any fit or calibration: `python -m tests.benchmarks.zero_shot [COLLECTION...]`.

They forecast the last horizon of each series, or the last ones from several origins. Where a network needs a longer history
than there is, the season before stands in.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import numpy as np
import numpy.typing as npt

from pipeline.preprocessing.windows import Windows, have_enough_context
from pipeline.training import as_shipped, history
from pipeline.training.forecast_ensemble import ForecastEnsemble
from tests.benchmarks.panel_draws import LOADERS, Collection, DrawnPanel, hold_out
from tests.benchmarks.panel_scores import measure_series, seasonal_naive_quantiles

Array = npt.NDArray[np.float64]

#: by collection: origins one horizon apart
ORIGINS = {
    "m3-monthly": 1,
    "m4-monthly_short": 1,
    "m4-monthly": 1,
    "tsdl-monthly": 1,
    "commodities": 1,
    "fred-md": 1,
    "m3-quarterly": 1,
    "m4-quarterly": 1,
    "tsdl-quarterly": 1,
    "m3-yearly": 1,
    "m4-yearly": 1,
    "m4-hourly": 1,
    "pjm": 5,
    "etth1": 5,
    "epf": 5,
    "opsd": 20,
    "stocks": 20,
    "gas": 20,
    "m4-weekly": 1,
}
#: seasons other than those that the competition's table of accuracy is made with
SEASONS = {"m4-weekly": 52}
SCORES = ("smape", "mase", "msis_95", "coverage_80", "coverage_95")


def origins_of(collection: Collection, count: int) -> Iterator[Collection]:
    """Yield the collection as it was at each origin, the newest first; series that are too short by then are missing."""
    recipe, horizon = collection.recipe, collection.recipe.horizon
    series = [np.concatenate(both) for both in zip(collection.histories, collection.observed, strict=True)]
    grid = np.append(collection.grid, recipe.grid.after(collection.grid[-1], horizon))
    for back in range(0, count * horizon, horizon):
        earlier = [values[: len(values) - back] for values in series]
        yield hold_out(collection.name, recipe, [values for values in earlier if len(values)], grid[: len(grid) - back])


def forecast(drawn: DrawnPanel, collection: Collection) -> Array:
    """Forecast a panel by the pretrained network of its recipe: [S, H, Q]."""
    with mock.patch.object(history, "_tells_more", return_value=False):
        ensemble = as_shipped._load_ensemble(drawn.panel, collection.recipe)
    return forecast_by(ensemble, drawn, collection.recipe.season)


def forecast_by(ensemble: ForecastEnsemble, drawn: DrawnPanel, season: int) -> Array:
    """Forecast a panel by networks that forecast its horizon or a longer one: [S, H, Q]."""
    panel, horizon = drawn.panel, drawn.observed.shape[1]
    quantiles = seasonal_naive_quantiles(panel, horizon, season)
    readable = ensemble.scaling.mask_unusable(panel)
    windows = Windows(np.arange(len(panel.series)), panel.last)
    windows = windows.take(have_enough_context(readable, windows, ensemble.needs))
    inputs = ensemble.prepare_inputs(readable, windows)
    if inputs.is_usable.any():
        made = ensemble.quantiles(ensemble.build_network(), inputs)
        quantiles[windows.series[inputs.is_usable]] = made[:, :horizon]
    return quantiles


def score(collection: Collection, num_origins: int) -> tuple[int, dict[str, float], float, float]:
    """Return the number of series, the mean of each score, seasonal naive's MASE, and the geometric mean of its ratio."""
    own, naive = [], []
    for one in origins_of(collection, num_origins):
        drawn = one.take(np.arange(len(one.histories)))
        season, horizon = one.recipe.season, one.recipe.horizon
        own.append(measure_series(forecast(drawn, one), drawn, season, names=SCORES))
        naive.append(
            measure_series(seasonal_naive_quantiles(drawn.panel, horizon, season), drawn, season, names=("mase",))
        )
    joined = {name: np.concatenate([scores[name] for scores in own]) for name in SCORES}
    theirs = np.concatenate([scores["mase"] for scores in naive])
    ours = joined["mase"]
    counts = np.isfinite(ours) & np.isfinite(theirs)
    means = {name: float(np.nanmean(values[counts])) for name, values in joined.items()}
    is_positive = counts & (ours > 0) & (theirs > 0)
    ratio = np.exp(np.log(ours[is_positive] / theirs[is_positive]).mean())
    return len(collection.histories), means, float(theirs[counts].mean()), float(ratio)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collection", nargs="*", help=f"{', '.join(ORIGINS)}; default: all")
    asked = parser.parse_args()
    if unknown := [name for name in asked.collection if name not in ORIGINS]:
        parser.error(f"there is no collection {unknown[0]}: expected {', '.join(ORIGINS)}")
    print(
        "| collection | season | series | origins | sMAPE | MASE | seasonal naive's | geometric mean | MSIS | inside 80 % "
        f"| inside 95 % |\n|{'---|' * 11}"
    )
    for name in asked.collection or ORIGINS:
        collection = LOADERS[name]()
        if name in SEASONS:
            recipe = collection.recipe.model_copy(update={"season_length": SEASONS[name]})
            collection = replace(collection, recipe=recipe)
        count, means, naive, ratio = score(collection, ORIGINS[name])
        print(
            f"| {name} | {collection.recipe.season} | {count:,} | {ORIGINS[name]} | {means['smape']:.2f} | {means['mase']:.3f} "
            f"| {naive:.3f} | {ratio:.3f} | {means['msis_95']:.2f} | {100 * means['coverage_80']:.0f} "
            f"| {100 * means['coverage_95']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
