"""`nextperiod doctor`: check the installation, its services, and every invariant of the store."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from flows.cli.console import print_json, print_table
from flows.cli.findings import PATIENCE_SECONDS, Finding, failure, ok, warning, within_time
from flows.cli.server_checks import check_database, check_mlflow, check_prefect, is_server
from flows.context import utc_now
from flows.forecast_table import list_fallbacks
from pipeline.config.loader import load_recipe, recipe_names
from pipeline.config.recipe import Recipe
from pipeline.config.settings import Settings, read_settings
from pipeline.errors import InvalidRecipe, ModelRefused, NextperiodError, RegistryRefused, RegistryUnavailable
from pipeline.forecasting.forecaster import verify_model_files
from pipeline.jobs.alerts import find_reasons
from pipeline.jobs.deliver_outbox import repair_registry
from pipeline.records.lineage import ModelVersion
from pipeline.sources.extras import install_command, missing_libraries
from pipeline.storage.engine import open_database
from pipeline.storage.integrity import integrity_errors
from pipeline.storage.leases import is_dead
from pipeline.storage.schema import require_schema
from pipeline.storage.statements import Row
from pipeline.storage.store import Store
from pipeline.text import counted, list_names
from pipeline.tracking.registry import Registry

#: what helps where MLflow does not show what the store says
_REPAIR = "if MLflow is up, run `nextperiod doctor --repair`"
#: what the table shows of a finding
_SHOWN = {"ok": "ok", "warning": "warning", "failure": "FAILS"}
Check = Callable[[Settings], Iterator[Finding]]

_PACKAGES = ("nextperiod", "prefect", "mlflow", "tensorflow", "keras", "onnxruntime", "pandas", "numpy", "sqlalchemy")


def print_checks(*, as_json: bool, repairs: bool = False) -> bool:
    """Run every check, after a repair if asked to; print the findings, and return whether none is a failure."""
    settings = read_settings()
    if repairs:
        repair_mlflow(settings)
    findings = list(run_checks(settings))
    if as_json:
        print_json(
            [
                {"check": name, "ok": finding.status != "failure", "status": finding.status, "finding": finding.text}
                for name, finding in findings
            ]
        )
    else:
        rows = [[name, _SHOWN[finding.status], finding.text] for name, finding in findings]
        print_table(["check", "", "finding"], rows)
    return all(finding.status != "failure" for _, finding in findings)


def run_checks(settings: Settings, *, patience: float = PATIENCE_SECONDS) -> Iterator[tuple[str, Finding]]:
    """Yield the findings of every check, each with the name of the check.

    A check that needs a service that is not usable is not carried out: one cause gives one message.

    Args:
        settings: where the services are.
        patience: seconds that the check of a server may take.
    """
    unusable: set[str] = set()
    for name, check in CHECKS.items():
        missing = unusable.intersection(_NEEDS.get(name, ()))
        findings = (
            [failure(f"not checked: see {list_names(missing)}")]
            if missing
            else _run_check(name, settings, check, patience)
        )
        if not any(finding.status == "ok" for finding in findings):
            unusable.add(name)
        for finding in findings:
            yield name, finding


def _run_check(name: str, settings: Settings, check: Check, patience: float) -> list[Finding]:
    """The findings of one check; an error that ends it is a failure."""
    try:
        server = _server_of(name, settings)
        if server is None:
            return list(check(settings))
        if name == "mlflow":
            Registry(settings.tracking_uri, utc_now).prepare()
        return within_time(lambda: list(check(settings)), of=server, seconds=patience)
    except NextperiodError as error:
        return [failure(str(error))]


def _server_of(name: str, settings: Settings) -> str | None:
    """What a check asks that may never answer; None: nothing."""
    if name == "database":
        return f"the database {open_database(settings.database_url).shown}"
    if name == "mlflow" and is_server(settings.tracking_uri):
        return f"MLflow at {settings.tracking_uri}"
    if name == "prefect" and settings.prefect_api_url:
        return f"Prefect at {settings.prefect_api_url}"
    return None


def _check_versions(_settings: Settings) -> Iterator[Finding]:
    yield ok(", ".join(f"{name} {version(name)}" for name in _PACKAGES) + f", Python {platform.python_version()}")


def _check_folder(_settings: Settings) -> Iterator[Finding]:
    yield ok(str(Path.cwd()))


def _check_recipes(settings: Settings) -> Iterator[Finding]:
    """Check that every file is a recipe, and that what its source needs is installed."""
    names = recipe_names(settings.recipes)
    if not names:
        raise NextperiodError(f"there is no recipe in {settings.recipes}: expected *.toml; set NEXTPERIOD_RECIPES")
    described = []
    for name in names:
        try:
            recipe = load_recipe(name, settings.recipes)
        except InvalidRecipe as error:
            yield failure(f"{error}; change the file, and try it with `nextperiod check {name}`")
        else:
            described.append(f"{name} ({recipe.describe_periods()})")
            yield from _missing_extras(recipe)
    if described:
        yield ok(f"{settings.recipes}: {', '.join(described)}")


def _missing_extras(recipe: Recipe) -> Iterator[Finding]:
    for extra, libraries in missing_libraries(recipe).items():
        yield failure(
            f"{recipe.name}: its source needs {list_names(libraries)} of the extra {extra}, which is not installed: run "
            f"{install_command(extra)}"
        )


def _check_store(settings: Settings) -> Iterator[Finding]:
    with _opened(settings) as store:
        errors = integrity_errors(store)
        recipes = [row["recipe"] for row in store.recipes.status()]
        fallbacks = [f"{recipe}: {fallback}" for recipe in recipes for fallback in list_fallbacks(store, recipe)]
    yield from map(failure, errors)
    if not errors:
        sound = "every run is complete, published once and as it was computed; every champion is unchanged"
        yield ok("; ".join([sound, *(f"series of {fallback}" for fallback in fallbacks)]))


def _check_forecasts(settings: Settings) -> Iterator[Finding]:
    """Warn of recipes whose latest forecast is stale: the store keeps its promises, and something does not run."""
    with _opened(settings) as store:
        num_recipes = len(store.recipes.status())
        stale = [reason for reason in find_reasons(store) if reason.kind == "stale"]
    for reason in stale:
        yield warning(
            f"{reason}; run `nextperiod run {reason.recipe}`, and look at its schedule or at what its source delivers"
        )
    yield ok(f"{num_recipes - len(stale)} of {counted(num_recipes, 'recipe')} not stale")


def _check_leases(settings: Settings) -> Iterator[Finding]:
    """Warn of leases that a worker of this machine held when it died; those of other machines are listed."""
    with _opened(settings) as store:
        leases = store.leases.held()
    yield from (warning(_describe_stale(lease)) for lease in leases if is_dead(lease["holder"]))
    held = [f"{lease['recipe']} by {_describe(lease)}" for lease in leases if not is_dead(lease["holder"])]
    yield ok("; ".join(held) or "no recipe is leased for a training")


def _describe_stale(lease: Row) -> str:
    return (
        f"{lease['recipe']} is leased by {_describe(lease)}, which does not run any more: the next training on this machine "
        f"takes the lease over, `nextperiod train {lease['recipe']}`; other machines wait until it expires"
    )


def _describe(lease: Row) -> str:
    since = "" if lease["started_at"] is None else f" since {lease['started_at']:%Y-%m-%d %H:%M} UTC"
    return f"{lease['holder']}{since}, until {lease['expires_at']:%Y-%m-%d %H:%M} UTC at the latest"


def _check_outbox(settings: Settings) -> Iterator[Finding]:
    with _opened(settings) as store:
        waiting, skipped = store.outbox.pending(), store.outbox.skipped()
    blocked = next((entry for entry in waiting if entry.last_error), None)
    if blocked is not None:
        raise NextperiodError(
            f"{counted(len(waiting), 'entry')} cannot be sent to MLflow: {blocked.kind} of {blocked.recipe}: "
            f"{blocked.last_error}; {_REPAIR}"
        )
    finding = f"{counted(len(waiting), 'entry')} to be sent to MLflow" if waiting else "MLflow is up to date"
    if skipped:
        last = skipped[-1]
        finding += (
            f"; {counted(len(skipped), 'entry')} skipped, the last one: {last.kind} of {last.recipe}: {last.last_error}"
        )
    yield ok(finding)


def _check_champions(settings: Settings) -> Iterator[Finding]:
    """Check that MLflow shows the champion of each recipe, and has its files as they are in the store.

    A champion that is still to be sent is not looked at.
    """
    registry, num_champions, num_wrong = Registry(settings.tracking_uri, utc_now), 0, 0
    with _opened(settings) as store:
        waiting = {entry.recipe for entry in store.outbox.pending() if entry.kind != "publication"}
        recipes = [row["recipe"] for row in store.recipes.status()]
        champions = [store.models.champion(recipe) for recipe in recipes if recipe not in waiting]
    for champion in filter(None, champions):
        num_champions += 1
        fault = within_time(partial(_champion_fault, champion, registry), of=f"MLflow at {registry.address}")
        if fault is not None:
            num_wrong += 1
            yield failure(fault)
    yield ok(f"{num_champions - num_wrong} of {counted(num_champions, 'champion')} in MLflow as in the store")


def _champion_fault(champion: ModelVersion, registry: Registry) -> str | None:
    recipe, shown = champion.recipe, registry.champion_hash(champion.recipe)
    if shown != champion.model_hash:
        has = "on no model" if shown is None else "on another model"
        return f"{recipe}: the champion is model {champion.model_version}, and in MLflow the alias champion is {has}; {_REPAIR}"
    try:
        verify_model_files(registry.champion_files(recipe), champion.model_hash)
    except (ModelRefused, RegistryRefused, RegistryUnavailable) as error:
        cause = str(error).removesuffix("; train again")
        return (
            f"{recipe}: MLflow's copy of model {champion.model_version} is not as it was trained, the store's is: {cause}; "
            f"delete the version of {recipe} that has the alias champion in MLflow, and run `nextperiod doctor --repair`"
        )
    return None


def repair_mlflow(settings: Settings) -> None:
    """Send what is pending to MLflow, and put the aliases where the store says."""
    database = open_database(settings.database_url)
    require_schema(database)
    store, registry = Store(database), Registry(settings.tracking_uri, utc_now)
    for row in store.recipes.status():
        repair_registry(row["recipe"], store, registry, utc_now())
    database.close()


@contextmanager
def _opened(settings: Settings) -> Iterator[Store]:
    """Open the store; the database is closed at the end."""
    with closing(open_database(settings.database_url)) as database:
        yield Store(database)


CHECKS: dict[str, Check] = {
    "versions": _check_versions,
    "folder": _check_folder,
    "recipes": _check_recipes,
    "database": check_database,
    "store": _check_store,
    "forecasts": _check_forecasts,
    "leases": _check_leases,
    "outbox": _check_outbox,
    "mlflow": check_mlflow,
    "champions": _check_champions,
    "prefect": check_prefect,
}
#: what a check needs to be usable
_NEEDS = {
    **dict.fromkeys(("store", "forecasts", "leases", "outbox"), ("database",)),
    "champions": ("database", "mlflow"),
}
