"""What `repair` leaves alone, and how it goes on where it was stopped."""

import shutil
from typing import Any

import numpy as np
import pytest
from helpers.accidents import SHARD, flip, objects, swap

import s2cmc
from s2cmc.conversion.export.releases import restore
from s2cmc.conversion.repair import repairs
from s2cmc.conversion.repair.repairs import repair
from s2cmc.conversion.targets.folder import Folder
from s2cmc.conversion.targets.journal import Target
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow


def test_another_release_is_refused(four, copy, tmp_path):
    other = make_release(tmp_path / "other", scenes=4, size=16, seed=1)
    flip(copy / SHARD.format(0))
    before = objects(copy)
    with pytest.raises(s2cmc.ReleaseError, match=r"(is not the release that|cannot be repaired: .* not in the table)"):
        repair(str(copy), str(other))
    assert objects(copy) == before


@pytest.mark.parametrize("lost", [None, "zarr.json", "shards.json"])
def test_a_release_with_the_same_table_and_other_pixels_is_refused(four, copy, tmp_path, lost):
    restore(str(four / "store"), str(tmp_path / "other"), layout="folder")
    shutil.copy(four / "release" / "classification_tags.csv", tmp_path / "other")
    for name in ("subscenes", "masks"):
        for path in (tmp_path / "other" / name).iterdir():
            array = np.load(path)
            np.save(path, np.roll(array, 1, axis=0))
    if lost:
        (copy / lost).unlink()
    flip(copy / SHARD.format(0))
    before = objects(copy)
    with pytest.raises(s2cmc.ReleaseError, match=r"other is not the release that \S+copy\.zarr was converted from: "):
        repair(str(copy), str(tmp_path / "other"))
    assert objects(copy) == before


def test_the_release_may_lie_elsewhere_and_be_unpacked(four, copy, tmp_path):
    """Its files have other names and times; what is made from them has the digests of the store."""
    restore(str(four / "store"), str(tmp_path / "unpacked"), layout="folder")
    shutil.copy(four / "release" / "classification_tags.csv", tmp_path / "unpacked")
    shutil.copy(four / "release" / "SYNTHETIC.txt", tmp_path / "unpacked")
    swap(copy)
    repair(str(copy), str(tmp_path / "unpacked"))
    assert objects(copy) == objects(four / "store")


def test_what_a_damaged_release_lacks_is_named_and_the_rest_is_mended(four, copy, tmp_path):
    restore(str(four / "store"), str(tmp_path / "unpacked"), layout="folder")
    shutil.copy(four / "release" / "classification_tags.csv", tmp_path / "unpacked")
    scene = s2cmc.open_catalogue(copy).scene.values[2]
    (tmp_path / "unpacked" / "subscenes" / f"{scene}.npy").write_bytes(b"no array")
    flip(copy / SHARD.format(1))
    flip(copy / SHARD.format(2))
    with pytest.raises(s2cmc.ReleaseError, match=rf"(?s)1 scenes or arrays of .* cannot be stored.*{scene}"):
        repair(str(copy), str(tmp_path / "unpacked"))
    assert objects(copy)[SHARD.format(1)] == objects(four / "store")[SHARD.format(1)]
    assert repair(str(copy), str(four / "release")).rewritten == (SHARD.format(2),)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.txt", "", "holds no catalogue, nor what is left of one"),
        ("zarr.json", '{"zarr_format":3,"node_type":"group"}', "no catalogue of s2cmc"),
        (".s2cmc-conversion/plan.json", '{"command":"s2cmc convert a b"}', "finish it with `s2cmc convert a b`"),
    ],
    ids=["files", "zarr", "unfinished"],
)
def test_what_is_no_finished_store_is_left_alone(four, tmp_path, name, content, said):
    path = tmp_path / "place" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(s2cmc.StoreError, match=said):
        repair(str(tmp_path / "place"), str(four / "release"))
    assert objects(tmp_path / "place") == {name: content.encode()}


def test_of_two_writers_one_is_refused(four, copy):
    flip(copy / SHARD.format(0))
    with Target(str(copy)).claimed(), pytest.raises(s2cmc.StoreError, match=r"another conversion, .* is running"):
        repair(str(copy), str(four / "release"))
    repair(str(copy), str(four / "release"))
    assert objects(copy) == objects(four / "store")


def test_a_repair_that_failed_is_gone_on_with(four, copy, monkeypatch):
    for i in range(4):
        flip(copy / SHARD.format(i))
    made = repairs._remake

    def fail_later(job: repairs.Job, task: Any) -> repairs.Shard:
        if task.first == 2:
            raise OSError("no space left on device")
        return made(job, task)

    with monkeypatch.context() as patch:
        patch.setattr(repairs, "_remake", fail_later)
        with pytest.raises(s2cmc.StoreError, match=r"cannot be repaired: no space left.*the same command goes on"):
            repair(str(copy), str(four / "release"), workers=1)
    assert s2cmc.open_catalogue(copy).sizes["scene"] == 4
    assert objects(copy)[SHARD.format(1)] == objects(four / "store")[SHARD.format(1)]
    assert SHARD.format(1) not in repair(str(copy), str(four / "release")).rewritten
    assert objects(copy) == objects(four / "store")


def test_a_repair_interrupted_before_any_write_is_gone_on_with(four, copy, monkeypatch):
    put = Folder.put
    for path in (copy / "coordinates.zip", copy / "thin/c/0", *(copy / SHARD.format(i) for i in range(4))):
        flip(path)
    damaged = objects(copy)
    for at in (0, 2, 5):
        written: list[str] = []

        def put_or_stop(self: Folder, key: str, value: bytes, *, new: bool = False, at=at, written=written) -> str:
            if len(written) == at:
                raise KeyboardInterrupt
            written.append(key)
            return put(self, key, value, new=new)

        for key, content in damaged.items():
            (copy / key).write_bytes(content)
        with monkeypatch.context() as patch:
            patch.setattr(Folder, "put", put_or_stop)
            with pytest.raises(KeyboardInterrupt):
                repair(str(copy), str(four / "release"), workers=1)
        assert len(written) == at
        done = repair(str(copy), str(four / "release"))
        assert len(done.rewritten) == 6 - at
        assert objects(copy) == objects(four / "store")


def test_progress_counts_shards(four, copy):
    flip(copy / SHARD.format(1))
    seen: list[tuple[int, int]] = []
    repair(str(copy), str(four / "release"), progress=lambda done, total: seen.append((done, total)))
    assert seen == [*((i, 7) for i in range(1, 8)), (8, 8)]
