# ruff: noqa: D102  # what each method gives stands below, once
"""Other ways to the same answers, each at its best. What one cannot do has no method, and is left out of the table.

All give what `Ours` gives, in every bit: reflectance (y, x, band) float32, labels uint8, counts int64. Where a format
holds DN, they are divided and counted as the floor does it, by as many threads as there are cores.
"""

import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import data
import formats
import numpy as np
from floor import BANDS, CORES, DN_COUNT, count_classes, count_dn, new_counts, sum_counts


class Pick(NamedTuple):
    """Where a patch lies."""

    scene: int
    y: slice
    x: slice


Patches = tuple[np.ndarray, np.ndarray]
"""Reflectance (patch, y, x, band) float32, and labels (patch, y, x) uint8."""


class Peer:
    """One way to read a catalogue.

    Parameters
    ----------
    scenes : int
        16 with reflectance, or 513 of which only masks are asked for.
    pool : ThreadPoolExecutor
        With one thread for each core.
    """

    name: str

    def __init__(self, scenes: int, pool: ThreadPoolExecutor) -> None:
        self._scenes, self._pool = scenes, pool

    def to_float(self, dn: np.ndarray) -> np.ndarray:
        """Reflectance of DN, divided in pieces by all threads."""
        out = np.empty(dn.shape, np.float32)
        rows = np.array_split(np.arange(len(dn)), CORES) if len(dn) > 1 else [np.array([0])]

        def divide(part: np.ndarray) -> None:
            if part.size:
                piece = slice(part[0], part[-1] + 1)
                np.divide(dn[piece], np.float32(10_000), out=out[piece], dtype=np.float32)

        list(self._pool.map(divide, rows))
        return out

    def count(self, scenes: Iterable[np.ndarray]) -> np.ndarray:
        """Histograms (band, dn) of scenes of DN (band, y, x), a thread for a share of the bands."""
        counts = new_counts()

        def add(bands: Sequence[int], dn: np.ndarray) -> None:
            for band in bands:
                count_dn(dn[band].ravel(), counts[band])

        for dn in scenes:
            list(self._pool.map(add, [range(start, BANDS, CORES) for start in range(CORES)], [dn] * CORES))
        return sum_counts([counts])

    def gather(self, read: Any, picks: Sequence[Pick]) -> Patches:
        """Patches as `read` gives them, one after the other in each thread: reflectance (y, x, band), and labels."""
        found = list(self._pool.map(read, picks))
        return np.stack([bands for bands, _ in found]), np.stack([labels for _, labels in found])


class NumpyZips(Peer):
    """The published zips with NumPy: a loop over members, as the catalogue's own description has it over files."""

    name = "numpy zips"

    def __init__(self, scenes: int, pool: ThreadPoolExecutor) -> None:
        super().__init__(scenes, pool)
        self._release = data.scenes_release() if scenes <= data.SCENES else data.masks_release()
        self._names = data.table()["scene"][:scenes].tolist()

    def scene(self, position: int) -> np.ndarray:
        return self._load("subscenes", position)

    def rgb(self, position: int) -> np.ndarray:
        return self.scene(position)[:, :, 1:4]

    def band(self, band: int) -> np.ndarray:
        return np.stack([self.scene(position)[:, :, band] for position in range(self._scenes)])

    def histograms(self) -> np.ndarray:
        counts = np.zeros((BANDS, DN_COUNT), np.int64)
        for position in range(self._scenes):
            dn = np.rint(self.scene(position) * np.float32(10_000)).astype(np.uint16)
            for band in range(BANDS):
                counts[band] += np.bincount(dn[:, :, band].ravel(), minlength=DN_COUNT)
        return counts

    def class_counts(self) -> np.ndarray:
        masks = (self._load("masks", position) for position in range(self._scenes))
        return np.array([[np.count_nonzero(mask[:, :, label]) for label in range(3)] for mask in masks])

    def class_sums(self) -> np.ndarray:
        """The same, summed over both axes at once: the shortest line, and in NumPy five times slower."""
        return np.stack([self._load("masks", position).sum(axis=(0, 1)) for position in range(self._scenes)])

    def patches(self, picks: Sequence[Pick]) -> Patches:
        found = [(self.scene(p.scene)[p.y, p.x], self._load("masks", p.scene)[p.y, p.x].argmax(-1)) for p in picks]
        return np.stack([bands for bands, _ in found]), np.stack([labels for _, labels in found]).astype(np.uint8)

    def _load(self, part: str, position: int) -> np.ndarray:
        with zipfile.ZipFile(self._release / f"{part}.zip") as archive:
            return data.load_zipped(archive, f"{part}/{self._names[position]}.npy")


