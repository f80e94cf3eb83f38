"""Where a store is written: its objects, and the journal of a conversion that is not complete yet.

Every object is written under another name first and appears whole or not at all. The journal lives in the target, so
that a conversion killed at any moment is resumed by the next run, wherever that runs.
"""

import json
import re
import shutil
from enum import Enum, auto
from pathlib import Path
from posixpath import dirname
from typing import Any
from uuid import uuid4

import obstore
import zarr
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
        self._run = uuid4().hex

    def state(self) -> State:
        """What is there now."""
        if not self._folder.exists():
            return State.EMPTY
        root = self._read_json(_ROOT)
        if root is not None:
            ours = root.get("attributes", {}).get("format") == "s2cmc"
            return State.FINISHED if ours else State.FOREIGN
        if self._read_json(JOURNAL_PLAN) is not None:
            return State.STARTED
        # A journal without a plan is what a run leaves that was killed in its very first write.
        empty = self._folder.is_dir() and all(path.name == _JOURNAL for path in self._folder.iterdir())
        return State.EMPTY if empty else State.FOREIGN

    def clear(self) -> None:
        """Remove a store or a started conversion: out of the way in one step, then bit by bit."""
        removed = self._folder.with_name(f".{self._folder.name}.s2cmc-removed")
        shutil.rmtree(removed, ignore_errors=True)
        self._folder.rename(removed)
        shutil.rmtree(removed)

    def plan(self) -> dict[str, Any] | None:
        """Plan of the started conversion."""
        return self._read_json(JOURNAL_PLAN)

    def start(self, plan: dict[str, Any], objects: dict[str, bytes]) -> None:
        """Begin a conversion: its plan, and the metadata of the arrays that tasks will fill."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._put(JOURNAL_PLAN, json.dumps({**plan, "run": self._run}, indent=1).encode())
        for key, value in objects.items():
            self._put(key, value)

    def check_run(self) -> None:
        """Check that no other run has begun here since: the latest one goes on alone.

        Raises
        ------
        StoreError
            If there is one.
        """
        plan = self.plan()
        if plan is None or plan["run"] != self._run:
            raise StoreError(f"another conversion into {self.path} was started; this one stops and leaves it to that")

    def sweep(self) -> None:
        """Remove what a killed run was still writing."""
        for path in self._folder.rglob("*"):
            if _STAGED.fullmatch(path.name) and path.is_file():
                path.unlink()

    def array(self, name: str) -> "zarr.Array[Any]":
        """An array to write whole shards to; chunks of fill value are written too, except those of `alt_mask`."""
        found = zarr.open_array(ObjectStore(self._objects()), path=name, mode="r+", zarr_format=3)
        return found.with_config({"write_empty_chunks": name != "alt_mask"})

    def record(self, task: str, findings: list[Any]) -> None:
        """Note that a task is done, and what it found."""
        self._put(f"{_JOURNAL}/done/{task}.json", json.dumps(findings).encode())

    def recorded(self, task: str) -> list[Any] | None:
        """What a task found, if it is done."""
        return self._read_json(f"{_JOURNAL}/done/{task}.json")

    def publish(self, objects: dict[str, bytes]) -> None:
        """Write coordinates and metadata, the root last: from then on it opens. Then drop the journal."""
        self.check_run()
        for key in sorted(objects, key=lambda key: key == _ROOT):
            self._put(key, objects[key])
        self.drop_journal()

    def drop_journal(self) -> None:
        """Remove the journal of a finished conversion."""
        shutil.rmtree(self._folder / _JOURNAL, ignore_errors=True)

    def nbytes(self) -> int:
        """Bytes of all objects."""
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())

    def _objects(self) -> LocalStore:
        return LocalStore(self._folder)

    def _put(self, key: str, value: bytes) -> None:
        obstore.put(self._objects(), key, value)

    def _read_json(self, key: str) -> Any:
        try:
            return json.loads((self._folder / key).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except json.JSONDecodeError as error:
            raise StoreError(f"{self.path}/{key} is damaged ({error}); convert again with --overwrite") from error
