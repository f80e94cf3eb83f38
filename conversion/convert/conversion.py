"""Convert a release into a store: order of the steps, resuming after a kill, the report."""

import logging
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from s2cmc._redact import redacted
from s2cmc.errors import ArgumentError, CatalogueError, ReleaseError
from s2cmc.schema import ReflectanceType
from s2cmc.storage import Access, Location, locate

from ..layout import GLOBAL_ATTRIBUTES, SYNTHETIC_ATTRIBUTES, store_objects
from ..records import GIVE_UP
from ..source import (
    SUBSCENES,
    Findings,
    Release,
    SceneSource,
    compare_percentages,
    geo_coordinates,
    open_release,
    own_coordinates,
    product_coordinates,
    table_coordinates,
    work_on_subscenes,
)
from ..targets import Target, digests_in, writing
from .cluster import check_workers, connected, make_places, run_on_workers
from .load import encode_block
from .plan import Options, Plan, Task, make_plan
from .report import ConversionReport, make_report, quality_of
from .resume import start_or_resume, with_known_identities

if TYPE_CHECKING:
    from distributed import Client


logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the bytes of pixels done so far, and those of all pixels."""


def convert(
    release: Location,
    store: Location,
    *,
    scenes: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    workers: int | None = None,
    reflectance: ReflectanceType = "uint16",
    thumbnails: bool = True,
    from_dn: bool = False,
    keep_columns: bool = False,
    overwrite: bool = False,
    keep: Location | None = None,
    give_up: float = GIVE_UP,
    release_options: Mapping[str, object] | None = None,
    access: Access | None = None,
    scheduler: "str | Client | None" = None,
    progress: Progress | None = None,
) -> ConversionReport:
    """Convert a published release into one Zarr store.

    A run that was killed or has stopped is resumed by calling it again, also with other options or scenes left out:
    shards that stay the same are kept. Until it is complete, the target does not open as a
    catalogue. Memory is bounded by `workers` times one scene and what is made of it on the way: at most 150 MB a
    worker for scenes as published.

    Parameters
    ----------
    release : str or path
        Folder, zip or URL in the published layout: zips or folders of npy or npz arrays. Or the address of a published
        record, such as ``zenodo:4172871``, its DOI or its page, which is read politely and stubbornly.
    store : str or path
        Folder of the store, or ``s3://``, ``gs://`` or ``az://`` URL.
    scenes : sequence of str, optional
        Product IDs to convert; all by default.
    skip : sequence of str, optional
        Product IDs to leave out.
    workers : int, optional
        Threads; by default one for each core.
    reflectance : {"uint16", "float32"}
        Digital numbers, or the published floats as they are where they are no whole DN.
    thumbnails : bool
        Keep the thumbnails.
    from_dn : bool
        The arrays of the release hold DN as float32, 6501.0 for a reflectance of 0.6501.
    keep_columns : bool
        Keep columns of the table that the published one does not have, as coordinates of the scenes.
    overwrite : bool
        Replace a finished store, or a conversion that was started from another release or with other scenes.
    keep : str or path, optional
        Folder that keeps what is fetched of a record; `convert` takes it as a release when all of it is there.
    give_up : float
        Seconds in which nothing of a record arrives, after which it is given up.
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
        source = open_release(
            release,
            scenes=scenes,
            skip=skip,
            keep_columns=keep_columns,
            thumbnails=thumbnails,
            release_options=release_options,
            keep=keep,
            give_up=give_up,
        )
        if source.record and scheduler is not None:
            raise ArgumentError(
                f"{release} is a record, whose host counts requests, so that one process reads it; download it to "
                "where all workers see it (s2cmc download), and convert the folder"
            )
        for line in source.warnings:
            logger.warning(line)
        plan = with_known_identities(make_plan(source, Options(reflectance, thumbnails, from_dn)), target)
        target.check_free(overwrite=overwrite)  # again, as listing the release may have taken minutes
        run = uuid4().hex
        target.admit(run)  # from here on workers that an earlier run left behind write nothing
        if client is not None:
            check_workers(client, make_places(plan, target, run, release))
        command = plan.command(
            target.url,
            scenes,
            target.access.public_options(),
            skipped_scenes=skip,
            scheduler=_scheduler_address(scheduler),
        )
        header = {"identity": plan.identity(), "command": command}
        todo = start_or_resume(plan, target, header, overwrite=overwrite)
        if client is None:
            done = _run_here(plan, target, todo, workers or os.cpu_count() or 1)
        else:
            places = make_places(plan, target, run, release)
            done = run_on_workers(client, plan, target, places, todo)
        with closing(done):  # tasks under way end before the target is released
            _collect(plan, todo, done, progress)
        _prove_whole(plan.release)
        findings = _publish(with_known_identities(plan, target), target)
    return make_report(
        plan,
        findings,
        store=redacted(store),
        nbytes=target.nbytes(),
        resumed=len(plan.tasks()) - len(todo),
        began=began,
    )


