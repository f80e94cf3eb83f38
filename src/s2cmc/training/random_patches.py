"""Random patches of scenes with their labels, in batches, for training."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, prod
from numbers import Integral
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from s2cmc._display import Description
from s2cmc.errors import DamagedError, MissingObjectError, QueryError
from s2cmc.store import Source, source_of

VARIABLES = ("reflectance", "mask")
_DIMS = ("scene", "y", "x", "band")
_DAMAGE = (ValueError, RuntimeError, DamagedError, MissingObjectError)
"""Errors for bytes that are not what was written, or are missing."""


@dataclass(frozen=True, eq=False)
class Patches:
    """Batches of random patches, in an order that depends only on these attributes.

    ``len(patches)`` is the number of batches, ``patches[i]`` reads one of them. Iteration reads the next batch while
    one is used.

    Attributes
    ----------
    catalogue : Dataset
        Scenes to draw from.
    size : (y, x)
        Pixels of a patch.
    batch : int
        Patches in a batch; the last batch may have fewer.
    count : int
        Patches of an epoch.
    scenes_per_batch : int
        Upper limit for the number of scenes in a batch.
    seed, number : int
        Seed, and number of the epoch: each pair gives another order.
    """

    catalogue: xr.Dataset
    size: tuple[int, int]
    batch: int
    count: int
    scenes_per_batch: int
    seed: int
    number: int = 0

    def __repr__(self) -> str:
        return self._description().to_text()

    def _repr_html_(self) -> str:
        return self._description().to_html()

    def _description(self) -> Description:
        height, width = self.size
        variables = [self.catalogue.variables[name] for name in VARIABLES]
        pixels = [
            f"{name} ({', '.join(map(str, v.dims[1:]))}) {v.dtype}"
            for name, v in zip(VARIABLES, variables, strict=True)
        ]
        title = f"Patches of {height} x {width} pixels in batches of {self.batch}"
        rows = [
            ("patches", f"{self.count} in an epoch, from {self.catalogue.sizes['scene']} scenes"),
            ("batches", f"{len(self)}, each of up to {self.scenes_per_batch} scenes"),
            ("each patch", ", ".join(pixels)),
            ("order", f"epoch {self.number} of seed {self.seed}"),
        ]
        asked = [
            ("for data in patches", "read one batch after the other, the next one ahead"),
            ("patches[i]", "read one batch"),
            ("patches.epoch(1)", "other patches in another order"),
            ("patches.positions", "scene, row and column of each patch"),
        ]
        return Description(title, rows, [("patches", asked)])

    def epoch(self, number: int) -> "Patches":
        """Return another epoch: as many patches, at other places and in another order.

        Parameters
        ----------
        number : int
            Number of the epoch, from 0.
        """
        _check("epoch", number, 0)
        return replace(self, number=number)

    @cached_property
    def positions(self) -> np.ndarray:
        """Position of the scene, first row and first column of each patch (patch, 3), int64, in order.

        All scenes are visited equally often, to within one visit; places in a scene are uniform.
        """
        # Batches of 4 patches from 2 scenes each, 8 patches of 3 scenes:
        #   patch    0  1  2  3  4  5  6  7
        #   visits   0  0  1  1  2  2  3  3   a visit is the patches of one scene in one batch
        #   order    2  0  1  1  2  0         two rounds through the 3 scenes, each in an order of its own
        #   scenes   2  2  0  0  1  1  1  1
        rng = np.random.default_rng((self.seed, self.number))
        patch = np.arange(self.count)
        within = patch % self.batch * self.scenes_per_batch // self.batch
        visits = patch // self.batch * self.scenes_per_batch + within
        scenes, *plane = (self.catalogue.sizes[dim] for dim in ("scene", "y", "x"))
        rounds = ceil((visits[-1] + 1) / scenes)
        order = rng.permuted(np.tile(np.arange(scenes), (rounds, 1)), axis=1).ravel()
        corners = [rng.integers(0, n - step + 1, self.count) for n, step in zip(plane, self.size, strict=True)]
        return np.stack([order[visits], *corners], axis=-1)

    def __len__(self) -> int:
        return ceil(self.count / self.batch)

    def __getitem__(self, index: int) -> xr.Dataset:
        if not -len(self) <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        first = index % len(self) * self.batch
        return patches_at(self.catalogue, self.positions[first : first + self.batch], self.size)

    def __iter__(self) -> Iterator[xr.Dataset]:
        with ThreadPoolExecutor(1, "s2cmc-patches") as pool:
            ahead = pool.submit(self.__getitem__, 0)
            for index in range(1, len(self) + 1):
                ready = ahead.result()
                if index < len(self):
                    ahead = pool.submit(self.__getitem__, index)
                yield ready


def patches(
    catalogue: xr.Dataset,
    size: int | tuple[int, int],
    batch: int,
    count: int | None,
    scenes_per_batch: int | None,
    seed: int,
) -> Patches:
    """Plan batches of random patches; see `CloudsAccessor.patches`."""
    size = _size(catalogue, size)
    scenes, *plane = (catalogue.sizes[dim] for dim in ("scene", "y", "x"))
    if not scenes:
        raise QueryError("there is no scene to take patches of; select at least one")
    if count is None:
        count = scenes * ceil(prod(plane) / prod(size))
    if scenes_per_batch is None:
        scenes_per_batch = batch
    _check("batch", batch, 1)
    _check("count", count, 1)
    _check("seed", seed, 0)
    _check("scenes_per_batch", scenes_per_batch, 1)
    if scenes_per_batch > batch:
        raise QueryError(f"scenes_per_batch {scenes_per_batch} is above batch, {batch}: a patch is of one scene")
    return Patches(catalogue, size, batch, count, scenes_per_batch, seed)


def patches_at(catalogue: xr.Dataset, positions: ArrayLike, size: int | tuple[int, int]) -> xr.Dataset:
    """Read patches at given places; see `CloudsAccessor.patches_at`."""
    size = _size(catalogue, size)
    places = _places(catalogue, positions, size)
    variables = [_in_order(catalogue.variables[name]) for name in VARIABLES]
    with ThreadPoolExecutor(len(VARIABLES), "s2cmc-patches") as pool:  # both may wait for a network
        arrays = pool.map(lambda variable: _read(variable, places, size), variables)
        read = {
            name: (("patch", *variable.dims[1:]), values, variable.attrs)
            for name, variable, values in zip(VARIABLES, variables, arrays, strict=True)
        }
    scene, y, x = places.T
    coordinates = {
        "scene": ("patch", catalogue["scene"].to_numpy()[scene], catalogue["scene"].attrs),
        "scene_index": ("patch", scene, {"long_name": "position of the scene in the Dataset"}),
        "y_start": ("patch", y, {"long_name": "first row of the patch in its scene", "units": "1"}),
        "x_start": ("patch", x, {"long_name": "first column of the patch in its scene", "units": "1"}),
    }
    bands = {name: v for name, v in catalogue.variables.items() if name in catalogue.coords and v.dims == ("band",)}
    return xr.Dataset(read, coordinates | bands, catalogue.attrs)


def _in_order(variable: xr.Variable) -> xr.Variable:
    """Transpose a variable to the order of dimensions of the catalogue; return it unchanged if it has that order."""
    dims = tuple(dim for dim in _DIMS if dim in variable.dims)
    return variable if variable.dims == dims else variable.transpose(*dims)


def _check(name: str, value: object, minimum: int) -> None:
    """Check that an argument is a whole number from `minimum` on."""
    if not isinstance(value, Integral) or value < minimum:
        raise QueryError(f"{name} {value!r} is no whole number from {minimum} on")


def _size(catalogue: xr.Dataset, size: int | tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of a patch; check that a scene has so many."""
    shape = size if isinstance(size, tuple) else (size, size)
    plane = catalogue.sizes["y"], catalogue.sizes["x"]
    fits = len(shape) == 2 and all(isinstance(n, Integral) and 1 <= n <= plane[i] for i, n in enumerate(shape))
    if not fits:
        raise QueryError(f"size {size!r} does not fit: rows and columns of a patch are whole numbers up to {plane}")
    return int(shape[0]), int(shape[1])


