"""The command line `nextperiod`: commands and their options. Each imports its heavy libraries only when it runs."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Scheduled batch forecasting: observations in, forecasts of the next periods out, both in SQL.",
    epilog="RECIPE is a recipe's name or a path to a TOML file. Example: nextperiod run milk",
)
db = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check or upgrade the database schema; create the PostgreSQL roles.",
)
app.add_typer(db, name="db")


def _complete_recipe(beginning: str) -> list[str]:
    """Names of recipes for the completion of a shell."""
    from pipeline.config.loader import recipe_names
    from pipeline.config.settings import read_settings

    return [name for name in recipe_names(read_settings().recipes) if name.startswith(beginning)]


RecipeArgument = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="Name of a recipe, or path to a TOML file.", autocompletion=_complete_recipe),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

#: defaults for the libraries and servers that a command starts; the environment overrides them
_ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"nextperiod {version('nextperiod')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command without a subcommand; its help is that of the application."""


@app.command(epilog="Example: nextperiod run milk")
def run(
    recipes: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="RECIPE…", help="Names of recipes, or paths to TOML files.", autocompletion=_complete_recipe
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every recipe in NEXTPERIOD_RECIPES.")] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="Retrain from scratch, whatever the policy says.")] = False,
    fine_tune: Annotated[bool, typer.Option("--fine-tune", help="Fine-tune the current model.")] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Keep the current model, whatever the policy says; a first one is the pretrained network as it ships.",
        ),
    ] = False,
    as_of: Annotated[
        Optional[str], typer.Option("--as-of", metavar="INSTANT", help="Run as of this instant in the past (ISO 8601).")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, help="Run so many recipes at a time; default: 1.")
    ] = 1,
    json: Json = False,
) -> None:
    """Run one cycle of each recipe: ingest, train if due, forecast, score. Safe to repeat."""
    from flows.cli.commands import print_cycles

    choices = [name for name, is_set in (("retrain", retrain), ("fine-tune", fine_tune), ("keep", keep)) if is_set]
    if len(choices) > 1:
        raise typer.BadParameter("--retrain, --fine-tune and --keep exclude each other")
    if not recipes and not every:
        raise typer.BadParameter("name a recipe, or use --all")
    instant = _parse_instant(as_of, "--as-of") if as_of else None
    failed = print_cycles(
        recipes or [],
        every=every,
        num_jobs=jobs,
        training=choices[0] if choices else None,
        as_of=instant,
        as_json=json,
    )
    raise typer.Exit(1 if failed else 0)


@app.command(epilog="Example: nextperiod init sales --from sales.csv")
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that does not exist, or is empty.")],
    origin: Annotated[
        str,
        typer.Option("--from", metavar="DATA", help="A file, an address, or an example: airline, btc, integers, milk."),
    ] = "milk",
    json: Json = False,
) -> None:
    """Write a folder that runs: a recipe with what is detected in the data, a schedule for Prefect, the settings, containers.

    Look through the recipe: what is detected is a proposal.
    """
    from flows.cli.init import print_init

    print_init(folder, origin, as_json=json)


@app.command("check", epilog="Example: nextperiod check milk")
def check_recipe(recipe: RecipeArgument, json: Json = False) -> None:
    """Try a recipe and write nothing: what would be ingested, quarantined and forecast, by which network, in how long.

    Exit 1 if anything would be refused.
    """
    from flows.cli.check import print_check

    raise typer.Exit(0 if print_check(recipe, as_json=json) else 1)


@app.command(epilog="Example: nextperiod ingest milk")
def ingest(
    recipe: RecipeArgument,
    approve: Annotated[
        bool, typer.Option("--approve", help="Show what the batch on hold changes, and accept it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --approve: do not ask on a terminal.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Drop the batch on hold.")] = False,
    withdraw: Annotated[
        Optional[int],
        typer.Option("--withdraw", metavar="BATCH", help="Restore what was known before this accepted batch."),
    ] = None,
    json: Json = False,
) -> None:
    """Ingest what the source of the recipe delivers; or accept or drop the batch on hold, or withdraw an accepted one."""
    from flows.cli.commands import print_decision, print_ingest

    if (approve, reject, withdraw is not None).count(True) > 1:
        raise typer.BadParameter("--approve, --reject and --withdraw exclude each other")
    if approve or reject or withdraw is not None:
        accepted = print_decision(recipe, approve=approve, reject=reject, withdraw=withdraw, yes=yes, as_json=json)
        raise typer.Exit(0 if accepted else 1)
    print_ingest(recipe, as_json=json)


