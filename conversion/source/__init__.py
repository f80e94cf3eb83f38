"""A published release, read and checked."""

from .checks import (
    CHECKED_ROWS,
    VALID_LABELS,
    check_mask,
    check_subscene,
    count_extremes,
    count_labels,
    fill_dn,
    fill_floats,
    published_dtype,
    to_labels,
    to_one_hot,
)
from .checksums import verify_published
from .containers import Member, PassingMember, ZipMember, open_content
from .coordinates import (
    Findings,
    geo_coordinates,
    own_coordinates,
    product_coordinates,
    quality_coordinates,
    table_coordinates,
)
from .filesystems import SUBSCENES, release_filesystem
from .headers import Headers, read_headers
from .listing import Release, SceneSource, open_release
from .looks import find_identical, find_unlike, look_at_scene, look_at_thumbnail
from .outlines import read_outlines
from .percentages import compare_percentages
from .streams import work_on_subscenes
from .thumbnails import keep_thumbnail

__all__ = [
    "CHECKED_ROWS",
    "SUBSCENES",
    "VALID_LABELS",
    "Findings",
    "Headers",
    "Member",
    "PassingMember",
    "Release",
    "SceneSource",
    "ZipMember",
    "check_mask",
    "check_subscene",
    "compare_percentages",
    "count_extremes",
    "count_labels",
    "fill_dn",
    "fill_floats",
    "find_identical",
    "find_unlike",
    "geo_coordinates",
    "keep_thumbnail",
    "look_at_scene",
    "look_at_thumbnail",
    "open_content",
    "open_release",
    "own_coordinates",
    "product_coordinates",
    "published_dtype",
    "quality_coordinates",
    "read_headers",
    "read_outlines",
    "release_filesystem",
    "table_coordinates",
    "to_labels",
    "to_one_hot",
    "verify_published",
    "work_on_subscenes",
]
