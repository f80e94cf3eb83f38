"""A zip whose server honours no ranges, read in one pass: its members in the order in which they come.

One thread inflates, others work on what it hands over. Memory is bounded: some pieces on their way to each of them.
"""

import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from queue import Full, Queue
from typing import Any

from stream_unzip import UnzipError, stream_unzip

from s2cmc.errors import CatalogueError, ReleaseError
from s2cmc.files import FILE_BYTES

from .containers import Content, Member, Piece, printable
from .listing import Release, SceneSource, scene_of_subscene

_PIECE = 65_536  # bytes
_PIECES = 64  # on their way to a worker
_LOOK = 0.2  # seconds between two looks whether a worker still reads


@dataclass
class StreamedMember:
    """A member of a zip that streams by, see `Member`. It is read once, before the next one is asked for.

    Attributes
    ----------
    path : str
        Location of the member, for messages.
    name : str
        Path inside the zip.
    pieces : iterator of bytes
        Its content.
    identity : str
        Size and CRC-32 of the content, as of a `ZipMember`; empty until the content was read to its end.
    nbytes : int
        Bytes that were read so far.
    """

    path: str
    name: str
    pieces: Iterator[bytes] = field(repr=False)
    identity: str = ""
    nbytes: int = 0

    def open(self) -> Content:
        """Open the content, once. Size and CRC-32 are checked when its end is read."""
        return Content(self._counted())

    def read(self, limit: int = FILE_BYTES) -> bytes:
        """Read the whole content, once."""
        with self.open() as content:
            return content.read_within(limit, self.path)

    def _counted(self) -> Iterator[Piece]:
        crc = 0
        try:
            for piece in self.pieces:
                self.nbytes += len(piece)
                crc = zlib.crc32(piece, crc)
                yield piece
        except UnzipError as error:
            raise ReleaseError(f"{self.path} is damaged: {_reason(error)}") from error
        self.identity = f"{self.nbytes}:{crc:08x}"


def stream_members(pieces: Iterable[bytes], path: str) -> Generator[StreamedMember]:
    """Yield the files of a zip while it streams by. What of a member is not read is passed over.

    Parameters
    ----------
    pieces : iterable of bytes
        The zip from its first byte to its last.
    path : str
        Its place, for messages.

    Raises
    ------
    ReleaseError
        If it is no zip, is cut short, or its members cannot be told apart without its directory.
    """
    try:
        for packed, _, content in stream_unzip(pieces):
            name = packed.decode("utf-8", "surrogateescape").replace("\\", "/")
            if not name.endswith("/"):
                yield StreamedMember(f"{path}!{printable(name)}", name, content)
            for _ in content:
                pass
    except UnzipError as error:
        raise ReleaseError(f"{path} cannot be read as it streams by: {_reason(error)}") from error


def _reason(error: UnzipError) -> str:
    """Return a message for an error of stream-unzip, most of which have none but their name."""
    return str(error) or type(error).__name__


def work_on_members[K, R](
    members: Generator[StreamedMember],
    wanted: Mapping[str, K],
    scene_of: Callable[[str], str | None],
    work: Callable[[K, Member], R],
    workers: int,
) -> Generator[tuple[K, R]]:
    """Call a function with each member of a zip that is of a wanted scene, in threads; yield its results.

    Parameters
    ----------
    members : generator of StreamedMember
        Closed after the last scene that is wanted.
    wanted : mapping of str to object
        What `work` gets, by scene.
    scene_of : callable
        Returns the scene of a member's name; None for another file.
    work : callable
        Reads the member it is given, once.
    workers : int
        Threads, beside the one that inflates.

    Raises
    ------
    ReleaseError
        If the zip is damaged, or has ended before all scenes came.
    """
    todo = dict(wanted)
    running: dict[Future[R], K] = {}
    with closing(members), ThreadPoolExecutor(workers, thread_name_prefix="s2cmc-stream") as pool:
        while todo and (member := next(members, None)) is not None:
            key = todo.pop(scene_of(member.name) or "", None)
            if key is None:
                continue
            while len(running) >= workers:
                yield from _finished(running)
            handed = _HandedMember(member)
            future = pool.submit(work, key, handed)
            running[future] = key
            handed.feed(future)
        while running:
            yield from _finished(running)
    if todo:
        missing = ", ".join(list(todo)[:3])
        raise ReleaseError(f"subscenes.zip has ended, and {len(todo)} scenes have no file in it: {missing}")


def work_on_subscenes[K, R](
    release: Release, wanted: Mapping[str, K], work: Callable[[K, SceneSource], R], workers: int
) -> Generator[tuple[K, R]]:
    """Call a function with each scene of a release whose subscenes stream by; see `work_on_members`.

    Parameters
    ----------
    release : Release
        With `streamed`.
    wanted : mapping of str to object
        What `work` gets, by scene.
    work : callable
        Reads the subscene of the scene it is given, once.
    workers : int
    """
    if release.record is None or not wanted:
        return
    sources = {source.scene: source for source in release.scenes}

    def with_member(pair: tuple[K, SceneSource], member: Member) -> R:
        return work(pair[0], replace(pair[1], subscene=member))

    pairs = {scene: (key, sources[scene]) for scene, key in wanted.items()}
    with closing(release.record.stream(release.streamed)) as pieces:
        members = stream_members(pieces, release.streamed)
        for (key, _), result in work_on_members(members, pairs, scene_of_subscene, with_member, workers):
            yield key, result
        if release.is_whole:  # only the directory is left, and then the MD5 is proved
            for _piece in pieces:
                pass


def _finished[K, R](running: dict[Future[R], K]) -> Generator[tuple[K, R]]:
    """Wait until one of the futures has ended; yield those that have."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        yield running.pop(future), future.result()


class _HandedMember:
    """A member that one thread inflates and another one reads; see `Member`."""

    def __init__(self, member: StreamedMember) -> None:
        self._member = member
        self._pieces: Queue[bytes | CatalogueError] = Queue(_PIECES)
        self.path, self.name = member.path, member.name

    @property
    def identity(self) -> str:
        """Size and CRC-32 of the content, known when it has passed."""
        return self._member.identity

    @property
    def nbytes(self) -> int:
        """Bytes that have passed so far."""
        return self._member.nbytes

    def open(self) -> Content:
        """Open the content, once."""
        return Content(self._taken())

    def read(self, limit: int = FILE_BYTES) -> bytes:
        """Read the whole content, once."""
        with self.open() as content:
            return content.read_within(limit, self.path)

    def feed(self, reader: "Future[Any]") -> None:
        """Inflate the member for a reader. What it does not read any more is passed over."""
        try:
            with self._member.open() as content:
                while piece := content.read(_PIECE):
                    self._put(piece, reader)
        except CatalogueError as error:
            self._put(error, reader)
            raise
        self._put(b"", reader)

    def _put(self, piece: bytes | CatalogueError, reader: "Future[Any]") -> None:
        while not reader.done():
            with suppress(Full):
                self._pieces.put(piece, timeout=_LOOK)
                return

    def _taken(self) -> Generator[bytes]:
        while piece := self._pieces.get():
            if isinstance(piece, CatalogueError):
                raise piece
            yield piece
