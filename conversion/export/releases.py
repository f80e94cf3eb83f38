"""Restore a release in the published layout from a store."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from s2cmc.release import (
    SHAPEFILE_SUFFIXES,
    ArrayFormat,
    Layout,
    ReleaseWriter,
    array_path,
    encode_array,
    encode_outline,
    encode_thumbnail,
    outline_path,
    thumbnail_path,
)
from s2cmc.schema import Outline
from s2cmc.storage import Access, Location, locate
from s2cmc.store import open_group, read_array

from ..verify import Readback


def restore(
    store: Location,
    out: Location,
    *,
    layout: Layout = "zip",
    arrays: ArrayFormat = "npy",
    access: Access | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the release that a store was converted from.

    Arrays and table values equal the published ones bit for bit; shapefiles and PNGs hold the same outlines and
    pixels.

    Parameters
    ----------
    store : str or path
        Path or URL.
    out : str or path
        New or empty folder.
    layout : {"zip", "folder"}
        One zip for each part, as published, or folders.
    arrays : {"npy", "npz"}
    access : Access, optional
        How the store is reached.
    progress : callable, optional
        Called with the scenes done so far, and with all.

    Raises
    ------
    StoreError
        If there is no catalogue at `store`.
    ReleaseError
        If `out` is not an empty folder.
    """
    group = open_group(store, access)
    stored = Readback(group)
    with ReleaseWriter(Path(locate(out)), layout=layout, arrays=arrays) as writer:
        for i, scene in enumerate(stored.scenes):
            writer.add_subscene(scene, stored.reflectance(i))
            writer.add_mask(scene, stored.mask(i))
            if (alt_mask := stored.alt_mask(i)) is not None:
                writer.add_alt_mask(scene, alt_mask)
            if (outline := stored.outline(i)) is not None:
                writer.add_outline(scene, outline)
            if (thumbnail := stored.thumbnail(i)) is not None:
                writer.add_thumbnail(scene, thumbnail)
            if progress:
                progress(i + 1, len(stored.scenes))
        if group.attrs.get("synthetic"):
            writer.mark_synthetic()
        writer.write_table(stored.table())


def published_files(stored: Readback, i: int, arrays: ArrayFormat) -> dict[str, Callable[[], bytes]]:
    """Return makers of the files of scene `i` in the published layout, by path. Pixels are read when one is called."""
    scene = stored.scenes[i]
    read: dict[str, Callable[[int], Any]] = {"subscenes": stored.reflectance, "masks": stored.mask}
    if stored.coordinates["has_alt_mask"][i]:
        read["alt_masks"] = stored.alt_mask
    files: dict[str, Callable[[], bytes]] = {
        array_path(part, scene, arrays): partial(_array_file, array, i, arrays) for part, array in read.items()
    }
    if (outline := stored.outline(i)) is not None:
        files |= {outline_path(scene, suffix): partial(_outline_file, outline, suffix) for suffix in SHAPEFILE_SUFFIXES}
    if stored.coordinates["has_thumbnail"][i]:
        files[thumbnail_path(scene)] = partial(_thumbnail_file, stored, i)
    return files


def _array_file(read: Callable[[int], Any], i: int, arrays: ArrayFormat) -> bytes:
    return encode_array(read(i), arrays)


def _outline_file(outline: Outline, suffix: str) -> bytes:
    return encode_outline(outline)[suffix]


def _thumbnail_file(stored: Readback, i: int) -> bytes:
    return encode_thumbnail(read_array(stored.array("thumbnail"), i))
