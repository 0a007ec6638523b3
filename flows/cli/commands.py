"""What the commands do: jobs or flows carried out, and their facts shown."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import flows
from flows.cli.console import period_text, print_forecast, print_json, print_table, progress
from flows.context import RunContext, open_context, require_prefect
from flows.cycle_steps import (
    run_backfill,
    run_cycle,
    run_forecast,
    run_ingest,
    run_sample_paths,
    run_scoring,
    run_training_step,
)
from pipeline.config.loader import load_recipe, recipe_names
from pipeline.config.settings import settings_from
from pipeline.errors import NextperiodError, SchemaOutOfDate, is_refusal
from pipeline.jobs.inputs import LATEST
from pipeline.storage.engine import open_database
from pipeline.storage.roles import ROLES, make_roles, passwords
from pipeline.storage.schema import REVISION, require_schema, revision_of, upgrade
from pipeline.storage.store import Store
from pipeline.text import counted, list_names

logger = logging.getLogger(__name__)

#: what `status --json` says of each recipe
_STATUS = (
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
)


def run_cycles(
    names: Sequence[str], *, every: bool, training: str | None, as_of: datetime | None, as_json: bool
) -> bool:
    """Run the cycle of each recipe; whether any failed."""
    imports, settings = time.perf_counter() - flows.BEGAN, settings_from()
    chosen = list(dict.fromkeys([*names, *(recipe_names(settings.recipes) if every else [])]))
    for name in chosen:
        load_recipe(name, settings.recipes)
    _require_database()
    facts = [_run_cycle(name, training=training, as_of=as_of, as_json=as_json) for name in chosen]
    if "seconds" in facts[0]:
        facts[0]["seconds"] = {"imports": round(imports, 3), **facts[0]["seconds"]}
    if as_json:
        print_json(facts[0] if len(facts) == 1 else facts)
    return any(fact["status"] in ("failed", "refused") for fact in facts)


def _run_cycle(name: str, *, training: str | None, as_of: datetime | None, as_json: bool) -> dict[str, Any]:
    try:
        with progress():
            facts = _carried_out(name, training=training, as_of=as_of)
    except NextperiodError as error:
        print(f"nextperiod: {name}: {error}", file=sys.stderr)
        return {"recipe": name, "status": "refused" if is_refusal(error) else "failed", "reason": str(error)}
    if not as_json:
        _tell(name, facts)
    return facts


def _carried_out(name: str, *, training: str | None, as_of: datetime | None) -> dict[str, Any]:
    """The cycle: as a flow where there is a Prefect server, in this process alone where there is none.

    What is no step's time is Prefect's, or goes to opening the database.
    """
    api_url, began = settings_from().prefect_api_url, time.perf_counter()
    if api_url:
        logger.debug("Prefect", extra={"step": "Prefect"})
        require_prefect(api_url)
        from flows.cycle import cycle

        facts: dict[str, Any] = cycle(name, training=training, as_of=as_of)
    else:
        with open_context(name) as at:
            facts = run_cycle(at, training=training, as_of=as_of)
    rest = time.perf_counter() - began - sum(took for step, took in facts["seconds"].items() if step != "sql")
    facts["seconds"] = {"prefect" if api_url else "opening": round(rest, 3), **facts["seconds"]}
    return facts


def _tell(name: str, facts: dict[str, Any]) -> None:
    with open_context(name) as at:
        rows = at.store.latest_forecasts(at.recipe.name)
        origin = period_text(rows[0]["origin"]) if rows else facts["origin"]
        if facts["status"] == "unchanged":
            print(f"{at.recipe.name}: nothing new was to do; the forecast after {origin} stands ({facts['reason']})")
        else:
            print(": ".join(filter(None, (at.recipe.name, at.recipe.description))))
            made_by = f"model {facts['model_version']} ({facts['training']}: {facts['reason']})"
            print(f"forecast after {origin} by {made_by}\n")
            print_forecast(rows, _history(at), unit=at.recipe.unit)
            _tell_backtest(at, facts["model_version"])
        print(
            f"\nforecasts  {at.store.database.shown}: select * from latest_forecasts where recipe = '{at.recipe.name}'"
            f"\ntrainings  {at.registry.address}: mlflow ui --backend-store-uri {at.registry.address}"
        )


def _tell_backtest(at: RunContext, model_version: int) -> None:
    model = at.store.model(at.recipe.name, model_version)
    if model is None or model.record.backtest is None:
        return
    scores = model.record.backtest.scores
    print(f"\nbacktest of the last {at.recipe.test_periods} periods, which the network had not seen:")
    print_table(
        ["", "rmse", "mae", "mase", "smape"],
        [
            [method, *(values[metric] for metric in ("rmse", "mae", "mase", "smape"))]
            for method, values in scores.items()
        ],
    )


def backfill_one(name: str, first: datetime, until: datetime, *, as_json: bool) -> bool:
    """`nextperiod backfill`; whether a cycle failed."""
    api_url, facts = settings_from().prefect_api_url, []
    with progress():
        for fact in _past_cycles(name, first, until, api_url):
            facts.append(fact)
            if not as_json:
                print(_line_of(fact), flush=True)
    if as_json:
        print_json(facts)
    else:
        statuses = Counter(fact["status"] for fact in facts)
        told = ", ".join(f"{count} {status}" for status, count in statuses.items())
        print(f"{facts[0]['recipe']}: {counted(len(facts), 'cycle')}: {told}")
    return any(fact["status"] in ("failed", "refused") for fact in facts)


def _past_cycles(name: str, first: datetime, until: datetime, api_url: str | None) -> Iterator[dict[str, Any]]:
    """The cycles' facts: each when it is done, or from a Prefect flow when all are."""
    if api_url:
        require_prefect(api_url)
        from flows.backfill import backfill

        yield from backfill(name, first=first, until=until)
    else:
        with open_context(name) as at:
            yield from run_backfill(at, first, until)


