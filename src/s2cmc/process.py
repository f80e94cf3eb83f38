"""What a process must know of its parent: threads do not survive a fork."""

import os
from functools import cache
from threading import Lock

_STARTED_IN = os.getpid()


def is_forked() -> bool:
    """Whether this process is a fork of the one that imported s2cmc.

    obstore's threads may have been running then, and would never answer here.
    """
    return os.getpid() != _STARTED_IN


@cache
def survive_forks() -> None:
    """Let processes that are forked from this one compute: dask would wait there for threads that are gone.

    zarr and fsspec do the same for theirs.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget_threads)


def _forget_threads() -> None:
    import dask.threaded

    dask.threaded.pools_lock = Lock()
    dask.threaded.default_pool = None
    dask.threaded.pools.clear()
