"""Scenes of a store as files: which, under which names, whole or not at all, and back again."""

import csv
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import s2cmc
from s2cmc.conversion import export as room
from s2cmc.conversion.export import Exported, export
from s2cmc.conversion.folder import Folder
from s2cmc.conversion.verify import verify
from s2cmc.conversion.write import convert
from s2cmc.plot import CLASS_COLOURS
from s2cmc.schema import PIXEL_VARIABLES, MaskClass

pytestmark = pytest.mark.slow

WRITTEN = ("cog", "geotiff", "npz", "npy", "png")
"""Formats of files, which share one way of writing them; a smaller store has another, see test_subset.py."""


@pytest.fixture(scope="module")
def names(opened) -> list[str]:
    """Three scenes, of which one has a second mask, and one pixels that are not one-hot."""
    chosen = (np.flatnonzero(opened.has_alt_mask)[0], np.flatnonzero(opened.invalid_mask_pixels)[0], 6)
    return [str(opened.scene.values[i]) for i in sorted(chosen)]


def contents(folder: Path) -> dict[str, bytes]:
    """Files below a folder by path, without the journal."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".s2cmc-export/")}


@pytest.fixture(scope="module")
def whole(store, names, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """What uninterrupted exports of these scenes write, by format."""
    found = {}
    for name in WRITTEN:
        out = tmp_path_factory.mktemp(name)
        export(str(store), str(out), format=name, scenes=names)
        found[name] = contents(out)
    return found


def test_scenes_are_chosen_by_expression_split_and_name(store, catalogue, tmp_path):
    chosen = catalogue.clouds.select("open_water or cumulus", split="train").scene.values.tolist()
    assert 1 < len(chosen) < 10
    export(str(store), str(tmp_path / "a"), format="png", where="open_water or cumulus", split="train")
    assert sorted(path.name for path in (tmp_path / "a").glob("*T?????_????????T??????.png")) == sorted(
        f"{scene}.png" for scene in chosen
    )
    done = export(
        str(store), str(tmp_path / "b"), format="png", where="open_water or cumulus", split="train", scenes=chosen[:1]
    )
    assert done.scenes == 1


@pytest.mark.parametrize("name", WRITTEN)
def test_names_of_files_begin_with_the_product_id(whole, names, name):
    for path in whole[name]:
        if path not in ("classification_tags.csv", "SYNTHETIC.txt"):
            assert path.rpartition("/")[2].removeprefix("ALT_").startswith(tuple(names)), path
    if name in ("cog", "geotiff", "png"):
        order = [path[: len(names[0])] for path in sorted(whole[name])]
        assert order == sorted(order)
        assert set(order) == set(names)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"where": "snow_ice and not snow_ice"}, r"no scene of .* meets where 'snow_ice and not snow_ice'; .*nothing"),
        ({"scenes": []}, "no scene of .* meets scenes"),
        ({"where": "sno_ice"}, "sno_ice"),
        ({"split": "exam"}, "split 'exam' is none of 'train', 'test'"),
        ({"scenes": ["S2A_MSIL1C_2018"]}, "no scene 'S2A_MSIL1C_2018' in "),
        ({"format": "tiff"}, "format 'tiff' is none of 'cog', 'geotiff', 'npz', 'npy', 'png', 'zarr'"),
        ({"bands": ["B02", "B13"]}, "no band 'B13'; there are B01, B02"),
        ({"bands": ["B02", "B02"]}, "bands B02, B02: one of them stands there twice"),
        ({"bands": "B02"}, "bands 'B02' is no list of names"),
        ({"bands": []}, r"bands \[\] is no list of names"),
        ({"bands": ["B02"], "format": "npz"}, "'npz' holds all bands.*leave out `bands`"),
        ({"bands": ["B02"], "format": "npy"}, "'npy' holds all bands"),
        ({"bands": ["B02"], "format": "png"}, "'png' holds all bands"),
        ({"bands": ["B02"], "format": "zarr"}, "'zarr' holds all bands"),
    ],
)
def test_what_does_not_exist_is_one_error_and_writes_nothing(store, tmp_path, asked, said):
    with pytest.raises(s2cmc.QueryError, match=said):
        export(str(store), str(tmp_path / "out"), **asked)
    assert not (tmp_path / "out").exists()


def test_a_misspelt_scene_is_told_with_the_nearest(store, names, tmp_path):
    with pytest.raises(s2cmc.QueryError, match=rf"did you mean {names[0]}\?"):
        export(str(store), str(tmp_path / "out"), scenes=[names[0][:-1] + "x"])


def test_where_there_is_no_store_nothing_is_written(tmp_path):
    with pytest.raises(s2cmc.StoreError, match="holds no catalogue"):
        export(str(tmp_path / "none"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_there_is_kept_and_what_is_missing_written_again(store, names, whole, tmp_path, name):
    first = export(str(store), str(tmp_path), format=name, scenes=names)
    count, nbytes = len(whole[name]), sum(map(len, whole[name].values()))
    assert first == Exported(3, count, 0, nbytes)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    gone = tmp_path / min(whole[name])
    gone.unlink()
    assert export(str(store), str(tmp_path), format=name, scenes=names) == Exported(3, 1, count - 1, nbytes)
    assert contents(tmp_path) == whole[name]
    changed = {path for path, stamp in before.items() if path.stat().st_mtime_ns != stamp}
    assert {path for path in changed if ".s2cmc-export" not in path.parts} == {gone}


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_threads_changes_nothing(store, names, whole, tmp_path, workers):
    steps = []
    export(
        str(store),
        str(tmp_path),
        scenes=names[::-1],
        workers=workers,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert contents(tmp_path) == whole["cog"]
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_more_scenes_of_the_same_store_join_those_that_are_there(store, names, whole, tmp_path):
    export(str(store), str(tmp_path), scenes=names[:2])
    done = export(str(store), str(tmp_path), scenes=names)
    assert done.kept > 0
    assert contents(tmp_path) == whole["cog"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"format": "geotiff"}, "another format;"),
        ({"bands": ["B04"]}, "another bands;"),
        ({"format": "npz"}, "another format and scenes;"),
    ],
)
def test_another_choice_goes_to_another_place_or_replaces(store, names, tmp_path, asked, said):
    export(str(store), str(tmp_path / "out"), scenes=names)
    with pytest.raises(s2cmc.StoreError, match=f"holds an export of {said} choose another place, or use --overwrite"):
        export(str(store), str(tmp_path / "out"), scenes=names, **asked)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    export(str(store), str(tmp_path / "out"), scenes=names[:1], overwrite=True, **asked)
    export(str(store), str(tmp_path / "new"), scenes=names[:1], **asked)
    assert contents(tmp_path / "out") == contents(tmp_path / "new") | {"notes.txt": b"mine"}


def test_a_release_of_other_scenes_is_another(store, names, tmp_path):
    """Its table holds just these."""
    export(str(store), str(tmp_path), format="npy", scenes=names[:2])
    with pytest.raises(s2cmc.StoreError, match="an export of another scenes;"):
        export(str(store), str(tmp_path), format="npy", scenes=names)


def test_an_export_of_another_store_is_not_gone_on_with(release, store, names, tmp_path):
    convert(str(release), str(tmp_path / "other.zarr"), scenes=names)
    export(str(store), str(tmp_path / "out"), scenes=names)
    with pytest.raises(s2cmc.StoreError, match="an export of another store;"):
        export(str(tmp_path / "other.zarr"), str(tmp_path / "out"), scenes=names)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"files": []}'])
def test_a_damaged_journal_is_never_built_on(store, names, tmp_path, content):
    export(str(store), str(tmp_path), scenes=names[:1])
    (tmp_path / ".s2cmc-export" / "plan.json").write_bytes(content)
    with pytest.raises(s2cmc.StoreError, match="another store and format and bands"):
        export(str(store), str(tmp_path), scenes=names[:1])
    export(str(store), str(tmp_path), scenes=names[:1], overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_touched(store, tmp_path, overwrite):
    (tmp_path / "photograph.tif").write_bytes(b"mine")
    with pytest.raises(s2cmc.StoreError, match=r"holds no export of s2cmc, but photograph\.tif; choose another place"):
        export(str(store), str(tmp_path), overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["photograph.tif"]


def test_a_store_is_no_place_for_files(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    with pytest.raises(s2cmc.StoreError, match="holds no export of s2cmc"):
        export(str(copy), str(copy), overwrite=True)
    assert verify(str(copy)) == []


def test_of_two_runs_at_once_the_second_is_refused(store, names, tmp_path, monkeypatch):
    write_files = room._write_files

    def try_another(*args: object) -> None:
        monkeypatch.setattr(room, "_write_files", write_files)
        with pytest.raises(s2cmc.StoreError, match=r"another .* into .* is running; wait for it"):
            export(str(store), str(tmp_path), scenes=names)
        write_files(*args)

    monkeypatch.setattr(room, "_write_files", try_another)
    assert export(str(store), str(tmp_path), scenes=names, workers=1).kept == 0


@pytest.mark.parametrize("name", ["cog", "npz"])
def test_it_goes_on_after_a_failure_at_any_write(store, names, whole, tmp_path, monkeypatch, name):
    """What is there is whole: it equals what an uninterrupted run writes; a release has its table last."""
    put = Folder.put
    count = len(whole[name])
    for at in sorted({2, 3, 5, count // 2, count, count + 1}):  # the first write is that of the journal
        written = []

        def fail(self: Folder, key: str, value: bytes, *, new: bool = False) -> str:
            written.append(key)  # noqa: B023, of this round
            if len(written) >= at:  # noqa: B023
                raise OSError("no space left on device")
            return put(self, key, value, new=new)

        out = tmp_path / str(at)
        with monkeypatch.context() as patch:
            patch.setattr(Folder, "put", fail)
            with pytest.raises(s2cmc.StoreError, match=r"cannot be written: no space.*the same command resumes"):
                export(str(store), str(out), format=name, scenes=names, workers=1)
        found = contents(out)
        assert len(found) == at - 2
        assert found.items() <= whole[name].items()
        assert "classification_tags.csv" not in found or len(found) == count - 1  # SYNTHETIC.txt comes after it
        assert all(f"{path}.aux.xml" in found for path in found if path.endswith("mask.tif"))
    assert export(str(store), str(out), format=name, scenes=names).kept == count - 1
    assert contents(out) == whole[name]


def test_sigkill_at_random_moments_and_the_same_again(store, names, whole, tmp_path):
    code = "import sys; from s2cmc.conversion.export import export; a = sys.argv[1:]; "
    code += "export(a[0], a[1], scenes=a[2:], workers=2)"
    command = [sys.executable, "-c", code, store, tmp_path / "out", *names]
    moments = random.Random(2018)  # noqa: S311, no secret
    plan, killed = tmp_path / "out" / ".s2cmc-export" / "plan.json", 0
    for _ in range(2):
        before = plan.stat().st_mtime_ns if plan.exists() else 0
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        # Every run writes its plan anew before it writes files.
        while process.poll() is None and not (plan.exists() and plan.stat().st_mtime_ns > before):
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        output = process.communicate()[1]
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, output.decode()
        killed += 1
        finished = {path: value for path, value in contents(tmp_path / "out").items() if "#" not in path}
        assert finished.items() <= whole["cog"].items()
    assert killed, "no run was killed before it was complete"
    (tmp_path / "out" / f"{min(whole['cog'])}#1").write_bytes(b"half")  # a kill may leave such a one
    export(str(store), str(tmp_path / "out"), scenes=names)
    assert contents(tmp_path / "out") == whole["cog"]


@pytest.mark.parametrize("name", ["npz", "npy"])
def test_a_release_of_these_scenes_gives_the_same_store(release, store, names, tmp_path, name):
    export(str(store), str(tmp_path / "part"), format=name, scenes=names)
    convert(str(tmp_path / "part"), str(tmp_path / "back.zarr"))
    convert(str(release), str(tmp_path / "direct.zarr"), scenes=names)
    back, direct = (s2cmc.open_catalogue(tmp_path / f"{which}.zarr") for which in ("back", "direct"))
    assert verify(str(tmp_path / "direct.zarr"), str(tmp_path / "part")) == []
    of_the_files = ("date_created", "history", "source_fingerprint", "source_table_md5")
    for dataset in (back, direct):
        assert set(of_the_files) <= set(dataset.attrs)
        dataset.attrs = {key: value for key, value in dataset.attrs.items() if key not in of_the_files}
    assert back.identical(direct)
    for array in PIXEL_VARIABLES:
        for shard in (tmp_path / "direct.zarr" / array / "c").rglob("0"):
            if shard.is_file():
                other = tmp_path / "back.zarr" / shard.relative_to(tmp_path / "direct.zarr")
                assert other.read_bytes() == shard.read_bytes()


def test_a_release_has_the_published_files_of_the_chosen_scenes_alone(whole, names, opened):
    part = opened.sel(scene=names)
    expected = {"classification_tags.csv", "SYNTHETIC.txt"}
    for scene, doubly in zip(names, part.has_alt_mask.values, strict=True):
        expected |= {f"subscenes/{scene}.npz", f"masks/{scene}.npz", f"thumbnails/{scene}.png"}
        expected |= {f"shapefiles/{scene}/{scene}.{suffix}" for suffix in ("cpg", "dbf", "prj", "shp", "shx")}
        expected |= {f"alt_masks/ALT_{scene}.npz"} if doubly else set()
    assert set(whole["npz"]) == expected
    rows = list(csv.DictReader(whole["npz"]["classification_tags.csv"].decode().splitlines()))
    assert [row["scene"] for row in rows] == names
    assert [int(row["index"]) for row in rows] == part["index"].values.tolist()


def test_pictures_are_those_of_the_accessor(store, names, catalogue, tmp_path):
    export(str(store), str(tmp_path), format="png", scenes=names)
    part = catalogue.clouds.select().sel(scene=names)
    for i, scene in enumerate(names):
        with Image.open(tmp_path / f"{scene}.png") as image:
            assert image.mode == "RGB"
            expected = np.rint(255 * part.isel(scene=[i]).clouds.rgb()[0].transpose("y", "x", "rgb").values)
            np.testing.assert_array_equal(np.asarray(image), expected)
        for name in ("mask", "alt_mask") if part.has_alt_mask[i] else ("mask",):
            with Image.open(tmp_path / f"{scene}_{name}.png") as image:
                assert (image.mode, image.info["transparency"]) == ("P", 255)
                np.testing.assert_array_equal(np.asarray(image), part[name][i])
                colours = np.array(image.getpalette()).reshape(-1, 3)
                assert {label: tuple(colours[label].tolist()) for label in MaskClass} == CLASS_COLOURS


def test_pictures_of_floats_are_the_same(release, names, whole, tmp_path):
    convert(str(release), str(tmp_path / "floats.zarr"), reflectance="float32", scenes=names)
    export(str(tmp_path / "floats.zarr"), str(tmp_path / "out"), format="png")
    assert contents(tmp_path / "out") == whole["png"]


def test_every_shard_of_reflectance_is_asked_for_once(store, names, serve, whole, tmp_path):
    server = serve(store.parent)
    export(f"{server.url}/{store.name}", str(tmp_path), scenes=names)
    assert contents(tmp_path) == whole["cog"]
    asked = Counter(path for _, path, _ in server.log if "/reflectance/c/" in path)
    assert sorted(asked.values()) == [1, 1, 1]


def test_files_go_into_a_bucket_too(store, names, whole, bucket):
    out = f"{bucket.url}/tiles"
    first = export(str(store), out, scenes=names, out_access=bucket.access)
    again = export(str(store), out, scenes=names, out_access=bucket.access)
    assert (first.written, again.kept) == (len(whole["cog"]), len(whole["cog"]))
    found = bucket.contents("tiles/")
    assert json.loads(found.pop(".s2cmc-export/plan.json"))["identity"]["format"] == "cog"
    assert found == whole["cog"]
