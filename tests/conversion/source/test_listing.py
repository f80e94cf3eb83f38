"""A release is listed before anything is read: everything that is not as published stands in one report."""

import http.server
import shutil
import threading
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from s2cmc.conversion.source.listing import Release, open_release
from s2cmc.errors import ReleaseError
from s2cmc.release import ALT_PREFIX, PARTS, SHAPEFILE_SUFFIXES, TABLE_FILE
from s2cmc.synthetic.make import make_release, make_scene, write_release
from s2cmc.synthetic.table import sample_table

TABLE = sample_table(4)
FIRST, SECOND, THIRD, FOURTH = TABLE["scene"]
STRANGER = "S2B_MSIL1C_20180616T184539_N0206_R070_T10SDG_20180616T222310"


def make(out: Path, layout: str = "folder", arrays: str = "npy") -> Path:
    """4 scenes of 16 x 16 pixels; SECOND alone has an alternative mask."""
    scenes = (make_scene(row, 16, 0, alt_mask=row["scene"] == SECOND) for row in TABLE.to_dict("records"))
    return write_release(out, scenes, layout=layout, arrays=arrays)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("source") / "folder")


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A release of folders, to be spoilt."""
    return shutil.copytree(pristine, tmp_path / "release")


def pack(release: Path, part: str, *, keep: bool = False) -> Path:
    """Make the folder of a part its zip."""
    path = release / f"{part}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((release / part).rglob("*")):
            archive.write(file, file.relative_to(release))
    if not keep:
        shutil.rmtree(release / part)
    return path


def problems(release: Path, **options: object) -> list[str]:
    with pytest.raises(ReleaseError, match=r"cannot be converted|asked for") as error:
        open_release(str(release), **options)
    return [line.replace(f"{release}/", "") for line in error.value.problems]


def contents(release: Release) -> dict[str, list[bytes]]:
    return {scene.scene: [member.read() for member in scene.members()] for scene in release.scenes}


def test_a_whole_release_has_all_files_of_all_scenes_and_no_warning(pristine: Path) -> None:
    release = open_release(str(pristine))
    assert [scene.scene for scene in release.scenes] == list(release.table["scene"]) == [FIRST, SECOND, THIRD, FOURTH]
    assert release.warnings == ()
    first, second = release.scenes[:2]
    assert first.subscene.read() == (pristine / "subscenes" / f"{FIRST}.npy").read_bytes()
    assert second.alt_mask.read() == (pristine / "alt_masks" / f"{ALT_PREFIX}{SECOND}.npy").read_bytes()
    assert first.alt_mask is None
    assert set(first.shapefile) == {".shp", ".prj"}  # all that is read of a shapefile
    assert len(first.members()) == 2 + 1 + 2


@pytest.mark.parametrize("zipped", [PARTS, PARTS[::2], PARTS[1::2]])
def test_folders_and_zips_may_be_mixed(pristine: Path, folder: Path, zipped: tuple[str, ...]) -> None:
    for part in zipped:
        pack(folder, part)
    assert contents(open_release(str(folder))) == contents(open_release(str(pristine)))


def test_npy_and_npz_may_be_mixed(folder: Path) -> None:
    path = folder / "subscenes" / f"{THIRD}.npy"
    np.savez(path.with_suffix(".npz"), np.load(path))
    path.unlink()
    release = open_release(str(folder))
    assert [scene.subscene.name[-4:] for scene in release.scenes] == [".npy", ".npy", ".npz", ".npy"]


def test_zips_over_http_are_the_same_release(pristine: Path, folder: Path, serve: Callable[[Path], object]) -> None:
    for part in PARTS:
        pack(folder, part)
    remote = open_release(serve(folder).url)
    assert contents(remote) == contents(open_release(str(pristine)))
    assert remote.fingerprint() == open_release(str(folder)).fingerprint()


def test_folders_over_http_are_the_same_release(pristine: Path, serve: Callable[[Path], object]) -> None:
    assert contents(open_release(serve(pristine).url)) == contents(open_release(str(pristine)))


def test_a_synthetic_release_says_so(pristine: Path, tmp_path: Path) -> None:
    assert open_release(str(make_release(tmp_path / "synthetic", scenes=1, size=16))).synthetic
    assert not open_release(str(pristine)).synthetic


def test_everything_wrong_is_in_one_report(folder: Path) -> None:
    def rename(part: str, old: str, new: str) -> None:
        (folder / part / old).rename(folder / part / new)

    (folder / "subscenes" / f"{FIRST}.npy").unlink()
    rename("subscenes", f"{SECOND}.npy", f"{STRANGER}.npy")
    lower = THIRD.replace("MSIL1C", "msil1c")
    rename("masks", f"{THIRD}.npy", f"{lower}.npy")
    rename("alt_masks", f"{ALT_PREFIX}{SECOND}.npy", f"alternative {SECOND}.npy")
    rename("thumbnails", f"{FOURTH}.png", f"{FOURTH}.jpg")
    np.savez(folder / "subscenes" / f"{FOURTH}.npz", np.zeros(3))
    (folder / "shapefiles" / FIRST / f"{FIRST}.shp").unlink()
    rename("shapefiles", SECOND, STRANGER)

    assert sorted(problems(folder)) == sorted(
        [
            f"missing: subscenes has no file of scene {FIRST}",
            f"missing: subscenes has no file of scene {SECOND}",
            f"extra: subscenes/{STRANGER}.npy is of a scene without a row in {TABLE_FILE}",
            f"missing: masks has no file of scene {THIRD}",
            f"warning: misnamed: masks/{lower}.npy names no scene; did you mean {THIRD}?",
            f"warning: misnamed: alt_masks/alternative {SECOND}.npy names no scene; did you mean {SECOND}?",
            f"warning: misnamed: thumbnails/{FOURTH}.jpg is not a name of thumbnails (SCENE.png)",
            f"duplicated: subscenes/{FOURTH}.npy and subscenes/{FOURTH}.npz hold the same of one scene",
            f"missing: the shapefile of {FIRST} lacks .shp",
            "warning: absent: alt_masks of 1 of 1 scenes that should have one",
            "warning: absent: shapefiles of 1 of 4 scenes that should have one",
            "warning: absent: thumbnails of 1 of 4 scenes that should have one",
            *(
                f"warning: misnamed: shapefiles/{STRANGER}/{SECOND}{suffix} is not a name of shapefiles "
                "(SCENE/SCENE.shp)"
                for suffix in SHAPEFILE_SUFFIXES
            ),
        ]
    )


def test_a_member_twice_in_one_zip_is_duplicated(folder: Path) -> None:
    path = pack(folder, "thumbnails")
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr(f"thumbnails/{FIRST}.png", b"another")
    member = f"thumbnails.zip!thumbnails/{FIRST}.png"
    assert problems(folder) == [f"duplicated: {member} and {member} hold the same of one scene"]


def test_a_row_that_names_no_product_is_a_problem(folder: Path) -> None:
    table = folder / TABLE_FILE
    table.write_text(table.read_text().replace(FIRST, "scene_1"))
    assert any(line.startswith(f"misnamed: {TABLE_FILE}: 'scene_1' is no Sentinel-2") for line in problems(folder))


@pytest.mark.parametrize("part", ["subscenes", "masks"])
def test_subscenes_and_masks_are_required(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    assert problems(folder) == [f"missing: neither {part}.zip nor folder {part}/ holds a file"]


@pytest.mark.parametrize("part", ["shapefiles", "thumbnails"])
def test_the_other_parts_may_be_absent_with_a_warning_that_counts(folder: Path, part: str) -> None:
    before = open_release(str(folder)).warnings
    shutil.rmtree(folder / part)
    added = set(open_release(str(folder)).warnings) - set(before)
    assert added == {f"absent: {part} of 4 of 4 scenes that should have one"}


def test_alternative_masks_are_expected_outside_main_only(folder: Path) -> None:
    shutil.rmtree(folder / "alt_masks")
    expected = (TABLE["dataset"] != "MAIN").sum()
    assert open_release(str(folder)).warnings == (
        f"absent: alt_masks of {expected} of {expected} scenes that should have one",
    )


def test_files_that_are_none_of_the_release_are_a_warning(folder: Path) -> None:
    (folder / "masks" / "notes.txt").write_bytes(b"")
    (folder / "thumbnails" / f"{STRANGER}.png").write_bytes(b"")
    assert {
        f"misnamed: {folder}/masks/notes.txt is not a name of masks (SCENE.npy)",
        f"extra: {folder}/thumbnails/{STRANGER}.png is of a scene without a row in {TABLE_FILE}",
    } <= set(open_release(str(folder)).warnings)


def test_a_subset_is_in_the_order_of_the_table(folder: Path) -> None:
    release = open_release(str(folder), scenes=[FOURTH, SECOND, FOURTH])
    assert [scene.scene for scene in release.scenes] == list(release.table["scene"]) == [SECOND, FOURTH]


def test_a_subset_does_not_care_for_the_other_scenes(folder: Path) -> None:
    (folder / "subscenes" / f"{FIRST}.npy").unlink()
    (folder / "masks" / f"{STRANGER}.npy").write_bytes(b"")
    (folder / "shapefiles" / THIRD / f"{THIRD}.shp").unlink()
    assert len(open_release(str(folder), scenes=[SECOND, FOURTH]).scenes) == 2


def test_unknown_scenes_are_answered_with_the_nearest(folder: Path) -> None:
    wrong = SECOND.replace("N0206", "N0207")
    assert problems(folder, scenes=[FIRST, wrong, "Rome"]) == [f"{wrong!r}; did you mean {SECOND}?", "'Rome'"]
    with pytest.raises(ReleaseError, match="no scene was asked for; leave `scenes` out to convert all"):
        open_release(str(folder), scenes=[])


def test_a_fingerprint_is_of_the_content_not_of_the_place(tmp_path: Path, folder: Path) -> None:
    for part in PARTS:
        pack(folder, part)
    before = open_release(str(folder)).fingerprint()
    moved = folder.rename(tmp_path / "elsewhere")
    for part in PARTS:
        (moved / f"{part}.zip").touch()
    assert open_release(str(moved)).fingerprint() == before
    assert open_release(str(moved), scenes=[FIRST]).fingerprint() != before


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_fingerprint_changes_with_any_file(folder: Path, part: str, zipped: bool) -> None:
    def fingerprint() -> str:
        if zipped:
            pack(folder, part, keep=True)
            shutil.move(folder / part, folder / "aside")
        found = open_release(str(folder)).fingerprint()
        if zipped:
            shutil.move(folder / "aside", folder / part)
            (folder / f"{part}.zip").unlink()
        return found

    before = fingerprint()
    assert fingerprint() == before
    path = next(file for file in sorted((folder / part).rglob("*")) if file.suffix in (".npy", ".png", ".shp"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")  # of the same size
    assert fingerprint() != before


def test_the_checksum_of_the_table_changes_with_it(folder: Path) -> None:
    before = open_release(str(folder)).table_md5
    table = folder / TABLE_FILE
    table.write_text(table.read_text().replace("CALIBRATION", "MAIN").replace("VALIDATION", "MAIN"))
    assert open_release(str(folder)).table_md5 != before


@pytest.mark.parametrize("place", ["", "nowhere"], ids=["no table", "no folder"])
def test_a_place_without_a_table_is_no_release(folder: Path, place: str) -> None:
    if not place:
        (folder / TABLE_FILE).unlink()
    with pytest.raises(ReleaseError, match=rf"holds no {TABLE_FILE}; expected a folder with it and subscenes\.zip, "):
        open_release(str(folder / place))


def test_a_file_is_no_release(folder: Path) -> None:
    with pytest.raises(ReleaseError, match=r"masks\.zip holds no classification_tags\.csv; expected a folder"):
        open_release(str(pack(folder, "masks")))


def test_what_is_wrong_in_the_table_and_in_the_files_is_one_report(folder: Path) -> None:
    table = (folder / TABLE_FILE).read_text().replace("VALIDATION", "Validation").splitlines()
    (folder / TABLE_FILE).write_text("\n".join([*table, table[1]]))
    (folder / "masks" / f"{FIRST}.npy").unlink()
    with pytest.raises(ReleaseError, match=r"cannot be converted: \d errors, 0 warnings") as caught:
        open_release(str(folder))
    caught.match(r"column 'dataset': 'Validation' is none of MAIN, VALIDATION, CALIBRATION")
    caught.match(r"scene \S+ has several rows")
    caught.match(rf"missing: masks has no file of scene {FIRST}")


class _Busy(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, but not its thumbnails."""

    def send_head(self) -> object:
        if "thumbnails" not in self.path:
            return super().send_head()
        self.send_error(503)
        return None

    def log_message(self, *args: object) -> None:
        pass


