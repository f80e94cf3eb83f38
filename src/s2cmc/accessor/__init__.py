"""Accessors ``ds.clouds`` and ``result.evaluation``. Every method forwards to a package."""

from s2cmc.accessor.clouds import CloudsAccessor
from s2cmc.accessor.result import ResultAccessor

__all__ = [
    "CloudsAccessor",
    "ResultAccessor",
]
