"""Scores from confusion tables. All are ratios of pixel counts; a score without pixels is NaN, never 0.

With true positives TP, false positives FP, false negatives FN and true negatives TN of one class against the others:

=================  ============================  ===========================================
precision          TP / (TP + FP)                user's accuracy
recall             TP / (TP + FN)                producer's accuracy
f1                 2 TP / (2 TP + FP + FN)       harmonic mean of the two; Dice; symmetrical
iou                TP / (TP + FP + FN)           intersection over union; Jaccard; symmetrical
balanced_accuracy  (recall + TN / (TN + FP)) / 2  mean of recall and specificity, where both are defined
=================  ============================  ===========================================

accuracy is the share of pixels with the same class in both; kappa is Cohen's (1960), (accuracy - chance) / (1 - chance)
with chance from the margins of the table.
"""

from typing import Literal

import numpy as np

from s2cmc.schema import BINARY_NAMES, CLASS_NAMES, MaskClass

CLASS_SCORES = ("precision", "recall", "f1", "iou", "balanced_accuracy")
"""Scores that each class has."""

OVERALL_SCORES = ("accuracy", "kappa")
"""Scores of a whole table."""

Absent = Literal["truth", "both"]
"""Side that must have a pixel of a class for it to have scores: the truth, or either of both.

Scores that are shares of the truth's pixels (recall, balanced accuracy) are undefined without them in either case."""


def one_against_rest(tables: np.ndarray) -> dict[str, np.ndarray]:
    """Count ``tp``, ``fp``, ``fn``, ``tn`` (..., class) in tables (..., truth, predicted)."""
    tp = np.diagonal(tables, axis1=-2, axis2=-1)
    fp = tables.sum(axis=-2) - tp
    fn = tables.sum(axis=-1) - tp
    return {"tp": tp, "fp": fp, "fn": fn, "tn": tables.sum(axis=(-2, -1))[..., np.newaxis] - tp - fp - fn}


def class_scores(counts: dict[str, np.ndarray], absent: Absent = "truth") -> dict[str, np.ndarray]:
    """Compute `CLASS_SCORES` from counts of one class against the rest, of any shape; NaN where the class is absent."""
    tp, fp, fn, tn = (counts[name] for name in ("tp", "fp", "fn", "tn"))
    present = tp + fn > 0 if absent == "truth" else tp + fn + fp > 0
    recall = ratio(tp, tp + fn)
    scores = {
        "precision": ratio(tp, tp + fp),
        "recall": recall,
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "iou": ratio(tp, tp + fp + fn),
        "balanced_accuracy": (recall + ratio(tn, tn + fp)) / 2,
    }
    return {name: np.where(present, value, np.nan) for name, value in scores.items()}


def overall_scores(tables: np.ndarray) -> dict[str, np.ndarray]:
    """Compute `OVERALL_SCORES` (...) of tables (..., truth, predicted); kappa is NaN where chance agreement is 1."""
    total = tables.sum(axis=(-2, -1)).astype(float)
    accuracy = ratio(np.trace(tables, axis1=-2, axis2=-1), total)
    by_chance = (tables.sum(axis=-1).astype(float) * tables.sum(axis=-2)).sum(axis=-1)
    chance = ratio(by_chance, total**2)
    return {"accuracy": accuracy, "kappa": ratio(accuracy - chance, 1 - chance)}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide `part` by `whole`; NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) != 0)


def to_binary(tables: np.ndarray) -> np.ndarray:
    """Merge tables of three classes to tables (..., 2, 2) of non-cloud and cloud; keep those of two."""
    if tables.shape[-1] == len(BINARY_NAMES):
        return tables
    cloud = np.arange(len(CLASS_NAMES)) == MaskClass.CLOUD
    rest = ~cloud
    rows = [
        [tables[..., truth, :][..., predicted].sum(axis=(-2, -1)) for predicted in (rest, cloud)]
        for truth in (rest, cloud)
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
