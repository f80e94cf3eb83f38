"""Intervals by resampling groups of scenes, against numpy."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from s2cmc.errors import QueryError
from s2cmc.evaluation import intervals
from s2cmc.evaluation.intervals import Resampling

# Quantiles of replicates


@given(
    npst.arrays(
        "float64",
        npst.array_shapes(min_dims=1, max_dims=3, max_side=7),
        elements=st.floats(-1, 1) | st.sampled_from([0.0, 0.5, 1.0]),
    ),
    st.floats(0.01, 0.99),
)
@settings(max_examples=40, deadline=None)
def test_an_interval_is_made_of_numpys_quantiles(replicates: np.ndarray, confidence: float) -> None:
    lower, upper = intervals.interval(replicates, confidence)
    tail = (1 - confidence) / 2
    np.testing.assert_allclose(lower, np.quantile(replicates, tail, axis=0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(upper, np.quantile(replicates, 1 - tail, axis=0), rtol=1e-12, atol=1e-15)


@given(
    npst.arrays(
        "float64",
        npst.array_shapes(min_dims=1, max_dims=3, max_side=7),
        elements=st.floats(0, 1) | st.just(np.nan),
    ),
    st.floats(0.01, 0.99),
)
@settings(max_examples=40, deadline=None)
def test_undefined_replicates_are_left_out(replicates: np.ndarray, confidence: float) -> None:
    ends = intervals.interval(replicates, confidence)
    tail = (1 - confidence) / 2
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # numpy's, of all-NaN slices
        expected = np.nanquantile(replicates, [tail, 1 - tail], axis=0)
    np.testing.assert_allclose(np.stack(ends), expected, rtol=1e-12, atol=1e-15)


def test_an_interval_by_hand() -> None:
    # Of 0, 1, ..., 40 the middle 95 % runs from rank 1 to rank 39.
    assert intervals.interval(np.arange(41.0)[::-1], 0.95) == (pytest.approx(1), pytest.approx(39))
    assert intervals.interval(np.array([np.nan, 0.25, np.nan]), 0.95) == (0.25, 0.25)
    assert np.isnan(intervals.interval(np.array([np.nan, np.nan]), 0.95)).all()


# Draws of groups


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_every_resample_has_as_many_groups_as_there_are(groups: int, resamples: int, seed: int) -> None:
    found = intervals.draw(groups, resamples, seed)
    assert found.shape == (resamples, groups)
    assert (found >= 0).all()
    assert set(found.sum(axis=1).tolist()) == {groups}
    np.testing.assert_array_equal(found, np.rint(found))


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    np.testing.assert_array_equal(intervals.draw(20, 50, 7), intervals.draw(20, 50, 7))
    assert (intervals.draw(20, 50, 7) != intervals.draw(20, 50, 8)).any()


def test_all_groups_are_drawn_alike() -> None:
    # Each of 5 groups is drawn once in the mean, with variance 4 / 5 (binomial); 20,000 resamples tell this well.
    found = intervals.draw(5, 20_000, 0)
    np.testing.assert_allclose(found.mean(axis=0), 1, atol=4 * (0.8 / 20_000) ** 0.5)
    np.testing.assert_allclose(found.var(axis=0), 0.8, atol=0.05)


@given(npst.arrays("int64", st.tuples(st.integers(1, 8), st.just(2), st.just(3)), elements=st.integers(0, 99)))
@settings(max_examples=25, deadline=None)
def test_sums_of_groups_are_those_of_their_scenes(values: np.ndarray) -> None:
    groups = np.array([40, 7, 7, 12, 40, -1, 12, 7])[: len(values)]
    expected = [values[groups == number].sum(axis=0) for number in sorted(set(groups.tolist()))]
    np.testing.assert_array_equal(intervals.group_sums(values, groups), expected)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"resamples": 0}, "resamples 0 is no whole number from 1 on"),
        ({"resamples": -5}, "resamples -5 is no whole number from 1 on"),
        ({"confidence": 0}, "confidence 0 is not between 0 and 1"),
        ({"confidence": 1}, "confidence 1 is not between 0 and 1"),
        ({"confidence": 95}, "confidence 95 is not between 0 and 1, e.g. 0.95"),
        ({"confidence": float("nan")}, "confidence nan is not between 0 and 1"),
    ],
)
def test_what_makes_no_interval_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(QueryError, match=problem):
        Resampling(**options)
