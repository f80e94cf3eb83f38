"""Histograms of digital numbers, the statistics that follow from them, and their cache; against plain numpy.

One histogram of 13 bands takes 13.6 MB a scene, so most tests look at a few scenes, or at two bands.
"""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from s2cmc.errors import CatalogueError, QueryError, SceneError
from s2cmc.query.stratification import scenes_of_stratum, strata
from s2cmc.schema.bands import BAND_NAMES

CLASSES = ["clear", "cloud", "cloud_shadow"]
TWO_BANDS = ["B04", "B11"]


def _dn(reflectance: xr.DataArray) -> np.ndarray:
    return np.rint(reflectance.values.astype("float64") * 10_000).astype(int)


def _made(dn: np.ndarray, mask: np.ndarray) -> xr.Dataset:
    """A Dataset in memory of DN (scene, y, x, band) and labels (scene, y, x)."""
    dims = ("scene", "y", "x", "band")
    return xr.Dataset(
        {"reflectance": (dims, dn.astype("uint16") / np.float32(10_000)), "mask": (dims[:3], mask)},
        {"scene": [f"s{i}" for i in range(dn.shape[0])], "band": list(BAND_NAMES[: dn.shape[3]])},
    )


small = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 2))
# Few values, so that some meet; the whole range, ends included.
numbers = st.one_of(st.integers(0, 65_535), st.sampled_from([0, 1, 1200, 1201, 65_535]))
made = small.flatmap(
    lambda shape: st.builds(
        _made,
        npst.arrays("uint16", shape, elements=numbers),
        npst.arrays("uint8", shape[:3], elements=st.sampled_from([0, 1, 2, 255])),
    )
)


# -- counts


def test_histograms_count_each_digital_number(part: xr.Dataset, counted: xr.DataArray) -> None:
    assert (counted.dims, counted.shape) == (("scene", "mask_class", "band", "dn"), (3, 4, 13, 65_536))
    assert (counted.dtype, counted.name) == ("uint32", "histogram")
    assert counted.mask_class.values.tolist() == [*CLASSES, "unlabelled"]
    assert counted.dn.values.tolist() == list(range(65_536))
    dn, mask = _dn(part.reflectance), part.mask.values
    for i in range(3):
        for label, chosen in enumerate([mask[i] == 0, mask[i] == 1, mask[i] == 2, mask[i] > 2]):
            for band in range(13):
                expected = np.bincount(dn[i, :, :, band][chosen], minlength=65_536)
                np.testing.assert_array_equal(counted[i, label, band], expected)


@given(made)
@settings(max_examples=15, deadline=None)
def test_histograms_are_those_of_numpy(dataset: xr.Dataset) -> None:
    found = dataset.clouds.band_histograms()
    classes = {0: "clear", 1: "cloud", 2: "cloud_shadow", 255: "unlabelled"}
    for scene in dataset["scene"].values:
        dn, mask = _dn(dataset.reflectance.sel(scene=scene)), dataset.mask.sel(scene=scene).values
        for label, name in classes.items():
            for i, band in enumerate(dataset.band.values):
                values, counts = np.unique(dn[mask == label][:, i], return_counts=True)
                histogram = found.sel(scene=scene, mask_class=name, band=band)
                np.testing.assert_array_equal(np.flatnonzero(histogram), values)
                np.testing.assert_array_equal(histogram[values], counts)


def test_pixels_that_are_not_one_hot_are_unlabelled(part: xr.Dataset, counted: xr.DataArray) -> None:
    unlabelled = counted.sel(mask_class="unlabelled").sum("dn")
    np.testing.assert_array_equal(unlabelled, np.repeat(part.invalid_mask_pixels.values[:, None], 13, axis=1))
    assert unlabelled.max() == 5


