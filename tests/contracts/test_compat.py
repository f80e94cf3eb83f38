"""Private parts of other libraries that `_compat` uses: each is there, and does what it is used for."""

import ast
import asyncio
import re
import threading
from pathlib import Path

import dask
import dask.array
import dask.threaded
import numpy as np
import pytest
import xarray as xr
from helpers.paths import ROOT
from xarray.backends import BackendArray

from s2cmc._compat import (
    EqualToItsBase,
    array_and_key,
    data_of,
    forget_dasks_threads,
    greet_scheduler,
    is_lazily_indexed,
    lazily_indexed,
    read_indexed,
    run_in_loop,
)


class Counted(BackendArray):
    """Numbers from 0 on, and how often they were read."""

    def __init__(self, shape):
        self.shape, self.dtype, self.reads = shape, np.dtype("int64"), 0

    def __getitem__(self, key):
        return read_indexed(key, self.shape, self.read)

    def read(self, key):
        self.reads += 1
        return np.arange(np.prod(self.shape)).reshape(self.shape)[
            np.ix_(*(np.arange(n)[k] for n, k in zip(self.shape, key, strict=True)))
        ]


@pytest.fixture
def counted():
    return Counted((4, 6))


def test_a_lazily_indexed_variable_keeps_its_index(counted):
    variable = xr.Variable(("a", "b"), lazily_indexed(counted))
    part = variable[1:3, [0, 2]]
    array, key = array_and_key(data_of(part))
    assert array is counted
    assert (np.arange(4)[key[0]].tolist(), np.arange(6)[key[1]].tolist()) == ([1, 2], [0, 2])
    assert counted.reads == 0
    np.testing.assert_array_equal(part.values, np.arange(24).reshape(4, 6)[1:3][:, [0, 2]])


def test_a_variable_whose_values_were_read_or_written_is_not_lazily_indexed(counted):
    variable = xr.Variable(("a", "b"), lazily_indexed(counted))
    assert is_lazily_indexed(variable)
    variable[0, 0] = 5
    assert not is_lazily_indexed(variable)
    assert array_and_key(data_of(variable)) is None
    assert not is_lazily_indexed(xr.Variable("a", [1, 2]))


def test_several_dimensions_that_share_an_index_have_no_key(counted):
    variable = xr.Variable(("a", "b"), lazily_indexed(counted))
    points = variable[xr.Variable("p", [0, 1]), xr.Variable("p", [2, 3])]
    assert is_lazily_indexed(points)
    assert array_and_key(data_of(points)) is None
    assert points.values.tolist() == [2, 9]


def test_chunks_of_a_lazily_indexed_variable_read_it(counted):
    chunked = xr.Variable(("a", "b"), lazily_indexed(counted)).chunk(a=2, b=6)
    (original,) = (layer for name, layer in chunked.data.dask.layers.items() if name.startswith("original"))
    array, key = array_and_key(next(iter(original.values())))
    assert (array, key) == (counted, (slice(None), slice(None)))


@pytest.mark.parametrize("part", [slice(None, None, -1), slice(2, 2), slice(3, 0, -2)])
def test_slices_reach_the_array_as_they_are(counted, part):
    variable = xr.Variable(("a", "b"), lazily_indexed(counted))[part]
    np.testing.assert_array_equal(variable.values, np.arange(24).reshape(4, 6)[part])


def test_a_coroutine_runs_beside_a_loop_that_runs_already():
    async def name_of_thread():
        return threading.current_thread().name

    async def in_a_notebook():
        return run_in_loop(name_of_thread())

    assert asyncio.run(in_a_notebook()) != threading.current_thread().name


def test_dask_computes_after_its_threads_are_forgotten():
    """A fork has the pool of its parent, and none of its threads."""
    numbers = dask.array.arange(10, chunks=2)
    with dask.config.set(scheduler="threads"):
        assert numbers.sum().compute() == 45
        assert dask.threaded.default_pool is not None
        forget_dasks_threads()
        assert dask.threaded.default_pool is None
        assert numbers.sum().compute() == 45


def test_a_scheduler_that_is_not_there_is_an_error_of_the_system():
    with pytest.raises(OSError, match=r"Timed out|refused|connect"):
        asyncio.run(greet_scheduler("tcp://127.0.0.1:9", timeout=0.5))


PRIVATE = re.compile(r"(zarr|xarray|dask|distributed|fsspec|pandas|numpy)\.(core|comm|backends\.\w+|.*\._)")


def modules() -> list[Path]:
    return sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "conversion").rglob("*.py")])


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_private_parts_of_others_are_used_here_alone(path):
    tree = ast.parse(path.read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    if path.name != "_compat.py":
        assert [name for name in imported if PRIVATE.match(name)] == []
        assert not used & {"_data", "_SEEN", "_at_fork_reinit"}


def test_xarray_computes_arrays_together_only_if_their_types_are_equal():
    class Other(dask.array.Array):
        """Another class of array."""

    class Equal(dask.array.Array, metaclass=EqualToItsBase):
        """One that equals its base."""

    plain = dask.array.ones(3, chunks=3)
    assert (Equal == dask.array.Array, dask.array.Array == Equal, Equal == Other, hash(Equal)) == (
        True,
        True,
        False,
        hash(dask.array.Array),
    )
    for cls, together in ((Equal, True), (Other, False)):
        array = cls(plain.dask, plain.name, plain.chunks, meta=plain)
        both = xr.Dataset({"a": ("x", array), "b": ("x", plain)})
        if together:
            assert both.compute().a.values.tolist() == [1, 1, 1]
        else:  # the day this no longer fails, the metaclass can go
            with pytest.raises(TypeError, match="Mixing chunked array types is not supported"):
                both.compute()