@app.command(epilog="Example: nextperiod reset milk --yes")
def reset(
    recipe: RecipeArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say what would happen.")] = False,
    json: Json = False,
) -> None:
    """Start the history of a recipe again: withdraw all its values and retire its model. Nothing is deleted.

    Published forecasts stay. Without --yes nothing is done, and the exit code is 2.
    """
    from flows.cli.commands import print_reset

    print_reset(recipe, yes=yes, as_json=json)
    raise typer.Exit(0 if yes else 2)


@app.command(epilog="Example: nextperiod train milk --retrain")
def train(
    recipe: RecipeArgument,
    retrain: Annotated[bool, typer.Option("--retrain", help="Retrain from scratch, whatever the policy says.")] = False,
    fine_tune: Annotated[bool, typer.Option("--fine-tune", help="Fine-tune the current model.")] = False,
    json: Json = False,
) -> None:
    """Train if the policy says that it is due; --retrain and --fine-tune overrule the policy."""
    from flows.cli.commands import print_training

    if retrain and fine_tune:
        raise typer.BadParameter("--retrain and --fine-tune exclude each other")
    print_training(recipe, training="retrain" if retrain else "fine-tune" if fine_tune else None, as_json=json)


@app.command(epilog="Example: nextperiod forecast milk --paths 500")
def forecast(
    recipe: RecipeArgument,
    paths: Annotated[
        Optional[int], typer.Option("--paths", metavar="N", min=1, help="Also draw N sample paths of each series.")
    ] = None,
    seed: Annotated[
        Optional[int],
        typer.Option("--seed", metavar="K", min=0, help="Seed of the sample paths; default: derived from the run."),
    ] = None,
    parquet: Annotated[
        Optional[Path],
        typer.Option("--parquet", metavar="FILE", help="File for the sample paths; default: RECIPE-paths.parquet."),
    ] = None,
    json: Json = False,
) -> None:
    """Forecast the next periods with the current model and publish them. --paths also draws sample paths."""
    from flows.cli.commands import print_publication, print_sample_paths

    if paths is None:
        if seed is not None or parquet is not None:
            raise typer.BadParameter("--seed and --parquet apply to sample paths only: add --paths N")
        print_publication(recipe, as_json=json)
        return
    print_sample_paths(recipe, num_paths=paths, seed=seed, parquet=parquet, as_json=json)


@app.command(epilog="Example: nextperiod score milk")
def score(recipe: RecipeArgument, json: Json = False) -> None:
    """Score published forecasts against the observations that arrived since."""
    from flows.cli.commands import print_scoring

    print_scoring(recipe, as_json=json)


