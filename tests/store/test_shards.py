"""Shards read by the reader of our own are what zarr reads."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers.file_server import FileServer
from helpers.sharded_arrays import BLOSC, ZSTD, Layout, array_of, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec

from s2cmc.conversion.layout.arrays import array_objects, pixel_arrays
from s2cmc.store.reading import as_stored, read_array, read_as
from s2cmc.store.shards import Shards
from s2cmc.store.source import to_mask, to_reflectance

pytestmark = pytest.mark.slow

often = settings(max_examples=40, deadline=None)
seldom = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """A web server over `folder`."""
    server = FileServer(folder)
    yield server.url
    server.close()


@pytest.fixture(scope="module")
def catalogue_like(folder: Path) -> Path:
    """All arrays of pixels of 70 scenes of 6 x 5 pixels, with the layout of a catalogue, written by zarr."""
    arrays = pixel_arrays(
        70, (6, 5), reflectance="uint16", mask_dtype="uint8", alt_mask_dtype="uint8", thumbnail=(3, 4)
    )
    for key, metadata in array_objects(arrays).items():
        path = folder / "catalogue" / key
        path.parent.mkdir(parents=True)
        path.write_bytes(metadata)
    for name, array in arrays.items():
        zarr.open_array(folder / "catalogue" / name)[:] = noise(array.shape, array.dtype)
    return folder / "catalogue"


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Several chunks in a shard and several shards along every axis, and lengths that are multiples of none."""
    axis = st.tuples(st.sampled_from([1, 2, 3, 6]), st.integers(1, 3)).flatmap(
        lambda step: st.tuples(*map(st.just, step), st.integers(1, step[0] * step[1] + 2))
    )
    chunks, grid, shape = zip(*draw(st.lists(axis, min_size=3, max_size=4)), strict=True)
    dtype = draw(st.sampled_from(["uint8", "uint16", "float32"]))
    return Layout(shape, chunks, grid, dtype, draw(st.sampled_from([BLOSC, ZSTD])))


