"""Read bytes from anywhere, in time, or raise an error that says what to do."""

from s2cmc.storage.access import (
    Access,
    has_obstore,
    make_access,
    scheme_of,
)
from s2cmc.storage.cache import DiskCache, MemoryCache
from s2cmc.storage.connections import (
    Bytes,
    Connection,
    FolderConnection,
    Part,
    ZarrConnection,
    connect,
    fsspec_options,
    object_store,
    survive_forks,
)
from s2cmc.storage.failures import explain, first_error
from s2cmc.storage.filesystems import file_info, filesystem_of, unreadable
from s2cmc.storage.locations import Location, locate

__all__ = [
    "Access",
    "Bytes",
    "Connection",
    "DiskCache",
    "FolderConnection",
    "Location",
    "MemoryCache",
    "Part",
    "ZarrConnection",
    "connect",
    "explain",
    "file_info",
    "filesystem_of",
    "first_error",
    "fsspec_options",
    "has_obstore",
    "locate",
    "make_access",
    "object_store",
    "scheme_of",
    "survive_forks",
    "unreadable",
]
