"""Additive integer counts of truth against prediction, by scene, from which every score is computed."""

from collections.abc import Hashable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from s2cmc.errors import PredictionError
from s2cmc.evaluation.class_maps import IGNORED, UNKNOWN, ClassMap, advice, value_problems
from s2cmc.schema import BINARY_NAMES, CLASS_NAMES, MaskClass
from s2cmc.store import map_scenes

IGNORED_REASONS = ("truth", "prediction", "boundary")
"""Why a pixel is in no confusion table: no label in the truth, else none in the prediction, else near a boundary."""

BINS = 1000
"""Bins of the histogram of probabilities; bin k holds k / 1000 <= probability < (k + 1) / 1000, the last one 1 too."""


def confusion(
    truth: xr.DataArray,
    prediction: xr.DataArray,
    class_map: ClassMap,
    *,
    boundary_buffer: int = 0,
    threshold: float | None = None,
    merge_shadow: bool = False,
    human: xr.DataArray | None = None,
) -> xr.Dataset:
    """Count the pixels of each pair of truth and prediction, lazily.

    Coordinates besides ``scene`` cost time and are best given to the result.

    Parameters
    ----------
    truth : DataArray (scene, y, x), uint8
        0 clear, 1 cloud, 2 cloud_shadow, 255 no label.
    prediction : DataArray (scene, y, x)
        The same scenes in the same order, as `predictions.fit` gives them: whole numbers or booleans are labels, floats
        with `threshold` probabilities of cloud, 0 to 1, NaN for none.
    class_map : ClassMap
        Meaning of the labels; for probabilities one without shadow.
    boundary_buffer : int
        Leave out pixels near a boundary between classes of the truth: those whose square of
        ``2 * boundary_buffer + 1`` pixels has another class, after `merge_shadow`.
    threshold : float, optional
        Probabilities from this value on are cloud.
    merge_shadow : bool
        Count shadow as clear, in both; always so where the class map has no shadow.
    human : DataArray (scene, y, x), uint8, optional
        Masks of another annotator, counted against the same truth in the same pixels.

    Returns
    -------
    Dataset
        confusion : (scene, truth, predicted), int64
            Pixels, by classes ``clear``, ``cloud``, ``cloud_shadow``, or by ``non_cloud``, ``cloud``.
        ignored : (scene, reason), int64
            Pixels in no table, each once, by the first of `IGNORED_REASONS` that holds.
        cloud_probability : (scene, cloud, probability), int64
            With `threshold` only: histogram of the probability in pixels of the table, by whether there is cloud.
        human : (scene, truth, predicted), int64
            With `human` only: its labels in place of the predicted ones, where it has a label.

        Tables of parts of the pixels or scenes add up to those of the whole; with a buffer, of parts of the scenes
        only, because no boundary is seen beyond an edge.

    Raises
    ------
    PredictionError
        When computed: if a label is not in the class map, or a probability not in 0..1.
    """
    merged = merge_shadow or not class_map.has_shadow
    names = BINARY_NAMES if merged else CLASS_NAMES
    options: dict[str, Any] = {
        "class_map": class_map,
        "boundary_buffer": boundary_buffer,
        "threshold": threshold,
        "merged": merged,
    }
    cells = len(names) ** 2
    after_ignored = cells + len(IGNORED_REASONS)
    after_human = after_ignored + (0 if human is None else cells)
    width = after_human + (0 if threshold is None else 2 * BINS)
    count = partial(_count, **options, count_human=human is not None, width=width)
    aligned = xr.align(truth, prediction, truth if human is None else human, join="exact", copy=False)
    arrays = [array.variable.transpose("scene", "y", "x") for array in aligned]
    flat = map_scenes(count, [*arrays, truth["scene"].variable], (width,), np.int64)
    coordinates = {name: c for array in aligned for name, c in array.coords.items() if not {"y", "x"} & set(c.dims)}
    unfold = partial(_unfold, flat, coordinates)
    tables = {
        "confusion": unfold(slice(cells), truth=list(names), predicted=list(names)),
        "ignored": unfold(slice(cells, after_ignored), reason=list(IGNORED_REASONS)),
    }
    tables["confusion"].attrs = {"long_name": "pixels by truth and prediction", "units": "1"}
    tables["ignored"].attrs = {"long_name": "pixels in no confusion table", "units": "1"}
    if human is not None:
        table = unfold(slice(after_ignored, after_human), truth=list(names), predicted=list(names))
        tables["human"] = table.assign_attrs(long_name="pixels by truth and another annotator", units="1")
    if threshold is not None:
        edges = np.arange(BINS) / BINS
        histogram = unfold(slice(after_human, width), cloud=[False, True], probability=edges)
        tables["cloud_probability"] = histogram.assign_attrs(
            long_name="pixels by predicted probability of cloud, lower end of each bin", units="1"
        )
    return xr.Dataset(tables)


