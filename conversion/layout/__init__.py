"""Pixels and coordinates as the objects of a store."""

from .arrays import PixelArray, array_objects, mask_dtypes, pixel_arrays, shard_object, shard_objects, store_objects
from .attributes import GLOBAL_ATTRIBUTES, SYNTHETIC_ATTRIBUTES

__all__ = [
    "GLOBAL_ATTRIBUTES",
    "SYNTHETIC_ATTRIBUTES",
    "PixelArray",
    "array_objects",
    "mask_dtypes",
    "pixel_arrays",
    "shard_object",
    "shard_objects",
    "store_objects",
]
