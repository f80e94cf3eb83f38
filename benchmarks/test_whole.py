"""The whole catalogue: masks, memory, task graphs, size, conversion; the goals of each."""

import itertools
import os
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import data
import numpy as np
import peers
import pytest
import table
import zarrpeers
from floor import CHUNK, SIDE, Floor, inflate_and_encode
from isal import isal_zlib
from memory import peak_memory
from ours import Ours
from table import FLOOR, OURS, fact, timed

import s2cmc
from s2cmc.conversion.convert.conversion import convert
from s2cmc.schema.catalogue import TAGS, TagGroup

FEWER = 64
"""Masks that slow ways count where others count all; their seconds are taken as many times more."""

CONVERTED = slice(4, 12)
"""Scenes that are converted: as many made as real."""

REDUCTIONS = {
    "mean": 'ds.reflectance.mean(("scene", "y", "x"))',
    "band statistics": "ds.clouds.band_statistics()",
    "prevalence": 'ds.clouds.prevalence("surface_type")',
}
GRAPHS = REDUCTIONS | {
    "band_histograms": "ds.clouds.band_histograms()",
    "class_counts": "ds.clouds.class_counts()",
}


def test_fractions_of_all_masks_by_tag(pool: ThreadPoolExecutor, rows: list[table.Row]) -> None:
    """All count in each scene, and add up the scenes of each tag."""
    names = [tag.published for tag in TAGS if tag.group is TagGroup.SURFACE_TYPE]
    member = data.table()[names].to_numpy(np.int64)
    count = data.ALL
    others = [peers.Hdf5, peers.Geotiffs, peers.Taco, zarrpeers.Tensorstore]
    plain = [zarrpeers.Plain(count, pool, whole=whole) for whole in (True, False)]
    floor = Floor(data.masks_store(), count, pool)
    ways = [floor, *plain, *(peer(count, pool) for peer in others)]
    slow = [peer(FEWER, pool) for peer in (peers.NumpyZips, zarrpeers.Naive)]
    ours = Ours(count)
    expected = ours.prevalence().pixels.sel(stratum=[tag.name for tag in TAGS if tag.published in names])
    for way in ways:
        np.testing.assert_array_equal(member.T @ way.class_counts(), expected)
    for way in slow:
        np.testing.assert_array_equal(way.class_counts(), floor.class_counts()[:FEWER])
    asks = [(OURS, lambda _: ours.prevalence())]
    asks += [(way.name, lambda _, way=way: member.T @ way.class_counts()) for way in ways]
    asks += [(way.name, lambda _, way=way: member[:FEWER].T @ way.class_counts()) for way in slow]
    asks.append(("mask.sum", lambda _: member[:FEWER].T @ slow[0].class_sums()))
    per = dict.fromkeys(["mask.sum", *(way.name for way in slow)], FEWER / count)
    row = timed("class fractions of 513 masks by tag", asks, {FLOOR: 2, "numpy zips": 1 / 15}, per=per)
    rows.append(row)
    rows.append(fact("  / numpy zips by mask.sum(axis=(0, 1))", "", row.ratio("mask.sum"), 1 / 15))
    stored = sum(path.stat().st_size for path in (data.masks_store() / "mask/c").rglob("*") if path.is_file())
    published = (data.masks_release() / "masks.zip").stat().st_size
    rows.append(fact("  bytes of the masks / masks.zip", "", stored / published, 1))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_memory_of_reductions(reduction: str, rows: list[table.Row]) -> None:
    """In child processes, over 16, 64 and 513 scenes."""
    peaks = [
        peak_memory(f"import s2cmc\nds = s2cmc.open_catalogue({str(store)!r})\n({REDUCTIONS[reduction]}).compute()\n")
        for store in (data.scenes_store(), data.many_store(), data.masks_store())
    ]
    work = f"peak memory, {reduction}: 16, 64, 513 scenes ({', '.join(f'{peak:.0f}' for peak in peaks)} MB)"
    rows.append(fact(work, "x", max(peaks) / peaks[0], 1.1))


