"""Predictions in files: folders, zips and Zarr stores count like the DataArray, or are refused with one error."""

import io
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.errors
import xarray as xr

from s2cmc.errors import PredictionError

pytestmark = pytest.mark.slow

SIZE = 64


@pytest.fixture
def sealed(opened: xr.Dataset) -> xr.Dataset:
    """The catalogue, failing as soon as a pixel of it is read; a lazy prediction may be computed all the same."""

    def refuse(block: np.ndarray) -> np.ndarray:
        raise AssertionError("a pixel was read")

    pixels = {name: opened[name].data for name in ("mask", "alt_mask")}
    return opened.assign(
        {
            name: (("scene", "y", "x"), data.map_blocks(refuse, dtype="uint8", meta=np.empty((0, 0, 0), "uint8")))
            for name, data in pixels.items()
        }
    )


def _npy(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values, **options)
    return file.getvalue()


def _npz(*arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, *arrays)
    return file.getvalue()


def _tif(values: np.ndarray) -> bytes:
    """A GeoTIFF (band, y, x) or (y, x) in the grid of some UTM tile."""
    bands = values.reshape((-1, *values.shape[-2:]))
    grid = {"crs": "EPSG:32626", "transform": rasterio.Affine(20, 0, 465_300, 0, -20, 6_006_000)}
    shape = dict(zip(("count", "height", "width"), bands.shape, strict=True))
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", dtype=bands.dtype, compress="deflate", **shape, **grid) as raster:
            raster.write(bands)
        return memory.read()


def _as_files(labels: xr.DataArray) -> dict[str, bytes]:
    """A file of every kind and manner of naming that is understood."""
    write = [
        ("{}.npy", _npy),
        ("{}_mask.npy", lambda v: _npy(np.asfortranarray(v))),
        ("pred-{}.npz", _npz),
        ("{}.tif", _tif),
        ("fmask_{}_v4.TIFF", _tif),
        ("deep/er/{}.npy", lambda v: _npy(v[np.newaxis])),
        ("{}.SAFE.npy", lambda v: _npy(v[..., np.newaxis])),
    ]
    files = {}
    for i, values in enumerate(labels):
        name, to_bytes = write[i % len(write)]
        files[name.format(values.scene.item())] = to_bytes(values.values)
    return files


def _in_folder(files: dict[str, bytes], place: Path) -> Path:
    for name, content in files.items():
        path = place / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return place / "folder"


