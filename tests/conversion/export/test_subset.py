"""A smaller store is the one that conversion of these scenes alone would have made, and is written as safely."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

import s2cmc
from s2cmc.conversion.convert import conversion
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export import subset
from s2cmc.conversion.export.releases import restore
from s2cmc.conversion.export.scenes import export
from s2cmc.conversion.verify.verification import verify
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow

CHOSEN = [0, 3, 4, 7, 9]


@pytest.fixture(scope="module")
def names(opened) -> list[str]:
    return [str(scene) for scene in opened.scene.values[CHOSEN]]


@pytest.fixture(scope="module")
def small(store, names, tmp_path_factory) -> Path:
    """Five scenes of `store`. Not to be changed."""
    out = tmp_path_factory.mktemp("small") / "small.zarr"
    export(str(store), str(out), format="zarr", scenes=names)
    return out


def contents(store: Path) -> dict[str, bytes]:
    """Objects of a store by key, but those that tell when it was made."""
    keys = {path.relative_to(store).as_posix(): path for path in store.rglob("*") if path.is_file()}
    return {key: path.read_bytes() for key, path in keys.items() if key != "zarr.json"}


@pytest.fixture
def interrupted(store, names, tmp_path, monkeypatch) -> Path:
    """A smaller store that failed after its third shard."""
    calls = []

    def fail_later(*args: object) -> None:
        calls.append(args)
        if len(calls) > 3:
            raise OSError("no space left on device")
        copy(*args)

    copy = subset._copy
    with monkeypatch.context() as patch:
        patch.setattr(subset, "_copy", fail_later)
        with pytest.raises(s2cmc.StoreError, match=r"no space left.*the same command resumes"):
            export(str(store), str(tmp_path / "part.zarr"), format="zarr", scenes=names, workers=1)
    return tmp_path / "part.zarr"


@pytest.mark.parametrize("reflectance", ["uint16", "float32"])
def test_every_object_is_that_of_a_conversion_of_these_scenes(release, names, tmp_path, reflectance):
    """Pixels, labels with their bits, coordinates, metadata of arrays: byte for byte."""
    convert(str(release), str(tmp_path / "all.zarr"), reflectance=reflectance)
    convert(str(release), str(tmp_path / "converted.zarr"), scenes=names, reflectance=reflectance)
    export(str(tmp_path / "all.zarr"), str(tmp_path / "exported.zarr"), format="zarr", scenes=names)
    assert contents(tmp_path / "exported.zarr") == contents(tmp_path / "converted.zarr")


def test_masks_of_two_dtypes_go_back_to_what_they_were(store, names, catalogue, tmp_path):
    """Where no chosen scene has a second mask, their dtype is that of the first, as conversion has it."""
    restore(str(store), str(tmp_path / "release"), layout="folder")
    for path in (tmp_path / "release" / "alt_masks").iterdir():
        np.save(path, np.load(path).astype("uint8"))
    convert(str(tmp_path / "release"), str(tmp_path / "all.zarr"))
    for doubly in (True, False):
        chosen = [name for name in names if catalogue.has_alt_mask.sel(scene=name) == doubly]
        convert(str(tmp_path / "release"), str(tmp_path / f"{doubly}.zarr"), scenes=chosen)
        export(str(tmp_path / "all.zarr"), str(tmp_path / f"{doubly}-part.zarr"), format="zarr", scenes=chosen)
        assert contents(tmp_path / f"{doubly}-part.zarr") == contents(tmp_path / f"{doubly}.zarr")


def test_it_opens_as_these_scenes_of_the_whole(small, catalogue):
    found = s2cmc.open_catalogue(small)
    found.attrs = catalogue.attrs
    assert found.drop_vars("group").identical(catalogue.isel(scene=CHOSEN).drop_vars("group"))


def test_bits_of_pixels_that_are_not_one_hot_are_kept(small, store):
    found, whole = (zarr.open_group(path, mode="r")["mask"][:] for path in (small, store))
    assert (found >= 240).sum() == 5
    np.testing.assert_array_equal(found, whole[CHOSEN])


def test_dependence_groups_are_numbered_anew(small, store):
    """Scenes 6 and 7 are of one tile, 4 and 5 of one date and orbit; of each pair only one is left."""
    assert s2cmc.open_catalogue(store).group.values.tolist() != list(range(10))
    assert s2cmc.open_catalogue(small).group.values.tolist() == [0, 1, 2, 3, 4]


def test_it_says_what_it_is_a_part_of(small, store):
    found, whole = s2cmc.open_catalogue(small).attrs, s2cmc.open_catalogue(store).attrs
    digest = zarr.open_group(store, mode="r").attrs["metadata_sha256"]
    assert found["subset"].startswith(f"5 of 10 scenes of the store whose metadata_sha256 is {digest}; ")
    assert found["history"].splitlines()[0] == whole["history"]
    assert "5 of 10 scenes exported by s2cmc" in found["history"].splitlines()[1]
    for name in ("source_table_md5", "source_fingerprint", "converter", "synthetic", "title"):
        assert found[name] == whole[name]
    times = s2cmc.open_catalogue(small).time.values.astype("datetime64[s]")
    assert (found["time_coverage_start"], found["time_coverage_end"]) == (f"{min(times)}Z", f"{max(times)}Z")


def test_it_is_proved_alone_and_against_the_release(small, release):
    assert verify(str(small)) == []
    assert verify(str(small), str(release)) == []


def test_a_part_of_a_part_is_a_part_of_the_whole(small, store, names, tmp_path):
    export(str(small), str(tmp_path / "twice.zarr"), format="zarr", scenes=names[1:3])
    export(str(store), str(tmp_path / "once.zarr"), format="zarr", scenes=names[1:3])
    assert contents(tmp_path / "twice.zarr") == contents(tmp_path / "once.zarr")
    assert len(s2cmc.open_catalogue(tmp_path / "twice.zarr").history.splitlines()) == 3


def test_scenes_are_gathered_over_the_shards_of_masks(tmp_path):
    """A shard of masks holds 64 scenes, and a chunk 8: four of one, three of the next, all of others."""
    convert(str(make_release(tmp_path / "release", scenes=75, size=16)), str(tmp_path / "all.zarr"), thumbnails=False)
    chosen = [0, 1, 2, 3, 9, 11, 13, *range(16, 74)]
    names = [str(scene) for scene in s2cmc.open_catalogue(tmp_path / "all.zarr").scene.values[chosen]]
    export(str(tmp_path / "all.zarr"), str(tmp_path / "part.zarr"), format="zarr", scenes=names[::-1])
    found, whole = (zarr.open_group(tmp_path / name, mode="r") for name in ("part.zarr", "all.zarr"))
    assert found["mask"].shape[0] == 65
    for name in ("reflectance", "mask", "alt_mask", "scene", "index"):
        np.testing.assert_array_equal(found[name][:], whole[name][:][chosen])
    assert verify(str(tmp_path / "part.zarr")) == []


def test_without_thumbnails_there_are_none(release, names, tmp_path):
    convert(str(release), str(tmp_path / "all.zarr"), thumbnails=False)
    export(str(tmp_path / "all.zarr"), str(tmp_path / "part.zarr"), format="zarr", scenes=names)
    assert "thumbnail" not in s2cmc.open_catalogue(tmp_path / "part.zarr")
    assert verify(str(tmp_path / "part.zarr")) == []


def test_until_it_is_complete_it_does_not_open_and_says_how_to_finish(interrupted, store, names):
    command = f"s2cmc export {store} {interrupted} --format zarr --scenes {','.join(names)}"
    with pytest.raises(s2cmc.UnfinishedStoreError) as said:
        s2cmc.open_catalogue(interrupted)
    assert f"finish it with `{command}`" in str(said.value)


def test_it_goes_on_where_it_was(interrupted, store, names, small):
    steps = []
    progress = lambda done, total: steps.append((done, total))  # noqa: E731
    done = export(str(store), str(interrupted), format="zarr", scenes=names, progress=progress)
    assert (done.scenes, done.kept, done.written) == (5, 3, 5)  # 5 of reflectance, and one of each other array
    assert steps == [(n, 8) for n in range(3, 9)]
    assert done.nbytes == sum(path.stat().st_size for path in interrupted.rglob("*") if path.is_file())
    assert contents(interrupted) == contents(small)


def test_what_was_started_otherwise_is_not_gone_on_with(interrupted, store, names):
    with pytest.raises(s2cmc.StoreError, match="started with another scenes and layout; finish it with `s2cmc export"):
        export(str(store), str(interrupted), format="zarr", scenes=names[:2])
    export(str(store), str(interrupted), format="zarr", scenes=names[:2], overwrite=True)
    assert s2cmc.open_catalogue(interrupted).scene.values.tolist() == names[:2]
    assert verify(str(interrupted)) == []


def test_other_places_are_refused(store, small, names, tmp_path):
    with pytest.raises(s2cmc.StoreError, match="finished store; use --overwrite"):
        export(str(store), str(small), format="zarr", scenes=names)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(s2cmc.StoreError, match=r"not empty and holds no catalogue.*choose another place"):
        export(str(store), str(tmp_path), format="zarr", overwrite=True)
    with pytest.raises(s2cmc.ArgumentError, match="expected a local path, or s3://"):
        export(str(store), "http://127.0.0.1:9/out.zarr", format="zarr")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_store_that_was_converted_is_never_replaced(release, store, small, names, tmp_path, monkeypatch, overwrite):
    convert(str(release), str(tmp_path / "finished"), scenes=names[:2])
    monkeypatch.setattr(conversion, "encode_block", raise_no_space)
    with pytest.raises(s2cmc.StoreError, match="no space left"):
        convert(str(release), str(tmp_path / "started"), scenes=names[:2])
    for name in ("finished", "started"):
        before = {path: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for source in (store, small):
            with pytest.raises(s2cmc.StoreError, match=rf"{name} is a store that was converted, and no export; remove"):
                export(str(source), tmp_path / name, format="zarr", overwrite=overwrite)
        assert {path: path.read_bytes() for path in before} == before
        assert {path for path in (tmp_path / name).rglob("*") if path.is_file()} == set(before)


def raise_no_space(*_: object) -> None:
    raise OSError("no space left on device")


def test_an_export_is_replaced_where_that_is_asked_for(store, small, names, tmp_path):
    copy = shutil.copytree(small, tmp_path / "copy.zarr")
    export(str(store), copy, format="zarr", scenes=names[:2], overwrite=True)
    assert s2cmc.open_catalogue(copy).scene.values.tolist() == names[:2]


def test_only_what_a_killed_run_was_writing_is_swept(interrupted, store, names, small):
    mine = {"issue#17", "mask/issue#17", "photos/c/a#1"}
    half = {"mask/c/0/0/0#1", "time/c/0#2", "time/zarr.json#3", "zarr.json#1", ".s2cmc-conversion/plan.json#7"}
    for key in mine | half:
        (interrupted / key).parent.mkdir(parents=True, exist_ok=True)
        (interrupted / key).write_bytes(b"half")
    export(str(store), str(interrupted), format="zarr", scenes=names)
    assert set(contents(interrupted)) == set(contents(small)) | mine


def test_a_store_is_never_written_over_itself(store, names, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    with pytest.raises(s2cmc.StoreError, match="is the store that is to be exported"):
        export(str(copy), str(copy), format="zarr", scenes=names, overwrite=True)
    assert verify(str(copy)) == []


def test_a_damaged_shard_is_an_error_and_nothing_opens(store, names, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    shard = copy / "reflectance/c/4/0/0/0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 8
    shard.write_bytes(content)
    with pytest.raises(s2cmc.errors.DamagedError, match="reflectance/c/4/0/0/0 is damaged"):
        export(str(copy), str(tmp_path / "out.zarr"), format="zarr", scenes=names)
    with pytest.raises(s2cmc.UnfinishedStoreError):
        s2cmc.open_catalogue(tmp_path / "out.zarr")


@pytest.mark.long
def test_sigkill_and_the_same_command_again(store, names, small, tmp_path):
    out = tmp_path / "killed.zarr"
    code = "import sys; from s2cmc.conversion import export; a = sys.argv[1:]; "
    code += "export(a[0], a[1], format='zarr', scenes=a[2:], workers=1)"
    killed = 0
    for shards in (1, 4):
        process = subprocess.Popen([sys.executable, "-c", code, store, out, *names], stderr=subprocess.PIPE)
        done = out / ".s2cmc-conversion" / "done"
        while process.poll() is None and not (done.is_dir() and len(list(done.iterdir())) >= shards):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL and not (out / "zarr.json").exists()
    assert killed, "no run was killed before it was complete"
    if not (out / "zarr.json").exists():
        export(str(store), str(out), format="zarr", scenes=names)
    assert contents(out) == contents(small)


def test_from_bucket_to_bucket(bucket, store, small, names):
    source = bucket.upload(store, "all.zarr")
    out = f"{bucket.url}/part.zarr"
    export(source, out, format="zarr", scenes=names, access=bucket.access)
    found = bucket.contents("part.zarr/")
    assert {key: value for key, value in found.items() if key != "zarr.json"} == contents(small)
    assert verify(out, access=bucket.access) == []
