"""What is used of the private parts of other libraries is there, and does what it is used for."""

import numpy as np
import pytest
import xarray as xr
from xarray.backends import BackendArray
from xarray.core.indexing import IndexingSupport, explicit_indexing_adapter

from s2cmc._compat import array_and_key, data_of, is_lazily_indexed, lazily_indexed


class Counted(BackendArray):
    """Numbers from 0 on, and how often they were read."""

    def __init__(self, shape):
        self.shape, self.dtype, self.reads = shape, np.dtype("int64"), 0

    def __getitem__(self, key):
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER, self.read)

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
