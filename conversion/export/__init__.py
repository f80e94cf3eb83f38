"""Export scenes as files or as a smaller store, and restore a release."""

from .releases import restore
from .scenes import export

__all__ = [
    "export",
    "restore",
]
