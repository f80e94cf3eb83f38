"""A published record of a research-data repository (InvenioRDM), as Zenodo is one: its files, fetched politely."""

from .addresses import RecordAddress, parse_record
from .client import GIVE_UP
from .downloads import DownloadedFile, download
from .errors import NoRangesError, RecordError
from .filesystem import RecordFileSystem
from .kept import KeptRecord

__all__ = [
    "GIVE_UP",
    "DownloadedFile",
    "KeptRecord",
    "NoRangesError",
    "RecordAddress",
    "RecordError",
    "RecordFileSystem",
    "download",
    "parse_record",
]
