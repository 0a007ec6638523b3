"""`nextperiod doctor`: check the installation, its services, and every invariant of the store."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from flows.cli.console import print_json, print_table
from flows.context import require_prefect, utc_now
from flows.forecast_table import list_fallbacks
from pipeline.config.loader import load_recipe, recipe_names
from pipeline.config.settings import Settings, read_settings
from pipeline.errors import NextperiodError
from pipeline.jobs.deliver_outbox import repair_registry
from pipeline.storage.engine import open_database
from pipeline.storage.integrity import integrity_errors
from pipeline.storage.schema import require_schema, revision_of
from pipeline.storage.store import Store
from pipeline.text import counted, without_secrets
from pipeline.tracking.registry import Registry

#: what helps where MLflow does not show what the store says
_REPAIR = "if MLflow is up, run `nextperiod doctor --repair`"
Check = Callable[[Settings], str]

_PACKAGES = ("nextperiod", "prefect", "mlflow", "tensorflow", "keras", "onnxruntime", "pandas", "numpy", "sqlalchemy")


def print_checks(*, as_json: bool, repairs: bool = False) -> bool:
    """Run every check, after a repair if asked to; print the findings, and return whether all passed."""
    settings = read_settings()
    if repairs:
        repair_mlflow(settings)
    findings = [(name, *_run_check(check, settings)) for name, check in CHECKS.items()]
    if as_json:
        print_json([{"check": name, "ok": ok, "finding": finding} for name, ok, finding in findings])
    else:
        print_table(
            ["check", "", "finding"], [[name, "ok" if ok else "FAILS", finding] for name, ok, finding in findings]
        )
    return all(ok for _, ok, _ in findings)


def _run_check(check: Check, settings: Settings) -> tuple[bool, str]:
    try:
        return True, check(settings)
    except NextperiodError as error:
        return False, str(error)


def _check_versions(_settings: Settings) -> str:
    return ", ".join(f"{name} {version(name)}" for name in _PACKAGES) + f", Python {platform.python_version()}"


def _check_recipes(settings: Settings) -> str:
    names = recipe_names(settings.recipes)
    if not names:
        raise NextperiodError(f"there is no recipe in {settings.recipes}: expected *.toml; set NEXTPERIOD_RECIPES")
    recipes = [load_recipe(name, settings.recipes) for name in names]
    described = [f"{name} ({recipe.describe_periods()})" for name, recipe in zip(names, recipes, strict=True)]
    return f"{settings.recipes}: {', '.join(described)}"


def _check_database(settings: Settings) -> str:
    database = open_database(settings.database_url)
    require_schema(database)
    with database.read() as transaction:
        dialect = transaction.connection.dialect
        server_version = (
            sqlite3.sqlite_version
            if dialect.name == "sqlite"
            else ".".join(map(str, dialect.server_version_info or ()))
        )
    database.close()
    return f"{database.shown}, {dialect.name} {server_version}, schema {revision_of(database)}"


def _check_invariants(settings: Settings) -> str:
    database = open_database(settings.database_url)
    require_schema(database)
    store = Store(database)
    errors = integrity_errors(store)
    recipes = [row["recipe"] for row in store.recipes.status()]
    fallbacks = [f"{recipe}: {fallback}" for recipe in recipes for fallback in list_fallbacks(store, recipe)]
    database.close()
    if errors:
        raise NextperiodError("; ".join(errors))
    sound = "every run is complete, published once and as it was computed; every champion is unchanged"
    return "; ".join([sound, *(f"series of {fallback}" for fallback in fallbacks)])


def _check_outbox(settings: Settings) -> str:
    database = open_database(settings.database_url)
    outbox = Store(database).outbox
    waiting, skipped = outbox.pending(), outbox.skipped()
    database.close()
    blocked = [entry for entry in waiting if entry.last_error]
    if blocked:
        first = blocked[0]
        raise NextperiodError(
            f"{counted(len(waiting), 'entry')} cannot be sent to MLflow: {first.kind} of {first.recipe}: {first.last_error}; "
            f"{_REPAIR}"
        )
    finding = f"{counted(len(waiting), 'entry')} to be sent to MLflow" if waiting else "MLflow is up to date"
    if not skipped:
        return finding
    last = skipped[-1]
    return f"{finding}; {counted(len(skipped), 'entry')} skipped, the last one: {last.kind} of {last.recipe}: {last.last_error}"


def _check_mlflow(settings: Settings) -> str:
    registry = Registry(settings.tracking_uri, utc_now)
    summary = f"{registry.address}: {registry.check()}"
    database = open_database(settings.database_url)
    wrong = list(_find_wrong_aliases(Store(database), registry))
    database.close()
    if wrong:
        raise NextperiodError(f"{'; '.join(wrong)}; {_REPAIR}")
    return summary


def _find_wrong_aliases(store: Store, registry: Registry) -> Iterator[str]:
    """Yield the recipes whose champion in MLflow is not that of the store, unless it is still to be sent."""
    waiting = {entry.recipe for entry in store.outbox.pending() if entry.kind != "publication"}
    for row in store.recipes.status():
        recipe = row["recipe"]
        champion = store.models.champion(recipe)
        if champion is None or recipe in waiting:
            continue
        shown = registry.champion_hash(recipe)
        if shown != champion.model_hash:
            has = "on no model" if shown is None else "on another model"
            yield f"{recipe}: the champion is model {champion.model_version}, and in MLflow the alias champion is {has}"


def repair_mlflow(settings: Settings) -> None:
    """Send what is pending to MLflow, and put the aliases where the store says."""
    database = open_database(settings.database_url)
    require_schema(database)
    store, registry = Store(database), Registry(settings.tracking_uri, utc_now)
    for row in store.recipes.status():
        repair_registry(row["recipe"], store, registry, utc_now())
    database.close()


def _check_prefect(settings: Settings) -> str:
    if not settings.prefect_api_url:
        return "not used (PREFECT_API_URL is not set): a cycle runs its steps in its own process"
    require_prefect(settings.prefect_api_url)
    return f"{without_secrets(settings.prefect_api_url)} is healthy"


def _check_folder(_settings: Settings) -> str:
    return str(Path.cwd())


CHECKS: dict[str, Check] = {
    "versions": _check_versions,
    "folder": _check_folder,
    "recipes": _check_recipes,
    "database": _check_database,
    "store": _check_invariants,
    "outbox": _check_outbox,
    "mlflow": _check_mlflow,
    "prefect": _check_prefect,
}
