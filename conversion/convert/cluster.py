"""Tasks of a conversion on the workers of a Dask cluster.

A worker loads, checks and encodes one shard and writes it straight to the target; the client sees no pixel. The client
alone holds the lock and writes the journal. Objects appear whole and a task gives the same object however often it
runs, so that a worker may die at any moment and another repeats its task. A worker that is still at work after its
client has ended finds that its run is not admitted any more and writes nothing; a put that had begun by then may still
complete.
"""

import asyncio
import hashlib
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from itertools import islice
from os.path import abspath
from typing import TYPE_CHECKING, Any

from obstore.exceptions import BaseError

from s2cmc._compat import greet_scheduler
from s2cmc.errors import CatalogueError, ReleaseError, StoreError
from s2cmc.files import TABLE_BYTES
from s2cmc.release import TABLE_FILE
from s2cmc.storage import Access

from ..source import Member, SceneSource, ZipMember
from ..targets import Target, Written, writing
from .load import encode_block
from .plan import Plan, Task

if TYPE_CHECKING:
    from distributed import Client, Future

PATIENCE = 10.0
"""Seconds to wait for a scheduler, and then for its first worker."""

_Outcome = tuple[list[str], list[dict[str, Any]], Written, dict[str, str]]
"""Problems and findings of a task, objects that it has written, and digests of its shards."""

_RESUME = "what is done is kept, the same command resumes"
# Tasks at the scheduler at once: 64 for 10 threads, 160 for 40.
_TASKS_A_THREAD = 4  # sent ahead, so that no worker waits for the client
_TASKS_AT_LEAST = 64  # so that an adaptive cluster sees that there is work
_RECORDERS = 16  # records of a bucket take a round trip each


@dataclass(frozen=True)
class Places:
    """Places that the workers of one run read and write. Paths and URLs must be the same on every machine.

    Attributes
    ----------
    run : str
        Name of the run, which the target admits.
    release, store : str
        Absolute paths or URLs.
    table_file : Member
        Table of the release.
    table_md5 : str
        MD5 of its content.
    version : str
        Version of s2cmc.
    staged, access
        As `Target` and `convert` take them. Credentials in them are sent to workers, those of the environment are not.
    """

    run: str
    release: str = field(repr=False)
    store: str = field(repr=False)
    table_file: Member = field(repr=False, compare=False)
    table_md5: str
    version: str = field(default_factory=lambda: version("s2cmc"))
    staged: bool = False
    access: Access = field(default_factory=Access, compare=False)


@dataclass(frozen=True)
class _Errand:
    """A task with its part of the plan: a few kilobytes, however many scenes there are."""

    places: Places
    plan: Plan
    task: Task


