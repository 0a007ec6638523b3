"""The distribution of a step between and beyond its quantiles, read in both directions on the scale of standard normal scores.

Between two levels, and beyond the outer ones as next to them, it is the normal distribution through both: its tails are
normal ones, and a normal distribution is given back as it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from pipeline.timeseries.forecast import LEVELS

Array = npt.NDArray[np.float64]

#: standard normal values below which the share of each level lies
SCORES: Array = ndtri(LEVELS)
#: a score that is read off is not further out
FURTHEST = 4.0


def at_scores(quantiles: Array, scores: Array, *, logarithms: bool = False) -> Array:
    """The values of distributions, of which the quantiles are told, at standard normal scores: [...].

    Args:
        quantiles: by level, [..., Q], ascending.
        scores: standard normal, [...]; 0 gives the median.
        logarithms: whether that holds for the logarithms, where all quantiles of a distribution are above 0.
    """
    if logarithms:
        positive = quantiles[..., 0] > 0
        told = np.where(positive[..., None], np.log(np.where(positive[..., None], quantiles, 1.0)), quantiles)
        values = at_scores(told, scores)
        return np.where(positive, np.exp(np.where(positive, values, 0.0)), values)
    piece = np.clip(np.searchsorted(SCORES, scores) - 1, 0, len(SCORES) - 2)
    whole = np.broadcast_to(quantiles, (*scores.shape, len(SCORES)))
    below, above = (np.take_along_axis(whole, (piece + n)[..., None], axis=-1)[..., 0] for n in (0, 1))
    along = (scores - SCORES[piece]) / (SCORES[piece + 1] - SCORES[piece])
    values = below + along * (above - below)
    return np.where(above > below, values, below)


def scores_of(quantiles: Array, values: Array, *, logarithms: bool = False) -> Array:
    """The standard normal scores of values in distributions, the inverse of `at_scores`: [...].

    At most `FURTHEST` from 0; NaN for a value that is NaN, and where a distribution has no width there.

    Args:
        quantiles: by level, [..., Q], ascending.
        values: [...].
        logarithms: as told to `at_scores`; a value that has none lies furthest below.
    """
    if logarithms:
        positive = quantiles[..., 0] > 0
        told = np.where(positive[..., None], np.log(np.where(positive[..., None], quantiles, 1.0)), quantiles)
        with np.errstate(divide="ignore"):
            values = np.where(positive, np.log(np.where(positive, np.maximum(values, 0.0), 1.0)), values)
        return scores_of(told, values)
    piece = np.clip((values[..., None] > quantiles).sum(axis=-1) - 1, 0, len(SCORES) - 2)
    below, above = (np.take_along_axis(quantiles, (piece + n)[..., None], axis=-1)[..., 0] for n in (0, 1))
    width = np.where(above > below, above - below, np.nan)
    scores: Array = SCORES[piece] + (values - below) / width * (SCORES[piece + 1] - SCORES[piece])
    return np.clip(scores, -FURTHEST, FURTHEST)
