"""Where a scene lies, found from its pixels: in its place, displaced, flipped, stretched, changed, flat."""

import lzma
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers.safe_products import make_tile, write_band, write_safe

from s2cmc.errors import QueryError, SceneError
from s2cmc.geo.georeference import GeoreferenceCheck, check_georeference
from s2cmc.geo.level1c import l1c_window
from s2cmc.schema.bands import BAND_NAMES

pytestmark = pytest.mark.slow

SCENE = 3


def dn_of(catalogue: xr.Dataset, band: str = "B11") -> np.ndarray:
    """DN (y, x) of a band of the scene."""
    return np.rint(catalogue.reflectance.sel(band=band)[SCENE].to_numpy() * 10_000.0).astype(np.uint16)


def with_dn(catalogue: xr.Dataset, dn: np.ndarray) -> xr.Dataset:
    """The catalogue, with these DN (y, x) in all bands of the scene."""
    pixels = catalogue.reflectance.to_numpy().copy()
    pixels[SCENE] = (dn / np.float32(10_000))[:, :, None]
    return catalogue.assign(reflectance=catalogue.reflectance.copy(data=pixels))


def at_scene(catalogue: xr.Dataset, tile: np.ndarray, *, down: int = 0, right: int = 0, margin: int = 0) -> np.ndarray:
    """The part of a tile (a view) where the scene is, moved, and with pixels around it."""
    rows, columns = l1c_window(catalogue, SCENE).window(20).slices
    return tile[
        rows.start + down - margin : rows.stop + down + margin,
        columns.start + right - margin : columns.stop + right + margin,
    ]


def check(
    folder: Path, catalogue: xr.Dataset, tile: np.ndarray, scenes: xr.Dataset | None = None, band: str = "B11"
) -> GeoreferenceCheck:
    """Check the scene of `catalogue`, or of `scenes`, against a product with this tile."""
    window = l1c_window(catalogue, SCENE)
    return check_georeference(
        catalogue if scenes is None else scenes, SCENE, write_safe(folder, window, {band: tile}), band
    )


def noise(catalogue: xr.Dataset) -> np.ndarray:
    return make_tile(l1c_window(catalogue, SCENE), "B11")


