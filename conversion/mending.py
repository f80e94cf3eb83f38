"""The shards of a store that may be damaged: looked at, and made anew from the release where they are hit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import zarr

from s2cmc.errors import DamagedError, MissingObjectError, ReleaseError
from s2cmc.objects import CatalogueStore, Place

from .check import count_extremes, count_labels
from .layout import array_objects, shard_objects
from .load import load_block
from .plan import Plan, Task
from .remains import Remains
from .shardcheck import read_shard, unreadable_scenes
from .target import Target

Progress = Callable[[int, int], None]
"""Called with the shards looked at or made anew so far, and with all."""


@dataclass(frozen=True)
class Job:
    """What is to be mended, from what, and whether to write."""

    remains: Remains
    plan: Plan
    target: Target
    dry_run: bool

    @cached_property
    def arrays(self) -> "dict[str, zarr.Array[Any]]":
        """Arrays of the store, as they must be: their own metadata may be damaged."""
        place = Place(self.target.url, self.target.access.signed())
        objects = CatalogueStore(place).holding(array_objects(self.plan.arrays))
        return {name: zarr.open_array(objects, path=name, mode="r", zarr_format=3) for name in self.plan.arrays}

    @cached_property
    def same_files(self) -> bool:
        """Names, sizes and CRCs of all files are those that the store was made from: nothing else need be proved."""
        return bool(self.remains.attributes.get("source_fingerprint") == self.plan.release.fingerprint())


@dataclass(frozen=True)
class Shard:
    """A shard as it is, or as it was made anew.

    Attributes
    ----------
    task : Task
    digest : str
    findings : sequence of mapping of str to int
        What is counted in its scenes.
    hit : tuple of str
        Scenes that were not as they must be.
    is_new : bool
        It was made anew.
    problems : sequence of str
        Why it cannot be made.
    """

    task: Task
    digest: str
    findings: Sequence[Mapping[str, int]]
    hit: tuple[str, ...] = ()
    is_new: bool = False
    problems: Sequence[str] = ()


def mended(job: Job, workers: int, progress: Progress | None) -> list[Shard]:
    """Every shard of a store, looked at, and made anew where it is hit.

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
    looked = list(_each(partial(_look, job), tasks, workers, progress, (0, len(tasks))))
    whole = [shard for shard in looked if shard]
    if job.remains.digests is None and not job.same_files:
        _refuse_unlike(job, whole)
    hit = [task for task, shard in zip(tasks, looked, strict=True) if shard is None]
    made = list(_each(partial(_make_anew, job), hit, workers, progress, (len(tasks), len(tasks) + len(hit))))
    if problems := sorted(line for shard in made for line in shard.problems):
        raise ReleaseError(
            f"{len(problems)} scenes or arrays of {job.plan.release.url} cannot be stored, which {job.target.url} "
            "needs; what could be mended is, and the same command goes on once the release is whole",
            problems,
        )
    return whole + made


def _each[T](
    work: Callable[[Task], T], tasks: Sequence[Task], workers: int, progress: Progress | None, span: tuple[int, int]
) -> Iterator[T]:
    """What comes of each task, in order; `span` is what has been done before, and what there is in all."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="s2cmc-repair")
    try:
        for done, result in enumerate(pool.map(work, tasks), start=span[0] + 1):
            if progress:
                progress(done, span[1])
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _look(job: Job, task: Task) -> Shard | None:
    """A shard as it is; None where it is hit."""
    key = task.array.key(task.first)
    try:
        shard = read_shard(job.arrays[task.array.name], task.first, task.last)
    except (DamagedError, MissingObjectError):
        return None
    if job.remains.digests is not None:
        is_own = job.remains.digests.get(key) == shard.digest
    else:
        block = load_block(job.plan, task)
        is_own = bool(block.problems) or _same(shard.pixels, block.pixels)
    return Shard(task, shard.digest, _counted(job, task, shard.pixels)) if is_own else None


def _counted(job: Job, task: Task, pixels: np.ndarray) -> list[dict[str, int]]:
    """What is counted in the scenes of a shard, as `load.load_block` does."""
    sources = job.plan.release.scenes[task.first : task.last]
    if task.array.name == "reflectance":
        return [count_extremes(scene) for scene in pixels]
    if task.array.name == "thumbnail":
        return [{} for _ in sources]
    has_labels = [source.members(task.array.name) for source in sources]
    return [count_labels(scene) if has else {} for scene, has in zip(pixels, has_labels, strict=True)]


def _make_anew(job: Job, task: Task) -> Shard:
    """A shard made from the release, and written unless this is a dry run."""
    block = load_block(job.plan, task)
    if block.problems:
        return Shard(task, "", (), problems=block.problems)
    ((key, content),) = shard_objects(task.array, task.first, block.pixels).items()
    digest = task.array.digest(content)
    if job.remains.digests is not None and not job.same_files and job.remains.digests.get(key) != digest:
        raise other_release(job.remains, job.plan.release.url, f"{key} made from it has not the digest of the store's")
    hit = _hit(job, task, block.pixels)
    if not job.dry_run:
        job.target.write({key: content})
    return Shard(task, digest, block.findings, hit, is_new=True)


def _hit(job: Job, task: Task, pixels: np.ndarray) -> tuple[str, ...]:
    """Scenes of a shard that cannot be read, or are not as they must be."""
    array, scenes = job.arrays[task.array.name], job.plan.release.scenes
    hit = unreadable_scenes(array, task.first, task.last)
    if not hit:
        here = read_shard(array, task.first, task.last).pixels
        hit = [task.first + i for i in range(len(pixels)) if not _same(here[i], pixels[i])]
    return tuple(scenes[i].scene for i in hit)


def _same(here: np.ndarray, there: np.ndarray) -> bool:
    return here.dtype == there.dtype and np.array_equal(here, there, equal_nan=here.dtype.kind == "f")


def _refuse_unlike(job: Job, whole: Sequence[Shard]) -> None:
    """Where nothing else tells whose pixels these are, some of them must be those of the release."""
    if not any(shard.task.array.name in ("reflectance", "mask") for shard in whole):
        reason = "no shard of reflectance or mask that can still be read equals what would be made from it"
        raise other_release(job.remains, job.plan.release.url, reason)


def other_release(remains: Remains, release: str, reason: str) -> ReleaseError:
    """What is said of a release that is not the one of a store."""
    return ReleaseError(
        f"{release} is not the release that {remains.url} was converted from: {reason}; nothing of it is taken. Give "
        "the release itself, or convert anew with `s2cmc convert --overwrite`"
    )
