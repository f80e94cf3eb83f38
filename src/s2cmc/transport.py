"""Connections to where stores are: obstore, fsspec, or a store of zarr."""

import asyncio
import os
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from s2cmc.access import Access, has_obstore, scheme_of
from s2cmc.errors import StoreError
from s2cmc.faults import is_passing
from s2cmc.process import is_forked

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ObjectStore
    from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest

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
            If it is not there. What else is raised depends on the transport; `faults.explain` knows.
        """


def connect(url: str, access: Access) -> Connection:
    """A connection that works in this process.

    Raises
    ------
    StoreError
        If the protocol is unknown, needs a package that is not installed, or takes no such option.
    """
    if not scheme_of(url):
        from zarr.storage import LocalStore

        return ZarrConnection(LocalStore(url, read_only=True))
    if access.backend == "obstore" and has_obstore(url) and not is_forked():
        return ObstoreConnection(object_store(url, access))
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
        match scheme_of(url):
            case "http" | "https":
                return HTTPStore.from_url(url, **config)
            case "s3" | "s3a":
                from s2cmc.aws import s3_config

                return S3Store.from_url(url, **(s3_config(access) | config))
            case "gs":
                return GCSStore.from_url(url, **(_unsigned(access, "base_url") | config))
            case _:
                return AzureStore.from_url(url, **(_unsigned(access, "endpoint") | config))
    except (BaseError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(
            f"{url} cannot be opened: {reason}; options of fsspec file systems need backend='fsspec'"
        ) from error


def _unsigned(access: Access, endpoint: str) -> dict[str, Any]:
    options = {"skip_signature": access.is_anonymous, endpoint: access.endpoint_url}
    return {name: value for name, value in options.items() if value is not None}


class ObstoreConnection:
    """Through obstore."""

    def __init__(self, store: "ObjectStore") -> None:
        self._store = store

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Bytes of an object."""
        import obstore
        from obstore.exceptions import NotSupportedError
        from zarr.abc.store import RangeByteRequest

        try:
            if isinstance(byte_range, RangeByteRequest):
                part = await obstore.get_range_async(self._store, key, start=byte_range.start, end=byte_range.end)
                return memoryview(part)
            options: GetOptions = {"range": {"suffix": byte_range.suffix}} if byte_range else {}
            answer = await obstore.get_async(self._store, key, options=options)
            return memoryview(await answer.bytes_async())
        except NotSupportedError:
            if byte_range is None:
                raise
            return await self.read(key, None)  # a server without ranges; the caller cuts out what it asked for


class ZarrConnection:
    """Through a store of zarr that is given, or that of a folder."""

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
        from zarr.storage import FsspecStore

        self._timeout = access.timeout
        try:
            self._store = FsspecStore.from_url(
                url, storage_options=fsspec_options(url, access), read_only=True, allowed_exceptions=()
            )
        except (ValueError, TypeError, ImportError) as error:
            forked = "; a forked process needs it, one that is spawned does not" if is_forked() else ""
            raise StoreError(f"{url} cannot be opened: {error}{forked}") from error
        if scheme_of(url) in ("s3", "s3a"):
            self._store.fs.retries = 1  # or it tries five times within each try of ours

    async def read(self, key: str, byte_range: Part) -> Bytes:
        """Bytes of an object."""
        loop = asyncio.get_running_loop()
        given_up = loop.time() + self._timeout * (1 - 1 / _TRIES_IN_TIME)
        pause = 0.1
        while True:
            try:
                return await ZarrConnection(self._store).read(key, byte_range)
            except Exception as error:
                # Whatever it is: file systems raise errors of their own libraries.
                if not is_passing(error) or loop.time() + pause > given_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5)


def fsspec_options(url: str, access: Access) -> dict[str, Any]:
    """Options of a file system of fsspec, from what all transports have in common."""
    silent = access.timeout / _TRIES_IN_TIME
    options: dict[str, Any] = {}
    match scheme_of(url.rpartition("::")[2]):
        case "s3" | "s3a":
            options = {
                "anon": access.is_anonymous,
                "key": access.key,
                "secret": access.secret,
                "profile": access.profile,
                "requester_pays": access.requester_pays,
                "endpoint_url": access.endpoint_url,
                "client_kwargs": {"region_name": access.region} if access.region else {},
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
