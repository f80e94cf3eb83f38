"""Count and reduce masks, lazily. Counts are integers; fractions come last."""

import numpy as np
import xarray as xr

from s2cmc.schema import CLASS_DIM, CLASS_NAMES, MaskClass


def class_counts(mask: xr.DataArray) -> xr.DataArray:
    """Count the pixels of each class in each scene.

    Parameters
    ----------
    mask : DataArray (scene, y, x), uint8
        0 clear, 1 cloud, 2 cloud_shadow; other values are not counted.

    Returns
    -------
    DataArray (scene, mask_class), int64
        Lazy where `mask` is.
    """
    counts = xr.apply_ufunc(
        _count,
        mask,
        input_core_dims=[["y", "x"]],
        output_core_dims=[[CLASS_DIM]],
        dask="parallelized",
        output_dtypes=[np.int64],
        dask_gufunc_kwargs={"output_sizes": {CLASS_DIM: len(MaskClass)}, "allow_rechunk": True},
    )
    counts.attrs = {"long_name": "pixels of each class", "units": "1"}
    return counts.assign_coords({CLASS_DIM: list(CLASS_NAMES)}).rename("class_counts")


def class_fractions(mask: xr.DataArray) -> xr.DataArray:
    """Fraction of each class among the labelled pixels of each scene.

    Returns
    -------
    DataArray (scene, mask_class), float64
        0 to 1; NaN for a scene without any label. Lazy where `mask` is.
    """
    counts = class_counts(mask)
    labelled = counts.sum(CLASS_DIM)
    fractions = counts / labelled.where(labelled > 0)
    fractions.attrs = {"long_name": "fraction of each class among labelled pixels", "units": "1"}
    return fractions.rename("class_fractions")


def one_hot(mask: xr.DataArray) -> xr.DataArray:
    """One plane for each class.

    Returns
    -------
    DataArray (scene, y, x, mask_class), bool
        All false where a pixel has no label. Lazy where `mask` is.
    """
    classes = xr.DataArray(
        np.array([int(c) for c in MaskClass], np.uint8), dims=CLASS_DIM, coords={CLASS_DIM: list(CLASS_NAMES)}
    )
    planes = mask == classes
    planes.attrs = {"long_name": "whether a pixel is of the class", "units": "1"}
    return planes.rename("one_hot")


def _count(labels: np.ndarray) -> np.ndarray:
    """Counts (..., class) of labels (..., y, x), plane by plane: one stays in the cache while it is counted."""
    counts = np.empty((*labels.shape[:-2], len(MaskClass)), np.int64)
    for index in np.ndindex(labels.shape[:-2]):
        counts[index] = [np.count_nonzero(labels[index] == c) for c in MaskClass]
    return counts
