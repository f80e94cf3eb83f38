"""Strata: the scenes of each row of a table. No pixel is read."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from s2cmc.errors import QueryError, name_hint
from s2cmc.query.labels import DERIVED_WORDS, SceneLabels, require_coordinates
from s2cmc.schema import ANNOTATORS, DATASETS, DIFFICULTIES, TAG_NAMES, TAGS, TagGroup, coordinate_name

Criterion = str | xr.DataArray | tuple[str | xr.DataArray, ...]
"""Name of a tag, tag group or coordinate, or labels of the scenes; a tuple of these crosses them."""

By = str | xr.DataArray | Sequence[Criterion] | None
"""One criterion or several."""

ALL = "all"
"""Stratum of all scenes, the first of every table."""

_LONGEST = 200  # characters of a name

_CROSS = " × "

_TAG_GROUPS = {
    **{str(group): tuple(tag.name for tag in TAGS if tag.group is group) for group in TagGroup},
    "tags": TAG_NAMES,
}
"""Tags of each question that has a stratum for each of them."""

_KNOWN: dict[str, Sequence[object]] = {
    "dataset": DATASETS,
    "difficulty": DIFFICULTIES,
    "annotator": ANNOTATORS,
    **DERIVED_WORDS,
}
"""Labels in their natural order; labels that no scene has are empty strata."""


def strata(catalogue: xr.Dataset, by: By) -> xr.DataArray:
    """Divide the scenes into strata.

    Parameters
    ----------
    catalogue : Dataset
    by : str, DataArray, sequence of these, or None
        Several are listed one after the other. Each is

        - a tag (``snow_ice``: strata ``snow_ice`` and ``not snow_ice``),
        - a tag group (``surface_type``: one stratum for each of its tags, which overlap where a scene has several, and
          ``no surface_type``), or ``tags`` for all of them,
        - ``split``, ``season`` (local), ``latitude_band`` (30 degrees each), ``scene`` (one stratum for each),
        - a coordinate of the scenes with text, whole numbers or booleans (``difficulty``: ``difficulty=1`` ...),
        - a DataArray (scene,) of labels, e.g. two coordinates joined, or a number cut into intervals. A scene whose
          label is missing (None, NaN) belongs to none of its strata. The name of the array names its strata,
        - in a sequence, a tuple of these, which crosses them: ``[("surface_type", "cloud_type")]`` has a stratum
          ``coastal × cumulus`` of the scenes with both, and so for each combination that a scene has.

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
    for criterion in _as_list(by):
        for name, member in _rows(catalogue, criterion):
            # A tag by itself and in its group is the same stratum.
            if not np.array_equal(members.setdefault(name, member), member):
                raise QueryError(f"two different strata would be named {name!r}; give each DataArray a name of its own")
            names.setdefault(name, _name(criterion))
    return xr.DataArray(
        np.stack(list(members.values())),
        dims=("stratum", "scene"),
        coords={"stratum": list(members), "by": ("stratum", list(names.values())), "scene": catalogue["scene"]},
        name="member",
    )


def with_scene_names(catalogue: xr.Dataset, by: By) -> By:
    """Return `by`; labels without coordinate ``scene`` get that of `catalogue`, in whose order they must be."""

    def named(criterion: Any) -> Any:
        if isinstance(criterion, tuple):
            return tuple(map(named, criterion))
        if (
            isinstance(criterion, xr.DataArray)
            and criterion.sizes == {"scene": catalogue.sizes["scene"]}
            and "scene" not in criterion.coords
        ):
            return criterion.assign_coords(scene=catalogue["scene"].to_numpy())
        return criterion

    return list(map(named, _as_list(by)))


def scenes_of_stratum(member: xr.DataArray, name: str) -> np.ndarray:
    """Positions of the scenes of stratum `name`."""
    return np.flatnonzero(member.sel(stratum=name).to_numpy())


def _as_list(by: By) -> list[Criterion]:
    if by is None:
        return []
    return list(by) if isinstance(by, Iterable) and not isinstance(by, str | xr.DataArray) else [by]


