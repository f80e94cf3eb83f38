"""A published record of a research-data repository (InvenioRDM), as Zenodo is one: its files, fetched politely."""

from .addresses import RecordAddress, parse_record
from .client import GIVE_UP, NoRangesError
from .downloads import DownloadedFile, download
from .filesystem import RecordFileSystem
from .kept import KeptRecord

__all__ = [
    "GIVE_UP",
    "DownloadedFile",
    "KeptRecord",
    "NoRangesError",
    "RecordAddress",
    "RecordFileSystem",
    "download",
    "parse_record",
]