@contextmanager
def connected(scheduler: "str | Client") -> Iterator["Client"]:
    """Connect to a scheduler by its address; a client that is passed is used and left open.

    Raises
    ------
    CatalogueError
        If `distributed` is missing, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise CatalogueError(f"{error.name} is missing; install it with: pip install 's2cmc[distributed]'") from error
    if isinstance(scheduler, Client):
        yield scheduler
        return
    try:
        with ThreadPoolExecutor(1) as pool:  # asyncio.run refuses a thread with a running loop, as in a notebook
            pool.submit(asyncio.run, greet_scheduler(scheduler, PATIENCE)).result()
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # Client raises any of them for a wrong address
        hint = "start one with `dask scheduler` and give the address that it shows, such as tcp://host:8786"
        raise CatalogueError(f"the scheduler {scheduler} cannot be reached: {error}; {hint}") from error
    with client:
        yield client


def threads(client: "Client") -> int:
    """Count the threads that the workers of a cluster have now."""
    return sum(client.nthreads().values())


def make_places(plan: Plan, target: Target, run: str, release: str) -> Places:
    """Return the places of a run; relative paths are those of this process."""
    return Places(
        run,
        release if "://" in release else abspath(release),
        target.url if "://" in target.url else abspath(target.url),
        _without_archive(plan.release.table_file),
        plan.release.table_md5,
        staged=target.is_staged,
        access=target.access,
    )


def check_workers(client: "Client", places: Places) -> None:
    """Check that every worker that the cluster has now can do its part; later ones check themselves.

    Raises
    ------
    CatalogueError
        If some cannot; one line for each.
    """
    if not client.nthreads():  # an adaptive cluster starts its first worker for a task
        with _explain_failures(client):
            try:
                client.submit(_check_worker, places, pure=False).result(timeout=PATIENCE)
            except TimeoutError as error:
                raise CatalogueError(
                    f"no worker has come to {_cluster_address(client)} in {PATIENCE:g} s; start some with `dask worker`"
                ) from error
    answers = client.run(_check_worker, places, on_error="return")
    if problems := [f"{worker}: {_worker_message(answer)}" for worker, answer in answers.items() if answer is not None]:
        raise ReleaseError(
            f"{len(problems)} of {len(answers)} workers of {_cluster_address(client)} cannot convert", sorted(problems)
        )


def run_on_workers(
    client: "Client", plan: Plan, target: Target, places: Places, tasks: Sequence[Task]
) -> Generator[tuple[Task, list[str]]]:
    """Run tasks on the workers, a few at once; yield each recorded task, and why scenes of it cannot be stored.

    Raises
    ------
    CatalogueError
        If an object cannot be written, a task has killed its workers, or the cluster has gone.
    """
    from distributed import as_completed

    waiting = iter(tasks)
    sent: dict[Future[Any], Task] = {}
    done = as_completed(loop=client.loop)

    def send() -> None:
        free = max(_TASKS_AT_LEAST, _TASKS_A_THREAD * threads(client)) - len(sent)
        for task in islice(waiting, max(0, free)):
            key = f"s2cmc-{task.name}-{places.run}"
            future = client.submit(_run_task, _Errand(places, _plan_of_task(plan, task), task), key=key, pure=False)
            sent[future] = task
            done.add(future)

    def record(task: Task, outcome: _Outcome) -> None:
        problems, findings, written, digests = outcome
        if not problems:
            target.record(task.name, plan.sources(task), findings, written, digests)

    try:
        with ThreadPoolExecutor(_RECORDERS, thread_name_prefix="s2cmc-record") as recorders, _explain_failures(client):
            send()
            for batch in done.batches():
                outcomes = client.gather(batch)
                finished = [sent.pop(future) for future in batch]
                send()
                list(recorders.map(record, finished, outcomes))
                yield from ((task, problems) for task, (problems, *_) in zip(finished, outcomes, strict=True))
    finally:
        with suppress(CatalogueError, OSError, BaseError):  # the next run admits itself anyway
            target.admit("")
        client.cancel(list(sent))
    target.sweep()  # unfinished files of killed workers


@contextmanager
def _explain_failures(client: "Client") -> Iterator[None]:
    """Translate failures of a cluster into errors that say what happened and how to go on."""
    from distributed import KilledWorker

    cluster = _cluster_address(client)
    try:
        yield
    except KilledWorker as error:
        raise CatalogueError(
            f"{error.allowed_failures + 1} workers of {cluster} died while doing {error.task}, the last one at "
            f"{error.last_worker.address}: most often of too little memory, of which a thread needs about 150 MB for "
            f"scenes as published; {_RESUME}"
        ) from error
    except CancelledError as error:
        raise CatalogueError(f"the cluster {cluster} has given tasks up, or is gone: {error}; {_RESUME}") from error
    except ImportError as error:
        raise CatalogueError(f"a worker of {cluster} cannot convert: {_worker_message(error)}; {_RESUME}") from error


def _cluster_address(client: "Client") -> str:
    return str(client.scheduler.address) if client.scheduler else "the cluster"


def _worker_message(error: object) -> str:
    """Return the message of an error of a worker; an error of others is most often a missing package."""
    return str(error) if isinstance(error, CatalogueError) else f"{error}; it needs s2cmc[convert], as it is here"


def _plan_of_task(plan: Plan, task: Task) -> Plan:
    """Return the part of a plan that a task needs, with its scenes only, counted from 0.

    A task of scenes 64 to 127 gets a plan of 64 scenes. The worker loads scenes 0 to 63 of that plan, and writes them
    as the shard that begins with scene 64: `Task` keeps the numbers of the whole store.
    """
    scenes = tuple(map(_without_archives, plan.release.scenes[task.first : task.last]))
    release = replace(plan.release, scenes=scenes, table=plan.release.table[:0], warnings=())
    return replace(plan, release=release, outlines=(), margins=())


def _without_archives(source: SceneSource) -> SceneSource:
    return replace(
        source,
        subscene=_without_archive(source.subscene),
        mask=_without_archive(source.mask),
        alt_mask=source.alt_mask and _without_archive(source.alt_mask),
        thumbnail=source.thumbnail and _without_archive(source.thumbnail),
        shapefile={},
    )


def _without_archive(member: Member) -> Member:
    """Return a member that fetches its own bytes: otherwise a whole small zip would be sent with every task.

    A zip that is deflated in another zip has no bytes that could be fetched.
    """
    return replace(member, whole=None) if isinstance(member, ZipMember) and member.base is not None else member


def _run_task(errand: _Errand) -> _Outcome:
    """Run a task on a worker."""
    places, task = errand.places, errand.task
    _check_worker(places)
    shard, block = encode_block(errand.plan, Task(task.array, 0, task.last - task.first))
    if block.problems:
        return block.problems, [], {}, {}
    key = task.array.key(task.first)
    with writing(places.store, lambda: f"; {_RESUME}"):  # not all errors of obstore can be pickled
        target = _target(places)
        if not target.admits(places.run):
            raise StoreError(f"{places.store} is not written by this run any more; {_RESUME}")
        written = target.write({key: shard})
    return [], block.findings, written, {key: task.array.digest(shard)}


@cache
def _check_worker(places: Places) -> None:
    """Check on a worker that it can do its part."""
    if version("s2cmc") != places.version:
        raise CatalogueError(f"it has s2cmc {version('s2cmc')}; install {places.version}, as it is here")
    try:
        table = places.table_file.read(TABLE_BYTES)
    except ReleaseError as error:
        raise ReleaseError(
            f"it does not see the release {places.release}: {error}; workers read it under the same path or URL"
        ) from error
    if hashlib.md5(table, usedforsecurity=False).hexdigest() != places.table_md5:
        raise ReleaseError(f"it sees another release at {places.release}; its {TABLE_FILE} differs")
    if not _target(places).admits(places.run):
        raise StoreError(f"it does not see the store {places.store}; workers write it under the same path or URL")


@cache
def _target(places: Places) -> Target:
    """Return the target of a run, one for each process, as it keeps its connections."""
    return Target(places.store, places.access, staged=places.staged)
