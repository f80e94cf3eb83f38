"""Results to look at: tables, charts, pictures, pages."""

from s2cmc.report.pages import evaluation_page, require_page_packages, result_page, statistics_page
from s2cmc.report.pictures import gallery, rgb
from s2cmc.report.tables import (
    DEFAULT_BY,
    class_table,
    gather_statistics,
    ignored_table,
    markdown,
    overall_table,
    prevalence_table,
    records,
    remarks,
    settings,
    share_table,
    to_csv,
    to_json,
)

__all__ = [
    "DEFAULT_BY",
    "class_table",
    "evaluation_page",
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
    "settings",
    "share_table",
    "statistics_page",
    "to_csv",
    "to_json",
]
