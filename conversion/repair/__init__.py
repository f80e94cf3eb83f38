"""Damaged stores, made whole from their release."""

from .repairs import repair

__all__ = [
    "repair",
]
