"""Confusion tables of scenes: every pixel is counted once, in a table or for a reason, whatever the chunks."""

from itertools import product

import numpy as np
import pytest
import xarray as xr
from helpers.masks import BINARY, CATALOGUE, CLASSES, mask, pairs, probable, scenes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import confusion_matrix

from s2cmc.evaluation.class_maps import IGNORED
from s2cmc.evaluation.confusion import confusion, near_boundary

# By hand


def test_a_mask_of_six_pixels() -> None:
    truth = mask([[[0, 0, 1], [1, 2, 255]]])
    prediction = mask([[[0, 1, 1], [255, 0, 255]]])
    found = confusion(truth, prediction, CATALOGUE)
    # 0-0, 0-1, 1-1 and 2-0 are in the table. Where the truth has no label, this is the reason, whatever was predicted.
    assert found["confusion"].sel(scene="s0").values.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert found["ignored"].sel(scene="s0").values.tolist() == [1, 1, 0]
    assert found["confusion"].dims == ("scene", "truth", "predicted")
    assert found["confusion"].dtype == found["ignored"].dtype == np.int64
    assert found["truth"].values.tolist() == found["predicted"].values.tolist() == CLASSES
    assert found["reason"].values.tolist() == ["truth", "prediction", "boundary"]


def test_a_mask_without_shadow() -> None:
    found = confusion(mask([[[0, 0, 1], [1, 2, 2]]]), mask([[[0, 1, 1], [0, 0, 1]]]), BINARY)
    # Without cloud: 0-0, 0-1, 2-0, 2-1. With cloud: 1-1, 1-0.
    assert found["confusion"].sel(scene="s0").values.tolist() == [[2, 2], [1, 1]]
    assert found["truth"].values.tolist() == found["predicted"].values.tolist() == ["non_cloud", "cloud"]


def test_pixels_beside_a_boundary_are_left_out_last() -> None:
    truth = mask([[[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 255]]])
    prediction = mask([[[0, 0, 255, 1, 1, 1], [0, 0, 0, 0, 0, 0]]])
    found = confusion(truth, prediction, CATALOGUE, boundary_buffer=1)
    # The two columns in the middle: three pixels for the boundary, the fourth had no prediction anyway.
    assert found["ignored"].sel(scene="s0").values.tolist() == [1, 1, 3]
    assert found["confusion"].sel(scene="s0").values.tolist() == [[4, 0, 0], [1, 2, 0], [0, 0, 0]]


def test_a_merged_shadow_has_no_boundary_to_clear() -> None:
    truth = mask([[[0, 0, 2, 2, 1]]])
    three = confusion(truth, truth, CATALOGUE, boundary_buffer=1)
    assert (three["ignored"].sel(reason="boundary").item(), three["confusion"].sum().item()) == (4, 1)
    two = confusion(truth, truth, CATALOGUE, boundary_buffer=1, merge_shadow=True)
    assert (two["ignored"].sel(reason="boundary").item(), two["confusion"].sum().item()) == (2, 3)


def test_probabilities_from_the_threshold_on_are_cloud() -> None:
    truth = mask([[[0, 1, 1], [2, 1, 255]]])
    probability = scenes([[[0.5, 0.49, 0.5], [0.0, np.nan, 1.0]]])
    found = confusion(truth, probability, BINARY, threshold=0.5)
    assert found["confusion"].sel(scene="s0").values.tolist() == [[1, 1], [1, 1]]
    assert found["ignored"].sel(scene="s0").values.tolist() == [1, 1, 0]
    histogram = found["cloud_probability"].sel(scene="s0")
    assert histogram.dims == ("cloud", "probability")
    assert histogram.sel(cloud=False, probability=[0.0, 0.5]).values.tolist() == [1, 1]
    assert histogram.sel(cloud=True, probability=[0.49, 0.5]).values.tolist() == [1, 1]
    assert histogram.sum() == 4


def test_the_last_bin_holds_1() -> None:
    found = confusion(mask([[[1, 1, 1]]]), scenes([[[0.9985, 0.999, 1.0]]]), BINARY, threshold=0.5)
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
    truth = mask([[[0, 0, 0, 0], [0, 0, 0, 1]], [[1, 1, 1, 1], [1, 1, 1, 255]]])
    found = confusion(truth, truth, CATALOGUE, boundary_buffer=reach)
    assert found["ignored"].values.tolist() == [[0, 0, 8], [1, 0, 0]]
    assert found["confusion"].sum(("truth", "predicted")).values.tolist() == [0, 7]


def test_the_boundaries_are_those_of_the_truth() -> None:
    uniform, edged = mask([[[0, 0, 0, 0]]]), mask([[[0, 1, 0, 1]]])
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
    none = mask(np.zeros((0, 4, 4)))
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
    truth = mask(np.zeros((2, 1, 1)))
    with pytest.raises(ValueError, match="cannot align objects"):
        confusion(truth, truth.assign_coords(scene=["s0", "s2"]), CATALOGUE)
