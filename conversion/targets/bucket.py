"""Bucket as a place to write, and the lease that admits one writer. Objects appear whole or not at all."""

import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore

from s2cmc.errors import StoreError
from s2cmc.storage import Access, explain, has_obstore, object_store, scheme_of

# The lease is an object in the bucket. Its holder renews it; another writer takes it over when it is not renewed.
#
# A waiting writer watches whether the lease changes, so that clocks of two machines are never compared. Every step is a
# conditional put, which exactly one of several writers passes. Between losing the lease and noticing it, a holder may
# complete the puts that were under way. That does no harm: objects appear whole, and the root document of a store is
# only ever created where there is none.
#
# With the defaults, a holder renews at 0, 5, 10 s and is killed. Another comes at 12 s, sees no change until 42 s and
# takes the lease over. A holder that cannot renew after 10 s gives up at 40 s by its own clock, so before that.

logger = logging.getLogger(__name__)

RENEWED_EVERY = 5.0
"""Seconds."""
EXPIRES_AFTER = 30.0
"""Seconds without renewal after which another writer may take a lease over."""


def now() -> float:
    """Return the seconds of a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass
class Lease:
    """Lease on a place in a bucket, which one writer holds at a time.

    Attributes
    ----------
    store : ObjectStore
    key : str
        Key of the object that is the lease.
    url : str
        URL of the place, for messages.
    renewed_every, expires_after : float
        Seconds.
    """

    store: ObjectStore
    key: str
    url: str
    renewed_every: float = RENEWED_EVERY
    expires_after: float = EXPIRES_AFTER

    def __post_init__(self) -> None:
        self._owner = f"{socket.gethostname()}, process {os.getpid()}"
        self._token = uuid.uuid4().hex
        self._count = 0
        self._mark: dict[str, str] = {}
        self._renewed = now()
        self._lost = Event()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lease until the end of the context; a thread renews it.

        Raises
        ------
        StoreError
            If another writer holds the lease.
        """
        self._acquire()
        ended = Event()
        thread = Thread(target=self._renew, args=(ended,), name="s2cmc-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._release()

    def is_lost(self) -> bool:
        """Return True if another writer may have taken the lease over."""
        if now() - self._renewed > self.expires_after:
            self._lost.set()
        return self._lost.is_set()

    def check(self) -> None:
        """Check that the lease is still held.

        Raises
        ------
        StoreError
            If another writer may have taken it over.
        """
        if self.is_lost():
            raise StoreError(
                f"{self.url} may have been taken over by another conversion: this one could not renew its lease for "
                f"{self.expires_after:g} s; what it did is kept, the same command resumes"
            )

    def _acquire(self) -> None:
        try:
            requested = now()
            self._note_renewal(mark_of(obstore.put(self.store, self.key, self._content(), mode="create")), requested)
        except AlreadyExistsError:
            self._take_over()

    def _take_over(self) -> None:
        """Take over a lease that is no longer renewed, as killed processes leave it."""
        mark, holder = self._read()
        logger.info(
            "%s is held by %s; waiting up to %g s to see whether it still runs",
            *(self.url, holder.get("owner", "another conversion"), self.expires_after),
        )
        watched_until = now() + self.expires_after
        while now() < watched_until:
            time.sleep(self.renewed_every / 5)
            current, _ = self._read()
            if not current:
                return self._acquire()
            if current != mark:
                owner = holder.get("owner", "unknown")
                raise StoreError(
                    f"another conversion, export or publication into {self.url} is running ({owner}); wait for it, "
                    "or stop it"
                )
        try:
            requested = now()
            self._note_renewal(self._replace(mark), requested)
        except PreconditionError as error:
            raise StoreError(
                f"another conversion, export or publication into {self.url} has just begun; wait for it, or stop it"
            ) from error

    def _read(self) -> tuple[dict[str, str], dict[str, Any]]:
        """Return mark and content of the lease; both are empty if there is none."""
        try:
            answer = obstore.get(self.store, self.key)
            return mark_of(answer.meta), json.loads(bytes(answer.bytes()))
        except FileNotFoundError:
            return {}, {}

    def _note_renewal(self, mark: dict[str, str], requested: float) -> None:
        """Note a renewal at the time of its request: others count from when they see it, which is never earlier."""
        self._mark = mark
        self._renewed = requested

    def _renew(self, ended: Event) -> None:
        while not ended.wait(self.renewed_every) and not self._lost.is_set():
            # An unreachable bucket is no loss yet: no writer takes the lease over before it expires, see `check`.
            with suppress(BaseError, OSError):
                try:
                    requested = now()
                    self._note_renewal(self._replace(self._mark), requested)
                except PreconditionError:
                    mark, holder = self._read()
                    if holder.get("token") == self._token:  # a renewal whose answer was lost
                        self._mark = mark
                    else:
                        self._lost.set()

    def _replace(self, mark: dict[str, str]) -> dict[str, str]:
        content = self._content()
        return mark_of(put_if_same(lambda mode: obstore.put(self.store, self.key, content, mode=mode), mark))

    def _release(self) -> None:
        if not self._lost.is_set():
            with suppress(BaseError, OSError):  # otherwise the lease expires by itself
                self._replace(self._mark)  # only its holder can; after it, no writer takes it over before it is removed
                obstore.delete(self.store, self.key)

    def _content(self) -> bytes:
        self._count += 1
        return json.dumps({"owner": self._owner, "token": self._token, "renewed": self._count}).encode()


def mark_of(answer: Any) -> dict[str, str]:
    """Return the mark that a conditional put compares: entity tag, and version where the provider has one."""
    return {name: answer[name] for name in ("e_tag", "version") if answer.get(name)}


def put_if_same[T](put: Callable[[Any], T], mark: dict[str, str]) -> T:
    """Put on the condition that the object is still the one of `mark`.

    Raises
    ------
    PreconditionError
        If the object is another one.
    """
    try:
        return put(mark)
    except PreconditionError:
        # Ceph compares the tag without its quotes. The tag is the same, so that the condition is no weaker.
        return put({name: value.strip('"') for name, value in mark.items()})


_CACHE_FOREVER = "public, max-age=31536000"
_REVALIDATE = "no-cache"
_MOVERS = 16  # copies side by side


def is_bucket(url: str) -> bool:
    """Return True if `Bucket` can write to `url`."""
    return has_obstore(url) and not scheme_of(url).startswith("http")


class Bucket:
    """Objects below a URL.

    Parameters
    ----------
    url : str
        ``s3://``, ``gs://`` or ``az://``.
    access : Access
    unchanging : bool
        Objects that are written never change, so that caches may keep them.
    """

    def __init__(self, url: str, access: Access, *, unchanging: bool = False) -> None:
        self.url = url
        self._access = access
        self._caching = _CACHE_FOREVER if unchanging else _REVALIDATE
        self.store = object_store(url, access)
        self._lease: Lease | None = None

    def read(self, key: str) -> bytes | None:
        """Return an object; None if it does not exist."""
        try:
            return bytes(obstore.get(self.store, key).bytes())
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise explain(error, f"{self.url}/{key}", self._access) from error
            return None
        except BaseError as error:
            raise explain(error, f"{self.url}/{key}", self._access) from error

    def put(self, key: str, value: bytes, *, new: bool = False, durable: bool = False) -> str:  # noqa: ARG002
        """Write an object by one request, with `new` only where there is none; return its entity tag.

        An object that the provider has confirmed is always durable.

        Raises
        ------
        StoreError
            If the object cannot be written, exists already, or another writer has taken over.
        """
        if self._lease:
            self._lease.check()
        try:
            return _tag(self._put(key, value, "create" if new else "overwrite", self._caching))
        except (AlreadyExistsError, PreconditionError) as error:
            if self.read(key) == value:  # written by this very put, whose answer was lost
                return ""
            raise StoreError(f"{self.url}/{key} has been written by another in the meantime") from error
        except (BaseError, OSError) as error:
            raise explain(error, f"{self.url}/{key}", self._access, verb="written") from error

    def replace(self, key: str, before: bytes | None, after: bytes) -> bool:
        """Put `after` if `before` is there, and return True if it was. Caches must revalidate the object each time."""
        try:
            if before is None:
                self._put(key, after, "create", _REVALIDATE)
                return True
            stored = obstore.get(self.store, key)
            if bytes(stored.bytes()) != before:
                return False
            put_if_same(lambda mark: self._put(key, after, mark, _REVALIDATE), mark_of(stored.meta))
        except (AlreadyExistsError, PreconditionError):
            return False
        except (BaseError, OSError) as error:
            raise explain(error, f"{self.url}/{key}", self._access, verb="written") from error
        return True

    def _put(self, key: str, value: bytes, mode: Any, caching: str) -> dict[str, Any]:
        kind = "application/json" if key.endswith(".json") else "application/octet-stream"
        answer = obstore.put(
            self.store,
            key,
            value,
            mode=mode,
            attributes={"Cache-Control": caching, "Content-Type": kind},
            use_multipart=False,  # parts of a killed upload stay in the bucket, unseen and paid for
        )
        return dict(answer)

    def top(self) -> set[str]:
        """Return the names of the objects and folders at the top."""
        try:
            listing = obstore.list_with_delimiter(self.store)
        except (BaseError, OSError) as error:
            raise explain(error, self.url, self._access, verb="listed") from error
        return {*listing["common_prefixes"], *(item["path"] for item in listing["objects"])}

    def sizes(self, below: str = "") -> dict[str, int]:
        """Return the bytes of every object, or of those below a name, by key."""
        return {key: size for key, (size, _) in self.tags(below).items()}

    def tags(self, below: str = "") -> dict[str, tuple[int, str]]:
        """Return bytes and entity tag of every object, or of those below a name, by key."""
        try:
            pages = list(obstore.list(self.store, below or None, chunk_size=1000))
        except (BaseError, OSError) as error:
            raise explain(error, self.url, self._access, verb="listed") from error
        return {item["path"]: (item["size"], _tag(item)) for page in pages for item in page}

    def remove(self, name: str) -> None:
        """Remove an object, or all objects below a name."""
        below = [item["path"] for page in obstore.list(self.store, f"{name}/", chunk_size=1000) for item in page]
        if self._lease:
            self._lease.check()
        try:
            obstore.delete(self.store, below or [name])
        except FileNotFoundError:
            pass
        except (BaseError, OSError) as error:
            raise explain(error, f"{self.url}/{name}", self._access, verb="removed") from error

    def rename(self, before: str, after: str, tag: str) -> str:
        """Move an object to another key, and return its entity tag there. The provider copies it."""
        if self._lease:
            self._lease.check()
        try:
            obstore.rename(self.store, before, after, overwrite=True)
            return _tag(obstore.head(self.store, after)) or tag
        except (BaseError, OSError) as error:
            raise explain(error, f"{self.url}/{after}", self._access, verb="written") from error

    def adopt(self, name: str, *, last: str) -> None:
        """Move all objects below a name to the top, `last` after all others. The provider copies them."""
        keys = [key.removeprefix(f"{name}/") for key in self.sizes(name)]

        def move(key: str) -> None:
            if self._lease:
                self._lease.check()
            try:
                obstore.rename(self.store, f"{name}/{key}", key, overwrite=True)
            except (BaseError, OSError) as error:
                raise explain(error, f"{self.url}/{key}", self._access, verb="written") from error

        with ThreadPoolExecutor(_MOVERS, thread_name_prefix="s2cmc-move") as pool:
            list(pool.map(move, (key for key in keys if key != last)))
        if last in keys:
            move(last)

    def sync(self) -> None:
        """Do nothing: objects that a provider has confirmed are durable."""

    def sweep(self, is_own: Callable[[str], object]) -> None:
        """Do nothing: an object that was not written whole does not exist."""

    @contextmanager
    def claimed(self, name: str) -> Iterator[None]:
        """Hold the place against other writers until the end of the context; see `Lease`."""
        lease = Lease(self.store, name, self.url)
        with ExitStack() as stack:
            try:
                stack.enter_context(lease.held())
            except (BaseError, OSError) as error:
                raise explain(error, f"{self.url}/{name}", self._access, verb="written") from error
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def vanish(self, name: str) -> None:
        """Remove all objects below a name except the lease, which is released later; none if another writer has it."""
        if self._lease and self._lease.is_lost():
            return
        keys = [item["path"] for page in obstore.list(self.store, f"{name}/", chunk_size=1000) for item in page]
        obstore.delete(self.store, [key for key in keys if self._lease is None or key != self._lease.key])


def _tag(answer: Any) -> str:
    return (answer["e_tag"] or "").strip('"')