def _line_of(fact: dict[str, Any]) -> str:
    if fact["status"] in ("failed", "refused"):
        return f"{fact['as_of']}  {fact['status']}: {fact['reason']}"
    origin = period_text(np.datetime64(fact["origin"], "us"))
    made_by = f"model {fact['model_version']} ({fact['training']}: {fact['reason']})"
    return f"{fact['as_of']}  {fact['status']} {fact['run_id']}, after {origin} by {made_by}"


def ingest_one(name: str, *, approve: bool, as_json: bool) -> None:
    """`nextperiod ingest`."""
    with open_context(name) as at, progress():
        facts = run_ingest(at, approve=approve)
    if as_json:
        print_json({"recipe": at.recipe.name, **asdict(facts)})
    elif facts.num_new + facts.num_revised == 0:
        print(f"{facts.source}: nothing new" + (f" in {facts.num_read} rows" if facts.num_read else ""))
    else:
        print(
            f"{facts.source}: {facts.num_read} rows read, {facts.num_new} new, {facts.num_revised} revised, "
            f"{facts.num_same} the same, {facts.num_rejected} refused"
        )


def train_one(name: str, *, asked: str | None, as_json: bool) -> None:
    """`nextperiod train`."""
    with open_context(name) as at, progress():
        facts = run_training_step(at, training=asked)
    if as_json:
        print_json({"recipe": at.recipe.name, **asdict(facts)})
    else:
        did = "kept" if facts.training == "keep" else f"trained ({facts.training})"
        skill = "" if facts.skill is None else f"; skill against {at.recipe.gate.baseline} {facts.skill:+.3f}"
        print(f"{at.recipe.name}: {did} model {facts.model_version}: {facts.reason}{skill}")


def forecast_one(name: str, *, as_json: bool) -> None:
    """`nextperiod forecast`."""
    with open_context(name) as at, progress():
        facts = run_forecast(at)
        if as_json:
            print_json({"recipe": at.recipe.name, **asdict(facts)})
        else:
            print(
                f"{at.recipe.name}: {facts.status} run {facts.run_id}, {facts.num_rows} rows after {facts.origin[:10]}"
            )


def forecast_with_paths(name: str, *, num_paths: int, seed: int | None, parquet: Path | None, as_json: bool) -> None:
    """`nextperiod forecast --paths`: the forecast first, as without it."""
    with open_context(name) as at, progress():
        file = parquet or Path(f"{at.recipe.name}-paths.parquet")
        published, drawn = run_sample_paths(at, num_paths=num_paths, parquet=file, seed=seed)
        if as_json:
            print_json({"recipe": at.recipe.name, **asdict(published), "paths": asdict(drawn)})
            return
        print(
            f"{at.recipe.name}: {published.status} run {published.run_id}, {published.num_rows} rows after "
            f"{published.origin[:10]}"
        )
        print(
            f"{at.recipe.name}: {drawn.status} {counted(drawn.num_paths, 'sample path')}, {drawn.num_new} of them new, with seed "
            f"{drawn.seed}: {counted(drawn.num_rows, 'row')} in {drawn.parquet}"
        )


