"""Folders and zips, local or remote, as containers of members that are read one by one.

A member of a zip is a range of bytes, inflated as it is read: nothing is unpacked, and no byte of a large remote zip is
read twice or in vain. A small zip (masks, outlines) is fetched in one request.
"""

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, Protocol

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from s2cmc._redact import without_secrets
from s2cmc.errors import CatalogueError, ReleaseError
from s2cmc.files import FILE_BYTES, METHODS, SpanReader, open_zip
from s2cmc.storage import unreadable

from ..records import KeptRecord

if TYPE_CHECKING:
    from collections.abc import Buffer


Piece = bytes | memoryview

_zlib: ModuleType = zlib
with suppress(ImportError):  # isal inflates twice as fast as zlib, and its CRC-32 is six times as fast
    from isal import isal_zlib

    _zlib = isal_zlib

PIECE = 65_536  # bytes; few enough that what they inflate to stays in a core's cache
_BLOCK = 1_000_000  # bytes
_REQUEST = 64_000_000  # bytes; a scene as published takes half of it deflated, and all of it as a file


def read_pieces(
    filesystem: AbstractFileSystem, path: str, name: str, start: int = 0, end: int | None = None
) -> Iterator[Piece]:
    """Yield the bytes of a file from `start` up to, not including, `end`; by default all of them.

    A local file and one of a record are read as the pieces are consumed, another remote one by one request for each
    `_REQUEST` bytes.

    Parameters
    ----------
    filesystem : AbstractFileSystem
    path : str
    name : str
        Name of the file or member, for messages.
    start, end : int

    Raises
    ------
    ReleaseError
        If the bytes cannot be read, or are not as many as requested.
    """
    received = 0
    try:
        for piece in _pieces(filesystem, path, start, end):
            received += len(piece)
            if end is None or received <= end - start:
                yield piece
    except unreadable() as error:
        if isinstance(error, CatalogueError):
            raise
        raise ReleaseError(f"{name} cannot be read: {error}") from without_secrets(error)
    if end is not None and received != end - start:
        raise ReleaseError(
            f"{name}: asked for {end - start} bytes, got {received}; the file is cut short, or its "
            "server does not honour range requests"
        )


def _pieces(filesystem: AbstractFileSystem, path: str, start: int, end: int | None) -> Iterator[Piece]:
    if isinstance(filesystem, KeptRecord):
        return filesystem.stream(path, start, end)
    return (_read_local if isinstance(filesystem, LocalFileSystem) else _read_remote)(filesystem, path, start, end)


def _read_local(filesystem: AbstractFileSystem, path: str, start: int, end: int | None) -> Iterator[Piece]:
    with filesystem.open(path, "rb") as file:
        file.seek(start)
        while piece := file.read(PIECE if end is None else min(PIECE, end - start)):
            start += len(piece)
            yield piece


def _read_remote(filesystem: AbstractFileSystem, path: str, start: int, end: int | None) -> Iterator[Piece]:
    end = filesystem.size(path) if end is None else end
    if end is None:
        raise OSError("its server does not say how large it is")
    for first in range(start, end, _REQUEST):
        yield filesystem.cat_file(path, start=first, end=min(first + _REQUEST, end))


