"""Predictions that lie: one line for each, nothing of theirs is fetched or waited for."""

import io
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning

from s2cmc.errors import PredictionError

pytestmark = pytest.mark.slow

SIZE = 64


@pytest.fixture
def folder(opened: xr.Dataset, tmp_path: Path) -> Path:
    """A prediction for each scene that sees no cloud."""
    (tmp_path / "p").mkdir()
    for scene in opened.scene.values:
        np.save(tmp_path / "p" / f"{scene}.npy", np.zeros((SIZE, SIZE), "u1"))
    return tmp_path / "p"


@pytest.fixture
def file(folder: Path, opened: xr.Dataset) -> Path:
    """The prediction of one scene, taken away."""
    path = folder / f"{opened.scene.values[4]}.npy"
    path.unlink()
    return path


def raster(path: Path, **options: int) -> Path:
    """A GeoTIFF that sees cloud everywhere."""
    with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
        shape = {"count": 1, "height": SIZE, "width": SIZE} | options
        with rasterio.open(path, "w", driver="GTiff", dtype="uint8", sparse_ok=True, **shape) as created:
            if "height" not in options:
                created.write(np.ones((SIZE, SIZE), "u1"), 1)
    return path


def test_a_raster_that_names_other_files_is_none(folder: Path, file: Path, tmp_path: Path, opened: xr.Dataset) -> None:
    """GDAL's virtual rasters name files, and addresses, from which they take their pixels."""
    elsewhere = raster(tmp_path / "elsewhere.tif")
    virtual = (
        f'<VRTDataset rasterXSize="{SIZE}" rasterYSize="{SIZE}"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{elsewhere}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    file.with_suffix(".tif").write_text(virtual)
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        rasterio.open(file.with_suffix(".tif")) as fetched,
    ):
        assert fetched.read(1).all()  # it would be read
    with pytest.raises(PredictionError, match=rf"{file.stem}\.tif is no readable GeoTIFF"):
        opened.clouds.confusion(folder)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"height": 40_000, "width": 40_000}, r"has shape \(1, 40000, 40000\); expected \(64, 64\) \(y, x\)"),
        ({"count": 5_000, "height": SIZE}, r"has shape \(5000, 64, 64\)"),
        ({"height": SIZE, "tiled": True, "blockxsize": 8192, "blockysize": 8192}, r"has blocks \(8192, 8192\)"),
    ],
    ids=["pixels", "bands", "blocks"],
)
def test_a_raster_of_far_more_than_it_holds_is_not_read(
    folder: Path, file: Path, opened: xr.Dataset, options: dict[str, int], said: str
) -> None:
    assert raster(file.with_suffix(".tif"), **options).stat().st_size < 1_000_000
    with pytest.raises(PredictionError, match=rf"\n  - {file.stem}: .*{said}"):
        opened.clouds.confusion(folder)


@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
def test_what_is_no_file_is_not_waited_for(folder: Path, file: Path, opened: xr.Dataset, target: str) -> None:
    os.mkfifo(folder.parent / "pipe")
    file.symlink_to(target if target.startswith("/") else folder.parent / target)
    with pytest.raises(PredictionError, match=rf"{file.name} cannot be read: it is no file, but a pipe, a device"):
        opened.clouds.confusion(folder)


def test_a_scene_twice_in_a_zip_is_refused(folder: Path, opened: xr.Dataset) -> None:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings(action="ignore"):
        for file in [*folder.iterdir(), next(folder.iterdir())]:
            archive.write(file, file.name)
    with pytest.raises(PredictionError, match=r"p\.zip cannot be read: it holds 'S2.*\.npy' twice"):
        opened.clouds.confusion(path)


@pytest.mark.parametrize(("method", "number"), [(zipfile.ZIP_BZIP2, 12), (zipfile.ZIP_LZMA, 14)], ids=["bzip2", "lzma"])
def test_what_may_inflate_without_bound_is_refused(
    folder: Path, file: Path, opened: xr.Dataset, method: int, number: int
) -> None:
    packed, plain = io.BytesIO(), io.BytesIO()
    np.save(plain, np.zeros((SIZE, SIZE), "u1"))
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("arr_0.npy", plain.getvalue())
    file.with_suffix(".npz").write_bytes(packed.getvalue())
    with pytest.raises(PredictionError, match=rf"{file.stem}\.npz is not .*: compressed by method {number}"):
        opened.clouds.confusion(folder)

    file.with_suffix(".npz").unlink()
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for other in folder.iterdir():
            archive.write(other, other.name)
        archive.writestr(file.name, plain.getvalue(), method)
    with pytest.raises(PredictionError, match=rf"{file.name} cannot be read: it is compressed by method {number}"):
        opened.clouds.confusion(path)
