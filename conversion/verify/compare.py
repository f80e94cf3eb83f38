"""Compare a store with the release it was converted from: table, outlines, and every pixel, bit for bit."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from s2cmc.errors import CatalogueError
from s2cmc.files import read_array

from ..records import RecordError
from ..source import Release, SceneSource, geo_coordinates, keep_thumbnail, product_coordinates, read_outlines
from .readback import Readback


class Difference(str):
    """One line that describes a difference.

    Attributes
    ----------
    hit : tuple of (str, str)
        Affected scenes, and the variable of each; empty if it affects all scenes, or none.
    """

    hit: tuple[tuple[str, str], ...]

    def __new__(cls, line: str, *hit: tuple[str, str]) -> "Difference":
        """Make a line with its affected scenes."""
        difference = super().__new__(cls, line)
        difference.hit = hit
        return difference


def compare_coordinates(stored: Readback, release: Release) -> Iterator[Difference]:
    """Yield one line for each value of the table, outline, corner or bound that differs.

    Parameters
    ----------
    stored : Readback
    release : Release
        With the same scenes in the same order.
    """
    table = stored.table()
    for column in table.columns.symmetric_difference(release.table.columns):
        yield Difference(f"column {column!r} is only in the {'store' if column in table else 'published table'}")
    for column in table.columns.intersection(release.table.columns):
        for scene, actual, published in zip(stored.scenes, table[column], release.table[column], strict=True):
            if actual != published and not (pd.isna(actual) and pd.isna(published)):
                line = f"{scene}: {column} is {actual!r} in the store and {published!r} in the published table"
                yield Difference(line, (scene, "coordinates"))
    _, height, width = stored.array("mask").shape
    outlines, margins = read_outlines(release.scenes, (height, width))
    for i, (scene, outline) in enumerate(zip(stored.scenes, outlines, strict=True)):
        if stored.outline(i) != outline:
            line = f"{scene}: its outline is {stored.outline(i)} in the store and {outline} in its shapefile"
            yield Difference(line, (scene, "coordinates"))
    products = [source.product for source in release.scenes]
    expected = product_coordinates(products) | geo_coordinates(outlines, margins)
    yield from differences(stored, expected, "in the release")


def differences(
    stored: Readback, expected: Mapping[str, np.ndarray], where: str, rows: Sequence[int] | None = None
) -> Iterator[Difference]:
    """Yield one line for each value of a stored coordinate that is not as expected.

    Parameters
    ----------
    stored : Readback
    expected : mapping of str to ndarray (scene,)
        One value for each scene, or for each of `rows`.
    where : str
        Origin of the expected values, for the lines.
    rows : sequence of int, optional
        Positions of the scenes in the store; all by default.
    """
    chosen = np.arange(len(stored.scenes)) if rows is None else np.array(rows, int)
    for name, values in expected.items():
        reference = values.astype("datetime64[s]").astype("int64") if values.dtype.kind == "M" else values
        actual = stored.coordinates[name][chosen]
        same = (actual == reference) | ((actual != actual) & (reference != reference))  # noqa: PLR0124, NaN equals NaN
        for i in np.flatnonzero(~np.asarray(same, bool)):
            scene = stored.scenes[chosen[i]]
            yield Difference(
                f"{scene}: {name} is {actual[i]!s} in the store and {reference[i]!s} {where}", (scene, "coordinates")
            )


def compare_scene(stored: Readback, i: int, source: SceneSource, known: Collection[str] = ()) -> list[Difference]:
    """Return one line for each array of scene `i` that differs from the published one, except for `known` arrays."""
    pairs: dict[str, Callable[[], tuple[np.ndarray | None, np.ndarray | None]]] = {
        "reflectance": lambda: (
            stored.reflectance(i).view(np.uint32),
            read_array(source.subscene.read(), source.subscene.path).astype(np.float32, copy=False).view(np.uint32),
        ),
        "mask": lambda: (stored.mask(i), read_array(source.mask.read(), source.mask.path)),
        "alt_mask": lambda: (
            stored.alt_mask(i),
            read_array(source.alt_mask.read(), source.alt_mask.path) if source.alt_mask else None,
        ),
        "thumbnail": lambda: (
            stored.thumbnail(i),
            keep_thumbnail(source.thumbnail, stored.thumbnail_size)[0] if source.thumbnail else None,
        ),
    }
    lines = []
    for name, pair in pairs.items():
        if name in stored.pixel_variables and name not in known:
            try:
                line = _describe_difference(name, *pair())
            except RecordError:
                raise
            except CatalogueError as error:
                line = str(error)
            if line:
                lines.append(Difference(f"{source.scene}: {line}", (source.scene, name)))
    return lines


def _describe_difference(name: str, actual: np.ndarray | None, published: np.ndarray | None) -> str | None:
    if actual is None or published is None:
        if actual is published:
            return None
        return f"{name} is only in the {'release' if actual is None else 'store'}"
    if (actual.shape, actual.dtype) != (published.shape, published.dtype):
        actual_form, published_form = f"{actual.dtype} {actual.shape}", f"{published.dtype} {published.shape}"
        return f"{name} is {actual_form} in the store and {published_form} in the release"
    different = actual != published
    if not different.any():
        return None
    first = ", ".join(str(n) for n in np.argwhere(different)[0])
    return f"{name} differs in {np.count_nonzero(different)} values, the first at [{first}]"
