"""Select scenes by tags, splits, groups, time and place. No pixel is read."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from s2cmc.errors import QueryError
from s2cmc.query.expression import evaluate
from s2cmc.query.labels import SceneLabels
from s2cmc.query.places import check_placed, touches_box
from s2cmc.query.places import intersects as intersecting
from s2cmc.schema import ANNOTATORS, DATASETS, DIFFICULTIES, SPLITS, TAGS, Box, Moment, TagGroup, interval


def select(
    catalogue: xr.Dataset,
    expression: str | None = None,
    *,
    split: str | None = None,
    shadows_marked: bool | None = None,
    difficulty: int | Collection[int] | None = None,
    dataset: str | Collection[str] | None = None,
    annotator: str | Collection[str] | None = None,
    has_alt_mask: bool | None = None,
    time: Moment | slice | tuple[Moment, Moment] = None,
    bbox: Box | None = None,
    intersects: object | None = None,
    bands: Sequence[str] | None = None,
) -> xr.Dataset:
    """Select the scenes that meet every condition; see `CloudsAccessor.select`."""
    keep = np.ones(catalogue.sizes["scene"], bool)
    if expression is not None:
        labels = SceneLabels(catalogue)
        keep &= evaluate(expression, labels, labels.read_text)
    if split is not None:
        if not isinstance(split, str) or split not in SPLITS:
            raise QueryError(f"split {split!r} is none of {', '.join(map(repr, SPLITS))}")
        keep &= catalogue["dataset"].isin(SPLITS[split]).to_numpy()
    for name, flag in (("shadows_marked", shadows_marked), ("has_alt_mask", has_alt_mask)):
        if flag is not None:
            if flag not in (True, False):
                raise QueryError(f"{name} {flag!r} is none of True, False")
            keep &= catalogue[name].to_numpy() == flag
    for name, value, choices in (
        ("difficulty", difficulty, DIFFICULTIES),
        ("dataset", dataset, DATASETS),
        ("annotator", annotator, ANNOTATORS),
    ):
        if value is not None:
            keep &= np.isin(catalogue[name].to_numpy(), _values_among(choices, name, value))
    if time is not None:
        start, stop = interval(time)
        keep &= (catalogue["time"].to_numpy() >= start) & (catalogue["time"].to_numpy() <= stop)
    if bbox is not None or intersects is not None:
        check_placed(catalogue)
    if bbox is not None:
        keep[keep] = touches_box(catalogue.coords.to_dataset().isel(scene=keep), _box(bbox))
    if intersects is not None:
        keep[keep] = intersecting(catalogue.coords.to_dataset().isel(scene=keep), intersects)
    chosen = {"scene": np.flatnonzero(keep)} | ({} if bands is None else {"band": _positions(catalogue, bands)})
    return catalogue.isel(chosen)


def tags(catalogue: xr.Dataset) -> xr.DataArray:
    """Array of the tags (scene, tag), bool, with the group of each tag as coordinate ``tag_group``."""
    values = np.stack([catalogue[tag.name].to_numpy() for tag in TAGS], axis=-1)
    return xr.DataArray(
        values,
        dims=("scene", "tag"),
        coords={
            "scene": catalogue["scene"],
            "tag": [tag.name for tag in TAGS],
            "tag_group": ("tag", [str(tag.group) for tag in TAGS]),
        },
        name="tags",
    )


def tag_groups() -> dict[str, list[str]]:
    """Names of the tags by group."""
    return {str(group): [tag.name for tag in TAGS if tag.group is group] for group in TagGroup}


def random_split(catalogue: xr.Dataset, fractions: Mapping[str, float], seed: int) -> xr.DataArray:
    """Split the scenes into named parts, related scenes in one part; see `CloudsAccessor.random_split`."""
    shares = np.array(list(fractions.values()), float)
    if not len(shares) or (shares < 0).any() or not np.isclose(shares.sum(), 1):
        raise QueryError(f"the fractions {dict(fractions)} must be positive and add up to 1")
    numbers, members = np.unique(catalogue["group"].to_numpy(), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(numbers))
    sizes = np.bincount(members, minlength=len(numbers))[order]
    middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    part_of_group = np.empty(len(numbers), int)
    part_of_group[order] = np.minimum(np.searchsorted(np.cumsum(shares), middle), len(shares) - 1)
    names = np.array(list(fractions))[part_of_group[members]]
    return xr.DataArray(names, dims="scene", coords={"scene": catalogue["scene"]}, name="part")


def _positions(catalogue: xr.Dataset, bands: Sequence[str]) -> list[int]:
    """Positions of bands on their dimension."""
    names = catalogue["band"].to_numpy().tolist() if "band" in catalogue.dims else []
    if isinstance(bands, str):
        raise QueryError(f"bands {bands!r} is a string; give a list of names")
    if unknown := [band for band in bands if band not in names]:
        raise QueryError(f"no band {unknown[0]!r}; there are {', '.join(names) or 'none'}")
    return [names.index(band) for band in bands]


def _values_among(choices: Sequence[Any], name: str, value: Any) -> list[Any]:
    """List the value or values of a condition, all of which must be among the choices."""
    values = [value] if isinstance(value, str) or not isinstance(value, Collection) else list(value)
    if unknown := [value for value in values if value not in choices]:
        raise QueryError(f"{name} {unknown[0]!r} is none of {', '.join(map(repr, choices))}")
    return values


def _box(bbox: Sequence[float]) -> Box:
    try:
        values = [float(value) for value in bbox]
    except (TypeError, ValueError) as error:
        raise QueryError(f"bbox {bbox!r} is not (west, south, east, north) in degrees") from error
    if len(values) != 4:
        raise QueryError(f"bbox {bbox} has {len(values)} values; expected (west, south, east, north)")
    west, south, east, north = values
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise QueryError(f"bbox {bbox} is not (west, south, east, north) in degrees, with south below north")
    return west, south, east, north
