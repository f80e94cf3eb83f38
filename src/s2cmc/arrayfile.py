"""From bytes to arrays: npy and npz, whole or block by block. Nothing is ever unpickled."""

import io
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from tokenize import TokenError
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from s2cmc.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Buffer

# RuntimeError: encrypted, or (its child NotImplementedError) of an unknown method or version.
_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, ValueError, OSError, EOFError)
_DAMAGED_HEADER = (ValueError, KeyError, TypeError, SyntaxError, TokenError)

_MAGIC = 8  # bytes that tell an npy and its version
_STEP = 1_000_000  # bytes read at a time where nobody looks at them


class BinaryFile(Protocol):
    """A file that can be read once, from front to back."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, or all; none at the end."""

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill the beginning of a buffer; returns how many bytes, none at the end."""


def read_array(content: bytes, path: str) -> np.ndarray:
    """Read the one array of an npy or npz file; of an npy it is a read-only view of `content`.

    Raises
    ------
    ReleaseError
        If it holds no array, several, or Python objects, or its size is not what its header says.
    """
    if content.startswith(b"PK"):
        file, path = _open_npz(io.BytesIO(content), path)
        try:
            content = file.read()
        except _DAMAGED_ZIP as error:
            raise ReleaseError(f"{path} is not readable: {error}") from error
    file = io.BytesIO(content)
    shape, fortran_order, dtype = _read_header(file, path)
    expected, found = prod(shape) * dtype.itemsize, len(content) - file.tell()
    if found != expected:
        raise _wrong_size(path, shape, dtype, found)
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C")


def open_array(file: BinaryFile, path: str) -> "ArrayReader":
    """Begin to read the one array of an npy or npz file.

    An npz is held as it is packed, for its directory stands at its end.

    Raises
    ------
    ReleaseError
        If it holds no array, several, or Python objects.
    """
    magic = _read_exactly(file, _MAGIC, path)
    if magic.startswith(b"PK"):
        whole = io.BytesIO()
        whole.write(magic)
        shutil.copyfileobj(file, whole, _STEP)
        file, path = _open_npz(whole, path)
        magic = _read_exactly(file, _MAGIC, path)
    shape, fortran_order, dtype = _read_header(file, path, magic)
    return ArrayReader(file, path, shape, dtype, fortran_order)


@dataclass(frozen=True)
class ArrayReader:
    """An array that is read once, from front to back.

    Attributes
    ----------
    file : BinaryFile
        Read up to the end of the header.
    path : str
        For messages.
    shape : tuple of int
    dtype : dtype
    fortran_order : bool
        The last dimension is the slowest: blocks can only be cut from the whole, which then is held.
    """

    file: BinaryFile
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool

    @property
    def nbytes(self) -> int:
        """Bytes of its values, which are all that follows the header."""
        return prod(self.shape) * self.dtype.itemsize

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """The array in blocks (`rows` or fewer, ...) along its first dimension.

        Each is valid until the next is asked for: all lie in the same memory.

        Raises
        ------
        ReleaseError
            If there are fewer values than the header says; behind the last block, if there are more.
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

    def check_size(self) -> None:
        """Read over all values.

        Raises
        ------
        ReleaseError
            If there are not as many as the header says.
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
        found, rest = before, np.empty(_STEP, np.uint8)
        while step := _read_into(self.file, self.path, rest):
            found += step
        if found != self.nbytes:
            raise _wrong_size(self.path, self.shape, self.dtype, found)


def _open_npz(whole: io.BytesIO, path: str) -> tuple[BinaryFile, str]:
    """The one array of an npz as a file, and its path."""
    try:
        archive = zipfile.ZipFile(whole)
        names = archive.namelist()
        if len(names) != 1:
            raise ReleaseError(f"{path} holds {len(names)} arrays ({', '.join(names)}); expected one")
        return cast(BinaryFile, archive.open(names[0])), f"{path}!{names[0]}"
    except _DAMAGED_ZIP as error:
        raise ReleaseError(f"{path} is not a readable npz: {error}") from error


def _read_header(file: BinaryFile, path: str, magic: bytes | None = None) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and dtype."""
    try:
        version = np.lib.format.read_magic(file if magic is None else io.BytesIO(magic))
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran_order, dtype = read_header(file)
    except (*_DAMAGED_HEADER, *_DAMAGED_ZIP) as error:
        raise ReleaseError(f"{path} is not a readable npy (version 1 or 2): {error}") from error
    if dtype.hasobject:
        raise ReleaseError(f"{path} holds Python objects ({dtype}); they are never loaded")
    if any(n < 0 for n in shape):
        raise ReleaseError(f"{path} is not a readable npy: its shape is {shape}")
    return shape, fortran_order, dtype


def _read_exactly(file: BinaryFile, nbytes: int, path: str) -> bytes:
    """So many bytes, or fewer at the end."""
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


def _wrong_size(path: str, shape: tuple[int, ...], dtype: np.dtype, found: int) -> ReleaseError:
    expected = prod(shape) * dtype.itemsize
    return ReleaseError(f"{path}: shape {shape} of {dtype} takes {expected} bytes, but {found} follow its header")
