"""An open Dataset computes wherever it is sent: processes however they are started, threads, running event loops."""

import os
import pickle
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr
from helpers import other_processes
from helpers.paths import ENVIRONMENT, command_of

import s2cmc

LIMIT = other_processes.PATIENCE + 10


@pytest.fixture
def places(store: Path, serve: Callable[..., object]) -> list[str]:
    """One store at three places: its folder, and a web server read by each backend."""
    url = f"{serve(store.parent).url}/{store.name}"
    return [f"obstore={store}", f"obstore={url}", f"fsspec={url}"]


@pytest.fixture(scope="module")
def right(opened: xr.Dataset) -> str:
    """Digest of the pixels, read here."""
    return other_processes.digest(opened)


def read_elsewhere(case: str, places: list[str]) -> list[tuple[str, str]]:
    """Readings of a script of its own, so that no thread of pytest is in its way. If it hangs, the test says where."""
    command = command_of(other_processes, case, *places)
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as script:
        try:
            out, said = script.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(script.pid, signal.SIGKILL)  # its children too
            out, said = script.communicate()
    assert script.returncode == 0, f"{case}: {said[-5000:]}"
    return [tuple(line.split()) for line in out.splitlines()]


def each_place(places: list[str], right: str, times: int) -> list[tuple[str, str]]:
    return sorted((place, right) for place in places for _ in range(times))


@pytest.mark.slow
@pytest.mark.parametrize("context", other_processes.CONTEXTS)
def test_pools_read_what_they_are_sent_and_what_they_open(context: str, places: list[str], right: str) -> None:
    assert sorted(read_elsewhere(f"pool-{context}", places)) == each_place(places, right, 2)


@pytest.mark.slow
def test_a_fork_of_a_fork_reads_what_it_inherited_and_what_it_opens(places: list[str], right: str) -> None:
    """obstore would wait for ever in it, dask too: their threads are in the parent."""
    assert sorted(read_elsewhere("grandchild", places)) == each_place(places, right, 4)


@pytest.mark.slow
def test_a_fork_from_a_thread_that_has_computed_reads(places: list[str], right: str) -> None:
    assert sorted(read_elsewhere("thread", places)) == each_place(places, right, 2)


@pytest.mark.slow
def test_forks_read_although_other_threads_were_reading_at_that_moment(places: list[str], right: str) -> None:
    assert sorted(read_elsewhere("busy", places)) == each_place(places, right, 2 * other_processes.FORKS)


@pytest.mark.slow
def test_forks_read_although_another_thread_held_the_locks_of_dask(places: list[str], right: str) -> None:
    assert sorted(read_elsewhere("locked", places)) == each_place(places, right, 2)


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_dask_computes_in_processes(context: str, places: list[str], right: str) -> None:
    assert sorted(read_elsewhere(f"dask-{context}", places)) == each_place(places, right, 1)


@pytest.mark.slow
def test_distributed_computes_in_a_cluster(places: list[str], right: str) -> None:
    pytest.importorskip("distributed")
    assert sorted(read_elsewhere("distributed", places)) == each_place(places, right, 1)


@pytest.mark.slow
@pytest.mark.parametrize("context", other_processes.CONTEXTS)
def test_workers_of_a_torch_dataloader_read_in_every_epoch(context: str, places: list[str], right: str) -> None:
    pytest.importorskip("torch")
    assert sorted(read_elsewhere(f"torch-{context}", places)) == each_place(places, right, 2)


@pytest.mark.slow
def test_many_threads_open_and_read_at_once(places: list[str], right: str) -> None:
    assert sorted(read_elsewhere("threads", places)) == each_place(places, right, 2 * other_processes.THREADS)


@pytest.mark.slow
def test_a_notebook_opens_and_reads_inside_its_running_loop(places: list[str], right: str) -> None:
    """In the main thread, and in another one."""
    assert sorted(read_elsewhere("loop", places)) == each_place(places, right, 4)


def test_what_is_pickled_connects_anew(places: list[str], right: str) -> None:
    for place in places:
        dataset = other_processes.open_place(place)
        assert other_processes.digest(dataset) == right  # connected
        assert other_processes.digest(pickle.loads(pickle.dumps(dataset))) == right  # noqa: S301, our own bytes


def test_what_is_pickled_holds_neither_pixels_nor_metadata_of_other_arrays(store: Path, opened: xr.Dataset) -> None:
    assert len(pickle.dumps(opened.drop_vars(opened.coords))) < (store / "zarr.json").stat().st_size


def test_a_process_that_is_not_forked_reads_through_obstore(
    store: Path, serve: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec stands in for it in forks, and nowhere else."""
    monkeypatch.setattr("s2cmc.storage.connections.FsspecConnection", None)
    url = f"{serve(store.parent).url}/{store.name}"
    assert s2cmc.open_catalogue(url).sizes["scene"] == 10
