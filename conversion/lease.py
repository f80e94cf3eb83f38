"""One writer at a time in a bucket: an object that its holder renews, and that others take over when it is not.

Whether it is still renewed is seen by watching it, so that no clock is compared with another. Every step is a
conditional put, which of several writers exactly one passes. Between losing the lease and noticing it a holder may end
the puts that were under way: objects appear whole, and the root document of a store is only ever created where there is
none.
"""

import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore

from s2cmc.errors import StoreError

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
