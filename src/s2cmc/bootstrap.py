"""Bootstrap over groups of scenes that depend on each other, from counts alone.

Pixels of a scene, and scenes of a group, are not independent, so that whole groups are drawn, with replacement (Efron
and Tibshirani 1993, An Introduction to the Bootstrap, chapter 8). An interval holds the middle of what the draws give
(percentile method).
"""

from numbers import Integral

import numpy as np

from s2cmc.errors import QueryError


def check_options(resamples: int, confidence: float, seed: int) -> None:
    """Refuse what makes no interval.

    Raises
    ------
    QueryError
    """
    for name, value, least in (("resamples", resamples, 1), ("seed", seed, 0)):
        if not isinstance(value, Integral) or value < least:
            raise QueryError(f"{name} {value!r} is no whole number from {least} on")
    if not 0 < confidence < 1:
        raise QueryError(f"confidence {confidence} is not between 0 and 1, e.g. 0.95")


def draw(groups: int, resamples: int, seed: int) -> np.ndarray:
    """How often each group is in each resample (resample, group), float64.

    The same number of groups, resamples and seed give the same draws, so that two predictions for the same scenes are
    compared on the same resamples.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(groups, size=(resamples, groups)) + groups * np.arange(resamples)[:, np.newaxis]
    return np.bincount(drawn.ravel(), minlength=resamples * groups).reshape(resamples, groups).astype(float)


def group_sums(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sum of `values` (scene, ...) over the scenes of each group (group, ...), groups in the order of their numbers."""
    numbers, members = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(numbers), *values.shape[1:]), values.dtype)
    np.add.at(sums, members, values)
    return sums


def interval(replicates: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end (...) of the middle `confidence` of replicates (resample, ...).

    Undefined replicates (a class that was not drawn) are left out; both ends are NaN where all are undefined.
    """
    ordered = np.sort(replicates, axis=0)  # NaN come last
    defined = (~np.isnan(ordered)).sum(axis=0)
    tail = (1 - confidence) / 2
    return _quantile(ordered, defined, tail), _quantile(ordered, defined, 1 - tail)


def _quantile(ordered: np.ndarray, defined: np.ndarray, q: float) -> np.ndarray:
    """Quantile of the first `defined` of sorted values along the first axis, interpolated linearly."""
    rank = q * np.maximum(defined - 1, 0)
    low = np.floor(rank).astype(int)
    high = np.minimum(low + 1, np.maximum(defined - 1, 0))
    below, above = (np.take_along_axis(ordered, i[np.newaxis], axis=0)[0] for i in (low, high))
    return np.where(defined > 0, below + (rank - low) * (above - below), np.nan)
