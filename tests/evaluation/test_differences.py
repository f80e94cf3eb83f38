"""Differences of two predictions, scored on the same resamples."""

import numpy as np
import pytest
from helpers.score_tables import (
    CLOUD,
    THREE_CLASSES,
    cloud_tables,
    compare,
    ends,
    score,
    tables_of_scenes,
    unlike_scenes,
    width,
)

from s2cmc.evaluation.intervals import Resampling

# Differences


def test_a_prediction_does_not_differ_from_itself() -> None:
    tables = tables_of_scenes(unlike_scenes(15, 8), np.arange(15) % 3 > 0)
    found = compare(tables, tables.copy(), np.arange(15) // 2, half=list(range(8)))
    assert set(found.data_vars) == {name + end for name in THREE_CLASSES for end in ("", "_lower", "_upper")}
    for values in found.data_vars.values():
        assert set(values.values.ravel().tolist()) == {0}


def test_a_difference_is_that_of_the_scores() -> None:
    first, second = tables_of_scenes(unlike_scenes(10, 8)), tables_of_scenes(unlike_scenes(10, 9))
    found, back = compare(first, second, range(10)), compare(second, first, range(10))
    one, other = score(first, range(10), None), score(second, range(10), None)
    for name in THREE_CLASSES:
        np.testing.assert_array_equal(found[name], one[name] - other[name])
        # The other way round, everything is negative.
        np.testing.assert_allclose(back[f"{name}_lower"], -found[f"{name}_upper"], rtol=1e-9, atol=1e-12)


def test_both_predictions_are_scored_on_the_same_resamples() -> None:
    # Recall varies widely from scene to scene, and the first finds 10 pixels of 100 more than the second everywhere.
    hits = np.linspace(0, 90, 20).astype(int)
    first, second = tables_of_scenes(cloud_tables(hits + 10)), tables_of_scenes(cloud_tables(hits))
    found = compare(first, second, range(20))
    assert ends(found, "recall", mask_class=CLOUD) == pytest.approx([0.1, 0.1])
    # Each by itself is so uncertain that nothing could be said.
    one, other = (ends(score(tables, range(20)), "recall", mask_class=CLOUD) for tables in (first, second))
    assert one[0] < other[1]


def test_a_paired_interval_is_narrower_than_that_of_independent_resamples() -> None:
    # Both find the same scenes hard; the difference varies much less than each of the two.
    rng = np.random.default_rng(4)
    hits = rng.integers(10, 80, 30)
    first, second = tables_of_scenes(cloud_tables(hits + rng.integers(5, 15, 30))), tables_of_scenes(cloud_tables(hits))
    paired = width(compare(first, second, range(30)), "recall", mask_class=CLOUD)
    independent = np.hypot(
        *(
            width(score(tables, range(30), Resampling(resamples=200, seed=seed)), "recall", mask_class=CLOUD)
            for seed, tables in enumerate((first, second))
        )
    )
    assert 0 < paired < independent / 3


def test_the_difference_of_what_one_of_them_lacks_is_undefined() -> None:
    never = tables_of_scenes([[[9, 0, 0], [5, 0, 0], [0, 0, 4]]] * 4)
    always = tables_of_scenes([[[9, 0, 0], [0, 5, 0], [0, 0, 4]]] * 4)
    found = compare(always, never, range(4)).isel(stratum=0, mask_class=CLOUD)
    assert np.isnan([found[f"precision{end}"].item() for end in ("", "_lower", "_upper")]).all()
    assert [found[f"recall{end}"].item() for end in ("", "_lower", "_upper")] == [1, 1, 1]


def test_one_group_has_differences_but_no_intervals() -> None:
    first, second = tables_of_scenes(unlike_scenes(3, 1)), tables_of_scenes(unlike_scenes(3, 2))
    found = compare(first, second, [5, 5, 5])
    for name in THREE_CLASSES:
        assert found[name].notnull().all()
        assert found[f"{name}_lower"].isnull().all()
        assert found[f"{name}_upper"].isnull().all()
