"""No more requests than a host allows.

A host counts requests in a window and states in each answer how many are left (``X-RateLimit-Remaining``) and when
the next one is free (``Retry-After``, or ``X-RateLimit-Reset``). The length of its window is not stated and not needed.
"""

import logging
import math
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from .errors import RecordError

logger = logging.getLogger(__name__)

_UNSTATED = 60.0  # seconds until the next request, where a host says that none is left, and no more


class Limiter:
    """Slots for requests to one host, shared by all threads.

    Whoever sends a request takes a slot before, with `take`, and hands back what the answer says, with `settle`. The
    first request goes alone, because nothing is known of the limit before its answer.

    Parameters
    ----------
    host : str
        Name of the host, for messages.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._changed = threading.Condition()
        self._is_stopped = False
        self._taken = self._settled = 0
        self._is_known = False
        self._limit = "so many"
        self._left: int | None = None  # slots that are free for certain; None where the host states no limit
        self._next_slot = 0.0  # time.monotonic() at which another slot is free
        self._closed_until = 0.0  # time.monotonic() before which the host wants no request
        self._told_until = 0.0

    def take(self) -> int:
        """Wait for a slot and take it; return what `settle` needs.

        Raises
        ------
        RecordError
            If `stop` was called.
        """
        with self._changed:
            while (pause := self._pause()) > 0:
                self._changed.wait(min(pause, threading.TIMEOUT_MAX))
            if self._left:
                self._left -= 1
            self._taken += 1
            return self._settled

    def settle(self, settled_before: int, headers: Mapping[str, str] | None = None) -> None:
        """Count a request as done, and learn from the headers of its answer; None if there was no answer.

        Parameters
        ----------
        settled_before : int
            Result of `take`.
        headers : mapping of str to str, optional
        """
        with self._changed:
            # Requests that overlapped with this one. The host may have counted them after it sent its number.
            overlapping = self._taken - settled_before - 1
            self._settled += 1
            if headers is not None:
                self._is_known = True
                self._learn(headers, overlapping)
            self._changed.notify_all()

    def close(self, seconds: float, reason: str) -> None:
        """Let nobody send for some seconds, because the host asked for it."""
        with self._changed:
            self._closed_until = max(self._closed_until, time.monotonic() + seconds)
            self._tell(self._closed_until, f"{self._host} {reason}")

    def stop(self) -> None:
        """End all waits with an error."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _pause(self) -> float:
        """Return how many seconds to wait before looking for a slot again; 0 if one is free."""
        if self._is_stopped:
            raise RecordError(f"reading from {self._host} was stopped")
        now = time.monotonic()
        if self._closed_until > now:
            return self._closed_until - now
        under_way = self._taken - self._settled
        if not self._is_known:
            return math.inf if under_way else 0
        if self._left != 0:
            return 0
        # Slots become free one by one. The answer to a single request tells how many are.
        if under_way:
            return math.inf
        if self._next_slot > now:
            self._tell(self._next_slot, f"{self._host} allows {self._limit} requests at a time, and all are used")
        return max(self._next_slot - now, 0)

    def _learn(self, headers: Mapping[str, str], overlapping: int) -> None:
        remaining = _whole(headers.get("X-RateLimit-Remaining"))
        if remaining is None:
            return
        self._limit = headers.get("X-RateLimit-Limit", self._limit)
        wait = asked_wait(headers)
        if wait is None and remaining == 0:
            wait = _UNSTATED
        # Answers come in any order. Both numbers are free for certain: what was known and is not taken since, and what
        # this answer says without all that overlapped. More than this answer says may be free only if it is an old one.
        self._left = min(max(self._left or 0, remaining - overlapping), remaining)
        self._next_slot = max(self._next_slot, time.monotonic() + (wait or 0))

    def _tell(self, until: float, reason: str) -> None:
        """Log a wait, once for all threads."""
        if until > self._told_until + 1:
            self._told_until = until
            logger.info("waiting %.0f s: %s", math.ceil(until - time.monotonic()), reason)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds after which a host wants the next request; None if it does not say.

    ``Retry-After`` is a number of seconds or a date (RFC 9110, 10.2.3), ``X-RateLimit-Reset`` seconds since 1970. Both
    are compared with the host's own clock where it sends a ``Date``.
    """
    text = headers.get("Retry-After", "")
    if (seconds := _whole(text)) is not None:
        return float(seconds)
    now = _moment(headers.get("Date", "")) or time.time()
    until = _moment(text)
    if until is None and (reset := _whole(headers.get("X-RateLimit-Reset"))) is not None:
        until = reset + 1.0  # `Date` may be up to a second older than the moment at which the host counted
    return None if until is None else max(until - now, 0)


def _whole(text: str | None) -> int | None:
    """Return a whole number, of at most as many digits as make sense for one; None if there is none."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _moment(text: str) -> float | None:
    """Return a date of HTTP as seconds since 1970; None if it is not one."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
