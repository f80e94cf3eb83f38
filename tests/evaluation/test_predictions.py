"""Predictions as arrays: counted whatever their order, dims and chunks, or refused with one error that says all."""

from collections.abc import Callable
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from s2cmc.errors import CatalogueError, PredictionError, QueryError

SIZE = 64
FOREIGN = "S2A_MSIL1C_20190101T000000_N0207_R001_T31UDQ_20190101T000000"  # not in the catalogue


@pytest.fixture(scope="module")
def probabilities(labels: xr.DataArray) -> xr.DataArray:
    """Probabilities of cloud in steps of 0.001, NaN where `labels` has no label."""
    steps = (labels == 1) * 400 + np.random.default_rng(1).integers(0, 600, labels.shape)
    return (steps / 1000).where(labels != 255)


def test_counts_are_those_of_scikit_learn(opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset) -> None:
    assert (counts.confusion.dims, counts.confusion.dtype) == (("scene", "truth", "predicted"), np.int64)
    for truth, predicted, found in zip(opened.mask.values, labels.values, counts.confusion.values, strict=True):
        used = (truth <= 2) & (predicted <= 2)
        expected = confusion_matrix(truth[used], predicted[used], labels=[0, 1, 2])
        np.testing.assert_array_equal(found, expected)


def test_every_pixel_is_counted_or_ignored_for_one_reason(opened: xr.Dataset, labels: xr.DataArray) -> None:
    counts = opened.clouds.confusion(labels, boundary_buffer=2).compute()
    np.testing.assert_array_equal(counts.confusion.sum(("truth", "predicted")) + counts.ignored.sum("reason"), SIZE**2)
    np.testing.assert_array_equal(counts.ignored.sel(reason="truth"), opened.invalid_mask_pixels)
    # Where neither side has a label, the truth is to blame.
    without = ((labels == 255) & (opened.mask.values != 255)).sum(("y", "x"))
    np.testing.assert_array_equal(counts.ignored.sel(reason="prediction"), without)
    assert (without.sum() > 3, counts.ignored.sel(reason="boundary").sum() > 0) == (True, True)


@given(data=st.data())
@settings(max_examples=5, deadline=None)
def test_order_dims_chunks_and_further_scenes_change_nothing(
    data: st.DataObject, opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset
) -> None:
    further = labels[:1].assign_coords(scene=[FOREIGN])
    given_one = xr.concat([labels, further], "scene")
    given_one = given_one.isel(scene=data.draw(st.permutations(range(11)), label="order of scenes"))
    given_one = given_one.transpose(*data.draw(st.permutations(["scene", "y", "x"]), label="dims"))
    if data.draw(st.booleans(), label="lazy"):
        given_one = given_one.chunk(
            {"scene": data.draw(st.integers(1, 11)), "y": data.draw(st.integers(20, 64)), "x": 33}
        )
    found = opened.clouds.confusion(given_one).compute(scheduler="synchronous")
    xr.testing.assert_identical(found, counts)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64"])
def test_labels_are_whole_numbers_of_any_dtype(opened: xr.Dataset, labels: xr.DataArray, dtype: str) -> None:
    labels = labels.where(labels != 255, 0)
    found = opened.clouds.confusion(labels.astype(dtype)).compute()
    xr.testing.assert_identical(found, opened.clouds.confusion(labels).compute())


def test_booleans_are_cloud_or_not(opened: xr.Dataset, labels: xr.DataArray) -> None:
    found = opened.clouds.confusion(labels == 1).compute()
    assert found.truth.values.tolist() == ["non_cloud", "cloud"]
    binary = (labels == 1).astype("uint8")
    xr.testing.assert_equal(found, opened.clouds.confusion(binary, class_map="binary").compute())


def test_probabilities_from_the_threshold_on_are_cloud(opened: xr.Dataset, probabilities: xr.DataArray) -> None:
    found = opened.clouds.confusion(probabilities, threshold=0.4).compute()
    assert found.truth.values.tolist() == ["non_cloud", "cloud"]
    by_hand = (probabilities >= 0.4).where(probabilities.notnull(), 255).astype("uint8")
    expected = opened.clouds.confusion(by_hand, class_map="binary").compute()
    xr.testing.assert_equal(found.drop_dims(["cloud", "probability"]), expected)
    assert found.attrs["threshold"] == 0.4


