"""Open a store: from a path or URL to a lazy Dataset."""

import hashlib
import json
import logging
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from s2cmc._compat import run_in_loop
from s2cmc.errors import (
    ArgumentError,
    DamagedError,
    DeniedError,
    MissingObjectError,
    MissingStoreError,
    StoreError,
    UnfinishedStoreError,
)
from s2cmc.schema import JOURNAL_PLAN, PIXEL_VARIABLES, SCENE_COORDINATES, bundled_names
from s2cmc.storage import Access, Location, locate, make_access, survive_forks
from s2cmc.store.format import (
    BUNDLE,
    BUNDLE_CHECKSUM_ATTRIBUTE,
    DIGESTS,
    DIGESTS_CHECKSUM_ATTRIBUTE,
    PROOF_ATTRIBUTES,
    ROOT,
    VERSIONS_FORMAT,
    check_version,
    is_rewritten,
    pack_bundle,
    rewritten_message,
    started_version,
    unpack_bundle,
)
from s2cmc.store.lazy import lazy_variable
from s2cmc.store.reading import ADVICE, read_array

if TYPE_CHECKING:
    import zarr
    from zarr.abc.store import Store

    from s2cmc.store.objects import CatalogueStore, Place

logger = logging.getLogger(__name__)

# zarr and dask are imported where they are needed: importing s2cmc stays as cheap as importing xarray.

_THREADS = 16  # coordinates beside a bundle that cannot be read are fetched side by side


def open_catalogue(
    store: "Location | Store",
    access: Access | None = None,
    *,
    chunks: Literal["auto"] | None = "auto",
    **options: Any,
) -> xr.Dataset:
    """Open a catalogue as a lazy Dataset.

    Two requests bring metadata and coordinates (about 100 kB for 513 scenes), a third one where a place holds several
    versions. Nothing is listed, and no pixel is read.

    Parameters
    ----------
    store : str, path or zarr Store
        Local path (text or any `os.PathLike`; ``~`` is the home folder); ``file:``, ``s3://``, ``gs://``, ``az://`` or
        ``https://`` URL; any other that fsspec knows; a zarr store.
    access : Access, optional
        How the store is reached: transport, credentials, time limit, cache.
    chunks : "auto" or None
        As in `xarray.open_zarr`. By default pixels are dask arrays, of which a block is a scene. Indexed or transposed
        in any order, they read what is left of them; arithmetic makes plain dask arrays of them. With None they are
        arrays without dask: indexing reads nothing, and ``.values`` reads the selected pixels. Arithmetic such as
        ``ds.reflectance > 0.2`` then reads the array whole; methods of ``ds.clouds`` stay lazy.
    **options
        Options of `Access`, instead of `access`:
        ``open_catalogue(url, endpoint_url="https://...", cache_dir="~/cache")``.

    Returns
    -------
    Dataset
        reflectance : (scene, y, x, band), float32
            Top-of-atmosphere reflectance, unitless, bit-equal to the published arrays.
        mask, alt_mask : (scene, y, x), uint8
            0 clear, 1 cloud, 2 cloud_shadow; 255 where there is no label.
        thumbnail : (scene, thumbnail_y, thumbnail_x, rgb), uint8
            Absent where the release had none.

        `x` and `y` are metres east and north of the upper left corner, so that `y` is below 0 and ``y_origin + y`` is
        UTM. All coordinates are described by their attributes. The accessor ``ds.clouds`` has methods for queries,
        pictures and statistics. ``ds.encoding["source"]`` is the URL of the version that was opened.

    Raises
    ------
    ArgumentError
        If an argument has a value that is not allowed.
    MissingStoreError
        If there is no catalogue; a FileNotFoundError too.
    DeniedError
        If access is denied; a PermissionError too.
    TimeLimitError
        If there is no answer in time; a TimeoutError too.
    UnfinishedStoreError
        If the conversion of the store is not complete; the message says how to complete it.
    StoreError
        If the store is of another kind or format, or cannot be read for another reason; the message says which.
    """
    if access is not None and options:
        raise ArgumentError(f"give access or its options ({', '.join(options)}), not both")
    if chunks not in ("auto", None):
        raise ArgumentError(f"chunks={chunks!r} is unknown; use 'auto' or None, and Dataset.chunk for other chunks")
    survive_forks()
    group = open_group(store, access or make_access(**options))
    arrays = dict(group.arrays())
    pixels = {
        name: lazy_variable(arrays.pop(name), blocks=chunks == "auto") for name in PIXEL_VARIABLES if name in arrays
    }
    attributes = {name: value for name, value in group.attrs.items() if name not in PROOF_ATTRIBUTES}
    opened = xr.Dataset(pixels, _coordinates(arrays), attributes)
    opened.encoding["source"] = str(group.store)
    return opened


