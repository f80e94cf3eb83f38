"""Shards that are not what was written: one error that names the object, and never a wrong value."""

from collections.abc import Callable
from math import prod
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from helpers.http_proxy import Fault, Proxy
from helpers.memory import memory_below
from helpers.sharded_arrays import BLOSC, ZSTD, Layout, array_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import blosc, zstd

from s2cmc.errors import DamagedError, MissingObjectError, StoreError
from s2cmc.store.reading import ADVICE, read_array

pytestmark = pytest.mark.slow

ABSENT = 2**64 - 1
SHARD = "pixels/c/2/0/0/0"
PARTS = {"whole": 2, "part": (2, slice(None), slice(None), 0)}
"""Both hold chunk 0 of the third shard."""


@pytest.fixture(params=["folder", "server"])
def damage(tmp_path: Path, serve: Callable, request: pytest.FixtureRequest) -> Callable[..., zarr.Array]:
    """The array, opened, and then its third shard changed: ``damage(change, layout)``."""

    def start(change: Callable[[bytes], bytes], layout: Layout | None = None) -> zarr.Array:
        (layout or Layout()).write(tmp_path)
        array = array_of(tmp_path if request.param == "folder" else serve(tmp_path).url)
        (tmp_path / SHARD).write_bytes(change((tmp_path / SHARD).read_bytes()))
        return array

    return start


def with_entry(offset: int | None, length: int | None, chunk: bytes = b"") -> Callable[[bytes], bytes]:
    """A shard in which the index says so of its first chunk, and a chunk is appended; the checksum agrees."""

    def change(content: bytes) -> bytes:
        nbytes = 16 * prod(Layout.grid) + 4
        index = np.frombuffer(content[-nbytes:-4], "<u8").copy()
        index[0] = index[0] if offset is None else offset
        index[1] = index[1] if length is None else length
        return content[:-nbytes] + chunk + checked(index.tobytes())

    return change


def checked(content: bytes) -> bytes:
    return content + google_crc32c.value(content).to_bytes(4, "little")


def refused(array: zarr.Array, part: str, reason: str, kind: type[StoreError] = StoreError) -> None:
    """One error that names the object, without room for what is promised."""
    with memory_below(16_000_000), pytest.raises(kind, match=rf"^\S+/{SHARD} (is|cannot be) {reason}"):
        read_array(array, PARTS[part])


@pytest.mark.parametrize("part", PARTS)
def test_an_absent_chunk_is_damage(damage, part):
    refused(damage(with_entry(ABSENT, ABSENT)), part, "damaged: chunk 0 of it is absent", DamagedError)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("offset", "length"), [(ABSENT, None), (2**63, None), (None, ABSENT), (None, 2**40), (None, 2**63), (2**62, 2**62)]
)
def test_an_index_that_promises_nonsense_is_damage(damage, part, offset, length):
    refused(damage(with_entry(offset, length)), part, "damaged: its index says that chunk 0 takes", DamagedError)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("offset", "length"), [(10**6, None), (2**62, None), (None, 0), (1, None), (None, 3), (None, 60)]
)
def test_an_index_that_points_elsewhere_is_an_error(damage, part, offset, length):
    refused(damage(with_entry(offset, length)), part, "(damaged|cut short|read)")


@settings(max_examples=60, deadline=None)
@given(entry=st.tuples(*[st.one_of(st.integers(0, 500), st.integers(0, ABSENT))] * 2))
def test_no_index_makes_a_wrong_value(tmp_path_factory, entry):
    place = tmp_path_factory.mktemp("index")
    values = Layout().write(place)
    content = (place / SHARD).read_bytes()
    known = {tuple(pair) for pair in np.frombuffer(content[-132:-4], "<u8").reshape(-1, 2).tolist()}
    (place / SHARD).write_bytes(with_entry(*entry)(content))
    for selection in PARTS.values():
        try:
            found = read_array(array_of(place), selection)
        except StoreError as error:
            assert SHARD in str(error)  # noqa: PT017, it may also be right
        else:
            assert entry in known  # one chunk in the place of another: no checksum tells
            assert found.shape == values[selection].shape


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("pixels", [0, 1, 8, 10, 100])
@pytest.mark.parametrize("compressor", [BLOSC, ZSTD], ids=["blosc", "zstd"])
def test_a_chunk_of_another_size_is_damage(damage, part, pixels, compressor):
    encode = (lambda content: blosc.compress(content, b"zstd", 5, 2)) if compressor is BLOSC else zstd.compress
    chunk = checked(encode(bytes(2 * pixels)))
    array = damage(
        lambda content: with_entry(len(content) - 132, len(chunk), chunk)(content), Layout(compressor=compressor)
    )
    refused(array, part, f"damaged: a chunk of it has {2 * pixels} bytes; expected 18", DamagedError)


@pytest.mark.parametrize("part", PARTS)
def test_a_chunk_that_promises_gigabytes_is_damage(damage, part):
    chunk = bytearray(blosc.compress(bytes(18), b"zstd", 5, 2))
    chunk[4:8] = (2**31 - 17).to_bytes(4, "little")
    chunk = checked(bytes(chunk))
    array = damage(lambda content: with_entry(len(content) - 132, len(chunk), chunk)(content))
    refused(array, part, "damaged: a chunk of it has 2147483631 bytes; expected 18", DamagedError)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kept", [0, 3, 131, 132, 150, -4, -1])
def test_a_shard_that_is_cut_is_an_error(damage, part, kept):
    refused(damage(lambda content: content[:kept]), part, "(damaged|cut short|read)")


@pytest.mark.parametrize("part", PARTS)
def test_a_shard_that_is_not_there_is_named(tmp_path, part):
    Layout().write(tmp_path)
    (tmp_path / SHARD).unlink()
    with pytest.raises(MissingObjectError, match=rf"^{tmp_path}/{SHARD} is missing; {ADVICE}$"):
        read_array(array_of(tmp_path), PARTS[part])


@pytest.mark.parametrize("part", PARTS)
def test_what_was_damaged_on_its_way_is_asked_for_once_more(tmp_path, serve, part):
    values = Layout().write(tmp_path)
    with Proxy(serve(tmp_path).url) as proxy:
        array = array_of(proxy.url)
        proxy.faults = [Fault("corrupt", SHARD, times=1)]
        np.testing.assert_array_equal(read_array(array, PARTS[part]), values[PARTS[part]])
        assert proxy.faults[0].times == 0
