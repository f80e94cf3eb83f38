"""Arrays of files: every form numpy writes is read, whole or in blocks, damage is an error, nothing is unpickled."""

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from helpers.pickles import Mark
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from s2cmc.errors import ReleaseError
from s2cmc.files.npy import open_array, read_array


def npy(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    return buffer.getvalue()


def npz(*arrays: np.ndarray, compressed: bool = False, **named: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, *arrays, **named)
    return buffer.getvalue()


MASK = np.eye(3, dtype=bool)[np.arange(20).reshape(4, 5) % 3]


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["?", "u1", "<u2", ">u2", "<f4", ">f4", "<f8", "<i8"]), hnp.array_shapes(min_dims=0, min_side=0)
    ),
    st.sampled_from([(1, 0), (2, 0), (3, 0)]),
    st.booleans(),
)
def test_an_npy_is_read_as_numpy_wrote_it(array: np.ndarray, version: tuple[int, int], fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    found = read_array(npy(array, version), "a.npy")
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("key", ["arr_0", "data", "a key/of any form"])
def test_an_npz_is_read_whatever_its_key(key: str, compressed: bool) -> None:
    assert np.array_equal(read_array(npz(**{key: MASK}, compressed=compressed), "a.npz"), MASK)


def test_an_npz_holds_one_array() -> None:
    with pytest.raises(ReleaseError, match=r"a\.npz holds 2 arrays \(image\.npy, mask\.npy\); expected one"):
        read_array(npz(image=MASK, mask=MASK), "a.npz")
    with pytest.raises(ReleaseError, match=r"a\.npz holds 0 arrays"):
        read_array(npz(), "a.npz")


@pytest.mark.parametrize("content", [npy(MASK)[:cut] for cut in (0, 3, 6, 9, 60, -1)] + [npy(MASK) + b"\0"])
def test_an_npy_cut_short_or_too_long_is_an_error(content: bytes) -> None:
    with pytest.raises(ReleaseError, match=r"a\.npy( is not a readable npy|: shape \(4, 5, 3\) of bool takes 60 byte)"):
        read_array(content, "a.npy")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"PNG", npy(MASK).replace(b"shape", b"shapo")])
def test_what_is_no_array_is_an_error(content: bytes) -> None:
    with pytest.raises(ReleaseError, match=r"a\.npy is not a readable np"):
        read_array(content, "a.npy")


