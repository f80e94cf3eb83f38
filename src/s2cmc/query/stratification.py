"""Strata: the scenes of each row of a table. No pixel is read."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from s2cmc.errors import CatalogueError, QueryError, name_hint
from s2cmc.schema import (
    ANNOTATORS,
    DATASETS,
    DIFFICULTIES,
    LATITUDE_BANDS,
    SEASONS,
    SPLITS,
    TAG_NAMES,
    TAGS,
    TagGroup,
    coordinate_name,
)

By = str | xr.DataArray | Sequence[str | xr.DataArray] | None
"""One criterion or several, each the name of a tag, tag group or coordinate, or labels of the scenes."""

ALL = "all"
"""Stratum of all scenes, the first of every table."""

_LONGEST = 200  # characters of a name

_KNOWN: dict[str, Sequence[object]] = {
    "dataset": DATASETS,
    "difficulty": DIFFICULTIES,
    "annotator": ANNOTATORS,
    "season": SEASONS,
    "latitude_band": tuple(LATITUDE_BANDS),
}
"""Labels in their natural order; labels that no scene has are empty strata."""


def strata(catalogue: xr.Dataset, by: By) -> xr.DataArray:
    """Divide the scenes into strata.

    Parameters
    ----------
    catalogue : Dataset
    by : str, DataArray, sequence of these, or None
        Several are listed one after the other and not crossed. Each is

        - a tag (``snow_ice``: strata ``snow_ice`` and ``not snow_ice``),
        - a tag group (``surface_type``: one stratum for each of its tags, which overlap where a scene has several, and
          ``no surface_type``),
        - ``split``, ``season`` (local), ``latitude_band`` (30 degrees each), ``scene`` (one stratum for each),
        - a coordinate of the scenes with text, whole numbers or booleans (``difficulty``: ``difficulty=1`` ...),
        - a DataArray (scene,) of labels, e.g. two coordinates joined, or a number cut into intervals. A scene whose
          label is missing (None, NaN) belongs to none of its strata. The name of the array names its strata.

    Returns
    -------
    DataArray (stratum, scene), bool
        The first stratum is ``all``. Coordinate ``by`` (stratum,) names the criterion.

    Raises
    ------
    QueryError
        If `by` is none of these.
    """
    members = {ALL: np.ones(catalogue.sizes["scene"], bool)}
    names = {ALL: ALL}
    for one in _as_list(by):
        for name, member in _rows(catalogue, one):
            # A tag by itself and in its group is the same stratum.
            if not np.array_equal(members.setdefault(name, member), member):
                raise QueryError(f"two different strata would be named {name!r}; give each DataArray a name of its own")
            names.setdefault(name, one if isinstance(one, str) else _name(one))
    return xr.DataArray(
        np.stack(list(members.values())),
        dims=("stratum", "scene"),
        coords={"stratum": list(members), "by": ("stratum", list(names.values())), "scene": catalogue["scene"]},
        name="member",
    )


def with_scene_names(catalogue: xr.Dataset, by: By) -> By:
    """Return `by`; labels without coordinate ``scene`` get that of `catalogue`, in whose order they must be."""
    return [
        one.assign_coords(scene=catalogue["scene"].to_numpy())
        if isinstance(one, xr.DataArray)
        and one.sizes == {"scene": catalogue.sizes["scene"]}
        and "scene" not in one.coords
        else one
        for one in _as_list(by)
    ]


def scenes_of_stratum(member: xr.DataArray, name: str) -> np.ndarray:
    """Positions of the scenes of stratum `name`."""
    return np.flatnonzero(member.sel(stratum=name).to_numpy())


def _as_list(by: By) -> list[str | xr.DataArray]:
    if by is None:
        return []
    return list(by) if isinstance(by, Iterable) and not isinstance(by, str | xr.DataArray) else [by]


def _name(labels: xr.DataArray) -> str:
    return str(labels.name or "label")


def _rows(catalogue: xr.Dataset, by: str | xr.DataArray) -> Iterator[tuple[str, np.ndarray]]:
    """Name and members of each stratum of one criterion."""
    if isinstance(by, xr.DataArray):
        yield from _categories(_name(by), _labels_in_order(catalogue, by))
        return
    if not isinstance(by, str):
        raise QueryError(f"`by` is the name of a question or a DataArray (scene,); got {type(by).__name__}")
    if len(by) > _LONGEST:
        raise QueryError(f"no question has {len(by):,} characters; ask by a name such as 'surface_type'")
    name = coordinate_name(by)
    _require(catalogue, name)
    if name in [str(group) for group in TagGroup]:
        members = {tag.name: catalogue[tag.name].to_numpy() for tag in TAGS if tag.group == name}
        yield from members.items()
        yield f"no {name}", ~np.logical_or.reduce(list(members.values()))
    elif name in TAG_NAMES:
        yield name, catalogue[name].to_numpy()
        yield f"not {name}", ~catalogue[name].to_numpy()
    elif name == "scene":
        for i, scene in enumerate(catalogue["scene"].to_numpy()):
            yield str(scene), np.arange(catalogue.sizes["scene"]) == i
    elif name == "split":
        for split, datasets in SPLITS.items():
            yield f"split={split}", catalogue["dataset"].isin(datasets).to_numpy()
    elif name == "season":
        yield from _categories(name, _season(catalogue))
    elif name == "latitude_band":
        yield from _categories(name, _latitude_band(catalogue))
    else:
        yield from _categories(name, _coordinate(catalogue, name))


def _require(catalogue: xr.Dataset, name: str) -> None:
    """Refuse a criterion whose coordinates were dropped."""
    needed = {
        "split": ("dataset",),
        "season": ("time", "epsg"),
        "latitude_band": ("lat_min", "lat_max"),
        **{str(group): tuple(tag.name for tag in TAGS if tag.group is group) for group in TagGroup},
        **{tag: (tag,) for tag in TAG_NAMES},
    }
    for coordinate in needed.get(name, ()):
        if coordinate not in catalogue.coords:
            raise CatalogueError(f"this Dataset has no {coordinate!r}, which is needed to ask by {name}; keep it")


def _coordinate(catalogue: xr.Dataset, name: str) -> np.ndarray:
    coordinates = [str(key) for key, c in catalogue.coords.items() if c.dims == ("scene",)]
    if name not in coordinates:
        choices = [*map(str, TagGroup), "split", "season", "latitude_band", *coordinates]
        raise QueryError(f"no question {name!r} to ask by; {name_hint(name, choices)}")
    values = catalogue[name].to_numpy()
    if values.dtype.kind == "M":
        raise QueryError(f"{name} is a time; ask by 'season', or by=ds[{name!r}].dt.month")
    if values.dtype.kind not in "biuUO":
        raise QueryError(
            f"{name} ({values.dtype}) has no strata of its own; cut it into intervals and ask by these, e.g. "
            f"by=xr.DataArray(pd.cut(ds[{name!r}].values, 5).astype(object), dims='scene', name={name!r})"
        )
    return values


def _labels_in_order(catalogue: xr.Dataset, labels: xr.DataArray) -> np.ndarray:
    """Put labels into the order of the scenes."""
    if labels.dims != ("scene",):
        raise QueryError(f"labels to ask by have dims ('scene',); {_name(labels)!r} has {labels.dims}")
    if "scene" in labels.coords:
        if not labels.indexes["scene"].is_unique:
            raise QueryError(f"{_name(labels)!r} has several labels for a scene")
        missing = ~catalogue["scene"].isin(labels["scene"]).to_numpy()
        if missing.any():
            scene = catalogue["scene"].to_numpy()[missing][0]
            raise QueryError(f"{_name(labels)!r} has no label for {missing.sum()} scenes, the first is {scene}")
        labels = labels.sel(scene=catalogue["scene"])
    elif labels.sizes["scene"] != catalogue.sizes["scene"]:
        raise QueryError(f"{_name(labels)!r} has {labels.sizes['scene']} labels for {catalogue.sizes['scene']} scenes")
    return labels.to_numpy()


def _categories(name: str, labels: np.ndarray) -> Iterable[tuple[str, np.ndarray]]:
    """One stratum for each label of `_KNOWN` or of a scene; none for a missing label (None, NaN)."""
    ordered = list(_KNOWN.get(name, ()))
    further = [value for value in pd.unique(labels) if not pd.isna(value) and value not in ordered]
    try:
        further.sort()
    except TypeError:  # labels of several types
        further.sort(key=str)
    for value in ordered + further:
        yield f"{name}={value}", labels == value


def _season(catalogue: xr.Dataset) -> np.ndarray:
    """Local meteorological season, by the hemisphere of the UTM zone."""
    quarter = catalogue["time"].dt.month.to_numpy() % 12 // 3
    southern = catalogue["epsg"].to_numpy() // 100 == 327
    return np.array(SEASONS)[(quarter + 2 * southern) % 4]


def _latitude_band(catalogue: xr.Dataset) -> np.ndarray:
    """Latitude band of the centre of each scene; None where there is no outline."""
    latitude = (catalogue["lat_min"].to_numpy() + catalogue["lat_max"].to_numpy()) / 2
    bands = np.full(latitude.shape, None, object)
    for name, (low, high) in LATITUDE_BANDS.items():
        bands[(latitude >= low) & (latitude < high)] = name
    return bands
