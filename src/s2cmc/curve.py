"""Precision and recall of cloud at every threshold, from histograms of probability."""

import numpy as np
import xarray as xr

from s2cmc.errors import PredictionError
from s2cmc.evaluate import computed, matched
from s2cmc.score import ratio
from s2cmc.strata import By, labelled, strata


def precision_recall(catalogue: xr.Dataset, counts: xr.Dataset, by: By) -> xr.Dataset:
    """Precision and recall of cloud at every threshold; see `CloudsAccessor.precision_recall`."""
    if "cloud_probability" not in counts:
        raise PredictionError("a precision-recall curve needs probabilities; these counts are of labels")
    part, counts = matched(catalogue, counts)
    member = strata(part, labelled(catalogue, by))
    (counts,) = computed(counts)
    histogram = counts["cloud_probability"].transpose("scene", "cloud", "probability").to_numpy()
    pooled = np.einsum("ns,scp->cnp", member.to_numpy().astype(np.int64), histogram)
    # Pixels at or above each threshold, without and with cloud.
    fp, tp = pooled[..., ::-1].cumsum(axis=-1)[..., ::-1]
    positives = np.broadcast_to(tp[:, :1], tp.shape)
    precision, recall = ratio(tp, tp + fp), ratio(tp, positives)
    f1 = ratio(2 * tp, tp + fp + positives)
    average = (-np.diff(recall, append=0) * np.nan_to_num(precision)).sum(axis=-1)
    dims = ("stratum", "threshold")
    return xr.Dataset(
        {
            "precision": (dims, np.where(positives > 0, precision, np.nan), {"units": "1"}),
            "recall": (dims, recall, {"units": "1"}),
            "f1": (dims, np.where(positives > 0, f1, np.nan), {"units": "1"}),
            "average_precision": (
                "stratum",
                average,
                {"long_name": "precision averaged over recall, summed over the thresholds", "units": "1"},
            ),
        },
        {"stratum": member["stratum"], "by": member["by"], "threshold": counts["probability"].to_numpy()},
        {"title": "precision and recall of cloud at every threshold, by stratum"},
    )
