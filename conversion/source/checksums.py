"""Compare the files of a release with the checksums that were published with them.

Bytes and MD5 are those that Zenodo lists for record 4172871 (https://doi.org/10.5281/zenodo.4172871), all its 7 files.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from posixpath import basename
from threading import Lock
from typing import Literal

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from s2cmc._redact import without_secrets
from s2cmc.errors import MissingReleaseError, ReleaseError
from s2cmc.release import PARTS
from s2cmc.storage import Location, file_info, locate, scheme_of, unreadable

from ..records import KeptRecord
from .containers import Piece, read_pieces
from .filesystems import release_filesystem

State = Literal["matches", "differs", "missing", "unpacked", "unreadable", "foreign"]

Progress = Callable[[int, int], None]
"""Called with the bytes read so far, and with all."""

_BLOCK = 8_000_000  # bytes of a request
_AHEAD = 4  # requests under way for a remote file


@dataclass(frozen=True)
class PublishedFile:
    """A file of the publication: its size in bytes, and its MD5 as 32 hexadecimal digits."""

    nbytes: int
    md5: str


PUBLISHED = {
    "classification_tags.csv": PublishedFile(77_940, "6911e5a8915daf9a98638eb21ba4afd3"),
    "README.pdf": PublishedFile(1_891_882, "48fb6afa0195a3736d4ce122d007be36"),
    "masks.zip": PublishedFile(7_241_097, "c955efe74c52d07f8e8bb02d5143e182"),
    "alt_masks.zip": PublishedFile(1_077_840, "0140a8b500d85cc8553ec8ba0a304bde"),
    "shapefiles.zip": PublishedFile(1_450_453, "3ed79b74eb84431e68f764457b1f00ac"),
    "thumbnails.zip": PublishedFile(145_914_232, "ac054a7940e0680e768bdd824e0ee8af"),
    "subscenes.zip": PublishedFile(15_197_196_473, "0ad1de0ebeaff529782f456cad2e966f"),
}


@dataclass(frozen=True)
class FileReport:
    """Result of the comparison of one file.

    Attributes
    ----------
    name : str
    state : {"matches", "differs", "missing", "unpacked", "unreadable", "foreign"}
        ``unpacked`` is a folder in place of a zip, which has no MD5; ``foreign`` is not part of the publication.
    text : str
        The state in words, with both MD5s where they differ.
    """

    name: str
    state: State
    text: str


def verify_published(
    release: Location,
    *,
    workers: int | None = None,
    release_options: Mapping[str, object] | None = None,
    progress: Progress | None = None,
    published: Mapping[str, PublishedFile] = PUBLISHED,
) -> list[FileReport]:
    """Compare each file of a release with the MD5 that was published.

    Each file is read once, in pieces, several files side by side. A local file takes 64 kB of memory, a remote one
    32 MB.

    Parameters
    ----------
    release : str or path
        Folder, URL that fsspec knows, or address of a record. A web server is not listed, so that foreign files are not
        found there.
    workers : int, optional
        Files at once; by default one for each core.
    release_options : mapping, optional
        Options of its fsspec file system.
    progress : callable, optional
        See `Progress`.
    published : mapping of str to PublishedFile

    Returns
    -------
    list of FileReport
        One for each published file, in the order of `published`, then the foreign ones.

    Raises
    ------
    ReleaseError
        If there is no folder at `release`, or it cannot be reached.
    """
    release = locate(release)
    try:
        filesystem, root = release_filesystem(release, release_options)
        web = scheme_of(release.rpartition("::")[2]).startswith("http")
        is_missing = not web and not filesystem.isdir(root)
        listed = [] if web or is_missing else filesystem.ls(root, detail=True)
        present = {basename(path["name"].rstrip("/")) for path in listed}
        sizes = {name: _nbytes(filesystem, f"{root}/{name}") for name in published}
    except unreadable(ValueError, ImportError) as error:
        raise ReleaseError(f"{release} cannot be read: {error}") from without_secrets(error)
    if is_missing:
        raise MissingReleaseError(f"there is no folder {release}; expected one with {', '.join(published)}")
    counter = _ByteCounter(sum(size or 0 for size in sizes.values()), progress)

    def check(name: str) -> FileReport:
        if sizes[name] is None:
            return _report_absent(name, filesystem, root)
        return _compare(name, published[name], filesystem, f"{root}/{name}", sizes[name] or 0, counter)

    largest = sorted(published, key=lambda name: -(sizes[name] or 0))  # first, or all would wait for it
    with ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="s2cmc-published") as pool:
        reports = dict(zip(largest, pool.map(check, largest), strict=True))
    foreign = [name for name in sorted(present) if name not in published and not _replaces_zip(name, reports)]
    return [
        *(reports[name] for name in published),
        *(FileReport(name, "foreign", f"{name}: not part of the publication") for name in foreign),
    ]


def _nbytes(filesystem: AbstractFileSystem, path: str) -> int | None:
    """Return the size of a file; None if it does not exist."""
    info = file_info(filesystem, path)
    return None if info is None else int(info["size"] or 0)


def _report_absent(name: str, filesystem: AbstractFileSystem, root: str) -> FileReport:
    part = name.removesuffix(".zip")
    if part in PARTS and not scheme_of(root) and filesystem.isdir(f"{root}/{part}"):
        text = f"{name}: unpacked; the published MD5 is that of the zip, and says nothing about the files of a folder"
        return FileReport(name, "unpacked", text)
    return FileReport(name, "missing", f"{name}: missing")


def _replaces_zip(name: str, reports: Mapping[str, FileReport]) -> bool:
    report = reports.get(f"{name}.zip")
    return report is not None and report.state == "unpacked"


def _compare(
    name: str, expected: PublishedFile, filesystem: AbstractFileSystem, path: str, nbytes: int, counter: "_ByteCounter"
) -> FileReport:
    digest = hashlib.md5(usedforsecurity=False)
    try:
        for piece in _pieces(filesystem, path, nbytes):
            digest.update(piece)
            counter.add(len(piece))
    except ReleaseError as error:
        return FileReport(name, "unreadable", f"{name}: unreadable: {error}")
    md5 = digest.hexdigest()
    if md5 == expected.md5:
        return FileReport(name, "matches", f"{name}: matches, {nbytes:,} bytes, MD5 {md5}")
    text = f"{name}: differs: MD5 {md5} of {nbytes:,} bytes; published {expected.md5} of {expected.nbytes:,} bytes"
    return FileReport(name, "differs", text)


def _pieces(filesystem: AbstractFileSystem, path: str, nbytes: int) -> Iterator[Piece]:
    """Yield the content of a file; for a remote one, a few requests are sent ahead."""
    if isinstance(filesystem, LocalFileSystem):
        yield from read_pieces(filesystem, path, path)
        return
    if isinstance(filesystem, KeptRecord):
        yield from filesystem.record.stream(path)
        return
    # 20 MB in blocks of 8 MB: spans (0, 8 MB), (8 MB, 16 MB), (16 MB, 20 MB); a new request starts as one is consumed.
    spans = ((start, min(start + _BLOCK, nbytes)) for start in range(0, nbytes, _BLOCK))
    with ThreadPoolExecutor(_AHEAD, thread_name_prefix="s2cmc-ahead") as pool:
        ahead = deque(pool.submit(_read_block, filesystem, path, *span) for span in islice(spans, _AHEAD))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(_read_block, filesystem, path, *span) for span in islice(spans, 1))


def _read_block(filesystem: AbstractFileSystem, path: str, start: int, end: int) -> bytes:
    return b"".join(read_pieces(filesystem, path, path, start, end))


class _ByteCounter:
    """Count of the bytes that all threads have read so far."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress, self._done, self._lock = total, progress, 0, Lock()

    def add(self, nbytes: int) -> None:
        """Add to the count, and report progress."""
        with self._lock:
            self._done += nbytes
            if self._progress:
                self._progress(self._done, self._total)
