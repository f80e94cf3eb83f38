"""A store against the release it was converted from: table, outlines, and every pixel, bit for bit."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from s2cmc.errors import CatalogueError
from s2cmc.files import THUMBNAIL_BYTES, read_array

from ..source import Release, SceneSource, geo_coordinates, product_coordinates, read_outlines, read_thumbnail
from .readback import Readback


class Difference(str):
    """One line on what is not as it should be.

    Attributes
    ----------
    hit : tuple of (str, str)
        Scenes that it is about, and what of each; empty where it is about all, or none.
    """

    hit: tuple[tuple[str, str], ...]

    def __new__(cls, line: str, *hit: tuple[str, str]) -> "Difference":
        """A line, and what it is about."""
        made = super().__new__(cls, line)
        made.hit = hit
        return made


def compare_coordinates(stored: Readback, release: Release) -> Iterator[Difference]:
    """One line for each value of the table, outline, corner or bound that differs.

    Parameters
    ----------
    stored : Readback
    release : Release
        With the same scenes in the same order.
    """
    table = stored.table()
    for column in release.table:
        for scene, here, there in zip(stored.scenes, table[column], release.table[column], strict=True):
            if here != there:
                line = f"{scene}: {column} is {here!r} in the store and {there!r} in the published table"
                yield Difference(line, (scene, "coordinates"))
    _, height, width = stored.array("mask").shape
    outlines, margins = read_outlines(release.scenes, (height, width))
    for i, (scene, there) in enumerate(zip(stored.scenes, outlines, strict=True)):
        if stored.outline(i) != there:
            line = f"{scene}: its outline is {stored.outline(i)} in the store and {there} in its shapefile"
            yield Difference(line, (scene, "coordinates"))
    products = [source.product for source in release.scenes]
    expected = product_coordinates(products) | geo_coordinates(outlines, margins)
    yield from differences(stored, expected, "in the release")


def differences(
    stored: Readback, expected: Mapping[str, np.ndarray], where: str, rows: Sequence[int] | None = None
) -> Iterator[Difference]:
    """One line for each value of a stored coordinate that is not as expected, of all scenes or of some rows."""
    chosen = np.arange(len(stored.scenes)) if rows is None else np.array(rows, int)
    for name, values in expected.items():
        there = values.astype("datetime64[s]").astype("int64") if values.dtype.kind == "M" else values
        here = stored.coordinates[name][chosen]
        same = (here == there) | ((here != here) & (there != there))  # noqa: PLR0124, NaN is equal to NaN here
        for i in np.flatnonzero(~np.asarray(same, bool)):
            scene = stored.scenes[chosen[i]]
            yield Difference(
                f"{scene}: {name} is {here[i]!s} in the store and {there[i]!s} {where}", (scene, "coordinates")
            )


def compare_scene(stored: Readback, i: int, source: SceneSource, known: Collection[str] = ()) -> list[Difference]:
    """One line for each array of scene `i` that is not, bit for bit, the published one; `known` ones are left out."""
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
            read_thumbnail(source.thumbnail.read(THUMBNAIL_BYTES), source.thumbnail.path) if source.thumbnail else None,
        ),
    }
    found = []
    for name, pair in pairs.items():
        if name in stored.pixel_variables and name not in known:
            try:
                line = _difference(name, *pair())
            except CatalogueError as error:
                line = str(error)
            if line:
                found.append(Difference(f"{source.scene}: {line}", (source.scene, name)))
    return found


def _difference(name: str, here: np.ndarray | None, there: np.ndarray | None) -> str | None:
    if here is None or there is None:
        if here is there:
            return None
        return f"{name} is only in the {'release' if here is None else 'store'}"
    if (here.shape, here.dtype) != (there.shape, there.dtype):
        return f"{name} is {here.dtype} {here.shape} in the store and {there.dtype} {there.shape} in the release"
    different = here != there
    if not different.any():
        return None
    first = ", ".join(str(n) for n in np.argwhere(different)[0])
    return f"{name} differs in {np.count_nonzero(different)} values, the first at [{first}]"
