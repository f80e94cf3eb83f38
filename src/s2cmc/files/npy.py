"""Read arrays from npy and npz files, whole or block by block. Nothing is ever unpickled."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from s2cmc.errors import ReleaseError
from s2cmc.files.limits import ARRAY_BYTES, FILE_BYTES
from s2cmc.files.zips import METHODS, open_zip

if TYPE_CHECKING:
    from collections.abc import Buffer


# The header of an npy: shape, order and dtype of plain values. Nothing in it is evaluated.
#
# Format: NumPy enhancement proposal 1, https://numpy.org/neps/nep-0001-npy-format.html. numpy.lib.format is not used:
# NumPy 2.5 divides by zero in the dtype 'M8[ns/0]', which ends the process, warns of damaged headers in ways that only
# the filters of all threads could silence, and reads as many bytes as a header claims to have.

_NPY_MAGIC = b"\x93NUMPY"
_LENGTH = {(1, 0): struct.Struct("<H"), (2, 0): struct.Struct("<I"), (3, 0): struct.Struct("<I")}  # by version
_LONGEST = 10_000  # bytes; as NumPy has it

_TEXT = r"""(?:'[^'\\]*'|"[^"\\]*")"""
_ENTRY = re.compile(rf"\s*({_TEXT})\s*:\s*({_TEXT}|True|False|\([^()]*\)|\[.*\])\s*(?:,|$)", re.DOTALL)
_N = r"\d{1,18}L?\s*"  # L: of Python 2
_SHAPE = re.compile(rf"\(\s*(?:(?:{_N},\s*){{1,31}}(?:{_N})?)?\)", re.ASCII)
_DTYPE = re.compile(r"[<>|=]?(?:[?biufcSUV]\d{0,9}|[mM]8(?:\[(?:[1-9]\d{0,8})?[a-zA-Z]{1,2}\])?)", re.ASCII)
_OBJECTS = re.compile(r"""["'][<>|=]?O\d?["']""")


@dataclass(frozen=True)
class Header:
    """Shape, order and dtype of an array, as its npy states them.

    Attributes
    ----------
    shape : tuple of int
    fortran_order : bool
    dtype : dtype
    """

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return prod(self.shape) * self.dtype.itemsize


def read_header(read: Callable[[int], bytes], path: str) -> Header:
    """Read the header of an npy of version 1, 2 or 3.

    Parameters
    ----------
    read : callable
        Returns the next so many bytes, or fewer at the end.
    path : str
        Named in errors.

    Returns
    -------
    Header

    Raises
    ------
    ReleaseError
        If there is no such header, or its values are Python objects or records.
    """
    try:
        return _parse(_text(read), path)
    except ValueError as error:
        raise ReleaseError(f"{path} is not a readable npy (version 1, 2 or 3): {error}") from error


def _text(read: Callable[[int], bytes]) -> str:
    magic = read(len(_NPY_MAGIC) + 2)
    length = _LENGTH.get((magic[-2], magic[-1])) if len(magic) == len(_NPY_MAGIC) + 2 else None
    if not magic.startswith(_NPY_MAGIC) or length is None:
        raise ValueError(f"it begins with {magic!r}; expected {_NPY_MAGIC + bytes([1, 0])!r}")
    packed = read(length.size)
    nbytes = length.unpack(packed)[0] if len(packed) == length.size else 0
    if nbytes > _LONGEST:
        raise ValueError(f"its header takes {nbytes} bytes; expected at most {_LONGEST}")
    text = read(nbytes)
    if len(text) < max(nbytes, 1):
        raise ValueError("it ends within its header")
    return text.decode("utf-8" if magic[-2] == 3 else "latin1")


def _parse(text: str, path: str) -> Header:
    entries = _entries(text)
    if set(entries) != {"descr", "fortran_order", "shape"}:
        raise ValueError(f"its header is {_short(text)}; expected descr, fortran_order and shape")
    descr, order, shape = entries["descr"], entries["fortran_order"], entries["shape"]
    if _OBJECTS.search(descr):
        raise ReleaseError(f"{path} holds Python objects (object); they are never loaded")
    if not _SHAPE.fullmatch(shape):
        raise ValueError(f"its shape is {_short(shape)}")
    if order not in ("True", "False"):
        raise ValueError(f"its fortran_order is {_short(order)}")
    return Header(tuple(map(int, re.findall(r"\d+", shape))), order == "True", _dtype(descr))


