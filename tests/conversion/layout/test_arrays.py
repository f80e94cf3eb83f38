"""Shards made without zarr are, byte for byte, those that zarr writes, and zarr reads them."""

from dataclasses import replace

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.storage import MemoryStore

from s2cmc.conversion.layout.arrays import PixelArray, pixel_arrays, shard_objects
from s2cmc.schema.catalogue import ReflectanceType

pytestmark = pytest.mark.slow

COMPRESSORS = [
    BloscCodec(typesize=2, cname="zstd", clevel=5, shuffle="bitshuffle"),
    BloscCodec(typesize=4, cname="lz4", clevel=1, shuffle="shuffle"),
    BloscCodec(typesize=1, cname="zstd", clevel=3, shuffle="noshuffle"),
    ZstdCodec(level=9),
    ZstdCodec(level=1, checksum=True),
]


def zarr_array(array: PixelArray, objects: dict[str, object]) -> "zarr.Array":
    """The array in zarr, its objects in memory."""
    return zarr.create_group(MemoryStore(objects)).create_array(
        array.name,
        shape=array.shape,
        chunks=array.shards,
        dtype=array.dtype,
        serializer=ShardingCodec(
            chunk_shape=array.chunks,
            codecs=[BytesCodec(), array.compressor, Crc32cCodec()],
            subchunk_write_order="colexicographic",
        ),
        compressors=None,
        fill_value=array.fill_value,
        config={"write_empty_chunks": True},
    )


def written_by_zarr(array: PixelArray, first: int, pixels: np.ndarray) -> dict[str, bytes]:
    objects: dict[str, object] = {}
    zarr_array(array, objects)[first : first + len(pixels)] = pixels
    return {key: value.to_bytes() for key, value in objects.items() if not key.endswith("zarr.json")}


@st.composite
def layouts(draw: st.DrawFn) -> PixelArray:
    """Up to 4 shards of up to 3 x 2 x 3 chunks of up to 4 x 5 x 3 pixels, the last in part beyond the end."""
    chunks = draw(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3)))
    counts = draw(st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3)))
    shards = tuple(n * count for n, count in zip(chunks, counts, strict=True))
    scenes = draw(st.integers(1, 4 * shards[0]))
    dtype = draw(st.sampled_from(["uint8", "uint16", "float32"]))
    fill_value = draw(st.sampled_from([0, 255]))
    return PixelArray(
        "pixels", (scenes, *shards[1:]), chunks, shards, dtype, draw(st.sampled_from(COMPRESSORS)), fill_value, {}
    )


def filled(array: PixelArray, scenes: int, content: str, seed: int) -> np.ndarray:
    shape = (scenes, *array.shape[1:])
    if content == "fill value":
        return np.full(shape, array.fill_value, array.dtype)
    if content == "smooth":
        return (np.indices(shape).sum(axis=0) // 3).astype(array.dtype)
    return np.random.default_rng(seed).integers(0, 65_536, shape).astype(array.dtype)


@settings(deadline=None, max_examples=120)
@given(layouts(), st.sampled_from(["fill value", "smooth", "noise"]), st.integers(0, 9), st.data())
def test_any_shard_is_that_of_zarr(array: PixelArray, content: str, seed: int, data: st.DataObject) -> None:
    first, last = data.draw(st.sampled_from(array.spans()))
    pixels = filled(array, last - first, content, seed)
    expected = written_by_zarr(array, first, pixels)
    assert len(expected) == 1
    assert shard_objects(array, first, pixels) == expected
    turned = np.moveaxis(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)), 0, -1)  # as bands lie in a block
    assert shard_objects(array, first, turned) == expected
    assert shard_objects(array, first, pixels.astype(pixels.dtype.newbyteorder(">"))) == expected


def arrays_of(scenes: int, size: tuple[int, int], reflectance: ReflectanceType) -> dict[str, PixelArray]:
    return pixel_arrays(
        scenes, size, reflectance=reflectance, mask_dtype="bool", alt_mask_dtype="bool", thumbnail=(5, 5)
    )


ARRAYS = arrays_of(70, (12, 10), "uint16") | {
    "reflectance": arrays_of(3, (12, 10), "uint16")["reflectance"],
    "floats": arrays_of(3, (11, 10), "float32")["reflectance"],
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_every_array_of_a_store_is_read_back_by_zarr(array: PixelArray) -> None:
    pixels = filled(array, array.shape[0], "noise", 0)
    objects: dict[str, object] = {}
    read = zarr_array(array, objects)
    for key, shard in shard_objects(array, 0, pixels).items():
        objects[key] = zarr.core.buffer.cpu.Buffer.from_bytes(shard)
    assert np.array_equal(read[:], pixels)
    assert {key: objects[key].to_bytes() for key in objects if "/c/" in key} == written_by_zarr(array, 0, pixels)


def test_chunks_without_a_scene_are_absent_and_those_with_one_are_full() -> None:
    """10 masks in a shard of 64."""
    array = replace(ARRAYS["mask"], shape=(10, 12, 10))
    (shard,) = shard_objects(array, 0, np.zeros((10, 12, 10), np.uint8)).values()
    index = np.frombuffer(shard[-64 * 16 - 4 : -4], "<u8").reshape(64, 2)
    assert (index[10:] == 2**64 - 1).all()
    assert index[:10, 0].tolist() == [0, *np.cumsum(index[:9, 1]).tolist()]
    assert index[9].sum() == len(shard) - 64 * 16 - 4


def test_a_chunk_beyond_the_edge_is_filled_up() -> None:
    """1022 rows in chunks of 512, of which the second holds 510."""
    array = arrays_of(1, (1022, 1022), "uint16")["reflectance"]
    assert (array.chunks, array.shards) == ((1, 512, 512, 1), (1, 1024, 1024, 13))
    pixels = filled(array, 1, "smooth", 0)
    objects: dict[str, object] = {}
    read = zarr_array(array, objects)
    objects |= {k: zarr.core.buffer.cpu.Buffer.from_bytes(s) for k, s in shard_objects(array, 0, pixels).items()}
    np.testing.assert_array_equal(read[:], pixels)


@pytest.mark.parametrize(("first", "scenes"), [(1, 63), (0, 63), (0, 65), (8, 8), (64, 5)])
def test_a_part_of_a_shard_is_not_written(first: int, scenes: int) -> None:
    """It would take the place of the scenes that others have written there."""
    with pytest.raises(ValueError, match=rf"scenes {first} to {first + scenes} of mask are not whole shards of 64"):
        shard_objects(ARRAYS["mask"], first, np.zeros((scenes, 12, 10), np.uint8))