def test_histograms_add_up(part: xr.Dataset, counted: xr.DataArray) -> None:
    """Over scenes, over classes and over DN."""
    dn = _dn(part.reflectance)
    together = counted.sum(("scene", "mask_class"))
    for band in range(13):
        np.testing.assert_array_equal(together[band], np.bincount(dn[..., band].ravel(), minlength=65_536))
    assert (counted.sum(("mask_class", "dn")) == 64 * 64).all()
    of_classes = counted.sum("dn").isel(band=0, mask_class=slice(3))
    np.testing.assert_array_equal(of_classes.values, part.clouds.class_counts().values)


def test_pixels_without_data_and_saturated_ones_are_counted(part: xr.Dataset, counted: xr.DataArray) -> None:
    odd = counted.sel(scene=part["scene"][2]).sum("mask_class")
    assert odd.sel(dn=0).values.tolist() == [5] * 13
    assert odd.sel(dn=65_535, band="B04").item() == 3


def test_nan_reflectance_is_left_out(two: xr.Dataset, expected: xr.DataArray) -> None:
    holes = two.reflectance.where((two.y < -200) | (two.band == "B04"))
    found = two.assign(reflectance=holes).clouds.band_histograms().compute()
    xr.testing.assert_equal(found.sel(band="B04"), expected.sel(band="B04"))
    below = two.isel(y=slice(10, None)).clouds.band_histograms().compute()
    xr.testing.assert_equal(found.sel(band="B11"), below.sel(band="B11"))
    statistics = two.assign(reflectance=holes).clouds.band_statistics()
    assert statistics["count"].sel(stratum="all").values.tolist() == [3 * 64 * 64, 3 * 54 * 64]


@pytest.mark.parametrize("value", [0.12345, -0.0001, 6.5536, np.inf, 0.12 + 1e-8])
def test_reflectance_that_is_no_digital_number_is_refused_when_it_is_computed(held: xr.Dataset, value: float) -> None:
    reflectance = held.reflectance.copy()
    reflectance[1, 10, 20, 1] = value
    odd = held.assign(reflectance=reflectance.chunk(scene=1))
    found = odd.clouds.band_histograms()
    scene = held["scene"].values[1]
    with pytest.raises(
        SceneError, match=rf"^{scene}: reflectance \S+ is no whole digital number / 10000 in 0\.\.65535"
    ):
        found.compute()
    with pytest.raises(SceneError, match=scene):
        odd.clouds.band_statistics().compute()
    # The scenes beside it are sound.
    assert found.isel(scene=0).sum().compute().item() == 2 * 64 * 64


@pytest.mark.usefixtures("no_compute")
def test_histograms_and_statistics_read_nothing_until_they_are_computed(catalogue: xr.Dataset) -> None:
    statistics = catalogue.clouds.band_statistics(["split", "snow_ice"], within="cloud")
    for found in (catalogue.clouds.band_histograms(), *statistics.data_vars.values()):
        assert found.chunks is not None
        with pytest.raises(AssertionError, match="a pixel was read"):
            found.compute()


@given(data=st.data(), dataset=made)
@settings(max_examples=8, deadline=None)
def test_chunks_and_the_order_of_scenes_change_nothing(data: st.DataObject, dataset: xr.Dataset) -> None:
    chunks = {dim: data.draw(st.integers(1, size), label=f"chunk {dim}") for dim, size in dataset.sizes.items()}
    order = data.draw(st.permutations(range(dataset.sizes["scene"])), label="order")
    lazy = dataset.chunk(chunks).isel(scene=order)
    found = lazy.clouds.band_histograms()
    assert found.chunks is not None
    plain = dataset.clouds.band_histograms()
    xr.testing.assert_identical(found.compute(scheduler="synchronous"), plain.isel(scene=order))
    xr.testing.assert_identical(
        lazy.clouds.band_statistics(within="cloud").compute(scheduler="synchronous"),
        dataset.clouds.band_statistics(within="cloud"),
    )


def test_dims_may_stand_in_any_order(two: xr.Dataset, expected: xr.DataArray) -> None:
    turned = two.transpose("band", "x", "y", "scene", ...)
    xr.testing.assert_equal(turned.clouds.band_histograms().compute(), expected)


