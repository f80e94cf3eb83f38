"""Facts of a Dataset and the methods that can be asked of it. Only what is in memory is looked at."""

import inspect
from collections import Counter
from collections.abc import Iterator

import numpy as np
import xarray as xr

from s2cmc._compat import is_lazily_indexed
from s2cmc._display import Description
from s2cmc.accessor._shape import scene_dim
from s2cmc.errors import CatalogueError
from s2cmc.schema import CLASS_NAMES, PIXEL_VARIABLES, SPLITS, TABLE_COLUMNS, TAGS, TagGroup

TOPICS = {
    "scenes": ("select", "tags", "tag_groups", "groups", "random_split"),
    "masks": ("class_counts", "class_fractions", "one_hot", "masks"),
    "pictures": ("rgb", "gallery"),
    "training": ("patches", "patches_at"),
    "evaluation": ("confusion", "evaluate", "compare", "precision_recall", "agreement", "evaluation_page"),
    "statistics": (
        *("prevalence", "difficulty", "tag_frequencies", "tag_cooccurrence", "band_statistics", "band_histograms"),
        *("spectral_index", "statistics_page"),
    ),
    "Earth": ("scene", "footprints", "mosaic", "l1c_window", "read_l1c", "check_georeference"),
}
"""Methods of the accessor by topic."""

_LONGEST = 200  # characters of a title


def describe(dataset: xr.Dataset, accessor: type) -> Description:
    """Describe a Dataset, and the methods of the accessor. Nothing is read and nothing fails, whatever it is."""
    title = str(dataset.attrs.get("title", "Sentinel-2 Cloud Mask Catalogue"))[:_LONGEST]
    topics = [(topic, [(name, _summary(accessor, name)) for name in names]) for topic, names in TOPICS.items()]
    return Description(title, list(_facts(dataset)), topics)


def _summary(accessor: type, name: str) -> str:
    """Return the first line of a method's docstring."""
    doc = inspect.getdoc(getattr(accessor, name)) or ""
    return doc.partition("\n")[0].replace("`", "")


def _facts(dataset: xr.Dataset) -> Iterator[tuple[str, str]]:
    try:
        dim = scene_dim(dataset)
    except CatalogueError as error:
        yield "scenes", str(error)
        return
    if dim is None and "scene" not in dataset.variables:
        yield "scenes", "unknown: this Dataset has no 'scene'; if it has another name, ds.rename gives it back"
        return
    count = 1 if dim is None else dataset.sizes[dim]
    along = "" if dim in (None, "scene") else f", along {dim}"
    yield "scenes", f"{count}{_period(dataset)}{along}"
    for name in PIXEL_VARIABLES:
        if (variable := dataset.variables.get(name)) is not None:
            sizes = ", ".join(f"{other}: {size}" for other, size in variable.sizes.items() if other != dim)
            yield name, f"({sizes}) {variable.dtype}{': ' + ', '.join(CLASS_NAMES) if 'mask' in name else ''}"
    datasets = _counts(dataset, "dataset", count)
    for split, names in SPLITS.items():
        if datasets:
            inside = {name: datasets.get(name, 0) for name in names}
            yield split, f"{sum(inside.values())} of {count} scenes: {_listed(inside)}"
    for name in ("annotator", "difficulty"):
        if counts := _counts(dataset, name, count):
            yield name, _listed(dict(sorted(counts.items())))
    for name, meaning in (
        ("has_alt_mask", "which both annotators made masks of"),
        ("shadows_marked", "where cloud shadows were annotated"),
    ):
        if counts := _counts(dataset, name, count):
            yield name, f"{counts.get('True', 0)} of {count} scenes, {meaning}"
    for group in TagGroup:
        tags = {tag.name: _counts(dataset, tag.name, count).get("True", 0) for tag in TAGS if tag.group is group}
        if any(tags.values()):
            yield str(group), _listed({name: n for name, n in tags.items() if n})
    yield from _own_columns(dataset)


def _own_columns(dataset: xr.Dataset) -> Iterator[tuple[str, str]]:
    """Yield the coordinates of columns that the published table does not have, if there are any."""
    published = {str(name): c.attrs.get("published_name") for name, c in dataset.variables.items()}
    if own := [name for name, column in published.items() if column and column not in TABLE_COLUMNS]:
        yield "own columns", ", ".join(own)


def _period(dataset: xr.Dataset) -> str:
    times = _values(dataset, "time")
    if times is None or times.dtype.kind != "M" or np.isnat(times).all():
        return ""
    times = times[~np.isnat(times)]
    first, last = (np.datetime_as_string(time, unit="D") for time in (times.min(), times.max()))
    return f", {first}" if first == last else f", {first} to {last}"


def _counts(dataset: xr.Dataset, name: str, scenes: int) -> dict[str, int]:
    """Count the scenes of each value, as text; a single value is that of all scenes. Empty if values are not here."""
    values = _values(dataset, name)
    if values is None:
        return {}
    counted = Counter(map(str, values.ravel().tolist()))
    return dict(counted) if dataset.variables[name].dims else dict.fromkeys(counted, scenes)


def _values(dataset: xr.Dataset, name: str) -> np.ndarray | None:
    """Return values of a variable; None if there are none in memory."""
    variable = dataset.variables.get(name)
    if variable is None or variable.ndim > 1 or variable.chunks is not None or is_lazily_indexed(variable):
        return None
    return variable.data if isinstance(variable.data, np.ndarray) else None


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in counts.items())
