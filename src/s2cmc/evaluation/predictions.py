"""Predictions, from arrays or files: put into the order of a catalogue's scenes, or refused with one error."""

import io
import re
import threading
import warnings
import zipfile
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

import numpy as np
import xarray as xr

from s2cmc._redact import without_secrets
from s2cmc.errors import CatalogueError, MissingPredictionError, PredictionError
from s2cmc.evaluation.class_maps import ClassMap, advice, value_problems
from s2cmc.files import METHODS, SIDE, open_array, open_zip
from s2cmc.schema import DIMS
from s2cmc.storage import filesystem_of, unreadable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from fsspec.implementations.zip import ZipFileSystem

MISSING_ADVICE = "to evaluate on fewer scenes, select these first, e.g. ds.sel(scene=[...])"


def fit(
    catalogue: xr.Dataset,
    prediction: xr.DataArray,
    class_map: ClassMap,
    threshold: float | None,
    *,
    look_through: bool = False,
) -> xr.DataArray:
    """Put a prediction into the order of the catalogue's scenes.

    Parameters
    ----------
    catalogue : Dataset
    prediction : DataArray (scene, y, x), in any order
        With product IDs as coordinate ``scene``. Scenes that the catalogue does not have are left out.
    class_map : ClassMap
    threshold : float or None
        For probabilities; None for labels.
    look_through : bool
        Check the values of a lazy prediction too, which computes it; one in memory is always checked.

    Returns
    -------
    DataArray (scene, y, x)
        With ``scene`` as its only coordinate.

    Raises
    ------
    PredictionError
        If dims, scenes, shape or dtype do not fit, or checked values have no meaning.
    """
    expected = {name: catalogue.sizes[name] for name in DIMS["mask"]}
    if set(prediction.dims) != set(expected):
        raise PredictionError(
            f"the prediction has dims {prediction.dims}; expected {tuple(expected)} in any order, one label or "
            "probability for each pixel"
        )
    if "scene" not in prediction.coords:
        raise PredictionError(
            "the prediction does not say which scenes it is of; name them with prediction.assign_coords(scene=ids)"
        )
    names = [str(scene) for scene in prediction["scene"].to_numpy()]  # stores have them in several dtypes
    prediction = _in_order(catalogue, prediction.transpose(*expected).assign_coords(scene=names))
    problems = [*_shape_problems(catalogue, prediction), *dtype_problems(prediction.dtype, threshold)]
    problems += _scene_problems(catalogue["scene"].to_numpy(), prediction["scene"].to_numpy())
    if problems:
        hint = f"; {MISSING_ADVICE}" if any(problem.endswith("is missing") for problem in problems) else ""
        raise PredictionError(f"the prediction does not fit the catalogue{hint}", problems)
    scenes = catalogue["scene"].to_numpy()
    if not np.array_equal(prediction["scene"].to_numpy(), scenes):
        prediction = prediction.sel(scene=scenes)
    fitted = plain(prediction)
    if look_through or fitted.chunks is None:
        _check_values(fitted, class_map, threshold)
    return fitted


def plain(pixels: xr.DataArray) -> xr.DataArray:
    """Transpose pixels to (scene, y, x), and drop every coordinate but ``scene``."""
    dims = DIMS["mask"]
    return xr.DataArray(pixels.transpose(*dims).data, dims=dims, coords={"scene": pixels["scene"].to_numpy()})


def _in_order(catalogue: xr.Dataset, prediction: xr.DataArray) -> xr.DataArray:
    """Put the rows and columns of a prediction into the order of the catalogue, if only their order differs."""
    for axis in ("y", "x"):
        if axis in prediction.indexes and axis in catalogue.coords:
            predicted, expected = prediction[axis].to_numpy(), catalogue[axis].to_numpy()
            if not np.array_equal(predicted, expected) and np.array_equal(np.sort(predicted), np.sort(expected)):
                prediction = prediction.sel({axis: expected})
    return prediction


def _as_published(catalogue: xr.Dataset, prediction: xr.DataArray) -> xr.DataArray:
    """Give pixels of files without coordinates those of an array as published: north up, whatever the catalogue is."""
    for axis, rising in (("y", False), ("x", True)):
        if axis in catalogue.indexes and axis not in prediction.coords:
            centres = np.sort(catalogue[axis].to_numpy())
            if len(centres) == prediction.sizes.get(axis):
                prediction = prediction.assign_coords({axis: centres if rising else centres[::-1]})
    return prediction