def test_the_coordinates_of_scenes_and_bands_are_kept(part: xr.Dataset, counted: xr.DataArray) -> None:
    expected = {name for name, c in part.coords.items() if c.dims in (("scene",), ("band",))}
    assert set(counted.coords) == expected | {"mask_class", "dn"}
    xr.testing.assert_identical(counted.cloud_percent.variable, part.cloud_percent.variable)


# -- statistics


def _assert_statistics(found: xr.Dataset, pixels: np.ndarray, percentiles: tuple[float, ...]) -> None:
    """Statistics (band,) are those of reflectance (pixel, band)."""
    assert found["count"].values.tolist() == [len(pixels)] * pixels.shape[1]
    for name in ("mean", "std", "min", "max"):
        np.testing.assert_allclose(found[name], getattr(np, name)(pixels, axis=0), rtol=1e-9, atol=1e-12)
    expected = np.percentile(pixels, percentiles, axis=0).T
    np.testing.assert_allclose(found["percentiles"], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("within", [*CLASSES, None])
def test_statistics_are_those_of_numpy(part: xr.Dataset, counted: xr.DataArray, within: str | None) -> None:
    percentiles = (0, 2.5, 50, 99.9, 100)
    found = part.clouds.band_statistics(
        ["snow_ice", "scene"], within=within, percentiles=percentiles, histograms=counted
    )
    assert dict(found.sizes) == {"stratum": 6, "band": 13, "percentile": 5}
    assert found.percentile.values.tolist() == list(percentiles)
    assert (found["count"].dtype, found["mean"].dtype) == ("int64", "float64")
    reflectance, mask = _dn(part.reflectance) / 10_000, part.mask.values
    chosen = np.ones(mask.shape, bool) if within is None else mask == CLASSES.index(within)
    member = strata(part, ["snow_ice", "scene"])
    assert found["by"].values.tolist() == member["by"].values.tolist()
    for name in member.stratum.values:
        scenes = scenes_of_stratum(member, name)
        pixels = reflectance[scenes][chosen[scenes]]
        row = found.sel(stratum=name)
        if len(pixels):
            _assert_statistics(row, pixels, percentiles)
        else:
            assert (row["count"] == 0).all()
            assert all(row[other].isnull().all() for other in ("mean", "std", "min", "max", "percentiles"))
    assert found["count"].sel(stratum="snow_ice").max() == 0, "a stratum without scenes"


def test_statistics_are_those_of_the_published_floats(part: xr.Dataset, counted: xr.DataArray) -> None:
    """float32 holds the DN to 7 digits; the statistics are of the DN."""
    found = part.clouds.band_statistics(histograms=counted).sel(stratum="all")
    pixels = part.reflectance.values.reshape(-1, 13).astype("float64")
    np.testing.assert_allclose(found["mean"], pixels.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["std"], pixels.std(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["percentiles"], np.percentile(pixels, [5, 25, 50, 75, 95], axis=0).T, rtol=1e-6)


@given(dataset=made, percentiles=st.lists(st.one_of(st.floats(0, 100), st.sampled_from([0, 50, 100])), max_size=6))
@settings(max_examples=20, deadline=None)
def test_percentiles_are_those_of_numpy(dataset: xr.Dataset, percentiles: list[float]) -> None:
    for within in (None, "cloud"):
        found = dataset.clouds.band_statistics(within=within, percentiles=percentiles).sel(stratum="all")
        chosen = dataset.mask.values == 1 if within else np.ones(dataset.mask.shape, bool)
        pixels = (_dn(dataset.reflectance) / 10_000)[chosen]
        assert found["percentiles"].dims == ("band", "percentile")
        if len(pixels):
            _assert_statistics(found, pixels, tuple(percentiles))
        else:
            assert found["percentiles"].isnull().all()


def test_percentiles_interpolate_between_neighbouring_pixels() -> None:
    """By hand: of DN 0, 10, 10, 40 the median is 10, and at 75 % a quarter of the way from 10 to 40."""
    four = _made(np.array([0, 10, 10, 40]).reshape(1, 2, 2, 1), np.zeros((1, 2, 2), "uint8"))
    found = four.clouds.band_statistics(percentiles=[0, 50, 75, 100])
    np.testing.assert_allclose(found["percentiles"].values.ravel(), [0, 0.001, 0.00175, 0.004])


def test_many_pixels_lose_nothing() -> None:
    """The sum of squares of 10 milliards of pixels of DN 65,534 and 65,535 is beyond int64 and float64."""
    two_values = _made(np.array([65_534, 65_535]).reshape(1, 1, 2, 1), np.zeros((1, 1, 2), "uint8"))
    scenes = [two_values.assign_coords(scene=[f"s{i}"]) for i in range(3)]
    together = xr.concat(scenes, "scene", join="outer")
    histograms = together.clouds.band_histograms() * np.uint32(2_000_000_000)
    found = together.clouds.band_statistics(histograms=histograms).isel(stratum=0, band=0)
    assert found["count"].item() == 12_000_000_000
    np.testing.assert_allclose(found["mean"], 6.55345, rtol=1e-15)
    np.testing.assert_allclose(found["std"], 0.00005, rtol=1e-12)


def test_an_absent_class_has_no_statistics(part: xr.Dataset) -> None:
    """Zero pixels and NaN, without a warning."""
    clear = part.isel(scene=[0]).sel(band=TWO_BANDS)
    clear = clear.assign(mask=xr.zeros_like(clear.mask))
    found = clear.clouds.band_statistics(within="cloud").compute()
    assert (found["count"] == 0).all()
    for name in ("mean", "std", "min", "max", "percentiles"):
        assert found[name].isnull().all()


def test_statistics_without_scenes(two: xr.Dataset) -> None:
    found = two.isel(scene=[]).clouds.band_statistics("difficulty").compute()
    assert found.sizes["stratum"] == 6
    assert (found["count"] == 0).all()
    assert found["mean"].isnull().all()


def test_statistics_are_the_same_from_histograms_at_hand(two: xr.Dataset, expected: xr.DataArray) -> None:
    anew = two.clouds.band_statistics("split", within="clear").compute()
    at_hand = two.clouds.band_statistics("split", within="clear", histograms=expected)
    xr.testing.assert_identical(anew, at_hand)


def test_histograms_at_hand_are_taken_by_scene(two: xr.Dataset, expected: xr.DataArray) -> None:
    """In another order, or of more scenes, they say the same; of other scenes they say nothing."""
    statistics = two.clouds.band_statistics("scene", histograms=expected)
    xr.testing.assert_identical(two.clouds.band_statistics("scene", histograms=expected[[2, 0, 1]]), statistics)
    last = two.isel(scene=[2])
    of_last = last.clouds.band_statistics("scene", histograms=expected)
    xr.testing.assert_identical(of_last.drop_sel(stratum="all"), statistics.isel(stratum=[3]))
    with pytest.raises(CatalogueError, match=str(two["scene"].values[2])):
        two.clouds.band_statistics("scene", histograms=expected[:2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"within": "fog"}, "within 'fog' is none of 'clear', 'cloud', 'cloud_shadow', None"),
        ({"within": "unlabelled"}, "within 'unlabelled' is none of"),
        ({"percentiles": [50, 101]}, r"percentiles \[50, 101\] are not a list of numbers from 0 to 100"),
        ({"percentiles": [-1]}, "are not a list of numbers from 0 to 100"),
        ({"percentiles": [float("nan")]}, "are not a list of numbers from 0 to 100"),
        ({"percentiles": 50}, "percentiles 50 are not a list"),
        ({"percentiles": [[5, 95]]}, "are not a list"),
        ({"by": "fog"}, "no question 'fog' to ask by"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_compute")
def test_what_does_not_exist_is_refused(two: xr.Dataset, options: dict, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        two.clouds.band_statistics(**options)
