"""Connections to stores, by obstore, fsspec, a local folder or a zarr store; and reading after a fork."""

import asyncio
import os
from datetime import timedelta
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from s2cmc._compat import forget_dasks_threads
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


# Forks. Threads do not survive them, so that a child must not wait for those of its parent.

_STARTED_IN = os.getpid()


def is_forked() -> bool:
    """Return True if this process is a fork of the one that imported s2cmc.

    obstore's threads may have run in the parent, and would never answer in the child.
    """
    return os.getpid() != _STARTED_IN


@cache
def survive_forks() -> None:
    """Make dask usable in processes that are forked from this one: it would wait for threads that are gone.

    zarr and fsspec do this for their own threads.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget_dasks_threads)


type Part = "RangeByteRequest | SuffixByteRequest | None"
"""Part of an object that is requested: a range, its last bytes, or all of it."""

Bytes = bytes | memoryview

_CONNECT = 5.0  # seconds
_TRIES_IN_TIME = 4
"""Tries within the time limit: a connection that is silent for a quarter of it is given up, and another one tried."""


class Connection(Protocol):
    """Reads objects whole or in part."""

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Read the bytes of an object.

        Raises
        ------
        FileNotFoundError
            If there is no such object. Other errors depend on the transport; `failures.explain` translates them.
        """


def connect(url: str, access: Access) -> Connection:
    """Make a connection that works in this process.

    Raises
    ------
    StoreError
        If the protocol is unknown, needs a package that is not installed, or does not have one of the options.
    """
    if not scheme_of(url):
        return FolderConnection(url)
    if access.backend == "obstore" and has_obstore(url) and not is_forked():
        return ObstoreConnection(object_store(url, access), access.timeout)
    return FsspecConnection(url, access)


def object_store(url: str, access: Access) -> "ObjectStore":
    """Make obstore's store of a URL; obstore itself repeats requests that fail for a moment."""
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

    silent = timedelta(seconds=access.timeout / _TRIES_IN_TIME)
    config = {"client_options": {}, "retry_config": {}} | dict(access.storage_options)
    config["client_options"] = {
        "allow_http": True,  # used only if the URL or the endpoint begins with http://
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
    """Return the options of Google and Azure that all transports have in common; `endpoint` is the name of that one."""
    options = {"skip_signature": access.is_anonymous, endpoint: access.endpoint_url}
    return {name: value for name, value in options.items() if value is not None}


class ObstoreConnection:
    """Connection by obstore. Broken downloads are repeated: obstore itself does so only for objects with ETags."""

    def __init__(self, store: "ObjectStore", timeout: float) -> None:
        self._store = store
        self._timeout = timeout
        self._has_ranges = True

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Read the bytes of an object; all of them from a server without ranges."""
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
    """Return True if a server answered with a whole object for a part; each store of obstore has its own error."""
    from obstore.exceptions import NotSupportedError

    return isinstance(error, NotSupportedError) or "non-partial response" in str(error)


class FolderConnection:
    """Connection to a local folder; files are read in the calling thread."""

    def __init__(self, root: str) -> None:
        self._root = root

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Read the bytes of a file."""
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
    """Connection to a store of zarr that is open already."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Read the bytes of an object."""
        from zarr.buffer import default_buffer_prototype

        buffer = await self._store.get(key, default_buffer_prototype(), byte_range)
        if buffer is None:
            raise FileNotFoundError(key)
        return memoryview(buffer.as_buffer_like())


class FsspecConnection:
    """Connection by fsspec. Requests that fail for a moment are repeated: its file systems do so partly or never."""

    def __init__(self, url: str, access: Access) -> None:
        self._timeout = access.timeout
        try:
            self._connection: Connection = _file_system(url, access)
        except (ValueError, TypeError, ImportError) as error:
            without_secrets(error, access.secrets())
            forked = "; a forked process needs it, one that is spawned does not" if is_forked() else ""
            raise StoreError(f"{url} cannot be opened: {error}{forked}") from error

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Read the bytes of an object."""
        loop = asyncio.get_running_loop()
        given_up = loop.time() + self._timeout * (1 - 1 / _TRIES_IN_TIME)
        pause = 0.1
        while True:
            try:
                return await self._connection.read(key, byte_range)
            except Exception as error:
                # Broad, because file systems raise errors of their own libraries.
                if not is_passing(error) or loop.time() + pause > given_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5)


def _file_system(url: str, access: Access) -> Connection:
    """Connect to a file system: asynchronously for S3 and HTTP, where fsspec fully supports it, else in threads."""
    from zarr.storage import FsspecStore

    if scheme_of(url).startswith("http") and "?" in url:
        raise ValueError("fsspec cannot read below a URL with a query; backend='obstore' can")
    options = fsspec_options(url, access)
    if scheme_of(url) not in ("s3", "s3a", "http", "https") or "::" in url:
        return ThreadedConnection(*filesystem_of(url, options), access.timeout)
    url, options = with_basic_auth(url, options)
    store = FsspecStore.from_url(url, storage_options=options, read_only=True, allowed_exceptions=())
    if scheme_of(url) in ("s3", "s3a"):
        store.fs.retries = 1  # else s3fs would try five times within each of our tries
    return ZarrConnection(store)


class ThreadedConnection:
    """Connection by any file system of fsspec, in threads; here the time limit holds for a whole object."""

    def __init__(self, filesystem: "AbstractFileSystem", root: str, timeout: float) -> None:
        self._filesystem = filesystem
        self._root = root
        self._timeout = timeout

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Read the bytes of an object."""
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
    """Translate access into the options of the fsspec file system of a URL."""
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
                "max_concurrency": 1,  # with more, s3fs requests the size of an object before it reads
                "config_kwargs": {
                    "connect_timeout": min(_CONNECT, silent),
                    "read_timeout": silent,
                    "retries": {"total_max_attempts": 1},
                },
            }
        case "http" | "https":
            from aiohttp import ClientTimeout

            limits = ClientTimeout(total=None, sock_connect=min(_CONNECT, silent), sock_read=silent)
            # "identity", because byte ranges of a compressed answer are not those of the object.
            options = {"client_kwargs": {"timeout": limits, "headers": {"Accept-Encoding": "identity"}}}
        case "gs" | "gcs":
            options = {"token": "anon"} if access.is_anonymous else {}
            options |= {"endpoint_url": access.endpoint_url} if access.endpoint_url else {}
            options |= {"requester_pays": True} if access.requester_pays else {}
        case "az" | "abfs" | "abfss":
            options = {"anon": access.is_anonymous}
            if not access.storage_options.keys() & {"account_name", "connection_string"}:
                options["account_name"] = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if "::" in url:  # a chain: these options are of its last link, and the user has to name those of the others
        options = {scheme_of(url.rpartition("::")[2]): options} if options else {}
    return options | dict(access.storage_options)
