"""Names, units and descriptions of the catalogue, the one source for all other packages.

Source of classes and tags: the catalogue's own description (doi 10.5281/zenodo.4172871). Those of the bands stand in
`s2cmc.schema.bands`.
"""

import keyword
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Literal

from s2cmc.errors import CatalogueError

FORMAT_VERSION = "2.0"
"""Version of the store's format, ``major.minor``. A reader opens every store of its own major version."""

PIXEL_SIZE = 20.0
"""Width and height of a pixel, m."""

DN_PER_REFLECTANCE = 10_000
"""Digital numbers (DN) per unit of top-of-atmosphere reflectance (L1C quantification value of 2018)."""

SOURCE_VALUES = "source_values"
"""Attribute of reflectance in a store: ``DN`` where the published arrays held DN as float32, absent otherwise."""

ReflectanceType = Literal["uint16", "float32"]
"""How a store holds reflectance: as DN, or as the published floats where these are no whole DN."""

ExportFormat = Literal["cog", "geotiff", "npz", "npy", "png", "zarr"]
"""Formats that scenes are exported in."""


class MaskClass(IntEnum):
    """Classes of a mask, in the order of the published one-hot channels."""

    CLEAR = 0
    CLOUD = 1
    CLOUD_SHADOW = 2

    @property
    def label(self) -> str:
        """Name in coordinates and ``flag_meanings``."""
        return self.name.lower()


CLASS_NAMES = tuple(c.label for c in MaskClass)

# All three have a contrast of 3:1 or more on white (WCAG 2.2, 1.4.11), since charts are on white. Cloud and shadow have
# it on dark land too, since pictures show their outlines. With protanopia and deuteranopia any two differ by 26 or more
# (CIEDE2000, simulated after Machado et al. 2009), with tritanopia by 13. Yellow for cloud would have 1.4:1 on white.
# The colors of Okabe and Ito that have 3:1 there differ less: green and vermillion by 18.
CLASS_COLORS = {
    MaskClass.CLEAR: (46, 92, 66),  # dark green
    MaskClass.CLOUD: (200, 130, 0),  # ochre
    MaskClass.CLOUD_SHADOW: (255, 47, 168),  # magenta
}
"""Red, green and blue of each class, 0 to 255: the one palette of pictures, charts and exported files."""

BINARY_NAMES = ("non_cloud", MaskClass.CLOUD.label)
"""Classes where cloud shadow is merged into clear, as a cloud mask without shadows has them."""

CLASS_DIM = "mask_class"
"""Dimension of whatever is counted or scored by class."""

MASK_NOT_ONE_HOT = 240
"""A pixel that is not one-hot is stored as 240 + its bits (clear 1, cloud 2, cloud_shadow 4)."""

MASK_MISSING = 255
"""No label: shown by `open_catalogue` for every value from 240, stored where a scene has no alternative mask."""


class TagGroup(StrEnum):
    """The five questions that the tags answer."""

    SURFACE_TYPE = "surface_type"
    CLOUD_TYPE = "cloud_type"
    CLOUD_THICKNESS = "cloud_thickness"
    CLOUD_HEIGHT = "cloud_height"
    CLOUD_EXTENT = "cloud_extent"


@dataclass(frozen=True)
class Tag:
    """One of the 24 yes-or-no tags of a scene.

    Attributes
    ----------
    published : str
        Column of the published table, e.g. ``snow/ice``.
    group : TagGroup
        The question it answers.
    description : str
        What a true value says of the scene.
    """

    published: str
    group: TagGroup
    description: str

    @property
    def name(self) -> str:
        """Coordinate name: the published name with ``/`` as ``_``."""
        return coordinate_name(self.published)


