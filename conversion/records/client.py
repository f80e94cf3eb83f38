"""HTTP for records: polite to the host, stubborn on a bad network, and sure that a file stays the same file."""

import json
import logging
import re
import ssl
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError

from s2cmc._redact import redacted, without_secrets
from s2cmc.errors import MissingReleaseError, ReleaseError

from .errors import NoRangesError, RecordError
from .limits import Limiter, asked_wait

logger = logging.getLogger(__name__)

USER_AGENT = f"s2cmc/{version('s2cmc')} (+https://doi.org/10.5281/zenodo.4172871)"
"""Hosts refuse or slow clients without a name. The URL is that of the catalogue."""

GIVE_UP = 1800.0
"""Seconds without a byte after which a read fails."""

TOKEN_VARIABLE = "ZENODO_TOKEN"  # noqa: S105, the name of an environment variable

_UNREACHED = 60.0  # seconds after which a host that has never answered is given up: its name may be wrong
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0  # seconds
_PIECE = 1 << 18  # bytes; a stall loses at most so many that have come
_REDIRECTS = 5
_CONNECTIONS = 64  # kept open for each host; more threads than that would be warned about
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_ETAG_MD5 = re.compile(r"md5:([0-9a-f]{32})")
"""Content of an ETag of InvenioRDM, between quotes."""
_QUOTED = 200  # characters of an answer that a message quotes


class _RetryError(Exception):
    """A request failed that may be answered a moment later."""


@dataclass
class _Seen:
    """Facts that the answers of one URL must agree on; None before the first answer."""

    etag: str | None = None
    md5: str | None = None
    nbytes: int | None = None
    honours_ranges: bool | None = None


