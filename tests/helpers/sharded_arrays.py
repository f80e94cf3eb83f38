"""Arrays in shards that `s2cmc.store.shards` reads by itself, written by zarr."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from s2cmc.store.objects import CatalogueStore, Place

BLOSC = BloscCodec(typesize=2, cname="zstd", clevel=5, shuffle="bitshuffle")
ZSTD = ZstdCodec(level=3)


@dataclass(frozen=True)
class Layout:
    """Of an array: per axis its length, the length of a chunk, and chunks of a shard. By default a shard is a scene."""

    shape: tuple[int, ...] = (4, 6, 6, 2)
    chunks: tuple[int, ...] = (1, 3, 3, 1)
    grid: tuple[int, ...] = (1, 2, 2, 2)
    dtype: str = "uint16"
    compressor: Any = BLOSC

    def write(self, place: Path, name: str = "pixels", *, endian: str = "little", crc: bool = True, **sharding: Any):
        """Its values, of which no chunk is full of the fill value."""
        codecs = [BytesCodec(endian=endian if np.dtype(self.dtype).itemsize > 1 else None), self.compressor]
        values = noise(self.shape, self.dtype, name)
        zarr.create_array(
            place / name,
            shape=self.shape,
            chunks=tuple(c * n for c, n in zip(self.chunks, self.grid, strict=True)),
            dtype=self.dtype,
            serializer=ShardingCodec(chunk_shape=self.chunks, codecs=codecs + [Crc32cCodec()] * crc, **sharding),
            compressors=None,
            fill_value=0,
        )[:] = values
        return values


def noise(shape: tuple[int, ...], dtype: str, name: str = "pixels") -> np.ndarray:
    """Values from 1 to 249, others for each name."""
    return np.random.default_rng(zlib.crc32(name.encode())).integers(1, 250, shape).astype(dtype)


def array_of(place: object, name: str = "pixels") -> zarr.Array:
    """As a catalogue opens its arrays."""
    return zarr.open_array(CatalogueStore(Place(str(place))), path=name, mode="r", zarr_format=3)
