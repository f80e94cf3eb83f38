"""True colour and patches over a network of 30 ms: requests, round trips, bytes and seconds, ours and the peers'."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import data
import formats
import numpy as np
import peers
import pytest
import rasterio
import table
import xarray as xr
import zarrpeers
from helpers.file_server import FileServer
from helpers.http_proxy import Proxy
from helpers.request_log import depth
from ours import Ours
from table import OURS, fact, timed

import s2cmc

ROUND_TRIP = 0.03
RATE = 100e6
SCENE = 9
SIDE = 256
BATCH = 32


@pytest.fixture(scope="module")
def network() -> Iterator[Proxy]:
    """The bench data over the network."""
    server = FileServer(data.bench_data())
    with Proxy(server.url, rtt=ROUND_TRIP, rate=RATE) as proxy:
        yield proxy
    server.close()


def _url(network: Proxy, path: Path) -> str:
    return f"{network.url}/{path.relative_to(data.bench_data())}"


def test_true_colour_over_a_network(network: Proxy, rows: list[table.Row]) -> None:
    """B02 to B04 (y, x, band), each way opened before. Requests are those of one reading; seconds are medians."""
    store = _url(network, data.scenes_store())
    cog = _url(network, formats.geotiffs(data.SCENES)[SCENE])
    ours = s2cmc.open_catalogue(store)
    plain = xr.open_zarr(store, chunks={})
    tensor = zarrpeers.open_tensorstore(f"{store}/reflectance/")

    def geotiff() -> np.ndarray:
        options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "VSI_CACHE": False, "CPL_VSIL_CURL_NON_CACHED": "/"}
        with rasterio.Env(**options), rasterio.open(f"/vsicurl/{cog}") as file:
            return np.moveaxis(file.read([2, 3, 4]) / np.float32(10_000), 0, -1)

    asks: dict[str, Callable[[], Any]] = {
        OURS: lambda: ours.reflectance.sel(band=slice("B02", "B04")).isel(scene=SCENE).to_numpy(),
        "open_zarr": lambda: plain.reflectance[SCENE, :, :, 1:4].astype(np.float32).to_numpy(),
        "tensorstore": lambda: tensor[SCENE, :, :, 1:4].read().result() / np.float32(10_000),
        "COG": geotiff,
    }
    expected = Ours(data.SCENES).rgb(SCENE)
    requests, trips, shares = {}, {}, {}
    shard = (data.scenes_store() / f"reflectance/c/{SCENE}/0/0/0").stat().st_size
    for name, ask in asks.items():
        network.log.clear()
        np.testing.assert_array_equal(ask(), expected)
        requests[name], trips[name] = len(network.log), depth(network.log)
        shares[name] = sum(request.nbytes for request in network.log) / shard
    rows.append(timed("RGB of one scene over 30 ms", [(n, lambda _, ask=a: ask()) for n, a in asks.items()], {}))
    for work, values, most in (
        ("  round trips", trips, 3),
        ("  requests", requests, None),
        # Bands are not of one size: the three of 10 m have more detail, so that 3/13 of the scene do not hold them.
        ("  bytes / bytes of the scene", shares, 3 / 13 + 0.05),
    ):
        rows.append(fact(work, "", values.pop(OURS), most, peers=values))


def test_patches_over_a_network(network: Proxy, rows: list[table.Row]) -> None:
    """A batch of patches of all bands, shuffled over scenes and places, with labels; nothing was read before."""
    store = _url(network, data.scenes_store())
    rng = np.random.default_rng(0)
    picks = [
        (int(i), *map(int, corner))
        for i, corner in zip(
            rng.integers(0, data.SCENES, BATCH), rng.integers(0, data.SIZE - SIDE, (BATCH, 2)), strict=True
        )
    ]

    def by_us() -> peers.Patches:
        found = s2cmc.open_catalogue(store).clouds.patches_at(picks, SIDE)
        return found["reflectance"].to_numpy(), found["mask"].to_numpy()

    def by_tensorstore() -> peers.Patches:
        reflectance, mask = (zarrpeers.open_tensorstore(f"{store}/{name}/") for name in ("reflectance", "mask"))
        windows = [(i, slice(y, y + SIDE), slice(x, x + SIDE)) for i, y, x in picks]
        reads = [(reflectance[window].read(), mask[window].read()) for window in windows]
        dn = np.stack([bands.result() for bands, _ in reads])
        return dn / np.float32(10_000), np.stack([labels.result() for _, labels in reads])

    expected = by_tensorstore()
    asks: dict[str, Callable[[], peers.Patches]] = {OURS: by_us, "tensorstore": by_tensorstore}
    requests, nbytes = {}, {}
    for name, ask in asks.items():
        network.log.clear()
        for found, wanted in zip(ask(), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        requests[name] = len(network.log)
        nbytes[name] = sum(request.nbytes for request in network.log) / 1e6
    rows.append(
        timed(
            "32 patches of 256 over 30 ms, opening included", [(n, lambda _, ask=a: ask()) for n, a in asks.items()], {}
        )
    )
    rows.append(fact("  requests", "", requests.pop(OURS), peers=requests))
    rows.append(fact("  bytes / those of tensorstore", "", nbytes[OURS] / nbytes["tensorstore"], 1.3))