class Client:
    """Client for the files of one record; all threads share one.

    Parameters
    ----------
    host : str
        URL of the host of the record.
    token : str, optional
        Sent to `host` as a bearer token, and to no other.
    give_up : float
        Seconds without a byte after which a read fails. Waits that the host asks for do not count.
    read_timeout : float
        Seconds without a byte after which a connection is taken for dead, and another one is made.
    """

    def __init__(
        self, host: str, *, token: str | None = None, give_up: float = GIVE_UP, read_timeout: float = 30.0
    ) -> None:
        self._origin = _origin(host)
        self._token = token
        self._give_up = give_up
        self._timeout = urllib3.Timeout(connect=min(read_timeout, 30.0), read=read_timeout)
        self._pool = _pool(host)
        self._limiters: dict[str, Limiter] = {}
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._has_answered = False

    def expect(self, url: str, nbytes: int, md5: str) -> None:
        """Take size and MD5 of a file from its listing; an answer that states another one is an error then."""
        facts = self._facts(url)
        facts.nbytes, facts.md5 = nbytes, md5

    def json(self, url: str) -> Any:
        """Return the JSON document at a URL.

        Raises
        ------
        ReleaseError
            As `stream` does, and if the document is not JSON.
        """
        try:
            return json.loads(b"".join(self.stream(url)))
        except ValueError as error:
            raise RecordError(f"{url} is not JSON, and no listing of a record: {error}") from without_secrets(error)

    def stream(self, url: str, start: int = 0, end: int | None = None) -> Generator[bytes]:
        """Yield a file, or a range of bytes of it, in pieces of at most 256 kB.

        A response that breaks off goes on where it ended. Where the server honours no ranges, it is asked for the whole
        file again, and the bytes that came before are left out.

        Parameters
        ----------
        url : str
        start : int
            First byte.
        end : int, optional
            One more than the last byte; by default the end of the file.

        Raises
        ------
        ReleaseError
            If the file may not be read, has changed since it was first read, or nothing has arrived for `give_up`
            seconds.
        MissingReleaseError
            If there is no such file.
        NoRangesError
            If the server honours no ranges, and less than the whole file was asked for.
        """
        position = start
        patience = _Patience()
        while end is None or position < end:
            try:
                with closing(self._pieces(url, start, position, end, patience)) as pieces:
                    for piece in pieces:
                        position += len(piece)
                        yield piece
                        patience.renew()  # the time that the caller took is no silence of the server
                return
            except _RetryError as error:
                self._pause(url, patience, error)

    def honours_ranges(self, url: str) -> bool:
        """Return whether the server honours ranges of a file; asks for its first byte if none has been read yet."""
        facts = self._facts(url)
        if facts.honours_ranges is None:
            with suppress(NoRangesError):
                for _ in self.stream(url, 0, 1):
                    pass
        return bool(facts.honours_ranges)

    def stop(self) -> None:
        """End all reads and waits with an error, at the next byte that arrives."""
        self._stopped.set()
        with self._lock:
            for limiter in self._limiters.values():
                limiter.stop()

    def _pieces(self, url: str, start: int, position: int, end: int | None, patience: "_Patience") -> Generator[bytes]:
        """Yield what one response has of a file from `position` on, and fail where that is not all until `end`."""
        response = self._open(url, position, end, patience)
        try:
            if response.status == 416:  # asked for the first byte of an empty file
                return
            facts = self._facts(url)
            at = position
            if response.status == 200:
                at = 0
                if start > 0 or end not in (None, facts.nbytes):
                    raise NoRangesError(f"{url} cannot be read in parts: the server sends the whole file instead")
                if position:
                    logger.info("%s is read from its beginning again: the server honours no ranges", _name(url))
            for piece in _body(response):
                if self._stopped.is_set():
                    raise RecordError(f"reading {url} was stopped")
                patience.note_arrival()
                new = piece[max(position - at, 0) :]
                at += len(piece)
                if new:
                    yield new
            if end is not None and at > end:
                raise RecordError(
                    f"{url} cannot be read: the server sent more than the {end - start:,} bytes asked for"
                )
            if at < (end or facts.nbytes or 0):
                raise _RetryError("the response ended early")
        finally:
            response.close()

    def _open(self, url: str, position: int, end: int | None, patience: "_Patience") -> urllib3.BaseHTTPResponse:
        """Send a request and check its answer."""
        response = self._send(url, {"Range": f"bytes={position}-{'' if end is None else end - 1}"}, patience)
        if response.status not in (200, 206, 416):
            self._refuse(url, response)
        try:
            self._check(url, response, position, end)
        except ReleaseError:
            response.close()
            raise
        return response

    def _send(self, url: str, headers: dict[str, str], patience: "_Patience") -> urllib3.BaseHTTPResponse:
        """Send a request as soon as the host allows it, and follow where it leads."""
        target = url
        for _ in range(_REDIRECTS):
            limiter = self._limiter(target)
            began = time.monotonic()
            slot = limiter.take()
            patience.excuse(time.monotonic() - began)
            response = None
            try:
                response = self._pool.urlopen(
                    "GET",
                    target,
                    headers=headers | self._own_headers(target),
                    preload_content=False,
                    decode_content=False,
                    redirect=False,
                    retries=False,
                    timeout=self._timeout,
                )
            except LocationValueError as error:
                raise RecordError(f"{target} cannot be read: {error}") from without_secrets(error)
            except HTTPError as error:
                if any(isinstance(part, ssl.SSLCertVerificationError) for part in error.args):
                    raise RecordError(f"{target} cannot be read: {error}") from without_secrets(error)
                raise _RetryError(_in_words(error)) from without_secrets(error)
            finally:
                limiter.settle(slot, None if response is None else response.headers)
            self._has_answered = True
            location = response.get_redirect_location()
            if not location:
                return response
            response.drain_conn()
            target = urljoin(target, location)
        raise RecordError(f"{url} cannot be read: the server redirects more than {_REDIRECTS} times")

    def _own_headers(self, url: str) -> dict[str, str]:
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        if self._token and _origin(url) == self._origin:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _refuse(self, url: str, response: urllib3.BaseHTTPResponse) -> None:
        """Raise what an answer without content means: try again, later, or never."""
        status = response.status
        wait = asked_wait(response.headers) if status in (429, 503) else None
        words = self._words(response)
        said = f"the server answered {status}{f' ({words})' if words else ''}"
        if wait is not None:
            self._limiter(url).close(wait, f"answered {status} and asked for it")
        if status >= 500 or status in (408, 425, 429):
            raise _RetryError(said)
        if status in (404, 410):
            raise MissingReleaseError(f"{url} is missing: {said}; check the address of the record")
        if status in (401, 403):
            token = f"the token in {TOKEN_VARIABLE} may not read it" if self._token else f"it needs {TOKEN_VARIABLE}"
            raise RecordError(f"{url} may not be read: {said}; if the record is restricted, {token}")
        raise RecordError(f"{url} cannot be read: {said}")

    def _words(self, response: urllib3.BaseHTTPResponse) -> str:
        """Return the beginning of an answer as one line of text, without tags and secrets."""
        try:
            text = response.read(4 * _QUOTED, decode_content=False).decode("utf-8", "replace")
        except HTTPError:
            return ""
        finally:
            response.close()
        line = " ".join(re.sub(r"<[^>]*>", " ", text).split())
        return redacted("".join(filter(str.isprintable, line))[:_QUOTED], [self._token] if self._token else [])

    def _check(self, url: str, response: urllib3.BaseHTTPResponse, position: int, end: int | None) -> None:
        """Check that an answer is of the file that was read before, and of the bytes that were asked for."""
        facts = self._facts(url)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise RecordError(f"{url} cannot be read: the server compresses it, though asked for the file as it is")
        sent = response.headers.get("Content-Range", "")
        if response.status == 416:
            if position == 0 and sent == "bytes */0":
                facts.nbytes = 0
                return
            raise RecordError(f"{url} has changed under way: it ends before byte {position:,}; {_ANEW}")
        part = _CONTENT_RANGE.fullmatch(sent) if response.status == 206 else None
        if response.status == 206 and (not part or int(part[1]) != position or (end and int(part[2]) >= end)):
            last = "the end" if end is None else f"{end - 1}"
            raise RecordError(f"{url} cannot be read: asked for bytes {position} to {last}, the server sent {sent!r}")
        total = part[3] if part else response.headers.get("Content-Length", "")
        nbytes, etag = (int(total) if total.isdigit() else None), response.headers.get("ETag")
        stated = _ETAG_MD5.search(etag or "")
        md5 = stated[1] if stated else None
        for name, before, now in (("MD5", facts.md5, md5), ("ETag", facts.etag, etag), ("size", facts.nbytes, nbytes)):
            if before is not None and now is not None and before != now:
                raise RecordError(f"{url} has changed under way: its {name} was {before}, and is {now}; {_ANEW}")
        facts.etag = facts.etag or etag
        facts.nbytes = nbytes if facts.nbytes is None else facts.nbytes
        facts.honours_ranges = response.status == 206

    def _pause(self, url: str, patience: "_Patience", error: _RetryError) -> None:
        """Wait before a request is sent again, or give up."""
        limit = self._give_up if self._has_answered else min(self._give_up, _UNREACHED)
        if patience.silence() >= limit:
            raise RecordError(
                f"{url} cannot be read: {error}; nothing has arrived for {limit:g} s; "
                "run the same command again, it resumes"
            ) from error
        pause = min(patience.next_pause(), max(limit - patience.silence(), 0.01))
        if pause >= 1:
            logger.info("waiting %.0f s: %s: %s", pause, _name(url), error)
        else:
            logger.debug("%s is asked for again: %s", _name(url), error)
        if self._stopped.wait(pause):
            raise RecordError(f"reading {url} was stopped")

    def _limiter(self, url: str) -> Limiter:
        host = urlsplit(url).netloc.rpartition("@")[2]
        with self._lock:
            limiter = self._limiters.setdefault(host, Limiter(host))
        if self._stopped.is_set():
            limiter.stop()
        return limiter

    def _facts(self, url: str) -> _Seen:
        return self._seen.setdefault(url, _Seen())


