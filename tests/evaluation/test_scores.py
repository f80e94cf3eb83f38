"""Scores of confusion tables, against scikit-learn on the pixels that the tables were counted from."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics
from sklearn.exceptions import UndefinedMetricWarning

from s2cmc.evaluation.scores import (
    CLASS_SCORES,
    OVERALL_SCORES,
    Absent,
    class_scores,
    one_against_rest,
    overall_scores,
    ratio,
    to_binary,
)

NAN = np.nan


def _table(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Table (truth, predicted), counted pixel by pixel."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (truth.ravel(), prediction.ravel()), 1)
    return table


def _scores(table: object, absent: Absent = "truth") -> dict[str, np.ndarray]:
    return class_scores(one_against_rest(np.array(table)), absent)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Truth and prediction of two or three classes, some of which may be absent in either; and how many classes."""
    classes = draw(st.integers(2, 3))
    shape = draw(npst.array_shapes(min_dims=2, max_dims=2, max_side=6))

    def mask() -> np.ndarray:
        there = draw(st.lists(st.integers(0, classes - 1), min_size=1, unique=True))
        return draw(npst.arrays("uint8", shape, elements=st.sampled_from(there)))

    return mask(), mask(), classes


tables = npst.arrays(
    "int64", st.sampled_from([(2, 2), (3, 3)]), elements=st.integers(0, 3) | st.integers(0, 1022**2 * 513)
)


# By hand


def test_a_mask_of_six_pixels() -> None:
    truth = np.array([[1, 1, 1], [0, 0, 0]])
    prediction = np.array([[1, 1, 0], [1, 0, 0]])
    table = _table(truth, prediction, 2)
    assert table.tolist() == [[2, 1], [1, 2]]
    found = _scores(table)
    # Of both classes: 2 hits, 1 false alarm, 1 miss, 2 rightly something else.
    assert found["precision"].tolist() == found["recall"].tolist() == found["f1"].tolist() == [2 / 3] * 2
    assert found["iou"].tolist() == [1 / 2] * 2
    assert found["balanced_accuracy"].tolist() == [2 / 3] * 2
    overall = overall_scores(table)
    assert overall["accuracy"] == 4 / 6
    # Half of each side is cloud, so that chance agrees on half of the pixels.
    assert overall["kappa"] == pytest.approx((4 / 6 - 1 / 2) / (1 - 1 / 2))


def test_a_table_of_three_classes() -> None:
    table = [[5, 1, 0], [2, 6, 2], [1, 0, 3]]
    counts = one_against_rest(np.array(table))
    assert {name: values.tolist() for name, values in counts.items()} == {
        "tp": [5, 6, 3],
        "fp": [3, 1, 2],
        "fn": [1, 4, 1],
        "tn": [11, 9, 14],
    }
    found = _scores(table)
    np.testing.assert_allclose(found["precision"], [5 / 8, 6 / 7, 3 / 5])
    np.testing.assert_allclose(found["recall"], [5 / 6, 6 / 10, 3 / 4])
    np.testing.assert_allclose(found["f1"], [10 / 14, 12 / 17, 6 / 9])
    np.testing.assert_allclose(found["iou"], [5 / 9, 6 / 11, 3 / 6])
    specificity = np.array([11 / 14, 9 / 10, 14 / 16])
    np.testing.assert_allclose(found["balanced_accuracy"], (np.array([5 / 6, 6 / 10, 3 / 4]) + specificity) / 2)
    overall = overall_scores(np.array(table))
    chance = (6 * 8 + 10 * 7 + 4 * 5) / 20**2
    assert overall["accuracy"] == 14 / 20
    assert overall["kappa"] == pytest.approx((14 / 20 - chance) / (1 - chance))


def test_a_class_that_nobody_predicts() -> None:
    found = _scores([[4, 0], [6, 0]])
    assert (found["recall"][1], found["f1"][1], found["iou"][1]) == (0, 0, 0)
    assert found["balanced_accuracy"][1] == 1 / 2  # nothing else is taken for it
    assert np.isnan(found["precision"][1])  # of nothing, no share is right


