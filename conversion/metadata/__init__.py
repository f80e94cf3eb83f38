"""Metadata that others look for beside a store: STAC, GeoParquet, Croissant."""

from .documents import describe

__all__ = [
    "describe",
]
