"""What became of published forecasts, as it was known at an instant: read from few runs and few series, however many there are."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.evaluation.drift import OutcomesByPeriod
from pipeline.forecasting.calibration import WINDOW, Calibration, Outcomes, conformity
from pipeline.storage.statements import Transaction
from pipeline.timeseries.forecast import LEVELS

#: about so many outcomes are read: of every series, or of some of them, always the same
MOST_READ = 20_000
#: origins of a model that are looked at for drift
MOST_ORIGINS = 300


def read_outcomes(
    transaction: Transaction, recipe: Recipe, kind: str, origin: np.datetime64, as_of: datetime
) -> Outcomes:
    """Where observed values fell beside the raw quantiles of the network.

    Args:
        transaction: to read in.
        recipe: of its present models; what models fitted otherwise said does not count.
        kind: of the runs.
        origin: of the forecast that is to be calibrated; only earlier ones count.
        as_of: only what was known at this instant counts.
    """
    num_origins = WINDOW + recipe.horizon
    wanted = {"recipe": recipe.name, "kind": kind, "origin": origin, "num_origins": num_origins}
    fitted_alike = {"training_fingerprint": recipe.training_fingerprint}
    runs = {run["run_number"]: run for run in transaction.rows("newest_runs", **wanted, **fitted_alike)}
    num_series = max(1, MOST_READ // (num_origins * recipe.horizon))
    columns = transaction.columns("outcomes_of_forecasts", **wanted, as_of=as_of, num_series=num_series) if runs else []
    run_number, step, observed, *quantiles = columns or [()] * (3 + len(LEVELS))
    known = np.isin(run_number, list(runs))
    number, steps = np.array(run_number, np.int64)[known], np.array(step, np.int64)[known]
    numbers, which = np.unique(number, return_inverse=True)
    unchanged = np.ones((recipe.horizon, len(LEVELS)))
    texts = [runs[one]["calibration"] for one in numbers.tolist()]
    factors = [unchanged if text is None else Calibration.from_text(text).factors for text in texts]
    published = np.array(quantiles, np.float64).T.reshape(-1, len(LEVELS))[known]
    return Outcomes(
        origin=np.array([runs[one]["origin"] for one in numbers.tolist()], "datetime64[us]")[which],
        step=steps,
        ratio=conformity(
            np.array(observed, np.float64)[known],
            published,
            np.array(factors).reshape(-1, *unchanged.shape)[which, steps - 1],
        ),
    )


def read_outcomes_by_period(
    transaction: Transaction, recipe: str, kind: str, model_version: int, as_of: datetime
) -> OutcomesByPeriod:
    """How the published forecasts of one model turned out, by origin, as it was known at an instant."""
    columns = transaction.columns(
        "outcomes_by_period",
        recipe=recipe,
        kind=kind,
        model_version=model_version,
        as_of=as_of,
        num_origins=MOST_ORIGINS,
        num_series=MOST_READ // MOST_ORIGINS,
    )
    origin, *numbers = columns or [()] * 5
    bias, error, naive_error, inside_80 = (np.array(each, np.float64) for each in numbers)
    return OutcomesByPeriod(
        origin=np.array(origin, "datetime64[us]"), bias=bias, error=error, naive_error=naive_error, inside_80=inside_80
    )