@pytest.mark.parametrize("absent", ["truth", "both"])
def test_a_class_on_neither_side_has_no_score(absent: Absent) -> None:
    found = _scores([[4, 1, 0], [2, 3, 0], [0, 0, 0]], absent)
    assert all(np.isnan(found[name][2]) for name in CLASS_SCORES)
    assert not any(np.isnan(found[name][:2]).any() for name in CLASS_SCORES)


def test_a_class_that_is_only_predicted() -> None:
    table = [[4, 0, 2], [0, 3, 0], [0, 0, 0]]
    # Against a truth without it, it has no score.
    assert all(np.isnan(_scores(table)[name][2]) for name in CLASS_SCORES)
    # Of two annotators, neither of whom is the truth, one saw it: they share nothing of it.
    found = {name: values[2] for name, values in _scores(table, "both").items()}
    assert (found["precision"], found["f1"], found["iou"]) == (0, 0, 0)
    # What asks for pixels of the truth has none either way.
    assert np.isnan([found["recall"], found["balanced_accuracy"]]).all()


def test_a_scene_all_of_one_class() -> None:
    found = _scores([[0, 0], [0, 9]])
    for name in ("precision", "recall", "f1", "iou"):
        np.testing.assert_array_equal(found[name], [NAN, 1])
    # No other pixel could have been taken for it, so that there is no specificity.
    np.testing.assert_array_equal(found["balanced_accuracy"], [NAN, NAN])
    overall = overall_scores(np.array([[0, 0], [0, 9]]))
    assert overall["accuracy"] == 1
    assert np.isnan(overall["kappa"])  # chance would agree as well


def test_no_better_than_chance_is_kappa_0_and_always_wrong_is_below() -> None:
    assert overall_scores(np.array([[2, 4], [3, 6]]))["kappa"] == pytest.approx(0)
    assert overall_scores(np.array([[0, 5], [5, 0]]))["kappa"] == -1


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("absent", ["truth", "both"])
def test_a_table_of_nothing_has_no_score(classes: int, absent: Absent) -> None:
    nothing = np.zeros((4, classes, classes), np.int64)
    found = class_scores(one_against_rest(nothing), absent)
    assert set(found) == set(CLASS_SCORES)
    assert all(values.shape == (4, classes) and np.isnan(values).all() for values in found.values())
    overall = overall_scores(nothing)
    assert set(overall) == set(OVERALL_SCORES)
    assert all(values.shape == (4,) and np.isnan(values).all() for values in overall.values())


def test_a_share_of_nothing_is_not_a_number() -> None:
    np.testing.assert_array_equal(ratio(np.array([1, 0, 0]), np.array([2, 3, 0])), [0.5, 0, NAN])
    assert np.isnan(ratio(np.array(0), np.array(0)))


# Against scikit-learn


@given(pairs())
@settings(max_examples=40, deadline=None)
def test_scores_of_classes_are_those_of_scikit_learn(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, prediction, classes = pair
    pixels = {"y_true": truth.ravel(), "y_pred": prediction.ravel(), "labels": list(range(classes)), "average": None}
    expected = {
        "precision": metrics.precision_score(**pixels, zero_division=NAN),
        "recall": metrics.recall_score(**pixels, zero_division=NAN),
        "f1": metrics.f1_score(**pixels, zero_division=NAN),
        "iou": metrics.jaccard_score(**pixels, zero_division=0),  # has no NaN to give
    }
    in_truth = np.bincount(truth.ravel(), minlength=classes) > 0
    in_either = in_truth | (np.bincount(prediction.ravel(), minlength=classes) > 0)
    for absent, there in (("truth", in_truth), ("both", in_either)):
        found = _scores(_table(truth, prediction, classes), absent)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], np.where(there, values, NAN), rtol=1e-12, err_msg=name)


