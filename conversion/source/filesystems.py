"""The file system of a release: that of its folder or URL, or of a published record."""

from collections.abc import Mapping
from pathlib import Path

from fsspec import AbstractFileSystem

from s2cmc._redact import without_secrets
from s2cmc.errors import ArgumentError, ReleaseError
from s2cmc.storage import Location, filesystem_of, locate

from ..records import GIVE_UP, KeptRecord, RecordFileSystem, parse_record

SUBSCENES = "subscenes.zip"
"""The file that is almost all of a record, and is fetched scene by scene."""


def release_filesystem(
    url: str,
    options: Mapping[str, object] | None = None,
    *,
    keep: Location | None = None,
    give_up: float = GIVE_UP,
) -> tuple[AbstractFileSystem, str]:
    """Make the file system of a release, and the path of the release in it.

    Parameters
    ----------
    url : str
        Folder or zip, URL that fsspec knows, or address of a record; see `s2cmc.conversion.records.parse_record`.
    options : mapping, optional
        Options of the file system of fsspec; a record has none.
    keep : str or path, optional
        Folder that keeps what is fetched of a record.
    give_up : float
        Seconds in which nothing of a record arrives, after which it is given up.

    Raises
    ------
    ArgumentError
        If options are given for a record, or a folder for what is none.
    ReleaseError
        If there is no such file system.
    """
    if parse_record(url) is None:
        if keep is not None:
            raise ArgumentError(f"{url} is no record of a repository, of which files are kept; leave `keep` out")
        try:
            return filesystem_of(url, options)
        except (ValueError, ImportError) as error:
            raise ReleaseError(f"{url} cannot be read: {error}") from without_secrets(error)
    if options:
        raise ArgumentError(f"{url} is a record of a repository, which takes no options of a file system: {[*options]}")
    folder = None if keep is None else Path(locate(keep))
    return KeptRecord(RecordFileSystem(url, give_up=give_up), folder, large=SUBSCENES), ""
