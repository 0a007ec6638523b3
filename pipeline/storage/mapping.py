"""Domain values as rows of the database, and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import Rejection
from pipeline.records.lineage import Decision, Lineage, ModelVersion, Run
from pipeline.records.training import TrainingRecord
from pipeline.storage.statements import Row, Transaction
from pipeline.text import one_line
from pipeline.timeseries.forecast import Forecast

#: the levels of a forecast, in their order
QUANTILE_COLUMNS = ("lower_95", "lower_80", "median", "upper_80", "upper_95")


def rejection_row(batch_id: int, rejection: Rejection) -> dict[str, Any]:
    """A refused row of a batch."""
    return {
        "batch_id": batch_id,
        "file": _storable(rejection.file),
        "line": rejection.line,
        "column_name": rejection.column,
        "series": _storable(rejection.series),
        "text": _storable(rejection.text),
        "rule": rejection.rule,
    }


def _storable(text: str | None) -> str | None:
    """Any text in a form that both databases take: no NUL, no half of a surrogate pair."""
    return None if text is None else one_line(text.encode("utf-8", "backslashreplace").decode())


def run_id_of(recipe: Recipe, forecast: Forecast, kind: str, earlier: int) -> str:
    """A name that people can read: the recipe, the origin, and which publication of it this is."""
    day = np.datetime_as_string(
        forecast.origin, unit="D" if forecast.origin == forecast.origin.astype("M8[D]") else "s"
    )
    return f"{recipe.name}-{day}{'-backfill' if kind == 'backfill' else ''}-{earlier + 1}"


def run_of(row: Row) -> Run:
    """The run that a row is."""
    return Run(**{name: row[name] for name in Run.__dataclass_fields__})


def model_of(row: Row) -> ModelVersion:
    """The model that a row is."""
    plain = {name: row[name] for name in ModelVersion.__dataclass_fields__ if name not in ("lineage", "record")}
    lineage = Lineage(**{name: row[name] for name in Lineage.__dataclass_fields__})
    return ModelVersion(**plain, lineage=lineage, record=TrainingRecord.model_validate_json(row["record"]))


def insert_decision(transaction: Transaction, recipe: str, decided: Decision, now: datetime) -> None:
    """Write a decision, unless it is the one that was taken last."""
    transaction.execute(
        "insert_decision",
        recipe=recipe,
        decided_at=now,
        **{**asdict(decided), "facts": json.dumps(dict(decided.facts), sort_keys=True)},
    )
