"""The front door for people: `nextperiod …`. Heavy imports are made where they are used."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Observations in, next-period forecasts out, both as SQL.",
    epilog="RECIPE is a recipe's name or a path to a TOML file. Example: nextperiod run milk",
)
db = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The store's schema.")
app.add_typer(db, name="db")

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or path to a TOML file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for tools.")]

#: what servers and libraries started from here are told, unless the environment says otherwise
_ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}


@app.command(epilog="Example: nextperiod run milk")
def run(
    recipes: Annotated[Optional[list[str]], typer.Argument(metavar="RECIPE…", help="Names or paths.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every recipe in the folder of recipes.")] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train anew, whatever the policy says.")] = False,
    fine_tune: Annotated[bool, typer.Option("--fine-tune", help="Go on from the champion's weights.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the champion.")] = False,
    as_of: Annotated[
        Optional[str], typer.Option("--as-of", metavar="INSTANT", help="Run it as it would have run then (ISO 8601).")
    ] = None,
    json: Json = False,
) -> None:
    """One cycle: ingest, train if due, forecast, score. Safe to repeat."""
    from flows.cli.commands import run_cycles

    asked = [name for name, given in (("retrain", retrain), ("fine-tune", fine_tune), ("keep", keep)) if given]
    if len(asked) > 1:
        raise typer.BadParameter("--retrain, --fine-tune and --keep exclude each other")
    if not recipes and not every:
        raise typer.BadParameter("name a recipe, or give --all")
    instant = _instant(as_of, "--as-of") if as_of else None
    failed = run_cycles(recipes or [], every=every, training=asked[0] if asked else None, as_of=instant, as_json=json)
    raise typer.Exit(1 if failed else 0)


@app.command(epilog="Example: nextperiod ingest milk")
def ingest(
    recipe: RecipeArgument,
    approve: Annotated[bool, typer.Option("--approve", help="Let the batch in that is held.")] = False,
    json: Json = False,
) -> None:
    """Take in what the recipe's source has."""
    from flows.cli.commands import ingest_one

    ingest_one(recipe, approve=approve, as_json=json)


@app.command(epilog="Example: nextperiod train milk --retrain")
def train(
    recipe: RecipeArgument,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train anew, whatever the policy says.")] = False,
    fine_tune: Annotated[bool, typer.Option("--fine-tune", help="Go on from the champion's weights.")] = False,
    json: Json = False,
) -> None:
    """Train if that is due, or as asked for."""
    from flows.cli.commands import train_one

    if retrain and fine_tune:
        raise typer.BadParameter("--retrain and --fine-tune exclude each other")
    train_one(recipe, asked="retrain" if retrain else "fine-tune" if fine_tune else None, as_json=json)


@app.command(epilog="Example: nextperiod forecast milk --paths 500")
def forecast(
    recipe: RecipeArgument,
    paths: Annotated[
        Optional[int], typer.Option("--paths", metavar="N", min=1, help="Draw N sample paths of each series, too.")
    ] = None,
    seed: Annotated[
        Optional[int], typer.Option("--seed", metavar="K", min=0, help="Of the paths; default: the run's own.")
    ] = None,
    parquet: Annotated[
        Optional[Path], typer.Option("--parquet", help="File for the paths; default: RECIPE-paths.parquet.")
    ] = None,
    json: Json = False,
) -> None:
    """Forecast the next periods with the champion and publish them; draw sample paths of what is published."""
    from flows.cli.commands import forecast_one, forecast_with_paths

    if paths is None:
        if seed is not None or parquet is not None:
            raise typer.BadParameter("--seed and --parquet are for sample paths: give --paths N too")
        forecast_one(recipe, as_json=json)
        return
    forecast_with_paths(recipe, num_paths=paths, seed=seed, parquet=parquet, as_json=json)


@app.command(epilog="Example: nextperiod score milk")
def score(recipe: RecipeArgument, json: Json = False) -> None:
    """Score published forecasts against what was observed since."""
    from flows.cli.commands import score_one

    score_one(recipe, as_json=json)


@app.command(epilog="Example: nextperiod backtest milk --origins 5 --classical")
def backtest(
    recipe: RecipeArgument,
    origins: Annotated[
        Optional[int],
        typer.Option(
            "--origins", min=1, metavar="N", help="How many; default: 3, or as many as the history has room for."
        ),
    ] = None,
    every: Annotated[
        Optional[int],
        typer.Option("--every", min=1, metavar="PERIODS", help="Periods from one to the next; default: the horizon."),
    ] = None,
    window: Annotated[
        str,
        typer.Option("--window", metavar="KIND", help="expanding: all up to the origin; sliding: its last periods."),
    ] = "expanding",
    history: Annotated[
        Optional[int],
        typer.Option(
            "--history",
            min=1,
            metavar="PERIODS",
            help="Periods of a sliding window; default: those up to the first origin.",
        ),
    ] = None,
    refit: Annotated[
        str, typer.Option("--refit", metavar="WHEN", help="always: fit at each origin; once: at the first one only.")
    ] = "always",
    classical: Annotated[
        bool, typer.Option("--classical", help="AutoETS, AutoARIMA and Theta too (extra `classical`).")
    ] = False,
    as_of_now: Annotated[
        bool, typer.Option("--as-of-now", help="See what is known now, cut at each origin, not what was known then.")
    ] = False,
    protocol: Annotated[
        Optional[str],
        typer.Option("--protocol", metavar="NAME", help="tutorial: the split and settings of the recipe's tutorial."),
    ] = None,
    json: Json = False,
) -> None:
    """How well past periods would have been forecast, from rolling origins, beside the baselines.

    The last origin lies one horizon before the newest period. Each sees only what was known then.
    """
    from flows.cli.backtest import backtest_rolling, backtest_tutorial

    asked = {"num_origins": origins, "every": every, "history": history, "classical": classical, "as_of_now": as_of_now}
    if protocol is not None:
        _one_of("--protocol", protocol, "tutorial")
        if any(asked.values()) or (window, refit) != ("expanding", "always"):
            raise typer.BadParameter("--protocol tutorial has its own split: leave the other options out")
        backtest_tutorial(recipe, as_json=json)
        return
    _one_of("--window", window, "expanding", "sliding")
    _one_of("--refit", refit, "always", "once")
    if history is not None and window != "sliding":
        raise typer.BadParameter("--history is how long a sliding window is: give --window sliding with it")
    backtest_rolling(recipe, {**asked, "window": window, "refit": refit}, as_json=json)


