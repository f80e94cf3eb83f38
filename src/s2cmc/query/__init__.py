"""TODO."""

from s2cmc.query.annotators import Annotator, annotated, masks, other_masks
from s2cmc.query.expression import hint
from s2cmc.query.selection import Moment, interval, random_split, select, tag_groups, tags
from s2cmc.query.stratification import By, labelled, of, strata

__all__ = [
    "Annotator",
    "By",
    "Moment",
    "annotated",
    "hint",
    "interval",
    "labelled",
    "masks",
    "of",
    "other_masks",
    "random_split",
    "select",
    "strata",
    "tag_groups",
    "tags",
]
