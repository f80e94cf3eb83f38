"""Count digital numbers (DN) by class: compiled by numba where it is installed, else with numpy's bincount."""

from collections.abc import Callable
from functools import cache

import numpy as np

DN_COUNT = 65_536

_BLOCK = 65_536
"""Pixels that numpy counts at a time, so that what is made of them on the way stays in the cache."""


def count_dn(dn: np.ndarray, labels: np.ndarray | None, classes: int) -> np.ndarray:
    """Count the pixels of each DN, by class.

    Parameters
    ----------
    dn : ndarray (y, x), uint16
    labels : ndarray (y, x), uint8, below `classes`, optional
        All pixels are of class 0 without.
    classes : int

    Returns
    -------
    ndarray (class, dn), uint32
        Up to the highest DN that there is.

    Raises
    ------
    ValueError
        If a label is not below `classes`.
    """
    if labels is not None and labels.max(initial=0) >= classes:  # what is compiled would write into other memory
        raise ValueError(f"label {labels.max()} is none of {classes} classes")
    counts = np.zeros((2, classes, int(dn.max(initial=0)) + 1), np.uint32)
    add = compiled() if dn.size > _BLOCK else None  # what is small is not worth compiling
    (add or _add_blocks)(dn, labels, counts)
    return counts.sum(axis=0, dtype=np.uint32)


@cache
def compiled() -> Callable[..., None] | None:
    """`_add_each` made fast, or None without numba. Importing it and compiling take a second or two, once a process."""
    try:
        import numba
    except ImportError:
        return None
    fast: Callable[..., None] = numba.njit(nogil=True)(_add_each)
    return fast


def _add_each(dn: np.ndarray, labels: np.ndarray | None, counts: np.ndarray) -> None:
    """Add pixels to counts (half, class, dn).

    Neighbours are often alike, and a counter cannot be raised again before it was raised: so there are two.
    """
    for y in range(dn.shape[0]):
        for x in range(dn.shape[1]):
            counts[x % 2, 0 if labels is None else labels[y, x], dn[y, x]] += 1


def _add_blocks(dn: np.ndarray, labels: np.ndarray | None, counts: np.ndarray) -> None:
    """The same in numpy; the second half is left alone."""
    classes, width = counts.shape[1:]
    step = max(1, _BLOCK // max(1, dn.shape[1]))
    for top in range(0, len(dn), step):
        cells = dn[top : top + step].astype(np.int64)
        if labels is not None:
            cells += labels[top : top + step] * np.int64(width)
        counts[0] += np.bincount(cells.ravel(), minlength=classes * width).astype(np.uint32).reshape(classes, width)
