"""Predictions in files that do not fit: one error with a line for each, before the catalogue is read."""

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr

from s2cmc.errors import PredictionError

SIZE = 64


@pytest.fixture
def sealed(opened: xr.Dataset) -> xr.Dataset:
    """The catalogue, failing as soon as a pixel of it is read; a lazy prediction may be computed all the same."""

    def refuse(block: np.ndarray) -> np.ndarray:
        raise AssertionError("a pixel was read")

    masks = {name: opened[name] for name in ("mask", "alt_mask")}
    return opened.assign(
        {name: m.copy(data=m.data.map_blocks(refuse, dtype="uint8", meta=m.data._meta)) for name, m in masks.items()}
    )


def _npy(values: np.ndarray, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, values, **options)
    return file.getvalue()


def _npz(*arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, *arrays)
    return file.getvalue()


def _tif(values: np.ndarray) -> bytes:
    """A GeoTIFF of values (band, y, x)."""
    shape = dict(zip(("count", "height", "width"), values.shape, strict=True))
    with rasterio.MemoryFile() as memory:
        transform = rasterio.Affine(20, 0, 465_300, 0, -20, 6_006_000)
        with memory.open(driver="GTiff", dtype=values.dtype, transform=transform, **shape) as raster:
            raster.write(values)
        return memory.read()


CLEAR = np.zeros((SIZE, SIZE), "uint8")


class Unpickled:
    """Tells when it is unpickled."""

    def __reduce__(self) -> tuple:
        return pytest.fail, ("an object was unpickled",)


def _all_clear(folder: Path, opened: xr.Dataset) -> Path:
    """A folder with a prediction for each scene that sees no cloud."""
    folder.mkdir()
    for scene in opened.scene.values:
        (folder / f"{scene}.npy").write_bytes(_npy(CLEAR))
    return folder


def _to_zip(folder: Path, stored: bool = False) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


def _with_label(label: int) -> np.ndarray:
    values = CLEAR.copy()
    values[0, :3] = label
    return values


FLAWS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "empty": (".npy", lambda: b"", r"is not a readable npy"),
    "text": (".npy", lambda: b"0 0 1", r"is not a readable npy"),
    "truncated npy": (".npy", lambda: _npy(CLEAR)[:-1], r"takes 4096 bytes, but 4095 follow its header"),
    "npy that goes on": (".npy", lambda: _npy(CLEAR) + b"\0", r"takes 4096 bytes, but 4097 follow its header"),
    "objects": (
        ".npy",
        lambda: _npy(np.array([Unpickled()]), allow_pickle=True),
        r"holds Python objects \(object\); they are never loaded",
    ),
    "objects in npz": (".npz", lambda: _npz(np.array([Unpickled()])), r"!arr_0\.npy holds Python objects"),
    "records": (
        ".npy",
        lambda: _npy(np.zeros((SIZE, SIZE), "u1,u1")),
        r"is not a readable npy.*; expected plain values",
    ),
    "truncated npz": (".npz", lambda: _npz(CLEAR)[:-40], r"is not a readable npz"),
    "two arrays": (".npz", lambda: _npz(CLEAR, CLEAR), r"holds 2 arrays \(arr_0\.npy, arr_1\.npy\); expected one"),
    "truncated tif": (".tif", lambda: _tif(CLEAR[np.newaxis])[:2000], r"is no readable GeoTIFF"),
    "no tif": (".tif", lambda: b"GIF89a", r"is no readable GeoTIFF"),
    "two bands": (
        ".tif",
        lambda: _tif(np.stack([CLEAR] * 2)),
        r"has shape \(2, 64, 64\); expected \(64, 64\) \(y, x\)",
    ),
    "one-hot": (".npy", lambda: _npy(np.eye(3, dtype="uint8")[CLEAR]), r"has shape \(64, 64, 3\); expected \(64, 64\)"),
    "too small": (".npy", lambda: _npy(CLEAR[1:]), r"has shape \(63, 64\)"),
    "flat": (".npy", lambda: _npy(CLEAR.ravel()), r"has shape \(4096,\)"),
    "unknown label": (".npy", lambda: _npy(_with_label(7)), r"has unknown labels 7 \(3 px\)"),
}


