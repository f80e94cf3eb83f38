"""A part of a Zarr array that is read, and converted, only when its values are asked for."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from s2cmc.schema import DN_PER_REFLECTANCE, MASK_MISSING, MASK_NOT_ONE_HOT
from s2cmc.store.reading import as_stored, read_as
from s2cmc.store.shards import Shards, Transfer

if TYPE_CHECKING:
    import zarr

Index = int | slice | np.ndarray | None
"""Orthogonal index of one dimension; an integer drops the dimension, None adds one of length 1."""


@dataclass(frozen=True, eq=False)
class Stored:
    """A Zarr array, how it is read, and what its values are converted to.

    Attributes
    ----------
    array : zarr.Array
    shards : Shards, optional
        Reader of the array; without it zarr reads the array.
    dtype : dtype
        Of the converted values.
    transfer : callable
        Conversion of stored values, see `Transfer`.
    """

    array: "zarr.Array[Any]"
    shards: Shards | None
    dtype: np.dtype[Any]
    transfer: Transfer

    @classmethod
    def from_array(cls, array: "zarr.Array[Any]") -> Self:
        """Make it of an array of a catalogue: reflectance as float32, masks with their labels."""
        return cls(array, Shards.from_array(array), *_conversion(array))

    @property
    def has_nan(self) -> bool:
        """True if a converted value may be NaN, which no DN stands for."""
        return self.dtype.kind == "f" and self.transfer is not to_reflectance

    @cached_property
    def token(self) -> str:
        """Token for dask: equal for equal pixels."""
        from dask.base import tokenize

        place = str(self.array.store_path), self.array.metadata.to_dict()
        return tokenize(place, self.dtype, self.transfer.__name__)


@dataclass(frozen=True, eq=False)
class Source:
    """A part of a Zarr array, of which smaller parts are taken without reading.

    Attributes
    ----------
    stored : Stored
    positions : tuple of ndarray of int
        Positions in the array, along each dimension of the part.
    axes : tuple of int or None
        Axis of the array that each dimension of the part goes along; None for a dimension that was added.
    dropped : tuple of (int, int)
        Axis and position of each dimension that an integer has dropped.
    """

    # reflectance[7, :, :, [3, 2, 1]].transpose("band", "y", "x") of 10 scenes is
    #   positions ([3, 2, 1], 0..1021, 0..1021), axes (3, 1, 2), dropped ((0, 7),)
    # and reads array[7:8, :, :, [3, 2, 1]] as (y, x, band), which it transposes by (2, 0, 1).

    stored: Stored
    positions: tuple[np.ndarray, ...]
    axes: tuple[int | None, ...]
    dropped: tuple[tuple[int, int], ...] = ()

    @classmethod
    def from_array(cls, array: "zarr.Array[Any]") -> Self:
        """Make the source of a whole array of a catalogue."""
        return cls(Stored.from_array(array), tuple(map(np.arange, array.shape)), tuple(range(array.ndim)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the part."""
        return tuple(map(len, self.positions))

    @property
    def ndim(self) -> int:
        """Number of dimensions of the part."""
        return len(self.positions)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values that are read."""
        return self.stored.dtype

    @cached_property
    def name(self) -> str:
        """Name for dask: equal for equal pixels."""
        digest = hashlib.blake2b(
            f"{self.stored.token} {self.axes} {self.dropped} {self.shape}".encode(), digest_size=16
        )
        for along in self.positions:
            digest.update(np.ascontiguousarray(along, np.int64))
        return f"{self.stored.array.basename}-{digest.hexdigest()}"

    @property
    def scene_axis(self) -> int | None:
        """Dimension of the part that goes along the scenes; None if an integer has dropped it."""
        return self.axes.index(0) if 0 in self.axes else None

    @property
    def is_in_order(self) -> bool:
        """True if the part has all dimensions of the array, in their order."""
        return self.axes == tuple(range(self.stored.array.ndim))

    def take(self, key: Sequence[Index]) -> "Source":
        """Take a part of this part, by one orthogonal index for each dimension, and None for each that is added."""
        positions: list[np.ndarray] = []
        axes: list[int | None] = []
        dropped = [*self.dropped]
        dims = zip(self.axes, self.positions, strict=True)
        for index in key:
            axis, along = (None, np.zeros(1, int)) if index is None else next(dims)
            if index is not None and is_integer(index):
                if axis is not None:
                    dropped.append((axis, int(along[index])))
                continue
            positions.append(along if index is None else along[index])
            axes.append(axis)
        return replace(self, positions=tuple(positions), axes=tuple(axes), dropped=tuple(dropped))

    def transpose(self, order: Sequence[int]) -> "Source":
        """Permute the dimensions of this part."""
        return replace(self, positions=tuple(self.positions[i] for i in order), axes=tuple(self.axes[i] for i in order))

    def as_stored(self) -> "Source":
        """Return the same part, whose values are not converted."""
        stored = replace(self.stored, dtype=np.dtype(self.stored.array.dtype), transfer=as_stored)
        return replace(self, stored=stored)

    def read(self) -> np.ndarray:
        """Read the part, into a plain ndarray whose memory is band-major."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        selection: list[Any] = [None] * self.stored.array.ndim
        for axis, position in self.dropped:
            selection[axis] = position
        for along_axis, along in zip(self.axes, self.positions, strict=True):
            if along_axis is not None:
                selection[along_axis] = along
        stored = self.stored
        values = np.asarray(read_as(stored.array, stored.shards, tuple(selection), stored.transfer, stored.dtype))
        axes = [axis for axis in self.axes if axis is not None]
        values = values.transpose([sorted(axes).index(axis) for axis in axes])
        for i in [i for i, axis in enumerate(self.axes) if axis is None]:
            values = np.expand_dims(values, i)
            values = values if len(self.positions[i]) == 1 else values.repeat(len(self.positions[i]), i)
        return values

    def __getitem__(self, key: tuple[Index, ...]) -> np.ndarray:
        return self.take(key).read()


def is_integer(index: object) -> bool:
    """Return True if an index is an integer, which drops its dimension."""
    return not isinstance(index, slice) and np.ndim(index) == 0  # type: ignore[arg-type]


def _conversion(array: "zarr.Array[Any]") -> tuple[np.dtype[Any], Transfer]:
    """Return the dtype of an array as users see it, and the function that converts stored values to it."""
    if array.basename in ("mask", "alt_mask"):
        return np.dtype("uint8"), to_mask
    if array.basename == "reflectance" and array.dtype == np.uint16:
        return np.dtype("float32"), to_reflectance
    return np.dtype(array.dtype), as_stored


def to_reflectance(dn: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Convert digital numbers to TOA reflectance, unitless, float32, bit-equal to the published arrays.

    The quotient is exact for all 65,536 DN; a product with 1e-4 would be off by one ulp for 30 % of them.
    """
    return np.divide(dn, np.float32(DN_PER_REFLECTANCE), out=out, dtype=np.float32)


def to_mask(labels: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Convert stored labels, uint8, to those that users see: 255, no label, for a pixel that is not one-hot."""
    mask = as_stored(labels, np.empty_like(labels) if out is None else out)
    if labels.size and labels.max() >= MASK_NOT_ONE_HOT:
        np.putmask(mask, mask >= MASK_NOT_ONE_HOT, np.uint8(MASK_MISSING))
    return mask
