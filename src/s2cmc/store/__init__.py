"""Read a catalogue store: from a path or URL to a lazy Dataset, and from an index to values or an error."""

from typing import TYPE_CHECKING, Any

from s2cmc.store.backend import CatalogueBackend
from s2cmc.store.blocks import along_scenes, graph_of_blocks, is_lazy, map_scenes, scene_spans, tasks_of_blocks
from s2cmc.store.format import (
    BUNDLE,
    BUNDLE_ATTRIBUTE,
    BUNDLE_CHECKSUM_ATTRIBUTE,
    CHECKSUM_ATTRIBUTE,
    DIGESTS,
    DIGESTS_ATTRIBUTE,
    DIGESTS_CHECKSUM_ATTRIBUTE,
    ROOT,
    VERSIONS_FORMAT,
    bundle_attributes,
    check_checksum,
    check_version,
    compact_json,
    digest_attributes,
    digest_of,
    pack_bundle,
    pack_digests,
    started_version,
    unpack_bundle,
    unpack_digests,
    versions_document,
    with_checksum,
)
from s2cmc.store.geozarr import as_geozarr
from s2cmc.store.lazy import (
    Source,
    digital_numbers,
    in_blocks,
    source_of,
    stored_pixels,
    take_scene,
    take_scenes,
    to_mask,
    to_reflectance,
)
from s2cmc.store.open import open_catalogue, open_group, place_of
from s2cmc.store.reading import as_stored, read_array, read_once, rebound, without_cache
from s2cmc.store.shards import Shards, checked

if TYPE_CHECKING:
    from s2cmc.store.objects import CatalogueStore, Place

__all__ = [
    "BUNDLE",
    "BUNDLE_ATTRIBUTE",
    "BUNDLE_CHECKSUM_ATTRIBUTE",
    "CHECKSUM_ATTRIBUTE",
    "DIGESTS",
    "DIGESTS_ATTRIBUTE",
    "DIGESTS_CHECKSUM_ATTRIBUTE",
    "ROOT",
    "VERSIONS_FORMAT",
    "CatalogueBackend",
    "CatalogueStore",
    "Place",
    "Shards",
    "Source",
    "along_scenes",
    "as_geozarr",
    "as_stored",
    "bundle_attributes",
    "check_checksum",
    "check_version",
    "checked",
    "compact_json",
    "digest_attributes",
    "digest_of",
    "digital_numbers",
    "graph_of_blocks",
    "in_blocks",
    "is_lazy",
    "map_scenes",
    "open_catalogue",
    "open_group",
    "pack_bundle",
    "pack_digests",
    "place_of",
    "read_array",
    "read_once",
    "rebound",
    "scene_spans",
    "source_of",
    "started_version",
    "stored_pixels",
    "take_scene",
    "take_scenes",
    "tasks_of_blocks",
    "to_mask",
    "to_reflectance",
    "unpack_bundle",
    "unpack_digests",
    "versions_document",
    "with_checksum",
    "without_cache",
]


def __getattr__(name: str) -> Any:
    """Import subclasses of zarr's classes on first access: `import s2cmc` does not import zarr."""
    if name in ("CatalogueStore", "Place"):
        from s2cmc.store import objects

        return getattr(objects, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
