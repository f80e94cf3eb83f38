"""A conversion killed at any moment is resumed by the same command, and never opens before it is complete."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import s2cmc
from s2cmc.conversion import write
from s2cmc.conversion.target import Target
from s2cmc.conversion.verify import verify
from s2cmc.conversion.write import convert
from s2cmc.testing import make_release


@pytest.fixture
def interrupted(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store whose conversion failed after its fifth task."""
    calls = []

    def fail_later(*args: object) -> list[str]:
        calls.append(args)
        if len(calls) > 5:
            raise OSError("no space left on device")
        return done(*args)

    done = write._do
    with monkeypatch.context() as patch:
        patch.setattr(write, "_do", fail_later)
        with pytest.raises(s2cmc.StoreError, match=r"no space left.*the same command resumes"):
            convert(str(release), str(tmp_path / "store.zarr"), workers=1)
    return tmp_path / "store.zarr"


def test_an_unfinished_store_does_not_open_and_says_how_to_finish(release, interrupted):
    with pytest.raises(
        s2cmc.UnfinishedStoreError, match=rf"not complete; finish it with `s2cmc convert {release} {interrupted}`"
    ):
        s2cmc.open_catalogue(interrupted)


def test_finished_tasks_are_not_done_again(release, interrupted, monkeypatch):
    loaded = []
    load_block = write.load_block
    monkeypatch.setattr(write, "load_block", lambda plan, task: loaded.append(task.name) or load_block(plan, task))
    report = convert(str(release), str(interrupted))
    assert report.resumed == 5
    assert len(loaded) == len(set(loaded)) == 10 + 3 - 5
    assert verify(str(interrupted), str(release)) == []
    assert not (interrupted / ".s2cmc-conversion").exists()


def test_half_written_objects_are_written_again(release, interrupted):
    shard = next((interrupted / "reflectance" / "c").rglob("0/0/0/0"))
    torn = shard.with_name("0#1")
    torn.write_bytes(shard.read_bytes()[:100])
    convert(str(release), str(interrupted))
    assert not torn.exists()
    assert verify(str(interrupted), str(release)) == []


def test_other_options_or_releases_do_not_resume(release, interrupted, tmp_path):
    with pytest.raises(s2cmc.StoreError, match=r"started with another reflectance; finish it with `s2cmc convert .*`"):
        convert(str(release), str(interrupted), reflectance="float32")
    other = make_release(tmp_path / "other", scenes=2, size=16)
    with pytest.raises(s2cmc.StoreError, match="started with another release and scenes"):
        convert(str(other), str(interrupted))
    convert(str(other), str(interrupted), overwrite=True)
    assert verify(str(interrupted), str(other)) == []


def test_of_two_runs_at_once_the_later_one_goes_on_alone(release, tmp_path, monkeypatch):
    store = str(tmp_path / "store.zarr")
    others = make_release(tmp_path / "other", scenes=2, size=16)
    load_block = write.load_block

    def start_another(plan, task):
        monkeypatch.setattr(write, "load_block", load_block)
        convert(str(others), store, overwrite=True)
        return load_block(plan, task)

    monkeypatch.setattr(write, "load_block", start_another)
    with pytest.raises(s2cmc.StoreError, match=r"another conversion into .* was started; this one stops"):
        convert(str(release), store, workers=1)
    assert verify(store, str(others)) == []


def test_a_run_killed_after_publishing_leaves_a_whole_store(release, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Target, "drop_journal", lambda self: None)
        convert(str(release), str(tmp_path / "store.zarr"))
    assert verify(str(tmp_path / "store.zarr"), str(release)) == []
    with pytest.raises(s2cmc.StoreError, match="finished store"):
        convert(str(release), str(tmp_path / "store.zarr"))
    assert not (tmp_path / "store.zarr" / ".s2cmc-conversion").exists()


@pytest.mark.slow
def test_sigkill_at_random_moments(release, tmp_path):
    """Kill the command again and again; then the same command completes a store that equals its source."""
    store = tmp_path / "store.zarr"
    command = [sys.executable, "-m", "s2cmc", "convert", str(release), str(store)]
    moments = random.Random(2018)  # noqa: S311, no secret
    killed = 0
    for _ in range(12):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        began = time.monotonic()
        # From the first write on: before that, a kill finds nothing to spoil.
        while not (store / ".s2cmc-conversion").exists() and process.poll() is None and time.monotonic() - began < 60:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.8))
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, output.decode()
        killed += 1
        with pytest.raises(s2cmc.StoreError):
            s2cmc.open_catalogue(store)
    assert killed, "no run was killed before it was complete"
    if process.returncode != 0:
        subprocess.run(command, check=True, capture_output=True)
    assert verify(str(store), str(release)) == []
