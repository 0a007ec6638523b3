"""One function per command: run the step, print its result. Options are in `app`, the work is in `flows.steps`."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import typer

import flows
from flows.alerts import send_alerts
from flows.cli.console import print_forecast, print_json, print_table, progress
from flows.context import RunContext, open_context, open_store, require_prefect
from flows.forecast_table import ForecastTable, list_fallbacks, read_forecast_table
from flows.steps import (
    run_backfill,
    run_cycle,
    run_forecast,
    run_ingest,
    run_reset,
    run_sample_paths,
    run_scoring,
    run_training_step,
)
from pipeline.config.loader import load_recipe, recipe_names
from pipeline.config.recipe import Recipe
from pipeline.config.settings import read_settings
from pipeline.errors import InvalidArgument, NextperiodError, is_refusal
from pipeline.jobs.alerts import find_reasons
from pipeline.jobs.forecast import PublishResult
from pipeline.jobs.ingest import IngestResult
from pipeline.jobs.inputs import LATEST
from pipeline.jobs.reset import preview_reset
from pipeline.storage.engine import open_database
from pipeline.storage.roles import ROLES, create_roles, password_statements
from pipeline.storage.schema import REVISION, check_schema, revision_of, upgrade
from pipeline.storage.store import Store
from pipeline.text import counted, list_names
from pipeline.timeseries.panel import Panel
from pipeline.timeseries.period_labels import PeriodLabels

logger = logging.getLogger(__name__)

#: keys of each recipe in `status --json`
_STATUS_KEYS = (
    "recipe",
    "latest_origin",
    "published_at",
    "expected_next_by",
    "is_stale",
    "num_series",
    "num_fallback",
    "model_version",
    "model_age_days",
    "last_attempt_at",
    "last_attempt_status",
    "last_error",
    "skill",
    "fallbacks",
)
#: by key, the heading of a column of `status`
_STATUS_COLUMNS = {
    "recipe": "recipe",
    "latest_origin": "latest origin",
    "is_stale": "stale",
    "model_version": "model",
    "skill": "skill",
    "num_fallback": "fallback",
    "last_attempt_at": "last attempt (UTC)",
    "last_attempt_status": "status",
    "last_error": "error",
}


def print_cycles(
    names: Sequence[str], *, every: bool, num_jobs: int, training: str | None, as_of: datetime | None, as_json: bool
) -> bool:
    """`nextperiod run`: run one cycle of each recipe, so many at a time; returns whether any failed or was refused.

    One that fails does not keep the others from running.
    """
    import_seconds, settings = time.perf_counter() - flows.IMPORT_STARTED, read_settings()
    chosen = list(dict.fromkeys([*names, *(recipe_names(settings.recipes) if every else [])]))
    if not chosen:
        raise InvalidArgument(f"there is no recipe in {settings.recipes}: expected *.toml; set NEXTPERIOD_RECIPES")
    if len(chosen) == 1:
        load_recipe(chosen[0], settings.recipes)  # its message stands alone, without the name before it
    with open_store():
        pass  # the schema is there before the first cycle begins
    run = partial(_run_reported_cycle, training=training, as_of=as_of)
    if num_jobs == 1:
        facts = [_print_cycle(name, run, as_json=as_json) for name in chosen]
    else:
        facts = list(_print_cycles_at_once(chosen, run, num_jobs=num_jobs, as_json=as_json))
    if "seconds" in facts[0]:
        facts[0]["seconds"] = {"imports": round(import_seconds, 3), **facts[0]["seconds"]}
    if as_json:
        print_json(facts[0] if len(facts) == 1 else facts)
    return any(_is_failure(fact) for fact in facts)


def _is_failure(facts: dict[str, Any]) -> bool:
    return facts["status"] in ("failed", "refused")


def _print_cycle(name: str, run: Callable[[str], dict[str, Any]], *, as_json: bool) -> dict[str, Any]:
    with progress():
        facts = run(name)
    if not (as_json or _is_failure(facts)):
        _print_cycle_result(name, facts)
    return facts


def _print_cycles_at_once(
    names: Sequence[str], run: Callable[[str], dict[str, Any]], *, num_jobs: int, as_json: bool
) -> Iterator[dict[str, Any]]:
    """Run cycles in threads, for each waits for its training process most of the time; yield the facts in order."""
    with progress(), ThreadPoolExecutor(num_jobs) as pool:
        all_facts = list(pool.map(run, names))
    for name, facts in zip(names, all_facts, strict=True):
        if not (as_json or _is_failure(facts)):
            _print_cycle_result(name, facts)
        yield facts


def _run_reported_cycle(name: str, *, training: str | None, as_of: datetime | None) -> dict[str, Any]:
    """Run a cycle; a known error becomes its facts, and a line on stderr."""
    try:
        return _run_timed_cycle(name, training=training, as_of=as_of)
    except NextperiodError as error:
        print(f"nextperiod: {name}: {error}", file=sys.stderr)
        return {"recipe": name, "status": "refused" if is_refusal(error) else "failed", "reason": str(error)}


def _run_timed_cycle(name: str, *, training: str | None, as_of: datetime | None) -> dict[str, Any]:
    """Run the cycle as a Prefect flow if a server is set, otherwise in this process.

    `seconds` gains the time that is not part of a step: under "prefect", or under "opening" for opening the database.
    """
    api_url, started = read_settings().prefect_api_url, time.perf_counter()
    if api_url:
        logger.debug("Prefect starts", extra={"step": "Prefect"})
        require_prefect(api_url)
        from flows.cycle import cycle

        facts = cycle(name, training=training, as_of=as_of)
        assert isinstance(facts, dict)  # no run that a person starts is superseded
    else:
        with open_context(name) as context:
            facts = run_cycle(context, training=training, as_of=as_of)
    step_seconds = sum(seconds for step, seconds in facts["seconds"].items() if step != "sql")
    rest = time.perf_counter() - started - step_seconds
    facts["seconds"] = {"prefect" if api_url else "opening": round(rest, 3), **facts["seconds"]}
    return facts


def _print_cycle_result(name: str, facts: dict[str, Any]) -> None:
    for key in ("quarantine", "on_hold"):
        if facts[key]:
            print(facts[key])
    with open_context(name) as context:
        recipe = context.recipe
        table = read_forecast_table(recipe, context.store)
        origin = recipe.labels.text(table.shown[0]["origin"] if table else np.datetime64(facts["origin"], "us"))
        if facts["status"] == "unchanged":
            print(f"{recipe.name}: nothing to do; the forecast after {origin} is current ({facts['reason']})")
        else:
            print(": ".join(filter(None, (recipe.name, recipe.description))))
            print(f"forecast after {origin} by {_model_text(facts)}\n")
            if table:
                print_forecast(table, _load_history(context, table), unit=recipe.unit)
            _print_holdout_scores(context, facts["model_version"])
        print(
            f"\nforecasts  {context.store.database.shown}: select * from latest_forecasts where recipe = '{recipe.name}'"
            f"\ntrainings  {context.registry.address}: mlflow ui --backend-store-uri {context.registry.address}"
        )


def _model_text(facts: dict[str, Any]) -> str:
    if facts["model_version"] is None:
        return f"baselines, without a model ({facts['reason']})"
    return f"model {facts['model_version']} ({facts['training']}: {facts['reason']})"


def _print_holdout_scores(context: RunContext, model_version: int | None) -> None:
    model = None if model_version is None else context.store.models.by_version(context.recipe.name, model_version)
    if model is None or model.record.backtest is None:
        return
    metrics = ["rmse", "mae", "mase", "smape"]
    print(f"\nbacktest of the last {counted(context.recipe.test_periods, 'period')}, which the network had not seen:")
    print_table(
        ["", *metrics],
        [[method, *(scores[metric] for metric in metrics)] for method, scores in model.record.backtest.scores.items()],
    )


def print_backfill(name: str, first: datetime, until: datetime, *, as_json: bool) -> bool:
    """`nextperiod backfill`: run past cycles; returns whether any failed or was refused."""
    facts = []
    labels = load_recipe(name, read_settings().recipes).labels
    with progress():
        for fact in _past_cycles(name, first, until):
            facts.append(fact)
            if not as_json:
                print(_backfill_line(fact, labels), flush=True)
    if as_json:
        print_json(facts)
    else:
        counts = Counter(fact["status"] for fact in facts)
        statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
        print(f"{facts[0]['recipe']}: {counted(len(facts), 'cycle')}: {statuses}")
    return any(_is_failure(fact) for fact in facts)


def _past_cycles(name: str, first: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    """The facts of past cycles: each when it ends; with a Prefect server all of them when the flow ends."""
    api_url = read_settings().prefect_api_url
    if api_url:
        require_prefect(api_url)
        from flows.backfill import backfill

        yield from backfill(name, first=first, until=until)
    else:
        with open_context(name) as context:
            yield from run_backfill(context, first, until)


def _backfill_line(fact: dict[str, Any], labels: PeriodLabels) -> str:
    if _is_failure(fact):
        return f"{fact['as_of']}  {fact['status']}: {fact['reason']}"
    origin = labels.text(np.datetime64(fact["origin"], "us"))
    return f"{fact['as_of']}  {fact['status']} {fact['run_id']}, after {origin} by {_model_text(fact)}"


def print_decision(name: str, *, approve: bool, reject: bool, withdraw: int | None, yes: bool, as_json: bool) -> bool:
    """`nextperiod ingest` with a decision of a person; returns whether it was carried out.

    What an approval changes is shown first. On a terminal the person is asked, unless `yes`.
    """
    with open_context(name) as context:
        held = None if withdraw is not None else context.store.batches.held(context.recipe.name)
        if held is not None and not as_json:
            print(held.message.split("; nothing was ingested")[0])
            print("\n".join(f"  {line}" for line in held.preview.lines()))
        asks = approve and held is not None and not (yes or as_json) and sys.stdin.isatty() and sys.stdout.isatty()
        if asks and not typer.confirm("accept this batch?"):
            print("nothing was accepted; the batch stays on hold")
            return False
        with progress():
            result = run_ingest(context, approve=approve, reject=reject, withdraw=withdraw)
    if as_json:
        preview = asdict(held.preview) if held else None
        print_json({"recipe": context.recipe.name, **asdict(result), "preview": preview})
    elif reject:
        print(f"{result.source}: the batch was rejected; nothing of it was ingested")
    else:
        _print_counts(result)
    return True


def print_reset(name: str, *, yes: bool, as_json: bool) -> None:
    """`nextperiod reset`: start the recipe's history again, or say what that would do."""
    with open_context(name) as context, progress():
        result = run_reset(context) if yes else preview_reset(context.recipe, context.store)
    if as_json:
        print_json({"recipe": context.recipe.name, "is_done": yes, **asdict(result)})
        return
    model = f" and model {result.model_version} retired" if result.model_version else ""
    counts = f"{counted(result.num_values, 'value')} of {result.num_series} series"
    if yes:
        print(f"{context.recipe.name}: {counts} withdrawn{model}; published forecasts stay; the next run begins again")
    else:
        print(
            f"{context.recipe.name}: {counts} would be withdrawn{model}; published forecasts stay; nothing was done: "
            "add --yes to do it"
        )


