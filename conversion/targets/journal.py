"""Target of a conversion: objects of a store, and the journal until it is complete.

Every object appears whole or not at all. The journal is in the target, so that a conversion killed at any moment is
resumed by the next run, on any machine. A finished store that is to be replaced stays as it is while the new one grows
within the journal, and is removed when the new one is whole::

    .s2cmc-conversion/plan.json       header: identity and command of the conversion
    .s2cmc-conversion/lock            lock of a folder, or lease of a bucket
    .s2cmc-conversion/run             run whose workers may write
    .s2cmc-conversion/done/TASK.json  record of a finished task
    .s2cmc-conversion/new/...         the new store, while an old one is in its place
"""

import json
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum, StrEnum, auto
from posixpath import dirname
from typing import Any

from s2cmc.errors import StoreError
from s2cmc.schema import JOURNAL_PLAN
from s2cmc.storage import Access, Location, locate
from s2cmc.store import BUNDLE, DIGESTS, ROOT, check_version, is_rewritten, rewritten_message, started_version

from .places import place_to_write

logger = logging.getLogger(__name__)

Written = dict[str, tuple[int, str]]
"""Bytes and tag of objects, by key."""

_JOURNAL = dirname(JOURNAL_PLAN)
_LOCK = f"{_JOURNAL}/lock"
_RUN = f"{_JOURNAL}/run"
_DONE = f"{_JOURNAL}/done"
_NEW = f"{_JOURNAL}/new/"
_READERS = 32  # records of a bucket take a round trip each
_KEYS = re.compile(rf"({ROOT}|{BUNDLE}|{DIGESTS}|{_JOURNAL}/.+|[^/]+/({ROOT}|c(/\d+)+))")  # of objects of a store


class State(Enum):
    """Content of a target."""

    EMPTY = auto()
    STARTED = auto()
    FINISHED = auto()
    FOREIGN = auto()


class Step(StrEnum):
    """Progress of a conversion that does not simply fill an empty place."""

    CLEARING = auto()
    """A conversion that was begun before is being removed."""
    REPLACING = auto()
    """The old store is whole, the new one grows."""
    REMOVING = auto()
    """The new store is whole, the old one is being removed."""
    MOVING = auto()
    """The old store is gone, the new one takes its place."""