def _scheduler_address(scheduler: "str | Client | None") -> str | None:
    """Return the address of a scheduler that another process can reach; None if there is none."""
    if scheduler is None or isinstance(scheduler, str):
        return scheduler
    return str(scheduler.scheduler.address) if scheduler.scheduler else None


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
    if problems := sorted(set(problems)):
        raise ReleaseError(
            f"{len(problems)} scenes or arrays cannot be stored; what could be is kept, and the same command resumes "
            "once the release is mended, or with --skip for the scenes to leave out",
            problems,
        )


def _run_here(plan: Plan, target: Target, tasks: Sequence[Task], workers: int) -> Generator[tuple[Task, list[str]]]:
    """Run tasks in this process, those of the small arrays first; yield each, and why scenes cannot be stored."""
    small = [task for task in tasks if task.array.name != "reflectance"]
    large = [task for task in tasks if task.array.name == "reflectance"]
    if plan.release.streamed:
        yield from _run_in_threads(plan, target, small, workers)
        yield from _run_streaming(plan, target, large, workers)
    else:
        yield from _run_in_threads(plan, target, [*small, *large], workers)


def _run_streaming(
    plan: Plan, target: Target, tasks: Sequence[Task], workers: int
) -> Generator[tuple[Task, list[str]]]:
    """Run the tasks of reflectance while the zip of all subscenes streams by."""

    def work(task: Task, source: SceneSource) -> list[str]:
        scenes = list(plan.release.scenes)
        scenes[task.first] = source
        return _convert_task(replace(plan, release=replace(plan.release, scenes=tuple(scenes))), target, task)

    by_scene = {plan.release.scenes[task.first].scene: task for task in tasks}
    yield from work_on_subscenes(plan.release, by_scene, work, workers)


def _prove_whole(release: Release) -> None:
    """Complete the large file of a record that is kept: a few bytes are between its members."""
    if release.record and release.record.keeps_all and release.is_whole:
        release.record.complete(SUBSCENES)


def _run_in_threads(
    plan: Plan, target: Target, tasks: Sequence[Task], workers: int
) -> Generator[tuple[Task, list[str]]]:
    """Run tasks in threads; yield each finished task, and why scenes of it cannot be stored."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="s2cmc-convert")
    try:
        futures = {pool.submit(_convert_task, plan, target, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        if plan.release.record:
            plan.release.record.stop()  # threads may wait for minutes
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _convert_task(plan: Plan, target: Target, task: Task) -> list[str]:
    shard, block = encode_block(plan, task)
    if not block.problems:
        key = task.array.key(task.first)
        written = target.write({key: shard})
        target.record(task.name, plan.sources(task), block.findings, written, {key: task.array.digest(shard)})
    return block.problems


def _publish(plan: Plan, target: Target) -> list[Findings]:
    records = target.records()
    findings = _findings(plan, records, target.url)
    agreement = compare_percentages(plan.release.table, findings, plan.size[0] * plan.size[1])
    if agreement.is_wrong:
        raise ReleaseError(
            f"{plan.release.url} contradicts itself: {agreement.text}. Mend the table or the masks; what is done is "
            "kept, and the same command resumes"
        )
    target.publish(small_objects(plan, quality_of(plan, findings), digests_in(records)))
    return findings


def _findings(plan: Plan, records: Mapping[str, Mapping[str, Any]], url: str) -> list[Findings]:
    findings: list[dict[str, Mapping[str, Any]]] = [{} for _ in plan.release.scenes]
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
    own = own_coordinates(release.table)
    return store_objects(plan.arrays, coordinates, attributes | dict(kept or {}), digests, own)
