"""Work side by side: each piece once, in few threads, the first error raised again."""

import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from threading import BoundedSemaphore

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2cmc.store import shards
from s2cmc.store.shards import side_by_side

PATIENCE = 20

FORK = """
import os, warnings
from s2cmc.store.shards import side_by_side
warnings.filterwarnings("ignore", "This process .* is multi-threaded")
def add():
    found = []
    side_by_side(found.append, range(100))
    return sum(found)
print(add(), flush=True)
child = os.fork()
if child == 0:
    print(add(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(add())
"""


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> Iterator[BoundedSemaphore]:
    """As on a machine with 3 cores: 2 threads may help. All of them are free again after the test."""
    monkeypatch.setattr(shards, "CORES", 3)
    free = BoundedSemaphore(2)
    monkeypatch.setattr(shards, "_helpers", lambda process: free)
    yield free
    assert [free.acquire(blocking=False) for _ in range(3)] == [True, True, False]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("s2cmc-decode")]


@settings(deadline=None)
@given(count=st.integers(0, 300))
def test_everything_is_done_once(count):
    done: list[int] = []
    side_by_side(done.append, iter(range(count)))
    assert sorted(done) == list(range(count))


def test_threads_help(helpers):
    """Twelve pieces of which none ends before three are being done."""
    together = threading.Barrier(3, timeout=PATIENCE)
    side_by_side(lambda item: together.wait(), range(12))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_few_pieces_are_done_in_order_by_this_thread(helpers, count):
    done = []
    side_by_side(lambda item: done.append((item, threading.get_ident())), range(count))
    assert done == [(item, threading.get_ident()) for item in range(count)]


def test_without_a_free_helper_this_thread_does_all(helpers):
    done = []
    helpers.acquire()
    helpers.acquire()
    side_by_side(lambda item: done.append((item, threading.get_ident())), range(50))
    helpers.release(2)
    assert done == [(item, threading.get_ident()) for item in range(50)]


def test_an_error_of_this_thread_is_raised_and_the_rest_is_not_begun():
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 2:
            raise ValueError("the third")

    with pytest.raises(ValueError, match="the third"):
        side_by_side(work, range(7))
    assert begun == [0, 1, 2]


@pytest.mark.parametrize("by_a_helper", [True, False])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_error_of_any_thread_is_raised_and_the_rest_is_not_begun(helpers, by_a_helper, kind):
    """The other threads go on, slowly, when the one fails."""
    caller, begun = threading.get_ident(), []
    failed = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if not failed.is_set() and by_a_helper != (threading.get_ident() == caller):
            failed.set()
            raise kind("the first")
        failed.wait(PATIENCE)
        zlib.crc32(bytes(2_000_000))

    with pytest.raises(kind, match="the first"):
        side_by_side(work, range(1000))
    assert len(begun) < 500


def test_what_was_begun_is_ended_before_an_error_is_raised(helpers):
    begun, ended = [], []
    together = threading.Barrier(3, timeout=PATIENCE)

    def work(item: int) -> None:
        begun.append(item)
        if together.wait() == 0:
            raise ValueError("one of three")
        zlib.crc32(bytes(20_000_000))
        ended.append(item)

    with pytest.raises(ValueError, match="one of three"):
        side_by_side(work, range(12))
    assert len(begun) == len(ended) + 1


def test_many_callers_share_the_helpers(helpers):
    """However many call at once, no more than two threads help."""
    callers = 5
    ready, helping, most = threading.Barrier(callers, timeout=PATIENCE), set(), []

    def work(item: int) -> None:
        name = threading.current_thread().name
        if name.startswith("s2cmc-decode"):
            helping.add(name + str(threading.get_ident()))
            most.append(len(helping))
            zlib.crc32(bytes(100_000))
            helping.discard(name + str(threading.get_ident()))

    done: list[int] = []

    def call() -> None:
        ready.wait()
        for _ in range(20):
            side_by_side(lambda item: (work(item), done.append(item)), range(30))

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 2
    assert len(done) == callers * 20 * 30


def test_work_may_itself_be_done_side_by_side(helpers):
    done: list[int] = []
    side_by_side(lambda item: side_by_side(lambda i: done.append(8 * item + i), range(8)), range(8))
    assert sorted(done) == list(range(64))


@pytest.mark.slow
def test_a_fork_works_too():
    ended = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.split() == ["4950"] * 3


FORK_WHILE_THREADS_HELP = """
import os, threading, warnings
from s2cmc.store import shards
warnings.filterwarnings("ignore", "This process .* is multi-threaded")
shards.CORES = 2
busy, ended = threading.Event(), threading.Event()
def work(item):
    busy.set()
    ended.wait(30)
thread = threading.Thread(target=lambda: shards.side_by_side(work, range(8)))
thread.start()
busy.wait()
child = os.fork()
if child == 0:
    print(shards._helpers(os.getpid()).acquire(blocking=False), flush=True)
    os._exit(0)
os.waitpid(child, 0)
ended.set()
thread.join()
"""


@pytest.mark.slow
def test_a_fork_has_helpers_though_those_of_its_parent_are_busy():
    code = [sys.executable, "-c", FORK_WHILE_THREADS_HELP]
    assert subprocess.run(code, capture_output=True, text=True, check=True, timeout=60).stdout.split() == ["True"]


def test_the_first_error_is_raised_even_if_this_thread_fails_later(helpers):
    caller, failed, begun = threading.get_ident(), threading.Event(), threading.Event()

    def work(item):
        if threading.get_ident() == caller:
            begun.set()
            failed.wait(PATIENCE)
            raise ValueError("second")
        begun.wait(PATIENCE)
        failed.set()
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        side_by_side(work, range(8))
