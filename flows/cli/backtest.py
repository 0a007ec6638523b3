"""`nextperiod backtest`: the past replayed, beside the baselines."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from flows.cli.console import print_json, print_table, progress
from flows.context import RunContext, open_context
from pipeline.config.loader import load_recipe, names_with_tutorial
from pipeline.config.recipe import Recipe
from pipeline.config.settings import settings_from
from pipeline.errors import InvalidArgument, RegistryUnavailable
from pipeline.evaluation.rolling_origin import NETWORK, Plan, RollingBacktest
from pipeline.jobs.backtest import backtest, replay_tutorial
from pipeline.records.training import ReplayRecord
from pipeline.text import counted, list_names
from pipeline.tracking.backtests import log_backtest

logger = logging.getLogger(__name__)

#: series that are shown of many
_WORST = 5
#: what a table shows, by metric; `--json` has them all
_SHOWN = {
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


def backtest_rolling(name: str, asked: Mapping[str, Any], *, as_json: bool) -> None:
    """`nextperiod backtest`, from rolling origins.

    Args:
        name: of the recipe.
        asked: the fields of a `Plan`.
        as_json: print everything for tools.
    """
    with open_context(name) as at, progress():
        logger.debug("the backtest begins", extra={"step": "TensorFlow starts"})
        made = backtest(at.recipe, at.store, at.clock, Plan(**asked))
        facts = _facts(at.recipe, made)
        facts["mlflow_run_id"] = _logged(at, made, facts)
    if as_json:
        print_json(facts)
    else:
        _tell_rolling(at.recipe, made)


def _logged(at: RunContext, made: RollingBacktest, facts: Mapping[str, Any]) -> str | None:
    logger.debug("MLflow follows", extra={"step": "MLflow follows"})
    try:
        return log_backtest(at.registry.client, at.recipe, made, facts, at.now)
    except RegistryUnavailable as error:
        logger.warning("%s; this backtest is not shown there", error)
        return None


def _facts(recipe: Recipe, made: RollingBacktest) -> dict[str, Any]:
    by_series, by_origin = made.by_series(), made.by_origin()
    return {
        "recipe": recipe.name,
        "fingerprint": made.fingerprint,
        "plan": asdict(made.plan),
        "horizon": recipe.horizon,
        "origins": [{**asdict(one), **_times(one), "scores": _nth(by_origin, n)} for n, one in enumerate(made.origins)],
        "best_baseline": made.best_baseline,
        "scores": made.scores(),
        "by_step": made.by_step(),
        "by_series": {series: _nth(by_series, n) for n, series in enumerate(made.series)},
    }


def _times(origin: Any) -> dict[str, str]:
    return {
        "origin": str(origin.origin)[:19],
        "as_of": origin.as_of.isoformat(),
        "cutoff": str(origin.cutoff)[:19],
    }


def _nth(told: Mapping[str, Mapping[str, list[float | None]]], n: int) -> dict[str, dict[str, float | None]]:
    return {method: {metric: values[n] for metric, values in by.items()} for method, by in told.items()}


def _tell_rolling(recipe: Recipe, made: RollingBacktest) -> None:
    scores, best, by_origin = made.scores(), made.best_baseline, made.by_origin()
    print(": ".join(filter(None, (recipe.name, recipe.description))))
    print(f"{counted(len(made.origins), 'origin')}, {counted(recipe.horizon, 'period')} forecast from each\n")
    print_table(
        ["method", *_SHOWN.values()],
        [[method, *(_as_shown(metric, told[metric]) for metric in _SHOWN)] for method, told in scores.items()],
    )
    print(f"\nmase by origin, beside the best baseline ({best}):")
    columns = ["origin", "known as of", "seen", "periods", "fitted to", "fallback", NETWORK, best]
    print_table(columns, [_origin_row(made, by_origin, best, n) for n in range(len(made.origins))])
    if cut := sum(origin.known == "cut" for origin in made.origins):
        print(
            f"{cut} of {counted(len(made.origins), 'origin')} saw what was recorded later, cut at the origin: "
            + ("it was asked for" if made.plan.as_of_now else "their periods came in one delivery with later ones")
        )
    print("\nmase by step:")
    _print_beside(["step"], [[step] for step in range(1, recipe.horizon + 1)], made.by_step(), best)
    if len(made.series) > 1:
        _tell_worst(made, best)


def _as_shown(metric: str, value: float | None) -> float | None:
    return 100 * value if metric == "wql" and value is not None else value


def _origin_row(made: RollingBacktest, by_origin: Mapping[str, Any], best: str, n: int) -> list[Any]:
    origin = made.origins[n]
    return [
        origin.origin,
        origin.as_of,
        origin.known,
        origin.num_periods,
        origin.cutoff,
        origin.num_fallback,
        *(by_origin[method]["mase"][n] for method in (NETWORK, best)),
    ]


def _tell_worst(made: RollingBacktest, best: str) -> None:
    by_series = made.by_series()
    mase = by_series[NETWORK]["mase"]
    measured = [s for s in range(len(made.series)) if mase[s] is not None]
    worst = sorted(measured, key=lambda s: -(mase[s] or 0.0))[:_WORST]
    print(f"\nmase of the worst {len(worst)} of {len(made.series)} series:")
    chosen = {method: {"mase": [by_series[method]["mase"][s] for s in worst]} for method in (NETWORK, best)}
    _print_beside(["series"], [[made.series[s]] for s in worst], chosen, best)


def _print_beside(
    columns: list[str], rows: list[list[Any]], scores: Mapping[str, Mapping[str, list[float | None]]], best: str
) -> None:
    """Rows with the network's MASE and the best baseline's."""
    told = zip(rows, scores[NETWORK]["mase"], scores[best]["mase"], strict=True)
    print_table([*columns, NETWORK, best], [[*row, ours, theirs] for row, ours, theirs in told])


def backtest_tutorial(name: str, *, as_json: bool) -> None:
    """`nextperiod backtest --protocol tutorial`."""
    recipes = settings_from().recipes
    recipe = load_recipe(name, recipes)
    if recipe.tutorial is None:
        raise InvalidArgument(
            f"recipe {recipe.name} has no [tutorial], whose protocol --protocol tutorial follows: expected one of "
            f"{list_names(names_with_tutorial(recipes))} (in {recipes}), or a recipe with that table"
        )
    with open_context(name) as at, progress():
        logger.debug("the tutorial begins", extra={"step": "TensorFlow starts"})
        record = replay_tutorial(at.recipe, at.store, at.clock)
    if as_json:
        print_json({"recipe": recipe.name, "protocol": "tutorial", "metric": "rmse", "lines": _lines(record)})
    else:
        _tell(recipe, record)


def _lines(record: ReplayRecord) -> list[dict[str, object]]:
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


def _tell(recipe: Recipe, record: ReplayRecord) -> None:
    assert recipe.tutorial is not None
    ahead = "each prediction fed back" if recipe.tutorial.recursive else "one period ahead"
    unit = f" in {recipe.unit}" if recipe.unit else ""
    print(": ".join(filter(None, (recipe.name, recipe.description))))
    print(f"the protocol of tutorial {recipe.tutorial.row}: RMSE{unit} on its test part, {ahead}\n")
    rows = [line | {"published": _as_printed(line["published"])} for line in _lines(record)]
    print_table(
        ["row", "architecture", "layers", "way", "published", "rmse", "last value", "season before", "test points"],
        [list(row.values()) for row in rows],
    )


def _as_printed(published: object) -> str:
    """The tutorial's figure with the digits that it has."""
    return "none printed" if published is None else str(published)
