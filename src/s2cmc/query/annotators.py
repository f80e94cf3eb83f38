"""Masks by annotator: the main one, the other one, A or B."""

from typing import Literal

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError, QueryError
from s2cmc.schema import ANNOTATORS, DIMS

Annotator = Literal["primary", "other", "A", "B"]
"""``primary`` made `mask`, ``other`` made `alt_mask`; A and B are two persons, either of whom may have made either."""

_CHOICES = ("primary", "other", *ANNOTATORS)


def annotated(catalogue: xr.Dataset, annotator: Annotator) -> np.ndarray:
    """Find the scenes that have a mask by `annotator` (scene,), bool. No pixel is read."""
    if annotator not in _CHOICES:
        raise QueryError(f"annotator {annotator!r} is none of {', '.join(map(repr, _CHOICES))}")
    if annotator == "primary":
        return np.ones(catalogue.sizes["scene"], bool)
    doubly = catalogue["has_alt_mask"].to_numpy()
    return doubly if annotator == "other" else doubly | (catalogue["annotator"].to_numpy() == annotator)


def masks(catalogue: xr.Dataset, annotator: Annotator) -> xr.DataArray:
    """Return the masks by one annotator, of the scenes that have one; see `CloudsAccessor.masks`."""
    part = catalogue.isel(scene=np.flatnonzero(annotated(catalogue, annotator)))
    if annotator == "primary":
        return part["mask"]
    in_alt = _in_alt(part, annotator)
    joined = part["mask"].transpose(*DIMS["mask"]).copy(data=_joined(part, in_alt).data)
    joined = joined.assign_coords(annotator=_makers(part, in_alt))
    return joined.assign_attrs(long_name=f"clear, cloud and cloud shadow, by annotator {annotator}")


def other_masks(catalogue: xr.Dataset, annotator: Annotator) -> xr.DataArray:
    """Return the masks by the other annotator, of the same scenes as `masks`: 255 where there is none.

    Returns
    -------
    DataArray (scene, y, x), uint8
        With ``scene`` as its only coordinate.
    """
    part = catalogue.isel(scene=np.flatnonzero(annotated(catalogue, annotator)))
    return xr.DataArray(_joined(part, ~_in_alt(part, annotator)), coords={"scene": part["scene"].to_numpy()})


def _in_alt(part: xr.Dataset, annotator: Annotator) -> np.ndarray:
    """Find the scenes (scene,), bool, whose mask by `annotator` is `alt_mask`; in all others it is `mask`."""
    if annotator in ("primary", "other"):
        return np.full(part.sizes["scene"], annotator == "other")
    return part["annotator"].to_numpy() != annotator


def _joined(part: xr.Dataset, in_alt: np.ndarray) -> xr.Variable:
    """Join `alt_mask` of the scenes `in_alt` and `mask` of all others, in the order of the scenes."""
    if in_alt.any() and "alt_mask" not in part:
        raise CatalogueError("this Dataset has no 'alt_mask', which holds masks of the other annotator; keep it")
    positions = {"mask": np.flatnonzero(~in_alt), "alt_mask": np.flatnonzero(in_alt)}
    sources = [
        part[name].variable.transpose(*DIMS["mask"]).isel(scene=at)
        for name, at in positions.items()
        if at.size or name == "mask"
    ]
    order = np.argsort(np.concatenate(list(positions.values())))
    return xr.Variable.concat(sources, "scene").isel(scene=order)


def _makers(part: xr.Dataset, in_alt: np.ndarray) -> xr.DataArray:
    """Name the person who made each mask: the main annotator, or for `alt_mask` the other of the two."""
    main = part["annotator"]
    other = np.where(main.to_numpy() == ANNOTATORS[0], ANNOTATORS[1], ANNOTATORS[0])
    return main.copy(data=np.where(in_alt, other, main.to_numpy()))
