"""Pixels: one scene, three bands, one band of all scenes, patches, statistics; the goals of each."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import data
import numpy as np
import peers
import pytest
import table
import zarrpeers
from floor import Floor
from ours import Ours, OursByDask
from peers import Pick
from table import EVERY_PEER, FLOOR, timed

from s2cmc.schema.catalogue import DN_PER_REFLECTANCE

PATCH = 256
PICKS = 16
FEW = {"numpy zips": 2, "to_zarr": 8}
"""Patches that slow ways read; seconds are those of one."""

FEWER = 4
"""Scenes that NumPy reads of the zips where others read all; its seconds are taken times four."""

SINGLE: dict[str, Callable[[Any, int], Any]] = {
    "one scene": lambda way, repeat: way.scene(repeat * 7 % data.SCENES),
    "RGB of one scene": lambda way, repeat: way.rgb(repeat * 7 % data.SCENES),
    "one band": lambda way, _: way.band(11),
}


@pytest.fixture(scope="module")
def ways(pool: ThreadPoolExecutor) -> list[Any]:
    """All ways to 16 scenes with reflectance, ours first."""
    count = data.SCENES
    plain = [zarrpeers.Plain(count, pool, whole=whole) for whole in (True, False)]
    ours_by_others = [zarrpeers.Tensorstore, zarrpeers.FusedZarr, zarrpeers.FusedPlain, zarrpeers.Naive]
    others = [peers.NumpyZips, peers.Hdf5, peers.Geotiffs, peers.Taco, *ours_by_others]
    return [Ours(count), Floor(data.scenes_store(), count, pool), *plain, *(peer(count, pool) for peer in others)]


def _asks(ways: Sequence[Any], ask: Callable[[Any, int], Any], equal: Callable[[Any, Any], None]) -> list[Any]:
    """The ways as `table.timed` takes them, after each gave what ours gives."""
    ours = ask(ways[0], 1)
    for way in ways[1:]:
        equal(ask(way, 1), ours)
    return [(way.name, lambda repeat, way=way: ask(way, repeat)) for way in ways]


@pytest.fixture(scope="module")
def dask_ways(pool: ThreadPoolExecutor) -> list[Any]:
    """Ours through dask, and those that it has to be compared with."""
    count = data.SCENES
    return [OursByDask(count), Floor(data.scenes_store(), count, pool), zarrpeers.Tensorstore(count, pool)]


def test_one_scene(ways: list[Any], rows: list[table.Row]) -> None:
    """Each repeat is another scene, made and real in turn."""
    asks = _asks(ways, SINGLE["one scene"], np.testing.assert_array_equal)
    rows.append(timed("one scene, all bands, float32", asks, {FLOOR: 1.5, "tensorstore": 1}, repeats=9))


def test_three_bands_of_one_scene(ways: list[Any], rows: list[table.Row]) -> None:
    """True colour, before it is stretched."""
    asks = _asks(ways, SINGLE["RGB of one scene"], np.testing.assert_array_equal)
    rows.append(timed("RGB of one scene", asks, {"tensorstore": 1.5}, repeats=9))


def test_one_band_of_all_scenes(ways: list[Any], pool: ThreadPoolExecutor, rows: list[table.Row]) -> None:
    """B11, the twelfth."""
    asks = _asks(ways, SINGLE["one band"], np.testing.assert_array_equal)
    asks, per = _fewer(asks, peers.NumpyZips(FEWER, pool).band, 11)
    rows.append(timed("one band of 16 scenes", asks, {FLOOR: 2, "tensorstore": 1}, per=per))


@pytest.mark.parametrize("work", SINGLE)
def test_single_arrays_through_dask(work: str, dask_ways: list[Any], rows: list[table.Row]) -> None:
    """What the graph costs, and the copy that dask makes of what it hands out."""
    asks = _asks(dask_ways, SINGLE[work], np.testing.assert_array_equal)
    rows.append(timed(f"  {work}, as a dask array", asks, {}, repeats=9))


def test_random_patches(ways: list[Any], rows: list[table.Row]) -> None:
    """Shuffled over scenes and places, with labels; seconds are those of one patch."""
    able = [way for way in ways if hasattr(way, "patches")]

    def equal(found: peers.Patches, ours: peers.Patches) -> None:
        np.testing.assert_array_equal(found[0], ours[0])
        np.testing.assert_array_equal(found[1], ours[1])

    asks = _asks(able, lambda way, repeat: way.patches(_picks(repeat, 2)), equal)
    counts = {way.name: FEW.get(way.name, PICKS) for way in able}
    asks = [(way.name, lambda repeat, way=way: way.patches(_picks(repeat, counts[way.name]))) for way in able]
    rows.append(timed("random 256 x 256 x 13 patch", asks, {EVERY_PEER: 1}, per=counts))


def _picks(seed: int, count: int) -> list[Pick]:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, data.SIZE - PATCH, (count, 2)).tolist()
    places = [(slice(y, y + PATCH), slice(x, x + PATCH)) for y, x in corners]
    scenes = rng.integers(0, data.SCENES, count).tolist()
    return [Pick(scene, *place) for scene, place in zip(scenes, places, strict=True)]


def test_band_statistics(ways: list[Any], pool: ThreadPoolExecutor, rows: list[table.Row]) -> None:
    """Peers and the floor only count; ours also counts by class, and makes its table."""

    def ask(way: Any, _: int) -> Any:
        return way.band_statistics() if isinstance(way, Ours) else way.histograms()

    def equal(counts: np.ndarray, ours: Any) -> None:
        statistics = ours.isel(stratum=0)
        np.testing.assert_array_equal(counts.sum(axis=1), statistics["count"])
        mean = counts @ np.arange(counts.shape[1]) / counts.sum(axis=1) / DN_PER_REFLECTANCE
        np.testing.assert_allclose(mean, statistics["mean"], rtol=1e-12)
        largest = [np.flatnonzero(one)[-1] / DN_PER_REFLECTANCE for one in counts]
        np.testing.assert_array_equal(largest, statistics["max"])

    asks, per = _fewer(_asks(ways, ask, equal), peers.NumpyZips(FEWER, pool).histograms)
    rows.append(timed("band statistics of 16 scenes", asks, {FLOOR: 2, "numpy zips": 0.1}, per=per))


def _fewer(asks: list[Any], slow: Callable[..., Any], *arguments: Any) -> tuple[list[Any], dict[str, float]]:
    """The ways, of which the zips are asked for fewer scenes, and the share of the work that this is."""
    name = peers.NumpyZips.name
    others = [(other, ask) for other, ask in asks if other != name]
    return [*others, (name, lambda _: slow(*arguments))], {name: FEWER / data.SCENES}
