"""Print the result of `nextperiod check`: what a cycle would do, without doing it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flows.cli.console import print_json, progress
from flows.context import utc_now
from pipeline.config.loader import load_recipe
from pipeline.config.settings import read_settings
from pipeline.jobs.check import CheckResult, check_recipe
from pipeline.storage.rehearsal import rehearse
from pipeline.storage.store import Store
from pipeline.text import counted
from pipeline.timeseries.period_labels import PeriodLabels


def print_check(name: str, *, as_json: bool) -> bool:
    """`nextperiod check`: try a recipe, print what would happen; returns whether nothing would be refused."""
    settings = read_settings()
    recipe = load_recipe(name, settings.recipes)
    with rehearse(settings.database_url, recipe.name) as database, progress():
        result = check_recipe(recipe, Store(database), utc_now())
    if as_json:
        print_json(_as_facts(recipe.name, result))
    else:
        print("\n".join(_lines(recipe.name, result, recipe.labels)))
    return result.refusal is None


def _as_facts(name: str, result: CheckResult) -> dict[str, Any]:
    facts = asdict(result)
    periods = facts.pop("periods")
    instants = {key: None if facts[key] is None else str(facts[key])[:19] for key in ("first_period", "origin")}
    return {
        "recipe": name,
        **facts,
        **instants,
        "forecast_from": None if periods is None else str(periods[0])[:19],
        "forecast_to": None if periods is None else str(periods[-1])[:19],
    }


def _lines(name: str, result: CheckResult, labels: PeriodLabels) -> list[str]:
    lines = [f"{name}: a cycle would do this; nothing was written"]
    ingested = result.ingested
    if ingested is not None:
        lines.append(
            f"  ingest    {ingested.source}: {counted(ingested.num_read, 'row')}, {ingested.num_new} new, "
            f"{ingested.num_revised} revised, {ingested.num_same} unchanged, {ingested.num_rejected} rejected"
        )
        lines += [f"            {notice}" for notice in (ingested.quarantine, ingested.on_hold) if notice]
    if result.refusal is not None:
        lines.append(f"  refused   {result.refusal}")
    if result.origin is not None and result.first_period is not None and result.periods is not None:
        first, last, begin, end = map(
            labels.text, (result.first_period, result.origin, result.periods[0], result.periods[-1])
        )
        lines += [
            f"  history   {counted(result.num_series, 'series')}, {counted(result.num_values, 'value')} from {first} to {last}",
            f"  forecast  {counted(len(result.periods), 'period')} from {begin} to {end}",
            f"  training  {result.training}: {result.reason}",
            f"  network   {result.network}",
            f"  takes     about {_about(result.seconds or 0.0)}",
        ]
    return lines


def _about(seconds: float) -> str:
    if seconds < 100:
        return f"{round(seconds, -1) or round(seconds):g} s"
    return f"{seconds / 60:.0f} min"
