"""Predictions against the masks: counts, scores, intervals, comparisons."""

from s2cmc.evaluation.intervals import Resampling
from s2cmc.evaluation.results import (
    Prediction,
    agreement,
    compare,
    compute_together,
    count_prediction,
    evaluate,
    match_counts,
    precision_recall,
    prediction_counts,
)
from s2cmc.evaluation.scores import overall_scores, to_binary

__all__ = [
    "Prediction",
    "Resampling",
    "agreement",
    "compare",
    "compute_together",
    "count_prediction",
    "evaluate",
    "match_counts",
    "overall_scores",
    "precision_recall",
    "prediction_counts",
    "to_binary",
]
