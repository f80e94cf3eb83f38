"""From a path or URL to the place that is written to; places within a store are refused."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from obstore.exceptions import BaseError

from s2cmc._redact import without_secrets
from s2cmc.errors import ArgumentError, CatalogueError, DeniedError, StoreError
from s2cmc.schema import JOURNAL_PLAN
from s2cmc.storage import Access, Location, locate, scheme_of
from s2cmc.store import ROOT

from .bucket import Bucket, is_bucket
from .folder import Folder


def place_to_write(url: Location, access: Access | None = None, *, unchanging: bool = False) -> Folder | Bucket:
    """Return the folder of a path, or the bucket of a URL.

    Credentials are those of the environment, unless `access` has others. With `unchanging`, objects that are written
    never change.

    Raises
    ------
    ArgumentError
        If `url` names no place, or one of a scheme that cannot be written.
    """
    url = locate(url)
    if not url.strip() or scheme_of(url) == "file":  # file:// alone
        raise ArgumentError(f"{url!r} names no place; give a folder, or the URL of a bucket")
    if not scheme_of(url):
        return Folder(url)
    if not is_bucket(url):
        raise ArgumentError(f"cannot write to {url}: expected a local path, or s3://, gs:// or az://")
    return Bucket(url.rstrip("/"), (access or Access()).signed(), unchanging=unchanging)


@contextmanager
def writing(url: str, remark: Callable[[], str] = str, *, verb: str = "written") -> Iterator[None]:
    """Translate errors of the system and of obstore into a `StoreError`, while a place is written.

    Parameters
    ----------
    url : str
        The place, for the message.
    remark : callable
        Returns the end of the message, e.g. how to resume.
    verb : str
        The action that failed, for the message.

    Raises
    ------
    StoreError
        If the place cannot be written; a `DeniedError` if that is not allowed.
    """
    try:
        yield
    except CatalogueError:  # some of them are OSErrors too
        raise
    except (OSError, BaseError) as error:
        kind = DeniedError if isinstance(error, PermissionError) else StoreError
        raise kind(f"{url} cannot be {verb}: {error}{remark()}") from without_secrets(error)


def refuse_within_store(url: str, access: Access | None = None, *, is_store: bool = False) -> None:
    """Refuse to write files into a store; with `is_store`, `url` itself may be a store.

    Raises
    ------
    StoreError
        If the place is a file, or is in a store or in an unfinished one.
    """
    itself, *above = _lineage(url)
    for folder in (itself, *above):
        if os.path.isfile(folder):
            raise StoreError(f"{url} cannot be written: {folder} is a file; choose another place")
    if not is_store and _holds_store(itself, access):
        raise StoreError(f"{url} is a store, where other files do not belong; choose another place")
    for folder in reversed(above):  # an array has a zarr.json too
        if _holds_store(folder, access):
            raise StoreError(f"{url} lies in the store {folder}, where other files do not belong; choose another place")


def _lineage(url: str) -> list[str]:
    """Return a place and the folders that it is in: ``s3://b/x/y`` gives that, ``s3://b/x`` and ``s3://b``."""
    if not scheme_of(url):
        path = Path(os.path.realpath(url))
        return [str(path), *map(str, path.parents)]
    scheme, _, bucket_path = url.partition("://")
    names = bucket_path.strip("/").split("/")
    return [f"{scheme}://{'/'.join(names[:count])}" for count in range(len(names), 0, -1)]


def _holds_store(url: str, access: Access | None) -> bool:
    """Return True for a store, finished or not. A place that must not be read counts as none.

    Writers to a part of a bucket need not have the right to read the rest.
    """
    place = place_to_write(url, access)
    try:
        return any(place.read(key) is not None for key in (ROOT, JOURNAL_PLAN))
    except DeniedError:
        return False
