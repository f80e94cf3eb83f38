"""Work on several things at once in the threads that are free."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore, Lock

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

_HELPERS = BoundedSemaphore(max(1, CORES - 1))
"""Threads that may help, in the whole process: many readers at once, as dask's, each find fewer of them."""

_WORTH_A_THREAD = 4
"""Pieces of work, of about a millisecond each, below which starting a thread costs more than it saves."""


def side_by_side[T](work: Callable[[T], None], items: Iterable[T]) -> None:
    """Do all the work, in this thread and in those that are free.

    What is raised first is raised again; what was begun is ended before.
    """
    todo = list(items)
    helpers = 0
    while helpers < min(CORES, len(todo) // _WORTH_A_THREAD) - 1 and _HELPERS.acquire(blocking=False):
        helpers += 1
    if not helpers:
        for item in todo:
            work(item)
        return
    todo.reverse()
    lock = Lock()

    def until_done() -> None:
        while True:
            with lock:
                if not todo:
                    return
                item = todo.pop()
            try:
                work(item)
            except BaseException:
                todo.clear()
                raise

    try:
        with ThreadPoolExecutor(helpers, "s2cmc-decode") as pool:
            others = [pool.submit(until_done) for _ in range(helpers)]
            until_done()
            for other in others:
                other.result()
    finally:
        _HELPERS.release(helpers)