@app.command(epilog="Example: nextperiod backfill milk --from 2026-01-01 --to 2026-03-31")
def backfill(
    recipe: RecipeArgument,
    first: Annotated[str, typer.Option("--from", metavar="D", help="The first day, or instant (ISO 8601).")],
    last: Annotated[str, typer.Option("--to", metavar="D", help="The last day, or instant, inclusive.")],
    json: Json = False,
) -> None:
    """Past cycles in order, each as of an instant at which something new was recorded; resumable."""
    from flows.cli.commands import backfill_one

    begin, until = _instant(first, "--from"), _end(last, "--to")
    if until <= begin:
        raise typer.BadParameter(f"--to {last} is before --from {first}")
    raise typer.Exit(1 if backfill_one(recipe, begin, until, as_json=json) else 0)


@app.command(epilog="Example: nextperiod show milk --csv milk.csv")
def show(
    recipe: RecipeArgument,
    series: Annotated[Optional[str], typer.Option("--series", help="Only this series.")] = None,
    csv: Annotated[Optional[Path], typer.Option("--csv", help="Write the view's columns to this file.")] = None,
    parquet: Annotated[Optional[Path], typer.Option("--parquet", help="Write the view's columns to this file.")] = None,
    json: Json = False,
) -> None:
    """The latest forecasts, with a small chart on a terminal."""
    from flows.cli.commands import show_forecasts

    show_forecasts(recipe, series=series, csv=csv, parquet=parquet, as_json=json)


@app.command(epilog="Example: nextperiod status --json")
def status(json: Json = False) -> None:
    """Every recipe: latest origin, stale or not, champion, last attempt, skill against its baseline."""
    from flows.cli.commands import show_status

    show_status(as_json=json)


@app.command(epilog="Example: nextperiod explain milk-1975-12-01-1")
def explain(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, or a recipe's name: its latest live run.")],
    json: Json = False,
) -> None:
    """From a run to its data, recipe, code, model and MLflow run, and what has changed since."""
    from flows.cli.explain import explain_run

    explain_run(run, as_json=json)


@app.command(epilog="Example: nextperiod replay milk-1975-12-01-1")
def replay(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, or a recipe's name: its latest live run.")],
    json: Json = False,
) -> None:
    """Make a published forecast again from its lineage and compare: identical or not (exit 1)."""
    from flows.cli.replay import replay_run

    raise typer.Exit(0 if replay_run(run, as_json=json) else 1)


@app.command(epilog="Example: nextperiod doctor")
def doctor(json: Json = False) -> None:
    """Settings, versions, database, MLflow, Prefect, and every invariant of the store."""
    from flows.cli.doctor import examine

    raise typer.Exit(0 if examine(as_json=json) else 1)


@db.command(epilog="Example: nextperiod db upgrade")
def upgrade(json: Json = False) -> None:
    """Bring the schema up to this version."""
    from flows.cli.commands import upgrade_schema

    upgrade_schema(as_json=json)


@db.command(epilog="Example: nextperiod db check")
def check(json: Json = False) -> None:
    """Whether the schema is this version's; exit 1 if not."""
    from flows.cli.commands import check_schema

    check_schema(as_json=json)


@db.command(epilog="Example: nextperiod db roles")
def roles(json: Json = False) -> None:
    """Make the PostgreSQL roles: owner, migrator, writer, consumer. Safe to repeat."""
    from flows.cli.commands import make_database_roles

    make_database_roles(as_json=json)


def main() -> None:
    """Carry out the command line; errors of ours are one line and exit 1."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not _is_ours(error):
            raise
        sys.stderr.write(f"nextperiod: {error}\n")
        sys.exit(1)


def _is_ours(error: Exception) -> bool:
    from pipeline.errors import NextperiodError

    return isinstance(error, NextperiodError)


def _one_of(option: str, given: str, *names: str) -> None:
    if given not in names:
        raise typer.BadParameter(f'{option} "{given}" is not known: expected one of {", ".join(names)}')


def _instant(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f'{option} "{text}" is not an instant: expected ISO 8601, such as 2026-01-31T06:00Z'
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _end(text: str, option: str) -> datetime:
    """The first instant after an instant, or after a day."""
    moment = _instant(text, option)
    return moment + (timedelta(days=1) if len(text) == len("2026-01-31") else timedelta(microseconds=1))


if __name__ == "__main__":
    main()
