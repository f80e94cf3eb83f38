"""Evaluation, comparison and precision-recall curves of predictions by stratum; agreement of the annotators."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError, PredictionError, QueryError
from s2cmc.evaluation.class_maps import find_class_map
from s2cmc.evaluation.confusion import IGNORED_REASONS, confusion
from s2cmc.evaluation.intervals import Resampling, counts_of, score_differences, score_strata, tables_of
from s2cmc.evaluation.predictions import fit, open_predictions, plain
from s2cmc.evaluation.scores import ratio
from s2cmc.query import Annotator, By, annotated, masks, other_masks, strata, with_scene_names
from s2cmc.schema import BINARY_NAMES, CLASS_DIM
from s2cmc.storage import locate

Prediction = xr.DataArray | str | os.PathLike[str]
"""Labels or probabilities (scene, y, x), or the path of files of them."""

_DEFAULTS: dict[str, Any] = {
    "class_map": None,
    "threshold": None,
    "boundary_buffer": 0,
    "merge_shadow": False,
    "truth": "primary",
}


def count_prediction(
    catalogue: xr.Dataset,
    prediction: Prediction,
    *,
    class_map: str | Mapping[int, int | None] | None,
    threshold: float | None,
    boundary_buffer: int,
    merge_shadow: bool,
    truth: Annotator,
) -> xr.Dataset:
    """Count the confusion tables of a prediction, lazily; see `CloudsAccessor.confusion`."""
    part = catalogue.isel(scene=np.flatnonzero(annotated(catalogue, truth)))
    binary = threshold is not None or (isinstance(prediction, xr.DataArray) and prediction.dtype.kind == "b")
    chosen = find_class_map(("binary" if binary else "catalogue") if class_map is None else class_map)
    if threshold is not None and class_map is not None:
        raise QueryError("a threshold makes cloud and non-cloud of probabilities; leave out the class map")
    if threshold is not None:
        if not isinstance(threshold, Real):
            raise QueryError(f"threshold {threshold!r} is no number above 0 and up to 1")
        threshold = float(threshold)
    if not isinstance(prediction, xr.DataArray | str | os.PathLike):
        raise PredictionError(
            "a prediction is a DataArray (scene, y, x) or the path of files; wrap an array with "
            f"xr.DataArray(array, dims=('scene', 'y', 'x'), coords={{'scene': ids}}); got {type(prediction).__name__}"
        )
    if not isinstance(prediction, xr.DataArray):
        prediction = open_predictions(locate(prediction), part, chosen, threshold)
        if class_map is None and prediction.dtype.kind == "b":
            chosen = find_class_map("binary")
    fitted = fit(part, prediction, chosen, threshold)
    counts = confusion(
        plain(masks(part, truth)),
        fitted,
        chosen,
        boundary_buffer=_pixels(boundary_buffer),
        threshold=threshold,
        merge_shadow=merge_shadow,
        human=other_masks(part, truth) if "alt_mask" in part else None,
    )
    options: dict[str, Any] = {
        "truth": truth,
        "class_map": chosen.name,
        "boundary_buffer": _pixels(boundary_buffer),
        "merge_shadow": int(merge_shadow or not chosen.has_shadow),  # netCDF has no booleans
    }
    counts = counts.assign_coords({name: c for name, c in part.coords.items() if c.dims == ("scene",)})
    if threshold is not None:
        options["threshold"] = threshold
    if catalogue.attrs.get("synthetic"):
        options["synthetic"] = "true"  # nothing was measured; every result carries the mark
    return counts.assign_attrs(options)


def prediction_counts(
    catalogue: xr.Dataset, prediction: Prediction | xr.Dataset, options: Mapping[str, Any]
) -> xr.Dataset:
    """Count a prediction with these options of `count_prediction`, or return counts that were made before.

    Raises
    ------
    QueryError
        If counts that were made before have other options.
    """
    chosen = _DEFAULTS | dict(options)
    if not isinstance(prediction, xr.Dataset):
        return count_prediction(catalogue, prediction, **chosen)
    for name, value in chosen.items():
        if value != _DEFAULTS[name] and value != prediction.attrs.get(name):
            raise QueryError(f"{name}={value!r} comes too late: these counts are made; give it to ds.clouds.confusion")
    return prediction


def evaluate(catalogue: xr.Dataset, counts: xr.Dataset, by: By, resampling: Resampling) -> xr.Dataset:
    """Score a prediction by stratum; see `CloudsAccessor.evaluate`."""
    part, counts = match_counts(catalogue, counts)
    member = strata(part, with_scene_names(catalogue, by))
    (counts,) = compute_together(counts)
    tables = tables_of(counts["confusion"], part["shadows_marked"].to_numpy())
    result = _counted(member, tables, counts, part)
    result = result.assign(score_strata(member, tables, part["group"].to_numpy(), resampling, "truth").data_vars)
    result = result.assign(_beside_human(member, tables, counts, part).data_vars)
    result.attrs = {"title": "scores of a prediction by stratum", **counts.attrs, **asdict(resampling)}
    return result.assign_coords({CLASS_DIM: counts["truth"].to_numpy()})


def compare(catalogue: xr.Dataset, first: xr.Dataset, second: xr.Dataset, by: By, resampling: Resampling) -> xr.Dataset:
    """Subtract the scores of two predictions by stratum; see `CloudsAccessor.compare`."""
    part, first = match_counts(catalogue, first)
    _, second = match_counts(catalogue, second)
    for name in ("truth", "boundary_buffer"):
        if first.attrs[name] != second.attrs[name]:
            raise PredictionError(
                f"the two predictions were not counted alike: {name} is {first.attrs[name]} and {second.attrs[name]}"
            )
    if not np.array_equal(first["truth"], second["truth"]):
        raise PredictionError(
            f"the two predictions were not counted alike: the classes are {first['truth'].values.tolist()} and "
            f"{second['truth'].values.tolist()}; count both with merge_shadow=True"
        )
    member = strata(part, with_scene_names(catalogue, by))
    first, second = compute_together(first, second)
    marked = part["shadows_marked"].to_numpy()
    first_tables, second_tables = (tables_of(counts["confusion"], marked) for counts in (first, second))
    result = _sizes(member, part, first["truth"].to_numpy())
    differences = score_differences(member, first_tables, second_tables, part["group"].to_numpy(), resampling)
    result = result.assign(differences.data_vars)
    for place, counts in (("first", first), ("second", second)):
        ignored = _by_stratum(member, counts["ignored"].sel(reason="prediction").to_numpy())
        long_name = f"pixels left out, without a class in the {place} prediction"
        result[f"ignored_prediction_{place}"] = ignored.assign_attrs(long_name=long_name, units="1")
    title = "scores of the first prediction minus those of the second, by stratum"
    alike = {name: first.attrs[name] for name in ("truth", "boundary_buffer", "merge_shadow")}
    result.attrs = {"title": title, **alike, **asdict(resampling)}
    return result.assign_coords({CLASS_DIM: first["truth"].to_numpy()})


def agreement(
    catalogue: xr.Dataset, by: By, boundary_buffer: int, merge_shadow: bool, resampling: Resampling
) -> xr.Dataset:
    """Score annotator B against annotator A; see `CloudsAccessor.agreement`."""
    part = catalogue.isel(scene=np.flatnonzero(catalogue["has_alt_mask"].to_numpy()))
    if not part.sizes["scene"]:
        raise CatalogueError("no scene here has masks of both annotators; select some where has_alt_mask is true")
    member = strata(part, with_scene_names(catalogue, by))
    (counts,) = compute_together(
        confusion(
            plain(masks(part, "A")),
            plain(masks(part, "B")),
            find_class_map("catalogue"),
            boundary_buffer=_pixels(boundary_buffer),
            merge_shadow=merge_shadow,
        )
    )
    tables = tables_of(counts["confusion"], part["shadows_marked"].to_numpy())
    result = _counted(member, tables, counts, part)
    result = result.assign(score_strata(member, tables, part["group"].to_numpy(), resampling, "both").data_vars)
    alike = np.trace(tables[:, 0], axis1=-2, axis2=-1)
    result["pixel_agreement"] = _by_stratum(member, alike) / _by_stratum(member, tables[:, 0].sum((-2, -1)))
    result["pixel_agreement"].attrs = {
        "long_name": "share of the pixels of all scenes that both gave the same class, shadows marked or not",
        "units": "1",
    }
    options = {"boundary_buffer": _pixels(boundary_buffer), "merge_shadow": int(merge_shadow)}
    result.attrs = {"title": "annotator B against annotator A by stratum", **options, **asdict(resampling)}
    return result.assign_coords({CLASS_DIM: counts["truth"].to_numpy()})


def match_counts(catalogue: xr.Dataset, counts: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Select the scenes of the catalogue that have the truth of the counts, and their counts.

    Raises
    ------
    PredictionError
        If the counts are not those of a prediction, or one of the scenes is not among them.
    """
    if not {"confusion", "ignored"} <= set(counts.data_vars):
        raise PredictionError(
            f"counts are what ds.clouds.confusion(prediction) gives; this Dataset has {list(counts.data_vars)}"
        )
    needed = set(_DEFAULTS) - {"threshold"} | ({"threshold"} if "cloud_probability" in counts else set())
    if absent := sorted(needed - set(counts.attrs)):
        raise PredictionError(
            f"these counts do not say {', '.join(absent)}: parts that were counted with other options were added, or "
            "their attributes were lost; count all parts alike, and add them under xr.set_options(keep_attrs=True)"
        )
    if counts["confusion"].dtype.kind not in "iu" or not counts.indexes["scene"].is_unique:
        raise PredictionError(
            "these counts hold a scene twice, or parts with different classes; count all parts alike, each scene once"
        )
    part = catalogue.isel(scene=np.flatnonzero(annotated(catalogue, counts.attrs["truth"])))
    scenes = part["scene"].to_numpy()
    missing = [f"scene {scene} is missing" for scene in scenes if scene not in counts.indexes["scene"]]
    if missing:
        raise PredictionError("these counts do not hold every scene to evaluate on", missing)
    return part, counts.sel(scene=scenes)


