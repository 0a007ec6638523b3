"""Records as rows of the database, and rows as records."""

from __future__ import annotations

from typing import Any

from pipeline.errors import Rejection
from pipeline.records.lineage import Lineage, ModelVersion, Run
from pipeline.records.training import TrainingRecord
from pipeline.storage.statements import Row
from pipeline.text import one_line


def rejection_row(batch_id: int, rejection: Rejection) -> dict[str, Any]:
    """The row of a rejected row of a batch."""
    return {
        "batch_id": batch_id,
        "file": _storable_text(rejection.file),
        "line": rejection.line,
        "column_name": rejection.column,
        "series": _storable_text(rejection.series),
        "period": rejection.period,
        "text": _storable_text(rejection.text),
        "rule": rejection.rule,
    }


def _storable_text(text: str | None) -> str | None:
    """Text that both databases accept: on one line, lone surrogates escaped."""
    return None if text is None else one_line(text.encode("utf-8", "backslashreplace").decode())


def run_from_row(row: Row) -> Run:
    """The run in a row with its columns."""
    return Run(**{name: row[name] for name in Run.__dataclass_fields__})


def lineage_from_row(row: Row) -> Lineage:
    """The lineage in a row of a run or of a model."""
    columns: dict[str, Any] = {name: row.get(name) for name in Lineage.__dataclass_fields__}
    return Lineage(**columns)


def model_from_row(row: Row) -> ModelVersion:
    """The model in a row with its columns."""
    columns = {name: row[name] for name in ModelVersion.__dataclass_fields__ if name not in ("lineage", "record")}
    record = TrainingRecord.model_validate_json(row["record"])
    return ModelVersion(**columns, lineage=lineage_from_row(row), record=record)
