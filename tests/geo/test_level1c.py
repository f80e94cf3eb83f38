"""A scene's window in its original Level-1C product, the tiling grid, file names and public copies."""

import re
from pathlib import Path

import mgrs
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.windows import Window

from s2cmc.errors import CatalogueError, QueryError, SceneError
from s2cmc.geo.level1c import TILE_SIZE, L1CWindow, PixelWindow, l1c_window, tile_origin
from s2cmc.schema.bands import BANDS

pytestmark = pytest.mark.slow

SCENE = "S2A_MSIL1C_20180112T155541_N0206_R011_T18SVG_20180112T192049"

STACTOOLS = "stactools-packages/sentinel2, tests/data-files, "
ORIGINS = [
    # tile, EPSG, x, y of the tile's upper left corner (m), where it is said
    ("01LAC", 32701, 99_960, 8_300_020, STACTOOLS + "S2A_MSIL1C_20200717T221941_..._T01LAC_20200717T234135.SAFE"),
    ("01KAB", 32701, 99_960, 8_200_000, STACTOOLS + "S2A_MSIL2A_20230821T221941_..._T01KAB_20230822T021825.SAFE"),
    ("01CCV", 32701, 300_000, 2_000_020, "ESA's tiling grid, quoted in the README of npm's sentinel-2-grid"),
    ("01VCG", 32601, 300_000, 6_700_020, STACTOOLS + "S2B_MSIL2A_20200914T231559_..._T01VCG_20230315T224658"),
    ("10SDG", 32610, 399_960, 4_200_000, STACTOOLS + "S2A_OPER_MSI_L1C_TL_SGS__20181231T203637_A018414_T10SDG"),
    ("11SMS", 32611, 399_960, 3_700_020, "MTD_TL.xml of T11SMS_20160429T183252, quoted in a MATLAB script"),
    ("15RTM", 32615, 199_980, 3_200_040, "tileInfo.json of tiles/15/R/TM/2017/1/14/0, quoted in a Java client"),
    ("20HNH", 32720, 499_980, 6_300_040, "Earth Engine's COPERNICUS/S2/20170127T140051_20170127T140834_T20HNH"),
    ("22HBD", 32722, 199_980, 5_900_020, STACTOOLS + "esa_S2B_MSIL2A_20210122T133229_..._T22HBD_20210122T155500.SAFE"),
    ("33XWJ", 32633, 499_980, 8_900_040, STACTOOLS + "S2B_MSIL2A_20220413T150759_..._T33XWJ_20220414T082126.SAFE"),
    ("34LBP", 32734, 199_980, 8_900_020, STACTOOLS + "S2A_OPER_MSI_L2A_TL_VGS1_20220401T110010_A035382_T34LBP"),
    ("34VEL", 32634, 499_980, 6_600_000, STACTOOLS + "S2A_OPER_MSI_L2A_TL_2APS_20240108T121951_A044635_T34VEL"),
    ("53HNA", 32753, 499_980, 6_100_000, "ungarj/s2reader, tests/data: masks end at its edges, 5990200 and 6100000"),
    ("60CWS", 32760, 499_980, 1_200_040, STACTOOLS + "S2A_T60CWS_20240109T203651_L2A"),
]  # fmt: skip
"""Corners of real tiles. None lies within 700 km of the equator; there the rule is held by its own logic."""


def one_scene(x: float, y: float, size: int = 1022, scene: str = SCENE, epsg: int = 32618) -> xr.Dataset:
    """Coordinates of a catalogue of one scene whose array has this corner; no pixels."""
    centres = np.arange(size) * 20.0 + 10
    on_scene = {"scene": [scene], "epsg": ("scene", [epsg]), "x_origin": ("scene", [x]), "y_origin": ("scene", [y])}
    return xr.Dataset(coords=on_scene | {"y": -centres, "x": centres})


@pytest.mark.parametrize(("tile", "epsg", "x", "y", "source"), ORIGINS)
def test_tiles_begin_where_real_products_do(tile: str, epsg: int, x: int, y: int, source: str) -> None:
    assert (epsg < 32700) == (tile[2] >= "N")
    assert tile_origin(tile) == (x, y)


