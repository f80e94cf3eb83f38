"""Band histograms kept in a Zarr store of their own, so that the pixels are read once."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from s2cmc.errors import StoreError
from s2cmc.filesystem import filesystem_of, unreadable

if TYPE_CHECKING:
    import zarr

_CONTENT = "s2cmc band histograms"


def cached(histograms: xr.DataArray, path: str | Path, catalogue: xr.Dataset) -> xr.DataArray:
    """Give histograms from the store at `path`, which is made if there is none.

    Parameters
    ----------
    histograms : DataArray (scene, mask_class, band, dn)
        Lazy; computed only if they have to be made.
    path : str or Path
        Local path or URL. What an interrupted run left there is made anew.
    catalogue : Dataset
        What they are of. A store of another catalogue, window or bands is refused; that reflectance or masks were
        changed after they were opened is not noticed.

    Raises
    ------
    StoreError
        If `path` holds something else, or not all of these scenes.
    """
    identity = _identity(catalogue)
    if not _is_complete(path, identity):
        _write(histograms, path, identity)
    return _read(histograms, path)


def _identity(catalogue: xr.Dataset) -> dict[str, object]:
    """What the histograms of any scenes of one catalogue have in common: source, bands, and window in y and x."""
    return {
        "content": _CONTENT,
        "fingerprint": str(catalogue.attrs.get("source_fingerprint", "")),
        "bands": [str(band) for band in catalogue["band"].to_numpy()],
        "y": [float(value) for value in catalogue["y"].to_numpy()[[0, -1]]] + [catalogue.sizes["y"]],
        "x": [float(value) for value in catalogue["x"].to_numpy()[[0, -1]]] + [catalogue.sizes["x"]],
    }


def _is_complete(path: str | Path, identity: dict[str, object]) -> bool:
    """Whether the store holds all it should; false where there is none yet, or an interrupted one."""
    filesystem, root = filesystem_of(str(path))
    if not filesystem.exists(root) or not filesystem.ls(root):
        return False
    try:
        found: dict[str, object] = dict(_group(path).attrs)
    except unreadable(ValueError) as error:
        raise StoreError(f"{path} holds no band histograms; choose another place") from error
    complete = found.pop("complete", False)
    if found != identity:
        raise StoreError(
            f"{path} holds no band histograms of this catalogue, window and bands: expected {identity}, "
            f"found {found}; choose another place"
        )
    return bool(complete)


def _write(histograms: xr.DataArray, path: str | Path, identity: dict[str, object]) -> None:
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    plain = histograms.drop_vars([name for name, c in histograms.coords.items() if name not in c.dims])
    plain = plain.assign_coords(scene=plain["scene"].astype(object)).chunk(scene=1).drop_encoding()
    plain.attrs = {}
    # Group and attributes in one write, so that what an interrupted run leaves is known as such.
    zarr.create_group(str(path), attributes=identity, overwrite=True, zarr_format=3)
    target = plain.to_dataset(name="histogram").assign_attrs(identity)
    codecs = {"histogram": {"compressors": (ZstdCodec(), Crc32cCodec())}}  # chunks that are torn are errors
    target.to_zarr(str(path), mode="a", consolidated=False, zarr_format=3, write_empty_chunks=True, encoding=codecs)
    # Last, so that what was interrupted does not pass for complete.
    _group(path, "r+").attrs["complete"] = True


def _read(histograms: xr.DataArray, path: str | Path) -> xr.DataArray:
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


def _group(path: str | Path, mode: Literal["r", "r+"] = "r") -> "zarr.Group":
    import zarr

    return zarr.open_group(str(path), mode=mode, zarr_format=3, use_consolidated=False)
