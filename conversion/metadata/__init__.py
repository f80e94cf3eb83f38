"""Metadata of a store for the tools of others: STAC, GeoParquet, Croissant."""

from .documents import describe

__all__ = [
    "describe",
]
