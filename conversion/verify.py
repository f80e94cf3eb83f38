"""Prove a store: every chunk decodes, every checksum holds, and everything equals its source bit for bit.

Nothing of what wrote the store is used: stored values are turned into published ones and compared with the release.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from s2cmc.schema import MASK_MISSING, SCENE_COORDINATES
from s2cmc.store import open_group

from .check import VALID_LABELS, count_extremes, count_labels
from .compare import compare_coordinates, compare_scene, differences
from .coordinates import quality_coordinates
from .inventory import check_objects
from .readback import Readback
from .source import open_release

_DAMAGED = (ValueError, RuntimeError, OSError, TypeError, KeyError)
"""What zarr and its codecs raise where bytes are not what was written."""

_Counts = dict[str, dict[str, int]]

Progress = Callable[[int, int], None]


def verify(
    store: str,
    release: str | None = None,
    *,
    workers: int | None = None,
    storage_options: Mapping[str, object] | None = None,
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
    storage_options : mapping, optional
        Options of the fsspec file system of `release`.
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
    group = open_group(store)
    problems = list(check_objects(store, group))
    try:
        stored = Readback(group)
    except _DAMAGED as error:
        return [*problems, f"coordinates cannot be read: {error}"]
    problems += _missing_names(stored)
    if problems:
        return problems
    # Before the long part, so that a wrong RELEASE is told at once.
    source = open_release(release, scenes=stored.scenes, storage_options=storage_options) if release else None
    workers = workers or os.cpu_count() or 1
    counts: list[_Counts] = [{} for _ in stored.scenes]
    shards = [partial(_check_shard, stored, name, first, counts) for name, first in _shards(stored)]
    problems += _run(shards, workers, progress)
    if not problems:
        problems += _check_counts(stored, counts)
    if source and not problems:
        if [scene.scene for scene in source.scenes] != stored.scenes:
            return ["the scenes of the store do not stand in the order of the published table"]
        problems += compare_coordinates(stored, source)
        scenes = [partial(compare_scene, stored, i, scene) for i, scene in enumerate(source.scenes)]
        problems += _run(scenes, workers, progress)
    return problems


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


def _check_shard(stored: Readback, name: str, first: int, counts: list[_Counts]) -> list[str]:
    """Read one shard; notes in `counts` what is in its scenes, and returns what is wrong."""
    array = stored.array(name)
    last = min(first + (array.shards or array.chunks)[0], array.shape[0])
    try:
        pixels = np.asarray(array[first:last])
    except _DAMAGED as error:
        return [f"{name} of {', '.join(stored.scenes[first:last])} cannot be read: {error}"]
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


def _check_counts(stored: Readback, counts: list[_Counts]) -> Iterator[str]:
    """The quality coordinates against what was counted."""
    _, height, width = stored.array("mask").shape
    thumbnails = stored.coordinates["has_thumbnail"]
    expected = quality_coordinates(stored.table(), counts, pixels=height * width, has_thumbnail=thumbnails)
    return differences(stored, expected, "counted in its pixels")
