"""A conversion killed at any moment is resumed by the same command, and never opens before it is complete."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import kill_at_write
from helpers.paths import ENVIRONMENT, command_of

import s2cmc
from s2cmc.conversion.convert import conversion
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export.releases import restore
from s2cmc.conversion.targets.folder import Folder
from s2cmc.conversion.verify.verification import verify
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow


@pytest.fixture
def interrupted(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store whose conversion failed after its fifth task."""
    calls = []

    def fail_later(*args: object) -> list[str]:
        calls.append(args)
        if len(calls) > 5:
            raise OSError("no space left on device")
        return done(*args)

    done = conversion._convert_task
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "_convert_task", fail_later)
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
    encode_block = conversion.encode_block
    monkeypatch.setattr(
        conversion, "encode_block", lambda plan, task: loaded.append(task.name) or encode_block(plan, task)
    )
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


def test_other_releases_do_not_resume(release, interrupted, tmp_path):
    other = make_release(tmp_path / "other", scenes=2, size=16)
    with pytest.raises(
        s2cmc.StoreError, match=r"started with another release and scenes and layout; finish it with `s2cmc convert .*`"
    ):
        convert(str(other), str(interrupted))
    convert(str(other), str(interrupted), overwrite=True)
    assert verify(str(interrupted), str(other)) == []


def test_a_file_changed_after_it_was_read_is_read_again(store, tmp_path, caplog):
    folder = tmp_path / "release"
    restore(str(store), str(folder), layout="folder")
    first, second = sorted((folder / "subscenes").iterdir())[:2]
    np.save(second, np.load(second) + np.float32(0.00003))
    with pytest.raises(s2cmc.ReleaseError, match="the same command resumes once the release is mended"):
        convert(str(folder), str(tmp_path / "other.zarr"))
    np.save(first, np.load(first) + np.float32(0.0001))
    np.save(first, np.rint(np.load(first) * 10_000).astype("f4") / np.float32(10_000))
    np.save(second, np.load(second) - np.float32(0.00003))
    np.save(second, np.rint(np.load(second) * 10_000).astype("f4") / np.float32(10_000))
    report = convert(str(folder), str(tmp_path / "other.zarr"))
    assert report.resumed == 10 + 3 - 2
    assert "1 of 12 finished tasks do not fit any more and are done again" in caplog.messages
    assert verify(str(tmp_path / "other.zarr"), str(folder)) == []


def test_a_mended_release_is_resumed(store, tmp_path):
    folder = tmp_path / "release"
    restore(str(store), str(folder), layout="folder")
    broken = sorted((folder / "subscenes").iterdir())[1]
    good = np.load(broken)
    np.save(broken, good + np.float32(0.00003))
    with pytest.raises(s2cmc.ReleaseError, match="1 scenes or arrays cannot be stored"):
        convert(str(folder), str(tmp_path / "store.zarr"))
    np.save(broken, good)
    assert convert(str(folder), str(tmp_path / "store.zarr")).resumed == 10 + 3 - 1
    assert verify(str(tmp_path / "store.zarr"), str(folder)) == []


def test_of_two_runs_at_once_the_second_is_refused(release, tmp_path, monkeypatch):
    """Also with --overwrite; the first goes on undisturbed."""
    store = str(tmp_path / "store.zarr")
    others = make_release(tmp_path / "other", scenes=2, size=16)
    encode_block = conversion.encode_block

    def try_another(plan, task):
        monkeypatch.setattr(conversion, "encode_block", encode_block)
        with pytest.raises(s2cmc.StoreError, match=r"another conversion, export or .* into .* is running; wait"):
            convert(str(others), store, overwrite=True)
        return encode_block(plan, task)

    monkeypatch.setattr(conversion, "encode_block", try_another)
    convert(str(release), store, workers=1)
    assert verify(store, str(release)) == []


