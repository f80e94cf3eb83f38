"""Releases as years on a disk leave them: what is plain is taken and said in one line, what is not is one question."""

import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.accidents import objects, without_dates

from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export.releases import restore
from s2cmc.conversion.source import containers
from s2cmc.conversion.source.listing import Release, open_release
from s2cmc.conversion.verify.verification import verify
from s2cmc.errors import MissingReleaseError, ReleaseError
from s2cmc.release import ALT_PREFIX, PARTS, SYNTHETIC_FILE, TABLE_FILE
from s2cmc.synthetic.make import make_scene, write_release
from s2cmc.synthetic.table import sample_table

TABLE = sample_table(4)
FIRST, SECOND, THIRD, FOURTH = TABLE["scene"]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 synthetic scenes of 16 x 16 pixels in folders, each with all parts."""
    scenes = (make_scene(row, 16, 0, alt_mask=True) for row in TABLE.to_dict("records"))
    return write_release(tmp_path_factory.mktemp("source") / "folder", scenes, layout="folder")


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """The release in folders, to be changed."""
    return shutil.copytree(pristine, tmp_path / "release")


def pack(source: Path, target: Path, name: Callable[[str], str] = str, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Move a folder into a zip, its files under other names."""
    with zipfile.ZipFile(target, "w", method) as archive:
        for file in sorted(source.rglob("*")):
            if file.is_file():
                archive.writestr(name(file.relative_to(source).as_posix()), file.read_bytes())
    shutil.rmtree(source)
    return target


def zipped(folder: Path) -> Path:
    """Make all parts zips, as published."""
    for part in PARTS:
        pack(folder / part, folder / f"{part}.zip", lambda name, part=part: f"{part}/{name}")
    return folder


def contents(release: Release) -> dict[str, list[bytes]]:
    return {scene.scene: [member.read() for member in scene.members()] for scene in release.scenes}


def taken(place: Path | str, pristine: Path) -> list[str]:
    """Return the warnings about a place that is the same release as `pristine`, without the paths of this machine."""
    release = open_release(str(place))
    assert contents(release) == contents(open_release(str(pristine)))
    return [line.replace(f"{place}/", "") for line in release.warnings]


def problems(place: Path) -> list[str]:
    with pytest.raises(ReleaseError, match="cannot be converted") as error:
        open_release(str(place))
    return [line.replace(f"{place}/", "") for line in error.value.problems if not line.startswith("warning")]


STRAYS = [".DS_Store", "Thumbs.db", "desktop.ini", f"._{FIRST}.npy", f"__MACOSX/masks/._{FIRST}.npy"]


def test_files_of_operating_systems_are_ignored_and_counted_in_one_line(folder: Path, pristine: Path) -> None:
    for stray in STRAYS:
        for place in (folder, folder / "masks", folder / "shapefiles" / FIRST):
            (place / stray).parent.mkdir(parents=True, exist_ok=True)
            (place / stray).write_bytes(b"of a system")
    # In the root, __MACOSX/ counts as one.
    assert taken(folder, pristine) == ["ignored: 15 files and folders of operating systems, masks/.DS_Store first"]
    pack(folder / "masks", folder / "masks.zip", lambda name: name if "__MACOSX" in name else f"masks/{name}")
    (warning,) = taken(folder, pristine)
    assert warning == "ignored: 15 files and folders of operating systems, masks.zip!masks/.DS_Store first"


@pytest.mark.parametrize("top", ["subscenes-v1/", "subscenes/subscenes/", "home/me/data/subscenes/", "Sub scenes (1)/"])
def test_a_top_folder_by_another_name_is_found_and_said(folder: Path, pristine: Path, top: str) -> None:
    pack(folder / "subscenes", folder / "subscenes.zip", lambda name: top + name)
    assert taken(folder, pristine) == [f"found subscenes.zip!{top}; taken as subscenes/"]


