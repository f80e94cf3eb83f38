"""Bands of a scene at native resolution, from full-size synthetic JP2 files of its Level-1C product."""

import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from helpers.safe_products import make_tile, write_band, write_safe

from s2cmc.errors import QueryError, SceneError
from s2cmc.geo import level1c
from s2cmc.geo.level1c import L1CWindow, find_bands, l1c_window, read_l1c, read_pixels
from s2cmc.schema.bands import BAND_NAMES, BANDS

pytestmark = pytest.mark.slow

SCENE = 2  # its corner is between whole pixels of 60 m, as most are


@pytest.fixture(scope="module")
def window(opened: xr.Dataset) -> L1CWindow:
    return l1c_window(opened, SCENE)


@pytest.fixture(scope="module")
def tiles(window: L1CWindow) -> dict[str, np.ndarray]:
    """DN of every band of the whole tile, all different."""
    return {band: make_tile(window, band) for band in BAND_NAMES}


@pytest.fixture(scope="module")
def product(window: L1CWindow, tiles: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SAFE folder with all bands. Not to be changed."""
    return write_safe(tmp_path_factory.mktemp("product"), window, tiles)


@pytest.fixture
def images(product: Path, tmp_path: Path) -> Path:
    """A folder with three of its files; a test may change it."""
    for band in ("B01", "B05", "B11"):
        shutil.copy(next(product.rglob(f"*_{band}.jp2")), tmp_path)
    return tmp_path


def test_the_test_files_hold_every_bit(product: Path, tiles: dict[str, np.ndarray]) -> None:
    for band in ("B01", "B11"):
        with rasterio.open(next(product.rglob(f"*_{band}.jp2"))) as file:
            np.testing.assert_array_equal(file.read(1), tiles[band])


def test_every_band_is_read_at_its_resolution_and_place(
    catalogue: xr.Dataset, window: L1CWindow, tiles: dict[str, np.ndarray], product: Path
) -> None:
    tree = read_l1c(catalogue, SCENE, product, dn=True)
    assert list(tree.children) == ["r10m", "r20m", "r60m"]
    left, top = float(catalogue.x_origin[SCENE]), float(catalogue.y_origin[SCENE])
    for band in BANDS:
        found, step = tree[f"r{band.resolution}m/{band.name}"], band.resolution
        assert found.dtype == np.uint16
        # By coordinates alone: which pixels of the whole tile these are.
        rows = np.rint((window.tile_y - found.y.to_numpy()) / step - 0.5).astype(int)
        columns = np.rint((found.x.to_numpy() - window.tile_x) / step - 0.5).astype(int)
        np.testing.assert_array_equal(found, tiles[band.name][np.ix_(rows, columns)])
        np.testing.assert_array_equal(found.y, window.tile_y - step * (rows + 0.5))
        np.testing.assert_array_equal(found.x, window.tile_x + step * (columns + 0.5))
        # They cover the scene, 1280 m wide, and none is without a part of it.
        assert left - step < found.x[0] - step / 2 <= left
        assert left + 1280 <= found.x[-1] + step / 2 < left + 1280 + step
        assert top <= found.y[0] + step / 2 < top + step
        assert top - 1280 - step < found.y[-1] - step / 2 <= top - 1280
    assert tree["r10m"].sizes == {"y": 128, "x": 128}
    assert tree["r20m"].sizes == {"y": 64, "x": 64}
    assert tree["r60m"].sizes == {"y": 22, "x": 22}


def test_reflectance_is_decoded_as_the_catalogue_does(
    catalogue: xr.Dataset, tiles: dict[str, np.ndarray], window: L1CWindow, product: Path
) -> None:
    found = read_l1c(catalogue, SCENE, product, ["B11"])["r20m/B11"]
    assert found.dtype == np.float32
    dn = tiles["B11"][window.window("B11").slices]
    np.testing.assert_array_equal(found, dn.astype(np.float32) / np.float32(10_000))
    assert found.attrs["common_name"] == "swir16"


def test_rioxarray_knows_where_it_is(catalogue: xr.Dataset, product: Path, tmp_path: Path) -> None:
    tree = read_l1c(catalogue, SCENE, product, ["B04", "B11", "B10"])
    scene = catalogue.clouds.scene(SCENE)
    assert tree["r20m/B11"].rio.transform() == scene.rio.transform()
    assert tree["r20m/B11"].rio.bounds() == scene.rio.bounds() == tree["r10m/B04"].rio.bounds()
    np.testing.assert_array_equal(tree["r20m"].x, scene.x)
    np.testing.assert_array_equal(tree["r20m"].y, scene.y)
    for path in ("r10m/B04", "r20m/B11", "r60m/B10"):
        assert tree[path].rio.crs == scene.rio.crs
    tree["r60m/B10"].rio.to_raster(tmp_path / "cirrus.tif")
    with rasterio.open(tmp_path / "cirrus.tif") as file:
        assert file.transform == tree["r60m/B10"].rio.transform()
        np.testing.assert_array_equal(file.read(1), tree["r60m/B10"])


def test_nothing_is_read_before_it_is_asked(catalogue: xr.Dataset, product: Path, no_compute: None) -> None:
    tree = read_l1c(catalogue, SCENE, product)
    assert all(variable.chunks for group in tree.children.values() for variable in group.data_vars.values())


def test_only_the_window_of_a_file_is_read(
    catalogue: xr.Dataset, product: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    read_pixels = level1c.read_pixels

    def counted(path: str, rows: slice, columns: slice, scene: str) -> np.ndarray:
        pixels = read_pixels(path, rows, columns, scene)
        asked.append((Path(path).name[-7:-4], pixels.size))
        return pixels

    monkeypatch.setattr(level1c, "read_pixels", counted)
    tree = read_l1c(catalogue, SCENE, product)
    tree["r10m/B02"].load()
    tree["r60m/B09"].load()
    assert asked == [("B02", 128 * 128), ("B09", 22 * 22)]


def test_it_goes_to_other_processes(catalogue: xr.Dataset, product: Path) -> None:
    found = read_l1c(catalogue, SCENE, product, ["B12"])["r20m/B12"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)), found)  # noqa: S301, our own bytes


def test_any_folder_of_its_files_will_do(catalogue: xr.Dataset, product: Path, images: Path) -> None:
    expected = read_l1c(catalogue, SCENE, product, ["B11"])["r20m/B11"]
    for source in (str(product), product.parent, next(product.rglob("IMG_DATA")), images):
        xr.testing.assert_identical(read_l1c(catalogue, SCENE, source, ["B11"])["r20m/B11"], expected)


def test_its_own_safe_is_found_among_others(catalogue: xr.Dataset, product: Path, tmp_path: Path) -> None:
    others = tmp_path / "S2A_MSIL1C_20180101T010721_N0206_R045_T53HLD_20180101T041600.SAFE" / "IMG_DATA"
    others.mkdir(parents=True)
    (others / "T53HLD_20180101T010721_B11.jp2").write_bytes(b"never opened")
    shutil.copytree(product, tmp_path / product.name)
    assert read_l1c(catalogue, SCENE, tmp_path, ["B11"])["r20m/B11"].shape == (64, 64)


def test_a_zip_is_read_in_place(catalogue: xr.Dataset, product: Path, tmp_path: Path) -> None:
    archive = tmp_path / f"{product.name}.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in product.rglob("*_B1*.jp2"):
            file.write(path, path.relative_to(product.parent))
    bands = ["B10", "B11", "B12"]
    found, expected = (read_l1c(catalogue, SCENE, source, bands).load() for source in (archive, product))
    for path in ("r20m/B11", "r20m/B12", "r60m/B10"):
        xr.testing.assert_identical(found[path], expected[path])


def test_all_that_is_missing_is_named_at_once(catalogue: xr.Dataset, window: L1CWindow, images: Path) -> None:
    with pytest.raises(SceneError, match=r"lacks 10 of its bands: .*_B02\.jp2, .*_B12\.jp2\. Files without") as error:
        read_l1c(catalogue, SCENE, images)
    for band in BAND_NAMES:
        assert (window.file_name(band) in str(error.value)) == (band not in ("B01", "B05", "B11"))


def test_files_of_another_product_are_not_taken(catalogue: xr.Dataset, window: L1CWindow, images: Path) -> None:
    for path in images.glob("*.jp2"):
        path.rename(path.with_name("T31TCJ_20180112T105401" + path.name[-8:]))
    with pytest.raises(SceneError, match=r"lacks 1 of its bands.*another product: T31TCJ_20180112T105401\."):
        read_l1c(catalogue, SCENE, images, ["B11"])


def test_the_same_images_processed_anew_are_another_product(
    catalogue: xr.Dataset, window: L1CWindow, product: Path, tmp_path: Path
) -> None:
    anew = window.product_name.replace("_N0206_", "_N0500_")
    shutil.copytree(product, tmp_path / anew)
    assert (tmp_path / anew).is_dir()
    with pytest.raises(SceneError, match=f"holds bands of another product: {anew}"):
        read_l1c(catalogue, SCENE, tmp_path / anew, ["B11"])


def test_a_band_that_is_there_twice_is_an_error(catalogue: xr.Dataset, images: Path) -> None:
    shutil.copytree(images, images / "copy")
    with pytest.raises(SceneError, match=r"holds bands more than once: .*_B11\.jp2, .*_B11\.jp2; name one folder"):
        read_l1c(catalogue, SCENE, images, ["B11"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crs": 32601}, r"uint16, EPSG:32601 from .*; expected uint16, EPSG:"),
        ({"transform": rasterio.Affine(20, 0, 300_000, 0, -20, 0)}, r"from 300000, 0 m.*expected"),
        ({"dtype": "uint8"}, r"uint8, EPSG.*expected uint16"),
        ({"width": 100, "height": 90}, r"100 x 90 pixels of 20 x 20 m; expected .* 5490 x 5490 pixels of 20 x 20 m"),
    ],
)
def test_a_file_on_another_grid_is_an_error(
    catalogue: xr.Dataset, window: L1CWindow, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    shape = changes.get("height", 5490), changes.get("width", 5490)
    write_band(tmp_path, window, "B11", np.ones(shape, str(changes.get("dtype", "uint16"))), **changes)
    with pytest.raises(SceneError, match=rf"not of its tile:\n  - .*_B11\.jp2 is .*{said}"):
        read_l1c(catalogue, SCENE, tmp_path, ["B11"])


def test_files_that_are_no_images_are_an_error(catalogue: xr.Dataset, images: Path) -> None:
    for path in images.glob("*B[01][15].jp2"):
        path.write_bytes(b"cut")
    with pytest.raises(SceneError, match=r"(?s)_B05\.jp2 cannot be read.*_B11\.jp2 cannot be read"):
        read_l1c(catalogue, SCENE, images, ["B05", "B11"])


def test_a_file_that_is_cut_short_later_is_an_error_that_names_it(catalogue: xr.Dataset, images: Path) -> None:
    tree = read_l1c(catalogue, SCENE, images, ["B11"])
    path = next(images.glob("*B11.jp2"))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SceneError, match=r"_B11\.jp2 cannot be read: .*get this file of the product anew"):
        tree["r20m/B11"].load()


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_file_of_which_a_part_was_downloaded_is_never_read_as_zeros(window, tmp_path, share):
    """GDAL decodes the blocks of a window in several threads, and forgets what went wrong in them."""
    pixels = np.ones((5490, 5490), np.uint16)
    pixels[:3000, :3000] = np.random.default_rng(0).integers(1, 10_000, (3000, 3000))
    path = write_band(tmp_path, window, "B11", pixels)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(SceneError, match=r"_B11\.jp2 cannot be read: .*get this file of the product anew"):
        read_pixels(str(path), slice(500, 2600), slice(500, 2600), window.product_id)


def test_a_place_that_is_none_is_an_error(catalogue: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"there is no .*nowhere\.SAFE; expected its SAFE folder or a zip of it"):
        read_l1c(catalogue, SCENE, tmp_path / "nowhere.SAFE")
    (tmp_path / "text").write_text("no zip")
    with pytest.raises(SceneError, match="text is neither a SAFE folder nor a zip of one"):
        read_l1c(catalogue, SCENE, tmp_path / "text")
    with pytest.raises(SceneError, match="lacks 13 of its bands"):
        read_l1c(catalogue, SCENE, tmp_path)


def test_a_band_that_does_not_exist_is_an_error(catalogue: xr.Dataset, product: Path, window: L1CWindow) -> None:
    with pytest.raises(QueryError, match="there is no band 'B13'"):
        read_l1c(catalogue, SCENE, product, ["B11", "B13"])
    for bands in ("B11", [], 11):
        with pytest.raises(QueryError, match="is no list of names"):
            read_l1c(catalogue, SCENE, product, bands)
    with pytest.raises(QueryError, match="source None is no path; give the product's SAFE folder"):
        read_l1c(catalogue, SCENE, None)
    with pytest.raises(QueryError, match="there is no band 'PVI'"):
        find_bands(window, product, ["PVI"])