def _places(catalogue: xr.Dataset, positions: ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """Return positions as an array (patch, 3), int64; check that each patch is within its scene."""
    places = np.asarray(positions)
    if places.ndim != 2 or places.shape[1] != 3 or places.dtype.kind not in "iu":
        raise QueryError(
            f"positions are of shape {places.shape} and dtype {places.dtype}; "
            "expected whole numbers (patch, 3): scene, first row, first column"
        )
    last = np.array([catalogue.sizes["scene"] - 1, *(catalogue.sizes[d] - n for d, n in zip("yx", size, strict=True))])
    wrong = np.flatnonzero(((places < 0) | (places > last)).any(axis=1))
    if len(wrong):
        raise QueryError(
            f"patch {wrong[0]} at (scene, y, x) {tuple(places[wrong[0]].tolist())} does not lie in the catalogue; "
            f"the last one of {size[0]} x {size[1]} pixels lies at {tuple(last.tolist())}"
        )
    return places.astype(np.int64)


def _read(variable: xr.Variable, places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Read patches of a variable (patch, y, x, ...)."""
    if (source := source_of(variable)) is not None:
        try:
            values = _read_windows(source, places, size)
        except _DAMAGE:  # read scene by scene, bytes are read once more, and an error names the scene
            values = None
        if values is not None:
            return values
    return _read_blocks(variable, places, size)


def _read_windows(source: Source, places: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    """Read patches straight from the shards of a store; None for other sources, or if rows or columns do not ascend."""
    from s2cmc.store import CatalogueStore

    shards, store = source.stored.shards, source.stored.array.store
    if shards is None or not isinstance(store, CatalogueStore) or not source.is_in_order:
        return None
    scenes, rows, columns, *last = source.positions
    if any((np.diff(positions) <= 0).any() for positions in (rows, columns)):
        return None
    # Bands are read in ascending order, each once, and then put into the order of the source:
    #   last [3, 2, 1] (true colour), ascending [1, 2, 3], taken from there at [2, 1, 0]
    ascending = [np.unique(bands) for bands in last]
    out = _empty_patches((len(places), *size, *map(len, ascending)), source.dtype)
    windows = [
        ([scenes[scene : scene + 1], rows[y : y + size[0]], columns[x : x + size[1]], *ascending], out[i : i + 1])
        for i, (scene, y, x) in enumerate(places.tolist())
    ]
    shards.read_windows(store, windows, source.stored.transfer)
    if ascending and not np.array_equal(ascending[0], last[0]):
        return np.moveaxis(np.take(np.moveaxis(out, -1, 1), np.searchsorted(ascending[0], last[0]), 1), 1, -1)
    return out


def _read_blocks(variable: xr.Variable, places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Read patches of any variable: of each scene, one block that holds all of its patches."""
    out = _empty_patches((len(places), *size, *variable.shape[3:]), variable.dtype)
    for scene in np.unique(places[:, 0]):
        of_scene = np.flatnonzero(places[:, 0] == scene)
        corner, end = places[of_scene, 1:].min(axis=0), places[of_scene, 1:].max(axis=0) + size
        block = variable[scene, corner[0] : end[0], corner[1] : end[1]].to_numpy()
        for i in of_scene:
            y, x = places[i, 1:] - corner
            out[i] = block[y : y + size[0], x : x + size[1]]
    return out


def _empty_patches(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Return an uninitialised array (patch, y, x, ...); its memory is band-major, as stores and frameworks have it."""
    if len(shape) < 4:
        return np.empty(shape, dtype)
    patch, *plane, band = shape
    return np.moveaxis(np.empty((patch, band, *plane), dtype), 1, -1)