class Content(io.RawIOBase):
    """A file that is read once, from front to back.

    Parameters
    ----------
    pieces : iterator of bytes-like
    """

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._ended = False

    def close(self) -> None:
        """Read no more, and let the connection go that the pieces come by."""
        if isinstance(self._pieces, Generator):
            self._pieces.close()
        super().close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes, or all that remain; none at the end."""
        return self.readall() if size is None or size < 0 else bytes(self._take(size))

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill `buffer`, or its beginning, and return the number of bytes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        piece = self._take(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def readall(self) -> bytes:
        """Read all bytes that remain."""
        whole = io.BytesIO()
        while piece := self._take(_BLOCK):
            whole.write(piece)
        return whole.getvalue()

    def read_within(self, limit: int, path: str) -> bytes:
        """Read all bytes that remain, at most `limit`.

        Raises
        ------
        ReleaseError
            If more than `limit` bytes remain.
        """
        whole = io.BytesIO()
        while piece := self._take(min(_BLOCK, limit + 1 - whole.tell())):
            whole.write(piece)
        if whole.tell() > limit:
            raise ReleaseError(f"{path} has more than {limit} bytes, which is more than is taken")
        return whole.getvalue()

    def skip(self, nbytes: int | None = None) -> int:
        """Discard `nbytes` bytes, by default all that remain, and return how many there were."""
        skipped = 0
        while piece := self._take(_BLOCK if nbytes is None else min(_BLOCK, nbytes - skipped)):
            skipped += len(piece)
        return skipped

    def _take(self, nbytes: int) -> Piece:
        if self._ended or not nbytes:
            return b""
        self._ended = True  # also if the next line raises: a failed content is not read on
        piece = self._next_piece(nbytes)
        self._ended = not piece
        return piece

    def _next_piece(self, nbytes: int) -> Piece:
        piece = self._rest or memoryview(next(self._pieces, b""))
        self._rest = piece[nbytes:]
        return piece[:nbytes]


class ZipContent(Content):
    """Content of a member of a zip. Reading to the end proves its size and CRC-32.

    Parameters
    ----------
    pieces : iterator of bytes-like
        Bytes of the zip after the local header, in small pieces.
    info : ZipInfo
        Directory entry of a member that is stored or deflated.
    path : str
        Name of the member, for messages.

    Raises
    ------
    ReleaseError
        From each method that reads: if the content cannot be inflated, or is not what the directory says.
    """

    def __init__(self, pieces: Iterator[Piece], info: zipfile.ZipInfo, path: str) -> None:
        super().__init__(pieces)
        self._info = info
        self._path = path
        self._inflater = _zlib.decompressobj(-zlib.MAX_WBITS)
        self._tail = b""
        self._nbytes = 0
        self._crc = 0

    def _next_piece(self, nbytes: int) -> Piece:
        # One byte more than the directory says is enough to see that the member is larger: a bomb is not inflated.
        limit = min(nbytes, self._info.file_size - self._nbytes + 1)
        try:
            piece = (
                self._inflate(limit) if self._info.compress_type == zipfile.ZIP_DEFLATED else super()._next_piece(limit)
            )
        except _zlib.error as error:
            raise ReleaseError(f"{self._path} is damaged: {error}") from error
        self._nbytes += len(piece)
        self._crc = _zlib.crc32(piece, self._crc)
        wrong_at_end = not piece and (self._nbytes, self._crc) != (self._info.file_size, self._info.CRC)
        if wrong_at_end or self._nbytes > self._info.file_size:
            raise ReleaseError(
                f"{self._path} is damaged: its content does not have the size and CRC-32 of the directory"
            )
        return piece

    def _inflate(self, limit: int) -> bytes:
        while not self._inflater.eof:
            piece = self._tail or next(self._pieces, b"")
            inflated = self._inflater.decompress(piece, limit)
            self._tail = self._inflater.unconsumed_tail
            if inflated or not piece:
                return inflated
        return b""


_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_LOCAL_MARK = b"PK\x03\x04"  # begins a member, and so most zips
_ENCRYPTED, _UTF8 = 0x1, 0x800  # flags of a member

_SMALL = 32_000_000  # bytes; a zip below is fetched in one request, however many members are read


class Member(Protocol):
    """A file in a container."""

    @property
    def path(self) -> str:
        """Location of the member, for messages."""

    @property
    def name(self) -> str:
        """Path inside the container, with ``/`` between folders."""

    @property
    def identity(self) -> str:
        """Fingerprint of the content: size, and CRC-32 or modification time where known."""

    @property
    def nbytes(self) -> int:
        """Size of the content as its container states it; 0 where unknown."""

    def open(self) -> Content:
        """Open the content, to be read in pieces; reads raise `ReleaseError` if it is unreadable or damaged."""

    def read(self, limit: int = FILE_BYTES) -> bytes:
        """Read the whole content.

        Raises
        ------
        ReleaseError
            If the content cannot be read, is damaged, or has more than `limit` bytes.
        """


@dataclass(frozen=True)
class FileMember:
    """A file of a folder."""

    filesystem: AbstractFileSystem
    path: str
    name: str
    identity: str
    nbytes: int

    def open(self) -> Content:
        """Open the content."""
        _refuse_large(self)
        return Content(read_pieces(self.filesystem, self.path, self.path))

    def read(self, limit: int = FILE_BYTES) -> bytes:
        """Read the whole content."""
        return _read_whole(self, limit)


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip.

    Attributes
    ----------
    filesystem : AbstractFileSystem
    archive : str
        Path of the zip.
    info : ZipInfo
    end : int
        First byte after its data: start of the next member, or of the directory.
    name : str
    whole : bytes, optional
        Content of the zip, if the zip is small.
    inner : str
        Name of the zip within `archive`, if it is a member there itself.
    base : int or None
        Byte of `archive` at which the zip begins; None if the zip is deflated there, and only `whole` can be read.
    """

    filesystem: AbstractFileSystem
    archive: str
    info: zipfile.ZipInfo
    end: int
    name: str
    whole: bytes | None = field(default=None, repr=False)
    inner: str = ""
    base: int | None = 0

    @property
    def path(self) -> str:
        """Location of the member, for messages."""
        return "!".join([self.archive, *map(printable, [self.inner] * bool(self.inner) + [self.info.filename])])

    @property
    def identity(self) -> str:
        """Size and CRC-32 of the content."""
        return f"{self.info.file_size}:{self.info.CRC:08x}"

    @property
    def nbytes(self) -> int:
        """Size of the content as the directory states it."""
        return self.info.file_size

    def open(self) -> Content:
        """Open the content; size and CRC-32 are checked when its end is read."""
        _refuse_large(self)
        start = self.info.header_offset
        if not 0 <= start < self.end:
            raise ReleaseError(f"{self.path} is damaged: the directory says that it begins at byte {start}")
        if stat.S_ISLNK(self.info.external_attr >> 16):  # the mode, as Unix packs it
            raise ReleaseError(f"{self.path} is a link; expected the file itself")
        return ZipContent(self._body(), self.info, self.path)

    def read(self, limit: int = FILE_BYTES) -> bytes:
        """Read the whole content, with size and CRC-32 checked."""
        return _read_whole(self, limit)

    def _body(self) -> Iterator[bytes]:
        """Yield the bytes after the local header, in small pieces.

        A member whose name has 20 bytes, with 28 bytes of extra fields and 1000 bytes of data, from byte 500 of the
        zip on: local header 500..529, name 530..549, extra fields 550..577, data 578..1577. Lengths of name and extra
        fields are those of the local header: the directory may have other extra fields.
        """
        stored = Content(self._packed(self.end))
        name_length, extra_length = self._local_lengths(stored)
        if self.info.flag_bits & _ENCRYPTED:
            raise ReleaseError(f"{self.path} is encrypted; releases are read without a password")
        if self.info.compress_type not in METHODS:
            raise ReleaseError(
                f"{self.path} is compressed by method {self.info.compress_type}; expected stored (0) or deflate (8)"
            )
        if stored.read(name_length) != self._packed_name():
            raise ReleaseError(f"{self.path} is damaged: the directory gives another name than its local header")
        stored.skip(extra_length)
        remaining = self.info.compress_size
        while piece := stored.read(min(PIECE, remaining)):
            remaining -= len(piece)
            yield piece

    def data_start(self) -> int:
        """Return the byte of the zip at which the data begins, which the local header tells."""
        header = Content(self._packed(self.info.header_offset + _LOCAL_HEADER.size))
        return self.info.header_offset + _LOCAL_HEADER.size + sum(self._local_lengths(header))

    def _packed(self, end: int) -> Iterator[Piece]:
        """Yield the bytes of the zip from the local header up to, not including, `end`."""
        start = self.info.header_offset
        if self.whole is not None:
            return iter([self.whole[start:end]])
        base = self.base or 0
        return read_pieces(self.filesystem, self.archive, self.path, base + start, base + end)

    def _local_lengths(self, packed: Content) -> tuple[int, int]:
        """Read the local header; return the bytes of the name and of the extra fields that follow it."""
        header = packed.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(_LOCAL_MARK):
            raise ReleaseError(f"{self.path} is damaged: no local header where the directory says")
        *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        return name_length, extra_length

    def _packed_name(self) -> bytes:
        return self.info.orig_filename.encode("utf-8" if self.info.flag_bits & _UTF8 else "cp437")