def _scene_problems(required: np.ndarray, predicted: np.ndarray) -> list[str]:
    names, counts = np.unique(predicted, return_counts=True)
    times = dict(zip(names.tolist(), counts.tolist(), strict=True))
    problems = [f"scene {name} is there {times[name]} times" for name in required.tolist() if times.get(name, 0) > 1]
    return problems + [f"scene {name} is missing" for name in required.tolist() if name not in times]


def _shape_problems(catalogue: xr.Dataset, prediction: xr.DataArray) -> list[str]:
    problems = []
    for name in ("y", "x"):
        if prediction.sizes[name] != catalogue.sizes[name]:
            problems.append(f"{name} has {prediction.sizes[name]} pixels; the catalogue has {catalogue.sizes[name]}")
        elif name in prediction.coords and name in catalogue.coords:
            predicted, expected = prediction[name].to_numpy(), catalogue[name].to_numpy()
            if not np.array_equal(predicted, expected):
                problems.append(
                    f"coordinate {name} runs from {predicted[0]} to {predicted[-1]}, that of the catalogue from "
                    f"{expected[0]} to {expected[-1]}; align the two, or drop it with prediction.drop_vars({name!r})"
                )
    return problems


def dtype_problems(dtype: np.dtype, threshold: float | None) -> list[str]:
    """List why values of this dtype are no labels or, with `threshold`, no probabilities."""
    if threshold is not None and not 0 < threshold <= 1:
        return [f"threshold {threshold} is not above 0 and up to 1"]
    if threshold is not None and dtype.kind != "f":
        return [f"a threshold is for probabilities, and {dtype} values are labels; leave out the threshold"]
    if threshold is None and dtype.kind == "f":
        return [
            f"{dtype} values are probabilities and need a threshold, e.g. 0.5; labels must be whole numbers (uint8)"
        ]
    if dtype.kind not in "biuf":
        return [f"{dtype} values are neither labels nor probabilities"]
    return []


def _check_values(prediction: xr.DataArray, class_map: ClassMap, threshold: float | None) -> None:
    """Check all values, so that one error lists all problems."""
    problems: list[str] = []
    start = 0
    for length in prediction.chunksizes.get("scene", (prediction.sizes["scene"],)):
        block = prediction.isel(scene=slice(start, start + length)).load()
        for scene, values in zip(block["scene"].to_numpy(), block.to_numpy(), strict=True):
            problems += [f"{scene} has {problem}" for problem in value_problems(values, class_map, threshold)]
        start += length
    if problems:
        raise PredictionError(
            f"the prediction holds values that mean nothing; {advice(class_map, threshold)}", problems
        )


# Predictions in files: a folder, zip or Zarr store, named by scene.

SUFFIXES = (".npy", ".npz", ".tif", ".tiff")
_PRODUCT_ID = re.compile(r"S2[A-Z]_MSIL1C_\d{8}T\d{6}_N\d{4}_R\d{3}_T\d{2}[A-Z]{3}_\d{8}T\d{6}")
_THREADS = 16
_BYTES_A_PIXEL = 16  # of values, or of a file with what belongs to it
_BYTES_BESIDE = 1_000_000  # headers, tags
_WARNINGS = threading.Lock()


