"""Pixels are counted alike with numba and without; plain numpy is the oracle."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from s2cmc.statistics import histograms
from s2cmc.statistics.histograms import count_dn, is_worth_compiling

CLASSES = 3
sizes = st.tuples(st.integers(0, 5), st.integers(0, 7))
values = st.one_of(st.sampled_from([0, 1, 1200]), st.integers(0, 65_535))
pairs = sizes.flatmap(
    lambda size: st.tuples(
        npst.arrays("uint16", size, elements=values),
        st.none() | npst.arrays("uint8", size, elements=st.integers(0, CLASSES - 1)),
    )
)


@pytest.fixture(scope="module", params=[pytest.param("numba", marks=pytest.mark.slow), "numpy"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Count with numba, or as where it is not installed, in small blocks."""
    if request.param == "numba":
        pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histograms, "_BLOCK", 8)
        if request.param == "numpy":
            patch.setattr(histograms, "compiled", lambda: None)
        yield request.param


def expected(dn: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    counts = np.zeros((CLASSES, int(dn.max(initial=0)) + 1), np.uint32)
    np.add.at(counts, (np.zeros_like(dn, int) if labels is None else labels, dn), 1)
    return counts


@settings(deadline=None)
@given(pairs, st.booleans())
def test_each_pixel_is_counted_once(pair: tuple[np.ndarray, np.ndarray | None], turned: bool) -> None:
    dn, labels = pair
    wanted = expected(dn, labels)
    if turned:  # as a view of pixels that lie otherwise, or cannot be written
        dn = np.asfortranarray(dn)
        dn.flags.writeable = False
    found = count_dn(dn, labels, CLASSES, fast=True)
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, wanted)


def test_a_scene_of_one_value_is_counted_whole() -> None:
    dn = np.full((1022, 1022), 65_535, np.uint16)
    assert count_dn(dn, None, 1, fast=True)[0, -1] == 1022 * 1022


def test_a_label_of_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="label 3 is none of 3 classes"):
        count_dn(np.zeros((2, 2), np.uint16), np.full((2, 2), 3, np.uint8), CLASSES, fast=True)


def test_numba_is_used_where_it_is_and_many_pixels_are(way: str) -> None:
    fast = histograms.compiled()
    assert (fast is not None) == (way == "numba")


def test_a_few_scenes_are_counted_without_the_import_of_numba(store: Path) -> None:
    script = (
        "import sys, s2cmc; ds = s2cmc.open_catalogue(sys.argv[1]); ds.clouds.band_statistics().compute(); "
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(store)], check=False).returncode == 0
    assert is_worth_compiling(513 * 1022 * 1022 * 13)