def coordinate_name(published: str) -> str:
    """Coordinate name of a published column, or of one of the user's own: ``snow/ice`` is ``snow_ice``."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", published)


_SURFACE, _TYPE = TagGroup.SURFACE_TYPE, TagGroup.CLOUD_TYPE
_THICKNESS, _HEIGHT, _EXTENT = TagGroup.CLOUD_THICKNESS, TagGroup.CLOUD_HEIGHT, TagGroup.CLOUD_EXTENT

TAGS = (
    Tag("forest/jungle", _SURFACE, "forest or jungle is visible"),
    Tag("snow/ice", _SURFACE, "snow or ice on the ground or on water is visible"),
    Tag("agricultural", _SURFACE, "farmland is visible"),
    Tag("urban/developed", _SURFACE, "built-up land is visible"),
    Tag("coastal", _SURFACE, "a coastline is visible"),
    Tag("hills/mountains", _SURFACE, "hills or mountains are visible"),
    Tag("desert/barren", _SURFACE, "desert or barren land is visible"),
    Tag("shrublands/plains", _SURFACE, "shrubland, grassland or plains are visible"),
    Tag("wetland/bog/marsh", _SURFACE, "wetland, bog or marsh is visible"),
    Tag("open_water", _SURFACE, "open water (sea or ocean) is visible"),
    Tag("enclosed_water", _SURFACE, "enclosed water (lake, river, reservoir) is visible"),
    Tag("thin", _THICKNESS, "thin cloud: the surface shows through"),
    Tag("thick", _THICKNESS, "thick cloud: the surface is hidden"),
    Tag("low", _HEIGHT, "low cloud"),
    Tag("high", _HEIGHT, "high cloud"),
    Tag("isolated", _EXTENT, "isolated clouds"),
    Tag("extended", _EXTENT, "extended cloud decks"),
    Tag("cumulus", _TYPE, "cumulus"),
    Tag("cumulonimbus", _TYPE, "cumulonimbus"),
    Tag("altocumulus/stratocumulus", _TYPE, "altocumulus or stratocumulus"),
    Tag("cirrus", _TYPE, "cirrus"),
    Tag("haze/fog", _TYPE, "haze or fog"),
    Tag("ice_clouds", _TYPE, "ice clouds"),
    Tag("contrails", _TYPE, "aircraft contrails"),
)
TAG_NAMES = tuple(tag.name for tag in TAGS)

JOURNAL_PLAN = ".s2cmc-conversion/plan.json"
"""Object that a started conversion keeps until it is complete; it says how to finish it."""

PIXEL_VARIABLES = ("reflectance", "mask", "alt_mask", "thumbnail")
"""Variables that stay lazy. Everything else in a store is a small coordinate."""

DIMS = {
    "reflectance": ("scene", "y", "x", "band"),
    "mask": ("scene", "y", "x"),
    "alt_mask": ("scene", "y", "x"),
    "thumbnail": ("scene", "thumbnail_y", "thumbnail_x", "rgb"),
}


@dataclass(frozen=True)
class SceneCoordinate:
    """A coordinate on dimension ``scene``.

    Attributes
    ----------
    name : str
    dtype : str
        NumPy dtype as stored; ``O`` stands for a variable-length string.
    long_name : str
    units : str, optional
        UDUNITS unit.
    published : str, optional
        Column of the published table it holds unchanged.
    tag : Tag, optional
        The tag it holds.
    """

    name: str
    dtype: str
    long_name: str
    units: str | None = None
    published: str | None = None
    tag: Tag | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """CF attributes; a tag carries its group, published name and description."""
        attributes = {"long_name": self.long_name}
        if self.units:
            attributes["units"] = self.units
        if self.published:
            attributes["published_name"] = self.published
        if self.tag:
            attributes |= {"tag_group": str(self.tag.group), "description": self.tag.description}
        return attributes


TABLE_COORDINATES = (
    SceneCoordinate("index", "int32", "row of the scene in the published table", published="index"),
    SceneCoordinate("scene", "O", "Sentinel-2 Level-1C product ID", published="scene"),
    SceneCoordinate("difficulty", "uint8", "difficulty of annotation, 1 easy to 5 hard", "1", "difficulty"),
    SceneCoordinate("annotator", "O", "annotator of `mask`", published="annotator"),
    SceneCoordinate(
        "shadows_marked",
        "bool",
        "cloud shadows were annotated; where false, clear may hide shadow",
        published="shadows_marked",
    ),
    SceneCoordinate("clear_percent", "float64", "clear pixels, as published", "percent", "clear_percent"),
    SceneCoordinate("cloud_percent", "float64", "cloud pixels, as published", "percent", "cloud_percent"),
    SceneCoordinate("shadow_percent", "float64", "cloud shadow pixels, as published", "percent", "shadow_percent"),
    SceneCoordinate("dataset", "O", "part of the catalogue: MAIN, VALIDATION or CALIBRATION", published="dataset"),
    *(SceneCoordinate(tag.name, "bool", f"tag {tag.published}", published=tag.published, tag=tag) for tag in TAGS),
)
"""The 33 columns of the published table, in its order."""

PRODUCT_COORDINATES = (
    SceneCoordinate("time", "datetime64[ns]", "start of sensing, UTC"),
    SceneCoordinate("platform", "O", "satellite"),
    SceneCoordinate("relative_orbit", "int16", "relative orbit", "1"),
    SceneCoordinate("mgrs_tile", "O", "MGRS tile"),
    SceneCoordinate("processing_baseline", "O", "processing baseline of the Level-1C product"),
    SceneCoordinate("group", "int32", "dependence group: scenes of one tile, or of one date and relative orbit", "1"),
)

GEO_COORDINATES = (
    SceneCoordinate("epsg", "int32", "EPSG code of the scene's UTM zone", "1"),
    SceneCoordinate("x_origin", "float64", "easting of the array's upper left outer corner; NaN if unknown", "m"),
    SceneCoordinate("y_origin", "float64", "northing of the array's upper left outer corner; NaN if unknown", "m"),
    SceneCoordinate("lon_min", "float64", "western bound; above lon_max across the antimeridian", "degrees_east"),
    SceneCoordinate("lat_min", "float64", "southern bound", "degrees_north"),
    SceneCoordinate("lon_max", "float64", "eastern bound", "degrees_east"),
    SceneCoordinate("lat_max", "float64", "northern bound", "degrees_north"),
    SceneCoordinate(
        "outline_margin",
        "int16",
        "pixels by which the published outline exceeds the array on each side; -1 without an outline",
        "1",
    ),
)

QUALITY_COORDINATES = (
    SceneCoordinate("has_alt_mask", "bool", "the other annotator's mask is in `alt_mask`"),
    SceneCoordinate("has_thumbnail", "bool", "a thumbnail was published"),
    SceneCoordinate("invalid_mask_pixels", "int32", "pixels of `mask` that are not one-hot", "1"),
    SceneCoordinate("invalid_alt_mask_pixels", "int32", "pixels of `alt_mask` that are not one-hot", "1"),
    SceneCoordinate("zero_pixels", "int32", "pixels with DN 0 (no data) in any band", "1"),
    SceneCoordinate("saturated_pixels", "int32", "pixels with DN 65535 (saturated) in any band", "1"),
    SceneCoordinate("nonfinite_pixels", "int32", "pixels that are NaN, infinite or negative in any band", "1"),
    SceneCoordinate("mask_clear_percent", "float64", "clear pixels, counted in `mask`", "percent"),
    SceneCoordinate("mask_cloud_percent", "float64", "cloud pixels, counted in `mask`", "percent"),
    SceneCoordinate("mask_shadow_percent", "float64", "cloud shadow pixels, counted in `mask`", "percent"),
    SceneCoordinate("percentages_agree", "bool", "the table's percentages are the mask's, to the pixel"),
    SceneCoordinate(
        "tags_consistent",
        "bool",
        "cloud type, thickness, height and extent are tagged all or none, and only where the mask has cloud",
    ),
    SceneCoordinate("shadows_consistent", "bool", "the mask has no shadow where shadows_marked is false"),
)

SCENE_COORDINATES = TABLE_COORDINATES + PRODUCT_COORDINATES + GEO_COORDINATES + QUALITY_COORDINATES
FIXED_COORDINATES = (
    *("band", "common_name", "wavelength", "bandwidth", "native_resolution"),
    *("y", "x", "thumbnail_y", "thumbnail_x", "rgb"),
)
"""Coordinates that do not depend on the scenes."""


def bundled_names(names: Collection[str]) -> list[str]:
    """Return coordinates in the order in which a store bundles them: of the scenes, fixed ones, the user's own."""
    known = [*(c.name for c in SCENE_COORDINATES), *FIXED_COORDINATES]
    return [name for name in known if name in names] + sorted({*names}.difference(known, PIXEL_VARIABLES))


