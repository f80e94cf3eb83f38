"""Pixels that lie in memory band by band, as they are stored, and stay so when dask hands them out."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Self

import numpy as np

from s2cmc.parallel import side_by_side


class Planar(np.ndarray[Any, Any]):
    """An ndarray (scene, ..., band) in which each band lies in one piece, or a part of one.

    dask joins several chunks by `numpy.concatenate` before it hands them out, which would sort the pixels anew, so that
    all bands of one lie side by side: that takes as long as to decode them. Here they stay in their order, and are
    copied side by side. Results of all else are plain ndarrays, copies among them.
    """

    __array_priority__ = -1.0

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: np.dtype[Any], empty: Callable[..., np.ndarray] = np.empty) -> Self:
        """Room for pixels (scene, ..., band), in memory that `empty` gives for a shape and a dtype."""
        scenes, *plane, bands = shape
        return np.moveaxis(empty((scenes, bands, *plane), dtype), 1, -1).view(cls)

    def copy(self, order: Literal["K", "A", "C", "F"] | None = "C") -> np.ndarray:  # type: ignore[override]
        """A plain ndarray with the same values, in C order unless another is asked for, as `numpy.ndarray.copy` has it.

        Those who hand memory to C rely on that order: netCDF4 writes it as it is.
        """
        return np.array(self, order=order)

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        """The results of functions on pixels, as plain ndarrays."""
        return array[()] if return_scalar else np.asarray(array)

    def __array_function__(  # type: ignore[override]  # numpy gives a sequence
        self, function: Callable[..., Any], types: Iterable[type], args: Sequence[Any], kwargs: Any
    ) -> Any:
        """Functions of numpy; of these `numpy.concatenate` as described: of a single array it gives that itself."""
        if function is np.concatenate and len(args) in (1, 2) and kwargs.keys() <= {"axis"}:
            arrays, axis = list(args[0]), args[1] if len(args) == 2 else kwargs.get("axis", 0)
            if axis is not None and all(isinstance(array, np.ndarray) for array in arrays):
                alike = {(array.ndim, array.dtype, *np.delete(array.shape, axis)) for array in arrays}
                if len(alike) == 1:
                    return arrays[0] if len(arrays) == 1 else _joined(arrays, axis, arrays[0])
        return super().__array_function__(function, types, args, kwargs)


def _joined(parts: Sequence[np.ndarray], axis: int, like: np.ndarray) -> np.ndarray:
    """Parts along an axis as one, in memory as another array."""
    ends = np.cumsum([part.shape[axis] for part in parts]).tolist()
    shape = [*like.shape]
    shape[axis] = ends[-1]
    joined = np.empty_like(like, shape=shape, subok=False)
    along = np.moveaxis(joined, axis, 0)

    def put(i: int) -> None:
        along[(ends[i - 1] if i else 0) : ends[i]] = np.moveaxis(parts[i], axis, 0)

    side_by_side(put, range(len(parts)))
    return joined
