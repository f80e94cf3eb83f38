"""Scores of strata with bootstrap intervals, from the confusion tables of scenes. No pixel is read."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import xarray as xr

from s2cmc.errors import QueryError
from s2cmc.evaluation.scores import Absent, class_scores, one_against_rest, overall_scores, to_binary
from s2cmc.query import scenes_of_stratum
from s2cmc.schema import BINARY_NAMES, CLASS_DIM, MaskClass

# Bootstrap over groups of scenes that depend on each other, from counts alone.
#
# Pixels of a scene, and scenes of a group, are not independent, so that whole groups are drawn, with replacement (Efron
# and Tibshirani 1993, An Introduction to the Bootstrap, chapter 8). An interval holds the middle of what the draws give
# (percentile method).


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


_LONG_NAMES = {
    "precision": "precision (user's accuracy)",
    "recall": "recall (producer's accuracy)",
    "f1": "F1 (harmonic mean of precision and recall)",
    "iou": "IoU (intersection over union)",
    "balanced_accuracy": "balanced accuracy (mean of recall and specificity)",
    "cloud_accuracy": "accuracy, cloud against non-cloud",
    "cloud_kappa": "Cohen's kappa, cloud against non-cloud",
    "three_class_accuracy": "accuracy of three classes, scenes with marked shadows",
    "three_class_kappa": "Cohen's kappa of three classes, scenes with marked shadows",
}

_UNDEFINED = 0.05
"""Share of resamples in which a score may be undefined."""


@dataclass(frozen=True)
class Resampling:
    """How intervals are made.

    Attributes
    ----------
    resamples : int
        Number of resamples of groups.
    confidence : float
        Share of the resamples inside an interval, between 0 and 1.
    seed : int
    least_groups : int
        Of fewer groups there is no interval: too few different resamples bound nothing.
    """

    resamples: int = 10_000
    confidence: float = 0.95
    seed: int = 0
    least_groups: int = 5

    def __post_init__(self) -> None:
        check_options(self.resamples, self.confidence, self.seed)


def tables_of(confusion: xr.DataArray, shadows_marked: np.ndarray) -> np.ndarray:
    """Confusion tables (scene, 2, truth, predicted), int64: first all scenes, then those with marked shadows alone.

    Where shadows are not marked, a pixel that is not cloud is clear or shadow and nobody knows which. Cloud against
    non-cloud is known everywhere.
    """
    every = confusion.transpose("scene", "truth", "predicted").to_numpy()
    return np.stack([every, every * shadows_marked[:, np.newaxis, np.newaxis]], axis=1)


def counts_of(tables: np.ndarray) -> dict[str, np.ndarray]:
    """Counts ``tp``, ``fp``, ``fn``, ``tn`` (..., class) of tables (..., 2, truth, predicted): cloud in all scenes."""
    if tables.shape[-1] == len(BINARY_NAMES):
        return one_against_rest(tables[..., 0, :, :])
    found = one_against_rest(tables[..., 1, :, :])
    binary = one_against_rest(to_binary(tables[..., 0, :, :]))
    is_cloud = np.arange(tables.shape[-1]) == MaskClass.CLOUD
    return {name: np.where(is_cloud, binary[name][..., 1:], counts) for name, counts in found.items()}


def scores_of(tables: np.ndarray, absent: Absent) -> dict[str, np.ndarray]:
    """All scores of tables (..., 2, truth, predicted): those of a class (..., class), the overall ones (...)."""
    found = class_scores(counts_of(tables), absent)
    problems = {"cloud": to_binary(tables[..., 0, :, :])}
    if tables.shape[-1] != len(BINARY_NAMES):
        problems["three_class"] = tables[..., 1, :, :]
    for problem, of_problem in problems.items():
        found |= {f"{problem}_{name}": value for name, value in overall_scores(of_problem).items()}
    return found


def score_strata(
    member: xr.DataArray, tables: np.ndarray, groups: np.ndarray, resampling: Resampling | None, absent: Absent
) -> xr.Dataset:
    """Scores of each stratum, pooled over its pixels; with `resampling` their intervals too."""
    rows = []
    for name in member["stratum"].to_numpy():
        scenes = scenes_of_stratum(member, name)
        row = scores_of(tables[scenes].sum(axis=0), absent)
        if resampling:
            (drawn,) = _resampled([tables[scenes]], groups[scenes], resampling)
            row |= _interval(scores_of(drawn, absent), resampling, row)
        rows.append(row)
    return _to_dataset(rows, member)


def score_differences(
    member: xr.DataArray, first: np.ndarray, second: np.ndarray, groups: np.ndarray, resampling: Resampling
) -> xr.Dataset:
    """Scores of `first` minus those of `second`, and intervals of the differences from the same resamples of both."""
    rows = []
    for name in member["stratum"].to_numpy():
        scenes = scenes_of_stratum(member, name)
        row = _minus(*(scores_of(tables[scenes].sum(axis=0), "truth") for tables in (first, second)))
        drawn = _resampled([first[scenes], second[scenes]], groups[scenes], resampling)
        rows.append(row | _interval(_minus(*(scores_of(one, "truth") for one in drawn)), resampling, row))
    return _to_dataset(rows, member)


def _minus(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: first[name] - second[name] for name in first}


def _resampled(predictions: list[np.ndarray], groups: np.ndarray, resampling: Resampling) -> list[np.ndarray]:
    """Tables (resample, 2, truth, predicted) of resampled groups, the same resamples for each prediction.

    Cloud against non-cloud draws from all groups, three classes from those with marked shadows. Where these are too
    few nothing is drawn, and the tables are all zero.
    """
    if len(np.unique(groups)) < resampling.least_groups:
        return [np.zeros((1, *tables.shape[1:])) for tables in predictions]
    sums = [group_sums(tables, groups).astype(float) for tables in predictions]
    found = [np.zeros((resampling.resamples, *of_one.shape[1:])) for of_one in sums]
    for problem in (0, 1):
        there = np.logical_or.reduce([of_one[:, problem].any(axis=(-2, -1)) for of_one in sums])
        if there.sum() >= resampling.least_groups:
            weights = draw(int(there.sum()), resampling.resamples, resampling.seed)
            for drawn, of_one in zip(found, sums, strict=True):
                # Whole numbers below 2 ** 53, so that the products are exact.
                drawn[:, problem] = np.tensordot(weights, of_one[there, problem], 1)
    return found


def _interval(
    replicates: dict[str, np.ndarray], resampling: Resampling, row: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Ends of the interval of each score in `row`; undefined where the score is, or too many of its replicates.

    A class of one or two groups is in many resamples not at all, and those that have it are no fair choice.
    """
    found = {}
    for name, value in row.items():
        ends = interval(replicates[name], resampling.confidence)
        defined = ~np.isnan(value) & (np.isnan(replicates[name]).mean(axis=0) <= _UNDEFINED)
        for end, bound in zip(("lower", "upper"), ends, strict=True):
            found[f"{name}_{end}"] = np.where(defined, bound, np.nan)
    return found


def _to_dataset(rows: list[dict[str, np.ndarray]], member: xr.DataArray) -> xr.Dataset:
    found = {}
    for name in rows[0]:
        values = np.stack([row[name] for row in rows])
        dims = ("stratum", CLASS_DIM)[: values.ndim]
        found[name] = xr.DataArray(values, dims=dims, attrs={"long_name": _long_name(name), "units": "1"})
    return xr.Dataset(found, {"stratum": member["stratum"], "by": member["by"]})


def _long_name(name: str) -> str:
    for end in ("lower", "upper"):
        if name.endswith(f"_{end}"):
            return f"{end} end of the interval of {_LONG_NAMES[name.removesuffix(f'_{end}')]}"
    return _LONG_NAMES[name]