def test_a_part_that_a_server_refuses_is_an_error_and_not_absent(pristine: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Busy, directory=str(pristine)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with pytest.raises(ReleaseError, match=r"503.*thumbnails"):
            open_release(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("carrier-pigeon://release", "carrier-pigeon"),
        ("http://[", r"http://\[ cannot be read: .*Invalid"),
        ("http://127.0.0.1:9/release", "http://127.0.0.1:9/release cannot be read: .*Cannot connect"),
    ],
)
def test_a_url_that_nothing_can_read_is_an_error(url: str, said: str) -> None:
    with pytest.raises(ReleaseError, match=said):
        open_release(url)


def test_scenes_may_name_all_rows_of_a_shorter_table(folder: Path) -> None:
    """Files of other scenes are warnings where scenes are asked for, and errors where the whole release is."""
    table = TABLE[TABLE["scene"].isin([FIRST, THIRD])]
    (folder / TABLE_FILE).write_text(table.to_csv(index=False))
    release = open_release(str(folder), scenes=[FIRST, THIRD])
    assert [scene.scene for scene in release.scenes] == [FIRST, THIRD]
    assert f"extra: {folder}/subscenes/{SECOND}.npy is of a scene without a row in {TABLE_FILE}" in release.warnings
    assert [scene.scene for scene in open_release(str(folder), scenes=[THIRD]).scenes] == [THIRD]
    assert f"extra: subscenes/{SECOND}.npy is of a scene without a row in {TABLE_FILE}" in problems(folder)
