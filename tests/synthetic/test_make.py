"""The synthetic release: in the published layout, the same for the same seed, and like Sentinel-2 where it matters."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import s2cmc
from s2cmc import schema
from s2cmc.release import SHAPEFILE_SUFFIXES
from s2cmc.schema.bands import BAND_NAMES
from s2cmc.synthetic.make import make_release, make_scene
from s2cmc.synthetic.table import QUIRKS, quirk_scenes, sample_table


def test_the_tree_is_the_published_one(release):
    table = pd.read_csv(release / "classification_tags.csv")
    assert list(table) == list(schema.TABLE_COLUMNS)
    scenes = list(table["scene"])
    with_alt = list(table.loc[table["dataset"] != "MAIN", "scene"])
    expected = {
        "subscenes": [f"subscenes/{scene}.npy" for scene in scenes],
        "masks": [f"masks/{scene}.npy" for scene in scenes],
        "alt_masks": [f"alt_masks/ALT_{scene}.npy" for scene in with_alt],
        "thumbnails": [f"thumbnails/{scene}.png" for scene in scenes],
        "shapefiles": [f"shapefiles/{scene}/{scene}{suffix}" for scene in scenes for suffix in SHAPEFILE_SUFFIXES],
    }
    for part, names in expected.items():
        with zipfile.ZipFile(release / f"{part}.zip") as archive:
            folders = {f"{part}/", *(f"shapefiles/{scene}/" for scene in scenes if part == "shapefiles")}
            assert sorted(archive.namelist()) == sorted([*folders, *names])
    assert {path.name for path in release.iterdir()} == {
        "classification_tags.csv",
        "SYNTHETIC.txt",
        *(f"{part}.zip" for part in expected),
    }


def test_the_same_seed_gives_the_same_release(tmp_path):
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = make_release(tmp_path / name, scenes=2, size=24, seed=seed, layout="folder")
        contents.append({str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.[nc][ps][yv]")})
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_reflectance_is_whole_dn_and_masks_are_one_hot(release):
    with zipfile.ZipFile(release / "subscenes.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        reflectance = np.load(io.BytesIO(archive.read(names[0])))
    assert reflectance.dtype == np.float32
    dn = np.rint(reflectance * 10_000).astype("uint16")
    np.testing.assert_array_equal(dn / np.float32(10_000), reflectance)


@pytest.mark.parametrize("size", [40, 96])
def test_masks_have_exactly_the_pixels_of_their_row(size):
    for row in sample_table(4).to_dict("records"):
        mask = make_scene(row, size, seed=0).mask
        assert (mask.sum(axis=-1) == 1).all()
        for column, channel in (("cloud_percent", 1), ("shadow_percent", 2)):
            assert mask[..., channel].sum() == round(row[column] / 100 * size**2)


def test_bands_are_correlated_and_cirrus_is_dark_without_high_cloud():
    rows = sample_table(4).to_dict("records")
    clear = next(row for row in rows if row["cloud_percent"] == 0)
    reflectance = make_scene(clear, 128, seed=0).reflectance
    visible = np.corrcoef(reflectance[..., 1:4].reshape(-1, 3).T)
    assert visible.min() > 0.8
    assert reflectance[..., BAND_NAMES.index("B10")].mean() < 0.01


@pytest.mark.long
@pytest.mark.slow
def test_full_size_scenes_deflate_as_the_published_ones_do():
    """Published: 1.83 on average, single scenes above and below. Deflate looks back 32 kB: a part tells."""
    arrays = [make_scene(row, 1022, seed=0).reflectance[:256].tobytes() for row in sample_table(4).to_dict("records")]
    deflated = [len(zlib.compress(array, 6)) for array in arrays]
    assert 1.8 < sum(map(len, arrays)) / sum(deflated) < 2.0


def test_quirks_need_room(tmp_path):
    with pytest.raises(s2cmc.CatalogueError, match=r"quirks need at least 8 scenes.*got 3"):
        make_release(tmp_path / "few", scenes=3, size=16, quirks=True)
    assert set(quirk_scenes(sample_table(9))) == set(QUIRKS)


def test_it_never_writes_over_anything(release, tmp_path: Path):
    with pytest.raises(s2cmc.ReleaseError, match="is not an empty folder"):
        make_release(release, scenes=1, size=16)


def test_a_table_without_the_published_columns_is_refused(tmp_path):
    with pytest.raises(s2cmc.CatalogueError, match="lacks the published columns"):
        make_release(tmp_path / "release", table=pd.DataFrame({"scene": ["x"]}))
