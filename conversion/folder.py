"""A folder that a store is written to. Objects are written under another name first and appear whole or not at all."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import obstore
from filelock import FileLock, Timeout
from obstore.store import LocalStore

from s2cmc.errors import StoreError

_PATIENCE = 30.0  # seconds that others may take to replace a file
_STAGED = re.compile(r"(.+)#\d+")  # obstore's name for a file that is still being written


class Folder:
    """Objects as files.

    Parameters
    ----------
    path : str
        Made when the first object is written.
    """

    def __init__(self, path: str) -> None:
        self.url = path
        self._path = Path(path)

    def read(self, key: str) -> bytes | None:
        """An object, if it is there."""
        try:
            return (self._path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, key: str, value: bytes, *, new: bool = False) -> str:
        """Write an object, with `new` only where there is none; returns its entity tag, of which a file has none.

        Raises
        ------
        StoreError
            If there is one already.
        """
        try:
            obstore.put(LocalStore(self._path, mkdir=True), key, value, mode="create" if new else "overwrite")
        except obstore.exceptions.AlreadyExistsError as error:
            raise StoreError(f"{self.url}/{key} has been written by another in the meantime") from error
        return ""

    def replace(self, key: str, before: bytes | None, after: bytes) -> bool:
        """Put `after` where `before` is, and tell whether that was so."""
        with self.claimed(f"{key}.lock", patience=_PATIENCE):
            same = self.read(key) == before
            if same:
                self.put(key, after)
            # While it is held: who has opened it by now sees that it is gone, and makes another.
            (self._path / f"{key}.lock").unlink(missing_ok=True)
        return same

    def top(self) -> set[str]:
        """Names of all that is there, without what is below."""
        if self._path.exists() and not self._path.is_dir():
            return {"."}
        return {path.name for path in self._path.iterdir()} if self._path.exists() else set()

    def sizes(self, below: str = "") -> dict[str, int]:
        """Bytes of every object, or of those below a name, by key."""
        files = (path for path in (self._path / below).rglob("*") if path.is_file())
        return {path.relative_to(self._path).as_posix(): path.stat().st_size for path in files}

    def remove(self, name: str) -> None:
        """Remove an object, or all below a name; links are removed and not followed."""
        path = self._path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def sweep(self, is_own: Callable[[str], object]) -> None:
        """Remove what a killed run was still writing of the keys that are its own."""
        for path in self._path.rglob("*#*"):
            staged = _STAGED.fullmatch(path.relative_to(self._path).as_posix())
            if staged and is_own(staged[1]) and path.is_file():
                path.unlink()

    @contextmanager
    def claimed(self, name: str, patience: float = 0) -> Iterator[None]:
        """Hold the folder against others. The system lets go of it when the process dies.

        Raises
        ------
        StoreError
            If another holds it.
        """
        lock = self._path / name
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=patience):
                yield
        except Timeout as error:
            raise StoreError(
                f"another conversion, export or publication into {self.url} is running; wait for it, or stop it"
            ) from error

    def vanish(self, name: str) -> None:
        """Remove all below a name, and the folder if nothing else was ever in it."""
        shutil.rmtree(self._path / name, ignore_errors=True)
        with suppress(OSError):  # it is not empty
            self._path.rmdir()
