"""Disks that are full, read-only, forbidden or gone: one message, and what was done is resumed."""

import errno
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.answers import Answer
from helpers.targets import mounted, remount, state_of, without_rights

import s2cmc
from s2cmc.conversion.convert import conversion
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.targets.folder import Folder
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow

EVERY = int(os.environ.get("S2CMC_EVERY_WRITE", "0"))
"""With 1, the disk is full at each write there is: `make hardship`."""


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two releases that differ. Not to be changed."""
    folder = tmp_path_factory.mktemp("releases")
    return {name: make_release(folder / name, scenes=n, size=16) for name, n in (("old", 2), ("new", 3))}


@pytest.fixture(scope="module")
def old(releases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the old release. Not to be changed."""
    store = tmp_path_factory.mktemp("old") / "store"
    convert(str(releases["old"]), str(store))
    return store


@pytest.fixture
def full_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Let the disk be full from some write on, which leaves half of its file; gives the keys that were asked for."""
    put = Folder.put

    def be_full(at: int) -> list[str]:
        asked: list[str] = []

        def put_or_fail(self: Folder, key: str, value: bytes, **how: bool) -> str:
            asked.append(key)
            if len(asked) >= at:
                staged = Path(self.url, f"{key}#1")
                staged.parent.mkdir(parents=True, exist_ok=True)
                staged.write_bytes(value[: len(value) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return put(self, key, value, **how)

        monkeypatch.setattr(Folder, "put", put_or_fail)
        return asked

    return be_full


def moments(count: int) -> Iterator[int]:
    """Every number up to `count`, or the first, the last, and some between."""
    some = {1, 3, count // 2, count - 1, count}
    yield from (n for n in range(1, count + 1) if EVERY or n in some)


def test_full_at_any_write_it_is_a_start_that_resumes(releases, tmp_path, full_at, monkeypatch):
    asked = full_at(10**9)
    convert(str(releases["new"]), str(tmp_path / "whole"), workers=1)
    for at in moments(len(asked)):
        store = tmp_path / str(at)
        full_at(at)
        with pytest.raises(s2cmc.StoreError, match=r"cannot be written: .*No space left on device"):
            convert(str(releases["new"]), str(store), workers=1)
        assert state_of(store, releases) == ("started" if at > 2 else "empty")
        full_at(10**9)
        convert(str(releases["new"]), str(store))
        assert state_of(store, releases) == "new"
        assert not [path for path in store.rglob("*") if "#" in path.name]


def test_full_while_it_replaces_a_store_the_old_one_is_still_there(releases, old, tmp_path, full_at):
    """Until the new one is whole; the last writes only note how far its way into its place is."""
    shutil.copytree(old, tmp_path / "whole")
    asked = full_at(10**9)
    convert(str(releases["new"]), str(tmp_path / "whole"), workers=1, overwrite=True)
    for at in moments(len(asked)):
        store = shutil.copytree(old, tmp_path / str(at))
        full_at(at)
        with pytest.raises(s2cmc.StoreError, match=r"cannot be written: .*No space left on device"):
            convert(str(releases["new"]), str(store), workers=1, overwrite=True)
        assert state_of(store, releases) == ("old" if at < len(asked) else "started")
        full_at(10**9)
        convert(str(releases["new"]), str(store), overwrite=True)
        assert state_of(store, releases) == "new"
        assert not (store / ".s2cmc-conversion").exists()


def test_an_overwritten_store_stays_where_the_new_release_cannot_be_stored(releases, old, tmp_path):
    broken = shutil.copytree(releases["new"], tmp_path / "broken")
    (broken / "thumbnails.zip").unlink()
    content = bytearray((broken / "subscenes.zip").read_bytes())
    content[len(content) // 2] ^= 255
    (broken / "subscenes.zip").write_bytes(content)
    store = shutil.copytree(old, tmp_path / "store")
    with pytest.raises(s2cmc.ReleaseError, match="cannot be stored; what could be is kept"):
        convert(str(broken), str(store), overwrite=True)
    assert state_of(store, releases) == "old"
    convert(str(releases["new"]), str(store), overwrite=True)  # another release: begun anew
    assert state_of(store, releases) == "new"


def test_another_release_than_the_one_that_was_replacing_it_begins_anew(releases, old, tmp_path, full_at):
    store = shutil.copytree(old, tmp_path / "store")
    third = make_release(tmp_path / "third", scenes=4, size=16)
    full_at(40)
    with pytest.raises(s2cmc.StoreError, match="No space left"):
        convert(str(releases["new"]), str(store), overwrite=True, workers=1)
    full_at(10**9)
    with pytest.raises(s2cmc.StoreError, match="is a finished store; use --overwrite"):
        convert(str(third), str(store))
    assert convert(str(third), str(store), overwrite=True).resumed == 0
    assert state_of(store, {"third": third}) == "third"


@pytest.mark.parametrize("size", ["32k", "256k"])
def test_a_disk_that_is_really_full_is_one_message_and_resumes_once_there_is_room(releases, tmp_path, run, size):
    with mounted(tmp_path / "disk", size) as disk:
        line = ["convert", releases["new"], disk / "store"]
        answer = run(*line)
        assert answer.code == 1
        said = answer.err.splitlines()[-1]  # after what the progress bar left
        assert said.startswith(f"error: {disk}/store cannot be written: ")
        assert said.endswith("No space left on device; what is done is kept, the same command resumes")
        assert state_of(disk / "store", releases) == "started"
        remount(disk, "size=4m")
        assert run(*line).code == 0
        assert state_of(disk / "store", releases) == "new"


WRITERS = {
    "sample": ["sample", "{disk}/out", "--scenes", "3", "--size", "64"],
    "restore": ["restore", "{store}", "{disk}/out"],
    "restore into folders": ["restore", "{store}", "{disk}/out", "--unpacked"],
    "export": ["export", "{store}", "{disk}/out"],
    "export as a release": ["export", "{store}", "{disk}/out", "--format", "npz"],
    "export as a store": ["export", "{store}", "{disk}/out", "--format", "zarr"],
    "publish": ["publish", "{store}", "{disk}/out"],
    "metadata": ["metadata", "{store}", "{disk}/out"],
    "stats": ["stats", "{store}", "--csv", "{disk}/out.csv"],
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_says_what_it_cannot_write_and_does_it_once_there_is_room(name, store, tmp_path, run):
    with mounted(tmp_path / "disk", "4k") as disk:
        (disk / "letter").write_bytes(b"")
        line = [word.format(disk=disk, store=store) for word in WRITERS[name]]
        said = run(*line)
        assert said.is_one_message(f"{disk}/out", "cannot be written: ", "No space left on device")
        if name.startswith(("sample", "restore")):
            assert [path.name for path in disk.iterdir()] == ["letter"]
        remount(disk, "size=8m")
        answer: Answer = run(*line)
        assert answer.code == 0, answer.err


def test_a_file_that_may_not_grow_is_one_message(releases, tmp_path):
    """Without a disk of its own: the system refuses to let any file exceed 1 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(s2cmc.StoreError, match="File too large; what is done is kept, the same command resumes"):
            convert(str(releases["new"]), str(tmp_path / "store"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert state_of(tmp_path / "store", releases) == "started"
    convert(str(releases["new"]), str(tmp_path / "store"))
    assert state_of(tmp_path / "store", releases) == "new"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("writer", ["convert", "export", "publish", "metadata", "restore", "sample"])
def test_without_permission_nothing_is_begun(writer, releases, old, open_folder, run):
    shutil.copytree(releases["new"], open_folder / "release")
    shutil.copytree(old, open_folder / "store")
    place = open_folder / "forbidden"
    place.mkdir(mode=0o555)
    source = [] if writer == "sample" else [open_folder / ("release" if writer == "convert" else "store")]
    with without_rights():
        answer = run(writer, *source, place / "out")
    assert answer.is_one_message(f"{place}/out cannot be ", "Permission denied")
    assert "is kept" not in answer.err
    assert not list(place.iterdir())


def test_where_nothing_can_be_written_nothing_is_said_to_be_kept(releases, old, tmp_path, run):
    with mounted(tmp_path / "disk", "8m") as disk:
        shutil.copytree(old, disk / "store")
        remount(disk, "ro")
        answer = run("convert", releases["new"], disk / "other")
        assert answer.is_one_message(f"{disk}/other cannot be written", "Read-only file system")
        assert "is kept" not in answer.err
        answer = run("convert", releases["new"], disk / "store", "--overwrite")
        assert answer.is_one_message(f"{disk}/store cannot be written", "Read-only file system")
        assert state_of(disk / "store", releases) == "old"


def vanishing(monkeypatch: pytest.MonkeyPatch, vanish: Callable[[], None]) -> None:
    """Let something happen after the second task has been read."""
    encode_block, read = conversion.encode_block, []

    def load(plan, task):
        block = encode_block(plan, task)
        read.append(task)
        if len(read) == 2:
            monkeypatch.setattr(conversion, "encode_block", encode_block)
            vanish()
        return block

    monkeypatch.setattr(conversion, "encode_block", load)


def test_a_folder_that_is_removed_in_the_middle_is_not_made_again(releases, tmp_path, monkeypatch):
    store = tmp_path / "store"
    vanishing(monkeypatch, lambda: shutil.rmtree(store))
    with pytest.raises(s2cmc.StoreError, match="was removed or replaced while it was being written; run the same"):
        convert(str(releases["new"]), str(store), workers=1)
    assert not store.exists()
    convert(str(releases["new"]), str(store))
    assert state_of(store, releases) == "new"


@pytest.mark.parametrize("finished", [True, False])
def test_what_another_has_put_in_its_place_is_not_touched(releases, tmp_path, monkeypatch, finished):
    """Two conversions into one path, of which the first had its folder removed."""
    store = tmp_path / "store"

    def replace() -> None:
        shutil.rmtree(store)
        if finished:
            convert(str(releases["old"]), str(store))
        else:
            with monkeypatch.context() as patch:
                patch.setattr(conversion, "_publish", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    convert(str(releases["old"]), str(store))

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    vanishing(monkeypatch, replace)
    with pytest.raises(s2cmc.StoreError, match="was removed or replaced"):
        convert(str(releases["new"]), str(store), workers=1)
    assert state_of(store, releases) == ("old" if finished else "started")
    if not finished:
        assert convert(str(releases["old"]), str(store)).resumed == 5
        assert state_of(store, releases) == "old"


def test_a_disk_that_is_unmounted_in_the_middle_leaves_its_mount_point_empty(releases, tmp_path, monkeypatch):
    with mounted(tmp_path / "disk", "4m") as disk:
        vanishing(monkeypatch, lambda: subprocess.run(["umount", "-l", disk], check=True))
        with pytest.raises(s2cmc.StoreError, match="was removed or replaced"):
            convert(str(releases["new"]), str(disk / "store"), workers=1)
        assert not list(disk.iterdir())
