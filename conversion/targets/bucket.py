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

# One writer at a time in a bucket: an object that its holder renews, and that others take over when it is not.
#
# Whether it is still renewed is seen by watching it, so that no clock is compared with another. Every step is a
# conditional put, which of several writers exactly one passes. Between losing the lease and noticing it a holder may
# end the puts that were under way: objects appear whole, and the root document of a store is only ever created where
# there is none.

logger = logging.getLogger(__name__)

RENEWED_EVERY = 5.0
"""Seconds."""
EXPIRES_AFTER = 30.0
"""Seconds without renewal after which a lease belongs to nobody."""


def now() -> float:
    """Seconds, which go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass
class Lease:
    """Hold on a place in a bucket.

    Attributes
    ----------
    store : ObjectStore
    key : str
        Of the object that is the lease.
    url : str
        Of the place, for messages.
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
        """Hold it, renewed by a thread, until the end.

        Raises
        ------
        StoreError
            If another holds it.
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
        """Whether another may have taken it over."""
        if now() - self._renewed > self.expires_after:
            self._lost.set()
        return self._lost.is_set()

    def check(self) -> None:
        """Make sure that it is still held.

        Raises
        ------
        StoreError
            If another has taken it over.
        """
        if self.is_lost():
            raise StoreError(
                f"{self.url} may have been taken over by another conversion: this one could not renew its lease for "
                f"{self.expires_after:g} s; what it did is kept, the same command resumes"
            )

    def _acquire(self) -> None:
        try:
            asked = now()
            self._hold(mark_of(obstore.put(self.store, self.key, self._content(), mode="create")), asked)
        except AlreadyExistsError:
            self._take_over()

    def _take_over(self) -> None:
        """Take a lease that is not renewed any more; killed processes leave such."""
        mark, holder = self._seen()
        logger.info(
            "%s is held by %s; waiting up to %g s to see whether it still runs",
            *(self.url, holder.get("owner", "another conversion"), self.expires_after),
        )
        watched_until = now() + self.expires_after
        while now() < watched_until:
            time.sleep(self.renewed_every / 5)
            current, _ = self._seen()
            if not current:
                return self._acquire()
            if current != mark:
                owner = holder.get("owner", "unknown")
                raise StoreError(
                    f"another conversion, export or publication into {self.url} is running ({owner}); wait for it, "
                    "or stop it"
                )
        try:
            asked = now()
            self._hold(self._replace(mark), asked)
        except PreconditionError as error:
            raise StoreError(
                f"another conversion, export or publication into {self.url} has just begun; wait for it, or stop it"
            ) from error

    def _seen(self) -> tuple[dict[str, str], dict[str, Any]]:
        try:
            found = obstore.get(self.store, self.key)
            return mark_of(found.meta), json.loads(bytes(found.bytes()))
        except FileNotFoundError:
            return {}, {}

    def _hold(self, mark: dict[str, str], asked: float) -> None:
        """Others count from when they see it, which is never before it was asked for."""
        self._mark = mark
        self._renewed = asked

    def _renew(self, ended: Event) -> None:
        while not ended.wait(self.renewed_every) and not self._lost.is_set():
            # Out of reach for a moment is no loss: nobody may take it over before it expires, which `check` minds.
            with suppress(BaseError, OSError):
                try:
                    asked = now()
                    self._hold(self._replace(self._mark), asked)
                except PreconditionError:
                    mark, holder = self._seen()
                    if holder.get("token") == self._token:  # a renewal whose answer was lost
                        self._mark = mark
                    else:
                        self._lost.set()

    def _replace(self, mark: dict[str, str]) -> dict[str, str]:
        content = self._content()
        return mark_of(put_if_same(lambda mode: obstore.put(self.store, self.key, content, mode=mode), mark))

    def _release(self) -> None:
        if not self._lost.is_set():
            with suppress(BaseError, OSError):  # it expires by itself
                self._replace(self._mark)  # which only its holder can; now nobody takes it over before it is removed
                obstore.delete(self.store, self.key)

    def _content(self) -> bytes:
        self._count += 1
        return json.dumps({"owner": self._owner, "token": self._token, "renewed": self._count}).encode()


def mark_of(answer: Any) -> dict[str, str]:
    """What a conditional put compares: entity tag, and version where the provider has one."""
    return {name: answer[name] for name in ("e_tag", "version") if answer.get(name)}


def put_if_same[T](put: Callable[[Any], T], mark: dict[str, str]) -> T:
    """Put with the condition that an object is still the one of `mark`.

    Raises
    ------
    PreconditionError
        If it is not.
    """
    try:
        return put(mark)
    except PreconditionError:
        # Ceph compares the tag without its quotes. It is the same tag, so that this is no weaker.
        return put({name: value.strip('"') for name, value in mark.items()})


_KEPT = "public, max-age=31536000"
_ASKED_ANEW = "no-cache"
_MOVERS = 16  # copies side by side


def is_bucket(url: str) -> bool:
    """There is a `Bucket` for it."""
    return has_obstore(url) and not scheme_of(url).startswith("http")


class Bucket:
    """Objects below a URL.

    Parameters
    ----------
    url : str
        ``s3://``, ``gs://`` or ``az://``.
    access : Access
    unchanging : bool
        Nothing that is written here is ever changed, so that caches may keep it.
    """

    def __init__(self, url: str, access: Access, *, unchanging: bool = False) -> None:
        self.url = url
        self._access = access
        self._caching = _KEPT if unchanging else _ASKED_ANEW
        self.store = object_store(url, access)
        self._lease: Lease | None = None

    def read(self, key: str) -> bytes | None:
        """An object, if it is there."""
        try:
            return bytes(obstore.get(self.store, key).bytes())
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise explain(error, f"{self.url}/{key}", self._access) from error
            return None
        except BaseError as error:
            raise explain(error, f"{self.url}/{key}", self._access) from error

    def put(self, key: str, value: bytes, *, new: bool = False, durable: bool = False) -> str:  # noqa: ARG002
        """Write an object by one request, with `new` only where there is none; returns its entity tag.

        What a provider has confirmed is always durable.

        Raises
        ------
        StoreError
            If it cannot be written, there is one already, or another has taken over.
        """
        if self._lease:
            self._lease.check()
        try:
            return _tag(self._put(key, value, "create" if new else "overwrite", self._caching))
        except (AlreadyExistsError, PreconditionError) as error:
            if self.read(key) == value:  # by this very put, whose answer was lost
                return ""
            raise StoreError(f"{self.url}/{key} has been written by another in the meantime") from error
        except (BaseError, OSError) as error:
            raise explain(error, f"{self.url}/{key}", self._access, verb="written") from error

    def replace(self, key: str, before: bytes | None, after: bytes) -> bool:
        """Put `after` where `before` is, and tell whether that was so. Caches must ask for it anew each time."""
        try:
            if before is None:
                self._put(key, after, "create", _ASKED_ANEW)
                return True
            found = obstore.get(self.store, key)
            if bytes(found.bytes()) != before:
                return False
            put_if_same(lambda mark: self._put(key, after, mark, _ASKED_ANEW), mark_of(found.meta))
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
            use_multipart=False,  # parts of uploads that are killed would lie there unseen, and be paid for
        )
        return dict(answer)

    def top(self) -> set[str]:
        """Names of all that is there, without what is below."""
        try:
            found = obstore.list_with_delimiter(self.store)
        except (BaseError, OSError) as error:
            raise explain(error, self.url, self._access, verb="listed") from error
        return {*found["common_prefixes"], *(item["path"] for item in found["objects"])}

    def sizes(self, below: str = "") -> dict[str, int]:
        """Bytes of every object, or of those below a name, by key."""
        return {key: size for key, (size, _) in self.tags(below).items()}

    def tags(self, below: str = "") -> dict[str, tuple[int, str]]:
        """Bytes and entity tag of every object, or of those below a name, by key."""
        try:
            pages = list(obstore.list(self.store, below or None, chunk_size=1000))
        except (BaseError, OSError) as error:
            raise explain(error, self.url, self._access, verb="listed") from error
        return {item["path"]: (item["size"], _tag(item)) for page in pages for item in page}

    def remove(self, name: str) -> None:
        """Remove an object, or all below a name."""
        below = [item["path"] for page in obstore.list(self.store, f"{name}/", chunk_size=1000) for item in page]
        if self._lease:
            self._lease.check()
        try:
            obstore.delete(self.store, below or [name])
        except FileNotFoundError:
            pass
        except (BaseError, OSError) as error:
            raise explain(error, f"{self.url}/{name}", self._access, verb="removed") from error

    def adopt(self, name: str, *, last: str) -> None:
        """Move all objects below a name to the top, `last` after all others; the provider copies them."""
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
        """Nothing to do: what a provider has confirmed is there to stay."""

    def sweep(self, is_own: Callable[[str], object]) -> None:
        """Nothing to do: what was not written whole is not there."""

    @contextmanager
    def claimed(self, name: str) -> Iterator[None]:
        """Hold it against others; see `Lease`."""
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
        """Remove all below a name but the lease, which goes last and by itself; nothing if another has it by now."""
        if self._lease and self._lease.is_lost():
            return
        keys = [item["path"] for page in obstore.list(self.store, f"{name}/", chunk_size=1000) for item in page]
        obstore.delete(self.store, [key for key in keys if self._lease is None or key != self._lease.key])


def _tag(answer: Any) -> str:
    return (answer["e_tag"] or "").strip('"')