def open_predictions(path: str, catalogue: xr.Dataset, class_map: ClassMap, threshold: float | None) -> xr.DataArray:
    """Open predictions for the scenes of a catalogue, lazily, one scene in a chunk.

    Parameters
    ----------
    path : str
        Folder or zip, local or a URL, with one file for each scene: npy or npz with one array, or GeoTIFF with one
        band, its name holding the product ID. Or a Zarr store with one variable (scene, y, x).
    catalogue : Dataset
    class_map, threshold
        Meaning of the values; every file is checked before any pixel of the catalogue is read. One file takes at most
        three times 16 bytes a pixel and 1 MB of memory, a Zarr store as much as its chunks need.

    Returns
    -------
    DataArray (scene, y, x)

    Raises
    ------
    PredictionError
        If scenes are missing, or files cannot be read or do not fit; one line for each.
    """
    try:
        filesystem, root = filesystem_of(path)
        exists = filesystem.exists(root)
        is_store = any(filesystem.exists(f"{root}/{name}") for name in ("zarr.json", ".zgroup"))
        if exists and root.endswith(".zip"):
            filesystem, root = _in_zip(filesystem.open(root, "rb")), ""
        names = [] if is_store or not exists else filesystem.find(root)
    except unreadable(ValueError, ImportError, zipfile.BadZipFile, NotImplementedError) as error:
        raise PredictionError(f"{path} cannot be read: {error}") from without_secrets(error)
    if is_store:
        return _open_zarr(path, catalogue, class_map, threshold)
    if not exists:
        raise MissingPredictionError(f"{path} does not exist; expected a folder, a zip or a Zarr store of predictions")
    scenes = [str(scene) for scene in catalogue["scene"].to_numpy()]
    files, problems = _by_scene(names, scenes)
    shape = (catalogue.sizes["y"], catalogue.sizes["x"])
    with ThreadPoolExecutor(_THREADS) as pool:
        read = pool.map(lambda scene: _check_file(filesystem, files[scene], shape, class_map, threshold), files)
        dtype_or_problem = dict(zip(files, read, strict=True))
    problems += [f"{scene}: {problem}" for scene, problem in dtype_or_problem.items() if isinstance(problem, str)]
    dtypes = {dtype for dtype in dtype_or_problem.values() if isinstance(dtype, np.dtype)}
    problems += sorted({problem for dtype in dtypes for problem in dtype_problems(dtype, threshold)})
    if problems:
        hints = [f"{len(files)} of {len(scenes)} scenes have one file ({', '.join(SUFFIXES)})"]
        if any("unknown labels" in problem for problem in problems):
            hints.append(advice(class_map, threshold))
        if len(files) < len(scenes):
            hints.append(MISSING_ADVICE)
        raise PredictionError(f"the predictions in {path} do not fit the catalogue: {'; '.join(hints)}", problems)
    if not scenes:
        nothing = np.empty((0, *shape), np.uint8 if threshold is None else np.float32)
        return xr.DataArray(nothing, dims=DIMS["mask"], coords={"scene": []})
    opened = _lazy(filesystem, [files[scene] for scene in scenes], scenes, shape, np.result_type(*dtypes))
    return _as_published(catalogue, opened)


def _in_zip(file: IO[bytes]) -> "ZipFileSystem":
    """Open a zip as a file system; a name that it has twice is an error."""
    from fsspec.implementations.zip import ZipFileSystem

    names = open_zip(file).namelist()
    if repeated := sorted({name for name, count in Counter(names).items() if count > 1}):
        raise zipfile.BadZipFile(f"it holds {repeated[0]!r} twice")
    return ZipFileSystem(file)


def _by_scene(names: list[str], scenes: list[str]) -> tuple[dict[str, str], list[str]]:
    """Find the file of each scene; also list scenes with none or several."""
    candidates: dict[str, list[str]] = {}
    for name in sorted(names):
        path = PurePosixPath(name)
        product = _PRODUCT_ID.search(path.stem)
        if product and path.suffix.lower() in SUFFIXES and not path.name.startswith("."):  # as macOS puts beside others
            candidates.setdefault(product[0], []).append(name)
    problems = [f"scene {scene} is missing" for scene in scenes if scene not in candidates]
    files = {scene: candidates[scene] for scene in scenes if scene in candidates}
    problems += [f"scene {scene} has several files: {', '.join(of)}" for scene, of in files.items() if len(of) > 1]
    return {scene: of[0] for scene, of in files.items() if len(of) == 1}, problems


def _check_file(
    filesystem: "AbstractFileSystem",
    path: str,
    shape: tuple[int, int],
    class_map: ClassMap,
    threshold: float | None,
) -> np.dtype | str:
    """Return the dtype of a prediction, or its problem."""
    try:
        values = _read(filesystem, path, shape)
    except CatalogueError as error:
        return str(error)
    if dtype_problems(values.dtype, threshold):
        return values.dtype  # one line for all files
    problems = value_problems(values, class_map, threshold)
    return f"{path} has {problems[0]}" if problems else values.dtype


