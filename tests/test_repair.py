"""`repair` makes a damaged store what a fresh conversion would be, and touches nothing else."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer
from resealed import reseal

import s2cmc
from s2cmc.conversion import mending
from s2cmc.conversion.folder import Folder
from s2cmc.conversion.repair import Repair, repair
from s2cmc.conversion.restore import restore
from s2cmc.conversion.target import Target
from s2cmc.conversion.verify import verify
from s2cmc.conversion.write import convert
from s2cmc.metadata import compact, seal
from s2cmc.testing import make_release

pytestmark = pytest.mark.slow

SHARD = "reflectance/c/{}/0/0/0"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Release and store of 4 scenes of 16 x 16 pixels, and the store of the first 2. Not to be changed."""
    folder = tmp_path_factory.mktemp("tiny")
    make_release(folder / "release", scenes=4, size=16)
    convert(str(folder / "release"), str(folder / "store"))
    scenes = s2cmc.open_catalogue(folder / "store").scene.values[:2].tolist()
    convert(str(folder / "release"), str(folder / "two"), scenes=scenes)
    return folder


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the store to spoil."""
    return Path(shutil.copytree(tiny / "store", tmp_path / "copy.zarr"))


def objects(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def without_dates(root: bytes) -> dict[str, Any]:
    """A root document without what tells when it was made."""
    document = json.loads(root)
    for name in ("date_created", "history", "metadata_sha256"):
        del document["attributes"][name]
    return document


def flip(path: Path, part: float = 0.4) -> None:
    content = bytearray(path.read_bytes())
    content[int(part * len(content))] ^= 8
    path.write_bytes(content)


def swap(store: Path) -> None:
    """Two scenes change places; every checksum of theirs holds."""
    first, second = store / SHARD.format(0), store / SHARD.format(1)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def edit(store: Path) -> None:
    """Another scale, as an editor leaves it: not sealed again."""
    path = store / "reflectance" / "zarr.json"
    path.write_text(path.read_text().replace("0.0001", "0.001"))


@pytest.mark.parametrize(
    ("spoil", "rewritten"),
    [
        (lambda store: flip(store / SHARD.format(2)), {SHARD.format(2)}),
        (lambda store: (store / SHARD.format(2)).unlink(), {SHARD.format(2)}),
        (lambda store: (store / SHARD.format(2)).write_bytes(b""), {SHARD.format(2)}),
        (lambda store: os.truncate(store / "mask/c/0/0/0", 200), {"mask/c/0/0/0"}),
        (swap, {SHARD.format(0), SHARD.format(1)}),
        (lambda store: shutil.rmtree(store / "thumbnail"), {"thumbnail/c/0/0/0/0", "thumbnail/zarr.json"}),
        (lambda store: flip(store / "cirrus/c/0"), {"cirrus/c/0"}),
        (lambda store: (store / "coordinates.zip").unlink(), {"coordinates.zip"}),
        (lambda store: flip(store / "shards.json"), {"shards.json"}),
        (edit, {"reflectance/zarr.json"}),
    ],
    ids=["flipped", "missing", "empty", "cut", "swapped", "array", "coordinate", "bundle", "digests", "edited"],
)
def test_what_is_hit_is_made_anew_byte_for_byte(tiny, copy, spoil, rewritten):
    spoil(copy)
    assert set(repair(str(copy), str(tiny / "release")).rewritten) == rewritten
    assert objects(copy) == objects(tiny / "store")


def test_a_dry_run_says_the_same_and_writes_nothing(tiny, copy):
    swap(copy)
    flip(copy / "cirrus/c/0")
    before = objects(copy)
    planned = repair(str(copy), str(tiny / "release"), dry_run=True)
    assert objects(copy) == before
    assert not (copy / ".s2cmc-conversion").exists()
    assert repair(str(copy), str(tiny / "release")) == planned
    assert verify(str(copy), str(tiny / "release")) == []


def test_what_is_whole_is_not_written(tiny, copy):
    times = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert repair(str(copy), str(tiny / "release")) == Repair(str(copy), (), (), (), {})
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} | {copy: 0} == times | {copy: 0}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda root: root.unlink(),
        flip,
        lambda root: root.write_bytes(b""),
        lambda root: shutil.copy(root.parents[1] / "other.json", root),
    ],
    ids=["missing", "flipped", "empty", "of another store"],
)
def test_a_root_is_made_anew_with_a_new_date(tiny, copy, spoil):
    shutil.copy(tiny / "two" / "zarr.json", copy.parent / "other.json")
    spoil(copy / "zarr.json")
    flip(copy / SHARD.format(3))
    done = repair(str(copy), str(tiny / "release"))
    assert done.rewritten == (SHARD.format(3), "zarr.json")
    found, expected = objects(copy), objects(tiny / "store")
    assert without_dates(found.pop("zarr.json")) == without_dates(expected.pop("zarr.json"))
    assert found == expected


def test_all_that_is_not_a_shard_is_made_anew(tiny, copy):
    """Nothing is left to tell of which scenes it is: those of the whole release."""
    for path in copy.rglob("*"):
        if path.is_file() and "/c/0/0" not in path.as_posix() and not path.as_posix().endswith("/0/0/0"):
            path.unlink()
    repair(str(copy), str(tiny / "release"))
    assert objects(copy).keys() == objects(tiny / "store").keys()
    assert verify(str(copy), str(tiny / "release")) == []


@pytest.mark.parametrize("lost", ["zarr.json", "coordinates.zip", "scene/c/0"])
def test_a_part_of_the_release_stays_that_part(tiny, tmp_path, lost):
    copy = Path(shutil.copytree(tiny / "two", tmp_path / "copy.zarr"))
    (copy / lost).unlink()
    swap(copy)
    done = repair(str(copy), str(tiny / "release"))
    assert set(done.rewritten) == {lost, SHARD.format(0), SHARD.format(1)}
    assert len(done.scenes) == 2
    assert verify(str(copy), str(tiny / "release")) == []


def test_it_says_which_scenes_were_hit(tiny, copy):
    scenes = s2cmc.open_catalogue(copy).scene.values
    flip(copy / SHARD.format(2))
    os.truncate(copy / "alt_mask/c/0/0/0", 20)
    done = repair(str(copy), str(tiny / "release"))
    assert done.scenes == dict.fromkeys(scenes, ("alt_mask",)) | {scenes[2]: ("reflectance", "alt_mask")}


def test_of_a_shard_of_many_scenes_those_of_the_damaged_chunk_are_hit(release, store, tmp_path):
    copy = Path(shutil.copytree(store, tmp_path / "copy.zarr"))
    flip(copy / "mask/c/0/0/0", 0.0)  # the first of 2 chunks, which holds 8 of 10 scenes
    scenes = s2cmc.open_catalogue(copy).scene.values
    (problem,) = verify(str(copy))
    assert problem.hit == tuple((scene, "mask") for scene in scenes[:8])
    assert list(repair(str(copy), str(release)).scenes) == list(scenes[:8])
    assert verify(str(copy), str(release)) == []


def test_objects_of_ours_go_and_files_of_others_stay(tiny, copy):
    shutil.copytree(copy / "mask/c/0", copy / "mask/c/7")
    (copy / "mask/c/0/0/0#1").write_bytes(b"of a killed run")
    strange = ["notes.txt", "mask/notes.txt", "mine/zarr.json", "mask/c/0/0/mine"]
    (copy / "mine").mkdir()
    for name in strange:
        (copy / name).write_text("mine")
    done = repair(str(copy), str(tiny / "release"))
    assert done.removed == ("mask/c/0/0/0#1", "mask/c/7/0/0")
    assert done.foreign == tuple(sorted(strange))
    assert objects(copy).keys() - objects(tiny / "store").keys() == set(strange)


def test_metadata_that_were_sealed_again_are_made_anew(tiny, copy):
    """By somebody who knows how; only what is made from the release tells."""

    def rescale(document: dict[str, Any]) -> None:
        metadata = document["consolidated_metadata"]["metadata"]["reflectance"]
        metadata["attributes"]["scale_factor"] = 0.001
        (copy / "reflectance" / "zarr.json").write_bytes(compact(metadata))

    reseal(copy, rescale)
    repair(str(copy), str(tiny / "release"))
    assert objects(copy) == objects(tiny / "store")


def test_a_store_of_format_1_0_is_repaired_by_its_pixels_and_stays_one(tiny, copy, tmp_path):
    """It has no digests: that two scenes changed places only the release tells."""
    document = json.loads((copy / "zarr.json").read_bytes())
    for name in ("shard_digests", "shard_digests_sha256"):
        del document["attributes"][name]
    document["attributes"]["format_version"] = "1.0"
    (copy / "zarr.json").write_bytes(seal(document))
    (copy / "shards.json").unlink()
    whole = objects(copy)
    assert verify(str(copy), str(tiny / "release")) == []
    swap(copy)
    assert s2cmc.open_catalogue(copy).sizes["scene"] == 4
    assert verify(str(copy)) == []
    assert verify(str(copy), str(tiny / "release"))
    done = repair(str(copy), str(tiny / "release"))
    assert done.rewritten == (SHARD.format(0), SHARD.format(1))
    assert objects(copy) == whole


def test_verify_tells_without_the_release_that_scenes_changed_places(copy, tiny):
    scenes = s2cmc.open_catalogue(copy).scene.values
    swap(copy)
    problems = verify(str(copy))
    assert [problem.hit for problem in problems] == [((scenes[0], "reflectance"),), ((scenes[1], "reflectance"),)]
    assert all("is whole, but is not the one that was written there" in problem for problem in problems)


def test_verify_tells_a_store_mixed_from_two(copy, tiny):
    """Thumbnails of another store; its scenes are others, its shapes the same."""
    other = tiny / "two" / "thumbnail" / "c" / "0" / "0" / "0" / "0"
    shutil.copy(other, copy / "thumbnail" / "c" / "0" / "0" / "0" / "0")
    (problem,) = verify(str(copy))
    assert "thumbnail/c/0/0/0/0 is" in problem
    shutil.copy(tiny / "two" / "zarr.json", copy / "zarr.json")
    with pytest.raises(s2cmc.StoreError, match=r"coordinates\.zip is damaged, or of another store"):
        verify(str(copy))


def test_another_release_is_refused(tiny, copy, tmp_path):
    other = make_release(tmp_path / "other", scenes=4, size=16, seed=1)
    flip(copy / SHARD.format(0))
    before = objects(copy)
    with pytest.raises(s2cmc.ReleaseError, match=r"(is not the release that|cannot be repaired: .* not in the table)"):
        repair(str(copy), str(other))
    assert objects(copy) == before


@pytest.mark.parametrize("lost", [None, "zarr.json", "shards.json"])
def test_a_release_with_the_same_table_and_other_pixels_is_refused(tiny, copy, tmp_path, lost):
    restore(str(tiny / "store"), str(tmp_path / "other"), layout="folder")
    shutil.copy(tiny / "release" / "classification_tags.csv", tmp_path / "other")
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


def test_the_release_may_lie_elsewhere_and_be_unpacked(tiny, copy, tmp_path):
    """Its files have other names and times; what is made from them has the digests of the store."""
    restore(str(tiny / "store"), str(tmp_path / "unpacked"), layout="folder")
    shutil.copy(tiny / "release" / "classification_tags.csv", tmp_path / "unpacked")
    shutil.copy(tiny / "release" / "SYNTHETIC.txt", tmp_path / "unpacked")
    swap(copy)
    repair(str(copy), str(tmp_path / "unpacked"))
    assert objects(copy) == objects(tiny / "store")


def test_what_a_damaged_release_lacks_is_named_and_the_rest_is_mended(tiny, copy, tmp_path):
    restore(str(tiny / "store"), str(tmp_path / "unpacked"), layout="folder")
    shutil.copy(tiny / "release" / "classification_tags.csv", tmp_path / "unpacked")
    scene = s2cmc.open_catalogue(copy).scene.values[2]
    (tmp_path / "unpacked" / "subscenes" / f"{scene}.npy").write_bytes(b"no array")
    flip(copy / SHARD.format(1))
    flip(copy / SHARD.format(2))
    with pytest.raises(s2cmc.ReleaseError, match=rf"(?s)1 scenes or arrays of .* cannot be stored.*{scene}"):
        repair(str(copy), str(tmp_path / "unpacked"))
    assert objects(copy)[SHARD.format(1)] == objects(tiny / "store")[SHARD.format(1)]
    assert repair(str(copy), str(tiny / "release")).rewritten == (SHARD.format(2),)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.txt", "", "holds no catalogue, nor what is left of one"),
        ("zarr.json", '{"zarr_format":3,"node_type":"group"}', "no catalogue of s2cmc"),
        (".s2cmc-conversion/plan.json", '{"command":"s2cmc convert a b"}', "finish it with `s2cmc convert a b`"),
    ],
    ids=["files", "zarr", "unfinished"],
)
def test_what_is_no_finished_store_is_left_alone(tiny, tmp_path, name, content, said):
    path = tmp_path / "place" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(s2cmc.StoreError, match=said):
        repair(str(tmp_path / "place"), str(tiny / "release"))
    assert objects(tmp_path / "place") == {name: content.encode()}


def test_of_two_writers_one_is_refused(tiny, copy):
    flip(copy / SHARD.format(0))
    with Target(str(copy)).claimed(), pytest.raises(s2cmc.StoreError, match=r"another conversion, .* is running"):
        repair(str(copy), str(tiny / "release"))
    repair(str(copy), str(tiny / "release"))
    assert objects(copy) == objects(tiny / "store")


def test_a_repair_that_failed_is_gone_on_with(tiny, copy, monkeypatch):
    for i in range(4):
        flip(copy / SHARD.format(i))
    made = mending._make_anew

    def fail_later(job: mending.Job, task: Any) -> mending.Shard:
        if task.first == 2:
            raise OSError("no space left on device")
        return made(job, task)

    with monkeypatch.context() as patch:
        patch.setattr(mending, "_make_anew", fail_later)
        with pytest.raises(s2cmc.StoreError, match=r"cannot be repaired: no space left.*the same command goes on"):
            repair(str(copy), str(tiny / "release"), workers=1)
    assert s2cmc.open_catalogue(copy).sizes["scene"] == 4
    assert objects(copy)[SHARD.format(1)] == objects(tiny / "store")[SHARD.format(1)]
    assert SHARD.format(1) not in repair(str(copy), str(tiny / "release")).rewritten
    assert objects(copy) == objects(tiny / "store")


def test_a_repair_interrupted_before_any_write_is_gone_on_with(tiny, copy, monkeypatch):
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
                repair(str(copy), str(tiny / "release"), workers=1)
        assert len(written) == at
        done = repair(str(copy), str(tiny / "release"))
        assert len(done.rewritten) == 6 - at
        assert objects(copy) == objects(tiny / "store")


def test_progress_counts_shards(tiny, copy):
    flip(copy / SHARD.format(1))
    seen: list[tuple[int, int]] = []
    repair(str(copy), str(tiny / "release"), progress=lambda done, total: seen.append((done, total)))
    assert seen == [*((i, 7) for i in range(1, 8)), (8, 8)]


def test_the_command_says_what_it_does(tiny, copy, run: Callable[..., Answer]):
    swap(copy)
    (copy / "notes.txt").write_text("mine")
    first, second = s2cmc.open_catalogue(copy).scene.values[:2]
    answer = run("verify", copy)
    assert answer.code == 1
    assert f"hit: {first} (reflectance)\nhit: {second} (reflectance)\n" in answer.out
    planned = run("repair", copy, tiny / "release", "--dry-run")
    assert planned.code == 0
    assert f"would be rewritten: {SHARD.format(0)}\nwould be rewritten: {SHARD.format(1)}\n" in planned.out
    done = run("repair", copy, tiny / "release")
    assert done.out == planned.out.replace("would be ", "")
    assert done.out.splitlines()[2:] == [
        "foreign, and left alone: notes.txt",
        f"hit: {first} (reflectance)",
        f"hit: {second} (reflectance)",
        f"{copy}: 2 objects rewritten, 0 objects removed",
    ]
    answer = run("repair", copy, copy)
    assert answer.is_one_message("cannot be repaired", "holds no classification_tags.csv")


def test_a_bucket_is_repaired(tiny, bucket):
    bucket.upload(tiny / "store", "copy.zarr")
    content = bucket.get(f"copy.zarr/{SHARD.format(1)}")
    bucket.put(f"copy.zarr/{SHARD.format(0)}", content)
    bucket.put("copy.zarr/mask/c/9/0/0", content)
    bucket.delete("copy.zarr/coordinates.zip")
    url = f"{bucket.url}/copy.zarr"
    done = repair(url, str(tiny / "release"), access=bucket.access)
    assert done.rewritten == ("coordinates.zip", SHARD.format(0))
    assert done.removed == ("mask/c/9/0/0",)
    assert bucket.contents("copy.zarr/") == objects(tiny / "store")
    assert verify(url, str(tiny / "release"), access=bucket.access) == []
