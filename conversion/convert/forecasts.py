"""Forecast of a conversion: tasks, bytes, requests, time. Nothing is written."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import median_low

import numpy as np

from s2cmc.errors import ReleaseError
from s2cmc.schema import QUALITY_COORDINATES, ReflectanceType
from s2cmc.storage import Location, locate

from ..layout import store_objects
from ..records import GIVE_UP, KeptRecord
from ..source import (
    Member,
    Release,
    SceneSource,
    ZipMember,
    geo_coordinates,
    open_release,
    own_coordinates,
    product_coordinates,
    table_coordinates,
    work_on_subscenes,
)
from .load import encode_block
from .plan import Options, Plan, Task, make_plan

_JOURNAL = 2  # objects: the plan, the run


@dataclass(frozen=True)
class ArrayForecast:
    """Cost of one array of pixels.

    Attributes
    ----------
    name : str
    tasks : int
        Shards: one task and one object each.
    reads : int
        Requests: one for each file or member of a zip, or for a whole zip if it is small.
    read_nbytes, written_nbytes : int
        Bytes of these files as they are in the release, and of the shards, estimated.
    ratio : float
        Bytes written for each byte read, as measured.
    seconds : float
        Time of one thread for all tasks, from the measured scenes.
    """

    name: str
    tasks: int
    reads: int
    read_nbytes: int
    written_nbytes: int
    ratio: float
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """Cost of a conversion.

    Attributes
    ----------
    scenes, workers : int
        Workers are threads, of this machine or of a cluster.
    arrays : tuple of ArrayForecast
    metadata_objects, metadata_nbytes : int
        Coordinates, twice, and metadata.
    way : str
        How the scenes of a published record are read, in words; empty for another release.
    measured_scene : str
        Scene of median size, whose reflectance was loaded and encoded in memory to measure ratio and seconds. For the
        other arrays one chunk of scenes from this one on was measured.
    """

    scenes: int
    workers: int
    arrays: tuple[ArrayForecast, ...]
    metadata_objects: int
    metadata_nbytes: int
    measured_scene: str
    way: str = ""

    @property
    def tasks(self) -> int:
        """Shards to write."""
        return sum(array.tasks for array in self.arrays)

    @property
    def objects(self) -> int:
        """Objects of the finished store."""
        return self.tasks + self.metadata_objects

    @property
    def reads(self) -> int:
        """Requests to the release for pixels."""
        return sum(array.reads for array in self.arrays)

    @property
    def puts(self) -> int:
        """Requests that write: objects, the metadata of arrays once more, the record of each task, the journal."""
        return self.objects + self.tasks + len(self.arrays) + _JOURNAL

    @property
    def read_nbytes(self) -> int:
        """Bytes of the release that are read for pixels."""
        return sum(array.read_nbytes for array in self.arrays)

    @property
    def written_nbytes(self) -> int:
        """Bytes of the store, estimated."""
        return sum(array.written_nbytes for array in self.arrays) + self.metadata_nbytes

    @property
    def seconds(self) -> float:
        """Time of the tasks, if workers are as fast as the measuring thread and do not slow each other down."""
        longest = max(array.seconds / array.tasks for array in self.arrays)
        return max(longest, sum(array.seconds for array in self.arrays) / self.workers)


def forecast(
    release: Location,
    *,
    scenes: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    workers: int = 1,
    reflectance: ReflectanceType = "uint16",
    thumbnails: bool = True,
    from_dn: bool = False,
    keep_columns: bool = False,
    give_up: float = GIVE_UP,
    release_options: Mapping[str, object] | None = None,
) -> Forecast:
    """Plan a conversion and load and encode a few scenes in memory; see `convert`.

    Parameters
    ----------
    release, scenes, skip, reflectance, thumbnails, from_dn, keep_columns, give_up, release_options
        As `convert` takes them.
    workers : int
        Threads that will do the tasks.

    Raises
    ------
    ReleaseError
        If the release is not whole, or the measured scenes cannot be stored.
    """
    source = open_release(
        locate(release),
        scenes=scenes,
        skip=skip,
        keep_columns=keep_columns,
        thumbnails=thumbnails,
        release_options=release_options,
        give_up=give_up,
    )
    plan = make_plan(source, Options(reflectance, thumbnails, from_dn))
    sizes = [_stored_nbytes(source.subscene) for source in plan.release.scenes]
    measured = sizes.index(median_low(sizes))
    # Small arrays first, so that imports and other one-time costs do not count into the time of the large one.
    small = [name for name in plan.arrays if name != "reflectance"]
    arrays = [_array_forecast(plan, name, measured) for name in small]
    if source.streamed:
        measured, reflectance_forecast = _streamed_forecast(plan)
        arrays.append(reflectance_forecast)
    else:
        arrays.append(_array_forecast(plan, "reflectance", measured))
    digests = {task.array.key(task.first): "0" * 64 for task in plan.tasks()}
    metadata = store_objects(plan.arrays, _coordinates(plan), {}, digests, own_coordinates(source.table))
    return Forecast(
        scenes=len(plan.release.scenes),
        workers=workers,
        arrays=tuple(sorted(arrays, key=lambda array: list(plan.arrays).index(array.name))),
        metadata_objects=len(metadata),
        metadata_nbytes=sum(map(len, metadata.values())),
        measured_scene=plan.release.scenes[measured].scene,
        way=_way(source),
    )


_MEASURED = 8
"""Scenes that are measured of an array whose shards hold as many: one mask alone says little of others."""


def _array_forecast(plan: Plan, name: str, middle: int) -> ArrayForecast:
    """Forecast an array from up to eight scenes of a shard: from the middle on, or the last that have the variable.

    60 of 513 scenes have an alt_mask, and 2 of the scenes that are measured. If these 2 take 0.1 s, and their files of
    8 kB give 4 kB, the ratio is 0.5 and the time 0.1 s * 60 / 2 = 3 s.
    """
    array, sources = plan.arrays[name], plan.release.scenes
    members = [member for source in sources for member in source.members(name)]
    with_variable = [i for i, source in enumerate(sources) if source.members(name)]
    seconds, ratio = 0.0, 0.0
    if with_variable:
        first = next((i for i in with_variable if i >= middle), with_variable[-1])
        task = Task(array, first, min(first + min(array.scenes_per_shard, _MEASURED), len(sources)))
        seconds, written = _measure(plan, task)
        measured_members = [member for source in sources[task.first : task.last] for member in source.members(name)]
        ratio = written / sum(map(_stored_nbytes, measured_members))
        seconds *= len(members) / len(measured_members)
    zips = {member.archive for member in members if isinstance(member, ZipMember) and _comes_whole(member)}
    read_nbytes = sum(map(_stored_nbytes, members))
    return ArrayForecast(
        name=name,
        tasks=len(array.spans()),
        reads=len(zips) or len(members),
        read_nbytes=read_nbytes,
        written_nbytes=round(ratio * read_nbytes),
        ratio=ratio,
        seconds=seconds,
    )


def _streamed_forecast(plan: Plan) -> tuple[int, ArrayForecast]:
    """Forecast reflectance from the first subscene that streams by; also return the position of its scene."""
    release, array = plan.release, plan.arrays["reflectance"]
    by_scene = {release.scenes[task.first].scene: task for task in plan.tasks() if task.array is array}

    def work(task: Task, source: SceneSource) -> int:
        scenes = list(release.scenes)
        scenes[task.first] = source
        return _measure(replace(plan, release=replace(release, scenes=tuple(scenes))), task)[1]

    began = time.perf_counter()
    with closing(work_on_subscenes(release, by_scene, work, 1)) as results:
        task, written = next(results)
    seconds = time.perf_counter() - began
    count, read = len(release.scenes), int(release.record.size(release.streamed)) if release.record else 0
    forecast = ArrayForecast(
        name=array.name,
        tasks=count,
        reads=1,
        read_nbytes=read,
        written_nbytes=written * count,
        ratio=written * count / max(read, 1),
        seconds=seconds * count,
    )
    return task.first, forecast


def _comes_whole(member: ZipMember) -> bool:
    """Return True if a member comes with all others of its zip."""
    kept = isinstance(member.filesystem, KeptRecord) and member.filesystem.keeps_expected(member.archive)
    return kept or member.whole is not None


def _measure(plan: Plan, task: Task) -> tuple[float, int]:
    """Load and encode some scenes in this thread; return the seconds, and the bytes of the shards."""
    began = time.perf_counter()
    shard, block = encode_block(plan, task)
    if block.problems:
        raise ReleaseError("scenes that were to be measured cannot be stored", block.problems)
    return time.perf_counter() - began, len(shard)


def _stored_nbytes(member: Member) -> int:
    """Return the bytes that reading a member fetches."""
    return member.info.compress_size if isinstance(member, ZipMember) else member.nbytes


def _way(release: Release) -> str:
    """Say how the scenes of a record are read."""
    if release.record is None:
        return ""
    if release.streamed:
        return (
            f"{release.streamed} is converted as it streams by, because the server honours no ranges: what breaks off "
            "begins it again, finished scenes are kept"
        )
    return "scenes are read by ranges, a request each: what breaks off goes on where it ended"


def _coordinates(plan: Plan) -> dict[str, np.ndarray]:
    """Return the coordinates that are known without pixels, and zeros for the others."""
    unknown = {c.name: np.zeros(len(plan.release.scenes), c.dtype) for c in QUALITY_COORDINATES}
    return (
        unknown
        | table_coordinates(plan.release.table)
        | product_coordinates([source.product for source in plan.release.scenes])
        | geo_coordinates(plan.outlines, plan.margins)
    )
