"""Memory that is used again: a system gives fresh one page by page, which takes as long as to decode into it."""

from collections import deque
from math import prod
from typing import Any

import numpy as np

from s2cmc.parallel import CORES

_LEAST = 1024 * 1024
"""Bytes below which memory comes from the allocator, which uses it again by itself."""

_MOST = 64 * 1024 * 1024
"""Bytes of what is kept at most: a scene of float32 takes 54 MB."""


class Reused:
    """Memory that was given back, a piece for each core: so many blocks are worked on at a time."""

    def __init__(self) -> None:
        self._free: deque[np.ndarray] = deque(maxlen=CORES)  # its methods need no lock, which `__del__` may not take

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """An array, uninitialised and C-contiguous; its memory comes back when nothing refers to it any more."""
        nbytes = prod(shape) * dtype.itemsize
        if not _LEAST <= nbytes <= _MOST:
            return np.empty(shape, dtype)
        memory = self._taken(nbytes)
        lent = _Lent(np.empty(nbytes, np.uint8) if memory is None else memory, self._free)
        return np.frombuffer(lent, dtype).reshape(shape)

    def _taken(self, nbytes: int) -> np.ndarray | None:
        for _ in range(len(self._free)):
            try:
                memory = self._free.popleft()
            except IndexError:  # another thread took it
                return None
            if memory.nbytes == nbytes:
                return memory
            self._free.append(memory)
        return None


class _Lent:
    """What an array, and all views of it, refer to: https://peps.python.org/pep-0688/."""

    def __init__(self, memory: np.ndarray, free: deque[np.ndarray]) -> None:
        self._memory, self._free = memory, free

    def __buffer__(self, flags: int) -> memoryview:
        return self._memory.data

    def __del__(self) -> None:
        self._free.append(self._memory)
