"""Prove a store: every chunk decodes, every checksum holds, and everything equals its source bit for bit.

The files are read, counted and placed on Earth by the rooms that conversion uses too. What turns them into a store is
not used: stored values are turned into published ones and compared with the files.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from s2cmc.access import Access
from s2cmc.bands import BAND_NAMES, BANDS
from s2cmc.errors import StoreError
from s2cmc.reading import read_array
from s2cmc.schema import (
    CLASS_NAMES,
    DN_PER_REFLECTANCE,
    MASK_MISSING,
    PIXEL_SIZE,
    SCENE_COORDINATES,
    MaskClass,
)
from s2cmc.store import open_group

from .check import VALID_LABELS, count_extremes, count_labels
from .compare import compare_coordinates, compare_scene, differences
from .coordinates import quality_coordinates
from .inventory import check_objects
from .readback import Readback
from .source import open_release

_Counts = dict[str, dict[str, int]]

Progress = Callable[[int, int], None]


def verify(
    store: str,
    release: str | None = None,
    *,
    workers: int | None = None,
    release_options: Mapping[str, object] | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Check a store, alone or against its release.

    Parameters
    ----------
    store : str
        Path or URL.
    release : str, optional
        The release it was converted from; without it the store is checked against its own checksums and counts.
    workers : int, optional
        Threads; by default one for each core.
    release_options : mapping, optional
        Options of the fsspec file system of `release`.
    access : Access, optional
        How the store is reached.
    progress : callable, optional
        Called with the steps done so far, and with all.

    Returns
    -------
    list of str
        One line for each difference; empty if all is well.

    Raises
    ------
    CatalogueError
        If there is no catalogue at `store`, or no whole release at `release`.
    """
    group = open_group(store, access)
    problems = list(check_objects(group))
    try:
        stored = Readback(group)
    except StoreError as error:
        return [*problems, str(error)]
    if missing := list(_missing_names(stored)):
        return problems + missing
    # Before the long part, so that a wrong RELEASE is told at once.
    source = open_release(release, scenes=stored.scenes, release_options=release_options) if release else None
    problems += _check_fixed(stored)
    workers = workers or os.cpu_count() or 1
    counts: list[_Counts] = [{} for _ in stored.scenes]
    shards = [partial(_check_shard, stored, name, first, counts) for name, first in _shards(stored)]
    unreadable = _run(shards, workers, progress)
    problems += unreadable
    if not unreadable:
        problems += _check_counts(stored, counts)
    if source and [scene.scene for scene in source.scenes] != stored.scenes:
        problems.append("the scenes of the store do not stand in the order of the published table")
    elif source:
        problems += compare_coordinates(stored, source)
        scenes = [partial(compare_scene, stored, i, scene) for i, scene in enumerate(source.scenes)]
        problems += _run(scenes, workers, progress)
    return list(dict.fromkeys(problems))


def _run(steps: Sequence[Callable[[], list[str]]], workers: int, progress: Progress | None) -> list[str]:
    problems: list[str] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="s2cmc-verify") as pool:
        for done, found in enumerate(pool.map(lambda step: step(), steps), start=1):
            problems += found
            if progress:
                progress(done, len(steps))
    return problems


def _missing_names(stored: Readback) -> Iterator[str]:
    for coordinate in SCENE_COORDINATES:
        if coordinate.name not in stored.coordinates:
            yield f"coordinate {coordinate.name} is missing"
    for name in ("reflectance", "mask", "alt_mask"):
        if name not in stored.pixel_variables:
            yield f"variable {name} is missing"


def _shards(stored: Readback) -> Iterator[tuple[str, int]]:
    for name in stored.pixel_variables:
        array = stored.array(name)
        for first in range(0, array.shape[0], (array.shards or array.chunks)[0]):
            yield name, first


def _check_fixed(stored: Readback) -> Iterator[str]:
    """What every store has alike: bands, positions of pixels, and the attributes that readers decode by."""
    _, height, width, _ = stored.array("reflectance").shape
    expected: dict[str, tuple[object, ...]] = {
        "band": BAND_NAMES,
        "common_name": tuple(band.common_name for band in BANDS),
        "wavelength": tuple(band.wavelength for band in BANDS),
        "bandwidth": tuple(band.bandwidth for band in BANDS),
        "native_resolution": tuple(band.resolution for band in BANDS),
        "y": tuple((np.arange(height) + 0.5) * PIXEL_SIZE),
        "x": tuple((np.arange(width) + 0.5) * PIXEL_SIZE),
    }
    for name, values in expected.items():
        if tuple(stored.coordinates.get(name, ())) != values:
            yield f"coordinate {name} is not that of the catalogue"
    labels: dict[str, object] = {"flag_values": [int(c) for c in MaskClass], "flag_meanings": " ".join(CLASS_NAMES)}
    decoded: dict[str, dict[str, object]] = {"mask": labels, "alt_mask": labels}
    if stored.array("reflectance").dtype == np.uint16:
        decoded["reflectance"] = {"scale_factor": 1 / DN_PER_REFLECTANCE}
    for name, attributes in decoded.items():
        for key, value in attributes.items():
            if (found := stored.array(name).attrs.get(key)) != value:
                yield f"attribute {key} of {name} is {found!r}; expected {value!r}"


def _check_shard(stored: Readback, name: str, first: int, counts: list[_Counts]) -> list[str]:
    """Read one shard; notes in `counts` what is in its scenes, and returns what is wrong."""
    array = stored.array(name)
    last = min(first + (array.shards or array.chunks)[0], array.shape[0])
    try:
        pixels = read_array(array, slice(first, last))
    except StoreError as error:
        return [f"{name} of {_spoken(stored.scenes[first:last])}: {error}"]
    problems = []
    for i, scene in enumerate(pixels, start=first):
        if name == "reflectance":
            counts[i][name] = count_extremes(scene)
        elif name == "mask" or (name == "alt_mask" and stored.coordinates["has_alt_mask"][i]):
            counts[i][name] = count_labels(scene)
            if strange := sorted({int(label) for label in np.unique(scene)} - set(VALID_LABELS.tolist())):
                problems.append(f"{name} of {stored.scenes[i]} holds {strange}, which are no labels")
        elif name == "alt_mask" and not (scene == MASK_MISSING).all():
            problems.append(f"alt_mask of {stored.scenes[i]} holds labels, but has_alt_mask is false")
    return problems


def _spoken(scenes: list[str]) -> str:
    return scenes[0] if len(scenes) == 1 else f"{len(scenes)} scenes from {scenes[0]} to {scenes[-1]}"


def _check_counts(stored: Readback, counts: list[_Counts]) -> Iterator[str]:
    """The quality coordinates against what was counted."""
    _, height, width = stored.array("mask").shape
    thumbnails = stored.coordinates["has_thumbnail"]
    expected = quality_coordinates(stored.table(), counts, pixels=height * width, has_thumbnail=thumbnails)
    return differences(stored, expected, "counted in its pixels")
