"""Histograms of digital numbers (DN) by scene, class and band, and their Zarr cache."""

import hashlib
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from s2cmc._redact import without_secrets
from s2cmc.errors import SceneError, StoreError
from s2cmc.schema import CLASS_DIM, CLASS_NAMES, DN_PER_REFLECTANCE
from s2cmc.storage import Location, filesystem_of, locate, unreadable
from s2cmc.store import digital_numbers, map_scenes

if TYPE_CHECKING:
    import zarr


# Count digital numbers (DN) by class: compiled by numba where it is installed, else with numpy's bincount.

DN_COUNT = 65_536

_BLOCK = 65_536
"""Pixels that numpy counts at a time, so that intermediate arrays stay in the processor's cache."""


_WORTH_COMPILING = 300_000_000
"""Pixels, of all bands, from which on numba saves more time than its import takes: some 25 scenes."""


def is_worth_compiling(pixels: int) -> bool:
    """Return True if numba counts so many pixels of all bands sooner than numpy does, its import included."""
    return pixels >= _WORTH_COMPILING or "numba" in sys.modules


def count_dn(dn: np.ndarray, labels: np.ndarray | None, classes: int, *, fast: bool = False) -> np.ndarray:
    """Count the pixels of each DN, by class.

    Parameters
    ----------
    dn : ndarray (y, x), uint16
    labels : ndarray (y, x), uint8, below `classes`, optional
        All pixels are of class 0 without.
    classes : int
    fast : bool
        By numba, if it is installed; see `is_worth_compiling`.

    Returns
    -------
    ndarray (class, dn), uint32
        Up to the highest DN of the pixels.

    Raises
    ------
    ValueError
        If a label is not below `classes`.
    """
    if labels is not None and labels.max(initial=0) >= classes:  # compiled code would write into other memory
        raise ValueError(f"label {labels.max()} is none of {classes} classes")
    counts = np.zeros((2, classes, int(dn.max(initial=0)) + 1), np.uint32)
    add = compiled() if fast else None
    (add or _add_blocks)(dn, labels, counts)
    return counts.sum(axis=0, dtype=np.uint32)


@cache
def compiled() -> Callable[..., None] | None:
    """Compile `_add_each`, or return None without numba.

    Its import and compilation take a second, half of it where numba finds what an earlier process compiled.
    """
    try:
        import numba
    except ImportError:
        return None
    fast: Callable[..., None]
    try:
        fast = numba.njit(nogil=True, cache=True)(_add_each)
    except RuntimeError:  # neither beside this file nor in the home folder
        fast = numba.njit(nogil=True)(_add_each)
    return fast


def _add_each(dn: np.ndarray, labels: np.ndarray | None, counts: np.ndarray) -> None:
    """Add pixels to counts (half, class, dn).

    Neighbours often have the same DN, and a counter cannot be raised twice at once: so even and odd columns have
    counters of their own.
    """
    for y in range(dn.shape[0]):
        for x in range(dn.shape[1]):
            counts[x % 2, 0 if labels is None else labels[y, x], dn[y, x]] += 1


