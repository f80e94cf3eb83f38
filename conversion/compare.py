"""A store against the release it was converted from: table, outlines, and every pixel, bit for bit."""

from collections.abc import Iterator, Mapping

import numpy as np

from s2cmc.arrayfile import read_array
from s2cmc.errors import CatalogueError
from s2cmc.limits import THUMBNAIL_BYTES

from .coordinates import geo_coordinates, product_coordinates
from .outline import read_outlines
from .read import read_thumbnail
from .readback import Readback
from .source import Release, SceneSource


def compare_coordinates(stored: Readback, release: Release) -> Iterator[str]:
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
                yield f"{scene}: {column} is {here!r} in the store and {there!r} in the published table"
    _, height, width = stored.array("mask").shape
    outlines, margins = read_outlines(release.scenes, (height, width))
    for i, (scene, there) in enumerate(zip(stored.scenes, outlines, strict=True)):
        if stored.outline(i) != there:
            yield f"{scene}: its outline is {stored.outline(i)} in the store and {there} in its shapefile"
    products = [source.product for source in release.scenes]
    expected = product_coordinates(products) | geo_coordinates(outlines, margins)
    yield from differences(stored, expected, "in the release")


def differences(stored: Readback, expected: Mapping[str, np.ndarray], where: str) -> Iterator[str]:
    """One line for each value of a stored coordinate that is not as expected."""
    for name, values in expected.items():
        there = values.astype("datetime64[s]").astype("int64") if values.dtype.kind == "M" else values
        here = stored.coordinates[name]
        same = (here == there) | ((here != here) & (there != there))  # noqa: PLR0124, NaN is equal to NaN here
        for i in np.flatnonzero(~np.asarray(same, bool)):
            yield f"{stored.scenes[i]}: {name} is {here[i]!s} in the store and {there[i]!s} {where}"


def compare_scene(stored: Readback, i: int, source: SceneSource) -> list[str]:
    """One line for each array of scene `i` that is not, bit for bit, the published one."""
    try:
        found = [
            _difference(
                "reflectance",
                stored.reflectance(i).view(np.uint32),
                read_array(source.subscene.read(), source.subscene.path).astype(np.float32, copy=False).view(np.uint32),
            ),
            _difference("mask", stored.mask(i), read_array(source.mask.read(), source.mask.path)),
            _difference(
                "alt_mask",
                stored.alt_mask(i),
                read_array(source.alt_mask.read(), source.alt_mask.path) if source.alt_mask else None,
            ),
        ]
        if "thumbnail" in stored.pixel_variables:
            there = (
                read_thumbnail(source.thumbnail.read(THUMBNAIL_BYTES), source.thumbnail.path)
                if source.thumbnail
                else None
            )
            found.append(_difference("thumbnail", stored.thumbnail(i), there))
    except CatalogueError as error:
        found = [str(error)]
    return [f"{source.scene}: {line}" for line in found if line]


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
