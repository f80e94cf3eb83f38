"""The header of an npy: shape, order and dtype of plain values. Nothing of it is evaluated.

Format: NumPy enhancement proposal 1, https://numpy.org/neps/nep-0001-npy-format.html. NumPy's own reader evaluates the
header as a literal, which takes what memory it says it needs, and of damaged ones warns or fails in many ways.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from s2cmc.errors import ReleaseError

_MAGIC = b"\x93NUMPY"
_LENGTH = {(1, 0): struct.Struct("<H"), (2, 0): struct.Struct("<I")}  # of the header, by version
_LONGEST = 10_000  # bytes; as NumPy has it

_TEXT = r"""(?:'[^'\\]*'|"[^"\\]*")"""
_ENTRY = re.compile(rf"\s*({_TEXT})\s*:\s*({_TEXT}|True|False|\([^()]*\)|\[.*\])\s*(?:,|$)", re.DOTALL)
_N = r"\d{1,18}L?\s*"  # L: of Python 2
_SHAPE = re.compile(rf"\(\s*(?:(?:{_N},\s*){{1,31}}(?:{_N})?)?\)", re.ASCII)
_DTYPE = re.compile(r"[<>|=]?(?:[?biufcSUV]\d{0,9}|[mM]8(?:\[\d{0,9}[a-zA-Z]{1,2}\])?)", re.ASCII)
_OBJECTS = re.compile(r"""["'][<>|=]?O\d?["']""")


@dataclass(frozen=True)
class Header:
    """What an npy says of its array.

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
    """Read the header of an npy of version 1 or 2.

    Parameters
    ----------
    read : callable
        Gives the next so many bytes, or fewer at the end.
    path : str
        For the error.

    Raises
    ------
    ReleaseError
        If it is none, or speaks of Python objects, or of records.
    """
    try:
        return _parse(_text(read), path)
    except ValueError as error:
        raise ReleaseError(f"{path} is not a readable npy (version 1 or 2): {error}") from error


def _text(read: Callable[[int], bytes]) -> str:
    magic = read(len(_MAGIC) + 2)
    length = _LENGTH.get((magic[-2], magic[-1])) if len(magic) == len(_MAGIC) + 2 else None
    if not magic.startswith(_MAGIC) or length is None:
        raise ValueError(f"it begins with {magic!r}; expected {_MAGIC + bytes([1, 0])!r}")
    packed = read(length.size)
    nbytes = length.unpack(packed)[0] if len(packed) == length.size else 0
    if nbytes > _LONGEST:
        raise ValueError(f"its header takes {nbytes} bytes; expected at most {_LONGEST}")
    text = read(nbytes)
    if len(text) < max(nbytes, 1):
        raise ValueError("it ends within its header")
    return text.decode("latin1")


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
    """Values by name, as they are written; empty where this is no dictionary of such."""
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")):
        return {}
    body, start, found = body[1:-1].rstrip(), 0, dict[str, str]()
    while start < len(body):
        entry = _ENTRY.match(body, start)
        if entry is None or entry[1][1:-1] in found:
            return {}
        found[entry[1][1:-1]] = entry[2]
        start = entry.end()
    return found


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
