"""Digests tell shards apart that every other checksum takes for each other."""

import google_crc32c
import numpy as np
import pytest

from s2cmc.conversion.layout.arrays import encode_shard, pixel_arrays
from s2cmc.errors import DamagedError
from s2cmc.store.format import digest_attributes, pack_digests, unpack_digests

ARRAYS = pixel_arrays(9, (6, 6), reflectance="uint16", mask_dtype="bool", alt_mask_dtype="bool", thumbnail=None)


def shard(name: str, pixels: np.ndarray) -> bytes:
    array = ARRAYS[name]
    return encode_shard([pixels], array.shards, array.chunks, array.fill_value, array.compressor)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 60_000, (1, 6, 6, 13)).astype("uint16")


def test_a_crc_of_the_whole_would_not_tell_two_scenes_apart():
    """Which is why it is not what a digest is: behind each checksum of a chunk it is the same for every content."""
    first, second = shard("reflectance", noise(1)), shard("reflectance", noise(2))
    assert len(first) == len(second)
    assert first != second
    assert google_crc32c.value(first) == google_crc32c.value(second)
    assert ARRAYS["reflectance"].digest(first) != ARRAYS["reflectance"].digest(second)


def test_it_covers_every_chunk():
    pixels = noise(1)
    known = {ARRAYS["reflectance"].digest(shard("reflectance", pixels))}
    for band in range(13):
        for y, x in ((0, 0), (0, 5), (5, 0), (5, 5)):
            other = pixels.copy()
            other[0, y, x, band] ^= 1
            known.add(ARRAYS["reflectance"].digest(shard("reflectance", other)))
    assert len(known) == 1 + 13 * 4


def test_it_covers_the_order_of_chunks():
    pixels = noise(1)
    other = pixels[..., [1, 0, *range(2, 13)]]
    assert ARRAYS["reflectance"].digest(shard("reflectance", pixels)) != ARRAYS["reflectance"].digest(
        shard("reflectance", other)
    )


def test_absent_chunks_have_no_part_in_it():
    """In the last shard of masks, chunks behind the last scene are absent."""
    content = shard("mask", np.zeros((9, 6, 6), "uint8"))
    assert len(ARRAYS["mask"].digest(content)) == 64
    assert ARRAYS["mask"].digest(content) != ARRAYS["mask"].digest(shard("mask", np.zeros((8, 6, 6), "uint8")))


def test_they_are_packed_with_their_checksum():
    content = pack_digests({"mask/c/0/0/0": "ab"})
    attributes = digest_attributes(content)
    assert attributes["shard_digests"] == "shards.json"
    assert unpack_digests(content, attributes, "shards.json") == {"mask/c/0/0/0": "ab"}
    for position in range(len(content)):
        other = content[:position] + bytes([content[position] ^ 0x20]) + content[position + 1 :]
        with pytest.raises(DamagedError, match=r"^shards\.json is damaged, or of another store"):
            unpack_digests(other, attributes, "shards.json")
