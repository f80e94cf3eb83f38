"""Composites by hand, and pictures that show something."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers.raw_shards import bytes_of_bands
from PIL import Image

import s2cmc
from s2cmc.errors import CatalogueError
from s2cmc.schema.catalogue import CLASS_COLORS, MaskClass


def test_rgb_is_red_green_blue_stretched(catalogue: xr.Dataset) -> None:
    found = catalogue.clouds.rgb(gain=2.0, gamma=1.5)
    assert (found.dims, found.dtype) == (("scene", "y", "x", "rgb"), "float32")
    assert list(found.rgb.values) == ["red", "green", "blue"]
    bands = list(catalogue.band.values)
    pixels = catalogue.reflectance.values[..., [bands.index("B04"), bands.index("B03"), bands.index("B02")]]
    np.testing.assert_allclose(found, np.clip(2.0 * pixels, 0, 1) ** (1 / 1.5), rtol=1e-5)


def test_rgb_stays_between_0_and_1(catalogue: xr.Dataset) -> None:
    # The quirks hold a saturated pixel, of reflectance 6.5535.
    found = catalogue.clouds.rgb(gain=5).values
    assert (found.min(), found.max()) == (0, 1)


@pytest.mark.usefixtures("no_compute")
def test_rgb_reads_nothing_until_it_is_computed(catalogue: xr.Dataset) -> None:
    assert catalogue.clouds.rgb().chunks is not None


def drawn(picture: xr.DataArray) -> np.ndarray:
    """Draw a picture by xarray, a pixel of the screen for each of its own; return the screen (row, column, rgb)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width, _ = picture.shape
    figure = Figure((width / 50, height / 50), dpi=50)
    canvas = FigureCanvasAgg(figure)
    picture.plot.imshow(ax=figure.add_axes((0, 0, 1, 1)))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[2:-2, 2:-2, :3].astype(int)  # without the lines of the axes


@pytest.mark.slow
@pytest.mark.parametrize("open_store", [s2cmc.open_catalogue, xr.open_zarr])
@pytest.mark.parametrize("turned", [slice(None), slice(None, None, -1)], ids=["as opened", "turned"])
def test_every_plot_of_xarray_is_north_up(open_store: Callable, turned: slice, store: Path) -> None:
    """The first row of the stored pixels is on top, as in the published thumbnail."""
    ds = open_store(store)
    bands = ds.reflectance[2].sel(band=["B04", "B03", "B02"]).transpose("y", "x", "band")
    composite = (bands.clip(0, 1) ** (1 / 1.8)).astype("float64")
    for picture in (composite.drop_vars("band"), ds.thumbnail[2]):
        shown = picture.isel({picture.dims[0]: turned}).transpose(*picture.dims)
        expected = np.rint(picture.values * 255) if picture.dtype.kind == "f" else picture.values
        assert np.abs(drawn(shown) - expected[2:-2, 2:-2]).max() <= 1
    axes = ds["mask"][2].isel(y=turned).plot().axes
    assert axes.get_ylim() == (-64 * 20, 0)
    assert axes.get_xlim() == (0, 64 * 20)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("east of left edge [m]", "north of upper edge [m]")


@pytest.mark.slow
@pytest.mark.parametrize(
    "ask",
    [
        lambda ds: ds.clouds.rgb().isel(scene=4),
        lambda ds: ds.clouds.select("index == 4").clouds.rgb(),
        lambda ds: ds.clouds.select("index in [2, 4, 7]").clouds.select("index > 2").clouds.rgb()[0],
    ],
    ids=["one of all", "select", "select twice, take one"],
)
def test_rgb_fetches_only_its_three_bands(ask: Callable, store: Path, serve: Callable, no_coalescing: None) -> None:
    server = serve(store.parent)
    remote = s2cmc.open_catalogue(f"{server.url}/{store.name}")
    server.log.clear()
    ask(remote).compute(scheduler="synchronous")
    assert {path for _, path, size in server.log if size} == {f"/{store.name}/reflectance/c/4/0/0/0"}
    bands, index = bytes_of_bands(store, scene=4, bands=slice(1, 4))
    # The index of the shard may be fetched again for every band.
    assert bands < sum(size for *_, size in server.log) <= bands + 3 * index


@pytest.mark.parametrize(
    "bands", [["B02", "B03"], ["B02", "B04"], ["B08", "B11"], [], ["B04", "B03", "B02"], ["B02", "B11", "B03", "B04"]]
)
def test_rgb_without_its_bands_in_their_order_is_refused(catalogue: xr.Dataset, bands: list[str]) -> None:
    with pytest.raises(CatalogueError, match="needs bands B02, B03"):
        catalogue.sel(band=bands).clouds.rgb()