@pytest.mark.parametrize("threshold", [1, 1.0, np.float32(0.5)])
def test_a_threshold_is_any_number_up_to_1(opened: xr.Dataset, probabilities: xr.DataArray, threshold: float) -> None:
    found = opened.clouds.confusion(probabilities.round(), threshold=threshold)
    expected = opened.clouds.confusion(probabilities.round(), threshold=0.7)
    xr.testing.assert_equal(found.confusion.compute(), expected.confusion.compute())


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_the_histogram_counts_the_pixels_of_the_table(
    opened: xr.Dataset, probabilities: xr.DataArray, dtype: str
) -> None:
    probabilities = probabilities.astype(dtype)
    counts = opened.clouds.confusion(probabilities, threshold=0.3, boundary_buffer=1).compute()
    histogram = counts.cloud_probability
    assert (histogram.dims, histogram.sizes["probability"]) == (("scene", "cloud", "probability"), 1000)
    above = histogram.sel(probability=slice(0.3, None)).sum("probability")
    np.testing.assert_array_equal(above, counts.confusion.sel(predicted="cloud"))
    np.testing.assert_array_equal(histogram.sum("probability"), counts.confusion.sum("predicted"))


def test_probabilities_of_0_and_1_are_in_the_first_and_the_last_bin(opened: xr.Dataset, labels: xr.DataArray) -> None:
    sure = (labels == 1).astype("float32")
    found = opened.clouds.confusion(sure, threshold=0.5).cloud_probability.compute()
    by_prediction = found.sum(("scene", "cloud"))
    filled = by_prediction[by_prediction > 0]
    assert filled.probability.values.tolist() == [0, 0.999]
    assert filled.values.tolist() == [int(n) - 5 * (k == 0) for k, n in enumerate([(sure == 0).sum(), sure.sum()])]


@pytest.mark.usefixtures("no_compute")
def test_counts_are_lazy(opened: xr.Dataset, labels: xr.DataArray, probabilities: xr.DataArray) -> None:
    for truth in ("primary", "other", "A", "B"):
        found = opened.clouds.confusion(labels.chunk(scene=1), truth=truth)
        assert all(variable.chunks is not None for variable in found.data_vars.values())
    found = opened.clouds.confusion(probabilities, threshold=0.5)
    assert found.cloud_probability.chunks is not None
    with pytest.raises(AssertionError, match="a pixel was read"):
        found.compute()


def test_counts_of_parts_add_up(opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset) -> None:
    halves = [{"x": slice(0, 20)}, {"x": slice(20, None)}]
    upper, lower = (opened.isel(half).clouds.confusion(labels.isel(half)) for half in halves)
    xr.testing.assert_identical((upper + lower).compute(), counts)
    some = [opened.isel(scene=part).clouds.confusion(labels) for part in (slice(0, 3), slice(3, None))]
    xr.testing.assert_identical(xr.concat(some, "scene").compute(), counts)


def test_a_prediction_may_carry_the_coordinates_of_the_catalogue(
    opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset
) -> None:
    dressed = opened.mask.copy(data=labels.values)
    xr.testing.assert_identical(opened.clouds.confusion(dressed).compute(), counts)


