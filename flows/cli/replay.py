"""`nextperiod replay`: reproduce a run from its lineage and compare it with the published one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flows.cli.console import print_json
from flows.cli.run_lookup import open_run
from pipeline.errors import InvalidArgument
from pipeline.jobs.reproduce import ReproducedRun, reproduce_run
from pipeline.text import counted


def print_replay(name: str, *, as_json: bool) -> bool:
    """Reproduce a run, print the comparison, and return whether both are identical.

    Args:
        name: id of a run, or name of a recipe: its latest live run.
        as_json: print JSON instead of text.

    Raises:
        InvalidArgument: the run is unknown, or was not published.
    """
    with open_run(name) as (store, run_id):
        reproduced = reproduce_run(run_id, store)
    if reproduced is None:
        raise InvalidArgument(f"run {run_id} was not published: there is nothing to compare with")
    if as_json:
        print_json(_facts(reproduced))
    else:
        print("\n".join(_lines(reproduced)))
    return reproduced.is_identical


def _facts(reproduced: ReproducedRun) -> dict[str, Any]:
    """The object that `--json` prints."""
    fields = asdict(reproduced)
    return {**{key: fields[key] for key in ("run_id", "recipe", "kind", "origin", "as_of", "num_rows")}} | {
        "identical": reproduced.is_identical,
        **{key: fields[key] for key in ("faults", "first", "notes")},
    }


def _lines(reproduced: ReproducedRun) -> list[str]:
    rows, as_of = counted(reproduced.num_rows, "row"), reproduced.as_of.isoformat()
    if reproduced.is_identical:
        lines = [f"{reproduced.run_id}: identical: {rows} reproduced from the data as of {as_of}"]
    else:
        lines = [f"{reproduced.run_id}: not identical", *(f"  {fault}" for fault in reproduced.faults)]
    return [*lines, *(f"  note: {note}" for note in reproduced.notes)]
