"""TODO."""

from .repairs import repair

__all__ = [
    "repair",
]
