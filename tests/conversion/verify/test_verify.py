"""`verify` finds whatever is not as it was written, and says where."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers.sealing import reseal

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export.releases import restore
from s2cmc.conversion.verify.verification import verify
from s2cmc.schema.catalogue import PIXEL_VARIABLES
from s2cmc.store.format import compact_json

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(store: Path, tmp_path: Path) -> Path:
    """A copy of `store` to spoil."""
    return Path(shutil.copytree(store, tmp_path / "copy.zarr"))


@pytest.fixture
def release_copy(release: Path, tmp_path: Path) -> Path:
    """A copy of `release` to spoil."""
    return Path(shutil.copytree(release, tmp_path / "release"))


def flip_bit(path: Path, position: float, bit: int = 3) -> None:
    content = bytearray(path.read_bytes())
    content[int(position * (len(content) - 1))] ^= 1 << bit
    path.write_bytes(content)


def test_a_whole_store_passes(store, release):
    assert verify(str(store)) == []
    assert verify(str(store), str(release)) == []


ARRAYS = ["reflectance", "mask", "alt_mask", "thumbnail", "scene", "time", "cirrus", "band", "y", "wavelength", "rgb"]


@pytest.mark.parametrize(
    "position", [pytest.param(0.0, marks=pytest.mark.slow), 0.4, pytest.param(1.0, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", ARRAYS)
def test_a_flipped_bit_is_found_in_every_kind_of_object(name, position, copy):
    damaged = next(path for path in sorted((copy / name / "c").rglob("*")) if path.is_file())
    flip_bit(damaged, position)
    problems = verify(str(copy))
    assert len(problems) == 1
    said = f"/{name}/c/" if name in PIXEL_VARIABLES else f"{name}/c/0 is not what coordinates.zip has"
    assert said in problems[0]


def test_a_damaged_shard_names_its_scene(copy, catalogue):
    flip_bit(copy / "reflectance" / "c" / "4" / "0" / "0" / "0", 0.4)
    (problem,) = verify(str(copy))
    damaged = f"{copy}/reflectance/c/4/0/0/0 is damaged: "
    assert problem.startswith(f"reflectance of {catalogue.scene.values[4]}: {damaged}")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda copy: (copy / "reflectance/c/3/0/0/0").unlink(), "missing object: reflectance/c/3/0/0/0"),
        (lambda copy: (copy / "alt_mask/c/0/0/0").unlink(), "missing object: alt_mask/c/0/0/0"),
        (lambda copy: (copy / "difficulty/c/0").unlink(), "missing object: difficulty/c/0"),
        (lambda copy: (copy / "mask/notes.txt").write_text("mine"), "foreign object: mask/notes.txt"),
        (lambda copy: shutil.copytree(copy / "mask/c/0", copy / "mask/c/1"), "foreign object: mask/c/1/0/0"),
    ],
)
def test_missing_and_foreign_objects_are_listed(copy: Path, spoil: Callable[[Path], None], said: str):
    spoil(copy)
    assert said in verify(str(copy))


def test_a_bundle_of_another_store_is_found(copy):
    (copy / "coordinates.zip").write_bytes((copy / "zarr.json").read_bytes())
    (problem,) = verify(str(copy))
    assert problem.startswith(f"{copy}/coordinates.zip is damaged, or of another store")


def test_metadata_edited_by_hand_are_found(copy):
    path = copy / "reflectance" / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["scale_factor"] = 0.001
    path.write_text(json.dumps(document))
    assert verify(str(copy)) == ["reflectance/zarr.json is not what the consolidated metadata say"]


@pytest.mark.parametrize("length", [0, 100])
def test_a_truncated_shard_is_found(copy, length):
    shard = copy / "mask" / "c" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:length])
    (problem,) = verify(str(copy))
    assert problem.startswith("mask of ")


def test_values_changed_with_valid_checksums_contradict_the_counts(copy, catalogue):
    """Somebody rewrites pixels through zarr: every checksum holds, the quality coordinates do not."""
    mask = zarr.open_array(copy, path="mask", mode="r+")
    changed = mask[:]
    changed[2] = 1
    mask[:] = changed
    problems = verify(str(copy))
    assert any(line.startswith(f"{catalogue.scene.values[2]}: mask_cloud_percent is ") for line in problems)


def test_labels_that_do_not_exist_are_found(copy):
    mask = zarr.open_array(copy, path="mask", mode="r+")
    changed = mask[:]
    changed[1, 0, :2] = [7, 255]
    mask[:] = changed
    assert any("holds [7, 255], which are no labels" in line for line in verify(str(copy)))


def test_alternative_masks_where_none_should_be_are_found(copy, catalogue):
    alt_mask = zarr.open_array(copy, path="alt_mask", mode="r+", config={"write_empty_chunks": True})
    without = int(np.flatnonzero(~catalogue.has_alt_mask)[0])
    changed = alt_mask[:]
    changed[without] = 0
    alt_mask[:] = changed
    expected = f"alt_mask of {catalogue.scene.values[without]} holds labels, but has_alt_mask is false"
    assert expected in verify(str(copy))


def test_every_kind_of_difference_from_the_release_is_listed(store, release, release_copy, catalogue):
    """Change one of each in a release of folders, and compare the store with it."""
    scenes = list(catalogue.scene.values)
    shutil.rmtree(release_copy)
    restore(str(store), str(release_copy), layout="folder")

    def change(path: Path, index: tuple[int, ...], value: object) -> None:
        array = np.load(path)
        array[index] = value
        np.save(path, array)

    change(release_copy / "subscenes" / f"{scenes[0]}.npy", (5, 6, 7), np.float32(0.5))
    change(release_copy / "masks" / f"{scenes[1]}.npy", (1, 2), [True, True, True])
    with_alt = scenes[int(np.flatnonzero(catalogue.has_alt_mask)[0])]
    (release_copy / "alt_masks" / f"ALT_{with_alt}.npy").unlink()
    (release_copy / "thumbnails" / f"{scenes[4]}.png").write_bytes(
        (release_copy / "thumbnails" / f"{scenes[5]}.png").read_bytes()
    )
    table = (release_copy / "classification_tags.csv").read_text().splitlines()
    row = table[7].split(",")
    row[2] = str(int(row[2]) % 5 + 1)
    table[7] = ",".join(row)
    (release_copy / "classification_tags.csv").write_text("\n".join(table) + "\n")

    problems = verify(str(store), str(release_copy))
    for expected in (
        f"{scenes[0]}: reflectance differs in 1 values, the first at [5, 6, 7]",
        f"{scenes[1]}: mask differs in 2 values, the first at [1, 2, ",
        f"{with_alt}: alt_mask is only in the store",
        f"{scenes[4]}: thumbnail differs in ",
        f"{scenes[6]}: difficulty is ",
    ):
        assert any(line.startswith(expected) for line in problems), expected


def test_a_moved_outline_is_found(store, release, tmp_path, catalogue):
    from s2cmc.release import ReleaseWriter
    from s2cmc.schema.geometry import Outline

    restore(str(store), str(tmp_path / "release"), layout="folder")
    scene = catalogue.scene.values[2]
    shutil.rmtree(tmp_path / "release" / "shapefiles" / scene)
    width = (64 + 130) * 20
    left, top = float(catalogue.x_origin[2]) - 1300 + 20, float(catalogue.y_origin[2]) + 1300
    moved = Outline(int(catalogue.epsg[2]), left, top - width, left + width, top)
    with ReleaseWriter(tmp_path / "moved", layout="folder") as writer:
        writer.add_outline(scene, moved)
    shutil.copytree(tmp_path / "moved" / "shapefiles" / scene, tmp_path / "release" / "shapefiles" / scene)
    problems = verify(str(store), str(tmp_path / "release"))
    assert any(line.startswith(f"{scene}: its outline is Outline(") for line in problems)
    assert any(line.startswith(f"{scene}: x_origin is ") for line in problems)


def test_the_first_find_does_not_hide_the_next(copy, release, catalogue):
    (copy / ".DS_Store").write_text("")
    flip_bit(copy / "reflectance" / "c" / "4" / "0" / "0" / "0", 0.4)
    scenes = catalogue.scene.values
    problems = verify(str(copy), str(release))
    assert problems[0] == "foreign object: .DS_Store"
    assert problems[1].startswith(f"reflectance of {scenes[4]}: {copy}/reflectance/c/4/0/0/0 is damaged")
    assert len(problems) == 2


def test_bands_in_another_order_are_found(copy):
    bands = zarr.open_array(copy, path="band", mode="r+")
    names = bands[:].tolist()
    names[1], names[3] = names[3], names[1]
    bands[:] = np.array(names, object)
    reseal(copy)
    assert verify(str(copy)) == ["coordinate band is not that of the catalogue"]


def test_another_scale_is_found(copy):
    def rescale(document: dict[str, Any]) -> None:
        metadata = document["consolidated_metadata"]["metadata"]["reflectance"]
        metadata["attributes"]["scale_factor"] = 0.001
        (copy / "reflectance" / "zarr.json").write_bytes(compact_json(metadata))

    reseal(copy, rescale)
    assert verify(str(copy)) == ["attribute scale_factor of reflectance is 0.001; expected 0.0001"]


def test_a_mask_of_another_dtype_is_a_difference_unless_the_store_knows_it(store, tmp_path):
    restore(str(store), str(tmp_path / "release"), layout="folder")
    path = sorted((tmp_path / "release" / "masks").iterdir())[3]
    np.save(path, np.load(path).astype("float64"))
    assert f"{path.stem}: mask is bool (64, 64, 3) in the store and float64" in "".join(
        verify(str(store), str(tmp_path / "release"))
    )
    convert(str(tmp_path / "release"), str(tmp_path / "store.zarr"))
    assert verify(str(tmp_path / "store.zarr"), str(tmp_path / "release")) == []


def test_scenes_missing_from_the_release_are_an_error(store, release_copy):
    table = (release_copy / "classification_tags.csv").read_text().splitlines()
    (release_copy / "classification_tags.csv").write_text("\n".join(table[:-1]) + "\n")
    with pytest.raises(s2cmc.ReleaseError, match="1 of the 10 scenes asked for are not in the table"):
        verify(str(store), str(release_copy))


def test_what_is_no_store_is_an_error(tmp_path, release):
    with pytest.raises(s2cmc.StoreError, match="holds no catalogue"):
        verify(str(tmp_path / "nothing"))
    with pytest.raises(s2cmc.StoreError, match="holds no catalogue"):
        verify(str(release))


def test_a_store_is_verified_over_http(store, release, serve):
    """A web server does not list, so nothing is said about foreign objects; all else is checked."""
    server = serve(store.parent)
    assert verify(f"{server.url}/{store.name}", str(release)) == []
