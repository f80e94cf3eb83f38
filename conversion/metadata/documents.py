"""Metadata of a store for others' tools, written beside it: STAC, GeoParquet, Croissant. No pixel is read.

Those of ``catalogue.zarr`` are in ``catalogue-metadata``::

    collection.json        STAC Collection, with the Items
    items/<scene>.json     STAC Items, one for each scene
    footprints.parquet     GeoParquet: footprint and every coordinate, one row for each scene
    croissant.json         Croissant, with its geospatial part

They point at each other by relative paths, and at the store too if it is in the same file system or bucket, so that all
may be moved together. The same store gives the same bytes.
"""

import json
import os
import posixpath
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from s2cmc._compat import run_in_loop
from s2cmc._redact import redacted
from s2cmc.errors import ArgumentError, StoreError
from s2cmc.geo import footprints
from s2cmc.schema import check_names
from s2cmc.storage import Access, Location, locate, scheme_of
from s2cmc.store import CHECKSUM_ATTRIBUTE, ROOT, CatalogueStore, open_catalogue, open_group, place_of

from ..targets import Bucket, Folder, place_to_write, refuse_within_store, writing
from .croissant import make_croissant
from .geoparquet import write_footprints
from .stac import CROISSANT, PARQUET, PART, make_collection, make_items, require_pystac

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

COLLECTION = "collection.json"
ITEMS = "items"
FOOTPRINTS = "footprints.parquet"
CROISSANT_FILE = "croissant.json"

_TOLERANCE = 1e-5
"""Degrees by which an outline in the metadata may differ from the edges of the array: 1.1 m, an 18th of a pixel."""

_WRITERS = 16  # Items written at once: a bucket answers each in some 30 ms
_ABOUT = ("title", "summary", "license", "doi", "citation", "synthetic")


@dataclass(frozen=True)
class Description:
    """Metadata that were written.

    Attributes
    ----------
    url : str
        Folder or bucket prefix of all files.
    paths : tuple of str
        Files in it, except the Items.
    items : int
        Number of STAC Items, in ``items/``.
    unplaced : int
        Number of Items without a footprint, because the release had no outline for them.
    nbytes : int
        Bytes of everything.
    """

    url: str
    paths: tuple[str, ...]
    items: int
    unplaced: int
    nbytes: int


def describe(
    store: Location,
    out: Location | None = None,
    *,
    store_url: str | None = None,
    access: Access | None = None,
    out_access: Access | None = None,
) -> Description:
    """Write the metadata of a store. An earlier description is replaced, with its Items; files of others stay.

    Parameters
    ----------
    store : str or path
        Path or URL.
    out : str or path, optional
        Folder, or URL of a bucket; by default the sibling ``NAME-metadata`` of a store ``NAME.zarr`` or ``NAME``.
    store_url : str, optional
        Public URL of `store`, to which the metadata then point; by default the relative path, or `store` itself if
        there is none.
    access, out_access : Access, optional
        How `store` and `out` are reached; `out` by default as `store`, with the credentials of the environment.

    Returns
    -------
    Description

    Raises
    ------
    CatalogueError
        If a package of the extra ``geo`` is missing.
    StoreError
        If there is no catalogue at `store`, if `out` is inside a store, or if it cannot be written.
    """
    require_pystac()
    store, access = locate(store), access or Access()
    objects = open_group(store, access).store
    catalogue = open_catalogue(objects, access)
    check_names(catalogue["scene"].to_numpy().tolist(), store)  # files of Items are named by them
    source = str(catalogue.encoding["source"])  # if there are several versions, the one that was opened
    out = _sibling_url(store) if out is None else re.sub(r"(?<=[^:/])/+$", "", locate(out))
    if store_url is not None and (not store_url.strip() or redacted(store_url) != store_url):
        raise ArgumentError(
            f"store_url {store_url!r} names no place for all; give the public URL of the store, without user and query"
        )
    if store_url is None:
        href = _store_href(source, out)
    else:
        href = _public_href(store_url, str(place_of(store, access)), source)
    place = place_to_write(out, out_access or access)
    refuse_within_store(out, out_access or access)
    root = _fetch_root(objects)
    catalogue = _name_as_part(catalogue, root)
    table = outline_table(catalogue)
    parquet = write_footprints(table, {key: catalogue.attrs[key] for key in _ABOUT if key in catalogue.attrs})
    items = {
        f"{ITEMS}/{item.id}.json": _to_json(item.to_dict(include_self_link=False, transform_hrefs=False))
        for item in make_items(catalogue, table, _href_of_items(href))
    }
    collection = make_collection(catalogue, table, href, {FOOTPRINTS: PARQUET, CROISSANT_FILE: CROISSANT})
    files = {
        FOOTPRINTS: parquet,
        CROISSANT_FILE: _to_json(make_croissant(catalogue, table, (FOOTPRINTS, parquet), href, root)),
        COLLECTION: _to_json(collection.to_dict(include_self_link=False, transform_hrefs=False)),
    }
    with writing(out):
        _write(place, items, files)
    return Description(
        url=out,
        paths=tuple(files),
        items=len(items),
        unplaced=int(table.geometry.isna().sum()),
        nbytes=sum(map(len, [*items.values(), *files.values()])),
    )