def _name(criterion: Criterion) -> str:
    if isinstance(criterion, tuple):
        return _CROSS.join(map(_name, criterion))
    return criterion if isinstance(criterion, str) else str(criterion.name or "label")


def _rows(catalogue: xr.Dataset, criterion: Criterion) -> Iterator[tuple[str, np.ndarray]]:
    """Name and members of each stratum of one criterion."""
    if isinstance(criterion, tuple):
        yield from _crossed(catalogue, criterion)
        return
    if isinstance(criterion, xr.DataArray):
        labels = _labels_in_order(catalogue, criterion)
        _check_discrete(catalogue, _name(criterion), labels, is_named=False)
        yield from _categories(_name(criterion), labels)
        return
    if not isinstance(criterion, str):
        raise QueryError(f"`by` is the name of a question or a DataArray (scene,); got {type(criterion).__name__}")
    if len(criterion) > _LONGEST:
        raise QueryError(f"no question has {len(criterion):,} characters; ask by a name such as 'surface_type'")
    name = coordinate_name(criterion)
    if name in _TAG_GROUPS:
        require_coordinates(catalogue, _TAG_GROUPS[name], name)
        members = {tag: catalogue[tag].to_numpy() for tag in _TAG_GROUPS[name]}
        yield from members.items()
        yield f"no {name}", ~np.logical_or.reduce(list(members.values()))
    elif name in TAG_NAMES:
        require_coordinates(catalogue, [name], name)
        yield name, catalogue[name].to_numpy()
        yield f"not {name}", ~catalogue[name].to_numpy()
    elif name == "scene":
        for i, scene in enumerate(catalogue["scene"].to_numpy()):
            yield str(scene), np.arange(catalogue.sizes["scene"]) == i
    else:
        yield from _categories(name, _coordinate(catalogue, name))


def _crossed(catalogue: xr.Dataset, criteria: Sequence[str | xr.DataArray]) -> Iterator[tuple[str, np.ndarray]]:
    """Name and members of each combination of strata that some scene has, one stratum of each criterion."""
    if not criteria or any(isinstance(criterion, tuple) for criterion in criteria):
        raise QueryError("a tuple in `by` crosses one or more questions, e.g. by=[('surface_type', 'cloud_type')]")
    rows = [("", np.ones(catalogue.sizes["scene"], bool))]
    for criterion in criteria:
        # Combinations of no scene are dropped on the way: there may be millions of them.
        rows = [
            (f"{before}{_CROSS}{name}" if before else name, members & member)
            for (before, members), (name, member) in product(rows, list(_rows(catalogue, criterion)))
            if (members & member).any()
        ]
    yield from rows


def _coordinate(catalogue: xr.Dataset, name: str) -> np.ndarray:
    labels = SceneLabels(catalogue)
    if name not in labels:
        choices = dict.fromkeys([*_TAG_GROUPS, *DERIVED_WORDS, *labels])
        raise QueryError(f"no question {name!r} to ask by; {name_hint(name, choices)}")
    _check_discrete(catalogue, name, labels[name], is_named=True)
    return labels[name]


def _check_discrete(catalogue: xr.Dataset, name: str, labels: np.ndarray, *, is_named: bool) -> None:
    """Refuse times and measured numbers, which would make a stratum of almost every scene.

    Whole numbers that are handed over may be floats: so NumPy has them where some are missing.
    """
    of_coordinate = is_named or (name in catalogue.coords and catalogue[name].dtype == labels.dtype)
    source = f"ds[{name!r}]" if of_coordinate else "labels"
    if labels.dtype.kind == "M" and of_coordinate:
        raise QueryError(f"{name} is a time; ask by 'season', or by={source}.dt.month")
    if labels.dtype.kind in "biuUTOM":
        return
    if labels.dtype.kind == "f" and not of_coordinate and (np.isnan(labels) | (labels % 1 == 0)).all():
        return
    raise QueryError(
        f"{name} ({labels.dtype}) has no strata of its own; cut it into intervals and ask by these, e.g. "
        f"by=xr.DataArray(pd.cut({source}.values, 5).astype(object), dims='scene', name={name!r})"
    )


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
