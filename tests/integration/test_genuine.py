"""The genuine table and real Sentinel-2 pixels, through convert, open, query and restore.

Masks and most pixels are synthetic and small; the table is the published one, to the byte.
"""

import hashlib
import lzma
from dataclasses import replace
from pathlib import Path

import dask
import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers.raw_shards import bytes_of_bands

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export.releases import restore
from s2cmc.conversion.verify.verification import verify
from s2cmc.synthetic.make import make_release, make_scene, write_release
from s2cmc.synthetic.table import sample_table

TABLE_MD5 = "6911e5a8915daf9a98638eb21ba4afd3"
"""As published in record 4172871."""

_COVER = ["cloud_percent", "shadow_percent"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table(shared_data: Path) -> pd.DataFrame:
    return pd.read_csv(shared_data / "classification_tags.csv")


@pytest.fixture(scope="module")
def full_release(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """513 scenes of 32 x 32 synthetic pixels with the genuine table."""
    return make_release(tmp_path_factory.mktemp("genuine") / "release", size=32, table=table)


@pytest.fixture(scope="module")
def full_store(full_release: Path) -> Path:
    path = full_release.with_name("catalogue.zarr")
    convert(str(full_release), str(path))
    return path


@pytest.fixture(scope="module")
def full(full_store: Path) -> xr.Dataset:
    return s2cmc.open_catalogue(full_store)


@pytest.mark.long
def test_all_513_scenes_are_verified_and_restored(full_release, full_store, tmp_path):
    assert verify(str(full_store), str(full_release)) == []
    restore(str(full_store), str(tmp_path / "restored"))
    restored = (tmp_path / "restored" / "classification_tags.csv").read_bytes()
    assert hashlib.md5(restored, usedforsecurity=False).hexdigest() == TABLE_MD5


def test_check_values_of_the_table(full):
    assert full.sizes["scene"] == 513
    assert full.attrs["source_table_md5"] == TABLE_MD5
    means = [round(float(full[name].mean()), 4) for name in ("clear_percent", "cloud_percent", "shadow_percent")]
    assert means == [45.9429, 52.5811, 1.4759]
    assert full.difficulty.to_series().value_counts().sort_index().to_dict() == {1: 270, 2: 32, 3: 122, 4: 67, 5: 22}
    assert full.dataset.to_series().value_counts().to_dict() == {"MAIN": 453, "VALIDATION": 50, "CALIBRATION": 10}
    assert full.annotator.to_series().value_counts().to_dict() == {"A": 260, "B": 253}
    assert int(full.shadows_marked.sum()) == 424
    assert int(full.has_alt_mask.sum()) == 60
    counts = {name: int(full[name].sum()) for name in ("cumulus", "cirrus", "snow_ice", "open_water", "contrails")}
    assert counts == {"cumulus": 292, "cirrus": 188, "snow_ice": 113, "open_water": 120, "contrails": 4}


@pytest.mark.parametrize("backend", ["obstore", "fsspec"])
def test_the_whole_catalogue_is_asked_in_few_requests(full_store, full, serve, backend):
    """Metadata and coordinates in one request each, a tag query in none, all masks in one for each of their shards."""
    server = serve(full_store.parent)
    remote = s2cmc.open_catalogue(f"{server.url}/{full_store.name}", backend=backend)
    chosen = remote.clouds.select("snow_ice and (thin or cirrus)", split="test")
    assert chosen.sizes["scene"] == full.clouds.select("snow_ice and (thin or cirrus)", split="test").sizes["scene"]
    assert [path.removeprefix(f"/{full_store.name}/") for _, path, _ in server.log] == ["zarr.json", "coordinates.zip"]
    assert sum(nbytes for *_, nbytes in server.log) <= 300_000
    server.log.clear()
    xr.testing.assert_identical(remote.clouds.class_fractions().compute(), full.clouds.class_fractions().compute())
    shards = [f"/{full_store.name}/mask/c/{shard}/0/0" for shard in range(9)]
    assert sorted(path for _, path, _ in server.log) == shards


def test_check_values_of_the_product_ids(full):
    assert full.processing_baseline.to_series().value_counts().to_dict() == {"02.06": 447, "02.07": 65, "02.08": 1}
    assert set(full.time.dt.year.values) == {2018}
    assert len(np.unique(full.mgrs_tile)) == 507
    twice = full.mgrs_tile.to_series().value_counts()
    assert set(twice[twice == 2].index) == {"38VPM", "20XNR", "37XDL", "38XMP", "20UPD", "30UXG"}
    assert len(np.unique(full.clouds.groups)) == 493
    assert len(np.unique(full.epsg)) == 95
    assert len(np.unique(full.epsg % 100)) == 58
    assert int((full.epsg > 32700).sum()) == 124


def test_single_class_and_untagged_scenes(full):
    single = [len(full.clouds.select(f"{name}_percent == 100").scene) for name in ("cloud", "clear", "shadow")]
    assert single == [192, 127, 0]
    surface = full.clouds.tags.sel(tag=full.clouds.tag_groups["surface_type"]).any("tag")
    assert int((~surface).sum()) == 116
    assert int((~surface & (full.cloud_percent == 100)).sum()) == 115


def test_known_contradictions(full):
    """Cloud tags at 0 % cloud in three scenes, shadow where it was not marked in one."""
    none = full.clouds.select("cloud_percent == 0 and (thin or thick)")
    assert list(none.mgrs_tile.values) == ["41UQU", "50QQH", "51VWK"]
    assert not none.tags_consistent.any()
    unmarked = full.clouds.select("not shadows_marked and shadow_percent > 0")
    assert list(unmarked.mgrs_tile.values) == ["18NUL"]
    assert list(full.clouds.select("not shadows_consistent").mgrs_tile.values) == ["18NUL"]


def test_splits_are_those_of_the_authors(full):
    assert full.clouds.select(split="train").sizes["scene"] == 453
    assert full.clouds.select(split="test").sizes["scene"] == 60
    in_train = (full.dataset == "MAIN").to_series().groupby(full.group.values)
    assert int((in_train.nunique() == 2).sum()) == 2, "groups with scenes in both splits"
    parts = full.clouds.random_split({"train": 0.8, "valid": 0.2}, seed=1)
    assert abs(float((parts == "valid").mean()) - 0.2) < 0.01


@pytest.mark.long
def test_full_size_masks_reproduce_the_published_percentages(table, tmp_path):
    """1022 x 1022: exact counts; in T20FNH the table has 6,118 pixels of shadow and the mask has none."""
    rows = table[table["scene"].str.contains("20180506.*T20FNH|20180201.*T18NUL|20180101.*T37LDJ")].to_dict("records")
    assert len(rows) == 3
    scenes = [replace(make_scene(row, 1022, seed=0), thumbnail=None) for row in rows]
    odd = next(i for i, row in enumerate(rows) if "T20FNH" in row["scene"])
    mask = scenes[odd].mask.copy()
    mask[..., 0] |= mask[..., 2]
    assert int(mask[..., 2].sum()) == 6118
    mask[..., 2] = False
    scenes[odd] = replace(scenes[odd], mask=mask)
    convert(str(write_release(tmp_path / "release", scenes)), str(tmp_path / "store.zarr"))
    ds = s2cmc.open_catalogue(tmp_path / "store.zarr")
    assert list(ds.percentages_agree.values) == [i != odd for i in range(3)]
    np.testing.assert_allclose(ds.mask_cloud_percent, ds.cloud_percent, atol=1e-10)
    fractions = ds.clouds.class_fractions().compute()
    np.testing.assert_allclose(100 * fractions.sel(mask_class="cloud"), ds.cloud_percent, atol=1e-10)


def test_real_pixels_survive_bit_for_bit(shared_data, tmp_path):
    """All 13 bands of a Level-1C product, and a cloudy patch in six bands, through convert, open and restore."""
    with lzma.open(shared_data / "real" / "T18SVG_20160112_20m_13band_dn.npy.xz") as file:
        coast = np.moveaxis(np.load(file), 0, -1)[:512, :512]
    with lzma.open(shared_data / "real" / "cloudy_6band_dn.npy.xz") as file:
        cloudy = np.load(file)
    with lzma.open(shared_data / "real" / "cloudy_6band_mask.npy.xz") as file:
        labels = np.load(file)
    bands = np.zeros((512, 512, 13), "uint16")
    bands[..., [1, 2, 3, 7, 11, 12]] = np.moveaxis(cloudy, 0, -1)
    mask = np.stack([(labels == 1) | (labels == 3), labels == 4, labels == 0], axis=-1)

    rows = sample_table(6).to_dict("records")
    scenes = []
    for row, dn, one_hot in ((rows[0], coast, mask), (rows[1], bands, mask)):
        made = make_scene(row, 512, seed=0)
        scenes.append(replace(made, reflectance=dn / np.float32(10_000), mask=one_hot, thumbnail=None))
    release = write_release(tmp_path / "release", scenes)
    convert(str(release), str(tmp_path / "store.zarr"))
    assert verify(str(tmp_path / "store.zarr"), str(release)) == []
    restore(str(tmp_path / "store.zarr"), str(tmp_path / "back"), layout="folder")
    ds = s2cmc.open_catalogue(tmp_path / "store.zarr")
    for i, scene in enumerate(scenes):
        opened = ds.reflectance[i].to_numpy()
        restored = np.load(tmp_path / "back" / "subscenes" / f"{scene.row['scene']}.npy")
        for found in (opened, restored):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found.view("uint32"), scene.reflectance.view("uint32"))
        np.testing.assert_array_equal(ds.clouds.one_hot()[i], mask)
    # True colour of all bands costs about its share of them.
    scene = (tmp_path / "store.zarr/reflectance/c/0/0/0/0").stat().st_size
    assert sum(bytes_of_bands(tmp_path / "store.zarr", scene=0, bands=slice(1, 4))) < (3 / 13 + 0.05) * scene


def test_check_values_by_the_accessor(full):
    """The numbers of `test_check_values_of_the_table`, as the tables of ``ds.clouds`` give them."""
    difficulty = full.clouds.difficulty()
    assert difficulty.scenes.to_series().to_dict() == {1: 270, 2: 32, 3: 122, 4: 67, 5: 22}
    np.testing.assert_allclose(difficulty.percent, [52.63, 6.24, 23.78, 13.06, 4.29], atol=0.005)
    tags = full.clouds.tag_frequencies()
    names = ["cumulus", "cirrus", "snow_ice", "open_water", "contrails"]
    assert tags.scenes.sel(tag=names).values.tolist() == [292, 188, 113, 120, 4]
    np.testing.assert_allclose(tags.percent.sel(tag=names), [56.92, 36.65, 22.03, 23.39, 0.78], atol=0.005)


def test_strata_of_the_genuine_table(full):
    by = ["split", "surface_type", "annotator", "dataset", "shadows_marked"]
    scenes = full.clouds.prevalence(by).scenes.to_series()
    assert scenes["all"] == 513
    assert scenes["no surface_type"] == 116
    assert (scenes["split=train"], scenes["split=test"]) == (453, 60)
    assert (scenes["annotator=A"], scenes["annotator=B"]) == (260, 253)
    assert [scenes[f"dataset={name}"] for name in ("MAIN", "VALIDATION", "CALIBRATION")] == [453, 50, 10]
    assert scenes["shadows_marked=True"] == 424
    assert scenes["snow_ice"] == 113


def test_published_prevalence_is_the_mean_of_the_table(full):
    published = full.clouds.prevalence().published_percent.sel(stratum="all")
    assert published.round(4).values.tolist() == [45.9429, 52.5811, 1.4759]


def test_full_size_masks_give_the_published_prevalence(full):
    """All 513 masks of 1022 x 1022 px, each with exactly the pixels that the table says, as lazy arrays of dask."""
    size = 1022
    cloud, shadow = (np.rint(full[name].values / 100 * size**2).astype(int) for name in _COVER)
    counts = np.stack([size**2 - cloud - shadow, cloud, shadow], axis=-1)

    def labels(row: np.ndarray) -> np.ndarray:
        return np.repeat(np.arange(3, dtype="uint8"), row).reshape(1, size, size)

    masks = [dask.array.from_delayed(dask.delayed(labels)(row), shape=(1, size, size), dtype="uint8") for row in counts]
    ds = xr.Dataset(
        {"mask": (("scene", "y", "x"), dask.array.concatenate(masks))},
        {name: c.variable for name, c in full.coords.items() if c.dims == ("scene",)},
    )
    found = ds.clouds.prevalence("dataset").compute()
    np.testing.assert_array_equal(found.pixels.sel(stratum="all"), counts.sum(axis=0))
    assert found.percent.sel(stratum="all").round(4).values.tolist() == [45.9429, 52.5811, 1.4759]
    # The table's percentages are those of whole pixels, so that counting gives their means.
    table = full[["clear_percent", *_COVER]].to_dataframe().groupby(full.dataset.values)
    for name, means in table[["clear_percent", *_COVER]].mean().iterrows():
        np.testing.assert_allclose(found.percent.sel(stratum=f"dataset={name}"), means, atol=1e-9)
    np.testing.assert_allclose(found.difference, 0, atol=1e-9)
