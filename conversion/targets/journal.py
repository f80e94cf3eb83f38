"""Target of a conversion: objects of a store, and the journal until it is complete.

Every object appears whole or not at all. The journal lives in the target, so that a conversion killed at any moment is
resumed by the next run, wherever that runs. A finished store that is to be replaced stays as it is while the new one
grows within the journal, and is removed when that is whole.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum, StrEnum, auto
from posixpath import dirname
from typing import Any

from s2cmc.errors import StoreError
from s2cmc.schema import JOURNAL_PLAN
from s2cmc.storage import Access
from s2cmc.store import BUNDLE, DIGESTS, ROOT

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
_KEYS = re.compile(rf"({ROOT}|{BUNDLE}|{DIGESTS}|{_JOURNAL}/.+|[^/]+/({ROOT}|c(/\d+)+))")  # of the objects of a store


class State(Enum):
    """What a target holds."""

    EMPTY = auto()
    STARTED = auto()
    FINISHED = auto()
    FOREIGN = auto()


class Step(StrEnum):
    """How far a conversion is that does not simply fill an empty place."""

    CLEARING = auto()
    """What another one has begun is being removed."""
    REPLACING = auto()
    """The old store is whole, the new one grows."""
    REMOVING = auto()
    """The new store is whole, the old one is being removed."""
    MOVING = auto()
    """The old store is gone, the new one takes its place."""


def digests_in(records: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Digests of the shards of tasks, by key, as their records have them."""
    return {key: digest for record in records.values() for key, digest in record["digests"].items()}


