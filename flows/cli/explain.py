"""`nextperiod explain`: from a run to its data, recipe, code and model, and what has changed since."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import Any

from flows.cli.console import period_text, print_json
from flows.cli.run_lookup import opened_run
from pipeline.jobs.inputs import code_version
from pipeline.storage import run_lineage
from pipeline.storage.run_lineage import RunLineage
from pipeline.text import counted, one_line

#: columns of the block that people read
_WIDTH = 110
_INDENT = 14
#: of a hash so much that people can tell it from others
_SHORT = 12
#: ways in which series were forecast that are listed one by one
_MOST_METHODS = 8


def explain_run(name: str, *, as_json: bool) -> None:
    """`nextperiod explain`.

    Args:
        name: of a run, or of a recipe: then its latest run.
        as_json: for tools.
    """
    with opened_run(name) as (database, run_id):
        explained = run_lineage.read_run_lineage(database, run_id)
        assert explained is not None
    if as_json:
        print_json(_facts(explained))
        return
    print(_title(explained))
    wrapper = textwrap.TextWrapper(_WIDTH, subsequent_indent=" " * _INDENT, break_on_hyphens=False)
    for label, text in _block(explained):
        print(wrapper.fill(f"{label:{_INDENT}}{one_line(text)}"))


def _facts(explained: RunLineage) -> dict[str, Any]:
    """What `--json` prints."""
    run, lineage, model = explained.run, explained.lineage, explained.model
    return {
        **{key: getattr(run, key) for key in ("run_id", "recipe", "kind", "origin", "status")},
        "published_at": explained.published_at,
        "superseded_by": explained.superseded_by,
        "supersedes": list(explained.supersedes),
        "num_series": run.num_series,
        "num_rows": run.num_rows,
        "methods": [asdict(method) for method in explained.methods],
        "content_hash": run.content_hash,
        "as_of": lineage.as_of,
        "data_hash": lineage.data_hash,
        "batch": asdict(explained.vintage),
        "num_known": explained.num_known,
        "since": asdict(explained.since),
        "recipe_fingerprint": lineage.recipe_fingerprint,
        "recipe_has_changed": lineage.recipe_fingerprint != explained.present_fingerprint,
        "code_version": lineage.code_version,
        "code_has_changed": lineage.code_version != code_version(),
        "model": {
            **{key: getattr(model, key) for key in ("model_version", "model_hash", "training", "reason", "cutoff")},
            "is_champion": explained.is_champion,
            "trained_at": model.trained_at,
            **asdict(model.lineage),
            "skill": model.skill,
            "mlflow_run_id": model.mlflow_run_id,
        },
        "decision": asdict(explained.decision),
    }


def _title(explained: RunLineage) -> str:
    run = explained.run
    return f"{run.run_id}: {run.kind} forecast of {run.recipe} after {period_text(run.origin)}\n"


def _block(explained: RunLineage) -> list[tuple[str, str]]:
    """What people read: labels and texts."""
    return [*_of_run(explained), *_of_data(explained), *_of_code(explained), *_of_model(explained)]


def _of_run(explained: RunLineage) -> list[tuple[str, str]]:
    run = explained.run
    periods = counted(run.num_rows // run.num_series, "period")
    published = f"published at {explained.published_at.isoformat()}" if explained.published_at else "not finished"
    by = f", superseded by {explained.superseded_by}" if explained.superseded_by else ""
    superseded = f", in place of {', '.join(explained.supersedes)}" if explained.supersedes else ""
    rows = f"{counted(run.num_rows, 'row')}: {run.num_series} series, {periods}"
    methods = [
        f"{one.num_series} by {one.method}" + (f": {one.reason}" if one.reason else "") for one in explained.methods
    ]
    if len(methods) > _MOST_METHODS:
        methods[_MOST_METHODS:] = [f"… and in {len(methods) - _MOST_METHODS} other ways (--json)"]
    return [
        ("status", published + by + superseded),
        ("rows", rows),
        *(("" if n else "series", text) for n, text in enumerate(methods)),
    ]


def _of_data(explained: RunLineage) -> list[tuple[str, str]]:
    batch, since, lineage = explained.vintage, explained.since, explained.lineage
    counts = (
        f"{batch.num_new} new, {batch.num_revised} revised, {batch.num_same} the same, {batch.num_rejected} refused"
    )
    held = f"; held at {batch.held_at.isoformat()} and released by a person" if batch.held_at else ""
    if since.num_batches == 0:
        changes = "nothing: these are the data as they are known now"
    else:
        later = f"{since.num_batches} newer {'batch' if since.num_batches == 1 else 'batches'}"
        revised = (
            f"{since.num_revised} of the {explained.num_known} values known then were revised, in {since.num_series} series"
            if since.num_revised
            else f"none of the {explained.num_known} values known then was revised"
        )
        changes = f"{later}: {revised}; {since.num_new} new"
    return [
        (
            "data",
            f"as of {lineage.as_of.isoformat()}, hash {lineage.data_hash[:_SHORT]}, {explained.num_known} values known",
        ),
        ("  batch", f"{batch.source}, content {batch.content_hash[:_SHORT]}: {counts}{held}"),
        ("  since", changes),
    ]


def _of_code(explained: RunLineage) -> list[tuple[str, str]]:
    lineage, present = explained.lineage, code_version()
    same = lineage.recipe_fingerprint == explained.present_fingerprint
    recipe = (
        "as the recipe is now"
        if same
        else f"the recipe has changed since: {explained.present_fingerprint[:_SHORT]} now"
    )
    code = "as the code is now" if lineage.code_version == present else f"the code has changed since: {present} now"
    return [
        ("recipe", f"{lineage.recipe_fingerprint[:_SHORT]}, {recipe}"),
        ("code", f"{lineage.code_version}, {code}"),
    ]


def _of_model(explained: RunLineage) -> list[tuple[str, str]]:
    model, decision = explained.model, explained.decision
    place = "the champion" if explained.is_champion else "not the champion now"
    skill = "no backtest" if model.skill is None else f"skill {model.skill:+.3f} against the baseline"
    mlflow = f"MLflow run {model.mlflow_run_id}" if model.mlflow_run_id else "MLflow has not followed yet"
    return [
        (
            "model",
            f"{model.model_version}, hash {model.model_hash[:_SHORT]}, {place}; {model.training}: {model.reason}",
        ),
        (
            "  trained",
            f"at {model.trained_at.isoformat()} as of {model.lineage.as_of.isoformat()}, up to {period_text(model.cutoff)}",
        ),
        ("  shown", f"{skill}; {mlflow}"),
        ("decision", f"{decision.training}: {decision.reason}"),
    ]
