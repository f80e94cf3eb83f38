"""Arrays of one chunk are read as zarr reads them; what is not such an array is left to zarr."""

import struct
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numcodecs import zstd
from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec

from s2cmc.errors import DamagedError, MissingObjectError
from s2cmc.storage.access import Access
from s2cmc.store.objects import CatalogueStore, Place
from s2cmc.store.reading import read_array
from s2cmc.store.shards import OneChunk

TEXTS = st.lists(st.text(max_size=80), min_size=1, max_size=20).map(lambda found: np.array(found, object))
NUMBERS = st.sampled_from(["bool", "u1", "i8", "f4", "f8"]).flatmap(lambda dtype: arrays(dtype, st.integers(1, 20)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arrays")


def written(place: Path, values: np.ndarray, **options: Any) -> "zarr.Array[Any]":
    """The array of a coordinate as conversion writes it, opened as a catalogue is."""
    how = {
        "shape": values.shape,
        "chunks": values.shape,
        "dtype": str if values.dtype == object else values.dtype,
        "compressors": [ZstdCodec(level=9), Crc32cCodec()],
        "config": {"write_empty_chunks": True},
    }
    zarr.create_array(place / "a", **how | options)[...] = values
    store = CatalogueStore(Place(str(place), Access()))
    return zarr.open_array(store, path="a", mode="r", zarr_format=3)


@settings(deadline=None, max_examples=60)
@given(values=TEXTS | NUMBERS, data=st.data())
@pytest.mark.slow
def test_it_reads_what_zarr_reads(folder: Path, values: np.ndarray, data: st.DataObject) -> None:
    place = Path(mkdtemp(dir=folder))
    array = written(place, values)
    assert OneChunk.from_array(array) is not None
    selection = data.draw(st.one_of(st.slices(len(values)), st.lists(st.integers(0, len(values) - 1), min_size=1)))
    expected = zarr.open_array(place / "a", mode="r")[:][selection]
    np.testing.assert_array_equal(read_array(array, selection), expected, strict=True)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (np.arange(4), {"chunks": (2,)}),
        (np.arange(4), {"chunks": (2,), "shards": (4,)}),
        (np.arange(4), {"compressors": None}),
        (np.arange(4), {"compressors": [GzipCodec(), Crc32cCodec()]}),
        (np.arange(4), {"serializer": BytesCodec(endian="big")}),
        (np.arange(4), {"chunk_key_encoding": {"name": "v2"}}),
        (np.arange(4).reshape(2, 2), {}),
    ],
    ids=["chunks", "shards", "plain", "gzip", "big-endian", "keys", "dimensions"],
)
def test_what_is_something_else_is_read_by_zarr(tmp_path: Path, values: np.ndarray, options: dict[str, Any]) -> None:
    array = written(tmp_path, values, **options)
    assert OneChunk.from_array(array) is None
    np.testing.assert_array_equal(read_array(array, slice(None)), values)


def with_checksum(content: bytes) -> bytes:
    return content + google_crc32c.value(content).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("values", "content", "said"),
    [
        (np.arange(4), b"", "do not match"),
        (np.arange(4), b"\0" * 100, "do not match"),
        (np.arange(4), with_checksum(zstd.compress(bytes(40))), "has 40 bytes; expected 32"),
        (np.array(["a", "b"], object), with_checksum(zstd.compress(bytes(10**6))), "1000000 bytes; expected at most"),
        (np.array(["a", "b"], object), with_checksum(zstd.compress(struct.pack("<IIc", 1, 1, b"a"))), "holds 1 texts"),
        (np.array(["a", "b"], object), with_checksum(zstd.compress(struct.pack("<II", 2, 9))), "corrupt"),
        (np.array(["a", "b"], object), with_checksum(b"no zstd at all, but long enough"), "damaged"),
    ],
    ids=["empty", "zeros", "size", "bomb", "count", "cut", "codec"],
)
def test_what_is_damaged_is_an_error(tmp_path: Path, values: np.ndarray, content: bytes, said: str) -> None:
    array = written(tmp_path, values)
    (tmp_path / "a/c/0").write_bytes(content)
    with pytest.raises(DamagedError, match=rf"a/c/0 is damaged: .*{said}" if said != "damaged" else said):
        read_array(array, slice(None))
    (tmp_path / "a/c/0").unlink()
    with pytest.raises(MissingObjectError, match="a/c/0 is missing"):
        read_array(array, slice(None))