def print_ingest(name: str, *, as_json: bool) -> None:
    """`nextperiod ingest`: ingest and print the counts of rows."""
    with open_context(name) as context, progress():
        result = run_ingest(context)
    if as_json:
        print_json({"recipe": context.recipe.name, **asdict(result)})
    else:
        _print_counts(result)


def _print_counts(result: IngestResult) -> None:
    if result.num_new + result.num_revised == 0:
        print(f"{result.source}: nothing new" + (f" in {counted(result.num_read, 'row')}" if result.num_read else ""))
    else:
        print(
            f"{result.source}: {counted(result.num_read, 'row')} read, {result.num_new} new, {result.num_revised} revised, "
            f"{result.num_same} unchanged, {result.num_rejected} rejected"
        )
    for notice in (result.quarantine, result.on_hold):
        if notice:
            print(notice)


def print_training(name: str, *, training: str | None, as_json: bool) -> None:
    """`nextperiod train`: train if due or requested, and print the current model."""
    with open_context(name) as context, progress():
        result = run_training_step(context, training=training)
    recipe = context.recipe
    if as_json:
        print_json({"recipe": recipe.name, **asdict(result)})
        return
    if result.model_version is None:
        print(f"{recipe.name}: no model: {result.reason}")
        return
    action = "kept" if result.training == "keep" else f"trained ({result.training})"
    baseline = result.baseline or recipe.gate.baseline
    skill = "" if result.skill is None else f"; skill against {baseline} {result.skill:+.3f}"
    print(f"{recipe.name}: {action} model {result.model_version}: {result.reason}{skill}")