def test_two_other_top_folders_are_a_question(folder: Path) -> None:
    shutil.copytree(folder / "masks", folder / "aside" / "v1")
    shutil.copytree(folder / "masks", folder / "aside" / "v2")
    shutil.rmtree(folder / "masks")
    pack(folder / "aside", folder / "masks.zip")
    assert problems(folder) == [
        "several: masks.zip!v1/ (4 files) and masks.zip!v2/ (4 files) are there; which is masks? Move the others "
        "elsewhere"
    ]


def test_the_published_top_folder_goes_before_others(folder: Path, pristine: Path) -> None:
    shutil.copytree(folder / "masks", folder / "masks" / "old")
    warnings = taken(folder, pristine)
    assert [line.partition("masks/old/")[0] for line in warnings] == ["misnamed: "] * 4


def test_names_of_files_are_shown_without_what_a_terminal_obeys(folder: Path) -> None:
    (folder / "masks" / "\x1b[2J\n.npy").write_bytes(b"")
    (warning,) = open_release(str(folder)).warnings
    assert warning.endswith(r"masks/\x1b[2J\n.npy is not a name of masks (SCENE.npy)")


def test_a_doubled_folder_is_found_and_said(folder: Path, pristine: Path) -> None:
    for part in ("alt_masks", "shapefiles"):
        (folder / part).rename(folder / "aside")
        (folder / part).mkdir()
        (folder / "aside").rename(folder / part / part)
    assert taken(folder, pristine) == [
        "found alt_masks/alt_masks/; taken as alt_masks/",
        "found shapefiles/shapefiles/; taken as shapefiles/",
    ]


def test_backslashes_in_a_zip_separate_folders(folder: Path, pristine: Path) -> None:
    for part in PARTS:
        pack(folder / part, folder / f"{part}.zip", lambda name, part=part: f"{part}/{name}".replace("/", "\\"))
    assert taken(folder, pristine) == []


def test_endings_may_be_in_capitals(folder: Path, pristine: Path) -> None:
    for file in [file for file in folder.rglob("*/*") if file.is_file()]:
        file.rename(file.with_name(file.stem + file.suffix.upper()))
    assert taken(folder, pristine) == []


@pytest.mark.parametrize(
    "name", ["Alt_Masks/", "alt_masks (1).zip", "altmasks.zip", "ALT-MASKS.ZIP", "alt_masks copy/"]
)
def test_a_part_by_another_spelling_is_taken_and_said(folder: Path, pristine: Path, name: str) -> None:
    if name.endswith("/"):
        (folder / "alt_masks").rename(folder / name)
    else:
        pack(folder / "alt_masks", folder / name, lambda file: f"alt_masks/{file}")
    assert taken(folder, pristine) == [f"found {name}; taken as alt_masks"]
    (folder / f"._{name.rstrip('/')}").write_bytes(b"of a system")
    assert taken(folder, pristine)[0] == f"found {name}; taken as alt_masks"


def test_the_published_name_goes_before_another_spelling(folder: Path, pristine: Path) -> None:
    shutil.copytree(folder / "masks", folder / "Masks (1)")
    assert taken(folder, pristine) == ["not part of a release, left alone: Masks (1)/"]


def test_two_other_spellings_are_a_question(folder: Path) -> None:
    shutil.copytree(folder / "thumbnails", folder / "Thumbnails")
    (folder / "thumbnails").rename(folder / "thumbnails (1)")
    assert problems(folder) == [
        "several: Thumbnails/ (4 files) and thumbnails (1)/ (4 files) are there; which is thumbnails? Move the others "
        "elsewhere"
    ]


def test_zip_and_folder_of_a_part_are_one_line(folder: Path) -> None:
    shutil.copytree(folder / "masks", folder / "aside")
    pack(folder / "aside", folder / "masks.zip", lambda name: f"masks/{name}")
    assert problems(folder) == [
        "several: masks.zip (4 files) and masks/ (4 files) are there; which is masks? Move the others elsewhere"
    ]


