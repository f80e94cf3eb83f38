"""Exported GeoTIFFs are read by rasterio as what the store holds: pixels, names, colours, and their place on Earth."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import zarr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.export.geotiff import encode_labels, encode_reflectance
from s2cmc.conversion.export.releases import restore
from s2cmc.conversion.export.scenes import export
from s2cmc.schema.bands import BAND_NAMES, BANDS
from s2cmc.schema.catalogue import CLASS_COLORS, MaskClass
from s2cmc.synthetic.make import make_release
from s2cmc.synthetic.table import NO_CLASS_PIXELS, TWO_CLASS_PIXELS, quirk_scenes

pytestmark = pytest.mark.slow

FORMATS = ("cog", "geotiff")
PLACE = (32618, Affine(20, 0, 399960, 0, -20, 4000020))


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory) -> dict[str, Path]:
    """Folders of all scenes of `store`, by format. Not to be changed."""
    folders = {name: tmp_path_factory.mktemp(name) for name in FORMATS}
    for name, folder in folders.items():
        export(str(store), str(folder), format=name)
    return folders


@pytest.fixture(params=FORMATS)
def folder(request, exported) -> Path:
    return exported[request.param]


@pytest.fixture(scope="module")
def stored(store) -> zarr.Group:
    """`store` as zarr-python reads it: DN, and labels with their bits."""
    return zarr.open_group(store, mode="r")


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> tuple[Path, Path]:
    """A store of one scene of 600 x 600 pixels, which has overviews, and its COGs."""
    folder = tmp_path_factory.mktemp("large")
    make_release(folder / "release", scenes=1, size=600)
    convert(str(folder / "release"), str(folder / "store.zarr"))
    export(str(folder / "store.zarr"), str(folder / "out"))
    return folder / "store.zarr", folder / "out"


def the_only(folder: Path, ending: str) -> Path:
    (path,) = folder.glob(f"*{ending}")
    return path


def test_every_pixel_is_the_stored_digital_number(folder, stored, catalogue):
    for i, scene in enumerate(catalogue.scene.values):
        with rasterio.open(folder / f"{scene}_reflectance.tif") as file:
            assert set(file.dtypes) == {"uint16"}
            np.testing.assert_array_equal(file.read(), np.moveaxis(stored["reflectance"][i], -1, 0))


def test_every_label_is_that_of_the_catalogue(folder, catalogue):
    for i, scene in enumerate(catalogue.scene.values):
        for name in ("mask", "alt_mask"):
            path = folder / f"{scene}_{name}.tif"
            assert path.exists() == (name == "mask" or bool(catalogue.has_alt_mask[i]))
            if path.exists():
                with rasterio.open(path) as file:
                    assert file.dtypes == ("uint8",)
                    np.testing.assert_array_equal(file.read(1), catalogue[name][i])


def test_pixels_that_are_not_one_hot_have_no_label_and_are_counted(folder, catalogue):
    odd = quirk_scenes(catalogue.scene.to_series().to_frame())["mask_not_one_hot"]
    with rasterio.open(folder / f"{odd}_mask.tif") as file:
        assert file.tags()["pixels_not_one_hot"] == str(NO_CLASS_PIXELS + TWO_CLASS_PIXELS) == "5"
        assert file.read(1).ravel()[:NO_CLASS_PIXELS].tolist() == [255] * NO_CLASS_PIXELS
        assert file.nodata == 255


def test_every_transform_is_that_of_the_published_outline(folder, release, catalogue):
    """The outline is 65 pixels of 20 m wider than the array on each side; its box stands in the header of the .shp."""
    with zipfile.ZipFile(release / "shapefiles.zip") as archive:
        for scene in catalogue.scene.values:
            header = archive.read(f"shapefiles/{scene}/{scene}.shp")[:100]
            left, _, _, top = struct.unpack("<4d", header[36:68])
            for path in folder.glob(f"{scene}_*.tif"):
                with rasterio.open(path) as file:
                    assert tuple(file.transform)[:6] == (20, 0, left + 1300, 0, -20, top - 1300)
                    assert file.crs.to_epsg() == int(catalogue.epsg.sel(scene=scene))


def test_bands_have_names_units_scale_and_wavelength(folder, catalogue):
    with rasterio.open(folder / f"{catalogue.scene.values[0]}_reflectance.tif") as file:
        assert file.descriptions == BAND_NAMES
        assert (file.scales, file.offsets, file.units) == ((1e-4,) * 13, (0.0,) * 13, ("1",) * 13)
        assert file.nodata == 0
        assert file.colorinterp[1:4] == (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
        told = {"common_name": "nir08", "wavelength_nm": "864.7", "bandwidth_nm": "21.0", "native_resolution_m": "20"}
        assert file.tags(BAND_NAMES.index("B8A") + 1) == told
        assert file.tags(1, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.4427", "FWHM_UM": "0.0210"}


@pytest.mark.parametrize(("satellite", "wavelength", "width"), [("S2A", 2202.4, 175), ("S2B", 2185.7, 185)])
def test_wavelengths_are_those_of_the_satellite(folder, catalogue, satellite, wavelength, width):
    """B12 by ESA's table of the bands of both satellites, in nm."""
    scene = next(name for name in catalogue.scene.values if name.startswith(satellite))
    with rasterio.open(folder / f"{scene}_reflectance.tif") as file:
        assert (float(file.tags(13)["wavelength_nm"]), float(file.tags(13)["bandwidth_nm"])) == (wavelength, width)
        told = file.tags(13, ns="IMAGERY")
        assert told == {"CENTRAL_WAVELENGTH_UM": f"{wavelength / 1000:.4f}", "FWHM_UM": f"{width / 1000:.4f}"}