def _unfold(flat: Any, coordinates: dict[Hashable, xr.DataArray], cells: slice, **dims: Any) -> xr.DataArray:
    """Reshape flat cells, in C order, to their dims."""
    shape = tuple(len(values) for values in dims.values())
    data = map_scenes(partial(_reshaped, cells, shape), [xr.Variable(("scene", "cell"), flat)], shape, np.int64)
    return xr.DataArray(data, dims=("scene", *dims), coords=coordinates | dims)


def _reshaped(cells: slice, shape: tuple[int, ...], flat: np.ndarray) -> np.ndarray:
    return flat[:, cells].reshape(len(flat), *shape)


def _count(
    truth: np.ndarray,
    prediction: np.ndarray,
    human: np.ndarray,
    scenes: np.ndarray,
    *,
    class_map: ClassMap,
    boundary_buffer: int,
    threshold: float | None,
    merged: bool,
    count_human: bool,
    width: int,
) -> np.ndarray:
    """Count cells (scene, cell): confusion table, ignored pixels, table of the human, histogram of probabilities."""
    cells = np.zeros((len(scenes), width), np.int64)
    to_truth = _truth_table(merged)
    for i, scene in enumerate(scenes):
        true = to_truth[truth[i]]
        predicted = _classes(prediction[i], class_map, threshold, str(scene))
        if merged:
            predicted = np.where(predicted == MaskClass.CLOUD_SHADOW, np.uint8(MaskClass.CLEAR), predicted)
        ignored = np.where(true == IGNORED, 1, np.where(predicted == IGNORED, 2, 0)).astype(np.uint8)
        if boundary_buffer:
            ignored[(ignored == 0) & near_boundary(true, boundary_buffer)] = 3
        used, classes = ignored == 0, len(BINARY_NAMES if merged else CLASS_NAMES)
        parts = [_pairs(true, predicted, used, classes), np.bincount(ignored.ravel(), minlength=4)[1:]]
        if count_human:
            by_human = to_truth[human[i]]
            parts.append(_pairs(true, by_human, used & (by_human != IGNORED), classes))
        if threshold is not None:
            parts.append(_probabilities(true[used] == MaskClass.CLOUD, prediction[i][used]))
        cells[i] = np.concatenate(parts)
    return cells


def _truth_table(merged: bool) -> np.ndarray:
    """Return the class number of each value of a mask (256,)."""
    numbers = np.full(256, IGNORED, np.uint8)
    numbers[: len(MaskClass)] = list(MaskClass)
    if merged:
        numbers[MaskClass.CLOUD_SHADOW] = MaskClass.CLEAR
    return numbers


def _pairs(true: np.ndarray, predicted: np.ndarray, used: np.ndarray, classes: int) -> np.ndarray:
    """Count the used pixels of each pair of classes."""
    return np.bincount((true * np.uint8(classes) + predicted)[used], minlength=classes**2)


def _probabilities(cloud: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Count pixels in each bin of the probability, first those without cloud, then those with."""
    # Edges in the dtype of the probabilities: a comparison with a threshold uses that dtype too.
    edges = (np.arange(1, BINS) / BINS).astype(probability.dtype)
    bins = np.searchsorted(edges, probability, side="right")
    return np.bincount(cloud * BINS + bins, minlength=2 * BINS)


def _classes(prediction: np.ndarray, class_map: ClassMap, threshold: float | None, scene: str) -> np.ndarray:
    """Return the class number of each pixel, uint8."""
    if threshold is None:
        labels = prediction
        if labels.dtype != np.uint8:
            within = (labels >= 0) & (labels <= 255)
            labels = np.where(within, labels, 0).astype(np.uint8)
            classes = np.where(within, class_map.table()[labels], np.uint8(UNKNOWN))
        else:
            classes = class_map.table()[labels]
        valid = not (classes == UNKNOWN).any()
    else:
        unknown = np.isnan(prediction)
        classes = np.where(unknown, np.uint8(IGNORED), prediction >= threshold)
        valid = bool((unknown | ((prediction >= 0) & (prediction <= 1))).all())
    if not valid:
        problem = value_problems(prediction, class_map, threshold)[0]
        raise PredictionError(f"the prediction for {scene} has {problem}; {advice(class_map, threshold)}")
    return classes


def near_boundary(classes: np.ndarray, reach: int) -> np.ndarray:
    """Find pixels with two classes within `reach` pixels, diagonals and the pixel included; `IGNORED` is no class."""
    highest = np.where(classes == IGNORED, np.uint8(0), classes)
    lowest = np.where(classes == IGNORED, np.uint8(255), classes)
    for axis in (0, 1):
        highest, lowest = _spread(highest, reach, axis, np.maximum), _spread(lowest, reach, axis, np.minimum)
    return highest > lowest


def _spread(values: np.ndarray, reach: int, axis: int, extreme: np.ufunc) -> np.ndarray:
    """Maximum or minimum over `reach` pixels on both sides along one axis."""
    spread = values.copy()
    along = np.moveaxis(values, axis, 0)
    target = np.moveaxis(spread, axis, 0)
    for step in range(1, min(reach, len(along) - 1) + 1):
        extreme(target[step:], along[:-step], out=target[step:])
        extreme(target[:-step], along[step:], out=target[:-step])
    return spread