def compute_together(*datasets: xr.Dataset | None) -> Any:
    """Compute lazy Datasets together, so that pixels that several need are read once."""
    from dask.base import compute

    return compute(*datasets)


def _pixels(boundary_buffer: int) -> int:
    whole = hasattr(boundary_buffer, "__index__") and not isinstance(boundary_buffer, bool)
    if not whole or boundary_buffer < 0:
        raise QueryError(f"boundary_buffer {boundary_buffer!r} is no number of pixels from 0 on")
    return int(boundary_buffer)


def _counted(member: xr.DataArray, tables: np.ndarray, counts: xr.Dataset, part: xr.Dataset) -> xr.Dataset:
    """Count scenes, groups, pixels by class, and pixels that were left out, in each stratum."""
    names = {"tp": "true positives", "fp": "false positives", "fn": "false negatives", "tn": "true negatives"}
    result = _sizes(member, part, counts["truth"].to_numpy())
    pooled = np.einsum("ns,sktp->nktp", member.to_numpy().astype(np.int64), tables)
    for name, values in counts_of(pooled).items():
        result[name] = (("stratum", CLASS_DIM), values, {"long_name": names[name], "units": "1"})
    for reason in IGNORED_REASONS:
        ignored = _by_stratum(member, counts["ignored"].sel(reason=reason).to_numpy())
        result[f"ignored_{reason}"] = ignored.assign_attrs(long_name=f"pixels left out, by {reason}", units="1")
    if tables.shape[-1] != len(BINARY_NAMES):
        unmarked = tables[:, 0].sum((-2, -1)) - tables[:, 1].sum((-2, -1))
        long_name = "pixels left out of three classes, where shadows are not marked"
        result["ignored_shadow"] = _by_stratum(member, unmarked).assign_attrs(long_name=long_name, units="1")
    return result


