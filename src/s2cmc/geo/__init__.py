"""Locate scenes on Earth: on their own grids, on a common grid, and in their original products."""

from s2cmc.geo.georeference import GeoreferenceCheck, check_georeference
from s2cmc.geo.level1c import L1CWindow, l1c_window, read_l1c
from s2cmc.geo.mosaics import mosaic
from s2cmc.geo.scenes import SceneKey, position, scene
from s2cmc.geo.tables import Geometry, feature_collection, footprints, with_times_as_text

__all__ = [
    "Geometry",
    "GeoreferenceCheck",
    "L1CWindow",
    "SceneKey",
    "check_georeference",
    "feature_collection",
    "footprints",
    "l1c_window",
    "mosaic",
    "position",
    "read_l1c",
    "scene",
    "with_times_as_text",
]