def digests_in(records: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the digests of all shards, by key, from the records of tasks."""
    return {key: digest for record in records.values() for key, digest in record["digests"].items()}


class Target:
    """A folder or bucket that holds, or will hold, a store.

    Parameters
    ----------
    url : str
        A folder is created when the first object is written.
    access : Access, optional
        How a bucket is reached.
    staged : bool
        Objects are written into the journal, because an old store is in their place.
    """

    def __init__(self, url: Location, access: Access | None = None, *, staged: bool = False) -> None:
        self.url = locate(url)
        self.access = access or Access()
        self.is_staged = staged
        self._place = place_to_write(url, access)

    def state(self) -> State:
        """Return what the target holds now."""
        content = self._place.read(ROOT)
        root = None if content is None else _parse(content)
        if root and root.get("attributes", {}).get("format") == "s2cmc":
            return State.FOREIGN if is_rewritten(content, self._place.read) else State.FINISHED
        if not root and self.header() is not None:  # also with a torn root, which publishing wrote before it was killed
            return State.STARTED
        # A run that is killed before its very first write leaves a journal without a header.
        return State.EMPTY if root is None and self._place.top() <= {_JOURNAL} else State.FOREIGN

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse a target that must not be written over.

        Raises
        ------
        StoreError
            If the target holds something else; without `overwrite` also if it holds a finished store, or what was
            started by a version of s2cmc that writes another format.
        """
        state = self.state()
        if state is State.FOREIGN and is_rewritten(self._place.read(ROOT), self._place.read):
            raise StoreError(f"{rewritten_message(self.url)}; it is never replaced: choose another place for a store")
        if state is State.FOREIGN:
            raise StoreError(f"{self.url} is not empty and holds no catalogue of s2cmc; choose another place")
        if not overwrite and (version := self._format_version(state)) is not None:
            check_version(version, self.url)
        if state is State.FINISHED and not overwrite:
            raise StoreError(f"{self.url} is a finished store; use --overwrite to replace it")

    def _format_version(self, state: State) -> object:
        """Return the version of the format that the store, or the started one, states; None if there is none."""
        if state is State.FINISHED:
            return self.attributes().get("format_version")
        return None if (header := self.header()) is None else started_version(header)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the target against other conversions, until the end or the death of this process.

        Raises
        ------
        StoreError
            If another conversion holds it.
        """
        with self._place.claimed(_LOCK):
            try:
                yield
            finally:
                if not self._is_resumable():
                    self._place.vanish(_JOURNAL)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the root of a store; empty if there is no store."""
        return dict((self._read_json(ROOT) or {}).get("attributes", {}))

    def header(self) -> dict[str, Any] | None:
        """Return identity of the started conversion, and the command that finishes it; None if none is started."""
        return self._read_json(JOURNAL_PLAN)

    def is_begun(self) -> bool:
        """Return True if there is a conversion to resume; False also where that cannot be read."""
        try:
            return self._is_resumable()
        except (OSError, StoreError):
            return False

    def _is_resumable(self) -> bool:
        state, step = self.state(), self._step()
        # Once the new store is in its place, nothing remains to be done.
        return state is State.STARTED or (state is State.FINISHED and step in (Step.REPLACING, Step.REMOVING))

    def _step(self) -> str | None:
        return (self.header() or {}).get("step")

    def begin(self, header: dict[str, Any], objects: dict[str, bytes], *, same: bool) -> None:
        """Begin a conversion, or resume the one that was begun if it is the `same`.

        Parameters
        ----------
        header : dict
            Identity and command: see `header`.
        objects : dict of str to bytes
            Metadata of the arrays that tasks will fill, by key.
        same : bool
            The conversion that was begun is the same; another one is removed.
        """
        state, step = self.state(), self._step()
        resumes = same and step != Step.CLEARING and self._is_resumable()
        self.is_staged = state is State.FINISHED or (resumes and step is not None)
        if resumes and step in (Step.REMOVING, Step.MOVING):
            return
        if resumes:
            logger.info("resuming the conversion into %s", self.url)
            self.sweep()
            self._recheck()
        elif state is State.FINISHED:
            for name in (_DONE, _NEW.rstrip("/")):  # records first: they must not outlive their objects
                self._place.remove(name)
        elif state is not State.EMPTY:
            self._clear(header)
        if not self.is_staged and self._place.read(ROOT) is not None:
            self._place.remove(ROOT)
        self._note(header, Step.REPLACING if self.is_staged else None)
        self.write(objects)

    def _clear(self, header: dict[str, Any]) -> None:
        """Remove everything; if killed in the middle, the next run clears again."""
        self._note(header, Step.CLEARING)
        self._place.remove(ROOT)
        for name in [*(self._place.top() - {_JOURNAL}), _DONE, _NEW.rstrip("/")]:
            self._place.remove(name)

    def _note(self, header: dict[str, Any], step: Step | None) -> None:
        noted = {key: value for key, value in header.items() if key != "step"} | ({"step": step} if step else {})
        self._place.put(JOURNAL_PLAN, json.dumps(noted, indent=1).encode(), durable=True)

    def _recheck(self) -> None:
        """Remove the records of tasks whose objects are not as they were written.

        Synced objects should survive a power failure, but not every disk and network keeps that promise.
        """
        stored = self._place.tags()
        below = _NEW if self.is_staged else ""
        for task, record in self.records().items():
            for key, (nbytes, tag) in record["objects"].items():
                size_and_tag = stored.get(below + key, (-1, ""))
                if size_and_tag[0] != nbytes or (tag and size_and_tag[1] != tag):
                    logger.warning("%s is not as it was written; %s is done again", f"{self.url}/{key}", task)
                    self._place.remove(f"{_DONE}/{task}.json")

    def admit(self, run: str) -> None:
        """Let only the workers of one run write: those of an earlier run may still be at work."""
        self._place.put(_RUN, run.encode())

    def admits(self, run: str) -> bool:
        """Return True if the workers of a run may write."""
        return self._place.read(_RUN) == run.encode()

    def sweep(self) -> None:
        """Remove unfinished files of killed runs."""
        self._place.sweep(_KEYS.fullmatch)

    def write(self, objects: Mapping[str, bytes]) -> Written:
        """Write objects by key; return their bytes and tags."""
        below = _NEW if self.is_staged else ""
        return {key: (len(value), self._place.put(below + key, value)) for key, value in objects.items()}

    def read(self, key: str) -> bytes | None:
        """Return an object; None if it does not exist."""
        return self._place.read(key)

    def remove(self, key: str) -> None:
        """Remove an object."""
        self._place.remove(key)

    def record(
        self, task: str, sources: str, findings: list[Any], written: Written, digests: Mapping[str, str]
    ) -> None:
        """Note that a task is done: fingerprint of its files, findings, objects, and digests of its shards."""
        content = json.dumps(
            {"sources": sources, "findings": findings, "objects": written, "digests": digests}
        ).encode()
        self._place.put(f"{_DONE}/{task}.json", content)

    def forget(self, tasks: Iterable[str]) -> None:
        """Remove the records of tasks, which are then done again."""
        for task in tasks:
            self._place.remove(f"{_DONE}/{task}.json")

    def move(self, task: str, to: str, key: str) -> None:
        """Move the shard of a finished task to another key, and its record to another task.

        A run that is killed in between does the task again: the record is removed before its shard is gone.
        """
        record = self.recorded(task)
        if record is None:
            return
        ((before, (nbytes, tag)),) = record["objects"].items()
        below = _NEW if self.is_staged else ""
        self.forget([task])
        tag = self._place.rename(below + before, below + key, tag)
        self.record(to, record["sources"], record["findings"], {key: (nbytes, tag)}, {key: record["digests"][before]})

    def keep_shards(self, keys: Collection[str], arrays: Iterable[str]) -> None:
        """Remove the shards of `arrays` whose keys are not among `keys`, and arrays that have none of these."""
        below = _NEW if self.is_staged else ""
        for array in arrays:
            if not any(key.startswith(f"{array}/") for key in keys):
                self._place.remove(f"{below}{array}")
                continue
            shards = self._place.sizes(f"{below}{array}/c")
            for key in shards.keys() - {below + key for key in keys}:
                self._place.remove(key)

    def recorded(self, task: str) -> dict[str, Any] | None:
        """Return the record of a task; None if it is not done."""
        record = self._read_json(f"{_DONE}/{task}.json")
        return record if record and "objects" in record else None

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the records of all finished tasks by name; they are listed once and read side by side."""
        names = [key.removeprefix(f"{_DONE}/").removesuffix(".json") for key in self._place.sizes(_DONE)]
        with ThreadPoolExecutor(_READERS) as pool:
            records = zip(names, pool.map(self.recorded, names), strict=True)
            return {name: record for name, record in records if record}

    def publish(self, objects: dict[str, bytes]) -> None:
        """Write coordinates and metadata, the root last and only where there is none: from then on the store opens.

        Raises
        ------
        StoreError
            If another writer has published in the meantime.
        """
        header = self.header() or {}
        step = header.get("step")
        if step not in (Step.REMOVING, Step.MOVING):
            self.write({key: value for key, value in objects.items() if key != ROOT})
            self._place.sync()
            root = (_NEW if self.is_staged else "") + ROOT
            self._place.put(root, objects[ROOT], new=not self.is_staged, durable=True)
        if not self.is_staged:
            return
        if step != Step.MOVING:
            self._note(header, Step.REMOVING)
            self._place.remove(ROOT)
            for name in self._place.top() - {_JOURNAL}:
                self._place.remove(name)
            self._note(header, Step.MOVING)
        self._place.adopt(_NEW.rstrip("/"), last=ROOT)

    def nbytes(self) -> int:
        """Return the bytes of all objects."""
        return sum(self._place.sizes().values())

    def _read_json(self, key: str) -> Any:
        """Return a JSON object; empty if it is damaged, so that it agrees with no conversion and none resumes on it."""
        content = self._place.read(key)
        return None if content is None else _parse(content)


def _parse(content: bytes) -> dict[str, Any]:
    """Parse a JSON object; empty if it is damaged."""
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