def test_beside_an_empty_folder_the_zip_counts(folder: Path, pristine: Path) -> None:
    pack(folder / "masks", folder / "masks.zip", lambda name: f"masks/{name}")
    (folder / "masks").mkdir()
    assert taken(folder, pristine) == []


def test_alternative_masks_without_their_prefix_are_taken_and_said(folder: Path, pristine: Path) -> None:
    for file in (folder / "alt_masks").iterdir():
        file.rename(file.with_name(file.name.removeprefix(ALT_PREFIX)))
    first = min(TABLE["scene"])
    assert taken(folder, pristine) == [
        f"found 4 files of alt_masks without ALT_ in their names, alt_masks/{first}.npy first; taken"
    ]


@pytest.mark.parametrize("in_zip", [False, True])
def test_shapefiles_zipped_each_are_read(folder: Path, pristine: Path, in_zip: bool) -> None:
    for scene in TABLE["scene"]:
        (folder / "shapefiles" / scene / "__MACOSX").mkdir()
        (folder / "shapefiles" / scene / "__MACOSX" / f"._{scene}.shp").write_bytes(b"of a system")
        pack(folder / "shapefiles" / scene, folder / "shapefiles" / f"{scene}.zip")
    if in_zip:
        pack(folder / "shapefiles", folder / "shapefiles.zip", lambda name: f"shapefiles/{name}")
    assert taken(folder, pristine) == []


def test_a_zip_of_an_outline_that_is_none_or_too_large_is_named(folder: Path) -> None:
    (folder / "shapefiles" / f"{FIRST}.zip").write_bytes(b"no zip")
    (folder / "shapefiles" / f"{SECOND}.zip").write_bytes(bytes(1_000_001))
    (folder / "shapefiles" / "others.zip").write_bytes(b"no scene's")
    assert sorted(problems(folder)) == sorted(
        [
            f"shapefiles/{FIRST}.zip is not a readable zip: File is not a zip file",
            f"shapefiles/{SECOND}.zip has 1000001 bytes, which is more than the 1000000 that are taken",
        ]
    )


def test_outlines_of_another_format_are_named_in_one_line(folder: Path) -> None:
    shutil.rmtree(folder / "shapefiles")
    (folder / "shapefiles").mkdir()
    for scene in TABLE["scene"]:
        (folder / "shapefiles" / f"{scene}.geojson").write_text("{}")
    first = min(TABLE["scene"])
    assert [line.replace(f"{folder}/", "") for line in open_release(str(folder)).warnings] == [
        f"not read: 4 outlines that are no shapefiles, shapefiles/{first}.geojson first; expected SCENE/SCENE.shp, as "
        "ogr2ogr makes it",
        "absent: shapefiles of 4 of 4 scenes that should have one",
    ]


def test_of_a_shapefile_only_the_shp_is_needed(folder: Path, pristine: Path) -> None:
    for file in [*folder.glob("shapefiles/*/*")]:
        if file.suffix not in (".shp", ".prj"):
            file.unlink()
    assert taken(folder, pristine) == []
    (folder / "shapefiles" / FIRST / f"{FIRST}.shp").unlink()
    assert problems(folder) == [f"missing: the shapefile of {FIRST} lacks .shp"]


def test_unknown_entries_of_the_root_are_named_in_one_line(folder: Path, pristine: Path) -> None:
    (folder / "old").mkdir()
    (folder / "README.pdf").write_bytes(b"")
    (folder / "notes\n.txt").write_text("")
    assert taken(folder, pristine) == [r"not part of a release, left alone: notes\n.txt and old/"]
    for i in range(100):
        (folder / f"part {i}").write_text("")
    (warning,) = taken(folder, pristine)
    assert warning.endswith("and 82 more")


def test_a_web_server_is_asked_for_the_published_names(folder: Path, pristine: Path, serve: Callable) -> None:
    (folder / "notes.txt").write_text("")
    url = serve(zipped(folder)).url
    assert taken(url, pristine) == []


