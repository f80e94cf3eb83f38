"""Scores of strata with their intervals, against the bootstrap of scipy."""

import time
import warnings

import numpy as np
import pytest
import xarray as xr
from helpers.score_tables import (
    CLASS_SCORES,
    CLEAR,
    CLOUD,
    SHADOW,
    THREE_CLASSES,
    cloud_tables,
    compare,
    ends,
    score,
    tables_of_scenes,
    three_class_tables,
    unlike_scenes,
    width,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from s2cmc.evaluation import intervals
from s2cmc.evaluation.intervals import Resampling, counts_of, scores_of

# Scores of strata


def test_the_scores_of_a_stratum_are_those_of_its_pooled_pixels() -> None:
    tables = tables_of_scenes([[[8, 0, 0], [0, 2, 0], [0, 0, 0]], [[0, 0, 0], [6, 2, 0], [0, 0, 2]]])
    found = score(tables, [1, 2], None, first=[0])
    assert found["recall"].dims == ("stratum", "mask_class")
    assert found["cloud_accuracy"].dims == ("stratum",)
    # 2 + 2 of 2 + 8 cloud pixels, not the mean of 100 % and 25 %.
    assert found["recall"].sel(stratum="all").values.tolist() == [1, 0.4, 1]
    assert found["cloud_accuracy"].sel(stratum="all") == 14 / 20
    np.testing.assert_array_equal(found["recall"].sel(stratum="first"), [1, 1, np.nan])
    assert found["by"].values.tolist() == ["all", "first"]


def test_every_score_has_an_interval_if_it_is_asked_for() -> None:
    tables = tables_of_scenes(unlike_scenes(6, 1))
    assert set(score(tables, range(6), None).data_vars) == set(THREE_CLASSES)
    found = score(tables, range(6))
    assert set(found.data_vars) == {name + end for name in THREE_CLASSES for end in ("", "_lower", "_upper")}
    for name in THREE_CLASSES:
        assert found[name].attrs["units"] == "1"
        assert found[name].attrs["long_name"] in found[f"{name}_lower"].attrs["long_name"]
        assert (found[f"{name}_lower"] <= found[f"{name}_upper"]).all()


def test_two_classes_have_no_scores_of_three() -> None:
    tables = tables_of_scenes([[[5, 1], [2, 4]], [[3, 0], [1, 9]]])
    found = score(tables, [1, 2])
    assert {name for name in found.data_vars if "three_class" in name} == set()
    assert found["recall"].isel(stratum=0).values.tolist() == [8 / 9, 13 / 16]
    assert found["cloud_accuracy"].item(0) == 21 / 25


@given(three_class_tables, st.data())
@settings(max_examples=25, deadline=None)
def test_intervals_are_quantiles_of_the_scores_of_drawn_groups(confusion: np.ndarray, data: st.DataObject) -> None:
    """Oracle: pile up the scenes of the drawn groups, as often as they were drawn, and score the pile."""
    scenes = len(confusion)
    confusion[:, CLEAR, CLEAR] += 1  # a scene without a pixel is not drawn from
    groups = np.array(data.draw(st.lists(st.integers(0, 3), min_size=scenes, max_size=scenes), label="groups"))
    found = score(tables_of_scenes(confusion), groups, Resampling(resamples=15, confidence=0.8, seed=3, least_groups=2))
    numbers = np.unique(groups)
    if len(numbers) < 2:
        assert all(np.isnan(found[f"{name}_lower"]).all() for name in THREE_CLASSES)
        return
    piles = []
    for times in intervals.draw(len(numbers), 15, 3).astype(int):
        drawn = [
            confusion[groups == number].sum(axis=0) for number, n in zip(numbers, times, strict=True) for _ in range(n)
        ]
        piles.append(scores_of(tables_of_scenes(drawn).sum(axis=0), "truth"))
    for name in THREE_CLASSES:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # numpy's, of all-NaN slices
            expected = np.nanquantile([pile[name] for pile in piles], [0.1, 0.9], axis=0)
        # Where the score itself is undefined, or over 5 % of what was drawn, so is its interval.
        undefined = np.isnan([pile[name] for pile in piles]).mean(axis=0) > 0.05
        expected = np.where(np.isnan(found[name][0]) | undefined, np.nan, expected)
        np.testing.assert_allclose(found[f"{name}_lower"][0], expected[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found[f"{name}_upper"][0], expected[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_bootstrap_is_that_of_scipy_where_each_scene_is_a_group(confidence: float) -> None:
    confusion = unlike_scenes(40, 5)
    found = score(tables_of_scenes(confusion), range(40), Resampling(resamples=4000, confidence=confidence))

    def statistics(drawn: np.ndarray, axis: int) -> np.ndarray:
        """F1 of shadow, precision of clear, accuracy of three classes; of scenes along `axis`."""
        pooled = confusion[np.moveaxis(drawn, axis, 0)].sum(axis=0)
        shadow = 2 * pooled[..., 2, 2] / (pooled[..., 2, :].sum(axis=-1) + pooled[..., :, 2].sum(axis=-1))
        clear = pooled[..., 0, 0] / pooled[..., :, 0].sum(axis=-1)
        return np.stack([shadow, clear, np.trace(pooled, axis1=-2, axis2=-1) / pooled.sum(axis=(-2, -1))])

    expected = stats.bootstrap(
        (np.arange(40),),
        statistics,
        n_resamples=4000,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(11),
    )
    for i, (name, where) in enumerate(
        [("f1", {"mask_class": SHADOW}), ("precision", {"mask_class": CLEAR}), ("three_class_accuracy", {})]
    ):
        # The quantile of 4,000 draws is known to about 0.04 standard deviations, of each of the two.
        tolerance = 0.2 * expected.standard_error[i]
        of_scipy = [expected.confidence_interval.low[i], expected.confidence_interval.high[i]]
        assert ends(found, name, **where) == pytest.approx(of_scipy, abs=tolerance)


def test_the_same_seed_gives_the_same_interval() -> None:
    tables = tables_of_scenes(unlike_scenes(12, 2))
    xr.testing.assert_identical(score(tables, range(12)), score(tables, range(12)))
    other = score(tables, range(12), Resampling(resamples=200, seed=1))
    assert ends(other, "cloud_accuracy") != ends(score(tables, range(12)), "cloud_accuracy")
    assert other["cloud_accuracy"].identical(score(tables, range(12))["cloud_accuracy"])


def test_the_interval_of_a_stratum_does_not_depend_on_the_other_strata() -> None:
    tables = tables_of_scenes(unlike_scenes(12, 2))
    beside = score(tables, range(12), half=list(range(6))).sel(stratum="half")
    alone = score(tables[:6], range(6)).sel(stratum="all")
    xr.testing.assert_equal(beside.drop_vars(["stratum", "by"]), alone.drop_vars(["stratum", "by"]))


def test_the_scenes_of_a_group_are_drawn_together() -> None:
    # Each group is one scene where every cloud was found and one where none was.
    tables = tables_of_scenes(cloud_tables([100, 0] * 10))
    together = score(tables, np.repeat(np.arange(10), 2))
    assert together["recall"].isel(stratum=0, mask_class=CLOUD) == 0.5
    assert ends(together, "recall", mask_class=CLOUD) == [0.5, 0.5]
    # Were they drawn apart, recall would vary by the toss of 20 coins.
    assert width(score(tables, np.arange(20)), "recall", mask_class=CLOUD) > 0.3


def test_dependent_scenes_tell_less_than_as_many_independent_ones() -> None:
    # Scenes of one group are alike: five groups of eight scenes are worth five scenes and not forty.
    tables = tables_of_scenes(cloud_tables(np.repeat([10, 30, 50, 70, 90], 8)))
    in_groups = width(score(tables, np.repeat(np.arange(5), 8)), "recall", mask_class=CLOUD)
    apart = width(score(tables, np.arange(40)), "recall", mask_class=CLOUD)
    assert in_groups > 2 * apart


def test_more_confidence_is_a_wider_interval() -> None:
    tables = tables_of_scenes(unlike_scenes(20, 3))
    widths = [
        width(score(tables, range(20), Resampling(resamples=500, confidence=confidence)), "cloud_accuracy")
        for confidence in (0.5, 0.8, 0.95)
    ]
    assert widths == sorted(widths)
    assert widths[0] > 0


def test_one_group_has_scores_but_no_intervals() -> None:
    found = score(tables_of_scenes(unlike_scenes(5, 4)), [3, 3, 3, 1, 1], one=[0, 1, 2], none=[])
    for name in THREE_CLASSES:
        assert found[name].sel(stratum="one").notnull().all()
        for end in ("lower", "upper"):
            assert found[f"{name}_{end}"].sel(stratum="all").notnull().all()
            assert found[f"{name}_{end}"].sel(stratum="one").isnull().all()


def test_a_group_without_a_counted_pixel_is_no_group() -> None:
    confusion = unlike_scenes(3, 4)
    confusion[2] = 0  # nothing but ignored pixels
    found = score(tables_of_scenes(confusion), [1, 1, 2])
    assert np.isnan(ends(found, "cloud_accuracy")).all()
    with_it = score(tables_of_scenes(confusion), [1, 2, 3])
    without = score(tables_of_scenes(confusion[:2]), [1, 2])
    xr.testing.assert_identical(with_it, without)


def test_an_empty_stratum_has_no_score() -> None:
    tables = tables_of_scenes(unlike_scenes(5, 4))
    for found in (score(tables, range(5), none=[]), compare(tables, tables, range(5), none=[])):
        for name, values in found.data_vars.items():
            assert values.sel(stratum="none").isnull().all(), name
            assert values.sel(stratum="all").notnull().all(), name


def test_no_scenes_have_no_score() -> None:
    found = score(tables_of_scenes(np.zeros((0, 3, 3))), [])
    assert all(values.isnull().all() for values in found.data_vars.values())


def test_scenes_all_of_one_class() -> None:
    found = score(tables_of_scenes([[[0, 0, 0], [0, 9, 0], [0, 0, 0]]] * 3), range(3))
    np.testing.assert_array_equal(found["f1"][0], [np.nan, 1, np.nan])
    np.testing.assert_array_equal(found["f1_lower"][0], [np.nan, 1, np.nan])
    assert ends(found, "three_class_accuracy") == [1, 1]
    assert np.isnan(ends(found, "cloud_kappa")).all()


def test_a_class_that_nobody_predicts() -> None:
    found = score(tables_of_scenes([[[5, 0, 0], [1, 0, 0], [0, 0, 3]]] * 3), range(3)).isel(stratum=0, mask_class=CLOUD)
    for end in ("", "_lower", "_upper"):
        assert [found[f"{name}{end}"].item() for name in ("recall", "f1", "iou")] == [0, 0, 0]
        assert np.isnan(found[f"precision{end}"])


def test_a_class_in_one_scene_alone_has_no_interval() -> None:
    # A third of the resamples lack the scene, and those that have it say nothing of another one.
    rare = [[[5, 0, 0], [0, 0, 0], [0, 1, 3]]] + [[[5, 0, 0], [0, 0, 0], [0, 0, 0]]] * 4
    found = score(tables_of_scenes(rare), range(5)).isel(stratum=0, mask_class=SHADOW)
    assert found["recall"] == 3 / 4
    assert np.isnan(found["recall_lower"]) & np.isnan(found["recall_upper"])


def test_a_few_groups_have_no_interval() -> None:
    tables = tables_of_scenes(unlike_scenes(5, 11))
    enough = score(tables, range(5), Resampling(resamples=50)).isel(stratum=0)
    few = score(tables[:4], range(4), Resampling(resamples=50)).isel(stratum=0)
    assert enough["cloud_accuracy_lower"] <= enough["cloud_accuracy"] <= enough["cloud_accuracy_upper"]
    assert few["cloud_accuracy"].notnull() & few["cloud_accuracy_lower"].isnull()


# Scenes whose shadows were not marked


def test_clear_and_shadow_are_scored_where_shadows_are_marked_and_cloud_everywhere() -> None:
    marked = [[4, 1, 0], [0, 6, 0], [1, 0, 2]]
    unmarked = [[7, 1, 2], [3, 9, 1], [0, 0, 0]]
    tables = tables_of_scenes([marked, unmarked], [True, False])
    assert (tables.shape, tables.dtype) == ((2, 2, 3, 3), np.int64)
    counts = {name: values.tolist() for name, values in counts_of(tables.sum(axis=0)).items()}
    # Clear and shadow: the first scene. Cloud: both, whether the rest is called clear or shadow.
    assert counts == {"tp": [4, 6 + 9, 2], "fp": [1, 1 + 1, 0], "fn": [1, 4, 1], "tn": [8, 7 + 9, 11]}
    found = scores_of(tables.sum(axis=0), "truth")
    np.testing.assert_allclose(found["recall"], [4 / 5, 15 / 19, 2 / 3])
    np.testing.assert_allclose(found["precision"], [4 / 5, 15 / 17, 1])
    assert found["cloud_accuracy"] == pytest.approx((15 + 7 + 9) / (14 + 23))
    assert found["three_class_accuracy"] == pytest.approx(12 / 14)


@given(three_class_tables, st.data())
@settings(max_examples=25, deadline=None)
def test_scenes_without_marked_shadows_count_for_cloud_alone(confusion: np.ndarray, data: st.DataObject) -> None:
    scenes = len(confusion)
    marked = np.array(data.draw(st.lists(st.booleans(), min_size=scenes, max_size=scenes), label="marked"))
    found, everywhere, only_marked = (
        scores_of(tables.sum(axis=0), "truth")
        for tables in (
            tables_of_scenes(confusion, marked),
            tables_of_scenes(confusion),
            tables_of_scenes(confusion[marked]),
        )
    )
    for name in CLASS_SCORES:
        assert np.array_equal(found[name][CLOUD], everywhere[name][CLOUD], equal_nan=True)
        np.testing.assert_array_equal(found[name][[CLEAR, SHADOW]], only_marked[name][[CLEAR, SHADOW]])
    for name in ("accuracy", "kappa"):
        np.testing.assert_array_equal(found[f"cloud_{name}"], everywhere[f"cloud_{name}"])
        np.testing.assert_array_equal(found[f"three_class_{name}"], only_marked[f"three_class_{name}"])


def test_intervals_too_come_from_the_scenes_with_marked_shadows() -> None:
    confusion, marked = unlike_scenes(12, 6), np.arange(12) < 7
    found = score(tables_of_scenes(confusion, marked), range(12)).isel(stratum=0)
    everywhere = score(tables_of_scenes(confusion), range(12)).isel(stratum=0)
    only_marked = score(tables_of_scenes(confusion[marked]), range(7)).isel(stratum=0)
    for end in ("", "_lower", "_upper"):
        for name in CLASS_SCORES:
            assert found[name + end][CLOUD] == everywhere[name + end][CLOUD]
            np.testing.assert_array_equal(found[name + end][[CLEAR, SHADOW]], only_marked[name + end][[CLEAR, SHADOW]])
        assert found[f"cloud_kappa{end}"] == everywhere[f"cloud_kappa{end}"]
        assert found[f"three_class_kappa{end}"] == only_marked[f"three_class_kappa{end}"]


def test_without_marked_shadows_there_is_cloud_alone() -> None:
    found = score(tables_of_scenes(unlike_scenes(4, 7), False), range(4)).isel(stratum=0)
    for end in ("", "_lower", "_upper"):
        assert found[f"f1{end}"].isnull().values.tolist() == [True, False, True]
        assert np.isnan(found[f"three_class_accuracy{end}"])
        assert not np.isnan(found[f"cloud_accuracy{end}"])


def test_two_classes_are_known_whether_shadows_are_marked_or_not() -> None:
    confusion = [[[5, 1], [2, 4]], [[3, 0], [1, 9]]]
    found, expected = (score(tables_of_scenes(confusion, marked), [1, 2]) for marked in ([True, False], True))
    xr.testing.assert_identical(found, expected)


# Speed


@pytest.mark.slow
def test_intervals_of_the_whole_catalogue_take_seconds() -> None:
    # As many scenes and groups as the catalogue has.
    tables = tables_of_scenes(unlike_scenes(513, 10))
    groups = np.minimum(np.arange(513), 492)
    started = time.perf_counter()
    found = score(tables, groups, Resampling())
    assert time.perf_counter() - started < 3
    assert found["cloud_accuracy_lower"] < found["cloud_accuracy"] < found["cloud_accuracy_upper"]