def _entries(text: str) -> dict[str, str]:
    """Split the header into the source text of its values, by name; empty where the header is no such dictionary."""
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")):
        return {}
    body, start, entries = body[1:-1].rstrip(), 0, dict[str, str]()
    while start < len(body):
        entry = _ENTRY.match(body, start)
        if entry is None or entry[1][1:-1] in entries:
            return {}
        entries[entry[1][1:-1]] = entry[2]
        start = entry.end()
    return entries


def _dtype(descr: str) -> np.dtype:
    if not _DTYPE.fullmatch(descr[1:-1]):
        raise ValueError(f"its dtype is {_short(descr)}; expected plain values")
    try:
        dtype = np.dtype(descr[1:-1])
    except TypeError as error:
        raise ValueError(f"its dtype is {_short(descr)}: {error}") from error
    if dtype.itemsize == 0:
        raise ValueError(f"its dtype is {_short(descr)}, whose values have no bytes")
    return dtype


def _short(text: str) -> str:
    return ascii(text if len(text) <= 80 else f"{text[:80]}...")


# RuntimeError: encrypted, or (its child NotImplementedError) of an unknown method or version.
_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, OSError, EOFError)

_MAGIC = 8  # bytes that tell an npy and its version
_DIRECTORY = 100_000  # bytes; that of one member takes about 60
_SHOWN = 5  # names in an error
_STEP = 1_000_000  # bytes read at a time where they are only counted or copied