def _read_whole(member: Member, limit: int) -> bytes:
    _refuse_large(member, limit)
    with member.open() as content:
        return content.read_within(limit, member.path)


def _refuse_large(member: Member, limit: int = FILE_BYTES) -> None:
    if member.nbytes > limit:
        raise ReleaseError(f"{member.path} has {member.nbytes} bytes, which is more than the {limit} that are taken")


@dataclass(frozen=True)
class PassingMember:
    """A member of a zip whose server honours no ranges: it is read when it comes, see `streams`.

    Its identity is unknown until then, and empty.
    """

    path: str
    name: str
    identity: str = ""
    nbytes: int = 0

    def open(self) -> Content:
        """Refuse."""
        raise ReleaseError(
            f"{self.path} cannot be read by itself, because its server honours no ranges; download the record first"
        )

    def read(self, limit: int = FILE_BYTES) -> bytes:  # noqa: ARG002
        """Refuse."""
        return self.open().readall()


@contextmanager
def open_content(member: Member) -> Iterator[Content]:
    """Open the content of a member. Damage takes precedence over a `CatalogueError` in the body of the context.

    After such an error the content is read on, until its CRC-32 is checked or it is larger than an array may be.
    """
    with member.open() as content:
        try:
            yield content
        except CatalogueError:
            content.skip(FILE_BYTES)
            raise


