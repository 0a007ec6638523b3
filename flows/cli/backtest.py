"""`nextperiod backtest`: forecasts at past origins, compared with the baselines."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flows.cli.console import print_json, print_table, progress
from flows.context import open_context
from flows.steps import run_backtest
from pipeline.config.loader import load_recipe, names_with_tutorial
from pipeline.config.recipe import Recipe
from pipeline.config.settings import read_settings
from pipeline.errors import InvalidArgument
from pipeline.evaluation.rolling_origin import BacktestPlan, RollingBacktest
from pipeline.jobs.backtest import replay_tutorial
from pipeline.progress_log import log_progress
from pipeline.records.training import TutorialRecord
from pipeline.text import counted, list_names
from pipeline.timeseries.forecast import NETWORK

logger = logging.getLogger(__name__)

#: how many of the worst series are printed
_NUM_WORST = 5
#: by metric, the heading of its column; `--json` has all metrics
_METRIC_COLUMNS = {
    "mase": "mase",
    "rmsse": "rmsse",
    "smape": "smape",
    "wql": "wql %",
    "coverage_80": "inside 80 %",
    "coverage_95": "inside 95 %",
    "width_80": "width 80 %",
    "width_95": "width 95 %",
    "bias": "bias",
}


def print_rolling_backtest(name: str, options: Mapping[str, Any], *, as_json: bool) -> None:
    """Backtest a recipe at rolling origins, log it in MLflow and print its scores.

    Args:
        name: name of the recipe, or path to a TOML file.
        options: the fields of a `Plan`.
        as_json: print all scores as JSON.
    """
    with open_context(name) as context, progress():
        logger.debug("the backtest starts", extra={"step": "TensorFlow starts"})
        result, facts = run_backtest(context, BacktestPlan(**options))
    if as_json:
        print_json(facts)
    else:
        _print_rolling(context.recipe, result)


def _print_rolling(recipe: Recipe, result: RollingBacktest) -> None:
    best, by_origin = result.best_baseline, result.by_origin()
    print(": ".join(filter(None, (recipe.name, recipe.description))))
    print(f"{counted(len(result.origins), 'origin')}, {counted(recipe.horizon, 'period')} forecast from each\n")
    print_table(
        ["method", *_METRIC_COLUMNS.values()],
        [
            [method, *(_in_column_unit(metric, by_metric[metric]) for metric in _METRIC_COLUMNS)]
            for method, by_metric in result.scores().items()
        ],
    )
    print(f"\nmase by origin, beside the best baseline ({best}):")
    labels = recipe.labels
    origin = labels.heading.replace("period", "origin")
    columns = [origin, "data as of (UTC)", "data", "periods", "fitted up to", "fallback", NETWORK, best]
    rows = [_origin_row(result, by_origin, best, n) for n in range(len(result.origins))]
    instants = [labels.texts([row[place] for row in rows]) for place in (0, 4)]
    for row, first, last in zip(rows, *instants, strict=True):
        row[0], row[4] = first, last
    print_table(columns, rows)
    if cut := sum(origin.known == "cut" for origin in result.origins):
        print(
            f"{cut} of {counted(len(result.origins), 'origin')} used values recorded later, cut at the origin: "
            + (
                "as --as-of-now asks"
                if result.plan.as_of_now
                else "their periods arrived in one delivery with later ones"
            )
        )
    print("\nmase by step:")
    _print_with_best_baseline(["step"], [[step] for step in range(1, recipe.horizon + 1)], result.by_step(), best)
    if len(result.series) > 1:
        _print_worst_series(result, best)


def _in_column_unit(metric: str, value: float | None) -> float | None:
    return 100 * value if metric == "wql" and value is not None else value


def _origin_row(result: RollingBacktest, by_origin: Mapping[str, Any], best: str, n: int) -> list[Any]:
    origin = result.origins[n]
    return [
        origin.origin,
        origin.as_of,
        origin.known,
        origin.num_periods,
        origin.cutoff,
        origin.num_fallback,
        *(by_origin[method]["mase"][n] for method in (NETWORK, best)),
    ]


def _print_worst_series(result: RollingBacktest, best: str) -> None:
    by_series = result.by_series()
    mase = by_series[NETWORK]["mase"]
    measured = [s for s in range(len(result.series)) if mase[s] is not None]
    worst = sorted(measured, key=lambda s: -(mase[s] or 0.0))[:_NUM_WORST]
    print(f"\nmase of the worst {len(worst)} of {len(result.series)} series:")
    chosen = {method: {"mase": [by_series[method]["mase"][s] for s in worst]} for method in (NETWORK, best)}
    _print_with_best_baseline(["series"], [[result.series[s]] for s in worst], chosen, best)


def _print_with_best_baseline(
    columns: list[str], rows: list[list[Any]], scores: Mapping[str, Mapping[str, list[float | None]]], best: str
) -> None:
    """Print rows with the MASE of the network and of the best baseline."""
    mase = zip(rows, scores[NETWORK]["mase"], scores[best]["mase"], strict=True)
    print_table([*columns, NETWORK, best], [[*row, network, baseline] for row, network, baseline in mase])


def print_tutorial_backtest(name: str, *, as_json: bool) -> None:
    """Run the tutorial's protocol and print its RMSE beside the baselines.

    Raises:
        InvalidArgument: the recipe has no [tutorial].
    """
    recipes = read_settings().recipes
    recipe = load_recipe(name, recipes)
    if recipe.tutorial is None:
        raise InvalidArgument(
            f"recipe {recipe.name} has no [tutorial], which --protocol tutorial needs: expected one of "
            f"{list_names(names_with_tutorial(recipes))} (in {recipes}), or a recipe with that table"
        )
    with open_context(name) as context, progress(), log_progress(f"backtest of {recipe.name}"):
        logger.debug("the tutorial starts", extra={"step": "TensorFlow starts"})
        record = replay_tutorial(context.recipe, context.store, context.clock)
    if as_json:
        print_json({"recipe": recipe.name, "protocol": "tutorial", "metric": "rmse", "lines": _lines(record)})
    else:
        _print_tutorial(recipe, record)


def _lines(record: TutorialRecord) -> list[dict[str, object]]:
    return [
        {
            "row": line.row,
            "architecture": line.architecture,
            "layers": line.layers,
            "way": line.protocol,
            "published": line.published,
            "rmse": line.rmse,
            "naive": line.naive,
            "seasonal_naive": line.seasonal_naive,
            "num_test": line.num_test,
        }
        for line in record.lines
    ]


def _print_tutorial(recipe: Recipe, record: TutorialRecord) -> None:
    assert recipe.tutorial is not None
    ahead = "each prediction fed back" if recipe.tutorial.recursive else "one period ahead"
    unit = f" in {recipe.unit}" if recipe.unit else ""
    print(": ".join(filter(None, (recipe.name, recipe.description))))
    print(f"the protocol of tutorial {recipe.tutorial.row}: RMSE{unit} on its test part, {ahead}\n")
    rows = [line | {"published": _published_text(line["published"])} for line in _lines(record)]
    print_table(
        ["row", "architecture", "layers", "way", "published", "rmse", "last value", "season before", "test points"],
        [list(row.values()) for row in rows],
    )


def _published_text(published: object) -> str:
    """The figure that the tutorial printed, with its own digits."""
    return "none printed" if published is None else str(published)
