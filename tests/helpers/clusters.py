"""Clusters of processes, watched and killed, and what they gave, to compare."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin


def on(client: Client, reduction: Callable[[], Any]) -> Any:
    """What a reduction gives on a cluster, also where it computes by itself."""
    with client.as_current(), dask.config.set(scheduler="dask.distributed"):
        return reduction().compute()


def objects_of(store: Path) -> dict[str, bytes]:
    """Every object but the root, which holds the time of conversion."""
    files = (path for path in store.rglob("*") if path.is_file() and path != store / "zarr.json")
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


class Watch(SchedulerPlugin):
    """Counts the tasks that end, and may kill the worker that has just ended one of them: its results die with it."""

    def __init__(self, kill_after: int | None, pids: dict[str, int]) -> None:
        self.ended = 0
        self.killed: list[int] = []
        self._kill_after = kill_after
        self._pids = pids

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if (start, finish) == ("processing", "memory"):
            self.ended += 1
            if self.ended == self._kill_after:
                self.killed.append(self._pids[kwargs["worker"]])
                os.kill(self.killed[-1], signal.SIGKILL)


@contextmanager
def two_workers() -> Iterator[Client]:
    """Two workers, each a process with one thread."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as connected,
    ):
        connected.wait_for_workers(2, timeout=120)
        yield connected


@contextmanager
def watching(client: Client, kill_after: int | None = None) -> Iterator[Watch]:
    """Watches the scheduler, which is in this process."""
    watch = Watch(kill_after, client.run(os.getpid))
    client.cluster.scheduler.add_plugin(watch, name="watch")
    yield watch
    client.cluster.scheduler.remove_plugin("watch")