def test_what_the_table_says_goes_with_every_scene(folder, catalogue):
    for i, scene in enumerate(catalogue.scene.values):
        row = catalogue.isel(scene=i)
        with rasterio.open(folder / f"{scene}_reflectance.tif") as file:
            tags = file.tags()
        assert tags["scene"] == scene
        assert np.datetime64(tags["time"].removesuffix("Z")) == row.time.values
        assert (tags["annotator"], tags["dataset"]) == (row.annotator, row.dataset)
        assert tags["difficulty"] == str(row.difficulty.item())
        assert tags["split"] == ("train" if row.dataset == "MAIN" else "test")
        assert tags["shadows_marked"] == str(row.shadows_marked.item()).lower()
        assert float(tags["cloud_percent"]) == row.cloud_percent
        for group, names in catalogue.clouds.tag_groups.items():
            assert [name for name in tags.get(group, "").split(", ") if name] == [n for n in names if row[n]]


def test_licence_and_citation_go_with_every_file_and_synthetic_data_say_so(folder, catalogue):
    for path in folder.glob("*.tif"):
        with rasterio.open(path) as file:
            tags = file.tags()
        assert (tags["synthetic"], tags["source"]) == ("true", "synthetic")
        assert not {"license", "doi", "citation"} & {*tags, *catalogue.attrs}


def test_the_licence_of_the_catalogue_goes_along(release, tmp_path):
    """A release that does not say that it is synthetic has the licence of the catalogue."""
    with_licence = tmp_path / "release"
    with_licence.mkdir()
    for path in release.iterdir():
        if path.name != "SYNTHETIC.txt":
            (with_licence / path.name).symlink_to(path)
    convert(str(with_licence), str(tmp_path / "store.zarr"))
    scene = str(s2cmc.open_catalogue(tmp_path / "store.zarr").scene.values[0])
    export(str(tmp_path / "store.zarr"), str(tmp_path / "out"), scenes=[scene])
    for path in (tmp_path / "out").glob("*.tif"):
        with rasterio.open(path) as file:
            tags = file.tags()
        assert (tags["license"], tags["doi"]) == ("CC-BY-4.0", "10.5281/zenodo.4172871")
        assert tags["citation"].startswith("Francis, A., Mrziglod, J.")
        assert "synthetic" not in tags


