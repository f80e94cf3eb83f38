"""Small masks and predictions, for the tests of what counts them."""

import numpy as np
import xarray as xr
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from s2cmc.evaluation.class_maps import find_class_map
from s2cmc.evaluation.confusion import BINS

CATALOGUE, BINARY = find_class_map("catalogue"), find_class_map("binary")
CLASSES = ["clear", "cloud", "cloud_shadow"]

shapes = npst.array_shapes(min_dims=3, max_dims=3, max_side=6)


def scenes(values: object, dtype: str | None = None) -> xr.DataArray:
    """An array (scene, y, x) of scenes s0, s1, ..."""
    array = np.array(values, dtype)
    return xr.DataArray(array, dims=("scene", "y", "x"), coords={"scene": [f"s{i}" for i in range(len(array))]})


def mask(values: object) -> xr.DataArray:
    return scenes(values, "uint8")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[xr.DataArray, xr.DataArray]:
    """Truth and prediction of some scenes, with unlabelled pixels in both."""
    shape = draw(shapes)
    elements = st.sampled_from([0, 1, 2, 255])
    return mask(draw(npst.arrays("uint8", shape, elements=elements))), mask(
        draw(npst.arrays("uint8", shape, elements=elements))
    )


@st.composite
def probable(draw: st.DrawFn) -> tuple[xr.DataArray, xr.DataArray]:
    """Truth and probabilities, many of them on the edge of a bin or just beside it."""
    shape, dtype = draw(shapes), np.dtype(draw(st.sampled_from(["float16", "float32", "float64"])))
    edge = st.integers(0, BINS).map(lambda k: dtype.type(k / BINS))
    beside = st.tuples(edge, st.sampled_from([0, 1])).map(lambda of: np.nextafter(of[0], dtype.type(of[1])))
    elements = edge | beside | st.just(dtype.type(np.nan)) | st.floats(0, 1, width=16)
    truth = draw(npst.arrays("uint8", shape, elements=st.sampled_from([0, 1, 2, 255])))
    return mask(truth), scenes(draw(npst.arrays(dtype, shape, elements=elements)))