@pytest.mark.parametrize("shape", ["(-4, -5, 3)", "(4, 5.0, 3)", "(4, 5, 300000000000000)"])
def test_a_shape_that_does_not_fit_the_bytes_is_an_error(shape: str) -> None:
    header = f"{{'descr': '|b1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + MASK.tobytes()
    with pytest.raises(ReleaseError, match=r"a\.npy( is not a readable npy|: shape \(.* takes -?\d+ bytes)"):
        read_array(content, "a.npy")


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 127), st.integers(0, 255))
@example(8, 1)
@example(21, 44)
@example(26, 66)
def test_a_damaged_header_is_an_error_or_an_array_of_all_its_bytes(position: int, value: int) -> None:
    content = bytearray(npy(MASK))
    content[position] = value
    with suppress(ReleaseError):
        assert read_array(bytes(content), "a.npy").nbytes == MASK.nbytes


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_damaged_npz_is_an_error_or_the_same_array(data: st.DataObject) -> None:
    content = bytearray(npz(MASK, compressed=True))
    content[data.draw(st.integers(2, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(ReleaseError):
        assert np.array_equal(read_array(bytes(content), "a.npz"), MASK)


@pytest.mark.parametrize(("offset", "value"), [(0, 1), (2, 99)], ids=["encrypted", "of an unknown method"])
def test_an_npz_that_cannot_be_unpacked_is_an_error(offset: int, value: int) -> None:
    content = bytearray(npz(MASK))
    for header, flags in ((content.index(b"PK\x03\x04"), 6), (content.index(b"PK\x01\x02"), 8)):
        content[header + flags + offset] = value
    with pytest.raises(ReleaseError, match=r"a\.npz is not a readable npz"):
        read_array(bytes(content), "a.npz")


def in_blocks(content: bytes, path: str, rows: int) -> np.ndarray:
    """An array of one dimension or more read block by block."""
    reader = open_array(io.BytesIO(content), path)
    blocks = [np.zeros((0, *reader.shape[1:]), reader.dtype)]
    blocks += [block.copy() for block in reader.blocks(rows)]
    assert all(len(block) == rows for block in blocks[1:-1])
    return np.concatenate(blocks, dtype=reader.dtype)


@settings(deadline=None)
@given(
    hnp.arrays(st.sampled_from(["?", "u1", ">u2", "<f4", ">f4"]), hnp.array_shapes(min_side=0)),
    st.sampled_from([npy, npz, lambda array: npz(array, compressed=True)]),
    st.booleans(),
    st.integers(1, 7),
)
def test_an_array_read_in_blocks_is_the_array_read_whole(
    array: np.ndarray, write: Callable[[np.ndarray], bytes], fortran: bool, rows: int
) -> None:
    content = write(np.asfortranarray(array) if fortran else array)
    found, whole = in_blocks(content, "a", rows), read_array(content, "a")
    assert (found.shape, found.dtype) == (whole.shape, whole.dtype)
    assert found.tobytes() == whole.tobytes()
    open_array(io.BytesIO(content), "a").check_size()


def said(read: Callable[[], np.ndarray]) -> str:
    """Why there is no array."""
    with pytest.raises(ReleaseError, match="a") as error:
        read()
    return str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        *(npy(MASK)[:cut] for cut in (0, 3, 6, 9, 60, -1)),
        npy(MASK) + b"\0",
        npz(image=MASK, mask=MASK),
        npz(),
        npz(MASK)[:-1],
        npz(MASK).replace(b"\x93NUMPY", b"\x93NUMPX"),
        npy(MASK).replace(b"(4, 5, 3)", b"(-4,-5,3)"),
        npy(MASK).replace(b"(4, 5, 3)", b"(4, 5, 9)"),
        b"PNG",
    ],
)
def test_what_is_no_whole_array_is_the_same_error_in_blocks(content: bytes) -> None:
    whole = said(lambda: read_array(content, "a"))
    blocks = said(lambda: in_blocks(content, "a", 3))
    assert blocks.partition(":")[0] == whole.partition(":")[0]  # the reason may be told otherwise
    assert ("takes" in blocks) == ("takes" in whole)
    if "takes" in whole:
        assert blocks == whole == said(lambda: open_array(io.BytesIO(content), "a").check_size())


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from([npy(MASK), npz(MASK, compressed=True)]))
def test_a_damaged_file_in_blocks_is_what_it_is_read_whole(data: st.DataObject, content: bytes) -> None:
    damaged = bytearray(content)
    damaged[data.draw(st.integers(2, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        whole = read_array(bytes(damaged), "a")
    except ReleaseError:
        with pytest.raises(ReleaseError, match="a"):
            in_blocks(bytes(damaged), "a", 3)
    else:
        if whole.ndim:
            assert in_blocks(bytes(damaged), "a", 3).tobytes() == whole.tobytes()


@pytest.fixture
def pickled(tmp_path: Path) -> np.ndarray:
    return np.array([Mark(tmp_path / "mark")], object)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (npy, r"^a holds Python objects \(object\); they are never loaded"),
        (npz, r"^a!arr_0\.npy holds Python objects \(object\); they are never loaded"),
        (lambda array: npy(np.array([(1, array[0])], [("n", "i4"), ("o", object)])), "holds Python objects"),
        (np.ndarray.dumps, "is not a readable npy"),
    ],
    ids=["npy", "npz", "record", "bare pickle"],
)
def test_python_objects_are_never_loaded(
    write: Callable[[np.ndarray], bytes], message: str, pickled: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(ReleaseError, match=message):
        read_array(write(pickled), "a")
    assert not (tmp_path / "mark").exists()

    np.load(io.BytesIO(npy(pickled)), allow_pickle=True)
    assert (tmp_path / "mark").exists()  # the trap works
