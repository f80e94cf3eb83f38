"""A published release, read and checked."""

from .checks import (
    CHECKED_ROWS,
    VALID_LABELS,
    check_mask,
    check_subscene,
    count_extremes,
    count_labels,
    fill_dn,
    to_labels,
    to_one_hot,
)
from .checksums import verify_published
from .containers import Member, ZipMember, open_content
from .coordinates import Findings, geo_coordinates, product_coordinates, quality_coordinates, table_coordinates
from .listing import Release, SceneSource, open_release
from .outlines import read_outlines
from .tables import read_thumbnail

__all__ = [
    "CHECKED_ROWS",
    "VALID_LABELS",
    "Findings",
    "Member",
    "Release",
    "SceneSource",
    "ZipMember",
    "check_mask",
    "check_subscene",
    "count_extremes",
    "count_labels",
    "fill_dn",
    "geo_coordinates",
    "open_content",
    "open_release",
    "product_coordinates",
    "quality_coordinates",
    "read_outlines",
    "read_thumbnail",
    "table_coordinates",
    "to_labels",
    "to_one_hot",
    "verify_published",
]
