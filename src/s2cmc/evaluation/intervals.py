"""Scores of strata with bootstrap intervals, from the confusion tables of scenes. No pixel is read."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import xarray as xr

from s2cmc.errors import QueryError
from s2cmc.evaluation.scores import Absent, class_scores, one_against_rest, overall_scores, to_binary
from s2cmc.query import scenes_of_stratum
from s2cmc.schema import BINARY_NAMES, CLASS_DIM, MaskClass

# Bootstrap over groups of scenes that depend on each other, from counts alone; see README.md in this folder.
#
# Pixels of a scene, and scenes of a group, are not independent, so that whole groups are drawn, with replacement (Efron
# and Tibshirani 1993, An Introduction to the Bootstrap, chapter 8). The ends of an interval are percentiles of the
# resampled scores.


def check_options(resamples: int, confidence: float, seed: int) -> None:
    """Refuse options that make no interval.

    Raises
    ------
    QueryError
    """
    for name, value, minimum in (("resamples", resamples, 1), ("seed", seed, 0)):
        if not isinstance(value, Integral) or value < minimum:
            raise QueryError(f"{name} {value!r} is no whole number from {minimum} on")
    if not 0 < confidence < 1:
        raise QueryError(f"confidence {confidence} is not between 0 and 1, e.g. 0.95")


def draw(groups: int, resamples: int, seed: int) -> np.ndarray:
    """Draw groups with replacement; returns how often each is in each resample (resample, group), float64.

    The same number of groups, resamples and seed give the same draws, so that two predictions for the same scenes are
    compared on the same resamples.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(groups, size=(resamples, groups)) + groups * np.arange(resamples)[:, np.newaxis]
    return np.bincount(drawn.ravel(), minlength=resamples * groups).reshape(resamples, groups).astype(float)


