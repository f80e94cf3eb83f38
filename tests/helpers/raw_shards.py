"""Shards as they lie on disk, read without zarr."""

import math
from pathlib import Path

import numpy as np
import zarr


def bytes_of_bands(store: Path, scene: int, bands: slice | list[int]) -> tuple[int, int]:
    """Bytes of the inner chunks of some bands, and of the index of their shard, as the sharding codec lays them out."""
    array = zarr.open_group(store, mode="r")["reflectance"]
    inner = [math.ceil(n / chunk) for n, chunk in zip(array.shards, array.chunks, strict=True)]
    shard = (store / f"reflectance/c/{scene}/0/0/0").read_bytes()
    size = 16 * math.prod(inner) + 4  # an offset and a length for each chunk, and a checksum
    index = np.frombuffer(shard[-size:-4], "<u8").reshape(*inner, 2)
    return int(index[..., bands, 1].sum()), size