@given(pairs())
@settings(max_examples=40, deadline=None)
def test_balanced_accuracy_is_that_of_one_class_against_the_rest(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, prediction, classes = pair
    found = _scores(_table(truth, prediction, classes))["balanced_accuracy"]
    for number in range(classes):
        true, predicted = truth.ravel() == number, prediction.ravel() == number
        if true.any() and not true.all():
            assert found[number] == pytest.approx(metrics.balanced_accuracy_score(true, predicted), rel=1e-12)
        else:  # scikit-learn leaves out a half that is undefined
            assert np.isnan(found[number])


@given(pairs())
@settings(max_examples=40, deadline=None)
def test_accuracy_and_kappa_are_those_of_scikit_learn(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, prediction, classes = pair
    found = overall_scores(_table(truth, prediction, classes))
    pixels = truth.ravel(), prediction.ravel()
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(*pixels), rel=1e-12)
    with warnings.catch_warnings(action="ignore", category=UndefinedMetricWarning):
        kappa = metrics.cohen_kappa_score(*pixels, labels=list(range(classes)))
    assert found["kappa"] == pytest.approx(kappa, rel=1e-9, abs=1e-12, nan_ok=True)


# What must always hold


@given(tables)
@settings(max_examples=40, deadline=None)
def test_scores_are_shares(table: np.ndarray) -> None:
    for values in _scores(table).values():
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    overall = overall_scores(table)
    assert 0 <= overall["accuracy"] <= 1 or table.sum() == 0
    assert not overall["kappa"] > 1 + 1e-12


@given(tables)
@settings(max_examples=40, deadline=None)
def test_who_is_the_truth_matters_only_to_precision_and_recall(table: np.ndarray) -> None:
    one, other = _scores(table, "both"), _scores(table.T, "both")
    for name in ("f1", "iou"):
        np.testing.assert_array_equal(one[name], other[name])
    for name in OVERALL_SCORES:
        np.testing.assert_allclose(overall_scores(table)[name], overall_scores(table.T)[name], rtol=1e-12)
    both = (table.sum(axis=0) > 0) & (table.sum(axis=1) > 0)
    np.testing.assert_array_equal(one["precision"][both], other["recall"][both])


@given(tables)
@settings(max_examples=40, deadline=None)
def test_counts_of_a_class_are_all_pixels(table: np.ndarray) -> None:
    counts = one_against_rest(table)
    assert set(sum(counts.values()).tolist()) == {table.sum()}
    assert all(values.dtype == np.int64 for values in counts.values())


@given(npst.arrays("int64", st.sampled_from([(4, 3, 3), (2, 5, 2, 2)]), elements=st.integers(0, 50)))
@settings(max_examples=25, deadline=None)
def test_many_tables_are_scored_as_each(many: np.ndarray) -> None:
    together, overall = class_scores(one_against_rest(many)), overall_scores(many)
    for i in np.ndindex(many.shape[:-2]):
        for name, values in _scores(many[i]).items():
            np.testing.assert_array_equal(together[name][i], values)
        for name, value in overall_scores(many[i]).items():
            np.testing.assert_array_equal(overall[name][i], value)


# Cloud against the rest


def test_clear_and_shadow_are_merged_by_hand() -> None:
    table = np.array([[5, 1, 7], [2, 6, 3], [1, 4, 8]])
    # 5 + 7 + 1 + 8 neither clouds, 1 + 4 false clouds, 2 + 3 missed clouds, 6 clouds
    assert to_binary(table).tolist() == [[21, 5], [5, 6]]


@given(npst.arrays("uint8", (2, 4, 5), elements=st.integers(0, 2)))
@settings(max_examples=25, deadline=None)
def test_a_merged_table_is_that_of_merged_masks(masks: np.ndarray) -> None:
    truth, prediction = masks
    expected = _table((truth == 1).astype(int), (prediction == 1).astype(int), 2)
    np.testing.assert_array_equal(to_binary(_table(truth, prediction, 3)), expected)
    np.testing.assert_array_equal(to_binary(expected), expected)
    np.testing.assert_array_equal(to_binary(_table(truth, prediction, 3)[np.newaxis]), expected[np.newaxis])


def test_what_is_cloud_scores_the_same_merged_or_not() -> None:
    table = np.array([[5, 1, 7], [2, 6, 3], [1, 4, 8]])
    for name, values in _scores(table).items():
        assert _scores(to_binary(table))[name][1] == values[1]
