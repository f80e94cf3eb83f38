"""Coordinates of the scenes: from the table, the product IDs, the outlines and the checks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from s2cmc.schema import (
    PIXEL_SIZE,
    QUALITY_COORDINATES,
    TABLE_COLUMNS,
    TABLE_COORDINATES,
    MaskClass,
    Outline,
    Product,
    SceneCoordinate,
    dependence_groups,
    lonlat_bounds,
    own_coordinate,
)

from .checks import percentages_agree, shadows_consistent, tags_consistent

Findings = Mapping[str, Mapping[str, Any]]
"""Facts of one scene, by variable: counts of `checks.count_labels` and `checks.count_extremes`, and others."""


def own_coordinates(table: pd.DataFrame) -> list[SceneCoordinate]:
    """Return the coordinates of the columns of the user's own, which the published table does not have."""
    own = table.drop(columns=list(TABLE_COLUMNS))
    return [
        own_coordinate(str(name), "O" if values.dtype.kind == "O" else str(values.dtype))
        for name, values in own.items()
    ]


def table_coordinates(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return every column of the table under its coordinate name."""
    columns = (*TABLE_COORDINATES, *own_coordinates(table))
    return {c.name: table[c.published].to_numpy(dtype=c.dtype) for c in columns}


def product_coordinates(products: Sequence[Product]) -> dict[str, np.ndarray]:
    """Return the fields of the product IDs, the dependence groups, and the EPSG code of each tile."""
    return {
        "time": np.array([p.time for p in products], "datetime64[ns]"),
        "platform": np.array([p.platform for p in products], object),
        "relative_orbit": np.array([p.relative_orbit for p in products]),
        "mgrs_tile": np.array([p.mgrs_tile for p in products], object),
        "processing_baseline": np.array([p.processing_baseline for p in products], object),
        "group": np.array(dependence_groups(products)),
        "epsg": np.array([p.epsg for p in products]),
    }


def geo_coordinates(outlines: Sequence[Outline | None], margins: Sequence[int]) -> dict[str, np.ndarray]:
    """Return corner and bounds of every array; NaN, and margin -1, for a scene without an outline.

    Parameters
    ----------
    outlines : sequence of Outline or None
        Outlines as published.
    margins : sequence of int
        Pixels between outline and array, see `s2cmc.schema.outline_margin`.
    """
    columns = ("x_origin", "y_origin", "lon_min", "lat_min", "lon_max", "lat_max")
    rows = np.full((len(outlines), len(columns)), np.nan)
    for row, outline, margin in zip(rows, outlines, margins, strict=True):
        if outline is not None:
            array = outline.grown(-margin * PIXEL_SIZE)
            row[:] = (array.left, array.top, *lonlat_bounds(array))
    return dict(zip(columns, rows.T, strict=True)) | {"outline_margin": np.array(margins)}


def quality_coordinates(
    table: pd.DataFrame, findings: Sequence[Findings], pixels: int, has_thumbnail: Iterable[bool]
) -> dict[str, np.ndarray]:
    """Return the results of the checks of every scene.

    Parameters
    ----------
    table : DataFrame
    findings : sequence of Findings
        One for each row of `table`.
    pixels : int
        Pixels of a scene.
    has_thumbnail : iterable of bool
    """
    rows = [
        _scene_quality(row, scene_findings, pixels) | {"has_thumbnail": thumbnail}
        for row, scene_findings, thumbnail in zip(table.to_dict("records"), findings, has_thumbnail, strict=True)
    ]
    return {c.name: np.array([row[c.name] for row in rows], c.dtype) for c in QUALITY_COORDINATES}


def _scene_quality(row: dict[Any, Any], findings: Findings, pixels: int) -> dict[str, object]:
    counts, alt_counts = findings["mask"], findings.get("alt_mask", {})
    percent = {c: 100 * counts[c.label] / pixels for c in MaskClass}
    return {
        "has_alt_mask": bool(alt_counts),
        "invalid_mask_pixels": counts["invalid"],
        "invalid_alt_mask_pixels": alt_counts.get("invalid", 0),
        **findings["reflectance"],
        "mask_clear_percent": percent[MaskClass.CLEAR],
        "mask_cloud_percent": percent[MaskClass.CLOUD],
        "mask_shadow_percent": percent[MaskClass.CLOUD_SHADOW],
        "percentages_agree": percentages_agree(row, counts, pixels),
        "tags_consistent": tags_consistent(row, counts["cloud"]),
        "shadows_consistent": shadows_consistent(row, counts["cloud_shadow"]),
    }
