"""What the files of a release are called, and which scene may be meant by a name that is none."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from s2cmc.published import ALT_PREFIX, SHAPEFILE_SUFFIXES

FILE_NAMES = {
    "subscenes": re.compile(r"(?P<scene>[^/]+)\.(npy|npz)"),
    "masks": re.compile(r"(?P<scene>[^/]+)\.(npy|npz)"),
    "alt_masks": re.compile(rf"{ALT_PREFIX}(?P<scene>[^/]+)\.(npy|npz)"),
    "shapefiles": re.compile(rf"((?P<folder>[^/]+)/)?(?P<scene>[^/]+)({'|'.join(map(re.escape, SHAPEFILE_SUFFIXES))})"),
    "thumbnails": re.compile(r"(?P<scene>[^/]+)\.png"),
}
"""What the files of a part are called; `scene` is the product ID."""

FILE_FORMS = {
    "subscenes": "SCENE.npy",
    "masks": "SCENE.npy",
    "alt_masks": f"{ALT_PREFIX}SCENE.npy",
    "shapefiles": "SCENE/SCENE.shp",
    "thumbnails": "SCENE.png",
}
"""The same, for messages."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to add to an error about a name: the nearest one that is known, if one is near."""
    by_capitals = {scene.upper(): scene for scene in known}
    close = get_close_matches(name.upper(), by_capitals, n=1, cutoff=0.8)
    return f"; did you mean {by_capitals[close[0]]}?" if close else ""
