"""A published record of a research-data repository (InvenioRDM), as Zenodo is one: its files, fetched politely."""

from .addresses import RecordAddress, parse_record
from .client import NoRangesError
from .downloads import DownloadedFile, download
from .filesystem import RecordFileSystem
from .kept import KeptRecord

__all__ = [
    "DownloadedFile",
    "KeptRecord",
    "NoRangesError",
    "RecordAddress",
    "RecordFileSystem",
    "download",
    "parse_record",
]
