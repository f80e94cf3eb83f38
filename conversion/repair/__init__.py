"""Repair damaged stores from their release."""

from .repairs import repair

__all__ = [
    "repair",
]