def _read(filesystem: "AbstractFileSystem", path: str, shape: tuple[int, int]) -> np.ndarray:
    """Read one prediction (y, x); further dims of length 1 are dropped."""
    limit = _BYTES_A_PIXEL * shape[0] * shape[1] + _BYTES_BESIDE
    try:
        content = _content(filesystem, path, limit)
    except unreadable(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # of zips: damaged, encrypted
        raise PredictionError(f"{path} cannot be read: {error}") from without_secrets(error)
    if path.lower().endswith((".tif", ".tiff")):
        return _read_tiff(content, path, shape)
    array = open_array(io.BytesIO(content), path)
    _check_form(array.shape, array.dtype.itemsize, shape, path)
    return array.read().reshape(shape)


def _content(filesystem: "AbstractFileSystem", path: str, limit: int) -> bytes:
    """Read a file or member, at most as many bytes as a prediction may have."""
    from fsspec.implementations.local import LocalFileSystem
    from fsspec.implementations.zip import ZipFileSystem

    info = filesystem.info(path)
    size = info.get("size")
    if info["type"] != "file":
        raise OSError("it is no file, but a pipe, a device or a link to something else")
    if info.get("compress_type", METHODS[0]) not in METHODS:
        raise OSError(f"it is compressed by method {info['compress_type']}; expected stored or deflate")
    if isinstance(filesystem, LocalFileSystem | ZipFileSystem):
        with filesystem.open(path, "rb") as file:
            content: bytes = file.read(limit + 1)
    else:
        content = b"" if (size or 0) > limit else filesystem.cat_file(path, end=limit + 1 if size is None else None)
    if max(len(content), size or 0) > limit:
        raise OSError(f"it has more than {limit} bytes, which is more than a prediction of a scene needs")
    return content


def _check_form(stored: tuple[int, ...], itemsize: int, shape: tuple[int, int], path: str) -> None:
    """Refuse an array that does not fit, before memory is taken for it."""
    if (tuple(n for n in stored if n != 1) if len(stored) > 2 else stored) != shape:
        raise PredictionError(f"{path} has shape {stored}; expected {shape} (y, x)")
    if itemsize > _BYTES_A_PIXEL:
        raise PredictionError(f"{path} has {itemsize} bytes a pixel: neither labels nor probabilities")


def _read_tiff(content: bytes, path: str, shape: tuple[int, int]) -> np.ndarray:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with rasterio.MemoryFile(content) as file:
            # A prediction needs no georeference. Warning filters are shared by all threads.
            with _WARNINGS, warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
                raster = file.open(driver="GTiff")  # no other: some of them fetch what the file names
            with raster:
                _check_form((raster.count, *raster.shape), 1, shape, path)
                if max(height * width for height, width in raster.block_shapes) > SIDE * SIDE:
                    raise PredictionError(f"{path} has blocks {raster.block_shapes[0]} (y, x); expected smaller ones")
                return raster.read().reshape(shape)
    except (RasterioError, ValueError) as error:
        raise PredictionError(f"{path} is no readable GeoTIFF: {error}") from error


def _lazy(
    filesystem: "AbstractFileSystem", files: list[str], scenes: list[str], shape: tuple[int, int], dtype: np.dtype
) -> xr.DataArray:
    import dask.array
    from dask.delayed import delayed

    load = delayed(lambda file: _read(filesystem, file, shape).astype(dtype, copy=False)[np.newaxis], pure=False)
    blocks = [dask.array.from_delayed(load(file), (1, *shape), dtype) for file in files]
    return xr.DataArray(dask.array.concatenate(blocks), dims=DIMS["mask"], coords={"scene": scenes})


def _open_zarr(path: str, catalogue: xr.Dataset, class_map: ClassMap, threshold: float | None) -> xr.DataArray:
    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # on metadata that is not consolidated
            opened = xr.open_dataset(path, engine="zarr", chunks={}, mask_and_scale=False, decode_times=False)
    except unreadable(ValueError, KeyError, TypeError) as error:
        raise PredictionError(f"{path} cannot be read: {error}") from without_secrets(error)
    fitting = sorted(str(name) for name, array in opened.data_vars.items() if set(array.dims) == set(DIMS["mask"]))
    if len(fitting) != 1:
        raise PredictionError(
            f"{path} holds {len(fitting)} variables (scene, y, x) {fitting}; expected one: open it with xarray and "
            "give the DataArray"
        )
    prediction = opened[fitting[0]]
    if prediction.dtype.kind == "f" or {"scale_factor", "add_offset"} & set(prediction.attrs):
        # Whole numbers without a scale stay so: a fill value must not make floats of labels.
        prediction = xr.decode_cf(prediction.to_dataset(name="prediction"), decode_times=False)["prediction"]
    try:
        return fit(catalogue, _as_published(catalogue, prediction), class_map, threshold, look_through=True)
    except PredictionError:
        raise
    except unreadable(ValueError, RuntimeError) as error:  # a damaged chunk
        raise PredictionError(f"{path} cannot be read: {error}") from without_secrets(error)