def _in_zip(files: dict[str, bytes], place: Path, top: str = "", name: str = "predictions.zip") -> Path:
    with zipfile.ZipFile(place / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            archive.writestr(top + member, content)
    return place / name


def _in_zip_with_folder(files: dict[str, bytes], place: Path) -> Path:
    return _in_zip(files, place, top="predictions/")


def _in_zarr(labels: xr.DataArray, path: Path, zarr_format: int) -> Path:
    with warnings.catch_warnings(action="ignore"):  # that fixed-length strings are not yet in the Zarr specification
        labels.to_zarr(path, zarr_format=zarr_format, consolidated=zarr_format == 2)
    return path


def _in_plain_zarr(labels: xr.DataArray, folder: Path) -> Path:
    return _in_zarr(labels, folder / "p.zarr", 3)


@pytest.mark.parametrize("write", [_in_folder, _in_zip, _in_zip_with_folder])
def test_files_count_like_the_array(
    write: Callable, opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset, tmp_path: Path
) -> None:
    path = write(_as_files(labels), tmp_path)
    xr.testing.assert_identical(opened.clouds.confusion(path).compute(), counts)
    xr.testing.assert_identical(opened.clouds.confusion(str(path)).compute(), counts)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_zarr_store_counts_like_the_array(
    zarr_format: int, opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset, tmp_path: Path
) -> None:
    turned = labels.isel(scene=[3, 1, 0, 2, *range(9, 3, -1)]).transpose("x", "scene", "y").chunk(scene=2)
    path = _in_zarr(turned, tmp_path / "p.zarr", zarr_format)
    xr.testing.assert_identical(opened.clouds.confusion(path).compute(), counts)


@pytest.mark.parametrize("write", [lambda labels, path: _in_folder(_as_files(labels), path), _in_plain_zarr])
def test_files_are_north_up_whatever_the_catalogue_is(
    write: Callable, opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset, tmp_path: Path
) -> None:
    path = write(labels, tmp_path)
    for turned in (opened.sortby("y"), opened.isel(y=slice(None, None, -1), x=slice(None, None, -1))):
        xr.testing.assert_equal(turned.clouds.confusion(path).compute(), counts)


def test_an_array_is_matched_by_its_y_and_x(opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset) -> None:
    placed = labels.assign_coords(y=opened.y, x=opened.x)
    for prediction in (placed.sortby("y"), placed.isel(x=slice(None, None, -1)).chunk(scene=3)):
        xr.testing.assert_equal(opened.clouds.confusion(prediction).compute(), counts)
        xr.testing.assert_equal(opened.sortby("y").clouds.confusion(prediction).compute(), counts)


def test_probabilities_in_files_count_like_the_array(opened: xr.Dataset, labels: xr.DataArray, tmp_path: Path) -> None:
    noise = np.random.default_rng(2).random(labels.shape, np.float32)
    probability = (noise * (labels != 2)).where(labels != 255).astype("float32").rename("probability")
    expected = opened.clouds.confusion(probability, threshold=0.4).compute()
    for path in (_in_folder(_as_files(probability), tmp_path), _in_zarr(probability, tmp_path / "p.zarr", 3)):
        xr.testing.assert_identical(opened.clouds.confusion(path, threshold=0.4).compute(), expected)


def test_files_may_differ_in_their_whole_numbers(
    opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset, tmp_path: Path
) -> None:
    dtypes = ["uint8", "int16", "uint16", "int64"]
    files = {f"{p.scene.item()}.npy": _npy(p.values.astype(dtypes[i % 4])) for i, p in enumerate(labels)}
    xr.testing.assert_identical(opened.clouds.confusion(_in_folder(files, tmp_path)).compute(), counts)


def test_booleans_in_files_are_cloud_or_not_like_those_of_the_array(
    opened: xr.Dataset, labels: xr.DataArray, tmp_path: Path
) -> None:
    files = {f"{p.scene.item()}.npy": _npy(p.values == 1) for p in labels}
    found = opened.clouds.confusion(_in_folder(files, tmp_path)).compute()
    xr.testing.assert_identical(found, opened.clouds.confusion(labels == 1).compute())


def test_a_class_map_reads_files_too(opened: xr.Dataset, labels: xr.DataArray, tmp_path: Path) -> None:
    scl = xr.where(labels == 1, 9, xr.where(labels == 2, 3, xr.where(labels == 255, 0, 4))).astype("uint8")
    path = _in_zip(_as_files(scl), tmp_path)
    found = opened.clouds.confusion(path, class_map="sen2cor").compute()
    xr.testing.assert_equal(found, opened.clouds.confusion(labels).compute())


def test_files_of_other_scenes_and_other_things_are_left_alone(
    opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset, tmp_path: Path
) -> None:
    first, *_ = opened.scene.values
    others = {
        "README.md": b"how it was made",
        f"{first}.png": b"a picture",
        f"{first}.npy.json": b"{}",
        "S2A_MSIL1C_20180128.npy": b"no product ID",
        f"{first.replace('_20180128T1244', '_20190128T1244')}.npy": b"a scene that the catalogue does not have",
    }
    path = _in_zip(_as_files(labels) | others, tmp_path)
    xr.testing.assert_identical(opened.clouds.confusion(path).compute(), counts)
    # Nor does a part of the catalogue care for what is wrong with the rest.
    (folder := _in_folder(_as_files(labels), tmp_path)).joinpath(f"{first}.npy").write_bytes(b"")
    rest = opened.isel(scene=slice(1, None)).clouds.confusion(folder).compute()
    xr.testing.assert_identical(rest, counts.isel(scene=slice(1, None)))


def test_a_geotiff_needs_no_georeference(
    opened: xr.Dataset, labels: xr.DataArray, counts: xr.Dataset, tmp_path: Path
) -> None:
    one = opened.isel(scene=[2])
    path = tmp_path / f"{one.scene.values[0]}.tif"
    with (
        warnings.catch_warnings(action="ignore", category=rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(path, "w", driver="GTiff", dtype="uint8", count=1, height=SIZE, width=SIZE) as raster,
    ):
        raster.write(labels.values[2:3])
    xr.testing.assert_identical(one.clouds.confusion(tmp_path).compute(), counts.isel(scene=[2]))


def test_files_are_read_again_only_when_counts_are_computed(
    opened: xr.Dataset, labels: xr.DataArray, tmp_path: Path
) -> None:
    folder = _in_folder(_as_files(labels), tmp_path)
    lazy = opened.clouds.confusion(folder)
    shutil.rmtree(folder)
    with pytest.raises(PredictionError, match=r"\.\w+ cannot be read: .*No such file"):
        lazy.compute()


@pytest.mark.usefixtures("no_compute")
def test_the_catalogue_is_not_read_for_files_that_fit(opened: xr.Dataset, labels: xr.DataArray, tmp_path: Path) -> None:
    found = opened.clouds.confusion(_in_zip(_as_files(labels), tmp_path))
    assert found.confusion.chunksizes["scene"] == (1,) * 10


def test_the_zarr_store_alone_is_looked_through(sealed: xr.Dataset, labels: xr.DataArray, tmp_path: Path) -> None:
    lazy = sealed.clouds.confusion(_in_zarr(labels.chunk(scene=1), tmp_path / "p.zarr", 3))
    with pytest.raises(AssertionError, match="a pixel was read"):
        lazy.compute()