def open_group(store: "Location | Store", access: Access | None = None) -> "zarr.Group":
    """Open the Zarr group of a catalogue as it is stored; see `open_catalogue`."""
    import zarr

    place = place_of(store, access)
    root = _root(place)
    if _attributes(root, place).get("format") == VERSIONS_FORMAT:
        place = place / str(_attributes(root, place)["latest"])
        root = _root(place)
    attributes = _attributes(root, place)
    _check_format(attributes, place)
    objects = _with_bundle(place, root, attributes)
    try:
        return zarr.open_group(objects, mode="r", zarr_format=3, use_consolidated=True)
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{place} is no finished catalogue: its zarr.json is damaged or has no consolidated metadata: {error}"
        ) from error


def place_of(store: "Location | Store", access: Access | None = None) -> "Place":
    """Make a Place of a path, URL or zarr store."""
    from zarr.abc.store import Store

    from s2cmc.store.objects import Place

    access = access or Access()
    if isinstance(store, Store):
        return Place(str(store), access, given=store)
    url = locate(store)
    scheme, mark, path = url.partition("://")
    if not url or (mark and not path.strip("/")):
        raise ArgumentError(f"{url!r} names no place; give a path, or a URL such as s3://bucket/catalogue.zarr")
    return Place((f"{scheme.lower()}{mark}{path}" if mark else url).rstrip("/") or "/", access)


def _root(place: "Place") -> bytes:
    """Fetch zarr.json; where it cannot be read, find out whether a conversion is not complete."""
    try:
        return _fetch(place, ROOT)
    # A bucket that may not be listed denies access to an absent object; a power failure may leave half a file.
    except (MissingObjectError, DeniedError, DamagedError) as error:
        if unfinished := _unfinished_error(place):
            raise unfinished from error
    try:
        return _fetch(place, ROOT)  # the conversion may have ended between the two requests
    except DamagedError as error:
        _refuse_rewritten(place, error)
        raise DamagedError(f"{error}; {ADVICE}") from error
    except MissingObjectError as error:
        if "no such bucket" in str(error):
            raise
        _refuse_rewritten(place, error)
        raise MissingStoreError(
            f"{place} holds no catalogue: there is no zarr.json; check the path, convert a release into it, or mend a "
            "store that has lost it with `s2cmc repair`"
        ) from error


def _fetch(place: "Place", key: str) -> bytes:
    from s2cmc.store.objects import CatalogueStore

    return bytes(run_in_loop(CatalogueStore(place).fetch(key)))


def _refuse_rewritten(place: "Place", error: StoreError) -> None:
    """Refuse what another program wrote that had read a catalogue: it is not damaged, and not to be repaired."""
    from s2cmc.store.objects import CatalogueStore

    objects = CatalogueStore(place)

    def read(key: str) -> bytes | None:
        try:
            return bytes(run_in_loop(objects.fetch_unchecked(key)))
        except StoreError:  # a bucket that may not be listed denies access to an absent object
            return None

    if is_rewritten(read(ROOT), read):
        raise StoreError(rewritten_message(str(place))) from error


def _attributes(root: bytes, place: "Place") -> dict[str, Any]:
    """Read the attributes of the root group from zarr.json."""
    document = json.loads(root)
    attributes = document.get("attributes") if isinstance(document, dict) else None
    if not isinstance(attributes, dict) or document.get("node_type") != "group":
        raise StoreError(f"{place} is no catalogue of s2cmc: its zarr.json describes no group of Zarr version 3")
    return attributes


