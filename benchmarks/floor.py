"""The floor: the same objects, decoded by the C codecs into one buffer, and the same arithmetic. It checks nothing.

One process and as many threads as cores. Another reader can hardly be faster; it would have to guard, select and
describe as much as this one, which is nothing.
"""

import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
from numcodecs import blosc, zstd

CORES = os.cpu_count() or 1
SIDE, CHUNK, BANDS = 1022, 512, 13
DN_COUNT = 65_536
_CHECKSUM = 4  # bytes of crc32c after each chunk, and after the index


class Floor:
    """Reads shards of a store of full-size scenes as they lie on disk.

    Parameters
    ----------
    store : Path
    scenes : int
    pool : ThreadPoolExecutor
        With one thread for each core.
    """

    name = "floor"

    def __init__(self, store: Path, scenes: int, pool: ThreadPoolExecutor) -> None:
        self._store, self._scenes, self._pool = store, scenes, pool
        blosc.use_threads = False  # there are threads already

    def scene(self, position: int) -> np.ndarray:
        """Reflectance (y, x, band) float32, a view of bands that lie one after the other."""
        return np.moveaxis(self._planar(position, range(BANDS)), 0, -1)

    def rgb(self, position: int) -> np.ndarray:
        """Bands B02 to B04 of a scene (y, x, band) float32."""
        return np.moveaxis(self._planar(position, range(1, 4)), 0, -1)

    def band(self, band: int) -> np.ndarray:
        """One band of all scenes (scene, y, x) float32."""
        out = np.empty((self._scenes, SIDE, SIDE), np.float32)

        def decode(positions: Sequence[int]) -> None:
            dn = np.empty((CHUNK, CHUNK), np.uint16)
            for position in positions:
                with _Shard.of(self._store, position, mapped=True) as shard:
                    for y, x in np.ndindex(2, 2):
                        shard.decode(y, x, band, dn)
                        _divide(dn, out[position, y * CHUNK : (y + 1) * CHUNK, x * CHUNK : (x + 1) * CHUNK])

        self._side_by_side(decode, range(self._scenes))
        return out

    def histograms(self) -> np.ndarray:
        """Pixels of each DN in each band over all scenes (band, dn), int64."""

        def count(positions: Sequence[int]) -> np.ndarray:
            counts = new_counts()
            dn = np.empty((CHUNK, CHUNK), np.uint16)
            for position in positions:
                with _Shard.of(self._store, position) as shard:
                    for y, x, band in np.ndindex(2, 2, BANDS):
                        shard.decode(y, x, band, dn)
                        count_dn(dn[: SIDE - y * CHUNK, : SIDE - x * CHUNK].ravel(), counts[band])
            return counts

        return sum_counts(self._side_by_side(count, range(self._scenes)))

    def class_counts(self) -> np.ndarray:
        """Pixels of each class in each scene (scene, class), int64."""
        found = np.empty((self._scenes, 3), np.int64)

        def count(positions: Sequence[int]) -> None:
            labels = np.empty(SIDE * SIDE, np.uint8)
            for position in positions:
                number, chunk = divmod(position, 64)
                content = np.memmap(self._store / f"mask/c/{number}/0/0", mode="r")
                start, size = content[-16 * 64 - _CHECKSUM : -_CHECKSUM].view("<u8").reshape(64, 2)[chunk].tolist()
                zstd.decompress(content[start : start + size - _CHECKSUM], labels)
                found[position] = count_classes(labels)

        self._side_by_side(count, range(self._scenes))
        return found

    def _planar(self, position: int, bands: Sequence[int]) -> np.ndarray:
        """Bands of a scene (band, y, x) float32."""
        out = np.empty((len(bands), SIDE, SIDE), np.float32)
        with _Shard.of(self._store, position, mapped=len(bands) < BANDS) as shard:

            def decode(todo: Sequence[tuple[int, int, int]]) -> None:
                dn = np.empty((CHUNK, CHUNK), np.uint16)
                for i, y, x in todo:
                    shard.decode(y, x, bands[i], dn)
                    _divide(dn, out[i, y * CHUNK : (y + 1) * CHUNK, x * CHUNK : (x + 1) * CHUNK])

            self._side_by_side(decode, list(np.ndindex(len(bands), 2, 2)))
        return out

    def _side_by_side[T, R](self, do: Callable[[Sequence[T]], R], todo: Sequence[T]) -> list[R]:
        """What each thread makes of its share."""
        return list(self._pool.map(do, [todo[start::CORES] for start in range(CORES)]))