def score_one(name: str, *, as_json: bool) -> None:
    """`nextperiod score`."""
    with open_context(name) as at, progress():
        num_scored = run_scoring(at)
    if as_json:
        print_json({"recipe": at.recipe.name, "num_scored": num_scored})
    else:
        print(f"{at.recipe.name}: {num_scored} published steps scored")


def show_forecasts(name: str, *, series: str | None, csv: Path | None, parquet: Path | None, as_json: bool) -> None:
    """`nextperiod show`."""
    with open_context(name) as at:
        rows = at.store.latest_forecasts(at.recipe.name, series)
        if not rows:
            raise _nothing_to_show(at, series)
        _write_files(rows, csv, parquet)
        if as_json:
            print_json([dict(row) for row in rows])
            return
        print(f"{at.recipe.name}: forecast after {period_text(rows[0]['origin'])}, run {rows[0]['run_id']}\n")
        print_forecast(rows, _history(at), unit=at.recipe.unit)


def _nothing_to_show(at: RunContext, series: str | None) -> NextperiodError:
    published = {row["series"] for row in at.store.latest_forecasts(at.recipe.name)}
    if series is not None and published:
        return NextperiodError(f'series "{series}" is not known: expected one of {list_names(published)}')
    return NextperiodError(f"no forecast is published for {at.recipe.name}: run `nextperiod run {at.recipe.name}`")


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


def _history(at: RunContext) -> Any:
    return at.store.panel(at.recipe, LATEST)


def show_status(*, as_json: bool) -> None:
    """`nextperiod status`."""
    database = _require_database()
    store = Store(database)
    champions = {row["recipe"]: store.champion(row["recipe"]) for row in store.status()}
    facts = [
        {
            **row,
            "is_stale": bool(row["is_stale"]),
            "skill": champion.skill if (champion := champions[row["recipe"]]) else None,
        }
        for row in store.status()
    ]
    never = [name for name in recipe_names(settings_from().recipes) if name not in champions]
    database.close()
    if as_json:
        blank = dict.fromkeys(_STATUS)
        print_json([*facts, *({**blank, "recipe": name, "last_attempt_status": "never run"} for name in never)])
        return
    columns = [
        "recipe",
        "latest_origin",
        "is_stale",
        "model_version",
        "skill",
        "last_attempt_at",
        "last_attempt_status",
        "last_error",
    ]
    rows = [[fact[column] for column in columns] for fact in facts]
    rows += [[name, None, None, None, None, None, "never run", None] for name in never]
    print_table(["recipe", "latest origin", "stale", "model", "skill", "last attempt", "status", "error"], rows)


def upgrade_schema(*, as_json: bool) -> None:
    """`nextperiod db upgrade`."""
    database = open_database(settings_from().database_url)
    before = revision_of(database)
    upgrade(database)
    database.close()
    if as_json:
        print_json({"database": database.shown, "from": before, "revision": REVISION})
        return
    done = (
        "is up to date" if before == REVISION else f"was brought from {before or 'nothing'} up to revision {REVISION}"
    )
    print(f"the schema of {database.shown} {done}")


def check_schema(*, as_json: bool) -> None:
    """`nextperiod db check`."""
    database = open_database(settings_from().database_url)
    revision = revision_of(database)
    if revision is None:
        raise SchemaOutOfDate(f"{database.shown} has no schema: run `nextperiod db upgrade`")
    require_schema(database)
    database.close()
    if as_json:
        print_json({"database": database.shown, "revision": revision})
    else:
        print(f"the schema of {database.shown} is at revision {revision}, which this nextperiod needs")


def make_database_roles(*, as_json: bool) -> None:
    """`nextperiod db roles`."""
    database = open_database(settings_from().database_url)
    make_roles(database)
    database.close()
    if as_json:
        print_json({"database": database.shown, "roles": [asdict(role) for role in ROLES], "next": passwords()})
        return
    print_table(["role", "logs in", "may"], [[role.role, role.login, role.may] for role in ROLES])
    print("\npasswords are yours to set, with \\password ROLE in psql or:\n" + ";\n".join(passwords()) + ";")


def _require_database() -> Any:
    database = open_database(settings_from().database_url)
    require_schema(database)
    return database