@app.command(epilog="Example: nextperiod backtest milk --origins 5 --classical")
def backtest(
    recipe: RecipeArgument,
    origins: Annotated[
        Optional[int],
        typer.Option(
            "--origins", min=1, metavar="N", help="Number of origins; default: 3, or as many as fit in the history."
        ),
    ] = None,
    every: Annotated[
        Optional[int],
        typer.Option("--every", min=1, metavar="PERIODS", help="Periods between two origins; default: the horizon."),
    ] = None,
    window: Annotated[
        str,
        typer.Option(
            "--window",
            metavar="KIND",
            help="expanding: fit on all periods up to the origin; sliding: on the last ones only.",
        ),
    ] = "expanding",
    history: Annotated[
        Optional[int],
        typer.Option(
            "--history",
            min=1,
            metavar="PERIODS",
            help="Length of the sliding window; default: the periods up to the first origin.",
        ),
    ] = None,
    refit: Annotated[
        str, typer.Option("--refit", metavar="WHEN", help="always: fit at each origin; once: at the first origin only.")
    ] = "always",
    classical: Annotated[
        bool, typer.Option("--classical", help="Also run AutoETS, AutoARIMA and Theta (extra `classical`).")
    ] = False,
    as_of_now: Annotated[
        bool, typer.Option("--as-of-now", help="Use today's values cut at each origin, not the values known then.")
    ] = False,
    protocol: Annotated[
        Optional[str],
        typer.Option(
            "--protocol", metavar="NAME", help="tutorial: use the split and the settings of the recipe's tutorial."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Backtest the recipe at rolling origins and compare it with the baselines.

    The last origin lies one horizon before the newest period. Each origin uses only what was known then.
    """
    from flows.cli.backtest import print_rolling_backtest, print_tutorial_backtest

    plan = {"num_origins": origins, "every": every, "history": history, "classical": classical, "as_of_now": as_of_now}
    if protocol is not None:
        _require_choice("--protocol", protocol, "tutorial")
        if any(plan.values()) or (window, refit) != ("expanding", "always"):
            raise typer.BadParameter("--protocol tutorial has its own split: remove the other options")
        print_tutorial_backtest(recipe, as_json=json)
        return
    _require_choice("--window", window, "expanding", "sliding")
    _require_choice("--refit", refit, "always", "once")
    if history is not None and window != "sliding":
        raise typer.BadParameter("--history is the length of a sliding window: add --window sliding")
    print_rolling_backtest(recipe, {**plan, "window": window, "refit": refit}, as_json=json)


@app.command(epilog="Example: nextperiod backfill milk --from 2026-01-01 --to 2026-03-31")
def backfill(
    recipe: RecipeArgument,
    first: Annotated[str, typer.Option("--from", metavar="D", help="First day or instant (ISO 8601).")],
    last: Annotated[str, typer.Option("--to", metavar="D", help="Last day or instant, inclusive.")],
    json: Json = False,
) -> None:
    """Run past cycles in order, each as of an instant at which new data was recorded. Resumable."""
    from flows.cli.commands import print_backfill

    begin, until = _parse_instant(first, "--from"), _parse_end(last, "--to")
    if until <= begin:
        raise typer.BadParameter(f"--to {last} is before --from {first}")
    raise typer.Exit(1 if print_backfill(recipe, begin, until, as_json=json) else 0)


@app.command(epilog="Example: nextperiod show milk --csv milk.csv")
def show(
    recipe: RecipeArgument,
    series: Annotated[Optional[str], typer.Option("--series", metavar="NAME", help="Show only this series.")] = None,
    csv: Annotated[
        Optional[Path],
        typer.Option("--csv", metavar="FILE", help="Write the columns of latest_forecasts to this file."),
    ] = None,
    parquet: Annotated[
        Optional[Path],
        typer.Option("--parquet", metavar="FILE", help="Write the columns of latest_forecasts to this file."),
    ] = None,
    json: Json = False,
) -> None:
    """Show the latest forecasts: of one series all rows, with a chart on a terminal; of many about 40.

    Hours are in the zone of the recipe. Files and JSON have every row, unrounded and in UTC.
    """
    from flows.cli.commands import print_latest_forecasts

    print_latest_forecasts(recipe, series=series, csv=csv, parquet=parquet, as_json=json)


@app.command(epilog="Example: nextperiod status --check")
def status(
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Print only why somebody should look at a recipe, a line per reason, and exit 1 if there is one: stale, "
            "failed, refused, on hold, fallbacks, drift, outbox; or a file that is not a recipe: invalid.",
        ),
    ] = False,
    notify: Annotated[
        bool,
        typer.Option("--notify", help="With --check: also send new alerts to NEXTPERIOD_ALERTS."),
    ] = False,
    json: Json = False,
) -> None:
    """List every recipe: latest origin, stale or not, current model, last attempt, skill, why series fell back."""
    from flows.cli.commands import print_reasons, print_status

    if check:
        raise typer.Exit(1 if print_reasons(sends_alerts=notify, as_json=json) else 0)
    if notify:
        raise typer.BadParameter("--notify goes with --check")
    print_status(as_json=json)


@app.command(epilog="Example: nextperiod automations")
def automations(json: Json = False) -> None:
    """Create or update automations on the Prefect server, which report runs that crashed, are late or stopped reporting.

    Messages go to NEXTPERIOD_ALERTS. Safe to repeat.
    """
    from flows.cli.commands import print_automations

    print_automations(as_json=json)


NumSeries = Annotated[
    int,
    typer.Option("--series", metavar="N", min=1, help="Of each recipe, show the N least accurate series."),
]


@app.command(epilog="Example: nextperiod dashboard --out site")
def dashboard(
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FOLDER", help="A new or empty folder, or one that this command wrote before."),
    ],
    series: NumSeries = 1000,
    json: Json = False,
) -> None:
    """Write the forecast page: an overview of all recipes, and a page per recipe. It needs no server and no network.

    A page shows history, forecast and intervals of each series, accuracy by step, what the newest run changed,
    decisions with their reasons, quarantined rows and model versions.
    """
    from flows.cli.dashboard import print_dashboard

    print_dashboard(out, num_series=series, as_json=json)


@app.command(epilog="Example: nextperiod serve --port 8000")
def serve(
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port; 0: any that is free.")
    ] = 8000,
    series: NumSeries = 1000,
    json: Json = False,
) -> None:
    """Serve the forecast page to browsers on this machine until Ctrl-C. Each request reads the store; nothing is written."""
    from flows.cli.serve import serve as serve_pages

    serve_pages(port=port, num_series=series, as_json=json)


@app.command(epilog="Example: nextperiod explain milk-1975-12-01-1")
def explain(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or name of a recipe: its latest live run.")],
    json: Json = False,
) -> None:
    """Trace a run to its data, recipe, code, model and MLflow run, and list what changed since."""
    from flows.cli.explain import print_explanation

    print_explanation(run, as_json=json)


@app.command(epilog="Example: nextperiod replay milk-1975-12-01-1")
def replay(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or name of a recipe: its latest live run.")],
    json: Json = False,
) -> None:
    """Reproduce a published run from its lineage and compare. Exit 1 if it differs."""
    from flows.cli.replay import print_replay

    raise typer.Exit(0 if print_replay(run, as_json=json) else 1)


@app.command(epilog="Example: nextperiod doctor")
def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="First send to MLflow what it lacks, and put its aliases right.")
    ] = False,
    json: Json = False,
) -> None:
    """Check settings, recipes, versions, database, MLflow, Prefect, and every invariant of the store.

    Each finding is one line, with how to fix it. Exit 1 if one is a failure; a warning does not count.
    """
    from flows.cli.doctor import print_checks

    raise typer.Exit(0 if print_checks(as_json=json, repairs=repair) else 1)


@db.command(epilog="Example: nextperiod db upgrade")
def upgrade(json: Json = False) -> None:
    """Upgrade the database schema to this version."""
    from flows.cli.commands import print_schema_upgrade

    print_schema_upgrade(as_json=json)


@db.command(epilog="Example: nextperiod db check")
def check(json: Json = False) -> None:
    """Check that the database schema matches this version. Exit 1 if it does not."""
    from flows.cli.commands import print_schema_check

    print_schema_check(as_json=json)


@db.command(epilog="Example: nextperiod db roles")
def roles(json: Json = False) -> None:
    """Create the PostgreSQL roles owner, migrator, writer and consumer. Safe to repeat."""
    from flows.cli.commands import print_roles

    print_roles(as_json=json)


def main() -> None:
    """Entry point: known errors print one line and exit with status 1."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not _is_known_error(error):
            raise
        sys.stderr.write(f"nextperiod: {error}\n")
        sys.exit(1)


def _is_known_error(error: Exception) -> bool:
    from pipeline.errors import NextperiodError

    return isinstance(error, NextperiodError)


def _require_choice(option: str, value: str, *choices: str) -> None:
    if value not in choices:
        raise typer.BadParameter(f'{option} "{value}" is not known: expected one of {", ".join(choices)}')


def _parse_instant(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f'{option} "{text}" is not an instant: expected ISO 8601, such as 2026-01-31T06:00Z'
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parse_end(text: str, option: str) -> datetime:
    """The first instant after an instant, or after a day."""
    moment = _parse_instant(text, option)
    return moment + (timedelta(days=1) if len(text) == len("2026-01-31") else timedelta(microseconds=1))


if __name__ == "__main__":
    main()
