"""Scores of predictions by stratum: against scikit-learn, by hand, and whatever way the counts were made."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
)

from s2cmc.errors import QueryError

CLASSES = ["clear", "cloud", "cloud_shadow"]
SCORES = ["precision", "recall", "f1", "iou", "balanced_accuracy"]
OVERALL = ["cloud_accuracy", "cloud_kappa", "three_class_accuracy", "three_class_kappa"]
QUESTIONS = ["surface_type", "cirrus", "difficulty", "season", "latitude_band", "split"]


@pytest.fixture(scope="module")
def result(opened: xr.Dataset, counts: xr.Dataset) -> xr.Dataset:
    """Scores of `labels` by many strata."""
    return opened.clouds.evaluate(counts, QUESTIONS, resamples=200)


def _of_class(truth: np.ndarray, predicted: np.ndarray) -> list[float]:
    """`SCORES` of one class against the rest, of booleans, by scikit-learn; NaN where the truth has no pixel of it."""
    if not truth.any():
        return [np.nan] * len(SCORES)
    by_name = (precision_score, recall_score, f1_score)
    found = [score(truth, predicted, zero_division=np.nan) for score in by_name]
    balanced = np.nan if truth.all() else balanced_accuracy_score(truth, predicted)
    return [*found, jaccard_score(truth, predicted), balanced]


def _overall(truth: np.ndarray, predicted: np.ndarray) -> list[float]:
    """Accuracy and kappa by scikit-learn, NaN of nothing, and kappa where there is but one class."""
    several = len(np.unique([truth, predicted])) > 1
    return [
        accuracy_score(truth, predicted) if truth.size else np.nan,
        cohen_kappa_score(truth, predicted) if several else np.nan,
    ]


def _expected(truth: np.ndarray, predicted: np.ndarray, marked: np.ndarray) -> dict[str, list]:
    """Scores of masks (scene, y, x) of some scenes, cloud over all of them and the others where shadows are marked."""
    used = (truth <= 2) & (predicted <= 2)
    all_true, all_predicted = truth[used], predicted[used]
    used &= marked[:, None, None]
    true, found = truth[used], predicted[used]
    by_class = [
        _of_class(true == 0, found == 0),
        _of_class(all_true == 1, all_predicted == 1),
        _of_class(true == 2, found == 2),
    ]
    expected: dict[str, list] = dict(zip(SCORES, np.transpose(by_class).tolist(), strict=True))
    return expected | {"cloud": _overall(all_true == 1, all_predicted == 1), "three_class": _overall(true, found)}


def _members(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Some strata of each question, by hand."""
    surface = [name for name in ds.coords if ds[name].attrs.get("tag_group") == "surface_type"]
    southern = ds.lat_min.values < 0
    month = ds.time.dt.month.values
    return {
        "all": np.ones(10, bool),
        "coastal": ds.coastal.values,
        "no surface_type": ~np.any([ds[name].values for name in surface], axis=0),
        "cirrus": ds.cirrus.values,
        "not cirrus": ~ds.cirrus.values,
        "difficulty=1": ds.difficulty.values == 1,
        "difficulty=5": ds.difficulty.values == 5,
        "season=summer": np.where(southern, np.isin(month, (12, 1, 2)), np.isin(month, (6, 7, 8))),
        "season=autumn": np.where(southern, np.isin(month, (3, 4, 5)), np.isin(month, (9, 10, 11))),
        "latitude_band=30S-0": southern & (ds.lat_min.values > -30),
        "latitude_band=90S-60S": np.zeros(10, bool),
        "split=test": ds.dataset.values != "MAIN",
    }


def test_scores_are_those_of_scikit_learn(opened: xr.Dataset, labels: xr.DataArray, result: xr.Dataset) -> None:
    for name, member in _members(opened).items():
        expected = _expected(opened.mask.values[member], labels.values[member], opened.shadows_marked.values[member])
        row = result.sel(stratum=name)
        for score in SCORES:
            np.testing.assert_allclose(row[score], expected[score], rtol=1e-12, err_msg=f"{score} of {name}")
        for problem in ("cloud", "three_class"):
            found = [row[f"{problem}_accuracy"], row[f"{problem}_kappa"]]
            np.testing.assert_allclose(found, expected[problem], rtol=1e-12, err_msg=f"{problem} of {name}")


def test_scores_of_cloud_against_the_rest_are_those_of_scikit_learn(opened: xr.Dataset, labels: xr.DataArray) -> None:
    found = opened.clouds.evaluate(labels == 1, "difficulty", resamples=50)
    assert found.mask_class.values.tolist() == ["non_cloud", "cloud"]
    assert not [name for name in found if "three_class" in name or "shadow" in name]
    for difficulty in (1, 2, 3, 4, 5):
        member = opened.difficulty.values == difficulty
        truth, predicted = opened.mask.values[member], labels.values[member] == 1
        used = truth <= 2
        truth, predicted = truth[used] == 1, predicted[used]
        row = found.sel(stratum=f"difficulty={difficulty}")
        by_class = np.transpose([_of_class(~truth, ~predicted), _of_class(truth, predicted)])
        np.testing.assert_allclose([row[score] for score in SCORES], by_class, rtol=1e-12)
        np.testing.assert_allclose([row.cloud_accuracy, row.cloud_kappa], _overall(truth, predicted), rtol=1e-12)


