"""Connections to stores by obstore, fsspec, a local folder or a zarr store; reading after a fork."""

import asyncio
import os
from datetime import timedelta
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from s2cmc._redact import without_secrets
from s2cmc.errors import StoreError
from s2cmc.storage.access import Access, has_obstore, scheme_of
from s2cmc.storage.failures import is_passing
from s2cmc.storage.filesystems import basic_auth, filesystem_of, with_basic_auth

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from obstore import GetOptions
    from obstore.store import ObjectStore
    from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest


# What a process must know of its parent: threads do not survive a fork.

_STARTED_IN = os.getpid()


def is_forked() -> bool:
    """Whether this process is a fork of the one that imported s2cmc.

    obstore's threads may have been running then, and would never answer here.
    """
    return os.getpid() != _STARTED_IN


@cache
def survive_forks() -> None:
    """Let processes that are forked from this one compute: dask would wait there for threads that are gone.

    zarr and fsspec do the same for theirs.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget_threads)


def _forget_threads() -> None:
    """No pools, and no lock that another thread held at that moment."""
    import dask.config
    import dask.threaded
    import dask.tokenize

    for lock in (dask.threaded.pools_lock, dask.config.config_lock, dask.tokenize.tokenize_lock):
        lock._at_fork_reinit()  # type: ignore[union-attr]  # as threading and logging do with theirs
    dask.threaded.default_pool = None
    dask.threaded.pools.clear()
    dask.tokenize._SEEN = {}


type Part = "RangeByteRequest | SuffixByteRequest | None"
"""What of an object is asked for: a range, its last bytes, or all."""

Bytes = bytes | memoryview

_CONNECT = 5.0
_TRIES_IN_TIME = 4
"""A connection that is silent for this part of the time limit is given up, so that others can be tried."""


class Connection(Protocol):
    """Reads objects whole or in part."""

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Bytes of an object.

        Raises
        ------
        FileNotFoundError
            If it is not there. What else is raised depends on the transport; `failures.explain` knows.
        """


def connect(url: str, access: Access) -> Connection:
    """A connection that works in this process.

    Raises
    ------
    StoreError
        If the protocol is unknown, needs a package that is not installed, or takes no such option.
    """
    if not scheme_of(url):
        return FolderConnection(url)
    if access.backend == "obstore" and has_obstore(url) and not is_forked():
        return ObstoreConnection(object_store(url, access), access.timeout)
    return FsspecConnection(url, access)


def object_store(url: str, access: Access) -> "ObjectStore":
    """Obstore's store of a URL that it knows; it tries again by itself what fails for a moment."""
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

    silent = timedelta(seconds=access.timeout / _TRIES_IN_TIME)
    config = {"client_options": {}, "retry_config": {}} | dict(access.storage_options)
    config["client_options"] = {
        "allow_http": True,  # where the URL or the endpoint says so
        "connect_timeout": timedelta(seconds=min(_CONNECT, access.timeout / _TRIES_IN_TIME)),
        "read_timeout": silent,
        "timeout": timedelta(days=1),  # of a whole download, however slow; silence is what ends it
        "user_agent": f"s2cmc/{version('s2cmc')}",
    } | config["client_options"]
    config["retry_config"] = {"retry_timeout": timedelta(seconds=access.timeout) - silent} | config["retry_config"]
    try:
        url, headers = basic_auth(url)
        if headers:  # obstore would ignore a user and password in the URL
            options = config["client_options"]
            config["client_options"] = options | {"default_headers": headers | options.get("default_headers", {})}
        match scheme_of(url):
            case "http" | "https":
                return HTTPStore.from_url(url, **config)
            case "s3" | "s3a":
                from s2cmc.storage.access import s3_config

                return S3Store.from_url(url, **(s3_config(access) | config))
            case "gs":
                return GCSStore.from_url(url, **(_unsigned(access, "base_url") | config))
            case _:
                return AzureStore.from_url(url, **(_unsigned(access, "endpoint") | config))
    except (BaseError, TypeError, ValueError) as error:
        without_secrets(error, access.secrets())
        reason = str(error).partition("\n")[0]
        hint = "; options of fsspec file systems need backend='fsspec'" if access.storage_options else ""
        raise StoreError(f"{url} cannot be opened: {reason}{hint}") from error


