"""Conversions on a cluster of processes write what one process writes, also when workers die, or say why not."""

import os
import pickle
import shutil
import signal
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from distributed import Client
from helpers.answers import Answer
from helpers.clusters import objects_of, two_workers, watching

import s2cmc
from s2cmc.conversion.convert import cluster
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.convert.plan import Options, make_plan
from s2cmc.conversion.source.listing import open_release
from s2cmc.conversion.targets.journal import Target
from s2cmc.conversion.verify.verification import verify
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Client of two workers."""
    with two_workers() as connected:
        yield connected


@pytest.fixture
def mortals() -> Iterator[Client]:
    """Client of two workers of a test of its own, which may kill them."""
    with two_workers() as connected:
        yield connected


def tasks_of(client: Client) -> list[str]:
    """Tasks of conversions that the scheduler still knows."""
    return [k for k in client.run_on_scheduler(lambda dask_scheduler: [*dask_scheduler.tasks]) if "s2cmc-" in str(k)]


def test_workers_write_the_very_objects_that_one_process_writes(client, release, store, tmp_path):
    report = convert(str(release), str(tmp_path / "store"), scheduler=client)
    assert objects_of(tmp_path / "store") == objects_of(store)
    assert verify(str(tmp_path / "store"), str(release)) == []
    assert (report.scenes, report.resumed) == (10, 0)


def test_the_command_takes_an_address_and_paths_relative_to_itself(client, release, store, tmp_path, run, monkeypatch):
    """The workers have another working directory."""
    (tmp_path / "here").symlink_to(release)
    monkeypatch.chdir(tmp_path)
    answer: Answer = run("convert", "here", "store", "--scheduler", client.cluster.scheduler_address)
    assert answer.code == 0
    assert answer.out.startswith("conversion report\n  10 scenes in ")
    assert objects_of(tmp_path / "store") == objects_of(store)


def test_shards_are_written_by_workers_and_records_by_the_client(client, release, tmp_path, monkeypatch):
    written: list[str] = []
    put = Target.write
    monkeypatch.setattr(Target, "write", lambda self, objects: written.extend(objects) or put(self, objects))
    convert(str(release), str(tmp_path / "store"), scheduler=client)
    assert written
    assert not [key for key in written if key.startswith(("reflectance/c", "mask/c"))]


def test_a_worker_killed_while_it_writes_leaves_nothing_behind(mortals, release, store, tmp_path):
    """A shard that it had written, and half of another one, under the name that files have until they are whole."""
    marks = tmp_path / "marks"
    marks.mkdir()

    def die_once() -> None:
        from s2cmc.conversion.targets.journal import Target

        put = Target.write

        def write(self: Target, objects: dict[str, bytes]) -> None:
            put(self, objects)
            key = next(iter(objects))
            if key.startswith("reflectance") and not (marks / "died").exists():
                (marks / "died").write_text(key)
                Path(self.url, f"{key}#1").write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)

        Target.write = write

    mortals.run(die_once)
    convert(str(release), str(tmp_path / "store"), scheduler=mortals)
    assert (marks / "died").read_text().startswith("reflectance/c/")
    assert objects_of(tmp_path / "store") == objects_of(store)
    assert verify(str(tmp_path / "store"), str(release)) == []


@pytest.fixture
def broken(release: Path, tmp_path: Path) -> Path:
    """`release`, with one scene that cannot be stored without loss."""
    shutil.copytree(release, tmp_path / "broken")
    with zipfile.ZipFile(tmp_path / "broken" / "subscenes.zip") as archive:
        archive.extractall(tmp_path / "broken")
    (tmp_path / "broken" / "subscenes.zip").unlink()
    scene = sorted((tmp_path / "broken" / "subscenes").iterdir())[3]
    np.save(scene, np.load(scene) + np.float32(0.00003))
    return tmp_path / "broken"


def test_the_journal_holds_what_is_done_after_a_kill_and_a_problem(mortals, broken, release, store, tmp_path):
    target = tmp_path / "store"
    lossy = pytest.raises(s2cmc.ReleaseError, match="1 scenes or arrays cannot be stored")
    with watching(mortals, kill_after=3) as watched, lossy:
        convert(str(broken), str(target), scheduler=mortals)
    assert len(watched.killed) == 1
    done = sorted(path.stem for path in (target / ".s2cmc-conversion" / "done").iterdir())
    assert len(done) == 10 + 3 - 1
    assert len(list(target.glob("*/c/*"))) == len(done)
    scene = sorted((broken / "subscenes").iterdir())[3]
    with zipfile.ZipFile(release / "subscenes.zip") as archive:
        scene.write_bytes(archive.read(f"subscenes/{scene.name}"))
    report = convert(str(broken), str(target), scheduler=mortals)
    assert report.resumed == len(done)
    assert objects_of(target) == objects_of(store)


def test_interrupted_it_cancels_its_tasks_and_resumes(client, release, store, tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(str(release), str(tmp_path / "store"), scheduler=client, progress=interrupt)
    while tasks_of(client):  # those that were running end
        pass
    address = client.cluster.scheduler_address
    with pytest.raises(
        s2cmc.UnfinishedStoreError, match=f"not complete; finish it with `s2cmc convert .* --scheduler {address}`"
    ):
        s2cmc.open_catalogue(tmp_path / "store")
    assert convert(str(release), str(tmp_path / "store"), scheduler=client).resumed > 0
    assert objects_of(tmp_path / "store") == objects_of(store)


def test_a_worker_that_an_ended_run_left_behind_writes_nothing(client, release, tmp_path):
    """Another run was admitted while its task was under way."""

    def take_over(done: int, total: int) -> None:
        Target(str(tmp_path / "store")).admit("another run")

    with pytest.raises(s2cmc.StoreError, match="is not written by this run any more; what is done is kept, the same"):
        convert(str(release), str(tmp_path / "store"), scheduler=client, progress=take_over)
    assert not list((tmp_path / "store").glob("*/c"))


def test_what_is_sent_of_a_plan_with_a_task_does_not_grow_with_the_release(tmp_path):
    """Small zips are held whole by their members, and are not sent."""
    sizes = {}
    for scenes in (2, 40):
        plan = make_plan(open_release(str(make_release(tmp_path / f"{scenes}", scenes=scenes, size=16))), Options())
        assert len(pickle.dumps(plan)) > 10_000 * scenes
        sizes[scenes] = len(pickle.dumps(cluster._plan_of_task(plan, plan.tasks()[1])))
    assert sizes[40] < 1.02 * sizes[2] < 10_000


def test_workers_write_into_a_bucket_on_which_the_client_holds_the_lease(client, bucket, release, store):
    url = f"{bucket.url}/catalogue.zarr"
    convert(str(release), url, scheduler=client, access=bucket.access)
    written = bucket.contents("catalogue.zarr/")
    written.pop("zarr.json")
    assert written == objects_of(store)
    assert verify(url, str(release), access=bucket.access) == []


# What is wrong is said


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1", "carrier-pigeon://host:1"])
def test_a_scheduler_that_is_not_there_is_one_message(address, run, release, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.3)
    answer = run("convert", release, tmp_path / "store", "--scheduler", address)
    assert answer.is_one_message(f"the scheduler {address} cannot be reached", "start one with `dask scheduler`")
    assert not (tmp_path / "store").exists()


def test_without_distributed_it_says_what_to_install(run, release, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    answer = run("convert", release, tmp_path / "store", "--scheduler", "tcp://127.0.0.1:9")
    assert answer.is_one_message("distributed is missing; install it with: pip install 's2cmc[distributed]'")


def test_threads_of_this_process_and_a_cluster_exclude_each_other(run, release, tmp_path):
    line = ["convert", release, tmp_path / "store", "--scheduler", "tcp://127.0.0.1:9", "--workers", 2]
    answer = run(*line)
    assert answer.is_one_message("workers are threads of this process")


def test_workers_of_another_version_are_refused(client, release, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "version", lambda name: "0.0.1")
    said = rf"2 of 2 workers .*\n  - tcp://.*: it has s2cmc {s2cmc.__version__}; install 0\.0\.1"
    with pytest.raises(s2cmc.CatalogueError, match=said):
        convert(str(release), str(tmp_path / "store"), scheduler=client)
    assert not (tmp_path / "store").exists()


def test_workers_that_are_refused_leave_a_started_conversion_and_a_finished_store_as_they_were(
    client, release, store, tmp_path, monkeypatch
):
    finished, started = shutil.copytree(store, tmp_path / "finished"), tmp_path / "started"
    with monkeypatch.context() as patch:
        patch.setattr(Target, "publish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert(str(release), str(started))
    before = {**objects_of(finished), **objects_of(started)}
    monkeypatch.setattr(cluster, "version", lambda name: "0.0.1")
    for place in (finished, started):
        with pytest.raises(s2cmc.CatalogueError, match="2 of 2 workers"):
            convert(str(release), str(place), scheduler=client, overwrite=place == finished)
    after = {**objects_of(finished), **objects_of(started)}
    assert after.keys() == before.keys()
    assert {key for key in before if after[key] != before[key]} <= {".s2cmc-conversion/run"}


def interrupted(*args: object) -> None:
    raise KeyboardInterrupt


def test_workers_replace_a_store_beside_the_old_one(client, release, store, tmp_path):
    target = tmp_path / "store"
    convert(str(make_release(tmp_path / "old", scenes=2, size=16)), str(target))
    seen = []
    look = lambda done, total: seen.append(s2cmc.open_catalogue(target).sizes["scene"])  # noqa: E731
    convert(str(release), str(target), scheduler=client, overwrite=True, progress=look)
    assert set(seen) == {2}
    assert objects_of(target) == objects_of(store)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_workers_read_a_release_that_is_one_zip_of_zips(client, release, store, tmp_path, method):
    with zipfile.ZipFile(tmp_path / "release.zip", "w", method) as archive:
        for path in sorted(release.iterdir()):
            archive.write(path, path.name)
    convert(str(tmp_path / "release.zip"), str(tmp_path / "store"), scheduler=client)
    assert objects_of(tmp_path / "store") == objects_of(store)


def test_workers_that_do_not_see_the_release_are_refused(client, release, tmp_path):
    """It lies in the memory of this process."""
    memory = fsspec.filesystem("memory")
    for path in release.iterdir():
        memory.pipe(f"/release/{path.name}", path.read_bytes())
    said = "2 of 2 workers .*\n  - .*: it does not see the release memory://release"
    with pytest.raises(s2cmc.CatalogueError, match=said):
        convert("memory://release", str(tmp_path / "store"), scheduler=client)


def test_a_worker_that_sees_another_release_or_no_store_says_so(release, tmp_path):
    source = open_release(str(release))
    seen = cluster.Places("run", str(release), str(tmp_path / "store"), source.table_file, table_md5="0")
    with pytest.raises(s2cmc.ReleaseError, match=r"it sees another release at .*; its .*\.csv differs"):
        cluster._check_worker(seen)
    seen = cluster.Places("run", str(release), str(tmp_path / "store"), source.table_file, source.table_md5)
    with pytest.raises(s2cmc.StoreError, match=r"it does not see the store .*; workers write it under the same path"):
        cluster._check_worker(seen)
