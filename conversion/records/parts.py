"""Files that arrive in spans, in any order and by several threads: what is on disk, and what is still missing."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from s2cmc.errors import ReleaseError

from .errors import RecordError

Span = tuple[int, int]
"""First byte, and one past the last."""

_PIECE = 1 << 20  # bytes


class PartFile:
    """A file in a folder, of which some spans are there: ``NAME.part``, and beside it ``NAME.part.json``.

    The second says which spans are there, and of which file, so that a later run goes on. Once all are there and the
    MD5 is right, the file gets its own name.

    Parameters
    ----------
    folder : Path
    name : str
    nbytes : int
        Size of the whole file.
    md5 : str
        Of the whole file; empty if nobody states it.

    Raises
    ------
    ReleaseError
        From each method: if the folder cannot be written or read.
    """

    def __init__(self, folder: Path, name: str, nbytes: int, md5: str) -> None:
        self.path = folder / name
        self.nbytes, self.md5 = nbytes, md5
        self._part, self._list = folder / f"{name}.part", folder / f"{name}.part.json"
        self._lock = Lock()
        with self._explained():
            self._spans = self._listed_spans()

    @property
    def spans(self) -> list[Span]:
        """Spans that are there, in order."""
        return list(self._spans)

    def missing(self, start: int = 0, end: int | None = None) -> list[Span]:
        """Return what is not there of a span, by default of the whole file.

        Of 0..100 where 20..40 and 60..100 are there: ``[(0, 20), (40, 60)]``.
        """
        end = self.nbytes if end is None else end
        gaps = []
        for first, last in self._spans:
            if first >= end:
                break
            if first > start:
                gaps.append((start, first))
            start = max(start, last)
        return [*gaps, (start, end)] if start < end else gaps

    def write(self, start: int, piece: bytes | memoryview) -> None:
        """Keep a piece of the file, from byte `start` on; `save` lists it."""
        with self._explained(), self._lock:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._part.touch()
            with self._part.open("r+b") as file:
                file.seek(start)
                file.write(piece)
            self._spans = joined([*self._spans, (start, start + len(piece))])

    def save(self) -> None:
        """List the spans that are there, for a later run."""
        with self._explained(), self._lock:
            content = json.dumps({"nbytes": self.nbytes, "md5": self.md5, "spans": self._spans})
            new = self._list.with_name(f"{self._list.name}.new")
            new.write_text(content)
            new.replace(self._list)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of a span that is there, in pieces."""
        if start >= end:
            return
        with self._explained(), (self.path if self.path.exists() else self._part).open("rb") as file:
            file.seek(start)
            while start < end and (piece := file.read(min(_PIECE, end - start))):
                start += len(piece)
                yield piece

    def finish(self) -> None:
        """Give the file its own name, now that all of it is there.

        Raises
        ------
        ReleaseError
            If its MD5 is not the one that was stated; nothing of it is kept then.
        """
        if self.path.exists():
            return
        with self._explained():
            self._part.touch()  # an empty file has no piece
            with self._part.open("rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
            if self.md5 and found != self.md5:
                self._part.unlink()
                self._list.unlink(missing_ok=True)
                raise ReleaseError(
                    f"{self.path.name} has the MD5 {found} after all of it was fetched, but its record says "
                    f"{self.md5}; what was fetched is removed, run the same command again"
                )
            self._part.replace(self.path)
            self._list.unlink(missing_ok=True)

    def _listed_spans(self) -> list[Span]:
        if self.path.exists():
            if self.path.stat().st_size != self.nbytes:
                raise ReleaseError(
                    f"{self.path} has {self.path.stat().st_size} bytes, but the file of its name in the record "
                    f"{self.nbytes}; move it away, or choose another folder"
                )
            return [(0, self.nbytes)]
        try:
            listed = json.loads(self._list.read_text())
            spans = joined((int(first), int(last)) for first, last in listed["spans"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return []
        is_same = (listed.get("nbytes"), listed.get("md5")) == (self.nbytes, self.md5)
        is_there = self._part.exists() and self._part.stat().st_size >= max((last for _, last in spans), default=0)
        return spans if is_same and is_there else []

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, ReleaseError):
                raise
            raise RecordError(f"{self.path} cannot be kept: {error}") from error


def joined(spans: Iterable[Span]) -> list[Span]:
    """Sort spans, and join those that touch: ``[(5, 9), (0, 5)]`` is ``[(0, 9)]``."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        elif first < last:
            joined.append((first, last))
    return joined
