"""The maker of synthetic releases, for a first look, for tests and for benchmarks."""

from s2cmc.synthetic.make import make_release

__all__ = [
    "make_release",
]