@pytest.mark.parametrize("reduction", GRAPHS)
def test_task_graphs(reduction: str, rows: list[table.Row]) -> None:
    """Tasks that a scheduler is given, and how long it takes to make them."""
    ds = s2cmc.open_catalogue(data.masks_store())
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        (built,) = dask.optimize(eval(GRAPHS[reduction], {"ds": ds}))  # noqa: S307  # of this file
        seconds.append(time.perf_counter() - began)
    rows.append(fact(f"tasks a scene, {reduction}", "", len(dict(built.__dask_graph__())) / data.ALL, 4))
    rows.append(fact(f"  built and optimized, {reduction}", "ms/scene", 1e3 * sorted(seconds)[2] / data.ALL, 1))


def test_size_of_real_pixels(rows: list[table.Row]) -> None:
    """Shards of reflectance against the members of the zip, deflated as published."""
    if not data.real_scenes():
        pytest.skip(f"real pixels are not in {data.REAL}")
    shards = (data.scenes_store() / f"reflectance/c/{position}/0/0/0" for position in data.real_scenes())
    with zipfile.ZipFile(data.scenes_release() / "subscenes.zip") as archive:
        names = data.table()["scene"][list(data.real_scenes())]
        deflated = sum(archive.getinfo(f"subscenes/{name}.npy").compress_size for name in names)
    stored = sum(shard.stat().st_size for shard in shards)
    rows.append(fact("stored / deflated, real pixels", "", stored / deflated, 0.58))


def test_conversion(pool: ThreadPoolExecutor, rows: list[table.Row], tmp_path: Path) -> None:
    """As many workers as cores; the floor inflates and encodes in C, and neither checks nor writes."""
    release = data.scenes_release()
    scenes = data.table()["scene"][CONVERTED].tolist()
    chunks = [_chunks(dn) for dn in itertools.islice(data.dn_scenes(), CONVERTED.start, CONVERTED.stop)]

    def ours(repeat: int) -> None:
        convert(str(release), str(tmp_path / f"{repeat}"), scenes=scenes)

    def with_isal(_: int) -> int:
        return inflate_and_encode(release, scenes, chunks, pool, lambda raw, size: isal_zlib.decompress(raw, -15, size))

    def with_zlib(_: int) -> int:
        return inflate_and_encode(release, scenes, chunks, pool, lambda raw, size: zlib.decompress(raw, -15, size))

    asks: list[Any] = [(OURS, ours), (FLOOR, with_isal), ("zlib + blosc", with_zlib)]
    row = timed("convert 8 scenes (floor: isal + blosc)", asks, {FLOOR: 1 / 0.8})
    rows.append(row)
    megabytes = len(scenes) * data.SIZE**2 * 13 * 4 / 1e6
    speeds = {name: megabytes / seconds for name, seconds in row.values.items() if name in table.COLUMNS}
    speed = fact(
        "  raw MB/s; of the floor with zlib: " + f"{row.ratio('zlib + blosc') ** -1:.2f}", "MB/s", speeds[OURS]
    )
    rows.append(table.Row(speed.work, speed.unit, speeds))


def test_memory_of_conversion(rows: list[table.Row], tmp_path: Path) -> None:
    """In child processes; a shard of masks holds 64 scenes."""
    workers = os.cpu_count() or 1
    scenes = data.table()["scene"].tolist()
    peaks = [
        peak_memory(
            "from s2cmc.conversion import convert\n"
            f"convert({str(data.many_release())!r}, {str(tmp_path / str(count))!r}, scenes={scenes[:count]}, "
            f"workers={workers})\n"
        )
        for count in (8, data.MANY)
    ]
    said = ", ".join(f"{peak:.0f}" for peak in peaks)
    rows.append(
        fact(f"peak memory, conversion, {workers} workers: 8, 64 scenes ({said} MB)", "x", peaks[1] / peaks[0], 1.1)
    )


def _chunks(dn: np.ndarray) -> np.ndarray:
    """Quarters of bands (chunk, y, x) of a scene (band, y, x)."""
    padded = np.pad(dn, ((0, 0), (0, 2 * CHUNK - SIDE), (0, 2 * CHUNK - SIDE)))
    chunks = padded.reshape(13, 2, CHUNK, 2, CHUNK).swapaxes(2, 3)
    return np.ascontiguousarray(chunks).reshape(-1, CHUNK, CHUNK)
