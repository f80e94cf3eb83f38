"""What a process must know of its parent: threads do not survive a fork."""

import os
from functools import cache

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
    """No pools, and no lock that another thread held at that moment."""
    import dask.config
    import dask.threaded
    import dask.tokenize

    for lock in (dask.threaded.pools_lock, dask.config.config_lock, dask.tokenize.tokenize_lock):
        lock._at_fork_reinit()  # type: ignore[union-attr]  # as threading and logging do with theirs
    dask.threaded.default_pool = None
    dask.threaded.pools.clear()
    dask.tokenize._SEEN = {}
