"""Additive integer counts of truth against prediction, by scene. Counts come first; every score follows from them."""

from typing import Any

import numpy as np
import xarray as xr

from s2cmc.classmap import IGNORED, UNKNOWN, ClassMap, advice, value_problems
from s2cmc.errors import PredictionError
from s2cmc.schema import BINARY_NAMES, CLASS_NAMES, MaskClass

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
) -> xr.Dataset:
    """Count the pixels of each pair of truth and prediction, lazily.

    Coordinates besides ``scene`` cost time and are best given to the result.

    Parameters
    ----------
    truth : DataArray (scene, y, x), uint8
        0 clear, 1 cloud, 2 cloud_shadow, 255 no label.
    prediction : DataArray (scene, y, x)
        The same scenes in the same order, as `prediction.fit` gives them: whole numbers or booleans are labels, floats
        with `threshold` probabilities of cloud, 0 to 1, NaN for none.
    class_map : ClassMap
        What the labels mean; of probabilities, one without shadow.
    boundary_buffer : int
        Leave out the pixels on each side of a boundary between classes of the truth, so many deep: those in whose
        square of ``2 * boundary_buffer + 1`` pixels there is another class.
    threshold : float, optional
        Probabilities from here on are cloud.
    merge_shadow : bool
        Count shadow as clear, in both; always so where the class map has no shadow.

    Returns
    -------
    Dataset
        confusion : (scene, truth, predicted), int64
            Pixels, by classes ``clear``, ``cloud``, ``cloud_shadow``, or by ``non_cloud``, ``cloud``.
        ignored : (scene, reason), int64
            Pixels in no table, each once, by the first of `IGNORED_REASONS` that holds.
        cloud_probability : (scene, cloud, probability), int64
            With `threshold` only: histogram of the probability in pixels of the table, by whether there is cloud.

        Tables of parts of the pixels or scenes add up to those of the whole.

    Raises
    ------
    PredictionError
        When it is computed: if a label is not in the class map, or a probability not in 0..1.
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
    width = cells + len(IGNORED_REASONS) + (2 * BINS if threshold is not None else 0)
    flat = xr.apply_ufunc(
        _count,
        truth,
        prediction,
        truth["scene"],
        kwargs=options | {"width": width},
        input_core_dims=[["y", "x"], ["y", "x"], []],
        output_core_dims=[["cell"]],
        dask="parallelized",
        output_dtypes=[np.int64],
        dask_gufunc_kwargs={"output_sizes": {"cell": width}, "allow_rechunk": True},
        keep_attrs=False,
    )
    found = {
        "confusion": _unfold(flat.isel(cell=slice(cells)), truth=list(names), predicted=list(names)),
        "ignored": _unfold(flat.isel(cell=slice(cells, cells + 3)), reason=list(IGNORED_REASONS)),
    }
    found["confusion"].attrs = {"long_name": "pixels by truth and prediction", "units": "1"}
    found["ignored"].attrs = {"long_name": "pixels in no confusion table", "units": "1"}
    if threshold is not None:
        edges = np.arange(BINS) / BINS
        histogram = _unfold(flat.isel(cell=slice(cells + 3, None)), cloud=[False, True], probability=edges)
        found["cloud_probability"] = histogram.assign_attrs(
            long_name="pixels by predicted probability of cloud, lower end of each bin", units="1"
        )
    return xr.Dataset(found)


def _unfold(flat: xr.DataArray, **dims: Any) -> xr.DataArray:
    """Give cells in C order the dims they stand for."""
    shape = [len(values) for values in dims.values()]
    scenes = flat.sizes["scene"]
    data = flat.transpose("scene", "cell").data.reshape((scenes, *shape))
    coordinates = {name: c for name, c in flat.coords.items() if "cell" not in c.dims}
    return xr.DataArray(data, dims=("scene", *dims), coords=coordinates | dims)


def _count(
    truth: np.ndarray,
    prediction: np.ndarray,
    scenes: np.ndarray,
    *,
    class_map: ClassMap,
    boundary_buffer: int,
    threshold: float | None,
    merged: bool,
    width: int,
) -> np.ndarray:
    """Cells (scene, cell): the confusion table, the ignored, the histogram of probabilities."""
    found = np.zeros((len(scenes), width), np.int64)
    to_truth = _truth_table(merged)
    for i, scene in enumerate(scenes):
        true = to_truth[truth[i]]
        predicted = _classes(prediction[i], class_map, threshold, str(scene))
        if merged:
            predicted = np.where(predicted == MaskClass.CLOUD_SHADOW, np.uint8(MaskClass.CLEAR), predicted)
        ignored = np.where(true == IGNORED, 1, np.where(predicted == IGNORED, 2, 0)).astype(np.uint8)
        if boundary_buffer:
            ignored[(ignored == 0) & near_boundary(true, boundary_buffer)] = 3
        found[i] = _cells(true, predicted, ignored, prediction[i] if threshold is not None else None, merged)
    return found


def _truth_table(merged: bool) -> np.ndarray:
    """Class number of each value of a mask (256,)."""
    numbers = np.full(256, IGNORED, np.uint8)
    numbers[: len(MaskClass)] = list(MaskClass)
    if merged:
        numbers[MaskClass.CLOUD_SHADOW] = MaskClass.CLEAR
    return numbers


def _cells(
    true: np.ndarray, predicted: np.ndarray, ignored: np.ndarray, probability: np.ndarray | None, merged: bool
) -> np.ndarray:
    classes = len(BINARY_NAMES if merged else CLASS_NAMES)
    used = ignored == 0
    pairs = (true * np.uint8(classes) + predicted)[used]
    parts = [
        np.bincount(pairs, minlength=classes**2),
        np.bincount(ignored.ravel(), minlength=1 + len(IGNORED_REASONS))[1:],
    ]
    if probability is not None:
        # The edges in the dtype of the probabilities, as a comparison with a threshold has it.
        edges = (np.arange(1, BINS) / BINS).astype(probability.dtype)
        bins = np.searchsorted(edges, probability[used], side="right")
        parts.append(np.bincount((true[used] == MaskClass.CLOUD) * BINS + bins, minlength=2 * BINS))
    return np.concatenate(parts)


def _classes(prediction: np.ndarray, class_map: ClassMap, threshold: float | None, scene: str) -> np.ndarray:
    """Class number of each pixel, uint8."""
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
    """Where two classes stand within `reach` pixels, diagonals and the pixel itself included; `IGNORED` is none."""
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
