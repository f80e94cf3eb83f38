"""Predictions as arrays: made to fit the scenes of a catalogue, or refused with one error that says all."""

import numpy as np
import xarray as xr

from s2cmc.classmap import ClassMap, advice, value_problems
from s2cmc.errors import PredictionError
from s2cmc.schema import DIMS

MISSING_ADVICE = "to evaluate on fewer scenes, select these first, e.g. ds.sel(scene=[...])"


def fit(
    catalogue: xr.Dataset,
    prediction: xr.DataArray,
    class_map: ClassMap,
    threshold: float | None,
    *,
    look_through: bool = False,
) -> xr.DataArray:
    """Put a prediction into the order of the catalogue's scenes.

    Parameters
    ----------
    catalogue : Dataset
    prediction : DataArray (scene, y, x), in any order
        With product IDs as coordinate ``scene``. Scenes that the catalogue does not have are left out.
    class_map : ClassMap
    threshold : float or None
        Given for probabilities, None for labels.
    look_through : bool
        Check the values of a lazy prediction too, which computes it; one in memory always is checked.

    Returns
    -------
    DataArray (scene, y, x)
        With ``scene`` as its only coordinate.

    Raises
    ------
    PredictionError
        If dims, scenes, shape or dtype do not fit, or values that were looked at mean nothing.
    """
    expected = {name: catalogue.sizes[name] for name in DIMS["mask"]}
    if set(prediction.dims) != set(expected):
        raise PredictionError(
            f"the prediction has dims {prediction.dims}; expected {tuple(expected)} in any order, one label or "
            "probability for each pixel"
        )
    if "scene" not in prediction.coords:
        raise PredictionError(
            "the prediction does not say which scenes it is of; name them with prediction.assign_coords(scene=ids)"
        )
    names = [str(scene) for scene in prediction["scene"].to_numpy()]  # stores give them in several dtypes
    prediction = prediction.transpose(*expected).assign_coords(scene=names)
    problems = [*_shape_problems(catalogue, prediction), *dtype_problems(prediction.dtype, threshold)]
    problems += _scene_problems(catalogue["scene"].to_numpy(), prediction["scene"].to_numpy())
    if problems:
        hint = f"; {MISSING_ADVICE}" if any(problem.endswith("is missing") for problem in problems) else ""
        raise PredictionError(f"the prediction does not fit the catalogue{hint}", problems)
    scenes = catalogue["scene"].to_numpy()
    if not np.array_equal(prediction["scene"].to_numpy(), scenes):
        prediction = prediction.sel(scene=scenes)
    fitted = plain(prediction)
    if look_through or fitted.chunks is None:
        _check_values(fitted, class_map, threshold)
    return fitted


def plain(pixels: xr.DataArray) -> xr.DataArray:
    """Pixels (scene, y, x), whatever order their dims had, with ``scene`` as their only coordinate."""
    dims = DIMS["mask"]
    return xr.DataArray(pixels.transpose(*dims).data, dims=dims, coords={"scene": pixels["scene"].to_numpy()})


def _scene_problems(wanted: np.ndarray, given: np.ndarray) -> list[str]:
    names, counts = np.unique(given, return_counts=True)
    times = dict(zip(names.tolist(), counts.tolist(), strict=True))
    problems = [f"scene {name} is there {times[name]} times" for name in wanted.tolist() if times.get(name, 0) > 1]
    return problems + [f"scene {name} is missing" for name in wanted.tolist() if name not in times]


def _shape_problems(catalogue: xr.Dataset, prediction: xr.DataArray) -> list[str]:
    problems = []
    for name in ("y", "x"):
        if prediction.sizes[name] != catalogue.sizes[name]:
            problems.append(f"{name} has {prediction.sizes[name]} pixels; the catalogue has {catalogue.sizes[name]}")
        elif name in prediction.coords and name in catalogue.coords:
            here, there = prediction[name].to_numpy(), catalogue[name].to_numpy()
            if not np.array_equal(here, there):
                problems.append(
                    f"coordinate {name} runs from {here[0]} to {here[-1]}, that of the catalogue from {there[0]} to "
                    f"{there[-1]}; align the two, or drop it with prediction.drop_vars({name!r})"
                )
    return problems


def dtype_problems(dtype: np.dtype, threshold: float | None) -> list[str]:
    """Why values of this dtype are neither labels nor, with `threshold`, probabilities; empty if they are."""
    if threshold is not None and not 0 < threshold <= 1:
        return [f"threshold {threshold} is not above 0 and up to 1"]
    if threshold is not None and dtype.kind != "f":
        return [f"a threshold is for probabilities, and {dtype} values are labels; leave out the threshold"]
    if threshold is None and dtype.kind == "f":
        return [
            f"{dtype} values are probabilities and need a threshold, e.g. 0.5; labels must be whole numbers (uint8)"
        ]
    if dtype.kind not in "biuf":
        return [f"{dtype} values are neither labels nor probabilities"]
    return []


def _check_values(prediction: xr.DataArray, class_map: ClassMap, threshold: float | None) -> None:
    """Look through all values, so that all problems are told at once."""
    found: list[str] = []
    start = 0
    for length in prediction.chunksizes.get("scene", (prediction.sizes["scene"],)):
        block = prediction.isel(scene=slice(start, start + length)).load()
        for scene, values in zip(block["scene"].to_numpy(), block.to_numpy(), strict=True):
            found += [f"{scene} has {problem}" for problem in value_problems(values, class_map, threshold)]
        start += length
    if found:
        raise PredictionError(f"the prediction holds values that mean nothing; {advice(class_map, threshold)}", found)
