"""From pixels to a shard: one object of Zarr's sharding codec, made without zarr, whose own way costs much more."""

import math
from collections.abc import Iterator
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
from numcodecs.abc import Codec
from zarr.abc.codec import BytesBytesCodec

_ABSENT = 2**64 - 1
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


def encode_shard(
    pixels: np.ndarray,
    shard: tuple[int, ...],
    chunks: tuple[int, ...],
    fill_value: int,
    compressor: BytesBytesCodec,
) -> bytes:
    """The object of one shard, equal to what zarr 3.4 writes.

    Chunks stand in C order, each compressed and followed by its crc32c; behind them a little-endian index of their
    offsets and lengths, and the crc32c of that. A chunk of the fill value alone is written like any other; only those
    that hold no pixel of the array, in the last shard, are absent.
    https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html

    Parameters
    ----------
    pixels : ndarray
        Of any strides; smaller than the shard where that reaches beyond the end of the array.
    shard, chunks : tuple of int
        Shapes; a shard is made of whole chunks.
    fill_value : int
        What a chunk holds beyond the end of the array.
    compressor : BytesBytesCodec
        blosc or zstd.
    """
    codec = _codec(compressor)
    counts = [whole // part for whole, part in zip(shard, chunks, strict=True)]
    index = np.full((math.prod(counts), 2), _ABSENT, "<u8")
    encoded: list[bytes] = []
    offset = 0
    for i, chunk in enumerate(_chunks(pixels, counts, chunks, fill_value)):
        if chunk is not None:
            encoded += _sealed(codec.encode(chunk))
            length = sum(map(len, encoded[-2:]))
            index[i] = offset, length
            offset += length
    return b"".join([*encoded, *_sealed(index.tobytes())])


def _chunks(
    pixels: np.ndarray, counts: list[int], shape: tuple[int, ...], fill_value: int
) -> Iterator[np.ndarray | None]:
    """Chunks of a shard in C order, contiguous and little-endian; None for one without a pixel."""
    dtype = pixels.dtype.newbyteorder("<")
    for position in np.ndindex(*counts):
        part = pixels[tuple(slice(i * n, i * n + n) for i, n in zip(position, shape, strict=True))]
        if part.size == 0:
            yield None
        elif part.shape == shape:
            yield np.ascontiguousarray(part, dtype)
        else:
            chunk = np.full(shape, fill_value, dtype)
            chunk[tuple(map(slice, part.shape))] = part
            yield chunk


def _sealed(content: bytes) -> tuple[bytes, bytes]:
    """A content and its crc32c."""
    return content, int(google_crc32c.value(content)).to_bytes(4, "little")


def _codec(compressor: BytesBytesCodec) -> Codec:
    """The codec in C behind one of zarr, as zarr configures it; it leaves the other threads running."""
    described: dict[str, Any] = compressor.to_dict()
    configuration = dict(described["configuration"])
    if "shuffle" in configuration:
        configuration["shuffle"] = _SHUFFLES[configuration["shuffle"]]
    return numcodecs.get_codec({"id": described["name"], **configuration})
