"""Reads stores in other processes and threads: ``python -m helpers.other_processes CASE PLACE...``, a PLACE being
``BACKEND=URL``.

Run by test_processes.py. The parent has read pixels of every place before a case begins, so that the threads of dask,
zarr, fsspec and obstore are there. Prints one line for each reading: its place, and the digest of the pixels.
"""

import asyncio
import faulthandler
import hashlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from threading import Event, Thread

import dask.config
import dask.threaded
import dask.tokenize
import xarray as xr

import s2cmc

PATIENCE = 60.0
"""Seconds after which a script that hangs says where, and ends."""

FORKS = 3
THREADS = 3
"""Readings of each place at once."""

type Opened = dict[str, xr.Dataset]
"""Datasets by place."""

type Readings = Iterator[tuple[str, str]]
"""Places, and digests of their pixels."""


def main(case: str, *places: str) -> None:
    """Do one case, and print what was read."""
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    opened = {place: open_place(place) for place in places}
    for dataset in opened.values():
        digest(dataset)
    for place, found in CASES[case](opened):
        print(place, found, flush=True)  # noqa: T201, the answer


def open_place(place: str) -> xr.Dataset:
    """The store of a place."""
    backend, _, url = place.partition("=")
    return s2cmc.open_catalogue(url, backend=backend, timeout=10)  # type: ignore[arg-type]


def digests(*datasets: xr.Dataset) -> list[str]:
    """SHA-256 of all masks and of two scenes of reflectance, of each dataset."""
    pixels = dask.compute([(dataset.mask.data, dataset.reflectance.data[:2]) for dataset in datasets])[0]
    return [hashlib.sha256(mask.tobytes() + bands.tobytes()).hexdigest() for mask, bands in pixels]


def digest(dataset: xr.Dataset) -> str:
    """That of one."""
    return digests(dataset)[0]


def read_anew(place: str) -> str:
    """Open a place and read it."""
    return digest(open_place(place))


def read_anyway(place: str, dataset: xr.Dataset) -> Readings:
    """What was opened elsewhere, and the same opened here."""
    yield place, digest(dataset)
    yield place, read_anew(place)


def _answer(queue: multiprocessing.SimpleQueue, opened: Opened) -> None:  # type: ignore[type-arg]
    for place, dataset in opened.items():
        queue.put(list(read_anyway(place, dataset)))


def in_child(opened: Opened, context: str = "fork") -> Readings:
    """Read in a child process, with the datasets as it gets them: by inheritance from a fork, pickled otherwise."""
    processes = multiprocessing.get_context(context)
    queue = processes.SimpleQueue()
    child = processes.Process(target=_answer, args=(queue, opened))
    child.start()
    for _ in opened:
        yield from queue.get()
    child.join()


def in_grandchild(opened: Opened) -> Readings:
    """Read in a fork, and in a fork of that."""
    processes = multiprocessing.get_context("fork")
    queue = processes.SimpleQueue()

    def child() -> None:
        here = [reading for item in opened.items() for reading in read_anyway(*item)]
        queue.put([*here, *in_child(opened)])

    process = processes.Process(target=child)
    process.start()
    yield from queue.get()
    process.join()


def from_a_thread(opened: Opened) -> Readings:
    """Fork from a thread that is not the main one and has computed before."""

    def work() -> Readings:
        for dataset in opened.values():
            digest(dataset)
        yield from in_child(opened)

    with ThreadPoolExecutor(1) as pool:
        yield from pool.submit(lambda: list(work())).result()


def while_reading(opened: Opened) -> Readings:
    """Fork again and again while other threads open and read."""
    stop = Event()

    def busy(place: str) -> None:
        while not stop.is_set():
            read_anew(place)

    threads = [Thread(target=busy, args=(place,)) for place in opened]
    for thread in threads:
        thread.start()
    for _ in range(FORKS):
        yield from in_child(opened)
    stop.set()
    for thread in threads:
        thread.join()


