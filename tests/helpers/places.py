"""Small synthetic catalogues whose scenes lie where a test wants them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from unittest import mock

import xarray as xr

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.conversion.source import outlines
from s2cmc.schema.catalogue import PIXEL_SIZE
from s2cmc.schema.geometry import OUTLINE_MARGIN, Outline
from s2cmc.schema.products import Product
from s2cmc.synthetic.make import make_scene, write_release
from s2cmc.synthetic.table import sample_table


def array(tile: str, left: float, top: float, size: int = 16) -> Outline:
    """The outer edges of an array with this corner, in the UTM zone of the tile."""
    epsg = Product.parse(f"S2A_MSIL1C_20180101T000000_N0206_R001_T{tile}_20180101T000000").epsg
    return Outline(epsg, left, top - size * PIXEL_SIZE, left + size * PIXEL_SIZE, top)


def catalogue_of(folder: Path, places: Mapping[str, Outline | None], size: int = 16) -> xr.Dataset:
    """A catalogue of one scene for each tile; its release has outlines 65 pixels wider, as published."""
    scenes = []
    for row, (tile, place) in zip(sample_table(len(places)).to_dict("records"), places.items(), strict=True):
        parts = str(row["scene"]).split("_")
        row["scene"] = "_".join([*parts[:5], f"T{tile}", parts[6]])
        outline = place and place.grown(OUTLINE_MARGIN * PIXEL_SIZE)
        scenes.append(replace(make_scene(row, size, 0), outline=outline))
    with mock.patch.object(outlines, "edges_in_tile"):  # places are in the zone of a tile, not in it
        convert(str(write_release(folder / "release", scenes)), str(folder / "store"))
    return s2cmc.open_catalogue(folder / "store")


def world_of(folder: Path) -> xr.Dataset:
    """Four scenes: across the antimeridian, near Greenwich, in the south of South America, and without an outline."""
    places = {
        "60NZF": array("60NZF", 829_720, 1_001_620),
        "31UCT": array("31UCT", 295_300, 5_701_620),
        "19HCD": array("19HCD", 341_300, 6_201_620),
        "32TPT": None,
    }
    return catalogue_of(folder, places)
