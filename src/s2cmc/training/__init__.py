"""Random patches with their labels, for training."""

from s2cmc.training.random_patches import VARIABLES, Patches, patches, patches_at

__all__ = [
    "VARIABLES",
    "Patches",
    "patches",
    "patches_at",
]
