"""Restore a release in the published layout from a store."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from s2cmc.errors import QueryError, name_hint
from s2cmc.release import (
    PARTS,
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
    parts: Sequence[str] | None = None,
    access: Access | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the release that a store was converted from.

    Arrays and table values equal the published ones bit for bit; every ``.shp`` and ``.prj`` equals the published file
    byte for byte, also where the store was converted from one in another dialect; PNGs hold the same pixels.

    Parameters
    ----------
    store : str or path
        Path or URL.
    out : str or path
        New or empty folder.
    layout : {"zip", "folder"}
        One zip for each part, as published, or folders, which most other loaders take.
    arrays : {"npy", "npz"}
    parts : sequence of str, optional
        Parts to write, e.g. ``["subscenes", "masks"]``; all by default.
    access : Access, optional
        How the store is reached.
    progress : callable, optional
        Called with the scenes done so far, and with all.

    Raises
    ------
    QueryError
        If a part is unknown.
    StoreError
        If there is no catalogue at `store`.
    ReleaseError
        If `out` is not an empty folder.
    """
    parts = check_parts(parts)
    group = open_group(store, access)
    stored = Readback(group)
    with ReleaseWriter(Path(locate(out)), layout=layout, arrays=arrays) as writer:
        for i in range(len(stored.scenes)):
            for path, make in published_files(stored, i, arrays, parts).items():
                writer.add(path, make())
            if progress:
                progress(i + 1, len(stored.scenes))
        if group.attrs.get("synthetic"):
            writer.mark_synthetic()
        writer.write_table(stored.table())


def check_parts(parts: Sequence[str] | None) -> Sequence[str]:
    """Return the parts of a release to write; all if None is given.

    Raises
    ------
    QueryError
        If a part is unknown, or none is named.
    """
    if parts is None:
        return PARTS
    if isinstance(parts, str) or not parts:
        raise QueryError(f"parts {parts!r} is no list of names; there are {', '.join(PARTS)}")
    if unknown := [part for part in parts if part not in PARTS]:
        raise QueryError(f"no part {unknown[0]!r} of a release; {name_hint(unknown[0], PARTS)}")
    return parts


def published_files(
    stored: Readback, i: int, arrays: ArrayFormat, parts: Sequence[str]
) -> dict[str, Callable[[], bytes]]:
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
    return {path: make for path, make in files.items() if path.partition("/")[0] in parts}


def _array_file(read: Callable[[int], Any], i: int, arrays: ArrayFormat) -> bytes:
    return encode_array(read(i), arrays)


def _outline_file(outline: Outline, suffix: str) -> bytes:
    return encode_outline(outline)[suffix]


def _thumbnail_file(stored: Readback, i: int) -> bytes:
    return encode_thumbnail(read_array(stored.array("thumbnail"), i))
