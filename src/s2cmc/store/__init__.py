"""Read a catalogue store: from a path or URL to a lazy Dataset, and from an index to values or an error."""

from typing import TYPE_CHECKING, Any

from s2cmc.store.backend import CatalogueBackend, PlainDaskManager
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
    is_rewritten,
    pack_bundle,
    pack_digests,
    rewritten_message,
    started_version,
    unpack_bundle,
    unpack_digests,
    versions_document,
    with_checksum,
)
from s2cmc.store.geozarr import as_geozarr
from s2cmc.store.lazy import digital_numbers, in_blocks, source_of, stored_pixels, transpose
from s2cmc.store.open import open_catalogue, open_group, place_of
from s2cmc.store.reading import as_stored, read_array, read_once, rebound, without_cache
from s2cmc.store.shards import Shards, checked
from s2cmc.store.source import Source, to_mask, to_reflectance

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
    "PlainDaskManager",
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
    "is_rewritten",
    "map_scenes",
    "open_catalogue",
    "open_group",
    "pack_bundle",
    "pack_digests",
    "place_of",
    "read_array",
    "read_once",
    "rebound",
    "rewritten_message",
    "scene_spans",
    "source_of",
    "started_version",
    "stored_pixels",
    "tasks_of_blocks",
    "to_mask",
    "to_reflectance",
    "transpose",
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
