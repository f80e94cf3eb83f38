# ruff: noqa: D102  # what each method gives stands below, once
"""Other readers of our store, and of the one that xarray writes by default; see `peers`."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import data
import formats
import numpy as np
from floor import CORES, count_classes
from peers import Patches, Peer, Pick

from s2cmc.schema.catalogue import DN_PER_REFLECTANCE


def _store(scenes: int) -> str:
    return str(data.scenes_store() if scenes == data.SCENES else data.masks_store())


class Tensorstore(Peer):
    """tensorstore on our store: planar buffers, many reads at a time; for patches, decoded masks are kept."""

    name = "tensorstore"

    def __init__(self, scenes: int, pool: ThreadPoolExecutor) -> None:
        super().__init__(scenes, pool)
        self._reflectance = open_tensorstore(f"file://{_store(scenes)}/reflectance/")
        self._mask = open_tensorstore(f"file://{_store(scenes)}/mask/")
        self._kept_mask = open_tensorstore(f"file://{_store(scenes)}/mask/", cache_bytes=600_000_000)

    def scene(self, position: int) -> np.ndarray:
        return np.moveaxis(self.to_float(self._planar(position).read(order="C").result()), 0, -1)

    def rgb(self, position: int) -> np.ndarray:
        return np.moveaxis(self.to_float(self._planar(position)[1:4].read(order="C").result()), 0, -1)

    def band(self, band: int) -> np.ndarray:
        return self.to_float(self._reflectance[:, :, :, band].read(order="C").result())

    def histograms(self) -> np.ndarray:
        ahead = CORES
        reads = [self._planar(position).read(order="C") for position in range(ahead)]

        def scenes() -> Any:
            for position in range(self._scenes):
                if position + ahead < self._scenes:
                    reads.append(self._planar(position + ahead).read(order="C"))
                yield reads.pop(0).result()

        return self.count(scenes())

    def class_counts(self) -> np.ndarray:
        chunks = [self._mask[first : min(first + 8, self._scenes)] for first in range(0, self._scenes, 8)]

        def count(chunk: Any) -> list[tuple[int, int, int]]:
            return [count_classes(labels.ravel()) for labels in chunk.read().result()]

        return np.array([counts for some in self._pool.map(count, chunks) for counts in some])

    def patches(self, picks: Sequence[Pick]) -> Patches:
        reads = [
            (self._reflectance[p.scene, p.y, p.x].read(), self._kept_mask[p.scene, p.y, p.x].read()) for p in picks
        ]
        dn = np.stack([bands.result() for bands, _ in reads])
        return self.to_float(dn), np.stack([labels.result() for _, labels in reads])

    def _planar(self, position: int) -> Any:
        """A scene, bands first."""
        return self._reflectance[position].transpose([2, 0, 1])


def open_tensorstore(url: str, *, cache_bytes: int = 0) -> Any:
    """An array; `cache_bytes` of decoded chunks are kept."""
    import tensorstore as ts

    limits = {
        "cache_pool": {"total_bytes_limit": cache_bytes},
        "data_copy_concurrency": {"limit": CORES},
        "file_io_concurrency": {"limit": CORES},
    }
    spec = {"driver": "zarr3", "kvstore": url}
    return ts.open(spec, context=ts.Context(limits), open=True, read=True).result()


class Plain(Peer):
    """Plain `xarray.open_zarr` on our store; decoded to float64 by xarray, so that float32 is taken of it.

    Parameters
    ----------
    whole : bool
        dask chunks are shards; else they are the store's inner chunks, ``chunks={}``.
    """

    name = "open_zarr"

    def __init__(self, scenes: int, pool: ThreadPoolExecutor, *, whole: bool = False) -> None:
        import xarray as xr

        super().__init__(scenes, pool)
        opened = xr.open_zarr(_store(scenes), chunks=None if whole else {})
        raw = xr.open_zarr(_store(scenes), chunks=None if whole else {}, mask_and_scale=False)
        self._reflectance, self._dn, self._mask = opened.reflectance, raw.reflectance, opened["mask"]
        if whole:
            shard = {"scene": 1, "y": -1, "x": -1, "band": -1}
            self._reflectance, self._dn = self._reflectance.chunk(shard), self._dn.chunk(shard)
            self._mask = self._mask.chunk({"scene": 64, "y": -1, "x": -1})

    def scene(self, position: int) -> np.ndarray:
        return self._reflectance[position].astype(np.float32).to_numpy()

    def rgb(self, position: int) -> np.ndarray:
        return self._reflectance[position, :, :, 1:4].astype(np.float32).to_numpy()

    def band(self, band: int) -> np.ndarray:
        return self._reflectance[:, :, :, band].astype(np.float32).to_numpy()

    def histograms(self) -> np.ndarray:
        return self.count(np.moveaxis(self._dn[position].to_numpy(), -1, 0) for position in range(self._scenes))

    def class_counts(self) -> np.ndarray:
        import dask

        counts = [(self._mask == label).sum(("y", "x")) for label in range(3)]
        return np.stack(dask.compute(*counts), axis=-1)

    def patches(self, picks: Sequence[Pick]) -> Patches:
        bands = [self._reflectance[p.scene, p.y, p.x].astype(np.float32).to_numpy() for p in picks]
        return np.stack(bands), np.stack([self._mask[p.scene, p.y, p.x].to_numpy() for p in picks])


@contextmanager
def _fused() -> Iterator[None]:
    """Arrays that are opened meanwhile are read by zarr's fused pipeline, which decodes in threads."""
    import zarr

    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline"}):
        yield


