"""Folder as a place to write. Objects are written under another name first, and appear whole or not at all.

Syncing every object by itself takes longer than writing it. So objects are synced together by `sync`, side by side,
before an object is written that relies on them after a power failure: that one is `durable`.
"""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import google_crc32c
from filelock import FileLock, Timeout

from s2cmc.errors import StoreError

_PATIENCE = 30.0  # seconds that others may take to replace a file
_STAGED = re.compile(r"(.+)#\d+")  # names of files that are still being written
_NAMES = 10**12  # numbers to draw from, so that two writers of one object do not use the same name
_SYNCERS = 16  # syncs at once; file systems write them together
_UNSYNCED = (errno.EINVAL, errno.ENOTSUP)  # errors of file systems that cannot sync a folder


class Folder:
    """Objects as files.

    Parameters
    ----------
    path : str
        Created when the first object is written.
    """

    def __init__(self, path: str) -> None:
        self.url = path
        self._path = Path(path)
        self._lock: tuple[Path, tuple[int, int]] | None = None

    def read(self, key: str) -> bytes | None:
        """Return an object; None if it does not exist."""
        try:
            return (self._path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, key: str, value: bytes, *, new: bool = False, durable: bool = False) -> str:
        """Write an object, with `new` only where there is none; return its tag, see `tags`.

        With `durable`, name and content are on the disk before the object appears, and when this function returns.

        Raises
        ------
        StoreError
            If the object exists already, or the folder that was claimed does not exist any more.
        """
        self._check_claim()
        path = self._path / key
        staged = path.with_name(f"{path.name}#{secrets.randbelow(_NAMES)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with staged.open("xb") as file:
                file.write(value)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            if new:
                os.link(staged, path)
            else:
                staged.replace(path)
        except FileExistsError as error:
            raise StoreError(f"{self.url}/{key} has been written by another in the meantime") from error
        finally:
            with suppress(OSError):  # the next run sweeps it
                staged.unlink(missing_ok=True)
        if durable:
            for folder in (path.parent, *path.parent.parents):
                _sync(folder)
                if folder == self._path:
                    break
        return _tag(value)

    def sync(self) -> None:
        """Sync every file and folder to the disk."""
        paths = (self._path.parent, self._path, *self._path.rglob("*"))
        with ThreadPoolExecutor(_SYNCERS, thread_name_prefix="s2cmc-sync") as pool:
            for _ in pool.map(_sync, paths):
                pass

    def replace(self, key: str, before: bytes | None, after: bytes) -> bool:
        """Put `after` if `before` is there, and return True if it was."""
        with self.claimed(f"{key}.lock", patience=_PATIENCE):
            same = self.read(key) == before
            if same:
                self.put(key, after, durable=True)
            # Removed while the lock is held: another process that waits for it sees that it is gone, and makes another.
            (self._path / f"{key}.lock").unlink(missing_ok=True)
        return same

    def top(self) -> set[str]:
        """Return the names of the files and folders at the top."""
        if self._path.exists() and not self._path.is_dir():
            return {"."}
        return {path.name for path in self._path.iterdir()} if self._path.exists() else set()

    def sizes(self, below: str = "") -> dict[str, int]:
        """Return the bytes of every object, or of those below a name, by key."""
        files = (path for path in (self._path / below).rglob("*") if path.is_file())
        return {path.relative_to(self._path).as_posix(): path.stat().st_size for path in files}

    def tags(self, below: str = "") -> dict[str, tuple[int, str]]:
        """Read every object, or those below a name; return bytes and CRC-32C, as hexadecimal digits, by key."""
        return {key: (size, _tag((self._path / key).read_bytes())) for key, size in self.sizes(below).items()}

    def remove(self, name: str) -> None:
        """Remove an object, or all objects below a name; links are removed and not followed."""
        path = self._path / name
        self._check_claim()
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _sync(path.parent)

    def rename(self, before: str, after: str, tag: str) -> str:
        """Move an object to another key, and return its tag, which stays the same."""
        self._check_claim()
        path = self._path / after
        path.parent.mkdir(parents=True, exist_ok=True)
        (self._path / before).replace(path)
        return tag

    def adopt(self, name: str, *, last: str) -> None:
        """Move the entries of a folder within this one to the top, which has none of these names; `last` goes last."""
        paths = sorted((self._path / name).iterdir(), key=lambda path: path.name == last)
        for path in paths:
            self._check_claim()
            if path.name == last:
                _sync(self._path)
            path.rename(self._path / path.name)
        _sync(self._path)

    def sweep(self, is_own: Callable[[str], object]) -> None:
        """Remove unfinished files of killed runs, if `is_own` is true of their keys."""
        for path in self._path.rglob("*#*"):
            staged = _STAGED.fullmatch(path.relative_to(self._path).as_posix())
            if staged and is_own(staged[1]) and path.is_file():
                path.unlink()

    @contextmanager
    def claimed(self, name: str, patience: float = 0) -> Iterator[None]:
        """Hold the folder against other writers. The system releases the lock when the process dies.

        Raises
        ------
        StoreError
            If another writer holds the folder.
        """
        lock = self._path / name
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=patience):
                self._lock = (lock, _identity(lock))
                try:
                    yield
                finally:
                    self._lock = None
        except Timeout as error:
            raise StoreError(
                f"another conversion, export or publication into {self.url} is running; wait for it, or stop it"
            ) from error

    def vanish(self, name: str) -> None:
        """Remove all below a name, and the folder if it is then empty; nothing if the claim was lost."""
        if self._lock and not self._is_claimed():
            return
        shutil.rmtree(self._path / name, ignore_errors=True)
        with suppress(OSError):  # the folder is not empty
            self._path.rmdir()

    def _is_claimed(self) -> bool:
        """Return True if the lock is still at its path. It stays open, so that no other file has its inode number."""
        try:
            return self._lock is not None and _identity(self._lock[0]) == self._lock[1]
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _check_claim(self) -> None:
        if self._lock and not self._is_claimed():
            raise StoreError(
                f"{self.url} was removed or replaced while it was being written; run the same command again if it is "
                "still wanted"
            )


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    try:
        number = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    except FileNotFoundError:  # a staged file of another writer, replaced by now
        return
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _UNSYNCED:
            raise
    finally:
        os.close(number)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _tag(value: bytes) -> str:
    return f"{google_crc32c.value(bytes(value)):08x}"
