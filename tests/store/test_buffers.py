"""Memory of large arrays comes back when nothing refers to it, and not before."""

import gc
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from s2cmc.store.shards import CORES, BufferPool

SHAPE = 1024, 1024
UINT16 = np.dtype("uint16")


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_by_arrays_of_the_same_size():
    reused = BufferPool()
    first = reused.empty(SHAPE, UINT16)
    place = address(first)
    del first
    again = reused.empty((512, 1024), np.dtype("float32"))
    assert address(again) == place
    assert (again.shape, again.dtype, again.flags.c_contiguous, again.flags.writeable) == (
        (512, 1024),
        "f4",
        True,
        True,
    )


@pytest.mark.parametrize(
    "part",
    [
        lambda array: array[3:5, ::2],
        lambda array: array.T.reshape(-1)[::-1],
        lambda array: array.view("uint8")[7],
        lambda array: np.moveaxis(array, 0, 1).view(np.ndarray),
        memoryview,
    ],
)
@pytest.mark.slow
def test_memory_that_a_part_of_an_array_refers_to_is_not_used_again(part):
    reused = BufferPool()
    whole = reused.empty(SHAPE, UINT16)
    whole[:] = 7
    kept = part(whole)
    expected = np.array(kept)
    del whole
    gc.collect()
    others = [reused.empty(SHAPE, UINT16) for _ in range(3)]
    for other in others:
        other[:] = 9
    np.testing.assert_array_equal(kept, expected)


def test_no_more_is_kept_than_a_piece_for_each_core():
    reused = BufferPool()
    arrays = [reused.empty(SHAPE, UINT16) for _ in range(CORES + 5)]
    assert len({address(array) for array in arrays}) == CORES + 5
    del arrays
    assert len(reused._free) == CORES


@pytest.mark.parametrize("shape", [(3,), (0, 5), (2**17, 2**10)])
def test_small_and_very_large_arrays_are_left_to_numpy(shape):
    reused = BufferPool()
    assert reused.empty(shape, UINT16).flags.owndata
    assert not reused._free


@pytest.mark.slow
def test_threads_that_take_and_give_back_never_share_memory():
    reused = BufferPool()

    def work(number: int) -> bool:
        same = True
        for _ in range(200):
            mine = reused.empty(SHAPE, np.dtype("uint8"))
            mine[::64, ::64] = number
            same &= bool((mine[::64, ::64] == number).all())
        return same

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_arrays_are_pickled_as_any_other():
    array = BufferPool().empty(SHAPE, UINT16)
    array[:] = np.arange(1024)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)), array)  # noqa: S301, our own bytes