@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize(
    ("flaw", "zipped"),
    [*((flaw, False) for flaw in FLAWS), ("truncated npy", True), ("objects", True), ("no tif", True)],
)
def test_a_file_that_does_not_fit_is_a_line(flaw: str, zipped: bool, opened: xr.Dataset, tmp_path: Path) -> None:
    suffix, content, message = FLAWS[flaw]
    folder = _all_clear(tmp_path / "p", opened)
    scene = str(opened.scene.values[6])
    (folder / f"{scene}.npy").unlink()
    (folder / f"{scene}{suffix}").write_bytes(content())
    with pytest.raises(PredictionError, match=rf"\n  - {scene}: \S*{scene}\{suffix}.*{message}") as caught:
        opened.clouds.confusion(_to_zip(folder) if zipped else folder)
    assert len(caught.value.problems) == 1


@pytest.mark.usefixtures("no_compute")
def test_everything_that_is_wrong_with_files_is_one_error(opened: xr.Dataset, tmp_path: Path) -> None:
    folder = _all_clear(tmp_path / "p", opened)
    scenes = [str(scene) for scene in opened.scene.values]
    (folder / f"{scenes[0]}.npy").unlink()
    (folder / f"{scenes[1]}_v2.tif").write_bytes(_tif(CLEAR[np.newaxis]))
    for scene, flaw in zip(scenes[2:6], ["truncated npy", "objects", "too small", "unknown label"], strict=True):
        (folder / f"{scene}.npy").write_bytes(FLAWS[flaw][1]())
    with pytest.raises(PredictionError, match=r"8 of 10 scenes have one file .*class map 'catalogue' knows") as caught:
        opened.clouds.evaluate(folder)
    missing, several, *files = caught.value.problems
    assert missing == f"scene {scenes[0]} is missing"
    assert several == f"scene {scenes[1]} has several files: {folder}/{scenes[1]}.npy, {folder}/{scenes[1]}_v2.tif"
    assert [line.split(":")[0] for line in files] == scenes[2:6]


@pytest.mark.usefixtures("no_compute")
def test_a_damaged_member_of_a_zip_is_a_line(opened: xr.Dataset, tmp_path: Path) -> None:
    path = _to_zip(_all_clear(tmp_path / "p", opened), stored=True)
    content = bytearray(path.read_bytes())
    content[3000] ^= 1  # among the pixels of the first scene
    path.write_bytes(content)
    with pytest.raises(PredictionError, match=rf"\n  - {opened.scene.values[0]}: .*cannot be read: Bad CRC-32"):
        opened.clouds.confusion(path)


@pytest.mark.usefixtures("no_compute")
def test_floats_in_files_need_a_threshold_and_labels_none(opened: xr.Dataset, tmp_path: Path) -> None:
    folder = _all_clear(tmp_path / "p", opened)
    with pytest.raises(PredictionError, match="uint8 values are labels; leave out the threshold"):
        opened.clouds.confusion(folder, threshold=0.5)
    for scene in opened.scene.values:
        (folder / f"{scene}.npy").write_bytes(_npy(CLEAR.astype("float32")))
    with pytest.raises(PredictionError, match="float32 values are probabilities and need a threshold"):
        opened.clouds.confusion(folder)
    with pytest.raises(PredictionError, match=r"threshold 50\.0 is not above 0 and up to 1"):
        opened.clouds.confusion(folder, threshold=50)


@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_labels_among_probabilities_are_refused(threshold: float | None, opened: xr.Dataset, tmp_path: Path) -> None:
    folder = _all_clear(tmp_path / "p", opened)
    for scene in opened.scene.values[:5]:
        (folder / f"{scene}.npy").write_bytes(_npy(np.full((SIZE, SIZE), 0.25, "float32")))
    with pytest.raises(PredictionError, match="need a threshold" if threshold is None else "are labels"):
        opened.clouds.confusion(folder, threshold=threshold)


@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize("dtype", ["<U5", "datetime64[s]", "complex64"])
def test_what_is_neither_label_nor_probability_is_refused(dtype: str, opened: xr.Dataset, tmp_path: Path) -> None:
    folder = _all_clear(tmp_path / "p", opened)
    (folder / f"{opened.scene.values[0]}.npy").write_bytes(_npy(np.zeros((SIZE, SIZE), dtype)))
    with pytest.raises(PredictionError, match="neither labels nor probabilities"):
        opened.clouds.confusion(folder)


@pytest.mark.usefixtures("no_compute")
def test_probabilities_in_files_that_are_none_are_a_line(opened: xr.Dataset, tmp_path: Path) -> None:
    folder = _all_clear(tmp_path / "p", opened)
    for i, scene in enumerate(opened.scene.values):
        (folder / f"{scene}.npy").write_bytes(_npy(np.full((SIZE, SIZE), i / 8, "float32")))
    with pytest.raises(PredictionError, match=r"4096 values that are no probability, e\.g\. 1\.125") as caught:
        opened.clouds.confusion(folder, threshold=0.5)
    assert len(caught.value.problems) == 1


