"""Confusion tables of scenes: every pixel is counted once, in a table or for a reason, whatever the chunks."""

import re
from itertools import product

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import confusion_matrix

from s2cmc.classmap import IGNORED, find_class_map
from s2cmc.confusion import BINS, confusion, near_boundary
from s2cmc.errors import PredictionError

CATALOGUE, BINARY = find_class_map("catalogue"), find_class_map("binary")
CLASSES = ["clear", "cloud", "cloud_shadow"]

shapes = npst.array_shapes(min_dims=3, max_dims=3, max_side=6)


def _scenes(values: object, dtype: str | None = None) -> xr.DataArray:
    """An array (scene, y, x) of scenes s0, s1, ..."""
    array = np.array(values, dtype)
    return xr.DataArray(array, dims=("scene", "y", "x"), coords={"scene": [f"s{i}" for i in range(len(array))]})


def _mask(values: object) -> xr.DataArray:
    return _scenes(values, "uint8")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[xr.DataArray, xr.DataArray]:
    """Truth and prediction of some scenes, with unlabelled pixels in both."""
    shape = draw(shapes)
    elements = st.sampled_from([0, 1, 2, 255])
    return _mask(draw(npst.arrays("uint8", shape, elements=elements))), _mask(
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
    return _mask(truth), _scenes(draw(npst.arrays(dtype, shape, elements=elements)))


# By hand


def test_a_mask_of_six_pixels() -> None:
    truth = _mask([[[0, 0, 1], [1, 2, 255]]])
    prediction = _mask([[[0, 1, 1], [255, 0, 255]]])
    found = confusion(truth, prediction, CATALOGUE)
    # 0-0, 0-1, 1-1 and 2-0 are in the table. Where the truth has no label, this is the reason, whatever was predicted.
    assert found["confusion"].sel(scene="s0").values.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert found["ignored"].sel(scene="s0").values.tolist() == [1, 1, 0]
    assert found["confusion"].dims == ("scene", "truth", "predicted")
    assert found["confusion"].dtype == found["ignored"].dtype == np.int64
    assert found["truth"].values.tolist() == found["predicted"].values.tolist() == CLASSES
    assert found["reason"].values.tolist() == ["truth", "prediction", "boundary"]


def test_a_mask_without_shadow() -> None:
    found = confusion(_mask([[[0, 0, 1], [1, 2, 2]]]), _mask([[[0, 1, 1], [0, 0, 1]]]), BINARY)
    # Without cloud: 0-0, 0-1, 2-0, 2-1. With cloud: 1-1, 1-0.
    assert found["confusion"].sel(scene="s0").values.tolist() == [[2, 2], [1, 1]]
    assert found["truth"].values.tolist() == found["predicted"].values.tolist() == ["non_cloud", "cloud"]


def test_pixels_beside_a_boundary_are_left_out_last() -> None:
    truth = _mask([[[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 255]]])
    prediction = _mask([[[0, 0, 255, 1, 1, 1], [0, 0, 0, 0, 0, 0]]])
    found = confusion(truth, prediction, CATALOGUE, boundary_buffer=1)
    # The two columns in the middle: three pixels for the boundary, the fourth had no prediction anyway.
    assert found["ignored"].sel(scene="s0").values.tolist() == [1, 1, 3]
    assert found["confusion"].sel(scene="s0").values.tolist() == [[4, 0, 0], [1, 2, 0], [0, 0, 0]]


def test_a_merged_shadow_has_no_boundary_to_clear() -> None:
    truth = _mask([[[0, 0, 2, 2, 1]]])
    three = confusion(truth, truth, CATALOGUE, boundary_buffer=1)
    assert (three["ignored"].sel(reason="boundary").item(), three["confusion"].sum().item()) == (4, 1)
    two = confusion(truth, truth, CATALOGUE, boundary_buffer=1, merge_shadow=True)
    assert (two["ignored"].sel(reason="boundary").item(), two["confusion"].sum().item()) == (2, 3)


def test_probabilities_from_the_threshold_on_are_cloud() -> None:
    truth = _mask([[[0, 1, 1], [2, 1, 255]]])
    probability = _scenes([[[0.5, 0.49, 0.5], [0.0, np.nan, 1.0]]])
    found = confusion(truth, probability, BINARY, threshold=0.5)
    assert found["confusion"].sel(scene="s0").values.tolist() == [[1, 1], [1, 1]]
    assert found["ignored"].sel(scene="s0").values.tolist() == [1, 1, 0]
    histogram = found["cloud_probability"].sel(scene="s0")
    assert histogram.dims == ("cloud", "probability")
    assert histogram.sel(cloud=False, probability=[0.0, 0.5]).values.tolist() == [1, 1]
    assert histogram.sel(cloud=True, probability=[0.49, 0.5]).values.tolist() == [1, 1]
    assert histogram.sum() == 4


def test_the_last_bin_holds_1() -> None:
    found = confusion(_mask([[[1, 1, 1]]]), _scenes([[[0.9985, 0.999, 1.0]]]), BINARY, threshold=0.5)
    assert found["cloud_probability"].sel(cloud=True).values[0, -3:].tolist() == [0, 1, 2]


# Against numpy and scikit-learn


@given(pairs(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_tables_are_those_of_scikit_learn(pair: tuple[xr.DataArray, xr.DataArray], merge: bool) -> None:
    found = confusion(*pair, CATALOGUE, merge_shadow=merge)
    for i, (truth, prediction) in enumerate(zip(*(one.values for one in pair), strict=True)):
        both = (truth != 255) & (prediction != 255)
        true, predicted = truth[both], prediction[both]
        expected = np.zeros((3, 3), int)
        if both.any():  # scikit-learn has no table of nothing
            expected = confusion_matrix(true, predicted, labels=[0, 1, 2])
        if merge:
            expected = np.array(
                [
                    [expected[[0, 2]][:, [0, 2]].sum(), expected[[0, 2], 1].sum()],
                    [expected[1, [0, 2]].sum(), expected[1, 1]],
                ]
            )
        np.testing.assert_array_equal(found["confusion"][i], expected)
        reasons = [(truth == 255).sum(), ((truth != 255) & (prediction == 255)).sum(), 0]
        np.testing.assert_array_equal(found["ignored"][i], reasons)


@given(pairs(), st.integers(0, 3), st.booleans())
@settings(max_examples=25, deadline=None)
def test_every_pixel_is_counted_once(pair: tuple[xr.DataArray, xr.DataArray], reach: int, merge: bool) -> None:
    found = confusion(*pair, CATALOGUE, boundary_buffer=reach, merge_shadow=merge)
    total = found["confusion"].sum(("truth", "predicted")) + found["ignored"].sum("reason")
    assert set(total.values.tolist()) == {pair[0].sizes["y"] * pair[0].sizes["x"]}


@given(pairs(), st.integers(1, 3), st.booleans())
@settings(max_examples=25, deadline=None)
def test_merged_classes_are_those_of_merged_masks(
    pair: tuple[xr.DataArray, xr.DataArray], reach: int, has_shadow: bool
) -> None:
    truth, prediction = (one.where(one != 2, 0) for one in pair)
    expected = confusion(truth, prediction, BINARY, boundary_buffer=reach)
    merged = confusion(*pair, CATALOGUE, boundary_buffer=reach, merge_shadow=True)
    xr.testing.assert_identical(merged, expected)
    # A class map without shadow merges that of the truth unasked.
    unasked = confusion(pair[0], prediction, BINARY, boundary_buffer=reach, merge_shadow=has_shadow)
    xr.testing.assert_identical(unasked, expected)


@given(
    npst.arrays("uint8", npst.array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.sampled_from([0, 1, 2, 3])),
    st.integers(1, 3),
)
@settings(max_examples=25, deadline=None)
def test_near_a_boundary_stands_another_class(classes: np.ndarray, reach: int) -> None:
    found = near_boundary(classes, reach)
    rows, columns = classes.shape
    for y, x in product(range(rows), range(columns)):
        if classes[y, x] == IGNORED:
            continue  # has no class that another could differ from, and is in no table anyway
        square = [
            classes[j, i]
            for j in range(max(y - reach, 0), min(y + reach + 1, rows))
            for i in range(max(x - reach, 0), min(x + reach + 1, columns))
        ]
        assert found[y, x] == any(other not in (IGNORED, classes[y, x]) for other in square)


def test_a_buffer_reaches_diagonally_and_across_unlabelled_pixels() -> None:
    classes = np.array([[0, 0, 0, 0], [0, 0, 3, 3], [0, 0, 3, 1]], np.uint8)
    labelled = classes != IGNORED
    # The cloud in the corner has unlabelled neighbours alone; the pixels behind these are two away.
    assert not near_boundary(classes, 1)[labelled].any()
    expected = [[False, True, True, True], [False, True, False, False], [False, True, False, True]]
    assert (near_boundary(classes, 2) & labelled).tolist() == expected


@pytest.mark.parametrize("reach", [3, 4, 100])
def test_a_buffer_may_be_larger_than_the_image(reach: int) -> None:
    truth = _mask([[[0, 0, 0, 0], [0, 0, 0, 1]], [[1, 1, 1, 1], [1, 1, 1, 255]]])
    found = confusion(truth, truth, CATALOGUE, boundary_buffer=reach)
    assert found["ignored"].values.tolist() == [[0, 0, 8], [1, 0, 0]]
    assert found["confusion"].sum(("truth", "predicted")).values.tolist() == [0, 7]


def test_the_boundaries_are_those_of_the_truth() -> None:
    uniform, edged = _mask([[[0, 0, 0, 0]]]), _mask([[[0, 1, 0, 1]]])
    assert confusion(uniform, edged, CATALOGUE, boundary_buffer=1)["ignored"].sum() == 0
    assert confusion(edged, uniform, CATALOGUE, boundary_buffer=1)["ignored"].sum() == 4


# Chunks, parts, order


@given(data=st.data(), pair=pairs(), reach=st.integers(0, 2))
@settings(max_examples=10, deadline=None)
def test_chunks_change_nothing(data: st.DataObject, pair: tuple[xr.DataArray, xr.DataArray], reach: int) -> None:
    lazy = [
        one.chunk({dim: data.draw(st.integers(1, size), label=f"chunk {dim}") for dim, size in one.sizes.items()})
        for one in pair
    ]
    found = confusion(*lazy, CATALOGUE, boundary_buffer=reach)
    assert all(values.chunks is not None for values in found.data_vars.values())
    expected = confusion(*pair, CATALOGUE, boundary_buffer=reach)
    xr.testing.assert_identical(found.compute(scheduler="synchronous"), expected)


@given(data=st.data(), pair=probable())
@settings(max_examples=8, deadline=None)
def test_chunks_of_probabilities_change_nothing(data: st.DataObject, pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    chunks = {dim: data.draw(st.integers(1, size), label=f"chunk {dim}") for dim, size in pair[0].sizes.items()}
    found = confusion(pair[0], pair[1].chunk(chunks), BINARY, threshold=0.5)  # the truth in memory
    assert found["cloud_probability"].chunks is not None
    xr.testing.assert_identical(found.compute(scheduler="synchronous"), confusion(*pair, BINARY, threshold=0.5))


@given(data=st.data(), pair=pairs())
@settings(max_examples=12, deadline=None)
def test_the_order_of_scenes_changes_nothing(data: st.DataObject, pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    order = data.draw(st.permutations(range(pair[0].sizes["scene"])), label="order")
    found = confusion(*(one.isel(scene=order) for one in pair), CATALOGUE, boundary_buffer=1)
    xr.testing.assert_identical(found, confusion(*pair, CATALOGUE, boundary_buffer=1).isel(scene=order))


@given(data=st.data(), pair=pairs())
@settings(max_examples=15, deadline=None)
def test_tables_of_parts_of_the_pixels_add_up(data: st.DataObject, pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    cut = data.draw(st.integers(0, pair[0].sizes["y"]), label="cut")
    upper, lower = (
        confusion(*(one.isel(y=part) for one in pair), CATALOGUE) for part in (slice(cut), slice(cut, None))
    )
    xr.testing.assert_equal(upper + lower, confusion(*pair, CATALOGUE))


@given(data=st.data(), pair=probable())
@settings(max_examples=12, deadline=None)
def test_tables_of_parts_of_the_scenes_are_joined(data: st.DataObject, pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    cut = data.draw(st.integers(0, pair[0].sizes["scene"]), label="cut")
    parts = [
        confusion(*(one.isel(scene=part) for one in pair), BINARY, threshold=0.3)
        for part in (slice(cut), slice(cut, None))
    ]
    xr.testing.assert_identical(
        xr.concat([part for part in parts if part.sizes["scene"]], "scene"), confusion(*pair, BINARY, threshold=0.3)
    )


def test_no_scenes_have_no_tables() -> None:
    none = _mask(np.zeros((0, 4, 4)))
    assert confusion(none, none, CATALOGUE)["confusion"].shape == (0, 3, 3)


@pytest.mark.usefixtures("no_compute")
def test_nothing_is_read_until_it_is_computed(catalogue: xr.Dataset) -> None:
    other = catalogue.alt_mask.reset_coords(drop=True)
    for found in (
        confusion(catalogue.mask, other, CATALOGUE, boundary_buffer=2),
        confusion(catalogue.mask, other / 2, BINARY, threshold=0.5, merge_shadow=True),
    ):
        for values in found.data_vars.values():
            assert values.chunks is not None
            with pytest.raises(AssertionError, match="a pixel was read"):
                values.compute()


def test_the_masks_of_a_catalogue_are_counted_and_keep_their_coordinates(catalogue: xr.Dataset) -> None:
    found = confusion(catalogue.mask, catalogue.alt_mask.reset_coords(drop=True), CATALOGUE)
    assert found["annotator"].values.tolist() == catalogue["annotator"].values.tolist()
    truth, other = catalogue.mask.values, catalogue.alt_mask.values
    for i, j in product(range(3), range(3)):
        expected = ((truth == i) & (other == j)).sum(axis=(1, 2))
        np.testing.assert_array_equal(found["confusion"].isel(truth=i, predicted=j), expected)
    # Scenes of one annotator alone have no pixel in common with the other.
    assert found["confusion"].sum(("truth", "predicted"))[~catalogue.has_alt_mask.values].sum() == 0


def test_the_other_scenes_are_no_prediction() -> None:
    truth = _mask(np.zeros((2, 1, 1)))
    with pytest.raises(ValueError, match="cannot align objects"):
        confusion(truth, truth.assign_coords(scene=["s0", "s2"]), CATALOGUE)


# Labels


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int8", "int64", "uint64"])
def test_any_whole_number_is_a_label(dtype: str) -> None:
    truth, values = _mask([[[0, 1, 2], [0, 1, 255]]]), [[[0, 1, 2], [1, 2, 0]]]
    expected = confusion(truth, _mask(values), CATALOGUE)
    xr.testing.assert_identical(confusion(truth, _scenes(values, dtype), CATALOGUE), expected)


def test_yes_is_cloud() -> None:
    truth, values = _mask([[[0, 1, 2], [0, 1, 255]]]), [[[0, 1, 0], [1, 1, 0]]]
    expected = confusion(truth, _mask(values), BINARY)
    xr.testing.assert_identical(confusion(truth, _scenes(values, "bool"), BINARY), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_labels_of_an_algorithm_are_counted_as_classes(dtype: str) -> None:
    labels = _scenes([[[4, 8, 3], [0, 255, 11]]], dtype)  # vegetation, cloud, shadow; no data, none, snow
    found = confusion(_mask([[[0, 1, 2], [0, 0, 0]]]), labels, find_class_map("sen2cor"))
    assert found["confusion"].sel(scene="s0").values.tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert found["ignored"].sel(scene="s0", reason="prediction") == 2


def test_255_may_be_a_class() -> None:
    found = confusion(_mask([[[0, 1]]]), _mask([[[0, 255]]]), find_class_map({0: 0, 255: 1}))
    assert found["confusion"].sel(scene="s0").values.tolist() == [[1, 0], [0, 1]]


def test_a_pixel_of_the_truth_that_is_not_one_hot_has_no_label() -> None:
    # 240 and above is how a store keeps them, shown by any other reader.
    found = confusion(_mask([[[240, 247, 1]]]), _mask([[[0, 1, 1]]]), CATALOGUE)
    assert found["ignored"].sel(scene="s0").values.tolist() == [2, 0, 0]


@pytest.mark.parametrize(
    ("values", "dtype", "problem"),
    [
        ([0, 7, 7, 9], "uint8", "unknown labels 7 (2 px), 9 (1 px)"),
        ([0, 1, 2, 3], "int64", "unknown labels 3 (1 px)"),
        ([0, 1, 2, 256], "int64", "unknown labels 256 (1 px)"),  # not to wrap around to 0
        ([0, 1, -1, 2], "int8", "unknown labels -1 (1 px)"),  # not to wrap around to 255
    ],
)
def test_unknown_labels_are_an_error_that_names_the_scene(values: list[int], dtype: str, problem: str) -> None:
    truth = _mask(np.zeros((2, 2, 2)))
    prediction = _scenes(np.stack([np.zeros((2, 2)), np.reshape(values, (2, 2))]), dtype)
    told = f"the prediction for s1 has {problem}; class map 'catalogue' knows 0, 1, 2, 255"
    lazy = confusion(truth, prediction.chunk(scene=1), CATALOGUE)  # only told when it is computed
    with pytest.raises(PredictionError, match=re.escape(told)):
        lazy.compute(scheduler="synchronous")
    assert lazy["confusion"].isel(scene=0).compute(scheduler="synchronous").sum() == 4
    with pytest.raises(PredictionError, match=re.escape(told)):
        confusion(truth, prediction, CATALOGUE)


@pytest.mark.parametrize("values", [[1.5, 0.5], [-0.25, 0.5], [np.nan, np.inf]])
def test_what_is_no_probability_is_an_error_that_names_the_scene(values: list[float]) -> None:
    truth = _mask(np.zeros((2, 1, 2)))
    prediction = _scenes([[[0.5, 0.5]], [values]], "float32")
    lazy = confusion(truth, prediction.chunk(scene=1), BINARY, threshold=0.5)
    told = r"the prediction for s1.* 1 values that are no probability"
    with pytest.raises(PredictionError, match=told) as raised:
        lazy.compute(scheduler="synchronous")
    # With a threshold there is no class map to choose.
    assert "class map" not in str(raised.value)
    with pytest.raises(PredictionError, match=told):
        confusion(truth, prediction, BINARY, threshold=0.5)


# Probabilities


@given(probable(), st.integers(1, BINS))
@settings(max_examples=20, deadline=None)
def test_a_threshold_makes_labels(pair: tuple[xr.DataArray, xr.DataArray], k: int) -> None:
    truth, probability = pair
    labels = (probability >= k / BINS).where(probability.notnull(), 255).astype("uint8")
    found = confusion(truth, probability, BINARY, threshold=k / BINS, boundary_buffer=1)
    expected = confusion(truth, labels, BINARY, boundary_buffer=1)
    xr.testing.assert_identical(found.drop_vars(["cloud_probability", "cloud", "probability"]), expected)


@given(probable(), st.lists(st.integers(1, BINS - 1), min_size=1, max_size=3), st.integers(0, 1))
@settings(max_examples=20, deadline=None)
def test_the_histogram_holds_the_table_of_every_threshold(
    pair: tuple[xr.DataArray, xr.DataArray], thresholds: list[int], reach: int
) -> None:
    histogram = confusion(*pair, BINARY, threshold=0.5, boundary_buffer=reach)["cloud_probability"]
    # The thresholds of the values themselves are where rounding would show.
    at_values = np.rint(np.nan_to_num(pair[1].values.ravel().astype(float)) * BINS).astype(int).clip(1, BINS - 1)
    for k in {*thresholds, *at_values.tolist()[:3]}:
        table = confusion(*pair, BINARY, threshold=k / BINS, boundary_buffer=reach)["confusion"]
        below, above = histogram[..., :k].sum("probability"), histogram[..., k:].sum("probability")
        np.testing.assert_array_equal(table.sel(predicted="non_cloud"), below)
        np.testing.assert_array_equal(table.sel(predicted="cloud"), above)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_edge_falls_into_the_bin_that_it_begins(dtype: str) -> None:
    probability = (np.arange(BINS) / BINS).astype(dtype)[np.newaxis, np.newaxis]
    found = confusion(_mask(np.ones(probability.shape)), _scenes(probability), BINARY, threshold=0.5)
    assert set(found["cloud_probability"].sel(cloud=True).values.ravel().tolist()) == {1}
    np.testing.assert_array_equal(found["probability"], np.arange(BINS) / BINS)


def test_labels_have_no_histogram() -> None:
    mask = _mask(np.zeros((1, 2, 2)))
    assert set(confusion(mask, mask, CATALOGUE).data_vars) == {"confusion", "ignored"}
