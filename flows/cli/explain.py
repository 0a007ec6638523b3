"""`nextperiod explain`: trace a run to its data, recipe, code and model, and list what changed since."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import Any

from flows.cli.console import print_json
from flows.cli.run_lookup import open_run
from pipeline.config.recipe import recipe_from_definition
from pipeline.jobs.inputs import code_version
from pipeline.records.lineage import ModelVersion
from pipeline.storage.run_lineage import RunLineage
from pipeline.storage.store import Store
from pipeline.text import counted, one_line
from pipeline.timeseries.period_labels import PeriodLabels

#: width of the printed block, in characters
_WIDTH = 110
_INDENT = 14
#: characters of a hash that are printed
_SHORT = 12
#: most methods that are listed one by one
_MOST_METHODS = 8


def print_explanation(name: str, *, as_json: bool) -> None:
    """Print what a run was made from.

    Args:
        name: id of a run, or name of a recipe: its latest live run.
        as_json: print JSON instead of text.

    Raises:
        InvalidArgument: the run is unknown.
    """
    with open_run(name) as (store, run_id):
        run_lineage = store.lineage.run_lineage(run_id)
        assert run_lineage is not None
        labels = _read_labels(store, run_lineage)
    if as_json:
        print_json(_facts(run_lineage))
        return
    print(_title(run_lineage, labels))
    wrapper = textwrap.TextWrapper(_WIDTH, subsequent_indent=" " * _INDENT, break_on_hyphens=False)
    for label, text in _sections(run_lineage, labels):
        print(wrapper.fill(f"{label:{_INDENT}}{one_line(text)}"))


def _facts(run_lineage: RunLineage) -> dict[str, Any]:
    """The object that `--json` prints."""
    run, lineage, model = run_lineage.run, run_lineage.lineage, run_lineage.model
    return {
        **{key: getattr(run, key) for key in ("run_id", "recipe", "kind", "origin", "status")},
        "published_at": run_lineage.published_at,
        "superseded_by": run_lineage.superseded_by,
        "supersedes": list(run_lineage.supersedes),
        "num_series": run.num_series,
        "num_rows": run.num_rows,
        "methods": [asdict(method) for method in run_lineage.methods],
        "content_hash": run.content_hash,
        "as_of": lineage.as_of,
        "recorded_by": lineage.recorded_by,
        "data_hash": lineage.data_hash,
        "batch": asdict(run_lineage.source_batch),
        "num_known": run_lineage.num_known,
        "since": asdict(run_lineage.since),
        "recipe_fingerprint": lineage.recipe_fingerprint,
        "recipe_has_changed": lineage.recipe_fingerprint != run_lineage.present_fingerprint,
        "code_version": lineage.code_version,
        "code_has_changed": lineage.code_version != code_version(),
        "model": None if model is None else _model_facts(model, is_champion=run_lineage.is_champion),
        "decision": asdict(run_lineage.decision),
        "not_in_mlflow": list(run_lineage.not_in_mlflow),
    }


def _model_facts(model: ModelVersion, *, is_champion: bool) -> dict[str, Any]:
    return {
        **{key: getattr(model, key) for key in ("model_version", "model_hash", "training", "reason", "cutoff")},
        "is_champion": is_champion,
        "trained_at": model.trained_at,
        **{key: value for key, value in asdict(model.lineage).items() if key != "recorded_by"},
        "skill": model.skill,
        "mlflow_run_id": model.mlflow_run_id,
    }


def _read_labels(store: Store, run_lineage: RunLineage) -> PeriodLabels:
    """How periods are written, by the recipe as it was when the run was published."""
    run, lineage = run_lineage.run, run_lineage.lineage
    definition = store.recipes.definition(run.recipe, lineage.recipe_fingerprint)
    if definition is None:  # of a release that kept none
        return PeriodLabels(is_within_day=str(run.origin)[11:19] not in ("", "00:00:00"))
    return recipe_from_definition(json.loads(definition)).labels


def _title(run_lineage: RunLineage, labels: PeriodLabels) -> str:
    run = run_lineage.run
    return f"{run.run_id}: {run.kind} forecast of {run.recipe} after {labels.text(run.origin)}\n"


def _sections(run_lineage: RunLineage, labels: PeriodLabels) -> list[tuple[str, str]]:
    """Labels with their texts, in printing order; an empty label continues the one above."""
    return [
        *_run_section(run_lineage),
        *_data_section(run_lineage),
        *_code_section(run_lineage),
        *_model_section(run_lineage, labels),
    ]


def _run_section(run_lineage: RunLineage) -> list[tuple[str, str]]:
    run = run_lineage.run
    periods = counted(run.num_rows // run.num_series, "period")
    published = f"published at {run_lineage.published_at.isoformat()}" if run_lineage.published_at else "not finished"
    superseded_by = f", superseded by {run_lineage.superseded_by}" if run_lineage.superseded_by else ""
    supersedes = f", in place of {', '.join(run_lineage.supersedes)}" if run_lineage.supersedes else ""
    rows = f"{counted(run.num_rows, 'row')}: {run.num_series} series, {periods}"
    methods = [str(group) for group in run_lineage.methods]
    if len(methods) > _MOST_METHODS:
        methods[_MOST_METHODS:] = [f"… and in {len(methods) - _MOST_METHODS} other ways (--json)"]
    return [
        ("status", published + superseded_by + supersedes),
        ("rows", rows),
        *(("" if n else "series", text) for n, text in enumerate(methods)),
    ]


def _data_section(run_lineage: RunLineage) -> list[tuple[str, str]]:
    batch, since, lineage = run_lineage.source_batch, run_lineage.since, run_lineage.lineage
    counts = (
        f"{batch.num_new} new, {batch.num_revised} revised, {batch.num_same} unchanged, {batch.num_rejected} rejected"
    )
    held = f"; put on hold at {batch.held_at.isoformat()}, then accepted by a person" if batch.held_at else ""
    if since.num_batches == 0:
        changes = "no change: these are the current data"
    else:
        later = counted(since.num_batches, "newer batch")
        revised = (
            f"{since.num_revised} of the {counted(run_lineage.num_known, 'value')} "
            f"{'was' if since.num_revised == 1 else 'were'} revised, in {since.num_series} series"
            if since.num_revised
            else f"none of the {counted(run_lineage.num_known, 'value')} was revised"
        )
        changes = f"{later}: {revised}; {since.num_new} new"
    return [
        (
            "data",
            f"as of {lineage.as_of.isoformat()}, hash {lineage.data_hash[:_SHORT]}, {counted(run_lineage.num_known, 'value')}",
        ),
        ("  batch", f"{batch.source}, content {batch.content_hash[:_SHORT]}: {counts}{held}"),
        ("  since", changes),
    ]


def _code_section(run_lineage: RunLineage) -> list[tuple[str, str]]:
    lineage, present = run_lineage.lineage, code_version()
    same = lineage.recipe_fingerprint == run_lineage.present_fingerprint
    recipe = "unchanged since" if same else f"changed since: {run_lineage.present_fingerprint[:_SHORT]} now"
    code = "unchanged since" if lineage.code_version == present else f"changed since: {present} now"
    return [
        ("recipe", f"{lineage.recipe_fingerprint[:_SHORT]}, {recipe}"),
        ("code", f"{lineage.code_version}, {code}"),
    ]


def _model_section(run_lineage: RunLineage, labels: PeriodLabels) -> list[tuple[str, str]]:
    model, decision = run_lineage.model, run_lineage.decision
    if model is None:
        return [("model", f"none: {decision.reason}")]
    role = "the champion" if run_lineage.is_champion else "not the champion"
    skill = "no backtest" if model.skill is None else f"skill {model.skill:+.3f} against the baseline"
    mlflow = f"MLflow run {model.mlflow_run_id}" if model.mlflow_run_id else "not in MLflow yet"
    return [
        (
            "model",
            f"{model.model_version}, hash {model.model_hash[:_SHORT]}, {role}; {model.training}: {model.reason}",
        ),
        (
            "  trained",
            f"at {model.trained_at.isoformat()} as of {model.lineage.as_of.isoformat()}, up to {labels.text(model.cutoff)}",
        ),
        ("  backtest", f"{skill}; {mlflow}"),
        *(("  MLflow", f"does not show the {reason}") for reason in run_lineage.not_in_mlflow),
        ("decision", f"{decision.training}: {decision.reason}"),
    ]