@pytest.mark.parametrize(("hemisphere", "first", "last"), [("N", 0, 9_300_000), ("S", 1_200_000, 9_900_000)])
def test_every_square_is_where_mgrs_has_it(hemisphere: str, first: int, last: int) -> None:
    oracle, seen = mgrs.MGRS(), 0
    for zone in range(1, 61):
        for east in range(100_000, 900_000, 100_000):
            for north in range(first, last + 1, 100_000):
                tile = oracle.UTMToMGRS(zone, hemisphere, east + 50_000, north + 50_000, 0)
                if not tile.startswith(f"{zone:02d}"):  # this place belongs to the next zone, or to the pole
                    continue
                x, y = tile_origin(tile)
                # Outwards by less than 60 m, on the 60 m grid that begins at the equator.
                assert 0 <= east - x < 60
                assert 0 <= y - (north + 100_000) < 60
                assert x % 60 == (10_000_000 - y if hemisphere == "S" else y) % 60 == 0
                seen += 1
    assert seen > 20_000


def test_a_square_that_the_zone_does_not_have_is_an_error() -> None:
    with pytest.raises(CatalogueError, match=r"no MGRS square AG in UTM zone 18; '18SAG' is no tile"):
        tile_origin("18SAG")


def test_all_513_tiles_are_squares_of_their_zones(shared_data: Path) -> None:
    tiles = pd.read_csv(shared_data / "scene_ids.csv").iloc[:, 0].str.split("_").str[5].str[1:]
    assert len(tiles) == 513
    for tile in tiles:
        x, y = tile_origin(tile)
        to_lonlat = Transformer.from_crs((32600 if tile[2] >= "N" else 32700) + int(tile[:2]), 4326, always_xy=True)
        _, latitude = to_lonlat.transform(x + TILE_SIZE / 2, y - TILE_SIZE / 2)
        south = "CDEFGHJKLMNPQRSTUVWX".index(tile[2]) * 8 - 80
        # Its middle lies in its latitude band, but for squares that two bands share; C and X go on towards the poles.
        assert south - (4 if tile[2] == "C" else 1) < latitude < south + (12 if tile[2] == "X" else 9)


def test_every_synthetic_scene_lies_in_its_tile(catalogue: xr.Dataset) -> None:
    for i in range(catalogue.sizes["scene"]):
        found = l1c_window(catalogue, i)
        at = catalogue.isel(scene=i)
        w = found.window(20)
        assert (found.tile_x + 20 * w.column, found.tile_y - 20 * w.row) == (at.x_origin, at.y_origin)
        assert (w.height, w.width, found.epsg) == (64, 64, at.epsg)


def test_the_windows_are_those_computed_by_hand() -> None:
    # 18SVG: the square from 400,000 E; northing 4,100,000 to 4,200,000. Tile from 399,960 and 4,200,000.
    found = l1c_window(one_scene(399_960 + 40_020, 4_200_000 - 20_080), SCENE)
    assert (found.product_id, found.mgrs_tile, found.epsg) == (SCENE, "18SVG", 32618)
    assert (found.tile_x, found.tile_y) == (399_960, 4_200_000)
    assert found.window(10) == PixelWindow(10, 2008, 4002, 2044, 2044)
    assert found.window("B11") == found.window(20) == PixelWindow(20, 1004, 2001, 1022, 1022)
    at_60 = found.window("B01")
    assert (at_60.row, at_60.column) == (pytest.approx(334 + 2 / 3), 667)
    assert (at_60.height, at_60.width) == (pytest.approx(340 + 2 / 3), pytest.approx(340 + 2 / 3))
    # Rows 334.67 to 675.33, columns 667 to 1007.67.
    assert at_60.whole == PixelWindow(60, 334, 667, 342, 341)
    assert at_60.slices == (slice(334, 676), slice(667, 1008))


