"""Whose mask: the main annotator's, the other's, A's or B's."""

from typing import Literal

import numpy as np
import xarray as xr

from s2cmc.errors import CatalogueError, QueryError
from s2cmc.schema import ANNOTATORS, DIMS
from s2cmc.store import take_scenes

Annotator = Literal["primary", "other", "A", "B"]
"""``primary`` made `mask`, ``other`` made `alt_mask`; A and B are two persons, either of whom may have made either."""

_CHOICES = ("primary", "other", *ANNOTATORS)


def annotated(catalogue: xr.Dataset, annotator: Annotator) -> np.ndarray:
    """Which scenes have a mask by `annotator` (scene,), bool. No pixel is read."""
    if annotator not in _CHOICES:
        raise QueryError(f"annotator {annotator!r} is none of {', '.join(map(repr, _CHOICES))}")
    if annotator == "primary":
        return np.ones(catalogue.sizes["scene"], bool)
    doubly = catalogue["has_alt_mask"].to_numpy()
    return doubly if annotator == "other" else doubly | (catalogue["annotator"].to_numpy() == annotator)


def masks(catalogue: xr.Dataset, annotator: Annotator) -> xr.DataArray:
    """Masks by one annotator, of the scenes that have one; see `CloudsAccessor.masks`."""
    part = take_scenes(catalogue, np.flatnonzero(annotated(catalogue, annotator)))
    if annotator == "primary":
        return part["mask"]
    in_alt = np.ones(part.sizes["scene"], bool)
    if annotator != "other":
        in_alt = part["annotator"].to_numpy() != annotator
    if in_alt.any() and "alt_mask" not in part:
        raise CatalogueError("this Dataset has no 'alt_mask', which holds masks of the other annotator; keep it")
    dims = DIMS["mask"]
    sources = [part["mask"].variable.transpose(*dims).isel(scene=np.flatnonzero(~in_alt))]
    if in_alt.any():
        sources.append(part["alt_mask"].variable.transpose(*dims).isel(scene=np.flatnonzero(in_alt)))
    order = np.argsort(np.concatenate([np.flatnonzero(~in_alt), np.flatnonzero(in_alt)]))
    joined = xr.Variable.concat(sources, "scene").isel(scene=order)
    found = part["mask"].transpose(*dims).copy(data=joined.data).assign_coords(annotator=_makers(part, in_alt))
    return found.assign_attrs(long_name=f"clear, cloud and cloud shadow, by annotator {annotator}")


def _makers(part: xr.Dataset, in_alt: np.ndarray) -> xr.DataArray:
    """Who made each mask: the main annotator, or of two persons the one who is not."""
    main = part["annotator"]
    others = np.where(main.to_numpy() == ANNOTATORS[0], ANNOTATORS[1], ANNOTATORS[0])
    return main.copy(data=np.where(in_alt, others, main.to_numpy()))
