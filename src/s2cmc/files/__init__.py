"""Arrays and zips of untrusted files, read within bounds."""

from s2cmc.files.limits import FILE_BYTES, OUTLINE_BYTES, SIDE, TABLE_BYTES, THUMBNAIL_BYTES
from s2cmc.files.npy import open_array, read_array
from s2cmc.files.zips import METHODS, SpanReader, open_zip

__all__ = [
    "FILE_BYTES",
    "METHODS",
    "OUTLINE_BYTES",
    "SIDE",
    "TABLE_BYTES",
    "THUMBNAIL_BYTES",
    "SpanReader",
    "open_array",
    "open_zip",
    "read_array",
]