def group_sums(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sum `values` (scene, ...) over the scenes of each group (group, ...), groups in the order of their numbers."""
    numbers, members = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(numbers), *values.shape[1:]), values.dtype)
    np.add.at(sums, members, values)
    return sums


def interval(replicates: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the lower and upper end (...) of the middle `confidence` of replicates (resample, ...).

    Undefined replicates (a class that was not drawn) are left out; both ends are NaN where all are undefined.
    """
    ordered = np.sort(replicates, axis=0)  # NaN come last
    defined = (~np.isnan(ordered)).sum(axis=0)
    tail = (1 - confidence) / 2
    return _quantile(ordered, defined, tail), _quantile(ordered, defined, 1 - tail)


def _quantile(ordered: np.ndarray, defined: np.ndarray, q: float) -> np.ndarray:
    """Compute a quantile of the first `defined` sorted values along the first axis, interpolated linearly."""
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
"""Largest share of resamples in which a score may be undefined."""


@dataclass(frozen=True)
class Resampling:
    """Options of intervals.

    Attributes
    ----------
    resamples : int
        Number of resamples of groups.
    confidence : float
        Share of the resamples inside an interval, between 0 and 1.
    seed : int
    least_groups : int
        Fewest groups that get an interval: fewer have too few different resamples.
    """

    resamples: int = 10_000
    confidence: float = 0.95
    seed: int = 0
    least_groups: int = 5

    def __post_init__(self) -> None:
        check_options(self.resamples, self.confidence, self.seed)


def tables_of(confusion: xr.DataArray, shadows_marked: np.ndarray) -> np.ndarray:
    """Stack confusion tables (scene, 2, truth, predicted), int64: all scenes, and those with marked shadows alone.

    Where shadows are not marked, the mask does not tell if a pixel without cloud is clear or shadow. Cloud against
    non-cloud is known everywhere.
    """
    every = confusion.transpose("scene", "truth", "predicted").to_numpy()
    return np.stack([every, every * shadows_marked[:, np.newaxis, np.newaxis]], axis=1)


def counts_of(tables: np.ndarray) -> dict[str, np.ndarray]:
    """Count ``tp``, ``fp``, ``fn``, ``tn`` (..., class) in tables (..., 2, truth, predicted): cloud in all scenes."""
    if tables.shape[-1] == len(BINARY_NAMES):
        return one_against_rest(tables[..., 0, :, :])
    counts_of_classes = one_against_rest(tables[..., 1, :, :])
    binary = one_against_rest(to_binary(tables[..., 0, :, :]))
    is_cloud = np.arange(tables.shape[-1]) == MaskClass.CLOUD
    return {name: np.where(is_cloud, binary[name][..., 1:], counts) for name, counts in counts_of_classes.items()}


def scores_of(tables: np.ndarray, absent: Absent) -> dict[str, np.ndarray]:
    """Compute all scores of tables (..., 2, truth, predicted): of classes (..., class), and overall (...)."""
    scores = class_scores(counts_of(tables), absent)
    problems = {"cloud": to_binary(tables[..., 0, :, :])}
    if tables.shape[-1] != len(BINARY_NAMES):
        problems["three_class"] = tables[..., 1, :, :]
    for problem, its_tables in problems.items():
        scores |= {f"{problem}_{name}": value for name, value in overall_scores(its_tables).items()}
    return scores


def score_strata(
    member: xr.DataArray, tables: np.ndarray, groups: np.ndarray, resampling: Resampling | None, absent: Absent
) -> xr.Dataset:
    """Score each stratum, pooled over its pixels; with `resampling` with intervals."""
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
    """Subtract the scores of `second` from those of `first`, with intervals from the same resamples of both."""
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
    """Resample the groups of a stratum, with the same resamples for each prediction.

    Cloud against non-cloud draws from all groups, three classes from those with marked shadows. Where these are too
    few nothing is drawn, and the tables are all zero.

    Parameters
    ----------
    predictions : list of ndarray (scene, 2, truth, predicted), int64
        Tables of the scenes of a stratum, as `tables_of` stacks them.
    groups : ndarray (scene,), int32
    resampling : Resampling

    Returns
    -------
    list of ndarray (resample, 2, truth, predicted), float64
        Whole numbers. With fewer groups than `least_groups` there is one resample, all zero.
    """
    # Two predictions, 7 scenes in 6 groups, of which 5 have marked shadows, 10,000 resamples, 3 classes:
    #   predictions            2 x (7, 2, 3, 3)
    #   sums                   2 x (6, 2, 3, 3)        tables of a group are added up once
    #   problem 0              weights (10000, 6) . sums[:, 0] (6, 3, 3)        -> resampled[:, 0] (10000, 3, 3)
    #   problem 1              weights (10000, 5) . sums[has_pixels, 1] (5, 3, 3) -> resampled[:, 1] (10000, 3, 3)
    # A row of weights such as (0, 2, 1, 0, 1, 2) says how often each group was drawn. Both predictions use the same
    # weights: the difference of their scores is resampled, not each score by itself.
    if len(np.unique(groups)) < resampling.least_groups:
        return [np.zeros((1, *tables.shape[1:])) for tables in predictions]
    sums = [group_sums(tables, groups).astype(float) for tables in predictions]
    resampled = [np.zeros((resampling.resamples, *tables.shape[1:])) for tables in sums]
    for problem in (0, 1):
        has_pixels = np.logical_or.reduce([tables[:, problem].any(axis=(-2, -1)) for tables in sums])
        if has_pixels.sum() >= resampling.least_groups:
            weights = draw(int(has_pixels.sum()), resampling.resamples, resampling.seed)
            for drawn, tables in zip(resampled, sums, strict=True):
                # Whole numbers below 2 ** 53, so that the products are exact.
                drawn[:, problem] = np.tensordot(weights, tables[has_pixels, problem], 1)
    return resampled


def _interval(
    replicates: dict[str, np.ndarray], resampling: Resampling, row: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Compute the interval of each score in `row`: NaN where the score is, or too many of its replicates are.

    A class of one or two groups is absent from many resamples, and those that have it are a biased choice.
    """
    intervals = {}
    for name, value in row.items():
        ends = interval(replicates[name], resampling.confidence)
        defined = ~np.isnan(value) & (np.isnan(replicates[name]).mean(axis=0) <= _UNDEFINED)
        for end, bound in zip(("lower", "upper"), ends, strict=True):
            intervals[f"{name}_{end}"] = np.where(defined, bound, np.nan)
    return intervals


def _to_dataset(rows: list[dict[str, np.ndarray]], member: xr.DataArray) -> xr.Dataset:
    variables = {}
    for name in rows[0]:
        values = np.stack([row[name] for row in rows])
        dims = ("stratum", CLASS_DIM)[: values.ndim]
        variables[name] = xr.DataArray(values, dims=dims, attrs={"long_name": _long_name(name), "units": "1"})
    return xr.Dataset(variables, {"stratum": member["stratum"], "by": member["by"]})


def _long_name(name: str) -> str:
    for end in ("lower", "upper"):
        if name.endswith(f"_{end}"):
            return f"{end} end of the interval of {_LONG_NAMES[name.removesuffix(f'_{end}')]}"
    return _LONG_NAMES[name]
