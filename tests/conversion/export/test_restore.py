"""The published layout again: outlines byte for byte, parts by name, folders that other loaders take."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.answers import Answer
from pyproj import CRS

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export.releases import restore
from s2cmc.conversion.export.scenes import export
from s2cmc.conversion.source.outlines import read_outline
from s2cmc.conversion.verify.verification import verify
from s2cmc.release import ReleaseWriter, encode_outline, outline_path
from s2cmc.schema.geometry import Outline
from s2cmc.schema.products import Product
from s2cmc.synthetic.make import make_scene, write_release
from s2cmc.synthetic.table import sample_table


def files_of(folder: Path) -> set[str]:
    """Paths of the files in a folder, without the journal of an export."""
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {path for path in paths if not path.startswith(".")}


def genuine_outlines(shared_data: Path) -> dict[str, dict[str, bytes]]:
    """The published .shp and .prj of three scenes."""
    folders = (shared_data / "shapefiles").iterdir()
    return {folder.name: {file.suffix: file.read_bytes() for file in folder.iterdir()} for folder in folders}


def test_outlines_have_the_published_bytes(shared_data: Path) -> None:
    genuine = genuine_outlines(shared_data)
    assert sorted(scene[38:44] for scene in genuine) == ["T20PMQ", "T37LDL", "T46RBU"]
    for scene, published in genuine.items():
        encoded = encode_outline(read_outline(published, Product.parse(scene)))
        assert {suffix: encoded[suffix] for suffix in published} == published


@pytest.mark.parametrize("epsg", [*range(32601, 32661), *range(32701, 32761)])
def test_the_published_dialect_names_the_zone(epsg: int) -> None:
    text = encode_outline(Outline(epsg, 451_740.0, 9_038_360.0, 472_180.0, 9_058_800.0))[".prj"].decode()
    assert CRS.from_wkt(text).to_epsg() == epsg
    assert text.count("\n") == 0


@pytest.mark.slow
def test_another_dialect_is_restored_as_published(shared_data: Path, tmp_path: Path) -> None:
    """A full-size synthetic scene at a genuine place: the shapefile it comes with was written by GDAL."""
    scene, published = next(iter(genuine_outlines(shared_data).items()))
    outline = read_outline(published, Product.parse(scene))
    row = sample_table(1).to_dict("records")[0] | {"scene": scene}
    made = replace(make_scene(row, 1022, 0), outline=outline, thumbnail=None)
    write_release(tmp_path / "release", [made], layout="folder")
    prj = tmp_path / "release" / outline_path(scene, ".prj")
    prj.write_text(CRS.from_epsg(outline.epsg).to_wkt("WKT1_GDAL"))
    convert(tmp_path / "release", tmp_path / "store.zarr")
    restore(tmp_path / "store.zarr", tmp_path / "back", layout="folder")
    for suffix, content in published.items():
        assert (tmp_path / "back" / outline_path(scene, suffix)).read_bytes() == content
    assert verify(tmp_path / "store.zarr", tmp_path / "back") == []


def test_unpacked_is_folders_of_npy(tiny_store: Path, tmp_path: Path, run: Callable[..., Answer]) -> None:
    assert run("restore", tiny_store, tmp_path / "out", "--unpacked", "--parts", "subscenes, masks").code == 0
    scenes = s2cmc.open_catalogue(tiny_store).scene.values
    expected = {f"{part}/{scene}.npy" for part in ("subscenes", "masks") for scene in scenes}
    assert files_of(tmp_path / "out") == expected | {"classification_tags.csv", "SYNTHETIC.txt"}
    assert np.load(tmp_path / "out" / "masks" / f"{scenes[0]}.npy").shape == (16, 16, 3)


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_parts_are_exported_alone(tiny_store: Path, tmp_path: Path, form: str) -> None:
    everything = export(tiny_store, tmp_path / "all", format=form)
    done = export(tiny_store, tmp_path / "some", format=form, parts=["subscenes", "masks"])
    assert files_of(tmp_path / "some") == {
        name for name in files_of(tmp_path / "all") if not name.startswith(("alt_masks", "shapefiles", "thumbnails"))
    }
    assert done.scenes == everything.scenes == 3
    convert(tmp_path / "some", tmp_path / "back.zarr")
    back, first = (s2cmc.open_catalogue(path) for path in (tmp_path / "back.zarr", tiny_store))
    np.testing.assert_array_equal(back.mask, first.mask)
    with pytest.raises(s2cmc.StoreError, match="holds an export of another parts; choose another place"):
        export(tiny_store, tmp_path / "some", format=form)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (["subscenes", "mask"], r"no part 'mask' of a release; did you mean masks or alt_masks\?"),
        (["B02"], "no part 'B02' of a release; there are subscenes, masks, alt_masks, shapefiles"),
        ([], r"parts \[\] is no list of names"),
        ("masks", "parts 'masks' is no list of names"),
    ],
)
def test_an_unknown_part_is_one_error(tiny_store: Path, tmp_path: Path, parts: list[str], said: str) -> None:
    with pytest.raises(s2cmc.QueryError, match=said):
        export(tiny_store, tmp_path / "out", format="npy", parts=parts)
    with pytest.raises(s2cmc.QueryError, match=said):
        restore(tiny_store, tmp_path / "out", parts=parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["cog", "png", "zarr"])
def test_other_formats_have_no_parts(tiny_store: Path, tmp_path: Path, form: str) -> None:
    with pytest.raises(s2cmc.QueryError, match=f"format '{form}' has no parts of a release.*leave out `parts`"):
        export(tiny_store, tmp_path / "out", format=form, parts=["masks"])


def test_a_zip_has_an_entry_for_every_folder(tmp_path: Path) -> None:
    with ReleaseWriter(tmp_path) as writer:
        writer.add_outline("SCENE", Outline(32637, 0.0, 0.0, 20.0, 20.0))
        names = writer._zips["shapefiles"].namelist()
    assert names[:3] == ["shapefiles/", "shapefiles/SCENE/", "shapefiles/SCENE/SCENE.cpg"]
    assert len(names) == 7