@pytest.fixture(scope="module")
def product(opened: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product of the scene: B11, its pixels in their place and noise around."""
    window = l1c_window(opened, SCENE)
    return write_safe(tmp_path_factory.mktemp("product"), window, {"B11": make_tile(window, "B11", dn_of(opened))})


def test_a_scene_in_its_place_passes(catalogue: xr.Dataset, product: Path) -> None:
    found = check_georeference(catalogue, SCENE, product)
    assert (found.verdict, found.passes) == ("passes", True)
    assert found.claimed == found.best == (65, 65)
    assert found.runner_up != found.best
    assert found.pixels == 64 * 64
    assert found.fractions.sel(inset_y=65, inset_x=65) == 1
    assert found.fractions.sel(inset_y=found.runner_up[0], inset_x=found.runner_up[1]) < 0.5
    assert (
        found.fractions.inset_y.to_numpy().tolist() == found.fractions.inset_x.to_numpy().tolist() == list(range(131))
    )
    assert found.stretched is not None
    assert found.stretched < 0.1


@pytest.mark.parametrize(
    ("turned", "claimed"),
    [
        ({"y": slice(None, None, -1)}, (65, 65)),
        ({"y": slice(40, 3, -1), "x": slice(50, 2, -1)}, (65 + 4, 65 + 3)),  # rows 40 to 4, columns 50 to 3
    ],
)
def test_pixels_in_another_order_are_compared_where_they_are(
    catalogue: xr.Dataset, product: Path, turned: dict[str, slice], claimed: tuple[int, int]
) -> None:
    part = catalogue.isel(turned)
    found = check_georeference(part, SCENE, product)
    assert found.passes
    expected = check_georeference(part.sortby("y", ascending=False).sortby("x"), SCENE, product)
    xr.testing.assert_identical(found.fractions, expected.fractions)
    assert found.claimed == expected.claimed == claimed


def test_every_placement_is_compared_pixel_by_pixel(catalogue: xr.Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    own = rng.integers(0, 5, (64, 64)).astype(np.uint16)  # few values: many are equal by chance, a fifth has no data
    tile = np.zeros((5490, 5490), np.uint16)
    outline = at_scene(catalogue, tile, margin=65)
    outline[:] = rng.integers(0, 5, outline.shape)
    found = check(tmp_path, catalogue, tile, with_dn(catalogue, own))
    views = np.lib.stride_tricks.sliding_window_view(outline, (64, 64))
    expected = ((own == views) & (own > 0)).sum((2, 3))
    np.testing.assert_array_equal(found.fractions * found.pixels, expected)
    assert found.pixels == (own > 0).sum()
    # The wrong reading: the 194 pixels of the outline in steps of 194 / 64.
    nearest = [int((i + 0.5) * 194 / 64) for i in range(64)]
    equal = (own == outline[np.ix_(nearest, nearest)]) & (own > 0)
    assert found.stretched == equal.sum() / found.pixels


def test_other_bands_of_20_m_can_be_asked(catalogue: xr.Dataset, tmp_path: Path) -> None:
    tile = make_tile(l1c_window(catalogue, SCENE), "B8A", dn_of(catalogue, "B8A"))
    assert check(tmp_path, catalogue, tile, band="B8A").passes


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, -1), (65, -65)])
def test_a_displaced_scene_is_found_where_it_is(catalogue: xr.Dataset, tmp_path: Path, down: int, right: int) -> None:
    tile = noise(catalogue)
    at_scene(catalogue, tile, down=down, right=right)[:] = dn_of(catalogue)
    found = check(tmp_path, catalogue, tile)
    assert (found.verdict, found.claimed, found.best) == ("fails", (65, 65), (65 + down, 65 + right))
    assert found.fractions.sel(inset_y=65 + down, inset_x=65 + right) == 1
    assert "it lies elsewhere" in str(found)


def test_a_store_that_places_a_scene_one_pixel_off_fails(catalogue: xr.Dataset, product: Path) -> None:
    moved = catalogue.assign_coords(x_origin=catalogue.x_origin + 20.0, y_origin=catalogue.y_origin + 40.0)
    found = check_georeference(moved, SCENE, product)
    assert (found.verdict, found.best) == ("fails", (65 + 2, 65 - 1))


@pytest.mark.parametrize("changed", [np.flipud, np.fliplr, lambda dn: dn + 1])
def test_a_scene_that_is_not_as_it_was_fits_nowhere(catalogue: xr.Dataset, tmp_path: Path, changed: object) -> None:
    tile = noise(catalogue)
    at_scene(catalogue, tile)[:] = changed(dn_of(catalogue))
    found = check(tmp_path, catalogue, tile)
    assert found.verdict == "fails"
    assert "it fits nowhere" in str(found)


def test_an_array_stretched_over_its_outline_is_told(catalogue: xr.Dataset, tmp_path: Path) -> None:
    tile = noise(catalogue)
    nearest = [int((i + 0.5) * 194 / 64) for i in range(64)]
    own = at_scene(catalogue, tile, margin=65)[np.ix_(nearest, nearest)]
    found = check(tmp_path, catalogue, tile, with_dn(catalogue, own))
    assert found.verdict == "fails"
    assert found.stretched == 1


def test_another_product_of_the_same_tile_fails(catalogue: xr.Dataset, tmp_path: Path) -> None:
    found = check(tmp_path, catalogue, noise(catalogue))
    assert found.verdict == "fails"
    assert found.fractions.max() < 0.05


def test_shared_no_data_is_no_evidence(catalogue: xr.Dataset, tmp_path: Path) -> None:
    """Two overpasses of one orbit leave the same part of a tile empty."""
    tile = noise(catalogue)
    at_scene(catalogue, tile, margin=65)[:, :120] = 0
    own = np.random.default_rng(5).integers(1, 9_000, (64, 64)).astype(np.uint16)
    own[:, : 120 - 65] = 0
    found = check(tmp_path, catalogue, tile, with_dn(catalogue, own))
    assert found.pixels == 64 * 9
    assert found.verdict == "fails"


@pytest.mark.parametrize(("value", "margin"), [(0, 65), (65535, 65), (5000, 65), (5000, 0)])
def test_a_scene_of_one_value_proves_nothing(catalogue: xr.Dataset, tmp_path: Path, value: int, margin: int) -> None:
    tile = noise(catalogue)
    at_scene(catalogue, tile, margin=65)[:] = value
    scenes = with_dn(catalogue, np.full((64, 64), value, np.uint16))
    scenes = scenes.assign_coords(outline_margin=("scene", np.full(scenes.sizes["scene"], margin, np.int16)))
    found = check(tmp_path, catalogue, tile, scenes)
    assert found.verdict == "undecided"
    assert not found.passes
    assert ("too few pixels with data" if value in (0, 65535) else "too flat") in str(found)


def test_stripes_prove_nothing_along_them(catalogue: xr.Dataset, tmp_path: Path) -> None:
    tile = noise(catalogue)
    outline = at_scene(catalogue, tile, margin=65)
    outline[:] = np.arange(1, 195)[:, None]
    found = check(tmp_path, catalogue, tile, with_dn(catalogue, outline[65:-65, 65:-65]))
    assert found.verdict == "undecided"
    # But they do prove a displacement across.
    found = check(tmp_path / "across", catalogue, tile, with_dn(catalogue, outline[66:-64, 65:-65]))
    assert (found.verdict, found.best[0]) == ("fails", 66)


def test_floats_that_are_no_dn_are_equal_to_nothing(catalogue: xr.Dataset, product: Path) -> None:
    pixels = catalogue.reflectance.to_numpy().copy()
    pixels[SCENE, 0, :20] += np.float32(0.3e-4)
    pixels[SCENE, 1, :3] = np.array([np.nan, np.inf, -np.inf])[:, None]
    found = check_georeference(catalogue.assign(reflectance=catalogue.reflectance.copy(data=pixels)), SCENE, product)
    assert found.pixels == 64 * 64 - 3
    assert found.fractions.sel(inset_y=65, inset_x=65) == 1 - 20 / found.pixels
    assert found.passes  # 99.4 %


def test_an_outline_of_the_array_itself_is_searched_around(catalogue: xr.Dataset, product: Path) -> None:
    exact = catalogue.assign_coords(outline_margin=("scene", np.zeros(catalogue.sizes["scene"], np.int16)))
    found = check_georeference(exact, SCENE, product)
    assert (found.verdict, found.best, found.stretched) == ("passes", (0, 0), None)
    assert found.fractions.inset_x.to_numpy().tolist() == list(range(-65, 66))


def test_placements_end_at_the_edge_of_the_tile(catalogue: xr.Dataset, tmp_path: Path) -> None:
    window = l1c_window(catalogue, SCENE)
    cornered = catalogue.assign_coords(
        x_origin=catalogue.x_origin * 0 + window.tile_x, y_origin=catalogue.y_origin * 0 + window.tile_y - 200
    )
    tile = noise(cornered)
    at_scene(cornered, tile)[:] = dn_of(catalogue)
    found = check(tmp_path, cornered, tile)
    assert found.passes
    assert found.fractions.inset_x.to_numpy().tolist() == list(range(65, 131))
    assert found.fractions.inset_y.to_numpy().tolist() == list(range(55, 131))


def test_it_is_shown_as_a_short_table(catalogue: xr.Dataset, product: Path) -> None:
    lines = str(check_georeference(catalogue, SCENE, product)).splitlines()
    assert lines[0] == f"{catalogue.scene[SCENE].item()} B11: passes, it lies where the catalogue says"
    assert lines[2].split() == ["claimed", "65,", "65", "100.0000", "%"]
    assert [line.split()[0] for line in lines[2:6]] == ["claimed", "best", "runner-up", "stretched"]
    assert lines[6] == "  4,096 pixels with data, 17,161 placements"
    assert max(map(len, lines)) < 110


@pytest.mark.parametrize("band", ["B02", "B08", "B01", "B10"])
def test_resampled_bands_are_refused(catalogue: xr.Dataset, tmp_path: Path, band: str) -> None:
    with pytest.raises(QueryError, match=rf"{band} has pixels of \d0 m; only those of 20 m.*: B05, B06, B07, B8A, B11"):
        check_georeference(catalogue, SCENE, tmp_path, band)


def test_what_is_not_there_is_an_error(catalogue: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="there is no band 'B13'"):
        check_georeference(catalogue, SCENE, tmp_path, "B13")
    with pytest.raises(QueryError, match="was opened without B11; it has B02, B12"):
        check_georeference(catalogue.clouds.select(bands=["B02", "B12"]), SCENE, tmp_path)
    with pytest.raises(QueryError, match="no scene 'S2C'"):
        check_georeference(catalogue, "S2C", tmp_path)
    with pytest.raises(SceneError, match=r"lacks 1 of its bands: .*_B11\.jp2"):
        check_georeference(catalogue, SCENE, tmp_path)


def one_scene(own: np.ndarray, row: int, column: int) -> xr.Dataset:
    """A catalogue of one scene in 18SVG with these DN in B11, `row` and `column` pixels of 20 m into the tile."""
    centres = np.arange(len(own)) * 20.0 + 10
    on_scene = {
        "scene": ["S2A_MSIL1C_20160112T155541_N0206_R011_T18SVG_20160112T192049"],
        "epsg": ("scene", [32618]),
        "x_origin": ("scene", [399_960 + column * 20.0]),
        "y_origin": ("scene", [4_200_000 - row * 20.0]),
        "outline_margin": ("scene", [65]),
    }
    reflectance = (("scene", "y", "x", "band"), (own / np.float32(10_000))[None, :, :, None])
    return xr.Dataset({"reflectance": reflectance}, on_scene | {"y": -centres, "x": centres, "band": ["B11"]})


def test_large_scenes_are_compared_in_full_where_they_might_lie(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    tile = np.zeros((5490, 5490), np.uint16)
    outline = tile[1000 - 65 : 1256 + 65, 2000 - 65 : 2256 + 65]
    outline[:] = rng.integers(1, 20, outline.shape)
    own = outline[100:356, 20:276].copy()
    own[rng.random(own.shape) < 0.005] = 9_999
    scenes = one_scene(own, 1000, 2000)
    write_band(tmp_path, l1c_window(scenes, 0), "B11", tile)
    found = check_georeference(scenes, 0, tmp_path)
    assert (found.verdict, found.best, found.claimed) == ("fails", (100, 20), (65, 65))
    shares = found.fractions
    assert 16 <= shares.exact.sum() < 30
    for y, x in (found.best, found.claimed, found.runner_up):
        assert shares.exact.sel(inset_y=y, inset_x=x)
        assert shares.sel(inset_y=y, inset_x=x) == (own == outline[y : y + 256, x : x + 256]).mean()
    for y, x in np.argwhere(~shares.exact.to_numpy())[::5_000]:
        assert shares.sel(inset_y=y, inset_x=x) == (own == outline[y : y + 256, x : x + 256])[::4].mean()


def test_a_flat_scene_with_few_marks_is_compared_in_full_everywhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    tile = np.zeros((5490, 5490), np.uint16)
    outline = tile[1000 - 65 : 1256 + 65, 2000 - 65 : 2256 + 65]
    outline[:] = 500
    marks = rng.random(outline.shape) < 0.005
    marks[::2] = False  # none in the rows that are compared first
    outline[marks] = 501
    scenes = one_scene(outline[100:356, 20:276], 1000, 2000)
    write_band(tmp_path, l1c_window(scenes, 0), "B11", tile)
    found = check_georeference(scenes, 0, tmp_path)
    assert (found.verdict, found.best) == ("fails", (100, 20))
    assert found.fractions.exact.all()
    assert found.fractions.sel(inset_y=65, inset_x=65) > 0.99


def test_real_pixels_tell_their_place(shared_data: Path, tmp_path: Path) -> None:
    """B11 of a real Level-1C tile: sea, coast and land. Its place in the tile is made up."""
    with lzma.open(shared_data / "real" / "T18SVG_20160112_20m_13band_dn.npy.xz") as file:
        original = np.load(file)[BAND_NAMES.index("B11")]
    scenes = one_scene(original[70:570, 66:566], 1070, 2066)
    tile = np.zeros((5490, 5490), np.uint16)
    tile[1000 : 1000 + original.shape[0], 2000 : 2000 + original.shape[1]] = original
    write_band(tmp_path, l1c_window(scenes, 0), "B11", tile)
    found = check_georeference(scenes, 0, tmp_path)
    assert found.passes
    assert found.fractions.sel(inset_y=65, inset_x=65) == 1
    assert found.fractions.sel(inset_y=found.runner_up[0], inset_x=found.runner_up[1]) < 0.1
    assert found.stretched is not None
    assert found.stretched < 0.1