def print_publication(name: str, *, as_json: bool) -> None:
    """`nextperiod forecast`: forecast, publish, and print the run."""
    with open_context(name) as context, progress():
        result = run_forecast(context)
        if as_json:
            print_json({"recipe": context.recipe.name, **asdict(result)})
        else:
            print(_publication_line(context.recipe, result))


def print_sample_paths(name: str, *, num_paths: int, seed: int | None, parquet: Path | None, as_json: bool) -> None:
    """`nextperiod forecast --paths`: forecast, publish, draw sample paths, and print both results."""
    with open_context(name) as context, progress():
        recipe_name = context.recipe.name
        file = parquet or Path(f"{recipe_name}-paths.parquet")
        published, drawn = run_sample_paths(context, num_paths=num_paths, parquet=file, seed=seed)
        if as_json:
            print_json({"recipe": recipe_name, **asdict(published), "paths": asdict(drawn)})
            return
        print(_publication_line(context.recipe, published))
        print(
            f"{recipe_name}: {drawn.status} {counted(drawn.num_paths, 'sample path')}, {drawn.num_new} of them new, with seed "
            f"{drawn.seed}: {counted(drawn.num_rows, 'row')} in {drawn.parquet}"
        )


def _publication_line(recipe: Recipe, published: PublishResult) -> str:
    origin = recipe.labels.text(np.datetime64(published.origin, "us"))
    rows = counted(published.num_rows, "row")
    return f"{recipe.name}: {published.status} run {published.run_id}, {rows} after {origin}"


