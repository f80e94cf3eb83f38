"""TODO."""

from s2cmc.accessor.clouds import CloudsAccessor
from s2cmc.accessor.result import ResultAccessor

__all__ = [
    "CloudsAccessor",
    "ResultAccessor",
]