def _unsigned(access: Access, endpoint: str) -> dict[str, Any]:
    options = {"skip_signature": access.is_anonymous, endpoint: access.endpoint_url}
    return {name: value for name, value in options.items() if value is not None}


class ObstoreConnection:
    """Through obstore; tries again what breaks off half way, which it does itself only where there are ETags."""

    def __init__(self, store: "ObjectStore", timeout: float) -> None:
        self._store = store
        self._timeout = timeout
        self._has_ranges = True

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Bytes of an object; all of them from a server without ranges."""
        import obstore
        from obstore.exceptions import BaseError
        from zarr.abc.store import RangeByteRequest, SuffixByteRequest

        if not self._has_ranges:
            byte_range = None
        try:
            return await self._read(key, byte_range)
        except BaseError as error:
            if byte_range is None or not _is_without_ranges(error):
                raise
        if isinstance(byte_range, SuffixByteRequest):  # Azure has ranges, but none from the end
            nbytes = (await obstore.head_async(self._store, key))["size"]
            return await self.read(key, RangeByteRequest(max(0, nbytes - byte_range.suffix), nbytes))
        self._has_ranges = False
        return await self.read(key, None)

    async def _read(self, key: str, byte_range: Part) -> Bytes:
        import obstore
        from obstore.exceptions import BaseError
        from zarr.abc.store import RangeByteRequest

        options: GetOptions = {}
        if isinstance(byte_range, RangeByteRequest):
            options["range"] = (byte_range.start, byte_range.end)
        elif byte_range:
            options["range"] = {"suffix": byte_range.suffix}
        loop = asyncio.get_running_loop()
        given_up = loop.time() + self._timeout * (1 - 1 / _TRIES_IN_TIME)
        pause = 0.1
        while True:
            answer = await obstore.get_async(self._store, key, options=options)
            try:
                return memoryview(await answer.bytes_async())
            except BaseError as error:
                if answer.meta["e_tag"] or not is_passing(error) or loop.time() + pause > given_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5)


def _is_without_ranges(error: BaseException) -> bool:
    """A whole object was the answer where a part was asked for; each store of obstore says it in its own way."""
    from obstore.exceptions import NotSupportedError

    return isinstance(error, NotSupportedError) or "non-partial response" in str(error)


class FolderConnection:
    """From a local folder, in the thread that asks."""

    def __init__(self, root: str) -> None:
        self._root = root

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Bytes of a file."""
        from zarr.abc.store import SuffixByteRequest

        try:
            with open(f"{self._root}/{key}", "rb") as file:
                if byte_range is None:
                    return file.read()
                if isinstance(byte_range, SuffixByteRequest):
                    file.seek(max(0, os.fstat(file.fileno()).st_size - byte_range.suffix))
                    return file.read(byte_range.suffix)
                file.seek(byte_range.start)
                return file.read(byte_range.end - byte_range.start)
        except (IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(key) from error


class ZarrConnection:
    """Through a store of zarr that is given."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Bytes of an object."""
        from zarr.core.buffer import default_buffer_prototype

        found = await self._store.get(key, default_buffer_prototype(), byte_range)
        if found is None:
            raise FileNotFoundError(key)
        return memoryview(found.as_buffer_like())


class FsspecConnection:
    """Through fsspec; tries again what fails for a moment, which its file systems do in part or not at all."""

    def __init__(self, url: str, access: Access) -> None:
        self._timeout = access.timeout
        try:
            self._connection: Connection = _file_system(url, access)
        except (ValueError, TypeError, ImportError) as error:
            without_secrets(error, access.secrets())
            forked = "; a forked process needs it, one that is spawned does not" if is_forked() else ""
            raise StoreError(f"{url} cannot be opened: {error}{forked}") from error

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Bytes of an object."""
        loop = asyncio.get_running_loop()
        given_up = loop.time() + self._timeout * (1 - 1 / _TRIES_IN_TIME)
        pause = 0.1
        while True:
            try:
                return await self._connection.read(key, byte_range)
            except Exception as error:
                # Whatever it is: file systems raise errors of their own libraries.
                if not is_passing(error) or loop.time() + pause > given_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5)


def _file_system(url: str, access: Access) -> Connection:
    """Asynchronous where a file system is made for it and has all that zarr asks for, else in threads."""
    from zarr.storage import FsspecStore

    if scheme_of(url).startswith("http") and "?" in url:
        raise ValueError("fsspec cannot read below a URL with a query; backend='obstore' can")
    options = fsspec_options(url, access)
    if scheme_of(url) not in ("s3", "s3a", "http", "https") or "::" in url:
        return ThreadedConnection(*filesystem_of(url, options), access.timeout)
    url, options = with_basic_auth(url, options)
    store = FsspecStore.from_url(url, storage_options=options, read_only=True, allowed_exceptions=())
    if scheme_of(url) in ("s3", "s3a"):
        store.fs.retries = 1  # or it tries five times within each try of ours
    return ZarrConnection(store)


class ThreadedConnection:
    """Through a file system of fsspec of any kind, in threads; the time limit is that of a whole object here."""

    def __init__(self, filesystem: "AbstractFileSystem", root: str, timeout: float) -> None:
        self._filesystem = filesystem
        self._root = root
        self._timeout = timeout

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Bytes of an object."""
        return await asyncio.wait_for(asyncio.to_thread(self._read, key, byte_range), self._timeout)

    def _read(self, key: str, byte_range: Part) -> Bytes:
        from zarr.abc.store import SuffixByteRequest

        path = f"{self._root}/{key}" if self._root else key
        if byte_range is None:
            return bytes(self._filesystem.cat_file(path))
        if isinstance(byte_range, SuffixByteRequest):
            nbytes = self._filesystem.size(path)
            return bytes(self._filesystem.cat_file(path, start=max(0, nbytes - byte_range.suffix), end=nbytes))
        return bytes(self._filesystem.cat_file(path, start=byte_range.start, end=byte_range.end))


def fsspec_options(url: str, access: Access) -> dict[str, Any]:
    """Options of a file system of fsspec, from what all transports have in common."""
    silent = access.timeout / _TRIES_IN_TIME
    options: dict[str, Any] = {}
    match scheme_of(url.rpartition("::")[2]):
        case "s3" | "s3a":
            region = access.region or os.environ.get("AWS_REGION")
            options = {
                "anon": access.is_anonymous,
                "key": access.key,
                "secret": access.secret,
                "profile": access.profile,
                "requester_pays": access.requester_pays,
                "endpoint_url": access.endpoint_url,
                "client_kwargs": {"region_name": region} if region else {},
                "max_concurrency": 1,  # more would ask for the size of an object before it is read
                "config_kwargs": {
                    "connect_timeout": min(_CONNECT, silent),
                    "read_timeout": silent,
                    "retries": {"total_max_attempts": 1},
                },
            }
        case "http" | "https":
            from aiohttp import ClientTimeout

            limits = ClientTimeout(total=None, sock_connect=min(_CONNECT, silent), sock_read=silent)
            # Compressed answers would lose their byte positions.
            options = {"client_kwargs": {"timeout": limits, "headers": {"Accept-Encoding": "identity"}}}
        case "gs" | "gcs":
            options = {"token": "anon"} if access.is_anonymous else {}
            options |= {"endpoint_url": access.endpoint_url} if access.endpoint_url else {}
            options |= {"requester_pays": True} if access.requester_pays else {}
        case "az" | "abfs" | "abfss":
            options = {"anon": access.is_anonymous}
            if not access.storage_options.keys() & {"account_name", "connection_string"}:
                options["account_name"] = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if "::" in url:  # a chain: options go to its last link, and others must be named by the user
        options = {scheme_of(url.rpartition("::")[2]): options} if options else {}
    return options | dict(access.storage_options)