class BinaryFile(Protocol):
    """A file that can be read once, from front to back."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes, or all; none at the end."""

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill the beginning of a buffer and return the number of bytes, 0 at the end."""


def read_array(content: bytes, path: str) -> np.ndarray:
    """Read the only array of an npy or npz file.

    Returns
    -------
    ndarray
        Of an npy, a read-only view of `content`.

    Raises
    ------
    ReleaseError
        As `open_array`, or if there are not as many values as the header states.
    """
    if content.startswith(b"PK"):
        return open_array(io.BytesIO(content), path).read()
    file = io.BytesIO(content)
    header = _read_header(file.read, path)
    nbytes = len(content) - file.tell()
    if nbytes != header.nbytes:
        raise _wrong_size(path, header.shape, header.dtype, nbytes)
    flat = np.frombuffer(content, header.dtype, offset=file.tell())
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def open_array(file: BinaryFile, path: str) -> "ArrayReader":
    """Open the only array of an npy or npz file, and read its header.

    An npz is held in memory as packed, at most `FILE_BYTES`, because its directory is at its end. Values take no more
    memory than the header states, and at most `ARRAY_BYTES`.

    Raises
    ------
    ReleaseError
        If the file holds no array, several arrays, one that is too large, or Python objects.
    """
    magic = _read_exactly(file, _MAGIC, path)
    if magic.startswith(b"PK"):
        file, path = _open_npz(io.BytesIO(magic + _read_packed(file, path)), path)
        magic = b""
    begun = io.BytesIO(magic)
    header = _read_header(lambda nbytes: begun.read(nbytes) or _read_exactly(file, nbytes, path), path)
    return ArrayReader(file, path, header.shape, header.dtype, header.fortran_order)


@dataclass(frozen=True)
class ArrayReader:
    """An array in a file that is read once, from front to back.

    Attributes
    ----------
    file : BinaryFile
        Read up to the end of the header.
    path : str
        Named in errors.
    shape : tuple of int
    dtype : dtype
    fortran_order : bool
        Whether the last dimension is the slowest. If so, blocks can only be cut from the whole array, which is held.
    """

    file: BinaryFile
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the values, which are all that follows the header."""
        return prod(self.shape) * self.dtype.itemsize

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Iterate over blocks (`rows` or fewer, ...) along the first dimension.

        All blocks share the same memory: a block is valid until the next is asked for.

        Raises
        ------
        ReleaseError
            If there are fewer values than the header states; behind the last block, if there are more.
        """
        length = self.shape[0]
        step = length if self.fortran_order else rows
        row = self.nbytes // max(length, 1)
        buffer = np.empty(min(step, length) * row, np.uint8)
        for top in range(0, length, max(step, 1)):
            count = min(step, length - top)
            part = buffer[: count * row]
            self._fill(part, top * row)
            if self.fortran_order:
                whole = part.view(self.dtype).reshape(self.shape, order="F")
                yield from (whole[start : start + rows] for start in range(0, length, rows))
            else:
                yield part.view(self.dtype).reshape(count, *self.shape[1:])
        self._skip_rest(self.nbytes)

    def read(self) -> np.ndarray:
        """Read the whole array.

        Raises
        ------
        ReleaseError
            If there are not as many values as the header states.
        """
        flat = np.empty(self.nbytes, np.uint8)
        self._fill(flat, 0)
        self._skip_rest(self.nbytes)
        return flat.view(self.dtype).reshape(self.shape, order="F" if self.fortran_order else "C")

    def check_size(self) -> None:
        """Count the bytes of the values without keeping any.

        Raises
        ------
        ReleaseError
            If there are not as many values as the header states.
        """
        self._skip_rest(0)

    def _fill(self, part: np.ndarray, before: int) -> None:
        filled = 0
        while filled < len(part):
            step = _read_into(self.file, self.path, part[filled:])
            if step == 0:
                raise _wrong_size(self.path, self.shape, self.dtype, before + filled)
            filled += step

    def _skip_rest(self, before: int) -> None:
        nbytes, rest = before, np.empty(_STEP, np.uint8)
        while nbytes <= self.nbytes + _STEP and (step := _read_into(self.file, self.path, rest)):
            nbytes += step
        if nbytes != self.nbytes:
            raise _wrong_size(self.path, self.shape, self.dtype, nbytes)


def _open_npz(whole: io.BytesIO, path: str) -> tuple[BinaryFile, str]:
    """Open the only array of an npz as a file, and name its path."""
    try:
        archive = open_zip(whole, _DIRECTORY)
        infos = archive.infolist()
        if len(infos) != 1:
            raise ReleaseError(f"{path} holds {len(infos)} arrays ({_listed(infos)}); expected one")
        if infos[0].compress_type not in METHODS:
            raise NotImplementedError(f"compressed by method {infos[0].compress_type}; expected stored or deflate")
        return cast(BinaryFile, archive.open(infos[0])), f"{path}!{infos[0].filename}"
    except _DAMAGED_ZIP as error:
        raise ReleaseError(f"{path} is not a readable npz: {error}") from error


def _listed(infos: list[zipfile.ZipInfo]) -> str:
    return ", ".join(info.filename for info in infos[:_SHOWN]) + (", ..." if len(infos) > _SHOWN else "")


def _read_packed(file: BinaryFile, path: str) -> bytes:
    """Read all that follows, at most as many bytes as an array may have."""
    whole, part = io.BytesIO(), np.empty(_STEP, np.uint8)
    while step := _read_into(file, path, part):
        whole.write(part[:step].data)
        if whole.tell() > FILE_BYTES:
            raise ReleaseError(f"{path} is an npz of more than {FILE_BYTES} bytes, which is more than is taken")
    return whole.getvalue()


def _read_header(read: Callable[[int], bytes], path: str) -> Header:
    header = read_header(read, path)
    if prod(max(n, 1) for n in header.shape) * header.dtype.itemsize > ARRAY_BYTES:
        raise ReleaseError(
            f"{path}: shape {header.shape} of {header.dtype} takes {header.nbytes} bytes, more than the {ARRAY_BYTES} "
            "that are taken"
        )
    return header


def _read_exactly(file: BinaryFile, nbytes: int, path: str) -> bytes:
    """Read so many bytes, or fewer at the end."""
    buffer = np.empty(nbytes, np.uint8)
    filled = 0
    while step := _read_into(file, path, buffer[filled:]):
        filled += step
    return buffer[:filled].tobytes()


def _read_into(file: BinaryFile, path: str, part: np.ndarray) -> int:
    try:
        return file.readinto(part.data) if part.size else 0
    except _DAMAGED_ZIP as error:
        raise ReleaseError(f"{path} is not readable: {error}") from error


def _wrong_size(path: str, shape: tuple[int, ...], dtype: np.dtype, nbytes: int) -> ReleaseError:
    expected = prod(shape) * dtype.itemsize
    return ReleaseError(f"{path}: shape {shape} of {dtype} takes {expected} bytes, but {nbytes} follow its header")
