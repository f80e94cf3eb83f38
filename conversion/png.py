"""What of a PNG makes its picture. Everything else in it is left out before it is decoded.

Format: W3C, Portable Network Graphics (PNG) Specification, third edition, https://www.w3.org/TR/png-3/.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from s2cmc.errors import ReleaseError
from s2cmc.limits import SIDE

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">I4s")  # length and type; content and a CRC-32 follow
_IHDR = struct.Struct(">IIB")  # width, height, bits of a sample, and four more bytes
_IHDR_BYTES = 25  # of the whole chunk
_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # not texts, profiles and animations, which may inflate


@dataclass(frozen=True)
class Png:
    """A PNG without what is not its picture.

    Attributes
    ----------
    content : bytes
    width, height : int
        Pixels.
    bits : int
        Of a sample.
    """

    content: bytes
    width: int
    height: int
    bits: int


def bare_png(content: bytes, path: str) -> Png:
    """The picture of a PNG, still to be decoded.

    Raises
    ------
    ReleaseError
        If it is no PNG, or wider or higher than `SIDE`.
    """
    picture = [(name, chunk) for name, chunk in _chunks(content, path) if name in _PICTURE]
    headers = [chunk for name, chunk in picture if name == b"IHDR"]
    if len(headers) != 1 or picture[0][0] != b"IHDR" or len(headers[0]) != _IHDR_BYTES:
        raise ReleaseError(f"{path} is not a readable PNG: it does not begin with one header")
    width, height, bits = _IHDR.unpack_from(headers[0], _CHUNK.size)
    if not (0 < width <= SIDE and 0 < height <= SIDE):
        raise ReleaseError(f"{path} has {width} x {height} pixels; expected at most {SIDE} x {SIDE}")
    return Png(_SIGNATURE + b"".join(chunk for _, chunk in picture), width, height, bits)


def _chunks(content: bytes, path: str) -> Iterator[tuple[bytes, bytes]]:
    """Type of each chunk and all of its bytes; none where this is no PNG."""
    start, name = len(_SIGNATURE), b""
    while content.startswith(_SIGNATURE) and name != b"IEND" and start + _CHUNK.size <= len(content):
        length, name = _CHUNK.unpack_from(content, start)
        chunk = content[start : start + _CHUNK.size + length + 4]
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise ReleaseError(f"{path} is not a readable PNG: its chunk {ascii(name)[1:]} is damaged or cut short")
        yield name, chunk
        start += len(chunk)
