"""Where a store is written: its objects, and the journal of a conversion that is not complete yet.

Every object appears whole or not at all. The journal lives in the target, so that a conversion killed at any moment is
resumed by the next run, wherever that runs.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from posixpath import dirname
from typing import Any

from s2cmc.access import Access, scheme_of
from s2cmc.bundle import BUNDLE
from s2cmc.digests import DIGESTS
from s2cmc.errors import DeniedError, StoreError
from s2cmc.metadata import ROOT
from s2cmc.schema import JOURNAL_PLAN

from .bucket import Bucket, is_bucket
from .folder import Folder

_JOURNAL = dirname(JOURNAL_PLAN)
_LOCK = f"{_JOURNAL}/lock"
_RUN = f"{_JOURNAL}/run"
_DONE = f"{_JOURNAL}/done"
_READERS = 32  # records of a bucket take a round trip each
_KEYS = re.compile(rf"({ROOT}|{BUNDLE}|{DIGESTS}|{_JOURNAL}/.+|[^/]+/({ROOT}|c(/\d+)+))")  # of the objects of a store


class State(Enum):
    """What a target holds."""

    EMPTY = auto()
    STARTED = auto()
    FINISHED = auto()
    FOREIGN = auto()


def place_to_write(url: str, access: Access | None = None, *, unchanging: bool = False) -> Folder | Bucket:
    """Folder of a path, or bucket of a URL, with the credentials of the environment unless `access` says otherwise.

    With `unchanging` nothing that is written there will ever be changed.

    Raises
    ------
    StoreError
        If nothing can be written there.
    """
    if scheme_of(url) in ("", "file"):
        path = url.removeprefix("file://")
        if not path.strip():
            raise StoreError(f"{url!r} names no place; give a folder, or the URL of a bucket")
        return Folder(path)
    if not is_bucket(url):
        raise StoreError(f"cannot write to {url}: expected a local path, or s3://, gs:// or az://")
    return Bucket(url.rstrip("/"), (access or Access()).signed(), unchanging=unchanging)


def refuse_within_store(url: str, access: Access | None = None, *, is_store: bool = False) -> None:
    """Refuse to write where other files do not belong; with `is_store`, a store may lie at `url` itself.

    Raises
    ------
    StoreError
        If the place is a file, or if it lies in a store, or in what will be one.
    """
    itself, *above = _lineage(url)
    for folder in (itself, *above):
        if os.path.isfile(folder):
            raise StoreError(f"{url} cannot be written: {folder} is a file; choose another place")
    if not is_store and _holds_store(itself, access):
        raise StoreError(f"{url} is a store, where other files do not belong; choose another place")
    for folder in reversed(above):  # an array has a zarr.json too
        if _holds_store(folder, access):
            raise StoreError(f"{url} lies in the store {folder}, where other files do not belong; choose another place")


def _lineage(url: str) -> list[str]:
    """A place and the folders that it is in, the nearest first, up to the root or the bucket."""
    if scheme_of(url) in ("", "file"):
        path = Path(os.path.realpath(url.removeprefix("file://")))
        return [str(path), *map(str, path.parents)]
    scheme, _, path_there = url.partition("://")
    names = path_there.strip("/").split("/")
    return [f"{scheme}://{'/'.join(names[:count])}" for count in range(len(names), 0, -1)]


def _holds_store(url: str, access: Access | None) -> bool:
    """What may not be read holds none: who may write to a part of a bucket need not see the rest."""
    place = place_to_write(url, access)
    try:
        return any(place.read(key) is not None for key in (ROOT, JOURNAL_PLAN))
    except DeniedError:
        return False


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
    """

    def __init__(self, url: str, access: Access | None = None) -> None:
        self.url = url
        self.access = access or Access()
        self._place = place_to_write(url, access)

    def state(self) -> State:
        """What is there now."""
        root = self._read_json(ROOT)
        if root is not None:
            ours = root.get("attributes", {}).get("format") == "s2cmc"
            return State.FINISHED if ours else State.FOREIGN
        if self.header() is not None:
            return State.STARTED
        # A journal without a header is what a run leaves that was killed before its very first write.
        return State.EMPTY if self._place.top() <= {_JOURNAL} else State.FOREIGN

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
                if self.state() is not State.STARTED:
                    self._place.vanish(_JOURNAL)

    def attributes(self) -> dict[str, Any]:
        """Attributes of the root of a store; empty where there is none."""
        return dict((self._read_json(ROOT) or {}).get("attributes", {}))

    def header(self) -> dict[str, Any] | None:
        """What the started conversion is: its identity, and the command that finishes it."""
        return self._read_json(JOURNAL_PLAN)

    def clear(self, header: dict[str, Any]) -> None:
        """Remove everything, what makes it a store first; killed in the middle, it is a start that is cleared again."""
        self._place.put(JOURNAL_PLAN, json.dumps(header | {"clearing": True}).encode())
        self._place.remove(ROOT)
        for name in [*(self._place.top() - {_JOURNAL}), _DONE]:
            self._place.remove(name)

    def start(self, header: dict[str, Any], objects: dict[str, bytes]) -> None:
        """Begin a conversion, or go on with it: its header, and the metadata of the arrays that tasks will fill."""
        self._place.put(JOURNAL_PLAN, json.dumps(header, indent=1).encode())
        self.write(objects)

    def admit(self, run: str) -> None:
        """Let the workers of one run write, and of no other: those of an earlier one may still be at work."""
        self._place.put(_RUN, run.encode())

    def admits(self, run: str) -> bool:
        """Whether the workers of a run may write."""
        return self._place.read(_RUN) == run.encode()

    def sweep(self) -> None:
        """Remove what a killed run was still writing."""
        self._place.sweep(_KEYS.fullmatch)

    def write(self, objects: dict[str, bytes]) -> None:
        """Write objects by key."""
        for key, value in objects.items():
            self._place.put(key, value)

    def read(self, key: str) -> bytes | None:
        """An object, if it is there."""
        return self._place.read(key)

    def remove(self, key: str) -> None:
        """Remove an object."""
        self._place.remove(key)

    def record(self, task: str, sources: str, findings: list[Any], digests: dict[str, str]) -> None:
        """Note that a task is done, from which files, what it found, and the digests of its shards."""
        content = json.dumps({"sources": sources, "findings": findings, "digests": digests}).encode()
        self._place.put(f"{_DONE}/{task}.json", content)

    def recorded(self, task: str) -> dict[str, Any] | None:
        """The record of a task, if it is done."""
        return self._read_json(f"{_DONE}/{task}.json") or None

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
        self.write({key: value for key, value in objects.items() if key != ROOT})
        self._place.put(ROOT, objects[ROOT], new=True)

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
