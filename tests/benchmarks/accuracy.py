"""How accurate the defaults are on the training parts of the M4 and M3 competitions: `python -m tests.benchmarks.accuracy`.

The last horizon of each series is held out, all before it is trained on. Metrics are the competition's:
Makridakis, Spiliotis and Assimakopoulos (2020), International Journal of Forecasting 36(1). Coverage, MSIS and the scaled
quantile loss are those of the published intervals: calibrated, and with the baseline's width where that is published.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.evaluation.metrics import METRICS, EvaluationSet
from pipeline.forecasting.baselines import forecast_naive, normal_quantiles
from pipeline.forecasting.fallback import forecast_panel
from pipeline.timeseries.forecast import MEDIAN
from pipeline.timeseries.panel import Panel
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainingJob

Array = npt.NDArray[np.float64]

DATA = Path(__file__).parents[3] / "shared/data"
#: one-sided 90 % of the normal distribution
SIGNIFICANT = 1.645
RECIPE = """
name = "m4-{name}"
frequency = "{frequency}"
season_length = {season}
horizon = {horizon}
[source]
kind = "parquet"
path = "{name}.parquet"
period = "period"
value = "value"
series = "unique_id"
[model]
architecture = "global"
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One frequency of the competition, and what has been reached on it elsewhere."""

    name: str
    season: int
    horizon: int
    frequency: str
    #: OWA of the Theta method on the same values; None: not measured
    theta: float | None
    #: how the type of an M3 series begins; None: a part of M4
    m3_type: str | None = None

    def recipe(self) -> Recipe:
        text = RECIPE.format(name=self.name, frequency=self.frequency, season=self.season, horizon=self.horizon)
        return parse_recipe(text, where=f"m4-{self.name}", folder=Path())


PARTS = (
    Part("hourly", 24, 48, "h", 1.006),
    Part("weekly", 1, 13, "W-SUN", 0.903),
    Part("yearly", 1, 6, "YS", 0.863),
    Part("quarterly", 4, 8, "QS", 0.929),
    Part("monthly", 12, 18, "MS", 0.924),
    Part("daily", 1, 14, "D", 1.014),
    Part("monthly_short", 12, 18, "MS", None),
    Part("m3-yearly", 1, 6, "YS", None, "year"),
    Part("m3-quarterly", 4, 8, "QS", None, "quart"),
    Part("m3-monthly", 12, 18, "MS", None, "month"),
    Part("m3-other", 1, 8, "D", None, "other"),
)


def histories(part: Part) -> tuple[list[Array], Array]:
    """Each series without its last horizon, and that."""
    if part.m3_type is None:
        frame = pd.read_parquet(DATA / f"m4/{part.name}_train.parquet")
    else:
        frame, info = (pd.read_parquet(DATA / f"m3/{name}.parquet") for name in ("train", "info"))
        frame = frame[frame.unique_id.isin(info.unique_id[info.type.str.lower().str.startswith(part.m3_type)])]
    frame = frame.sort_values(["unique_id", "step"])
    series = [group.to_numpy(float) for _, group in frame.groupby("unique_id").value]
    return [one[: -part.horizon] for one in series], np.array([one[-part.horizon :] for one in series])


def panel_of(series: list[Array], recipe: Recipe) -> Panel:
    """Series without dates, set so that all end together."""
    lengths = np.array([len(one) for one in series])
    first = np.datetime64("1700-01-01", "us")
    grid = np.append(first, recipe.grid.after(first, int(lengths.max())))[-int(lengths.max()) :]
    return Panel(
        series=tuple(f"{n:05d}" for n in range(len(series))),
        grid=grid,
        first=lengths.max() - lengths,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        values=np.concatenate(series),
    )


def is_seasonal(values: Array, season: int) -> bool:
    """The competition's test: whether the autocorrelation at the season is significant at 90 %."""
    if len(values) < 3 * season:
        return False
    centred = values - values.mean()
    power = float(centred @ centred)
    if power == 0:
        return False
    correlation = np.array([centred[k:] @ centred[:-k] for k in range(1, season + 1)]) / power
    limit = SIGNIFICANT * np.sqrt((1 + 2 * (correlation[:-1] ** 2).sum()) / len(values))
    return bool(abs(correlation[-1]) > limit)


