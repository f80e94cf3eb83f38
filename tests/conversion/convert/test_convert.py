"""A release in any published form becomes the same store, and nothing of it is lost."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export.releases import restore
from s2cmc.conversion.source import containers
from s2cmc.conversion.targets.journal import Target
from s2cmc.conversion.verify.verification import verify
from s2cmc.synthetic.make import SampleScene, make_release, make_scene, write_release
from s2cmc.synthetic.table import quirk_scenes, sample_table

pytestmark = pytest.mark.slow


def scene_of(i: int, size: int = 16, **changes: object) -> SampleScene:
    return replace(make_scene(sample_table(6).iloc[i].to_dict(), size, seed=0), **changes)


def pixels_of(store: Path) -> dict[str, bytes]:
    """Every object but those that hold the time of conversion."""
    files = (path for path in store.rglob("*") if path.is_file() and path != store / "zarr.json")
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


@pytest.mark.parametrize("arrays", [pytest.param("npy", marks=pytest.mark.slow), "npz"])
@pytest.mark.parametrize("layout", ["zip", "folder"])
def test_every_layout_gives_the_same_store(layout, arrays, release, store, tmp_path):
    restore(str(store), str(tmp_path / "other"), layout=layout, arrays=arrays)
    convert(str(tmp_path / "other"), str(tmp_path / "other.zarr"), workers=3)
    assert pixels_of(tmp_path / "other.zarr") == pixels_of(store)
    assert verify(str(tmp_path / "other.zarr"), str(release)) == []


def test_folders_and_zips_mix(store, release, tmp_path):
    """Masks in a folder of npz, the rest in zips of npy."""
    mixed = tmp_path / "mixed"
    shutil.copytree(release, mixed)
    restore(str(store), str(tmp_path / "folders"), layout="folder", arrays="npz")
    (mixed / "masks.zip").unlink()
    shutil.copytree(tmp_path / "folders" / "masks", mixed / "masks")
    convert(str(mixed), str(tmp_path / "mixed.zarr"))
    assert verify(str(tmp_path / "mixed.zarr"), str(release)) == []


def test_a_remote_release_is_read_in_place(release, store, serve, tmp_path, monkeypatch):
    """Over HTTP: a large zip by ranges, one for each member; a small one whole, once."""
    server = serve(release.parent)
    sizes = {path.name: path.stat().st_size for path in release.glob("*.zip")}
    monkeypatch.setattr(containers, "_SMALL", sizes["subscenes.zip"])
    convert(f"{server.url}/release", str(tmp_path / "remote.zarr"))
    assert pixels_of(tmp_path / "remote.zarr") == pixels_of(store)
    fetched = {
        name: [n for verb, path, n in server.log if verb == "GET" and path.endswith(f"/{name}")] for name in sizes
    }
    # The first scene is read twice; the directory at the end takes three small requests.
    assert len(fetched["subscenes.zip"]) == 10 + 1 + 3
    assert max(fetched["subscenes.zip"]) < sizes["subscenes.zip"] / 5
    for name in ("masks.zip", "alt_masks.zip", "shapefiles.zip", "thumbnails.zip"):
        assert fetched[name] == [sizes[name]]


def test_the_store_holds_what_the_release_holds(release, store, catalogue):
    table = pd.read_csv(release / "classification_tags.csv")
    for column in table:
        stored = catalogue[column.replace("/", "_")].to_numpy()
        np.testing.assert_array_equal(stored, table[column].to_numpy().astype(stored.dtype))
    assert catalogue.attrs["synthetic"] == "true"
    assert "doi" not in catalogue.attrs
    thumbnails = np.array(catalogue.thumbnail)
    assert thumbnails.shape == (10, 32, 32, 3)
    assert thumbnails.any(axis=(1, 2, 3)).all()


def test_quirks_are_kept_and_recorded(release, catalogue):
    quirks = quirk_scenes(pd.read_csv(release / "classification_tags.csv"))
    ds = catalogue.sel(scene=list(quirks.values())).assign_coords(scene=list(quirks))
    assert list(ds.scene[~ds.percentages_agree.values].values) == ["shadow_only_in_table", "mask_not_one_hot"]
    assert list(ds.scene[~ds.tags_consistent.values].values) == ["tags_without_cloud"]
    assert list(ds.scene[~ds.shadows_consistent.values].values) == ["shadow_though_unmarked"]
    assert ds.invalid_mask_pixels.sel(scene="mask_not_one_hot") == 5
    assert (ds.mask.sel(scene="mask_not_one_hot") == 255).sum() == 5
    assert ds.zero_pixels.sel(scene="odd_pixels") == 5
    assert ds.saturated_pixels.sel(scene="odd_pixels") == 3
    groups = ds.group.to_series()
    assert groups["same_tile_first"] == groups["same_tile_second"]
    assert groups["odd_pixels"] == groups["overcast_without_surface"]


def test_the_report_says_what_was_found(release, tmp_path):
    report = convert(str(release), str(tmp_path / "store.zarr"))
    assert report.scenes == 10
    assert report.source_nbytes == 64 * 64 * (10 * 13 * 4 + 13 * 3)
    assert report.nbytes == sum(path.stat().st_size for path in (tmp_path / "store.zarr").rglob("*") if path.is_file())
    text = "\n".join(report.lines())
    assert "mask pixels are not one-hot" in text
    assert "percentages of the table are not those of the mask, in 2 of 10 scenes" in text
    written = json.loads(report.to_json())
    quirks = quirk_scenes(pd.read_csv(release / "classification_tags.csv"))
    assert written["oddities"]["invalid_mask_pixels"] == {quirks["mask_not_one_hot"]: 5}
    assert written["oddities"]["tags_consistent"] == {quirks["tags_without_cloud"]: False}


def test_sizes_come_from_the_data(tmp_path):
    make_release(tmp_path / "release", scenes=2, size=37)
    convert(str(tmp_path / "release"), str(tmp_path / "store.zarr"))
    ds = s2cmc.open_catalogue(tmp_path / "store.zarr")
    assert dict(ds.sizes) | {"y": 37, "x": 37, "scene": 2, "band": 13} == dict(ds.sizes)
    assert verify(str(tmp_path / "store.zarr"), str(tmp_path / "release")) == []


def test_a_subset_keeps_the_order_of_the_table(release, catalogue, tmp_path):
    wanted = [catalogue.scene.values[i] for i in (7, 2)]
    convert(str(release), str(tmp_path / "store.zarr"), scenes=wanted)
    assert list(s2cmc.open_catalogue(tmp_path / "store.zarr").scene.values) == wanted[::-1]
    assert verify(str(tmp_path / "store.zarr"), str(release)) == []


def test_optional_parts_may_be_absent(release, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(release, bare)
    for part in ("alt_masks", "shapefiles", "thumbnails"):
        (bare / f"{part}.zip").unlink()
    report = convert(str(bare), str(tmp_path / "store.zarr"))
    assert [line for line in report.lines() if line.startswith("absent")] == [
        "absent: alt_masks of 3 of 3 scenes that should have one",
        "absent: shapefiles of 10 of 10 scenes that should have one",
        "absent: thumbnails of 10 of 10 scenes that should have one",
    ]
    ds = s2cmc.open_catalogue(tmp_path / "store.zarr")
    assert "thumbnail" not in ds
    assert (ds.alt_mask == 255).all()
    assert np.isnan(ds.x_origin).all()
    assert (ds.outline_margin == -1).all()
    assert verify(str(tmp_path / "store.zarr"), str(bare)) == []


def test_thumbnails_can_be_left_out(release, tmp_path):
    convert(str(release), str(tmp_path / "store.zarr"), thumbnails=False)
    assert "thumbnail" not in s2cmc.open_catalogue(tmp_path / "store.zarr")
    assert verify(str(tmp_path / "store.zarr"), str(release)) == []


def test_all_dn_survive(tmp_path):
    """All 65,536 DN, as float32 reflectance, through convert, open and restore."""
    dn = np.resize(np.arange(65_536, dtype="uint16"), (72, 72, 13))
    write_release(tmp_path / "release", [scene_of(0, 72, reflectance=dn / np.float32(10_000))])
    convert(str(tmp_path / "release"), str(tmp_path / "store.zarr"))
    opened = s2cmc.open_catalogue(tmp_path / "store.zarr").reflectance[0].to_numpy()
    assert opened.dtype == np.float32
    np.testing.assert_array_equal(opened.view("uint32"), (dn / np.float32(10_000)).view("uint32"))
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "store.zarr", mode="r")["reflectance"][0], dn)


def test_lossy_values_stop_their_scene_and_float32_stores_them(tmp_path):
    reflectance = scene_of(1).reflectance.copy()
    reflectance[3, 4, 10] = np.nan
    reflectance[5, :, 0] += np.float32(0.00004)
    release = write_release(tmp_path / "release", [scene_of(0), scene_of(1, reflectance=reflectance)])
    scene = scene_of(1).row["scene"]
    with pytest.raises(
        s2cmc.ReleaseError,
        match=rf"1 scenes.*\n.*{scene}: .*B01: 16 pixels, the first at y=5, x=0 is .*; "
        r"B10: 1 pixels, the first at y=3, x=4 is nan.*--reflectance float32",
    ):
        convert(str(release), str(tmp_path / "store.zarr"))
    with pytest.raises(s2cmc.UnfinishedStoreError, match="s2cmc convert"):
        s2cmc.open_catalogue(tmp_path / "store.zarr")
    convert(str(release), str(tmp_path / "floats.zarr"), reflectance="float32")
    stored = s2cmc.open_catalogue(tmp_path / "floats.zarr").reflectance[1].to_numpy()
    np.testing.assert_array_equal(stored.view("uint32"), reflectance.view("uint32"))
    assert list(s2cmc.open_catalogue(tmp_path / "floats.zarr").nonfinite_pixels.values) == [0, 1]
    assert verify(str(tmp_path / "floats.zarr"), str(release)) == []


def test_every_problem_is_reported_at_once(tmp_path):
    scenes = [
        scene_of(0),
        scene_of(1, reflectance=scene_of(1).reflectance - np.float32(1)),
        scene_of(2, mask=scene_of(2).mask * np.uint8(2)),
        scene_of(3, alt_mask=scene_of(3).mask * np.float32(0.5)),
    ]
    with pytest.raises(s2cmc.ReleaseError, match="3 scenes or arrays cannot be stored") as caught:
        convert(str(write_release(tmp_path / "release", scenes)), str(tmp_path / "store.zarr"))
    for i, fault in enumerate(
        [
            "are no reflectance",
            "values of its array in masks are neither 0 nor 1",
            "values of its array in alt_masks are neither 0 nor 1",
        ],
        start=1,
    ):
        assert any(scenes[i].row["scene"] in line for line in caught.value.problems), fault
        assert caught.match(fault)


def test_a_finished_store_is_not_overwritten_unasked(release, store, tmp_path):
    copy = tmp_path / "store.zarr"
    shutil.copytree(store, copy)
    with pytest.raises(s2cmc.StoreError, match="finished store; use --overwrite"):
        convert(str(release), str(copy))
    assert verify(str(copy), str(release)) == []
    scenes = s2cmc.open_catalogue(copy).scene.values[:2]
    convert(str(release), str(copy), scenes=list(scenes), overwrite=True)
    assert s2cmc.open_catalogue(copy).sizes["scene"] == 2
    assert verify(str(copy), str(release)) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.zarr"]


def test_a_folder_of_something_else_is_never_touched(release, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(s2cmc.StoreError, match="holds no catalogue of s2cmc; choose another place"):
            convert(str(release), str(tmp_path / "thesis"), overwrite=overwrite)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_masks_without_loss_of_their_dtype(tmp_path):
    scenes = [scene_of(i, mask=scene_of(i).mask.astype("uint8")) for i in range(2)]
    release = write_release(tmp_path / "release", scenes)
    convert(str(release), str(tmp_path / "store.zarr"))
    restore(str(tmp_path / "store.zarr"), str(tmp_path / "back"), layout="folder")
    restored = np.load(tmp_path / "back" / "masks" / f"{scenes[0].row['scene']}.npy")
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, scenes[0].mask)


def test_oddities_of_the_listing_are_said_before_anything_is_written(release, tmp_path, caplog, monkeypatch):
    copy = Path(shutil.copytree(release, tmp_path / "release"))
    (copy / "thumbnails.zip").unlink()

    def full(*args: object, **how: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Target, "begin", full)
    with pytest.raises(s2cmc.StoreError, match="cannot be written: no space left on device"):
        convert(str(copy), str(tmp_path / "store.zarr"))
    assert caplog.messages == ["absent: thumbnails of 10 of 10 scenes that should have one"]
    assert not (tmp_path / "store.zarr").exists()


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_scenes(tmp_path):
    """Peak memory of the command, one worker: one scene at a time, whatever their number."""
    peaks = []
    for count in (2, 8):
        make_release(tmp_path / f"{count}", scenes=count, size=400)
        code = (
            "import resource\n"
            "from s2cmc.conversion import convert\n"
            f"convert({str(tmp_path / str(count))!r}, {str(tmp_path / f'{count}.zarr')!r}, workers=1)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        peaks.append(int(run.stdout) / 1024)
    one_scene = 400 * 400 * 13 * 4 / 1e6
    assert peaks[1] - peaks[0] < 2 * one_scene, f"{peaks} MB"


def test_a_restore_that_fails_leaves_nothing_behind(store, tmp_path):
    copy = Path(shutil.copytree(store, tmp_path / "copy.zarr"))
    (copy / "mask" / "c" / "0" / "0" / "0").unlink()
    with pytest.raises(s2cmc.StoreError, match=r"copy\.zarr/mask/c/0/0/0 is missing"):
        restore(str(copy), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