def print_scoring(name: str, *, as_json: bool) -> None:
    """`nextperiod score`: score published forecasts and print how many steps were scored."""
    with open_context(name) as context, progress():
        num_scored = run_scoring(context)
    if as_json:
        print_json({"recipe": context.recipe.name, "num_scored": num_scored})
    else:
        print(f"{context.recipe.name}: {counted(num_scored, 'published step')} scored")


def print_latest_forecasts(
    name: str, *, series: str | None, csv: Path | None, parquet: Path | None, as_json: bool
) -> None:
    """`nextperiod show`: print the latest forecasts and write them to files."""
    with open_context(name, as_it_ran=True) as context:
        recipe, store = context.recipe, context.store
        table = read_forecast_table(recipe, store, series)
        if table is None:
            raise _no_forecasts(context, series)
        if csv or parquet or as_json:
            rows = store.runs.latest_forecasts(recipe.name, series)
            _write_files(rows, csv, parquet)
        if as_json:
            print_json([dict(row) for row in rows])
            return
        origin, run_id = table.labels.text(table.shown[0]["origin"]), table.shown[0]["run_id"]
        print(f"{recipe.name}: forecast after {origin}, run {run_id}\n")
        print_forecast(table, _load_history(context, table), unit=recipe.unit)


def _no_forecasts(context: RunContext, series: str | None) -> NextperiodError:
    recipe_name = context.recipe.name
    published = {row["series"] for row in context.store.runs.latest_forecasts(recipe_name)}
    if series is not None and published:
        return NextperiodError(f'series "{series}" is not known: expected one of {list_names(published)}')
    return NextperiodError(f"no forecast is published for {recipe_name}: run `nextperiod run {recipe_name}`")


def _write_files(rows: Sequence[Any], csv: Path | None, parquet: Path | None) -> None:
    if csv is None and parquet is None:
        return
    import pandas as pd

    frame = pd.DataFrame([dict(row) for row in rows])
    try:
        if csv is not None:
            frame.to_csv(csv, index=False)
        if parquet is not None:
            frame.to_parquet(parquet, index=False)
    except OSError as error:
        raise NextperiodError(f"the forecasts cannot be written: {error}") from None