def naive2(series: Array, season: int, horizon: int) -> Array:
    """The last value; of series that pass the test, without their season and with it again."""
    if season == 1 or not is_seasonal(series, season):
        return np.full(horizon, series[-1])
    weights = np.ones(season + 1 - season % 2)
    if season % 2 == 0:
        weights[[0, -1]] = 0.5
    trend = np.convolve(series, weights / weights.sum(), "valid")
    start = len(weights) // 2
    ratio, place = series[start : start + len(trend)] / trend, (np.arange(len(trend)) + start) % season
    index = np.array([ratio[place == k].mean() for k in range(season)])
    index /= index.mean()
    ahead = index[(len(series) + np.arange(horizon)) % season]
    return series[-1] / index[(len(series) - 1) % season] * ahead


def smape_and_mase(forecast: Array, observed: Array, series: list[Array], season: int) -> tuple[float, float]:
    """The competition's means over the series; a series whose naive error is zero has no MASE."""
    error = np.abs(forecast - observed)
    smape = 200 * (error / (np.abs(forecast) + np.abs(observed))).mean()
    scale = np.array([np.abs(one[season:] - one[:-season]).mean() for one in series])
    return float(smape), float((error.mean(axis=1)[scale > 0] / scale[scale > 0]).mean())


def interval_scores(quantiles: Array, observed: Array, scale: Array) -> tuple[float, float]:
    """MSIS of the 95 % intervals and scaled quantile loss of quantiles [N, H, Q], in units of each series' scale [N]."""
    data = EvaluationSet(
        observed=observed,
        mean=quantiles[:, :, MEDIAN],
        quantiles=quantiles,
        scale=scale[:, None],
        root_scale=scale[:, None],
    )
    return float(METRICS["msis_95"].over(data)), float(METRICS["sql"].over(data))


def run(part: Part, *, pretrained: bool = True) -> dict[str, Any]:
    """Train as a cycle does, forecast with ONNX Runtime, and score."""
    from pipeline.forecasting.forecaster import hash_model, load_forecaster

    series, observed = histories(part)
    recipe = part.recipe()
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"pretrained": pretrained})})
    panel = panel_of(series, recipe)
    began = time.perf_counter()
    outcome = run_training(TrainingJob(panel=panel, recipe=recipe, training="retrain", reason="benchmark"))
    seconds = time.perf_counter() - began
    files = outcome.files
    forecaster = load_forecaster(files, hash_model(files))
    which, forecast, _ = forecaster.predict(panel)
    reference = np.array([naive2(one, part.season, part.horizon) for one in series])
    whole = reference.copy()
    whole[which] = forecast
    ours = smape_and_mase(whole, observed, series, part.season)
    theirs = smape_and_mase(reference, observed, series, part.season)
    published = forecast_panel(forecaster, panel, recipe, forecaster.calibration)
    inside = [
        float(((observed >= published.quantiles[:, :, low]) & (observed <= published.quantiles[:, :, high])).mean())
        for low, high in ((1, 3), (0, 4))
    ]
    baseline = forecast_naive(panel, part.horizon, part.season)
    scale = np.array([np.abs(one[part.season :] - one[: -part.season]).mean() for one in series])
    return {
        "intervals": interval_scores(published.quantiles, observed, scale),
        "baseline": interval_scores(normal_quantiles(baseline.mean, baseline.deviation), observed, scale),
        "series": len(series),
        "owa": (ours[0] / theirs[0] + ours[1] / theirs[1]) / 2,
        "smape": ours[0],
        "mase": ours[1],
        "inside": inside,
        "seconds": seconds,
        "fallback": len(series) - len(which),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=[part.name for part in PARTS], action="append")
    parser.add_argument("--from-scratch", action="store_true", help="without the pretrained network")
    asked = parser.parse_args()
    print(
        "| part | series | OWA | Theta's | sMAPE | MASE | inside 80 % | inside 95 % | MSIS | seasonal naive's "
        "| scaled quantile loss | seasonal naive's | seconds of training |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for part in PARTS:
        if asked.part and part.name not in asked.part:
            continue
        made = run(part, pretrained=not asked.from_scratch)
        print(
            f"| {part.name} | {made['series']:,} | {made['owa']:.3f} | {part.theta or '–'} | {made['smape']:.2f} "
            f"| {made['mase']:.3f} | {100 * made['inside'][0]:.1f} | {100 * made['inside'][1]:.1f} "
            f"| {made['intervals'][0]:.2f} | {made['baseline'][0]:.2f} | {made['intervals'][1]:.3f} "
            f"| {made['baseline'][1]:.3f} | {made['seconds']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
