"""Work on several things at once in the threads that are free."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import BoundedSemaphore, Lock

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _helpers(process: int) -> BoundedSemaphore:  # noqa: ARG001, those of a parent are none of its forks'
    """Threads that may help, in a whole process: many readers at once, as dask's, each find fewer of them."""
    return BoundedSemaphore(max(1, CORES - 1))


_WORTH_A_THREAD = 4
"""Pieces of work, of about a millisecond each, below which starting a thread costs more than it saves."""


def side_by_side[T](work: Callable[[T], None], items: Iterable[T]) -> None:
    """Do all the work, in this thread and in those that are free.

    What is raised first is raised again; what was begun is ended before.
    """
    todo = list(items)
    free, helpers = _helpers(os.getpid()), 0
    while helpers < min(CORES, len(todo) // _WORTH_A_THREAD) - 1 and free.acquire(blocking=False):
        helpers += 1
    if not helpers:
        for item in todo:
            work(item)
        return
    todo.reverse()
    lock, raised = Lock(), list[BaseException]()

    def until_done() -> None:
        while True:
            with lock:
                if not todo:
                    return
                item = todo.pop()
            try:
                work(item)
            except BaseException as error:  # noqa: BLE001, it is raised again by the caller
                with lock:
                    todo.clear()
                    raised.append(error)
                return

    try:
        with ThreadPoolExecutor(helpers, "s2cmc-decode") as pool:
            for _ in range(helpers):
                pool.submit(until_done)
            until_done()
    finally:
        free.release(helpers)
    if raised:
        raise raised[0]