class FusedZarr(Peer):
    """zarr-python on our store with its fused pipeline; uint16, divided here."""

    name = "zarr, fused"

    def __init__(self, scenes: int, pool: ThreadPoolExecutor) -> None:
        import zarr

        super().__init__(scenes, pool)
        with _fused():
            group = zarr.open_group(_store(scenes), mode="r")
            self._reflectance, self._mask = group["reflectance"], group["mask"]

    def scene(self, position: int) -> np.ndarray:
        return self.to_float(self._reflectance[position])

    def rgb(self, position: int) -> np.ndarray:
        return self.to_float(self._reflectance[position, :, :, 1:4])

    def band(self, band: int) -> np.ndarray:
        return self.to_float(self._reflectance[:, :, :, band])

    def histograms(self) -> np.ndarray:
        return self.count(np.moveaxis(self._reflectance[position], -1, 0) for position in range(self._scenes))

    def class_counts(self) -> np.ndarray:
        chunks = [self._mask[first : min(first + 64, self._scenes)] for first in range(0, self._scenes, 64)]
        return np.array([count_classes(labels.ravel()) for chunk in chunks for labels in chunk])

    def patches(self, picks: Sequence[Pick]) -> Patches:
        dn = np.stack([self._reflectance[p.scene, p.y, p.x] for p in picks])
        return self.to_float(dn), np.stack([self._mask[p.scene, p.y, p.x] for p in picks])


class FusedPlain(Plain):
    """Plain `xarray.open_zarr` on zarr's fused pipeline; one dask chunk for each chunk of the store."""

    name = "open_zarr, fused"

    def __init__(self, scenes: int, pool: ThreadPoolExecutor) -> None:
        with _fused():
            super().__init__(scenes, pool)


class Naive(Peer):
    """The published arrays stacked and written by `to_zarr`, all defaults, read back with `xarray.open_zarr`."""

    name = "to_zarr"

    def __init__(self, scenes: int, pool: ThreadPoolExecutor) -> None:
        import xarray as xr

        super().__init__(scenes, pool)
        written = data.SCENES if scenes <= data.SCENES else data.ALL
        self._ds = xr.open_zarr(formats.naive(written), consolidated=False).isel(scene=slice(scenes))

    def scene(self, position: int) -> np.ndarray:
        return self._ds.reflectance[position].to_numpy()

    def rgb(self, position: int) -> np.ndarray:
        return self._ds.reflectance[position, :, :, 1:4].to_numpy()

    def band(self, band: int) -> np.ndarray:
        return self._ds.reflectance[:, :, :, band].to_numpy()

    def histograms(self) -> np.ndarray:
        def dn(position: int) -> np.ndarray:
            found = np.rint(self.scene(position) * np.float32(DN_PER_REFLECTANCE)).astype(np.uint16)
            return np.moveaxis(found, -1, 0)

        return self.count(map(dn, range(self._scenes)))

    def class_counts(self) -> np.ndarray:
        return self._ds["mask"].sum(("y", "x")).to_numpy()

    def patches(self, picks: Sequence[Pick]) -> Patches:
        bands = [self._ds.reflectance[p.scene, p.y, p.x].to_numpy() for p in picks]
        labels = [self._ds["mask"][p.scene, p.y, p.x].to_numpy().argmax(-1) for p in picks]
        return np.stack(bands), np.stack(labels).astype(np.uint8)