@st.composite
def selections(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """One index for each axis; seldom fewer, which stand for the first ones."""

    def index(n: int) -> Any:
        integers = st.integers(-n, n - 1)
        some = st.lists(integers, max_size=2 * n).map(lambda found: np.array(found, int))
        which = st.lists(st.booleans(), min_size=n, max_size=n).map(lambda found: np.array(found, bool))
        return draw(st.one_of(st.just(slice(None)), integers, st.slices(n), some, which))

    chosen = tuple(index(n) for n in shape)
    return chosen[: draw(st.sampled_from([len(shape)] * 4 + [1]))]


def by_zarr(place: Path, selection: tuple[Any, ...], name: str = "pixels") -> np.ndarray:
    """What zarr reads, which takes no slice backwards."""
    array = zarr.open_array(place / name, mode="r")
    steps = zip(array.shape, selection, strict=False)
    return array.oindex[
        tuple(np.arange(n)[part] if isinstance(part, slice) and (part.step or 1) < 0 else part for n, part in steps)
    ]


@often
@given(layout=layouts(), data=st.data())
def test_a_folder_reads_as_zarr_reads_it(folder, layout, data):
    place = Path(tempfile.mkdtemp(dir=folder))
    layout.write(place)
    array = array_of(place)
    assert Shards.from_array(array) is not None
    for _ in range(4):
        selection = data.draw(selections(layout.shape))
        np.testing.assert_array_equal(read_array(array, selection), by_zarr(place, selection), strict=True)


@seldom
@given(layout=layouts(), data=st.data())
def test_a_server_reads_as_zarr_reads_it(folder, url, layout, data):
    place = Path(tempfile.mkdtemp(dir=folder))
    layout.write(place)
    array = array_of(f"{url}/{place.name}")
    for _ in range(3):
        selection = data.draw(selections(layout.shape))
        np.testing.assert_array_equal(read_array(array, selection), by_zarr(place, selection), strict=True)


@pytest.mark.parametrize("name", ["reflectance", "mask", "alt_mask", "thumbnail"])
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_arrays_of_a_catalogue_read_as_zarr_reads_them(catalogue_like, url, name, data):
    here, there = array_of(catalogue_like, name), array_of(f"{url}/catalogue", name)
    assert Shards.from_array(here) is not None
    selection = data.draw(selections(here.shape))
    expected = by_zarr(catalogue_like, selection, name)
    np.testing.assert_array_equal(read_array(here, selection), expected, strict=True)
    np.testing.assert_array_equal(read_array(there, selection), expected, strict=True)


@seldom
@given(layout=layouts(), data=st.data())
def test_values_are_converted_on_their_way(folder, layout, data):
    place = Path(tempfile.mkdtemp(dir=folder))
    layout.write(place)
    array = array_of(place)
    selection = data.draw(selections(layout.shape))
    stored = by_zarr(place, selection)
    transfer, dtype = (to_mask, "uint8") if layout.dtype == "uint8" else (to_reflectance, "float32")
    found = read_as(array, Shards.from_array(array), selection, transfer, np.dtype(dtype))
    np.testing.assert_array_equal(found, transfer(np.asarray(stored)), strict=True)


@pytest.mark.parametrize("axes", [(0,), (1,), (1, 2), (0, 1, 2)])
def test_uneven_positions_in_one_chunk_are_read_along_each_axis(tmp_path, axes):
    values = Layout(shape=(7, 7, 7), chunks=(7, 7, 7), grid=(1, 1, 1)).write(tmp_path)
    selection = tuple(np.array([0, 1, 4, 6]) if axis in axes else slice(None) for axis in range(3))
    expected = values[np.ix_(*(np.arange(7)[part] for part in selection))]
    np.testing.assert_array_equal(read_array(array_of(tmp_path), selection), expected, strict=True)


@seldom
@given(layout=layouts(), data=st.data())
def test_many_windows_read_as_each_by_itself(folder, url, layout, data):
    place = Path(tempfile.mkdtemp(dir=folder))
    layout.write(place)
    spans = [
        st.integers(0, n - 1).flatmap(lambda a, n=n: st.integers(a + 1, n).map(lambda b: slice(a, b)))
        for n in layout.shape
    ]
    windows = data.draw(st.lists(st.tuples(*spans), max_size=6))
    for array in (array_of(place), array_of(f"{url}/{place.name}")):
        found = [np.empty([part.stop - part.start for part in window], layout.dtype) for window in windows]
        positions = [[np.arange(part.start, part.stop) for part in window] for window in windows]
        Shards.from_array(array).read_windows(array.store, zip(positions, found, strict=True), as_stored)
        for window, read in zip(windows, found, strict=True):
            np.testing.assert_array_equal(read, by_zarr(place, window), strict=True)


def test_what_is_read_may_be_changed_and_belongs_to_nobody_else(tmp_path):
    values = Layout().write(tmp_path)
    first = read_array(array_of(tmp_path), slice(None))
    first[...] = 0
    np.testing.assert_array_equal(read_array(array_of(tmp_path), slice(None)), values)


def test_many_threads_read_one_array(tmp_path, serve):
    values = Layout(shape=(4, 40, 40, 4), chunks=(1, 10, 10, 1), grid=(1, 4, 4, 4)).write(tmp_path)
    for array in (array_of(tmp_path), array_of(serve(tmp_path).url)):
        right = []

        def read(scene: int, array: zarr.Array = array, right: list[bool] = right) -> None:
            for part in (slice(None), slice(5, 30), slice(3, 39, 7)):
                found = read_array(array, (scene, part, slice(None), slice(1, 3)))
                right.append(np.array_equal(found, values[scene, part, :, 1:3]))

        threads = [threading.Thread(target=read, args=(i % 4,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert right == [True] * 36


@pytest.mark.parametrize(
    ("layout", "options"),
    [
        (Layout(compressor=GzipCodec()), {}),
        (Layout(), {"endian": "big"}),
        (Layout(), {"crc": False}),
        (Layout(), {"index_location": "start"}),
        (Layout(), {"index_codecs": [BytesCodec()]}),
    ],
    ids=["gzip", "big endian", "no checksum", "index at the start", "index without checksum"],
)
def test_other_shards_are_read_by_zarr(tmp_path, layout, options):
    values = layout.write(tmp_path, **options)
    array = array_of(tmp_path)
    assert Shards.from_array(array) is None
    np.testing.assert_array_equal(read_array(array, slice(None)), values, strict=True)
    np.testing.assert_array_equal(read_array(array, (slice(1, 3), 2)), values[1:3, 2], strict=True)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_arrays_without_shards_are_read_by_zarr(tmp_path, zarr_format):
    array = zarr.create_array(tmp_path / "pixels", shape=(4, 3), chunks=(2, 3), dtype="uint16", zarr_format=zarr_format)
    assert Shards.from_array(array) is None


def test_bands_in_another_order_stay_band_by_band(tmp_path):
    values = Layout(shape=(1, 6, 6, 3), grid=(1, 2, 2, 3)).write(tmp_path)
    found = read_array(array_of(tmp_path), (0, slice(None), slice(None), [2, 1, 0]))
    np.testing.assert_array_equal(found, values[0][..., ::-1])
    assert found[..., 0].flags.c_contiguous


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("name", ["default", "v2"])
def test_chunks_of_other_names_are_read(tmp_path, name, separator):
    array = zarr.create_array(
        tmp_path / "pixels",
        shape=(4, 4, 4),
        chunks=(2, 2, 2),
        dtype="uint16",
        compressors=None,
        fill_value=0,
        serializer=ShardingCodec(chunk_shape=(1, 2, 2), codecs=[BytesCodec(), ZSTD, Crc32cCodec()]),
        chunk_key_encoding={"name": name, "separator": separator},
    )
    array[:] = 5
    assert (read_array(array_of(tmp_path), slice(None)) == 5).all()


def test_an_index_that_is_big_endian_is_read(tmp_path):
    values = Layout().write(tmp_path, index_codecs=[BytesCodec(endian="big"), Crc32cCodec()])
    np.testing.assert_array_equal(read_array(array_of(tmp_path), slice(None)), values)


@pytest.mark.parametrize("selection", [..., (..., 1), (0, ..., 1), (0,) * 5])
def test_an_ellipsis_or_an_index_too_many_is_no_selection(tmp_path, selection):
    Layout().write(tmp_path)
    with pytest.raises(IndexError, match="not at most one index for each of"):
        read_array(array_of(tmp_path), selection)