@settings(deadline=None)
@given(row=st.integers(0, 5490 - 1022), column=st.integers(0, 5490 - 1022), south=st.booleans())
def test_windows_of_whole_pixels_cover_the_scene_and_no_pixel_more(row: int, column: int, south: bool) -> None:
    tile, epsg, x, y = ("22HBD", 32722, 199_980, 5_900_020) if south else ("18SVG", 32618, 399_960, 4_200_000)
    scene = SCENE.replace("18SVG", tile)
    found = l1c_window(one_scene(x + 20 * column, y - 20 * row, scene=scene, epsg=epsg), 0)
    for w in found.windows:
        assert (w.row * w.resolution, w.column * w.resolution) == pytest.approx((20 * row, 20 * column), abs=1e-6)
        for pixels, start in zip(w.slices, (20 * row, 20 * column), strict=True):
            assert pixels.start * w.resolution <= start < (pixels.start + 1) * w.resolution
            assert (pixels.stop - 1) * w.resolution < start + 20_440 <= pixels.stop * w.resolution
            assert pixels.start >= 0
            assert pixels.stop <= 109_800 // w.resolution
        if w.resolution != 60:
            assert w.whole == w


def test_a_part_of_a_scene_has_its_own_window() -> None:
    part = one_scene(439_980, 4_180_000).isel(y=slice(100, 200), x=slice(30, None))
    assert l1c_window(part, 0).window(20) == PixelWindow(20, 1000 + 100, 2001 + 30, 100, 992)


def test_rasterio_takes_the_windows() -> None:
    found = l1c_window(one_scene(439_980, 4_180_000), 0)
    assert found.window(20).to_rasterio() == Window(2001, 1000, 1022, 1022)
    assert found.window(60).whole.to_rasterio() == Window.from_slices(*found.window(60).slices)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (399_940, 4_180_000, r"399940\.000, .* are not within its tile, .* from 399960, 4200000 to 509760, 409"),
        (439_980, 4_200_020, "are not within its tile"),
        (509_760 - 20_420, 4_180_000, "are not within its tile"),
        (439_980, 4_090_200 + 20_420, "are not within its tile"),
        (439_980, 8_180_000, "are not within its tile"),
        (439_970, 4_180_000, r"corner 439970\.000, 4180000\.000 m is not on the 20 m grid"),
        (439_980, 4_180_000.5, "is not on the 20 m grid of its tile, which begins at 399960, 4200000 m"),
        (np.nan, np.nan, "it has no georeference"),
    ],
)  # fmt: skip
def test_a_wrong_georeference_is_an_error_that_says_so(x: float, y: float, said: str) -> None:
    with pytest.raises(SceneError, match=rf"{SCENE}: .*{said}"):
        l1c_window(one_scene(x, y), 0)


@pytest.mark.parametrize("corner", [(399_960, 4_200_000), (509_760 - 20_440, 4_090_200 + 20_440)])
def test_a_scene_may_touch_the_edges_of_its_tile(corner: tuple[float, float]) -> None:
    window = l1c_window(one_scene(*corner), 0).window(10)
    assert window.row == window.column
    assert window.row in (0, 10_980 - 2044)


def test_a_scene_in_the_zone_of_another_tile_is_an_error() -> None:
    with pytest.raises(SceneError, match=r"it is in EPSG:32617, but its tile is in EPSG:32618"):
        l1c_window(one_scene(439_980, 4_180_000, epsg=32617), 0)


@pytest.mark.parametrize("turned", [{"y": slice(None, None, -1)}, {"x": slice(None, None, -1)}])
def test_the_order_of_pixels_does_not_move_the_window(turned: dict[str, slice]) -> None:
    part = one_scene(439_980, 4_180_000).isel(y=slice(100, 200), x=slice(30, None))
    assert l1c_window(part.isel(turned), 0) == l1c_window(part, 0)


