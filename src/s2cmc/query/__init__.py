"""Selection of scenes by expression, place, stratum and annotator. No pixel is read."""

from s2cmc.query.annotators import Annotator, annotated, masks, other_masks
from s2cmc.query.selection import random_split, select, tag_groups, tags
from s2cmc.query.stratification import By, scenes_of_stratum, strata, with_scene_names

__all__ = [
    "Annotator",
    "By",
    "annotated",
    "masks",
    "other_masks",
    "random_split",
    "scenes_of_stratum",
    "select",
    "strata",
    "tag_groups",
    "tags",
    "with_scene_names",
]
