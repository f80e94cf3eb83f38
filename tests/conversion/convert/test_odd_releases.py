"""Releases that are odd: what can be kept is kept and reported, what would make wrong data stops, nothing is lost.

All scenes are synthetic.
"""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export.releases import restore
from s2cmc.conversion.export.scenes import export
from s2cmc.conversion.repair.repairs import repair
from s2cmc.conversion.verify.verification import verify
from s2cmc.synthetic.make import make_release

pytestmark = pytest.mark.slow

SCENES = 6


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("plain") / "release", scenes=SCENES, size=64, layout="folder")


@pytest.fixture
def copy(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "release"))


def names(release: Path) -> list[str]:
    return pd.read_csv(release / "classification_tags.csv")["scene"].tolist()


def change(release: Path, part: str, scene: str, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    path = release / part / f"{'ALT_' if part == 'alt_masks' else ''}{scene}.npy"
    np.save(path, edit(np.load(path)))


def open_png(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def save_png(path: Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


def edit_table(release: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = release / "classification_tags.csv"
    edit(pd.read_csv(path)).to_csv(path, index=False)


PERCENT = ["clear_percent", "cloud_percent", "shadow_percent"]


class TestThumbnails:
    """A thumbnail that fits is kept in RGB; any other is left out, by the same rule in conversion and proof."""

    def test_odd_ones_are_kept_or_left_out(self, copy: Path, tmp_path: Path) -> None:
        scenes = names(copy)
        paths = [copy / "thumbnails" / f"{scene}.png" for scene in scenes]
        images = [open_png(path) for path in paths]
        save_png(paths[0], images[0].resize((9, 9)))  # the first is of another size than most
        save_png(paths[1], images[1].convert("P"))
        transparent = images[2].convert("RGBA")
        transparent.putpixel((1, 1), (0, 0, 0, 0))
        save_png(paths[2], transparent)
        save_png(paths[3], images[3].convert("L"))
        paths[4].write_bytes(paths[4].read_bytes()[:50])
        paths[5].unlink()
        store = tmp_path / "store"
        report = convert(copy, store)
        assert set(report.oddities["absent_thumbnail"]) == {scenes[0], scenes[2], scenes[4]}
        assert "9 x 9 pixels (y, x), most have 32 x 32" in str(report.oddities["absent_thumbnail"][scenes[0]])
        catalogue = s2cmc.open_catalogue(store)
        assert catalogue["has_thumbnail"].values.tolist() == [False, True, False, True, False, False]
        for i, mode in ((1, "P"), (3, "L")):
            expected = np.asarray(images[i].convert(mode).convert("RGB"))
            assert np.array_equal(catalogue["thumbnail"][i], expected)
        assert verify(store, copy) == []
        restore(store, tmp_path / "back")
        assert verify(store, tmp_path / "back") == []

    def test_a_store_is_repaired_with_the_same_thumbnails(self, copy: Path, tmp_path: Path) -> None:
        (copy / "thumbnails" / f"{names(copy)[1]}.png").write_bytes(b"no picture")
        store = tmp_path / "store"
        convert(copy, store)
        (store / "mask" / "c" / "0" / "0" / "0").unlink()
        repair(store, copy)
        assert verify(store, copy) == []
        assert s2cmc.open_catalogue(store)["has_thumbnail"].values.tolist() == [True, False, True, True, True, True]

    def test_a_release_of_broken_thumbnails_alone_has_none(self, copy: Path, tmp_path: Path) -> None:
        for path in (copy / "thumbnails").iterdir():
            path.write_bytes(b"no picture")
        convert(copy, tmp_path / "store")
        assert "thumbnail" not in s2cmc.open_catalogue(tmp_path / "store")
        assert verify(tmp_path / "store", copy) == []


class TestMasks:
    """Masks of any dtype are taken, and restored in it."""

    @pytest.mark.parametrize("layout", ["zip", "folder"])
    def test_each_mask_is_restored_in_its_own_dtype(self, copy: Path, tmp_path: Path, layout: str) -> None:
        scenes = names(copy)
        change(copy, "masks", scenes[0], lambda mask: mask.astype("uint8"))
        change(copy, "masks", scenes[2], lambda mask: mask.astype("float32"))
        alt = sorted((copy / "alt_masks").iterdir())[0].stem.removeprefix("ALT_")
        change(copy, "alt_masks", alt, lambda mask: mask.astype(">i2"))
        if layout == "zip":
            shutil.make_archive(str(copy / "masks"), "zip", copy, "masks")
            shutil.rmtree(copy / "masks")
        store = tmp_path / "store"
        report = convert(copy, store)
        assert report.oddities["other_dtype"] == {scenes[0]: "uint8", scenes[2]: "float32"}
        assert verify(store, copy) == []
        restore(store, tmp_path / "back", layout="folder")
        for scene, dtype in zip(scenes, ["uint8", "bool", "float32", "bool", "bool", "bool"], strict=True):
            assert np.load(tmp_path / "back" / "masks" / f"{scene}.npy").dtype == dtype
        export(store, tmp_path / "part", format="zarr", scenes=scenes[:2])
        convert(copy, tmp_path / "same", scenes=scenes[:2])
        assert verify(tmp_path / "part", copy) == []
        shards = [tmp_path / name / "mask" / "c" / "0" / "0" / "0" for name in ("part", "same")]
        assert shards[0].read_bytes() == shards[1].read_bytes()

    def test_pixels_without_a_class_and_with_several_are_told_apart(self, copy: Path, tmp_path: Path) -> None:
        def spoil(mask: np.ndarray) -> np.ndarray:
            mask[0, :5] = False
            mask[1, :2] = True
            return mask

        scene = names(copy)[1]
        change(copy, "masks", scene, spoil)
        change(copy, "subscenes", scene, lambda image: np.where(np.arange(64)[:, None, None] < 1, 0, image))
        report = convert(copy, tmp_path / "store")
        assert report.counts["unlabelled_mask_pixels"] == 5
        assert report.counts["multi_class_mask_pixels"] == 2
        assert report.counts["invalid_image_pixels"] == 64
        assert report.counts["mask_pixels"] == report.counts["image_pixels"] == SCENES * 64 * 64
        said = (
            "invalid pixels: 64 of 24,576 in the images; 5 unlabelled and 2 of several classes of 24,576 in the masks"
        )
        assert said in report.lines()


class TestDigitalNumbers:
    """DN held as float32 are never taken for reflectance; with `from_dn` they come back as they are."""

    @pytest.fixture
    def dn(self, copy: Path) -> Path:
        for scene in names(copy):
            change(copy, "subscenes", scene, lambda image: np.rint(image * np.float32(10_000)))
        return copy

    @pytest.mark.parametrize("reflectance", ["uint16", "float32"])
    def test_they_stop_with_their_name(self, dn: Path, tmp_path: Path, reflectance: str) -> None:
        with pytest.raises(s2cmc.ReleaseError, match=r"these are DN; convert with --from-dn") as caught:
            convert(dn, tmp_path / "store", reflectance=reflectance)
        assert len(caught.value.problems) == SCENES

    def test_from_dn_stores_what_reflectance_would(self, dn: Path, plain: Path, tmp_path: Path) -> None:
        with pytest.raises(s2cmc.ReleaseError, match="these are DN"):
            convert(dn, tmp_path / "store")
        convert(dn, tmp_path / "store", from_dn=True)  # goes on where the first has stopped
        convert(plain, tmp_path / "plain")
        opened, expected = (s2cmc.open_catalogue(tmp_path / name) for name in ("store", "plain"))
        assert np.array_equal(opened["reflectance"], expected["reflectance"])
        assert opened["reflectance"].attrs == expected["reflectance"].attrs
        assert verify(tmp_path / "store", dn) == []
        assert verify(tmp_path / "store", plain) != []
        restore(tmp_path / "store", tmp_path / "back", layout="folder")
        scene = names(dn)[0]
        restored, published = (np.load(root / "subscenes" / f"{scene}.npy") for root in (tmp_path / "back", dn))
        assert restored.tobytes() == published.tobytes()
        (tmp_path / "store" / "reflectance" / "c" / "0" / "0" / "0" / "0").unlink()
        repair(tmp_path / "store", dn)
        assert verify(tmp_path / "store", dn) == []

    def test_dn_are_stored_as_dn(self, dn: Path, tmp_path: Path) -> None:
        with pytest.raises(s2cmc.CatalogueError, match="DN are stored as uint16; leave out reflectance='float32'"):
            convert(dn, tmp_path / "store", from_dn=True, reflectance="float32")

    @pytest.mark.parametrize("reflectance", ["uint16", "float32"])
    def test_a_fill_value_stops_its_scene(self, copy: Path, tmp_path: Path, reflectance: str) -> None:
        scene = names(copy)[3]
        change(
            copy,
            "subscenes",
            scene,
            lambda image: np.where(np.arange(64)[:, None, None] < 1, -9999, image).astype("f4"),
        )
        with pytest.raises(s2cmc.ReleaseError, match=rf"{scene}: values from -9999 .* no reflectance.*--skip"):
            convert(copy, tmp_path / "store", reflectance=reflectance)


class TestPercentages:
    """The percentages of the table say whether masks, classes and scenes belong together."""

    def test_rounded_ones_are_told_as_rounded(self, copy: Path, tmp_path: Path) -> None:
        edit_table(copy, lambda table: table.assign(**table[PERCENT].round(2)))
        report = convert(copy, tmp_path / "store")
        assert "they are rounded to 2 decimals" in report.percentages
        assert report.percentages in report.lines()

    def test_shares_from_0_to_1_stop_and_the_mended_table_resumes(self, copy: Path, tmp_path: Path) -> None:
        edit_table(copy, lambda table: table.assign(**table[PERCENT] / 100))
        with pytest.raises(s2cmc.ReleaseError, match=r"contradicts itself: .*shares from 0 to 1, not percentages"):
            convert(copy, tmp_path / "store")
        with pytest.raises(s2cmc.UnfinishedStoreError):
            s2cmc.open_catalogue(tmp_path / "store")
        edit_table(copy, lambda table: table.assign(**table[PERCENT] * 100))
        report = convert(copy, tmp_path / "store")
        assert report.resumed == SCENES + 3
        assert verify(tmp_path / "store", copy) == []

    def test_swapped_channels_are_named_and_the_mended_masks_resume(self, copy: Path, tmp_path: Path) -> None:
        for scene in names(copy):
            change(copy, "masks", scene, lambda mask: mask[..., [1, 0, 2]])
        with pytest.raises(s2cmc.ReleaseError, match=r"channels of the masks are cloud, clear, cloud_shadow; expected"):
            convert(copy, tmp_path / "store")
        for scene in names(copy):
            change(copy, "masks", scene, lambda mask: mask[..., [1, 0, 2]])
        report = convert(copy, tmp_path / "store")
        assert report.resumed == SCENES + 1  # all but the masks
        assert verify(tmp_path / "store", copy) == []

    def test_one_mask_for_all_stops(self, copy: Path, tmp_path: Path) -> None:
        first = copy / "masks" / f"{names(copy)[0]}.npy"
        for scene in names(copy)[1:]:
            shutil.copy(first, copy / "masks" / f"{scene}.npy")
        with pytest.raises(s2cmc.ReleaseError, match=r"no scale fits; are these the masks of these scenes"):
            convert(copy, tmp_path / "store")


class TestLooks:
    """Scenes that do not match their thumbnails, or are there twice, are reported."""

    def test_scenes_as_made_match(self, plain: Path, tmp_path: Path) -> None:
        odd = convert(plain, tmp_path / "store").oddities
        assert not odd.keys() & {"unlike_thumbnail", "identical_subscene", "identical_mask", "unrelated_alt_mask"}

    def test_a_turned_scene_and_a_swapped_pair_are_named(self, copy: Path, tmp_path: Path) -> None:
        scenes = names(copy)
        change(copy, "subscenes", scenes[0], lambda image: np.ascontiguousarray(image.transpose(1, 0, 2)))
        change(copy, "subscenes", scenes[1], lambda image: np.ascontiguousarray(image[::-1]))
        two, three = (copy / "subscenes" / f"{scenes[i]}.npy" for i in (2, 3))
        images = np.load(two), np.load(three)
        np.save(two, images[1])
        np.save(three, images[0])
        odd = convert(copy, tmp_path / "store").oddities["unlike_thumbnail"]
        assert odd[scenes[0]] == "transposed"
        assert odd[scenes[1]] == "flipped along y"
        assert (odd[scenes[2]], odd[scenes[3]]) == (f"as {scenes[3]}", f"as {scenes[2]}")

    def test_the_same_files_under_two_names_are_named(self, copy: Path, tmp_path: Path) -> None:
        scenes = names(copy)
        mixed = next(scene for scene in scenes[:-1] if np.load(copy / "masks" / f"{scene}.npy").any((0, 1)).sum() > 1)
        for part in ("subscenes", "masks"):
            shutil.copy(copy / part / f"{mixed}.npy", copy / part / f"{scenes[-1]}.npy")
        odd = convert(copy, tmp_path / "store").oddities
        assert odd["identical_subscene"] == odd["identical_mask"] == {scenes[-1]: f"as {mixed}"}

    def test_an_alternative_mask_that_agrees_with_nothing_is_named(self, copy: Path, tmp_path: Path) -> None:
        alt = [path.stem.removeprefix("ALT_") for path in (copy / "alt_masks").iterdir()]
        mixed = next(s for s in alt if np.load(copy / "masks" / f"{s}.npy").any((0, 1)).sum() > 1)
        mask = np.load(copy / "masks" / f"{mixed}.npy")
        change(copy, "alt_masks", mixed, lambda _: mask[..., [1, 0, 2]])
        odd = convert(copy, tmp_path / "store").oddities
        assert list(odd["unrelated_alt_mask"]) == [mixed]


class TestOneBadFile:
    """A bad file is told before anything is written, or costs its own scene alone."""

    def test_all_headers_are_told_before_anything_is_written(self, copy: Path, tmp_path: Path) -> None:
        scenes = names(copy)
        change(copy, "subscenes", scenes[0], lambda image: image.transpose(2, 0, 1))
        change(copy, "subscenes", scenes[2], lambda image: image.astype("float64"))
        change(copy, "masks", scenes[3], lambda mask: mask[..., :2])
        (copy / "subscenes" / f"{scenes[4]}.npy").write_bytes(b"no array")
        path = copy / "subscenes" / f"{scenes[5]}.npy"
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(
            s2cmc.ReleaseError, match=r"5 arrays cannot be stored; mend these files, or .* --skip"
        ) as caught:
            convert(copy, tmp_path / "store")
        lines = "\n".join(caught.value.problems)
        assert (
            f"{scenes[0]}: its subscene has shape (13, 64, 64); its axes look transposed, band first; expected" in lines
        )
        assert f"{scenes[2]}: its subscene is float64; expected float32" in lines
        assert f"{scenes[3]}: its array in masks has shape (64, 64, 2)" in lines
        assert f"{scenes[4]}.npy is not a readable npy" in lines
        assert "takes 212992 bytes, but 212792 follow" in lines
        assert not (tmp_path / "store").exists()

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_leaving_a_scene_out_keeps_the_shards_of_all_others(
        self, copy: Path, plain: Path, tmp_path: Path, overwrite: bool
    ) -> None:
        scenes = names(copy)
        store = tmp_path / "store"
        if overwrite:  # the old store stays until the new one is whole
            convert(plain, store, scenes=scenes[:1])
        change(copy, "subscenes", scenes[1], lambda image: image + np.float32(0.00003))
        with pytest.raises(s2cmc.ReleaseError, match=r"1 scenes .*with --skip for the scenes to leave out"):
            convert(copy, store, overwrite=overwrite)
        report = convert(copy, store, skip=[scenes[1]], overwrite=overwrite)
        assert report.resumed == SCENES - 1  # every other subscene; masks and thumbnails have all scenes in one shard
        assert verify(store, plain) == []
        convert(plain, tmp_path / "same", skip=[scenes[1]])
        objects = [
            {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("c/**/*") if p.is_file()}
            for root in (store, tmp_path / "same")
        ]
        assert objects[0] == objects[1]

    def test_leaving_thumbnails_out_keeps_all_else(self, copy: Path, tmp_path: Path) -> None:
        store = tmp_path / "store"
        change(copy, "subscenes", names(copy)[1], lambda image: image + np.float32(0.00003))
        with pytest.raises(s2cmc.ReleaseError, match="--reflectance float32"):
            convert(copy, store)
        with pytest.raises(s2cmc.ReleaseError, match="--reflectance float32"):
            convert(copy, store, thumbnails=False)
        report = convert(copy, store, thumbnails=False, reflectance="float32")
        assert report.resumed == 2  # mask and alt_mask
        assert not (store / "thumbnail").exists()
        assert verify(store, copy) == []

    def test_a_scene_comes_back_once_its_file_is_mended(self, copy: Path, plain: Path, tmp_path: Path) -> None:
        store, scene = tmp_path / "store", names(copy)[1]
        for i in (1, 3):
            change(copy, "subscenes", names(copy)[i], lambda image: image + np.float32(0.00003))
        with pytest.raises(s2cmc.ReleaseError, match="2 scenes"):
            convert(copy, store)
        with pytest.raises(s2cmc.ReleaseError, match="1 scenes"):
            convert(copy, store, skip=[scene])
        for i in (1, 3):
            shutil.copy(plain / "subscenes" / f"{names(copy)[i]}.npy", copy / "subscenes")
        assert convert(copy, store).resumed == SCENES - 2
        assert verify(store, copy) == []

    def test_a_scene_that_is_not_in_the_table_cannot_be_left_out(self, plain: Path, tmp_path: Path) -> None:
        with pytest.raises(s2cmc.ReleaseError, match="1 of the 1 scenes asked for are not in the table"):
            convert(plain, tmp_path / "store", skip=["S2A"])
        with pytest.raises(s2cmc.ReleaseError, match="no scene was asked for"):
            convert(plain, tmp_path / "store", skip=names(plain))
