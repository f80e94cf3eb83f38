"""Results to look at: tables, charts, pictures, pages."""

from s2cmc.report.pages import evaluation_page, require_page_packages, result_page, statistics_page
from s2cmc.report.pictures import gallery, rgb
from s2cmc.report.tables import (
    DEFAULT_BY,
    class_table,
    frame_records,
    gather_statistics,
    ignored_table,
    markdown,
    overall_table,
    prevalence_table,
    records,
    remarks,
    scene_table,
    settings,
    share_table,
    to_csv,
    to_json,
)

__all__ = [
    "DEFAULT_BY",
    "class_table",
    "evaluation_page",
    "frame_records",
    "gallery",
    "gather_statistics",
    "ignored_table",
    "markdown",
    "overall_table",
    "prevalence_table",
    "records",
    "remarks",
    "require_page_packages",
    "result_page",
    "rgb",
    "scene_table",
    "settings",
    "share_table",
    "statistics_page",
    "to_csv",
    "to_json",
]
