"""Domain values as rows of the database, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from pipeline.database import Row
from pipeline.errors import Rejection, one_line
from pipeline.forecast import Forecast
from pipeline.lineage import Lineage, Model, Run
from pipeline.observations import CleanBatch
from pipeline.recipe import Recipe
from pipeline.training_record import TrainingRecord

_QUANTILE_COLUMNS = ("lower_95", "lower_80", "median", "upper_80", "upper_95")


def batch_row(recipe: str, batch: CleanBatch, recorded_at: datetime) -> dict[str, Any]:
    """The header of a batch that is taken in."""
    return {
        "recipe": recipe,
        "source": batch.source,
        "content_hash": batch.content_hash,
        "recorded_at": recorded_at,
        "status": "accepted",
        "message": None,
        "num_read": batch.num_read,
        "num_new": batch.num_new,
        "num_revised": batch.num_revised,
        "num_same": batch.num_same,
        "num_rejected": len(batch.rejections),
    }


def refused_batch_row(
    recipe: str, source: str, message: str, num_rejected: int, recorded_at: datetime
) -> dict[str, Any]:
    """The header of a batch of which nothing is taken in."""
    return {
        **dict.fromkeys(("num_read", "num_new", "num_revised", "num_same"), 0),
        "recipe": recipe,
        "source": source,
        "content_hash": "",
        "recorded_at": recorded_at,
        "status": "refused",
        "message": message,
        "num_rejected": num_rejected,
    }


def rejection_row(batch_id: int, rejection: Rejection) -> dict[str, Any]:
    """A refused row of a batch."""
    return {
        "batch_id": batch_id,
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


def forecast_rows(run_id: str, forecast: Forecast, numbers: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """One row for each series and step; `numbers` are the series' numbers in the database."""
    for s, name in enumerate(forecast.series):
        for h, period in enumerate(forecast.periods):
            yield {
                "run_id": run_id,
                "series_id": numbers[name],
                "step": h + 1,
                "period": period,
                "mean": float(forecast.mean[s, h]),
                **{column: float(forecast.quantiles[s, h, q]) for q, column in enumerate(_QUANTILE_COLUMNS)},
                "method": forecast.method[s],
                "reason": forecast.reason[s],
            }


def forecast_of(origin: np.datetime64, rows: Sequence[Row]) -> Forecast:
    """The forecast that rows of one run are, ordered by series and step."""
    by_series: dict[str, list[Row]] = {}
    for row in rows:
        by_series.setdefault(row["series"], []).append(row)
    steps = list(by_series.values())
    return Forecast(
        series=tuple(by_series),
        origin=origin,
        periods=np.array([row["period"] for row in steps[0]], dtype="datetime64[us]"),
        mean=np.array([[row["mean"] for row in one] for one in steps]),
        quantiles=np.array([[[row[column] for column in _QUANTILE_COLUMNS] for row in one] for one in steps]),
        method=tuple(one[0]["method"] for one in steps),
        reason=tuple(one[0]["reason"] for one in steps),
    )


def run_of(row: Row) -> Run:
    """The run that a row is."""
    return Run(**{name: row[name] for name in Run.__dataclass_fields__})


def model_of(row: Row) -> Model:
    """The model that a row is."""
    plain = {name: row[name] for name in Model.__dataclass_fields__ if name not in ("lineage", "record")}
    lineage = Lineage(**{name: row[name] for name in Lineage.__dataclass_fields__})
    return Model(**plain, lineage=lineage, record=TrainingRecord.model_validate_json(row["record"]))
