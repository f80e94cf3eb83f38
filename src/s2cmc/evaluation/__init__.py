"""TODO."""

from s2cmc.evaluation.intervals import Resampling
from s2cmc.evaluation.results import (
    Prediction,
    agreement,
    compare,
    computed,
    count,
    counts_of_prediction,
    evaluate,
    matched,
    precision_recall,
)
from s2cmc.evaluation.scores import overall_scores, to_binary

__all__ = [
    "Prediction",
    "Resampling",
    "agreement",
    "compare",
    "computed",
    "count",
    "counts_of_prediction",
    "evaluate",
    "matched",
    "overall_scores",
    "precision_recall",
    "to_binary",
]
