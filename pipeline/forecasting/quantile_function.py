"""The distribution of a forecast step, interpolated between and beyond its quantiles on the scale of normal scores.

Values and standard normal scores are converted into each other by straight lines between the quantile levels; beyond the
outer levels the outer lines go on. So each piece is a piece of a normal distribution, the tails are normal, and the
quantiles of a normal distribution give back exactly that distribution.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from pipeline.timeseries.forecast import LEVELS

Array = npt.NDArray[np.float64]

#: standard normal scores of the quantile levels, as `ndtri` gives them: sample paths that are stored depend on every bit
SCORES: Array = ndtri(LEVELS)
#: scores of values are clipped to plus and minus this
LARGEST_SCORE = 4.0


def values_at_scores(quantiles: Array, scores: Array, *, logarithms: bool = False) -> Array:
    """The quantile function: values at standard normal scores, in the shape of the scores [...].

    Args:
        quantiles: by level, [..., Q], ascending; broadcast to the scores.
        scores: standard normal, [...]; 0 gives the median.
        logarithms: interpolate the logarithms of distributions whose quantiles are all above 0.
    """
    if logarithms:
        transformed, is_positive = _take_logarithms(quantiles)
        values = values_at_scores(transformed, scores)
        return np.where(is_positive, np.exp(np.where(is_positive, values, 0.0)), values)
    piece = np.clip(np.searchsorted(SCORES, scores) - 1, 0, len(SCORES) - 2)
    below, above = _ends_of_piece(np.broadcast_to(quantiles, (*scores.shape, len(SCORES))), piece)
    share = (scores - SCORES[piece]) / (SCORES[piece + 1] - SCORES[piece])
    return np.where(above > below, below + share * (above - below), below)


def scores_of_values(quantiles: Array, values: Array, *, logarithms: bool = False) -> Array:
    """The inverse of `values_at_scores`: standard normal scores of values, in the shape of the values [...].

    Args:
        quantiles: by level, [..., Q], ascending.
        values: [...].
        logarithms: as for `values_at_scores`; a value without a logarithm gets the lowest score.

    Returns:
        [...], between minus and plus `LARGEST_SCORE`; NaN for a value that is NaN, and where a piece has no width.
    """
    if logarithms:
        transformed, is_positive = _take_logarithms(quantiles)
        with np.errstate(divide="ignore"):
            values = np.where(is_positive, np.log(np.where(is_positive, np.maximum(values, 0.0), 1.0)), values)
        return scores_of_values(transformed, values)
    piece = np.clip((values[..., None] > quantiles).sum(axis=-1) - 1, 0, len(SCORES) - 2)
    below, above = _ends_of_piece(quantiles, piece)
    width = np.where(above > below, above - below, np.nan)
    scores: Array = SCORES[piece] + (values - below) / width * (SCORES[piece + 1] - SCORES[piece])
    return np.clip(scores, -LARGEST_SCORE, LARGEST_SCORE)


def _take_logarithms(quantiles: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Logarithms of the quantiles [..., Q] of distributions that are all positive, the others as they are; and which [...]."""
    is_positive = quantiles[..., 0] > 0
    positive = np.where(is_positive[..., None], quantiles, 1.0)
    return np.where(is_positive[..., None], np.log(positive), quantiles), is_positive


def _ends_of_piece(quantiles: Array, piece: npt.NDArray[np.intp]) -> tuple[Array, Array]:
    """The quantiles [...] at both ends of a piece between two levels, of quantiles [..., Q]."""
    below, above = (np.take_along_axis(quantiles, (piece + n)[..., None], axis=-1)[..., 0] for n in (0, 1))
    return below, above