@pytest.mark.parametrize("changed", [{"x": slice(None, None, 2)}, {"y": slice(None, None, -3)}, {"y": slice(0, 0)}])
def test_pixels_that_are_not_neighbours_have_no_window(changed: dict[str, slice]) -> None:
    with pytest.raises(SceneError, match=rf"it has no window: the (0 )?pixels along {next(iter(changed))}"):
        l1c_window(one_scene(439_980, 4_180_000).isel(changed), 0)


def named(scene: str) -> L1CWindow:
    tile = scene.split("_")[5][1:]
    return L1CWindow(scene, tile, 32600 + int(tile[:2]), 0, 0, ())


def test_files_and_prefixes_are_those_of_real_products() -> None:
    # A public URL, in the code of a downloader that builds it.
    scene = "S2B_MSIL1C_20180226T083909_N0206_R064_T36RTV_20180226T122942"
    url = (
        f"gs://gcp-public-data-sentinel-2/tiles/36/R/TV/{scene}.SAFE/"
        "GRANULE/L1C_T36RTV_A005095_20180226T084545/IMG_DATA/T36RTV_20180226T083909_B01.jp2"
    )
    found = named(scene)
    pattern = re.escape(found.prefixes["google"] + found.file_glob("B01")).replace(r"\*", "[^/]*")
    assert re.fullmatch(pattern, url)
    # tileInfo.json of the product on AWS (stactools-packages/sentinel2, tests/data-files).
    scene = "S2A_MSIL1C_20181231T185801_N0207_R113_T10SDG_20181231T203637"
    assert named(scene).prefixes["aws_tiles"] == "s3://sentinel-s2-l1c/tiles/10/S/DG/2018/12/31/0/"
    assert named(scene).prefixes["aws_products"] == f"s3://sentinel-s2-l1c/products/2018/12/31/{scene}/"
    # example_eodata_l1.txt of ESA-PhiLab/NGVEO.
    scene = "S2B_MSIL1C_20181014T102019_N0206_R065_T32TMP_20181014T155124"
    assert named(scene).prefixes["copernicus"] == f"s3://eodata/Sentinel-2/MSI/L1C/2018/10/14/{scene}.SAFE/"


def test_zones_months_and_days_have_leading_zeros_except_on_aws() -> None:
    scene = "S2A_MSIL1C_20180203T000101_N0206_R011_T01VCG_20180203T012049"
    assert named(scene).prefixes == {
        "google": f"gs://gcp-public-data-sentinel-2/tiles/01/V/CG/{scene}.SAFE/",
        "aws_tiles": "s3://sentinel-s2-l1c/tiles/1/V/CG/2018/2/3/0/",
        "aws_products": f"s3://sentinel-s2-l1c/products/2018/2/3/{scene}/",
        "copernicus": f"s3://eodata/Sentinel-2/MSI/L1C/2018/02/03/{scene}.SAFE/",
    }


def test_every_band_has_a_file_and_a_window() -> None:
    found = l1c_window(one_scene(439_980, 4_180_000), 0)
    for band in BANDS:
        assert found.window(band.name).resolution == band.resolution
        assert found.file_name(band.name) == f"T18SVG_20180112T155541_{band.name}.jp2"


def test_a_band_or_resolution_that_does_not_exist_is_an_error() -> None:
    found = l1c_window(one_scene(439_980, 4_180_000), 0)
    for ask in (found.file_name, found.file_glob, found.window):
        with pytest.raises(QueryError, match=r"there is no band 'B13'; the bands are B01, .*B12"):
            ask("B13")
    with pytest.raises(QueryError, match="no band has pixels of 30 m; the resolutions are 10, 20, 60"):
        found.window(30)


def test_it_is_shown_as_a_short_table() -> None:
    shown = str(l1c_window(one_scene(439_980, 4_180_000), 0)).splitlines()
    assert shown[0] == f"{SCENE}.SAFE, EPSG:32618, upper left corner 399960, 4200000 m"
    assert shown[4].split() == ["60", "m", "333.333", "667", "340.667", "340.667"]
    assert shown[5].split() == ["google", f"gs://gcp-public-data-sentinel-2/tiles/18/S/VG/{SCENE}.SAFE/"]
    assert len(shown) == 9