def _flaws() -> dict[str, tuple[Callable[[xr.DataArray], xr.DataArray], dict[str, Any], str]]:
    """What to do to labels, with which options, and what the error says."""
    return {
        "no further dim": (
            lambda p: p.isel(scene=0, drop=True),
            {},
            r"dims \('y', 'x'\); expected \('scene', 'y', 'x'\)",
        ),
        "a dim too many": (lambda p: p.expand_dims("band"), {}, r"dims \('band', 'scene', 'y', 'x'\)"),
        "other dims": (lambda p: p.rename(y="row", x="column"), {}, r"dims \('scene', 'row', 'column'\)"),
        "no names": (lambda p: p.drop_vars("scene"), {}, r"which scenes it is of; .*assign_coords\(scene=ids\)"),
        "a scene missing": (lambda p: p[1:], {}, r"ds\.sel\(scene=\[\.\.\.\]\)\n  - scene \S+T26UMF_\S+ is missing$"),
        "a scene twice": (lambda p: xr.concat([p, p[:1]], "scene"), {}, r"scene \S+T26UMF_\S+ is there 2 times$"),
        "too few rows": (lambda p: p[:, 1:], {}, "y has 63 pixels; the catalogue has 64"),
        "too many columns": (lambda p: p.pad(x=(0, 2)).astype("uint8"), {}, "x has 66 pixels; the catalogue has 64"),
        "other places": (
            lambda p: p.assign_coords(x=np.arange(SIZE)),
            {},
            r"x runs from 0 to 63, that of the catalogue from 10\.0 to 1270\.0; .*drop_vars\('x'\)",
        ),
        "upside down": (lambda p: p.assign_coords(y=1270 - 20.0 * np.arange(SIZE)), {}, "y runs from 1270.0 to 10.0"),
        "probabilities": (lambda p: p.astype("float32"), {}, "float32 values are probabilities and need a threshold"),
        "labels, threshold": (lambda p: p, {"threshold": 0.5}, "uint8 values are labels; leave out the threshold"),
        "booleans, threshold": (lambda p: p == 1, {"threshold": 0.5}, "bool values are labels"),
        "text": (lambda p: p.astype(str), {}, "<U3 values are neither labels nor probabilities"),
        "threshold 0": (lambda p: p / 255.0, {"threshold": 0}, r"threshold 0\.0 is not above 0 and up to 1"),
        "percent": (lambda p: p / 255.0, {"threshold": 50}, r"threshold 50\.0 is not above 0 and up to 1"),
        "NaN": (lambda p: p / 255.0, {"threshold": np.nan}, "threshold nan is not"),
        "other labels": (lambda p: p.where(p != 2, 7), {}, r"unknown labels 7 \(\d+ px\)"),
        "negative": (lambda p: p.astype("int16").where(p != 2, -1), {}, r"unknown labels -1 \(\d+ px\)"),
        "too high": (lambda p: p.astype("int64").where(p != 2, 256), {}, r"unknown labels 256 \(\d+ px\)"),
        "no percentages": (lambda p: p / 2, {"threshold": 0.5}, r"3 values that are no probability, e\.g\. 127"),
        "infinite": (lambda p: p / 0.0, {"threshold": 0.5}, r"values that are no probability, e\.g\. inf"),
    }


@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize("flaw", _flaws())
def test_what_does_not_fit_is_refused_before_a_pixel_is_read(
    flaw: str, opened: xr.Dataset, labels: xr.DataArray
) -> None:
    spoil, options, message = _flaws()[flaw]
    with np.errstate(divide="ignore", invalid="ignore"):
        spoilt = spoil(labels)
    with pytest.raises(PredictionError, match=message):
        opened.clouds.confusion(spoilt, **options)


@pytest.mark.usefixtures("no_compute")
def test_several_problems_are_one_error(opened: xr.Dataset, labels: xr.DataArray) -> None:
    spoilt = xr.concat([labels[2:], labels[3:4]], "scene")[:, :60, :63].astype("float64")
    with pytest.raises(PredictionError, match="the prediction does not fit the catalogue") as caught:
        opened.clouds.confusion(spoilt)
    scenes = opened.scene.values
    assert caught.value.problems == (
        "y has 60 pixels; the catalogue has 64",
        "x has 63 pixels; the catalogue has 64",
        "float64 values are probabilities and need a threshold, e.g. 0.5; labels must be whole numbers (uint8)",
        f"scene {scenes[3]} is there 2 times",
        f"scene {scenes[0]} is missing",
        f"scene {scenes[1]} is missing",
    )
    assert all(f"\n  - {problem}" in str(caught.value) for problem in caught.value.problems)


