"""Places as people name them, as URLs or local paths."""

import os
import re
import sys
from urllib.parse import unquote

from s2cmc.errors import ArgumentError

Location = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""A path, whatever holds it, or a URL."""

_FILE_URL = re.compile(r"file:(?://(?P<host>[^/]*)(?=/)|(?!//))(?P<path>/.*)", re.IGNORECASE | re.DOTALL)


def locate(place: Location) -> str:
    """Return a place as a URL, or as a path if it is on this machine.

    Parameters
    ----------
    place : str, bytes or path
        A URL; a path, where ``~`` is the home folder; or the URL of a file (RFC 8089), where ``%20`` is a space.

    Raises
    ------
    ArgumentError
        If `place` is of another kind, or the URL of a file on another machine.

    Examples
    --------
    >>> locate("file:/data/my%20catalogue.zarr")
    '/data/my catalogue.zarr'
    """
    try:
        text = os.fsdecode(place)
    except TypeError as error:
        raise ArgumentError(
            f"{place!r} names no place; expected a path or a URL, got {type(place).__name__}"
        ) from error
    url = _FILE_URL.fullmatch(text)
    if url is None:
        return os.path.expanduser(text)  # as xarray does; URLs are left as they are
    if (url["host"] or "").lower() not in ("", "localhost"):
        raise ArgumentError(
            f"{text} is a file of the host {url['host']!r}, which cannot be reached; one of this machine has three "
            f"slashes: file:///{url['host']}{url['path']}"
        )
    path = unquote(url["path"], sys.getfilesystemencoding(), "surrogateescape")
    return path.lstrip("/") if os.name == "nt" else path  # file:///C:/data
