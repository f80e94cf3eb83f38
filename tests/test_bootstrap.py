"""Intervals by resampling groups of scenes, against numpy and scipy; scores of strata and of differences with them."""

import time
import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from s2cmc import bootstrap
from s2cmc.errors import QueryError
from s2cmc.estimate import Resampling, counts_of, score_differences, score_strata, scores_of, tables_of

CLEAR, CLOUD, SHADOW = 0, 1, 2
CLASS_SCORES = ["precision", "recall", "f1", "iou", "balanced_accuracy"]
THREE_CLASSES = [*CLASS_SCORES, "cloud_accuracy", "cloud_kappa", "three_class_accuracy", "three_class_kappa"]
FEW = Resampling(resamples=200)

three_class_tables = npst.arrays("int64", st.tuples(st.integers(1, 8), *[st.just(3)] * 2), elements=st.integers(0, 9))


def _counts(confusion: object) -> xr.Dataset:
    dims = ("scene", "truth", "predicted")
    return xr.Dataset({"confusion": (dims, np.array(confusion, np.int64))})


def _tables(confusion: object, marked: object = True) -> np.ndarray:
    """What is scored of tables (scene, truth, predicted), with shadows marked in all scenes or in these."""
    counts = _counts(confusion)
    return tables_of(counts, np.broadcast_to(np.array(marked), counts.sizes["scene"]))


def _members(scenes: int, **strata: list[int]) -> xr.DataArray:
    """Stratum ``all``, and others of these scenes."""
    rows = [np.isin(np.arange(scenes), chosen) for chosen in strata.values()]
    return xr.DataArray(
        np.stack([np.ones(scenes, bool), *rows]),
        dims=("stratum", "scene"),
        coords={"stratum": ["all", *strata], "by": ("stratum", ["all", *strata])},
    )


def _score(tables: np.ndarray, groups: object, resampling: Resampling | None = FEW, **strata: list[int]) -> xr.Dataset:
    return score_strata(_members(len(tables), **strata), tables, np.array(groups), resampling, "truth")


def _compare(
    first: np.ndarray, second: np.ndarray, groups: object, resampling: Resampling = FEW, **strata: list[int]
) -> xr.Dataset:
    return score_differences(_members(len(first), **strata), first, second, np.array(groups), resampling)


def _ends(found: xr.Dataset, name: str, **where: Any) -> list[float]:
    return [found[f"{name}_{end}"].isel(stratum=0, **where).item() for end in ("lower", "upper")]


def _width(found: xr.Dataset, name: str, **where: Any) -> float:
    lower, upper = _ends(found, name, **where)
    return upper - lower


def _clouds(hits: object, pixels: int = 100) -> np.ndarray:
    """Tables of scenes with `pixels` cloud pixels, of which so many were found, and as many clear ones."""
    return np.array([[[pixels, 0, 0], [pixels - n, n, 0], [0, 0, 0]] for n in np.array(hits)], np.int64)


def _scenes(count: int, seed: int) -> np.ndarray:
    """Tables of scenes of unlike size and difficulty."""
    rng = np.random.default_rng(seed)
    wrong = rng.uniform(0.02, 0.3, count)
    tables = []
    for share, clouds in zip(wrong, rng.uniform(0.1, 0.9, count), strict=True):
        pixels = rng.multinomial(rng.integers(100, 1000), [0.8 * (1 - clouds), clouds, 0.2 * (1 - clouds)])
        mixed = share * np.full((3, 3), 1 / 3) + (1 - share) * np.eye(3)
        tables.append([rng.multinomial(n, of_class) for n, of_class in zip(pixels, mixed, strict=True)])
    return np.array(tables, np.int64)


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
    lower, upper = bootstrap.interval(replicates, confidence)
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
    ends = bootstrap.interval(replicates, confidence)
    tail = (1 - confidence) / 2
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # numpy's, of all-NaN slices
        expected = np.nanquantile(replicates, [tail, 1 - tail], axis=0)
    np.testing.assert_allclose(np.stack(ends), expected, rtol=1e-12, atol=1e-15)


