"""Prove a store: every chunk decodes, every checksum holds, and everything equals its source bit for bit.

The files are read, counted and placed on Earth by `conversion.source`, which conversion uses too. The code that turns
them into a store is not used: stored values are turned into published ones and compared with the files.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from s2cmc.errors import StoreError
from s2cmc.schema import (
    BAND_NAMES,
    BANDS,
    CLASS_NAMES,
    DN_PER_REFLECTANCE,
    MASK_MISSING,
    PIXEL_SIZE,
    SCENE_COORDINATES,
    MaskClass,
)
from s2cmc.storage import Access, Location, locate
from s2cmc.store import DIGESTS, open_group

from ..source import (
    VALID_LABELS,
    SceneSource,
    count_extremes,
    count_labels,
    open_release,
    quality_coordinates,
    work_on_subscenes,
)
from .compare import Difference, compare_coordinates, compare_scene, differences
from .objects import check_objects, read_shard, shard_digests, shard_key, shard_spans, unreadable_scenes
from .readback import Readback

Progress = Callable[[int, int], None]


def verify(
    store: Location,
    release: Location | None = None,
    *,
    workers: int | None = None,
    release_options: Mapping[str, object] | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
) -> list[Difference]:
    """Check a store, alone or against its release.

    Parameters
    ----------
    store : str or path
        Path or URL.
    release : str or path, optional
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
    list of Difference
        One line for each problem, a str that knows the affected scenes; empty if the store is right.

    Raises
    ------
    CatalogueError
        If there is no catalogue at `store`, or no whole release at `release`.
    """
    group = open_group(store, access)
    problems = [Difference(line) for line in check_objects(group)]
    try:
        stored = Readback(group)
    except StoreError as error:
        return [*problems, Difference(str(error))]
    if missing := [Difference(line) for line in _missing_names(stored)]:
        return problems + missing
    # Before the long part, so that a wrong release is reported at once.
    source = (
        open_release(
            locate(release),
            scenes=stored.scenes,
            keep_columns=True,
            thumbnails="thumbnail" in stored.pixel_variables,
            release_options=release_options,
        )
        if release
        else None
    )
    problems += map(Difference, _check_fixed(stored))
    workers = workers or os.cpu_count() or 1
    tally = _Tally([{} for _ in stored.scenes], [set() for _ in stored.scenes])
    check = partial(_check_shard, stored, shard_digests(group), tally)
    spans = [(name, *span) for name in stored.pixel_variables for span in shard_spans(stored.array(name))]
    problems += _run_steps([partial(check, *span) for span in spans], workers, progress)
    problems += _check_counts(stored, tally.counts)
    if source and [scene.scene for scene in source.scenes] != stored.scenes:
        problems.append(Difference("the scenes of the store do not stand in the order of the published table"))
    elif source:
        problems += compare_coordinates(stored, source)
        unreadable = tally.unreadable

        def compare(i: int, scene: SceneSource) -> list[Difference]:
            return compare_scene(stored, i, scene, unreadable[i])

        if source.streamed:
            places = {scene: i for i, scene in enumerate(stored.scenes)}
            for done, (_, lines) in enumerate(work_on_subscenes(source, places, compare, workers), start=1):
                problems += lines
                if progress:
                    progress(done, len(places))
        else:
            scenes = [partial(compare, i, scene) for i, scene in enumerate(source.scenes)]
            problems += _run_steps(scenes, workers, progress)
    return list(dict.fromkeys(problems))


@dataclass(frozen=True)
class _Tally:
    """Contents of the shards by scene: counts of each variable, and variables that cannot be read."""

    counts: list[dict[str, dict[str, int]]]
    unreadable: list[set[str]]


def _run_steps(
    steps: Sequence[Callable[[], list[Difference]]], workers: int, progress: Progress | None
) -> list[Difference]:
    problems: list[Difference] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="s2cmc-verify") as pool:
        for done, step_problems in enumerate(pool.map(lambda step: step(), steps), start=1):
            problems += step_problems
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


def _check_fixed(stored: Readback) -> Iterator[str]:
    """Check the parts that all stores share: bands, positions of pixels, and the attributes that readers decode by."""
    _, height, width, _ = stored.array("reflectance").shape
    expected: dict[str, tuple[object, ...]] = {
        "band": BAND_NAMES,
        "common_name": tuple(band.common_name for band in BANDS),
        "wavelength": tuple(band.wavelength for band in BANDS),
        "bandwidth": tuple(band.bandwidth for band in BANDS),
        "native_resolution": tuple(band.resolution for band in BANDS),
        "y": tuple(-(np.arange(height) + 0.5) * PIXEL_SIZE),
        "x": tuple((np.arange(width) + 0.5) * PIXEL_SIZE),
    }
    if "thumbnail" in stored.pixel_variables:
        _, rows, columns, _ = stored.array("thumbnail").shape
        expected |= {"thumbnail_y": tuple(-0.5 - np.arange(rows)), "thumbnail_x": tuple(0.5 + np.arange(columns))}
    for name, values in expected.items():
        if tuple(stored.coordinates.get(name, ())) != values:
            yield f"coordinate {name} is not that of the catalogue"
    labels: dict[str, object] = {"flag_values": [int(c) for c in MaskClass], "flag_meanings": " ".join(CLASS_NAMES)}
    decoded: dict[str, dict[str, object]] = {"mask": labels, "alt_mask": labels}
    if stored.array("reflectance").dtype == np.uint16:
        decoded["reflectance"] = {"scale_factor": 1 / DN_PER_REFLECTANCE}
    for name, attributes in decoded.items():
        for key, value in attributes.items():
            if (stored_value := stored.array(name).attrs.get(key)) != value:
                yield f"attribute {key} of {name} is {stored_value!r}; expected {value!r}"


def _check_shard(
    stored: Readback, digests: Mapping[str, str] | None, tally: _Tally, name: str, first: int, last: int
) -> list[Difference]:
    """Read one shard, add the contents of its scenes to `tally`, and return the problems."""
    array = stored.array(name)
    try:
        shard = read_shard(array, first, last)
    except StoreError as error:
        unreadable = unreadable_scenes(array, first, last)
        for i in unreadable:
            tally.unreadable[i].add(name)
        return [_difference_of_scenes(stored, name, unreadable or range(first, last), str(error))]
    problems = []
    if digests is not None and digests.get(key := shard_key(array, first)) != shard.digest:
        problems.append(
            _difference_of_scenes(
                stored,
                name,
                range(first, last),
                f"{key} is whole, but is not the one that was written there: its digest is not the one of "
                f"{DIGESTS}, it is of other scenes, or of another store",
            )
        )
    for i, scene in enumerate(shard.pixels, start=first):
        affected = (stored.scenes[i], name)
        if name == "reflectance":
            tally.counts[i][name] = count_extremes(scene)
        elif name == "mask" or (name == "alt_mask" and stored.coordinates["has_alt_mask"][i]):
            tally.counts[i][name] = count_labels(scene)
            if unknown := sorted({int(label) for label in np.unique(scene)} - set(VALID_LABELS.tolist())):
                problems.append(Difference(f"{name} of {affected[0]} holds {unknown}, which are no labels", affected))
        elif name == "thumbnail":
            if scene.any() and not stored.coordinates["has_thumbnail"][i]:
                line = f"thumbnail of {affected[0]} holds a picture, but has_thumbnail is false"
                problems.append(Difference(line, affected))
        elif name == "alt_mask" and not (scene == MASK_MISSING).all():
            problems.append(Difference(f"alt_mask of {affected[0]} holds labels, but has_alt_mask is false", affected))
    return problems


def _difference_of_scenes(stored: Readback, name: str, positions: Sequence[int], line: str) -> Difference:
    """Make a difference that affects a variable of some scenes."""
    scenes = [stored.scenes[i] for i in positions]
    label = scenes[0] if len(scenes) == 1 else f"{len(scenes)} scenes from {scenes[0]} to {scenes[-1]}"
    return Difference(f"{name} of {label}: {line}", *((scene, name) for scene in scenes))


def _check_counts(stored: Readback, counts: list[dict[str, dict[str, int]]]) -> Iterator[Difference]:
    """Compare the quality coordinates with the counts, for scenes of which all variables could be read."""
    _, height, width = stored.array("mask").shape
    has_alt_mask, has_thumbnail = (stored.coordinates[name] for name in ("has_alt_mask", "has_thumbnail"))
    needed = [{"reflectance", "mask", "alt_mask"} if has_alt else {"reflectance", "mask"} for has_alt in has_alt_mask]
    rows = [i for i, counted in enumerate(counts) if counted.keys() == needed[i]]
    if not rows:
        return
    expected = quality_coordinates(
        stored.table().iloc[rows], [counts[i] for i in rows], pixels=height * width, has_thumbnail=has_thumbnail[rows]
    )
    yield from differences(stored, expected, "counted in its pixels", rows)
