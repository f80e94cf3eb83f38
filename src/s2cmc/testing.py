"""The maker of small synthetic releases: sample data for a first look, for tests and for benchmarks.

The tables are made here, the pixels in `s2cmc.synthesis`, and `s2cmc.published.ReleaseWriter` writes them as published.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from s2cmc import synthesis
from s2cmc.errors import CatalogueError
from s2cmc.geo import OUTLINE_MARGIN, Outline
from s2cmc.product import Product
from s2cmc.published import ArrayFormat, Layout, ReleaseWriter
from s2cmc.schema import BAND_NAMES, DN_PER_REFLECTANCE, PIXEL_SIZE, TABLE_COLUMNS, TAGS, MaskClass, TagGroup

PERCENT_COLUMNS = ("clear_percent", "cloud_percent", "shadow_percent")
"""Columns of the table in the order of `MaskClass`."""

QUIRKS = (
    "shadow_only_in_table",  # the table says shadow, the mask is clear there
    "shadow_though_unmarked",  # shadows_marked is 0, and yet table and mask have shadow
    "tags_without_cloud",  # cloud tags, and 0 % cloud
    "mask_not_one_hot",  # the first 3 mask pixels have no class, the last 2 two; the table counts as before
    "odd_pixels",  # the first 5 pixels are 0 in all bands (no data), the last 3 are 65535 in B04 (saturated)
    "overcast_without_surface",  # all cloud, and no surface tag; of one date and relative orbit with the scene before
    "same_tile_first",  # of one tile with the next scene
    "same_tile_second",
)
"""Known quirks of the real release, each planted in the row of its own position."""

NO_CLASS_PIXELS, TWO_CLASS_PIXELS, ZERO_PIXELS, SATURATED_PIXELS = 3, 2, 5, 3

_SURFACES = (
    "agricultural forest/jungle",
    "coastal open_water",
    "snow/ice hills/mountains",
    "desert/barren",
    "agricultural urban/developed enclosed_water",
    "snow/ice forest/jungle",
    "open_water",
    "shrublands/plains wetland/bog/marsh",
    "forest/jungle hills/mountains",
)
_CLOUDS = (
    "cumulus thick low isolated",
    "cirrus thin high extended",
    "altocumulus/stratocumulus cumulus thick low extended",
    "cumulus cirrus thin thick low high isolated extended",
    "cirrus contrails thin high isolated",
    "cumulonimbus ice_clouds thick low high extended",
    "haze/fog thin low extended",
)
_SKIES = ("mixed", "mixed", "mixed", "clear", "mixed", "overcast", "mixed", "mixed")
_PATTERNED_SCENES = 16
"""The first scenes go through the tuples above in turn, so that small releases show much; later ones are drawn."""

# MGRS: letters of the 100 km squares, eastward in three sets by zone, northward every 2000 km (odd and even zones).
_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
_ROWS = ("FGHJKLMNPQRSTUVABCDE", "ABCDEFGHJKLMNPQRSTUV")
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_SQUARE, _METRES_PER_DEGREE = 100_000.0, 111_000.0


@dataclass(frozen=True)
class SampleScene:
    """A synthetic scene.

    Attributes
    ----------
    row : Mapping
        Its row of the published table: the columns of `schema.TABLE_COLUMNS`, percentages in per cent.
    reflectance : np.ndarray
        (y, x, band) float32, TOA reflectance, unitless, float32(DN) / float32(10000).
    mask, alt_mask : np.ndarray
        (y, x, class) bool, one-hot in order of `MaskClass`; by the annotator and, optional, by the other one.
    outline : Outline, optional
        Padded window, m, in the UTM zone of the tile.
    thumbnail : np.ndarray, optional
        (y, x, rgb) uint8, 0 to 255.
    """

    row: Mapping[str, Any]
    reflectance: np.ndarray
    mask: np.ndarray
    alt_mask: np.ndarray | None
    outline: Outline | None
    thumbnail: np.ndarray | None


def sample_table(scenes: int, seed: int = 0) -> pd.DataFrame:
    """Make a plausible table in the published columns and dtypes, sorted by product ID.

    From 6 scenes on it has every dataset, clear, mixed and overcast skies, snow, water, thick and thin cloud; from 8 on
    every tag. Percentages are targets that a mask may miss by rounding.
    """
    rng = np.random.default_rng(seed)
    products: set[str] = set()
    while len(products) < scenes:
        products.add(_product_id(rng))
    return _table(_sample_row(rng, i, scene) for i, scene in enumerate(sorted(products)))


def _table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(TABLE_COLUMNS))


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    columns = list(TABLE_COLUMNS)
    return [dict(zip(columns, values, strict=True)) for values in table[columns].itertuples(index=False, name=None)]


def _sample_row(rng: np.random.Generator, i: int, scene: str) -> dict[str, Any]:
    """Make row `i` of a sample table."""
    surface, clouds, sky = (kinds[i % len(kinds)] for kinds in (_SURFACES, _CLOUDS, _SKIES))
    if i >= _PATTERNED_SCENES:
        surface, clouds = str(rng.choice(_SURFACES)), str(rng.choice(_CLOUDS))
        sky = str(rng.choice(["mixed", "overcast", "clear"], p=[0.38, 0.37, 0.25]))  # shares of the real catalogue
    marked = i % 6 != 4
    cloud = {"mixed": float(rng.uniform(8, 70)), "overcast": 100.0, "clear": 0.0}[sky]
    casts = sky == "mixed" and marked and "thick" in clouds
    shadow = float(rng.uniform(0.1, 0.3)) * min(cloud, 100 - cloud) if casts else 0.0
    tags = clouds.split() if cloud else []
    if sky != "overcast" or "thick" not in tags:  # else no surface is seen
        tags += surface.split()
    row: dict[str, Any] = dict.fromkeys(TABLE_COLUMNS, 0) | dict.fromkeys(tags, 1)
    row.update(index=i, scene=scene, annotator=str(rng.choice(["A", "B"])), shadows_marked=int(marked))
    row.update(clear_percent=100.0 - cloud - shadow, cloud_percent=cloud, shadow_percent=shadow)
    row["difficulty"] = int(rng.integers(2, 6)) if sky == "mixed" else 1
    row["dataset"] = "CALIBRATION" if i % 48 == 4 else "VALIDATION" if i % 8 == 1 else "MAIN"
    return row


def _product_id(rng: np.random.Generator) -> str:
    """Make a product ID of 2018, its tile somewhere between 54 S and 67 N."""
    zone, northing = int(rng.integers(1, 61)), float(rng.uniform(-6.0e6, 7.5e6))
    band = _BANDS[int((northing / _METRES_PER_DEGREE + 80) // 8)]
    column = _COLUMNS[zone % 3][int(rng.integers(2, 6))]  # the outer columns do not exist far from the equator
    row = _ROWS[zone % 2][int(northing // _SQUARE) % 20]
    local = timedelta(days=int(rng.integers(1, 364)), hours=10, seconds=int(rng.integers(3600)))
    start = datetime(2018, 1, 1) + local - timedelta(hours=0.4 * (zone - 30.5))  # zones are 6 degrees, or 0.4 h, wide
    made = start + timedelta(seconds=int(rng.integers(7000, 20000)))
    return (
        f"S2{rng.choice(['A', 'B'])}_MSIL1C_{start:%Y%m%dT%H%M%S}_N0206_R{rng.integers(1, 144):03d}"
        f"_T{zone:02d}{band}{column}{row}_{made:%Y%m%dT%H%M%S}"
    )


def tile_corner(tile: str) -> tuple[float, float]:
    """Easting and northing of the upper left corner of an MGRS tile such as ``18SVG``, m in its UTM zone."""
    zone, band = int(tile[:2]), _BANDS.index(tile[2])
    left = (_COLUMNS[zone % 3].index(tile[3]) + 1) * _SQUARE
    # Row letters repeat every 2000 km; the middle of the latitude band says which repetition is meant.
    middle = (band * 8 - 76) * _METRES_PER_DEGREE
    bottom = _ROWS[zone % 2].index(tile[4]) * _SQUARE
    bottom += round((middle - bottom - _SQUARE / 2) / 2e6) * 2e6
    return left, bottom + _SQUARE + (10e6 if tile[2] < "N" else 0.0)


def make_scene(row: Mapping[str, Any], size: int, seed: int, *, alt_mask: bool = False) -> SampleScene:
    """Make the scene of a row, `size` x `size` pixels; the same row, size and seed give the same scene.

    It has ``round(percent / 100 * size**2)`` pixels of cloud and of shadow as the row says, and clear is what is left.
    """
    dn, classes, alt_classes = synthesis.synthesize(row, size, seed)
    reflectance = dn.astype("float32")
    reflectance /= np.float32(DN_PER_REFLECTANCE)
    return SampleScene(
        row=row,
        reflectance=reflectance,
        mask=_one_hot(classes),
        alt_mask=_one_hot(alt_classes) if alt_mask else None,
        outline=_outline(row["scene"], size, seed),
        thumbnail=_thumbnail(reflectance),
    )


def _one_hot(classes: np.ndarray) -> np.ndarray:
    one_hot: np.ndarray = classes[:, :, None] == np.array(list(MaskClass), "uint8")
    return one_hot


def _outline(scene: str, size: int, seed: int) -> Outline:
    """Place a padded window at whole pixels in the product's tile."""
    product = Product.parse(scene)
    left, top = tile_corner(product.mgrs_tile)
    width = (size + 2 * OUTLINE_MARGIN) * PIXEL_SIZE
    room = max(1, int((_SQUARE - width) // PIXEL_SIZE))
    x, y = np.random.default_rng([seed, zlib.crc32(scene.encode())]).integers(0, room, 2).tolist()
    left, top = left + x * PIXEL_SIZE, top - y * PIXEL_SIZE
    return Outline(product.epsg, left, top - width, left + width, top)


def _thumbnail(reflectance: np.ndarray) -> np.ndarray:
    """Show true colour at half the size, except of scenes too small to halve."""
    step = 2 if len(reflectance) >= 64 else 1
    rgb = reflectance[::step, ::step, [BAND_NAMES.index(name) for name in ("B04", "B03", "B02")]]
    return (255 * np.clip(rgb, 0, 1) ** 0.6).astype("uint8")  # the power makes land bright and leaves snow its texture


def write_release(
    out: Path, scenes: Iterable[SampleScene], *, layout: Layout = "zip", arrays: ArrayFormat = "npy"
) -> Path:
    """Write scenes as a release, one at a time, the table from their rows; returns `out`."""
    with ReleaseWriter(out, layout=layout, arrays=arrays) as writer:
        _write(writer, scenes)
    return out


def _write(writer: ReleaseWriter, scenes: Iterable[SampleScene]) -> None:
    rows = []
    for scene in scenes:
        name = scene.row["scene"]
        rows.append(scene.row)
        writer.add_subscene(name, scene.reflectance)
        writer.add_mask(name, scene.mask)
        if scene.alt_mask is not None:
            writer.add_alt_mask(name, scene.alt_mask)
        if scene.outline is not None:
            writer.add_outline(name, scene.outline)
        if scene.thumbnail is not None:
            writer.add_thumbnail(name, scene.thumbnail)
    writer.write_table(_table(rows))


def make_release(
    out: Path,
    *,
    scenes: int = 8,
    size: int = 256,
    seed: int = 0,
    quirks: bool = False,
    layout: Layout = "zip",
    arrays: ArrayFormat = "npy",
    table: pd.DataFrame | None = None,
) -> Path:
    """Make and write a synthetic release, holding one scene in memory at a time; returns `out`.

    Scenes outside dataset MAIN get an alternative mask, as in the real release.

    Parameters
    ----------
    out : Path
        Folder of the release; made if absent, refused if it holds anything.
    scenes, size, seed : int
        Number of scenes, their width in pixels, and what else to draw. `table` sets the number of scenes itself.
    quirks : bool
        Plant the known quirks of the real release (`QUIRKS`); `quirk_scenes` says where.
    layout, arrays : str
        As `ReleaseWriter` takes them.
    table : pd.DataFrame, optional
        Rows to make scenes of, written verbatim. Without it, rows are `sample_table`'s, percentages as in the masks.

    Raises
    ------
    CatalogueError
        If there are too few scenes for the quirks, or `table` lacks columns or comes with `quirks`.
    """
    if quirks and table is not None:
        raise CatalogueError("quirks are planted in a sample table only; leave out `table`, or `quirks`")
    missing = [] if table is None else [name for name in TABLE_COLUMNS if name not in table.columns]
    if missing:
        raise CatalogueError(f"the table lacks the published columns {missing}; expected {list(TABLE_COLUMNS)}")
    rows = _rows(sample_table(scenes, seed) if table is None else table)
    planted = {}
    if quirks:
        planted = {scene: name for name, scene in _plant_in_rows(rows).items()}

    def made() -> Iterator[SampleScene]:
        for row in rows:
            scene = make_scene(row, size, seed, alt_mask=row["dataset"] != "MAIN")
            if table is None:
                percent = (100 * scene.mask.sum((0, 1)) / size**2).tolist()
                scene = replace(scene, row=row | dict(zip(PERCENT_COLUMNS, percent, strict=True)))
            _plant_in_pixels(scene, planted.get(row["scene"]))
            yield scene

    with ReleaseWriter(out, layout=layout, arrays=arrays) as writer:
        writer.mark_synthetic()
        _write(writer, made())
    return out


def quirk_scenes(table: pd.DataFrame) -> dict[str, str]:
    """Product ID of each quirk of `QUIRKS`, in the table of a release made with ``quirks=True``."""
    if len(table) < len(QUIRKS):
        raise CatalogueError(f"quirks need at least {len(QUIRKS)} scenes, one for each; got {len(table)}")
    return dict(zip(QUIRKS, table["scene"].iloc[: len(QUIRKS)].tolist(), strict=True))


def _plant_in_rows(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Change rows of a sample table in place as the quirks ask; the product ID of each quirk."""
    quirk_scenes(_table(rows))  # refuses too few scenes
    at = dict(zip(QUIRKS, rows, strict=False))

    def change(quirk: str, tags: str, cloud: float, shadow: float, *, marked: int) -> None:
        clouds = [tag.published for tag in TAGS if tag.group is not TagGroup.SURFACE_TYPE]
        at[quirk] |= dict.fromkeys(clouds, 0) | dict.fromkeys(tags.split(), 1) | {"shadows_marked": marked}
        at[quirk] |= zip(PERCENT_COLUMNS, (100 - cloud - shadow, cloud, shadow), strict=True)

    change("shadow_only_in_table", _CLOUDS[0], 40.0, 5.0, marked=1)
    change("shadow_though_unmarked", _CLOUDS[3], 40.0, 7.0, marked=0)
    change("tags_without_cloud", _CLOUDS[1], 0.0, 0.0, marked=1)
    change("mask_not_one_hot", _CLOUDS[0], 30.0, 6.0, marked=1)
    change("overcast_without_surface", _CLOUDS[5], 100.0, 0.0, marked=1)
    at["overcast_without_surface"] |= {tag.published: 0 for tag in TAGS if tag.group is TagGroup.SURFACE_TYPE}

    # A product ID is mission, level, time, baseline, orbit, tile, time of making. The order of the IDs stays.
    before, overcast, first, second = (row["scene"].split("_") for row in rows[4:8])
    rows[4]["scene"], rows[5]["scene"] = sorted(
        "_".join([*before[:5], tile, before[6]]) for tile in (before[5], overcast[5])
    )
    rows[7]["scene"] = "_".join([*second[:5], first[5], second[6]])
    return quirk_scenes(_table(rows))


def _plant_in_pixels(scene: SampleScene, quirk: str | None) -> None:
    """Change the arrays of a scene in place as its quirk asks."""
    pixels = scene.mask.reshape(-1, len(MaskClass))
    if quirk == "shadow_only_in_table":
        pixels[pixels[:, MaskClass.CLOUD_SHADOW]] = (True, False, False)
    elif quirk == "mask_not_one_hot":
        pixels[:NO_CLASS_PIXELS] = False
        pixels[-TWO_CLASS_PIXELS:] = (False, True, True)
    elif quirk == "odd_pixels":
        bands = scene.reflectance.reshape(-1, len(BAND_NAMES))
        bands[:ZERO_PIXELS] = 0
        bands[-SATURATED_PIXELS:, BAND_NAMES.index("B04")] = np.float32(65535) / np.float32(DN_PER_REFLECTANCE)