def test_counts_say_what_a_class_is_scored_on(opened: xr.Dataset, labels: xr.DataArray, result: xr.Dataset) -> None:
    marked = opened.shadows_marked.values
    for name, member in _members(opened).items():
        row = result.sel(stratum=name)
        for mask_class, scored in {"clear": member & marked, "cloud": member, "cloud_shadow": member & marked}.items():
            of_class = row.sel(mask_class=mask_class)
            assert of_class.scenes == scored.sum()
            assert of_class.groups == len(np.unique(opened.group.values[scored]))
            truth, predicted = opened.mask.values[scored], labels.values[scored]
            used = (truth <= 2) & (predicted <= 2)
            number = CLASSES.index(mask_class)
            truth, predicted = truth[used] == number, predicted[used] == number
            expected = [(truth & predicted), (~truth & predicted), (truth & ~predicted), (~truth & ~predicted)]
            assert [int(of_class[n]) for n in ("tp", "fp", "fn", "tn")] == [int(pixels.sum()) for pixels in expected]


def test_ignored_pixels_are_counted_by_stratum(opened: xr.Dataset, labels: xr.DataArray, result: xr.Dataset) -> None:
    unlabelled = (opened.mask.values == 255).sum((1, 2))
    unpredicted = ((opened.mask.values != 255) & (labels.values == 255)).sum((1, 2))
    used = 64 * 64 - unlabelled - unpredicted
    unmarked = np.where(opened.shadows_marked.values, 0, used)
    assert unmarked.any()
    for name, member in _members(opened).items():
        row = result.sel(stratum=name)
        found = [int(row[f"ignored_{reason}"]) for reason in ("truth", "prediction", "boundary", "shadow")]
        assert found == [unlabelled[member].sum(), unpredicted[member].sum(), 0, unmarked[member].sum()]


def test_an_empty_stratum_has_counts_of_0_and_no_scores(result: xr.Dataset) -> None:
    empty = result.sel(stratum="latitude_band=90S-60S")
    whole = [name for name, variable in empty.data_vars.items() if variable.dtype.kind == "i"]
    assert set(whole) >= {"scenes", "groups", "tp", "fp", "fn", "tn", "ignored_truth", "doubly_annotated"}
    assert all((empty[name] == 0).all() for name in whole)
    assert all(empty[name].isnull().all() for name in empty.data_vars if name not in whole)


def test_a_result_has_a_row_for_each_stratum_and_class(result: xr.Dataset) -> None:
    assert all(set(variable.dims) <= {"stratum", "mask_class"} for variable in result.variables.values())
    assert result.stratum.values[0] == "all"
    assert list(pd.unique(result.by.values)) == ["all", *QUESTIONS]
    frame = result.to_dataframe()
    assert frame.index.is_unique
    assert len(frame) == result.sizes["stratum"] * 3
    assert frame.loc[("all", "cloud"), "f1"] == result.f1.sel(stratum="all", mask_class="cloud")


def test_everything_in_a_result_is_described(result: xr.Dataset) -> None:
    described = [name for name, variable in result.data_vars.items() if {"long_name", "units"} <= set(variable.attrs)]
    assert sorted(described) == sorted(result.data_vars)


def test_a_result_records_its_options(opened: xr.Dataset, labels: xr.DataArray) -> None:
    options = {"boundary_buffer": 1, "merge_shadow": True, "truth": "A", "resamples": 20, "confidence": 0.9, "seed": 3}
    found = opened.clouds.evaluate(labels, **options).attrs
    assert {name: found[name] for name in options} == options
    assert found["class_map"] == "catalogue"
    probabilities = opened.clouds.evaluate((labels == 1) / 2, threshold=0.25, resamples=20).attrs
    assert {name: probabilities[name] for name in ("threshold", "class_map", "merge_shadow")} == {
        "threshold": 0.25,
        "class_map": "binary",
        "merge_shadow": True,
    }


def test_intervals_hold_their_values(result: xr.Dataset) -> None:
    for name in [*SCORES, *OVERALL]:
        value, lower, upper = result[name], result[f"{name}_lower"], result[f"{name}_upper"]
        assert (value.isnull() | lower.isnull() | ((lower <= value + 1e-12) & (value <= upper + 1e-12))).all(), name
        np.testing.assert_array_equal(lower.isnull(), upper.isnull())
        if "mask_class" in value.dims:
            assert lower.where(result.groups < 5).isnull().all()
            assert lower.sel(stratum="all").notnull().any()
    assert (result.f1_upper - result.f1_lower).sel(stratum="all", mask_class="cloud") > 0.05


