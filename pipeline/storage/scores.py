"""Published forecasts against later observations: one statement a run, over what came since it was scored last."""

from __future__ import annotations

from datetime import datetime

from pipeline.records.lineage import ModelVersion
from pipeline.storage.engine import Database

#: kinds of runs, which are scored apart
KINDS = ("live", "backfill")
#: of so many published periods in a row, by chance 1 model in 50 that is as good as the baseline loses so many or more
JUDGED_OVER, LOST = 12, 10


def score(database: Database, recipe: str, kind: str, as_of: datetime) -> int:
    """Score what the batches since the mark tell of, as it was known at an instant, and move the mark; how many scores.

    Each run in a transaction of its own: the same again adds nothing, and the mark is moved last.
    """
    with database.read() as transaction:
        due = transaction.row("batches_to_score", recipe=recipe, kind=kind, as_of=as_of)
        if due is None or due["through"] is None or due["through"] <= due["since"]:
            return 0
        told = {name: due[name] for name in ("first_period", "last_period")}
        runs = (
            [] if due["first_period"] is None else transaction.rows("runs_to_score", recipe=recipe, kind=kind, **told)
        )
    mark = {"since": due["since"], "through": due["through"]}
    found = 0
    for run in runs:
        with database.write() as transaction:
            found += transaction.execute("score", run_number=run["run_number"], **told, **mark)
    with database.write() as transaction:
        transaction.row("lock_recipe", recipe=recipe)
        transaction.execute("mark_scored", recipe=recipe, kind=kind, **mark)
    return found


def series_worse_than_baseline(
    database: Database, model: ModelVersion, kind: str, as_of: datetime, baseline: str
) -> dict[str, str]:
    """Series of which a model's published forecasts lost to the baseline, as it was known at an instant, with the figures.

    A sign test of the next period's absolute errors: they hang together least.
    """
    with database.read() as transaction:
        rows = transaction.rows(
            "series_that_lost",
            recipe=model.recipe,
            kind=kind,
            model_version=model.model_version,
            as_of=as_of,
            num_origins=JUDGED_OVER + 1,
            fewest=JUDGED_OVER,
            most_lost=LOST,
        )
    return {
        row["series"]: f"worse than {baseline} in {row['num_lost']} of the last {row['num_scored']} published periods: "
        f"mean absolute error {row['mae']:.4g} against {row['naive_mae']:.4g}"
        for row in rows
    }