def _sizes(member: xr.DataArray, part: xr.Dataset, classes: np.ndarray) -> xr.Dataset:
    """Count the scenes and independent groups that each class is scored on."""
    used = _scored_on(member, part["shadows_marked"].to_numpy(), classes)
    groups = part["group"].to_numpy()
    independent = [[len(np.unique(groups[scenes])) for scenes in row] for row in used]
    dims = ("stratum", CLASS_DIM)
    return xr.Dataset(
        {
            "scenes": (dims, used.sum(axis=-1), {"long_name": "scenes that the class is scored on", "units": "1"}),
            "groups": (dims, independent, {"long_name": "independent groups of these scenes", "units": "1"}),
        },
        {"stratum": member["stratum"], "by": member["by"]},
    )


def _scored_on(member: xr.DataArray, shadows_marked: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Find the scenes (stratum, class, scene), bool, that each class is scored on."""
    everywhere = member.to_numpy()
    return np.stack([everywhere if name in BINARY_NAMES else everywhere & shadows_marked for name in classes], axis=1)


def _beside_human(member: xr.DataArray, tables: np.ndarray, counts: xr.Dataset, part: xr.Dataset) -> xr.Dataset:
    """Score the other annotator, and the prediction, on the doubly annotated scenes of each stratum."""
    doubly = part["has_alt_mask"].to_numpy() & ("human" in counts)
    both, marked = member.isel(scene=doubly), part["shadows_marked"].to_numpy()
    by_human = tables_of(counts["human"], marked) if "human" in counts else tables
    used = _scored_on(both, marked[doubly], counts["truth"].to_numpy())
    attributes = {"long_name": "doubly annotated scenes that the class is scored on", "units": "1"}
    variables = {"doubly_annotated": xr.DataArray(used.sum(axis=-1), dims=("stratum", CLASS_DIM), attrs=attributes)}
    for prefix, whose, scored in (
        ("human", "of the other annotator", by_human[doubly]),
        ("doubly", "of the prediction on the doubly annotated scenes", tables[doubly]),
    ):
        scores = score_strata(both, scored, part["group"].to_numpy()[doubly], None, "truth")
        for name, values in scores.data_vars.items():
            long_name = f"{values.attrs['long_name']}, {whose}"
            variables[f"{prefix}_{name}"] = values.assign_attrs(long_name=long_name)
    return xr.Dataset(variables)


def _by_stratum(member: xr.DataArray, values: np.ndarray) -> xr.DataArray:
    """Sum whole numbers (scene,) over the scenes of each stratum."""
    return xr.DataArray(member.to_numpy().astype(np.int64) @ values, dims="stratum")


# Precision and recall of cloud at every threshold, from histograms of probability.


def precision_recall(catalogue: xr.Dataset, counts: xr.Dataset, by: By) -> xr.Dataset:
    """Compute precision and recall of cloud at every threshold; see `CloudsAccessor.precision_recall`."""
    if "cloud_probability" not in counts:
        raise PredictionError("a precision-recall curve needs probabilities; these counts are of labels")
    part, counts = match_counts(catalogue, counts)
    member = strata(part, with_scene_names(catalogue, by))
    (counts,) = compute_together(counts)
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
