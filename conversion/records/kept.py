"""A record of which what was read is kept on disk, so that nothing is fetched twice and few requests are sent."""

import hashlib
import io
import shutil
import tempfile
import weakref
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

from fsspec import AbstractFileSystem

from s2cmc.errors import ArgumentError, ReleaseError
from s2cmc.files import SpanReader

from .errors import NoRangesError
from .filesystem import RecordFileSystem
from .parts import PartFile, Span, joined

_TAIL = 131_072  # bytes at the end of a zip, where its directory is: that of 513 members takes 75 kB
_GAP = 65_536  # bytes between spans that one request fetches together
_ALMOST = 0.99  # of a file, there or expected, from which on it is fetched as a whole, and proved


class KeptRecord(AbstractFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """File system of fsspec over a record, and over what is on disk of it.

    Parameters
    ----------
    record : RecordFileSystem
    folder : Path, optional
        Where files are kept, whole ones under their own names. By default in a temporary folder, all but `large`.
    large : str
        Name of the file of which a temporary folder keeps nothing: each part of it is read once.

    Attributes
    ----------
    proved : set of str
        Files that were read as a whole and have the MD5 that the record states.
    """

    protocol = "zenodo"
    cachable = False

    def __init__(self, record: RecordFileSystem, folder: Path | None = None, *, large: str = "") -> None:
        super().__init__()
        self.record = record
        self.proved: set[str] = set()
        self._passing = large if folder is None else ""
        self._folder = folder or _temporary_folder(self)
        self._lock = Lock()
        self._announced: set[str] = set()
        self._expected: dict[str, list[Span]] = {}
        self._parts: dict[str, PartFile] = {}
        self._bringing: dict[str, Lock] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.strip("/")

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List the record."""
        found: list[Any] = self.record.ls(path, detail)
        return found

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, size, type and MD5 of a file, from the listing."""
        return self.record.info(path)

    def md5(self, path: str) -> str:
        """Return the MD5 of a file that the listing states."""
        return self.record.md5(path)

    def expect(self, path: str, spans: Iterable[Span]) -> None:
        """Announce the spans of a file that will be read: the first one that is read brings all of them."""
        path = self._strip_protocol(path)
        self._announced.add(path)
        expected = _together([*self._expected.get(path, []), *spans])
        nbytes = int(self.size(path))
        covered = sum(last - first for first, last in joined([*expected, *self._part(path).spans]))
        self._expected[path] = [(0, nbytes)] if covered >= _ALMOST * nbytes else expected

    def keeps_expected(self, path: str) -> bool:
        """Return True for a file of which spans are expected: reading one of them brings all."""
        return self._strip_protocol(path) in self._announced

    def stream(self, path: str, start: int = 0, end: int | None = None) -> Generator[bytes]:
        """Yield a file, or bytes `start` to `end` of it, in pieces, from disk as far as they are there.

        Raises
        ------
        ReleaseError
            If they cannot be read or kept, see `RecordFileSystem.stream`. Or the whole file has come, and its MD5 is
            not the one that the record states.
        NoRangesError
            If the server honours no ranges, and a part of `large` was asked for that is not kept.
        """
        path = self._strip_protocol(path)
        start, end, _ = slice(start, end).indices(int(self.size(path)))
        if path == self._passing:
            yield from self._pass(path, start, end)
            return
        part = self._part(path)
        with self._bringing[path]:
            if part.missing(start, end):
                for span in self._expected.pop(path, []):
                    for _piece in self._tee(path, part, *span):
                        pass
        yield from self._tee(path, part, start, end)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return a file, or bytes `start` to `end` of it; see `stream`."""
        return b"".join(self.stream(path, start or 0, end))

    def proof(self) -> str:
        """Say what was proved by what was read."""
        names = self.ls("", detail=False)
        whole = [name for name in names if name in self.proved]
        parts = [name for name in names if name not in self.proved and name.endswith(".zip")]
        said = [f"the MD5 of {', '.join(whole)}"] if whole else []
        said += [f"size and CRC-32 of each member that was read of {', '.join(parts)}"] if parts else []
        return f"proved while it was read: {'; '.join(said)}"

    @property
    def keeps_all(self) -> bool:
        """True if all that is fetched is kept, also of the large file."""
        return not self._passing

    def complete(self, path: str) -> None:
        """Fetch what is missing of a file that is kept, and so prove it."""
        for _piece in self.stream(path):
            pass

    def stop(self) -> None:
        """End all reads in other threads with an error."""
        self.record.stop()

    def _tee(self, path: str, part: PartFile, start: int, end: int) -> Generator[bytes]:
        """Yield a span from disk and, where it is missing, from the record, and keep that."""
        position = start
        gaps = part.missing(start, end)
        for first, last in gaps:
            yield from part.read(position, first)
            position = first
            try:
                with closing(self.record.stream(path, first, last)) as pieces:
                    for piece in pieces:
                        part.write(position, piece)
                        position += len(piece)
                        yield piece
            except NoRangesError:
                self._fetch_whole(path, part)
                break
        if gaps:
            part.save()
        yield from part.read(position, end)
        if path not in self.proved and not part.missing():
            part.finish()
            self.proved.add(path)

    def _fetch_whole(self, path: str, part: PartFile) -> None:
        position = 0
        for piece in self.record.stream(path):
            part.write(position, piece)
            position += len(piece)

    def _pass(self, path: str, start: int, end: int) -> Generator[bytes]:
        """Yield a span that is not kept; of the whole file, prove the MD5."""
        whole = (start, end) == (0, int(self.size(path)))
        digest = hashlib.md5(usedforsecurity=False)
        with closing(self.record.stream(path, start, end)) as pieces:
            for piece in pieces:
                if whole:
                    digest.update(piece)
                yield piece
        if whole:
            if digest.hexdigest() != self.md5(path):
                raise ReleaseError(
                    f"{path} of {self.record.address} is not what the record lists: its MD5 is {digest.hexdigest()}, "
                    f"expected {self.md5(path)}"
                )
            self.proved.add(path)

    def _part(self, path: str) -> PartFile:
        with self._lock:
            if path not in self._parts:
                self._parts[path] = PartFile(self._folder, path, int(self.size(path)), self.md5(path))
                self._bringing[path] = Lock()
            return self._parts[path]

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BufferedReader:
        if mode != "rb":
            raise ArgumentError(f"{self.record.address} is read-only; mode is {mode!r}, expected 'rb'")
        return io.BufferedReader(_EndInMemory(self, path))  # which reads on where a piece ends


class _EndInMemory(SpanReader):
    """A file whose end, where the directory of a zip is, is fetched at once, and other parts as they are read."""

    def __init__(self, record: KeptRecord, path: str) -> None:
        super().__init__(int(record.size(path)))
        self._record, self._path = record, path
        self._first = max(0, self._nbytes - _TAIL)
        self._end = record.cat_file(path, self._first)

    def read_span(self, start: int, end: int) -> bytes:
        """Read up to the first byte that is in memory, or from there on."""
        if start < self._first:
            return self._record.cat_file(self._path, start, min(end, self._first))
        return self._end[start - self._first : end - self._first]


def _together(spans: Iterable[Span]) -> list[Span]:
    """Sort spans, and join those between which little lies."""
    return [(first, last - _GAP) for first, last in joined((first, last + _GAP) for first, last in spans)]


def _temporary_folder(owner: KeptRecord) -> Path:
    """Make a folder that goes when its owner goes."""
    folder = tempfile.mkdtemp(prefix="s2cmc-")
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
