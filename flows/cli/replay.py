"""`nextperiod replay`: a run made again from its lineage, and compared with what was published."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flows.cli.console import print_json
from flows.cli.run_lookup import opened_run
from pipeline.errors import InvalidArgument
from pipeline.jobs.reproduce import ReproducedRun, reproduce_run
from pipeline.storage.store import Store
from pipeline.text import counted


def replay_run(name: str, *, as_json: bool) -> bool:
    """`nextperiod replay`; whether the run is made again as it was published.

    Args:
        name: of a run, or of a recipe: then its latest run.
        as_json: for tools.
    """
    with opened_run(name) as (database, run_id):
        replayed = reproduce_run(run_id, Store(database))
    if replayed is None:
        raise InvalidArgument(f"run {run_id} was not published: there is nothing to compare with")
    if as_json:
        print_json(_facts(replayed))
    else:
        print("\n".join(_lines(replayed)))
    return replayed.is_identical


def _facts(replayed: ReproducedRun) -> dict[str, Any]:
    """What `--json` prints."""
    told = asdict(replayed)
    return {**{key: told[key] for key in ("run_id", "recipe", "kind", "origin", "as_of", "num_rows")}} | {
        "identical": replayed.is_identical,
        **{key: told[key] for key in ("faults", "first", "notes")},
    }


def _lines(replayed: ReproducedRun) -> list[str]:
    rows, as_of = counted(replayed.num_rows, "row"), replayed.as_of.isoformat()
    if replayed.is_identical:
        told = [f"{replayed.run_id}: identical: {rows} made again of what was known at {as_of}"]
    else:
        told = [f"{replayed.run_id}: not identical", *(f"  {fault}" for fault in replayed.faults)]
    return [*told, *(f"  note: {note}" for note in replayed.notes)]
