"""Proof of a store, against itself and against its release; shares no code with the packages that write stores."""

from .objects import expected_objects, list_objects, read_shard, unreadable_scenes
from .readback import Readback
from .verification import verify

__all__ = [
    "Readback",
    "expected_objects",
    "list_objects",
    "read_shard",
    "unreadable_scenes",
    "verify",
]