def test_an_interval_by_hand() -> None:
    # Of 0, 1, ..., 40 the middle 95 % runs from rank 1 to rank 39.
    assert bootstrap.interval(np.arange(41.0)[::-1], 0.95) == (pytest.approx(1), pytest.approx(39))
    assert bootstrap.interval(np.array([np.nan, 0.25, np.nan]), 0.95) == (0.25, 0.25)
    assert np.isnan(bootstrap.interval(np.array([np.nan, np.nan]), 0.95)).all()


# Draws of groups


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_every_resample_has_as_many_groups_as_there_are(groups: int, resamples: int, seed: int) -> None:
    found = bootstrap.draw(groups, resamples, seed)
    assert found.shape == (resamples, groups)
    assert (found >= 0).all()
    assert set(found.sum(axis=1).tolist()) == {groups}
    np.testing.assert_array_equal(found, np.rint(found))


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    np.testing.assert_array_equal(bootstrap.draw(20, 50, 7), bootstrap.draw(20, 50, 7))
    assert (bootstrap.draw(20, 50, 7) != bootstrap.draw(20, 50, 8)).any()


def test_all_groups_are_drawn_alike() -> None:
    # Each of 5 groups is drawn once in the mean, with variance 4 / 5 (binomial); 20,000 resamples tell this well.
    found = bootstrap.draw(5, 20_000, 0)
    np.testing.assert_allclose(found.mean(axis=0), 1, atol=4 * (0.8 / 20_000) ** 0.5)
    np.testing.assert_allclose(found.var(axis=0), 0.8, atol=0.05)


@given(npst.arrays("int64", st.tuples(st.integers(1, 8), st.just(2), st.just(3)), elements=st.integers(0, 99)))
@settings(max_examples=25, deadline=None)
def test_sums_of_groups_are_those_of_their_scenes(values: np.ndarray) -> None:
    groups = np.array([40, 7, 7, 12, 40, -1, 12, 7])[: len(values)]
    expected = [values[groups == number].sum(axis=0) for number in sorted(set(groups.tolist()))]
    np.testing.assert_array_equal(bootstrap.group_sums(values, groups), expected)


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


# Scores of strata


def test_the_scores_of_a_stratum_are_those_of_its_pooled_pixels() -> None:
    tables = _tables([[[8, 0, 0], [0, 2, 0], [0, 0, 0]], [[0, 0, 0], [6, 2, 0], [0, 0, 2]]])
    found = _score(tables, [1, 2], None, first=[0])
    assert found["recall"].dims == ("stratum", "mask_class")
    assert found["cloud_accuracy"].dims == ("stratum",)
    # 2 + 2 of 2 + 8 cloud pixels, not the mean of 100 % and 25 %.
    assert found["recall"].sel(stratum="all").values.tolist() == [1, 0.4, 1]
    assert found["cloud_accuracy"].sel(stratum="all") == 14 / 20
    np.testing.assert_array_equal(found["recall"].sel(stratum="first"), [1, 1, np.nan])
    assert found["by"].values.tolist() == ["all", "first"]


def test_every_score_has_an_interval_if_it_is_asked_for() -> None:
    tables = _tables(_scenes(6, 1))
    assert set(_score(tables, range(6), None).data_vars) == set(THREE_CLASSES)
    found = _score(tables, range(6))
    assert set(found.data_vars) == {name + end for name in THREE_CLASSES for end in ("", "_lower", "_upper")}
    for name in THREE_CLASSES:
        assert found[name].attrs["units"] == "1"
        assert found[name].attrs["long_name"] in found[f"{name}_lower"].attrs["long_name"]
        assert (found[f"{name}_lower"] <= found[f"{name}_upper"]).all()


