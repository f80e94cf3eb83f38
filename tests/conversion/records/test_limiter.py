"""Requests keep within limits, whatever the order of answers; the oracle is a sliding window of our own."""

import logging
import random
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest

from s2cmc.conversion.records.limits import Limiter, asked_wait
from s2cmc.errors import ReleaseError


class Window:
    """The count of a host: at most `limit` requests in `length` seconds, stated as hosts do."""

    def __init__(self, limit: int, length: float) -> None:
        self._limit, self._length, self._recent = limit, length, deque()
        self._lock = threading.Lock()
        self.refused = 0

    def answer(self) -> dict[str, str]:
        with self._lock:
            now = time.time()
            while self._recent and now - self._recent[0] > self._length:
                self._recent.popleft()
            wait = int(self._length - (now - self._recent[0])) + 1 if self._recent else 1
            if len(self._recent) == self._limit:
                self.refused += 1
            else:
                self._recent.append(now)
            left = self._limit - len(self._recent)
            stated = {"Limit": self._limit, "Remaining": left, "Reset": int(now) + wait}
            return {f"X-RateLimit-{name}": str(value) for name, value in stated.items()} | {"Retry-After": str(wait)}


@pytest.mark.slow
def test_many_threads_are_never_refused_though_answers_overtake_each_other():
    window, limiter, chance = Window(8, 1.0), Limiter("example.org"), random.Random(18)  # noqa: S311, no secret

    def ask(_: int) -> None:
        slot = limiter.take()
        time.sleep(chance.uniform(0, 0.03))
        headers = window.answer()
        time.sleep(chance.uniform(0, 0.03))
        limiter.settle(slot, headers)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(ask, range(40)))
    assert window.refused == 0


def test_the_first_request_goes_alone():
    limiter = Limiter("example.org")
    slot = limiter.take()
    second = threading.Thread(target=limiter.take)
    second.start()
    second.join(0.1)
    assert second.is_alive()
    limiter.settle(slot, {})
    second.join(5)
    assert not second.is_alive()


def test_a_host_without_a_limit_is_asked_at_once():
    limiter = Limiter("example.org")
    limiter.settle(limiter.take(), {"Content-Type": "text/plain"})
    for _ in range(100):
        limiter.take()


def test_a_wait_is_told_once(caplog):
    caplog.set_level(logging.INFO)
    limiter = Limiter("example.org")
    stated = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "Retry-After": "1"}
    limiter.settle(limiter.take(), stated)
    began = time.monotonic()
    limiter.take()
    assert 0.9 < time.monotonic() - began < 5
    assert caplog.messages == ["waiting 1 s: example.org allows 60 requests at a time, and all are used"]


def test_waits_end_when_it_is_stopped():
    limiter = Limiter("example.org")
    limiter.close(3600, "answered 503 and asked for it")
    threading.Timer(0.1, limiter.stop).start()
    with pytest.raises(ReleaseError, match=r"reading from example\.org was stopped"):
        limiter.take()


NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "38"}, 38),
        ({"Retry-After": formatdate(NOW + 38, usegmt=True), "Date": formatdate(NOW, usegmt=True)}, 38),
        ({"Retry-After": formatdate(NOW - 38, usegmt=True), "Date": formatdate(NOW, usegmt=True)}, 0),
        ({"X-RateLimit-Reset": str(NOW + 38), "Date": formatdate(NOW, usegmt=True)}, 39),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "9" * 5000}, None),
    ],
)
def test_a_host_says_how_long_to_wait(headers, expected):
    assert asked_wait(headers) == expected


def test_without_a_date_of_the_host_the_clock_here_counts():
    assert 30 < asked_wait({"Retry-After": formatdate(time.time() + 38, usegmt=True)}) <= 38
