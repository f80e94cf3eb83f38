"""Counts of masks, lazily. Counts are integers; fractions are computed last."""

import numpy as np
import xarray as xr

from s2cmc.query import By, strata, tags
from s2cmc.schema import CLASS_DIM, CLASS_NAMES, DIFFICULTIES, MaskClass
from s2cmc.store import map_scenes, stored_pixels

_CLEAR, _CLOUD, _SHADOW = map(int, MaskClass)
"""Classes as plain numbers: numpy compares labels with an enum as int64."""

_ROWS = 255 // _SHADOW
"""Labels whose sum is less than 256."""


def class_counts(mask: xr.DataArray) -> xr.DataArray:
    """Count the pixels of each class in each scene.

    Parameters
    ----------
    mask : DataArray (scene, y, x) or (y, x), uint8
        0 clear, 1 cloud, 2 cloud_shadow; other values are not counted.

    Returns
    -------
    DataArray (scene, mask_class) or (mask_class,), int64
        Lazy where `mask` is.
    """
    if "scene" not in mask.dims:
        return class_counts(mask.expand_dims("scene")).isel(scene=0)
    stored = stored_pixels(mask)  # stored values above 2 are shown as 255, and neither are counted
    labels = (mask if stored is None else stored).variable.transpose("scene", "y", "x")
    counted = map_scenes(_count, [labels], (len(MaskClass),), np.int64)
    coordinates = {name: c for name, c in mask.coords.items() if not {"y", "x"} & set(c.dims)}
    return xr.DataArray(
        counted,
        coordinates | {CLASS_DIM: list(CLASS_NAMES)},
        ("scene", CLASS_DIM),
        "class_counts",
        {"long_name": "pixels of each class", "units": "1"},
    )


def class_fractions(mask: xr.DataArray) -> xr.DataArray:
    """Compute the fraction of each class among the labelled pixels of each scene.

    Returns
    -------
    DataArray (scene, mask_class), float64
        0 to 1; NaN for a scene without any label. Lazy where `mask` is.
    """
    counts = class_counts(mask)
    pixels = counts.variable  # xarray would compare and copy all coordinates in each step
    labelled = pixels.sum(CLASS_DIM)
    fractions = counts.copy(data=(pixels / labelled.where(labelled > 0)).transpose(*counts.dims).data)
    fractions.attrs = {"long_name": "fraction of each class among labelled pixels", "units": "1"}
    return fractions.rename("class_fractions")


def one_hot(mask: xr.DataArray) -> xr.DataArray:
    """Make one plane for each class.

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


def _count(masks: np.ndarray) -> np.ndarray:
    """Count masks (scene, y, x) by class (scene, class)."""
    return np.array([_count_one(labels) for labels in masks], np.int64).reshape(len(masks), len(MaskClass))


def _count_one(labels: np.ndarray) -> list[int]:
    """Count labels (y, x) by class (class,).

    Without other labels, cloud + shadow is the count of labels above 0, and cloud + 2 shadow their sum. Nothing is
    compared, and each step takes a whole mask: between short steps threads wait for the interpreter.
    """
    if labels.dtype == np.uint8 and labels.size and labels.max() <= _SHADOW:
        marked, total = int(np.count_nonzero(labels)), _sum(labels)
        return [labels.size - marked, 2 * marked - total, total - marked]
    return [int(np.count_nonzero(labels == label)) for label in (_CLEAR, _CLOUD, _SHADOW)]


def _sum(labels: np.ndarray) -> int:
    """Sum labels (y, x) of at most 2 in bytes, as many rows at a time as cannot overflow."""
    whole = len(labels) // _ROWS * _ROWS
    stacks = labels[:whole].reshape(-1, _ROWS, labels.shape[1]).sum(axis=1, dtype=np.uint8)
    return int(stacks.sum()) + int(labels[whole:].sum(axis=0, dtype=np.uint8).sum())


# The catalogue's own tables: class prevalence, difficulty, tags. Only pixels are counted lazily.

PUBLISHED = ("clear_percent", "cloud_percent", "shadow_percent")  # in the order of CLASS_NAMES


def prevalence(catalogue: xr.Dataset, by: By) -> xr.Dataset:
    """Compute the share of each class among the labelled pixels of each stratum; see `CloudsAccessor.prevalence`."""
    member = strata(catalogue, by)
    counts = class_counts(_bare(catalogue, "mask"))
    if counts.chunks is not None:  # a few numbers for each scene: all that follows is one task, not one for each block
        counts = counts.chunk(scene=-1)
    pixels = xr.dot(member.drop_vars("scene").astype(np.int64), counts, dim="scene")
    labelled = pixels.sum(CLASS_DIM)
    percent = 100 * pixels / labelled.where(labelled > 0)
    scenes = member.sum("scene")
    table = xr.DataArray(
        np.stack([catalogue[name].to_numpy() for name in PUBLISHED], axis=-1), dims=("scene", CLASS_DIM)
    )
    published = xr.where(member, table, 0.0).sum("scene") / scenes.where(scenes > 0)
    differing = member & ~_bare(catalogue, "percentages_agree")
    table_of_strata = xr.Dataset(
        {
            "scenes": scenes.assign_attrs(long_name="scenes", units="1"),
            "pixels": pixels.assign_attrs(long_name="pixels of the class in the masks", units="1"),
            "percent": percent.assign_attrs(long_name="share of the labelled pixels", units="percent"),
            "published_percent": published.assign_attrs(long_name="mean of the table's percentages", units="percent"),
            "difference": (percent - published).assign_attrs(long_name="masks minus table", units="percent"),
            "differing_scenes": differing.sum("scene").assign_attrs(
                long_name="scenes whose percentages in the table are not those of the mask", units="1"
            ),
        }
    )
    return table_of_strata.assign_coords({CLASS_DIM: list(CLASS_NAMES)}).drop_vars("scene", errors="ignore")


def tag_frequencies(catalogue: xr.Dataset) -> xr.Dataset:
    """Count the scenes with each tag; see `CloudsAccessor.tag_frequencies`."""
    return _shares(tags(catalogue).sum("scene"), catalogue.sizes["scene"])


def difficulty_counts(catalogue: xr.Dataset) -> xr.Dataset:
    """Count the scenes of each difficulty; see `CloudsAccessor.difficulty`."""
    values = catalogue["difficulty"].to_numpy()
    counts = [int((values == level).sum()) for level in DIFFICULTIES]
    scenes = xr.DataArray(counts, dims="difficulty", coords={"difficulty": list(DIFFICULTIES)})
    return _shares(scenes, catalogue.sizes["scene"])


def tag_cooccurrence(catalogue: xr.Dataset) -> xr.DataArray:
    """Count the scenes with each pair of tags; see `CloudsAccessor.tag_cooccurrence`."""
    flags = tags(catalogue).astype(np.int64).drop_vars("scene")
    other = flags.rename(tag="other_tag", tag_group="other_tag_group")
    return xr.dot(flags, other, dim="scene").rename("scenes").assign_attrs(long_name="scenes with both", units="1")


def _shares(scenes: xr.DataArray, total: int) -> xr.Dataset:
    percent = 100 * scenes / total if total else scenes * np.nan
    return xr.Dataset(
        {
            "scenes": scenes.assign_attrs(long_name="scenes", units="1"),
            "percent": percent.assign_attrs(long_name="share of all scenes", units="percent"),
        }
    )


def _bare(catalogue: xr.Dataset, name: str) -> xr.DataArray:
    """Return a variable without coordinates: carrying dozens of them takes longer than the sums."""
    return xr.DataArray(catalogue.variables[name])