class Target:
    """A folder or bucket that holds, or will hold, a store.

    Parameters
    ----------
    url : str
        A folder is made when the first object is written.
    access : Access, optional
        How a bucket is reached.
    staged : bool
        What is written is not in its place yet, because an old store is there: see `is_staged`.
    """

    def __init__(self, url: str, access: Access | None = None, *, staged: bool = False) -> None:
        self.url = url
        self.access = access or Access()
        self.is_staged = staged
        self._place = place_to_write(url, access)

    def state(self) -> State:
        """What is there now."""
        root = self._read_json(ROOT)
        if root and root.get("attributes", {}).get("format") == "s2cmc":
            return State.FINISHED
        if not root and self.header() is not None:  # a root that is torn was not all that there is to write
            return State.STARTED
        # A journal without a header is what a run leaves that was killed before its very first write.
        return State.EMPTY if root is None and self._place.top() <= {_JOURNAL} else State.FOREIGN

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse what must not be written over.

        Raises
        ------
        StoreError
            If something else is there, or a finished store and `overwrite` is not asked for.
        """
        state = self.state()
        if state is State.FOREIGN:
            raise StoreError(f"{self.url} is not empty and holds no catalogue of s2cmc; choose another place")
        if state is State.FINISHED and not overwrite:
            raise StoreError(f"{self.url} is a finished store; use --overwrite to replace it")

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
        """Attributes of the root of a store; empty where there is none."""
        return dict((self._read_json(ROOT) or {}).get("attributes", {}))

    def header(self) -> dict[str, Any] | None:
        """What the started conversion is: its identity, and the command that finishes it."""
        return self._read_json(JOURNAL_PLAN)

    def is_begun(self) -> bool:
        """Whether there is anything to resume; what cannot be read has nothing."""
        try:
            return self._is_resumable()
        except (OSError, StoreError):
            return False

    def _is_resumable(self) -> bool:
        state, step = self.state(), self._step()
        # Once the new store is in its place, there is nothing left to do.
        return state is State.STARTED or (state is State.FINISHED and step in (Step.REPLACING, Step.REMOVING))

    def _step(self) -> str | None:
        return (self.header() or {}).get("step")

    def begin(self, header: dict[str, Any], objects: dict[str, bytes], *, same: bool) -> None:
        """Begin a conversion, or go on with it if the one that was begun is the `same`.

        Parameters
        ----------
        header : dict
            What it is: see `header`.
        objects : dict of str to bytes
            Metadata of the arrays that tasks will fill, by key.
        same : bool
            Whether the header that is there stands for the same; otherwise what was begun is removed.
        """
        state, step = self.state(), self._step()
        goes_on = same and step != Step.CLEARING and self._is_resumable()
        self.is_staged = state is State.FINISHED or (goes_on and step is not None)
        if goes_on and step in (Step.REMOVING, Step.MOVING):
            return
        if goes_on:
            logger.info("resuming the conversion into %s", self.url)
            self.sweep()
            self._recheck()
        elif state is State.FINISHED:
            for name in (_DONE, _NEW.rstrip("/")):  # the records first
                self._place.remove(name)
        elif state is not State.EMPTY:
            self._clear(header)
        if not self.is_staged and self._place.read(ROOT) is not None:
            self._place.remove(ROOT)
        self._note(header, Step.REPLACING if self.is_staged else None)
        self.write(objects)

    def _clear(self, header: dict[str, Any]) -> None:
        """Remove everything; killed in the middle, it is a start that is cleared again."""
        self._note(header, Step.CLEARING)
        self._place.remove(ROOT)
        for name in [*(self._place.top() - {_JOURNAL}), _DONE, _NEW.rstrip("/")]:
            self._place.remove(name)

    def _note(self, header: dict[str, Any], step: Step | None) -> None:
        noted = {key: value for key, value in header.items() if key != "step"} | ({"step": step} if step else {})
        self._place.put(JOURNAL_PLAN, json.dumps(noted, indent=1).encode(), durable=True)

    def _recheck(self) -> None:
        """Strike tasks from the journal whose objects are not as they were written.

        What was synced survives a power failure, but not every disk and every network keeps that promise.
        """
        there = self._place.tags()
        below = _NEW if self.is_staged else ""
        for task, record in self.records().items():
            for key, (nbytes, tag) in record["objects"].items():
                found = there.get(below + key, (-1, ""))
                if found[0] != nbytes or (tag and found[1] != tag):
                    logger.warning("%s is not as it was written; %s is done again", f"{self.url}/{key}", task)
                    self._place.remove(f"{_DONE}/{task}.json")

    def admit(self, run: str) -> None:
        """Let the workers of one run write, and of no other: those of an earlier one may still be at work."""
        self._place.put(_RUN, run.encode())

    def admits(self, run: str) -> bool:
        """Whether the workers of a run may write."""
        return self._place.read(_RUN) == run.encode()

    def sweep(self) -> None:
        """Remove what a killed run was still writing."""
        self._place.sweep(_KEYS.fullmatch)

    def write(self, objects: Mapping[str, bytes]) -> Written:
        """Write objects by key; returns what they must be found as."""
        below = _NEW if self.is_staged else ""
        return {key: (len(value), self._place.put(below + key, value)) for key, value in objects.items()}

    def read(self, key: str) -> bytes | None:
        """An object, if it is there."""
        return self._place.read(key)

    def remove(self, key: str) -> None:
        """Remove an object."""
        self._place.remove(key)

    def record(
        self, task: str, sources: str, findings: list[Any], written: Written, digests: Mapping[str, str]
    ) -> None:
        """Note that a task is done, from which files, what it found, what it wrote, and the digests of its shards."""
        content = json.dumps(
            {"sources": sources, "findings": findings, "objects": written, "digests": digests}
        ).encode()
        self._place.put(f"{_DONE}/{task}.json", content)

    def recorded(self, task: str) -> dict[str, Any] | None:
        """The record of a task, if it is done."""
        found = self._read_json(f"{_DONE}/{task}.json")
        return found if found and "objects" in found else None

    def records(self) -> dict[str, dict[str, Any]]:
        """The records of all tasks that are done, by name; listed once and read side by side."""
        names = [key.removeprefix(f"{_DONE}/").removesuffix(".json") for key in self._place.sizes(_DONE)]
        with ThreadPoolExecutor(_READERS) as pool:
            found = zip(names, pool.map(self.recorded, names), strict=True)
            return {name: record for name, record in found if record}

    def publish(self, objects: dict[str, bytes]) -> None:
        """Write coordinates and metadata, the root last and only where there is none: from then on it opens.

        Raises
        ------
        StoreError
            If another has published in the meantime.
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
        """Bytes of all objects."""
        return sum(self._place.sizes().values())

    def _read_json(self, key: str) -> Any:
        """A JSON object; empty where it is damaged, which agrees with nothing and so is never built on."""
        content = self._place.read(key)
        try:
            found = json.loads(content) if content is not None else None
        except ValueError:
            return {}
        return found if found is None or isinstance(found, dict) else {}
