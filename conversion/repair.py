"""Make a damaged store whole: what is hit is made anew from the release, and nothing else is touched."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from posixpath import dirname
from typing import Any

from obstore.exceptions import BaseError as ObjectStoreError

from s2cmc import bundle, digests
from s2cmc.access import Access
from s2cmc.errors import ReleaseError, StoreError
from s2cmc.metadata import ROOT
from s2cmc.schema import JOURNAL_PLAN, PIXEL_VARIABLES

from .coordinates import quality_coordinates
from .layout import array_objects
from .mending import Job, Progress, Shard, mended, other_release
from .plan import Options, Plan, make_plan
from .remains import Remains, is_own, survey
from .source import open_release
from .target import Target
from .write import small_objects

_KEPT = ("format_version", "source_fingerprint", "converter", "date_created", "history", "subset")
"""Attributes that tell how and when a store was made, which its repair does not change."""


@dataclass(frozen=True)
class Repair:
    """What was made anew, or would be.

    Attributes
    ----------
    url : str
        Of the store; of the latest version where there are several.
    rewritten : tuple of str
        Keys of objects that were missing, damaged, or not those that belong there.
    removed : tuple of str
        Keys of objects of conversions that do not belong there.
    foreign : tuple of str
        Keys of files of somebody else, which are left alone; `verify` lists them too.
    scenes : mapping of str to tuple of str
        Scenes whose pixels were hit, and the variables of each.
    """

    url: str
    rewritten: tuple[str, ...]
    removed: tuple[str, ...]
    foreign: tuple[str, ...]
    scenes: Mapping[str, tuple[str, ...]]


def repair(
    store: str,
    release: str,
    *,
    dry_run: bool = False,
    workers: int | None = None,
    release_options: Mapping[str, object] | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
) -> Repair:
    """Rewrite the objects of a store that are hit, from the release that it was converted from.

    Every shard is looked at. Where the store has digests of them, the release is only read for those that are hit;
    where it has none, or they are lost, all pixels are held against the release. What is made anew has the very bytes
    that conversion wrote, which the checksums that are left prove. Killed and run again, it goes on. Whoever has the
    store open meanwhile goes on reading; a `cache_dir` that has kept a whole shard in the wrong place is to be emptied.

    Parameters
    ----------
    store : str
        Folder of the store, or ``s3://``, ``gs://`` or ``az://`` URL.
    release : str
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
        See `mending.Progress`.

    Returns
    -------
    Repair

    Raises
    ------
    ReleaseError
        If the release is not the one of the store, or files of it that are needed cannot be read.
    StoreError
        If there is no finished store, another writes to it, or it cannot be written.
    """
    url = survey(store, access).url
    target = Target(url, access)
    try:
        with nullcontext() if dry_run else target.claimed():
            remains = survey(url, access)
            job = Job(remains, _plan(remains, release, release_options), target, dry_run)
            return _finish(job, mended(job, workers or os.cpu_count() or 1, progress))
    except (OSError, ObjectStoreError) as error:
        raise StoreError(
            f"{url} cannot be repaired: {error}; what is done is kept, and the same command goes on"
        ) from error


def _plan(remains: Remains, release: str, release_options: Mapping[str, object] | None) -> Plan:
    """How the store was converted.

    Raises
    ------
    ReleaseError
        If it was converted from another release.
    """
    try:
        source = open_release(release, scenes=remains.scenes, release_options=release_options)
    except ReleaseError as error:
        raise ReleaseError(f"{remains.url} cannot be repaired: {error}") from error
    if (md5 := remains.attributes.get("source_table_md5", source.table_md5)) != source.table_md5:
        raise other_release(
            remains, release, f"the MD5 of its table is {source.table_md5}, that of the store's release {md5}"
        )
    if remains.scenes is not None and tuple(scene.scene for scene in source.scenes) != remains.scenes:
        raise other_release(remains, release, "its table has the scenes in another order")
    dtype = remains.arrays.get("reflectance", {}).get("data_type")
    plan = make_plan(source, Options("float32" if dtype == "float32" else "uint16", remains.has_thumbnails))
    if remains.attributes:
        made = {key.partition("/")[0]: json.loads(value) for key, value in array_objects(plan.arrays).items()}
        differing = [n for n in PIXEL_VARIABLES if _layout(made.get(n)) != _layout(remains.arrays.get(n))]
        if differing:
            raise other_release(
                remains, release, f"{' and '.join(differing)} of it would be laid out otherwise than in the store"
            )
    return plan


def _layout(document: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (document or {}).items() if key != "attributes"}


def _finish(job: Job, shards: Sequence[Shard]) -> Repair:
    """Compare all other objects with what they must be, and rewrite or remove them; the root comes last."""
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
    made = [shard.task.array.key(shard.task.first) for shard in shards if shard.is_new]
    scenes = {
        source.scene: tuple(shard.task.array.name for shard in shards if source.scene in shard.hit)
        for source in job.plan.release.scenes
    }
    return Repair(
        job.target.url,
        rewritten=tuple(sorted([*made, *changed])),
        removed=tuple(removed),
        foreign=tuple(sorted(others.difference(removed))),
        scenes={scene: names for scene, names in scenes.items() if names},
    )


def _small_objects(job: Job, shards: Sequence[Shard]) -> dict[str, bytes]:
    """All objects but shards as conversion would write them, with what was recorded when it did."""
    plan, attributes = job.plan, job.remains.attributes
    findings: list[dict[str, Mapping[str, int]]] = [{} for _ in plan.release.scenes]
    for shard in shards:
        for scene, counts in zip(findings[shard.task.first : shard.task.last], shard.findings, strict=True):
            scene[shard.task.array.name] = counts
    has_thumbnail = ["thumbnail" in plan.arrays and source.thumbnail is not None for source in plan.release.scenes]
    pixels = plan.size[0] * plan.size[1]
    quality = quality_coordinates(plan.release.table, findings, pixels=pixels, has_thumbnail=has_thumbnail)
    has_digests = not attributes or digests.NAME_ATTRIBUTE in attributes
    found = {shard.task.array.key(shard.task.first): shard.digest for shard in shards}
    kept = {name: attributes[name] for name in _KEPT if name in attributes}
    return small_objects(plan, quality, found if has_digests else None, kept)


def _refuse_unproved(job: Job, attributes: Mapping[str, Any]) -> None:
    """The coordinates that are left, or their checksum, must be those that would be made."""
    before = job.remains.attributes.get(bundle.CHECKSUM_ATTRIBUTE, attributes[bundle.CHECKSUM_ATTRIBUTE])
    if before != attributes[bundle.CHECKSUM_ATTRIBUTE] and not job.same_files:
        reason = "its outlines, or what is counted in its pixels, make other coordinates than those of the store"
        raise other_release(job.remains, job.plan.release.url, reason)
