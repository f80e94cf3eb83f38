"""Tables of synthetic releases, plausible IDs, tags and skies, and the quirks of the real release."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from s2cmc.errors import ArgumentError
from s2cmc.schema import (
    BAND_LETTERS,
    BAND_NAMES,
    DN_PER_REFLECTANCE,
    METRES_PER_DEGREE,
    SQUARE_COLUMNS,
    SQUARE_ROWS,
    SQUARE_SIZE,
    TABLE_COLUMNS,
    TAGS,
    MaskClass,
    TagGroup,
)

PERCENT_COLUMNS = ("clear_percent", "cloud_percent", "shadow_percent")
"""Columns of the table in the order of `MaskClass`."""

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
CLOUDS = (
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
"""The first scenes take values of the tuples above in turn, so that small releases have variety; later ones are
random."""


def to_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Make a table of rows, columns as published."""
    return pd.DataFrame(list(rows), columns=list(TABLE_COLUMNS))


def to_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a table into rows, by published column."""
    columns = list(TABLE_COLUMNS)
    return [dict(zip(columns, values, strict=True)) for values in table[columns].itertuples(index=False, name=None)]


def sample_table(scenes: int, seed: int = 0) -> pd.DataFrame:
    """Make a plausible table in the published columns and dtypes, sorted by product ID.

    A table of 6 scenes or more has every dataset, clear, mixed and overcast skies, snow, water, thick and thin cloud;
    one of 8 or more has every tag. Masks may differ from the percentages by rounding.
    """
    rng = np.random.default_rng(seed)
    products: set[str] = set()
    while len(products) < scenes:
        products.add(_product_id(rng))
    return to_table(_sample_row(rng, i, scene) for i, scene in enumerate(sorted(products)))


def _sample_row(rng: np.random.Generator, i: int, scene: str) -> dict[str, Any]:
    """Make row `i` of a sample table."""
    surface, clouds, sky = (kinds[i % len(kinds)] for kinds in (_SURFACES, CLOUDS, _SKIES))
    if i >= _PATTERNED_SCENES:
        surface, clouds = str(rng.choice(_SURFACES)), str(rng.choice(CLOUDS))
        sky = str(rng.choice(["mixed", "overcast", "clear"], p=[0.38, 0.37, 0.25]))  # shares of the real catalogue
    marked = i % 6 != 4
    cloud = {"mixed": float(rng.uniform(8, 70)), "overcast": 100.0, "clear": 0.0}[sky]
    casts = sky == "mixed" and marked and "thick" in clouds
    shadow = float(rng.uniform(0.1, 0.3)) * min(cloud, 100 - cloud) if casts else 0.0
    tags = clouds.split() if cloud else []
    if sky != "overcast" or "thick" not in tags:  # else no surface is visible
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
    band = BAND_LETTERS[int((northing / METRES_PER_DEGREE + 80) // 8)]
    column = SQUARE_COLUMNS[zone % 3][int(rng.integers(2, 6))]  # the outer columns do not exist far from the equator
    row = SQUARE_ROWS[zone % 2][int(northing // SQUARE_SIZE) % 20]
    local = timedelta(days=int(rng.integers(1, 364)), hours=10, seconds=int(rng.integers(3600)))
    start = datetime(2018, 1, 1) + local - timedelta(hours=0.4 * (zone - 30.5))  # zones are 6 degrees, or 0.4 h, wide
    made = start + timedelta(seconds=int(rng.integers(7000, 20000)))
    return (
        f"S2{rng.choice(['A', 'B'])}_MSIL1C_{start:%Y%m%dT%H%M%S}_N0206_R{rng.integers(1, 144):03d}"
        f"_T{zone:02d}{band}{column}{row}_{made:%Y%m%dT%H%M%S}"
    )


# Known quirks of the real release, planted in a synthetic one on request.

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


def quirk_scenes(table: pd.DataFrame) -> dict[str, str]:
    """Return the product ID of each quirk of `QUIRKS`, in the table of a release made with ``quirks=True``."""
    if len(table) < len(QUIRKS):
        raise ArgumentError(f"quirks need at least {len(QUIRKS)} scenes, one for each; got {len(table)}")
    return dict(zip(QUIRKS, table["scene"].iloc[: len(QUIRKS)].tolist(), strict=True))


def plant_in_rows(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Change rows of a sample table in place, one for each quirk; return the product ID of each quirk."""
    quirk_scenes(to_table(rows))  # raises an error for too few scenes
    at = dict(zip(QUIRKS, rows, strict=False))

    def change(quirk: str, tags: str, cloud: float, shadow: float, *, marked: int) -> None:
        clouds = [tag.published for tag in TAGS if tag.group is not TagGroup.SURFACE_TYPE]
        at[quirk] |= dict.fromkeys(clouds, 0) | dict.fromkeys(tags.split(), 1) | {"shadows_marked": marked}
        at[quirk] |= zip(PERCENT_COLUMNS, (100 - cloud - shadow, cloud, shadow), strict=True)

    change("shadow_only_in_table", CLOUDS[0], 40.0, 5.0, marked=1)
    change("shadow_though_unmarked", CLOUDS[3], 40.0, 7.0, marked=0)
    change("tags_without_cloud", CLOUDS[1], 0.0, 0.0, marked=1)
    change("mask_not_one_hot", CLOUDS[0], 30.0, 6.0, marked=1)
    change("overcast_without_surface", CLOUDS[5], 100.0, 0.0, marked=1)
    at["overcast_without_surface"] |= {tag.published: 0 for tag in TAGS if tag.group is TagGroup.SURFACE_TYPE}

    # A product ID is mission, level, time, baseline, orbit, tile, processing time. The IDs must stay sorted.
    before, overcast, first, second = (row["scene"].split("_") for row in rows[4:8])
    rows[4]["scene"], rows[5]["scene"] = sorted(
        "_".join([*before[:5], tile, before[6]]) for tile in (before[5], overcast[5])
    )
    rows[7]["scene"] = "_".join([*second[:5], first[5], second[6]])
    return quirk_scenes(to_table(rows))


def plant_in_pixels(mask: np.ndarray, reflectance: np.ndarray, quirk: str | None) -> None:
    """Change mask (y, x, class) and reflectance (y, x, band) of a scene in place, according to its quirk."""
    pixels = mask.reshape(-1, len(MaskClass))
    if quirk == "shadow_only_in_table":
        pixels[pixels[:, MaskClass.CLOUD_SHADOW]] = (True, False, False)
    elif quirk == "mask_not_one_hot":
        pixels[:NO_CLASS_PIXELS] = False
        pixels[-TWO_CLASS_PIXELS:] = (False, True, True)
    elif quirk == "odd_pixels":
        bands = reflectance.reshape(-1, len(BAND_NAMES))
        bands[:ZERO_PIXELS] = 0
        bands[-SATURATED_PIXELS:, BAND_NAMES.index("B04")] = np.float32(65535) / np.float32(DN_PER_REFLECTANCE)