class Hdf5(Peer):
    """h5py, one chunk a band, blosc zstd 5 bitshuffle by hdf5plugin: the codec of our store."""

    name = "h5py"

    def __init__(self, scenes: int, pool: ThreadPoolExecutor) -> None:
        import h5py
        import hdf5plugin  # noqa: F401  # registers the codec

        super().__init__(scenes, pool)
        self._file = h5py.File(formats.hdf5(scenes))

    def scene(self, position: int) -> np.ndarray:
        return np.moveaxis(self.to_float(self._file[formats.DN][position]), 0, -1)

    def rgb(self, position: int) -> np.ndarray:
        return np.moveaxis(self.to_float(self._file[formats.DN][position, 1:4]), 0, -1)

    def band(self, band: int) -> np.ndarray:
        return self.to_float(self._file[formats.DN][:, band])

    def histograms(self) -> np.ndarray:
        return self.count(self._file[formats.DN][position] for position in range(self._scenes))

    def class_counts(self) -> np.ndarray:
        labels = self._file[formats.LABELS]
        return np.array([count_classes(labels[position].ravel()) for position in range(self._scenes)])

    def patches(self, picks: Sequence[Pick]) -> Patches:
        def read(p: Pick) -> tuple[np.ndarray, np.ndarray]:
            dn = self._file[formats.DN][p.scene, :, p.y, p.x]
            bands = np.divide(dn, np.float32(10_000), dtype=np.float32)
            return np.moveaxis(bands, 0, -1), self._file[formats.LABELS][p.scene, p.y, p.x]

        return self.gather(read, picks)


class Geotiffs(Peer):
    """COGs with rasterio, whose GDAL decodes with as many threads as cores; no block is cached between two reads."""

    name = "COG"

    def __init__(self, scenes: int, pool: ThreadPoolExecutor) -> None:
        super().__init__(scenes, pool)
        files = formats.geotiffs(scenes)
        self._images = [str(path) for path in files]
        self._labels = [str(path.with_name(f"{path.stem}_labels.tif")) for path in files]

    def scene(self, position: int) -> np.ndarray:
        return np.moveaxis(self.to_float(_raster(self._images[position])), 0, -1)

    def rgb(self, position: int) -> np.ndarray:
        return np.moveaxis(self.to_float(_raster(self._images[position], [2, 3, 4])), 0, -1)

    def band(self, band: int) -> np.ndarray:
        bands = self._pool.map(lambda path: _raster(path, [band + 1], threads=1)[0], self._images)
        return self.to_float(np.stack(list(bands)))

    def histograms(self) -> np.ndarray:
        return self.count(map(_raster, self._images))

    def class_counts(self) -> np.ndarray:
        def one(path: str) -> tuple[int, int, int]:
            return count_classes(_raster(path, threads=1).ravel())

        return np.array(list(self._pool.map(one, self._labels)))

    def patches(self, picks: Sequence[Pick]) -> Patches:
        def read(p: Pick) -> tuple[np.ndarray, np.ndarray]:
            dn = _raster(self._images[p.scene], window=(p.y, p.x), threads=1)
            bands = np.divide(dn, np.float32(10_000), dtype=np.float32)
            return np.moveaxis(bands, 0, -1), _raster(self._labels[p.scene], window=(p.y, p.x), threads=1)[0]

        return self.gather(read, picks)


class Taco(Geotiffs):
    """The same GeoTIFFs in one TACO file: taco-eo says where in it each lies, GDAL reads it there."""

    name = "taco-eo"

    def __init__(self, scenes: int, pool: ThreadPoolExecutor) -> None:
        from taco.container.view import open_view

        super().__init__(scenes, pool)
        path = formats.taco(scenes)
        # taco.read() runs DuckDB with an extension that it may have to download.
        rows = list(open_view(path).iter_data_rows())

        def located(name: str) -> list[str]:
            found = {row.relative_path.split("/")[0]: row for row in rows if row.relative_path.endswith(name)}
            return [f"/vsisubfile/{found[key].offset}_{found[key].size},{path}" for key in sorted(found, key=int)]

        self._images, self._labels = located("image.tif"), located("labels.tif")


def _raster(
    path: str | Path, bands: list[int] | None = None, *, window: Any = None, threads: int = CORES
) -> np.ndarray:
    """Bands (band, y, x) of a GeoTIFF."""
    import rasterio
    from rasterio.windows import Window

    where = Window.from_slices(*window) if window else None
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(path, num_threads=threads) as file:
        return file.read(bands, window=where)
