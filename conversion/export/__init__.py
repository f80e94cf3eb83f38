"""TODO."""

from .releases import restore
from .scenes import export

__all__ = [
    "export",
    "restore",
]
