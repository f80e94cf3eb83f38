"""Scenes of a store as files: which, under which names, whole or not at all, and back again."""

import csv
import io
import json
import shutil
from collections import Counter

import numpy as np
import pytest
from helpers.exports import WRITTEN, contents, export_all, three_scenes
from PIL import Image

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export.png import encode_true_colour
from s2cmc.conversion.export.scenes import export
from s2cmc.conversion.verify.verification import verify
from s2cmc.schema.catalogue import CLASS_COLORS, PIXEL_VARIABLES, MaskClass

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def names(opened) -> list[str]:
    return three_scenes(opened)


@pytest.fixture(scope="module")
def whole(store, names, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """What uninterrupted exports of these scenes write, by format."""
    return export_all(store, names, tmp_path_factory.mktemp)


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
    tile = str(catalogue.mgrs_tile.values[4])
    assert export(str(store), str(tmp_path / "c"), format="png", scenes=[f"T{tile} 2018", chosen[0]]).scenes == 2
    assert list((tmp_path / "c").glob(f"*_T{tile}_*.png"))


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
        ({"scenes": ["S2A_MSIL1C_2018"]}, "'S2A_MSIL1C_2018' names 6 scenes: .*; say more of it"),
        ({"format": "tiff"}, "format 'tiff' is none of 'cog', 'geotiff', 'npz', 'npy', 'png', 'zarr'"),
        ({"bands": ["B02", "B13"]}, "no band 'B13'; there are B01, B02"),
        ({"bands": ["B02", "B02"]}, "bands B02, B02: one of them stands there twice"),
        ({"bands": "B02"}, "bands 'B02' is no list of names"),
        ({"bands": []}, r"bands \[\] is no list of names"),
        ({"bands": ["B02"], "format": "npz"}, "'npz' holds all bands.*leave out `bands`"),
        ({"bands": ["B02"], "format": "npy"}, "'npy' holds all bands"),
        ({"bands": ["B02"], "format": "png"}, "'png' holds all bands"),
        ({"bands": ["B02"], "format": "zarr"}, "'zarr' holds all bands"),
        ({"scenes": "S2A_MSIL1C_2018"}, "scenes 'S2A_MSIL1C_2018' is no list of product IDs"),
        ({"workers": 0}, "workers 0 is less than 1"),
        ({"workers": -1}, "workers -1 is less than 1"),
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


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_touched(store, tmp_path, overwrite):
    (tmp_path / "photograph.tif").write_bytes(b"mine")
    with pytest.raises(s2cmc.StoreError, match=r"holds no export of s2cmc, but photograph\.tif; choose another place"):
        export(str(store), str(tmp_path), overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["photograph.tif"]


def test_a_store_is_no_place_for_files(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    with pytest.raises(s2cmc.StoreError, match=r"copy\.zarr is a store, where other files do not belong"):
        export(str(copy), str(copy), overwrite=True)
    for form in ("cog", "zarr"):
        with pytest.raises(s2cmc.StoreError, match=r"lies in the store .*copy\.zarr, where other files do not belong"):
            export(str(store), copy / "mask" / "tiles", format=form, overwrite=True)
    assert verify(str(copy)) == []
    assert not (copy / "mask" / "tiles").exists()


def test_nor_is_a_store_in_a_bucket(store, bucket):
    url = bucket.upload(store, "data/copy.zarr")
    for form in ("cog", "zarr"):
        with pytest.raises(s2cmc.StoreError, match=f"lies in the store {url}, where other files do not belong"):
            export(str(store), f"{url}/a/tiles", format=form, out_access=bucket.access)
    assert not [key for key in bucket.contents("data/") if "tiles" in key]


def test_nor_is_a_started_conversion(store, tmp_path):
    (tmp_path / ".s2cmc-conversion").mkdir()
    (tmp_path / ".s2cmc-conversion" / "plan.json").write_text("{}")
    with pytest.raises(s2cmc.StoreError, match="lies in the store"):
        export(str(store), tmp_path / "tiles")


@pytest.mark.parametrize("form", ["cog", "zarr"])
def test_a_file_is_no_folder(store, tmp_path, form):
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/below"):
        with pytest.raises(s2cmc.StoreError, match=f"{tmp_path}/{out} cannot be written: {tmp_path}/file is a file"):
            export(str(store), str(tmp_path / out), format=form)


@pytest.mark.parametrize("form", ["cog", "zarr"])
def test_where_nothing_could_be_written_nothing_is_said_to_be_kept(store, form):
    with pytest.raises(s2cmc.StoreError, match="/proc/out cannot be written: ") as said:
        export(str(store), "/proc/out", format=form)
    assert "kept" not in str(said.value)


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
                colors = np.array(image.getpalette()).reshape(-1, 3)
                assert {label: tuple(colors[label].tolist()) for label in MaskClass} == CLASS_COLORS


def test_pictures_of_floats_are_the_same(release, names, whole, tmp_path):
    convert(str(release), str(tmp_path / "floats.zarr"), reflectance="float32", scenes=names)
    export(str(tmp_path / "floats.zarr"), str(tmp_path / "out"), format="png")
    assert contents(tmp_path / "out") == whole["png"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_black(value):
    pixels = np.full((2, 2, 3), 0.2, np.float32)
    pixels[0, 1] = value
    with Image.open(io.BytesIO(encode_true_colour(pixels))) as image:
        shown = np.asarray(image)
    assert shown[0, 1].tolist() == [0, 0, 0]
    assert shown[0, 0].min() > 0


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
