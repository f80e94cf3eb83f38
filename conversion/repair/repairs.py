"""Repair a damaged store: affected objects are made again from the release, and nothing else is touched."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from posixpath import dirname
from typing import Any

import numpy as np
import zarr

from s2cmc.errors import DamagedError, MissingObjectError, ReleaseError
from s2cmc.schema import JOURNAL_PLAN, PIXEL_VARIABLES, SOURCE_VALUES
from s2cmc.storage import Access, Location, locate
from s2cmc.store import BUNDLE_CHECKSUM_ATTRIBUTE, ROOT, CatalogueStore, Place

from ..convert import Options, Plan, Task, load_block, make_plan, small_objects
from ..layout import array_objects, shard_object
from ..source import SceneSource, count_extremes, count_labels, keep_thumbnail, open_release, quality_coordinates
from ..targets import Target, writing
from ..verify import read_shard, unreadable_scenes
from .survey import Remains, is_own, survey

Progress = Callable[[int, int], None]
"""Called with the number of shards inspected or made again so far, and of all."""


@dataclass(frozen=True)
class Job:
    """A store to repair, the plan to make it from, and whether to write."""

    remains: Remains
    plan: Plan
    target: Target
    dry_run: bool

    @cached_property
    def arrays(self) -> "dict[str, zarr.Array[Any]]":
        """Arrays of the store with the metadata they must have: the stored metadata may be damaged."""
        place = Place(self.target.url, self.target.access.signed())
        objects = CatalogueStore(place).with_objects(array_objects(self.plan.arrays))
        return {name: zarr.open_array(objects, path=name, mode="r", zarr_format=3) for name in self.plan.arrays}

    @cached_property
    def same_files(self) -> bool:
        """True if names, sizes and CRCs of all files are those that the store was made from; that is proof enough."""
        return bool(self.remains.attributes.get("source_fingerprint") == self.plan.release.fingerprint())


@dataclass(frozen=True)
class Shard:
    """A shard as it is stored, or as it was made again.

    Attributes
    ----------
    task : Task
    digest : str
    findings : sequence of mapping
        Counts and other facts of its scenes.
    affected : tuple of str
        Scenes that were damaged or wrong.
    is_new : bool
        The shard was made again.
    problems : sequence of str
        Reasons why it cannot be made.
    """

    task: Task
    digest: str
    findings: Sequence[Mapping[str, Any]]
    affected: tuple[str, ...] = ()
    is_new: bool = False
    problems: Sequence[str] = ()


def repair_shards(job: Job, workers: int, progress: Progress | None) -> list[Shard]:
    """Inspect every shard of a store, make the affected ones again, and return all.

    Parameters
    ----------
    job : Job
    workers : int
        Threads.
    progress : callable, optional
        See `Progress`.

    Raises
    ------
    ReleaseError
        If the release is not the one of the store, or cannot be read where it is needed.
    StoreError
        If the store cannot be read or written.
    """
    tasks = job.plan.tasks()
    inspected = list(_map_tasks(partial(_inspect, job), tasks, workers, progress, (0, len(tasks))))
    whole = [shard for shard in inspected if shard]
    if job.remains.digests is None and not job.same_files:
        _refuse_unlike(job, whole)
    affected = [task for task, shard in zip(tasks, inspected, strict=True) if shard is None]
    span = (len(tasks), len(tasks) + len(affected))
    remade = list(_map_tasks(partial(_remake, job), affected, workers, progress, span))
    if problems := sorted(line for shard in remade for line in shard.problems):
        raise ReleaseError(
            f"{len(problems)} scenes or arrays of {job.plan.release.url} cannot be stored, which {job.target.url} "
            "needs; what could be mended is, and the same command goes on once the release is whole",
            problems,
        )
    return whole + remade


def _map_tasks[T](
    work: Callable[[Task], T], tasks: Sequence[Task], workers: int, progress: Progress | None, span: tuple[int, int]
) -> Iterator[T]:
    """Yield the result of `work` for each task, in order; `span` is the number done before, and the number in all.

    With 20 shards of which 3 are affected, the first pass has span (0, 20) and the second (20, 23).
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="s2cmc-repair")
    try:
        for done, result in enumerate(pool.map(work, tasks), start=span[0] + 1):
            if progress:
                progress(done, span[1])
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _inspect(job: Job, task: Task) -> Shard | None:
    """Return a shard as it is stored; None if it must be made again."""
    key = task.array.key(task.first)
    try:
        shard = read_shard(job.arrays[task.array.name], task.first, task.last)
    except (DamagedError, MissingObjectError):
        return None
    if job.remains.digests is not None:
        is_right = job.remains.digests.get(key) == shard.digest
    else:
        pixels, block = load_block(job.plan, task)
        is_right = bool(block.problems) or _is_equal(shard.pixels, pixels)
    return Shard(task, shard.digest, _count_scenes(job, task, shard.pixels)) if is_right else None


