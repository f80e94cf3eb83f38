"""Pickles that leave a mark where somebody loads them."""

import pickle
from pathlib import Path


class Mark:
    """Whoever unpickles this leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def packed(mark: Mark) -> bytes:
    """A chunk as numcodecs' pickle writes it: an array of Python objects."""
    return pickle.dumps([mark, [1], "|O"])