class _Patience:
    """The time in which nothing has arrived, and the pauses that grow meanwhile."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew, because something new has arrived: the next request is sent at once."""
        self.note_arrival()
        self._next = 0.0

    def note_arrival(self) -> None:
        """End a silence. What has come before already shortens no pause."""
        self._since = time.monotonic()

    def excuse(self, seconds: float) -> None:
        """Leave out a wait that the host asked for."""
        self._since += seconds

    def silence(self) -> float:
        """Return the seconds in which nothing has arrived."""
        return time.monotonic() - self._since

    def next_pause(self) -> float:
        """Return the seconds to wait before the next request."""
        pause, self._next = self._next, min(max(2 * self._next, _FIRST_PAUSE), _LONGEST_PAUSE)
        return pause


_ANEW = "run the same command again to read it anew"


def _body(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the bytes of a response; where it breaks off, another request may go on."""
    try:
        while piece := response.read(_PIECE, decode_content=False):
            yield piece
    except HTTPError as error:
        raise _RetryError(_in_words(error)) from without_secrets(error)


def _pool(host: str) -> urllib3.PoolManager:
    """Make connections, through the proxy that the environment names for a host."""
    proxy = getproxies().get(urlsplit(host).scheme)
    if proxy and not proxy_bypass(urlsplit(host).hostname or ""):
        return urllib3.ProxyManager(proxy, maxsize=_CONNECTIONS)
    return urllib3.PoolManager(maxsize=_CONNECTIONS)


def _origin(url: str) -> tuple[str, str]:
    return urlsplit(url).scheme, urlsplit(url).netloc


def _name(url: str) -> str:
    """Return the name of a file, for the log."""
    return urlsplit(url).path.rpartition("/")[2]


def _in_words(error: HTTPError) -> str:
    """Return the reason of a broken connection, without the connection that urllib3 puts before it."""
    return re.sub(r"^HTTPS?Connection(Pool)?\([^)]*\): ", "", str(error.args[0] if error.args else error))
