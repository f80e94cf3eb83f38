"""The way back: from a store to a release in the published layout."""

from collections.abc import Callable
from pathlib import Path

from s2cmc.access import Access
from s2cmc.published import ArrayFormat, Layout, ReleaseWriter
from s2cmc.store import open_group

from .readback import Readback


def restore(
    store: str,
    out: str,
    *,
    layout: Layout = "zip",
    arrays: ArrayFormat = "npy",
    access: Access | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the release that a store was converted from.

    Arrays equal the published ones bit for bit, table values too; shapefiles and PNGs hold the same outlines and
    pixels.

    Parameters
    ----------
    store : str
        Path or URL.
    out : str
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
    with ReleaseWriter(Path(out), layout=layout, arrays=arrays) as writer:
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