def _check_format(attributes: Mapping[str, Any], place: "Place") -> None:
    version = attributes.get("format_version")
    if attributes.get("format") != "s2cmc" or not isinstance(version, str):
        raise StoreError(f"{place} is a Zarr group, but no catalogue of s2cmc (its attribute `format` is not 's2cmc')")
    check_version(version, place)
    for name, pin in ((BUNDLE, BUNDLE_CHECKSUM_ATTRIBUTE), (DIGESTS, DIGESTS_CHECKSUM_ATTRIBUTE)):
        if pin not in attributes:
            raise DamagedError(f"{place} cannot be proved: its zarr.json has no {pin} for {name}; {ADVICE}")


def _with_bundle(place: "Place", root: bytes, attributes: Mapping[str, Any]) -> "CatalogueStore":
    """Make the store of a place; its coordinates are fetched now, in one bundle, and served from memory."""
    from s2cmc.store.objects import CatalogueStore

    edition = hashlib.sha256(root).hexdigest()
    store = CatalogueStore(place, edition=edition)
    try:
        try:
            coordinates = unpack_bundle(bytes(run_in_loop(store.fetch(BUNDLE))), attributes, f"{place}/{BUNDLE}")
        except DamagedError:  # the transport may have damaged it
            fetched = bytes(run_in_loop(store.without_cache().fetch(BUNDLE)))
            coordinates = unpack_bundle(fetched, attributes, f"{place}/{BUNDLE}")
    except (DamagedError, MissingObjectError, DeniedError) as error:
        coordinates = _coordinates_beside_bundle(store.without_cache(), root, attributes, error)
    return CatalogueStore(place, edition=edition, objects={ROOT: root} | coordinates)


def _coordinates_beside_bundle(
    store: "CatalogueStore", root: bytes, attributes: Mapping[str, Any], error: StoreError
) -> dict[str, bytes]:
    """Fetch one by one the objects of a bundle that cannot be read.

    The bundle is an uncompressed zip, made of the objects that are stored beside it. Packed again, they must give its
    SHA-256: so all of them are proved at once.
    """
    stored = json.loads(root).get("consolidated_metadata", {}).get("metadata", {})
    keys = [f"{name}/c/0" for name in bundled_names(stored)]
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            contents = pool.map(lambda key: bytes(run_in_loop(store.fetch(key))), keys)
            objects = unpack_bundle(pack_bundle(dict(zip(keys, contents, strict=True))), attributes, str(error))
    except (DamagedError, MissingObjectError, DeniedError):
        raise type(error)(f"{error}; nor are the coordinates beside it whole: {ADVICE}") from error
    logger.warning("%s; the coordinates beside it are whole and read instead; %s", error, ADVICE)
    return objects


def _unfinished_error(place: "Place") -> StoreError | None:
    """Make the error for a place into which a conversion was started; None if there is no sign of one."""
    try:
        plan = json.loads(_fetch(place, JOURNAL_PLAN))
        command, version = plan["command"], started_version(plan)
    except (StoreError, ValueError, KeyError, TypeError):  # a place that denies access is treated as an empty one
        return None
    try:
        check_version(version, place)
    except StoreError as error:
        return error
    return UnfinishedStoreError(f"the conversion into {place} is not complete; finish it with `{command}`")


def _coordinates(arrays: Mapping[str, "zarr.Array[Any]"]) -> dict[Hashable, xr.Variable]:
    """Load and decode all coordinates: those of the scenes in the order of the schema, then the others."""
    known = [c.name for c in SCENE_COORDINATES if c.name in arrays]
    names = known + [name for name in arrays if name not in known]
    variables = {name: _load(arrays[name]) for name in names}
    return dict(xr.decode_cf(xr.Dataset(variables)).variables)


def _load(array: "zarr.Array[Any]") -> xr.Variable:
    """Load an array as a variable, as it is stored."""
    values = read_array(array, slice(None))
    if values.dtype.kind == "T":
        # Not NumPy's StringDType: netCDF, groupby and many others do not take it yet.
        values = np.array(values.tolist(), str)
    dims = tuple(str(name) for name in getattr(array.metadata, "dimension_names", None) or ())
    return xr.Variable(dims, values, dict(array.attrs))