@pytest.mark.parametrize("above", ["DATASET", "DATASET/release", "a/b/c"])
def test_the_table_is_found_in_folders_below(folder: Path, pristine: Path, tmp_path: Path, above: str) -> None:
    (tmp_path / "given" / above).parent.mkdir(parents=True)
    folder.rename(tmp_path / "given" / above)
    (tmp_path / "given" / "other").mkdir()
    assert taken(tmp_path / "given", pristine) == [
        f"found {above}/{TABLE_FILE}; {above}/ is taken as the release",
    ]


def test_two_folders_with_a_table_are_a_question(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(
        ReleaseError, match=rf"which is the table, copy/{TABLE_FILE} or release/{TABLE_FILE}\? Give the"
    ):
        open_release(str(tmp_path))


@pytest.mark.parametrize("name", ["classification_tags (1).csv", "Classification_Tags.CSV"])
def test_a_table_by_another_spelling_is_taken_and_said(folder: Path, pristine: Path, name: str) -> None:
    (folder / TABLE_FILE).rename(folder / name)
    assert taken(folder, pristine) == [f"found {name}; taken as {TABLE_FILE}"]


def test_parts_may_be_below_or_above_the_table(folder: Path, pristine: Path) -> None:
    (folder / "data").mkdir()
    for part in PARTS:
        (folder / part).rename(folder / "data" / part)
    assert taken(folder, pristine) == ["found the parts in data/; taken"]
    for part in PARTS:
        (folder / "data" / part).rename(folder / part)
    (folder / TABLE_FILE).rename(folder / "data" / TABLE_FILE)
    assert taken(folder, pristine) == [
        f"found data/{TABLE_FILE}; data/ is taken as the release",
        "found the parts in the folder above the table; taken",
    ]


@pytest.mark.parametrize("top", ["", "release/"])
def test_one_zip_of_all_folders_is_read_in_place(folder: Path, pristine: Path, tmp_path: Path, top: str) -> None:
    path = pack(folder, tmp_path / "release.zip", lambda name: top + name)
    said = [f"found release/{TABLE_FILE}; release/ is taken as the release"] if top else []
    assert taken(path, pristine) == said
    inside = open_release(str(tmp_path))  # the folder that holds the zip
    assert contents(inside) == contents(open_release(str(pristine)))
    place = f"release.zip!{top}"
    assert inside.warnings == (f"found {place}{TABLE_FILE}; {place} is taken as the release",)
    assert {path.name for path in tmp_path.iterdir()} == {"release.zip"}


@pytest.mark.parametrize("small", [True, False])
def test_zips_stored_in_one_zip_are_read_in_place(
    folder: Path, pristine: Path, tmp_path: Path, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:
        monkeypatch.setattr(containers, "_SMALL", 0)
    path = pack(zipped(folder), tmp_path / "4172871.zip", method=zipfile.ZIP_STORED)
    assert taken(path, pristine) == []
    member = open_release(str(path)).scenes[0].mask
    assert member.path == f"{path}!masks.zip!masks/{member.name.removeprefix('masks/')}"


def test_a_large_zip_deflated_in_another_is_to_be_unpacked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "_SMALL", 0)
    path = pack(zipped(folder), tmp_path / "4172871.zip")
    assert problems(path)[0] == f"{path}!subscenes.zip is a zip that is deflated in another one; unpack {path} first"


def test_one_zip_may_be_on_a_web_server(folder: Path, pristine: Path, tmp_path: Path, serve: Callable) -> None:
    (tmp_path / "served").mkdir()
    pack(zipped(folder), tmp_path / "served" / "release.zip", method=zipfile.ZIP_STORED)
    assert taken(f"{serve(tmp_path / 'served').url}/release.zip", pristine) == []


@pytest.mark.parametrize("nbytes", [0, 1_000, -1])
def test_a_zip_cut_short_is_an_incomplete_download(folder: Path, nbytes: int) -> None:
    path = zipped(folder) / "masks.zip"
    path.write_bytes(path.read_bytes()[:nbytes])
    (folder / SYNTHETIC_FILE).unlink(missing_ok=True)
    (line,) = problems(folder)
    size = path.stat().st_size
    assert line == (
        f"masks.zip is not a readable zip: incomplete download: {size:,} of 7,241,097 bytes; download it again"
    )


def test_of_a_synthetic_zip_cut_short_the_size_is_not_known(folder: Path) -> None:
    path = zipped(folder) / "masks.zip"
    path.write_bytes(path.read_bytes()[:1_000])
    (folder / SYNTHETIC_FILE).write_text("synthetic")
    assert problems(folder) == [
        "masks.zip is not a readable zip: incomplete: its end is missing after 1,000 bytes; download or copy it again"
    ]


@pytest.mark.parametrize("part", ["masks", "thumbnails"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{part}.tar", "is no zip; unpack it into a folder {part}/"),
        ("{part}.tar.gz", "is no zip; unpack it into a folder {part}/"),
        ("{part}.tgz", "is no zip; unpack it into a folder {part}/"),
        ("{part}.7z", "is no zip; unpack it into a folder {part}/"),
        ("{part}.rar", "is no zip; unpack it into a folder {part}/"),
        ("{part}.zip.crdownload", "is an unfinished download; download it to its end"),
        ("{part}.zip.part", "is an unfinished download; download it to its end"),
        ("{part}.z01", "is a piece of a split zip; join the pieces (zip -s 0 {part}.zip --out joined.zip)"),
        ("{part}.zip.001", "is a piece of a split zip; join the pieces (zip -s 0 {part}.zip --out joined.zip)"),
    ],
)
def test_a_part_in_another_form_is_named(folder: Path, part: str, name: str, said: str) -> None:
    path = folder / name.format(part=part)
    with tarfile.open(path, "w") as archive:
        archive.add(folder / part, part)
    shutil.rmtree(folder / part)
    assert problems(folder) == [f"{path.name} {said.format(part=part)}"]


def test_an_unfinished_download_beside_the_whole_zip_is_left_alone(folder: Path, pristine: Path) -> None:
    (folder / "masks.zip.part").write_bytes(b"")
    assert taken(folder, pristine) == ["not part of a release, left alone: masks.zip.part"]


def test_the_last_piece_of_a_split_zip_says_so(folder: Path) -> None:
    path = zipped(folder) / "masks.zip"
    whole = path.read_bytes()
    path.with_suffix(".z01").write_bytes(whole[:1_000])
    path.write_bytes(whole[1_000:])
    (line, *_) = problems(folder)
    assert line.startswith("masks.z") and "masks.z01 is a piece of a split zip" in line  # noqa: PT018


def test_linked_folders_and_files_are_taken(folder: Path, pristine: Path, tmp_path: Path) -> None:
    (folder / "masks").rename(tmp_path / "disk")
    (folder / "masks").symlink_to(tmp_path / "disk")
    (folder / "shapefiles" / FIRST).rename(tmp_path / "outline")
    (folder / "shapefiles" / FIRST).symlink_to(tmp_path / "outline")
    (folder / TABLE_FILE).rename(tmp_path / "table")
    (folder / TABLE_FILE).symlink_to(tmp_path / "table")
    assert taken(folder, pristine) == []
    (tmp_path / "link").symlink_to(folder)
    assert taken(tmp_path / "link", pristine) == []


@pytest.mark.parametrize("target", [".", "..", "../masks", "/"])
def test_a_link_that_leads_back_is_refused(folder: Path, target: str) -> None:
    (folder / "masks" / "back").symlink_to(target)
    assert problems(folder) == ["masks/back is no file, but a pipe, a device, or a link to something else"]


def test_pipes_are_refused(folder: Path) -> None:
    os.mkfifo(folder / "masks" / "pipe")
    os.mkfifo(folder / "pipe.zip")
    assert problems(folder) == ["masks/pipe is no file, but a pipe, a device, or a link to something else"]


def test_of_many_missing_files_the_first_are_told(tmp_path: Path) -> None:
    scenes = (make_scene(row, 8, 0) for row in sample_table(60).to_dict("records"))
    release = write_release(tmp_path / "release", scenes, layout="folder")
    for file in [*(release / "masks").iterdir()][:-1]:
        file.unlink()
    lines = problems(release)
    assert len(lines) == 21
    assert lines[-1] == "missing or misnamed: 39 more files"


def test_a_place_without_a_table_is_looked_through_within_bounds(tmp_path: Path) -> None:
    for i in range(150):
        (tmp_path / f"{i}" / "a" / "b" / "c" / "d").mkdir(parents=True)
    (tmp_path / "0" / "loop").symlink_to(tmp_path)
    with pytest.raises(
        MissingReleaseError, match=rf"holds no {TABLE_FILE}; expected a folder with it and subscenes\.zip"
    ):
        open_release(str(tmp_path))


@pytest.mark.slow
def test_a_release_changed_in_many_ways_gives_the_store_of_the_clean_one(pristine: Path, tmp_path: Path) -> None:
    clean = zipped(shutil.copytree(pristine, tmp_path / "clean"))
    convert(str(clean), str(tmp_path / "clean.zarr"))

    changed = shutil.copytree(pristine, tmp_path / "given" / "old disk" / "DATASET")
    for stray in STRAYS:
        (changed / "masks" / stray).parent.mkdir(parents=True, exist_ok=True)
        (changed / "masks" / stray).write_bytes(b"of a system")
    (changed / "notes.txt").write_text("")
    for file in [*changed.glob("thumbnails/*"), *changed.glob("alt_masks/*"), *changed.glob("shapefiles/*/*")]:
        file.rename(file.with_name(file.stem.removeprefix(ALT_PREFIX) + file.suffix.upper()))
    for file in [*changed.glob("shapefiles/*/*")]:
        if file.suffix in (".DBF", ".SHX", ".CPG"):
            file.unlink()
    for scene in TABLE["scene"]:
        pack(changed / "shapefiles" / scene, changed / "shapefiles" / f"{scene}.zip")
    pack(changed / "subscenes", changed / "subscenes.zip", lambda name: f"subscenes-v1\\nested\\{name}")
    pack(changed / "masks", changed / "Masks (1).ZIP", lambda name: name if "__MACOSX" in name else f"masks/{name}")
    pack(changed / "alt_masks", changed / "altmasks.zip")
    pack(changed / "thumbnails", changed / "thumbnails.zip", lambda name: f"Thumbnails/{name}")
    pack(changed / "shapefiles", changed / "Shape-Files.zip", lambda name: f"a/b/{name}")
    (changed / "masks").mkdir()
    (changed / TABLE_FILE).rename(changed / "Classification_Tags (2).csv")
    report = convert(str(tmp_path / "given"), str(tmp_path / "changed.zarr"))

    assert len(report.warnings) == 11
    changed_objects, clean_objects = objects(tmp_path / "changed.zarr"), objects(tmp_path / "clean.zarr")
    assert without_dates(changed_objects.pop("zarr.json")) == without_dates(clean_objects.pop("zarr.json"))
    assert changed_objects == clean_objects
    for store in ("changed.zarr", "clean.zarr"):
        for release in (tmp_path / "given", clean):
            assert verify(str(tmp_path / store), str(release)) == []
        restore(str(tmp_path / store), str(tmp_path / f"restored {store}"))
    assert objects(tmp_path / "restored changed.zarr") == objects(tmp_path / "restored clean.zarr")


def test_broken_thumbnails_stop_nothing_that_is_converted_without_them(release: Path, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(release, folder)
    (folder / "thumbnails.zip").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ReleaseError, match=r"thumbnails\.zip is not a readable zip"):
        convert(folder, tmp_path / "store.zarr")
    convert(folder, tmp_path / "store.zarr", thumbnails=False)
    assert verify(tmp_path / "store.zarr", folder) == []