def test_two_classes_have_no_scores_of_three() -> None:
    tables = _tables([[[5, 1], [2, 4]], [[3, 0], [1, 9]]])
    found = _score(tables, [1, 2])
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
    found = _score(_tables(confusion), groups, Resampling(resamples=15, confidence=0.8, seed=3))
    numbers = np.unique(groups)
    if len(numbers) < 2:
        assert all(np.isnan(found[f"{name}_lower"]).all() for name in THREE_CLASSES)
        return
    piles = []
    for times in bootstrap.draw(len(numbers), 15, 3).astype(int):
        drawn = [
            confusion[groups == number].sum(axis=0) for number, n in zip(numbers, times, strict=True) for _ in range(n)
        ]
        piles.append(scores_of(_tables(drawn).sum(axis=0), "truth"))
    for name in THREE_CLASSES:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # numpy's, of all-NaN slices
            expected = np.nanquantile([pile[name] for pile in piles], [0.1, 0.9], axis=0)
        # Where the score itself is undefined, so is its interval.
        expected = np.where(np.isnan(found[name][0]), np.nan, expected)
        np.testing.assert_allclose(found[f"{name}_lower"][0], expected[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found[f"{name}_upper"][0], expected[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_bootstrap_is_that_of_scipy_where_each_scene_is_a_group(confidence: float) -> None:
    confusion = _scenes(40, 5)
    found = _score(_tables(confusion), range(40), Resampling(resamples=4000, confidence=confidence))

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
        ends = [expected.confidence_interval.low[i], expected.confidence_interval.high[i]]
        assert _ends(found, name, **where) == pytest.approx(ends, abs=tolerance)


def test_the_same_seed_gives_the_same_interval() -> None:
    tables = _tables(_scenes(12, 2))
    xr.testing.assert_identical(_score(tables, range(12)), _score(tables, range(12)))
    other = _score(tables, range(12), Resampling(resamples=200, seed=1))
    assert _ends(other, "cloud_accuracy") != _ends(_score(tables, range(12)), "cloud_accuracy")
    assert other["cloud_accuracy"].identical(_score(tables, range(12))["cloud_accuracy"])


def test_the_interval_of_a_stratum_does_not_depend_on_the_other_strata() -> None:
    tables = _tables(_scenes(12, 2))
    beside = _score(tables, range(12), half=list(range(6))).sel(stratum="half")
    alone = _score(tables[:6], range(6)).sel(stratum="all")
    xr.testing.assert_equal(beside.drop_vars(["stratum", "by"]), alone.drop_vars(["stratum", "by"]))


def test_the_scenes_of_a_group_are_drawn_together() -> None:
    # Each group is one scene where every cloud was found and one where none was.
    tables = _tables(_clouds([100, 0] * 10))
    together = _score(tables, np.repeat(np.arange(10), 2))
    assert together["recall"].isel(stratum=0, mask_class=CLOUD) == 0.5
    assert _ends(together, "recall", mask_class=CLOUD) == [0.5, 0.5]
    # Were they drawn apart, recall would vary by the toss of 20 coins.
    assert _width(_score(tables, np.arange(20)), "recall", mask_class=CLOUD) > 0.3


def test_dependent_scenes_tell_less_than_as_many_independent_ones() -> None:
    # Scenes of one group are alike: five groups of eight scenes are worth five scenes and not forty.
    tables = _tables(_clouds(np.repeat([10, 30, 50, 70, 90], 8)))
    in_groups = _width(_score(tables, np.repeat(np.arange(5), 8)), "recall", mask_class=CLOUD)
    apart = _width(_score(tables, np.arange(40)), "recall", mask_class=CLOUD)
    assert in_groups > 2 * apart


def test_more_confidence_is_a_wider_interval() -> None:
    tables = _tables(_scenes(20, 3))
    widths = [
        _width(_score(tables, range(20), Resampling(resamples=500, confidence=confidence)), "cloud_accuracy")
        for confidence in (0.5, 0.8, 0.95)
    ]
    assert widths == sorted(widths)
    assert widths[0] > 0


def test_one_group_has_scores_but_no_intervals() -> None:
    found = _score(_tables(_scenes(5, 4)), [3, 3, 3, 1, 1], one=[0, 1, 2], none=[])
    for name in THREE_CLASSES:
        assert found[name].sel(stratum="one").notnull().all()
        for end in ("lower", "upper"):
            assert found[f"{name}_{end}"].sel(stratum="all").notnull().all()
            assert found[f"{name}_{end}"].sel(stratum="one").isnull().all()


def test_a_group_without_a_counted_pixel_is_no_group() -> None:
    confusion = _scenes(3, 4)
    confusion[2] = 0  # nothing but ignored pixels
    found = _score(_tables(confusion), [1, 1, 2])
    assert np.isnan(_ends(found, "cloud_accuracy")).all()
    with_it = _score(_tables(confusion), [1, 2, 3])
    without = _score(_tables(confusion[:2]), [1, 2])
    xr.testing.assert_identical(with_it, without)


def test_an_empty_stratum_has_no_score() -> None:
    tables = _tables(_scenes(5, 4))
    for found in (_score(tables, range(5), none=[]), _compare(tables, tables, range(5), none=[])):
        for name, values in found.data_vars.items():
            assert values.sel(stratum="none").isnull().all(), name
            assert values.sel(stratum="all").notnull().all(), name


def test_no_scenes_have_no_score() -> None:
    found = _score(_tables(np.zeros((0, 3, 3))), [])
    assert all(values.isnull().all() for values in found.data_vars.values())


def test_scenes_all_of_one_class() -> None:
    found = _score(_tables([[[0, 0, 0], [0, 9, 0], [0, 0, 0]]] * 3), range(3))
    np.testing.assert_array_equal(found["f1"][0], [np.nan, 1, np.nan])
    np.testing.assert_array_equal(found["f1_lower"][0], [np.nan, 1, np.nan])
    assert _ends(found, "three_class_accuracy") == [1, 1]
    assert np.isnan(_ends(found, "cloud_kappa")).all()


def test_a_class_that_nobody_predicts() -> None:
    found = _score(_tables([[[5, 0, 0], [1, 0, 0], [0, 0, 3]]] * 3), range(3)).isel(stratum=0, mask_class=CLOUD)
    for end in ("", "_lower", "_upper"):
        assert [found[f"{name}{end}"].item() for name in ("recall", "f1", "iou")] == [0, 0, 0]
        assert np.isnan(found[f"precision{end}"])


def test_a_class_in_one_scene_alone_is_scored_on_the_resamples_that_have_it() -> None:
    rare = [[[5, 0, 0], [0, 0, 0], [0, 1, 3]]] + [[[5, 0, 0], [0, 0, 0], [0, 0, 0]]] * 4
    found = _score(_tables(rare), range(5)).isel(stratum=0, mask_class=SHADOW)
    assert [found[f"recall{end}"].item() for end in ("", "_lower", "_upper")] == [3 / 4] * 3


# Scenes whose shadows were not marked


def test_clear_and_shadow_are_scored_where_shadows_are_marked_and_cloud_everywhere() -> None:
    marked = [[4, 1, 0], [0, 6, 0], [1, 0, 2]]
    unmarked = [[7, 1, 2], [3, 9, 1], [0, 0, 0]]
    tables = _tables([marked, unmarked], [True, False])
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
        for tables in (_tables(confusion, marked), _tables(confusion), _tables(confusion[marked]))
    )
    for name in CLASS_SCORES:
        assert np.array_equal(found[name][CLOUD], everywhere[name][CLOUD], equal_nan=True)
        np.testing.assert_array_equal(found[name][[CLEAR, SHADOW]], only_marked[name][[CLEAR, SHADOW]])
    for name in ("accuracy", "kappa"):
        np.testing.assert_array_equal(found[f"cloud_{name}"], everywhere[f"cloud_{name}"])
        np.testing.assert_array_equal(found[f"three_class_{name}"], only_marked[f"three_class_{name}"])


def test_intervals_too_come_from_the_scenes_with_marked_shadows() -> None:
    confusion, marked = _scenes(12, 6), np.arange(12) < 7
    found = _score(_tables(confusion, marked), range(12)).isel(stratum=0)
    everywhere = _score(_tables(confusion), range(12)).isel(stratum=0)
    only_marked = _score(_tables(confusion[marked]), range(7)).isel(stratum=0)
    for end in ("", "_lower", "_upper"):
        for name in CLASS_SCORES:
            assert found[name + end][CLOUD] == everywhere[name + end][CLOUD]
            np.testing.assert_array_equal(found[name + end][[CLEAR, SHADOW]], only_marked[name + end][[CLEAR, SHADOW]])
        assert found[f"cloud_kappa{end}"] == everywhere[f"cloud_kappa{end}"]
        assert found[f"three_class_kappa{end}"] == only_marked[f"three_class_kappa{end}"]


def test_without_marked_shadows_there_is_cloud_alone() -> None:
    found = _score(_tables(_scenes(4, 7), False), range(4)).isel(stratum=0)
    for end in ("", "_lower", "_upper"):
        assert found[f"f1{end}"].isnull().values.tolist() == [True, False, True]
        assert np.isnan(found[f"three_class_accuracy{end}"])
        assert not np.isnan(found[f"cloud_accuracy{end}"])


def test_two_classes_are_known_whether_shadows_are_marked_or_not() -> None:
    confusion = [[[5, 1], [2, 4]], [[3, 0], [1, 9]]]
    found, expected = (_score(_tables(confusion, marked), [1, 2]) for marked in ([True, False], True))
    xr.testing.assert_identical(found, expected)


# Differences


def test_a_prediction_does_not_differ_from_itself() -> None:
    tables = _tables(_scenes(15, 8), np.arange(15) % 3 > 0)
    found = _compare(tables, tables.copy(), np.arange(15) // 2, half=list(range(8)))
    assert set(found.data_vars) == {name + end for name in THREE_CLASSES for end in ("", "_lower", "_upper")}
    for values in found.data_vars.values():
        assert set(values.values.ravel().tolist()) == {0}


def test_a_difference_is_that_of_the_scores() -> None:
    first, second = _tables(_scenes(10, 8)), _tables(_scenes(10, 9))
    found, back = _compare(first, second, range(10)), _compare(second, first, range(10))
    one, other = _score(first, range(10), None), _score(second, range(10), None)
    for name in THREE_CLASSES:
        np.testing.assert_array_equal(found[name], one[name] - other[name])
        # The other way round, everything is negative.
        np.testing.assert_allclose(back[f"{name}_lower"], -found[f"{name}_upper"], rtol=1e-9, atol=1e-12)


def test_both_predictions_are_scored_on_the_same_resamples() -> None:
    # Recall varies widely from scene to scene, and the first finds 10 pixels of 100 more than the second everywhere.
    hits = np.linspace(0, 90, 20).astype(int)
    first, second = _tables(_clouds(hits + 10)), _tables(_clouds(hits))
    found = _compare(first, second, range(20))
    assert _ends(found, "recall", mask_class=CLOUD) == pytest.approx([0.1, 0.1])
    # Each by itself is so uncertain that nothing could be said.
    one, other = (_ends(_score(tables, range(20)), "recall", mask_class=CLOUD) for tables in (first, second))
    assert one[0] < other[1]


def test_a_paired_interval_is_narrower_than_that_of_independent_resamples() -> None:
    # Both find the same scenes hard; the difference varies much less than each of the two.
    rng = np.random.default_rng(4)
    hits = rng.integers(10, 80, 30)
    first, second = _tables(_clouds(hits + rng.integers(5, 15, 30))), _tables(_clouds(hits))
    paired = _width(_compare(first, second, range(30)), "recall", mask_class=CLOUD)
    independent = np.hypot(
        *(
            _width(_score(tables, range(30), Resampling(resamples=200, seed=seed)), "recall", mask_class=CLOUD)
            for seed, tables in enumerate((first, second))
        )
    )
    assert 0 < paired < independent / 3


def test_the_difference_of_what_one_of_them_lacks_is_undefined() -> None:
    never = _tables([[[9, 0, 0], [5, 0, 0], [0, 0, 4]]] * 4)
    always = _tables([[[9, 0, 0], [0, 5, 0], [0, 0, 4]]] * 4)
    found = _compare(always, never, range(4)).isel(stratum=0, mask_class=CLOUD)
    assert np.isnan([found[f"precision{end}"].item() for end in ("", "_lower", "_upper")]).all()
    assert [found[f"recall{end}"].item() for end in ("", "_lower", "_upper")] == [1, 1, 1]


def test_one_group_has_differences_but_no_intervals() -> None:
    first, second = _tables(_scenes(3, 1)), _tables(_scenes(3, 2))
    found = _compare(first, second, [5, 5, 5])
    for name in THREE_CLASSES:
        assert found[name].notnull().all()
        assert found[f"{name}_lower"].isnull().all()
        assert found[f"{name}_upper"].isnull().all()


# Speed


@pytest.mark.slow
def test_intervals_of_the_whole_catalogue_take_seconds() -> None:
    # As many scenes and groups as the catalogue has.
    tables = _tables(_scenes(513, 10))
    groups = np.minimum(np.arange(513), 492)
    started = time.perf_counter()
    found = _score(tables, groups, Resampling())
    assert time.perf_counter() - started < 3
    assert found["cloud_accuracy_lower"] < found["cloud_accuracy"] < found["cloud_accuracy_upper"]
