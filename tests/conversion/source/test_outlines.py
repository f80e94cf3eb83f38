"""Where a scene lies: one upright rectangle in the zone of its tile, 65 pixels outside the array, or an error."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapefile
from helpers.paths import SHARED
from helpers.shapefiles import Ring, shapefile_of

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.source.outlines import read_outline
from s2cmc.errors import ReleaseError, SceneError
from s2cmc.release import ReleaseWriter
from s2cmc.schema.geometry import Outline, edges_in_tile
from s2cmc.schema.products import Product, tile_origin
from s2cmc.synthetic.table import sample_table

PRODUCT = Product.parse("S2A_MSIL1C_20160112T155831_N0201_R097_T18SVG_20160112T155831")
OUTLINE = Outline(32618, 431_780.0, 4_180_560.0, 454_820.0, 4_203_600.0)

GENUINE_PRJ = (  # as ESRI and GDAL have written it for decades: no authority, no code
    b'PROJCS["WGS_1984_UTM_Zone_18N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,'
    b'298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    b'PARAMETER["False_Easting",500000.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",-75.0],'
    b'PARAMETER["Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]'
)


def test_the_outline_is_read() -> None:
    assert read_outline(shapefile_of([OUTLINE.ring()]), PRODUCT) == OUTLINE


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("step", [1, -1], ids=["clockwise", "reversed"])
def test_a_ring_may_begin_anywhere_and_run_either_way(start: int, step: int) -> None:
    corners = OUTLINE.ring()[:4]
    ring = (corners[start:] + corners[: start + 1])[::step]
    assert read_outline(shapefile_of([ring]), PRODUCT) == OUTLINE


def test_the_classical_prj_is_known() -> None:
    assert read_outline(shapefile_of([OUTLINE.ring()]) | {".prj": GENUINE_PRJ}, PRODUCT) == OUTLINE
    assert (
        read_outline(shapefile_of([OUTLINE.ring()]) | {".prj": b"\xef\xbb\xbf" + GENUINE_PRJ + b"\r\n"}, PRODUCT)
        == OUTLINE
    )


@pytest.mark.parametrize("prj", [None, b"", b" \n"], ids=["missing", "empty", "blank"])
def test_without_a_prj_the_zone_is_that_of_the_tile(prj: bytes | None) -> None:
    contents = shapefile_of([OUTLINE.ring()])
    del contents[".prj"]
    assert read_outline(contents if prj is None else contents | {".prj": prj}, PRODUCT) == OUTLINE


@pytest.mark.parametrize("prj", [b"EPSG", b"\xff\xfe\0", b'PROJCS["WGS_1984_UTM_Zone_18N",', GENUINE_PRJ[:200]])
def test_a_prj_that_is_none_is_an_error(prj: bytes) -> None:
    with pytest.raises(SceneError, match=rf"{PRODUCT.id}: its \.prj cannot be read"):
        read_outline(shapefile_of([OUTLINE.ring()]) | {".prj": prj}, PRODUCT)


@pytest.mark.parametrize("epsg", [32617, 32718, 4326, 3857, 25832])
def test_another_crs_than_the_zone_of_the_tile_is_an_error(epsg: int) -> None:
    message = rf"its \.prj is EPSG:{epsg}, but its tile 18SVG lies in the UTM zone EPSG:32618"
    with pytest.raises(SceneError, match=message):
        read_outline(shapefile_of([OUTLINE.ring()], epsg=epsg), PRODUCT)


def rotated(degrees: float) -> Ring:
    x, y = np.array(OUTLINE.ring()).T
    turn = (x - x.mean() + 1j * (y - y.mean())) * np.exp(1j * np.radians(degrees))
    return list(zip(turn.real + x.mean(), turn.imag + y.mean(), strict=True))


_LEFT, _BOTTOM, _RIGHT, _TOP = OUTLINE.left, OUTLINE.bottom, OUTLINE.right, OUTLINE.top


@pytest.mark.parametrize(
    "ring",
    [
        rotated(0.01),
        rotated(45),
        [(_LEFT, _TOP), (_RIGHT, _TOP), (_RIGHT, _BOTTOM), (_LEFT, _TOP)],
        [*OUTLINE.ring()[:2], (_RIGHT, _BOTTOM), (_LEFT + 20, _BOTTOM), (_LEFT, _TOP)],
        [(_LEFT, _TOP), (_LEFT, _BOTTOM), (_LEFT, _TOP), (_LEFT, _BOTTOM), (_LEFT, _TOP)],
        [(_LEFT, _TOP), (_RIGHT, _BOTTOM), (_RIGHT, _TOP), (_LEFT, _BOTTOM), (_LEFT, _TOP)],
    ],
    ids=["slightly rotated", "rotated", "triangle", "trapezium", "line", "hourglass"],
)
def test_what_is_no_upright_rectangle_is_an_error(ring: Ring) -> None:
    with pytest.raises(SceneError, match=rf"{PRODUCT.id}: its outline is not an upright rectangle"):
        read_outline(shapefile_of([ring]), PRODUCT)


def test_several_shapes_are_an_error() -> None:
    with pytest.raises(SceneError, match=r"its shapefile holds 2 or more shapes.*; expected one polygon of one ring"):
        read_outline(shapefile_of([OUTLINE.ring()], [OUTLINE.grown(20).ring()]), PRODUCT)
    with pytest.raises(SceneError, match=r"its shapefile holds 0 shapes.*; expected one polygon of one ring"):
        read_outline(shapefile_of(), PRODUCT)


def test_several_rings_are_an_error() -> None:
    with pytest.raises(SceneError, match="expected one polygon of one ring"):
        read_outline(shapefile_of([OUTLINE.ring(), OUTLINE.grown(-20).ring()[::-1]]), PRODUCT)


@pytest.mark.parametrize(
    "draw",
    [
        lambda w: w.null(),
        lambda w: w.point(1.0, 2.0),
        lambda w: w.multipoint(OUTLINE.ring()),
        lambda w: w.line([OUTLINE.ring()]),
    ],
    ids=["null", "point", "points", "line"],
)
def test_what_is_no_polygon_is_an_error(draw: Callable[[shapefile.Writer], None]) -> None:
    buffers = {suffix: io.BytesIO() for suffix in (".shp", ".shx", ".dbf")}
    with shapefile.Writer(**{suffix[1:]: buffer for suffix, buffer in buffers.items()}) as writer:
        writer.field("FID", "N", 9)
        draw(writer)
        writer.record(0)
    with pytest.raises(SceneError, match="expected one polygon of one ring"):
        read_outline({suffix: buffer.getvalue() for suffix, buffer in buffers.items()}, PRODUCT)


@pytest.mark.parametrize("suffix", [".shp", ".shx", ".dbf"])
def test_a_shapefile_cut_anywhere_is_an_error_or_the_same_outline(suffix: str) -> None:
    whole = shapefile_of([OUTLINE.ring()])
    errors = 0
    for cut in range(len(whole[suffix])):
        try:
            assert read_outline(whole | {suffix: whole[suffix][:cut]}, PRODUCT) == OUTLINE
        except SceneError:
            errors += 1
    assert errors or suffix != ".shp"


def test_bytes_that_are_no_shapefile_are_an_error() -> None:
    with pytest.raises(SceneError, match=rf"{PRODUCT.id}: its shapefile cannot be read"):
        read_outline(shapefile_of([OUTLINE.ring()]) | {".shp": b"shape" * 100}, PRODUCT)


@pytest.mark.parametrize("prj", [b"EPSG:32618", b"epsg:32618\n"])
def test_a_prj_may_be_a_code(prj: bytes) -> None:
    assert read_outline(shapefile_of([OUTLINE.ring()]) | {".prj": prj}, PRODUCT) == OUTLINE
    with pytest.raises(SceneError, match=r"its \.prj is EPSG:32617, but its tile 18SVG"):
        read_outline(shapefile_of([OUTLINE.ring()]) | {".prj": prj.replace(b"8", b"7")}, PRODUCT)


def test_an_edge_may_have_points_between_its_corners() -> None:
    ring = [(_LEFT, _TOP), (_LEFT + 7, _TOP), (_RIGHT, _TOP), (_RIGHT, _BOTTOM), (_LEFT, _BOTTOM), (_LEFT, _TOP - 7)]
    assert read_outline(shapefile_of([[*ring, ring[0]]]), PRODUCT) == OUTLINE
    shortcut = [(_LEFT, _TOP), (_RIGHT - 7, _TOP), (_RIGHT, _TOP - 7), *ring[3:]]
    for wrong in ([*ring, *ring[1:], ring[0]], [*shortcut, shortcut[0]]):
        with pytest.raises(SceneError, match="its outline is not an upright rectangle"):
            read_outline(shapefile_of([wrong]), PRODUCT)


SIZE = 16
TILES = ("01CEM", "18SVG", "33UUP", "53HLD", "60WWT")  # both hemispheres, five zones, both ends of the grid


def make(out: Path, outlines: dict[str, Outline | None]) -> Path:
    """A release of one flat scene for each tile."""
    table = sample_table(len(outlines)).assign(clear_percent=100.0, cloud_percent=0.0, shadow_percent=0.0)
    table["scene"] = [f"S2A_MSIL1C_20180101T010721_N0206_R045_T{tile}_20180101T041600" for tile in outlines]
    with ReleaseWriter(out) as writer:
        for scene, outline in zip(table["scene"], outlines.values(), strict=True):
            writer.add_subscene(scene, np.full((SIZE, SIZE, 13), np.float32(0.5)))
            writer.add_mask(scene, np.eye(3, dtype=bool)[np.zeros((SIZE, SIZE), int)])
            if outline is not None:
                writer.add_outline(scene, outline)
        writer.write_table(table)
    return out


def square(tile: str, pixels: int, east: float = 20_000.0, south: float = 20_000.0) -> Outline:
    """A square whose upper left corner is so many metres from that of its tile."""
    epsg = Product.parse(f"S2A_MSIL1C_20180101T010721_N0206_R045_T{tile}_20180101T041600").epsg
    left, top = tile_origin(tile)[0] + east, tile_origin(tile)[1] - south
    return Outline(epsg, left, top - pixels * 20, left + pixels * 20, top)


def test_the_origin_of_an_array_is_65_pixels_inside_its_outline(tmp_path: Path) -> None:
    outlines: dict[str, Outline | None] = {tile: square(tile, SIZE + 130) for tile in TILES}
    outlines["18SVG"] = square("18SVG", SIZE)  # the exact array
    outlines["53HLD"] = None
    convert(str(make(tmp_path / "release", outlines)), str(tmp_path / "store"))

    catalogue = s2cmc.open_catalogue(tmp_path / "store").set_index(scene="mgrs_tile")
    assert catalogue["epsg"].values.tolist() == [32701, 32618, 32633, 32753, 32660]
    assert catalogue["outline_margin"].values.tolist() == [65, 0, 65, -1, 65]
    # 65 pixels of 20 m are 1300 m; the origin is the upper left outer corner.
    corners = np.array([tile_origin(tile) for tile in TILES]) + np.array([20_000, -20_000])
    margins = np.array([1300, 0, 1300, np.nan, 1300])
    assert np.array_equal(catalogue["x_origin"], corners[:, 0] + margins, equal_nan=True)
    assert np.array_equal(catalogue["y_origin"], corners[:, 1] - margins, equal_nan=True)
    # The central meridians are 6 degrees a zone apart, from -177 in zone 1; a tile is at most a few degrees off.
    assert catalogue["lon_min"].values == pytest.approx([-177, -75, 15, np.nan, 177], abs=5, nan_ok=True)
    assert (catalogue["lat_max"] > catalogue["lat_min"]).values.tolist() == [True, True, True, False, True]


def test_a_scene_across_the_antimeridian_has_its_western_bound_above_its_eastern(tmp_path: Path) -> None:
    # At the equator zone 1 begins 166 km east.
    x, y = tile_origin("01NAA")
    outline = square("01NAA", SIZE + 130, east=164_620 - x, south=y - 12_000)
    convert(str(make(tmp_path / "release", {"01NAA": outline})), str(tmp_path / "store"))
    catalogue = s2cmc.open_catalogue(tmp_path / "store")
    assert 179.9 < catalogue["lon_min"].item() <= 180
    assert -180 <= catalogue["lon_max"].item() < -179.9


def test_every_outline_of_another_size_is_reported_with_scene_and_size(tmp_path: Path) -> None:
    outlines = {tile: square(tile, SIZE + 130 + (tile in {"18SVG", "33UUP"})) for tile in TILES}
    with pytest.raises(ReleaseError, match="2 scenes have no usable outline") as error:
        convert(str(make(tmp_path / "release", outlines)), str(tmp_path / "store"))
    assert len(error.value.problems) == 2
    for tile, problem in zip(("18SVG", "33UUP"), error.value.problems, strict=True):
        assert f"_T{tile}_20180101T041600: the outline is 2940.000 x 2940.000 m" in problem
        assert "16 x 16 pixels of 20 m" in problem
        assert "2920 m wide" in problem
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("east", "south", "said"),
    [
        (20_010.0, 20_000.0, r"is not on the 20 m grid of its tile"),
        (20_000.0, 20_000.5, r"is not on the 20 m grid of its tile"),
        (20_000.0, -3_900_000.0, r"are not within its tile, which goes from 399960, 4200000"),
        (-1_340.0, 20_000.0, r"are not within its tile"),
    ],
    ids=["10 m off", "half a metre off", "of another scene", "beyond the tile"],
)
def test_an_outline_that_no_product_of_the_tile_has_is_an_error(
    tmp_path: Path, east: float, south: float, said: str
) -> None:
    release = make(tmp_path / "release", {"18SVG": square("18SVG", SIZE + 130, east=east, south=south)})
    with pytest.raises(ReleaseError, match=said):
        convert(str(release), str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_the_genuine_outlines_are_within_their_tiles() -> None:
    folders = sorted((SHARED / "shapefiles").glob("*"))
    if not folders:
        pytest.skip("the published shapefiles are not here")
    for folder in folders:
        product = Product.parse(folder.name)
        contents = {path.suffix: path.read_bytes() for path in folder.iterdir()}
        outline = read_outline(contents, product)
        edges = edges_in_tile(outline.grown(-1300), product.mgrs_tile)
        assert edges["right"] - edges["left"] == edges["bottom"] - edges["top"] == 20_440
