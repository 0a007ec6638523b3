"""What became of published forecasts, as it was known at an instant: read from few runs and few series, however many there are."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from pipeline.calibration import WINDOW, Calibration, Outcomes, conformity
from pipeline.forecast import LEVELS
from pipeline.recipe import Recipe
from pipeline.statements import Transaction

#: about so many outcomes are read: of every series, or of some of them, always the same
MOST_READ = 20_000


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
