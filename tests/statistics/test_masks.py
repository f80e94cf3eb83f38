"""Counts, fractions and one-hot planes of masks, against plain numpy, whatever the chunks."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from s2cmc.statistics.masks import class_counts, class_fractions, one_hot

CLASSES = ["clear", "cloud", "cloud_shadow"]

# 255 is no label; 240 and above is how a store keeps pixels that are not one-hot, shown by any other reader.
labels = npst.arrays(
    "uint8", npst.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.sampled_from([0, 1, 2, 240, 255])
)


def _mask(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("scene", "y", "x"), coords={"scene": [f"s{i}" for i in range(len(values))]})


def _counts(values: np.ndarray) -> np.ndarray:
    return np.stack([(values == number).sum(axis=(1, 2)) for number in range(3)], axis=-1)


def _published_masks(release: Path, scenes: list[str]) -> np.ndarray:
    """The one-hot masks (scene, y, x, class) of a release as they were published."""
    with zipfile.ZipFile(release / "masks.zip") as archive:
        return np.stack([np.load(io.BytesIO(archive.read(f"masks/{scene}.npy"))) for scene in scenes]).astype(bool)


@given(labels)
@settings(max_examples=40, deadline=None)
def test_counts_are_those_of_numpy(values: np.ndarray) -> None:
    found = class_counts(_mask(values))
    assert (found.dims, found.dtype, list(found.mask_class.values)) == (("scene", "mask_class"), "int64", CLASSES)
    np.testing.assert_array_equal(found, _counts(values))


@given(labels)
@settings(max_examples=40, deadline=None)
def test_fractions_are_of_the_labelled_pixels(values: np.ndarray) -> None:
    found = class_fractions(_mask(values))
    assert (found.dims, found.dtype) == (("scene", "mask_class"), "float64")
    labelled = (values <= 2).sum(axis=(1, 2))
    for scene, counts, total in zip(found.values, _counts(values), labelled, strict=True):
        np.testing.assert_array_equal(scene, counts / total if total else [np.nan] * 3)


@given(labels)
@settings(max_examples=40, deadline=None)
def test_one_hot_has_one_plane_for_each_class(values: np.ndarray) -> None:
    found = one_hot(_mask(values))
    assert (found.dims, found.dtype) == (("scene", "y", "x", "mask_class"), bool)
    for number, name in enumerate(CLASSES):
        np.testing.assert_array_equal(found.sel(mask_class=name), values == number)


@pytest.mark.slow
@given(data=st.data(), values=labels)
@settings(max_examples=15, deadline=None)
def test_chunks_and_the_order_of_scenes_change_nothing(data: st.DataObject, values: np.ndarray) -> None:
    mask = _mask(values)
    chunks = {dim: data.draw(st.integers(1, size), label=f"chunk {dim}") for dim, size in mask.sizes.items()}
    order = data.draw(st.permutations(range(len(values))), label="order")
    for reduction in (class_counts, class_fractions, one_hot):
        lazy = reduction(mask.chunk(chunks).isel(scene=order))
        assert lazy.chunks is not None
        xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), reduction(mask).isel(scene=order))


@pytest.mark.usefixtures("no_compute")
def test_a_reduction_reads_nothing_until_it_is_computed(catalogue: xr.Dataset) -> None:
    for found in (catalogue.clouds.class_counts(), catalogue.clouds.class_fractions(), catalogue.clouds.one_hot()):
        assert found.chunks is not None
        with pytest.raises(AssertionError, match="a pixel was read"):
            found.compute()


@pytest.mark.usefixtures("no_compute")
def test_a_reduction_keeps_the_coordinates_and_their_values(catalogue: xr.Dataset) -> None:
    for found in (catalogue.clouds.class_counts(), catalogue.clouds.class_fractions(), catalogue.clouds.one_hot()):
        assert list(found.cloud_percent.values) == list(catalogue.cloud_percent.values)
        assert set(found.coords) >= {name for name, c in catalogue.coords.items() if c.dims == ("scene",)}


def test_a_catalogue_counts_its_published_masks(release: Path, catalogue: xr.Dataset) -> None:
    published = _published_masks(release, list(catalogue.scene.values))
    # What is not one-hot has no class.
    published &= published.sum(axis=-1, keepdims=True) == 1
    np.testing.assert_array_equal(catalogue.clouds.class_counts(), published.sum(axis=(1, 2)))
    np.testing.assert_array_equal(catalogue.clouds.one_hot(), published)


def test_pixels_that_are_not_one_hot_are_not_counted(catalogue: xr.Dataset) -> None:
    missing = 64 * 64 - catalogue.clouds.class_counts().sum("mask_class")
    np.testing.assert_array_equal(missing, catalogue.invalid_mask_pixels)
    assert missing.max() > 0
    np.testing.assert_allclose(catalogue.clouds.class_fractions().sum("mask_class"), 1)


def test_counts_are_the_quality_coordinates(catalogue: xr.Dataset) -> None:
    names = ["mask_clear_percent", "mask_cloud_percent", "mask_shadow_percent"]
    stored = np.stack([catalogue[name].values for name in names], axis=-1)
    np.testing.assert_allclose(100 * catalogue.clouds.class_counts() / 64**2, stored, rtol=1e-12)


def test_the_other_annotator_reduces_likewise(catalogue: xr.Dataset) -> None:
    counts = class_counts(catalogue.alt_mask)
    np.testing.assert_array_equal(counts, _counts(catalogue.alt_mask.values))
    np.testing.assert_array_equal(counts.sum("mask_class") > 0, catalogue.has_alt_mask)
    assert class_fractions(catalogue.alt_mask)[~catalogue.has_alt_mask.values].isnull().all()


def test_a_loaded_catalogue_gives_the_same(catalogue: xr.Dataset) -> None:
    loaded = catalogue[["mask"]].load()
    xr.testing.assert_identical(loaded.clouds.class_counts(), catalogue.clouds.class_counts().compute())
    xr.testing.assert_identical(loaded.clouds.class_fractions(), catalogue.clouds.class_fractions().compute())
    xr.testing.assert_identical(loaded.clouds.one_hot(), catalogue.clouds.one_hot().compute())


@pytest.mark.parametrize(
    "window",
    [{"y": slice(10, 20)}, {"x": slice(None, None, 3)}, {"y": [5], "x": [1, 60]}, {"y": slice(None, None, -1)}],
)
def test_a_window_of_the_scenes_reduces(catalogue: xr.Dataset, window: dict) -> None:
    values = catalogue.mask.values[:, window.get("y", slice(None))][:, :, window.get("x", slice(None))]
    part = catalogue.isel(window).clouds
    np.testing.assert_array_equal(part.class_counts(), _counts(values))
    np.testing.assert_array_equal(part.one_hot().sum(("y", "x")), _counts(values))


def test_dims_may_stand_in_any_order(catalogue: xr.Dataset) -> None:
    turned = catalogue.transpose("x", "y", "scene", ...)
    xr.testing.assert_identical(turned.clouds.class_counts().compute(), catalogue.clouds.class_counts().compute())


def test_pixels_taken_out_by_where_are_not_counted(catalogue: xr.Dataset) -> None:
    bright = (catalogue.reflectance.sel(band="B02") > 0.15).drop_vars("band")
    # `where` turns the mask into floats with NaN.
    found = catalogue.where(bright).clouds.class_counts()
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, _counts(np.where(bright, catalogue.mask, 255)))