def _load_history(context: RunContext, table: ForecastTable) -> Panel | None:
    """The observations, where a terminal shows a chart of a single series."""
    if not sys.stdout.isatty() or len({row["series"] for row in table.shown}) > 1:
        return None
    return context.store.observations.panel(context.recipe, LATEST)


def print_status(*, as_json: bool) -> None:
    """`nextperiod status`: print one row per recipe."""
    with open_store() as store:
        facts = [_status_facts(store, row) for row in store.recipes.status()]
    has_run = {fact["recipe"] for fact in facts}
    facts += [
        {**dict.fromkeys(_STATUS_KEYS), "recipe": name, "last_attempt_status": "never run"}
        for name in recipe_names(read_settings().recipes)
        if name not in has_run
    ]
    if as_json:
        print_json(facts)
    else:
        print_table(list(_STATUS_COLUMNS.values()), [[fact[key] for key in _STATUS_COLUMNS] for fact in facts])
        for fact in facts:
            for fallback in fact["fallbacks"] or ():
                print(f"{fact['recipe']}: {fallback}")


def print_automations(*, as_json: bool) -> None:
    """`nextperiod automations`: save them on the Prefect server, and print their names."""
    from flows.automations import save_automations  # imports Prefect

    names = save_automations()
    if as_json:
        print_json({"automations": names})
    else:
        print("\n".join(names))


def print_reasons(*, sends_alerts: bool, as_json: bool) -> bool:
    """`nextperiod status --check`: print why somebody should look at a recipe; returns whether there is a reason.

    With `sends_alerts` the alerts that were not sent yet are sent, too.
    """
    if sends_alerts and not read_settings().alerts:
        raise InvalidArgument("--notify: NEXTPERIOD_ALERTS is not set: expected the address of a webhook")
    with open_store() as store:
        reasons = find_reasons(store, recipes=read_settings().recipes)
        if sends_alerts:
            print(f"{counted(send_alerts(store, reasons), 'alert')} sent", file=sys.stderr)
    if as_json:
        print_json([asdict(reason) for reason in reasons])
    else:
        print("\n".join(map(str, reasons)) or "no recipe needs to be looked at")
    return bool(reasons)


def _status_facts(store: Store, row: Any) -> dict[str, Any]:
    champion = store.models.champion(row["recipe"])
    fallbacks = list_fallbacks(store, row["recipe"])
    return {
        **row,
        "is_stale": bool(row["is_stale"]),
        "skill": champion.skill if champion else None,
        "fallbacks": fallbacks,
    }


def print_schema_upgrade(*, as_json: bool) -> None:
    """`nextperiod db upgrade`: upgrade the schema and print its revision."""
    database = open_database(read_settings().database_url)
    before = revision_of(database)
    upgrade(database)
    database.close()
    if as_json:
        print_json({"database": database.shown, "from": before, "revision": REVISION})
    elif before == REVISION:
        print(f"the schema of {database.shown} is up to date")
    else:
        print(f"the schema of {database.shown} was upgraded from {before or 'nothing'} to revision {REVISION}")


def print_schema_check(*, as_json: bool) -> None:
    """`nextperiod db check`: print the revision of the schema.

    Raises:
        SchemaOutOfDate: the database has no schema, or an older one.
        SchemaTooNew: the schema is newer than the code.
    """
    database = open_database(read_settings().database_url)
    check_schema(database)
    database.close()
    if as_json:
        print_json({"database": database.shown, "revision": REVISION})
    else:
        print(f"the schema of {database.shown} is at revision {REVISION}, which this nextperiod needs")


def print_roles(*, as_json: bool) -> None:
    """`nextperiod db roles`: create the PostgreSQL roles and print what each may do."""
    database = open_database(read_settings().database_url)
    create_roles(database)
    database.close()
    if as_json:
        print_json(
            {"database": database.shown, "roles": [asdict(role) for role in ROLES], "next": password_statements()}
        )
        return
    print_table(["role", "logs in", "may"], [[role.role, role.login, role.may] for role in ROLES])
    print("\nset the passwords with \\password ROLE in psql, or with:\n" + ";\n".join(password_statements()) + ";")