def while_locked(opened: Opened) -> Readings:
    """Fork while another thread holds the locks of dask."""
    held, stop = Event(), Event()

    def hold() -> None:
        with dask.tokenize.tokenize_lock, dask.config.config_lock, dask.threaded.pools_lock:
            held.set()
            stop.wait()

    thread = Thread(target=hold)
    thread.start()
    held.wait()
    yield from in_child(opened)
    stop.set()
    thread.join()


def in_pool(opened: Opened, context: str) -> Readings:
    """Two workers of a pool read what they are sent, and open it anew."""
    with ProcessPoolExecutor(2, multiprocessing.get_context(context)) as pool:
        for place, dataset in opened.items():
            sent = pool.submit(digest, dataset), pool.submit(read_anew, place)
            yield from ((place, future.result()) for future in sent)


def by_dask(opened: Opened, context: str) -> Readings:
    """dask's own scheduler of processes."""
    with dask.config.set({"scheduler": "processes", "num_workers": 2, "multiprocessing.context": context}):
        yield from zip(opened, digests(*opened.values()), strict=True)


def by_distributed(opened: Opened) -> Readings:
    """A cluster of two processes."""
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        yield from zip(opened, digests(*opened.values()), strict=True)


class Scenes:
    """Scenes of catalogues, one after the other, as torch asks for them."""

    def __init__(self, opened: Opened) -> None:
        self.scenes = [(place, dataset, i) for place, dataset in opened.items() for i in range(dataset.sizes["scene"])]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[str, bytes, bytes]:
        place, dataset, i = self.scenes[index]
        return place, dataset.mask[i].values.tobytes(), dataset.reflectance[i].values.tobytes() if i < 2 else b""


def by_torch(opened: Opened, context: str) -> Readings:
    """Two workers of a DataLoader, each with scenes of its own; two epochs."""
    from torch.utils.data import DataLoader

    loader = DataLoader(
        Scenes(opened), batch_size=None, num_workers=2, multiprocessing_context=context, persistent_workers=True
    )
    for _ in range(2):
        scenes = list(loader)
        for place in opened:
            masks = b"".join(mask for where, mask, _ in scenes if where == place)
            reflectance = b"".join(bands for where, _, bands in scenes if where == place)
            yield place, hashlib.sha256(masks + reflectance).hexdigest()


def by_threads(opened: Opened) -> Readings:
    """Many threads at once, on the same datasets and on new ones."""
    with ThreadPoolExecutor(2 * THREADS * len(opened)) as pool:
        sent = [(place, pool.submit(digest, dataset)) for place, dataset in opened.items() for _ in range(THREADS)]
        sent += [(place, pool.submit(read_anew, place)) for place in opened for _ in range(THREADS)]
        yield from ((place, future.result()) for place, future in sent)


def inside_a_loop(opened: Opened) -> Readings:
    """Open and compute inside a coroutine, as a cell of a notebook does."""

    async def cell() -> list[tuple[str, str]]:
        await asyncio.sleep(0)
        return [reading for item in opened.items() for reading in read_anyway(*item)]

    yield from asyncio.run(cell())
    with ThreadPoolExecutor(1) as pool:  # the loop of another thread
        yield from pool.submit(lambda: asyncio.run(cell())).result()


CONTEXTS = ("fork", "spawn", "forkserver")
CASES: dict[str, Callable[[Opened], Readings]] = {
    "grandchild": in_grandchild,
    "thread": from_a_thread,
    "busy": while_reading,
    "locked": while_locked,
    "threads": by_threads,
    "loop": inside_a_loop,
    "distributed": by_distributed,
    **{f"pool-{context}": partial(in_pool, context=context) for context in CONTEXTS},
    **{f"dask-{context}": partial(by_dask, context=context) for context in CONTEXTS},
    **{f"torch-{context}": partial(by_torch, context=context) for context in CONTEXTS},
}

if __name__ == "__main__":
    main(*sys.argv[1:])
