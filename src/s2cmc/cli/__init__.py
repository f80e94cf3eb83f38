"""The command ``s2cmc``."""

from s2cmc.cli.app import main

__all__ = [
    "main",
]
