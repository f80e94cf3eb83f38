"""Pixels keep their order in memory when dask hands them out, and their values whatever is done to them."""

import pickle

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.store.shards import Planar

SHAPE = (3, 4, 5, 6)


def planar() -> Planar:
    made = Planar.empty(SHAPE, np.dtype("float32"))
    made[...] = np.arange(made.size).reshape(SHAPE)
    return made


def slowest(pixels: np.ndarray) -> int:
    """Dimension along which neighbours are the farthest apart."""
    return int(np.argmax(pixels.strides))


slices = st.builds(slice, st.integers(0, 6), st.integers(0, 6), st.sampled_from([None, 1, 2, -1]))
parts = st.tuples(*[st.one_of(st.integers(0, n - 1), slices) for n in SHAPE])


@given(parts)
@settings(deadline=None)
def test_a_copy_of_any_part_has_its_values_and_is_its_own(part: tuple) -> None:
    pixels = planar()
    expected = np.asarray(pixels)[part].tolist()
    found = pixels[part].copy()
    assert type(found) in (np.ndarray, np.float32)
    pixels[...] = -1
    assert found.tolist() == expected


def test_a_copy_lies_in_memory_in_c_order_unless_it_is_asked_otherwise() -> None:
    scene = planar()[1]
    assert scene.copy().flags.c_contiguous
    assert slowest(scene.copy("K")) == 2
    np.testing.assert_array_equal(scene.copy(), scene.copy("K"))


def test_scenes_are_joined_band_by_band() -> None:
    pixels = planar()
    one, two = pixels[:1], pixels[1:]
    joined = np.concatenate([one, two], axis=0)
    assert (type(joined), joined.shape) == (np.ndarray, SHAPE)
    assert joined.strides[3] > joined.strides[1] > joined.strides[2]
    np.testing.assert_array_equal(joined, pixels)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2])
def test_parts_are_joined_along_every_axis(axis: int) -> None:
    pixels = planar()
    cut = np.split(np.asarray(pixels), [1, 2], axis)
    found = np.concatenate([part.view(Planar) for part in cut], axis)
    np.testing.assert_array_equal(found, pixels)


def test_what_does_not_fit_is_joined_or_refused_as_numpy_does() -> None:
    pixels = planar()
    assert np.concatenate([pixels, np.asarray(pixels, "float64")]).dtype == "float64"
    assert np.concatenate([pixels, pixels], axis=None).shape == (2 * pixels.size,)
    with pytest.raises(ValueError, match="must match exactly"):
        np.concatenate([pixels, pixels[:, :2]], axis=0)
    with pytest.raises(ValueError, match="need at least one array"):
        np.concatenate([])


def test_lists_are_joined_too() -> None:
    assert np.concatenate([planar(), planar().tolist()]).shape == (6, 4, 5, 6)


def test_functions_are_called_by_keyword_alone() -> None:
    assert np.mean(a=planar()) == planar().mean()


def test_a_single_pixel_is_copied() -> None:
    assert planar()[0, 0, 0, 2, ...].copy().shape == ()


def test_results_of_functions_are_plain() -> None:
    pixels = planar()
    for found in (pixels + 1, pixels > 2, pixels.mean(axis=0), np.where(pixels > 2, pixels, 0), np.sqrt(pixels)):
        assert type(found) is np.ndarray
    assert type(pixels.sum()) is np.float32


def test_pixels_survive_pickling() -> None:
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(planar())), planar())  # noqa: S301


def test_a_catalogue_hands_out_plain_arrays(opened: xr.Dataset) -> None:
    for lazy in (opened.reflectance[2], opened.reflectance[2:5], opened.reflectance[1:3, 4:40, 3:33, 2:5]):
        assert type(lazy.compute().data) is np.ndarray


def test_several_scenes_are_handed_out_band_by_band(opened: xr.Dataset) -> None:
    for lazy in (opened.reflectance[2:5], opened.reflectance[1:3, 4:40, 3:33, 2:5]):
        assert slowest(lazy.compute().data[0]) == 2


def test_a_persisted_catalogue_is_not_changed_through_what_is_computed_of_it(opened: xr.Dataset) -> None:
    kept = opened.reflectance[2:3].persist()
    before = kept.compute().data
    kept.compute().data[...] = -1
    np.testing.assert_array_equal(kept.compute().data, before)
