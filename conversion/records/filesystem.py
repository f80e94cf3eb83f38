"""A record as a file system of fsspec."""

import os
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile

from s2cmc.errors import ArgumentError, ReleaseError

from .addresses import RecordAddress, parse_record, zenodo_host
from .client import GIVE_UP, TOKEN_VARIABLE, Client


@dataclass(frozen=True)
class _Entry:
    """A file of a record, as it is listed there."""

    url: str
    nbytes: int
    md5: str


class RecordFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """The files of one record, by their names. It is read-only.

    Names and sizes come from the record's listing, which is fetched once, with the first question. A token for
    restricted records, or for a higher limit, is taken from `ZENODO_TOKEN` in the environment and sent only to the host
    that ``zenodo:`` stands for. A copy that is unpickled has a client of its own.

    Parameters
    ----------
    record : str
        Address of the record; see `parse_record`.
    give_up : float
        Seconds without a byte after which a read fails. Waits that the host asks for do not count.
    read_timeout : float
        Seconds without a byte after which another connection is made.

    Raises
    ------
    ArgumentError
        If `record` is not the address of a record.
    """

    protocol = "zenodo"
    cachable = False  # one that fails, or is stopped, must not be handed out again

    def __init__(self, record: str, *, give_up: float = GIVE_UP, read_timeout: float = 30.0, **options: Any) -> None:
        super().__init__(**options)
        self.address = record_address(record)
        token = os.environ.get(TOKEN_VARIABLE) if self.address.host == zenodo_host() else None
        self._client = Client(self.address.host, token=token, give_up=give_up, read_timeout=read_timeout)
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] | None = None

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.strip("/")

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List the record, or one of its files, as fsspec does."""
        name = self._strip_protocol(path)
        found = [self.info(name)] if name else [self.info(listed) for listed in self._files()]
        return found if detail else [one["name"] for one in found]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, size, type and MD5 of a file, from the listing."""
        if not (name := self._strip_protocol(path)):
            return {"name": "", "size": 0, "type": "directory"}
        entry = self._entry(name)
        return {"name": name, "size": entry.nbytes, "type": "file", "md5": entry.md5}

    def exists(self, path: str, **_: Any) -> bool:
        """Return whether the record has a file; fsspec's own would take any error for an absent one."""
        name = self._strip_protocol(path)
        return not name or name in self._files()

    def md5(self, path: str) -> str:
        """Return the MD5 of a file that the listing states, 32 hexadecimal digits."""
        return self._entry(path).md5

    def checksum(self, path: str) -> str:
        """Return what changes when a file does: its MD5."""
        return self.md5(path)

    def stream(self, path: str, start: int = 0, end: int | None = None) -> Generator[bytes]:
        """Yield a file, or bytes `start` to `end` of it, in pieces of at most 256 kB, with one request if all is well.

        Raises
        ------
        FileNotFoundError
            If the record has no such file.
        NoRangesError
            If the server honours no ranges, and less than the whole file was asked for.
        ReleaseError
            If the file may not be read, has changed since it was listed, or nothing arrives any more.
        """
        entry = self._entry(path)
        first, last, _ = slice(start, end).indices(entry.nbytes)
        return self._client.stream(entry.url, first, max(first, last))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return a file, or bytes `start` to `end` of it; negative numbers count from its end. See `stream`."""
        return b"".join(self.stream(path, start or 0, end))

    def honours_ranges(self, path: str) -> bool:
        """Return whether the server honours ranges of a file: what its answers were, and not what it announces."""
        return self._client.honours_ranges(self._entry(path).url)

    def stop(self) -> None:
        """End all reads in other threads with an error."""
        self._client.stop()

    def _open(self, path: str, mode: str = "rb", block_size: Any = None, **options: Any) -> "_RecordFile":
        if mode != "rb":
            raise ArgumentError(f"{self.address} is read-only; mode is {mode!r}, expected 'rb'")
        return _RecordFile(self, path, mode, block_size or "default", **options)

    def _entry(self, path: str) -> _Entry:
        name = self._strip_protocol(path)
        try:
            return self._files()[name]
        except KeyError:
            names = ", ".join(self._files())
            raise FileNotFoundError(f"{self.address} has no file {name}; it has {names}") from None

    def _files(self) -> dict[str, _Entry]:
        with self._lock:
            if self._entries is None:
                self._entries = self._read_listing()
            return self._entries

    def _read_listing(self) -> dict[str, _Entry]:
        """Fetch the listing, in the shape of Zenodo or in that of InvenioRDM.

        Zenodo: ``{"id": ID, "files": [{"key", "size", "checksum"}, ...]}``. InvenioRDM: ``"files": {"entries":
        {KEY: {"size", "checksum"}}}``, or with its entries at ``links.files``.
        """
        record = self._client.json(self.address.listing)
        try:
            files = record["files"]
            if isinstance(files, dict) and "entries" not in files:
                files = self._client.json(urljoin(self.address.listing, record["links"]["files"]))
            entries = files["entries"] if isinstance(files, dict) else files
            listed = list(entries.values() if isinstance(entries, dict) else entries)
            # The number of all versions leads to the latest one, whose files are at its own number.
            address = RecordAddress(self.address.host, str(record.get("id", self.address.record)))
            found = {str(one["key"]): _entry(address, one) for one in listed}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReleaseError(
                f"{self.address.listing} does not list the files of a record ({type(error).__name__}: {error}); "
                "expected name, size and MD5 of each"
            ) from error
        for entry in found.values():
            self._client.expect(entry.url, entry.nbytes, entry.md5)
        return found


class _RecordFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec is not typed
    """A file of a record, open for reading."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.cat_file(self.path, start, end))


def record_address(record: str) -> RecordAddress:
    """Return the address of a record, or raise an ArgumentError that says what one looks like."""
    address = parse_record(record)
    if address is None:
        raise ArgumentError(
            f"{record} is not the address of a record; expected zenodo:4172871, its DOI, or the URL of its page"
        )
    return address


def _entry(address: RecordAddress, listed: dict[str, Any]) -> _Entry:
    """Read one file of a listing. Nobody vouches for it: a name must be one, and must not lead elsewhere."""
    name, nbytes, checksum = str(listed["key"]), int(listed["size"]), str(listed["checksum"])
    if not name.isprintable() or name in ("", ".", "..") or not {"/", "\\", ":"}.isdisjoint(name):
        raise ValueError(f"{name!r} is not the name of a file")
    algorithm, _, md5 = checksum.partition(":")
    if algorithm != "md5" or len(md5) != 32 or nbytes < 0:
        raise ValueError(f"size {nbytes} and checksum {checksum!r} of {name}")
    return _Entry(address.file(name), nbytes, md5.lower())
