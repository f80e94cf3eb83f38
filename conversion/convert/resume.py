"""Resuming of a conversion that was begun, also with other options or without some scenes: valid shards are kept.

The record of a finished task has the fingerprint of all that its shard depends on: scenes, files and encoding. So each
shard is judged alone, and the fingerprint finds its place again where scenes before it were left out::

    scenes A B C D, B cannot be stored   reflectance-000000 (A), -000002 (C), -000003 (D) are done
    then --skip B                        C becomes reflectance-000001, D -000002; neither is read or encoded again

Masks and thumbnails have many scenes in a shard: the shards from the first one with a left-out scene on are made again.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from s2cmc.errors import StoreError
from s2cmc.schema import PIXEL_VARIABLES

from ..layout import array_objects
from ..source import PassingMember
from ..targets import State, Step, Target
from .plan import Plan, Task

logger = logging.getLogger(__name__)


def start_or_resume(plan: Plan, target: Target, header: dict[str, Any], *, overwrite: bool) -> list[Task]:
    """Begin a conversion, or resume the one that was begun and keep its valid shards; return the tasks that remain.

    Parameters
    ----------
    plan : Plan
    target : Target
    header : dict
        Identity and command, for the journal.
    overwrite : bool
        Start anew where nothing can be kept.

    Raises
    ------
    StoreError
        If another conversion was begun, of which nothing can be kept.
    """
    started = target.header()
    differing = [] if started is None else _differences(plan, target, header["identity"], started)
    if target.state() is State.STARTED and started is not None and differing and not overwrite:
        raise StoreError(
            f"{target.url} holds a conversion that was started with another {' and '.join(differing)}; finish it "
            f"with `{started.get('command', 'the command that started it')}`, or use --overwrite to start anew"
        )
    resumes = started is not None and not differing
    target.begin(header, array_objects(plan.arrays), same=resumes)
    done = _keep_valid(plan, target) if resumes else set()
    return [task for task in plan.tasks() if task.name not in done]


def with_known_identities(plan: Plan, target: Target) -> Plan:
    """Return the plan of a release that streams by with the identities of the subscenes that have passed before."""
    scenes = ((target.header() or {}).get("identity") or {}).get("scenes") or []
    records = target.records() if plan.release.streamed else {}
    # reflectance-000003 is of the fourth scene.
    known = {
        scenes[int(name.rpartition("-")[2])]: record["findings"][0]["source"]
        for name, record in records.items()
        if name.startswith("reflectance-")
    }
    sources = tuple(
        replace(source, subscene=replace(source.subscene, identity=known[source.scene]))
        if isinstance(source.subscene, PassingMember) and source.scene in known
        else source
        for source in plan.release.scenes
    )
    return replace(plan, release=replace(plan.release, scenes=sources))


def _differences(plan: Plan, target: Target, identity: Mapping[str, Any], started: Mapping[str, Any]) -> Sequence[str]:
    """Name the differences to the started conversion; none if shards of it can be kept."""
    before = started.get("identity", {})
    differing = [key for key, value in identity.items() if before.get(key) != value]
    step = started.get("step")
    if step in (Step.REMOVING, Step.MOVING):  # the store is whole, and is as it was planned then
        return differing
    is_other = (
        "format version" in differing
        or not _is_part(identity["scenes"], before.get("scenes"))
        or ("release" in differing and not _has_valid(plan, target))
    )
    return differing if is_other else []


def _is_part(scenes: Sequence[str], before: Sequence[str] | None) -> bool:
    """Return True if one of two lists of scenes is the other without some."""
    shorter, longer = sorted((scenes, before or []), key=len)
    remaining = iter(longer)
    return bool(shorter) and all(scene in remaining for scene in shorter)


def _has_valid(plan: Plan, target: Target) -> bool:
    needed = {plan.sources(task) for task in plan.tasks()}
    return any(record["sources"] in needed for record in target.records().values())


def _keep_valid(plan: Plan, target: Target) -> set[str]:
    """Keep the shards that the plan needs, each in its place, and remove others; return the names of their tasks."""
    needed = {plan.sources(task): task for task in plan.tasks()}
    records = target.records()
    places = {name: needed[r["sources"]] for name, r in records.items() if r["sources"] in needed}
    kept = {name for name, task in places.items() if task.name == name}
    moves = {name: task for name, task in places.items() if task.name not in kept}
    if stale := records.keys() - moves.keys() - kept:
        logger.warning("%d of %d finished tasks do not fit any more and are done again", len(stale), len(records))
    target.forget(stale)
    for name in _in_order(moves):
        task = moves[name]
        target.move(name, task.name, task.array.key(task.first))
    done = kept | {task.name for task in moves.values()}
    target.keep_shards({task.array.key(task.first) for task in plan.tasks()}, PIXEL_VARIABLES)
    return done


def _in_order(moves: Mapping[str, Task]) -> Iterable[str]:
    """Return the names of tasks in an order in which no shard is moved to where another still is.

    Scenes keep their order, so that shards that move to the front go one by one from the first, others from the last.
    """
    forward = sorted(name for name, task in moves.items() if task.name < name)
    backward = sorted((name for name, task in moves.items() if task.name > name), reverse=True)
    return [*forward, *backward]
