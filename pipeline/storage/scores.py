"""Published forecasts compared with later observations: scores, and outcomes for calibration and drift detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.evaluation.drift import OutcomesByPeriod
from pipeline.forecasting.calibration import WINDOW, Calibration, Outcomes, conformity_ratios
from pipeline.forecasting.series_scale import NO_GROUP
from pipeline.records.lineage import ModelVersion, RunKind
from pipeline.storage.engine import Database
from pipeline.storage.statements import Row, Transaction
from pipeline.text import format_ticks
from pipeline.timeseries.forecast import LEVELS

#: a series is worse than the baseline if it lost at least 10 of the last 12 published periods: a model as good as the
#: baseline does so by chance in 1 of 50 cases
JUDGED_OVER, LOST = 12, 10
#: about so many outcomes are read: of all series, or of a fixed sample of them
MAX_OUTCOMES = 20_000
#: the newest origins of a model in which drift is looked for
MAX_DRIFT_ORIGINS = 300


@dataclass(frozen=True, slots=True)
class ScoreRepository:
    """Scores and outcomes in one database."""

    database: Database

    def score(self, recipe: str, kind: RunKind, as_of: datetime) -> int:
        """Score the runs of one kind against the batches recorded since the last scoring; the number of new scores.

        Each run is scored in its own transaction, by one statement, and the mark up to where batches count as scored
        moves last: after an interruption, a second call adds what is missing.

        Args:
            recipe: whose runs.
            kind: of the runs; each kind is scored apart.
            as_of: batches recorded later do not count.
        """
        with self.database.read() as transaction:
            due = transaction.row("batches_to_score", recipe=recipe, kind=kind, as_of=as_of)
            if due is None or due["through"] is None or due["through"] <= due["since"]:
                return 0
            changed_periods = {name: due[name] for name in ("first_period", "last_period")}
            runs = _runs_to_score(transaction, recipe, kind, changed_periods)
        batches = {"since": due["since"], "through": due["through"]}
        num_scores = 0
        for run in runs:
            with self.database.write() as transaction:
                num_scores += transaction.execute(
                    "score_run", run_number=run["run_number"], **changed_periods, **batches
                )
        with self.database.write() as transaction:
            transaction.row("lock_recipe", recipe=recipe)
            transaction.execute("mark_scored", recipe=recipe, kind=kind, **batches)
        return num_scores

    def series_worse_than_baseline(
        self, model: ModelVersion, kind: RunKind, as_of: datetime, baseline: str
    ) -> dict[str, str]:
        """Series whose published forecasts by a model were worse than the baseline's, with the reason by name.

        A sign test on absolute errors one step ahead, which are the least autocorrelated ones.

        Args:
            model: that made the forecasts.
            kind: of the runs.
            as_of: scores of batches recorded later do not count.
            baseline: its name, for the reason.
        """
        with self.database.read() as transaction:
            rows = transaction.rows(
                "series_worse_than_baseline",
                recipe=model.recipe,
                kind=kind,
                model_version=model.model_version,
                as_of=as_of,
                num_origins=JUDGED_OVER + 1,
                fewest=JUDGED_OVER,
                most_lost=LOST,
            )
        return {row["series"]: _why_worse(row, baseline) for row in rows}

    def outcomes(self, recipe: Recipe, kind: RunKind, *, origin: np.datetime64, as_of: datetime) -> Outcomes:
        """Observed values relative to the network's uncalibrated quantiles, of the newest runs before an origin.

        Args:
            recipe: only runs of models with its present training settings count.
            kind: of the runs.
            origin: of the forecast that is to be calibrated; only earlier origins count.
            as_of: values recorded later do not count.
        """
        with self.database.read() as transaction:
            return _read_outcomes(transaction, recipe, kind, origin, as_of)

    def outcomes_by_period(
        self, recipe: str, kind: RunKind, *, model_version: int, as_of: datetime
    ) -> OutcomesByPeriod:
        """Errors of one model's published forecasts by origin, over the same series; at most 300 origins.

        Args:
            recipe: of the model.
            kind: of the runs.
            model_version: of the model.
            as_of: values recorded later do not count.
        """
        with self.database.read() as transaction:
            columns = transaction.columns(
                "outcomes_by_period",
                recipe=recipe,
                kind=kind,
                model_version=model_version,
                as_of=as_of,
                num_origins=MAX_DRIFT_ORIGINS,
                num_series=MAX_OUTCOMES // MAX_DRIFT_ORIGINS,
            )
        origin, *errors = columns or [()] * 5
        bias, error, naive_error, inside_80 = (np.array(column, np.float64) for column in errors)
        return OutcomesByPeriod(
            origin=np.array(origin, "datetime64[us]"),
            bias=bias,
            error=error,
            naive_error=naive_error,
            inside_80=inside_80,
        )


def _why_worse(row: Row, baseline: str) -> str:
    """Why a series is forecast by the baseline, from its errors."""
    ours, theirs = format_ticks([row["mae"], row["naive_mae"]])
    return (
        f"worse than {baseline} in {row['num_lost']} of the last {row['num_scored']} published periods: "
        f"mean absolute error {ours} against {theirs}"
    )


def _runs_to_score(
    transaction: Transaction, recipe: str, kind: RunKind, changed_periods: Mapping[str, Any]
) -> Sequence[Row]:
    """Runs that forecast any of the changed periods."""
    if changed_periods["first_period"] is None:
        return []
    return transaction.rows("runs_to_score", recipe=recipe, kind=kind, **changed_periods)


def _read_outcomes(
    transaction: Transaction, recipe: Recipe, kind: RunKind, origin: np.datetime64, as_of: datetime
) -> Outcomes:
    num_origins = WINDOW + recipe.horizon
    num_series = max(1, MAX_OUTCOMES // (num_origins * recipe.horizon))
    newest = {"recipe": recipe.name, "kind": kind, "origin": origin, "num_origins": num_origins}
    runs = transaction.rows("newest_runs_before", **newest, training_fingerprint=recipe.training_fingerprint)
    columns = transaction.columns("outcomes_of_forecasts", **newest, as_of=as_of, num_series=num_series) if runs else []
    run_number, series, group, multiplier, step, observed, *quantiles = columns or [()] * (6 + len(LEVELS))
    is_comparable = np.isin(run_number, [run["run_number"] for run in runs])  # by a model with the same settings
    of_run = np.array(run_number, np.int64)[is_comparable]
    steps = np.array(step, np.int64)[is_comparable]
    groups = np.array([NO_GROUP if number is None else number for number in group], np.int64)[is_comparable]
    published = np.array(quantiles, np.float64).T.reshape(-1, len(LEVELS))[is_comparable]  # [N, Q]
    multipliers = np.array([number or 0.0 for number in multiplier], np.float64)[is_comparable]
    factors = np.ones((len(steps), len(LEVELS)))
    for run in runs:
        if run["calibration"] is not None:
            rows = np.flatnonzero(of_run == run["run_number"])
            by_series = Calibration.from_text(run["calibration"]).scaled_factors(multipliers[rows], groups[rows])
            factors[rows] = by_series[np.arange(len(rows)), steps[rows] - 1]
    origin_of = {run["run_number"]: run["origin"] for run in runs}
    return Outcomes(
        origin=np.array([origin_of[number] for number in of_run.tolist()], "datetime64[us]"),
        step=steps,
        ratio=conformity_ratios(np.array(observed, np.float64)[is_comparable], published, factors),
        series=np.array(series, object)[is_comparable],
        group=groups,
    )