@pytest.mark.usefixtures("no_compute")
def test_unknown_labels_of_several_scenes_are_one_error_with_a_line_each(
    opened: xr.Dataset, labels: xr.DataArray
) -> None:
    spoilt = labels.copy()
    spoilt[2, 0, :4] = 9
    spoilt[5, 0, 0], spoilt[5, 0, 1] = 9, 11
    with pytest.raises(PredictionError, match=r"class map 'catalogue' knows 0, 1, 2, 255; choose the one that") as e:
        opened.clouds.confusion(spoilt)
    scenes = opened.scene.values
    assert e.value.problems == (
        f"{scenes[2]} has unknown labels 9 (4 px)",
        f"{scenes[5]} has unknown labels 9 (1 px), 11 (1 px)",
    )


@pytest.mark.usefixtures("no_compute")
def test_a_long_list_of_problems_is_cut_but_kept(opened: xr.Dataset, labels: xr.DataArray) -> None:
    foreign = labels.assign_coords(scene=[FOREIGN.replace("R001", f"R{i:03}") for i in range(10)]).astype(float)
    with pytest.raises(PredictionError, match=r"\n  - and 1 more$") as caught:
        opened.clouds.confusion(foreign)
    assert len(caught.value.problems) == 11


@pytest.mark.parametrize(("value", "options"), [(9, {}), (-1, {}), (300, {}), (1.5, {"threshold": 0.5})])
def test_values_of_a_lazy_array_that_mean_nothing_are_told_when_it_is_computed(
    value: float, options: dict, opened: xr.Dataset, labels: xr.DataArray
) -> None:
    spoilt = (labels == 1).astype("float32" if options else "int16")
    spoilt[4, 0, 0] = value
    lazy = opened.clouds.confusion(spoilt.chunk(scene=2), **options)
    with pytest.raises(PredictionError, match=rf"for {opened.scene.values[4]} has .*{value}"):
        lazy.compute()
    with pytest.raises(PredictionError, match=rf"for {opened.scene.values[4]} has .*{value}"):
        opened.clouds.evaluate(lazy)


def test_unknown_labels_of_scenes_that_are_not_asked_for_do_not_matter(
    opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset
) -> None:
    spoilt = labels.copy()
    spoilt[0] = 9
    part = opened.isel(scene=slice(1, None))
    xr.testing.assert_identical(part.clouds.confusion(spoilt).compute(), counts[{"scene": slice(1, None)}])


@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_map": "sen3cor"}, r"no class map 'sen3cor'.*sen2cor"),
        ({"class_map": {0: 0, 1: 3}}, r"class map \{1: 3\} is not of label 0\.\.255 to class"),
        ({"class_map": {256: 0}}, r"class map \{256: 0\} is not of label"),
        ({"class_map": "binary", "threshold": 0.5}, "leave out the class map"),
        ({"boundary_buffer": -1}, "boundary_buffer -1 is no number of pixels from 0 on"),
        ({"boundary_buffer": 1.5}, "boundary_buffer 1.5 is no number"),
        ({"boundary_buffer": True}, "boundary_buffer True is no number"),
        ({"truth": "C"}, "annotator 'C' is none of 'primary', 'other', 'A', 'B'"),
    ],
    ids=str,
)
def test_options_that_do_not_exist_are_refused(
    options: dict, message: str, opened: xr.Dataset, labels: xr.DataArray
) -> None:
    prediction = labels / 255.0 if "threshold" in options else labels
    with pytest.raises(QueryError, match=message):
        opened.clouds.confusion(prediction, **options)


@pytest.mark.parametrize("name", ["mask", "shadows_marked", "group"])
def test_a_catalogue_without_what_is_needed_says_so(name: str, opened: xr.Dataset, labels: xr.DataArray) -> None:
    with pytest.raises(CatalogueError, match=f"no '{name}', which is needed here"):
        opened.drop_vars(name).clouds.confusion(labels)


def test_only_the_scenes_that_are_asked_for_are_predicted(
    opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset
) -> None:
    def predict(block_info: Any) -> np.ndarray:
        start, _ = block_info[None]["array-location"][0]
        assert start == 3, "another scene was predicted"
        return labels.values[start : start + 1]

    lazy = dask.array.map_blocks(predict, chunks=((1,) * 10, (SIZE,), (SIZE,)), dtype="uint8", meta=np.empty((0, 0, 0)))
    found = opened.isel(scene=[3]).clouds.confusion(labels.copy(data=lazy)).compute()
    xr.testing.assert_identical(found, counts.isel(scene=[3]))
