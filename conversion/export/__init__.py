"""Scenes as files, parts of a store, and releases restored from one."""

from .releases import restore
from .scenes import export

__all__ = [
    "export",
    "restore",
]
