"""Which layout reflectance has in a store, and why: ``make bench-layout``.

Layouts differ in the chunk, the codec with its filter, and the order in which a shard holds its chunks. Pixels are two
real scenes, one clear and one cloudy, each turned in two ways, and two synthetic ones. Times are medians, layouts in
turn; those of processors are of one core.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from math import ceil, prod
from pathlib import Path
from typing import Any

import data
import google_crc32c
import numpy as np
from helpers.file_server import FileServer
from helpers.http_proxy import Proxy
from numcodecs import Blosc, Zstd, blosc, zstd
from rich.console import Console
from rich.table import Table
from zarr.codecs import BloscCodec
from zarrpeers import open_tensorstore

import s2cmc
from s2cmc.conversion.layout.arrays import PixelArray, shard_objects
from s2cmc.release import encode_thumbnail
from s2cmc.synthetic.table import to_rows

BANDS = 13
SCENES = 6
REPEATS = 7
ROUND_TRIP = 0.03
RATE = 100e6


@dataclass(frozen=True)
class Layout:
    """A layout of reflectance.

    Attributes
    ----------
    chunk : int
        Rows and columns of a chunk of one band.
    codec : str
        Of blosc, such as ``zstd 5``.
    filter : {"noshuffle", "shuffle", "bitshuffle"}
    block : int
        Bytes that blosc compresses at a time, 0 for its own choice.
    order : {"place", "band", "quarter"}
        In which a shard holds its chunks: all bands of a place side by side, all chunks of a band, or all chunks of a
        band in each quarter of the scene.
    """

    chunk: int
    codec: str
    filter: str = "bitshuffle"
    block: int = 131_072
    order: str = "band"

    @property
    def compressor(self) -> BloscCodec:
        """The codec as zarr has it."""
        cname, clevel = self.codec.split()
        return BloscCodec(typesize=2, cname=cname, clevel=int(clevel), shuffle=self.filter, blocksize=self.block)

    @property
    def grid(self) -> tuple[int, int, int, int]:
        """Chunks of a shard along each dimension."""
        side = ceil(data.SIZE / self.chunk)
        return 1, side, side, BANDS

    def __str__(self) -> str:
        return f"{self.chunk}, {self.filter}, {self.codec}, {self.block}, {self.order}"


FORMER = Layout(511, "zstd 5", block=261_120, order="place")

EACH = "zstd 1", "zstd 3", "lz4 9", "lz4hc 3", "lz4hc 9"

CODECS = [
    FORMER,
    *(Layout(511, codec, name, 261_120) for name in ("shuffle", "bitshuffle") for codec in EACH),
    *(Layout(511, "zstd 5", name, 261_120) for name in ("noshuffle", "shuffle")),
    Layout(511, "zstd 5", block=0),
    Layout(341, "zstd 1", block=0),
    Layout(341, "lz4hc 3", block=0),
    *(Layout(chunk, codec) for chunk in (512, 256) for codec in (*EACH, "zstd 5")),
    *(Layout(256, codec, "shuffle") for codec in ("zstd 1", "lz4 9", "lz4hc 3")),
    *(Layout(256, "lz4hc 3", block=block) for block in (32_768, 65_536)),
    *(Layout(512, "lz4hc 3", block=block) for block in (262_144, 524_288)),
    *(Layout(128, codec, block=32_768) for codec in ("zstd 1", "lz4 9", "lz4hc 3")),
]  # fmt: skip
"""Compared in size and processor time. No filter but those of blosc is known to every reader."""

STORES = [
    FORMER,
    Layout(512, "zstd 1"),
    Layout(512, "lz4 9"),
    Layout(512, "lz4hc 3"),
    Layout(256, "zstd 1"),
    Layout(256, "lz4 9"),
    Layout(256, "lz4hc 3"),
    Layout(256, "lz4hc 3", order="quarter"),
    Layout(256, "lz4hc 3", order="place"),
    Layout(128, "lz4hc 3", block=32_768),
]
"""Compared in use."""


@cache
def scenes() -> list[np.ndarray]:
    """Clear, clear, cloudy, cloudy, synthetic, synthetic: DN (band, y, x)."""
    synthetic = [dn for dn, _ in zip(data.dn_scenes(), range(2), strict=False)]
    clear, cloudy = data.clear_scene(), data.cloudy_scene()
    return [clear, np.rot90(clear, 1, (1, 2)), cloudy, np.rot90(cloudy, 1, (1, 2)), *synthetic]


def arrays_of(layout: Layout, count: int) -> dict[str, PixelArray]:
    """Reflectance by the layout, and masks, of so many scenes."""
    side = layout.grid[1] * layout.chunk
    arrays = data.store_arrays(count)
    chunks, shards = (1, layout.chunk, layout.chunk, 1), (1, side, side, BANDS)
    changes: dict[str, Any] = {"chunks": chunks, "shards": shards, "compressor": layout.compressor}
    return arrays | {"reflectance": replace(arrays["reflectance"], **changes)}


def encoded(layout: Layout, scene: np.ndarray) -> bytes:
    """The shard of a scene."""
    (shard,) = shard_objects(arrays_of(layout, 1)["reflectance"], 0, np.moveaxis(scene, 0, -1)[None]).values()
    return _reordered(shard, layout)


def _reordered(shard: bytes, layout: Layout) -> bytes:
    """Put the chunks of a shard into the order of a layout."""
    index = np.frombuffer(shard[-prod(layout.grid) * 16 - 4 : -4], "<u8").reshape(*layout.grid, 2)
    new, pieces, offset = index.copy(), [], 0
    half = layout.grid[1] / 2
    keys: dict[str, Callable[[tuple[int, ...]], Any]] = {
        "place": lambda at: at,
        "band": lambda at: at[::-1],
        "quarter": lambda at: (at[1] >= half, at[2] >= half, *at[::-1]),
    }
    for at in sorted(np.ndindex(*layout.grid), key=keys[layout.order]):
        start, length = map(int, index[at])
        pieces.append(shard[start : start + length])
        new[at] = offset, length
        offset += length
    return b"".join([*pieces, new.tobytes(), google_crc32c.value(new.tobytes()).to_bytes(4, "little")])


def compare_codecs() -> Table:
    """Size against raw uint16, and processor milliseconds to encode and to decode a scene."""
    columns = ("clear", "cloudy", "synthetic", "encode", "decode")
    shown = _table("Codecs: ratio of raw uint16 to stored; ms of one core for a scene", columns)
    for layout in CODECS:
        shards, encoding, decoding = [], [], []
        for scene in scenes()[::2]:
            began = time.process_time()
            shards.append(encoded(layout, scene))
            encoding.append(time.process_time() - began)
            decoding.append(min(_decode(layout, shards[-1]) for _ in range(3)))
        ratios = [scene.nbytes / len(shard) for scene, shard in zip(scenes()[::2], shards, strict=True)]
        times = [f"{1e3 * statistics.mean(seconds):.0f}" for seconds in (encoding, decoding)]
        shown.add_row(str(layout), *(f"{ratio:.3f}" for ratio in ratios), *times)
    return shown


def _decode(layout: Layout, shard: bytes) -> float:
    """Processor seconds to decode each chunk of a shard."""
    index = np.frombuffer(shard[-prod(layout.grid) * 16 - 4 : -4], "<u8").reshape(-1, 2).tolist()
    out, view = np.empty((layout.chunk, layout.chunk), np.uint16), memoryview(shard)
    began = time.process_time()
    for start, length in index:
        blosc.decompress(view[start : start + length - 4], out)
    return time.process_time() - began


MASKS = 64


def compare_masks() -> Table:
    """Bytes of a mask, and processor milliseconds to encode and to decode it, alone or with others in a chunk."""
    shown = _table(f"Masks, {MASKS} of them: a mask's kB, ms to encode, ms to decode", ("kB", "encode", "decode"))
    masks = np.stack([data.smooth_labels(row) for row in to_rows(data.table().iloc[:MASKS])])
    for scenes_in_chunk, level in product((1, 8), (3, 9, 15)):
        chunks = [masks[first : first + scenes_in_chunk] for first in range(0, MASKS, scenes_in_chunk)]
        began = time.process_time()
        stored = [zstd.compress(chunk, level) for chunk in chunks]
        encoded_at = time.process_time()
        for chunk in stored:
            zstd.decompress(chunk)
        taken = encoded_at - began, time.process_time() - encoded_at
        size = sum(map(len, stored)) / MASKS / 1e3
        shown.add_row(
            f"{scenes_in_chunk} in a chunk, zstd {level}", f"{size:.1f}", *(f"{1e3 * t / MASKS:.2f}" for t in taken)
        )
    return shown


def compare_thumbnails() -> Table:
    """Bytes of a thumbnail, and processor milliseconds to encode and to decode it: true colour of the real scene."""
    stretched = np.clip(data.clear_scene()[3:0:-1] / 3000 * 255, 0, 255).astype(np.uint8)
    rgb = np.ascontiguousarray(np.moveaxis(stretched, 0, -1))
    png = len(encode_thumbnail(rgb)) / 1e3
    title = (
        f"A thumbnail of {rgb.shape[0]} x {rgb.shape[1]} pixels, as PNG {png:.0f} kB: kB, ms to encode, ms to decode"
    )
    shown = _table(title, ("kB", "encode", "decode"))
    codecs = [(f"zstd {level}", Zstd(level)) for level in (3, 9, 19)]
    codecs += [
        (f"bitshuffle, {name}", Blosc(name, level, Blosc.BITSHUFFLE)) for name, level in (("zstd", 5), ("lz4", 9))
    ]
    planar = np.ascontiguousarray(stretched)
    for (name, codec), (order, pixels) in product(codecs, (("by pixel", rgb), ("by colour", planar))):
        began = time.process_time()
        content = codec.encode(pixels)
        encoded_at = time.process_time()
        codec.decode(content)
        taken = encoded_at - began, time.process_time() - encoded_at
        shown.add_row(f"{name}, {order}", f"{len(content) / 1e3:.0f}", *(f"{1e3 * t:.1f}" for t in taken))
    return shown


def store(layout: Layout) -> Path:
    """A catalogue of that layout."""
    return data.kept(data.bench_data() / "layouts" / str(layout).replace(", ", "-"), lambda out: _write(out, layout))


def _write(out: Path, layout: Layout) -> None:
    arrays = arrays_of(layout, SCENES)
    data.write_but_reflectance(out, arrays)
    for i, scene in enumerate(scenes()):
        data.write_objects(out, {arrays["reflectance"].key(i): encoded(layout, scene)})


Work = Callable[[Any, int], object]

OURS: dict[str, Work] = {
    "scene": lambda ds, i: ds.reflectance[i % SCENES].values,
    "RGB": lambda ds, i: ds.reflectance[i % SCENES, :, :, 1:4].values,
    "band": lambda ds, i: ds.reflectance[i % SCENES, :, :, 11].values,
    "band of all": lambda ds, i: ds.reflectance[..., 11].values,
    "16 patches of 64": lambda ds, i: ds.clouds.patches_at(_places(i, 64), size=64),
    "16 patches of 256": lambda ds, i: ds.clouds.patches_at(_places(i, 256), size=256),
    "statistics": lambda ds, i: ds.clouds.band_statistics().compute(),
}
TENSORSTORE: dict[str, Work] = {
    "scene": lambda ts, i: ts[i % SCENES].transpose([2, 0, 1]).read(order="C").result(),
    "RGB": lambda ts, i: ts[i % SCENES].transpose([2, 0, 1])[1:4].read(order="C").result(),
    "band": lambda ts, i: ts[i % SCENES, :, :, 11].read(order="C").result(),
    "patch of 256": lambda ts, i: [ts[s, y : y + 256, x : x + 256].read().result() for s, y, x in _places(i, 256)[:1]],
}


def _places(seed: int, size: int) -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, data.SIZE - size, (16, 2)).tolist()
    return [(i % SCENES, y, x) for i, (y, x) in enumerate(corners)]


def compare_use() -> Table:
    """Milliseconds of the works, by our reader and by tensorstore."""
    columns = [*OURS, *(f"tensorstore: {work}" for work in TENSORSTORE)]
    shown = _table("Use: ms, medians", columns)
    ours = [s2cmc.open_catalogue(store(layout), chunks=None) for layout in STORES]
    others = [open_tensorstore(f"file://{store(layout)}/reflectance/") for layout in STORES]
    times = [*_medians(ours, OURS.values()), *_medians(others, TENSORSTORE.values())]
    for i, layout in enumerate(STORES):
        shown.add_row(str(layout), *(f"{1e3 * each[i]:.1f}" for each in times))
    return shown


def _medians(opened: Sequence[Any], works: Any) -> Iterator[list[float]]:
    """Median seconds of each work for each store, the stores in turn."""
    for work in works:
        taken: list[list[float]] = [[] for _ in opened]
        for repeat in range(REPEATS + 1):
            for i in range(len(opened)):
                at = (i + repeat) % len(opened)
                began = time.perf_counter()
                work(opened[at], repeat)
                taken[at].append(time.perf_counter() - began)
        yield [statistics.median(seconds[1:]) for seconds in taken]


REMOTE = ("scene", "RGB", "band", "16 patches of 256")


def compare_networks() -> Table:
    """Requests, MB and seconds of the works over a network, indexes seen."""
    shown = _table(f"Over {1e3 * ROUND_TRIP:.0f} ms and {RATE / 1e6:.0f} MB/s: requests, MB, seconds", REMOTE)
    server = FileServer(data.bench_data())
    with Proxy(server.url, rtt=ROUND_TRIP, rate=RATE) as proxy:
        for layout in STORES:
            ds = s2cmc.open_catalogue(f"{proxy.url}/{store(layout).relative_to(data.bench_data())}", chunks=None)
            ds.reflectance[:, :1, :1, 0].values  # noqa: B018, reads the indexes
            ds.mask[:, :1, :1].values  # noqa: B018
            cells = []
            for work in REMOTE:
                proxy.log.clear()
                began = time.perf_counter()
                OURS[work](ds, 0)
                taken = time.perf_counter() - began
                cells.append(f"{len(proxy.log)}, {sum(r.nbytes for r in proxy.log) / 1e6:.1f}, {taken:.2f}")
            shown.add_row(str(layout), *cells)
    server.close()
    return shown


def _table(title: str, columns: Sequence[str]) -> Table:
    shown = Table(title=title)
    shown.add_column("layout: chunk, filter, codec, block, order")
    for name in columns:
        shown.add_column(name, justify="right")
    return shown


def main() -> None:
    """Print the tables."""
    console = Console(width=220)
    for compare in (compare_codecs, compare_masks, compare_thumbnails, compare_use, compare_networks):
        console.print(compare())


if __name__ == "__main__":
    main()