def printable(name: str) -> str:
    """Return a name without what a terminal would obey, for messages."""
    return name if name.isprintable() else ascii(name)[1:-1]


def follow_link(filesystem: AbstractFileSystem, info: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a listing says of an entry; for a link that leads somewhere, with the type of its target."""
    if not info.get("islink"):
        return info
    try:
        return {**info, "type": filesystem.info(info["name"])["type"]}
    except OSError:
        return info


def folder_members(filesystem: AbstractFileSystem, root: str) -> list[FileMember]:
    """List every file below a folder; links are followed.

    Raises
    ------
    ReleaseError
        If there is a pipe, a device, or a link to one: reading it may never end. Or a link to a folder that is listed
        already, as the listing may then never end.
    """
    root = root.rstrip("/")
    if isinstance(filesystem, LocalFileSystem):
        infos = _walk(filesystem, root, {os.path.realpath(root)})
    else:
        infos = iter(filesystem.find(root, detail=True).values())
    members = []
    for info in infos:
        path = info["name"]
        if info["type"] != "file":
            raise ReleaseError(f"{printable(path)} is no file, but a pipe, a device, or a link to something else")
        members.append(
            FileMember(
                filesystem,
                path,
                path.removeprefix(root).lstrip("/"),
                f"{info.get('size')}:{info.get('mtime') or info.get('ETag') or ''}",
                info.get("size") or 0,
            )
        )
    return sorted(members, key=lambda member: member.path)


def _walk(filesystem: LocalFileSystem, folder: str, listed: set[str]) -> Iterator[Mapping[str, Any]]:
    """Yield everything below a folder that is no folder; a link to a folder in or above `listed` counts as none."""
    for info in filesystem.ls(folder, detail=True):
        followed = follow_link(filesystem, info)
        real = os.path.realpath(info["name"])
        repeated = info.get("islink") and any(os.path.commonpath([other, real]) == real for other in listed)
        if followed["type"] != "directory":
            yield followed
        elif repeated:
            yield info
        else:
            listed.add(real)
            yield from _walk(filesystem, info["name"], listed)


def zip_members(filesystem: AbstractFileSystem, path: str, published_nbytes: int | None = None) -> list[ZipMember]:
    """List every file of a zip from its central directory alone.

    Parameters
    ----------
    filesystem : AbstractFileSystem
    path : str
    published_nbytes : int, optional
        Size of the whole zip where it is known, for the error about one that is cut short.

    Raises
    ------
    ReleaseError
        If the file is not a readable zip.
    """
    try:
        nbytes = filesystem.size(path)
        # Of a record, small zips are fetched span by span, too: of a few scenes only what these need.
        small = (nbytes or _SMALL) < _SMALL and not isinstance(filesystem, KeptRecord)
        whole = bytes(filesystem.cat_file(path)) if small else None
        with filesystem.open(path, "rb") if whole is None else io.BytesIO(whole) as file:
            return _list_zip(file, ZipMember(filesystem, path, zipfile.ZipInfo(), 0, "", whole), published_nbytes)
    except unreadable(NotImplementedError, ValueError) as error:
        if isinstance(error, CatalogueError):
            raise
        raise ReleaseError(f"{path} is not a readable zip: {error}") from without_secrets(error)


def inner_members(member: FileMember | ZipMember, published_nbytes: int | None = None) -> list[ZipMember]:
    """List every file of a zip that is a file of a folder, or a member of another zip.

    A small zip within a zip is read whole; a large one is read by ranges, which needs it to be stored there as it is.

    Raises
    ------
    ReleaseError
        If the file is not a readable zip, or a large one that is deflated.
    """
    if isinstance(member, FileMember):
        return zip_members(member.filesystem, member.path, published_nbytes)
    stored = member.info.compress_type == zipfile.ZIP_STORED and not member.info.flag_bits & _ENCRYPTED
    small = member.nbytes < _SMALL
    if member.base is None or not (stored or small):
        raise ReleaseError(f"{member.path} is a zip that is deflated in another one; unpack {member.archive} first")
    whole = member.read(_SMALL) if small else None
    base = member.base + member.data_start() if stored else None
    template = replace(member, whole=whole, inner=member.name, base=base)
    try:
        if whole is not None:
            return _list_zip(io.BytesIO(whole), template)
        with member.filesystem.open(member.archive, "rb") as file:
            return _list_zip(io.BufferedReader(_Section(file, base or 0, member.nbytes)), template)
    except unreadable(NotImplementedError, ValueError) as error:
        raise ReleaseError(f"{member.path} is not a readable zip: {error}") from without_secrets(error)


def _list_zip(file: IO[bytes], template: ZipMember, published_nbytes: int | None = None) -> list[ZipMember]:
    """List the files of a zip that is open: `template` with entry, end and name of each."""
    try:
        archive = open_zip(file)
    except zipfile.BadZipFile as error:
        raise ValueError(_cut_short(file, published_nbytes) or str(error)) from error
    infos = archive.infolist()
    # A member ends where the next one begins, and the last one where the directory does: members at 0, 500 and 900,
    # directory at 1200 -> {0: 500, 500: 900, 900: 1200}.
    offsets = sorted({info.header_offset for info in infos} | {archive.start_dir})
    following = dict(pairwise(offsets))
    # Some programs of Windows write backslashes, against the format.
    names = [info.filename.replace("\\", "/") for info in infos]
    return [
        replace(template, info=info, end=following.get(info.header_offset, archive.start_dir), name=name)
        for info, name in zip(infos, names, strict=True)
        if not name.endswith("/")
    ]


def _cut_short(file: IO[bytes], published_nbytes: int | None) -> str | None:
    """Say that a file begins as a zip and lacks the end of one; None if it does not."""
    nbytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    if (nbytes and file.read(4) != _LOCAL_MARK) or zipfile.is_zipfile(file):
        return None
    if published_nbytes is not None and nbytes < published_nbytes:
        return f"incomplete download: {nbytes:,} of {published_nbytes:,} bytes; download it again"
    return f"incomplete: its end is missing after {nbytes:,} bytes; download or copy it again"


class _Section(SpanReader):
    """A part of a file, as a file of its own."""

    def __init__(self, file: IO[bytes], start: int, nbytes: int) -> None:
        super().__init__(nbytes)
        self._file, self._start = file, start

    def read_span(self, start: int, end: int) -> bytes:
        self._file.seek(self._start + start)
        return self._file.read(end - start)
