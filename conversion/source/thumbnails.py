"""Decode thumbnails (PNG) within bounds, and decide which ones a store keeps."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from s2cmc.errors import ReleaseError
from s2cmc.files import SIDE, THUMBNAIL_BYTES
from s2cmc.storage import unreadable

from ..records import RecordError
from .containers import Member

# The chunks of a PNG that make its picture. All others are dropped before Pillow decodes the PNG.
#
# Format: W3C, Portable Network Graphics (PNG) Specification, third edition, https://www.w3.org/TR/png-3/. Pillow alone
# ignores the CRC-32 of pixels, and so reads another picture from many damaged PNGs; its bounds on pixels and texts are
# global variables.

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">I4s")  # length and type; content and a CRC-32 follow
_IHDR = struct.Struct(">IIB")  # width, height, bits of a sample, and four more bytes
_IHDR_BYTES = 25  # of the whole chunk
_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # not texts, profiles and animations, which may inflate


@dataclass(frozen=True)
class Png:
    """A PNG reduced to its picture, still encoded.

    Attributes
    ----------
    content : bytes
    width, height : int
        Pixels.
    bits : int
        Bits of a sample.
    """

    content: bytes
    width: int
    height: int
    bits: int


def bare_png(content: bytes, path: str) -> Png:
    """Reduce a PNG to its picture, and check every chunk and the size.

    Raises
    ------
    ReleaseError
        If `content` is no PNG, is damaged, or is wider or higher than `SIDE`.
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
    """Iterate over type and bytes of each chunk; none where this is no PNG."""
    start, name = len(_SIGNATURE), b""
    while content.startswith(_SIGNATURE) and name != b"IEND" and start + _CHUNK.size <= len(content):
        length, name = _CHUNK.unpack_from(content, start)
        chunk = content[start : start + _CHUNK.size + length + 4]
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise ReleaseError(f"{path} is not a readable PNG: its chunk {ascii(name)[1:]} is damaged or cut short")
        yield name, chunk
        start += len(chunk)


_BITS = 8


def read_thumbnail(content: bytes, path: str) -> np.ndarray:
    """Read a thumbnail (y, x, rgb), uint8.

    Raises
    ------
    ReleaseError
        If `content` is no PNG, is too large, or has transparent pixels or 16 bits, which a store could not keep.
    """
    png = bare_png(content, path)
    if png.bits > _BITS:
        raise ReleaseError(f"{path} has {png.bits} bits a sample, which a store could not keep")
    try:
        with Image.open(io.BytesIO(png.content), formats=["PNG"]) as image:
            rgba = np.asarray(image.convert("RGBA"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ReleaseError(f"{path} is not a readable PNG: {error}") from error
    if (rgba[..., 3] != 255).any():
        raise ReleaseError(f"{path} has transparent pixels, which a store could not keep")
    return rgba[..., :3]


def read_size(member: Member) -> tuple[int, int] | None:
    """Read the pixels (y, x) that the header of a PNG states; None where a store could not keep such a picture."""
    with member.open() as content:
        header = content.read(len(_SIGNATURE) + _CHUNK.size + _IHDR.size)
    if not header.startswith(_SIGNATURE) or len(header) < len(_SIGNATURE) + _CHUNK.size + _IHDR.size:
        return None
    width, height, bits = _IHDR.unpack_from(header, len(_SIGNATURE) + _CHUNK.size)
    return (height, width) if 0 < height <= SIDE and 0 < width <= SIDE and bits <= _BITS else None


def keep_thumbnail(member: Member, size: tuple[int, int]) -> tuple[np.ndarray | None, str]:
    """Read a thumbnail and decide whether a store with thumbnails of `size` keeps it. Conversion and proof ask here.

    Grey and palette pictures become the same colours in RGB.

    Parameters
    ----------
    member : Member
    size : (y, x)
        Pixels of the thumbnails of the store.

    Returns
    -------
    rgb : ndarray (y, x, rgb), uint8, or None
    reason : str
        Why it is left out; empty where it is kept.

    Raises
    ------
    ReleaseError
        If the bytes do not arrive, which says nothing of the picture.
    """
    try:
        content = member.read(THUMBNAIL_BYTES)
    except RecordError:
        raise
    except ReleaseError as error:
        if isinstance(error.__cause__, unreadable()):
            raise
        return None, str(error)
    try:
        rgb = read_thumbnail(content, member.path)
    except ReleaseError as error:
        return None, str(error)
    if rgb.shape[:2] != size:
        return None, f"it has {rgb.shape[0]} x {rgb.shape[1]} pixels (y, x), most have {size[0]} x {size[1]}"
    return rgb, ""
