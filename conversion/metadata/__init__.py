"""TODO."""

from .documents import describe

__all__ = [
    "describe",
]
