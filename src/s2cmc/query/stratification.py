"""Strata: which scenes a row of a table is about. No pixel is read."""

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
"""What to ask by: one question or several, each the name of one or the labels of the scenes."""

ALL = "all"
"""Stratum of all scenes, the first of every table."""

_LONGEST = 200  # characters of a question

_KNOWN: dict[str, Sequence[object]] = {
    "dataset": DATASETS,
    "difficulty": DIFFICULTIES,
    "annotator": ANNOTATORS,
    "season": SEASONS,
    "latitude_band": tuple(LATITUDE_BANDS),
}
"""Answers in their natural order; those that no scene gives are empty strata."""


def strata(catalogue: xr.Dataset, by: By) -> xr.DataArray:
    """Which scenes belong to which stratum.

    Parameters
    ----------
    catalogue : Dataset
    by : str, DataArray, sequence of these, or None
        Several questions are asked one after the other and not crossed. A question is

        - a tag (``snow_ice``: strata ``snow_ice`` and ``not snow_ice``),
        - a tag group (``surface_type``: one stratum for each of its tags, which overlap where a scene has several, and
          ``no surface_type``),
        - ``split``, ``season`` (local), ``latitude_band`` (30 degrees each), ``scene`` (each for itself),
        - a coordinate of the scenes with text, whole numbers or booleans (``difficulty``: ``difficulty=1`` ...),
        - a DataArray (scene,) of labels, e.g. two coordinates joined, or a number cut into intervals. A scene whose
          label is missing (None, NaN) belongs to none of its strata. Its name is the question's.

    Returns
    -------
    DataArray (stratum, scene), bool
        The first stratum is ``all``. Coordinate ``by`` (stratum,) names the question.

    Raises
    ------
    QueryError
        If a question is no such thing.
    """
    members = {ALL: np.ones(catalogue.sizes["scene"], bool)}
    asked = {ALL: ALL}
    for question in _questions(by):
        for name, member in _rows(catalogue, question):
            # A tag by itself and in its group is the same stratum.
            if not np.array_equal(members.setdefault(name, member), member):
                raise QueryError(f"two different strata would be named {name!r}; give each DataArray a name of its own")
            asked.setdefault(name, question if isinstance(question, str) else _name(question))
    return xr.DataArray(
        np.stack(list(members.values())),
        dims=("stratum", "scene"),
        coords={"stratum": list(members), "by": ("stratum", list(asked.values())), "scene": catalogue["scene"]},
        name="member",
    )


def with_scene_names(catalogue: xr.Dataset, by: By) -> By:
    """The same questions, with labels that do not name their scenes taken for those of `catalogue`, in its order."""
    return [
        question.assign_coords(scene=catalogue["scene"].to_numpy())
        if isinstance(question, xr.DataArray)
        and question.sizes == {"scene": catalogue.sizes["scene"]}
        and "scene" not in question.coords
        else question
        for question in _questions(by)
    ]


def scenes_of_stratum(member: xr.DataArray, name: str) -> np.ndarray:
    """Positions of the scenes of stratum `name`."""
    return np.flatnonzero(member.sel(stratum=name).to_numpy())


def _questions(by: By) -> list[str | xr.DataArray]:
    if by is None:
        return []
    return list(by) if isinstance(by, Iterable) and not isinstance(by, str | xr.DataArray) else [by]


def _name(question: xr.DataArray) -> str:
    return str(question.name or "label")


def _rows(catalogue: xr.Dataset, question: str | xr.DataArray) -> Iterator[tuple[str, np.ndarray]]:
    """Name and members of each stratum of a question."""
    if isinstance(question, xr.DataArray):
        yield from _categories(_name(question), _labels(catalogue, question))
        return
    if not isinstance(question, str):
        raise QueryError(f"`by` is the name of a question or a DataArray (scene,); got {type(question).__name__}")
    if len(question) > _LONGEST:
        raise QueryError(f"no question has {len(question):,} characters; ask by a name such as 'surface_type'")
    name = coordinate_name(question)
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
    """Refuse a question whose coordinates were dropped."""
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
    known = [str(key) for key, c in catalogue.coords.items() if c.dims == ("scene",)]
    if name not in known:
        questions = [*map(str, TagGroup), "split", "season", "latitude_band", *known]
        raise QueryError(f"no question {name!r} to ask by; {name_hint(name, questions)}")
    values = catalogue[name].to_numpy()
    if values.dtype.kind == "M":
        raise QueryError(f"{name} is a time; ask by 'season', or by=ds[{name!r}].dt.month")
    if values.dtype.kind not in "biuUO":
        raise QueryError(
            f"{name} ({values.dtype}) has no strata of its own; cut it into intervals and ask by these, e.g. "
            f"by=xr.DataArray(pd.cut(ds[{name!r}].values, 5).astype(object), dims='scene', name={name!r})"
        )
    return values


def _labels(catalogue: xr.Dataset, question: xr.DataArray) -> np.ndarray:
    if question.dims != ("scene",):
        raise QueryError(f"labels to ask by have dims ('scene',); {_name(question)!r} has {question.dims}")
    if "scene" in question.coords:
        if not question.indexes["scene"].is_unique:
            raise QueryError(f"{_name(question)!r} has several labels for a scene")
        missing = ~catalogue["scene"].isin(question["scene"]).to_numpy()
        if missing.any():
            scene = catalogue["scene"].to_numpy()[missing][0]
            raise QueryError(f"{_name(question)!r} has no label for {missing.sum()} scenes, the first is {scene}")
        question = question.sel(scene=catalogue["scene"])
    elif question.sizes["scene"] != catalogue.sizes["scene"]:
        raise QueryError(
            f"{_name(question)!r} has {question.sizes['scene']} labels for {catalogue.sizes['scene']} scenes"
        )
    return question.to_numpy()


def _categories(name: str, labels: np.ndarray) -> Iterable[tuple[str, np.ndarray]]:
    """One stratum for each label that is known or there; none for a missing one."""
    found = [value for value in pd.unique(labels) if not pd.isna(value)]
    known = list(_KNOWN.get(name, ()))
    others = [value for value in found if value not in known]
    try:
        others.sort()
    except TypeError:  # labels of several types
        others.sort(key=str)
    for value in known + others:
        yield f"{name}={value}", labels == value


def _season(catalogue: xr.Dataset) -> np.ndarray:
    """Local meteorological season; the UTM zone tells the hemisphere."""
    quarter = catalogue["time"].dt.month.to_numpy() % 12 // 3
    southern = catalogue["epsg"].to_numpy() // 100 == 327
    return np.array(SEASONS)[(quarter + 2 * southern) % 4]


def _latitude_band(catalogue: xr.Dataset) -> np.ndarray:
    """Band of the centre's latitude; None where there is no outline."""
    latitude = (catalogue["lat_min"].to_numpy() + catalogue["lat_max"].to_numpy()) / 2
    bands = np.full(latitude.shape, None, object)
    for name, (low, high) in LATITUDE_BANDS.items():
        bands[(latitude >= low) & (latitude < high)] = name
    return bands