def _name_as_part(catalogue: xr.Dataset, root: bytes) -> xr.Dataset:
    """Give a smaller store a title and summary of its own, so that it does not pose as the whole catalogue."""
    facts = catalogue.attrs
    if "subset" not in facts:
        return catalogue
    part = f"subset-{json.loads(root)['attributes'][CHECKSUM_ATTRIBUTE][:8]}"
    return catalogue.assign_attrs(
        {PART: part, "title": f"{facts['title']}, {part}", "summary": f"{facts['summary']} {facts['subset']}."}
    )


def outline_table(catalogue: xr.Dataset) -> "GeoDataFrame":
    """Return `footprints` with as few points as an accuracy of 1 m needs.

    With a point every kilometre the table would be four times as large.
    """
    table = footprints(catalogue)
    return table.set_geometry(table.geometry.simplify(_TOLERANCE))


def _write(place: Folder | Bucket, items: Mapping[str, bytes], files: Mapping[str, bytes]) -> None:
    """Write the Items first and the Collection last; Items that only the earlier Collection links are removed."""
    stale = _linked_items(place.read(COLLECTION)) - items.keys()
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="s2cmc-describe") as pool:
        for _ in pool.map(lambda key: place.put(key, items[key]), items):
            pass
        for _ in pool.map(place.remove, stale):
            pass
    for key, content in files.items():
        place.put(key, content)


def _linked_items(collection: bytes | None) -> set[str]:
    """Return the keys of the Items that a Collection links, if it was written by this module."""
    try:
        links = json.loads(collection or b"{}").get("links", [])
        hrefs = {link["href"].removeprefix("./") for link in links if link["rel"] == "item"}
        is_own = any(link["rel"] == "store" for link in links)
    except (ValueError, AttributeError, TypeError, KeyError):  # a damaged Collection, or another file
        return set()
    return {key for key in hrefs if is_own and re.fullmatch(rf"{ITEMS}/[^/]+\.json", key)}


def _to_json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _fetch_root(store: object) -> bytes:
    if not isinstance(store, CatalogueStore):
        raise TypeError(f"expected a store that open_group opened, got {store!r}")
    return bytes(run_in_loop(store.fetch(ROOT)))


def _sibling_url(store: str) -> str:
    """Return the URL of the folder beside a store: ``/data/a.zarr`` gives ``/data/a-metadata``."""
    if scheme_of(store):
        return f"{store.rstrip('/').removesuffix('.zarr')}-metadata"
    path = Path(os.path.abspath(store))
    return str(path.with_name(f"{path.name.removesuffix('.zarr')}-metadata"))


def _store_href(source: str, out: str) -> str:
    """Return the path from the metadata to the store, or its URL: ``/data/a.zarr`` and ``/data/m`` give ``../a.zarr``.

    Raises
    ------
    StoreError
        If the metadata are in a bucket, and the store is on this machine.
    """
    root, from_path = _split_url(source)
    other, to_path = _split_url(out)
    if root != other:
        if not root:
            raise StoreError(f"metadata in {out} cannot point at {source} on this machine; say its public store_url")
        return source
    return posixpath.relpath(from_path, to_path)


def _split_url(url: str) -> tuple[str, str]:
    """Split a URL into scheme with bucket, empty for this machine, and absolute path: ``s3://b`` and ``/x/y``."""
    scheme = scheme_of(url)
    if scheme in ("", "file"):  # file:// alone is refused later
        return "", Path(os.path.realpath(url)).as_posix()
    bucket, _, path = url.partition("://")[2].partition("/")
    return f"{scheme}://{bucket}", f"/{path.strip('/')}"


def _public_href(store_url: str, place: str, source: str) -> str:
    """Return the public URL of the version that was opened."""
    return store_url.rstrip("/") + source.removeprefix(place)


def _href_of_items(href: str) -> str:
    """Return `href` as seen from the folder of the Items, one level down."""
    return href if scheme_of(href) else f"../{href}"
