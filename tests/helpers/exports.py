"""Exports of a few scenes, for the tests that compare with them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from s2cmc.conversion.export.scenes import export

WRITTEN = ("cog", "geotiff", "npz", "npy", "png")
"""Formats of files, which share one way of writing them; a smaller store has another, see test_subset.py."""


def three_scenes(opened: xr.Dataset) -> list[str]:
    """Three scenes, of which one has a second mask, and one pixels that are not one-hot."""
    chosen = (np.flatnonzero(opened.has_alt_mask)[0], np.flatnonzero(opened.invalid_mask_pixels)[0], 6)
    return [str(opened.scene.values[i]) for i in sorted(chosen)]


def contents(folder: Path) -> dict[str, bytes]:
    """Files below a folder by path, without the journal."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".s2cmc-export/")}


def export_all(store: Path, names: Sequence[str], make_folder: Callable[[str], Path]) -> dict[str, dict[str, bytes]]:
    """What exports of these scenes write, by format."""
    folders = {name: make_folder(name) for name in WRITTEN}
    for name, folder in folders.items():
        export(str(store), str(folder), format=name, scenes=names)
    return {name: contents(folder) for name, folder in folders.items()}