TABLE_COLUMNS = tuple(c.published for c in TABLE_COORDINATES if c.published)

_MAX_NAME = 100  # characters of a name that is a folder of the store
_RESERVED = {
    *(c.name for c in SCENE_COORDINATES),
    *(*FIXED_COORDINATES, *PIXEL_VARIABLES, CLASS_DIM),
    *("geometry", "bbox"),  # columns of the footprints
}


def own_coordinate(published: str, dtype: str) -> SceneCoordinate:
    """Return the coordinate of a column of the user's own, which the published table does not have.

    Parameters
    ----------
    published : str
        Name of the column.
    dtype : str
        NumPy dtype as stored; ``O`` stands for text.

    Raises
    ------
    CatalogueError
        If a coordinate cannot have this name, or the store has another one of it.

    Examples
    --------
    >>> own_coordinate("sun glint?", "bool").name
    'sun_glint_'
    """
    name = coordinate_name(published)
    if not name.isidentifier() or keyword.iskeyword(name) or len(published) > _MAX_NAME:
        raise CatalogueError(
            f"column {published[:_MAX_NAME]!r} cannot be a coordinate of the scenes; rename it: a name begins with a "
            f"letter, has at most {_MAX_NAME} characters, and is no word of Python"
        )
    if name.casefold() in _RESERVED:
        raise CatalogueError(f"column {published!r} would be the coordinate {name!r}, which is another one; rename it")
    return SceneCoordinate(name, dtype, f"column {published!r} of the user's own", published=published)


DATASETS = ("MAIN", "VALIDATION", "CALIBRATION")
ANNOTATORS = ("A", "B")
DIFFICULTIES = (1, 2, 3, 4, 5)

SPLITS = {"train": ("MAIN",), "test": ("CALIBRATION", "VALIDATION")}
"""Splits as the catalogue's authors advise them, by the table's ``dataset``."""

SEASONS = ("winter", "spring", "summer", "autumn")
"""Local meteorological seasons: winter is December to February in the north and June to August in the south."""

LATITUDE_BANDS = {
    "90S-60S": (-90, -60),
    "60S-30S": (-60, -30),
    "30S-0": (-30, 0),
    "0-30N": (0, 30),
    "30N-60N": (30, 60),
    "60N-90N": (60, 90),
}
"""Bands of the latitude of a scene's centre, degrees north, lower end included."""
