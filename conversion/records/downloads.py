"""All files of a record into a folder, each proved by its MD5."""

import errno
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from filelock import FileLock, Timeout

from s2cmc.errors import ReleaseError
from s2cmc.storage import Location, locate

from .client import GIVE_UP
from .errors import NoRangesError
from .filesystem import RecordFileSystem

Progress = Callable[[int, int], None]
"""Called with the bytes that are in the folder so far, and with all."""

_AT_ONCE = 4  # files
_LOCK = ".s2cmc-download.lock"
_PIECE = 1 << 20  # bytes read from disk at once


class DownloadedFile(NamedTuple):
    """A file of a record that is in a folder and proved.

    Attributes
    ----------
    path : Path
    nbytes : int
    md5 : str
        Of the file, equal to that in the listing.
    was_there : bool
        The whole file was in the folder before.
    """

    path: Path
    nbytes: int
    md5: str
    was_there: bool


def download(
    record: str,
    folder: Location,
    *,
    give_up: float = GIVE_UP,
    read_timeout: float = 30.0,
    progress: Progress | None = None,
) -> list[DownloadedFile]:
    """Download all files of a record into a folder, and prove each by the MD5 that the record lists.

    A few files are fetched side by side, within the host's limits. A file has its name once it is proved. Before that
    it is ``NAME.MD5.part``, with the MD5 that is listed: the next run goes on from it, unless the file has changed
    since. A file that is in the folder and proves right is kept; one that does not is replaced.

    Parameters
    ----------
    record : str
        Address of the record, such as ``zenodo:4172871``; see `s2cmc.conversion.records.parse_record`.
    folder : str or path
        Made if it is absent.
    give_up : float
        Seconds without a byte after which it fails. Waits that the host asks for do not count.
    read_timeout : float
        Seconds without a byte after which another connection is made.
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    list of DownloadedFile
        In the order of the listing.

    Raises
    ------
    ArgumentError
        If `record` is not the address of a record.
    ReleaseError
        If the record cannot be read, a file has changed under way or does not have its MD5, or the folder cannot be
        written or is full.

    Examples
    --------
    >>> download("zenodo:4172871", "release")  # doctest: +SKIP
    """
    filesystem = RecordFileSystem(record, give_up=give_up, read_timeout=read_timeout)
    names = filesystem.ls("", detail=False)
    target = Path(locate(folder))
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReleaseError(f"{target} cannot be made: {error}") from error
    work = _Download(filesystem, target, names, progress)
    work.check_room()
    largest = sorted(names, key=lambda name: -filesystem.size(name))  # first, or all would wait for it
    with _claimed(target), ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="s2cmc-download") as pool:
        futures = {name: pool.submit(work.fetch, name) for name in largest}
        try:
            for future in as_completed(futures.values()):
                future.result()
        except BaseException:
            work.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [futures[name].result() for name in names]


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold a folder against other downloads, whose parts would be mixed with these."""
    lock = folder / _LOCK
    try:
        with FileLock(lock, timeout=0):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)  # while it is held, so that nobody else's is removed
    except Timeout as error:
        raise ReleaseError(f"another run downloads into {folder}; wait for it, or end it") from error
    except PermissionError as error:
        raise ReleaseError(f"{folder} cannot be written: {error}") from error


class _Download:
    """Files of a record on their way into a folder."""

    def __init__(self, filesystem: RecordFileSystem, folder: Path, names: list[str], progress: Progress | None) -> None:
        self._filesystem, self._folder, self._progress = filesystem, folder, progress
        self._sizes = {name: int(filesystem.size(name)) for name in names}
        self._done = dict.fromkeys(names, 0)
        self._lock = threading.Lock()
        self._is_stopped = False

    def stop(self) -> None:
        """End what is under way with an error; parts stay."""
        self._is_stopped = True
        self._filesystem.stop()

    def check_room(self) -> None:
        """Refuse a disk that cannot hold what is missing."""
        missing = 0
        for name, nbytes in self._sizes.items():
            there = [_nbytes(path) for path in (self._folder / name, self._part(name))]
            missing += 0 if there[0] == nbytes else max(nbytes - there[1], 0)
        free = shutil.disk_usage(self._folder).free
        if missing > free:
            raise ReleaseError(
                f"{self._folder} has no room: {missing / 1e9:,.2f} GB are missing, and {free / 1e9:,.2f} GB are free"
            )

    def fetch(self, name: str) -> DownloadedFile:
        """Bring one file into the folder."""
        try:
            return self._fetch(name)
        except OSError as error:
            if isinstance(error, ReleaseError):
                raise
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                reason = "the disk is full; make room, and run the same command again: it resumes"
            else:
                reason = str(error)
            raise ReleaseError(f"{self._folder / name} cannot be written: {reason}") from error

    def _fetch(self, name: str) -> DownloadedFile:
        path, part = self._folder / name, self._part(name)
        nbytes, md5 = self._sizes[name], self._filesystem.md5(name)
        if path.is_file() and path.stat().st_size == nbytes and self._hash_file(name, path).hexdigest() == md5:
            return DownloadedFile(path, nbytes, md5, was_there=True)
        for other in self._folder.iterdir():
            if re.fullmatch(rf"{re.escape(name)}\.[0-9a-f]{{32}}\.part", other.name) and other != part:
                other.unlink()  # of a file that has changed since
        found = self._append(name, part)
        if found != md5:
            part.unlink()
            raise ReleaseError(
                f"{name} of {self._filesystem.address} is not what the record lists: its MD5 is {found}, "
                f"expected {md5}; it was removed, run the same command again"
            )
        part.replace(path)
        return DownloadedFile(path, nbytes, md5, was_there=False)

    def _append(self, name: str, part: Path) -> str:
        """Fetch what a part lacks; return the MD5 of the whole."""
        if _nbytes(part) > self._sizes[name]:
            part.unlink()
        digest = self._hash_file(name, part)
        with part.open("ab") as file:
            try:
                self._copy(name, file, digest)
            except NoRangesError:
                file.truncate(0)
                self._done[name] = 0
                digest = hashlib.md5(usedforsecurity=False)
                self._copy(name, file, digest)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def _copy(self, name: str, file: BinaryIO, digest: "hashlib._Hash") -> None:
        """Fetch what comes after the bytes that are done."""
        for piece in self._filesystem.stream(name, self._done[name]):
            file.write(piece)
            digest.update(piece)
            self._advance(name, len(piece))

    def _hash_file(self, name: str, path: Path) -> "hashlib._Hash":
        """Hash what is on disk, and count it as done."""
        digest = hashlib.md5(usedforsecurity=False)
        self._done[name] = 0
        if path.exists():
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    self._advance(name, len(piece))
        return digest

    def _advance(self, name: str, nbytes: int) -> None:
        """Count bytes as done, and report progress."""
        if self._is_stopped:
            raise ReleaseError(f"{self._folder / name} is not complete: the download was stopped")
        with self._lock:
            self._done[name] += nbytes
            if self._progress:
                self._progress(sum(self._done.values()), sum(self._sizes.values()))

    def _part(self, name: str) -> Path:
        return self._folder / f"{name}.{self._filesystem.md5(name)}.part"


def _nbytes(path: Path) -> int:
    """Return the size of a file; 0 if it does not exist."""
    return path.stat().st_size if path.is_file() else 0
