"""Publish a finished store: copy it object by object, prove the copy, and only then announce it.

A place holds any number of versions, each in a folder of its own that is never changed again, and a small root document
that names the latest. Readers that open the place get the latest; readers that have opened a version, or cite one, go
on reading that version, in caches too. The keys of Zarr chunks are fixed, so that two versions cannot share a folder,
and a server that forwards requests would need rights that few have. The price is one more small request. To go back to
an earlier version, publish it again: nothing is copied.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial

from s2cmc._compat import run_in_loop
from s2cmc.errors import StoreError
from s2cmc.schema import JOURNAL_PLAN
from s2cmc.storage import Access, Location, locate
from s2cmc.store import (
    ROOT,
    VERSIONS_FORMAT,
    CatalogueStore,
    Place,
    check_checksum,
    is_rewritten,
    open_group,
    rewritten_message,
    versions_document,
)

from .targets import Bucket, Folder, place_to_write, writing
from .verify import expected_objects, list_objects

Progress = Callable[[int, int], None]
"""Called with the number of objects done so far, and of all."""

_TRIES = 5  # at announcing a version while others announce theirs
_MD5_DIGITS = 32


@dataclass(frozen=True)
class Publication:
    """A published version of a store.

    Attributes
    ----------
    url : str
        URL of the version; it never changes.
    version : str
        Name of the version.
    copied, kept : int
        Objects that were copied now, and that an earlier run had copied.
    nbytes : int
        Bytes of all objects.
    """

    url: str
    version: str
    copied: int
    kept: int
    nbytes: int


def publish(
    store: Location,
    url: Location,
    *,
    workers: int | None = None,
    source_access: Access | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
) -> Publication:
    """Copy a finished store to where others read it. A run that was killed is resumed by calling it again.

    Every copy is compared with its source by MD5, or by its bytes where the place states no MD5. The root document of
    the version is written last; after that the place names the version as its latest.

    Parameters
    ----------
    store : str or path
        Path or URL of a finished store.
    url : str or path
        Place to publish in: ``s3://``, ``gs://`` or ``az://`` URL, or a folder that a web server serves.
    workers : int, optional
        Objects under way at once; by default four for each core.
    source_access, access : Access, optional
        How `store` and `url` are reached; `url` by default with the credentials of the environment.
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    Publication

    Raises
    ------
    StoreError
        If the store is not finished or lacks objects, if `url` holds something else, or cannot be written.
    """
    url = locate(url)
    group = open_group(store, source_access)
    source = group.store
    if not isinstance(source, CatalogueStore):
        raise TypeError(f"expected a store that open_group opened, got {source!r}")
    keys = sorted(expected_objects(group))
    _refuse_incomplete(source.place, set(keys))
    root = _fetch(source, ROOT)
    place = place_to_write(url, access)
    _read_versions(place)  # so that a place with other content is refused before anything is copied
    version = _version_name(root, str(group.attrs.get("date_created", "")))
    folder = place_to_write(f"{url.rstrip('/')}/{version}", access, unchanging=True)
    with writing(url, lambda: "; what is copied is kept, the same command resumes" if _is_begun(folder) else ""):
        copied, nbytes = _copy_all(source, folder, keys, workers or 4 * (os.cpu_count() or 1), progress)
        folder.sync()
        _announce(place, version)
    if progress:
        progress(len(keys), len(keys))
    return Publication(folder.url, version, copied, len(keys) - copied, nbytes)


def _is_begun(folder: Folder | Bucket) -> bool:
    try:
        return bool(folder.top())
    except (OSError, StoreError):
        return False


def _copy_all(
    source: CatalogueStore, folder: Folder | Bucket, keys: Sequence[str], workers: int, progress: Progress | None
) -> tuple[int, int]:
    """Copy objects side by side, the root last; return the number copied now, and the bytes of all."""
    copy = partial(_copy, source, folder, _stored_tags(folder))
    copied, nbytes = 0, 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="s2cmc-publish")
    try:
        futures = [pool.submit(copy, key) for key in keys if key != ROOT]
        for done, future in enumerate(as_completed(futures), start=1):
            sent, size = future.result()
            copied, nbytes = copied + sent, nbytes + size
            if progress:
                progress(done, len(keys))
    finally:
        pool.shutdown(cancel_futures=True)
    sent, size = copy(ROOT)
    return copied + sent, nbytes + size


def _copy(
    source: CatalogueStore, folder: Folder | Bucket, stored: Mapping[str, tuple[int, str]], key: str
) -> tuple[bool, int]:
    """Copy an object unless it is copied already, and prove the copy; return whether it was sent, and its bytes."""
    content = _fetch(source, key)
    if _is_copied(folder, key, content, *stored.get(key, (-1, ""))):
        return False, len(content)
    tag = folder.put(key, content)
    if not _is_copied(folder, key, content, len(content), tag):
        raise StoreError(f"{folder.url}/{key} is not what was sent; run the same command again")
    return True, len(content)


def _is_copied(folder: Folder | Bucket, key: str, content: bytes, nbytes: int, tag: str) -> bool:
    if nbytes != len(content):
        return False
    if len(tag) == _MD5_DIGITS and hashlib.md5(content, usedforsecurity=False).hexdigest() == tag:
        return True
    # The tag is not an MD5 where objects are encrypted, and with some providers.
    return folder.read(key) == content


def _refuse_incomplete(place: Place, expected: set[str]) -> None:
    present = list_objects(place)
    if present is not None and (missing := sorted(expected - present)):
        raise StoreError(f"{place.url} lacks {len(missing)} objects, {missing[0]} first; see s2cmc verify")


def _fetch(store: CatalogueStore, key: str) -> bytes:
    return bytes(run_in_loop(store.fetch(key)))


def _stored_tags(folder: Folder | Bucket) -> dict[str, tuple[int, str]]:
    if isinstance(folder, Bucket):
        return folder.tags()
    return {key: (nbytes, "") for key, nbytes in folder.sizes().items()}


def _version_name(root: bytes, created: str) -> str:
    """Return the name of a version: its date, so that names sort, and a hash, so that equal stores have equal names."""
    day = created.replace("-", "").replace(":", "")
    return f"{day or 'undated'}-{hashlib.sha256(root).hexdigest()[:8]}"


def _read_versions(place: Folder | Bucket) -> tuple[list[str], bytes | None]:
    """Return the versions that a place holds, and the document that lists them; none and None for an empty place."""
    content = place.read(ROOT)
    if content is None:
        if is_rewritten(None, place.read):
            raise StoreError(f"{rewritten_message(place.url)}; choose another place to publish in")
        if place.read(JOURNAL_PLAN) is not None:
            raise StoreError(f"{place.url} holds a conversion that is not complete; choose another place")
        return [], None
    name = f"{place.url}/{ROOT}"
    try:
        document = json.loads(content)
    except ValueError as error:
        raise StoreError(f"{name} is no JSON; choose another place, or remove it") from error
    attributes = document.get("attributes") if isinstance(document, dict) else None
    if not isinstance(attributes, dict) or attributes.get("format") != VERSIONS_FORMAT:
        raise StoreError(f"{place.url} holds a store itself and not versions of one; choose another place")
    check_checksum(content, name)
    return list(attributes["versions"]), content


def _announce(place: Folder | Bucket, version: str) -> None:
    """Announce a version as the latest; if two do so at once, both are listed."""
    for _ in range(_TRIES):
        versions, before = _read_versions(place)
        after = versions_document(version, [*(name for name in versions if name != version), version])
        if after == before or place.replace(ROOT, before, after):
            return
    raise StoreError(f"{place.url}/{ROOT} is changed by others again and again; run the same command again")
