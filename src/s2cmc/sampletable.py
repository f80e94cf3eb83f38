"""Tables of made-up products, for synthetic releases: plausible IDs, tags and skies."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from s2cmc.schema import TABLE_COLUMNS
from s2cmc.tile import BAND_LETTERS, COLUMNS, METRES_PER_DEGREE, ROWS, SQUARE

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
"""The first scenes go through the tuples above in turn, so that small releases show much; later ones are drawn."""


def to_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Table of rows, columns as published."""
    return pd.DataFrame(list(rows), columns=list(TABLE_COLUMNS))


def to_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table, by published column."""
    columns = list(TABLE_COLUMNS)
    return [dict(zip(columns, values, strict=True)) for values in table[columns].itertuples(index=False, name=None)]


def sample_table(scenes: int, seed: int = 0) -> pd.DataFrame:
    """Make a plausible table in the published columns and dtypes, sorted by product ID.

    From 6 scenes on it has every dataset, clear, mixed and overcast skies, snow, water, thick and thin cloud; from 8 on
    every tag. Percentages are targets that a mask may miss by rounding.
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
    band = BAND_LETTERS[int((northing / METRES_PER_DEGREE + 80) // 8)]
    column = COLUMNS[zone % 3][int(rng.integers(2, 6))]  # the outer columns do not exist far from the equator
    row = ROWS[zone % 2][int(northing // SQUARE) % 20]
    local = timedelta(days=int(rng.integers(1, 364)), hours=10, seconds=int(rng.integers(3600)))
    start = datetime(2018, 1, 1) + local - timedelta(hours=0.4 * (zone - 30.5))  # zones are 6 degrees, or 0.4 h, wide
    made = start + timedelta(seconds=int(rng.integers(7000, 20000)))
    return (
        f"S2{rng.choice(['A', 'B'])}_MSIL1C_{start:%Y%m%dT%H%M%S}_N0206_R{rng.integers(1, 144):03d}"
        f"_T{zone:02d}{band}{column}{row}_{made:%Y%m%dT%H%M%S}"
    )
