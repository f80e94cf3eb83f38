"""TODO."""

from s2cmc.synthetic.make import make_release

__all__ = [
    "make_release",
]
