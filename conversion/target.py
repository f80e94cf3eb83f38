"""Where a store is written: its objects, and the journal of a conversion that is not complete yet.

Every object is written under another name first and appears whole or not at all. The journal lives in the target, so
that a conversion killed at any moment is resumed by the next run, wherever that runs.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from posixpath import dirname
from typing import Any

import obstore
import zarr
from filelock import FileLock, Timeout
from obstore.store import LocalStore
from zarr.storage import ObjectStore

from s2cmc.errors import StoreError
from s2cmc.schema import JOURNAL_PLAN

_JOURNAL = dirname(JOURNAL_PLAN)
_ROOT = "zarr.json"
_STAGED = re.compile(r".+#\d+")  # obstore's name for a file that is still being written


class State(Enum):
    """What a target holds."""

    EMPTY = auto()
    STARTED = auto()
    FINISHED = auto()
    FOREIGN = auto()


class Target:
    """A folder that holds, or will hold, a store.

    Parameters
    ----------
    path : str
        Made when the first object is written.
    """

    def __init__(self, path: str) -> None:
        if "://" in path:
            raise StoreError(f"cannot convert into {path}: expected a local path")
        self.path = path
        self._folder = Path(path)

    def state(self) -> State:
        """What is there now."""
        if not self._folder.exists():
            return State.EMPTY
        root = self._read_json(_ROOT)
        if root is not None:
            ours = root.get("attributes", {}).get("format") == "s2cmc"
            return State.FINISHED if ours else State.FOREIGN
        if self.header() is not None:
            return State.STARTED
        # A journal without a header is what a run leaves that was killed before its very first write.
        empty = self._folder.is_dir() and all(path.name == _JOURNAL for path in self._folder.iterdir())
        return State.EMPTY if empty else State.FOREIGN

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the target against other conversions. The system lets go of it when the process dies.

        Raises
        ------
        StoreError
            If another conversion holds it.
        """
        lock = self._folder / _JOURNAL / "lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                try:
                    yield
                finally:
                    if self.state() is not State.STARTED:
                        self._drop_journal()
        except Timeout as error:
            raise StoreError(f"another conversion into {self.path} is running; wait for it, or stop it") from error

    def header(self) -> dict[str, Any] | None:
        """What the started conversion is: its identity, and the command that finishes it."""
        return self._read_json(JOURNAL_PLAN)

    def clear(self, header: dict[str, Any]) -> None:
        """Remove everything, what makes it a store first; killed in the middle, it is a start that is cleared again."""
        self._put(JOURNAL_PLAN, json.dumps(header | {"clearing": True}).encode())
        (self._folder / _ROOT).unlink(missing_ok=True)
        for path in [*self._folder.iterdir(), self._folder / _JOURNAL / "done"]:
            if path.is_dir() and not path.is_symlink():
                if path.name != _JOURNAL:
                    shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def start(self, header: dict[str, Any], objects: dict[str, bytes]) -> None:
        """Begin a conversion, or go on with it: its header, and the metadata of the arrays that tasks will fill."""
        self._put(JOURNAL_PLAN, json.dumps(header, indent=1).encode())
        for key, value in objects.items():
            self._put(key, value)

    def sweep(self) -> None:
        """Remove what a killed run was still writing."""
        for path in self._folder.rglob("*"):
            if _STAGED.fullmatch(path.name) and path.is_file():
                path.unlink()

    def array(self, name: str) -> "zarr.Array[Any]":
        """An array to write whole shards to, chunks of fill value included."""
        found = zarr.open_array(ObjectStore(self._objects()), path=name, mode="r+", zarr_format=3)
        return found.with_config({"write_empty_chunks": True})

    def record(self, task: str, sources: str, findings: list[Any]) -> None:
        """Note that a task is done, from which files, and what it found."""
        self._put(f"{_JOURNAL}/done/{task}.json", json.dumps({"sources": sources, "findings": findings}).encode())

    def recorded(self, task: str) -> dict[str, Any] | None:
        """The record of a task, if it is done."""
        return self._read_json(f"{_JOURNAL}/done/{task}.json") or None

    def publish(self, objects: dict[str, bytes]) -> None:
        """Write coordinates and metadata, the root last: from then on it opens."""
        for key in sorted(objects, key=lambda key: key == _ROOT):
            self._put(key, objects[key])

    def nbytes(self) -> int:
        """Bytes of all objects."""
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())

    def _objects(self) -> LocalStore:
        return LocalStore(self._folder)

    def _put(self, key: str, value: bytes) -> None:
        obstore.put(self._objects(), key, value)

    def _drop_journal(self) -> None:
        """Remove the journal where nothing is left to resume, and the folder if nothing else was ever in it."""
        shutil.rmtree(self._folder / _JOURNAL, ignore_errors=True)
        with suppress(OSError):  # it is not empty
            self._folder.rmdir()

    def _read_json(self, key: str) -> Any:
        """A JSON object; empty where it is damaged, which agrees with nothing and so is never built on."""
        try:
            return json.loads((self._folder / key).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            return {}