def _add_blocks(dn: np.ndarray, labels: np.ndarray | None, counts: np.ndarray) -> None:
    """Add pixels to counts (half, class, dn) with numpy, all of them to the first half."""
    classes, width = counts.shape[1:]
    step = max(1, _BLOCK // max(1, dn.shape[1]))
    for top in range(0, len(dn), step):
        cells = dn[top : top + step].astype(np.int64)
        if labels is not None:
            cells += labels[top : top + step] * np.int64(width)
        counts[0] += np.bincount(cells.ravel(), minlength=classes * width).astype(np.uint32).reshape(classes, width)


UNLABELLED = "unlabelled"


def band_histograms(catalogue: xr.Dataset) -> xr.DataArray:
    """Count the pixels of each DN by scene, class and band, lazily; see `CloudsAccessor.band_histograms`."""
    pixels, names = counted_pixels(catalogue)
    mask = catalogue["mask"].variable.transpose("scene", "y", "x")
    arrays = [pixels.variable.transpose("scene", "y", "x", "band"), mask, *(name.variable for name in names)]
    tail = len(CLASS_NAMES) + 1, pixels.sizes["band"], DN_COUNT
    coordinates = {name: c for name, c in pixels.coords.items() if not {"y", "x"} & set(c.dims)}
    count = partial(_histograms, fast=is_worth_compiling(pixels.size))
    counts = map_scenes(count, arrays, tail, np.uint32)
    histograms = xr.DataArray(counts, dims=("scene", CLASS_DIM, "band", "dn"), coords=coordinates)
    labels = {CLASS_DIM: [*CLASS_NAMES, UNLABELLED], "dn": np.arange(DN_COUNT, dtype=np.int32)}
    histograms.attrs = {"long_name": "pixels with each digital number (10,000 x reflectance)", "units": "1"}
    return histograms.assign_coords(labels).rename("histogram")


def counted_pixels(catalogue: xr.Dataset) -> tuple[xr.DataArray, list[xr.DataArray]]:
    """Return the pixels to count: stored DN; or reflectance, and the scenes' names for error messages."""
    stored = digital_numbers(catalogue)
    if stored is not None:
        return stored, []
    return catalogue["reflectance"], [catalogue["scene"].reset_coords(drop=True)]


def _histograms(
    pixels: np.ndarray, mask: np.ndarray, names: np.ndarray | None = None, *, fast: bool = False
) -> np.ndarray:
    """Count histograms (scene, class, band, dn) of pixels (scene, y, x, band) and labels (scene, y, x)."""
    bands, classes = pixels.shape[-1], len(CLASS_NAMES) + 1
    counts = np.zeros((len(pixels), classes, bands, DN_COUNT), np.uint32)
    for i, labels in enumerate(np.minimum(mask, len(CLASS_NAMES)).astype(np.uint8)):
        for band in range(bands):
            scene = "" if names is None else str(names[i])
            tally = tallied(pixels[i, :, :, band], labels, classes, scene, fast=fast)
            counts[i, :, band, : tally.shape[1]] = tally
    return counts


def tallied(
    pixels: np.ndarray, labels: np.ndarray | None, classes: int, scene: str, *, fast: bool = False
) -> np.ndarray:
    """Count the pixels of each DN, by class.

    Parameters
    ----------
    pixels : ndarray (y, x)
        DN, uint16, or reflectance; NaN is not counted.
    labels : ndarray (y, x) of whole numbers below `classes`, optional
        All pixels are of class 0 without.
    classes : int
    scene : str
        Product ID for the error message.
    fast : bool
        See `count_dn`.

    Returns
    -------
    ndarray (class, dn), uint32
        Up to the highest DN of the pixels.

    Raises
    ------
    SceneError
        If a reflectance is no whole DN.
    """
    dn, unknown = (pixels, None) if pixels.dtype == np.uint16 else _to_dn(pixels, scene)
    if unknown is None:
        return count_dn(dn, labels, classes, fast=fast)
    labels = np.where(unknown, np.uint8(classes), np.uint8(0) if labels is None else labels)
    return count_dn(dn, labels, classes + 1, fast=fast)[:classes]


def _to_dn(reflectance: np.ndarray, scene: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert reflectance to DN; also return where it is NaN, if anywhere. A value that is no whole DN is an error."""
    unknown = np.isnan(reflectance)
    values = np.where(unknown, reflectance.dtype.type(0), reflectance).astype(np.float32)
    dn = np.clip(np.rint(values * np.float32(DN_PER_REFLECTANCE)), 0, DN_COUNT - 1).astype(np.uint16)
    wrong = dn / np.float32(DN_PER_REFLECTANCE) != values
    if wrong.any():
        raise SceneError(
            scene,
            f"reflectance {values[wrong][0]} is no whole digital number / {DN_PER_REFLECTANCE} in 0..{DN_COUNT - 1}; "
            "histograms count digital numbers, so give them reflectance as it was opened from a store of these",
        )
    return dn, unknown if unknown.any() else None


# Band histograms kept in a Zarr store of their own, so that the pixels are read once.

_CONTENT = "s2cmc band histograms"


def cached_histograms(histograms: xr.DataArray, path: Location, catalogue: xr.Dataset) -> xr.DataArray:
    """Return histograms from the store at `path`, which is made if it is absent.

    Parameters
    ----------
    histograms : DataArray (scene, mask_class, band, dn)
        Lazy; computed only to make the store.
    path : str or path
        Local path or URL. An unfinished store of an interrupted run is made again.
    catalogue : Dataset
        Source of the histograms. A store of another catalogue, window or bands is refused; changes of reflectance or
        masks in memory are not noticed.

    Raises
    ------
    StoreError
        If `path` holds something else, or not all of these scenes.
    """
    identity = _identity(catalogue)
    path = locate(path)
    if not _is_complete(path, identity):
        _write(histograms, path, identity)
    return _read(histograms, path)


def _identity(catalogue: xr.Dataset) -> dict[str, object]:
    """Identity of a catalogue whatever its scenes: source, bands, and window in y and x."""
    return {
        "content": _CONTENT,
        "fingerprint": str(catalogue.attrs.get("source_fingerprint", "")),
        "bands": [str(band) for band in catalogue["band"].to_numpy()],
        "y": _describe_axis(catalogue["y"].to_numpy()),
        "x": _describe_axis(catalogue["x"].to_numpy()),
    }


def _describe_axis(centres: np.ndarray) -> list[object]:
    """Describe the pixels along an axis, whatever their order: the outer two, their number, a digest of all."""
    ascending = np.sort(centres.astype("<f8"))
    digest = hashlib.sha256(ascending.tobytes()).hexdigest()[:16]
    return [*ascending[:1].tolist(), *ascending[-1:].tolist(), len(ascending), digest]


def _is_complete(path: str, identity: dict[str, object]) -> bool:
    """Check that the store is complete; false if it is absent or unfinished."""
    filesystem, root = filesystem_of(path)
    if not filesystem.exists(root) or not filesystem.ls(root):
        return False
    try:
        stored: dict[str, object] = dict(_group(path).attrs)
    except unreadable(ValueError) as error:
        raise StoreError(f"{path} holds no band histograms; choose another place") from without_secrets(error)
    complete = stored.pop("complete", False)
    if stored != identity:
        raise StoreError(
            f"{path} holds no band histograms of this catalogue, window and bands: expected {identity}, "
            f"found {stored}; choose another place"
        )
    return bool(complete)


def _write(histograms: xr.DataArray, path: str, identity: dict[str, object]) -> None:
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    plain = histograms.drop_vars([name for name, c in histograms.coords.items() if name not in c.dims])
    plain = plain.assign_coords(scene=plain["scene"].astype(object)).chunk(scene=1).drop_encoding()
    plain.attrs = {}
    # Group and attributes in one write, so that the store of an interrupted run is recognized.
    zarr.create_group(path, attributes=identity, overwrite=True, zarr_format=3)
    target = plain.to_dataset(name="histogram").assign_attrs(identity)
    codecs = {"histogram": {"compressors": (ZstdCodec(), Crc32cCodec())}}  # a chunk written in part is an error
    target.to_zarr(path, mode="a", consolidated=False, zarr_format=3, write_empty_chunks=True, encoding=codecs)
    # Last, so that an unfinished store does not pass for complete.
    _group(path, "r+").attrs["complete"] = True


def _read(histograms: xr.DataArray, path: str) -> xr.DataArray:
    import dask.array

    arrays = dict(_group(path).arrays())
    stored = {str(scene): i for i, scene in enumerate(np.asarray(arrays["scene"][:]).tolist())}
    missing = [scene for scene in histograms["scene"].to_numpy().tolist() if scene not in stored]
    if missing:
        raise StoreError(
            f"{path} holds histograms of {len(stored)} scenes, but {len(missing)} of those asked for are not among "
            f"them, e.g. {missing[0]}; make them of the whole catalogue, or choose another place"
        )
    array = arrays["histogram"].with_config({"read_missing_chunks": False})
    lazy = dask.array.from_array(array, chunks=array.chunks)
    return histograms.copy(data=lazy[[stored[scene] for scene in histograms["scene"].to_numpy().tolist()]])


def _group(path: str, mode: Literal["r", "r+"] = "r") -> "zarr.Group":
    import zarr

    return zarr.open_group(path, mode=mode, zarr_format=3, use_consolidated=False)
