"""export, metadata, window and georeference: what the command forwards, and how it says what came of it."""

import json
import re
import sys

import numpy as np
import pytest
import rasterio
from helpers.safe_products import make_tile, write_safe

import s2cmc

pytestmark = pytest.mark.slow


def test_export_writes_what_was_chosen_and_says_so(run, store, opened, tmp_path):
    chosen = opened.clouds.select("cumulus", split="train")
    options = ("--where", "cumulus", "--split", "train", "--bands", "B04, B03,B02", "--workers", "1")
    answer = run("export", store, tmp_path / "out", *options)
    files = sorted(path.name for path in (tmp_path / "out").glob("*.tif"))
    assert answer.code == 0
    assert [name for name in files if name.endswith("_reflectance.tif")] == sorted(
        f"{scene}_reflectance.tif" for scene in chosen.scene.values
    )
    assert re.fullmatch(
        rf"{chosen.sizes['scene']} scenes in .*out: \d+ files written, 0 were there, \d\.\d MB\n", answer.out
    )
    with rasterio.open(tmp_path / "out" / files[-1].replace("_mask", "_reflectance")) as file:
        assert file.descriptions == ("B04", "B03", "B02")
    again = run("export", store, tmp_path / "out", *options)
    assert ": 0 files written, " in again.out


def test_export_tells_what_other_exports_have_left(run, store, opened, tmp_path):
    first, second = (str(opened.scene.values[i]) for i in (0, 1))
    run("export", store, tmp_path / "out", "--format", "png", "--scenes", first)
    left = len(list((tmp_path / "out").glob("*.png*")))
    answer = run("export", store, tmp_path / "out", "--format", "png", "--scenes", second)
    assert answer.out.startswith("1 scene in ")
    assert answer.out.endswith(f" MB; {left} files of other scenes are there from earlier exports\n")


def test_a_list_of_scenes_that_is_no_text_is_named(run, store, tmp_path):
    (tmp_path / "list").write_bytes(b"\xff\xfeS2")
    answer = run("export", store, tmp_path / "out", "--scenes", tmp_path / "list")
    assert answer.is_one_message(tmp_path / "list", "expected a text in UTF-8, a product ID a line")


@pytest.mark.parametrize(("form", "made"), [("geotiff", "*_mask.tif"), ("png", "*_mask.png"), ("npy", "masks/*.npy")])
def test_export_of_named_scenes_in_other_formats(form, made, run, store, opened, tmp_path):
    scene = str(opened.scene.values[2])
    (tmp_path / "list.txt").write_text(f"{scene}\n")
    assert run("export", store, tmp_path / "out", "--format", form, "--scenes", tmp_path / "list.txt").code == 0
    assert [path.name.partition("_T")[0] for path in (tmp_path / "out").glob(made)] == [scene.partition("_T")[0]]


def test_export_of_a_smaller_store(run, store, opened, tmp_path):
    assert run("export", store, tmp_path / "small.zarr", "--format", "zarr", "--split", "test").code == 0
    small = s2cmc.open_catalogue(tmp_path / "small.zarr")
    np.testing.assert_array_equal(small.mask, opened.clouds.select(split="test").mask)
    assert run("verify", tmp_path / "small.zarr").code == 0


def test_metadata_lie_beside_the_store(run, store, tmp_path):
    place = tmp_path / "catalogue.zarr"
    place.symlink_to(store)
    answer = run("metadata", place)
    assert answer.code == 0
    assert re.fullmatch(
        r"10 items.*, footprints.parquet, croissant.json, collection.json in \S+, \d\.\d MB\n", answer.out
    )
    assert {path.name for path in (tmp_path / "catalogue-metadata").iterdir()} >= {"items", "collection.json"}
    options = ("--store-url", "https://example.org/catalogue.zarr")
    assert run("metadata", place, tmp_path / "elsewhere", *options).code == 0
    assert "https://example.org/catalogue.zarr" in (tmp_path / "elsewhere" / "collection.json").read_text()
    assert json.loads((tmp_path / "elsewhere" / "croissant.json").read_text())["@type"] == "sc:Dataset"


def test_metadata_without_the_geo_extra_say_what_to_install(run, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "pystac", None)
    assert run("metadata", store).is_one_message("pystac is missing; install it with: pip install 's2cmc[convert,geo]'")


def test_window_shows_the_place_in_the_original(run, store, opened):
    scene = str(opened.scene.values[1])
    for key in (scene[:45], scene, 1):
        answer = run("window", store, key)
        assert (answer.code, answer.out) == (0, f"{opened.clouds.l1c_window(scene)}\n")


def test_georeference_ends_with_1_where_it_is_not_proved(run, store, tmp_path, opened):
    window = opened.clouds.l1c_window(3)
    own = np.rint(opened.reflectance.sel(band="B12")[3].values * 10_000.0).astype(np.uint16)
    true, other = (
        write_safe(tmp_path / name, window, {"B12": make_tile(window, "B12", pixels)})
        for name, pixels in (("true", own), ("other", None))
    )
    answer = run("georeference", store, opened.scene.values[3], true, "--band", "B12")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"{opened.scene.values[3]} B12: passes, it lies where the catalogue says\n")
    answer = run("georeference", store, 3, other, "--band", "B12")
    assert answer.code == 1
    assert " B12: fails, it fits nowhere" in answer.out


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (("window", "{store}", "T99ZZZ"), ["no scene 'T99ZZZ' among 10"]),
        (("georeference", "{store}", "0", "nowhere"), ["there is no", "nowhere", "expected its SAFE folder"]),
        (("export", "{store}", "{out}", "--where", "cirus"), ["no scene coordinate 'cirus'; did you mean cirrus"]),
        (("export", "{store}", "{out}", "--scenes", "S2"), ["'S2'"]),
        (("export", "{store}", "{out}", "--bands", "B99"), ["B99", "B01, B02"]),
        (("export", "nowhere", "{out}"), ["nowhere holds no catalogue"]),
        (("metadata", "nowhere"), ["nowhere holds no catalogue"]),
        (("metadata", "{store}", ""), ["'' names no place"]),
        (("metadata", "{store}", "{out}", "--store-url", ""), ["store_url '' names no place"]),
        (("export", "{store}", ""), ["'' names no place"]),
        (("export", "{store}", "", "--format", "zarr"), ["'' names no place"]),
    ],
    ids=lambda value: " ".join(value[:1]) if isinstance(value, tuple) else "",
)
def test_an_error_is_one_message(line, parts, run, store, tmp_path):
    answer = run(*(word.format(store=store, out=tmp_path / "out") for word in line))
    assert answer.is_one_message(*parts), answer
    assert not (tmp_path / "out").exists()


def test_the_picture_of_a_scene_is_that_of_the_accessor(run, store, opened, tmp_path):
    scene = str(opened.scene.values[0])
    assert run("export", store, tmp_path / "out", "--format", "png", "--scenes", scene).code == 0
    with rasterio.open(tmp_path / "out" / f"{scene}.png") as file:
        shown = np.moveaxis(file.read(), 0, -1)[..., :3]
    expected = opened.clouds.rgb().isel(scene=0).values
    np.testing.assert_allclose(shown / 255, expected, atol=0.5 / 255 + 1e-6)