def _count_scenes(job: Job, task: Task, pixels: np.ndarray) -> list[dict[str, Any]]:
    """Count the scenes of a shard, as `load_block` does."""
    sources = job.plan.release.scenes[task.first : task.last]
    if task.array.name == "reflectance":
        return [count_extremes(scene) for scene in pixels]
    if task.array.name == "thumbnail":
        return [
            {"kept": True} if _has_picture(scene, source) else {} for scene, source in zip(pixels, sources, strict=True)
        ]
    has_labels = [source.members(task.array.name) for source in sources]
    return [count_labels(scene) if has else {} for scene, has in zip(pixels, has_labels, strict=True)]


def _has_picture(stored: np.ndarray, source: SceneSource) -> bool:
    """Return True if a thumbnail is kept; only a black one must be looked at in the release."""
    if stored.any() or source.thumbnail is None:
        return bool(stored.any())
    return keep_thumbnail(source.thumbnail, stored.shape[:2])[0] is not None


def _remake(job: Job, task: Task) -> Shard:
    """Make a shard from the release, and write it unless this is a dry run."""
    pixels, block = load_block(job.plan, task)
    if block.problems:
        return Shard(task, "", (), problems=block.problems)
    key, content = task.array.key(task.first), shard_object(task.array, [pixels])
    digest = task.array.digest(content)
    if job.remains.digests is not None and not job.same_files and job.remains.digests.get(key) != digest:
        reason = f"{key} made from it has not the digest of the store's"
        raise other_release_error(job.remains, job.plan.release.url, reason)
    affected = _affected_scenes(job, task, pixels)
    if not job.dry_run:
        job.target.write({key: content})
    return Shard(task, digest, block.findings, affected, is_new=True)


def _affected_scenes(job: Job, task: Task, pixels: np.ndarray) -> tuple[str, ...]:
    """Return the scenes of a shard that cannot be read, or differ from `pixels`."""
    array, scenes = job.arrays[task.array.name], job.plan.release.scenes
    positions = unreadable_scenes(array, task.first, task.last)
    if not positions:
        stored = read_shard(array, task.first, task.last).pixels
        positions = [task.first + i for i in range(len(pixels)) if not _is_equal(stored[i], pixels[i])]
    return tuple(scenes[i].scene for i in positions)


def _is_equal(stored: np.ndarray, expected: np.ndarray) -> bool:
    return stored.dtype == expected.dtype and np.array_equal(stored, expected, equal_nan=stored.dtype.kind == "f")


def _refuse_unlike(job: Job, whole: Sequence[Shard]) -> None:
    """Refuse the release if no pixel of the store is proved to be of it."""
    if not any(shard.task.array.name in ("reflectance", "mask") for shard in whole):
        reason = "no shard of reflectance or mask that can still be read equals what would be made from it"
        raise other_release_error(job.remains, job.plan.release.url, reason)


def other_release_error(remains: Remains, release: str, reason: str) -> ReleaseError:
    """Return the error about a release that is not the one of a store."""
    return ReleaseError(
        f"{release} is not the release that {remains.url} was converted from: {reason}; nothing of it is taken. Give "
        "the release itself, or convert anew with `s2cmc convert --overwrite`"
    )


_KEPT = ("format_version", "source_fingerprint", "converter", "date_created", "history", "subset")
"""Attributes that say how and when a store was made; a repair keeps them."""


@dataclass(frozen=True)
class Repair:
    """Objects of a store that were repaired, or would be.

    Attributes
    ----------
    url : str
        URL of the store; of the latest version where there are several.
    rewritten : tuple of str
        Keys of objects that were missing, damaged, or not those of this store.
    removed : tuple of str
        Keys of objects of a conversion that this store does not have.
    foreign : tuple of str
        Keys of other files, which are left alone; `verify` lists them too.
    scenes : mapping of str to tuple of str
        Scenes whose pixels were affected, and the variables of each.
    """

    url: str
    rewritten: tuple[str, ...]
    removed: tuple[str, ...]
    foreign: tuple[str, ...]
    scenes: Mapping[str, tuple[str, ...]]


def repair(
    store: Location,
    release: Location,
    *,
    dry_run: bool = False,
    workers: int | None = None,
    release_options: Mapping[str, object] | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
) -> Repair:
    """Rewrite the affected objects of a store from the release that it was converted from.

    Every shard is inspected. While the store has the digests of its shards, the release is only read for the affected
    ones; if they are lost, all pixels are compared with the release. Objects that are made again have the very bytes
    that the conversion wrote; the remaining checksums prove it. A repair that was killed is resumed by calling it
    again. Readers that have the store open meanwhile go on reading; a `cache_dir` that has kept a whole
    shard in the wrong place is to be emptied.

    Parameters
    ----------
    store : str or path
        Folder of the store, or ``s3://``, ``gs://`` or ``az://`` URL.
    release : str or path
        Folder or URL in the published layout.
    dry_run : bool
        Do everything but write.
    workers : int, optional
        Threads; by default one for each core.
    release_options : mapping, optional
        Options of the fsspec file system of `release`.
    access : Access, optional
        How a bucket is reached; by default with the credentials of the environment.
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    Repair

    Raises
    ------
    ReleaseError
        If the release is not the one of the store, or needed files of it cannot be read.
    StoreError
        If there is no finished store, another process writes to it, or it cannot be written.
    """
    url = survey(locate(store), access).url
    target = Target(url, access)
    with (
        writing(url, lambda: "; what is done is kept, and the same command goes on", verb="repaired"),
        nullcontext() if dry_run else target.claimed(),
    ):
        remains = survey(url, access)
        job = Job(remains, _plan(remains, locate(release), release_options), target, dry_run)
        return _finish(job, repair_shards(job, workers or os.cpu_count() or 1, progress))