def test_what_was_finished_meanwhile_is_not_overwritten_unasked(release, store, tmp_path, monkeypatch):
    """Listing a remote release takes minutes; the target is looked at once more before anything is removed."""
    target = tmp_path / "store.zarr"
    make_plan = conversion.make_plan
    monkeypatch.setattr(
        conversion, "make_plan", lambda *args: shutil.copytree(store, target, dirs_exist_ok=True) and make_plan(*args)
    )
    with pytest.raises(s2cmc.StoreError, match="is a finished store; use --overwrite"):
        convert(str(release), str(target))
    assert verify(str(target), str(release)) == []


def test_shards_of_another_layout_are_made_again(release, interrupted, monkeypatch):
    """A later version may choose other chunks; shards of two layouts never mix. Those that stay the same are kept."""
    monkeypatch.setattr("s2cmc.conversion.layout.arrays._SIDE", 16)
    assert convert(str(release), str(interrupted)).resumed == 3  # masks and thumbnails
    assert verify(str(interrupted), str(release)) == []


@pytest.mark.parametrize("content", ["", "[}", "{}"])
def test_a_damaged_journal_is_never_built_on(release, interrupted, content):
    (interrupted / ".s2cmc-conversion" / "plan.json").write_text(content)
    with pytest.raises(s2cmc.StoreError, match=r"started with another .*release.*use --overwrite to start anew"):
        convert(str(release), str(interrupted))
    convert(str(release), str(interrupted), overwrite=True)
    assert verify(str(interrupted), str(release)) == []


def test_a_damaged_record_of_a_task_is_not_done(release, interrupted):
    record = next((interrupted / ".s2cmc-conversion" / "done").iterdir())
    record.write_text("[{")
    assert convert(str(release), str(interrupted)).resumed == 4
    assert verify(str(interrupted), str(release)) == []


def test_a_kill_while_clearing_is_cleared_again(release, interrupted, tmp_path, monkeypatch):
    other = make_release(tmp_path / "other", scenes=2, size=16)

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            convert(str(other), str(interrupted), overwrite=True)
    convert(str(other), str(interrupted))
    assert verify(str(interrupted), str(other)) == []


def test_a_run_killed_after_publishing_leaves_a_whole_store(release, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "vanish", lambda self, name: None)
        convert(str(release), str(tmp_path / "store.zarr"))
    assert verify(str(tmp_path / "store.zarr"), str(release)) == []
    with pytest.raises(s2cmc.StoreError, match="finished store"):
        convert(str(release), str(tmp_path / "store.zarr"))


@pytest.mark.long
def test_sigkill_at_random_moments(release, tmp_path):
    """Kill the command again and again; then the same command completes a store that equals its source."""
    store = tmp_path / "store.zarr"
    header = store / ".s2cmc-conversion" / "plan.json"
    command = [sys.executable, "-m", "s2cmc", "convert", str(release), str(store), "--workers", "1"]
    moments = random.Random(2018)  # noqa: S311, no secret
    killed = 0
    for _ in range(4):
        before = header.stat().st_mtime_ns if header.exists() else 0
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # Every run writes the header anew when it begins to write: before that, a kill finds nothing to spoil.
        while process.poll() is None and not (header.exists() and header.stat().st_mtime_ns > before):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        if process.returncode == 0 or (store / "zarr.json").exists():
            break
        assert process.returncode == -signal.SIGKILL, output.decode()
        killed += 1
        with pytest.raises(s2cmc.StoreError):
            s2cmc.open_catalogue(store)
    assert killed > 1, "no run was killed before it was complete"
    if not (store / "zarr.json").exists():
        subprocess.run(command, check=True, capture_output=True)
    assert verify(str(store), str(release)) == []


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
def test_sigkill_at_every_write(tmp_path):
    """Kill before each of the first writes and some later ones; ``make hardship`` before each."""
    release = make_release(tmp_path / "release", scenes=3, size=16)
    command = command_of(kill_at_write, release, tmp_path)
    run = subprocess.run(command, env=ENVIRONMENT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    killed = int(run.stdout.split()[-1])
    assert killed > 8
