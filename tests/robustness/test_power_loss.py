"""What a power failure may leave of the files that were written last is never taken for what was written."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.targets import state_of

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export.scenes import export
from s2cmc.conversion.publish import publish
from s2cmc.conversion.targets.folder import Folder
from s2cmc.conversion.targets.journal import Target
from s2cmc.conversion.verify.verification import verify
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow

SPOILED: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "zeroed from its middle on": lambda path: path.write_bytes(
        path.read_bytes()[: path.stat().st_size // 2].ljust(path.stat().st_size, b"\0")
    ),
    "lost": lambda path: path.unlink(),
}
"""A file system that has the name may lack the content, in part or all; or it has neither."""


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two releases that differ. Not to be changed."""
    folder = tmp_path_factory.mktemp("releases")
    return {name: make_release(folder / name, scenes=n, size=16) for name, n in (("old", 2), ("new", 3))}


@pytest.fixture
def stopped(releases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A conversion that ended before its last object, all tasks done."""
    put = Folder.put

    def stop(self: Folder, key: str, value: bytes, **how: bool) -> str:
        if key == "zarr.json":
            raise KeyboardInterrupt
        return put(self, key, value, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "put", stop)
        with pytest.raises(KeyboardInterrupt):
            convert(str(releases["new"]), str(tmp_path / "store"), workers=1)
    return tmp_path / "store"


@pytest.mark.parametrize("how", SPOILED)
def test_whatever_files_of_a_start_are_spoiled_it_never_becomes_a_wrong_store(how, stopped, releases, tmp_path):
    """Some by chance, and all but the plan, which is on the disk before anything else is written."""
    files = [path.relative_to(stopped) for path in sorted(stopped.rglob("*")) if path.is_file()]
    files.remove(Path(".s2cmc-conversion/plan.json"))
    chance = random.Random(2018)  # noqa: S311, no secret
    for number, names in enumerate([chance.sample(files, 20), files]):
        store = tmp_path / str(number)
        shutil.copytree(stopped, store)
        for name in names:
            SPOILED[how](store / name)
        convert(str(releases["new"]), str(store))
        assert state_of(store, releases) == "new"


@pytest.mark.parametrize("how", SPOILED)
def test_only_the_tasks_whose_objects_are_spoiled_are_done_again(how, stopped, releases, caplog):
    SPOILED[how](stopped / "reflectance/c/1/0/0/0")
    assert convert(str(releases["new"]), str(stopped)).resumed == 3 + 3 - 1
    assert "reflectance/c/1/0/0/0 is not as it was written; reflectance-000001 is done again" in caplog.text
    assert state_of(stopped, releases) == "new"


def test_an_object_in_a_bucket_that_is_not_as_it_was_written_is_written_again(bucket, releases, monkeypatch):
    """By its size and its entity tag, which the listing tells; nothing is read."""

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    url = f"{bucket.url}/store"
    with monkeypatch.context() as patch:
        patch.setattr(Target, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            convert(str(releases["new"]), url, access=bucket.access)
    shard = bucket.get("store/reflectance/c/1/0/0/0")
    bucket.put("store/reflectance/c/1/0/0/0", shard[:-1] + bytes([shard[-1] ^ 1]))
    bucket.delete("store/mask/c/0/0/0")
    assert convert(str(releases["new"]), url, access=bucket.access).resumed == 3 + 3 - 2
    assert verify(url, str(releases["new"]), access=bucket.access) == []


@pytest.mark.parametrize("how", ["cut", "empty", "zeroed", "lost"])
def test_a_torn_root_beside_its_journal_is_a_start(how, releases, tmp_path, monkeypatch):
    """The run was killed after its last object, whose content was not on the disk yet."""
    store = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "vanish", lambda self, name: None)
        convert(str(releases["new"]), str(store))
    SPOILED[how](store / "zarr.json")
    assert state_of(store, releases) == "started"
    assert convert(str(releases["new"]), str(store)).resumed == 6
    assert state_of(store, releases) == "new"


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (["put .s2cmc-conversion/plan.json"], "old"),
        (["remove zarr.json"], "old"),
        (["remove mask"], "started"),
        (["put .s2cmc-conversion/plan.json"] * 2, "started"),
        (["adopt .s2cmc-conversion/new"], "started"),
    ],
    ids=str,
)
def test_killed_at_any_step_from_the_old_store_to_the_new_one(last, state, releases, tmp_path, monkeypatch):
    """Right before a step that follows when the new store is whole; the same command goes on and does no task again."""
    store, steps = tmp_path / "store", []
    convert(str(releases["old"]), str(store))

    def until(name: str) -> Callable[..., object]:
        do = getattr(Folder, name)

        def or_die(self: Folder, key: str, *args: object, **how: object) -> object:
            if steps or key.endswith("/new/zarr.json"):
                steps.append(f"{name} {key}")
            if [step for step in steps if step == last[0]] == last:
                raise KeyboardInterrupt
            return do(self, key, *args, **how)

        return or_die

    with monkeypatch.context() as patch:
        for name in ("put", "remove", "adopt"):
            patch.setattr(Folder, name, until(name))
        with pytest.raises(KeyboardInterrupt):
            convert(str(releases["new"]), str(store), overwrite=True)
    assert state_of(store, releases) == state
    assert convert(str(releases["new"]), str(store), overwrite=state == "old").resumed == 6
    assert state_of(store, releases) == "new"
    assert not (store / ".s2cmc-conversion").exists()


def test_renames_may_be_lost_while_the_new_store_takes_its_place(releases, tmp_path, monkeypatch):
    store = tmp_path / "store"
    convert(str(releases["old"]), str(store))
    rename, renamed = Path.rename, []

    def rename_some(self: Path, to: Path) -> Path:
        renamed.append(to)
        if len(renamed) == 20:
            raise KeyboardInterrupt
        return rename(self, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename_some)
        with pytest.raises(KeyboardInterrupt):
            convert(str(releases["new"]), str(store), overwrite=True)
    new = store / ".s2cmc-conversion" / "new"
    for path in renamed[5:19]:
        path.rename(new / path.name)
    assert state_of(store, releases) == "started"
    convert(str(releases["new"]), str(store))
    assert state_of(store, releases) == "new"


def test_a_store_in_a_bucket_is_replaced_when_the_new_one_is_whole(bucket, releases, monkeypatch):
    url, seen = f"{bucket.url}/store", []
    convert(str(releases["old"]), url, access=bucket.access)

    def look(done: int, total: int) -> None:
        seen.append(s2cmc.open_catalogue(url, **bucket.options).sizes["scene"])

    convert(str(releases["new"]), url, access=bucket.access, overwrite=True, progress=look)
    assert set(seen) == {2}
    assert verify(url, str(releases["new"]), access=bucket.access) == []
    assert bucket.head("store/mask/c/0/0/0")["CacheControl"] == "no-cache"
    assert not bucket.listed("store/.s2cmc")


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced and what takes its name, in that order; paths as they were then."""
    events: list[str] = []
    fsync, replace, link = os.fsync, Path.replace, os.link

    def note_sync(number: int) -> None:
        fsync(number)
        events.append(f"sync {os.readlink(f'/proc/self/fd/{number}')}")

    def note_replace(self: Path, to: Path) -> Path:
        events.append(f"name {to}")
        return replace(self, to)

    def note_link(path: Path, to: Path) -> None:
        events.append(f"name {to}")
        link(path, to)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    monkeypatch.setattr(os, "link", note_link)
    return events


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks the system for names of open files")
def test_all_objects_are_on_the_disk_before_the_store_opens(releases, tmp_path, synced):
    store = tmp_path / "store"
    convert(str(releases["new"]), str(store))
    opens = synced.index(f"name {store / 'zarr.json'}")
    before, after = synced[:opens], synced[opens:]
    objects = [path for path in store.rglob("*") if path != store / "zarr.json"]
    assert {f"sync {path}" for path in [*objects, store, tmp_path]} <= set(before)
    assert before[-1].startswith(f"sync {store}/zarr.json#")
    assert after[1] == f"sync {store}"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks the system for names of open files")
def test_files_of_an_export_are_on_the_disk_when_they_appear(releases, store, tmp_path, synced):
    """An export that goes on takes files that are there for whole."""
    export(str(store), str(tmp_path / "out"), format="png")
    for path in (tmp_path / "out").rglob("*.png"):
        named = synced.index(f"name {path}")
        assert any(event.startswith(f"sync {path}#") for event in synced[:named])
        assert f"sync {path.parent}" in synced[named:]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks the system for names of open files")
def test_a_version_is_on_the_disk_before_it_is_announced(store, tmp_path, synced):
    place = tmp_path / "published"
    version = Path(publish(str(store), str(place)).url)
    announced = synced.index(f"name {place / 'zarr.json'}")
    files = [path for path in version.rglob("*") if path.is_file()]
    assert {f"sync {path}" for path in files} <= set(synced[:announced])
    assert json.loads((place / "zarr.json").read_text())["attributes"]["latest"] == version.name


def test_what_another_conversion_finished_is_not_taken_for_an_unfinished_replacement(releases, tmp_path, monkeypatch):
    """A journal that a kill after the end has left behind is no step of a replacement."""
    store = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "vanish", lambda self, name: None)
        convert(str(releases["old"]), str(store))
        convert(str(releases["new"]), str(store), overwrite=True)
    assert state_of(store, releases) == "new"
    assert convert(str(releases["old"]), str(store), overwrite=True).resumed == 0
    assert state_of(store, releases) == "old"