def _plan(remains: Remains, release: str, release_options: Mapping[str, object] | None) -> Plan:
    """Plan the conversion that made the store.

    Raises
    ------
    ReleaseError
        If the store was converted from another release.
    """
    try:
        source = open_release(
            release,
            scenes=remains.scenes,
            keep_columns=True,
            thumbnails=remains.has_thumbnails,
            release_options=release_options,
        )
    except ReleaseError as error:
        raise ReleaseError(f"{remains.url} cannot be repaired: {error}") from error
    if (md5 := remains.attributes.get("source_table_md5", source.table_md5)) != source.table_md5:
        raise other_release_error(
            remains, release, f"the MD5 of its table is {source.table_md5}, that of the store's release {md5}"
        )
    if remains.scenes is not None and tuple(scene.scene for scene in source.scenes) != remains.scenes:
        raise other_release_error(remains, release, "its table has the scenes in another order")
    stored = remains.arrays.get("reflectance", {})
    options = Options(
        "float32" if stored.get("data_type") == "float32" else "uint16",
        remains.has_thumbnails,
        from_dn=stored.get("attributes", {}).get(SOURCE_VALUES) == "DN",
    )
    plan = make_plan(source, options, whole=False)
    if remains.attributes:
        documents = {key.partition("/")[0]: json.loads(value) for key, value in array_objects(plan.arrays).items()}
        differing = [n for n in PIXEL_VARIABLES if _layout(documents.get(n)) != _layout(remains.arrays.get(n))]
        if differing:
            raise other_release_error(
                remains, release, f"{' and '.join(differing)} of it would be laid out otherwise than in the store"
            )
    return plan


def _layout(document: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (document or {}).items() if key != "attributes"}


def _finish(job: Job, shards: Sequence[Shard]) -> Repair:
    """Compare all objects except shards with the expected ones, and rewrite or remove them; the root comes last."""
    expected = _small_objects(job, shards)
    _refuse_unproved(job, json.loads(expected[ROOT])["attributes"])
    changed = {key: value for key, value in expected.items() if job.target.read(key) != value}
    belonging = expected.keys() | {shard.task.array.key(shard.task.first) for shard in shards}
    others = {key for key in job.remains.keys - belonging if not key.startswith(dirname(JOURNAL_PLAN))}
    removed = sorted(filter(is_own, others))
    if not job.dry_run:
        job.target.write(changed)
        for key in removed:
            job.target.remove(key)
    remade = [shard.task.array.key(shard.task.first) for shard in shards if shard.is_new]
    scenes = {
        source.scene: tuple(shard.task.array.name for shard in shards if source.scene in shard.affected)
        for source in job.plan.release.scenes
    }
    return Repair(
        job.target.url,
        rewritten=tuple(sorted([*remade, *changed])),
        removed=tuple(removed),
        foreign=tuple(sorted(others.difference(removed))),
        scenes={scene: names for scene, names in scenes.items() if names},
    )


def _small_objects(job: Job, shards: Sequence[Shard]) -> dict[str, bytes]:
    """Make all objects except shards as the conversion wrote them, with the attributes that it recorded."""
    plan, attributes = job.plan, job.remains.attributes
    findings: list[dict[str, Mapping[str, Any]]] = [{} for _ in plan.release.scenes]
    for shard in shards:
        for scene, counts in zip(findings[shard.task.first : shard.task.last], shard.findings, strict=True):
            scene[shard.task.array.name] = counts
    has_thumbnail = [bool(scene.get("thumbnail", {}).get("kept")) for scene in findings]
    pixels = plan.size[0] * plan.size[1]
    quality = quality_coordinates(plan.release.table, findings, pixels=pixels, has_thumbnail=has_thumbnail)
    digests = {shard.task.array.key(shard.task.first): shard.digest for shard in shards}
    kept = {name: attributes[name] for name in _KEPT if name in attributes}
    return small_objects(plan, quality, digests, kept)


def _refuse_unproved(job: Job, attributes: Mapping[str, Any]) -> None:
    """Refuse the release if its coordinates do not have the checksum that the store states."""
    before = job.remains.attributes.get(BUNDLE_CHECKSUM_ATTRIBUTE, attributes[BUNDLE_CHECKSUM_ATTRIBUTE])
    if before != attributes[BUNDLE_CHECKSUM_ATTRIBUTE] and not job.same_files:
        reason = "its outlines, or what is counted in its pixels, make other coordinates than those of the store"
        raise other_release_error(job.remains, job.plan.release.url, reason)
