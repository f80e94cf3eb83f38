"""`repair` makes a damaged store what a fresh conversion would be, and touches nothing else."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.accidents import SHARD, flip, objects, swap, without_dates
from helpers.answers import Answer
from helpers.sealing import reseal

import s2cmc
from s2cmc.conversion.repair.repairs import Repair, repair
from s2cmc.conversion.verify.verification import verify
from s2cmc.store.format import compact_json

pytestmark = pytest.mark.slow


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
def test_what_is_hit_is_made_anew_byte_for_byte(four, copy, spoil, rewritten):
    spoil(copy)
    assert set(repair(str(copy), str(four / "release")).rewritten) == rewritten
    assert objects(copy) == objects(four / "store")


def test_a_dry_run_says_the_same_and_writes_nothing(four, copy):
    swap(copy)
    flip(copy / "cirrus/c/0")
    before = objects(copy)
    planned = repair(str(copy), str(four / "release"), dry_run=True)
    assert objects(copy) == before
    assert not (copy / ".s2cmc-conversion").exists()
    assert repair(str(copy), str(four / "release")) == planned
    assert verify(str(copy), str(four / "release")) == []


def test_what_is_whole_is_not_written(four, copy):
    times = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert repair(str(copy), str(four / "release")) == Repair(str(copy), (), (), (), {})
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
def test_a_root_is_made_anew_with_a_new_date(four, copy, spoil):
    shutil.copy(four / "two" / "zarr.json", copy.parent / "other.json")
    spoil(copy / "zarr.json")
    flip(copy / SHARD.format(3))
    done = repair(str(copy), str(four / "release"))
    assert done.rewritten == (SHARD.format(3), "zarr.json")
    found, expected = objects(copy), objects(four / "store")
    assert without_dates(found.pop("zarr.json")) == without_dates(expected.pop("zarr.json"))
    assert found == expected


def test_all_that_is_not_a_shard_is_made_anew(four, copy):
    """Nothing is left to tell of which scenes it is: those of the whole release."""
    for path in copy.rglob("*"):
        if path.is_file() and "/c/0/0" not in path.as_posix() and not path.as_posix().endswith("/0/0/0"):
            path.unlink()
    repair(str(copy), str(four / "release"))
    assert objects(copy).keys() == objects(four / "store").keys()
    assert verify(str(copy), str(four / "release")) == []


@pytest.mark.parametrize("lost", ["zarr.json", "coordinates.zip", "scene/c/0"])
def test_a_part_of_the_release_stays_that_part(four, tmp_path, lost):
    copy = Path(shutil.copytree(four / "two", tmp_path / "copy.zarr"))
    (copy / lost).unlink()
    swap(copy)
    done = repair(str(copy), str(four / "release"))
    assert set(done.rewritten) == {lost, SHARD.format(0), SHARD.format(1)}
    assert len(done.scenes) == 2
    assert verify(str(copy), str(four / "release")) == []


def test_it_says_which_scenes_were_hit(four, copy):
    scenes = s2cmc.open_catalogue(copy).scene.values
    flip(copy / SHARD.format(2))
    os.truncate(copy / "alt_mask/c/0/0/0", 20)
    done = repair(str(copy), str(four / "release"))
    assert done.scenes == dict.fromkeys(scenes, ("alt_mask",)) | {scenes[2]: ("reflectance", "alt_mask")}


def test_of_a_shard_of_many_scenes_the_one_of_the_damaged_chunk_is_hit(release, store, tmp_path):
    copy = Path(shutil.copytree(store, tmp_path / "copy.zarr"))
    flip(copy / "mask/c/0/0/0", 0.0)  # in the first of 10 chunks
    scenes = s2cmc.open_catalogue(copy).scene.values
    (problem,) = verify(str(copy))
    assert problem.hit == ((scenes[0], "mask"),)
    assert list(repair(str(copy), str(release)).scenes) == [scenes[0]]
    assert verify(str(copy), str(release)) == []


def test_objects_of_ours_go_and_files_of_others_stay(four, copy):
    shutil.copytree(copy / "mask/c/0", copy / "mask/c/7")
    (copy / "mask/c/0/0/0#1").write_bytes(b"of a killed run")
    strange = ["notes.txt", "mask/notes.txt", "mine/zarr.json", "mask/c/0/0/mine"]
    (copy / "mine").mkdir()
    for name in strange:
        (copy / name).write_text("mine")
    done = repair(str(copy), str(four / "release"))
    assert done.removed == ("mask/c/0/0/0#1", "mask/c/7/0/0")
    assert done.foreign == tuple(sorted(strange))
    assert objects(copy).keys() - objects(four / "store").keys() == set(strange)


def test_metadata_that_were_sealed_again_are_made_anew(four, copy):
    """By somebody who knows how; only what is made from the release tells."""

    def rescale(document: dict[str, Any]) -> None:
        metadata = document["consolidated_metadata"]["metadata"]["reflectance"]
        metadata["attributes"]["scale_factor"] = 0.001
        (copy / "reflectance" / "zarr.json").write_bytes(compact_json(metadata))

    reseal(copy, rescale)
    repair(str(copy), str(four / "release"))
    assert objects(copy) == objects(four / "store")


def test_without_digests_pixels_are_compared_with_the_release(four, copy):
    """That two scenes changed places only the release tells then."""
    (copy / "shards.json").unlink()
    swap(copy)
    assert s2cmc.open_catalogue(copy).sizes["scene"] == 4
    assert [str(problem) for problem in verify(str(copy))] == ["missing object: shards.json"]
    done = repair(str(copy), str(four / "release"))
    assert done.rewritten == (SHARD.format(0), SHARD.format(1), "shards.json")
    assert objects(copy) == objects(four / "store")


def test_verify_tells_without_the_release_that_scenes_changed_places(copy, four):
    scenes = s2cmc.open_catalogue(copy).scene.values
    swap(copy)
    problems = verify(str(copy))
    assert [problem.hit for problem in problems] == [((scenes[0], "reflectance"),), ((scenes[1], "reflectance"),)]
    assert all("is whole, but is not the one that was written there" in problem for problem in problems)


def test_verify_tells_a_store_mixed_from_two(copy, four):
    """Thumbnails of another store; its scenes are others, its shapes the same."""
    other = four / "two" / "thumbnail" / "c" / "0" / "0" / "0" / "0"
    shutil.copy(other, copy / "thumbnail" / "c" / "0" / "0" / "0" / "0")
    (problem,) = verify(str(copy))
    assert "thumbnail/c/0/0/0/0 is" in problem
    shutil.copy(four / "two" / "zarr.json", copy / "zarr.json")
    with pytest.raises(s2cmc.StoreError, match=r"coordinates\.zip is damaged, or of another store"):
        verify(str(copy))


def test_the_command_says_what_it_does(four, copy, run: Callable[..., Answer]):
    swap(copy)
    (copy / "notes.txt").write_text("mine")
    first, second = s2cmc.open_catalogue(copy).scene.values[:2]
    answer = run("verify", copy)
    assert answer.code == 1
    assert f"hit: {first} (reflectance)\nhit: {second} (reflectance)\n" in answer.out
    planned = run("repair", copy, four / "release", "--dry-run")
    assert planned.code == 0
    assert f"would be rewritten: {SHARD.format(0)}\nwould be rewritten: {SHARD.format(1)}\n" in planned.out
    done = run("repair", copy, four / "release")
    assert done.out == planned.out.replace("would be ", "")
    assert done.out.splitlines()[2:] == [
        "foreign, and left alone: notes.txt",
        f"hit: {first} (reflectance)",
        f"hit: {second} (reflectance)",
        f"{copy}: 2 objects rewritten, 0 objects removed",
    ]
    answer = run("repair", copy, copy)
    assert answer.is_one_message("cannot be repaired", "holds no classification_tags.csv")


def test_a_bucket_is_repaired(four, bucket):
    bucket.upload(four / "store", "copy.zarr")
    content = bucket.get(f"copy.zarr/{SHARD.format(1)}")
    bucket.put(f"copy.zarr/{SHARD.format(0)}", content)
    bucket.put("copy.zarr/mask/c/9/0/0", content)
    bucket.delete("copy.zarr/coordinates.zip")
    url = f"{bucket.url}/copy.zarr"
    done = repair(url, str(four / "release"), access=bucket.access)
    assert done.rewritten == ("coordinates.zip", SHARD.format(0))
    assert done.removed == ("mask/c/9/0/0",)
    assert bucket.contents("copy.zarr/") == objects(four / "store")
    assert verify(url, str(four / "release"), access=bucket.access) == []
