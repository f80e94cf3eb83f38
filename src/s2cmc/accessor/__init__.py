"""``ds.clouds`` and ``result.evaluation``: what a Dataset can be asked. Every method forwards to a package."""

from s2cmc.accessor.clouds import CloudsAccessor
from s2cmc.accessor.result import ResultAccessor

__all__ = [
    "CloudsAccessor",
    "ResultAccessor",
]