def test_the_seed_decides_the_intervals(opened: xr.Dataset, counts: xr.Dataset) -> None:
    first, again, other, wide = (
        opened.clouds.evaluate(counts, resamples=50, seed=seed, confidence=confidence)
        for seed, confidence in ((1, 0.8), (1, 0.8), (2, 0.8), (1, 0.99))
    )
    xr.testing.assert_identical(first, again)
    assert (first.f1_lower != other.f1_lower).any()
    assert ((wide.f1_lower <= first.f1_lower) & (first.f1_upper <= wide.f1_upper)).all()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"resamples": 0}, "resamples 0 is no whole number from 1 on"),
        ({"confidence": 95}, "confidence 95 is not between 0 and 1"),
        ({"by": "snow"}, "no question 'snow' to ask by"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_compute")
def test_what_cannot_be_asked_is_refused_before_a_pixel_is_read(
    option: dict, message: str, opened: xr.Dataset, labels: xr.DataArray
) -> None:
    lazy = opened.clouds.confusion(labels)
    for ask in (opened.clouds.evaluate, lambda one, **options: opened.clouds.compare(one, one, **options)):
        with pytest.raises(QueryError, match=message):
            ask(lazy, **option)


def test_scores_are_pooled_over_pixels(opened: xr.Dataset) -> None:
    # One scene is cloud all over and all of it is found; of the 709 cloudy pixels of the other none is.
    two = opened.isel(scene=[5, 4])
    found_one = xr.zeros_like(two.mask.compute())
    found_one[0] = 1
    found = two.clouds.evaluate(found_one, "scene", resamples=20).sel(mask_class="cloud")
    assert found.recall.values.tolist() == [4096 / (4096 + 709), 1, 0]
    assert found.recall[1:].mean() == 0.5


def test_a_scene_by_itself_has_no_score_of_what_it_does_not_hold(opened: xr.Dataset, counts: xr.Dataset) -> None:
    found = opened.clouds.evaluate(counts, "scene", resamples=20)
    assert found.stratum.values.tolist() == ["all", *opened.scene.values]
    held = opened.clouds.class_counts().values > 0
    held[:, [0, 2]] &= opened.shadows_marked.values[:, np.newaxis]
    np.testing.assert_array_equal(found.recall.notnull()[1:], held)
    assert held.any(axis=0).all()
    assert not held.all(axis=0).any()


def test_a_list_of_questions_may_hold_labels(opened: xr.Dataset, counts: xr.Dataset) -> None:
    half = xr.DataArray(np.repeat(["first", "second"], 5), dims="scene", name="half")
    found = opened.clouds.evaluate(counts, ["cirrus", half], resamples=20)
    assert found.stratum.values.tolist() == ["all", "cirrus", "not cirrus", "half=first", "half=second"]
    first = opened.isel(scene=slice(5)).clouds.evaluate(counts, resamples=20)
    of_half, of_part = found.sel(stratum="half=first"), first.sel(stratum="all")
    xr.testing.assert_equal(of_half.drop_vars(["stratum", "by"]), of_part.drop_vars(["stratum", "by"]))


def _scl(mask: xr.DataArray) -> xr.DataArray:
    """A scene classification as Sen2Cor gives it: each class by any of its labels."""
    rng = np.random.default_rng(0)
    by_class = [rng.choice(choice, mask.shape) for choice in ([2, 4, 5, 6, 7, 11], [8, 9, 10], [3])]
    return mask.copy(data=np.select([mask == i for i in range(3)], by_class, rng.choice([0, 1], mask.shape)))


@pytest.mark.parametrize(
    ("class_map", "to_labels"),
    [
        ("sen2cor", _scl),
        ("fmask", lambda m: xr.where(m == 1, 4, m).astype("uint8")),
        ("cloudsen12", lambda m: xr.where(m == 2, 3, xr.where(m == 1, 1 + m.x % 40 // 20, m)).astype("uint8")),
        ({10: 0, 20: 1, 30: 2, 0: None}, lambda m: xr.where(m == 255, 0, m.astype("int32") * 10 + 10)),
    ],
    ids=["sen2cor", "fmask", "cloudsen12", "given"],
)
def test_a_perfect_prediction_in_other_labels_has_perfect_scores(
    class_map: str | dict, to_labels: Callable, opened: xr.Dataset
) -> None:
    labels = to_labels(opened.mask.compute()).transpose("scene", "y", "x")
    found = opened.clouds.evaluate(labels, class_map=class_map, resamples=20)
    np.testing.assert_array_equal([found[score].values.ravel() for score in SCORES], np.ones((5, 3)))
    assert [float(found[name].item()) for name in OVERALL] == [1, 1, 1, 1]
    assert found.attrs["class_map"] == ("given" if isinstance(class_map, dict) else class_map)