def test_rgb_without_reflectance_is_refused(catalogue: xr.Dataset) -> None:
    with pytest.raises(CatalogueError, match="reflectance"):
        catalogue[["mask"]].clouds.rgb()
    with pytest.raises(CatalogueError, match="needs bands B02, B03"):
        catalogue.sel(band="B02").clouds.rgb()


@pytest.mark.parametrize("stretch", [{"gamma": 0}, {"gamma": -1}, {"gain": 0}, {"gain": -2}], ids=str)
def test_a_stretch_without_meaning_is_refused(catalogue: xr.Dataset, stretch: dict) -> None:
    with pytest.raises(CatalogueError, match=rf"{next(iter(stretch))} .*above 0"):
        catalogue.clouds.rgb(**stretch)


def _panels(figure: object, picture: np.ndarray) -> list[np.ndarray]:
    """The part of a saved picture that each panel covers."""
    height, width = picture.shape[:2]
    boxes = [axes.get_position() for axes in figure.axes]
    return [
        picture[
            round(height * (1 - box.y1)) : round(height * (1 - box.y0)), round(width * box.x0) : round(width * box.x1)
        ]
        for box in boxes
    ]


def test_gallery_draws_every_scene(catalogue: xr.Dataset, tmp_path: Path) -> None:
    shown = catalogue.clouds.select("cloud_percent > 0 and cloud_percent < 100")
    figure = shown.clouds.gallery(columns=3, most=4)
    figure.savefig(tmp_path / "gallery.png", dpi=80)
    picture = np.asarray(Image.open(tmp_path / "gallery.png").convert("RGB")).astype(int)
    panels = _panels(figure, picture)
    assert len(panels) == 6
    for panel in panels[:4]:
        assert panel.std() > 10
        outline = (np.abs(panel - CLASS_COLORS[MaskClass.CLOUD]) < 60).all(axis=-1)
        assert outline.any(), "the outline of the clouds"
    for panel in panels[4:]:
        assert (panel == 255).all()


def test_gallery_is_north_up_in_any_order_of_pixels(catalogue: xr.Dataset) -> None:
    some = catalogue.isel(scene=[2])
    turned = some.isel(y=slice(None, None, -1), x=slice(None, None, -1))
    for part in (some, some.sortby("y"), turned):
        (panel,) = part.clouds.gallery().axes
        np.testing.assert_array_equal(panel.images[0].get_array(), some.clouds.rgb()[0])


def test_gallery_names_each_scene(catalogue: xr.Dataset) -> None:
    one = catalogue.clouds.select("mgrs_tile == '24HWD'")
    (panel,) = one.clouds.gallery().axes
    assert panel.get_title() == "24HWD  2018-08-13\ncloud 17 %"


def test_gallery_has_a_legend_of_its_outlines(catalogue: xr.Dataset) -> None:
    (legend,) = catalogue.isel(scene=[0]).clouds.gallery().legends
    colors = [np.rint(255 * np.array(line.get_color())).tolist() for line in legend.get_lines()]
    assert colors == [list(CLASS_COLORS[c]) for c in (MaskClass.CLOUD, MaskClass.CLOUD_SHADOW)]
    assert [text.get_text() for text in legend.get_texts()] == ["cloud", "cloud shadow"]


def test_gallery_says_that_its_data_are_synthetic(catalogue: xr.Dataset) -> None:
    one = catalogue.isel(scene=[0])
    assert re.search("synthetic.*\n1 scenes?$", one.clouds.gallery().get_suptitle(), re.IGNORECASE)


def test_gallery_shows_the_first_scenes_and_says_how_many(catalogue: xr.Dataset) -> None:
    figure = catalogue.clouds.gallery(most=2)
    assert [axes.get_title()[:5] for axes in figure.axes] == list(catalogue.mgrs_tile.values[:2])
    assert figure.get_suptitle().endswith("\n2 of 10 scenes")


def test_gallery_of_nothing_is_refused(catalogue: xr.Dataset) -> None:
    with pytest.raises(CatalogueError, match="no scene to show; select at least one"):
        catalogue.clouds.select("difficulty > 5").clouds.gallery()
    for option in ("columns", "most"):
        with pytest.raises(CatalogueError, match="at least one"):
            catalogue.clouds.gallery(**{option: 0})


def test_gallery_without_matplotlib_says_what_to_install(
    catalogue: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CatalogueError, match=r"need matplotlib; install it with: pip install 's2cmc\[plot\]'"):
        catalogue.clouds.gallery()
    assert catalogue.clouds.rgb().sizes["rgb"] == 3
