"""What labels and probabilities are counted as."""

import re

import numpy as np
import pytest
import xarray as xr
from helpers.masks import BINARY, CATALOGUE, mask, probable, scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.errors import PredictionError
from s2cmc.evaluation.class_maps import find_class_map
from s2cmc.evaluation.confusion import BINS, confusion

# Labels


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int8", "int64", "uint64"])
def test_any_whole_number_is_a_label(dtype: str) -> None:
    truth, values = mask([[[0, 1, 2], [0, 1, 255]]]), [[[0, 1, 2], [1, 2, 0]]]
    expected = confusion(truth, mask(values), CATALOGUE)
    xr.testing.assert_identical(confusion(truth, scenes(values, dtype), CATALOGUE), expected)


def test_yes_is_cloud() -> None:
    truth, values = mask([[[0, 1, 2], [0, 1, 255]]]), [[[0, 1, 0], [1, 1, 0]]]
    expected = confusion(truth, mask(values), BINARY)
    xr.testing.assert_identical(confusion(truth, scenes(values, "bool"), BINARY), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_labels_of_an_algorithm_are_counted_as_classes(dtype: str) -> None:
    labels = scenes([[[4, 8, 3], [0, 255, 11]]], dtype)  # vegetation, cloud, shadow; no data, none, snow
    found = confusion(mask([[[0, 1, 2], [0, 0, 0]]]), labels, find_class_map("sen2cor"))
    assert found["confusion"].sel(scene="s0").values.tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert found["ignored"].sel(scene="s0", reason="prediction") == 2


def test_255_may_be_a_class() -> None:
    found = confusion(mask([[[0, 1]]]), mask([[[0, 255]]]), find_class_map({0: 0, 255: 1}))
    assert found["confusion"].sel(scene="s0").values.tolist() == [[1, 0], [0, 1]]


def test_a_pixel_of_the_truth_that_is_not_one_hot_has_no_label() -> None:
    # 240 and above is how a store keeps them, shown by any other reader.
    found = confusion(mask([[[240, 247, 1]]]), mask([[[0, 1, 1]]]), CATALOGUE)
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
    truth = mask(np.zeros((2, 2, 2)))
    prediction = scenes(np.stack([np.zeros((2, 2)), np.reshape(values, (2, 2))]), dtype)
    told = f"the prediction for s1 has {problem}; class map 'catalogue' knows 0, 1, 2, 255"
    lazy = confusion(truth, prediction.chunk(scene=1), CATALOGUE)  # only told when it is computed
    with pytest.raises(PredictionError, match=re.escape(told)):
        lazy.compute(scheduler="synchronous")
    assert lazy["confusion"].isel(scene=0).compute(scheduler="synchronous").sum() == 4
    with pytest.raises(PredictionError, match=re.escape(told)):
        confusion(truth, prediction, CATALOGUE)


@pytest.mark.parametrize("values", [[1.5, 0.5], [-0.25, 0.5], [np.nan, np.inf]])
def test_what_is_no_probability_is_an_error_that_names_the_scene(values: list[float]) -> None:
    truth = mask(np.zeros((2, 1, 2)))
    prediction = scenes([[[0.5, 0.5]], [values]], "float32")
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
    found = confusion(mask(np.ones(probability.shape)), scenes(probability), BINARY, threshold=0.5)
    assert set(found["cloud_probability"].sel(cloud=True).values.ravel().tolist()) == {1}
    np.testing.assert_array_equal(found["probability"], np.arange(BINS) / BINS)


def test_labels_have_no_histogram() -> None:
    truth = mask(np.zeros((1, 2, 2)))
    assert set(confusion(truth, truth, CATALOGUE).data_vars) == {"confusion", "ignored"}
