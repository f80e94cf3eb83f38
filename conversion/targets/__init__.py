"""Places where stores are written: a folder or a bucket, one writer at a time."""

from .bucket import Bucket, is_bucket
from .folder import Folder
from .journal import State, Step, Target, Written, digests_in
from .places import place_to_write, refuse_within_store, writing

__all__ = [
    "Bucket",
    "Folder",
    "State",
    "Step",
    "Target",
    "Written",
    "digests_in",
    "is_bucket",
    "place_to_write",
    "refuse_within_store",
    "writing",
]