def test_the_other_mask_names_its_annotator_and_no_percentages(folder, catalogue):
    doubly = str(catalogue.scene.values[catalogue.has_alt_mask.values][0])
    with rasterio.open(folder / f"{doubly}_mask.tif") as one, rasterio.open(folder / f"{doubly}_alt_mask.tif") as two:
        assert {one.tags()["annotator"], two.tags()["annotator"]} == {"A", "B"}
        assert "cloud_percent" in one.tags()
        assert not [name for name in two.tags() if name.endswith("_percent")]


def test_labels_have_the_colours_of_the_gallery_and_their_meaning(folder, catalogue):
    with rasterio.open(folder / f"{catalogue.scene.values[0]}_mask.tif") as file:
        colors = file.colormap(1)
        for label, color in CLASS_COLORS.items():
            assert colors[label] == (*color, 255)
        assert len({colors[label] for label in (*MaskClass, 255)}) == 4
        assert colors[255][3] == 0
        assert file.tags(1) == {"flag_values": "0 1 2", "flag_meanings": "clear cloud cloud_shadow"}
        assert file.descriptions == ("mask",)


def test_chosen_bands_stand_in_the_order_asked_for(store, stored, catalogue, tmp_path):
    scene = str(catalogue.scene.values[3])
    export(str(store), str(tmp_path / "out"), scenes=[scene], bands=["B04", "B03", "B8A"])
    with rasterio.open(tmp_path / "out" / f"{scene}_reflectance.tif") as file:
        assert file.descriptions == ("B04", "B03", "B8A")
        assert [file.tags(i)["common_name"] for i in (1, 2, 3)] == ["red", "green", "nir08"]
        np.testing.assert_array_equal(file.read(), np.moveaxis(stored["reflectance"][3][..., [3, 2, 8]], -1, 0))


def test_floats_stay_floats(release, catalogue, tmp_path):
    scene = str(catalogue.scene.values[1])
    convert(str(release), str(tmp_path / "store.zarr"), reflectance="float32", scenes=[scene])
    for name in FORMATS:
        export(str(tmp_path / "store.zarr"), str(tmp_path / name), format=name)
        with rasterio.open(tmp_path / name / f"{scene}_reflectance.tif") as file:
            assert set(file.dtypes) == {"float32"}
            assert np.isnan(file.nodata)
            assert (set(file.scales), file.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"]) == ({1.0}, "3")
            np.testing.assert_array_equal(file.read(), np.moveaxis(catalogue.reflectance[1].values, -1, 0))


@pytest.mark.parametrize("ending", ["_reflectance.tif", "_mask.tif"])
def test_cogs_are_valid_without_a_warning(large, exported, ending):
    from rio_cogeo import cog_validate

    for path in (the_only(large[1], ending), *exported["cog"].glob(f"*{ending}")):
        assert cog_validate(path, strict=True) == (True, [], [])


def test_files_are_tiled_and_compressed_so_that_all_read_them_band_by_band(large, tmp_path):
    export(str(large[0]), str(tmp_path), format="geotiff")
    for folder, overviews in ((large[1], [2]), (tmp_path, [])):
        for path in folder.glob("*.tif"):
            with rasterio.open(path) as file:
                profile, structure = file.profile, file.tags(ns="IMAGE_STRUCTURE")
                assert (profile["tiled"], profile["blockxsize"], profile["blockysize"]) == (True, 512, 512)
                assert (profile["compress"], profile["interleave"]) == ("deflate", "band")
                assert structure.get("PREDICTOR") == (None if "mask" in path.name else "2")
                assert file.overviews(1) == overviews
            assert path.read_bytes()[:4] == b"II*\0"  # little-endian, and no BigTIFF


def test_an_overview_of_labels_holds_the_most_frequent():
    """Clear and shadow have no average. Pixels without a label are counted only where there is no other."""
    full = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (600, 600))
    content = encode_labels(full, "mask", *PLACE, {}, cog=True)
    with MemoryFile(content) as memory, memory.open(overview_level=0) as file:
        small = file.read(1)
    blocks = full.reshape(300, 2, 300, 2).swapaxes(1, 2).reshape(300, 300, 4)
    frequency = np.stack([(blocks == label).sum(axis=-1) for label in MaskClass])
    assert (frequency.max(axis=0) == 0).any()
    np.testing.assert_array_equal(small == 255, frequency.max(axis=0) == 0)
    labelled = small != 255
    assert ((blocks == small[..., np.newaxis]).sum(axis=-1) == frequency.max(axis=0))[labelled].all()


