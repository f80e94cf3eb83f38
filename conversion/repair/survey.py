"""Survey of a store that may be damaged: how it was made, its scenes, and which parts are proved."""

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numcodecs import zstd
from numcodecs.vlen import VLenUTF8

from s2cmc.errors import DamagedError, StoreError, UnfinishedStoreError
from s2cmc.schema import FIXED_COORDINATES, JOURNAL_PLAN, PIXEL_VARIABLES, SCENE_COORDINATES, bundled_names
from s2cmc.storage import Access
from s2cmc.store import (
    BUNDLE,
    DIGESTS,
    ROOT,
    VERSIONS_FORMAT,
    check_checksum,
    check_version,
    checked,
    is_rewritten,
    pack_bundle,
    rewritten_message,
    started_version,
    unpack_bundle,
    unpack_digests,
)

from ..targets import Bucket, Folder, place_to_write

_COORDINATES = (*(c.name for c in SCENE_COORDINATES), *FIXED_COORDINATES)
_SCENES = "scene/c/0"
_OWN = re.compile(rf"({BUNDLE}|{DIGESTS}|({'|'.join((*_COORDINATES, *PIXEL_VARIABLES))})/({ROOT}|c(/\d+)+))(#\d+)?")
"""Keys of objects that a conversion writes, and of unfinished files that a killed run leaves."""


@dataclass(frozen=True)
class Remains:
    """Facts that a store still states about itself.

    Attributes
    ----------
    url : str
        URL of the store; of the latest version where there are several.
    attributes : mapping
        Attributes of the root; empty if the root is lost, or is not the one that the coordinates belong to.
    arrays : mapping of str to mapping
        Metadata of the arrays of pixels by name: from the root, or from the document of each array that has one.
    scenes : tuple of str or None
        Product IDs; None if they cannot be read any more.
    digests : mapping of str to str or None
        Digests of the shards, by key, proved by the root; None if they are lost.
    keys : frozenset of str
        Keys of all objects of the store.
    """

    url: str
    attributes: Mapping[str, Any]
    arrays: Mapping[str, Mapping[str, Any]]
    scenes: tuple[str, ...] | None
    digests: Mapping[str, str] | None
    keys: frozenset[str]

    @property
    def has_thumbnails(self) -> bool:
        """True if the store was converted with thumbnails."""
        return "thumbnail" in self.arrays or (
            not self.attributes and any(key.startswith("thumbnail/c/") for key in self.keys)
        )


def is_own(key: str) -> bool:
    """Return True if a conversion writes objects of this key; False for other files."""
    return _OWN.fullmatch(key) is not None


def survey(url: str, access: Access | None) -> Remains:
    """Survey a store that can be written to.

    Raises
    ------
    StoreError
        If there is no catalogue, one of another format, or one whose conversion is not complete.
    """
    place = place_to_write(url, access)
    root = place.read(ROOT)
    document = _root_document(root, f"{url}/{ROOT}")
    if not document and is_rewritten(root, place.read):
        raise StoreError(f"{rewritten_message(url)}; nothing is changed in it")
    attributes = document.get("attributes", {})
    if attributes.get("format") == VERSIONS_FORMAT:
        return survey(f"{url.rstrip('/')}/{attributes['latest']}", access)
    if document and attributes.get("format") != "s2cmc":
        raise StoreError(f"{url} is a Zarr group, but no catalogue of s2cmc; nothing is changed in it")
    if document:
        check_version(attributes.get("format_version"), url)
    elif (plan := place.read(JOURNAL_PLAN)) is not None:
        header = _parse_json(plan)
        check_version(started_version(header), url)
        command = header.get("command", "the command that started it")
        raise UnfinishedStoreError(f"the conversion into {url} is not complete; finish it with `{command}`")
    keys = frozenset(place.sizes())
    if not document and not any(key.startswith("reflectance/c/") for key in keys):
        raise StoreError(f"{url} holds no catalogue, nor what is left of one; convert the release into it")
    metadata = document.get("consolidated_metadata", {}).get("metadata", {})
    proved = _proved_coordinates(place, attributes, bundled_names(metadata))
    if proved:
        scenes = _decode_scenes(proved[_SCENES])
        arrays = {name: metadata[name] for name in PIXEL_VARIABLES if name in metadata}
        return Remains(url, attributes, arrays, scenes, _proved_digests(place, attributes), keys)
    documents = {name: _parse_json(place.read(f"{name}/{ROOT}")) for name in PIXEL_VARIABLES}
    arrays = {name: array for name, array in documents.items() if array}
    scenes = _decode_scenes(place.read(_SCENES)) or _decode_scenes(_read_from_bundle(place.read(BUNDLE), _SCENES))
    return Remains(url, {}, arrays, scenes, None, keys)


def _root_document(root: bytes | None, name: str) -> dict[str, Any]:
    """Return the root document; empty if it is missing or damaged."""
    if root is None:
        return {}
    try:
        check_checksum(root, name)
    except DamagedError:
        return {}
    return _parse_json(root) or {"attributes": {}}


def _proved_coordinates(
    place: Folder | Bucket, attributes: Mapping[str, Any], names: Sequence[str]
) -> dict[str, bytes]:
    """Return the objects of the coordinates by key, from the bundle or beside it; none unless the root proves them."""
    if not attributes:
        return {}
    packed = place.read(BUNDLE)
    beside = {key: place.read(key) for key in (f"{name}/c/0" for name in names)}
    whole = {key: content if _is_whole(content) else _read_from_bundle(packed, key) for key, content in beside.items()}
    together = pack_bundle({key: content for key, content in whole.items() if content is not None})
    for content in (packed, together):
        try:
            if content is not None:
                return unpack_bundle(content, attributes, BUNDLE)
        except DamagedError:
            continue
    return {}


def _is_whole(content: bytes | None) -> bool:
    """Return True if the checksum at the end of a coordinate's object holds."""
    try:
        return content is not None and len(checked(np.frombuffer(content, np.uint8))) > 0
    except ValueError:
        return False


def _proved_digests(place: Folder | Bucket, attributes: Mapping[str, Any]) -> dict[str, str] | None:
    content = place.read(DIGESTS)
    try:
        return None if content is None else unpack_digests(content, attributes, DIGESTS)
    except DamagedError:
        return None


def _decode_scenes(content: bytes | None) -> tuple[str, ...] | None:
    """Decode the product IDs from their object; None if it is missing or damaged."""
    if content is None:
        return None
    try:
        return tuple(VLenUTF8().decode(zstd.decompress(checked(np.frombuffer(content, np.uint8)))).tolist())
    except (ValueError, RuntimeError):
        return None


def _read_from_bundle(content: bytes | None, key: str) -> bytes | None:
    """Read one object from a bundle of which other parts may be damaged; None if that is damaged too."""
    try:
        with zipfile.ZipFile(io.BytesIO(content or b"")) as archive:
            return archive.read(key)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError, NotImplementedError, RuntimeError):
        return None


def _parse_json(content: bytes | None) -> dict[str, Any]:
    """Parse a JSON object; empty if it is missing or damaged."""
    try:
        document = json.loads(content or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
