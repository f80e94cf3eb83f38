"""Convert a release into a store: order of the steps, resuming after a kill, the report."""

import json
import logging
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from s2cmc._redact import redacted
from s2cmc.errors import ArgumentError, CatalogueError, ReleaseError, StoreError
from s2cmc.schema import ReflectanceType
from s2cmc.storage import Access, Location, locate

from ..layout import GLOBAL_ATTRIBUTES, SYNTHETIC_ATTRIBUTES, array_objects, store_objects
from ..source import (
    Findings,
    geo_coordinates,
    open_release,
    product_coordinates,
    quality_coordinates,
    table_coordinates,
)
from ..targets import State, Step, Target, digests_in, writing
from .cluster import check_workers, connected, make_places, run_on_workers
from .load import encode_block
from .plan import Options, Plan, Task, make_plan

if TYPE_CHECKING:
    from distributed import Client


_ODDITIES = {
    "invalid_mask_pixels": "mask pixels are not one-hot; their bits are kept and they are shown as 255",
    "invalid_alt_mask_pixels": "pixels of the alternative mask are not one-hot; kept and shown in the same way",
    "zero_pixels": "pixels have DN 0 (no data) in some band",
    "saturated_pixels": "pixels have DN 65535 (saturated) in some band",
    "nonfinite_pixels": "pixels are NaN or infinite in some band",
}
_CONTRADICTIONS = {
    "percentages_agree": "percentages of the table are not those of the mask",
    "tags_consistent": "cloud tags contradict each other or the mask",
    "shadows_consistent": "shadow in the mask though shadows_marked is false",
}


@dataclass(frozen=True)
class ConversionReport:
    """Summary of a conversion.

    Attributes
    ----------
    store : str
    scenes : int
    seconds : float
        Time of this run.
    source_nbytes, nbytes : int
        Bytes of the pixels as they were published, unpacked, and of the store.
    resumed : int
        Tasks that an earlier run had done.
    warnings : tuple of str
        Missing and extra files of the release.
    oddities : dict of str to dict of str to int
        By quality coordinate: the scenes in which something is odd, with the number of pixels, or false.
        Everything odd is kept in the store.
    """

    store: str
    scenes: int
    seconds: float
    source_nbytes: int
    nbytes: int
    resumed: int
    warnings: tuple[str, ...]
    oddities: dict[str, dict[str, int]]

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        lines = [
            f"{self.scenes} scenes in {self.seconds:.1f} s: {self.source_nbytes / 1e6:,.1f} MB of arrays are "
            f"{self.nbytes / 1e6:,.1f} MB in {self.store}"
        ]
        if self.resumed:
            lines.append(f"resumed: {self.resumed} tasks had been done before")
        lines += list(self.warnings)
        for name, scenes in self.oddities.items():
            named = [f"{scene} ({count})" if count else scene for scene, count in scenes.items()]
            shown = ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
            text = (_ODDITIES | _CONTRADICTIONS)[name]
            lines.append(f"{text}, in {len(scenes)} of {self.scenes} scenes: {shown}")
        return lines

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(asdict(self), indent=2)


def make_report(
    plan: Plan, quality: Mapping[str, np.ndarray], *, store: str, nbytes: int, resumed: int, began: float
) -> ConversionReport:
    """Summarise a conversion from its quality coordinates."""
    scenes = plan.release.table["scene"].to_numpy()
    odd = {name: quality[name] > 0 for name in _ODDITIES} | {name: ~quality[name] for name in _CONTRADICTIONS}
    height, width = plan.size
    count, *_, bands = plan.arrays["reflectance"].shape
    masks = count + int(quality["has_alt_mask"].sum())
    return ConversionReport(
        store=store,
        scenes=count,
        seconds=time.monotonic() - began,
        source_nbytes=height * width * (count * bands * 4 + masks * 3),
        nbytes=nbytes,
        resumed=resumed,
        warnings=plan.release.warnings,
        oddities={
            name: dict(zip(scenes[where], quality[name][where].tolist(), strict=True))
            for name, where in odd.items()
            if where.any()
        },
    )


logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the bytes of pixels done so far, and those of all pixels."""


def convert(
    release: Location,
    store: Location,
    *,
    scenes: Sequence[str] | None = None,
    workers: int | None = None,
    reflectance: ReflectanceType = "uint16",
    thumbnails: bool = True,
    overwrite: bool = False,
    release_options: Mapping[str, object] | None = None,
    access: Access | None = None,
    scheduler: "str | Client | None" = None,
    progress: Progress | None = None,
) -> ConversionReport:
    """Convert a published release into one Zarr store.

    A run that was killed is resumed by calling it again; until it is complete, the target does not open as a
    catalogue. Memory is bounded by `workers` times one scene and what is made of it on the way: at most 150 MB a
    worker for scenes as published.

    Parameters
    ----------
    release : str or path
        Folder, zip or URL in the published layout: zips or folders of npy or npz arrays.
    store : str or path
        Folder of the store, or ``s3://``, ``gs://`` or ``az://`` URL.
    scenes : sequence of str, optional
        Product IDs to convert; all by default.
    workers : int, optional
        Threads; by default one for each core.
    reflectance : {"uint16", "float32"}
        Digital numbers, or the published floats as they are where they are no whole DN.
    thumbnails : bool
        Keep the thumbnails.
    overwrite : bool
        Replace a finished store, or a conversion that was started with other arguments.
    release_options : mapping, optional
        Options of the fsspec file system of `release`.
    access : Access, optional
        How a bucket is reached; by default with the credentials of the environment.
    scheduler : str or distributed.Client, optional
        Address of a Dask scheduler, whose workers do the work instead of this process and write straight to `store`.
        They need this version of s2cmc with ``convert``, `release` and `store` under the same paths or URLs, and
        credentials of their own; any of them may die, and others may come, at any moment. Memory is bounded as above,
        for each of their threads.
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    ConversionReport

    Raises
    ------
    CatalogueError
        If `scheduler` cannot be reached, or its workers cannot convert: one line for each.
    ReleaseError
        If the release is not whole, or scenes cannot be stored without loss: one line for each.
    StoreError
        If `store` holds something else, or cannot be written.
    """
    began = time.monotonic()
    if workers is not None and scheduler is not None:
        raise ArgumentError(
            "workers are threads of this process, and those of a scheduler have their own; leave one of them out"
        )
    release, store = locate(release), locate(store)
    target = Target(store, access)
    target.check_free(overwrite=overwrite)
    with (
        writing(store, lambda: "; what is done is kept, the same command resumes" if target.is_begun() else ""),
        nullcontext() if scheduler is None else connected(scheduler) as client,
        target.claimed(),
    ):
        source = open_release(release, scenes=scenes, release_options=release_options)
        for line in source.warnings:
            logger.warning(line)
        plan = make_plan(source, Options(reflectance, thumbnails))
        target.check_free(overwrite=overwrite)  # again, as listing the release may have taken minutes
        run = uuid4().hex
        target.admit(run)  # from here on workers that an earlier run left behind write nothing
        if client is not None:
            check_workers(client, make_places(plan, target, run, release))
        command = plan.command(
            target.url, scenes, target.access.public_options(), scheduler=_scheduler_address(scheduler)
        )
        _start_or_resume(plan, target, {"identity": plan.identity(), "command": command}, overwrite)
        todo = _remaining_tasks(plan, target)
        if client is None:
            done = _run_in_threads(plan, target, todo, workers or os.cpu_count() or 1)
        else:
            places = make_places(plan, target, run, release)
            done = run_on_workers(client, plan, target, places, todo)
        with closing(done):  # tasks under way end before the target is released
            _collect(plan, todo, done, progress)
        quality = _publish(plan, target)
    return make_report(
        plan, quality, store=redacted(store), nbytes=target.nbytes(), resumed=len(plan.tasks()) - len(todo), began=began
    )


def _scheduler_address(scheduler: "str | Client | None") -> str | None:
    """Return the address of a scheduler that another process can reach; None if there is none."""
    if scheduler is None or isinstance(scheduler, str):
        return scheduler
    return str(scheduler.scheduler.address) if scheduler.scheduler else None


def _start_or_resume(plan: Plan, target: Target, header: dict[str, Any], overwrite: bool) -> None:
    started = target.header()
    differing = _differences(plan, target, header, started) if started is not None else []
    if target.state() is State.STARTED and started is not None and differing and not overwrite:
        raise StoreError(
            f"{target.url} holds a conversion that was started with another {' and '.join(differing)}; finish it "
            f"with `{started.get('command', 'the command that started it')}`, or use --overwrite to start anew"
        )
    target.begin(header, array_objects(plan.arrays), same=started is not None and not differing)


def _differences(plan: Plan, target: Target, header: Mapping[str, Any], started: Mapping[str, Any]) -> list[str]:
    """Name the differences to the started conversion. Files that no finished task has read may have been repaired."""
    before = started.get("identity", {})
    differing = [key for key, value in header["identity"].items() if before.get(key) != value]
    if not differing and started.get("step") != Step.CLEARING:
        records = target.records()
        changed = [
            task for task in plan.tasks() if (r := records.get(task.name)) and r["sources"] != plan.sources(task)
        ]
        differing = [f"content of files ({', '.join(task.name for task in changed[:3])})"] if changed else []
    return differing


def _remaining_tasks(plan: Plan, target: Target) -> list[Task]:
    records = target.records()
    return [task for task in plan.tasks() if task.name not in records]


def _collect(
    plan: Plan, todo: Sequence[Task], finished: Iterator[tuple[Task, list[str]]], progress: Progress | None
) -> None:
    """Wait for tasks, report progress, and raise one error with the problems of all."""
    total = sum(task.nbytes for task in plan.tasks())
    done = total - sum(task.nbytes for task in todo)
    problems: list[str] = []
    if progress:
        progress(done, total)
    for task, task_problems in finished:
        problems += task_problems
        done += task.nbytes
        if progress:
            progress(done, total)
    if problems:
        raise ReleaseError(
            f"{len(problems)} scenes or arrays cannot be stored; what could be is kept, and the same command resumes "
            "once the release is mended",
            sorted(problems),
        )


def _run_in_threads(
    plan: Plan, target: Target, tasks: Sequence[Task], workers: int
) -> Generator[tuple[Task, list[str]]]:
    """Run tasks in threads; yield each finished task, and why scenes of it cannot be stored."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="s2cmc-convert")
    try:
        futures = {pool.submit(_convert_task, plan, target, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _convert_task(plan: Plan, target: Target, task: Task) -> list[str]:
    shard, block = encode_block(plan, task)
    if not block.problems:
        key = task.array.key(task.first)
        written = target.write({key: shard})
        target.record(task.name, plan.sources(task), block.findings, written, {key: task.array.digest(shard)})
    return block.problems


def _publish(plan: Plan, target: Target) -> dict[str, np.ndarray]:
    records = target.records()
    quality = quality_coordinates(
        plan.release.table,
        _findings(plan, records, target.url),
        pixels=plan.size[0] * plan.size[1],
        has_thumbnail=["thumbnail" in plan.arrays and source.thumbnail is not None for source in plan.release.scenes],
    )
    target.publish(small_objects(plan, quality, digests_in(records)))
    return quality


def _findings(plan: Plan, records: Mapping[str, Mapping[str, Any]], url: str) -> list[Findings]:
    findings: list[dict[str, Mapping[str, int]]] = [{} for _ in plan.release.scenes]
    for task in plan.tasks():
        if task.name not in records:
            raise CatalogueError(f"{url}: the record of {task.name} is gone; run the same command again")
        for scene, counts in zip(findings[task.first : task.last], records[task.name]["findings"], strict=True):
            scene[task.array.name] = counts
    return list(findings)


def small_objects(
    plan: Plan,
    quality: Mapping[str, np.ndarray],
    digests: Mapping[str, str],
    kept: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Make every object of a store except its shards, by key; see `layout.store_objects`.

    Parameters
    ----------
    plan : Plan
    quality : mapping of str to ndarray (scene,)
        All of `schema.QUALITY_COORDINATES`.
    digests : mapping of str to str
        Digests of every shard, by key.
    kept : mapping, optional
        Attributes that keep their values.
    """
    release = plan.release
    times = sorted(source.product.time for source in release.scenes)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    converter = f"s2cmc {version('s2cmc')}"
    attributes = GLOBAL_ATTRIBUTES | {
        "source_table_md5": release.table_md5,
        "source_fingerprint": release.fingerprint(),
        "converter": converter,
        "time_coverage_start": f"{times[0]:%Y-%m-%dT%H:%M:%SZ}",
        "time_coverage_end": f"{times[-1]:%Y-%m-%dT%H:%M:%SZ}",
        "date_created": now,
        "history": f"{now} converted by {converter}",
    }
    if release.synthetic:
        attributes = {
            key: value for key, value in attributes.items() if key not in ("doi", "id", "citation", "license")
        }
        attributes |= SYNTHETIC_ATTRIBUTES
    coordinates = (
        table_coordinates(release.table)
        | product_coordinates([source.product for source in release.scenes])
        | geo_coordinates(plan.outlines, plan.margins)
        | dict(quality)
    )
    return store_objects(plan.arrays, coordinates, attributes | dict(kept or {}), digests)