def test_an_overview_of_reflectance_holds_averages(large):
    with rasterio.open(the_only(large[1], "_reflectance.tif")) as file:
        full = file.read(2).astype(float)
    with rasterio.open(the_only(large[1], "_reflectance.tif"), overview_level=0) as file:
        np.testing.assert_allclose(file.read(2), full.reshape(300, 2, 300, 2).mean(axis=(1, 3)), atol=0.51)


def test_scenes_that_nobody_knows_the_place_of_are_refused_before_anything_is_written(store, tmp_path):
    restore(str(store), str(tmp_path / "release"), layout="folder")
    lost = sorted((tmp_path / "release" / "shapefiles").iterdir())[2:4]
    for folder in lost:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    convert(str(tmp_path / "release"), str(tmp_path / "store.zarr"))
    for name in FORMATS:
        with pytest.raises(
            s2cmc.CatalogueError, match=r"2 of 10 scenes have no outline.*export npz, png or zarr"
        ) as said:
            export(str(tmp_path / "store.zarr"), str(tmp_path / "out"), format=name)
        assert all(folder.name in str(said.value) for folder in lost)
        assert not (tmp_path / "out").exists()
    for name in ("png", "npz", "zarr"):
        assert export(str(tmp_path / "store.zarr"), str(tmp_path / name), format=name).scenes == 10
    assert not (tmp_path / "png" / f"{lost[0].name}.png.aux.xml").exists()


@settings(deadline=None, max_examples=25)
@given(
    pixels=hnp.arrays(np.uint16, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(2))),
    cog=st.booleans(),
)
def test_any_digital_numbers_come_back(pixels, cog):
    content = encode_reflectance(pixels, [BANDS[1], BANDS[12]], *PLACE, {"scene": "any"}, cog=cog)
    with MemoryFile(content) as memory, memory.open() as file:
        np.testing.assert_array_equal(file.read(), np.moveaxis(pixels, -1, 0))
        assert (file.crs.to_epsg(), file.transform) == PLACE
        assert file.descriptions == ("B02", "B12")


@settings(deadline=None, max_examples=25)
@given(
    labels=hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        elements=st.sampled_from([0, 1, 2, 240, 243, 245, 246, 247, 255]),
    ),
    cog=st.booleans(),
)
def test_any_labels_come_back(labels, cog):
    with MemoryFile(encode_labels(labels, "mask", *PLACE, {}, cog=cog)) as memory, memory.open() as file:
        expected = labels.copy()
        expected[labels > 2] = 255
        np.testing.assert_array_equal(file.read(1), expected)
        assert file.tags()["pixels_not_one_hot"] == str(int(((labels >= 240) & (labels < 255)).sum()))


def test_every_band_has_its_own_description():
    content = encode_reflectance(np.zeros((4, 4, 13), np.uint16), BANDS, *PLACE, {}, cog=False)
    with MemoryFile(content) as memory, memory.open() as file:
        for number, band in enumerate(BANDS, start=1):
            assert file.tags(number)["wavelength_nm"] == str(band.wavelength)