class _Shard:
    """One scene as it is stored: content, and where in it which chunk lies."""

    def __init__(self, content: memoryview) -> None:
        count = 2 * 2 * BANDS
        start = len(content) - 16 * count - _CHECKSUM
        self._content = content
        self._index = np.frombuffer(content, "<u8", 2 * count, start).reshape(2, 2, BANDS, 2).tolist()

    @classmethod
    def of(cls, store: Path, position: int, *, mapped: bool = False) -> "_Shard":
        """A scene, read whole, or only where chunks are looked at."""
        path = store / f"reflectance/c/{position}/0/0/0"
        return cls(memoryview(np.memmap(path, mode="r")) if mapped else memoryview(path.read_bytes()))

    def __enter__(self) -> "_Shard":
        return self

    def __exit__(self, *_: object) -> None:
        self._content.release()

    def decode(self, y: int, x: int, band: int, out: np.ndarray) -> None:
        """Digital numbers of a quarter of a band."""
        start, size = self._index[y][x][band]
        blosc.decompress(self._content[start : start + size - _CHECKSUM], out)


def _divide(dn: np.ndarray, out: np.ndarray) -> None:
    np.divide(dn[: out.shape[0], : out.shape[1]], np.float32(10_000), out=out, dtype=np.float32)


def new_counts() -> np.ndarray:
    """Zeros (band, half, dn), uint32, for `count_dn`."""
    return np.zeros((BANDS, 2, DN_COUNT), np.uint32)


def sum_counts(counts: Sequence[np.ndarray]) -> np.ndarray:
    """Histograms (band, dn), int64, of what threads counted."""
    return np.sum(counts, axis=(0, 2), dtype=np.int64)


@numba.njit(nogil=True, cache=True)
def count_dn(dn: np.ndarray, counts: np.ndarray) -> None:
    """Add digital numbers (pixel,) to `counts` (half, dn).

    Neighbours are often alike, and a counter cannot be raised again before it was raised: so there are two.
    """
    for i in range(0, dn.size - 1, 2):
        counts[0, dn[i]] += 1
        counts[1, dn[i + 1]] += 1
    if dn.size % 2:
        counts[0, dn[-1]] += 1


@numba.njit(nogil=True, cache=True)
def count_classes(labels: np.ndarray) -> tuple[int, int, int]:
    """Pixels of class 0, 1 and 2 among labels (pixel,)."""
    clear, cloud, shadow = 0, 0, 0
    for label in labels:
        clear += label == 0
        cloud += label == 1
        shadow += label == 2
    return clear, cloud, shadow


def inflate_and_encode(
    release: Path, scenes: Sequence[str], dn: Sequence[np.ndarray], pool: ThreadPoolExecutor, inflate: Callable
) -> int:
    """What C alone needs to convert: members inflated, chunks of DN (quarter, y, x) compressed; bytes of the latter.

    Parameters
    ----------
    release : Path
        Folder with ``subscenes.zip``.
    scenes : sequence of str
        Product IDs.
    dn : sequence of ndarray (chunk, y, x), uint16
        Chunks of each scene, at hand.
    pool : ThreadPoolExecutor
    inflate : callable
        Raw deflate to bytes: ``inflate(content, size)``.
    """

    def one(member: zipfile.ZipInfo, chunks: np.ndarray) -> int:
        with (release / "subscenes.zip").open("rb") as file:
            file.seek(member.header_offset + 26)
            lengths = np.frombuffer(file.read(4), "<u2")
            file.seek(int(lengths.sum()), 1)
            inflate(file.read(member.compress_size), member.file_size)
        return sum(len(blosc.compress(chunk, b"lz4", 9, blosc.BITSHUFFLE, 131_072)) for chunk in chunks)

    with zipfile.ZipFile(release / "subscenes.zip") as archive:
        members = [archive.getinfo(f"subscenes/{scene}.npy") for scene in scenes]
    return sum(pool.map(one, members, dn))