@pytest.mark.usefixtures("no_compute")
def test_a_place_without_predictions_is_refused(opened: xr.Dataset, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PredictionError, match="0 of 10 scenes have one file") as caught:
        opened.clouds.confusion(tmp_path / "empty")
    assert caught.value.problems == tuple(f"scene {scene} is missing" for scene in opened.scene.values)
    with pytest.raises(PredictionError, match="nowhere does not exist; expected a folder, a zip or a Zarr store"):
        opened.clouds.confusion(tmp_path / "nowhere")
    with pytest.raises(PredictionError, match=r"nowhere\.zip does not exist"):
        opened.clouds.confusion(tmp_path / "nowhere.zip")
    with pytest.raises(PredictionError, match=r"nothing://p cannot be read: .*nothing"):
        opened.clouds.confusion("nothing://p")


@pytest.mark.usefixtures("no_compute")
@pytest.mark.parametrize("cut", [0, 100, -30])
def test_a_truncated_zip_is_refused(cut: int, opened: xr.Dataset, tmp_path: Path) -> None:
    path = _to_zip(_all_clear(tmp_path / "p", opened))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(PredictionError, match=r"p\.zip cannot be read: .*zip"):
        opened.clouds.confusion(path)


def _zarr(path: Path, opened: xr.Dataset, **variables: np.ndarray) -> Path:
    """A Zarr store of variables (scene, y, x)."""
    data = {name: (("scene", "y", "x"), values) for name, values in variables.items()}
    with warnings.catch_warnings(action="ignore"):  # that fixed-length strings are not yet in the Zarr specification
        xr.Dataset(data, {"scene": opened.scene.values}).to_zarr(path, consolidated=False)
    return path


def test_a_zarr_store_has_one_prediction(sealed: xr.Dataset, tmp_path: Path) -> None:
    values = np.zeros((10, SIZE, SIZE), "uint8")
    two = _zarr(tmp_path / "two.zarr", sealed, v1=values, v2=values)
    with pytest.raises(
        PredictionError, match=r"two\.zarr holds 2 variables \(scene, y, x\) \['v\d', 'v\d'\]; expected one"
    ):
        sealed.clouds.confusion(two)
    with pytest.raises(PredictionError, match=r"none\.zarr holds 0 variables"):
        sealed.clouds.confusion(_zarr(tmp_path / "none.zarr", sealed))


def test_a_zarr_store_that_does_not_fit_is_refused(sealed: xr.Dataset, tmp_path: Path) -> None:
    path = _zarr(tmp_path / "p.zarr", sealed.isel(scene=slice(2, None)), labels=np.zeros((8, SIZE, 60), "uint8"))
    with pytest.raises(PredictionError, match="x has 60 pixels") as caught:
        sealed.clouds.confusion(path)
    assert [line.endswith("is missing") for line in caught.value.problems] == [False, True, True]


def test_unknown_labels_of_a_zarr_store_are_told_before_the_catalogue_is_read(
    sealed: xr.Dataset, tmp_path: Path
) -> None:
    values = np.zeros((10, SIZE, SIZE), "uint8")
    values[[2, 8], 0, 0] = 9
    path = _zarr(tmp_path / "p.zarr", sealed, labels=values)
    with pytest.raises(PredictionError, match="values that mean nothing; class map 'catalogue' knows") as caught:
        sealed.clouds.confusion(path)
    assert caught.value.problems == tuple(f"{sealed.scene.values[i]} has unknown labels 9 (1 px)" for i in (2, 8))


@pytest.mark.parametrize(
    ("name", "content"), [("zarr.json", b"{"), ("zarr.json", b'{"zarr_format": 9}'), ("labels/c/0/0/0", b"cut")]
)
def test_a_damaged_zarr_store_is_refused(name: str, content: bytes, sealed: xr.Dataset, tmp_path: Path) -> None:
    # Chunks of fill values are not written.
    path = _zarr(tmp_path / "p.zarr", sealed, labels=np.ones((10, SIZE, SIZE), "uint8"))
    assert (path / name).is_file()
    (path / name).write_bytes(content)
    with pytest.raises(PredictionError, match=r"p\.zarr cannot be read"):
        sealed.clouds.confusion(path)


def test_a_zarr_array_without_a_group_is_refused(sealed: xr.Dataset, tmp_path: Path) -> None:
    zarr.save_array(tmp_path / "p.zarr", np.zeros((10, SIZE, SIZE), "uint8"))
    with pytest.raises(PredictionError, match=r"p\.zarr"):
        sealed.clouds.confusion(tmp_path / "p.zarr")
