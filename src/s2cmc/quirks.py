"""Known quirks of the real release, planted in a synthetic one on request."""

from typing import Any

import numpy as np
import pandas as pd

from s2cmc.bands import BAND_NAMES
from s2cmc.errors import CatalogueError
from s2cmc.sampletable import CLOUDS, PERCENT_COLUMNS, to_table
from s2cmc.schema import DN_PER_REFLECTANCE, TAGS, MaskClass, TagGroup

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
    """Product ID of each quirk of `QUIRKS`, in the table of a release made with ``quirks=True``."""
    if len(table) < len(QUIRKS):
        raise CatalogueError(f"quirks need at least {len(QUIRKS)} scenes, one for each; got {len(table)}")
    return dict(zip(QUIRKS, table["scene"].iloc[: len(QUIRKS)].tolist(), strict=True))


def plant_in_rows(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Change rows of a sample table in place as the quirks ask; the product ID of each quirk."""
    quirk_scenes(to_table(rows))  # refuses too few scenes
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

    # A product ID is mission, level, time, baseline, orbit, tile, time of making. The order of the IDs stays.
    before, overcast, first, second = (row["scene"].split("_") for row in rows[4:8])
    rows[4]["scene"], rows[5]["scene"] = sorted(
        "_".join([*before[:5], tile, before[6]]) for tile in (before[5], overcast[5])
    )
    rows[7]["scene"] = "_".join([*second[:5], first[5], second[6]])
    return quirk_scenes(to_table(rows))


def plant_in_pixels(mask: np.ndarray, reflectance: np.ndarray, quirk: str | None) -> None:
    """Change mask (y, x, class) and reflectance (y, x, band) of a scene in place as its quirk asks."""
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
